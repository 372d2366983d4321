"""Questions about pictures with known answers: the share that an agent gets right.

A record is one line of JSON: `image` or `file_name`, `question`, `answer` (a number, "yes"/"no" or a class name), and,
if given, `id` and `kind`. An answer counts when it equals the known one after normalising numbers ("two" is 2), yes/no,
and nouns to their singular. An abstention is wrong, and counted by itself. Nothing here knows how the answer was found.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from fo1agent.errors import DataError, FO1AgentError, of_one
from fo1agent.evaluate.files import read_lines
from fo1agent.evaluate.progress import track
from fo1agent.scene import batches
from fo1agent.words import lexicon
from fo1agent.words.numbers import number_of


class Answering(Protocol):
    """What is needed of an answer; `fo1agent.Answer` is one."""

    @property
    def text(self) -> str: ...
    @property
    def value(self) -> Any: ...
    @property
    def abstained(self) -> bool: ...
    @property
    def reason(self) -> str: ...


@dataclass(frozen=True)
class Question:
    """One record of the file; `line` is its line number, for messages."""

    line: int
    id: Any
    image: str
    question: str
    answer: Any
    kind: str


@dataclass(frozen=True)
class Outcome:
    """What came of one question. `error` is "" unless the picture or the question made the agent fail."""

    question: Question
    text: str
    value: Any
    correct: bool
    abstained: bool
    reason: str
    error: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """One line of `--details`."""
        asked = {"id": self.question.id, "image": self.question.image, "kind": self.question.kind}
        known = {"question": self.question.question, "answer": self.question.answer}
        got = {name: getattr(self, name) for name in ("text", "value", "correct", "abstained", "reason", "error")}
        return {**asked, **known, **got, "seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class QAReport:
    """All outcomes, in the file's order, and the figures made of them."""

    outcomes: tuple[Outcome, ...]
    seconds: float = field(default=0.0)

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0 to 1."""
        return _accuracy(self.outcomes)

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The questions at which the agent failed; they count as wrong."""
        return tuple(outcome for outcome in self.outcomes if outcome.error)

    def to_dict(self) -> dict[str, Any]:
        """One object for `--json`: shares are 0 to 1; `abstained`, `failures` and `n` are numbers of questions."""
        kinds = sorted({outcome.question.kind for outcome in self.outcomes})
        by_kind = {kind: [o for o in self.outcomes if o.question.kind == kind] for kind in kinds}
        return {
            "accuracy": round(self.accuracy, 4),
            "by_kind": {kind: round(_accuracy(outcomes), 4) for kind, outcomes in by_kind.items()},
            "n_by_kind": {kind: len(outcomes) for kind, outcomes in by_kind.items()},
            "abstained": sum(outcome.abstained for outcome in self.outcomes),
            "failures": len(self.failures),
            "n": len(self.outcomes),
            "seconds": round(self.seconds, 1),
        }


def evaluate(
    open_scene: Callable[[Path], Any],
    ask: Callable[[Any, str], Answering],
    file: Path,
    images: Path,
    *,
    limit: int | None = None,
    batch: Callable[[Sequence[tuple[Any, str]]], Sequence[Any]] | None = None,
) -> QAReport:
    """Ask every question of a file, opening each picture once.

    Args:
        open_scene: picture path to scene, `model.open`.
        ask: scene and question to answer, `Agent(model).ask`.
        file: JSON lines; see the module's first lines.
        images: the folder of the pictures.
        limit: only the first so many questions; None for all.
        batch: answers many (scene, question) pairs together, as `ask` does each, and gives an error of ours where there
            is no answer: `Agent(model).batch`. None: one after the other.

    Raises:
        DataError: the file has a line that is no record (file, line and reason), or the folder is none.
    """
    questions = read_questions(file)[:limit]
    if not images.is_dir():
        raise DataError(f"--images {images}: no such folder.")
    start = time.perf_counter()
    by_image = sorted(questions, key=lambda question: question.image)
    outcomes = track(_outcomes(open_scene, ask, batch, by_image, images), len(questions), "asking")
    in_order = sorted(outcomes, key=lambda outcome: outcome.question.line)
    return QAReport(tuple(in_order), time.perf_counter() - start)


def read_questions(file: Path) -> list[Question]:
    """The records of a file, in its order; blank lines are skipped.

    Raises:
        DataError: unreadable, empty, or a line is no record; the message names file, line and reason.
    """
    questions = [_question(file, number, line) for number, line in read_lines(file)]
    if not questions:
        raise DataError(f"{file}: holds no questions.")
    return questions


def matches(answer: Answering, known: Any) -> bool:
    """Whether an answer equals the known one, both normalised. An abstention never does."""
    if answer.abstained:
        return False
    got = answer.text if answer.value is None else answer.value
    if isinstance(got, (list, tuple)):
        # A list is right when it is the one known thing, or the same set of known things.
        wanted = known if isinstance(known, (list, tuple)) else [known]
        return {normalise(item) for item in got} == {normalise(item) for item in wanted}
    return normalise(got) == normalise(known)


def normalise(value: Any) -> str:
    """A comparable form: `True` is "yes", `2.0`, "2" and "two" are "2", "The dining tables" is "dining table"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return f"{value:g}"
    text = re.sub(r"[^\w\s.-]", "", str(value)).strip().rstrip(".").lower()
    text = re.sub(r"^(the|a|an)\s+", "", text)
    if text in ("yes", "no"):
        return text
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        return f"{float(text):g}"
    number = number_of(text)
    return lexicon.singular(text) if number is None else str(number)


def _question(file: Path, number: int, line: str) -> Question:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise DataError(f"{file}:{number}: not JSON ({exc}).") from exc
    if isinstance(record, dict) and "file_name" in record:
        record = {"image": record["file_name"], **record}
    missing = [key for key in ("image", "question", "answer") if not isinstance(record, dict) or key not in record]
    if missing:
        raise DataError(f"{file}:{number}: no {', '.join(missing)}. A record holds image, question and answer.")
    kind = str(record.get("kind", "other"))
    return Question(
        number, record.get("id", number), str(record["image"]), str(record["question"]), record["answer"], kind
    )


def _outcomes(
    open_scene: Callable[[Path], Any],
    ask: Callable[[Any, str], Answering],
    batch: Callable[[Sequence[tuple[Any, str]]], Sequence[Any]] | None,
    by_image: list[Question],
    images: Path,
) -> Iterator[Outcome]:
    groups = [(image, list(own)) for image, own in groupby(by_image, key=lambda question: question.image)]
    for opened in batches(groups, lambda group: open_scene(images / group[0])):
        asked = [(scene, one) for (_, own), scene in opened if not isinstance(scene, FO1AgentError) for one in own]
        answers = iter(batch([(scene, one.question) for scene, one in asked]) if batch else ())
        for (_, own), scene in opened:
            for one in own:
                if isinstance(scene, FO1AgentError):
                    yield failed(one, str(of_one(scene)))
                elif batch:
                    got = next(answers)
                    # Its own, and those of the passes that it had a part in.
                    yield _judged(one, got, getattr(got, "seconds", 0.0))
                else:
                    yield answer(ask, scene, one)


def answer(ask: Callable[[Any, str], Answering], scene: Any, question: Question) -> Outcome:
    """Ask one question about an open scene; a failure of ours is an outcome too."""
    start = time.perf_counter()
    try:
        got: Answering | FO1AgentError = ask(scene, question.question)
    except FO1AgentError as exc:
        got = exc
    return _judged(question, got, time.perf_counter() - start)


def _judged(question: Question, got: Answering | FO1AgentError, seconds: float) -> Outcome:
    if isinstance(got, FO1AgentError):
        return failed(question, str(of_one(got)), seconds)
    return Outcome(
        question=question,
        text=got.text,
        value=got.value,
        correct=matches(got, question.answer),
        abstained=got.abstained,
        reason=got.reason,
        error="",
        seconds=seconds,
    )


def failed(question: Question, error: str, seconds: float = 0.0) -> Outcome:
    """The outcome of a question that could not be answered because of an error."""
    return Outcome(
        question, text="", value=None, correct=False, abstained=False, reason="", error=error, seconds=seconds
    )


def _accuracy(outcomes: Iterable[Outcome]) -> float:
    right = [outcome.correct for outcome in outcomes]
    return sum(right) / len(right) if right else 0.0
