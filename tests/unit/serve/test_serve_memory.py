"""When free memory is given back, and that it is."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from fo1agent.serve import memory
from fo1agent.serve.memory import GROWTH_BYTES, Trimming
from tests.serving import until


def test_memory_is_given_back_when_the_process_has_grown_and_not_again_until_it_has_once_more() -> None:
    held, trims = [1000], []

    def trim() -> None:
        trims.append(held[0])
        held[0] -= GROWTH_BYTES // 2  # of what it grew by, half was free

    trimming = Trimming(trim, lambda: held[0])
    for grown, given_back in ((0, False), (GROWTH_BYTES - 1, False), (1, True), (0, False), (GROWTH_BYTES, True)):
        held[0] += grown
        assert trimming.look() is given_back
    assert len(trims) == 2
    held[0] = 500  # what was kept is let go
    assert not trimming.look()
    held[0] += GROWTH_BYTES
    assert trimming.look()


FRAGMENTED = """
from fo1agent.serve.memory import _trimmer, resident_bytes
blocks = [bytearray(4000) for _ in range(60_000)]
full = resident_bytes()
blocks = blocks[::10]  # what stays lies between what is free
freed = resident_bytes()
_trimmer()()
print((full - freed) // 2**20, (freed - resident_bytes()) // 2**20)
"""


@pytest.mark.skipif(memory._trimmer() is None, reason="this C library gives nothing back when asked")
def test_free_memory_between_what_is_kept_goes_back_to_the_system() -> None:
    command = [sys.executable, "-c", FRAGMENTED]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    unasked, asked = map(int, told.split())
    assert unasked < 50  # MB of 210 that are free
    assert asked >= 100


def test_a_server_looks_again_and_again_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    trims, held = [], iter(range(1, 10**15, GROWTH_BYTES))
    monkeypatch.setattr(memory, "_trimmer", lambda: lambda: trims.append(1))
    monkeypatch.setattr(memory, "resident_bytes", lambda: next(held))
    monkeypatch.setattr(memory, "EVERY_S", 0.001)
    with memory.given_back():
        until(lambda: len(trims) > 2)
    assert not [thread for thread in threading.enumerate() if thread.name == "fo1agent-memory"]


@pytest.mark.parametrize("missing", ["_trimmer", "resident_bytes"])
def test_where_nothing_can_be_given_back_nothing_is_tried(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(memory, missing, lambda: None if missing == "_trimmer" else 0)
    with memory.given_back():
        assert not [thread for thread in threading.enumerate() if thread.name == "fo1agent-memory"]
