"""What a run shows while it goes on: TensorBoard's scalars, and no bar where nobody looks."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fo1agent.trainers.progress import Progress

pytest.importorskip("tensorboard")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on only while the run waits."""
    now = [1_790_000_000.25]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(time, "time", lambda: now[0])  # TensorBoard's
    monkeypatch.setattr("fo1agent.trainers.progress.time", SimpleNamespace(time=time.time, sleep=sleep))


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {tag: [(e.step, round(e.value, 4)) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_records_become_scalars_and_a_resumed_run_replaces_its_lost_steps(tmp_path: Path) -> None:
    with Progress("naming", tmp_path, first=0, steps=9) as progress:
        progress.record({"step": 1, "loss": 2.0, "lr": 0.1})
        progress.record({"step": 2, "loss": 9.0, "lr": 0.1})  # never saved
    with Progress("naming", tmp_path, first=1, steps=9) as progress:
        progress.record({"step": 2, "loss": 1.0, "lr": 0.1})
        progress.record({"step": 2, "metrics": {"AP": 30.0}})
    assert scalars(tmp_path) == {
        "train/loss": [(1, 2.0), (2, 1.0)],
        "train/lr": [(1, 0.1), (2, 0.1)],
        "metrics/AP": [(2, 30.0)],
    }


def test_what_is_written_on_is_read_after_what_it_replaces(tmp_path: Path) -> None:
    for _ in range(2):
        with Progress("naming", tmp_path, first=0, steps=9) as progress:
            progress.record({"step": 1, "loss": 2.0})
    names = [path.name for path in (tmp_path / "tensorboard").iterdir()]
    # Their seconds, by which TensorBoard sorts them.
    assert sorted(name.split(".")[3] for name in names) == ["1790000000", "1790000001"]


def test_other_processes_and_finished_runs_write_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for first, shown in ((0, False), (9, True)):
        with Progress("naming", tmp_path, first, steps=9, shown=shown) as progress:
            progress.step(9, 1.0)
            progress.record({"step": 9, "loss": 1.0})
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")
