"""The rules as a chat model: from the tools' messages they answer what the agent answers."""

from __future__ import annotations

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
