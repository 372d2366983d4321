"""What the benchmarks share: their options, the photographs, what the machine is, and processes that are measured."""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fo1agent

DEMO = Path(fo1agent.__file__).parent / "data" / "demo"


def parser_of(told: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has; `told` is its docstring."""
    parser = argparse.ArgumentParser(description=told, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def machine() -> str:
    """For people: the processor, and how many cores there are."""
    return f"{processor()}, {os.cpu_count()} cores"


def processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{named[0]} ({platform.machine()})" if named else platform.machine()


def megabytes(usage: resource.struct_rusage) -> float:
    """The most memory that a process ever held; Linux counts in kilobytes, macOS in bytes."""
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def peak_mb() -> float:
    """`megabytes` of this process."""
    return megabytes(resource.getrusage(resource.RUSAGE_SELF))


def in_child(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Do something in a forked process: what it gives, CPU seconds, and peak memory above that at its start, MB.

    The memory of this process is the child's at its start, shared until one writes; nothing that the child does stays.
    This process must have one thread.
    """
    context = multiprocessing.get_context("fork")
    near, far = context.Pipe(duplex=False)

    def run() -> None:
        resting, start = peak_mb(), time.process_time()
        far.send((work(), time.process_time() - start, peak_mb() - resting))

    _give_back()  # before the fork: what this process holds counts as the child's peak from the start
    child = context.Process(target=run)
    child.start()
    far.close()
    try:
        return near.recv()
    except EOFError:
        sys.exit("A measured process ended without a result; what it said stands above.")
    finally:
        child.join()


def _give_back() -> None:
    """Return what was freed to the system, where the C library can: it would hide what is taken next."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
