"""Where named regions are to each other: what their boxes tell, and what their names add to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fo1agent.regions import geometry
from fo1agent.regions.regions import Regions
from fo1agent.words import lexicon

if TYPE_CHECKING:
    from jaxtyping import Bool

_MOST_ENDS = 8  # that "between" is asked of on either side, at most


def related(relation: str, a: Regions, b: Regions) -> Bool[np.ndarray, "n m"]:
    """[N, M]: which region of a stands in a relation of `geometry.RELATIONS` to which region of b; `has_on` is `on`,
    seen from what carries.

    A region without a label is not known to carry anything.

    Raises:
        InputError: no such relation.
    """
    if relation == "has_on":
        return related("on", b, a).T
    carries = (_carries(a), _carries(b)) if relation == "on" else None
    return geometry.relations(relation, a.boxes, b.boxes, carries)


def stand(relation: str, a: Regions, b: Regions) -> np.ndarray:
    """[N, M] as `related`, but that nothing stands in a relation to itself."""
    return related(relation, a, b) & _apart(a, b)


def between(a: Regions, b: Regions, c: Regions) -> np.ndarray:
    """[N, M]: which region of a lies between which of b and any of c, and is none of the two; of b and of c the first
    few are looked at."""
    holds = np.zeros((len(a), len(b)), dtype=bool)
    not_b, not_c = _apart(a, b), _apart(a, c)
    for m, end in enumerate(b[:_MOST_ENDS]):
        for k, other in enumerate(c[:_MOST_ENDS]):
            if end.id != other.id:
                within = geometry.between(a.boxes, np.array(end.box), np.array(other.box))
                holds[:, m] |= within & not_b[:, m] & not_c[:, k]
    return holds


def _apart(a: Regions, b: Regions) -> Bool[np.ndarray, "n m"]:
    return np.array(a.ids, dtype=str)[:, None] != np.array(b.ids, dtype=str)[None]


def _carries(regions: Regions) -> Bool[np.ndarray, " n"]:
    each = {label: lexicon.carries(label) for label in set(regions.labels)}
    return np.array([each[label] for label in regions.labels], dtype=bool)
