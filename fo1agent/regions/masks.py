"""`Mask`: which pixels of a picture belong to a thing. Pure numpy; outlines by shapely, which is imported for them.

A mask is kept as runs of pixels, the form that COCO files have, so that hundreds of a large picture cost little. Pixels
are counted down the columns: pixel (x, y) has the number x * height + y, and covers the square from (x, y) to
(x + 1, y + 1) in the frame of boxes. What makes masks is not known here; who does makes errors for users of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from shapely.geometry.base import BaseGeometry

OUTLINE_PIXELS = 1.0
"""How far a polygon may lie from the mask's own outline, which is one of steps."""
MOST_LINES = 30_000
"""Straight lines of an outline, above which it is drawn coarser: a mask of noise would take minutes."""
_SPECK = 0.005  # of a mask: a piece of it that is no larger is no part of its outline
_GROUP_BITS, _MOST_GROUPS = 5, 8  # of a number in compressed runs; eight hold 2^39 pixels
_FIRST = 48  # the character of the group 0


@dataclass(frozen=True, eq=False)
class Mask:
    """The pixels of one thing in one picture.

    Attributes:
        runs: [R, 2] int64, (first pixel, pixel after the last) of each run, in order; no two runs touch.
        size_hw: (height, width) of the whole picture.
        quality: how well the segmenter thinks that the mask fits, a predicted IoU from 0 to 1; None if it does not say.
    """

    runs: np.ndarray
    size_hw: tuple[int, int]
    quality: float | None = None

    def __repr__(self) -> str:
        height, width = self.size_hw
        return f"<Mask of {self.area} of {width}x{height} pixels>"

    @classmethod
    def of(cls, pixels: Bool[np.ndarray, "h w"], quality: float | None = None) -> Mask:
        """The mask of a picture of truth values.

        Raises:
            ValueError: it has no shape [height, width], or quality is no number from 0 to 1.
        """
        pixels = np.asarray(pixels)
        if pixels.ndim != 2:
            raise ValueError(f"A mask has the shape [height, width], got {list(pixels.shape)}.")
        if quality is not None and not 0 <= quality <= 1:
            raise ValueError(f"The quality of a mask lies from 0 to 1, got {quality:g}.")
        flat = np.zeros(pixels.size + 2, dtype=np.int8)
        flat[1:-1] = pixels.astype(bool).ravel(order="F")
        runs = np.flatnonzero(np.diff(flat)).reshape(-1, 2)
        height, width = pixels.shape
        return cls(runs, (height, width), None if quality is None else float(quality))

    @classmethod
    def from_coco(cls, told: Mapping[str, Any], quality: float | None = None) -> Mask:
        """The mask of COCO's `{"size": [height, width], "counts": …}`, with counts compressed (text) or not (a list).

        Raises:
            ValueError: it is none, or its runs do not fill the picture.
        """
        try:
            height, width = (int(side) for side in told["size"])
            counts = told["counts"]
            read = _uncompressed(counts) if isinstance(counts, (str, bytes)) else np.array(counts, dtype=np.int64)
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            raise ValueError(f"No mask in COCO's form, size and counts ({type(exc).__name__}: {exc}).") from exc
        if height < 1 or width < 1 or read.ndim != 1 or (read < 0).any() or int(read.sum()) != height * width:
            raise ValueError(f"The runs of a mask do not fill its {width}x{height} pixels.")
        ends = np.cumsum(read)
        ends = np.append(ends, ends[-1:]) if len(ends) % 2 else ends
        runs = _joined(ends.reshape(-1, 2))
        return cls(runs, (height, width), quality)

    def to_coco(self) -> dict[str, Any]:
        """`{"size": [height, width], "counts": text}`, COCO's compressed runs as pycocotools reads them."""
        edges = np.concatenate([[0], self.runs.ravel(), [self.size_hw[0] * self.size_hw[1]]])
        counts = np.diff(edges)
        return {"size": list(self.size_hw), "counts": _compressed(counts[:-1] if counts[-1] == 0 else counts)}

    def pixels(self) -> Bool[np.ndarray, "h w"]:
        """Truth values of the whole picture."""
        height, width = self.size_hw
        change = np.zeros(height * width + 1, dtype=np.int8)
        change[self.runs[:, 0]], change[self.runs[:, 1]] = 1, -1
        return np.cumsum(change[:-1], dtype=np.int8).astype(bool).reshape(width, height).T

    @cached_property
    def area(self) -> int:
        """Pixels."""
        return int((self.runs[:, 1] - self.runs[:, 0]).sum())

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """(x1, y1, x2, y2) around all of its pixels; zeros if there are none."""
        if not len(self.runs):
            return 0.0, 0.0, 0.0, 0.0
        height = self.size_hw[0]
        first, last = self.runs[:, 0], self.runs[:, 1] - 1
        left, right = first // height, last // height
        # A run that goes on in the next column reaches the lower edge there, and the upper one here.
        over = right > left
        top, bottom = np.where(over, 0, first % height).min(), np.where(over, height - 1, last % height).max()
        return float(left.min()), float(top), float(right.max() + 1), float(bottom + 1)

    def shared(self, other: Mask) -> int:
        """Pixels that both have; masks of pictures of two sizes share none."""
        if self.size_hw != other.size_hw:
            return 0
        edges = np.concatenate([[0], other.runs.ravel()])
        inside = np.concatenate([[0], np.cumsum(np.diff(edges) * (np.arange(len(edges) - 1) % 2))])
        before = np.interp(self.runs, edges, inside)  # pixels of the other before each end of a run
        return round(float((before[:, 1] - before[:, 0]).sum()))

    def iou(self, other: Mask) -> float:
        """Intersection over union, 0 to 1; 0 where both are empty."""
        shared = self.shared(other)
        union = self.area + other.area - shared
        return shared / union if union else 0.0

    def within(self, box: Sequence[float]) -> Mask:
        """What of it lies in a box (pixels whose middle does)."""
        x1, y1, x2, y2 = (math.ceil(v - 0.5) for v in box)
        kept = np.zeros(self.size_hw, dtype=bool)
        kept[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = True
        return replace(Mask.of(self.pixels() & kept), quality=self.quality)

    def meets(self, box: Sequence[float]) -> bool:
        """Whether any of its pixels lies in a box, if only in part."""
        height, width = self.size_hw
        x1, y1, x2, y2 = (math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3]))
        columns = height * np.arange(max(x1, 0), min(x2, width))
        first, end = columns + max(y1, 0), columns + min(y2, height)
        if not len(self.runs) or y2 <= y1:
            return False
        at = np.searchsorted(self.runs[:, 1], first, side="right")  # the run that ends next
        next_run = np.append(self.runs[:, 0], height * width)[at]
        return bool((next_run < end).any())

    @cached_property
    def shape(self) -> BaseGeometry:
        """Its exact outline as a shapely geometry, in pixels of the picture; holes are holes.

        One of more than `MOST_LINES` lines is drawn by cells of 2, 4, … pixels, set where half of their pixels are.
        """
        import shapely

        x1, y1, x2, y2 = (int(v) for v in self.box)
        pixels, cell = self.pixels()[y1:y2, x1:x2], 1
        cells, lines = pixels, _lines(pixels)
        while len(lines) > MOST_LINES:
            cell *= 2
            cells = _coarser(pixels, cell)
            lines = _lines(cells)
        edges: Any = shapely.linestrings(lines)
        faces = shapely.get_parts(shapely.polygonize(edges))  # holes are faces, too
        x, y = shapely.get_coordinates(shapely.point_on_surface(faces)).astype(int).T
        drawn: Any = shapely.multipolygons(faces[cells[y, x]])
        return shapely.transform(drawn, lambda corners: np.minimum(corners * cell + [x1, y1], [x2, y2]))

    @cached_property
    def outline(self) -> BaseGeometry:
        """Its outline without the steps of single pixels: at most `OUTLINE_PIXELS` from `shape`."""
        import shapely

        return shapely.simplify(self.shape, OUTLINE_PIXELS)

    def polygons(self) -> list[list[float]]:
        """Its outline as COCO's polygons, [x1, y1, x2, y2, …] of each piece, largest first. They have no holes, and
        pieces of less than half a percent of it are left out as specks; `to_coco` is exact."""
        import shapely

        pieces = [one for one in _polygons(self.outline) if one.area > _SPECK * self.area]
        pieces.sort(key=lambda piece: -piece.area)
        rings = [shapely.get_coordinates(piece.exterior)[:-1] for piece in pieces]
        return [ring.round(2).ravel().tolist() for ring in rings if len(ring) >= 3]

    def deepest(self) -> tuple[float, float] | None:
        """The point (x, y) inside that is farthest from its edge; None of an empty mask.

        Of a ring it lies in the ring, and of several pieces in the largest.
        """
        if not self.area:
            return None
        point = deepest(self.outline)
        x, y = (0.0, 0.0) if point is None else point
        if point is None or not self._has(x, y):  # its outline without steps lost a narrow place
            inner = max(_polygons(self.shape), key=lambda piece: piece.area).representative_point()
            x, y = inner.x, inner.y
        if not self._has(x, y):  # nor is it in what was drawn coarser
            first, end = self.runs[(self.runs[:, 1] - self.runs[:, 0]).argmax()].tolist()
            column, row = divmod((first + end - 1) // 2, self.size_hw[0])
            x, y = column + 0.5, row + 0.5
        return x, y

    def _has(self, x: float, y: float) -> bool:
        number = int(x) * self.size_hw[0] + int(y)
        at = int(np.searchsorted(self.runs[:, 0], number, side="right")) - 1
        return at >= 0 and number < self.runs[at, 1]


def deepest(shape: BaseGeometry) -> tuple[float, float] | None:
    """The point (x, y) in the largest piece of a shapely geometry that is farthest from its edge; None of no area."""
    import shapely

    pieces = [piece for piece in _polygons(shape) if piece.area > 0]
    if not pieces:
        return None
    largest = max(pieces, key=lambda piece: piece.area)
    x, y = shapely.get_coordinates(shapely.maximum_inscribed_circle(largest, tolerance=0.5))[0]
    return float(x), float(y)


def _lines(pixels: Bool[np.ndarray, "h w"]) -> Int[np.ndarray, "l 2 2"]:
    """The straight lines (x, y) to (x, y) between pixels that are set and such as are not; they meet at their ends
    alone."""
    padded = np.pad(pixels.astype(np.int8), 1)
    found = []
    for axis in (0, 1):
        # Which side is set: a line ends where the sides change, as two do that cross.
        sides = np.diff(padded, axis=axis)
        sides = sides if axis == 0 else sides.T
        flat, length = sides.ravel(), sides.shape[1]
        changes = np.flatnonzero(np.diff(flat)) + 1
        first, end = changes[:-1], changes[1:]
        set_there = flat[first] != 0
        first, end = first[set_there], end[set_there]
        at, ends = first // length, (first % length - 1, end % length - 1)
        line = np.stack([np.stack([along, at], axis=1) for along in ends], axis=1)
        found.append(line if axis == 0 else line[..., ::-1])
    return np.concatenate(found)


def _coarser(pixels: Bool[np.ndarray, "h w"], cell: int) -> Bool[np.ndarray, "k m"]:
    """Cells of `cell` pixels along each side, set where half of their pixels are; where that is nowhere, where any."""
    height, width = pixels.shape
    whole = np.pad(pixels, ((0, -height % cell), (0, -width % cell)), mode="edge")
    share = whole.reshape(whole.shape[0] // cell, cell, whole.shape[1] // cell, cell).mean(axis=(1, 3))
    most = share >= 0.5
    return most if most.any() else share > 0


def _polygons(shape: BaseGeometry) -> list[Any]:
    import shapely

    return [piece for piece in shapely.get_parts(shape) if piece.geom_type == "Polygon"]


def _joined(runs: Int[np.ndarray, "r 2"]) -> Int[np.ndarray, "k 2"]:
    """Runs without empty ones, and those that touch as one."""
    runs = runs[runs[:, 1] > runs[:, 0]]
    if not len(runs):
        return runs
    starts = np.concatenate([[True], runs[1:, 0] > runs[:-1, 1]])
    ends = np.append(starts[1:], True)
    return np.stack([runs[starts, 0], runs[ends, 1]], axis=1)


def _compressed(counts: Int[np.ndarray, " c"]) -> str:
    """Lengths of runs, in turn unset and set, as COCO's text: from the fourth on each as what it is more than the one
    before the last, in groups of five bits, lowest first, whose sixth bit says that another follows."""
    values = counts.astype(np.int64)
    values[3:] = counts[3:] - counts[1:-2]
    groups, going = [], []
    more = np.ones(len(values), dtype=bool)
    while more.any():
        bits, values = values & 0x1F, values >> _GROUP_BITS
        going.append(more)
        more = more & np.where(bits & 0x10, values != -1, values != 0)
        groups.append(bits | (more << _GROUP_BITS))
    written = np.stack(groups, axis=1)[np.stack(going, axis=1)]
    return (written + _FIRST).astype(np.uint8).tobytes().decode("ascii")


def _uncompressed(text: str | bytes) -> Int[np.ndarray, " c"]:
    """What `_compressed` was given.

    Raises:
        ValueError: it wrote no such text.
    """
    groups = np.frombuffer(text.encode("ascii") if isinstance(text, str) else text, dtype=np.uint8).astype(np.int64)
    groups = groups - _FIRST
    if not len(groups) or groups.min() < 0 or groups.max() > 0x3F or groups[-1] & 0x20:
        raise ValueError("its counts are no compressed runs")
    last = np.flatnonzero(~(groups & 0x20).astype(bool))
    first = np.concatenate([[0], last[:-1] + 1])
    place = np.arange(len(groups)) - np.repeat(first, last - first + 1)
    if place.max() >= _MOST_GROUPS:
        raise ValueError("a run is longer than any picture")
    values = np.add.reduceat((groups & 0x1F) << (_GROUP_BITS * place), first)
    values -= np.where(groups[last] & 0x10, 1 << (_GROUP_BITS * (place[last] + 1)), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
