"""The tool that counts things."""

from __future__ import annotations

from fo1agent.results import CountResult
from fo1agent.scene import Scene
from fo1agent.tools.base import RegionOrBox, tool


@tool
def count(scene: Scene, phrase: str, within: RegionOrBox | None = None, threshold: float | None = None) -> CountResult:
    """Count the things that a phrase names. Gives the number and the regions that were counted.

    Of a word that it cannot judge ("dead" of "dead cat") it gives no number but bounds, and says which word.

    Args:
        phrase: what to count, as a short noun phrase: "people", "red car". Keep every word that the question has.
        within: id of a region (r3), or a box [x1, y1, x2, y2] in pixels: only count in there.
        threshold: least probability of a thing to be counted, 0 to 1. Leave out for the model's own.
    """
    return scene.count(phrase, within=within, threshold=threshold)
