"""Question → plan → steps on a scene → answer with evidence. No torch: the scene brings the model."""

from fo1agent.agent.answer import Answer
from fo1agent.agent.budget import Budget
from fo1agent.agent.events import AnswerEvent, Event, Partial, PlanEvent, StepEnd, StepStart
from fo1agent.agent.loop import Agent
from fo1agent.agent.plan import Plan
from fo1agent.agent.planners.base import NotUnderstood, Planner
from fo1agent.agent.trace import StepRecord

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
