"""The tool that gives the first look at a picture."""

from __future__ import annotations

from pydantic import Field

from fo1agent.scene import Scene
from fo1agent.tools.base import RegionRef, Result, tool


class View(Result):
    """What picture it is, and what is in it at first sight."""

    image: str = Field(description="The picture's id: the same wherever the same picture is opened.")
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")
    regions: list[RegionRef] = Field(description="Everything that the model can name and is sure of, surest first.")
    thresholds: dict[str, float] = Field(
        description="From which probability on a region counts as found, for finding, counting and existing."
    )
    note: str = Field("", description="Something to know about the regions; usually empty.")


@tool
def look(scene: Scene) -> View:
    """See what the picture is: its id and size, and everything in it that the model can name."""
    return View(
        image=scene.id,
        width=scene.width,
        height=scene.height,
        regions=[RegionRef.of(region) for region in scene.named()],
        thresholds={purpose: round(float(least), 4) for purpose, least in scene.thresholds.items()},
        note=scene.note,
    )
