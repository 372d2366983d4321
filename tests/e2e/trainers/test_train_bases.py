"""`fo1agent train align model.base=NAME` at the shell: from a bare base of a family to a model that answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fo1agent.cli import main
from fo1agent.model.fo1 import FO1
from tests.drawn import write_coco
from tests.tiny_bases import tiny_base

SMALL = [
    "model.processing={max_pixels: 16384, max_regions: 20}",
    "model.region={roi_size: 2, fpn_channels: 8}",
    "train.steps=2",
    "train.save_every=1",
    "train.warmup=0",
    "train.accumulate=1",
    "train.precision=float32",
    "batch_size=2",
    "boxes=given",
]


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def save_base(family: str, folder: Path) -> None:
    """A tiny base as transformers saves one, and its tokenizer."""
    model, processor = tiny_base(family)
    model.base.save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)


def align(folder: Path, *more: str) -> Result:
    sources = f"sources=[{{path: {folder}/instances_train.json, images: {folder}/images/train}}]"
    return run("train", "align", f"model.base={folder}/base", sources, f"run={folder}/run", f"out={folder}/out", *more)


# One of each kind: rotary rows and columns, bounded logits, layers with a state; tests/unit/trainers trains all.
@pytest.mark.parametrize("family", ["qwen3_vl", "gemma4", "lfm2_vl"])
def test_a_bare_base_becomes_a_model_that_answers(family: str, tmp_path: Path) -> None:
    write_coco(tmp_path, "train", 2, seed=0)
    save_base(family, tmp_path / "base")
    done = align(tmp_path, *SMALL)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, f"{tmp_path}/out"), done.output
    learned = (tmp_path / "out/model.safetensors").read_bytes()
    # As if it had been stopped after its first step.
    shutil.rmtree(tmp_path / "out")
    shutil.rmtree(tmp_path / "run/checkpoints/step_00000002")
    (tmp_path / "run/weights.safetensors").unlink()
    assert align(tmp_path, *SMALL).exit_code == 0
    assert (tmp_path / "out/model.safetensors").read_bytes() == learned
    (tmp_path / "boxes.json").write_text("[[3, 3, 50, 50], [10, 10, 60, 40]]")
    asked = ["--boxes", f"{tmp_path}/boxes.json", "--model", f"{tmp_path}/out", "--json"]
    answer = json.loads(run("ask", f"{tmp_path}/images/train/0.png", "How many circles are there?", *asked).stdout)
    assert isinstance(answer["value"], int)
    # What sees is fo1-nano's tower, with its weights.
    seen, nano = FO1.from_pretrained(tmp_path / "out").aux.state_dict(), FO1.from_pretrained().aux.state_dict()
    assert all(weight.equal(nano[name]) for name, weight in seen.items())


def test_what_is_no_base_is_told_in_one_line(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", 2, seed=0)
    for said, made in (
        ("is neither a folder nor a Hugging Face name", None),
        ("FO1 plugs into", {"model_type": "bert"}),
        ("holds no tokenizer", {"model_type": "qwen3_vl"}),
    ):
        if made is not None:
            (tmp_path / "base").mkdir(exist_ok=True)
            (tmp_path / "base/config.json").write_text(json.dumps(made))
        done = align(tmp_path, *SMALL)
        assert (done.exit_code, len(done.stderr.strip().splitlines())) == (1, 1), done.stderr
        assert said in done.stderr
    save_base("qwen3_vl", tmp_path / "base")
    done = align(tmp_path, *SMALL, "model.aux={type: davit}")
    assert done.exit_code == 1
    assert "model.aux and model.aux_weights go together" in done.stderr
    (tmp_path / "base/model.safetensors").unlink()
    assert "holds no safetensors file" in align(tmp_path, *SMALL).stderr
