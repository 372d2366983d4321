"""The same questions to a model on another machine: the picture is read here, the model is there.

Run it with: fo1agent serve      (there; in a clone: pip install ".[serve]")
        and: python examples/remote.py      (here)
FO1AGENT_SERVER is the server's address, FO1AGENT_TOKEN its token, if it needs one.
"""

import os
from pathlib import Path

import fo1agent as fo

PHOTO = Path(fo.__file__).parent / "data" / "demo" / "cat.jpg"
SERVER = os.environ.get("FO1AGENT_SERVER", "http://127.0.0.1:8080")

with fo.connect(SERVER, token=os.environ.get("FO1AGENT_TOKEN")) as model:
    scene = model.open(PHOTO)  # sent once; every question below reuses it
    print(len(scene.ground("remote")), "remotes,", scene.count("cat").value, "cat")
    for event in model.stream(scene, "How many remotes are to the right of the cat?"):
        if event.type == "step_end":
            print(event.number, event.record.tool)
        elif event.type == "answer":
            print(event.answer)

# prints:
# 2 remotes, 1 cat
# 1 find
# 2 find
# 3 select
# 4 keep
# 5 count
# 2 remotes are to the right of the cat.
