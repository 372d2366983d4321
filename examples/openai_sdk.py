"""OpenAI's SDK, Chat Completions: the model sees the photograph, and calls our tools to find and count in it.

Run it with: OPENAI_API_KEY=… python examples/openai_sdk.py      (pip install openai)
OPENAI_BASE_URL names another server with the same API, OPENAI_MODEL names another model.
"""

import base64
import os
from pathlib import Path

from openai import OpenAI

import fo1agent as fo
from fo1agent.integrations.calls import NOT_JUDGED_NOTE, UNTRUSTED_NOTE, call, openai_messages
from fo1agent.integrations.handles import Scenes
from fo1agent.integrations.schemas import render

PHOTO = Path(fo.__file__).parent / "data" / "demo" / "cat.jpg"
QUESTION = "How many remotes are on the couch?"
MODEL = os.environ.get("OPENAI_MODEL", "gpt-5")
TURNS = 8  # most turns of the model

scenes = Scenes()
scenes.open(PHOTO)
picture = "data:image/jpeg;base64," + base64.b64encode(PHOTO.read_bytes()).decode()
asked = [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": picture}}]
system = f"{NOT_JUDGED_NOTE} {UNTRUSTED_NOTE}"
messages = [{"role": "system", "content": system}, {"role": "user", "content": asked}]

client = OpenAI()
for _ in range(TURNS):
    completion = client.chat.completions.create(model=MODEL, messages=messages, tools=render("openai"))
    said = completion.choices[0].message
    messages.append(said)
    if not said.tool_calls:
        print(said.content)
        break
    pictures = []  # a tool's message takes none, so they follow when all calls have their results
    for one in said.tool_calls:
        result = call(one.function.name, one.function.arguments, scenes)
        answer, *shown = openai_messages(one.id, result)
        messages.append(answer)
        pictures += shown
        print(one.function.name, "gave a result" if result.ok else result.text)
    messages += pictures
client.close()

# prints, with a model that grounds the remotes, looks at them drawn, and answers:
# ground gave a result
# annotate gave a result
# There are 2 remotes.
