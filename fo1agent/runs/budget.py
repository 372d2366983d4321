"""How much one question may cost, and the meter that watches it.

Limits are checked before each step and before each reply of a chat model. When time is up, waiting ends and connections
are closed: to a chat model, or to a server that looks (`fo1agent.connect`). A tool that computes here is not
interrupted. So a run takes its seconds, at most one second more, and the rest of the pass that is running. A limit ends
the run with a partial answer that says which limit it was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields

from fo1agent.errors import BudgetExceeded, InputError

MAX_QUESTION = 4000
"""Characters of a question; a longer one is a mistake or an attack, and parsing it would take minutes."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one question.

    Attributes:
        steps: steps of a plan, or tool calls of a chat model.
        seconds: wall-clock time after which no further step starts and waiting ends.
        model_calls: passes of the model or of OCR (one grounding of many phrases is one pass).
        pixels: pixels that are read, described, inspected or sent to a chat model, in all.
        chat_calls: replies of a chat model, including repeated ones.
        chat_tokens: tokens read and written by a chat model, as far as it reports them; no reply is requested once the
            limit is reached.
    """

    steps: int = 64
    seconds: float = 60.0
    model_calls: int = 64
    pixels: int = 256_000_000
    chat_calls: int = 24
    chat_tokens: int = 500_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise InputError(f"Budget {field.name} must be above 0, got {value!r}.")


class Meter:
    """Counts what a question has used so far. It starts when it is made."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.steps = 0
        self.model_calls = 0
        self.pixels = 0
        self.chat_calls = 0
        self.chat_tokens = 0
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the question began, without those that it waited for others."""
        return time.perf_counter() - self._start

    def wait(self, seconds: float) -> None:
        """Leave out seconds in which only others' work was done."""
        self._start += seconds

    @property
    def left(self) -> float:
        """Seconds left, 0 or more."""
        return max(0.0, self.budget.seconds - self.seconds)

    def step(self) -> None:
        """Pay for one step.

        Raises:
            BudgetExceeded: it is one too many, or time is up.
        """
        if self.steps >= self.budget.steps:
            raise BudgetExceeded(f"the budget of {self.budget.steps} steps is used up")
        self.check_time()
        self.steps += 1

    def model_call(self, pixels: int = 0) -> None:
        """Pay for one pass over `pixels` of the picture.

        Raises:
            BudgetExceeded: it would pass a limit.
        """
        if self.model_calls + 1 > self.budget.model_calls:
            raise BudgetExceeded(f"the budget of {self.budget.model_calls} model calls is used up")
        self.look_at(pixels)
        self.model_calls += 1

    def look_at(self, pixels: int) -> None:
        """Pay for `pixels` of the picture.

        Raises:
            BudgetExceeded: it would pass the limit.
        """
        if self.pixels + pixels > self.budget.pixels:
            raise BudgetExceeded(f"the budget of {self.budget.pixels} pixels is used up")
        self.pixels += pixels

    def chat_call(self) -> float:
        """Pay for one reply of a chat model; returns the seconds that it may take.

        Raises:
            BudgetExceeded: it is one too many, its predecessors used all tokens, or time is up.
        """
        if self.chat_calls >= self.budget.chat_calls:
            raise BudgetExceeded(f"the budget of {self.budget.chat_calls} replies of the chat model is used up")
        if self.chat_tokens >= self.budget.chat_tokens:
            raise BudgetExceeded(f"the budget of {self.budget.chat_tokens} tokens of the chat model is used up")
        self.check_time()
        self.chat_calls += 1
        return self.left

    def check_time(self) -> None:
        """Do nothing while there is time.

        Raises:
            BudgetExceeded: time is up.
        """
        if self.seconds >= self.budget.seconds:
            raise BudgetExceeded(f"the budget of {self.budget.seconds:g} seconds is used up")
