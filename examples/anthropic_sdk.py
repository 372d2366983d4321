"""Anthropic's SDK, Messages API: tool_use in, tool_result out, with drawn pictures inside the results.

Run it with: ANTHROPIC_API_KEY=… python examples/anthropic_sdk.py      (pip install anthropic)
ANTHROPIC_BASE_URL names another server with the same API, ANTHROPIC_MODEL names another model.
"""

import base64
import os
from pathlib import Path

from anthropic import Anthropic

import fo1agent as fo
from fo1agent.integrations.calls import NOT_JUDGED_NOTE, UNTRUSTED_NOTE, anthropic_block, call
from fo1agent.integrations.handles import Scenes
from fo1agent.integrations.schemas import render

PHOTO = Path(fo.__file__).parent / "data" / "demo" / "cat.jpg"
QUESTION = "How many remotes are on the couch?"
MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5")
TURNS = 8  # most turns of the model

scenes = Scenes()
scenes.open(PHOTO)
data = base64.b64encode(PHOTO.read_bytes()).decode()
picture = {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": data}}
messages = [{"role": "user", "content": [picture, {"type": "text", "text": QUESTION}]}]

system = f"{NOT_JUDGED_NOTE} {UNTRUSTED_NOTE}"
client = Anthropic()
for _ in range(TURNS):
    said = client.messages.create(
        model=MODEL, max_tokens=1000, system=system, messages=messages, tools=render("anthropic")
    )
    messages.append({"role": "assistant", "content": said.content})
    if said.stop_reason != "tool_use":
        print("".join(block.text for block in said.content if block.type == "text"))
        break
    results = []
    for block in said.content:
        if block.type == "tool_use":
            result = call(block.name, block.input, scenes)
            results.append(anthropic_block(block.id, result))
            print(block.name, "gave a result" if result.ok else result.text)
    messages.append({"role": "user", "content": results})
client.close()

# prints, with a model that grounds the remotes, looks at them drawn, and answers:
# ground gave a result
# annotate gave a result
# There are 2 remotes.
