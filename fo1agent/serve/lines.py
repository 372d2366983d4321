"""Who waits for one kind of work, in which order, and about how long. For one event loop.

Callers take turns, so one who sends much at once holds up himself and nobody else.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque

_NEWS = 0.2  # the weight of the latest run in the mean of all


class Line:
    """The requests of one kind: those that wait, and how many run.

    Args:
        most: requests of this kind that run at once.

    Attributes:
        running: requests that have a place.
        waiting: requests that wait for one.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.running = self.waiting = 0
        self._turns: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # by caller; whose turn is first
        self._mean_s: float | None = None
        self._next_back = 0.0

    def put(self, caller: str, turn: asyncio.Future[None]) -> None:
        """Let somebody wait; `turn` is done when it is."""
        self._turns.setdefault(caller, deque()).append(turn)
        self.waiting += 1

    def drop(self, caller: str, turn: asyncio.Future[None]) -> None:
        """Take somebody out who waits no longer."""
        turn.cancel()
        self._turns[caller].remove(turn)
        self.waiting -= 1
        if not self._turns[caller]:
            del self._turns[caller]

    def call(self) -> None:
        """Tell the next that it is its turn."""
        caller, turns = next(iter(self._turns.items()))
        turns.popleft().set_result(None)
        self.waiting -= 1
        if turns:
            self._turns.move_to_end(caller)
        else:
            del self._turns[caller]

    def ran(self, seconds: float) -> None:
        """A request has run for so long."""
        mean_s = seconds if self._mean_s is None else self._mean_s
        self._mean_s = mean_s + _NEWS * (seconds - mean_s)

    @property
    def pace_s(self) -> float:
        """Seconds from one turn to the next, as the latest requests took; 0 before any has run."""
        return (self._mean_s or 0.0) / self.most

    def expected_s(self, caller: str) -> float:
        """Seconds until a request that this caller sent now would run, if every place is taken."""
        own = len(self._turns.get(caller, ()))
        ahead = own + sum(min(len(turns), own + 1) for name, turns in self._turns.items() if name != caller)
        return (ahead + 1) * self.pace_s

    def back_in_s(self, over_s: float, most_s: float) -> int:
        """Whole seconds after which somebody should come back who cannot wait here now.

        Args:
            over_s: by how much the wait is too long.
            most_s: nobody is sent away for longer, unless it is less than a second.
        """
        now = time.monotonic()
        # Each is told another time, a turn later than the one before; all at once would be sent away again.
        self._next_back = min(max(self._next_back + self.pace_s, now + over_s), now + most_s)
        return max(1, math.ceil(self._next_back - now))
