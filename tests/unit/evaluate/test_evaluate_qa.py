"""`fo1agent.evaluate.qa` compares answers as a person would, and counts abstentions and failures apart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fo1agent.errors import DataError, ImageError, PlanError
from fo1agent.evaluate.qa import evaluate, matches, normalise, read_questions


@dataclass
class Said:
    """An answer of an agent."""

    value: Any
    text: str = ""
    abstained: bool = False
    reason: str = ""


RECORDS = [
    {"id": 0, "image": "b.jpg", "question": "How many people?", "answer": 4, "kind": "count"},
    {"id": 1, "image": "a.jpg", "question": "Is there a dog?", "answer": "yes", "kind": "exists"},
    {"id": 2, "image": "b.jpg", "question": "Which is larger?", "answer": "bus", "kind": "compare"},
    {"id": 3, "image": "a.jpg", "question": "How many dogs?", "answer": 2, "kind": "count"},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in RECORDS) + "\n\n", encoding="utf-8")
    return path


def test_an_oracle_is_always_right_and_each_picture_is_opened_once(file: Path) -> None:
    known = {(record["image"], record["question"]): record["answer"] for record in RECORDS}
    opened: list[str] = []

    def open_scene(path: Path) -> str:
        opened.append(path.name)
        return path.name

    report = evaluate(open_scene, lambda scene, question: Said(known[scene, question]), file, file.parent)
    assert opened == ["a.jpg", "b.jpg"]
    assert report.accuracy == 1
    figures = report.to_dict()
    assert figures["by_kind"] == {"compare": 1, "count": 1, "exists": 1}
    assert figures["n_by_kind"] == {"compare": 1, "count": 2, "exists": 1}
    assert (figures["abstained"], figures["failures"], figures["n"]) == (0, 0, 4)
    assert [outcome.question.id for outcome in report.outcomes] == [0, 1, 2, 3]


def test_abstention_is_wrong_and_counted_by_itself(file: Path) -> None:
    report = evaluate(str, lambda *_: Said(None, "I can't tell.", abstained=True, reason="why"), file, file.parent)
    assert report.to_dict() | {"seconds": 0} == {
        "accuracy": 0,
        "by_kind": {"compare": 0, "count": 0, "exists": 0},
        "n_by_kind": {"compare": 1, "count": 2, "exists": 1},
        "abstained": 4,
        "failures": 0,
        "n": 4,
        "seconds": 0,
    }
    assert report.outcomes[0].to_dict()["reason"] == "why"


def open_scene(path: Path) -> Any:
    """Opens all pictures but one."""
    if path.name == "a.jpg":
        raise ImageError("a.jpg is truncated.")
    return path.name


def ask(scene: str, question: str) -> Said:
    """Answers all questions but one."""
    if question.startswith("Which"):
        raise PlanError("step s3 refers to nothing.")
    return Said(4)


def test_picture_or_question_that_fails_is_wrong_and_named(file: Path) -> None:
    report = evaluate(open_scene, ask, file, file.parent)
    assert report.accuracy == 0.25
    assert [(outcome.question.line, outcome.error) for outcome in report.failures] == [
        (2, "a.jpg is truncated."),
        (3, "step s3 refers to nothing."),
        (4, "a.jpg is truncated."),
    ]


def test_questions_about_several_pictures_are_asked_together_with_the_same_outcomes(file: Path) -> None:
    batches: list[list[tuple[str, str]]] = []

    def batch(pairs: Any) -> list[Any]:
        batches.append(list(pairs))
        return [PlanError("step s3 refers to nothing.") if text.startswith("Which") else Said(4) for _, text in pairs]

    def told(**more: Any) -> list[dict[str, Any]]:
        found = evaluate(open_scene, ask, file, file.parent, **more).outcomes
        return [outcome.to_dict() | {"seconds": 0} for outcome in found]

    assert told(batch=batch) == told()
    asked = [("b.jpg", "How many people?"), ("b.jpg", "Which is larger?")]
    assert [pair for one in batches for pair in one] == asked


def test_our_own_bugs_are_raised(file: Path) -> None:
    def ask(scene: Any, question: str) -> Said:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        evaluate(str, ask, file, file.parent)


def test_limit_takes_the_first_questions(file: Path) -> None:
    assert len(evaluate(str, lambda *_: Said(4), file, file.parent, limit=2).outcomes) == 2


@pytest.mark.parametrize(
    ("got", "known"),
    [
        (2, 2),
        ("two", 2),
        (2.0, "2"),
        ("Twenty-one", 21),
        ("one hundred", 100),
        (0, "zero"),
        (True, "yes"),
        (False, "no"),
        ("Yes.", "yes"),
        ("buses", "bus"),
        ("The dining tables", "dining table"),
        ("knives", "knife"),
        (["bus"], "bus"),
        (["cars", "bus"], ["bus", "car"]),
        ("skis", "skis"),
        ("sheep", "sheep"),
        ("scissors", "scissors"),
    ],
)
def test_same_thing_said_otherwise_matches(got: Any, known: Any) -> None:
    assert matches(Said(got), known)


@pytest.mark.parametrize(
    ("got", "known"), [(2, 3), (True, "no"), (True, 1), ("car", "bus"), (["bus", "car"], "bus"), ("no", 0), ("", "yes")]
)
def test_other_things_do_not_match(got: Any, known: Any) -> None:
    assert not matches(Said(got), known)


def test_text_counts_where_there_is_no_value() -> None:
    assert matches(Said(None, text="Two"), 2)
    assert not matches(Said(None, text="Two", abstained=True), 2)


def test_normalise_is_stable() -> None:
    for value in ("a Dog", "dogs", "3.50", "no", "wine glasses", 7, True, "tennis rackets", ""):
        assert normalise(normalise(value)) == normalise(value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no questions"),
        ('{"image": "a.jpg"}\n', r"bad.jsonl:1: no question, answer"),
        ('\n{"image": }\n', r"bad.jsonl:2: not JSON"),
        ("[1]\n", r"bad.jsonl:1: no image, question, answer"),
    ],
)
def test_line_that_is_no_record_is_a_data_error(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_questions(path)


def test_missing_folder_is_a_data_error(file: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        evaluate(str, lambda *_: Said(1), file, file.parent / "nowhere")
