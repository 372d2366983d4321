"""The plan language: what it accepts, what it refuses and why, and its JSON."""

import json

import pytest

from fo1agent.errors import PlanError
from fo1agent.plans import language as p

LEFT_OF_BUS = {
    "question": "How many people are to the left of the bus?",
    "steps": [
        {"op": "find", "id": "s1", "phrase": "person", "purpose": "count"},
        {"op": "find", "id": "s2", "phrase": "bus", "purpose": "the"},
        {"op": "select", "id": "s3", "of": "s2", "by": "best"},
        {"op": "keep", "id": "s4", "of": "s1", "relation": "left_of", "to": "s3"},
        {"op": "count", "id": "s5", "of": "s4"},
        {"op": "answer", "id": "s6", "of": ["s5"]},
    ],
}


def changed(step: int, **fields):
    plan = json.loads(json.dumps(LEFT_OF_BUS))
    plan["steps"][step].update(fields)
    return plan


def test_a_plan_survives_json():
    plan = p.Plan.parse(LEFT_OF_BUS)
    assert p.Plan.parse(plan.to_json()) == plan
    assert p.Plan.parse(plan.to_json().encode()) == plan
    assert isinstance(plan.step("s4"), p.Keep)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(3, to="s9"), "refers to s9, which is no earlier step"),
        (changed(0, id="s5"), "refers to s1, which is no earlier step"),
        (changed(2, id="s1", of="s1"), "two steps have the id s1"),
        (changed(3, of="s3", to="s4"), "refers to s4, which is no earlier step"),
        (changed(5, of=["s4"]), "needs number or bool or text, but s4 gives regions"),
        (changed(4, of="s5"), "refers to s5"),
        (changed(4, op="answer", of=["s4"]), "gives regions"),
        (changed(3, relation="beyond"), "relation"),
        (changed(3, relation="between"), "and_to belongs to the relation"),
        (changed(2, by="nearest"), 'to belongs to "nearest"'),
        (changed(0, op="exec"), "exec"),
        (changed(0, code="import os"), "code"),
        (changed(0, phrase=""), "phrase"),
        (changed(0, id="one"), "id"),
        ({"question": "", "steps": []}, "steps"),
        ({"question": "", "steps": LEFT_OF_BUS["steps"][:-1]}, "ends with its only answer"),
        ("{", "JSON"),
        ("[]", "plan"),
        ("[" * 100_000, "longer than 64,000 characters"),
        ("[" * 30_000, "nested deeper than"),
        ('{"question": "", "steps": NaN}', "NaN is no number"),
        ({"question": "", "steps": [{}] * 100_000}, "longer than 64,000 characters"),
        ({"question": "", "steps": [{}] * 100}, "and 92 more"),
        ({"question": "x" * 64_001, "steps": []}, "longer than 64,000 characters"),
        (changed(0, op="fly away " * 1000), "expected tags: 'find', 'keep'"),
        (changed(4, op="compare", left="s1", comparison="more", right=10**16), "less than or equal to"),
    ],
)
def test_what_is_no_plan_is_refused_with_its_reason(data, message):
    with pytest.raises(PlanError, match=r"Not a plan") as error:
        p.Plan.parse(data)
    assert message in str(error.value)


def test_numbers_and_answers_are_told_apart():
    steps = LEFT_OF_BUS["steps"][:-1]
    compared = [*steps, {"op": "compare", "id": "s6", "left": "s5", "comparison": "more", "right": 2}]
    assert p.Plan.parse({"question": "", "steps": [*compared, {"op": "answer", "id": "s7", "of": ["s6"]}]})
    added = [*compared, {"op": "arithmetic", "id": "s7", "operation": "sum", "of": ["s5", "s6"]}]
    with pytest.raises(PlanError, match="needs number, but s6 gives bool"):
        p.Plan.parse({"question": "", "steps": [*added, {"op": "answer", "id": "s8", "of": ["s7"]}]})


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"op": "place", "of": "s1", "options": ["left", "right"], "to": "s1"}, "options are relations"),
        ({"op": "measure", "of": "s1", "quantity": "distance"}, 'to belongs to "distance"'),
        ({"op": "read", "relation": "near"}, "relation and to belong together"),
        ({"op": "read", "third": True}, "third belongs to sides"),
        ({"op": "read", "of": "s1", "sides": ["left"]}, "sides are those of the whole picture"),
        ({"op": "logic", "operation": "not", "of": ["s2", "s2"]}, "takes exactly one"),
    ],
)
def test_fields_that_belong_together_are_checked(step, message):
    steps = [
        {"op": "find", "id": "s1", "phrase": "dog"},
        {"op": "exists", "id": "s2", "of": "s1"},
        {**step, "id": "s3"},
    ]
    with pytest.raises(PlanError) as error:
        p.Plan.parse({"question": "", "steps": [*steps, {"op": "answer", "id": "s4", "of": ["s3"]}]})
    assert message in str(error.value)


def test_a_plan_has_at_most_so_many_steps():
    steps = [{"op": "find", "id": f"s{i}", "phrase": "dog"} for i in range(p.MAX_STEPS)]
    with pytest.raises(PlanError, match="64"):
        p.Plan.parse({"question": "", "steps": [*steps, {"op": "answer", "id": "s99", "of": ["s1"]}]})


def test_plans_cannot_be_changed():
    plan = p.Plan.parse(LEFT_OF_BUS)
    with pytest.raises(ValueError, match="frozen"):
        plan.steps[0].id = "s7"
