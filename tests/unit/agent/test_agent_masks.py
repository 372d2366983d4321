"""Questions that ask for masks and points, from words to an answer; and what is measured by masks if there are any."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fo1agent.agent import Agent
from fo1agent.planners.rules import RulePlanner
from fo1agent.plans.language import Plan
from fo1agent.runs.answer import Answer
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


def test_forms_that_only_ask_where_a_thing_is_still_do() -> None:
    planner = RulePlanner()
    for question in ("Where is the dog?", "Point out the dog.", "Locate the dog", "Show me the dog"):
        plan = planner.plan(question)
        assert isinstance(plan, Plan)
        assert [step.op for step in plan.steps][-2] == "locate", question


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
