"""`curves.png`: a chart for every value, readable scales, and nothing to draw without a log."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fo1agent.evaluate import plots
from fo1agent.trainers.curves import COLUMNS, HEIGHT, WIDTH, draw_curves

LOG = [
    {"step": k, "loss": 3 / k, "match": 2 * math.exp(-k / 9), "name": 1.0, "grad_norm": 5.0, "lr": 1e-3}
    for k in range(1, 41)
] + [{"step": 20, "metrics": {"AP": 12.0}}, {"step": 40, "metrics": {"AP": 15.5}}]


def test_every_value_has_a_chart(tmp_path: Path) -> None:
    draw_curves(LOG, tmp_path / "curves.png", "naming")
    picture = Image.open(tmp_path / "curves.png")
    assert (picture.width, picture.height) == (COLUMNS * WIDTH, 2 * HEIGHT + 40)  # seven charts would need a third row
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0]) > 100
    charts = [blue[-(row + 1) * HEIGHT :][:HEIGHT, c * WIDTH : (c + 1) * WIDTH] for row in (1, 0) for c in range(3)]
    assert [bool(chart.any()) for chart in charts] == [True] * 5 + [False]  # the metric is orange


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    draw_curves([], tmp_path / "curves.png", "naming")
    draw_curves([{"step": 3, "loss": float("nan")}], tmp_path / "curves.png", "naming")
    assert list(tmp_path.iterdir()) == []


def test_values_that_are_far_apart_are_drawn_by_powers_of_ten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = []
    drawn = plots.picture
    monkeypatch.setattr(plots, "picture", lambda figure: figures.append(figure) or drawn(figure))
    steps = range(1, 41)
    log = [{"step": k, "far": 5.0 / k**2, "near": 1.0 + k, "signed": float(k - 9)} for k in steps]
    draw_curves(log, tmp_path / "curves.png", "naming")
    scales = {axes.get_title(loc="left"): axes.get_yscale() for axes in figures[0].axes}
    assert scales == {"far": "log", "near": "linear", "signed": "linear"}


def test_without_matplotlib_a_run_ends_well_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    draw_curves(LOG, tmp_path / "curves.png", "naming")
    assert list(tmp_path.iterdir()) == []
    assert "Charts need matplotlib" in caplog.text
