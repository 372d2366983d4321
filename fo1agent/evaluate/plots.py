"""Small charts of measurements, drawn with Pillow: no plotting library is needed to look at a model.

A chart is drawn at twice its size and halved, which is what smooths its lines. Text has Pillow's own font, so Latin
letters only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from fo1agent.evaluate.scores import Bin

Color = tuple[int, int, int]
Range = tuple[float, float]

# Okabe and Ito's colours, to be told apart by people with any kind of colour vision.
COLORS: tuple[Color, ...] = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233))
INK, FAINT, GRID, PAPER = (34, 34, 34), (110, 110, 110), (226, 226, 226), (255, 255, 255)
_FINE = 2  # how much larger a chart is drawn than it is


class Chart:
    """Axes with ticks, and things drawn in their units.

    Args:
        size: width and height of the whole, pixels.
        x, y: what the axes span.
        title, x_label, y_label: words at the top, below and at the upper left.
        log_y: logarithmic y; both ends must be positive.
        right: room right of the axes, pixels; a legend stands there if it is wide enough for one.
    """

    LEFT, TOP, BOTTOM = 52, 44, 40

    def __init__(
        self,
        size: tuple[int, int],
        x: Range,
        y: Range,
        title: str = "",
        x_label: str = "",
        y_label: str = "",
        log_y: bool = False,
        right: int = 14,
    ) -> None:
        self.size, self.x, self.y, self.log_y, self.right = size, x, y, log_y, right
        self.image = Image.new("RGB", (size[0] * _FINE, size[1] * _FINE), PAPER)
        self.pen = ImageDraw.Draw(self.image)
        self._axes(title, x_label, y_label)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point in the axes' units."""
        low, high = self.y
        if self.log_y:
            low, high, y = math.log(low), math.log(high), math.log(max(y, 1e-12))
        width, height = self.size[0] - self.LEFT - self.right, self.size[1] - self.TOP - self.BOTTOM
        left = self.LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * width
        return left, self.TOP + (high - y) / (high - low) * height

    def line(self, x: Sequence[float], y: Sequence[float], color: Color, width: float = 1.6) -> None:
        """Points joined in order."""
        points = [tuple(v * _FINE for v in self.at(a, b)) for a, b in zip(x, y, strict=True)]
        self.pen.line(points, fill=color, width=max(1, round(width * _FINE)), joint="curve")

    def bar(self, x: Range, y: Range, fill: Color, outline: Color | None = None) -> None:
        """A filled rectangle."""
        (left, bottom), (right, top) = self.at(x[0], y[0]), self.at(x[1], y[1])
        self.pen.rectangle([v * _FINE for v in (left, top, right, bottom)], fill=fill, outline=outline, width=_FINE)

    def dot(self, x: float, y: float, color: Color, radius: float = 3) -> None:
        """A filled circle, its radius in pixels."""
        a, b = self.at(x, y)
        self.pen.ellipse([v * _FINE for v in (a - radius, b - radius, a + radius, b + radius)], fill=color)

    def words(self, x: float, y: float, text: str, color: Color = INK, size: int = 11, anchor: str = "la") -> None:
        """Text at pixels (not units) of the chart; `anchor` as Pillow has it."""
        write(self.pen, (x, y), text, color, size, anchor)

    def legend(self, names: Mapping[str, Color]) -> None:
        """Names in their colours: right of the axes where there is room, else in their upper left."""
        x = self.size[0] - self.right + 8 if self.right > 60 else self.LEFT + 8
        for k, (name, color) in enumerate(names.items()):
            self.words(x, self.TOP + 4 + 14 * k, name, color)

    def done(self) -> Image.Image:
        """The chart at its own size."""
        return shrink(self.image)

    def _axes(self, title: str, x_label: str, y_label: str) -> None:
        for value in ticks(self.x, 6):
            a, b = self.at(value, self.y[0])
            self.pen.line([a * _FINE, self.TOP * _FINE, a * _FINE, b * _FINE], fill=GRID, width=_FINE)
            self.words(a, b + 4, _number(value), FAINT, 10, "ma")
        for value in ticks(self.y, 6, self.log_y):
            a, b = self.at(self.x[0], value)
            right = self.size[0] - self.right
            self.pen.line([a * _FINE, b * _FINE, right * _FINE, b * _FINE], fill=GRID, width=_FINE)
            self.words(a - 5, b, _number(value), FAINT, 10, "rm")
        self.words(8, 7, title, INK, 13)
        self.words(8, 26, y_label, FAINT, 10)
        self.words(self.size[0] - self.right, self.size[1] - 8, x_label, FAINT, 10, "rd")


def reliability(bins: Sequence[Bin], error: float) -> Image.Image:
    """Share of right regions by score, against the diagonal where scores are probabilities; below, how many there are.

    Args:
        bins: of `scores.reliability`.
        error: expected calibration error, 0 to 1.
    """
    title = f"Are scores probabilities? Calibration error {error:.3f}"
    upper = Chart((480, 380), (0, 1), (0, 1), title, "score", "share of regions that are right")
    for b in bins:
        upper.bar((b.low, b.high), (0, b.right), (198, 219, 239), COLORS[0])
    upper.line([0, 1], [0, 1], FAINT, 1)
    for b in bins:
        upper.dot(b.score, b.right, COLORS[1])
    upper.legend({"share right, per bin": COLORS[0], "at the mean score": COLORS[1], "as it should be": FAINT})
    most = max([b.regions for b in bins], default=1)
    lower = Chart((480, 170), (0, 1), (0.8, 1.5 * most), "", "score", "regions (logarithmic)", log_y=True)
    for b in bins:
        lower.bar((b.low, b.high), (0.8, b.regions), (200, 200, 200), FAINT)
    return stack([upper.done(), lower.done()])


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    title: str,
    x_label: str = "step",
    size: tuple[int, int] = (560, 280),
) -> Image.Image:
    """Lines by name, each (x, y); values that are not finite are left out."""
    points = {name: [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(b)] for name, (x, y) in series.items()}
    points = {name: pairs for name, pairs in points.items() if pairs}
    xs = [a for pairs in points.values() for a, _ in pairs] or [0.0]
    ys = [b for pairs in points.values() for _, b in pairs] or [0.0]
    low, high = min(0.0, *ys), max(ys)
    span = low, high * 1.05 if high > low else low + 1
    chart = Chart(size, (min(0.0, *xs), max(*xs, 1.0)), span, title, x_label, right=120)
    for (_, pairs), color in zip(points.items(), _colors(), strict=False):
        chart.line([a for a, _ in pairs], [b for _, b in pairs], color)
    last = {name: pairs[-1][1] for name, pairs in points.items()}
    chart.legend(dict(zip((f"{name} {value:.3g}" for name, value in last.items()), _colors(), strict=False)))
    return chart.done()


def confusion(names: Sequence[str], counts: np.ndarray, title: str, said: Sequence[str] | None = None) -> Image.Image:
    """A table of squares: rows are what things are, columns what they were called; each row adds up to 100 %.

    Args:
        names: of the rows.
        counts: [rows, columns].
        title: above it.
        said: of the columns; None for the same names.
    """
    said, cell, left, top = names if said is None else said, 30, 110, 130
    width, height = left + cell * len(said) + 60, top + cell * len(names) + 12
    image = Image.new("RGB", (width * _FINE, height * _FINE), PAPER)
    pen = ImageDraw.Draw(image)
    write(pen, (8, 8), title, INK, 13)
    write(pen, (8, top - 18), "is", FAINT, 10)
    totals = counts.sum(axis=1)
    for column, name in enumerate(said):
        _upright(image, name, (left + cell * column + cell // 2, top - 5))
    for row, name in enumerate(names):
        y = top + cell * row
        write(pen, (left - 6, y + cell / 2), name, INK, 11, "rm")
        write(pen, (left + cell * len(said) + 6, y + cell / 2), f"{int(totals[row])}", FAINT, 10, "lm")
        for column, called in enumerate(said):
            share = counts[row, column] / max(1, totals[row])
            right = called == name
            x = left + cell * column
            fill = _mixed(COLORS[2] if right else COLORS[1], share**0.6)
            pen.rectangle([v * _FINE for v in (x, y, x + cell - 1, y + cell - 1)], fill=fill, outline=GRID)
            if share >= 0.005:
                dark = sum(fill) > 380
                words = f"{100 * share:.0f}"
                write(pen, (x + cell / 2, y + cell / 2), words, INK if dark else PAPER, 10, "mm")
    write(pen, (left + cell * len(said) + 6, top - 18), "boxes", FAINT, 10)
    return shrink(image)


def stack(images: Sequence[Image.Image], columns: int = 1) -> Image.Image:
    """Pictures side by side in rows of `columns`, on white."""
    rows = [images[k : k + columns] for k in range(0, len(images), columns)]
    heights = [max(image.height for image in row) for row in rows]
    width = max(sum(image.width for image in row) for row in rows)
    canvas = Image.new("RGB", (width, sum(heights)), PAPER)
    y = 0
    for row, height in zip(rows, heights, strict=True):
        x = 0
        for image in row:
            canvas.paste(image, (x, y))
            x += image.width
        y += height
    return canvas


def shrink(image: Image.Image) -> Image.Image:
    """A picture drawn too large, at its own size."""
    return image.resize((image.width // _FINE, image.height // _FINE), Image.Resampling.LANCZOS)


def write(
    pen: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, color: Color, size: int, anchor: str = "la"
) -> None:
    """Text at a place of a picture that `shrink` will halve; size and place in the final pixels."""
    font = ImageFont.load_default(size * _FINE)
    pen.text((xy[0] * _FINE, xy[1] * _FINE), text, fill=color, font=font, anchor=anchor)


def ticks(span: Range, most: int, log: bool = False) -> list[float]:
    """Round numbers within a span, at most about so many; powers of ten for a logarithmic axis."""
    low, high = span
    if log:
        return [10.0**k for k in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    raw = (high - low) / most
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    return f"{value:g}" if abs(value) < 10_000 else f"{value / 1000:g}k"


def _colors() -> Sequence[Color]:
    return COLORS * 8


def _mixed(color: Color, share: float) -> Color:
    red, green, blue = (round(255 + (c - 255) * min(1.0, share)) for c in color)
    return red, green, blue


def _upright(image: Image.Image, text: str, foot: tuple[int, int], turn: Literal[90] = 90) -> None:
    """Text that reads upwards from its foot."""
    font = ImageFont.load_default(11 * _FINE)
    left, top, right, bottom = (int(v) for v in font.getbbox(text))
    label = Image.new("RGB", (right - left + 2, bottom - top + 4), PAPER)
    ImageDraw.Draw(label).text((-left, -top), text, fill=INK, font=font)
    label = label.rotate(turn, expand=True)
    image.paste(label, (foot[0] * _FINE - label.width // 2, foot[1] * _FINE - label.height))
