"""Budgets: what is refused, what is counted, and what a run that reaches one gives."""

import pytest

from fo1agent.agent import Agent, Budget
from fo1agent.errors import BudgetExceeded, InputError
from fo1agent.runs.budget import Meter
from tests.scenes import street
from tests.scripted_chat import ToolChat, call, count_plan

CHAIN = "How many people are there, how many cars are there, and what does the bus say?"


@pytest.mark.parametrize("field", ["steps", "seconds", "model_calls", "pixels"])
def test_a_limit_must_be_above_zero(field):
    with pytest.raises(InputError, match=f"Budget {field} must be above 0, got 0"):
        Budget(**{field: 0})


def test_each_limit_is_counted():
    meter = Meter(Budget(steps=1, model_calls=2, pixels=100))
    meter.step()
    with pytest.raises(BudgetExceeded, match="budget of 1 steps"):
        meter.step()
    meter.model_call(100)
    with pytest.raises(BudgetExceeded, match="budget of 100 pixels"):
        meter.model_call(1)
    meter.model_call()
    with pytest.raises(BudgetExceeded, match="budget of 2 model calls"):
        meter.model_call()


def test_running_out_of_steps_gives_what_was_found_so_far_and_says_why():
    answer = Agent(budget=Budget(steps=4)).ask(street(), CHAIN)
    assert answer.value == [4, 2, None]
    assert not answer.abstained
    assert answer.reason == "the budget of 4 steps is used up"
    assert answer.text.endswith("I stopped before this was answered: the budget of 4 steps is used up.")
    assert len(answer.trace) == 4


def test_running_out_before_anything_was_found_is_an_abstention():
    answer = Agent(budget=Budget(seconds=1e-9)).ask(street(), CHAIN)
    assert answer.abstained
    assert answer.value is None
    assert "seconds" in answer.reason


def test_reading_pays_for_pixels_and_model_calls():
    assert "pixels" in Agent(budget=Budget(pixels=1000)).ask(street(), "What does the bus say?").reason
    assert "model calls" in Agent(budget=Budget(model_calls=1)).ask(street(), "What does the bus say?").reason


def test_what_is_left_of_the_seconds_is_never_below_zero():
    assert 0 < Meter(Budget(seconds=60)).left <= 60
    assert Meter(Budget(seconds=1e-9)).left == 0


def test_a_budget_without_end_has_one_for_those_who_wait():
    llm = ToolChat(script=[call("plan", steps=count_plan("person"))])
    assert Agent(planner=llm, budget=Budget(seconds=float("inf"))).ask(street(), "How many people?").value == 4
