"""Charts of measurements as pictures, drawn by matplotlib, which the extra `eval` brings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from fo1agent.errors import MissingExtraError
from fo1agent.extras import install_line

# Okabe and Ito's colours, to be told apart by people with any kind of colour vision.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
FAINT, GRID = "#6e6e6e", "#e2e2e2"
_DPI = 100
_RIGHT, _WRONG = (0, 158, 115), (213, 94, 0)


@dataclass(frozen=True)
class Bin:
    """Regions of like score: their number, mean score, and the share of them that is right (0 to 1)."""

    low: float
    high: float
    regions: int
    score: float
    right: float


def reliability(bins: Sequence[Bin], error: float) -> Image.Image:
    """Share of right regions by score, against the diagonal where scores are probabilities; below, how many there are.

    Args:
        bins: of `scores.reliability`.
        error: expected calibration error, 0 to 1.
    """
    figure = empty(480, 550)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(5, 2))
    lows, widths = [b.low for b in bins], [b.high - b.low for b in bins]
    bar = {"width": widths, "align": "edge"}
    upper.bar(lows, [b.right for b in bins], **bar, color="#c6dbef", edgecolor=COLORS[0], label="share right, per bin")
    upper.plot([0, 1], [0, 1], color=FAINT, label="as it should be")
    upper.plot([b.score for b in bins], [b.right for b in bins], "o", color=COLORS[1], label="at the mean score")
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share of regions that are right")
    upper.set_title(f"Are scores probabilities? Calibration error {error:.3f}", loc="left")
    upper.legend()
    lower.bar(lows, [b.regions for b in bins], **bar, color="#c8c8c8", edgecolor=FAINT)
    most = max([b.regions for b in bins], default=1)
    lower.set(yscale="log", ylim=(0.8, 1.5 * most), xlabel="score", ylabel="regions")
    return picture(figure)


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    title: str,
    x_label: str = "step",
    size: tuple[int, int] = (560, 280),
) -> Image.Image:
    """Lines by name, each (x, y), with their last values; values that are not finite are left out."""
    figure = empty(*size)
    axes = figure.subplots()
    axes.set_prop_cycle(color=COLORS)
    for name, (x, y) in series.items():
        if points := [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(b)]:
            axes.plot(*zip(*points, strict=True), label=f"{name} {points[-1][1]:.3g}")
    axes.set(xlabel=x_label)
    axes.set_title(title, loc="left")
    axes.grid(color=GRID)
    if axes.lines:
        figure.legend(loc="outside right upper", frameon=False)
    return picture(figure)


def confusion(names: Sequence[str], counts: np.ndarray, title: str, said: Sequence[str] | None = None) -> Image.Image:
    """A table of squares: rows are what things are, columns what they were called; each row adds up to 100 %.

    Args:
        names: of the rows.
        counts: [rows, columns].
        title: above it.
        said: of the columns; None for the same names.
    """
    said, totals = names if said is None else said, counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    figure = empty(200 + 32 * len(said), 160 + 32 * len(names))
    axes = figure.subplots()
    right = np.array(names)[:, None] == np.array(said)[None, :]
    full = np.where(right[..., None], _RIGHT, _WRONG)
    # More than in proportion, so that a few percent can be seen.
    axes.imshow((255 + (full - 255) * shares[..., None] ** 0.6).astype(np.uint8))
    for row, column in np.argwhere(shares >= 0.005):
        share = shares[row, column]
        axes.text(
            column, row, f"{100 * share:.0f}", ha="center", va="center", color="white" if share > 0.5 else "black"
        )
    axes.set_xticks(range(len(said)), said, rotation=90)
    axes.set_yticks(range(len(names)), [f"{name} ({int(n)})" for name, n in zip(names, totals, strict=True)])
    axes.xaxis.tick_top()
    axes.set(ylabel="is (boxes)")
    figure.suptitle(title, fontsize=10)
    return picture(figure)


def stack(images: Sequence[Image.Image], columns: int = 1, gap: int = 0) -> Image.Image:
    """Pictures side by side in rows of `columns`, on white, with so many pixels between and around them."""
    rows = [images[k : k + columns] for k in range(0, len(images), columns)]
    heights = [max(image.height for image in row) for row in rows]
    width = max(sum(image.width + gap for image in row) for row in rows) + gap
    canvas = Image.new("RGB", (width, sum(heights) + gap * (len(rows) + 1)), "white")
    y = gap
    for row, height in zip(rows, heights, strict=True):
        x = gap
        for image in row:
            canvas.paste(image, (x, y))
            x += image.width + gap
        y += height + gap
    return canvas


def empty(width: int, height: int) -> Any:
    """An empty matplotlib figure of so many pixels; not one of pyplot's, which are shared by all threads."""
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise MissingExtraError(f"Charts need matplotlib: {install_line('eval')}") from exc
    return Figure((width / _DPI, height / _DPI), _DPI, layout="constrained")


def picture(figure: Any) -> Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
