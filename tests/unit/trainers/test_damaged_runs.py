"""Run folders that a disk, a copy or a second training has spoilt: told in a line, and nothing learned from them."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from fo1agent.errors import CheckpointError, TrainingError
from fo1agent.trainers.checkpoint import Meter, RunFolder
from fo1agent.trainers.checkpoint_files import MANIFEST, checksum
from fo1agent.trainers.step import TrainSettings, train
from tests.permissions import as_nobody
from tests.unit.trainers.test_train_step import LineStage

OLD, NEW = "step_00000005", "step_00000010"
FILES = ("weights.safetensors", "average.safetensors", "state.pt", MANIFEST)


class Run:
    """A small model, its optimiser and its average, and a folder with two checkpoints."""

    def __init__(self, path: Path) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.average = [torch.zeros(2, 2)]
        self.folder = RunFolder(path)
        self.states: dict[int, dict[str, torch.Tensor]] = {}
        for step in (5, 10):
            self.learn()
            self.save(step)

    def learn(self) -> None:
        self.model(torch.randn(5, 3)).square().sum().backward()
        self.optimizer.step()
        self.average[0] += 1

    def save(self, step: int, keep_last: int = 2) -> None:
        self.states[step] = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.folder.save(step, self.model, self.optimizer, self.average, Meter({"loss": step}, {"loss": 1}), keep_last)

    def restore(self) -> int:
        """Steps done, by a process that knows nothing; what it got must be what was saved after them."""
        with torch.no_grad():
            for tensor in self.model.state_dict().values():
                tensor.fill_(7)
        step, meter = RunFolder(self.folder.path).restore(self.model, self.optimizer, self.average)
        for name, tensor in self.model.state_dict().items():
            assert torch.equal(tensor, self.states[step][name])
        assert self.average[0].unique().tolist() == [step / 5]
        assert meter.sums == {"loss": step}
        return step


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


def flip(file: Path) -> None:
    """One bit in the middle."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def spoil(checkpoint: Path) -> None:
        (checkpoint / name).unlink()
        make(checkpoint / name)

    return spoil


def manifest(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def spoil(checkpoint: Path) -> None:
        tree = json.loads((checkpoint / MANIFEST).read_text())
        change(tree)
        (checkpoint / MANIFEST).write_text(json.dumps(tree))

    return spoil


def other_step(checkpoint: Path) -> None:
    """A whole checkpoint under another one's name."""
    shutil.rmtree(checkpoint)
    shutil.copytree(checkpoint.with_name(OLD), checkpoint)


def file_instead(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.write_text("gone")


def emptied(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


def other_pickle(checkpoint: Path) -> None:
    """Right sums of a state that is none."""
    torch.save({"step": 10, "optimizer": [], "meter": {}}, checkpoint / "state.pt")
    file = checkpoint / "state.pt"
    manifest(lambda t: t["files"].update({"state.pt": {"bytes": file.stat().st_size, "crc32": checksum(file)}}))(
        checkpoint
    )


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    **{
        f"{name} is cut off": (lambda c, n=name: os.truncate(c / n, (c / n).stat().st_size * 2 // 3), name)
        for name in FILES
    },
    **{f"{name} has no bytes": (lambda c, n=name: os.truncate(c / n, 0), name) for name in FILES},
    **{f"{name} is missing": (lambda c, n=name: (c / n).unlink(), name) for name in FILES},
    **{f"a bit of {name} is flipped": (lambda c, n=name: flip(c / n), name) for name in FILES},
    **{f"{name} is a pipe": (instead(name, os.mkfifo), f"{name}: got a pipe, wanted a regular file") for name in FILES},
    **{f"{name} is a folder": (instead(name, os.mkdir), f"{name}: got a folder") for name in FILES},
    "the manifest is no JSON": (lambda c: (c / MANIFEST).write_text("{"), f"{MANIFEST} is not JSON"),
    "the manifest is a list": (lambda c: (c / MANIFEST).write_text("[]"), "wanted an object"),
    "the manifest is nested deep": (lambda c: (c / MANIFEST).write_text("[" * 10**5), "nested too deep"),
    "the manifest names no files": (manifest(lambda t: t.update(files={})), "files.weights.safetensors is missing"),
    "the manifest names others": (manifest(lambda t: t["files"].update({"../x": t["files"]["state.pt"]})), "../x"),
    "the manifest has no sums": (manifest(lambda t: t["files"]["state.pt"].pop("crc32")), "crc32 is missing"),
    "the manifest says another format": (manifest(lambda t: t.update(format="two")), "format is 'two', wanted"),
    "the folder has another step's name": (other_step, "step is 5, wanted 10, as its folder is named"),
    "the folder is empty": (emptied, "There is no weights.safetensors"),
    "the folder is a file": (file_instead, "got a file, wanted the folder of a checkpoint"),
    "the state is another one": (other_pickle, "state.pt: optimizer is missing"),
}


@pytest.mark.parametrize(("spoil", "says"), DAMAGE.values(), ids=DAMAGE)
def test_of_a_damaged_checkpoint_the_older_whole_one_is_used_with_a_word(
    run: Run, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], object], says: str
) -> None:
    spoil(run.folder.checkpoints / NEW)
    assert run.restore() == 5
    (record,) = caplog.records
    said = record.getMessage()
    assert record.levelno == logging.WARNING
    assert says in said
    assert NEW in said
    assert said.endswith(f" Kept as damaged-{NEW}. Going on from {OLD}, which is whole.")
    assert "\n" not in said
    kept = sorted(path.name for path in run.folder.checkpoints.iterdir())
    assert kept == [f"damaged-{NEW}", OLD]
    # It goes once there is a whole one in its place; the one gone on from stays as long as any other.
    run.learn()
    run.save(7, keep_last=1)
    assert sorted(path.name for path in run.folder.checkpoints.iterdir()) == [f"damaged-{NEW}", "step_00000007"]
    run.learn()
    run.save(10)
    assert sorted(path.name for path in run.folder.checkpoints.iterdir()) == ["step_00000007", NEW]


def test_whole_checkpoints_say_nothing(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    assert run.restore() == 10
    assert not caplog.records


def test_a_checkpoint_under_a_name_that_is_none_is_left_alone(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    (run.folder.checkpoints / NEW).rename(run.folder.checkpoints / "step_banana")
    assert run.restore() == 5
    assert [record.getMessage() for record in caplog.records] == [
        f"{run.folder.checkpoints / 'step_banana'} is left alone: it is not named step_ and 8 digits. "
        f"Going on from {OLD}, which is whole."
    ]
    assert (run.folder.checkpoints / "step_banana" / MANIFEST).exists()


def test_half_a_checkpoint_under_its_temporary_name_is_nobody_s(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(run.folder.checkpoints / NEW, run.folder.checkpoints / ".tmp-step_00000015")
    (run.folder.checkpoints / ".tmp-step_00000015" / "state.pt").unlink()
    with run.folder.held():
        assert run.restore() == 10
    assert sorted(path.name for path in run.folder.checkpoints.iterdir()) == [OLD, NEW]
    assert not caplog.records


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_a_checkpoint_that_may_not_be_read_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with as_nobody() as folder:
        run = Run(folder / "run")
        (run.folder.checkpoints / NEW / "state.pt").chmod(0)
        assert run.restore() == 5
    assert f"{NEW}/state.pt cannot be read: Permission denied." in caplog.text


def test_with_no_whole_checkpoint_nothing_is_begun_anew_nor_moved(run: Run) -> None:
    flip(run.folder.checkpoints / NEW / "state.pt")
    (run.folder.checkpoints / OLD / "weights.safetensors").unlink()
    with pytest.raises(TrainingError) as error:
        run.restore()
    said = str(error.value)
    assert re.search(
        rf"No checkpoint in .* is whole: .*{NEW}/state\.pt: got CRC-32 .*no weights\.safetensors .*{OLD}", said
    )
    assert said.endswith("Restore one, or delete that folder to begin the run anew.")
    assert "\n" not in said
    assert sorted(path.name for path in run.folder.checkpoints.iterdir()) == [OLD, NEW]


def test_a_later_version_s_checkpoint_is_no_damaged_one(run: Run) -> None:
    manifest(lambda tree: tree.update(format=3))(run.folder.checkpoints / NEW)
    with pytest.raises(TrainingError, match=r"is of format 3, and this fo1agent reads 2\. Go on with the later"):
        run.restore()
    assert (run.folder.checkpoints / NEW).exists()


def as_format_1(checkpoint: Path) -> None:
    """As they were written before there were manifests."""
    (checkpoint / MANIFEST).unlink()
    state = torch.load(checkpoint / "state.pt", weights_only=True)
    del state["format"]
    torch.save(state, checkpoint / "state.pt")


def test_checkpoints_without_checksums_still_open(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    for name in (OLD, NEW):
        as_format_1(run.folder.checkpoints / name)
    assert run.restore() == 10
    assert not caplog.records
    os.truncate(run.folder.checkpoints / NEW / "state.pt", 100)
    assert run.restore() == 5
    assert "state.pt is not a whole state" in caplog.text


def test_a_whole_checkpoint_of_another_model_is_an_error_and_stays(run: Run) -> None:
    other = nn.Linear(3, 4)
    with pytest.raises(
        CheckpointError, match=r"Checkpoint and model differ: missing 2: bias, weight; unexpected 4: 0\.bias"
    ):
        RunFolder(run.folder.path).restore(other, torch.optim.AdamW(other.parameters()), [])
    with pytest.raises(CheckpointError, match="averages and the model differ: missing 1: 1"):
        RunFolder(run.folder.path).restore(run.model, run.optimizer, [torch.zeros(2, 2), torch.zeros(1)])
    assert run.restore() == 10


SETTINGS = TrainSettings(steps=12, lr=0.01, ema=0.9, save_every=4, log_every=3, seed=3)


def curve(path: Path) -> list[dict]:
    lines = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "steps_per_second"} for line in lines]


def test_a_run_goes_on_from_the_older_checkpoint_to_the_same_end(tmp_path: Path) -> None:
    path = tmp_path / "run"
    whole = train(LineStage(), SETTINGS, path).weights.read_bytes()
    undisturbed = curve(path)
    flip(path / "checkpoints" / "step_00000012" / "weights.safetensors")
    (path / "weights.safetensors").unlink()
    again = train(LineStage(), SETTINGS, path)
    assert again.resumed_from == 8
    assert again.weights.read_bytes() == whole
    assert curve(path) == undisturbed
    assert json.loads((path / "run.json").read_text())["resumed"][0]["step"] == 8
    assert sorted(p.name for p in (path / "checkpoints").iterdir()) == ["step_00000008", "step_00000012"]


# --- the other files of a run ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda file: file.write_text("{"), "run.json is not JSON"),
        (lambda file: file.write_text("[1]"), "got [1], wanted an object"),
        (lambda file: file.write_bytes(b"\xff"), "is not UTF-8"),
        (lambda file: file.write_text('{"a":' * 10**5), "nested too deep"),
        (lambda file: file.write_text("{}"), "stage is missing, wanted a string"),
        (lambda file: file.write_text('{"stage": "lines", "settings": 3}'), "settings is 3, wanted an object"),
        (lambda file: file.write_text('{"stage": "s", "settings": {}, "resumed": 3}'), "resumed is 3, wanted a list"),
        (lambda file: (file.unlink(), os.mkfifo(file)), "got a pipe, wanted a regular file"),
        (lambda file: (file.unlink(), file.mkdir()), "got a folder, wanted a regular file"),
        (lambda file: (file.unlink(), file.symlink_to("/dev/zero")), "got a device, wanted a regular file"),
    ],
)
def test_a_damaged_record_of_the_run_is_named(tmp_path: Path, spoil: Callable[[Path], object], says: str) -> None:
    folder = RunFolder(tmp_path)
    folder.record_run("lines", {}, None, {})
    spoil(tmp_path / "run.json")
    with pytest.raises(TrainingError) as error:
        folder.record_run("lines", {}, None, {})
    assert says in str(error.value)
    assert "The record of the run is damaged" in str(error.value)
    assert "\n" not in str(error.value)


def test_lines_of_the_log_that_are_none_are_left_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    good = [{"step": 1, "loss": 0.5}, {"step": 2, "metrics": {"AP": 1.0}}, {"step": 3, "loss": float("nan")}]
    bad = [
        b"{",
        b"[1]",
        b"7",
        b'{"loss": 1}',
        b'{"step": "one"}',
        b"\xff\xfe",
        b"[" * 10**5,
        b'{"step": 1, "metrics": 3}',
    ]
    lines = [json.dumps(record).encode() for record in good]
    (tmp_path / "log.jsonl").write_bytes(b"\n".join([lines[0], *bad, lines[1], b"x" * (3 << 20), lines[2], b'{"st']))
    assert str(folder.records()) == str(good)


def test_a_log_that_is_a_pipe_is_named_and_not_waited_for(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    os.mkfifo(tmp_path / "log.jsonl")
    with pytest.raises(CheckpointError, match=r"log\.jsonl: got a pipe, wanted a regular file"):
        folder.records()
    with pytest.raises(TrainingError, match=r"Cannot write .*log\.jsonl: it is a pipe"):
        folder.log({"step": 1}, None)


def test_a_folder_that_is_gone_is_told_as_gone(run: Run) -> None:
    shutil.rmtree(run.folder.path)
    with pytest.raises(TrainingError, match="checkpoints is gone: somebody removed or renamed it") as error:
        run.save(15)
    assert "make room" not in str(error.value)
