"""Whose turn it is, how long it will take, and when somebody who was sent away should come back."""

from __future__ import annotations

import asyncio

import pytest

from fo1agent.serve.lines import Line


def turn() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


async def test_callers_take_turns_and_each_keeps_his_order() -> None:
    line = Line(1)
    turns = {name: turn() for name in ("a1", "a2", "a3", "b1", "c1", "b2")}
    for name, one in turns.items():
        line.put(name[0], one)
    order = []
    while line.waiting:
        line.call()
        order.append(next(name for name, one in turns.items() if one.done() and name not in order))
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_who_leaves_is_not_called() -> None:
    line, first, second = Line(1), turn(), turn()
    line.put("a", first)
    line.put("b", second)
    line.drop("a", first)
    assert (line.waiting, first.cancelled()) == (1, True)
    line.call()
    assert second.done()
    assert line.waiting == 0


async def test_a_wait_is_expected_by_who_is_ahead_and_by_how_long_the_latest_took() -> None:
    line = Line(2)
    assert line.expected_s("a") == 0  # nothing is known
    line.ran(4.0)
    assert line.expected_s("a") == 2.0  # until one of two has ended
    for caller in "aaab":
        line.put(caller, turn())
    assert line.expected_s("a") == 2.0 * 5
    assert line.expected_s("b") == 2.0 * 4  # of three of a's, two are before his second
    assert line.expected_s("c") == 2.0 * 3  # one of each is before him
    for _ in range(50):
        line.ran(1.0)
    assert line.pace_s == pytest.approx(0.5, rel=0.01)


def test_those_who_are_sent_away_come_back_one_after_the_other() -> None:
    line = Line(2)
    line.ran(4.0)
    told = [line.back_in_s(1.5, 10.0) for _ in range(6)]
    assert told == [2, 4, 6, 8, 10, 10]
    assert Line(1).back_in_s(0.0, 10.0) == 1
    assert Line(1).back_in_s(0.0, 0.1) == 1
