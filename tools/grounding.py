"""The tool that finds things by name or by example."""

from __future__ import annotations

from fo1agent.scene import Scene
from fo1agent.tools.base import Grounding, RegionId, RegionOrBox, tool


@tool
def ground(
    scene: Scene,
    phrase: str | None = None,
    like: RegionId | None = None,
    within: RegionOrBox | None = None,
    threshold: float | None = None,
    limit: int | None = None,
) -> Grounding:
    """Find things in the picture, by a phrase or by an example. Gives their regions, with probabilities, or none.

    A word that it cannot judge ("dead" of "dead cat") is not looked for: the regions are cats, and it says which word.

    Args:
        phrase: what to look for, as a short noun phrase: "bus", "red car", "people". Leave out when `like` is given.
        like: id of a region (r3): find other things of the same kind. Leave out when `phrase` is given.
        within: id of a region (r3), or a box [x1, y1, x2, y2] in pixels: only look in there.
        threshold: least probability, 0 to 1. Leave out for the model's own; lower it to see what was almost found.
        limit: at most so many regions, the most probable ones.
    """
    return Grounding.of(scene.ground(phrase, like=like, within=within, threshold=threshold, limit=limit), phrase)
