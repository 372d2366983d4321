"""The tool that says which pixels are a thing's."""

from __future__ import annotations

from fo1agent.errors import ToolRetry
from fo1agent.results import SegmentResult
from fo1agent.scene import Scene
from fo1agent.tools.base import RegionsOrBoxes, tool


@tool
def segment(scene: Scene, phrase: str | None = None, regions: RegionsOrBoxes | None = None) -> SegmentResult:
    """Find which pixels are a thing's: its outline and area, to cut it out or measure it.

    Args:
        phrase: "bus", "red car". Leave out when `regions` is given.
        regions: ids of regions (r3), or boxes [x1, y1, x2, y2]. Leave both out for all that the model can name.
    """
    if phrase is not None and regions is not None:
        raise ToolRetry("Pass phrase or regions, not both.")
    return scene.segment(phrase if regions is None else [scene.region(one) for one in regions])
