"""Ask about boxes that you have already: from your own detector, from a label file, or drawn by hand.

Run it with: python examples/your_own_boxes.py
"""

from pathlib import Path

import fo1agent as fo

PHOTO = Path(fo.__file__).parent / "data" / "demo" / "bus.jpg"
BOXES = [[126, 126, 414, 312], [35, 252, 141, 312], [0, 253, 61, 309]]  # xyxy pixels

scene = fo.load().open(PHOTO, boxes=BOXES)
for region in scene.regions:
    print(region.name, region.label)

# prints:
# r0 bus
# r1 car
# r2 car
