"""Who runs, who waits, who is sent away, and how work ends that nobody waits for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from fo1agent.serve.gate import Gate, Gone, Late, Refused, Stopped, Ticket, check, current


def nobody_leaves() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.005)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate(running=1, waiting=1)
    yield made
    made.close()


async def test_work_knows_its_ticket(gate: Gate) -> None:
    ticket = Ticket(60)
    assert await gate.run(ticket, current, nobody_leaves()) is ticket
    assert current() is None
    assert (gate.running, gate.waiting) == (0, 0)


async def test_what_work_raises_is_raised(gate: Gate) -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await gate.run(Ticket(60), fail, nobody_leaves())
    assert gate.running == 0


async def test_one_runs_one_waits_and_the_third_is_sent_away(gate: Gate) -> None:
    go, order = threading.Event(), []
    gone = nobody_leaves()
    first = asyncio.ensure_future(gate.run(Ticket(60), lambda: go.wait(60) and order.append(1), gone))
    await until(lambda: gate.running == 1)
    second = asyncio.ensure_future(gate.run(Ticket(60), lambda: order.append(2), gone))
    await until(lambda: gate.waiting == 1)
    with pytest.raises(Refused) as refused:
        await gate.run(Ticket(60), lambda: order.append(3), gone)
    assert 1 <= refused.value.retry_after_s <= 60
    go.set()
    await asyncio.gather(first, second)
    assert order == [1, 2]
    assert (gate.running, gate.waiting) == (0, 0)


async def test_a_place_is_taken_until_its_thread_is_done(gate: Gate) -> None:
    go = threading.Event()
    with pytest.raises(Late):
        await gate.run(Ticket(0.05), lambda: go.wait(60), nobody_leaves())
    assert gate.running == 1
    go.set()
    await until(lambda: gate.running == 0)


async def test_late_work_stops_at_its_next_step(gate: Gate) -> None:
    steps = []

    def work() -> None:
        while True:
            check()
            steps.append(1)
            time.sleep(0.01)

    with pytest.raises(Late):
        await gate.run(Ticket(0.1), work, nobody_leaves())
    await until(lambda: gate.running == 0)
    done = len(steps)
    await asyncio.sleep(0.05)
    assert len(steps) == done


async def test_who_leaves_the_line_makes_room(gate: Gate) -> None:
    go, gone = threading.Event(), nobody_leaves()
    first = asyncio.ensure_future(gate.run(Ticket(60), lambda: go.wait(60), nobody_leaves()))
    await until(lambda: gate.running == 1)
    ran = []
    second = asyncio.ensure_future(gate.run(Ticket(60), lambda: ran.append(1), gone))
    await until(lambda: gate.waiting == 1)
    gone.set_result(None)
    with pytest.raises(Gone):
        await second
    assert gate.waiting == 0
    with pytest.raises(Late):
        await gate.run(Ticket(0.05), lambda: ran.append(1), nobody_leaves())
    go.set()
    await first
    await until(lambda: gate.running == 0)
    assert ran == []


async def test_a_cancelled_request_gives_its_place_on(gate: Gate) -> None:
    go = threading.Event()
    first = asyncio.ensure_future(gate.run(Ticket(60), lambda: go.wait(60), nobody_leaves()))
    await until(lambda: gate.running == 1)
    second = asyncio.ensure_future(gate.run(Ticket(60), lambda: 2, nobody_leaves()))
    await until(lambda: gate.waiting == 1)
    second.cancel()
    go.set()
    await first
    assert await gate.run(Ticket(60), lambda: 3, nobody_leaves()) == 3


async def test_a_stream_gives_items_as_they_come(gate: Gate) -> None:
    go = threading.Event()

    def work() -> Iterator[int]:
        yield 1
        go.wait(60)
        yield 2

    stream = await gate.stream(Ticket(60), work, nobody_leaves())
    assert await anext(stream) == 1
    go.set()
    assert [item async for item in stream] == [2]
    await until(lambda: gate.running == 0)


async def test_what_a_stream_raises_before_its_first_item_is_raised_at_once(gate: Gate) -> None:
    def work() -> Iterator[int]:
        raise KeyError("x")
        yield 1

    with pytest.raises(KeyError):
        await gate.stream(Ticket(60), work, nobody_leaves())


async def test_what_a_stream_raises_later_comes_after_its_items(gate: Gate) -> None:
    def work() -> Iterator[int]:
        yield 1
        raise KeyError("x")

    stream = await gate.stream(Ticket(60), work, nobody_leaves())
    assert await anext(stream) == 1
    with pytest.raises(KeyError):
        await anext(stream)


async def test_a_stopped_stream_stops_its_work(gate: Gate) -> None:
    closed = threading.Event()

    def work() -> Iterator[int]:
        try:
            while True:
                time.sleep(0.01)
                yield 1
        finally:
            closed.set()

    stream = await gate.stream(Ticket(60), work, nobody_leaves())
    stream.stop()
    await until(lambda: gate.running == 0)
    assert closed.wait(60)


def test_a_ticket_stops_a_wait() -> None:
    ticket, future = Ticket(60), Future[int]()
    threading.Timer(0.05, ticket.stop).start()
    with pytest.raises(Stopped):
        ticket.wait(future)
    assert future.cancelled()
    with pytest.raises(Stopped):
        ticket.check()


def test_a_wait_ends_at_the_deadline() -> None:
    with pytest.raises(Stopped):
        Ticket(0.05).wait(Future[int]())


def test_a_wait_ends_after_its_seconds_while_there_is_time_for_others() -> None:
    ticket = Ticket(60)
    with pytest.raises(TimeoutError):
        ticket.wait(Future[int](), 0.05)
    ticket.check()
    with pytest.raises(Stopped):
        Ticket(0.05).wait(Future[int](), 60)


def test_a_wait_raises_what_the_work_raises() -> None:
    future = Future[int]()
    future.set_exception(TimeoutError("the work's own"))
    with pytest.raises(TimeoutError, match="own"):
        Ticket(60).wait(future)


# ---- kinds of work ----


async def busy(gate: Gate, kind: str, go: threading.Event, n: int = 1) -> list[asyncio.Task[Any]]:
    """So many requests of a kind that hold their places until `go`."""
    before = gate.running
    made = [asyncio.create_task(gate.run(Ticket(60), lambda: go.wait(60), nobody_leaves(), kind)) for _ in range(n)]
    await until(lambda: gate.running == before + n)
    return made


async def test_a_kind_that_has_all_its_places_holds_up_no_other() -> None:
    gate, go = Gate(running=4, waiting=8, most={"open": 1}), threading.Event()
    held = await busy(gate, "open", go)
    waits = asyncio.ensure_future(gate.run(Ticket(60), lambda: "opened", nobody_leaves(), "open"))
    await until(lambda: gate.waiting == 1)
    assert await gate.run(Ticket(60), lambda: "looked", nobody_leaves(), "look") == "looked"
    assert not waits.done()
    go.set()
    assert await waits == "opened"
    await asyncio.gather(*held)
    gate.close()


async def test_kinds_that_wait_take_turns() -> None:
    gate, go, order = Gate(running=1, waiting=8), threading.Event(), list[str]()
    held = await busy(gate, "open", go)
    asked = [
        asyncio.ensure_future(gate.run(Ticket(60), lambda kind=kind: order.append(kind), nobody_leaves(), kind))
        for kind in ("open", "open", "open", "look", "read")
    ]
    await until(lambda: gate.waiting == 5)
    go.set()
    await asyncio.gather(*held, *asked)
    assert sorted(order[:3]) == ["look", "open", "read"]
    assert order[3:] == ["open", "open"]
    gate.close()


async def test_callers_of_one_kind_take_turns() -> None:
    gate, go, order = Gate(running=1, waiting=8), threading.Event(), list[str]()
    held = await busy(gate, "", go)
    asked = []
    for caller in ("a", "a", "a", "b"):
        work = lambda caller=caller: order.append(caller)  # noqa: E731
        asked.append(asyncio.ensure_future(gate.run(Ticket(60, caller), work, nobody_leaves())))
        await until(lambda: gate.waiting == len(asked))
    go.set()
    await asyncio.gather(*held, *asked)
    assert order == ["a", "b", "a", "a"]
    gate.close()


async def test_who_would_wait_too_long_is_sent_away_at_once() -> None:
    refused: list[tuple[str, str]] = []
    gate = Gate(running=2, waiting=8, most={"open": 1}, max_wait_s=0.1, on_refused=lambda *told: refused.append(told))
    gate.check("open")
    await gate.run(Ticket(60), lambda: time.sleep(0.3), nobody_leaves(), "open")  # from now on it is known how long
    assert gate.expected_s("open") == 0  # as long as a place is free
    go = threading.Event()
    held = await busy(gate, "open", go)
    assert gate.expected_s("open") >= 0.3
    for sending in (gate.run(Ticket(60), lambda: None, nobody_leaves(), "open"), None):
        with pytest.raises(Refused) as told:
            gate.check("open") if sending is None else await sending
        assert (told.value.why, told.value.retry_after_s) == ("wait", 1)
        assert told.value.expected_s >= 0.3
    assert gate.waiting == 0
    gate.check("look")
    assert refused == [("open", "wait")] * 2
    go.set()
    await asyncio.gather(*held)
    gate.close()


async def test_who_has_waited_too_long_is_sent_away() -> None:
    gate, go = Gate(running=1, waiting=8, max_wait_s=0.05), threading.Event()
    held = await busy(gate, "", go)  # nothing is known of how long it takes
    with pytest.raises(Refused) as told:
        await gate.run(Ticket(60), lambda: None, nobody_leaves())
    assert told.value.why == "wait"
    assert told.value.waited_s >= 0.04
    assert gate.waiting == 0
    go.set()
    await asyncio.gather(*held)
    await until(lambda: gate.running == 0)
    gate.close()


async def test_the_deadline_is_told_as_such_where_it_comes_first() -> None:
    gate, go = Gate(running=1, waiting=8, max_wait_s=60), threading.Event()
    held = await busy(gate, "", go)
    with pytest.raises(Late):
        await gate.run(Ticket(0.05), lambda: None, nobody_leaves())
    go.set()
    await asyncio.gather(*held)
    gate.close()


async def test_what_was_waited_is_told() -> None:
    turns: list[tuple[str, float]] = []
    gate = Gate(running=1, waiting=8, on_turn=lambda *told: turns.append(told))
    await gate.run(Ticket(60), lambda: None, nobody_leaves(), "look")
    assert turns[0][0] == "look"
    assert turns[0][1] >= 0
    gate.close()
