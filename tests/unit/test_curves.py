"""`curves.png`: a chart for every value, readable scales, and nothing to draw without a log."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fo1agent.trainers.curves import COLUMNS, HEIGHT, WIDTH, _decades, _ticks, draw_curves

LOG = [
    {"step": k, "loss": 3 / k, "match": 2 * math.exp(-k / 9), "name": 1.0, "grad_norm": 5.0, "lr": 1e-3}
    for k in range(1, 41)
] + [{"step": 20, "metrics": {"AP": 12.0}}, {"step": 40, "metrics": {"AP": 15.5}}]


def test_every_value_has_a_chart(tmp_path: Path) -> None:
    draw_curves(LOG, tmp_path / "curves.png", "naming")
    picture = Image.open(tmp_path / "curves.png")
    assert picture.width == COLUMNS * WIDTH
    assert 2 * HEIGHT < picture.height < 2 * HEIGHT + 60  # six charts in two rows, and the title
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0]) > 100
    charts = [blue[-(row + 1) * HEIGHT :][:HEIGHT, c * WIDTH : (c + 1) * WIDTH] for row in (1, 0) for c in range(3)]
    assert [bool(chart.any()) for chart in charts] == [True] * 5 + [False]  # the metric is orange


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    draw_curves([], tmp_path / "curves.png", "naming")
    draw_curves([{"step": 3, "loss": float("nan")}], tmp_path / "curves.png", "naming")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 40, [0, 10, 20, 30, 40]),
        (11.76, 15.5, [11, 12, 13, 14, 15, 16]),
        (-0.3, 0.5, [-0.4, -0.2, 0, 0.2, 0.4, 0.6]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float, expected: list[float]) -> None:
    assert _ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, 1.0, -7.5, 1e-9, 1e9])
def test_a_constant_has_room_around_it(value: float) -> None:
    ticks = _ticks(value, value)
    assert ticks[0] < value < ticks[-1]
    assert len(ticks) <= 8


def test_far_values_are_marked_by_powers_of_ten() -> None:
    assert _decades(0.02, 5.0) == pytest.approx([0.01, 0.1, 1, 10])
