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
