"""The tools that answer in words: descriptions, and answers about a region."""

from __future__ import annotations

from fo1agent.results import DescribeResult, InspectResult
from fo1agent.scene import Scene
from fo1agent.tools.base import RegionOrBox, tool


@tool
def describe(scene: Scene, region: RegionOrBox | None = None) -> DescribeResult:
    """Say what the picture shows, or what one region shows.

    Args:
        region: id of a region (r3), or a box [x1, y1, x2, y2] in pixels. Leave out for the whole picture.
    """
    return scene.describe(region)


@tool
def inspect(scene: Scene, question: str, region: RegionOrBox | None = None) -> InspectResult:
    """Ask the vision model a free question about one region, such as "What is this person holding?".

    Use the other tools for finding, counting and reading; they are surer.

    Args:
        question: one question in plain words.
        region: id of a region (r3), or a box [x1, y1, x2, y2] in pixels. Leave out for the whole picture.
    """
    return scene.inspect(region, question)
