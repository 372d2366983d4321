"""Question → plan → steps on a scene → answer with evidence. No torch: the scene brings the model.

What is listed here is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fo1agent.agent.loop import Agent
    from fo1agent.planners.base import NotUnderstood, Planner
    from fo1agent.plans.language import Plan
    from fo1agent.runs.answer import Answer
    from fo1agent.runs.budget import Budget
    from fo1agent.runs.events import AnswerEvent, Event, Opening, Partial, PlanEvent
    from fo1agent.runs.step import StepEnd, StepRecord, StepStart

__all__ = [
    "Agent",
    "Answer",
    "AnswerEvent",
    "Budget",
    "Event",
    "NotUnderstood",
    "Opening",
    "Partial",
    "Plan",
    "PlanEvent",
    "Planner",
    "StepEnd",
    "StepRecord",
    "StepStart",
]

_HOME = {
    "fo1agent.agent.loop": ("Agent",),
    "fo1agent.planners.base": ("NotUnderstood", "Planner"),
    "fo1agent.plans.language": ("Plan",),
    "fo1agent.runs.answer": ("Answer",),
    "fo1agent.runs.budget": ("Budget",),
    "fo1agent.runs.events": ("AnswerEvent", "Event", "Opening", "Partial", "PlanEvent"),
    "fo1agent.runs.step": ("StepEnd", "StepRecord", "StepStart"),
}


def __getattr__(name: str) -> Any:
    home = next((module for module, names in _HOME.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'fo1agent.agent' has no attribute {name!r}")
    return getattr(import_module(home), name)
