"""The tool that gives the first look at a picture."""

from __future__ import annotations

from fo1agent.results import View
from fo1agent.scene import Scene
from fo1agent.tools.base import tool


@tool
def look(scene: Scene) -> View:
    """See what the picture is: its id and size, and everything in it that the model can name."""
    return View(
        image=scene.id,
        width=scene.width,
        height=scene.height,
        regions=scene.named(),
        thresholds=dict(scene.thresholds),
        note=scene.note,
    )
