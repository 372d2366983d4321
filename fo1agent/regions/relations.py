"""Where named regions are to each other: what their boxes tell, and what their names add to it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from fo1agent.regions import geometry
from fo1agent.regions.regions import Regions
from fo1agent.words import lexicon


def related(relation: str, a: Regions, b: Regions) -> Bool[np.ndarray, "n m"]:
    """[N, M]: which region of a stands in a relation of `geometry.RELATIONS` to which region of b.

    A region without a label is not known to carry anything.

    Raises:
        InputError: no such relation.
    """
    carries = (_carries(a), _carries(b)) if relation == "on" else None
    return geometry.relations(relation, a.boxes, b.boxes, carries)


def _carries(regions: Regions) -> Bool[np.ndarray, " n"]:
    each = {label: lexicon.carries(label) for label in set(regions.labels)}
    return np.array([each[label] for label in regions.labels], dtype=bool)
