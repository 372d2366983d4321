"""Watch an answer being made: what the agent plans, each step as it starts and ends, the text as it grows.

Run it with: python examples/streaming.py
"""

from pathlib import Path

import fo1agent as fo

PHOTO = Path(fo.__file__).parent / "data" / "demo" / "cat.jpg"
QUESTION = "How many cats are there, and is there a dog?"

for event in fo.Agent(fo.load()).stream(PHOTO, QUESTION):
    match event.type:
        case "plan":
            print("plan:", *(step.op for step in event.plan.steps))
        case "step_start":
            print(event.number, event.tool, "…")
        case "step_end":
            print(event.number, event.record.tool, "failed" if event.record.error else "done")
        case "partial":
            print("so far:", event.text)
        case "answer":
            print("answer:", event.answer.text)

# prints:
# plan: find count find exists answer
# 1 find …
# 1 find done
# 2 count …
# 2 count done
# so far: There is 1 cat.
# 3 find …
# 3 find done
# 4 exists …
# 4 exists done
# answer: There is 1 cat. No, I see no dog.
