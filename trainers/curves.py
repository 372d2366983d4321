"""`curves.png`: how a run went, drawn from its `log.jsonl` by matplotlib.

One small chart per logged value, all against the step; values that are far apart and positive get a logarithmic scale.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fo1agent.errors import MissingExtraError
from fo1agent.evaluate import plots
from fo1agent.whole import whole

log = logging.getLogger(__name__)

WIDTH, HEIGHT, COLUMNS = 460, 280, 3  # of a chart in pixels; charts in a row
FAR_APART = 30  # times the smallest value: from there on the scale is logarithmic


def draw_curves(records: Sequence[dict[str, Any]], file: Path, title: str) -> None:
    """Write the picture; nothing when nothing was logged, or matplotlib is not installed.

    Args:
        records: of `log.jsonl`: losses under their names, held-back figures under `metrics`.
        file: a PNG.
        title: stands above.
    """
    series: dict[tuple[bool, str], list[tuple[float, float]]] = {}
    for record in records:
        held_back = "metrics" in record
        for name, value in (record["metrics"] if held_back else record).items():
            if name not in ("step", "steps_per_second") and isinstance(value, (int, float)) and math.isfinite(value):
                series.setdefault((held_back, name), []).append((record["step"], value))
    if not series:
        return
    order = sorted(series, key=lambda key: (key[0], key[1] in ("grad_norm", "lr"), key[1] != "loss"))
    try:
        figure = _figure(series, order, title)
    except MissingExtraError as exc:
        log.warning("curves.png is not drawn. %s", exc)
        return
    with whole(file) as temporary:
        plots.picture(figure).save(temporary, format="PNG")


def _figure(
    series: Mapping[tuple[bool, str], Sequence[tuple[float, float]]], order: Sequence[tuple[bool, str]], title: str
) -> Any:
    columns, rows = min(COLUMNS, len(order)), -(-len(order) // COLUMNS)
    figure = plots.empty(columns * WIDTH, rows * HEIGHT + 40)
    steps = max(x for points in series.values() for x, _ in points)
    figure.suptitle(f"{title}, {steps:,} steps")
    for place, key in enumerate(order, 1):
        _draw(figure.add_subplot(rows, columns, place), key[1], series[key], steps, plots.COLORS[key[0]])
    return figure


def _draw(axes: Any, name: str, points: Sequence[tuple[float, float]], steps: float, color: str) -> None:
    values = [y for _, y in points]
    axes.plot(*zip(*points, strict=True), "o-" if len(points) <= 40 else "-", color=color, markersize=3)
    axes.set_title(name, loc="left", color=color)
    axes.set_title(f"last {values[-1]:.4g}", loc="right", fontsize="small")
    axes.set_xlim(0, max(1, steps))
    if min(values) > 0 and max(values) / min(values) > FAR_APART:
        axes.set_yscale("log")
    axes.grid(axis="y", color=plots.GRID)
