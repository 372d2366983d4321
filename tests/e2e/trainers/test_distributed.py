"""Two real processes, copies of a model (DDP) and halves of one (FSDP2), against one process: the same training."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.e2e.trainers.distributed_child import main as alone
from tests.tiny_stages import tiny_store

pytest.importorskip("accelerate")
CHILD = Path(__file__).with_name("distributed_child.py")

# float32: sums over pictures in another order differ in the last bits of the largest terms.
OF_LARGEST = 3e-6
# torch's norm of a long float32 vector on the CPU is itself off by 1e-4, and less so for halves of it.
OF_NORM = 2e-4
# What that makes of a loss after a few steps of AdamW, whose first steps magnify differences of tiny gradients.
OF_LOSS = 1e-4


def launch(launcher: list[str], *arguments: str | Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHILD.parents[3])}
    command = [sys.executable, "-m", *launcher, str(CHILD), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features, and one process's gradients and run."""
    folder = tmp_path_factory.mktemp("distributed")
    tiny_store(folder / "tiny")
    threads = torch.get_num_threads()
    alone(
        str(folder / "tiny"), str(folder), "gradients:one:", "gradients:parts:accumulate=3,recompute=true", "train:one:"
    )
    torch.set_num_threads(threads)
    return folder


@pytest.fixture(scope="module")
def two(work: Path) -> Path:
    """The same by two processes, started by torchrun: copies, then halves."""
    for name in ("halves_resumed", "copies_resumed"):
        shutil.copytree(work / "one", work / name)
        shutil.rmtree(work / name / "checkpoints/step_00000004")
    halves = "split=true"
    jobs = ["gradients:copies:accumulate=2", f"gradients:halves:accumulate=2,recompute=true,{halves}"]
    jobs += ["train:copies:", f"train:halves:{halves}"]
    jobs += ["train:copies_resumed:", f"train:halves_resumed:{halves},accumulate=2"]
    launch(TORCHRUN, work / "tiny", work, *jobs)
    return work


def curve(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    lines = [{**line, **line.get("metrics", {})} for line in lines]
    return [{k: v for k, v in line.items() if k not in ("steps_per_second", "metrics")} for line in lines]


def assert_same_gradients(folder: Path, name: str) -> None:
    expected, found = load_file(folder / "one.safetensors"), load_file(folder / f"{name}.safetensors")
    assert found.keys() == expected.keys()
    assert float(found.pop("norm")) == pytest.approx(float(expected.pop("norm")), rel=OF_NORM)
    for key, gradient in expected.items():
        largest = float(gradient.abs().max())
        assert largest > 0, key
        torch.testing.assert_close(found[key], gradient, rtol=1e-4, atol=OF_LARGEST * largest, msg=key)


def assert_same_run(folder: Path, name: str) -> None:
    expected, found = curve(folder / "one"), curve(folder / name)
    assert [line["step"] for line in found] == [1, 2, 2, 3, 4, 4]
    for a, b in zip(expected, found, strict=True):
        assert b.pop("grad_norm", 0) == pytest.approx(a.pop("grad_norm", 0), rel=OF_NORM)
        assert b == pytest.approx(a, rel=OF_LOSS)
    weights, others = (load_file(folder / run / "weights.safetensors") for run in ("one", name))
    assert weights.keys() == others.keys()
    moved = 4 * 1e-3  # no weight moves farther in four steps at this rate, so this is a hundredth of the way
    for key, tensor in weights.items():
        torch.testing.assert_close(others[key], tensor, rtol=0, atol=moved / 100, msg=key)


def test_micro_batches_and_recomputed_blocks_leave_the_gradient_as_it_is(work):
    assert_same_gradients(work, "parts")


def test_two_copies_have_the_gradient_of_one_process(two):
    assert_same_gradients(two, "copies")


def test_two_halves_have_the_gradient_of_one_process(two):
    assert_same_gradients(two, "halves")


@pytest.mark.parametrize("name", ["copies", "halves"])
def test_two_processes_have_the_curve_of_one(two, name):
    assert_same_run(two, name)
    run = json.loads((two / name / "run.json").read_text())
    assert (run["processes"], run["resumed"]) == (2, [])


@pytest.mark.parametrize("name", ["copies", "halves"])
def test_two_processes_go_on_where_one_stopped(two, name):
    assert_same_run(two, f"{name}_resumed")
    run = json.loads((two / f"{name}_resumed/run.json").read_text())
    assert run["processes"] == 1
    assert [(r["step"], r["processes"]) for r in run["resumed"]] == [(2, 2)]


@pytest.mark.parametrize("name", ["copies", "halves"])
def test_one_process_goes_on_where_two_stopped(two, name):
    back = two / f"{name}_back"
    shutil.copytree(two / name, back)
    shutil.rmtree(back / "checkpoints/step_00000004")
    alone(str(two / "tiny"), str(two), f"train:{back.name}:")
    assert_same_run(two, back.name)


@pytest.mark.parametrize("name", ["copies", "halves"])
def test_checkpoints_are_the_same_files_in_every_layout(two, name):
    folders = [two / run / "checkpoints/step_00000002" for run in ("one", name)]
    for file in ("weights.safetensors", "average.safetensors"):
        expected, found = (load_file(folder / file) for folder in folders)
        assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in expected.items()}
    expected, found = (torch.load(folder / "state.pt", weights_only=True) for folder in folders)
    assert found["optimizer"]["param_groups"] == expected["optimizer"]["param_groups"]
    for index, own in expected["optimizer"]["state"].items():
        for key, tensor in own.items():
            largest = float(tensor.abs().max())
            other = found["optimizer"]["state"][index][key]
            torch.testing.assert_close(other, tensor, rtol=1e-3, atol=1e-4 * largest, msg=f"{index} {key}")
