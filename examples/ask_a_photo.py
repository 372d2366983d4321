"""Ask a photograph a question of several parts, and look at what the answer rests on.

Run it with: python examples/ask_a_photo.py
"""

from pathlib import Path

import fo1agent as fo

PHOTO = Path(fo.__file__).parent / "data" / "demo" / "cat.jpg"
QUESTION = "How many remotes are to the right of the cat, and is there a dog?"

answer = fo.Agent(fo.load()).ask(PHOTO, QUESTION)

print(answer.text)
for step in answer.steps:
    print(step.tool, step.text)
answer.save("answer.png")

# prints:
# 2 remotes are to the right of the cat. No, I see no dog.
# find “remote”  r0 0.82  r2 0.22
# find “cat”  r1 0.97
# select best  r1
# keep right of r1  r0 r2
# count 2
# find “dog”  nothing
# exists no
