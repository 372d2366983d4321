"""Question → plan → steps on a scene → answer with evidence. No torch: the scene brings the model."""

from fo1agent.agent.loop import Agent
from fo1agent.planners.base import NotUnderstood, Planner
from fo1agent.plans.language import Plan
from fo1agent.runs.answer import Answer
from fo1agent.runs.budget import Budget
from fo1agent.runs.events import AnswerEvent, Event, Partial, PlanEvent
from fo1agent.runs.step import StepEnd, StepRecord, StepStart

__all__ = [
    "Agent",
    "Answer",
    "AnswerEvent",
    "Budget",
    "Event",
    "NotUnderstood",
    "Partial",
    "Plan",
    "PlanEvent",
    "Planner",
    "StepEnd",
    "StepRecord",
    "StepStart",
]
