"""Overlapping tiles of a large picture: where they lie, and which boxes of a tile are whole. Pure numpy.

Tiles come in levels: those of the last level are the smallest, and those of each level before it are twice as large, up
to the picture itself. Neighbours share `OVERLAP` of a side. So a thing that is smaller than what is shared lies whole
in some tile of a level, a larger one in a tile of a level before, and no two halves of a thing must ever be put
together: a box that ends where its tile does is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

OVERLAP = 0.25
"""Of a tile's side, what it at least shares with its neighbour."""
AUTO_FROM = 2.0
"""A picture is cut into tiles by itself from so many times the side that a model sees."""
_BORDER = 0.03  # of a tile's side: a box that ends closer to a border than this is cut by it
LEAST_SIDE = 64
"""Pixels along the side of the smallest tiles: what is in a smaller one, the tiles before it show as well."""
_COARSEST = 0.75  # of the picture's long side: larger tiles would show what the whole picture shows


@dataclass(frozen=True)
class Tile:
    """A part of a picture.

    Attributes:
        box: (left, top, right, bottom), whole pixels of the picture.
        level: 0 is the picture itself, 1 the largest tiles.
    """

    box: tuple[int, int, int, int]
    level: int

    @property
    def corner(self) -> np.ndarray:
        """[4]: what is added to boxes of the tile to make them boxes of the picture."""
        return np.array([*self.box[:2], *self.box[:2]], dtype=np.float64)

    @property
    def pixels(self) -> int:
        """How many there are in it."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


def side_of(long: int, count: int) -> float:
    """The side, in pixels, of the smallest tiles of which `count` cover a picture's long side."""
    return long / (count - (count - 1) * OVERLAP)


def fitting(long: int, seen: float) -> int:
    """How many tiles cover a long side so that each is seen pixel by pixel; 1: the picture needs none.

    Args:
        long: the picture's long side, pixels.
        seen: the side at which a model sees whatever it is shown.
    """
    if long <= AUTO_FROM * seen:
        return 1
    return math.ceil((long / seen - OVERLAP) / (1 - OVERLAP))


def most_along(long: int) -> int:
    """How many of the smallest tiles a long side holds, none of them smaller than `LEAST_SIDE`; 1: it needs none."""
    return max(1, math.floor((long / LEAST_SIDE - OVERLAP) / (1 - OVERLAP)))


def tiles_of(size_wh: tuple[int, int], count: int) -> list[Tile]:
    """The tiles of a picture, largest first, row by row in each level; without the picture itself.

    Args:
        size_wh: the picture's.
        count: of the smallest tiles along the long side, 2 or more.
    """
    long = max(size_wh)
    sides = [side_of(long, count)]
    while 2 * sides[0] <= _COARSEST * long:
        sides.insert(0, 2 * sides[0])
    return [
        Tile((left, top, right, bottom), level)
        for level, side in enumerate(sides, start=1)
        for top, bottom in _spans(size_wh[1], side)
        for left, right in _spans(size_wh[0], side)
    ]


def _spans(length: int, side: float) -> list[tuple[int, int]]:
    """First and last pixel of the tiles along one axis, evenly spread."""
    if length <= math.ceil(side):
        return [(0, length)]
    count = math.ceil(round((length / side - OVERLAP) / (1 - OVERLAP), 6))
    starts = np.linspace(0, length - side, count)
    return [(int(start), min(math.ceil(start + side), length)) for start in starts]


def whole_in(tile: Tile, boxes: Float[np.ndarray, "n 4"], size_wh: tuple[int, int]) -> Bool[np.ndarray, " n"]:
    """Which boxes of a tile show things that it shows best: they do not end at its borders, unless those are the
    picture's, and their middle is no closer to another tile's than half of the way through what both share.

    Args:
        tile: where they were found.
        boxes: [N, 4] xyxy pixels of the picture.
        size_wh: the picture's.
    """
    left, top, right, bottom = tile.box
    side = max(right - left, bottom - top)
    border, core = _BORDER * side, OVERLAP / 4 * side
    whole = np.ones(len(boxes), dtype=bool)
    for axis, (first, last) in enumerate(((left, right), (top, bottom))):
        low, high = boxes[:, axis], boxes[:, axis + 2]
        middle = (low + high) / 2
        if first > 0:
            whole &= (low >= first + border) & (middle >= first + core)
        if last < size_wh[axis]:
            whole &= (high <= last - border) & (middle <= last - core)
    return whole


_ROOMY = 0.8  # of a tile's side: a box that is longer has nothing around it there


def best_tile(tiles: list[Tile], boxes: Float[np.ndarray, "n 4"]) -> Int[np.ndarray, " n"]:
    """In which tile each box is seen best: the smallest that has room for it, and of those the one in whose middle it
    is.

    Args:
        tiles: the first of them the picture itself, which takes what fits no other.
        boxes: [N, 4] xyxy pixels of the picture.
    """
    places = np.array([tile.box for tile in tiles], dtype=np.float64)  # [T, 4]
    b = np.asarray(boxes, dtype=np.float64)[:, None]
    inside = (b[..., :2] >= places[:, :2]).all(axis=2) & (b[..., 2:] <= places[:, 2:]).all(axis=2)  # [N, T]
    sides = (places[:, 2:] - places[:, :2]).max(axis=1)
    inside &= (b[..., 2:] - b[..., :2]).max(axis=2) <= _ROOMY * sides
    inside[:, 0] = True
    away = np.abs((b[..., :2] + b[..., 2:] - places[:, :2] - places[:, 2:]) / 2).max(axis=2) / sides
    # Levels are whole numbers, and nothing is as much as one side away from a tile that it is in.
    fit = np.where(inside, np.array([tile.level for tile in tiles]) - away.clip(max=0.99), -np.inf)
    return fit.argmax(axis=1)
