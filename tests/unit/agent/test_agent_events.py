"""What a run tells: the order of its events, their JSON, and the ways to take them: at once, async, many."""

from __future__ import annotations

import asyncio
import json

import pytest

from fo1agent.agent import Agent, Answer, AnswerEvent, Budget, Partial, PlanEvent, StepEnd, StepStart
from fo1agent.errors import InputError
from tests.scenes import kitchen, street

CHAIN = "How many people are to the left of the bus, and what does its sign say?"


def test_plan_first_then_each_step_twice_then_the_answer():
    events = list(Agent().stream(street(), CHAIN))
    assert isinstance(events[0], PlanEvent)
    assert (events[0].planner, events[0].revision) == ("rules", 0)
    assert isinstance(events[-1], AnswerEvent)
    starts = [event for event in events if isinstance(event, StepStart)]
    ends = [event for event in events if isinstance(event, StepEnd)]
    assert [one.number for one in starts] == [one.number for one in ends] == list(range(1, len(starts) + 1))
    assert [(one.id, one.tool, one.args) for one in starts] == [
        (one.record.id, one.record.tool, one.record.args) for one in ends
    ]
    assert [one.record for one in ends] == list(events[-1].answer.trace)
    for start, end in zip(starts, ends, strict=True):
        assert events.index(end) == events.index(start) + 1


def test_the_text_grows_part_by_part():
    events = list(Agent().stream(street(), CHAIN))
    assert [event.text for event in events if isinstance(event, Partial)] == ["2 people are to the left of the bus."]
    assert isinstance(events[-1], AnswerEvent)
    assert events[-1].answer.text.startswith("2 people are to the left of the bus. ")


def test_events_are_json_that_says_what_it_is():
    events = [json.loads(json.dumps(event.to_dict())) for event in Agent().stream(street(), CHAIN)]
    assert {event["type"] for event in events} == {"plan", "step_start", "step_end", "partial", "answer"}
    assert events[0]["steps"][0] == {"id": "s1", "op": "find", "phrase": "person", "purpose": "count"}
    first_end = next(event for event in events if event["type"] == "step_end")
    assert set(first_end["step"]) >= {"id", "tool", "args", "text", "regions", "seconds"}
    assert events[-1]["answer"]["text"].startswith("2 people")


def test_a_question_that_is_not_understood_is_one_event():
    (event,) = Agent().stream(street(), "Why do colourless green ideas sleep?")
    assert isinstance(event, AnswerEvent)
    assert event.answer.abstained


def test_steps_run_only_as_they_are_taken():
    scene = street()
    events = Agent().stream(scene, "How many dogs are there?")
    assert [next(events).type for _ in range(2)] == ["plan", "step_start"]
    assert scene.calls == []
    assert next(events).type == "step_end"
    assert scene.calls == ["ground_many"]


def test_a_step_that_the_budget_cuts_short_ends_with_the_reason():
    events = list(Agent(budget=Budget(pixels=1000)).stream(street(), "What does the bus say?"))
    ends = [event for event in events if isinstance(event, StepEnd)]
    assert ends[-1].record.tool == "read"
    assert ends[-1].record.error == "the budget of 1000 pixels is used up"
    assert len(ends) == sum(isinstance(event, StepStart) for event in events)


def test_wrong_questions_are_refused_before_the_first_event():
    with pytest.raises(InputError, match="A question is a text"):
        Agent().stream(street(), 7)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="no model"):
        Agent().stream("cat.jpg", "How many cats are there?")


async def test_async_gives_the_same():
    agent = Agent()
    answer = await agent.aask(street(), CHAIN)
    assert answer.text == agent.ask(street(), CHAIN).text
    kinds = [event.type async for event in agent.astream(street(), CHAIN)]
    assert kinds == [event.type for event in agent.stream(street(), CHAIN)]
    answers = await asyncio.gather(*(agent.aask(street(), CHAIN) for _ in range(5)))
    assert {one.text for one in answers} == {answer.text}


def test_a_batch_keeps_the_order_and_gives_errors_in_their_place():
    asked = [(street(), "How many dogs are there?"), ("x.jpg", "How many?"), (kitchen(), "How many chairs are there?")]
    first, wrong, last = Agent().batch(asked)
    assert isinstance(first, Answer)
    assert isinstance(last, Answer)
    assert (first.value, last.value) == (1, 3)
    assert isinstance(wrong, InputError)
    assert Agent().batch([]) == []
    with pytest.raises(InputError, match="workers must be 1 or more, a whole number, got 0"):
        Agent().batch(asked, workers=0)
