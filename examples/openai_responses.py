"""OpenAI's SDK, Responses API: the same tools and the same loop, with that API's items.

Run it with: OPENAI_API_KEY=… python examples/openai_responses.py      (pip install openai)
OPENAI_BASE_URL names another server with the same API, OPENAI_MODEL names another model.
"""

import base64
import os
from pathlib import Path

from openai import OpenAI

import fo1agent as fo
from fo1agent.integrations.calls import NOT_JUDGED_NOTE, UNTRUSTED_NOTE, call, responses_items
from fo1agent.integrations.handles import Scenes
from fo1agent.integrations.schemas import render

PHOTO = Path(fo.__file__).parent / "data" / "demo" / "cat.jpg"
QUESTION = "How many remotes are on the couch?"
MODEL = os.environ.get("OPENAI_MODEL", "gpt-5")
TURNS = 8  # most turns of the model

scenes = Scenes()
scenes.open(PHOTO)
picture = "data:image/jpeg;base64," + base64.b64encode(PHOTO.read_bytes()).decode()
items = [
    {
        "role": "user",
        "content": [{"type": "input_text", "text": QUESTION}, {"type": "input_image", "image_url": picture}],
    }
]

system = f"{NOT_JUDGED_NOTE} {UNTRUSTED_NOTE}"
client = OpenAI()
for _ in range(TURNS):
    response = client.responses.create(
        model=MODEL, instructions=system, input=items, tools=render("responses"), store=False
    )
    items += response.output
    called = [item for item in response.output if item.type == "function_call"]
    if not called:
        print(response.output_text)
        break
    for one in called:
        result = call(one.name, one.arguments, scenes)
        items += responses_items(one.call_id, result)
        print(one.name, "gave a result" if result.ok else result.text)
client.close()

# prints, with a model that grounds the remotes, looks at them drawn, and answers:
# ground gave a result
# annotate gave a result
# There are 2 remotes.
