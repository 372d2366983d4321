"""The tools that cut out or draw pictures: a closer look, and a drawing of regions."""

from __future__ import annotations

import io

from fo1agent.pictures.attached import Attachment
from fo1agent.regions.regions import Regions
from fo1agent.results import Grounding, Picture
from fo1agent.scene import Scene
from fo1agent.tools.base import RegionOrBox, RegionsOrBoxes, tool

PICTURE_SIDE = 1024  # longer side of a drawn picture, unless asked otherwise


@tool
def zoom(scene: Scene, region: RegionOrBox, phrase: str | None = None, margin: float = 0.1) -> Grounding:
    """Look closer at a region, to find small things in it that were missed in the whole picture.

    The regions it gives are boxes in pixels of the whole picture and can be passed to other tools.

    Args:
        region: id of a region (r3), or a box [x1, y1, x2, y2] in pixels.
        phrase: what to look for there. Leave out for everything that the model can name.
        margin: how much around the region to take with it, as a share of its size.
    """
    part = scene.zoom(region, margin)
    found = part.named() if phrase is None else part.ground(phrase)
    return Grounding.of(part.to_parent(found), phrase)


@tool
def annotate(scene: Scene, regions: RegionsOrBoxes | None = None, size: int = PICTURE_SIDE) -> Picture:
    """Draw regions on the picture, each with its id, label and probability, and give the picture.

    Args:
        regions: ids of regions (r3), or boxes [x1, y1, x2, y2] in pixels. Leave out for everything that the
            model can name.
        size: pixels of the longer side, 64 to 4096.
    """
    shown = scene.named() if regions is None else Regions.from_list([scene.region(one) for one in regions])
    drawn = scene.annotate(shown, size=min(max(size, 64), 4096))
    file = io.BytesIO()
    drawn.save(file, "PNG")
    return Picture(png_base64=Attachment(file.getvalue()), width=drawn.width, height=drawn.height, shown=shown)
