"""vLLM's own ways to run a decoder: divided among two workers, and with an adapter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("vllm", reason="`make test-vllm` runs these, in an environment of vLLM's own")

import torch
from safetensors.torch import save_file

from fo1agent.model import weights
from fo1agent.model.fo1 import FO1
from fo1agent.model.processing import FO1Processor
from tests.conftest import REPO
from tests.vllm.alone import CASES, QUESTION, TOKENS
from tests.vllm.conftest import picture
from tests.vllm.folders import public, qwen3_vl


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return public(tmp_path_factory.mktemp("folder") / "tiny")


def _written(folder: Path, adapter: Path | str = "none", workers: int = 1) -> list[list[int]]:
    """By vLLM."""
    command = [sys.executable, "-m", "tests.vllm.alone", str(folder), str(adapter), str(workers)]
    run = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads(next(line for line in reversed(run.stdout.splitlines()) if line.startswith("[")))


def _wanted(model: FO1, processor: FO1Processor) -> list[list[int]]:
    """By torch."""
    return [
        model.generate(**processor(picture(3).pixels, QUESTION, boxes), max_new_tokens=TOKENS, do_sample=False)[
            0
        ].tolist()
        for boxes in CASES
    ]


def test_two_workers_write_what_torch_writes(folder: Path) -> None:
    assert _written(folder, workers=2) == _wanted(*weights.load(folder))


def test_an_adapter_of_the_decoder_is_as_if_it_were_merged(folder: Path, tmp_path: Path) -> None:
    model, processor = weights.load(folder)
    plain, scale = _wanted(model, processor), 2.0
    adapter: dict[str, torch.Tensor] = {}
    torch.manual_seed(0)
    names = ["q_proj", "v_proj", "o_proj", "down_proj"]
    with torch.no_grad():
        for name, layer in model.base.model.language_model.named_modules():
            if name.endswith(tuple(names)):
                down, up = torch.randn(4, layer.in_features) * 0.3, torch.randn(layer.out_features, 4) * 0.3
                layer.weight += scale * up @ down
                key = f"base_model.model.base.model.language_model.{name}"
                adapter |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}
    save_file(adapter, tmp_path / "adapter_model.safetensors")
    said = {"peft_type": "LORA", "r": 4, "lora_alpha": 4 * scale, "target_modules": names, "bias": "none"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(said), encoding="utf-8")
    merged = _wanted(model, processor)
    assert merged != plain
    assert _written(folder, tmp_path) == merged


def test_a_decoder_that_takes_pictures_into_several_layers_writes_what_torch_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = qwen3_vl(tmp_path / "qwen3")
    model, processor = weights.load(folder)
    wanted = _wanted(model, processor)
    assert _written(folder) == wanted
    monkeypatch.setattr(type(model.adapter), "picture_inputs", lambda *_: {})
    assert all(without != one for without, one in zip(_wanted(model, processor), wanted, strict=True))
