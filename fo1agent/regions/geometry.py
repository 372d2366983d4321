"""Where things are to each other: spatial relations and distances of boxes.

All of it is seen from the camera and measured in pixels of the picture: `left_of` means further left in the image, and
`on` or `between` are what two flat boxes can tell, not what the scene's depth would. Boxes are [N, 4] xyxy pixels, y
pointing down; N may be 0. The functions compare whatever they are given: a thing compared with itself is `near` itself,
so take it out first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fo1agent.errors import InputError
from fo1agent.regions.boxes import areas, centers, coverage, intersections

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Num

# What people mean by these words often enough. All are relative, so a picture may be scaled.
INSIDE_SHARE = 0.75
NEAR_SIZES = 0.5
# Chosen by captions that say that one thing is on, or next to, another (benchmarks/relations.py).
ON_WIDTH_SHARE = 0.5
BETWEEN_SIZES = 0.5
ON_GAP_HEIGHTS = 0.15
ON_FEET_HEIGHTS = 0.1  # feet hang over the edge of a bench, a board lies under their middle
NEXT_TO_HEIGHT_SHARE = 0.5


def relation(name: str, boxes_a: Num[np.ndarray, "n 4"], box_b: Num[np.ndarray, " 4"]) -> Bool[np.ndarray, " n"]:
    """Which of `boxes_a` stand in the named relation to the one box `box_b`; see `relations` for what each means."""
    return relations(name, boxes_a, np.asarray(box_b, dtype=np.float64).reshape(1, 4))[:, 0]


def relations(
    name: str,
    boxes_a: Num[np.ndarray, "n 4"],
    boxes_b: Num[np.ndarray, "m 4"],
    carries: tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " m"]] | None = None,
) -> Bool[np.ndarray, "n m"]:
    """Which box of `boxes_a` stands in the named relation to which box of `boxes_b`.

    Args:
        name: one of `RELATIONS`:

            - `left_of`, `right_of`: the centre of a has the smaller (larger) x than the centre of b.
            - `above`, `below`: the centre of a has the smaller (larger) y than the centre of b.
            - `inside`: a is the smaller one, and at least 75 % of its area lies within b, or it stands in b and sticks
              out of it: it is `on` b, as apples are in a bowl and people in a boat.
            - `contains`: b is inside a.
            - `overlaps`: a and b share some area; a common edge is not enough.
            - `near`: the gap between the boxes is at most half their mean size; size is the square root of the area.
            - `on`: they share at least half the width of the narrower one, a's lower edge lies between a little above
              b's upper edge (15 % of a's height) and a little below b's lower edge (10 %), and a reaches higher than b
              or lies inside it. Where that holds both ways round, the one with the higher centre is on the other, but
              if only one of the two `carries`, the other is on it: the cat at the front of a couch. So a cup whose box
              lies within the table's is on the table, a rider is on the horse, who sits on a bench or stands on a
              skateboard is on it, and never are two things on each other. Flat boxes cannot tell contact: who stands
              close before or behind a bench is on it, too (measured by `benchmarks/relations.py`).
            - `next_to`: near, side by side (they share at least half the height of the lower one), and neither is
              inside the other.
            - `in_front_of`, `behind`: they share some width, and a's lower edge lies lower (higher) than b's: as far as
              flat boxes tell depth, what stands lower in the picture is nearer.
        boxes_a: [N, 4] xyxy pixels.
        boxes_b: [M, 4] xyxy pixels.
        carries: which of a and which of b are made to have others on them, as `lexicon.carries` says of their names;
            None where nothing is known of them. Used for `on` only.

    Returns:
        [N, M] booleans.

    Raises:
        InputError: no such relation; the message lists those there are.
    """
    if not isinstance(name, str) or name not in _RELATIONS:
        raise InputError(f"No relation {name!r}. There are: {', '.join(RELATIONS)}.")
    a, b = (np.asarray(boxes, dtype=np.float64) for boxes in (boxes_a, boxes_b))
    holds = _RELATIONS[name](a, b)
    if name == "on" and carries is not None:
        one_carries = carries[0][:, None] != carries[1][None]
        holds = np.where(_rests(a, b) & _rests(b, a).T & one_carries, carries[1][None], holds)
    return holds


def between(
    boxes_a: Num[np.ndarray, "n 4"], box_b: Num[np.ndarray, " 4"], box_c: Num[np.ndarray, " 4"]
) -> Bool[np.ndarray, " n"]:
    """Which of `boxes_a` lie between two boxes.

    The centre of a must lie in the convex hull of b and c together, or not farther from it than half the mean size of
    the two (a keyboard lies a little in front of the two laptops that it is between), and, measured along the line from
    b's centre to c's, strictly between the two centres. Nothing is between two boxes with the same centre.
    """
    import shapely  # for this alone, which few ask

    b, c = (np.asarray(box, dtype=np.float64).reshape(1, 4) for box in (box_b, box_c))
    both = np.concatenate([b, c])
    hull = shapely.convex_hull(shapely.union_all(shapely.box(*both.T)))
    hull = shapely.buffer(hull, BETWEEN_SIZES * float(np.sqrt(areas(both)).mean()))
    middle = centers(boxes_a)
    start, way = centers(b)[0], (centers(c) - centers(b))[0]
    along = (middle - start) @ way
    return shapely.intersects(hull, shapely.points(middle)) & (along > 0) & (along < way @ way)


def gaps(boxes_a: Num[np.ndarray, "n 4"], boxes_b: Num[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Shortest distance in pixels from each box of `boxes_a` to each of `boxes_b`; 0 where they touch or overlap."""
    a, b = np.asarray(boxes_a, dtype=np.float64)[:, None], np.asarray(boxes_b, dtype=np.float64)[None]
    apart = np.maximum(a[..., :2] - b[..., 2:], b[..., :2] - a[..., 2:]).clip(min=0)  # [N, M, 2]
    return np.hypot(apart[..., 0], apart[..., 1])


def center_distances(boxes_a: Num[np.ndarray, "n 4"], boxes_b: Num[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Distance in pixels from the centre of each box of `boxes_a` to the centre of each of `boxes_b`."""
    return np.linalg.norm(centers(boxes_a)[:, None] - centers(boxes_b)[None], axis=2)


def nearest(boxes_a: Num[np.ndarray, "n 4"], boxes_b: Num[np.ndarray, "m 4"]) -> Int[np.ndarray, " n"]:
    """Positions of `boxes_a` ordered by how close each is to the closest of `boxes_b`, nearest first.

    Compared by the gap between the boxes; where gaps are equal (all that touch have 0), by the distance of the centres.

    Raises:
        InputError: `boxes_b` is empty, so there is nothing to be near to.
    """
    if not len(boxes_b):
        raise InputError("nearest got no box to measure from. Pass at least one.")
    gap, middle = gaps(boxes_a, boxes_b), center_distances(boxes_a, boxes_b)
    smallest = gap.min(axis=1)
    tie = np.where(gap == smallest[:, None], middle, np.inf).min(axis=1)
    return np.lexsort([tie, smallest]).astype(np.int64)


def _left_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return centers(a)[:, None, 0] < centers(b)[None, :, 0]


def _above(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return centers(a)[:, None, 1] < centers(b)[None, :, 1]


def _inside(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Within its box, or standing in it and sticking out, as apples do of a bowl."""
    return _within(a, b) | (_on(a, b) & (areas(a)[:, None] < areas(b)[None]))


def _within(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (coverage(a, b) >= INSIDE_SHARE) & (areas(a)[:, None] < areas(b)[None])


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return intersections(a, b) > 0


def _near(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    mean_size = (np.sqrt(areas(a))[:, None] + np.sqrt(areas(b))[None]) / 2
    return gaps(a, b) <= NEAR_SIZES * mean_size


def _on(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    higher = _above(a, b)
    return _rests(a, b) & (higher | ~_rests(b, a).T)


def _rests(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where a could be on b, and b perhaps on a as well."""
    foot, height = a[:, None, 3], (a[:, 3] - a[:, 1])[:, None]
    bottom = b[None, :, 3]
    stands = (foot >= b[None, :, 1] - ON_GAP_HEIGHTS * height) & (foot <= bottom + ON_FEET_HEIGHTS * height)
    reaches_higher = a[:, None, 1] < b[None, :, 1]
    within = _within(a, b) & (foot <= bottom)
    narrower = np.minimum((a[:, 2] - a[:, 0])[:, None], (b[:, 2] - b[:, 0])[None])
    shared = _shared_extent(a, b, axis=0) >= ON_WIDTH_SHARE * narrower
    return stands & shared & (reaches_higher | within)


def _next_to(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    lower_height = np.minimum((a[:, 3] - a[:, 1])[:, None], (b[:, 3] - b[:, 1])[None])
    side_by_side = _shared_extent(a, b, axis=1) >= NEXT_TO_HEIGHT_SHARE * lower_height
    return _near(a, b) & side_by_side & ~_within(a, b) & ~_within(b, a).T & ~_same_box(a, b)


def _shared_extent(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
    """[N, M] pixels that the boxes' extents along x (axis 0) or y (axis 1) have in common; below 0 is a gap."""
    return np.minimum(a[:, None, axis + 2], b[None, :, axis + 2]) - np.maximum(a[:, None, axis], b[None, :, axis])


def _in_front_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (_shared_extent(a, b, axis=0) > 0) & (a[:, None, 3] > b[None, :, 3])


def _same_box(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a[:, None] == b[None]).all(axis=2)


_RELATIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "left_of": _left_of,
    "right_of": lambda a, b: _left_of(b, a).T,
    "above": _above,
    "below": lambda a, b: _above(b, a).T,
    "inside": _inside,
    "contains": lambda a, b: _inside(b, a).T,
    "overlaps": _overlaps,
    "near": _near,
    "on": _on,
    "next_to": _next_to,
    "in_front_of": _in_front_of,
    "behind": lambda a, b: _in_front_of(b, a).T,
}
RELATIONS: tuple[str, ...] = tuple(_RELATIONS)
"""Names that `relation` and `relations` know; `between` takes two boxes and stands by itself."""
