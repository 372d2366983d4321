"""Save a crop of everything that a phrase names.

Run it with: python examples/cut_out_what_you_name.py
"""

from pathlib import Path

import fo1agent as fo

PHOTO = Path(fo.__file__).parent / "data" / "demo" / "cat.jpg"
PHRASE = "remote"

scene = fo.load().open(PHOTO)
for region in scene.ground(PHRASE):
    scene.image.crop(region.box).save(f"{region.name}.png")
    print(region.name, region.label, [round(value) for value in region.box])

# prints:
# r0 remote [433, 196, 609, 281]
# r2 remote [394, 162, 585, 227]
