"""Laws of the plan grammar: whatever makes its choices, a plan comes out, and it is read back from its lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fo1agent
from fo1agent import prompts
from fo1agent.agent import Agent, NotUnderstood, Plan
from fo1agent.errors import InputError, PlanError
from fo1agent.model.choosing import Writer
from fo1agent.model.predictor import Predictor
from fo1agent.planners.own import OwnPlanner
from fo1agent.plans import language as p
from fo1agent.plans.lines import MOST_STEPS, compose, numbers_of, read, words_of
from tests.scenes import street
from tests.tiny_models import nano, reference

questions = st.text(max_size=80).filter(words_of)
OPS = {step.model_fields["op"].default for step in get_args(get_args(p.AnyStep)[0])}


@given(st.data(), questions)
@settings(max_examples=100, deadline=None)
def test_any_choices_give_a_plan_that_its_lines_spell_and_that_runs(data, question):
    def choose(options: Sequence[str]) -> str:
        assert options
        assert not any(a != b and b.startswith(a) for a in options for b in options[:40])
        return data.draw(st.sampled_from(options))

    text, plan = compose(question, choose)
    assert 2 <= len(plan.steps) <= MOST_STEPS
    assert len(text.splitlines()) == len(plan.steps)
    assert read(question, text) == plan
    assert Plan.parse(plan.to_json()) == plan

    class Fixed:
        def plan(self, question: str) -> Plan:
            return plan

    answer = Agent(planner=Fixed()).ask(street(), question)
    assert answer.text
    assert answer.abstained == (answer.value is None)


LENGTH = {"region": {"type": "string"}, "unit": {"type": "string"}, "times": {"type": "integer"}}
TOOLS = {"length": p.Offered("length", "How long.", "number", LENGTH, ("region", "unit", "times"), ("region",))}


def test_every_op_can_be_written():
    lines = {
        "find": 'find "cat" count', "keep": "keep s1 not_between s1 s2", "side": "side s1 not_far_left",
        "select": "select s1 nearest s2 1 2", "exactly": "exactly s1 2", "count": "count s1", "exists": "exists s1",
        "measure": "measure s1 distance s2", "arithmetic": "arithmetic sum s3 s3", "compare": "compare s3 more 5",
        "are": 'are s1 is_not "where" "the cat"', "except": "except s1 only s2", "kinds": "kinds s2",
        "which_kind": "which_kind s2 fewest", "share": "share s1 s2 at_least_half", "either": 'either "cat" s4 "is" s4',
        "colors": "colors s1", "same_color": "same_color s1 s2", "which": "which most s3 s3",
        "place": "place s1 picture left right", "logic": "logic not s4",
        "read": "read picture", "describe": "describe s1", "name": "name s1", "inspect": "inspect s1",
        "locate": "locate s1", "segment": "segment s1", "point": "point s1", "says": 'says s5 "where"',
        "corners": "corners s1", "tool": 'tool length s1 "cat" 2', "answer": "answer s3",
    }  # fmt: skip
    assert set(lines) == OPS
    start = ['find "cat" the', "find everything", "count s1", "exists s1", "read s1"]
    for op, line in lines.items():
        ending = [line] if op == "answer" else [line, "answer s3"]
        plan = read("Where is the cat?", "\n".join([*start, *ending]) + "\n", TOOLS)
        assert op in [step.op for step in plan.steps]


def test_numbers_are_small_or_stand_in_the_question():
    question = "How many of the 1,200 seats are left once 35 people have 007?"
    assert numbers_of(question) == [*map(str, range(21)), "1200", "35"]
    plan = read(question, 'find "people" count\ncount s1\narithmetic difference 1200 s2\nanswer s3\n')
    assert plan.step("s3") == p.Arithmetic(id="s3", operation="difference", of=(1200, "s2"))
    with pytest.raises(PlanError, match="'36\\\\n"):
        read(question, 'find "people" count\ncount s1\narithmetic sum s2 36\nanswer s3\n')
    with pytest.raises(PlanError, match="'35\\\\n"):  # a sum of given numbers says nothing of the picture
        read(question, 'find "people" count\ncount s1\narithmetic sum 5 35\nanswer s3\n')


def test_phrases_are_words_of_the_question():
    with pytest.raises(PlanError, match=r'"dog" count.*at character 5'):
        read("Where is the cat?", 'find "dog" count\n')
    with pytest.raises(PlanError, match="follows the answer"):
        read("Where is the cat?", "read picture\nanswer s1\nfind")


def test_the_prompt_s_examples_are_plans():
    blocks = prompts.template("agent_own_plan").split("Question: ")[1:-1]
    assert len(blocks) == 4
    for block in blocks:
        question, _, lines = block.partition("\n")
        read(question, lines)


# ---- the model ----


@given(st.integers(0, 2**31), st.sampled_from(["How many people are left of the bus?", "¿Qué dice el cartel?", "a"]))
@settings(max_examples=8, deadline=None)
def test_any_weights_write_plans(seed, question):
    model, processor = nano()
    head = model.base.lm_head
    kept = head.weight.detach().clone()
    try:
        with torch.no_grad():
            head.weight.normal_(generator=torch.Generator().manual_seed(seed))
        plan = OwnPlanner(Predictor(model, processor)).plan(question)
    finally:
        with torch.no_grad():
            head.weight.copy_(kept)
    assert isinstance(plan, Plan)
    assert Plan.parse(plan.to_json()) == plan


def test_a_choice_is_the_likeliest_continuation():
    model, processor = reference()
    ids = processor.text_ids("find ")
    with torch.inference_mode():
        positions = torch.arange(len(ids)).expand(3, 1, -1)
        logits = model.base.lm_head(model.decode(model.embed(ids[None]), positions, None, None)[0, -1])
    options = [[k] for k in range(10, 300, 7)]
    predictor = Predictor(model, processor)

    def writer() -> Writer:
        return Writer(predictor.reader(), ids.tolist())

    chosen = writer().choose(options)
    assert options[chosen] == [max((k for (k,) in options), key=lambda k: float(logits[k]))]
    assert writer().choose([[1, 2]]) == 0
    assert writer().choose([[1, 2, 3], [1, 2]]) == 1


def test_the_embedded_model_plans_and_its_plan_runs():
    model = fo1agent.load()
    agent = Agent(model, planner="fo1")
    answer = agent.ask(street(), "How many people are there?")
    assert answer.planner == "fo1"
    assert answer.plan is not None
    assert agent.ask(street(), "?!").text == "There is no question."
    assert isinstance(agent.planner.plan("why " * 200), NotUnderstood)


def test_without_a_model_of_ours_there_is_no_planner_fo1():
    with pytest.raises(InputError, match='planner "fo1" is a model of ours'):
        Agent(planner="fo1")
