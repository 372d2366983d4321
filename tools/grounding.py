"""The tool that finds things by name or by example."""

from __future__ import annotations

from pydantic import Field

from fo1agent.scene import Scene
from fo1agent.tools.base import Judged, NotJudged, RegionId, RegionOrBox, RegionRef, Result, tool
from fo1agent.types import Regions


class Grounding(Result):
    """Regions that were found."""

    regions: list[RegionRef] = Field(description="What was found, most probable first; empty if nothing was.")
    none_score: float | None = Field(
        description="Probability that the picture shows no such thing, 0 to 1; null when there is no telling."
    )
    judged: Judged = ""
    not_judged: NotJudged = ()
    note: str = Field("", description="Something to know, such as a word that the model does not have; usually empty.")

    @classmethod
    def of(cls, found: Regions, phrase: str | None = None) -> Grounding:
        """Regions as results carry them. Of a phrase that the model has no word for nothing was judged."""
        unknown = phrase is not None and bool(found.note) and not len(found)
        return cls(
            regions=[RegionRef.of(region) for region in found],
            none_score=None if unknown or found.none_score is None else round(found.none_score, 4),
            judged=found.judged,
            not_judged=found.not_judged or ((phrase,) if unknown and phrase else ()),
            note=found.note,
        )


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
