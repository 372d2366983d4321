"""A stream that begins while its picture is still being opened: it tells how far that is, and goes on with the work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fo1agent import progress
from fo1agent.serve.gate import Stream, Ticket

T = TypeVar("T")


class Telling(Stream[T]):
    """Items that tell of the opening, and then those of the work.

    Args:
        begin: opens the picture and begins the work; what it opens, in whichever thread, is told of.
        told: makes an item of (tiles that were looked at, tiles in all).
        ticket: of the request.
    """

    def __init__(
        self, begin: Callable[[], Awaitable[Stream[T]]], told: Callable[[int, int], T], ticket: Ticket
    ) -> None:
        self._ticket, self._first = ticket, ()
        self._told: asyncio.Queue[T] = asyncio.Queue()
        self._work: Stream[T] | None = None
        loop = asyncio.get_running_loop()

        def listener(done: int, count: int) -> None:
            loop.call_soon_threadsafe(self._told.put_nowait, told(done, count))

        async def begun() -> Stream[T]:
            return await begin()

        with progress.told(listener):
            self._begun = asyncio.ensure_future(begun())
        self._begun.add_done_callback(_seen)

    def stop(self) -> None:
        """Call the opening and the work off."""
        super().stop()
        self._begun.cancel()

    async def _next(self) -> tuple[T, ...]:
        while self._work is None:
            coming = asyncio.ensure_future(self._told.get())
            try:
                await asyncio.wait({coming, self._begun}, return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    return (coming.result(),)
                self._work = self._begun.result()
            finally:
                coming.cancel()
        item = await anext(self._work, None)
        return () if item is None else (item,)


def _seen(task: asyncio.Future[Any]) -> None:
    """What it raised has been looked at, also where nobody waits for it any more."""
    if not task.cancelled():
        task.exception()
