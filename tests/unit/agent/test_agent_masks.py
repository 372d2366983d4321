"""Questions that ask for masks and points, from words to an answer; and what is measured by masks if there are any."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter

from fo1agent.agent import Agent
from fo1agent.planners.rules import RulePlanner
from fo1agent.plans.language import Plan
from fo1agent.runs.answer import Answer
from fo1agent.runs.plan_run import Run
from fo1agent.runs.record import dump
from fo1agent.runs.step import StepRecord
from fo1agent.runs.wording import conclude
from fo1agent.scene import Scene
from fo1agent.traces.store import Memory
from tests.segmenting import COLORS, drawn, model


@pytest.fixture(scope="module")
def scene() -> Scene:
    return model().open(drawn())


def asked(scene: Scene, question: str) -> Answer:
    return Agent(scene.model).ask(scene, question)


def _area(name: str) -> int:
    return int((np.asarray(drawn()) == COLORS[name]).all(axis=2).sum())


@pytest.mark.parametrize(
    "question",
    [
        "Segment the tie.",
        "outline the tie",
        "Please cut out the tie",
        "Can you trace the outline of the tie?",
        "Which pixels are the tie?",
        "Mask the tie",
        "Give me a mask of the tie.",
        "Draw the outline of the tie.",
        "How many pixels does the tie fill?",
        "How many pixels are covered by the tie?",
        "How big is the tie in pixels?",
        "How many pixels is the tie?",
        "How much space does the tie take up?",
        "What is the area of the tie?",
        "Cut the tie out.",
    ],
)
def test_a_thing_is_segmented_when_that_is_asked_for(scene: Scene, question: str) -> None:
    answer = asked(scene, question)
    assert answer.steps[-1].tool == "segment"
    assert str(_area("tie")) in answer.text
    (region,) = answer.evidence
    assert region.mask is not None
    assert region.mask.area == _area("tie")
    assert answer.text.endswith("of its box (r1).")


@pytest.mark.parametrize(
    "question",
    [
        "Point at the tie.",
        "point to the tie",
        "Click on the tie",
        "Where do I click to select the tie?",
        "where should I tap for the tie?",
        "Where can I click on the tie?",
        "Tell me where to click to select the tie.",
        "Where is the best place to click for the tie?",
        "Which point should I click to select the tie?",
        "What do I click to select the tie?",
        "How do I click the tie?",
        "Give me a point on the tie",
        "What are the coordinates of the tie?",
        "Put a dot on the tie.",
        "Where on the screen do I click to select the tie?",
        "What are the x and y coordinates of the tie?",
    ],
)
def test_a_point_is_given_when_that_is_asked_for(scene: Scene, question: str) -> None:
    answer = asked(scene, question)
    assert answer.steps[-1].tool == "point"
    assert answer.text.startswith("Click at (")
    assert [region.name for region in answer.evidence] == ["r1"]


def test_several_things_are_segmented_and_pointed_at_together(scene: Scene) -> None:
    both = asked(scene, "Segment the frisbee and outline the apple.")
    assert str(_area("frisbee")) in both.text
    assert str(_area("apple")) in both.text
    assert [region.mask is not None for region in both.evidence] == [True, True]
    assert asked(scene, "Point at the frisbee").text == "Click at (80, 80) for the frisbee (r0)."


@pytest.mark.parametrize(
    "question",
    [
        "Where do I click to select the frisbee and the apple?",
        "Give me a point on the frisbee and one on the apple.",
        "Where do I click for the frisbee, and where for the apple?",
        "What are the coordinates of the frisbee and the apple?",
        "Click on the frisbee and the apple",
    ],
)
def test_each_of_several_things_gets_its_point(scene: Scene, question: str) -> None:
    answer = asked(scene, question)
    assert answer.text == "Click at (80, 80) for the frisbee (r0). Click at (315, 55) for the apple (r2)."
    assert answer.value == ["(80, 80)", "(315, 55)"]


@pytest.mark.parametrize("question", ["Outline the frisbee and the apple.", "Mask the apple and the frisbee"])
def test_each_of_several_things_gets_its_mask(scene: Scene, question: str) -> None:
    answer = asked(scene, question)
    assert not answer.not_judged
    assert {region.name: region.area for region in answer.evidence} == {"r0": _area("frisbee"), "r2": _area("apple")}


def test_the_points_of_an_answer_are_told_as_numbers_and_come_back_out_of_json(scene: Scene) -> None:
    answer = asked(scene, "Where do I click to select the frisbee and the apple?")
    ids = [region.id for region in answer.evidence]
    assert answer.points == {ids[0]: (80.0, 80.0), ids[1]: (315.0, 55.0)}
    steps = answer.to_dict()["steps"]
    assert [step["points"] for step in steps if step["tool"] == "point"] == [[[80.0, 80.0]], [[315.0, 55.0]]]
    assert all("points" not in step for step in steps if step["tool"] != "point")
    memory = Memory()
    Agent(scene.model, traces=memory).ask(drawn(), "Click on the frisbee")
    assert [step.points for step in memory.trace().steps] == [(), (), ((80.0, 80.0),)]


def test_a_record_with_points_for_some_of_its_regions_is_refused(scene: Scene) -> None:
    step = asked(scene, "Click on the frisbee").steps[-1]
    told = dump(step, short=False)
    read = TypeAdapter(StepRecord).validate_json
    assert read(json.dumps(told)).points == ((80.0, 80.0),)
    assert read(json.dumps({**told, "points": []})).points == ()
    for wrong in ([[80, 80], [1, 1]], [[80]], [["80", "80"]], 80, None):
        with pytest.raises(ValueError, match="point"):
            read(json.dumps({**told, "points": wrong}))


def test_one_of_several_that_is_not_there_does_not_spoil_the_others(scene: Scene) -> None:
    answer = asked(scene, "Where do I click to select the frisbee and the zebra?")
    assert answer.text.startswith("Click at (80, 80) for the frisbee (r0). I can't tell: ")
    assert "zebra" in answer.text


def test_what_is_not_there_has_no_mask_and_no_point(scene: Scene) -> None:
    for question in ("Segment the zebra", "Point at the zebra"):
        answer = asked(scene, question)
        assert answer.abstained
        assert "zebra" in answer.text


def test_without_a_segmenter_the_answer_says_how_to_have_one() -> None:
    scene = replace(model(), segmenter=None).open(drawn())
    answer = asked(scene, "Outline the tie")
    assert answer.abstained
    assert "--segmenter sam2.1-tiny" in answer.text
    assert all(region.mask is None for region in answer.evidence)
    assert not asked(scene, "Point at the tie").abstained


def test_sizes_are_compared_by_masks_where_there_is_a_segmenter(scene: Scene) -> None:
    """The box of the tie is four times that of the frisbee, which has five times its pixels."""
    bare = replace(model(), segmenter=None).open(drawn())
    question = "Is the tie larger than the frisbee?"
    assert asked(bare, question).value is True
    assert asked(scene, question).value is False


def test_an_area_is_worded_as_it_was_measured(scene: Scene) -> None:
    steps = [
        {"id": "s1", "op": "find", "phrase": "tie", "purpose": "the"},
        {"id": "s2", "op": "measure", "of": "s1", "quantity": "area"},
        {"id": "s3", "op": "answer", "of": ["s2"]},
    ]
    plan = Plan.parse({"question": "How large is the tie?", "steps": steps})

    def text(of: Scene) -> str:
        run = Run(plan, of)
        return conclude(run, plan.question, tuple(run), None).text

    assert text(scene) == f"The tie fills {_area('tie')} pixels."
    assert text(replace(model(), segmenter=None).open(drawn())) == "The box of the tie covers 25600 square pixels."


def test_forms_that_only_ask_where_a_thing_is_still_do() -> None:
    planner = RulePlanner()
    questions = (
        "Where is the dog?",
        "Point out the dog.",
        "Locate the dog",
        "Show me the dog",
        "Show me the mask of the man",
    )
    for question in questions:
        plan = planner.plan(question)
        assert isinstance(plan, Plan)
        assert [step.op for step in plan.steps][-2] == "locate", question


@pytest.mark.parametrize(
    ("question", "ops"),
    [
        ("How many masks are there?", ["find", "count"]),
        ("How many people are wearing a mask?", ["find", "are", "count"]),
        ("Is there a mask?", ["find", "exists"]),
        ("How many pixels are there?", ["find", "count"]),
        ("How many pixels does the picture have?", ["find", "count"]),
        ("Draw a box around the dog and the cat.", ["find", "select", "locate", "find", "select", "locate"]),
        ("Click on the dog and describe it.", ["find", "select", "point", "describe"]),
        ("Point at the dog and count the cars.", ["find", "select", "point", "find", "count"]),
        ("How many cars are there? Draw the outline of the bus.", ["find", "count", "find", "select", "segment"]),
    ],
)
def test_words_for_masks_and_points_ask_for_them_only_where_they_are_said_so(question: str, ops: list[str]) -> None:
    plan = RulePlanner().plan(question)
    assert isinstance(plan, Plan)
    assert [step.op for step in plan.steps[:-1]] == ops


@pytest.mark.parametrize(
    ("first", "then", "text"),
    [
        ("Where do I click to select the frisbee?", "and the apple?", "Click at (315, 55) for the apple (r2)."),
        ("Where do I click to select the frisbee?", "What about the apple?", "Click at (315, 55) for the apple (r2)."),
        ("Click on the frisbee", "And a point on the apple?", "Click at (315, 55) for the apple (r2)."),
        ("Is there an apple?", "Where do I click?", "Click at (315, 55) for the apple (r2)."),
        ("How many frisbees are there?", "Click on it.", "Click at (80, 80) for the frisbee (r0)."),
        ("Where do I click to select the frisbee?", "How many are there?", "There is 1 frisbee."),
    ],
)
def test_a_question_goes_on_from_one_about_points(scene: Scene, first: str, then: str, text: str) -> None:
    talk = Agent(scene.model).talk(scene)
    talk.ask(first)
    assert talk.ask(then).text == text


def test_where_to_click_needs_something_to_hit(scene: Scene) -> None:
    assert asked(scene, "Where do I click?").text.startswith("I can't tell what “it” means.")


def test_a_question_goes_on_from_one_about_masks(scene: Scene) -> None:
    talk = Agent(scene.model).talk(scene)
    talk.ask("Outline the frisbee.")
    answer = talk.ask("and the apple?")
    assert answer.steps[-1].tool == "segment"
    assert str(_area("apple")) in answer.text


def test_the_passes_of_a_segmenter_are_costs_of_a_run(scene: Scene) -> None:
    memory = Memory()
    agent = Agent(scene.model, traces=memory)
    again = scene.model.open(drawn())
    agent.ask(again, "Segment the tie")
    first = memory.trace().costs
    agent.ask(again, "Segment the tie")
    second = memory.trace().costs
    assert first is not None
    assert first.calls["segment"] == 1
    assert second is not None
    assert "segment" not in second.calls  # the scene has its mask already


def test_a_segmenter_that_fails_is_told_by_its_own_name() -> None:
    def outliner(image: object, boxes: object) -> None:
        raise RuntimeError("no memory")

    answer = asked(model(outliner).open(drawn()), "Outline the tie")
    assert answer.abstained
    assert "outliner failed: no memory" in answer.text
