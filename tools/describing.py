"""The tools that put into words what is seen: descriptions, and answers about a region."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fo1agent.scene import Scene
from fo1agent.tools.base import RegionOrBox, RegionRef, Result, Untrusted, tool


class Description(Result):
    """What is to be seen."""

    text: Untrusted = Field(description="In words; empty if the model has none.")
    label: str | None = Field(description="The best name of the region; null for the whole picture.")
    score: float | None = Field(description="Probability of that name, 0 to 1.")
    source: Literal["model", "labels"] = Field(
        description='"model": the words are the model\'s own. "labels": it had none, so these are names it is sure of.'
    )
    regions: list[RegionRef] = Field(description="The region, or the regions that the text speaks of.")


class Inspection(Result):
    """The model's answer to a question about a region."""

    text: Untrusted
    regions: list[RegionRef] = Field(description="Regions that the answer mentions.")


@tool
def describe(scene: Scene, region: RegionOrBox | None = None) -> Description:
    """Say what the picture shows, or what one region shows.

    Args:
        region: id of a region (r3), or a box [x1, y1, x2, y2] in pixels. Leave out for the whole picture.
    """
    said = scene.describe(region)
    return Description(
        text=said.text,
        label=said.label,
        score=None if said.score is None else round(said.score, 4),
        source=said.source,
        regions=[RegionRef.of(one) for one in said.regions],
    )


@tool
def inspect(scene: Scene, question: str, region: RegionOrBox | None = None) -> Inspection:
    """Ask the vision model a free question about one region, such as "What is this person holding?".

    Use the other tools for finding, counting and reading; they are surer.

    Args:
        question: one question in plain words.
        region: id of a region (r3), or a box [x1, y1, x2, y2] in pixels. Leave out for the whole picture.
    """
    said = scene.inspect(region, question)
    return Inspection(text=said.text, regions=[RegionRef.of(one) for one in said.regions])
