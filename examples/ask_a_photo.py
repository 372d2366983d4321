"""Ask a photograph a question of several parts, and look at what the answer rests on."""

from pathlib import Path

import fo1agent as fo

PHOTO = Path(fo.__file__).parent / "data" / "demo" / "bus.jpg"
QUESTION = "How many cars are to the left of the bus, and what is written on the bus?"

answer = fo.Agent(fo.load()).ask(PHOTO, QUESTION)

print(answer.text)
for step in answer.steps:
    print(step.tool, step.text)
answer.save("answer.png")

# prints:
# 4 cars are to the left of the bus. It reads “PREPAYONLY M20 VOLVO”.
# find “car”  r1 0.94  r4 0.75  r10 0.49  r8 0.46
# find “bus”  r0 0.91  r2 0.74  r11 0.21
# select best  r0
# keep left of r0  r1 r4 r10 r8
# count 4
# read r0  “PREPAYONLY M20 VOLVO”
