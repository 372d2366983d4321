"""The tool that finds things by name or by example."""

from __future__ import annotations

from fo1agent.scene import Scene
from fo1agent.tools.base import Examples, Grounding, RegionOrBox, tool


@tool
def ground(
    scene: Scene,
    phrase: str | None = None,
    like: Examples | None = None,
    unlike: Examples | None = None,
    within: RegionOrBox | None = None,
    threshold: float | None = None,
    limit: int | None = None,
) -> Grounding:
    """Find things in the picture, by a phrase or by examples. Gives their regions, with probabilities, or none.

    A word that it cannot judge ("dead" of "dead cat") is not looked for: the regions are cats, and it says which word.

    Args:
        phrase: a short noun phrase: "bus", "red car", "people". Leave out with `like`.
        like: ids of examples to find more of: r3, img_…/r3. Leave out with `phrase`.
        unlike: ids of what is not meant.
        within: id of a region, or a box [x1, y1, x2, y2] in pixels: only look in there.
        threshold: least probability, 0 to 1. Leave out for the model's own; lower it to see what was almost found.
        limit: at most so many regions, the best.
    """
    found = scene.ground(phrase, like=like, unlike=unlike, within=within, threshold=threshold, limit=limit)
    return Grounding.of(found, phrase)
