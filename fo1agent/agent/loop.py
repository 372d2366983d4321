"""The agent: a question about a picture, planned, run, and answered with evidence."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

from fo1agent import exchange
from fo1agent.agent.opening import Opened
from fo1agent.errors import AgentError, BudgetExceeded, FO1AgentError, InputError
from fo1agent.pictured import several
from fo1agent.planners.base import (
    NotUnderstood,
    Planned,
    Planner,
    RememberingPlanner,
    Session,
    SessionPlanner,
    in_its_talk,
)
from fo1agent.planners.conversation import ChatModel, ChatUnavailable
from fo1agent.plans.language import Offered, Plan
from fo1agent.regions.regions import shown
from fo1agent.runs.answer import Answer
from fo1agent.runs.budget import MAX_QUESTION, Budget, Meter
from fo1agent.runs.events import AnswerEvent, Event, OnStep, Partial, PlanEvent, answer_of
from fo1agent.runs.plan_run import Run, SceneLike
from fo1agent.runs.second_look import verified
from fo1agent.runs.step import StepEnd, StepRecord
from fo1agent.runs.wording import conclude, text_so_far
from fo1agent.traces.store import Place, as_place
from fo1agent.traces.watch import Unwatched, Watch, begin, name_of

if TYPE_CHECKING:
    from fo1agent.agent.stepping import Stepper
    from fo1agent.tools.base import Tool


REPLANS = 1
"""How many times to replan after a failed or empty step."""


class Agent:
    """Answers questions about pictures.

    Args:
        model: what opens pictures (`fo1agent.load()`); not needed when every question comes with an open scene.
        planner: what decides on the steps:
            `"rules"`, the grammar that needs no language model; `"fo1"`, the model's own language model, which can only
            write valid plans; a LangChain chat model, or a name for `init_chat_model` such as "openai:gpt-5"; or any
            `Planner`.
        budget: limits of each question.
        traces: where every run is saved: a folder, which gets one file a run, or a `traces.Place`; None for nowhere.
        mode: with a chat model, `"plan"`: it writes a plan before anything is looked at, and may write another on what
            was found; or `"steps"`: it calls one tool after another until it knows the answer.
        verify: whether what an answer rests on is looked at again first; what fails is named in `Answer.unsupported`,
            and if nothing is left the answer is an abstention.
        tools: tools of yours, made with `@fo1agent.tool`, for a planner that is a language model: it may use them in
            its plans, or call them step by step. A chat model is offered those of installed packages as well.

    Raises:
        InputError: no such planner or mode, or they do not fit each other.
        MissingExtraError: the chat model needs a package that is not installed.

    `Agent(fo1agent.load()).ask("street.jpg", "How many people are to the left of the bus?").value` is 2.
    """

    def __init__(
        self,
        model: Any = None,
        planner: Any = "rules",
        budget: Budget | None = None,
        traces: str | os.PathLike[str] | Place | None = None,
        *,
        mode: Literal["plan", "steps"] = "plan",
        verify: bool = False,
        tools: Sequence[Tool] = (),
    ) -> None:
        self.model = model
        self.budget = budget or Budget()
        self.verify = verify
        self._traces = as_place(traces)
        self._lock: AbstractContextManager[Any] = threading.RLock()
        self._meter: Callable[[Budget], Meter] = Meter
        self.planner, chat = _resolved(planner, model, tools)
        self._tools = tuple(tools)
        self._stepper: Stepper | None = None
        if mode not in ("plan", "steps"):
            raise InputError(f'mode must be "plan" or "steps", got {mode!r}.')
        if mode == "steps":
            if chat is None:
                raise InputError(f'mode "steps" needs a chat model as planner, got {planner!r:.80}.')
            self._stepper = _stepper(chat, tools, self._lock, verify)
        elif tools and isinstance(self.planner, type(_rules())):
            raise InputError(
                "The rules plan with no tools but ours. Pass a chat model as planner: it plans with yours, or calls "
                'them with mode "steps".'
            )

    def ask(self, source: Any, question: str, on_step: OnStep | None = None, *, before: Sequence[str] = ()) -> Answer:
        """Answer a question about a picture.

        Args:
            source: an open `Scene`, or anything that the model can open.
            question: one question in English, or several joined by "and", commas or full stops.
            on_step: called after each step with its number, from 1, and the step as in `Answer.to_dict`.
            before: earlier questions about the same picture, oldest first, that this one may go back to ("and what
                colour are they?"); `talk` keeps them by itself.

        Returns:
            The answer. If the question is not understood, the model does not know a word or a thing is not there, the
            answer has `abstained` and the reason; this is never an exception.

        Raises:
            ImageError: the picture cannot be opened.
            InputError: there is no model to open it with, the question is not text or far too long, or a planner of
                yours gave no plan.
            AgentError: the trace cannot be written.
            BudgetExceeded: the server that opens it (`fo1agent.connect`) took longer than the budget.
        """
        answer = answer_of(self._stream(source, question, before), on_step)
        assert answer is not None, "a run ends with its answer"
        return answer

    def talk(self, source: Any) -> Talk:
        """Open a picture for several questions, each of which may go back to earlier ones.

        Args:
            source: as for `ask`.

        Raises:
            ImageError, InputError: as for `ask`.
        """
        return Talk(self, source if hasattr(source, "ground_many") else self._model().open(source))

    def stream(self, source: Any, question: str, *, before: Sequence[str] = ()) -> Iterator[Event]:
        """Answer a question event by event: the plan, the steps, the text as far as it is known, and last the answer.

        The call itself opens the picture, and raises errors of the picture and the question. The steps run while events
        are taken, and stop when no more are. With a model that looks by tiles, the tiles are the first events.

        Args:
            source: as for `ask`.
            question: as for `ask`.
            before: as for `ask`.

        Raises:
            ImageError, InputError, AgentError: as for `ask`.
        """
        return self._stream(source, question, before, by_tiles=_looks_by_tiles(source, self.model))

    def _stream(self, source: Any, question: str, before: Sequence[str], by_tiles: bool = False) -> Iterator[Event]:
        """`stream`; the tiles are told only `by_tiles`."""
        _check_question(question)
        meter = self._meter(self.budget)
        watch = begin(question, self.planner, self.budget, self._traces, self.verify)

        def opened() -> SceneLike:
            with self._lock, watch.opening(), exchange.until(meter.left):
                return self._open(source, watch)

        def answered(scene: SceneLike) -> Iterator[Event]:
            events = self._events(scene, question, meter, tuple(before))
            return watch.events(scene, _in_time(events, scene, question, meter))

        return _after_tiles(Opened(opened), answered) if by_tiles else answered(opened())

    async def aask(
        self, source: Any, question: str, on_step: OnStep | None = None, *, before: Sequence[str] = ()
    ) -> Answer:
        """`ask`, in a thread of its own."""
        import asyncio  # here, since a command does without

        return await asyncio.to_thread(self.ask, source, question, on_step, before=before)

    async def astream(self, source: Any, question: str, *, before: Sequence[str] = ()) -> AsyncIterator[Event]:
        """`stream`, with each step in a thread; the picture is opened when the first event is taken."""
        import asyncio

        events = await asyncio.to_thread(self.stream, source, question, before=before)
        while (event := await asyncio.to_thread(next, events, None)) is not None:
            yield event

    def batch(self, questions: Iterable[tuple[Any, str]], workers: int | None = None) -> list[Answer | FO1AgentError]:
        """Answer many questions, about one picture or many, together: what several of them ask of the model at the same
        time takes one pass.

        Args:
            questions: (source, question) pairs, each as for `ask`.
            workers: how many run at once; so many pictures are open. None: 16, or 4 where a chat model plans.

        Returns:
            One answer for each, in the same order, or the error that `ask` would have raised; in the place of one that
            is not ours, an `AgentError` with it as its cause. The time that a question waits for others is not part of
            its budget.

        Raises:
            InputError: what is given is no pairs, or `workers` no whole number from 1.
        """
        from fo1agent.agent.sharing import Sharing

        pairs = several(questions, "batch", "(source, question) pairs")
        for pair in pairs:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise InputError(f"batch needs (source, question) pairs, got {shown(pair)}.")
        sharing = Sharing(min(self._workers(workers), len(pairs)) or 1)
        agent = copy.copy(self)
        agent._lock, agent._meter = sharing.turns, sharing.turns.meter
        if self._stepper is not None:
            agent._stepper = copy.copy(self._stepper)
            agent._stepper.lock = sharing.turns

        def answered(pair: tuple[Any, str]) -> Answer | FO1AgentError:
            source, question = pair
            try:
                return agent.ask(sharing.source(source), question)
            except FO1AgentError as exc:
                return exc
            except Exception as exc:  # of a planner, tool or model of another's: the others have their answers
                error = AgentError(f"The question {shown(question)} could not be answered: {shown(exc)}.")
                error.__cause__ = exc
                return error

        with sharing.lasting():
            agent.model = sharing.model(self.model)
            return sharing.each(answered, pairs)

    def ask_many(self, source: Any, questions: Iterable[str], workers: int | None = None) -> list[Answer]:
        """Answer several questions about one picture together, which is opened once.

        Args:
            source: as for `ask`.
            questions: each as for `ask`.
            workers: as for `batch`.

        Returns:
            The answers, in the order of the questions.

        Raises:
            InputError: `questions` or `workers` are none, before anything is asked.
            ImageError, InputError, AgentError: as for `ask`; the first in order.
        """
        asked = several(questions, "ask_many", "questions")
        for question in asked:
            _check_question(question)
        workers = self._workers(workers)
        scene = source if hasattr(source, "ground_many") else self._model().open(source)
        answers: list[Answer] = []
        for one in self.batch([(scene, question) for question in asked], workers):
            if isinstance(one, FO1AgentError):
                raise one
            answers.append(one)
        return answers

    def _workers(self, given: int | None) -> int:
        """How many questions run at once."""
        if given is None:
            return 16 if getattr(self.planner, "chat", None) is None else 4
        if isinstance(given, bool) or not isinstance(given, Integral) or given < 1:
            raise InputError(f"workers must be 1 or more, a whole number, got {shown(given)}.")
        return int(given)

    def _events(self, scene: SceneLike, question: str, meter: Meter, before: tuple[str, ...] = ()) -> Iterator[Event]:
        trace: list[StepRecord] = []
        if self._stepper is None:
            yield from self._planned(scene, question, meter, self.planner, trace, before=before)
            return
        try:
            for event in self._stepper.events(scene, in_its_talk(question, before), meter, trace):
                asked = isinstance(event, AnswerEvent)
                yield AnswerEvent(replace(event.answer, question=question)) if asked else event
        except ChatUnavailable as exc:
            note = f"The rules answered this: {exc}."
            yield from self._planned(scene, question, meter, _rules(), trace, note, before)

    def _planned(
        self,
        scene: SceneLike,
        question: str,
        meter: Meter,
        planner: Planner,
        trace: list[StepRecord],
        note: str = "",
        before: tuple[str, ...] = (),
    ) -> Iterator[Event]:
        """Plan, run, plan again where something was not found, and conclude."""
        notes = [note] if note else []
        session: Session = (
            planner.session(question, meter, _vocabulary(scene), before)
            if isinstance(planner, SessionPlanner)
            else _OnePlan(planner, question, before)
        )
        try:
            planned = session.plan()
        except BudgetExceeded as exc:
            yield AnswerEvent(
                _abstained(scene, question, meter, f"I stopped before this was answered: {exc}.", str(exc))
            )
            return
        notes += [planned.note] if planned.note else []
        if isinstance(planned.plan, NotUnderstood):
            nearest = f" Closest I can answer: “{planned.plan.suggestion}”" if planned.plan.suggestion else ""
            text = f"{planned.plan.reason}.{nearest}"
            answer = _abstained(scene, question, meter, text, text)
            yield AnswerEvent(replace(answer, planner=planned.planner, notes=tuple(notes)))
            return

        answer = yield from self._run(scene, question, meter, planned, 0, trace)
        for revision in range(1, 1 + REPLANS):
            if not _fell_short(answer):
                break
            try:
                again = session.replan(answer.trace)
            except BudgetExceeded:
                break
            if again is None or isinstance(again.plan, NotUnderstood):
                break
            better = yield from self._run(scene, question, meter, again, revision, trace)
            if answer.abstained or not better.abstained:
                answer = better
        answer = replace(answer, trace=tuple(trace), notes=(*notes, *answer.notes), seconds=meter.seconds)
        if self.verify and not answer.abstained:
            with self._lock:
                answer = verified(answer, scene, meter)
        yield AnswerEvent(answer)

    def _run(
        self, scene: SceneLike, question: str, meter: Meter, planned: Planned, revision: int, trace: list[StepRecord]
    ) -> Generator[Event, None, Answer]:
        """Run a plan and tell it; its steps are added to the trace, and the answer is the generator's own result."""
        plan = planned.plan
        if not isinstance(plan, Plan):
            raise InputError(
                f"The planner {planned.planner} gave {shown(plan)}, a {type(plan).__name__}. Its plan(question) must "
                "return a fo1agent.agent.Plan, which Plan.parse makes of a dict or JSON, or a NotUnderstood."
            )
        yield PlanEvent(planned.planner, plan, revision)
        used = any(step.op == "tool" for step in plan.steps)
        run = Run(plan, scene, meter, _known(self._tools) if used else None)
        records: list[StepRecord] = []
        text = ""
        for event in self._one_at_a_time(run.events(after=len(trace))):
            yield event
            if isinstance(event, StepEnd):
                records.append(event.record)
                said, text = text, text_so_far(run)
                if text != said and len(records) < len(plan.steps) - 1:
                    yield Partial(text)
        trace += records
        answer = conclude(run, question, tuple(records), getattr(scene, "image", None))
        return replace(answer, planner=planned.planner)

    def _one_at_a_time(self, events: Iterator[Any]) -> Iterator[Any]:
        """The events of a run, no two runs of this agent computing at once."""
        while True:
            with self._lock:
                event = next(events, None)
            if event is None:
                return
            yield event

    def _open(self, source: Any, watch: Watch | Unwatched) -> SceneLike:
        if hasattr(source, "ground_many"):
            return watch.scene(source)
        return watch.model(self._model()).open(source)

    def _model(self) -> Any:
        if self.model is None:
            raise InputError("This agent has no model to open pictures with. Make it as Agent(fo1agent.load()).")
        return self.model


class Talk:
    """Questions about one picture, each of which may go back to earlier ones: "How many dogs? And what colour are
    they? Which of them is closest to the cat?".

    Attributes:
        scene: the picture.
        questions: those asked so far.
    """

    def __init__(self, agent: Agent, scene: Any) -> None:
        self.agent = agent
        self.scene = scene
        self.questions: list[str] = []

    def ask(self, question: str, on_step: OnStep | None = None) -> Answer:
        """Answer the next question; as `Agent.ask`."""
        answer = self.agent.ask(self.scene, question, on_step, before=tuple(self.questions))
        self.questions.append(question)
        return answer


class _OnePlan:
    """A planner that is asked once."""

    def __init__(self, planner: Planner, question: str, before: Sequence[str] = ()) -> None:
        self.planner = planner
        self.question = question
        self.before = before

    def plan(self) -> Planned:
        if self.before and isinstance(self.planner, RememberingPlanner):
            return Planned(self.planner.plan(self.question, self.before), name_of(self.planner))
        return Planned(self.planner.plan(self.question), name_of(self.planner))

    def replan(self, records: Sequence[StepRecord]) -> None:
        return None


def _looks_by_tiles(source: Any, model: Any) -> bool:
    """Whether opening a source tells of tiles."""
    by_tiles = hasattr(type(getattr(model, "predictor", None)), "on_progress")
    return by_tiles and not hasattr(source, "ground_many")


def _after_tiles(opened: Opened[SceneLike], answered: Callable[[SceneLike], Iterator[Event]]) -> Iterator[Event]:
    """The events of opening, and then those of the answer."""
    yield from opened.events()
    yield from answered(opened.result)


def _check_question(given: Any) -> None:
    if not isinstance(given, str) or len(given) > MAX_QUESTION:
        got = f"{len(given)} of them" if isinstance(given, str) else f"a {type(given).__name__}"
        raise InputError(f"A question is a text of at most {MAX_QUESTION} characters, got {got}.")


def _in_time(events: Iterator[Event], scene: SceneLike, question: str, meter: Meter) -> Iterator[Event]:
    """The events of a run, in which nobody at a server is waited for longer than the budget has seconds."""
    while True:
        try:
            with exchange.until(meter.left):
                event = next(events, None)
        except BudgetExceeded as exc:  # of a look at the picture that belongs to no step
            event = AnswerEvent(
                _abstained(scene, question, meter, f"I stopped before this was answered: {exc}.", str(exc))
            )
        if event is None:
            return
        yield event


def _fell_short(answer: Answer) -> bool:
    """Whether a step failed or found nothing, so that another plan might do better."""
    return any(
        record.failure not in (None, "budget") or (record.tool == "find" and not record.regions)
        for record in answer.trace
    )


def _abstained(scene: SceneLike, question: str, meter: Meter, text: str, reason: str) -> Answer:
    image = getattr(scene, "image", None)
    return Answer(question, text, abstained=True, reason=reason, seconds=meter.seconds, image=image)


def _vocabulary(scene: Any) -> tuple[str, ...] | None:
    """The names that the scene's model knows, where it knows only some."""
    return getattr(getattr(getattr(scene, "model", None), "predictor", scene), "vocabulary", None)


def _known(tools: Sequence[Tool]) -> dict[str, Tool]:
    from fo1agent.tools.registry import registry

    return registry(*tools)


def _offered(tools: Iterable[Tool]) -> dict[str, Offered]:
    from fo1agent.tools.planned import offered

    return offered(tools)


def _resolved(planner: Any, model: Any, tools: Sequence[Tool] = ()) -> tuple[Planner, ChatModel | None]:
    """(the planner that is meant, the chat model behind it if there is one)."""
    if planner == "rules":
        return _rules(), None
    if planner == "fo1":
        from fo1agent.planners.own import OwnPlanner

        return OwnPlanner.of(model, tools=_offered(tools)), None
    from fo1agent.planners.chat import ChatPlanner

    if hasattr(planner, "plan"):
        return planner, planner.chat if isinstance(planner, ChatPlanner) else None
    if isinstance(planner, str) or hasattr(planner, "invoke"):
        chat = ChatModel(planner)
        return ChatPlanner(chat, _offered(_known(tools).values())), chat
    raise InputError(
        f'{planner!r:.80} is no planner. There is "rules", "fo1", a LangChain chat model or its name, and any object '
        "with a plan(question) method."
    )


def _rules() -> Planner:
    from fo1agent.planners.rules import RulePlanner

    return RulePlanner()


def _stepper(chat: ChatModel, tools: Sequence[Tool], lock: Any, verify: bool) -> Stepper:
    from fo1agent.agent.stepping import Stepper

    return Stepper(chat, _known(tools), lock, verify)
