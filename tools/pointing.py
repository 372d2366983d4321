"""The tool that says where to click."""

from __future__ import annotations

from fo1agent.errors import ToolRetry
from fo1agent.results import PointResult
from fo1agent.scene import Scene
from fo1agent.tools.base import RegionsOrBoxes, tool


@tool
def point(scene: Scene, phrase: str | None = None, regions: RegionsOrBoxes | None = None) -> PointResult:
    """Find where to click: a point on each thing, in pixels, in shares of the picture, and from 0 to 1000.

    Args:
        phrase: "bus", "red button". Leave out when `regions` is given.
        regions: ids of regions (r3), or boxes [x1, y1, x2, y2]. Leave both out for all that the model can name.
    """
    if phrase is not None and regions is not None:
        raise ToolRetry("Pass phrase or regions, not both.")
    return scene.point(phrase if regions is None else [scene.region(one) for one in regions])
