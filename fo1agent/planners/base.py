"""What a planner is: it turns a question into a plan, or says that it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from fo1agent.plans.language import Plan
from fo1agent.runs.budget import Meter
from fo1agent.runs.step import StepRecord


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """A question for which a planner has no plan.

    Attributes:
        reason: why, as a clause: `I can't parse that question`.
        suggestion: the nearest question that it could answer; "" if it has none.
    """

    reason: str
    suggestion: str = ""


class Planner(Protocol):
    """Question → plan. A planner does not see the picture. Its `name`, if it has one, is reported with its plans."""

    def plan(self, question: str) -> Plan | NotUnderstood:
        """The plan that answers the question, or why there is none. Never raises for any text."""
        ...


@runtime_checkable
class RememberingPlanner(Protocol):
    """A planner that takes earlier questions of the same talk into account."""

    remembers: bool

    def plan(self, question: str, before: Sequence[str] = ()) -> Plan | NotUnderstood:
        """As `Planner.plan`, for a question that may go back to those before, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, or why there is none, with who made it and what a person should be told of how it came about."""

    plan: Plan | NotUnderstood
    planner: str
    note: str = ""


def in_its_talk(question: str, before: Sequence[str]) -> str:
    """A question as a chat model gets it, with those that it may go back to."""
    if not before:
        return question
    earlier = "\n".join(f"- {one}" for one in before)
    return f"Earlier questions about this picture, for what words like “they” mean:\n{earlier}\n\nNow: {question}"


class Session(Protocol):
    """One question with a planner that can be asked again."""

    def plan(self) -> Planned:
        """The first plan.

        Raises:
            BudgetExceeded: the question's budget does not suffice to make one.
        """
        ...

    def replan(self, records: Sequence[StepRecord]) -> Planned | None:
        """A better plan after what came of the last one, or None to leave it at that.

        Raises:
            BudgetExceeded: the question's budget does not suffice to make one.
        """
        ...


@runtime_checkable
class SessionPlanner(Protocol):
    """A planner whose work costs and which may be asked again."""

    def session(
        self, question: str, meter: Meter, vocabulary: Sequence[str] | None, before: Sequence[str] = ()
    ) -> Session:
        """Begin with a question.

        Args:
            question: as the user asked it.
            before: the user's questions before it, which it may go back to, oldest first.
            meter: pays for what the planner does.
            vocabulary: all names that the detector knows; None if any will do.
        """
        ...
