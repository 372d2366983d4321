"""SIGTERM and SIGINT end a training run after its current step and a checkpoint, not in the middle of either."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fo1agent.trainers.processes import Processes

_CAUGHT = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}


class Stopped(SystemExit):
    """A signal ended the run; a checkpoint was written. Left alone, it ends the process with the signal's usual code.

    Attributes:
        code: 143 after SIGTERM, 130 after SIGINT.
    """


class Signals:
    """Which signal has come, if any."""

    def __init__(self) -> None:
        self.received = ""

    def agreed(self, processes: Processes) -> str:
        """The name of a signal that any of the processes got, on all of them; "" for none."""
        found = processes.total({name: float(name == self.received) for name in _CAUGHT})
        return next((name for name, count in found.items() if count), "")


@contextmanager
def listening() -> Iterator[Signals]:
    """Note the first signal instead of dying of it; a second one acts at once, as ever.

    Python lets only the main thread do this; elsewhere nothing changes.
    """
    signals = Signals()
    before = {}

    def note(number: int, _frame: FrameType | None) -> None:
        signals.received = signal.Signals(number).name
        restore()

    def restore() -> None:
        while before:
            number, handler = before.popitem()
            signal.signal(number, handler)

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, note) for number in _CAUGHT.values()}
    try:
        yield signals
    finally:
        restore()


def exit_code(name: str) -> int:
    """What a shell expects of a process that a signal ended."""
    return 128 + _CAUGHT[name]
