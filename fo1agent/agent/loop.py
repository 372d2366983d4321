"""The agent: a question about a picture, planned, run, and answered with evidence."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fo1agent.agent.answer import Answer, conclude
from fo1agent.agent.budget import Budget
from fo1agent.agent.executor import Run, SceneLike
from fo1agent.agent.planners.base import NotUnderstood, Planner
from fo1agent.agent.trace import StepRecord
from fo1agent.errors import InputError

OnStep = Callable[[int, dict[str, Any]], None]

MAX_QUESTION = 4000
"""Characters of a question; a longer one is a mistake or an attack, and parsing it would take minutes."""


class Agent:
    """Answers questions about pictures.

    Args:
        model: what opens pictures (`fo1agent.load()`); not needed when every question comes with an open scene.
        planner: `"rules"`, the grammar that needs no language model, or any `Planner`.
        budget: limits of each question.

    `Agent(fo1agent.load()).ask("street.jpg", "How many people are to the left of the bus?").value` is 2.
    """

    def __init__(self, model: Any = None, planner: str | Planner = "rules", budget: Budget | None = None) -> None:
        self.model = model
        self.budget = budget or Budget()
        self.planner = _planner(planner) if isinstance(planner, str) else planner

    def ask(self, source: Any, question: str, on_step: OnStep | None = None) -> Answer:
        """Answer a question about a picture.

        Args:
            source: an open `Scene`, or anything that the model can open.
            question: one question in English, or several joined by "and", commas or full stops.
            on_step: called as (number from 1, the step as `Answer.to_dict` gives it) when a step has finished.

        Returns:
            The answer. A question that is not understood, a word the model does not know or a thing that is not there
            gives an `Answer` with `abstained` set and the reason, never an exception.

        Raises:
            ImageError: the picture cannot be opened.
            InputError: there is no model to open it with, or the question is no text or far too long.
        """
        if not isinstance(question, str) or len(question) > MAX_QUESTION:
            got = f"{len(question)} of them" if isinstance(question, str) else f"a {type(question).__name__}"
            raise InputError(f"A question is a text of at most {MAX_QUESTION} characters, got {got}.")
        start = time.perf_counter()
        scene = self._open(source)
        plan = self.planner.plan(question)
        if isinstance(plan, NotUnderstood):
            nearest = f" Closest I can answer: “{plan.suggestion}”" if plan.suggestion else ""
            return Answer(
                question,
                f"{plan.reason}.{nearest}",
                abstained=True,
                reason=f"{plan.reason}.{nearest}",
                seconds=time.perf_counter() - start,
                image=getattr(scene, "image", None),
            )
        run = Run(plan, scene, self.budget)
        trace: list[StepRecord] = []
        for record in run:
            trace.append(record)
            if on_step is not None:
                on_step(len(trace), record.to_dict())
        return conclude(run, question, tuple(trace), getattr(scene, "image", None))

    def _open(self, source: Any) -> SceneLike:
        if hasattr(source, "ground_many"):
            return source
        if self.model is None:
            raise InputError("This agent has no model to open pictures with. Make it as Agent(fo1agent.load()).")
        return self.model.open(source)


def _planner(name: str) -> Planner:
    if name != "rules":
        raise InputError(f'No planner {name!r}. There is "rules"; or pass an object with a plan(question) method.')
    from fo1agent.agent.planners.rules import RulePlanner

    return RulePlanner()
