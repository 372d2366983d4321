"""Memory that was freed goes back to the machine, so that a server stays as large as what it keeps.

The C library keeps what is freed, between the blocks that are still in use, for whoever asks next. Each pass of the
model takes hundreds of megabytes for a moment and leaves an encoding behind that stays, so after some minutes more of
its memory lies free than is used: 1.6 GB beside 0.8 GB, measured on glibc. Its settings cost too much or do too little:
large blocks straight from the system (M_MMAP_THRESHOLD) make a pass take half as much time again, and with fewer arenas
(M_ARENA_MAX) a third of the 1.6 GB is still kept. So it is asked for the free pages whenever the process has grown,
which takes some hundredths of a second.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

GROWTH_BYTES = 64 * 2**20
"""By so much a process grows before its free memory is asked for."""
EVERY_S = 1.0
"""Seconds between two looks."""


def resident_bytes() -> int:
    """Memory that this process holds; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _trimmer() -> Callable[[], object] | None:
    """What gives the free memory back; None where the C library cannot."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return lambda: trim(ctypes.c_size_t(0))


class Trimming:
    """Decides when free memory is given back.

    Args:
        trim: gives it back.
        resident: how many bytes are held.
    """

    def __init__(self, trim: Callable[[], object], resident: Callable[[], int]) -> None:
        self._trim, self._resident = trim, resident
        self._least = resident()

    def look(self) -> bool:
        """Give free memory back if the process has grown since the last time; whether it was."""
        now = self._resident()
        grown = now >= self._least + GROWTH_BYTES
        if grown:
            self._trim()
            now = self._resident()
        self._least = now if grown else min(now, self._least)
        return grown


@contextmanager
def given_back() -> Iterator[None]:
    """As long as this lasts, free memory is given back, where that can be done."""
    trim, ended = _trimmer(), threading.Event()
    if trim is None or not resident_bytes():
        yield
        return
    trimming = Trimming(trim, resident_bytes)

    def watch() -> None:
        while not ended.wait(EVERY_S):
            trimming.look()

    thread = threading.Thread(target=watch, name="fo1agent-memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
