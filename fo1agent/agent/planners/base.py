"""What a planner is: it turns a question into a plan, or says that it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fo1agent.agent.plan import Plan


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """A question that a planner has no plan for.

    Attributes:
        reason: why, as a clause: `I can't parse that question`.
        suggestion: the nearest question that it could answer; "" when it has none to offer.
    """

    reason: str
    suggestion: str = ""


class Planner(Protocol):
    """Question → plan. A planner does not see the picture. Its `name`, if it has one, is told with its plans."""

    def plan(self, question: str) -> Plan | NotUnderstood:
        """The plan that answers the question, or why there is none. Never raises for any text."""
        ...
