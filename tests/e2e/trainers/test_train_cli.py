"""`fo1agent train` at the shell, on the golden tensors' checkpoint and drawn pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import fo1agent
from fo1agent.cli import main
from tests.drawn import write_coco
from tests.tiny_models import CHECKPOINT

TINY = [
    "train.steps=1",
    "train.warmup=0",
    "train.accumulate=1",
    "train.precision=float32",
    "batch_size=2",
    "boxes=given",
]


@pytest.fixture
def sources(tmp_path: Path) -> str:
    write_coco(tmp_path, "train", 2, seed=0)
    return f"sources=[{{path: {tmp_path}/instances_train.json, images: {tmp_path}/images/train}}]"


def run(*arguments: str):
    return CliRunner().invoke(main, ["train", *arguments])


def test_both_stages_run_from_their_packaged_recipes_and_the_result_loads(sources: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    work = [f"run={tmp_path}/align", f"out={tmp_path}/aligned"]
    done = run("align", f"model={CHECKPOINT}", sources, *work, *TINY)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path}/aligned\n"
    work = [f"run={tmp_path}/instruct", f"out={tmp_path}/instructed"]
    done = run("instruct", f"model={tmp_path}/aligned", sources, *work, *TINY, "lora.rank=2")
    assert done.exit_code == 0, done.output
    scene = fo1agent.load(tmp_path / "instructed").open(tmp_path / "images/train/0.png", boxes=[[3, 3, 50, 50]])
    assert len(scene.ground("circle", threshold=0.0)) == 1


@pytest.mark.parametrize("stage", ["proposals", "align", "instruct", "nano"])
def test_every_stage_prints_its_recipe(stage: str) -> None:
    done = run(stage, "--print")
    assert done.exit_code == 0
    assert yaml.safe_load(done.stdout)


def test_mistakes_are_one_line(sources: str, tmp_path: Path) -> None:
    for arguments, said in (
        (["align"], "sources is empty"),
        (["align", "missing.yaml"], "Cannot read the recipe missing.yaml"),
        (["align", "batch_sise=2"], "Did you mean batch_size?"),
        (["align", sources, f"model={tmp_path}"], "There is no config.json"),
        (["instruct", "sources=[{path: nowhere.json}]"], "nowhere.json"),
    ):
        done = run(*arguments, *([f"out={tmp_path}/out"] if len(arguments) > 1 and "=" in arguments[1] else []))
        assert done.exit_code == 1
        assert said in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
