"""Where things are: their place in the picture, and what they are on, in, at or beside.

Nobody asked about the second thing, so it is named only where boxes and names together leave little doubt: on what is
made to carry, in what is made to hold, riding what people ride. A tie is not "in" the person who wears it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fo1agent.regions.boxes import areas, centers, iou
from fo1agent.regions.geometry import gaps
from fo1agent.regions.regions import Region, Regions
from fo1agent.regions.relations import related
from fo1agent.words import lexicon

if TYPE_CHECKING:
    from jaxtyping import Bool

# From this overlap on, two regions of one picture are the same thing.
_SAME_BOX = 0.5
_HOLD = frozenset(("sink", "refrigerator", "oven", "microwave", "boat", "canoe", "drawer"))
_RIDDEN = frozenset(("bicycle", "motorcycle", "horse", "elephant", "camel", "donkey"))


@dataclass(frozen=True, slots=True)
class Landmark:
    """What things are on, in, at or beside: `words` ("on", "in", "at", "next to") and the region."""

    words: str
    region: Region


def places(regions: Regions, width: int, height: int) -> list[str]:
    """In which ninths of the picture regions lie, each told once: "top left", "middle"."""
    return list(dict.fromkeys(_place(center, width, height) for center in centers(regions.boxes)))


def landmark(regions: Regions, named: Regions) -> Landmark | None:
    """The one thing that all regions are on, in, at or beside, if there is one; what carries goes before what is near.

    Args:
        regions: what is looked for, all of one name.
        named: what is known in the picture.
    """
    if not len(regions) or not len(named):
        return None
    others = np.array([label not in regions.labels for label in named.labels], dtype=bool)
    others &= (iou(regions.boxes, named.boxes) < _SAME_BOX).all(axis=0)
    named = named[others]
    for words, holds in _relations(regions, named):
        of_all: Bool[np.ndarray, " m"] = np.asarray(holds.all(axis=0))
        if of_all.any():
            return Landmark(words, named[of_all][_nearest(regions, named[of_all])])
    return None


def _relations(regions: Regions, named: Regions) -> list[tuple[str, Bool[np.ndarray, "n m"]]]:
    """[(words, whether it holds)], the most telling first."""
    thing = regions[0].label or ""
    on, inside = related("on", regions, named), related("inside", regions, named)
    carries = np.array([_carries(thing, label or "") for label in named.labels], dtype=bool)
    table = np.array([_is(label or "", "table") for label in named.labels], dtype=bool)
    holds = np.array([_holds(label or "") for label in named.labels], dtype=bool)
    at_table = _is(thing, "person") & table
    return [
        ("in", inside & holds & ~at_table),
        ("on", (on | inside) & carries & ~at_table),
        ("at", (on | inside | related("next_to", regions, named)) & at_table),
        ("next to", related("next_to", regions, named) & _larger(regions, named) & ~related("on", named, regions).T),
    ]


def _larger(regions: Regions, named: Regions) -> Bool[np.ndarray, "n m"]:
    """Nobody says that a bus is next to a dog."""
    return areas(regions.boxes)[:, None] < areas(named.boxes)[None]


def _carries(thing: str, label: str) -> bool:
    ridden = label in _RIDDEN and _is(thing, "person")
    return ridden or (lexicon.carries(label) and not lexicon.carries(thing))


def _holds(label: str) -> bool:
    """Whether a thing is made to hold others: bowls and suitcases, not cars, before which people stand as well."""
    return label in _HOLD or (_is(label, "container") and not _is(label, "vehicle"))


def _is(label: str, kind: str) -> bool:
    return label == kind or lexicon.is_a(label, kind)


def _nearest(regions: Regions, others: Regions) -> int:
    """The index of what is nearest to the regions; of those that touch them, the smallest."""
    gap = gaps(regions.boxes, others.boxes).max(axis=0)
    return int(np.lexsort((areas(others.boxes), gap))[0])


def _place(center: np.ndarray, width: int, height: int) -> str:
    x, y = center
    across = "left" if x < width / 3 else "right" if x > width * 2 / 3 else ""
    down = "top" if y < height / 3 else "bottom" if y > height * 2 / 3 else ""
    return f"{down} {across}".strip() or "middle"
