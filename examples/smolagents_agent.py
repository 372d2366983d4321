"""Our tools as smolagents tools, in an agent of theirs.

Run it with: OPENAI_API_KEY=… python examples/smolagents_agent.py      (pip install "smolagents[openai]")
OPENAI_BASE_URL leads to any other server that speaks the same, OPENAI_MODEL names another model.
"""

import os
from pathlib import Path

from smolagents import LogLevel, OpenAIModel, Tool, ToolCallingAgent

import fo1agent as fo
from fo1agent.integrations.calls import UNTRUSTED_NOTE, call
from fo1agent.integrations.handles import Scenes
from fo1agent.integrations.schemas import parameters

PHOTO = Path(fo.__file__).parent / "data" / "demo" / "cat.jpg"
QUESTION = "How many remotes are to the right of the cat?"
MODEL = os.environ.get("OPENAI_MODEL", "gpt-5")


class VisionTool(Tool):
    """One of our tools. What smolagents shows its model is `name`, `description` and `inputs`."""

    output_type = "string"
    skip_forward_signature_validation = True  # forward takes whatever the tool's own schema names

    def __init__(self, tool: fo.Tool, scenes: Scenes) -> None:
        super().__init__()
        schema = parameters(tool)
        self.name, self.description, self.scenes, self.inputs = tool.name, tool.description, scenes, {}
        for name, one in schema["properties"].items():
            kinds = one["type"] if "type" in one else [choice["type"] for choice in one["anyOf"]]
            described = {"type": kinds, "description": one.get("description", "")}
            self.inputs[name] = described if name in schema["required"] else {**described, "nullable": True}

    def forward(self, **arguments: object) -> str:
        return call(self.name, arguments, self.scenes).text


scenes = Scenes()
scenes.open(PHOTO)
model = OpenAIModel(MODEL, os.environ.get("OPENAI_BASE_URL"), os.environ.get("OPENAI_API_KEY"))
agent = ToolCallingAgent(
    tools=[
        VisionTool(tool, scenes) for tool in fo.registry().values() if tool.name != "annotate"
    ],  # it draws a picture
    model=model,
    instructions=UNTRUSTED_NOTE,
    max_steps=8,
    verbosity_level=LogLevel.OFF,
)
print(agent.run(QUESTION))

# prints, with a model that grounds the cat, relates the remotes to it, and answers:
# 2 remotes are to the right of the cat.
