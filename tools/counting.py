"""The tool that counts things."""

from __future__ import annotations

from pydantic import Field

from fo1agent.scene import Scene
from fo1agent.tools.base import RegionOrBox, RegionRef, Result, tool


class Counting(Result):
    """A number and what was counted."""

    value: int = Field(description="How many there are.")
    regions: list[RegionRef] = Field(description="The regions that were counted.")
    note: str = Field("", description="Something to know, such as a word that the model does not have; usually empty.")


@tool
def count(scene: Scene, phrase: str, within: RegionOrBox | None = None, threshold: float | None = None) -> Counting:
    """Count the things that a phrase names. Gives the number and the regions that were counted.

    Args:
        phrase: what to count, as a short noun phrase: "people", "red car".
        within: id of a region (r3), or a box {x1, y1, x2, y2} in pixels: only count in there.
        threshold: least probability of a thing to be counted, 0 to 1. Leave out for the model's own.
    """
    counted = scene.count(phrase, within=within, threshold=threshold)
    return Counting(
        value=counted.value,
        regions=[RegionRef.of(region) for region in counted.regions],
        note=counted.regions.note,
    )
