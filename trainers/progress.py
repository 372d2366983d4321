"""What a person sees of a run while it goes on: a bar at a terminal, and scalars for TensorBoard if it is installed."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any


class Progress:
    """Shows a run; a context manager. Costs nothing per step when stderr is no terminal.

    Args:
        name: of the stage.
        folder: of the run.
        first, steps: steps already done, and to be done in all.
        shown: False shows and writes nothing, as in all processes but the first.
    """

    def __init__(self, name: str, folder: Path, first: int, steps: int, shown: bool = True) -> None:
        self._name, self._first, self._steps = name, first, steps
        self._bar: Any = None
        self._task: Any = None
        self._writer: Any = None
        if shown and first < steps:
            if sys.stderr.isatty():
                self._bar = _bar()
            if find_spec("tensorboard"):
                from torch.utils.tensorboard import SummaryWriter

                _wait_for_a_later_name(folder / "tensorboard")
                # Steps that a killed run had written but not saved come again; TensorBoard shall forget them.
                self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first + 1 if first else None)

    def step(self, done: int, loss: float) -> None:
        """A step is done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, loss=f"{loss:.4g}")

    def record(self, record: Mapping[str, Any]) -> None:
        """A line of `log.jsonl`."""
        if self._writer is not None:
            metrics = "metrics" in record
            for name, value in (record["metrics"] if metrics else record).items():
                if name != "step":
                    self._writer.add_scalar(f"{'metrics' if metrics else 'train'}/{name}", value, record["step"])

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self._name, total=self._steps, completed=self._first, loss="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._writer is not None:
            self._writer.close()


def _wait_for_a_later_name(folder: Path) -> None:
    """TensorBoard reads files in the order of their names, which begin with the second and go on with the process: what
    is written on in the same second might be read before what it replaces."""
    seconds = [int(path.name.split(".")[3]) for path in folder.glob("events.out.tfevents.[0-9]*.*")]
    left = max(seconds, default=0) + 1 - time.time()
    if 0 < left <= 1:
        time.sleep(left)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed:.2f} steps/s" if task.speed else "")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        Rate(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,  # results go where they always go
    )
