"""`curves.png`: how a run went, drawn from its `log.jsonl` with Pillow alone, so that every run has it.

One small chart per logged value, all against the step; values that are far apart and positive get a logarithmic scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from fo1agent.whole import whole

WIDTH, HEIGHT, COLUMNS = 460, 280, 3  # of a chart in pixels; charts in a row
_SCALE = 2  # drawn larger and shrunk, for smooth lines
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 34, 16, 34  # around a chart's axes
_INK, _FAINT, _LINE, _METRIC = "#333333", "#e4e4e4", "#0072b2", "#d55e00"


def draw_curves(records: Sequence[dict[str, Any]], file: Path, title: str) -> None:
    """Write the picture; nothing when nothing was logged.

    Args:
        records: of `log.jsonl`: losses under their names, held-back figures under `metrics`.
        file: a PNG.
        title: stands above.
    """
    series: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for record in records:
        metrics = "metrics" in record
        for name, value in (record["metrics"] if metrics else record).items():
            if name not in ("step", "steps_per_second") and isinstance(value, (int, float)) and math.isfinite(value):
                series.setdefault((name, _METRIC if metrics else _LINE), []).append((record["step"], value))
    if not series:
        return
    order = sorted(series, key=lambda key: (key[1] == _METRIC, key[0] in ("grad_norm", "lr"), key[0] != "loss"))
    rows = -(-len(order) // COLUMNS)
    columns = min(COLUMNS, len(order))
    head = 40
    size = (columns * WIDTH * _SCALE, (rows * HEIGHT + head) * _SCALE)
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    steps = max(x for points in series.values() for x, _ in points)
    pen.text((20 * _SCALE, 12 * _SCALE), f"{title}, {steps:,} steps", _INK, font=_font(18))
    for index, key in enumerate(order):
        corner = (index % columns * WIDTH, head + index // columns * HEIGHT)
        _chart(pen, corner, key[0], series[key], steps, key[1])
    small = picture.resize((size[0] // _SCALE, size[1] // _SCALE), Image.Resampling.LANCZOS)
    with whole(file) as temporary:
        small.save(temporary, format="PNG")


def _chart(
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    name: str,
    points: Sequence[tuple[float, float]],
    steps: float,
    color: str,
) -> None:
    left, top = corner[0] + _LEFT, corner[1] + _TOP
    right, bottom = corner[0] + WIDTH - _RIGHT, corner[1] + HEIGHT - _BOTTOM
    values = [y for _, y in points]
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low > 30
    ticks = _decades(low, high) if logarithmic else _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def across(x: float) -> float:
        return _SCALE * (left + (right - left) * x / max(1, steps))

    def up(y: float) -> float:
        share = math.log(y / low) / math.log(high / low) if logarithmic else (y - low) / (high - low)
        return _SCALE * (bottom - (bottom - top) * share)

    last = f"{points[-1][1]:.4g}"
    pen.text((_SCALE * left, _SCALE * (corner[1] + 10)), name, color, font=_font(14))
    pen.text((_SCALE * right, _SCALE * (corner[1] + 10)), f"last {last}", _INK, font=_font(12), anchor="ra")
    for tick in ticks:
        pen.line([(_SCALE * left, up(tick)), (_SCALE * right, up(tick))], _FAINT, _SCALE)
        pen.text((_SCALE * (left - 6), up(tick)), f"{tick:g}", _INK, font=_font(11), anchor="rm")
    for tick in _ticks(0, steps):
        if tick <= steps:
            pen.text((across(tick), _SCALE * (bottom + 6)), f"{tick:g}", _INK, font=_font(11), anchor="ma")
    pen.line([(_SCALE * left, _SCALE * bottom), (_SCALE * right, _SCALE * bottom)], _INK, _SCALE)
    path = [(across(x), up(y)) for x, y in points]
    if len(path) > 1:
        pen.line(path, color, 2 * _SCALE, joint="curve")
    for x, y in path if len(path) <= 40 else ():
        pen.ellipse([x - 3 * _SCALE, y - 3 * _SCALE, x + 3 * _SCALE, y + 3 * _SCALE], fill=color)


def _ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers that enclose both; some room around a single value."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = abs(low) / 10 or 1.0
        low, high = low - room, high + room
    raw = (high - low) / 4
    magnitude = 10.0 ** math.floor(math.log10(raw))
    unit = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw)
    first, last = math.floor(low / unit + 1e-9), math.ceil(high / unit - 1e-9)
    return [float(f"{k * unit:.10g}") for k in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    return [10.0**k for k in range(first, last + 1)]


@lru_cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size * _SCALE)
