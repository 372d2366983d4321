"""What a run reports: how far the picture is opened, the plan, steps as they start and end, the answer as it grows, and
the answer.

Every event is a frozen value with `to_dict()`, ready for JSON, whose `type` says which it is. The answer is always the
last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SkipValidation
from pydantic.dataclasses import dataclass

from fo1agent.plans.language import Plan
from fo1agent.runs.answer import Answer
from fo1agent.runs.record import STRICT
from fo1agent.runs.step import StepEnd, StepStart


@dataclass(frozen=True, slots=True, config=STRICT)
class Opening:
    """The picture is being opened, by tiles; told before the first tile and after each, before all other events.

    Attributes:
        done: tiles that were looked at.
        count: tiles in all.
    """

    type: ClassVar[Literal["opening"]] = "opening"
    done: Annotated[int, Field(ge=0)]
    count: Annotated[int, Field(ge=0)]

    def to_dict(self) -> dict[str, Any]:
        """`{type, done, count}`."""
        return {"type": self.type, "done": self.done, "count": self.count}


@dataclass(frozen=True, slots=True, config=STRICT)
class PlanEvent:
    """A plan is about to run.

    Attributes:
        planner: what made the plan: `rules`, a chat model's name, `fo1`.
        plan: the steps.
        revision: 0 for the first plan of a question, and one more for each plan that replaced it.
    """

    type: ClassVar[Literal["plan"]] = "plan"
    planner: str
    plan: SkipValidation[Plan]
    revision: Annotated[int, Field(ge=0)] = 0

    def to_dict(self) -> dict[str, Any]:
        """`{type, planner, revision, steps}`, each step with `id`, `op` and the fields that it has."""
        return {
            "type": self.type,
            "planner": self.planner,
            "revision": self.revision,
            "steps": [step.model_dump(exclude_none=True, mode="json") for step in self.plan.steps],
        }


@dataclass(frozen=True, slots=True, config=STRICT)
class Partial:
    """The answer's text as far as it is known: all of it so far, not only what is new."""

    type: ClassVar[Literal["partial"]] = "partial"
    text: str

    def to_dict(self) -> dict[str, Any]:
        """`{type, text}`."""
        return {"type": self.type, "text": self.text}


@dataclass(frozen=True, slots=True, config=STRICT)
class AnswerEvent:
    """The answer; nothing comes after it."""

    type: ClassVar[Literal["answer"]] = "answer"
    answer: Answer

    def to_dict(self) -> dict[str, Any]:
        """`{type, answer}`, the answer as `Answer.to_dict` gives it."""
        return {"type": self.type, "answer": self.answer.to_dict()}


Event = Opening | PlanEvent | StepStart | StepEnd | Partial | AnswerEvent


OnStep = Callable[[int, dict[str, Any]], None]
"""Called as (number from 1, the step as `Answer.to_dict` gives it) when a step has finished."""


def answer_of(events: Iterable[Event], on_step: OnStep | None = None) -> Answer | None:
    """The answer that a run ends with; None if it was cut off before."""
    for event in events:
        if isinstance(event, StepEnd) and on_step is not None:
            on_step(event.number, event.record.to_dict())
        if isinstance(event, AnswerEvent):
            return event.answer
    return None
