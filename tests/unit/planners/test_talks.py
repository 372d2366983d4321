"""Questions that go back to those before them: what a talk remembers, and what it does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image

from fo1agent.agent import Agent, Answer, NotUnderstood, Plan
from fo1agent.errors import InputError
from fo1agent.planners.rules import REMEMBERED, RulePlanner
from fo1agent.scene import Model
from tests.fakes import FakePredictor
from tests.scenes import SCENES, street
from tests.scripted_chat import ToolChat, call, count_plan

TALKS: list[tuple[str, list[tuple[str, Any]]]] = [
    (
        "street",
        [
            ("How many cars are there?", 2),
            ("And what colour are they?", "r5 blue and r6 red"),
            ("Which of them is closest to the dog?", "car"),
            ("How many of them are red?", 1),
        ],
    ),
    (
        "street",
        [("How many people are there?", 4), ("How many of them are left of the bus?", 2), ("What about dogs?", 1)],
    ),
    ("street", [("Is there a dog?", True), ("Is it left of the bus?", True)]),
    ("street", [("Is the dog left of the bus?", True), ("What about the bicycle?", False)]),
    ("street", [("What colour is the bus?", "red"), ("And the car?", "blue")]),
    ("street", [("Where is the bus?", "middle"), ("and the dog?", "left")]),
    ("street", [("Is there a bus?", True), ("What does it say?", "CITY CENTRE 12")]),
    ("street", [("How many people are there?", 4), ("Is one of them next to the dog?", True)]),
    ("park", [("How many people are there?", 3), ("How many of them are on the bench?", 1)]),
    ("park", [("How many dogs are there?", 2), ("Which of them is the largest?", "dog")]),
    ("street", [("Is there a cat?", False), ("What about a dog?", True)]),
]


BACK_OVER: list[tuple[str, list[tuple[str, Any]]]] = [
    ("street", [("How many dogs are there?", 1), ("And red cars?", 1), ("and people?", 4)]),
    ("street", [("How many dogs are there?", 1), ("What about cars?", 2), ("Where are they?", "right and left")]),
    ("street", [("Is there a dog?", True), ("Is it left of the bus?", True), ("Where is it?", "left")]),
    (
        "street",
        [("Is there a bus?", True), ("What is right of it?", ...), ("How many people are left of it?", 2)],
    ),
    ("street", [("How many cars are there?", 2), ("Which of them is red?", "car"), ("Where is it?", "left")]),
    ("park", [("How many dogs are there?", 2), ("Which of them is the largest?", "dog"), ("Where is it?", "bottom")]),
]


@pytest.mark.parametrize(("scene", "turns"), TALKS, ids=[turns[-1][0] for _, turns in TALKS])
def test_a_question_goes_back_to_those_before(scene: str, turns: list[tuple[str, Any]]) -> None:
    talk = Agent().talk(SCENES[scene]())
    assert [(question, talk.ask(question).value) for question, _ in turns] == turns
    assert talk.questions == [question for question, _ in turns]


@pytest.mark.parametrize(("scene", "turns"), BACK_OVER, ids=[turns[-1][0] for _, turns in BACK_OVER])
def test_a_question_goes_back_over_one_that_goes_back(scene: str, turns: list[tuple[str, Any]]) -> None:
    talk = Agent().talk(SCENES[scene]())
    assert [talk.ask(question).value for question, _ in turns][-1] == turns[-1][1]


def test_of_several_the_one_that_is_asked_for_is_evidence() -> None:
    talk = Agent().talk(street())
    talk.ask("How many cars are there?")
    answer = talk.ask("Which of them is closest to the dog?")
    assert answer.text == "The car nearest to the dog is r6."
    assert [region.name for region in answer.evidence] == ["r6", "r7"]


def test_a_talk_asks_what_before_tells() -> None:
    agent, questions = Agent(), [question for question, _ in TALKS[0][1]]
    talk = agent.talk(street())
    for at, question in enumerate(questions):
        told = agent.ask(street(), question, before=questions[:at])
        assert told.text == talk.ask(question).text


def test_without_what_was_before_it_is_refused() -> None:
    for question in ("Is it left of the bus?", "And what colour are they?", "Which of them is closest to the dog?"):
        assert Agent().ask(street(), question).abstained, question
        assert Agent().ask(street(), question, before=["Why is it so?", "blorp", "", "?"]).abstained, question


def test_what_stands_by_itself_is_answered_as_ever() -> None:
    before = ["How many dogs are there?", "Where is the bus?", "What about cats?"]
    for question in ("How many cars are there?", "Is the bus red?", "Describe the picture."):
        assert Agent().ask(street(), question, before=before).text == Agent().ask(street(), question).text


def test_words_that_cannot_be_judged_stay_open_in_what_goes_back() -> None:
    talk = Agent().talk(street())
    assert talk.ask("How many women are there?").bounds == {"at_least": 0, "at_most": 4}
    answer = talk.ask("How many of them are left of the bus?")
    assert (answer.value, answer.bounds, answer.not_judged) == (None, {"at_least": 0, "at_most": 2}, ("woman",))


def test_only_the_latest_are_gone_back_to() -> None:
    planner, filler = RulePlanner(), ["How many dogs are there?"]
    assert isinstance(planner.plan("Where is it?", ["Is there a bus?"] + ["Why?"] * (REMEMBERED - 1)), Plan)
    assert isinstance(planner.plan("Where is it?", ["Is there a bus?"] + ["Why?"] * REMEMBERED), NotUnderstood)
    assert isinstance(planner.plan("Where are they?", ["dogs, " * 200, *filler]), Plan)


def test_earlier_questions_are_not_answered_again() -> None:
    scene = street()
    answer = Agent().ask(scene, "Where is it?", before=["What is written on the bus?", "How many people are there?"])
    assert answer.value == "middle"
    assert "read" not in scene.calls
    assert len(answer.trace) == len(Agent().ask(street(), "Where is the bus?").trace)


def test_a_planner_that_does_not_remember_is_asked_for_the_question_alone() -> None:
    class Forgetful:
        name = "forgetful"

        def plan(self, question: str) -> Plan | NotUnderstood:
            return RulePlanner().plan(question)

    assert Agent(planner=Forgetful()).ask(street(), "Where is it?", before=["Is there a bus?"]).abstained


@pytest.mark.parametrize("given", [{"question": "?", "steps": []}, "find dog", None], ids=["dict", "text", "nothing"])
def test_a_planner_that_gives_no_plan_is_told_what_it_should_give(given: Any) -> None:
    class Odd:
        name = "odd"

        def plan(self, question: str) -> Any:
            return given

    with pytest.raises(InputError, match=rf"^The planner odd gave .*, a {type(given).__name__}\. .* Plan\.parse"):
        Agent(planner=Odd()).ask(street(), "Where is it?")


def test_a_planner_that_remembers_is_told_what_was_before() -> None:
    class Remembering:
        remembers = True

        def __init__(self) -> None:
            self.told: list[tuple[str, ...]] = []

        def plan(self, question: str, before: Sequence[str] = ()) -> Plan | NotUnderstood:
            self.told.append(tuple(before))
            return RulePlanner().plan(question, before)

    planner = Remembering()
    talk = Agent(planner=planner).talk(street())
    assert [talk.ask(question).value for question in ("Is there a bus?", "Where is it?")] == [True, "middle"]
    assert planner.told == [(), ("Is there a bus?",)]


def asked_of_a_bus(*script: Any, mode: Any) -> tuple[Answer, ToolChat]:
    """ "And buses?" after two other questions, asked by a chat model that goes by a script."""
    chat = ToolChat(script=list(script))
    model = Model(FakePredictor([((300.0, 100.0, 500.0, 300.0), "bus", 0.94)]), ocr=lambda image, min_score=0.5: [])
    picture, before = Image.new("RGB", (640, 480)), ["How many dogs are there?", "And cats?"]
    return Agent(model, chat, mode=mode).ask(picture, "And buses?", before=before), chat


PLAN = [call("plan", steps=count_plan("bus"))]
STEPS = [call("count", phrase="bus"), call("answer", text="There is 1.", value=1, claims=[])]


@pytest.mark.parametrize(("mode", "script"), [("plan", PLAN), ("steps", STEPS)])
def test_a_chat_model_is_sent_the_earlier_questions(mode: str, script: list[Any]) -> None:
    answer, chat = asked_of_a_bus(*script, mode=mode)
    assert answer.value == 1
    sent = "\n".join(message.text for message in chat.sent[0])
    assert sent.index("How many dogs are there?") < sent.index("And cats?") < sent.index("And buses?")


def test_the_answer_holds_the_question_as_it_was_asked() -> None:
    assert asked_of_a_bus(*PLAN, mode="plan")[0].question == "And buses?"
    assert asked_of_a_bus(*STEPS, mode="steps")[0].question == "And buses?"


def test_the_rules_go_back_too_where_the_chat_model_cannot_be_reached() -> None:
    chat = ToolChat(script=[ConnectionError("down")])
    answer = Agent(planner=chat).ask(street(), "Where is it?", before=["Is there a bus?"])
    assert (answer.value, answer.planner) == ("middle", "rules")


@pytest.mark.parametrize(
    ("scene", "first", "follow_up", "value"),
    [
        ("street", "How many cars are to the left of the bus?", "And on the right?", 1),
        ("street", "Is the dog to the left of the bus?", "and right of it?", False),
        ("street", "Are there any people?", "How many?", 4),
        ("street", "Is the dog left of the bus?", "Right of it?", False),
        ("street", "Is there a dog left of the bus?", "A bicycle?", False),
        ("street", "What is left of the bus?", "How many of them are red?", 1),
        ("street", "Are there any people?", "how many are left of the bus?", 2),
        ("street", "How many cars are there?", "How many of them are not red?", 1),
        ("street", "Is there a dog?", "Where?", "left"),
        ("street", "Is there a bus?", "What colour?", "red"),
        ("street", "Are there a dog and a bus?", "Which one is bigger?", "bus"),
        ("street", "Is the dog left of the bus?", "And what about the bicycle?", False),
        ("park", "How many dogs are there?", "which is the leftmost?", "dog"),
        ("street", "Where is the left car?", "and the other one?", "right"),
        ("street", "What colour is the left car?", "And the right one?", "blue"),
        ("street", "Which car is the largest?", "and the smallest?", "car"),
        ("street", "How many cars are there?", "and the red ones?", 1),
    ],
)
def test_a_few_words_ask_on(scene: str, first: str, follow_up: str, value: Any) -> None:
    assert Agent().ask(SCENES[scene](), follow_up, before=[first]).value == value


def test_a_follow_up_that_leaves_open_of_what_is_refused() -> None:
    for question in ("And how many are right of it?", "And the others?", "Another one?"):
        answer = Agent().ask(street(), question, before=["Where is the dog?"])
        assert answer.abstained
        assert "dog" in answer.text, "the nearest question is about what was spoken of"
