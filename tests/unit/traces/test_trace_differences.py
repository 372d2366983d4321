"""Two runs side by side: what counts as different, what does not, and the page that shows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from fo1agent.agent import Agent, differences
from fo1agent.agent.differences import compare, verdict
from fo1agent.agent.replay import replay
from fo1agent.errors import DataError
from fo1agent.regions.regions import Region, Regions
from fo1agent.runs.step import StepRecord
from fo1agent.traces import store as traces
from fo1agent.traces.lines import AnswerLine, PlanLine, RunLine, StepEndLine, StepStartLine
from fo1agent.traces.store import Trace
from tests.labelled_scene import LabelledScene, Thing
from tests.scenes import street

QUESTION = "How many people are to the left of the bus, and what does its sign say?"
ATTACK = '<script>alert("1")</script><img src=x onerror=alert(2)>'


def recorded(scene: Any = None, question: str = QUESTION) -> Trace:
    memory = traces.Memory()
    Agent(traces=memory).ask(scene or street(), question)
    return memory.trace("before.jsonl")


def changed(trace: Trace, number: int, **fields: Any) -> Trace:
    """The trace with fields of one step changed."""
    lines = [
        line.model_copy(update={"step": replace(line.step, **fields)})
        if isinstance(line, StepEndLine) and line.number == number
        else line
        for line in trace.lines
    ]
    return traces.assemble("after.jsonl", [trace.run, *lines], "after.jsonl")


def with_regions(trace: Trace, number: int, *regions: Region) -> Trace:
    return changed(trace, number, regions=Regions.from_list(list(regions)))


def found(trace: Trace, number: int) -> tuple[Region, ...]:
    return next(
        tuple(line.step.regions) for line in trace.lines if isinstance(line, StepEndLine) and line.number == number
    )


def told(a: Trace, b: Trace, **how: Any) -> list[str]:
    """What differs in the steps: `2 score of r4: 0.940 → 0.500`."""
    return [
        f"{number} {one.what}: {one.a} → {one.b}"
        for number, pair in enumerate(compare(a, b, **how).steps, 1)
        for one in pair.differences
    ]


def test_a_run_is_the_same_as_itself_and_as_its_replay() -> None:
    trace = recorded()
    assert compare(trace, trace).same
    comparison = compare(trace, replay(trace, street()), replayed=True)
    assert comparison.same, comparison.to_dict()
    assert comparison.settings == ()
    assert comparison.notes == ()
    assert verdict(comparison) == "The same."


def test_what_could_not_be_judged_counts() -> None:
    sleepy = recorded(question="How many sleepy people are there?")
    assert compare(sleepy, replay(sleepy, street()), replayed=True).same
    plainly = changed(sleepy, 2, not_judged=())
    assert told(sleepy, plainly) == ["2 not judged: sleepy → none"]
    assert told(plainly, sleepy) == ["2 not judged: none → sleepy"]


def test_bounds_and_words_of_the_answer_count() -> None:
    trace = recorded(question="How many sleepy people are there?")
    *lines, last = trace.lines
    assert isinstance(last, AnswerLine)
    answer = replace(last.answer, bounds=None, not_judged=(), value=4)
    other = traces.assemble(
        "after.jsonl", [trace.run, *lines, last.model_copy(update={"answer": answer})], "after.jsonl"
    )
    differences = {one.what: (one.a, one.b) for one in compare(trace, other).answer}
    assert differences == {"value": ("none", "4"), "bounds": ("0 to 4", "none"), "not judged": ("sleepy", "none")}


def test_scores_count_from_the_tolerance_on() -> None:
    trace = recorded()
    first, *others = found(trace, 1)
    nearly = with_regions(trace, 1, replace(first, score=first.score - 0.009), *others)
    assert told(trace, nearly) == []
    clearly = with_regions(trace, 1, replace(first, score=0.5), *others)
    assert told(trace, clearly) == [f"1 score of {first.id.split('/')[1]}: {first.score:.3f} → 0.500"]
    assert told(trace, clearly, tolerance=0.5) == []


def test_boxes_count_when_they_moved() -> None:
    trace = recorded()
    first, *others = found(trace, 1)
    x1, y1, x2, y2 = first.box
    name = first.id.split("/")[1]
    assert told(trace, with_regions(trace, 1, replace(first, box=(x1, y1, x2, y2 + 0.3)), *others)) == []
    (line,) = told(trace, with_regions(trace, 1, replace(first, box=(x1, y1, x2, y2 + 40)), *others))
    assert line.startswith(f"1 box of {name}: ")
    assert line.endswith("(IoU 0.80)")


def test_a_region_of_another_name_in_its_place_is_that_region() -> None:
    trace = recorded()
    first, *others = found(trace, 1)
    renamed = replace(first, id=first.id.rsplit("/", 1)[0] + "/r77")
    name = first.id.split("/")[1]
    assert told(trace, with_regions(trace, 1, *others, renamed)) == [f"1 region: {name} → r77 (IoU 1.00)"]


def test_regions_that_one_run_alone_has_are_told() -> None:
    trace = recorded()
    first, *others = found(trace, 1)
    assert told(trace, with_regions(trace, 1, *others)) == [f"1 region: {first.id.split('/')[1]} {first.score:.2f} → –"]
    assert told(with_regions(trace, 1, *others), trace) == [f"1 region: – → {first.id.split('/')[1]} {first.score:.2f}"]


def test_boxes_that_are_names_may_shift_by_a_pixel() -> None:
    trace = recorded()
    lines = [Region(f"img_0/b1{k}_2_30_40", (10 + k, 2, 300, 400), 0.9) for k in (0, 1)]
    assert told(with_regions(trace, 1, lines[0]), with_regions(trace, 1, lines[1])) == []


def test_values_errors_and_texts_count() -> None:
    trace = recorded()
    number = next(line.number for line in trace.lines if isinstance(line, StepEndLine) and line.step.tool == "count")
    assert told(trace, changed(trace, number, value=3)) == [f"{number} value: 2 → 3"]
    assert told(trace, changed(trace, number, value=None, error="the budget of 4 steps is used up")) == [
        f"{number} error: none → the budget of 4 steps is used up",
        f"{number} value: 2 → none",
    ]
    assert told(trace, changed(trace, number, gave="two")) == [f"{number} text: 2 → two"]
    assert told(trace, changed(trace, number, seconds=99.0)) == []


def test_measured_numbers_may_differ_by_a_share() -> None:
    trace = recorded(question="Is the bus larger than the car?")
    number, value = next(
        (line.number, line.step.value)
        for line in trace.lines
        if isinstance(line, StepEndLine) and isinstance(line.step.value, float)
    )
    assert told(trace, changed(trace, number, value=value * 1.005)) == []
    assert told(trace, changed(trace, number, value=value * 1.05)) != []
    assert told(trace, changed(trace, number, value=True)) != []


def test_steps_are_set_beside_those_that_do_the_same() -> None:
    short = recorded(question="How many people are there?")
    long = recorded(question="How many people are to the left of the bus?")
    comparison = compare(short, long)
    pairs = [(pair.a and pair.a.tool, pair.b and pair.b.tool) for pair in comparison.steps]
    assert ("find", "find") in pairs
    assert ("count", "count") in pairs
    assert (None, "keep") in pairs
    assert [one.what for one in comparison.plan] == ["plan"]
    assert verdict(comparison).startswith("Different: the plan, the answer and ")
    assert {one.what for one in comparison.settings} == {"question"}


def test_what_they_ran_with_is_told_and_does_not_count() -> None:
    trace = recorded()
    run = trace.run.model_copy(update={"versions": {**trace.run.versions, "torch": "9.9"}, "platform": "Plan 9"})
    other = replace(trace, run=run)
    comparison = compare(trace, other)
    assert comparison.same
    assert [one.what for one in comparison.settings] == ["torch", "platform"]


def cut_off(trace: Trace, steps: int) -> Trace:
    lines = [line for line in trace.lines if not isinstance(line, AnswerLine)]
    kept = [line for line in lines if isinstance(line, PlanLine) or getattr(line, "number", 0) <= steps]
    return traces.assemble("cut.jsonl", [trace.run, *kept], "cut.jsonl")


def test_a_cut_off_run_is_replayed_as_far_as_it_went() -> None:
    trace = cut_off(recorded(), 2)
    again = replay(trace, street())
    assert again.complete
    comparison = compare(trace, again, replayed=True)
    assert comparison.same
    assert "cut off" in comparison.notes[0]
    assert not compare(trace, again).same, "as two runs they are different"


def test_a_replay_finds_what_has_changed() -> None:
    trace = recorded()
    without = LabelledScene([thing for thing in street().things if thing.label != "bus"])
    comparison = compare(trace, replay(trace, without), replayed=True)
    assert not comparison.same
    assert comparison.answer
    dimmer = LabelledScene([replace(t, score=t.score - 0.05) if t.label == "bus" else t for t in street().things])
    assert all("score" in line for line in told(trace, replay(trace, dimmer), replayed=True))


def test_a_question_that_had_no_plan_has_nothing_to_run() -> None:
    trace = recorded(question="Why, oh why?")
    comparison = compare(trace, replay(trace, street()), replayed=True)
    assert comparison.same
    assert comparison.notes == ("Nothing was run: the planner had no plan for this question.",)


def test_limits_that_are_none_are_refused() -> None:
    trace = recorded()
    run = trace.run.model_copy(update={"budget": {**trace.run.budget, "steps": -1}})
    with pytest.raises(DataError, match=r"before\.jsonl, line 1: Budget steps must be above 0"):
        replay(replace(trace, run=run), street())


# ---- step by step ----------------------------------------------------------------------------------------------------


def stepwise(run: RunLine, *steps: StepRecord) -> Trace:
    """The trace of a language model that called these tools."""
    costs = next(line.costs for line in recorded().lines if isinstance(line, AnswerLine))
    lines: list[Any] = [run]
    for number, step in enumerate(steps, 1):
        lines.append(StepStartLine(at=0.0, number=number, id=step.id, tool=step.tool, args=step.args))
        lines.append(StepEndLine(at=0.0, number=number, step=step, costs=costs))
    final = next(line for line in recorded().lines if isinstance(line, AnswerLine))
    return traces.assemble("chat.jsonl", [*lines, final], "chat.jsonl")


def called(tool: str, args: dict[str, Any], **fields: Any) -> StepRecord:
    told = {"asked": "", "gave": "", "value": None, "regions": Regions.empty(), "seconds": 0.0, **fields}
    return StepRecord("call_1", tool, args, **told)


def test_tool_calls_are_made_again_without_the_language_model() -> None:
    from fo1agent.scene import Model
    from tests.fakes import FakePredictor

    model = Model(FakePredictor([((20.0, 200.0, 60.0, 330.0), "person", 0.91)]))
    scene = model.open(Image.new("RGB", (640, 480), "gray"))
    region = Regions.from_list([Region(f"{scene.id}/r0", (20, 200, 60, 330), 0.91, "person")])
    run = recorded().run
    trace = stepwise(
        run,
        called("count", {"phrase": "person"}, value=1, regions=region, asked="“person”", gave="1"),
        called("count", {"phrase": "person"}, value=4, regions=region, asked="“person”", gave="4"),
        called("abracadabra", {}),
    )
    comparison = compare(trace, replay(trace, scene), replayed=True)
    assert [[one.what for one in pair.differences] for pair in comparison.steps] == [[], ["value"], ["error"]]
    assert comparison.steps[2].differences[0].b == "there is no tool 'abracadabra' here"
    assert comparison.answer == ()
    assert comparison.notes == ("The answer was written by a language model, which was not asked again.",)


# ---- the page --------------------------------------------------------------------------------------------------------


def test_the_page_shows_both_and_marks_what_differs() -> None:
    trace = recorded()
    first, *others = found(trace, 1)
    other = with_regions(trace, 1, replace(first, score=0.5), *others)
    page = differences.html(compare(trace, other), Image.new("RGB", (640, 480)), None)
    for piece in ("A: before.jsonl", "B: after.jsonl", "score of", "0.500", "Different: 1 of", "not at hand"):
        assert piece in page, piece
    assert page.count("data:image/jpeg") == 1
    assert page.count(" differs") >= 2
    assert "<script" not in page


def test_text_out_of_pictures_is_shown_and_never_run() -> None:
    sign = Thing("bus", (200, 100, 400, 330), 0.94, (), ATTACK)
    trace = recorded(LabelledScene([sign]), "What does the bus say?")
    assert ATTACK in str(trace.answer.value)
    run = trace.run.model_copy(update={"question": ATTACK, "platform": ATTACK})
    hostile = replace(trace, name=ATTACK, run=run)
    other = changed(hostile, 1, asked=ATTACK, gave=ATTACK, error=ATTACK, tool=ATTACK)
    page = differences.html(compare(hostile, other), None, None)
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert" in page
    assert "default-src 'none'" in page
