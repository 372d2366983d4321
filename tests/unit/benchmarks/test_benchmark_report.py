"""The page of the benchmarks says what was measured, shows it, and can be measured anew."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@pytest.fixture
def report(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(repo / "benchmarks"))
    return importlib.import_module("report")


@pytest.fixture
def growth(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(repo / "benchmarks"))
    return importlib.import_module("growth")


def test_the_page_and_its_plots_are_those_of_the_kept_figures(repo: Path, report: Any) -> None:
    figures = json.loads((repo / "docs/benchmarks/figures.json").read_text(encoding="utf-8"))
    assert (repo / "docs/benchmarks.md").read_text(encoding="utf-8") == report.page(figures)
    for name, points in report.grown(figures):
        with Image.open(repo / f"docs/benchmarks/{name}.png") as plot:
            assert plot.info["figures"] == report.digest(points), f"make {name}.png anew: python benchmarks/report.py"


def test_all_is_measured_and_written(repo: Path, report: Any, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, repo / "benchmarks" / "report.py", "--measure", "--quick", "--into", tmp_path],
        env={**os.environ, "PYTHONPATH": str(repo), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "benchmarks/figures.json").read_text(encoding="utf-8"))
    assert set(figures["commands"]) == {name for name in report.RUNS if (repo / f"benchmarks/{name}.py").exists()}
    boxes = figures["growth"]["boxes"]
    # A thousand boxes, each pooled 7 x 7 times from 480 channels in float32, are 90 MB; ours never holds them.
    plain, ours = (boxes[way][-1]["mb"] - boxes[way][0]["mb"] for way in ("plain", "ours"))
    assert plain > 90
    assert ours < plain
    text = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert text == report.page(figures)
    for name, points in report.grown(figures):
        assert f"(benchmarks/{name}.png)" in text
        with Image.open(tmp_path / f"benchmarks/{name}.png") as plot:
            assert plot.info["figures"] == report.digest(points)


def test_ratios_are_of_the_figures_beside_them(report: Any) -> None:
    found = {
        f"{way}: {what}": 1.0 for way in ("ours", "packed") for what in ("a phrase grounded", "one other box read")
    }
    found |= {f"{way}: 80 phrases grounded together": 1.0 for way in ("ours", "packed")}
    for way, speed in (("ours", 1), ("packed", 2)):
        for what, seconds in (("a picture read", 8.0), ("one question about it", 2.0), ("ten questions together", 4.0)):
            found[f"{way}: {what}"] = seconds / speed
        found |= {f"{way}: 16 captions together": 3.0, f"{way}: 16 captions one by one": 30.0 / speed}
    found |= {"plain: a question": 15.0, "one by one / together, 16 captions": 10.0, "peak_gb": 5.0}
    options = {"layers": 12, "blocks": 8, "davit": 9, "size": "640x480", "boxes": 100, "tokens": 12}
    text = "".join(report.question({"options": options, **found}))
    assert "| a first question | 15.00 | 10.00 | 5.00 | 1.50 | 3.00 |" in text
    assert "| a second question about it | 15.00 | 2.00 | 1.00 | 7.50 | 15.00 |" in text
    assert "| ten questions, the picture read as well | 150.00 | 12.00 | 6.00 | 12.50 | 25.00 |" in text
    assert "| ten questions about a picture read before | 150.00 | 4.00 | 2.00 | 37.50 | 75.00 |" in text
    assert "10.0 times as fast as one by one, 5.0 times when packed" in " ".join(text.split())


def test_shares_are_told_in_percent_of_what_they_are_held_against(report: Any) -> None:
    parts = {"vision tower": {"seconds": 1.5, "share": 0.654}, "decode": {"seconds": 0.1, "share": 0.5}}
    text = "".join(report.shares({"product_gflops": 495.2, "copy_gb_a_second": 42.1, "parts": parts}))
    assert "495 GFLOP/s" in text
    assert "| vision tower | 1.500 | 65% |\n| decode | 0.100 | 50% |" in text


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_exponents_are_those_of_the_larger_half(growth: Any, power: float) -> None:
    points = [{"at": at, "seconds": 1.0, "mb": 7.0} for at in (1, 2)]
    points += [{"at": at, "seconds": 0.1 * at**power, "mb": 3.0 * at} for at in (4, 8, 16)]
    assert growth.exponents(points) == {"time": power, "memory": 1.0}


def test_sides_to_which_pictures_are_shrunk_do_not_bend_the_exponent(growth: Any) -> None:
    points = [{"at": at, "seconds": float(at), "mb": float(at)} for at in (256**2, 512**2, 1024**2, 2048**2)]
    assert growth.exponents([*points, {"at": 4096**2, "seconds": 2048.0**2, "mb": 2048.0**2}])["time"] == 1.0
