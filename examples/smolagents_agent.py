"""Our tools in an agent of smolagents.

Run it with: OPENAI_API_KEY=… python examples/smolagents_agent.py      (pip install "smolagents[openai]")
OPENAI_BASE_URL names another server with the same API, OPENAI_MODEL names another model.
"""

import os
from pathlib import Path

from smolagents import LogLevel, OpenAIModel, ToolCallingAgent

import fo1agent
from fo1agent.integrations.handles import Scenes
from fo1agent.integrations.smolagents import NOT_JUDGED_NOTE, UNTRUSTED_NOTE, get_tools

PHOTO = Path(fo1agent.__file__).parent / "data" / "demo" / "cat.jpg"
QUESTION = "How many remotes are to the right of the cat?"
MODEL = os.environ.get("OPENAI_MODEL", "gpt-5")

scenes = Scenes()
scenes.open(PHOTO)
agent = ToolCallingAgent(
    tools=get_tools(scenes),
    model=OpenAIModel(MODEL, os.environ.get("OPENAI_BASE_URL"), os.environ.get("OPENAI_API_KEY")),
    instructions=f"{NOT_JUDGED_NOTE} {UNTRUSTED_NOTE}",
    max_steps=8,
    verbosity_level=LogLevel.OFF,
)
print(agent.run(QUESTION))

# prints, with a model that grounds the cat, relates the remotes to it, and answers:
# 2 remotes are to the right of the cat.
