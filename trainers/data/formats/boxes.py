"""Boxes as other people's files hold them, read into pixels: four numbers, in one of a few layouts and units.

A format knows in which form its boxes usually come; a person may say another one. What was said is believed. Where
nothing was, numbers that can hardly be what they are read as are named: parts of the picture's size taken for pixels,
or boxes most of which would not lie in their pictures.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fo1agent.errors import DataError, InputError
from fo1agent.trainers.data.records import Example

LAYOUTS = {
    "xyxy": "x1, y1, x2, y2",
    "xywh": "x, y, width, height",
    "cxcywh": "center x, center y, width, height",
}
# Pixels, parts of the picture's size from 0 to 1, and the grid of 0 to 1000 that some language models are taught.
UNITS = {"": 0, "-normalized": 1, "-1000": 1000}
FORMS = tuple(layout + unit for unit in UNITS for layout in LAYOUTS)

CUT = "a box stands out of its picture and was cut at the border"
GONE = "a box lies outside its picture, or has no area, and was left out"

# Pixels; where all boxes of a picture lie within them, they are parts of its size, of which two may have been added.
_TINY = 2.0
_SMALLEST = 16  # pixels of a picture's shorter side, below which nothing is said of tiny boxes
_KEPT = 1000  # boxes that are looked at together
_LOST = 0.1  # share of boxes outside their pictures from which another form is looked for
_FEW = 2.5  # boxes; so many or fewer are named one by one, and prove nothing
_FITS = 0.99
_SURE = 7.0  # -log of a chance: so unlikely is it that no box of many goes beyond 1000 pixels by itself


class Cut(NamedTuple):
    """Boxes as an `Example` has them: [N, 4] float32 xyxy pixels, which of the rows they are, and what to say."""

    boxes: np.ndarray
    kept: list[int]
    remarks: tuple[str, ...]

    def example(
        self,
        identity: int | str,
        path: Path | None,
        size_wh: tuple[int, int],
        source: str,
        labels: Sequence[str] | None = None,
        crowd: Sequence[bool] | np.ndarray | None = None,
        **known: Any,
    ) -> Example:
        """The example of a picture with these boxes.

        Args:
            identity, path, size_wh, source: as an `Example` has them.
            labels, crowd: of the boxes that were kept; None when they have no labels, or none is a crowd.
            known: its other fields, but for `remarks`, to which some may be added.
        """
        count = len(self.boxes)
        names = ("",) * count if labels is None else tuple(labels)
        crowds = np.zeros(count, dtype=bool) if crowd is None else np.array(crowd, dtype=bool)
        remarks = (*self.remarks, *known.pop("remarks", ()))
        return Example(identity, path, *size_wh, self.boxes, names, crowds, source=source, remarks=remarks, **known)


NO_BOXES = Cut(np.zeros((0, 4), np.float32), [], ())


class BoxReader:
    """Reads the boxes of one source.

    Args:
        usual: the form (of `FORMS`) that the format's boxes have.
        told: the form that a person says they have; None where nobody did.
        hint: what a person would do to say a form; None where the format has no choice.
        slack: how far outside 0 to 1 a normalised number may be; what stands out is cut.

    Raises:
        InputError: `told` is no form.
    """

    def __init__(
        self,
        usual: str,
        told: str | None = None,
        hint: Callable[[str], str] | None = lambda form: f"say --boxes {form}",
        slack: float = 0.5,
    ) -> None:
        if told is not None and told not in FORMS:
            raise InputError(f"boxes: unknown form {told!r}. Known: {', '.join(FORMS)}.")
        self.form, self.told = told or usual, told is not None
        layout, dash, unit = self.form.partition("-")
        self.layout, self._unit, self._grid = layout, dash + unit, UNITS[dash + unit]
        self._hint, self._slack = hint, slack
        self._seen: list[tuple[float, ...]] = []

    def read(self, rows: Any, width: int, height: int, name: Callable[[int], str] = "box {}".format) -> Cut:
        """The boxes of one picture.

        Raises:
            DataError: a row is no such box, or all of them can hardly be pixels; names it.
        """
        if not isinstance(rows, list | tuple | np.ndarray):
            raise DataError(f"the boxes are {rows!r:.60}; wanted a list of them")
        return self.cut([self.corners(row, width, height, name(k)) for k, row in enumerate(rows)], width, height)

    def corners(self, row: Any, width: int, height: int, name: str = "box") -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 in pixels, not cut.

        Raises:
            DataError: the row is not four finite numbers, or is turned around.
        """
        a, b, c, d = four_numbers(row, name, LAYOUTS[self.layout])
        self._look((a, b, c, d), width, height)
        if self._grid:
            self._check_share((a, b, c, d), row, name)
        x1, y1, x2, y2 = _corners(self.layout, a, b, c, d)
        if x2 < x1 or y2 < y1:
            what = "a side below 0" if self.layout != "xyxy" else "turned around"
            other = "xywh" if self.layout == "xyxy" else "xyxy"
            raise DataError(
                f"{name} is {_shown(row)}: {what}; wanted {LAYOUTS[self.layout]}"
                + self._or(f"it is {LAYOUTS[other]}", other + self._unit)
            )
        x, y = self.scale(width, height)
        return x1 * x, y1 * y, x2 * x, y2 * y

    @property
    def normalized(self) -> bool:
        """Numbers are parts of the picture's size, from 0 to 1."""
        return self._grid == 1

    def scale(self, width: int, height: int) -> tuple[float, float]:
        """Pixels that one unit of the form is, across and down."""
        return (width / self._grid, height / self._grid) if self._grid else (1.0, 1.0)

    def cut(self, rows: Sequence[Sequence[float]], width: int, height: int) -> Cut:
        """xyxy pixel rows of one picture, cut at its border; rows of which nothing is left are left out.

        Raises:
            DataError: all of them lie in the picture's first pixel or so, and nobody said that they are pixels.
        """
        self.check_tiny(rows, width, height)
        kept: list[int] = []
        boxes: list[tuple[float, float, float, float]] = []
        remarks: list[str] = []
        for k, (x1, y1, x2, y2) in enumerate(rows):
            # Each end within the picture: a number beyond it may also be beyond what a float32 holds.
            (left, right), (top, bottom) = _within(x1, x2, width), _within(y1, y2, height)
            box = left, top, right, bottom
            if not has_area(*box):
                remarks.append(GONE)
                continue
            out_x, out_y = max(-x1, x2 - width), max(-y1, y2 - height)
            if out_x > max(2.0, width / 100) or out_y > max(2.0, height / 100):
                remarks.append(CUT)
            kept.append(k)
            boxes.append(box)
        return Cut(np.array(boxes, np.float32).reshape(-1, 4), kept, tuple(remarks))

    def look(self, rows: Any, width: int, height: int) -> None:
        """Take rows into account for `doubts` that are read, and judged, elsewhere."""
        with contextlib.suppress(DataError, TypeError):
            for row in rows:
                self._look(four_numbers(row, "", ""), width, height)

    def _look(self, values: tuple[float, ...], width: int, height: int) -> None:
        if len(self._seen) < _KEPT:
            self._seen.append((*values, width, height))

    def check_tiny(self, rows: Sequence[Sequence[float]], width: int, height: int) -> None:
        """Refuse xyxy rows that are likely parts of the picture's size, unless somebody said what they are.

        Raises:
            DataError: all that have an area lie in the picture's first pixel or so.
        """
        if self._grid or self.told or min(width, height) < _SMALLEST:
            return
        sized = [row for row in rows if row[2] > row[0] and row[3] > row[1]]
        if sized and all(min(row) >= -_TINY and max(row) <= _TINY for row in sized):
            raise DataError(
                f"all boxes lie in the first {_TINY:g} pixels of {width} x {height}, as"
                f" {', '.join(f'{v:g}' for v in sized[0])} does: they look like parts of its size, from 0 to 1"
                + self._or("they are", f"{self.layout}-normalized (or the like)")
                + self._or("they are pixels", self.layout)
            )

    def doubts(self) -> list[str]:
        """What all boxes together say against the form that they were read in; nothing where a person said it."""
        if self.told or not self._seen:
            return []
        seen = np.array(list(self._seen), np.float64)
        small = (seen[:, :4].max(axis=1) <= 1.01) & (seen[:, 4:].min(axis=1) >= _SMALLEST)
        if not self._grid and small.mean() > 0.5:
            forms = [f"{layout}-normalized" for layout in (self.layout, *LAYOUTS)]
            best = max(forms, key=lambda form: _share_inside(seen[small], form))
            return [f"numbers are from 0 to 1, and so hardly pixels{self._or('they are parts of the size', best)}"]
        lost = 1 - _share_inside(seen, self.form)
        large = seen[seen[:, 4:].max(axis=1) > 1000]
        on_grid = False
        if not self._grid and len(large) and 900 <= large[:, :4].max() <= 1000:
            on_grid = float(np.log(large[:, 4:].max(axis=1) / 1000).sum()) > _SURE
        if lost >= _LOST and lost * len(seen) > _FEW:
            others = [form for form in FORMS if form != self.form and _share_inside(seen, form) >= _FITS]
            # A grid that is hardly filled fits because its boxes would be small, and so explains nothing.
            others = [form for form in others if _fills(seen, UNITS[form[len(form.split("-")[0]) :]])]
            others.sort(key=lambda form: form.endswith("-1000") != on_grid)
            other = self._or("they are", others[0]) if others else ""
            fits = f"; read as {others[0]} ({LAYOUTS[others[0].partition('-')[0]]}), they do" if others else ""
            return [f"{lost:.0%} of the boxes, read as {self.form}, do not lie in their pictures{fits}{other}"]
        if on_grid:
            return [
                "no box goes beyond 1000, though pictures are larger, so they may be on a grid of 0 to 1000"
                + self._or("they are", f"{self.layout}-1000")
            ]
        return []

    def _check_share(self, values: tuple[float, ...], row: Any, name: str) -> None:
        low, high = -self._slack * self._grid, (1 + self._slack) * self._grid
        if not all(low <= v <= high for v in values):
            size = "parts of the picture's size" if self._grid == 1 else "steps of a grid"
            raise DataError(
                f"{name} is {_shown(row)}: wanted numbers from 0 to {self._grid}, {size}"
                + self._or("they are pixels", self.layout)
            )

    def _or(self, case: str, form: str, sign: str = "; ") -> str:
        return f"{sign}if {case}, {self._hint(form)}" if self._hint is not None else ""


def four_numbers(row: Any, name: str, wanted: str) -> tuple[float, float, float, float]:
    """Four finite numbers, which may be written as text.

    Raises:
        DataError: something else; says what was got.
    """
    # Text and objects can be taken apart into four things, too: "1234" and {"0": …} are no boxes.
    if isinstance(row, list | tuple | np.ndarray) and len(row) == 4:
        try:
            if not any(isinstance(v, bool | np.bool_) for v in row):
                a, b, c, d = (float(v) for v in row)
                if math.isfinite(a) and math.isfinite(b) and math.isfinite(c) and math.isfinite(d):
                    return a, b, c, d
                raise DataError(f"{name} is {_shown(row)}: not finite; wanted {wanted}")
        except (TypeError, ValueError, OverflowError):
            pass
    raise DataError(f"{name} is {_shown(row)}; wanted four numbers, {wanted}")


def _within(low: float, high: float, end: int) -> tuple[float, float]:
    return min(max(low, 0.0), float(end)), min(max(high, 0.0), float(end))


def has_area(x1: float, y1: float, x2: float, y2: float) -> bool:
    """Whether the box has an area in the numbers that boxes are kept in: a height of 1e-50 is none."""
    return bool(np.float32(x2) > np.float32(x1) and np.float32(y2) > np.float32(y1))


def _corners(layout: str, a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any, Any, Any]:
    if layout == "xyxy":
        return a, b, c, d
    if layout == "xywh":
        return a, b, a + c, b + d
    return a - c / 2, b - d / 2, a + c / 2, b + d / 2


def _share_inside(seen: np.ndarray, form: str) -> float:
    """Of [N, 6] rows of four numbers, width and height, the share that would be boxes in their pictures."""
    layout, dash, unit = form.partition("-")
    grid = UNITS[dash + unit]
    width, height = seen[:, 4], seen[:, 5]
    x1, y1, x2, y2 = _corners(layout, *seen[:, :4].T)
    if grid:
        x1, y1, x2, y2 = x1 * width / grid, y1 * height / grid, x2 * width / grid, y2 * height / grid
    near_x, near_y = np.maximum(2, width / 100), np.maximum(2, height / 100)
    inside = (x1 >= -near_x) & (y1 >= -near_y) & (x2 <= width + near_x) & (y2 <= height + near_y)
    return float((inside & (x2 >= x1) & (y2 >= y1)).mean())


def _fills(seen: np.ndarray, grid: int) -> bool:
    return not grid or seen[:, :4].max() >= 0.9 * grid


def _shown(row: Any) -> str:
    return f"{row!r:.60}"
