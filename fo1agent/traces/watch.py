"""What watches a run: its costs, its spans and its trace, put together in one place, and nothing when nobody asked.

    watch = begin(question, planner, budget, place)
    with watch.opening():
        scene = watch.model(model).open(source)
    for event in watch.events(scene, run(scene)): ...

Costs arise in `costs` and in `llm_calls`, spans are made by `telemetry`, files by `store`.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fo1agent.runs.budget import Budget
from fo1agent.runs.costs import Costs
from fo1agent.runs.events import AnswerEvent, Event, PlanEvent
from fo1agent.runs.llm_calls import CURRENT
from fo1agent.runs.step import StepEnd, StepStart
from fo1agent.runs.watched import watched_model, watched_scene
from fo1agent.traces import lines, telemetry
from fo1agent.traces.store import Place, record
from fo1agent.version import __version__


def begin(question: str, planner: Any, budget: Budget, place: Place | None, verify: bool = False) -> Watch | Unwatched:
    """Watch a run that is about to open its picture.

    Args:
        question: as it was asked.
        planner: who decides on the steps; told by its `name`, and by that of its `chat` if it asks a language model.
        budget: of the run.
        place: where its trace goes; None for nowhere.
        verify: whether it looks at its evidence again.
    """
    told = _planner(planner)
    spans = telemetry.start(question, told.name, told.llm)
    if spans is None and place is None:
        return Unwatched()
    return Watch(question, told, budget, verify, place, spans)


def name_of(planner: Any) -> str:
    """What a planner is called."""
    return str(getattr(planner, "name", type(planner).__name__))


class Unwatched:
    """Nobody wants to know: everything passes as it is."""

    def opening(self) -> Any:
        """A context to open the picture in."""
        return nullcontext()

    def model(self, model: Any) -> Any:
        """The model to open it with."""
        return model

    def scene(self, scene: Any) -> Any:
        """The scene to use instead of one that was open already."""
        return scene

    def events(self, scene: Any, events: Iterator[Event]) -> Iterator[Event]:
        """The events of the run on that scene."""
        return events


class Watch:
    """One watched run; methods as `Unwatched` has them.

    Attributes:
        spent: what has been used since the last line of the trace that says so.
    """

    def __init__(
        self,
        question: str,
        planner: lines.PlannerPart,
        budget: Budget,
        verify: bool,
        place: Place | None,
        spans: telemetry.Spans | None,
    ) -> None:
        self.spent = Costs()
        self._total = Costs()
        self._question = question
        self._planner = planner
        self._budget = budget
        self._verify = verify
        self._place = place
        self._spans = spans
        self._started = datetime.now(UTC)
        self._start = time.perf_counter()
        self._opened: lines.OpenedPart | None = None
        self._opens = False

    @contextmanager
    def opening(self) -> Iterator[None]:
        """A context to open the picture in."""
        with self._within():
            yield

    def model(self, model: Any) -> Any:
        """A model like it, whose calls are counted."""
        self._opens = True
        return watched_model(model, self.call)

    def scene(self, scene: Any) -> Any:
        """The same scene, with the calls of its model counted."""
        return watched_scene(scene, self.call)

    def events(self, scene: Any, events: Iterator[Event]) -> Iterator[Event]:
        """The events of the run on that scene, told to the spans and written to the trace before they are passed on."""
        seconds = time.perf_counter() - self._start
        if self._opens:
            self._opened = lines.OpenedPart(seconds=round(seconds, 4), costs=self._costs())
        if self._spans is not None:
            self._spans.opened(scene)
        told = self._told(events)
        if self._place is None:
            return told
        return record(told, self._line, self._run_line(scene), self._place)

    def tokens(self, span: Any, read: int | None, written: int | None) -> None:
        """What a language model read and wrote, of the call that the span is of."""
        self.spent.add_tokens(read, written)
        telemetry.told_tokens(span, read, written)

    @contextmanager
    def call(self, kind: str, model: str, pixels: int = 0, provider: str = "fo1agent") -> Iterator[Any]:
        """A call of a model: counted, and a span. Gives the span, or None."""
        start = time.perf_counter()
        try:
            with nullcontext() if self._spans is None else self._spans.call(kind, model, pixels, provider) as span:
                yield span
        finally:
            self.spent.add(kind, time.perf_counter() - start, pixels)

    @contextmanager
    def _within(self) -> Iterator[None]:
        """While the run computes: its spans are current, and `llm_call` finds it."""
        token = CURRENT.set(self)
        try:
            with nullcontext() if self._spans is None else self._spans.within():
                yield
        finally:
            CURRENT.reset(token)

    def _told(self, events: Iterator[Event]) -> Iterator[Event]:
        try:
            while True:
                with self._within():
                    event = next(events, None)
                if event is None:
                    return
                if self._spans is not None:
                    self._spans.tell(event)
                yield event
        finally:
            if self._spans is not None:
                self._spans.end()

    def _line(self, event: Event | Exception) -> lines.AfterRun | None:
        at = round(time.perf_counter() - self._start, 4)
        if isinstance(event, PlanEvent):
            steps = event.to_dict()["steps"]
            return lines.PlanLine(
                at=at, planner=event.planner, revision=event.revision, steps=steps, costs=self._costs()
            )
        if isinstance(event, StepStart):
            return lines.StepStartLine(at=at, number=event.number, id=event.id, tool=event.tool, args=event.args)
        if isinstance(event, StepEnd):
            return lines.StepEndLine(at=at, number=event.number, step=event.record, costs=self._costs())
        if isinstance(event, AnswerEvent):
            seconds = round(event.answer.seconds, 4)
            return lines.AnswerLine(at=at, answer=event.answer, seconds=seconds, costs=self._all_costs())
        if isinstance(event, Exception):
            error = lines.ErrorPart(type=type(event).__name__, message=str(event))
            return lines.ErrorLine(at=at, error=error, costs=self._all_costs())
        return None  # a partial answer: the answer will hold it

    def _costs(self) -> Costs:
        """What was used since this was asked last."""
        spent, self.spent = self.spent, Costs()
        self._total += spent
        return spent

    def _all_costs(self) -> Costs:
        self._costs()
        return self._total

    def _run_line(self, scene: Any) -> lines.RunLine:
        return lines.RunLine(
            format=lines.FORMAT,
            started=self._started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            question=self._question,
            image=_image(scene),
            regions=_boxes(scene),
            model=_model(scene),
            planner=self._planner,
            verify=self._verify,
            budget=asdict(self._budget),
            opened=self._opened,
            versions=_versions(),
            platform=platform.platform(),
        )


def _planner(planner: Any) -> lines.PlannerPart:
    if isinstance(planner, lines.PlannerPart):
        return planner
    return lines.PlannerPart(name=name_of(planner), llm=getattr(getattr(planner, "chat", None), "name", None))


def _image(scene: Any) -> lines.ImagePart:
    loaded = getattr(scene, "loaded", None)
    if loaded is None:
        return lines.ImagePart(
            id=getattr(scene, "id", None), sha256=None, source="scene", width=scene.width, height=scene.height
        )
    return lines.ImagePart(
        id=loaded.id,
        sha256=loaded.sha256,
        source=_absolute(loaded.source),
        width=loaded.width,
        height=loaded.height,
    )


def _absolute(source: str) -> str:
    """A source that names a file here, as an absolute path, so that it can be opened from another folder."""
    try:
        return os.path.abspath(source) if Path(source).is_file() else source
    except (OSError, ValueError):
        return source


def _boxes(scene: Any) -> lines.BoxesPart | None:
    encoding = getattr(scene, "encoding", None)
    if encoding is None:
        return None
    source = str(encoding.source)
    own = source == "fo1"
    return lines.BoxesPart(
        source=source,
        count=len(encoding.boxes),
        boxes=None if own else tuple(map(tuple, encoding.boxes.tolist())),
        scores=None if own else tuple(encoding.objectness.tolist()),
    )


def _model(scene: Any) -> lines.ModelPart | None:
    predictor = getattr(getattr(scene, "model", None), "predictor", None)
    if predictor is None:
        return None
    return lines.ModelPart(
        name=predictor.name, fingerprint=predictor.fingerprint, thresholds=dict(predictor.thresholds)
    )


def _versions() -> dict[str, str]:
    known = {"python": platform.python_version(), "fo1agent": __version__}
    for package in ("torch", "transformers"):
        try:
            known[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return known
