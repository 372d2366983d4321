"""The tool for spatial relations between things."""

from __future__ import annotations

from typing import Literal

from fo1agent.plans.language import Relation
from fo1agent.results import RelateResult
from fo1agent.scene import Scene
from fo1agent.tools.base import PhraseOrRegion, tool


@tool
def relate(
    scene: Scene,
    a: PhraseOrRegion,
    relation: Literal[Relation, "between"],
    b: PhraseOrRegion | None = None,
    and_b: PhraseOrRegion | None = None,
) -> RelateResult:
    """Find which things stand in a spatial relation to others: people left of the bus, cups on the table.

    It compares boxes in the plane of the picture. Depth it can only guess: what stands lower is taken to be in front.

    Args:
        a: the things to choose from: a noun phrase ("person") or the id of a region (r3).
        relation: how a stands to b. `inside`: most of a lies in b. `near`: closer than half their size. `on`: a stands
            or lies on b. `has_on`: b is on a. `next_to`: near and side by side. `between`: a is between b and and_b.
        b: what to compare with: a noun phrase or the id of a region. Leave out to compare with the picture's own
            middle, so that left_of means the left half.
        and_b: the other thing that a is between, as b. Leave out with every other relation.
    """
    return scene.relate(a, relation, b, and_b)
