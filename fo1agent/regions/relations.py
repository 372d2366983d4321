"""Where named regions are to each other: what their boxes tell, and what their names and masks add to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fo1agent.regions import geometry
from fo1agent.regions.regions import Regions
from fo1agent.words import lexicon

if TYPE_CHECKING:
    from jaxtyping import Bool
    from shapely.geometry.base import BaseGeometry

_MOST_ENDS = 8  # that "between" is asked of on either side, at most
_FOOT_SHARE = 0.2  # of its height, what of a thing stands on something


def related(relation: str, a: Regions, b: Regions) -> Bool[np.ndarray, "n m"]:
    """[N, M]: which region of a stands in a relation of `geometry.RELATIONS` to which region of b; `has_on` is `on`,
    seen from what carries.

    A region without a label is not known to carry anything. Where one of two regions has a mask, its pixels count
    instead of its box; a region without one is all of its box:

    - `overlaps`: they share some area.
    - `inside`: a is the smaller one, and at least 75 % of it lies within what b encloses (the convex hull of its mask),
      or it is `on` b. `contains`: b is inside a.
    - `on`: as the boxes say, and a's lowest fifth is no farther from b than 15 % of a's height.

    All other relations are of boxes.

    Raises:
        InputError: no such relation.
    """
    if relation == "has_on":
        return related("on", b, a).T
    if relation == "contains" and _any_mask(a, b):
        return related("inside", b, a).T
    carries = (_carries(a), _carries(b)) if relation == "on" else None
    holds = geometry.relations(relation, a.boxes, b.boxes, carries)
    if relation not in _BY_SHAPE or not _any_mask(a, b):
        return holds
    holds = holds.copy()
    shapes, others = _shapes(a), _shapes(b)
    masked = _masked(a)[:, None] | _masked(b)[None]
    # Which may stand in it at all, their boxes tell: what lies in an outline lies in its box.
    for i, k in np.argwhere(masked & (holds | geometry.relations("overlaps", a.boxes, b.boxes))):
        rests = bool(holds[i, k] if relation == "on" else geometry.relation("on", a.boxes[i : i + 1], b.boxes[k])[0])
        holds[i, k] = _BY_SHAPE[relation](shapes[i], others[k], rests)
    return holds


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


def _any_mask(a: Regions, b: Regions) -> bool:
    return bool(_masked(a).any() or _masked(b).any())


def _masked(regions: Regions) -> Bool[np.ndarray, " n"]:
    return np.array([mask is not None for mask in regions.masks], dtype=bool)


def _shapes(regions: Regions) -> list[BaseGeometry]:
    """The outline of each region: of its mask, or its box."""
    import shapely  # for these alone, which few ask

    boxes = shapely.box(*regions.boxes.T) if len(regions) else []
    return [box if mask is None else mask.outline for mask, box in zip(regions.masks, boxes, strict=True)]


def _overlaps(a: BaseGeometry, b: BaseGeometry, rests: bool) -> bool:
    return a.intersection(b).area > 0


def _inside(a: BaseGeometry, b: BaseGeometry, rests: bool) -> bool:
    if not 0 < a.area < b.convex_hull.area:
        return False
    share = a.intersection(b.convex_hull).area / a.area
    return share >= geometry.INSIDE_SHARE or (a.area < b.area and _on(a, b, rests))


def _on(a: BaseGeometry, b: BaseGeometry, rests: bool) -> bool:
    if not rests or a.is_empty or b.is_empty:
        return False
    import shapely

    x1, y1, x2, y2 = a.bounds
    foot = shapely.clip_by_rect(a, x1, y2 - _FOOT_SHARE * (y2 - y1), x2, y2)
    return bool(foot.distance(b) <= geometry.ON_GAP_HEIGHTS * (y2 - y1))


# Of two outlines, and whether their boxes rest on each other.
_BY_SHAPE: dict[str, Callable[[BaseGeometry, BaseGeometry, bool], bool]] = {
    "overlaps": _overlaps,
    "inside": _inside,
    "on": _on,
}


def _apart(a: Regions, b: Regions) -> Bool[np.ndarray, "n m"]:
    return np.array(a.ids, dtype=str)[:, None] != np.array(b.ids, dtype=str)[None]


def _carries(regions: Regions) -> Bool[np.ndarray, " n"]:
    each = {label: lexicon.carries(label) for label in set(regions.labels)}
    return np.array([each[label] for label in regions.labels], dtype=bool)
