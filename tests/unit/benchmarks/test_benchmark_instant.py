"""The benchmark of the start counts right before it measures, and its figures hang together."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import REPO


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPO / "benchmarks"))
    spec = importlib.util.spec_from_file_location("benchmark_instant", REPO / "benchmarks" / "instant.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ENGINES", ("onnx",))
    return module


def test_a_host_is_greeted_before_it_is_told_a_count(instant: ModuleType) -> None:
    greeted, counted = instant.host("onnx")
    assert 0 < greeted < counted


def test_ten_questions_take_as_long_as_the_first_the_second_and_the_others(instant: ModuleType) -> None:
    figures = {name: median for name, (median, _, _) in instant.warm(1).items()}
    for unit in ("ms", "CPU ms"):
        first, second, ten = (
            figures[f"warm {what}, onnx, {unit}"] for what in ("first question", "second question", "ten questions")
        )
        assert ten > first + second > first > 0


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux tells of its processes' memory")
def test_what_is_no_files_is_a_part_of_what_is_resident(instant: ModuleType) -> None:
    told = instant.memory(os.getpid())
    assert told["resident"] >= told["PSS"] > 0
    assert told["resident"] >= told["anonymous"] > 0
