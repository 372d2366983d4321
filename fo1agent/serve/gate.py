"""Who may run, who waits, and who is sent away. A request has a `Ticket`: its deadline, and whether it was called off.

Every kind of work has a line of its own and so many places, and the lines take turns, so that no kind waits behind all
of another. Whoever would wait too long is sent away when it comes, not when it has waited.

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
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, Literal, TypeVar

from fo1agent.serve.lines import Line

T = TypeVar("T")

_LONGEST_AWAY_S = 60.0  # that a refused request is told to stay away


class Stopped(BaseException):
    """Work whose ticket was stopped or is late. It passes through everything that handles failures, as a cancellation
    does."""


Why = Literal["full", "wait", "memory"]
"""Why a request is sent away: as many wait as may; it would wait, or has waited, too long; others hold too much."""


class Refused(Exception):
    """There is no place.

    Attributes:
        why: see `Why`.
        retry_after_s: whole seconds after which there may be one.
        expected_s: seconds for which the request would have had to wait, as far as is known; on top of `waited_s`.
        waited_s: seconds for which it has waited; 0 if it was refused when it came.
    """

    def __init__(self, why: Why, retry_after_s: int, expected_s: float = 0.0, waited_s: float = 0.0) -> None:
        super().__init__(why, retry_after_s, expected_s, waited_s)
        self.why: Why = why
        self.retry_after_s, self.expected_s, self.waited_s = retry_after_s, expected_s, waited_s


class Late(Exception):
    """The deadline has passed."""


class Gone(Exception):
    """Nobody waits for the result any more."""


class Ticket:
    """A request's deadline, and whether it was called off. Safe to share between threads.

    Args:
        seconds: until the deadline.
        caller: who sent it; callers take turns.
    """

    def __init__(self, seconds: float, caller: str = "") -> None:
        self.seconds, self.caller = seconds, caller
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
        most: kind of work → how many of it run at once; `running` for those that are not named.
        max_wait_s: nobody waits for longer; who would, is refused.
        on_turn: told (kind, seconds waited) of every request that begins.
        on_refused: told (kind, why) of every request that is sent away.
    """

    def __init__(
        self,
        running: int,
        waiting: int,
        *,
        most: Mapping[str, int] | None = None,
        max_wait_s: float = math.inf,
        on_turn: Callable[[str, float], None] = lambda kind, seconds: None,
        on_refused: Callable[[str, Why], None] = lambda kind, why: None,
    ) -> None:
        self._most, self._queue, self._max_wait_s = running, waiting, max_wait_s
        self._on_turn, self._on_refused = on_turn, on_refused
        self._threads = ThreadPoolExecutor(running, thread_name_prefix="fo1agent-request")
        self._running = 0
        self._lines = {kind: Line(min(n, running)) for kind, n in (most or {}).items()}  # whose turn it is comes first

    @property
    def running(self) -> int:
        """Requests that run."""
        return self._running

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return sum(line.waiting for line in self._lines.values())

    def expected_s(self, kind: str, caller: str = "") -> float:
        """Seconds for which a request of this kind that came now would wait, as far as earlier ones tell."""
        line = self._line(kind)
        return 0.0 if self._is_free(line) else line.expected_s(caller)

    def check(self, kind: str, caller: str = "") -> None:
        """Refuse a request before its body is there, which would not be let in.

        Raises:
            Refused: too many wait already, or it would wait too long.
        """
        line, expected_s = self._line(kind), self.expected_s(kind, caller)
        if expected_s > self._max_wait_s:
            raise self._refused(kind, "wait", expected_s)
        if not self._is_free(line) and self.waiting >= self._queue:
            raise self._refused(kind, "full", expected_s)

    def close(self) -> None:
        """Let go of the threads, once they are done."""
        self._threads.shutdown(wait=False)

    async def run(self, ticket: Ticket, work: Callable[[], T], gone: asyncio.Future[Any], kind: str = "") -> T:
        """Wait for a place and do the work in a thread, where `current()` is the ticket.

        Args:
            ticket: of the request.
            work: raises `Stopped` when it notices that the ticket is.
            gone: done when nobody waits for the result any more.
            kind: of the work, which is the line that it waits in.

        Raises:
            Refused: too many wait already, or it would wait, or has waited, too long.
            Late: the deadline has passed.
            Gone: as `gone` says.
        """
        line = await self._enter(ticket, gone, kind)
        return await _attend(self._start(line, ticket, work), ticket, gone)

    async def stream(
        self, ticket: Ticket, work: Callable[[], Iterator[T]], gone: asyncio.Future[Any], kind: str = ""
    ) -> Stream[T]:
        """As `run`, of work that gives one item after the other; returns once the first is there.

        Raises:
            Refused, Late, Gone: as `run`, also while iterating. What the work raises before its first item is raised
                at once.
        """
        line = await self._enter(ticket, gone, kind)
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

        stream = Stream(items, self._start(line, ticket, produce), ticket, gone)
        await stream.begin()
        return stream

    async def _enter(self, ticket: Ticket, gone: asyncio.Future[Any], kind: str) -> Line:
        """Get a place in a line, at once or after a wait."""
        caller = ticket.caller
        self.check(kind, caller)
        line, came = self._line(kind), time.monotonic()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.put(caller, turn)
        self._fill()
        try:
            await _attend(turn, ticket, gone, self._max_wait_s)
        except BaseException as exc:
            if turn.done() and not turn.cancelled():
                self._leave(line)
            else:
                line.drop(caller, turn)
            if isinstance(exc, TimeoutError):
                raise self._refused(kind, "wait", line.expected_s(caller), time.monotonic() - came) from None
            raise
        self._on_turn(kind, time.monotonic() - came)
        return line

    def _line(self, kind: str) -> Line:
        return self._lines.setdefault(kind, Line(self._most))

    def _is_free(self, line: Line) -> bool:
        """Whether one who came now would run at once."""
        return self._running < self._most and line.running < line.most and not line.waiting

    def _refused(self, kind: str, why: Why, expected_s: float, waited_s: float = 0.0) -> Refused:
        self._on_refused(kind, why)
        over_s = max(expected_s - self._max_wait_s, 0.0)
        back_in_s = self._line(kind).back_in_s(over_s, min(self._max_wait_s, _LONGEST_AWAY_S))
        return Refused(why, back_in_s, expected_s, waited_s)

    def _leave(self, line: Line) -> None:
        """Give a place back."""
        line.running -= 1
        self._running -= 1
        self._fill()

    def _fill(self) -> None:
        """Give the free places to those who wait, one line after the other."""
        while self._running < self._most:
            kind = next((kind for kind, line in self._lines.items() if line.waiting and line.running < line.most), None)
            if kind is None:
                return
            line = self._lines[kind] = self._lines.pop(kind)  # now the last to have its turn
            line.running += 1
            self._running += 1
            line.call()

    def _start(self, line: Line, ticket: Ticket, work: Callable[[], T]) -> asyncio.Future[T]:
        start = time.monotonic()

        def left(done: asyncio.Future[T]) -> None:
            if not done.cancelled():
                done.exception()  # has been looked at, also where nobody waits for it any more
            line.ran(time.monotonic() - start)
            self._leave(line)

        context = contextvars.copy_context()
        context.run(_current.set, ticket)
        try:
            future = asyncio.get_running_loop().run_in_executor(self._threads, context.run, work)
        except RuntimeError:  # closed
            self._leave(line)
            raise
        future.add_done_callback(left)
        return future


async def _attend(future: asyncio.Future[T], ticket: Ticket, gone: asyncio.Future[Any], seconds: float = math.inf) -> T:
    """What the future gives, unless the deadline passes or nobody waits any more; the ticket is then stopped.

    Raises:
        TimeoutError: so many seconds have passed, and the deadline has not.
    """
    try:
        await asyncio.wait({future, gone}, timeout=min(ticket.left, seconds), return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        ticket.stop()
        raise
    if future.done():
        try:
            return future.result()
        except Stopped:
            pass  # the thread noticed the deadline first
    elif not gone.done() and ticket.left and seconds < math.inf:
        raise TimeoutError
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
