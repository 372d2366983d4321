"""Making the next pieces of an ordered row in other threads, while the current one is used."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Calls `make(step)` for steps to come in worker threads, so that whoever asks in order need not wait.

    What comes does not depend on the threads: `make` must be a function of its step alone.

    Args:
        make: called in any thread.
        workers: threads; with 0 everything happens when asked.
        depth: steps ahead.
        end: the step that is never asked for; None when there is no last one.
    """

    def __init__(self, make: Callable[[int], T], workers: int, depth: int = 4, end: int | None = None) -> None:
        self._make, self._depth, self._end = make, depth, end
        self._pool = ThreadPoolExecutor(workers, "read-ahead") if workers else None
        self._coming: dict[int, Future[T]] = {}

    def __call__(self, step: int) -> T:
        if self._pool is None:
            return self._make(step)
        for old in [k for k in self._coming if not step <= k <= step + self._depth]:
            self._coming.pop(old).cancel()
        after = step + self._depth + 1
        for k in range(step, after if self._end is None else min(after, self._end)):
            if k not in self._coming:
                self._coming[k] = self._pool.submit(self._make, k)
        return self._coming.pop(step).result()

    def close(self) -> None:
        """End the threads; steps not yet asked for are dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
