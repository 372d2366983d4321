"""What is offered instead of a question that was not understood: one that can be answered, about the same things."""

from __future__ import annotations

import pytest

from fo1agent.agent import Agent, NotUnderstood
from fo1agent.planners.rules import RulePlanner
from tests.scenes import street

UNCLEAR = [
    ("Why are there so many dogs?", "How many dogs are there?"),
    ("Why is the dog there?", "Where is the dog?"),
    ("Why are there fewer dogs than people?", "Are there more dogs than people?"),
    ("Why is there an apple?", "Is there an apple in the picture?"),
    ("How old is the man?", "Where is the man?"),
    ("the dog's legs", "Describe the dog."),
    ("When was the picture taken?", "How many … are there?"),
    ("blorp", "How many … are there?"),
]


def suggested(question: str) -> str:
    found = RulePlanner().plan(question)
    assert isinstance(found, NotUnderstood), found
    return found.suggestion


@pytest.mark.parametrize(("question", "suggestion"), UNCLEAR, ids=[question for question, _ in UNCLEAR])
def test_the_nearest_question_is_suggested(question: str, suggestion: str) -> None:
    assert suggested(question) == suggestion
    assert f"Closest I can answer: “{suggestion}”" in Agent().ask(street(), question).text


@pytest.mark.parametrize("question", [question for question, suggestion in UNCLEAR if "…" not in suggestion])
def test_what_is_suggested_can_be_asked(question: str) -> None:
    assert "parse" not in Agent().ask(street(), suggested(question)).text


@pytest.mark.parametrize(
    "question", ["the dog's legs", "What about the dog's legs?", "Why does the dog bark?", "Whose dog is that?"]
)
def test_what_a_thing_says_is_suggested_only_where_reading_is_meant(question: str) -> None:
    assert "say" not in suggested(question)


def test_where_reading_is_meant_it_is_suggested() -> None:
    assert suggested("Why does the bus say that?") == "What does the bus say?"


def test_an_adjective_is_no_thing_to_ask_of() -> None:
    assert "heavy" not in suggested("How heavy is the bus?")
