"""The box around an outline as COCO's files hold them: polygons, or runs of pixels, plain or packed into text.

Pixels are never painted: the box of runs follows from where they start and end, so the work is that of reading them.
pycocotools, an extra, has the same for runs that are right (a test compares); of others, its C code makes a box 100,001
wide in a picture of 10 pixels (counts 5, 1000000), and ends the process at a size of 0 x 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, cycle
from typing import Any, NamedTuple

import numpy as np

from fo1agent.errors import DataError

_MOST = 1 << 20  # runs, which are also more than any one picture's outline has
_LARGEST = 1 << 16  # pixels a side


class Outline(NamedTuple):
    """The box around it, and for runs the height and width of the picture they are of."""

    box: tuple[float, float, float, float]
    size: tuple[int, int] | None


def outline(segmentation: Any) -> Outline:
    """The box, x, y, width, height in pixels, around a COCO `segmentation`.

    Raises:
        DataError: it is neither polygons nor runs, or there is nothing in it.
    """
    if isinstance(segmentation, dict):
        return _of_runs(segmentation)
    return Outline(_of_polygons(segmentation), None)


def _of_polygons(polygons: Any) -> tuple[float, float, float, float]:
    if not isinstance(polygons, list) or not polygons:
        raise DataError(f"segmentation is {polygons!r:.60}; wanted polygons or runs")
    if not isinstance(polygons[0], list):
        polygons = [polygons]  # one polygon, not in a list of its own
    try:
        flat = [points if not isinstance(points[0], list) else list(chain(*points)) for points in polygons if points]
        parts = [np.array(points, np.float64) for points in flat]
    except (TypeError, ValueError, LookupError) as exc:
        raise DataError(f"segmentation is {polygons!r:.60}; wanted lists of x, y, x, y, …") from exc
    if not parts or not all(p.ndim == 1 and len(p) % 2 == 0 and len(p) >= 6 and np.isfinite(p).all() for p in parts):
        raise DataError(f"segmentation is {polygons!r:.60}; wanted lists of at least three points, x, y, x, y, …")
    x, y = (np.concatenate([points[k::2] for points in parts]) for k in (0, 1))
    return float(x.min()), float(y.min()), float(np.ptp(x)), float(np.ptp(y))


def _of_runs(runs: dict[str, Any]) -> Outline:
    size, counts = runs.get("size"), runs.get("counts")
    sides = size if isinstance(size, list) else []
    whole = len(sides) == 2 and all(type(v) is int and 0 < v <= _LARGEST for v in sides)
    if not whole or not isinstance(counts, str | list) or len(counts) > 8 * _MOST:
        raise DataError(f"segmentation is {runs!r:.60}; wanted size, height and width, and counts")
    height, width = sides
    lengths = _unpacked(counts) if isinstance(counts, str) else counts
    left, right, top, bottom, at = width, -1, height, -1, 0
    # Runs go down the columns; the first one, and every other one, is of pixels outside.
    for inside, length in zip(cycle((False, True)), _checked(lengths), strict=False):
        start, at = at, at + length
        if at > height * width:
            raise DataError(f"segmentation's counts add up to more than {height} x {width}")
        if not inside or not length:
            continue
        last = at - 1
        left, right = min(left, start // height), max(right, last // height)
        if start // height == last // height:
            top, bottom = min(top, start % height), max(bottom, last % height)
        else:
            top, bottom = 0, height - 1
    if at != height * width:
        raise DataError(f"segmentation's counts add up to {at}; wanted {height} x {width}")
    if right < 0:
        raise DataError("segmentation has no pixels")
    return Outline((float(left), float(top), float(right - left + 1), float(bottom - top + 1)), (height, width))


def _checked(lengths: Iterable[Any]) -> Iterator[int]:
    for number, length in enumerate(lengths):
        if number >= _MOST:
            raise DataError(f"segmentation's counts are more than {_MOST}")
        if isinstance(length, bool) or not isinstance(length, int) or length < 0:
            raise DataError(f"segmentation's counts hold {length!r:.40}; wanted whole numbers of pixels")
        yield length


def _unpacked(text: str) -> Iterator[int]:
    """The run lengths that COCO's tools pack into text: six bits a sign, five of them of the number, the lowest first;
    from the fourth on, each is told by its difference to the one two before."""
    lengths: list[int] = []
    value = shift = 0
    for sign in text:
        bits = ord(sign) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise DataError(f"segmentation's counts hold {sign!r}; they are not packed as COCO's tools do")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        if len(lengths) > 2:
            value += lengths[-2]
        lengths.append(value)
        yield value
        value = shift = 0
    if shift:
        raise DataError("segmentation's counts end in the middle of a number")
