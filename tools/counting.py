"""The tool that counts things."""

from __future__ import annotations

from pydantic import Field

from fo1agent.scene import CountResult, Scene
from fo1agent.tools.base import Judged, NotJudged, RegionOrBox, RegionRef, Result, tool


class Counting(Result):
    """A number, or its bounds, and what was counted."""

    value: int | None = Field(
        description="How many there are. null when words of the phrase could not be judged or are not known: then give "
        "the bounds, not a guess."
    )
    at_least: int = Field(description="There are no fewer.")
    at_most: int | None = Field(description="There are no more; null when there is no telling.")
    regions: list[RegionRef] = Field(
        description="The regions that were counted; where value is null, those that may have to be."
    )
    judged: Judged = ""
    not_judged: NotJudged = ()
    note: str = Field("", description="Something to know, such as a word that the model does not have; usually empty.")

    @classmethod
    def of(cls, counted: CountResult) -> Counting:
        """A count as results carry it. Of a thing that the model has no word for there is no telling how many."""
        found = counted.regions
        unknown = counted.at_most is None and not len(found)
        return cls(
            value=counted.value,
            at_least=counted.at_least,
            at_most=counted.at_most,
            regions=[RegionRef.of(region) for region in found],
            judged=found.judged,
            not_judged=counted.not_judged or ((counted.phrase,) if unknown else ()),
            note=found.note,
        )


@tool
def count(scene: Scene, phrase: str, within: RegionOrBox | None = None, threshold: float | None = None) -> Counting:
    """Count the things that a phrase names. Gives the number and the regions that were counted.

    Of a word that it cannot judge ("dead" of "dead cat") it gives no number but bounds, and says which word.

    Args:
        phrase: what to count, as a short noun phrase: "people", "red car". Keep every word that the question has.
        within: id of a region (r3), or a box [x1, y1, x2, y2] in pixels: only count in there.
        threshold: least probability of a thing to be counted, 0 to 1. Leave out for the model's own.
    """
    return Counting.of(scene.count(phrase, within=within, threshold=threshold))
