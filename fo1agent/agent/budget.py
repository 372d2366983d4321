"""How much one question may cost, and the meter that watches it.

A limit is checked before each step; a running tool is not interrupted. Reaching one ends the run with a partial answer
that says which limit it was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields

from fo1agent.errors import BudgetExceeded, InputError


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one question.

    Attributes:
        steps: plan steps that may run.
        seconds: wall-clock time after which no further step starts.
        model_calls: passes of the model or of OCR (one grounding of many phrases is one pass).
        pixels: picture pixels handed to reading, describing and inspecting, summed over the calls.
    """

    steps: int = 64
    seconds: float = 60.0
    model_calls: int = 64
    pixels: int = 256_000_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise InputError(f"Budget {field.name} must be above 0, got {value!r}.")


class Meter:
    """Counts what a run has used so far. It starts when it is made."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.steps = 0
        self.model_calls = 0
        self.pixels = 0
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._start

    def step(self) -> None:
        """Pay for one step.

        Raises:
            BudgetExceeded: it is one too many, or time is up.
        """
        if self.steps >= self.budget.steps:
            raise BudgetExceeded(f"the budget of {self.budget.steps} steps is used up")
        if self.seconds > self.budget.seconds:
            raise BudgetExceeded(f"the budget of {self.budget.seconds:g} seconds is used up")
        self.steps += 1

    def model_call(self, pixels: int = 0) -> None:
        """Pay for one pass over `pixels` of the picture.

        Raises:
            BudgetExceeded: it would pass a limit.
        """
        if self.model_calls + 1 > self.budget.model_calls:
            raise BudgetExceeded(f"the budget of {self.budget.model_calls} model calls is used up")
        if self.pixels + pixels > self.budget.pixels:
            raise BudgetExceeded(f"the budget of {self.budget.pixels} pixels is used up")
        self.model_calls += 1
        self.pixels += pixels
