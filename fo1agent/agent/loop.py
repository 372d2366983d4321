"""The agent: a question about a picture, planned, run, and answered with evidence."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fo1agent.agent import observation
from fo1agent.agent.answer import Answer, conclude, text_so_far
from fo1agent.agent.budget import Budget
from fo1agent.agent.events import AnswerEvent, Event, Partial, PlanEvent, StepEnd
from fo1agent.agent.executor import Run, SceneLike
from fo1agent.agent.planners.base import NotUnderstood, Planner
from fo1agent.agent.trace import StepRecord
from fo1agent.agent.traces import Place, as_place
from fo1agent.errors import FO1AgentError, InputError

OnStep = Callable[[int, dict[str, Any]], None]

MAX_QUESTION = 4000
"""Characters of a question; a longer one is a mistake or an attack, and parsing it would take minutes."""


class Agent:
    """Answers questions about pictures.

    Args:
        model: what opens pictures (`fo1agent.load()`); not needed when every question comes with an open scene.
        planner: `"rules"`, the grammar that needs no language model, or any `Planner`.
        budget: limits of each question.
        traces: where every run is saved: a folder, which gets one file a run, or a `traces.Place`; None for nowhere.

    `Agent(fo1agent.load()).ask("street.jpg", "How many people are to the left of the bus?").value` is 2.
    """

    def __init__(
        self,
        model: Any = None,
        planner: str | Planner = "rules",
        budget: Budget | None = None,
        traces: str | os.PathLike[str] | Place | None = None,
    ) -> None:
        self.model = model
        self.budget = budget or Budget()
        self.planner = _planner(planner) if isinstance(planner, str) else planner
        self._traces = as_place(traces)
        self._lock = threading.RLock()

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
            AgentError: the trace cannot be written.
        """
        for event in self.stream(source, question):
            if isinstance(event, StepEnd) and on_step is not None:
                on_step(event.number, event.record.to_dict())
            if isinstance(event, AnswerEvent):
                return event.answer
        raise AssertionError("a run ends with its answer")

    def stream(self, source: Any, question: str) -> Iterator[Event]:
        """Answer a question, told as it goes on: plan, steps, the text as far as it is known, and last the answer.

        The picture is opened by the call itself, and what is wrong with it or the question is raised there; the steps
        run as the events are taken, and stop when they are no longer.

        Args:
            source: as for `ask`.
            question: as for `ask`.

        Raises:
            ImageError, InputError, AgentError: as for `ask`.
        """
        if not isinstance(question, str) or len(question) > MAX_QUESTION:
            got = f"{len(question)} of them" if isinstance(question, str) else f"a {type(question).__name__}"
            raise InputError(f"A question is a text of at most {MAX_QUESTION} characters, got {got}.")
        start = time.perf_counter()
        watch = observation.begin(question, self.planner, self.budget, self._traces)
        with self._lock, watch.opening():
            scene = self._open(source, watch)
        return watch.events(scene, self._events(scene, question, start))

    async def aask(self, source: Any, question: str, on_step: OnStep | None = None) -> Answer:
        """`ask`, in a thread of its own."""
        return await asyncio.to_thread(self.ask, source, question, on_step)

    async def astream(self, source: Any, question: str) -> AsyncIterator[Event]:
        """`stream`, each step in a thread; the picture is opened when the first event is taken."""
        events = await asyncio.to_thread(self.stream, source, question)
        while (event := await asyncio.to_thread(next, events, None)) is not None:
            yield event

    def batch(self, questions: Iterable[tuple[Any, str]], workers: int = 4) -> list[Answer | FO1AgentError]:
        """Answer many questions, about one picture or many.

        Args:
            questions: (source, question) pairs, each as for `ask`.
            workers: how many are worked on at once. The model computes one thing at a time; what overlaps is the
                waiting for a chat model.

        Returns:
            One answer for each, in the same order, or the error that `ask` would have raised.
        """

        def answered(pair: tuple[Any, str]) -> Answer | FO1AgentError:
            try:
                return self.ask(*pair)
            except FO1AgentError as exc:
                return exc

        if workers < 1:
            raise InputError(f"workers must be 1 or more, got {workers!r}.")
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(answered, questions))

    def _events(self, scene: SceneLike, question: str, start: float) -> Iterator[Event]:
        plan = self.planner.plan(question)
        if isinstance(plan, NotUnderstood):
            nearest = f" Closest I can answer: “{plan.suggestion}”" if plan.suggestion else ""
            answer = Answer(
                question,
                f"{plan.reason}.{nearest}",
                abstained=True,
                reason=f"{plan.reason}.{nearest}",
                seconds=time.perf_counter() - start,
                image=getattr(scene, "image", None),
            )
            yield AnswerEvent(answer)
            return
        yield PlanEvent(observation.name_of(self.planner), plan)
        run = Run(plan, scene, self.budget)
        trace: list[StepRecord] = []
        text = ""
        for event in self._one_at_a_time(run.events()):
            yield event
            if isinstance(event, StepEnd):
                trace.append(event.record)
                said, text = text, text_so_far(run)
                if text != said and len(trace) < len(plan.steps) - 1:
                    yield Partial(text)
        yield AnswerEvent(conclude(run, question, tuple(trace), getattr(scene, "image", None)))

    def _one_at_a_time(self, events: Iterator[Any]) -> Iterator[Any]:
        """The events of a run, no two runs of this agent computing at once."""
        while True:
            with self._lock:
                event = next(events, None)
            if event is None:
                return
            yield event

    def _open(self, source: Any, watch: observation.Watch | observation.Unwatched) -> SceneLike:
        if hasattr(source, "ground_many"):
            return watch.scene(source)
        if self.model is None:
            raise InputError("This agent has no model to open pictures with. Make it as Agent(fo1agent.load()).")
        return watch.model(self.model).open(source)


def _planner(name: str) -> Planner:
    if name != "rules":
        raise InputError(f'No planner {name!r}. There is "rules"; or pass an object with a plan(question) method.')
    from fo1agent.agent.planners.rules import RulePlanner

    return RulePlanner()
