"""The tool that reads text."""

from __future__ import annotations

from typing import Literal

from fo1agent.results import ReadResult
from fo1agent.scene import Scene
from fo1agent.tools.base import RegionOrBox, tool


@tool
def read(scene: Scene, region: RegionOrBox | None = None, source: Literal["ocr", "model"] = "ocr") -> ReadResult:
    """Read the text in the picture or in one region: signs, labels, numbers, documents.

    Args:
        region: id of a region (r3), or a box [x1, y1, x2, y2] in pixels. Leave out to read the whole picture.
        source: "ocr", a reader of printed text, or "model", the vision model's own reading.
    """
    return scene.read(region, source=source)
