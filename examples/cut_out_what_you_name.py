"""Save a crop of everything that a phrase names."""

from pathlib import Path

import fo1agent as fo

PHOTO = Path(fo.__file__).parent / "data" / "demo" / "bus.jpg"
PHRASE = "car"

scene = fo.load().open(PHOTO)
for region in scene.ground(PHRASE):
    scene.image.crop(region.box).save(f"{region.name}.png")
    print(region.name, region.label, [round(value) for value in region.box])

# prints:
# r1 car [35, 252, 141, 312]
# r4 car [0, 253, 61, 309]
# r10 car [0, 273, 26, 306]
# r8 car [0, 256, 58, 288]
