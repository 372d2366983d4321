"""Who may run, who waits, and who is sent away. A request has a `Ticket`: its deadline, and whether it was called off.

Work runs in threads, which cannot be killed: a ticket that is stopped is noticed before the next pass of the model, or
while waiting for one. A place is free again when its thread is, not when nobody waits for it any more. What the work
is, is not known here.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Stopped(BaseException):
    """Work whose ticket was stopped or is late. It passes through everything that handles failures, as a cancellation
    does."""


class Refused(Exception):
    """There is no place. `retry_after_s`: whole seconds after which there may be one."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class Late(Exception):
    """The deadline has passed."""


class Gone(Exception):
    """Nobody waits for the result any more."""


class Ticket:
    """A request's deadline, and whether it was called off. Safe to share between threads.

    Args:
        seconds: until the deadline.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._stopped = False
        self._awaited: Future[Any] | None = None

    @property
    def left(self) -> float:
        """Seconds until the deadline, 0 or more."""
        return max(0.0, self._end - time.monotonic())

    def stop(self) -> None:
        """Call the work off: what it waits for is cancelled, and its next step does not begin."""
        with self._lock:
            self._stopped = True
            awaited = self._awaited
        if awaited is not None:
            awaited.cancel()

    def check(self) -> None:
        """Go on only if somebody still waits.

        Raises:
            Stopped: it was called off, or is late.
        """
        if self._stopped or not self.left:
            raise Stopped

    def wait(self, future: Future[T], seconds: float = math.inf) -> T:
        """What a future gives; raises what it raises.

        Args:
            future: cancelled when it is waited for no longer.
            seconds: to wait at most.

        Raises:
            Stopped: the ticket was stopped meanwhile, or is late.
            TimeoutError: the seconds are over, and the ticket's are not.
        """
        with self._lock:
            self._awaited = future
        try:
            self.check()
            return future.result(min(self.left, seconds))
        except (CancelledError, TimeoutError) as exc:
            if future.done() and not future.cancelled():
                raise  # the work's own
            if isinstance(exc, TimeoutError) and seconds < math.inf and self.left and not self._stopped:
                raise
            raise Stopped from exc
        finally:
            future.cancel()  # does nothing to one that is done
            self._awaited = None


_current: contextvars.ContextVar[Ticket | None] = contextvars.ContextVar("ticket", default=None)


def current() -> Ticket | None:
    """The ticket of the request that this thread works for; None outside of one."""
    return _current.get()


def check() -> None:
    """Go on only if somebody still waits for what this thread does; outside of a request always.

    Raises:
        Stopped: as `Ticket.check`.
    """
    ticket = current()
    if ticket is not None:
        ticket.check()


class Gate:
    """Lets so many requests run and so many wait. For one event loop.

    Args:
        running: requests that run at once.
        waiting: requests that wait for their turn.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._most, self._queue = running, waiting
        self._threads = ThreadPoolExecutor(running, thread_name_prefix="fo1agent-request")
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._mean_s = 0.5  # of the latest runs

    @property
    def running(self) -> int:
        """Requests that run."""
        return self._running

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return len(self._waiting)

    def close(self) -> None:
        """Let go of the threads, once they are done."""
        self._threads.shutdown(wait=False)

    async def run(self, ticket: Ticket, work: Callable[[], T], gone: asyncio.Future[Any]) -> T:
        """Wait for a place and do the work in a thread, where `current()` is the ticket.

        Args:
            ticket: of the request.
            work: raises `Stopped` when it notices that the ticket is.
            gone: done when nobody waits for the result any more.

        Raises:
            Refused: too many wait already.
            Late: the deadline has passed.
            Gone: as `gone` says.
        """
        await self._enter(ticket, gone)
        return await _attend(self._start(ticket, work), ticket, gone)

    async def stream(self, ticket: Ticket, work: Callable[[], Iterator[T]], gone: asyncio.Future[Any]) -> Stream[T]:
        """As `run`, of work that gives one item after the other; returns once the first is there.

        Raises:
            Refused, Late, Gone: as `run`, also while iterating. What the work raises before its first item is raised
                at once.
        """
        await self._enter(ticket, gone)
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[tuple[T, ...]] = asyncio.Queue()

        def put(*item: T) -> None:
            loop.call_soon_threadsafe(items.put_nowait, item)

        def produce() -> None:
            try:
                for item in work():
                    ticket.check()
                    put(item)
            finally:
                put()  # the end

        stream = Stream(items, self._start(ticket, produce), ticket, gone)
        await stream.begin()
        return stream

    async def _enter(self, ticket: Ticket, gone: asyncio.Future[Any]) -> None:
        if self._running < self._most and not self._waiting:
            self._running += 1
            return
        if len(self._waiting) >= self._queue:
            seconds = math.ceil((len(self._waiting) + 1) * self._mean_s / self._most)
            raise Refused(min(max(seconds, 1), 60))
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await _attend(turn, ticket, gone)
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._leave()
            else:
                turn.cancel()
                self._waiting.remove(turn)
            raise

    def _leave(self) -> None:
        """Give the place to who waits longest."""
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._running -= 1

    def _start(self, ticket: Ticket, work: Callable[[], T]) -> asyncio.Future[T]:
        start = time.monotonic()

        def left(done: asyncio.Future[T]) -> None:
            if not done.cancelled():
                done.exception()  # has been looked at, also where nobody waits for it any more
            self._mean_s += 0.1 * (time.monotonic() - start - self._mean_s)
            self._leave()

        context = contextvars.copy_context()
        context.run(_current.set, ticket)
        try:
            future = asyncio.get_running_loop().run_in_executor(self._threads, context.run, work)
        except RuntimeError:  # closed
            self._leave()
            raise
        future.add_done_callback(left)
        return future


async def _attend(future: asyncio.Future[T], ticket: Ticket, gone: asyncio.Future[Any]) -> T:
    """What the future gives, unless the deadline passes or nobody waits any more; the ticket is then stopped."""
    try:
        await asyncio.wait({future, gone}, timeout=ticket.left, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        ticket.stop()
        raise
    if future.done():
        try:
            return future.result()
        except Stopped:
            pass  # the thread noticed the deadline first
    ticket.stop()
    raise Gone if gone.done() else Late


class Stream(AsyncIterator[T]):
    """The items of a piece of work, as they come. `stop` it when nobody iterates any more."""

    def __init__(
        self,
        items: asyncio.Queue[tuple[T, ...]],
        produced: asyncio.Future[None],
        ticket: Ticket,
        gone: asyncio.Future[Any],
    ) -> None:
        self._items, self._produced, self._ticket, self._gone = items, produced, ticket, gone
        self._first: tuple[T, ...] = ()

    async def begin(self) -> None:
        """Wait for the first item; raises what the work raised before it."""
        self._first = await self._next()

    def stop(self) -> None:
        """Call the work off."""
        self._ticket.stop()

    async def __anext__(self) -> T:
        item, self._first = self._first or await self._next(), ()
        if not item:
            raise StopAsyncIteration
        return item[0]

    async def _next(self) -> tuple[T, ...]:
        coming = asyncio.ensure_future(self._items.get())
        try:
            item = await _attend(coming, self._ticket, self._gone)
        finally:
            coming.cancel()
        if not item:
            await _attend(self._produced, self._ticket, self._gone)  # for what it raised
        return item
