"""Traces of runs that a language model planned, or made step by step: saved, read, and run again without it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage
from PIL import Image

import fo1agent
from fo1agent.agent import Agent
from fo1agent.agent.differences import Comparison, compare
from fo1agent.agent.replay import replay
from fo1agent.pictures.ocr import TextLine
from fo1agent.scene import Model, Scene
from fo1agent.traces import store as traces
from fo1agent.traces.lines import PlanLine, StepEndLine
from fo1agent.traces.store import Trace
from fo1agent.untrusted import UntrustedText
from tests.fakes import FakePredictor
from tests.scripted_chat import ToolChat, call, count_plan

OBJECTS = [
    ((20.0, 200.0, 60.0, 330.0), "person", 0.91),
    ((90.0, 210.0, 130.0, 340.0), "person", 0.88),
    ((200.0, 100.0, 400.0, 330.0), "bus", 0.94),
]
QUESTION = "How many people are to the left of the bus?"
RELATE = call("relate", a="person", relation="left_of", b="bus", id="call_" + "x" * 500)
READ = call("read", region="r2", id="b")
TWO = call(
    "answer", text="2 people.", value=2, claims=[{"what": "people left of the bus", "regions": ["r0", "r1"]}], id="z"
)


def scene(objects: Any = OBJECTS) -> Scene:
    def read(image: Any, min_score: float = 0.5) -> list[TextLine]:
        return [TextLine(UntrustedText("CITY CENTRE 12"), (1, 1, 9, 9), 0.9)]

    return Model(FakePredictor(objects), ocr=read).open(Image.new("RGB", (640, 480)))


def with_usage(message: AIMessage, read: int, written: int) -> AIMessage:
    usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    return message.model_copy(update={"usage_metadata": usage})


def recorded(*script: Any, **options: Any) -> Trace:
    memory = traces.Memory()
    Agent(planner=ToolChat(script=list(script)), traces=memory, **options).ask(scene(), QUESTION)
    return memory.trace("chat.jsonl")


def again(trace: Trace, on: Scene | None = None, **how: Any) -> Comparison:
    return compare(trace, replay(trace, on or scene(), **how), replayed=True)


def test_calls_are_saved_with_tokens_and_made_again() -> None:
    trace = recorded(with_usage(RELATE, 100, 10), with_usage(READ, 200, 20), with_usage(TWO, 300, 30), mode="steps")
    assert trace.plan is None
    assert [step.tool for step in trace.steps] == ["relate", "read"]
    assert trace.answer.value == 2
    assert trace.run.planner.llm == "ToolChat"
    assert trace.costs is not None
    assert trace.costs.calls["llm"] == 3
    assert (trace.costs.input_tokens, trace.costs.output_tokens) == (600, 60)
    comparison = again(trace)
    assert comparison.same, comparison.to_dict()
    assert comparison.settings == ()
    assert "was not asked again" in comparison.notes[0]
    fewer = again(trace, scene([OBJECTS[0], OBJECTS[2]]))
    assert [one.what for one in fewer.steps[0].differences][-1] == "region"


def test_a_plan_of_a_language_model_is_run_without_it() -> None:
    plan = with_usage(call("plan", steps=count_plan("person")), 50, 5)
    trace = recorded(plan)
    assert trace.plan is not None
    assert trace.plans[0].planner == "ToolChat"
    line = next(line for line in trace.lines if isinstance(line, PlanLine))
    assert (line.costs.calls, line.costs.input_tokens) == ({"llm": 1}, 50)
    comparison = again(trace)
    assert comparison.same, comparison.to_dict()
    assert comparison.b.answer.text == trace.answer.text


def test_a_second_plan_is_run_after_the_first() -> None:
    first, second = call("plan", steps=count_plan("dog")), call("plan", steps=count_plan("person"), id="c2")
    trace = recorded(first, second)
    assert [one.after for one in trace.plans] == [0, 2]
    assert trace.answer.value == 2
    comparison = again(trace)
    assert comparison.same, comparison.to_dict()
    assert len(comparison.steps) == 4


def test_where_the_rules_took_over_both_parts_are_run() -> None:
    trace = recorded(RELATE, RuntimeError("gone"), mode="steps")
    assert [step.tool for step in trace.steps][:2] == ["relate", "find"]
    assert trace.plans[0].planner == "rules"
    comparison = again(trace)
    assert comparison.same, comparison.to_dict()
    assert comparison.b.answer.value == 2


def test_evidence_that_was_looked_at_again_is_so_in_a_replay() -> None:
    trace = recorded(call("plan", steps=count_plan("person")), verify=True)
    assert trace.run.verify
    assert again(trace).same


@fo1agent.tool
def brightness(scene: fo1agent.Scene, region: str) -> float:
    """How bright a region is; nobody knows.

    Args:
        region: id of the region.
    """
    return math.nan


def test_a_tool_of_ones_own_is_called_where_it_is_given_and_may_give_anything() -> None:
    trace = recorded(call("brightness", region="r0"), TWO, mode="steps", tools=[brightness])
    assert trace.steps[0].value is None
    assert again(trace, tools={"brightness": brightness}).same
    missing = again(trace)
    assert missing.steps[0].differences[0].b == "there is no tool 'brightness' here"


def test_a_trace_cannot_name_a_tool_that_is_none() -> None:
    trace = recorded(RELATE, TWO, mode="steps")
    lines = [
        line.model_copy(update={"step": replace(line.step, tool="__import__")})
        if isinstance(line, StepEndLine)
        else line
        for line in trace.lines
    ]  # fmt: skip
    hostile = replace(trace, lines=tuple(lines))
    assert again(hostile).steps[0].differences[0].what == "error"
