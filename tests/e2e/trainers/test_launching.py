"""The launch lines and configurations of docs/launching.md start real trainings, on two processes of this machine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("accelerate")

TRAIN = """
import sys
from dataclasses import replace
from fo1agent.trainers.recipe import apply_override, build
from fo1agent.trainers.step import TrainSettings, train
from tests.unit.trainers.test_train_step import LineStage

tree = {"train": {"steps": 3, "lr": 0.01, "save_every": 3}}
for override in sys.argv[2:]:
    apply_override(tree, override)
result = train(LineStage(), build(TrainSettings, tree["train"]), sys.argv[1])
print("split" if result.split else "whole")
"""


def document(repo: Path) -> str:
    return (repo / "docs" / "launching.md").read_text(encoding="utf-8")


def lines(text: str) -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if "TRAIN" in line]


def test_the_document_has_a_line_for_each_way(repo: Path) -> None:
    programs = [" ".join(line.split()[:2]) for line in lines(document(repo))]
    one_machine = ["torchrun --standalone"] * 2 + ["accelerate launch"] * 2
    assert programs == ["python TRAIN", *one_machine, "torchrun --nnodes=4"]


@pytest.mark.parametrize("index", range(6))
def test_every_launch_line_trains(index: int, repo: Path, tmp_path: Path) -> None:
    text = document(repo)
    for block in re.findall(r"^```yaml\n# (\S+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        (tmp_path / block[0]).write_text(block[1].replace("num_processes: 8", "num_processes: 2"))
    (tmp_path / "run.py").write_text(TRAIN)
    line = lines(text)[index]
    here = line.replace("=8 ", "=2 ").replace("--nnodes=4", "--nnodes=1").replace("HEAD:29500", "localhost:0")
    program, *arguments = here.replace("TRAIN", f"run.py {tmp_path / 'run'}").split()
    modules = {"torchrun": "torch.distributed.run", "accelerate": "accelerate.commands.accelerate_cli"}
    command = [sys.executable, *(["-m", modules[program]] if program in modules else []), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(repo), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    processes = 1 if program == "python" else 2
    assert json.loads((tmp_path / "run" / "run.json").read_text())["processes"] == processes
    split = "split=true" in line or "fsdp2" in line
    assert done.stdout.split() == ["split" if split else "whole"] * processes
    assert (tmp_path / "run" / "weights.safetensors").exists()
