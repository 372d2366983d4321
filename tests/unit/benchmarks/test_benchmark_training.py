"""The training benchmark runs every stage and its figures hang together."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from fo1agent.model import weights
from fo1agent.trainers.recipe import load_recipe
from tests.conftest import REPO
from tests.tiny_models import nano

STAGES = ["features", "naming", "base", "alignment", "instruction"]


def test_every_stage_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(REPO / "benchmarks"))
    spec = importlib.util.spec_from_file_location("benchmark_training", REPO / "benchmarks" / "training.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "benchmark_training", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    for name, value in {"PICTURES": 3, "TOWERS_AT_ONCE": 1, "WARM_UP": 0, "PEAK_SIDE": 256}.items():
        monkeypatch.setattr(module, name, value)
    small = [f"{stage}.batch_size=1" for stage in STAGES[1:]]
    monkeypatch.setattr(module, "load_recipe", lambda kind, name, _: load_recipe(kind, name, small))

    weights.save(*nano(), tmp_path / "model")
    arguments = ["--json", "--rounds", "1", "--model", str(tmp_path / "model"), "--profile", str(tmp_path / "top.txt")]
    monkeypatch.setattr(sys, "argv", ["training.py", *arguments])
    module.main()
    figures = json.loads(capsys.readouterr().out)
    assert figures["peak_float32_gflops"] > 0
    assert list(figures["stages"]) == STAGES
    for stage in figures["stages"].values():
        assert stage["images_per_second"] > 0
        assert stage["gflop_per_image"] > 0
        assert sum(stage["time"].values()) == pytest.approx(1, abs=0.01)
    tables = (tmp_path / "top.txt").read_text(encoding="utf-8")
    assert all(name in tables for name in STAGES)
    assert "Self CPU" in tables


def test_attention_on_the_cpu_is_counted() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    spec = importlib.util.spec_from_file_location("benchmark_training", REPO / "benchmarks" / "training.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmark_training"] = module
    spec.loader.exec_module(module)
    query, key, value = (torch.randn(1, 2, n, 16, requires_grad=True) for n in (8, 32, 32))
    with FlopCounterMode(display=False, custom_mapping=module.CPU_ATTENTION) as counter:
        torch.nn.functional.scaled_dot_product_attention(query, key, value).sum().backward()
    assert counter.get_total_flops() == 2 * 2 * 8 * 32 * 16 * (2 + 5)
