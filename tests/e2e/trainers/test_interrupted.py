"""Runs that are killed, told to stop, or out of disk: nothing torn, and the same curve once they go on."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from fo1agent.trainers.step import train
from tests.e2e.trainers.interrupted_child import SETTINGS, WideStage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send SIGTERM to a process")
CHILD = Path(__file__).with_name("interrupted_child.py")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing disturbed."""
    run = tmp_path_factory.mktemp("interrupted") / "whole"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(WideStage(), SETTINGS, run)
    torch.set_num_threads(threads)
    return run


def start(run: Path, *more: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(CHILD.parents[3]), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    command = [sys.executable, str(CHILD), str(run), *more]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)


def send_at(child: subprocess.Popen[str], step: int, number: signal.Signals) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) == step:
            break
    child.send_signal(number)


def steps_saved(run: Path) -> list[int]:
    assert not list(run.rglob(".tmp-*"))
    return [int(path.name.removeprefix("step_")) for path in sorted((run / "checkpoints").iterdir())]


def assert_goes_on_as_if_undisturbed(run: Path, whole: Path, since: int) -> None:
    result = train(WideStage(), SETTINGS, run)
    assert result.resumed_from == since
    assert result.weights.read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert curve(run) == curve(whole)


def curve(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "steps_per_second"} for line in lines]


def test_a_run_killed_at_any_step_has_the_curve_of_one_that_was_not(whole, tmp_path):
    random = int.from_bytes(os.urandom(4))
    step, later = 1 + random % 30, random // 30 % 40_000
    print(f"killed {later} microseconds after step {step}")
    child = start(tmp_path / "run", "kill", str(step), str(later))
    child.communicate(timeout=200)
    assert child.returncode == -signal.SIGKILL
    torch.manual_seed(99)  # whatever happened to the global generators meanwhile does not matter
    result = train(WideStage(), SETTINGS, tmp_path / "run")
    assert 7 * (step // 7) <= result.resumed_from + 7, step  # the newest one may have been in the making
    assert result.resumed_from < 40
    assert result.weights.read_bytes() == (whole / "weights.safetensors").read_bytes(), step
    assert curve(tmp_path / "run") == curve(whole), step


def test_sigterm_ends_the_step_saves_and_says_so(whole, tmp_path):
    child = start(tmp_path / "run", "wait", "11")
    send_at(child, 11, signal.SIGTERM)
    _, said = child.communicate(timeout=200)
    assert child.returncode == 143
    assert steps_saved(tmp_path / "run") == [7, 11]
    assert said.strip() == (
        f"lines: stopped by SIGTERM after step 11 of 40; a checkpoint is in {tmp_path / 'run'}. "
        "Start the same command again to go on."
    )
    assert_goes_on_as_if_undisturbed(tmp_path / "run", whole, since=11)


def test_control_c_does_the_same_and_a_terminal_shows_a_bar(whole, tmp_path):
    terminal, end = pty.openpty()
    child = start(tmp_path / "run", "wait", "15", stderr=end)
    os.close(end)
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(read_all, terminal)  # all the while: a terminal that nobody reads blocks the child
        send_at(child, 15, signal.SIGINT)
        child.communicate(timeout=200)
        shown = reading.result()
    assert child.returncode == 130
    assert "loss" in shown
    assert "/40" in shown
    assert "stopped by SIGINT after step 15" in shown
    assert steps_saved(tmp_path / "run") == [14, 15]
    assert_goes_on_as_if_undisturbed(tmp_path / "run", whole, since=15)


def read_all(terminal: int) -> str:
    shown = b""
    try:
        while piece := os.read(terminal, 4096):
            shown += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(terminal)
    return shown.decode()


def test_a_checkpoint_that_does_not_fit_leaves_the_older_ones(whole, tmp_path):
    child = start(tmp_path / "run", "fill", "15", "100000")
    _, said = child.communicate(timeout=200)
    assert child.returncode == 1
    assert "step_00000021: " in said
    assert "It takes 1.3 MB and" in said
    assert "make room, and start the same command again" in said
    assert steps_saved(tmp_path / "run") == [7, 14]
    assert_goes_on_as_if_undisturbed(tmp_path / "run", whole, since=14)


FULL_DISK = """
mount -t tmpfs -o size=3m tmpfs "$1" || exit 77
"$2" "$3" "$1/run" && exit 78
cp -r "$1/run" "$4"
"""


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare, to mount a small disk")
def test_a_full_disk_leaves_the_older_checkpoints(whole, tmp_path):
    (tmp_path / "disk").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(CHILD.parents[3]), "OMP_NUM_THREADS": "1"}
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", FULL_DISK, "sh"]
    arguments = [tmp_path / "disk", sys.executable, CHILD, tmp_path / "run"]
    done = subprocess.run(
        [*command, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    if done.returncode in (1, 77) and "Cannot write" not in done.stderr:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()[-200:]}")
    assert "step_00000021: " in done.stderr
    assert "It takes 1.3 MB and 0." in done.stderr
    assert steps_saved(tmp_path / "run") == [7, 14]
    assert_goes_on_as_if_undisturbed(tmp_path / "run", whole, since=14)
