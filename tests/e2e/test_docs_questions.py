"""docs/questions.md is true: every question of its tables is asked of what the table names, and answered as it prints.

A table's head says what is asked: a photograph that comes with the package, or a scene of tests/scenes.py; where the
questions are asked "one after the other", each may go back to those above it. Python blocks print the `text` below.
"""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import fo1agent
from fo1agent.agent import Agent
from tests.scenes import SCENES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
DEMO = ROOT / "fo1agent" / "data" / "demo"
_TABLE = re.compile(
    r"^\| asked (one after the other, )?of (?:the )?([\w.]+) \| answer \|\n\|---\|---\|\n((?:\|.*\n)+)", re.MULTILINE
)


@dataclass(frozen=True)
class Table:
    """What is asked of one picture or scene, and the answers; in a talk, a question may go back to those above it."""

    of: str
    is_talk: bool
    rows: tuple[tuple[str, str], ...]


def _tables() -> list[Table]:
    """The page's tables; a row that does not have two cells is left as it is, and told by a test."""
    found = []
    for talk, of, body in _TABLE.findall(PAGE):
        rows = [line.strip("| ").split(" | ") for line in body.splitlines()]
        found.append(Table(of, bool(talk), tuple((row[0], " | ".join(row[1:])) for row in rows)))
    return found


TABLES = _tables()
ALONE = [(table.of, question, answer) for table in TABLES if not table.is_talk for question, answer in table.rows]
TALKS = [table for table in TABLES if table.is_talk]


@cache
def asked_of(name: str) -> Any:
    """The open photograph, or the scene."""
    if name in SCENES:
        return SCENES[name]()
    if not (DEMO.parent / "nano" / "config.json").exists():
        pytest.skip("this checkout holds no fo1-nano weights")
    return _model().open(DEMO / name)


@cache
def _model() -> Any:
    return fo1agent.load()


def test_every_table_is_read() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert len(rows) == sum(2 + len(table.rows) for table in TABLES)
    assert {table.of for table in TABLES} == {"street", "kitchen", "park", "cat.jpg", "bus.jpg"}
    assert TALKS


@pytest.mark.parametrize(("of", "question", "answer"), ALONE, ids=[question for _, question, _ in ALONE])
def test_a_question_is_answered_as_the_page_says(of: str, question: str, answer: str) -> None:
    assert Agent().ask(asked_of(of), question).text == answer


@pytest.mark.parametrize("table", TALKS, ids=lambda table: table.of)
def test_questions_that_go_back_are_answered_as_the_page_says(table: Table) -> None:
    talk = Agent().talk(asked_of(table.of))
    assert [(question, talk.ask(question).text) for question, _ in table.rows] == list(table.rows)


def test_python_blocks_print_what_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_of("cat.jpg")
    monkeypatch.chdir(DEMO)
    blocks = re.findall(r"^```python\n(.*?)^```\n```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == PAGE.count("```python")
    for code, expected in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, "questions.md", "exec"), {})
        assert printed.getvalue().strip() == expected.strip()


def test_what_the_page_says_of_a_scene_is_so() -> None:
    called = {"person": "people", "dining table": "table", "knife": "knives"}
    for name, scene in SCENES.items():
        told = re.search(rf"^- \*\*the {name}\*\*: (.*?)\n(?=\n|- )", PAGE, re.DOTALL | re.MULTILINE)
        assert told, name
        text = " ".join(told[1].split())
        missing = [thing.label for thing in scene().things if called.get(thing.label, thing.label) not in text]
        assert not missing, f"the page does not tell of {missing} in the {name}"


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", PAGE)
    assert targets
    assert [target for target in targets if not (ROOT / "docs" / target).exists()] == []
