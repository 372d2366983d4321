"""The rules as a chat model: they answer what the agent answers, whatever tools' messages hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

import fo1agent
from fo1agent.integrations.rule_chat import RulePlannerChatModel
from fo1agent.plans import language
from fo1agent.scene import Scene
from fo1agent.tools.registry import registry
from fo1agent.tools.telling import told

DATA = Path(fo1agent.__file__).parent / "data"
QUESTIONS = (
    "Are at least two remotes right of the cat?",
    "Are none of the remotes white?",
    "Are both of the remotes white?",
    "Which is bigger, the cat or the couch?",
    "Does the couch say “SALE”?",
    "How many animals are there other than dogs?",
    "What is the largest thing in the picture?",
    "How many remotes are on the right side of the picture?",
    "How many remotes and cats are there in total?",
    "How many kinds of animals are there?",
    "What is the most common object?",
    "Where is the cat?",
    "Describe the picture.",
    "Click on the cat.",
    "Select all the remotes.",
    "Is the cat brown or white?",
    "Is the cat left or right of the remote?",
    "What color are the two remotes?",
    "What color is the cat?",
    "Do the cat and the couch have the same color?",
    "Outline the cat.",
    "Give me the bounding box of the cat.",
)
OPS = {kind.model_fields["op"].default for kind in vars(language).values() if "op" in getattr(kind, "model_fields", ())}


@pytest.fixture(scope="module")
def cat() -> Scene:
    if not (DATA / "nano" / "config.json").exists():
        pytest.skip("this checkout holds no fo1-nano weights")
    return fo1agent.load().open(DATA / "demo" / "cat.jpg")


def through_chat(question: str, tool: Callable[[str, dict[str, Any]], str]) -> AIMessage:
    """The last message of a chat in which each tool's call is answered with what `tool` gives for it."""
    offered = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in registry()]
    rules = RulePlannerChatModel().bind_tools(offered)
    messages: list[BaseMessage] = [HumanMessage(question)]
    calls: list[Any] = []
    for _ in range(20):
        said = rules.invoke(messages)
        calls = said.tool_calls
        if not calls:
            return said
        messages += [said, *(ToolMessage(tool(one["name"], one["args"]), tool_call_id=one["id"]) for one in calls)]
    raise AssertionError(f"{question!r}: calls without end, the last {calls}")


def looking_at(scene: Scene) -> Callable[[str, dict[str, Any]], str]:
    """The tools, of one picture."""
    return lambda name, arguments: told(registry()[name].call(scene, arguments), image=scene.id)[0]


def test_every_kind_of_step_comes_to_what_the_agent_says(cat: Scene) -> None:
    planned, differ = set[str](), []
    for question in QUESTIONS:
        answer = fo1agent.Agent().ask(cat, question)
        planned |= {step.op for step in answer.plan.steps} if answer.plan else set()
        said = through_chat(question, looking_at(cat))
        found = said.additional_kwargs["fo1agent"]
        got = said.text, found["value"], found["bounds"], found["evidence"]
        wanted = answer.text, answer.value, answer.bounds, [region.name for region in answer.evidence]
        differ += [] if got == wanted else [(question, got, wanted)]
    assert differ == []
    assert OPS - planned == {"tool"}, "the questions need each kind of step but a tool of somebody's own"


def test_a_click_is_told_with_what_it_is_on(cat: Scene) -> None:
    said = through_chat("Click on the cat.", looking_at(cat))
    assert said.text == "Click at (229, 219) for the cat (r1)."
    assert said.additional_kwargs["fo1agent"]["evidence"] == ["r1"]


# ---- what messages may hold ----

REMOTE = {"id": "r0", "label": "remote", "score": 0.8, "box": [432, 196, 609, 281]}
CAT = {"id": "r1", "label": "cat", "score": 0.9, "box": [49, 40, 407, 398]}


def of_ground(cat: Scene, content: str, question: str = "Is there a remote?") -> str:
    """The answer where all that `ground` gives is this."""
    tools = looking_at(cat)
    return through_chat(question, lambda name, given: content if name == "ground" else tools(name, given)).text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "a message of 0 characters"),
        ("5", "it must be a JSON object, got 5"),
        ("[" * 5000, "it begins as JSON and is none"),
        ('{"a":' * 300 + "1" + "}" * 300, "it begins as JSON and is none"),
        ({}, "regions is missing"),
        ({"regions": 5}, "regions: Input should be a valid list"),
        ({"regions": [5]}, "regions.0: Input should be"),
        ({"regions": [{}]}, "regions.0.id is missing"),
        ({"regions": [REMOTE | {"score": "x"}]}, "regions.0.score: Input should be a valid number"),
        ({"regions": [REMOTE | {"score": 5}]}, "a probability was expected"),
        ({"regions": [REMOTE | {"label": 5}]}, "regions.0.label: Input should be a valid string"),
        ({"regions": [REMOTE | {"box": [1, 2]}]}, "regions.0.box"),
        ({"regions": [REMOTE | {"box": [9, 9, 1, 1]}]}, "x2 < x1"),
        ({"regions": [REMOTE | {"box": [0, 0, 1e308, 1e308]}]}, "regions.0.box.2: Input should be less than"),
        ({"regions": [REMOTE, REMOTE]}, "regions: one is told twice"),
        ({"regions": [REMOTE] * 4001}, "at most 4000 items"),
        ({"regions": [REMOTE], "not_judged": 5}, "not_judged: Input should be a valid tuple"),
        ({"regions": [REMOTE], "by": 5}, "by: Input should be a valid tuple"),
        ({"regions": [REMOTE], "none_score": "x"}, "none_score"),
        ({"regions": [REMOTE], "image": 5}, "image: Input should be a valid string"),
        ({"error": 5}, "regions is missing"),
    ],
)
def test_a_message_that_holds_no_result_is_said_to(cat: Scene, content: Any, why: str) -> None:
    told = of_ground(cat, content if isinstance(content, str) else json.dumps(content))
    assert told.startswith("I can't tell: the tool 'ground' gave no result that can be read: ")
    assert why in told
    assert len(told) < 1000


@pytest.mark.parametrize(
    ("name", "content", "question"),
    [
        ("look", {}, "How many remotes are right of the cat?"),
        ("look", {"width": 1}, "Where is the cat?"),
        ("look", {"width": 0, "height": 9, "regions": [], "thresholds": {}}, "What is the most common object?"),
        ("look", {"width": 9, "height": 9, "regions": 5, "thresholds": {}}, "What do you see?"),
        ("read", {"text": 5, "lines": []}, "Read everything."),
        ("read", {"text": "x", "lines": [{"text": "x"}]}, "What does the text above the cat say?"),
        ("describe", {"text": "x", "regions": {}}, "Describe the picture."),
        ("inspect", {"text": None}, "What color is the cat?"),
        ("point", {"points": [], "regions": [CAT]}, "Click on the cat."),
        ("point", {"points": [{"x": "left", "y": 1}], "regions": [CAT]}, "Click on the cat."),
        ("segment", {"masks": [{}], "regions": [CAT]}, "Outline the cat."),
    ],
)
def test_so_is_one_of_any_tool(cat: Scene, name: str, content: Any, question: str) -> None:
    tools = looking_at(cat)
    said = through_chat(question, lambda tool, given: json.dumps(content) if tool == name else tools(tool, given))
    assert f"the tool '{name}' gave no result that can be read: " in said.text


def test_what_went_wrong_is_told_in_the_tools_words(cat: Scene) -> None:
    assert of_ground(cat, "[Errno 2] no such file") == "I can't tell: [Errno 2] no such file."
    assert of_ground(cat, json.dumps({"error": "out of order"})) == "I can't tell: out of order."
    assert len(of_ground(cat, "x" * 100_000)) < 2100


def test_a_result_without_the_pictures_id_is_of_the_picture_that_was_asked_about(cat: Scene) -> None:
    def tools(name: str, given: dict[str, Any]) -> str:
        return told(registry()[name].call(cat, given))[0]

    said = through_chat("How many remotes are right of the cat?", tools)
    assert said.text == "2 remotes are to the right of the cat."
    said = through_chat("Where are the remotes?", tools)
    assert said.text == fo1agent.Agent().ask(cat, "Where are the remotes?").text
