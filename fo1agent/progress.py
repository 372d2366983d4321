"""How far the opening of a picture is, told from where it is looked at to whoever asked for it.

The two may be in different threads, where one computes for all. Whoever waits says so for what it opens (`told`), and
what is told of a picture goes by the hash of its content.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

OnProgress = Callable[[int, int], None]
"""Called as (tiles that were looked at, tiles in all), before the first tile and after each; in any thread."""

_WAITING: ContextVar[OnProgress | None] = ContextVar("_WAITING", default=None)
_listeners: dict[str, list[OnProgress]] = {}  # by the hash of the picture
_guard = threading.Lock()


@contextmanager
def told(listener: OnProgress) -> Iterator[None]:
    """Within the block, the listener hears of the pictures that are opened there."""
    token = _WAITING.set(listener)
    try:
        yield
    finally:
        _WAITING.reset(token)


@contextmanager
def opening(sha256: str) -> Iterator[None]:
    """A picture is opened within the block, for whoever waits there."""
    listener = _WAITING.get()
    if listener is None:
        yield
        return
    with _guard:
        _listeners.setdefault(sha256, []).append(listener)
    try:
        yield
    finally:
        with _guard:
            _listeners[sha256].remove(listener)
            if not _listeners[sha256]:
                del _listeners[sha256]


def tell(sha256: str, done: int, count: int) -> None:
    """So many of a picture's tiles were looked at."""
    with _guard:
        listeners = tuple(_listeners.get(sha256, ()))
    for listener in listeners:
        listener(done, count)
