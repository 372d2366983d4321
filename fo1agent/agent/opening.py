"""Opening a picture while telling how far it is: it is opened in a thread, and events come as it is looked at."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from fo1agent import progress
from fo1agent.runs.events import Opening

T = TypeVar("T")


class _LeftError(Exception):
    """Nobody waits for the picture any more. Never leaves this module."""


class Opened(Generic[T]):
    """What is being opened.

    Making one waits for the first tile, or for the whole where there are no tiles, and raises what `open` raises until
    then; `events` raises what it raises later.

    Args:
        open: opens it.

    Attributes:
        result: what was opened, once `events` have ended.
    """

    result: T

    def __init__(self, open: Callable[[], T]) -> None:
        self._told: queue.SimpleQueue[Opening | BaseException | None] = queue.SimpleQueue()
        self._left = False
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._work, open), name="fo1agent-opening", daemon=True).start()
        self._first = self._next()

    def events(self) -> Generator[Opening, None, None]:
        """Each tile, until the picture is open; the rest is not looked at where no more are taken."""
        try:
            event = self._first
            while event is not None:
                yield event
                event = self._next()
        finally:
            self._left = True

    def _next(self) -> Opening | None:
        told = self._told.get()
        if isinstance(told, BaseException):
            raise told
        return told

    def _work(self, open: Callable[[], T]) -> None:
        try:
            with progress.told(self._tell):
                self.result = open()
        except BaseException as exc:
            self._told.put(exc)
            return
        self._told.put(None)

    def _tell(self, done: int, count: int) -> None:
        if self._left:
            raise _LeftError
        self._told.put(Opening(done, count))
