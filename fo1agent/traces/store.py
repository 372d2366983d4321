"""Traces: a run as a file, one JSON object per line, written as it happens, read back with every field checked.

The first line holds the question, the picture and the settings. The events of `fo1agent.runs.events` follow, with their
times and costs, and with the boxes that `StepRecord.to_dict` leaves out. The last line is the answer, or the error that
ended the run. During a run the file is called `NAME.partial`, and can be read.

Reading runs nothing and opens no other file. `lines` defines what a line holds.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from fo1agent.bounded import read_file
from fo1agent.errors import AgentError, DataError, InputError, PlanError
from fo1agent.plans.language import Plan
from fo1agent.regions.ids import HANDLE
from fo1agent.runs.answer import Answer
from fo1agent.runs.costs import Costs
from fo1agent.runs.events import AnswerEvent, Event
from fo1agent.runs.step import StepRecord
from fo1agent.traces.lines import (
    FORMAT,
    LINE,
    AfterRun,
    AnswerLine,
    ErrorLine,
    Line,
    LineWriter,
    Place,
    PlanLine,
    RunLine,
    StepEndLine,
    StepStartLine,
)

MAX_BYTES = 64 * 1024 * 1024
"""Of a file that is read; the traces of a thousand steps with a hundred regions each are smaller."""


# ---- writing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """One file for one run; a file of that name is replaced when the run is over."""

    path: Path

    def open(self, run: RunLine) -> LineWriter:
        """As `Place.open`."""
        with _writing(self.path):
            return _FileWriter(_open(self.path, "w"), self.path, run)


@dataclass(frozen=True)
class Folder:
    """A folder that gets one file per run, named by time and picture; none is ever overwritten.

    Attributes:
        path: made when it is first needed.
        keep: how many finished traces to keep; the oldest, by the time in their names, are deleted. None keeps all.
    """

    path: Path
    keep: int | None = None

    def __post_init__(self) -> None:
        if self.keep is not None and self.keep < 1:
            raise InputError(f"keep must be 1 or more, or None to keep all traces; got {self.keep!r}.")

    def make(self) -> None:
        """Make the folder now, to find out before the first run whether it can be written to.

        Raises:
            AgentError: it cannot.
        """
        with _writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass

    def open(self, run: RunLine) -> LineWriter:
        """As `Place.open`, under a name that no other run has."""
        with _writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            file, path = self._claim(f"{re.sub('[-:]', '', run.started)}-{run.image.id or 'scene'}")
            return _FileWriter(file, path, run, self._tidy)

    def _claim(self, stem: str) -> tuple[IO[str], Path]:
        for number in itertools.count(1):
            path = self.path / f"{stem}{f'-{number}' if number > 1 else ''}.jsonl"
            try:
                file = _open(path, "x")
            except FileExistsError:
                continue
            # Whoever has the partial file is the only one who can make the finished one; it may be there already.
            if not path.exists():
                return file, path
            file.close()
            _partial(path).unlink()
        raise AssertionError

    def _tidy(self) -> None:
        if self.keep is not None:
            names = sorted(path for path in self.path.iterdir() if _NAME.fullmatch(path.name))
            for path in names[: -self.keep]:
                path.unlink(missing_ok=True)


_NAME = re.compile(rf"\d{{8}}T\d{{6}}\.\d{{3}}Z-(?:{HANDLE}|scene)(?:-\d+)?\.jsonl")


class Memory:
    """Keeps the lines of the run that began last; `trace` is the same as reading its file."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def open(self, run: RunLine) -> LineWriter:
        """As `Place.open`."""
        self.lines = [run]
        return _ListWriter(self.lines)

    def trace(self, name: str = "this run") -> Trace:
        """The run so far.

        Raises:
            DataError: there was none.
        """
        return assemble(name, self.lines, name)


def as_place(where: str | os.PathLike[str] | Place | None) -> Place | None:
    """A place as it is, a path as the folder of that name, None as None."""
    return Folder(Path(where)) if isinstance(where, (str, os.PathLike)) else where


class _FileWriter:
    """Writes one run. Every line is on its way to the disk when `write` returns."""

    def __init__(self, file: IO[str], path: Path, run: RunLine, finished: Callable[[], None] = lambda: None) -> None:
        self._file = file
        self._path = path
        self._finished = finished
        self.write(run)

    def write(self, line: Line) -> None:
        with _writing(self._path):
            self._file.write(json.dumps(line.model_dump(mode="json"), ensure_ascii=False) + "\n")
            self._file.flush()

    def finish(self) -> None:
        with _writing(self._path):
            self._file.close()
            _partial(self._path).replace(self._path)
            self._finished()

    def close(self) -> None:
        with _writing(self._path):  # what could not be written is tried once more
            self._file.close()


class _ListWriter:
    """Adds one run's lines to a list."""

    def __init__(self, lines: list[Line]) -> None:
        self._lines = lines

    def write(self, line: Line) -> None:
        self._lines.append(LINE.validate_json(line.model_dump_json()))

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise AgentError(f"The trace {path} cannot be written: {exc.strerror or exc}.") from exc


def record(
    events: Iterator[Event], lines: Callable[[Event | Exception], AfterRun | None], run: RunLine, place: Place
) -> Iterator[Event]:
    """Pass events on, each written down before its reader has it.

    Args:
        events: of one run.
        lines: an event, or the exception that ended the run, as the line to write; None for none.
        run: the first line.
        place: where they go; opened when the first event is taken.
    """
    writer = place.open(run)
    try:
        for event in events:
            line = lines(event)
            if line is not None:
                writer.write(line)
            if isinstance(event, AnswerEvent):
                writer.finish()
            yield event
    except Exception as exc:
        line = lines(exc)
        if line is not None:
            writer.write(line)
            writer.finish()
        raise
    finally:
        writer.close()


def _open(path: Path, mode: str) -> IO[str]:
    # What is no text, such as half a character in a file's name, becomes a question mark.
    return _partial(path).open(mode, encoding="utf-8", errors="replace")


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


# ---- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RecordedPlan:
    """A plan of a run.

    Attributes:
        planner: who made it.
        plan: the steps.
        after: how many steps had ended before it, each of which a language model had called for itself.
    """

    planner: str
    plan: Plan
    after: int


@dataclass(frozen=True)
class Trace:
    """A trace that was read.

    Attributes:
        name: the file's name.
        run: the first line.
        lines: all other lines, in order.
        plans: every plan, in order.
        complete: whether the last line is the answer, or the error that ended the run; else the run was cut off.
    """

    name: str
    run: RunLine
    lines: tuple[AfterRun, ...]
    plans: tuple[RecordedPlan, ...]
    complete: bool

    @property
    def plan(self) -> Plan | None:
        """The last plan; None when there was none: the question was not understood, or a language model chose each
        step on what the one before had found."""
        return self.plans[-1].plan if self.plans else None

    @property
    def steps(self) -> tuple[StepRecord, ...]:
        """The steps that ended."""
        return tuple(line.step for line in self.lines if isinstance(line, StepEndLine))

    @property
    def error(self) -> str:
        """Class and message of the exception that ended the run; "" if none did."""
        last = self.lines[-1] if self.lines else None
        return f"{last.error.type}: {last.error.message}" if isinstance(last, ErrorLine) else ""

    @property
    def costs(self) -> Costs | None:
        """The costs of the whole run; None if it was cut off."""
        last = self.lines[-1] if self.lines else None
        return last.costs if isinstance(last, (AnswerLine, ErrorLine)) else None

    @property
    def answer(self) -> Answer:
        """The answer, without the picture. That of a run without an end abstains and says why."""
        last = self.lines[-1] if self.lines else None
        if not isinstance(last, AnswerLine):
            at = last.at if last else 0.0
            why = f"The run ended with {self.error}" if self.error else "The run was cut off before it had an answer."
            return Answer(
                self.run.question, why, abstained=True, reason=why, plan=self.plan, trace=self.steps, seconds=at
            )
        return replace(last.answer, question=self.run.question, plan=self.plan, trace=self.steps, seconds=last.seconds)


def read(path: str | os.PathLike[str]) -> Trace:
    """Read a trace, finished or `.partial`.

    Raises:
        DataError: it cannot be read, is not a trace, is of another version, or a field is wrong; the message names
            file, line and reason.
    """
    path = Path(path)
    try:
        data = read_file(path, MAX_BYTES)
    except ValueError as exc:
        raise DataError(f"{path}: {exc}, so no trace of one run.") from exc
    except OSError as exc:
        partial = f" There is {_partial(path).name}: that run was cut off." if _partial(path).is_file() else ""
        raise DataError(f"{path}: cannot be read ({exc.strerror or exc}).{partial}") from exc
    *texts, last = data.split(b"\n")
    # A run that was killed while it wrote leaves half a line, and only as its last.
    if last and (not texts or _is_json(last)):
        texts.append(last)
    lines = [_parse(text, f"{path}, line {number}") for number, text in enumerate(texts, 1)]
    return assemble(path.name, lines, str(path))


def assemble(name: str, lines: Sequence[Line], where: str) -> Trace:
    """A trace of its lines.

    Raises:
        DataError: lines are missing, doubled or out of order; the message names `where`, the line and the reason.
    """
    if not lines or not isinstance(lines[0], RunLine):
        raise DataError(f'{where}, line 1: a trace begins with a line of type "run"; this does not.')
    plans: list[RecordedPlan] = []
    begun: StepStartLine | None = None
    known: set[tuple[int, str]] = set()
    ended = 0
    rest: list[AfterRun] = []
    for number, line in enumerate(lines[1:], 2):
        at = f"{where}, line {number}"
        if rest and isinstance(rest[-1], (AnswerLine, ErrorLine)):
            raise DataError(f"{at}: the run was over with the line before.")
        if isinstance(line, RunLine):
            raise DataError(f"{at}: a second run; a trace holds one.")
        if isinstance(line, PlanLine):
            plans.append(RecordedPlan(line.planner, _plan(lines[0].question, line, at), ended))
        elif isinstance(line, StepStartLine):
            if begun is not None:
                raise DataError(f"{at}: step {line.number} begins before step {begun.number} has ended.")
            if (line.number, line.id) in known:
                raise DataError(f"{at}: step {line.number} ({line.id}) begins a second time.")
            known.add((line.number, line.id))
            begun = line
        elif isinstance(line, StepEndLine):
            if begun is None or (line.number, line.step.id) != (begun.number, begun.id):
                raise DataError(f"{at}: step {line.number} ({line.step.id}) ends, which did not begin.")
            ended, begun = ended + 1, None
        rest.append(line)
    complete = bool(rest) and isinstance(rest[-1], (AnswerLine, ErrorLine))
    return Trace(name, lines[0], tuple(rest), tuple(plans), complete)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _parse(text: bytes, where: str) -> Line:
    """One line, every field checked."""
    try:
        return LINE.validate_json(text)
    except ValidationError as exc:
        problems = exc.errors(include_url=False)
    for problem in problems:
        if problem["loc"][-1:] == ("format",) and type(problem["input"]) is int:
            raise DataError(
                f"{where}: format {problem['input']} of another version of fo1agent; this one reads format {FORMAT}."
            )
    raise DataError(f"{where}: not a line of a trace: " + "; ".join(map(_problem, problems[:5])) + ".")


def _problem(problem: Any) -> str:
    # The first place is the kind of line that was tried.
    place = ".".join(str(part) for part in problem["loc"][1:])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _plan(question: str, line: PlanLine, where: str) -> Plan:
    try:
        return Plan.parse({"question": question, "steps": line.steps})
    except PlanError as exc:
        raise DataError(f"{where}: {exc}") from exc
