"""One training per run folder: the second is told who the first is, and the dead hold nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fo1agent.errors import TrainingError
from fo1agent.trainers import lock
from fo1agent.trainers.checkpoint import RunFolder
from fo1agent.trainers.lock import LOCK, locked
from fo1agent.trainers.processes import Processes
from fo1agent.trainers.step import train
from tests.unit.trainers.test_damaged_runs import NEW, OLD, SETTINGS, Run, curve
from tests.unit.trainers.test_train_step import LineStage

HOLDER = """
import sys, time
from pathlib import Path
from fo1agent.trainers.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(300)
"""


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the folder."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        try:
            yield child
        finally:
            child.kill()


needs_flock = pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")


@needs_flock
def test_a_second_training_is_told_who_holds_the_folder_and_kill_9_frees_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (folder.checkpoints / ".tmp-step_00000005").mkdir()  # what the other one is writing
    with another_process(tmp_path) as child:
        with pytest.raises(TrainingError) as error, folder.held():
            pytest.fail("two hold one folder")
        since = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d"
        holder = f"is in use: process {child.pid} on {re.escape(socket.gethostname())} trains into it since {since}"
        assert re.search(holder, str(error.value))
        assert str(error.value).endswith("Wait until it has ended, or choose another folder.")
        assert (folder.checkpoints / ".tmp-step_00000005").exists()
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == child.pid  # a dead one's word is no obstacle
    with folder.held():
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
        assert not (folder.checkpoints / ".tmp-step_00000005").exists()


@needs_flock
def test_whoever_only_reads_is_not_kept_out(tmp_path: Path) -> None:
    run = Run(tmp_path)
    (run.folder.path / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    with another_process(run.folder.path):
        reader = RunFolder(run.folder.path)
        assert reader.records() == [{"step": 1, "loss": 2.0}]
        assert [path.name for path in reader.all_checkpoints()] == [OLD, NEW]


@needs_flock
def test_two_trainings_into_one_folder_leave_the_first_one_as_it_is(tmp_path: Path) -> None:
    alone = train(LineStage(), SETTINGS, tmp_path / "alone").weights.read_bytes()
    refused: list[str] = []

    def second(record: dict) -> None:
        if record["step"] == 6:  # in the midst of the first one

            def other() -> None:
                try:
                    train(LineStage(), SETTINGS, tmp_path / "run")
                except TrainingError as exc:
                    refused.append(str(exc))

            thread = threading.Thread(target=other)
            thread.start()
            thread.join()

    first = train(LineStage(), SETTINGS, tmp_path / "run", on_log=second)
    assert first.weights.read_bytes() == alone
    assert len(refused) == 1
    assert f"process {os.getpid()} on" in refused[0]
    assert curve(tmp_path / "run") == curve(tmp_path / "alone")
    with locked(tmp_path / "run"):  # it is free again
        pass


def test_a_lock_that_is_no_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LOCK)
    with pytest.raises(TrainingError, match=r"run\.lock is no regular file"), locked(tmp_path):
        pass
    (tmp_path / LOCK).unlink()
    (tmp_path / LOCK).mkdir()
    with pytest.raises(TrainingError, match=r"Cannot lock .*run\.lock: Is a directory"), locked(tmp_path):
        pass


@needs_flock
@pytest.mark.parametrize("said", ["", "{", "[1]", '{"pid": "x"}', "\udcff"])
def test_a_holder_that_has_not_written_its_name_yet_still_holds(tmp_path: Path, said: str) -> None:
    with locked(tmp_path):
        (tmp_path / LOCK).write_text(said, errors="surrogateescape")
        with pytest.raises(TrainingError, match="is in use: another process trains into it"), locked(tmp_path):
            pass


@dataclass(frozen=True)
class Second(Processes):
    """The second of two processes, told by the first one what that ran into."""

    rank: int = 1
    size: int = 2
    told: Any = None

    def from_first(self, value: Any) -> Any:
        assert value is None
        return self.told


def test_all_processes_of_a_run_end_with_the_first_one_s_error_and_none_else_locks(tmp_path: Path) -> None:
    told = TrainingError("is in use")
    with pytest.raises(TrainingError, match="is in use"), RunFolder(tmp_path, Second(told=told)).held():
        pass
    with RunFolder(tmp_path, Second()).held():
        assert list(tmp_path.iterdir()) == []


@needs_flock
def test_a_lock_that_its_last_holder_took_away_meanwhile_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = lock.fcntl.flock

    def late(descriptor: int, how: int) -> None:
        (tmp_path / LOCK).unlink()
        flock(descriptor, how)

    monkeypatch.setattr(lock.fcntl, "flock", late)
    with pytest.raises(TrainingError, match=r"who worked in it has just ended\. Run it again"), locked(tmp_path):
        pass
    monkeypatch.undo()
    with locked(tmp_path):
        assert (tmp_path / LOCK).exists()
