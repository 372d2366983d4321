"""Traces: what is written while a run goes on, what is read back, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fo1agent.agent import Agent, AnswerEvent, StepEnd
from fo1agent.errors import AgentError, DataError, ImageError, InputError
from fo1agent.pictures.image import load_image
from fo1agent.planners.base import NotUnderstood
from fo1agent.planners.rules import RulePlanner
from fo1agent.plans.language import Plan
from fo1agent.runs.budget import Budget
from fo1agent.runs.llm_calls import llm_call
from fo1agent.scene import Model
from fo1agent.traces import store as traces
from tests.fakes import FakePredictor
from tests.scenes import street

OBJECTS = [
    ((20.0, 200.0, 60.0, 330.0), "person", 0.91),
    ((90.0, 210.0, 130.0, 340.0), "person", 0.88),
    ((200.0, 100.0, 400.0, 330.0), "bus", 0.94),
]
QUESTION = "How many people are to the left of the bus?"

OLDER = Path(__file__).resolve().parents[2] / "data" / "traces"


@pytest.fixture
def model() -> Model:
    return Model(FakePredictor(OBJECTS))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "street.png"
    Image.new("RGB", (640, 480), "gray").save(path)
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


@pytest.fixture
def written(model: Model, photo: Path, tmp_path: Path) -> list[dict[str, Any]]:
    """The lines of an ordinary run."""
    Agent(model, traces=tmp_path / "runs").ask(photo, QUESTION)
    return lines(only(tmp_path / "runs"))


# ---- writing ---------------------------------------------------------------------------------------------------------


def test_a_run_is_saved_with_its_events_in_order_and_the_answer_last(written: list[dict[str, Any]]) -> None:
    kinds = [line["type"] for line in written]
    assert kinds == ["run", "plan", *["step_start", "step_end"] * ((len(kinds) - 3) // 2), "answer"]
    assert [line["at"] for line in written[1:]] == sorted(line["at"] for line in written[1:])
    assert written[-1]["answer"]["value"] == 2


def test_the_first_line_tells_versions_hashes_limits_and_where_the_picture_was(
    written: list[dict[str, Any]], photo: Path, model: Model
) -> None:
    run = written[0]
    assert run["image"]["sha256"] == load_image(photo).sha256
    assert run["image"]["id"] == f"img_{run['image']['sha256'][:8]}"
    assert run["image"]["source"] == str(photo)
    assert run["model"] == {
        "name": model.name,
        "fingerprint": model.predictor.fingerprint,
        "thresholds": dict(model.predictor.thresholds),
    }
    assert run["planner"] == {"name": "rules", "llm": None}
    assert run["budget"] == asdict(Budget())
    assert {"python", "fo1agent", "torch", "transformers"} <= set(run["versions"])
    assert run["question"] == QUESTION
    assert datetime.fromisoformat(run["started"]).utcoffset() is not None


def test_a_relative_path_is_saved_as_an_absolute_one(
    model: Model, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photo.parent)
    Agent(model, traces=tmp_path / "runs").ask(photo.name, QUESTION)
    assert lines(only(tmp_path / "runs"))[0]["image"]["source"] == str(photo)


def test_costs_are_told_where_they_arose_and_in_all(written: list[dict[str, Any]]) -> None:
    opened = written[0]["opened"]["costs"]
    assert opened["calls"] == {"encode": 1}
    assert opened["pixels"] == 640 * 480
    ends = [line for line in written if line["type"] == "step_end"]
    assert ends[0]["costs"]["calls"] == {"match": 1}
    assert all(line["costs"]["calls"] == {} for line in ends[1:])
    assert written[-1]["costs"]["calls"] == {"encode": 1, "match": 1}
    assert written[-1]["costs"]["input_tokens"] is None


def test_a_picture_that_was_open_has_no_opening_costs(model: Model, photo: Path, tmp_path: Path) -> None:
    scene = model.open(photo)
    Agent(model, traces=tmp_path / "runs").ask(scene, QUESTION)
    first, *_, last = lines(only(tmp_path / "runs"))
    assert first["opened"] is None
    assert last["costs"]["calls"] == {"match": 1}
    assert scene.model is model, "the caller's scene is left as it is"


def short(ids: list[str]) -> list[str]:
    assert all(one.startswith("img_") for one in ids)
    return [one.rpartition("/")[2] for one in ids]


def test_steps_and_answer_hold_all_that_their_dicts_tell(model: Model, photo: Path, tmp_path: Path) -> None:
    events = list(Agent(model, traces=tmp_path / "runs").stream(photo, QUESTION))
    told = lines(only(tmp_path / "runs"))
    steps = [event.record.to_dict() for event in events if isinstance(event, StepEnd)]
    for step, line in zip(steps, (line for line in told if line["type"] == "step_end"), strict=True):
        saved = line["step"]
        assert [region["id"] for region in saved["found"]] == saved["regions"]  # in full: a folder has many pictures
        assert {name: saved[name] for name in step} | {"regions": short(saved["regions"])} == step
    last = events[-1]
    assert isinstance(last, AnswerEvent)
    answer = last.answer.to_dict()
    for elsewhere in ("question", "steps"):
        del answer[elsewhere]
    saved = told[-1]["answer"]
    regions = [{**one, "id": short([one["id"]])[0]} for one in saved["regions"]]
    assert {**saved, "evidence": short(saved["evidence"]), "regions": regions} == answer


def test_given_boxes_are_saved_and_the_models_own_are_not(model: Model, photo: Path, tmp_path: Path) -> None:
    boxes = [[1.0, 2.0, 30.5, 40.0], [200.0, 100.0, 400.0, 330.0]]
    agent = Agent(model, traces=tmp_path / "runs")
    agent.ask(model.open(photo, boxes=boxes), QUESTION)
    given = lines(only(tmp_path / "runs"))[0]["regions"]
    assert given["source"] == "given"
    assert given["boxes"] == boxes
    assert given["scores"] == [1.0, 1.0]


def test_a_line_is_there_before_its_event_is(model: Model, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    for event in Agent(model, traces=folder).stream(photo, QUESTION):
        assert lines(only(folder))[-1]["type"] == event.type
    assert only(folder).suffix == ".jsonl"


def test_a_run_that_is_left_stays_partial_and_can_be_read(model: Model, photo: Path, tmp_path: Path) -> None:
    events = Agent(model, traces=tmp_path / "runs").stream(photo, QUESTION)
    while not isinstance(next(events), StepEnd):
        pass
    events.close()  # pyright: ignore[reportAttributeAccessIssue]
    path = only(tmp_path / "runs")
    assert path.name.endswith(".jsonl.partial")
    trace = traces.read(path)
    assert not trace.complete
    assert len(trace.steps) == 1
    assert trace.answer.abstained
    assert "cut off" in trace.answer.text


def test_a_killed_run_leaves_a_readable_trace(tmp_path: Path, repo: Path) -> None:
    script = f"""
import os, signal
from fo1agent.agent import Agent, StepEnd
from tests.scenes import street
for event in Agent(traces={str(tmp_path / "runs")!r}).stream(street(), {QUESTION!r}):
    if isinstance(event, StepEnd) and event.number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script], cwd=repo, timeout=60)
    assert killed.returncode == -9
    trace = traces.read(only(tmp_path / "runs"))
    assert not trace.complete
    assert [step.id for step in trace.steps] == ["s1", "s2"]


def test_half_a_last_line_is_left_out(tmp_path: Path, written: list[dict[str, Any]]) -> None:
    path = tmp_path / "torn.jsonl"
    text = "\n".join(json.dumps(line) for line in written)
    path.write_text(text[:-20], encoding="utf-8")
    assert not traces.read(path).complete
    path.write_text(text, encoding="utf-8")
    assert traces.read(path).complete, "only the line's end is missing"


class Broken:
    name = "broken"

    def plan(self, question: str) -> Plan | NotUnderstood:
        raise RuntimeError("no plan today")


def test_an_exception_ends_the_trace_and_is_raised(model: Model, photo: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no plan today"):
        Agent(model, planner=Broken(), traces=tmp_path / "runs").ask(photo, QUESTION)
    trace = traces.read(only(tmp_path / "runs"))
    assert trace.complete
    assert trace.error == "RuntimeError: no plan today"
    assert trace.run.planner.name == "broken"
    assert trace.answer.abstained


def test_a_question_without_a_plan_is_a_run_too(model: Model, photo: Path, tmp_path: Path) -> None:
    answer = Agent(model, traces=tmp_path / "runs").ask(photo, "Why, oh why?")
    trace = traces.read(only(tmp_path / "runs"))
    assert trace.plan is None
    assert trace.answer.text == answer.text
    assert trace.answer.abstained


def test_a_picture_that_cannot_be_opened_has_no_trace(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ImageError):
        Agent(model, traces=tmp_path / "runs").ask(tmp_path / "none.png", QUESTION)
    assert not (tmp_path / "runs").exists()


def test_scenes_of_other_kinds_are_saved_as_far_as_they_tell(tmp_path: Path) -> None:
    Agent(traces=tmp_path / "runs").ask(street(), QUESTION)
    run = traces.read(only(tmp_path / "runs")).run
    assert (run.image.width, run.image.height) == (640, 480)
    assert run.model is None
    assert run.regions is None


def test_text_that_is_no_text_can_be_saved(model: Model, photo: Path, tmp_path: Path) -> None:
    odd = photo.rename(tmp_path / "na\udce9ve.png")
    Agent(model, traces=tmp_path / "runs").ask(odd, "How many \udcff are there? <script>")
    trace = traces.read(only(tmp_path / "runs"))
    assert trace.run.question == "How many ? are there? <script>"


class TalkingPlanner:
    """Plans by the rules, after two made-up calls of a language model."""

    name = "talking"

    def plan(self, question: str) -> Plan | NotUnderstood:
        for read, written in ((100, 20), (None, 7)):
            with llm_call("gpt-nonsense", "openai") as call:
                call.tokens(read, written)
        return RulePlanner().plan(question)


def test_calls_of_a_language_model_and_its_tokens_are_counted(model: Model, photo: Path, tmp_path: Path) -> None:
    Agent(model, planner=TalkingPlanner(), traces=tmp_path / "runs").ask(photo, QUESTION)
    told = lines(only(tmp_path / "runs"))
    assert told[1]["costs"]["calls"] == {"llm": 2}
    assert (told[1]["costs"]["input_tokens"], told[1]["costs"]["output_tokens"]) == (100, 27)
    assert told[-1]["costs"]["calls"] == {"encode": 1, "llm": 2, "match": 1}
    with llm_call("gpt-nonsense") as call:
        call.tokens(1, 1)  # outside of a run: nobody counts, nothing fails


# ---- places ----------------------------------------------------------------------------------------------------------


def test_no_trace_is_overwritten_and_names_sort_by_time(model: Model, photo: Path, tmp_path: Path) -> None:
    agent = Agent(model, traces=str(tmp_path / "runs"))
    answers = agent.batch([(photo, QUESTION)] * 6)
    assert [str(answer) for answer in answers] == [str(answers[0])] * 6
    files = sorted((tmp_path / "runs").iterdir())
    assert len(files) == 6
    started = [traces.read(file).run.started for file in files]
    assert started == sorted(started)
    assert all(file.name.split("-")[1].startswith("img_") for file in files)


def test_runs_of_one_moment_get_names_of_their_own(tmp_path: Path, written: list[dict[str, Any]]) -> None:
    run = traces.RunLine.model_validate_json(json.dumps(written[0]))
    folder = traces.Folder(tmp_path / "same")
    for _ in range(3):
        writer = folder.open(run)
        writer.finish()
        writer.close()
    left_open = folder.open(run)
    left_open.close()
    stem = f"{run.started.replace('-', '').replace(':', '')}-{run.image.id}"
    assert sorted(path.name for path in folder.path.iterdir()) == [
        f"{stem}-2.jsonl",
        f"{stem}-3.jsonl",
        f"{stem}-4.jsonl.partial",
        f"{stem}.jsonl",
    ]


def test_a_folder_may_keep_only_the_newest(model: Model, photo: Path, tmp_path: Path) -> None:
    folder = traces.Folder(tmp_path, keep=2)
    theirs = tmp_path / "notes.jsonl"
    theirs.write_text("mine", encoding="utf-8")
    agent = Agent(model, traces=folder)
    for _ in range(4):
        agent.ask(photo, QUESTION)
    assert len(list(tmp_path.glob("*-img_*.jsonl"))) == 2
    assert theirs.read_text(encoding="utf-8") == "mine", "files of other names are not ours to delete"
    with pytest.raises(InputError, match="keep"):
        traces.Folder(tmp_path, keep=0)


def test_a_folder_that_cannot_be_made_is_known_before_any_step_runs(model: Model, photo: Path) -> None:
    with pytest.raises(AgentError, match=r"street\.png.*cannot be written"):
        next(Agent(model, traces=photo).stream(photo, QUESTION))
    assert isinstance(model.predictor, FakePredictor)
    assert model.predictor.passes["match"] == 0


def test_a_run_of_which_nothing_is_taken_leaves_nothing(model: Model, photo: Path, tmp_path: Path) -> None:
    Agent(model, traces=tmp_path / "runs").stream(photo, QUESTION)
    assert not (tmp_path / "runs").exists()


def test_memory_gives_what_a_file_would(model: Model, photo: Path) -> None:
    memory = traces.Memory()
    Agent(model, traces=memory).ask(photo, QUESTION)
    trace = memory.trace("mine")
    assert trace.complete
    assert trace.answer.value == 2
    assert [step.tool for step in trace.steps][:1] == ["find"]


# ---- reading ---------------------------------------------------------------------------------------------------------


def test_what_was_written_is_read_back(model: Model, photo: Path, tmp_path: Path) -> None:
    answer = Agent(model, traces=tmp_path / "runs").ask(photo, QUESTION)
    trace = traces.read(only(tmp_path / "runs"))
    assert trace.plan == answer.plan
    assert [step.to_dict() for step in trace.steps] == [step.to_dict() for step in answer.trace]
    assert [step.value for step in trace.steps] == [step.value for step in answer.trace]
    assert trace.answer.to_dict() == answer.to_dict()
    assert trace.answer.evidence.boxes == pytest.approx(answer.evidence.boxes, abs=0.01)


OPEN = "How many sleepy people are there, and is there a bus?"


def test_what_could_not_be_judged_is_read_back(model: Model, photo: Path, tmp_path: Path) -> None:
    for k, question in enumerate((OPEN, "How many sleepy people are there?")):
        answer = Agent(model, traces=tmp_path / str(k)).ask(photo, question)
        trace = traces.read(only(tmp_path / str(k)))
        assert answer.not_judged == ("sleepy",)
        assert answer.bounds
        assert trace.answer.to_dict() == answer.to_dict()
        assert [step.to_dict() for step in trace.steps] == [step.to_dict() for step in answer.trace]


def test_a_trace_from_before_words_were_told_is_read(tmp_path: Path) -> None:
    """`before_not_judged.jsonl` was written by the release before: it took dead cats for cats."""
    trace = traces.read(OLDER / "before_not_judged.jsonl")
    assert trace.complete
    assert trace.answer.text == "There is 1 dead cat. Yes, there are 2 remotes."
    assert (trace.answer.value, trace.answer.not_judged, trace.answer.bounds) == ([1, True], (), None)
    assert {step.not_judged for step in trace.steps} == {()}
    assert trace.answer.evidence.labels[0] == "dead cat"


def test_the_one_line_of_an_older_step_is_read_as_what_was_asked_and_what_came_of_it() -> None:
    """`before_asked.jsonl` was written when a step had one text, in which two blanks parted the two."""
    trace = traces.read(OLDER / "before_asked.jsonl")
    assert [(step.asked, step.gave, step.failure) for step in trace.steps[4:8]] == [
        ("", "2", None),
        ("“dead cat”", "r1 0.97  not judged: dead", None),
        ("", "0 to 1", None),
        ("", "no region looks like “sign” (best 0.00)", "error"),
    ]
    assert trace.steps[5].text == "“dead cat”  r1 0.97  not judged: dead"
    assert trace.answer.value == [2, None, None]
    assert trace.answer.bounds == [None, {"at_least": 0, "at_most": 1}, None]
    assert trace.costs is not None
    assert trace.costs.calls == {"match": 1, "ocr": 1}


def broken_lines(good: list[dict[str, Any]]) -> Iterator[tuple[str, int, str, Any]]:
    """(what is wrong, line number, a piece of the reason, the changed line or lines)."""
    run, plan, start, end = good[:4]
    yield "another version", 1, "format 2 of another version", {**run, "format": 2}
    yield "a truth value as version", 1, "format: a truth value is no number", {**run, "format": True}
    yield "a picture of no size that there is", 1, "image.width", {**run, "image": {**run["image"], "width": 10**30}}
    yield "no version", 1, "format", {key: value for key, value in run.items() if key != "format"}
    yield "no run", 1, 'type "run"', plan
    yield "an unknown field", 1, "surprise", {**run, "surprise": 1}
    yield "a number as text", 1, "image.width", {**run, "image": {**run["image"], "width": "640"}}
    yield "a time without zone", 1, "zone", {**run, "started": "2026-01-31T12:00:00"}
    yield "no hash", 1, "sha256", {**run, "image": {**run["image"], "sha256": "abc"}}
    yield "boxes without scores", 1, "belong together", {**run, "regions": {**run["regions"], "boxes": [[0, 0, 1, 1]]}}
    yield "two runs", 2, "second run", run
    yield "a plan that is none", 2, "Not a plan", {**plan, "steps": [{"id": "s1", "op": "explode"}]}
    yield "a plan of code", 2, "steps.0", {**plan, "steps": ["__import__('os').system('true')"]}
    yield "an unknown kind of line", 3, "type", {**start, "type": "eval"}
    yield "an end without a start", 3, "did not begin", end
    yield "another step's end", 4, "did not begin", {**end, "number": 7}
    found = end["step"]["found"]
    yield "a score above 1", 4, "score", with_step(end, found=[{**found[0], "score": 1.5}, *found[1:]])
    yield "a box inside out", 4, "inside out", with_step(end, found=[{**found[0], "box": [9, 9, 1, 1]}, *found[1:]])
    yield "a box that is none", 4, "box", with_step(end, found=[{**found[0], "box": 5}, *found[1:]])
    yield "no list of regions", 4, "a list was expected, got 5", with_step(end, found=5)
    yield "regions that are none", 4, "a list was expected", with_step(end, regions=None)
    yield "a region without a name", 4, "a region was expected", with_step(end, found=[{"box": [1, 1, 2, 2]}])
    yield "not a number", 4, "finite", with_step(end, seconds=float("nan"))
    yield "other regions", 4, "different regions", with_step(end, regions=[])
    yield "no JSON", 4, "JSON", None
    answer = good[-1]
    wrong = {**answer["answer"], "evidence": ["img_00000000/r9"]}
    yield "words as one text", 4, "not_judged", with_step(end, not_judged="sleepy")
    yield "bounds of one side", len(good), "at_most", with_answer(answer, bounds={"at_least": 1})
    for bounds, why in (((9, 1), "at_least, 9, is above at_most, 1"), ((0, 10**400), "too large a number")):
        both = dict(zip(("at_least", "at_most"), bounds, strict=True))
        yield f"bounds {why}", len(good), why, with_answer(answer, bounds=both)
    yield "an answer's regions as text", len(good), "a list was expected", with_answer(answer, regions="x")
    yield "an answer's region that is none", len(good), "a region was expected", with_answer(answer, regions=[None])
    yield "unknown evidence", len(good), "not among the regions", {**answer, "answer": wrong}


def with_answer(line: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**line, "answer": {**line["answer"], **fields}}


def with_step(line: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**line, "step": {**line["step"], **fields}}


def test_what_is_no_trace_is_refused_with_file_line_and_reason(tmp_path: Path, written: list[dict[str, Any]]) -> None:
    path = tmp_path / "bad.jsonl"
    for what, number, reason, changed in broken_lines(written):
        texts = [json.dumps(line) for line in written]
        texts[number - 1] = "{not JSON}" if changed is None else json.dumps(changed)
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")
        with pytest.raises(DataError) as raised:
            traces.read(path)
        message = str(raised.value)
        assert f"{path}, line {number}" in message, (what, message)
        assert reason in message, (what, message)
        assert "\n" not in message, what


@pytest.mark.parametrize("data", [b"", b"\n", b"\xff\xfe\x00", b"[" * 100_000, b"{}", b'"run"\n', b"null"])
def test_bytes_of_any_kind_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"bad\.jsonl, line 1"):
        traces.read(path)


def test_a_step_that_begins_twice_is_refused(tmp_path: Path, written: list[dict[str, Any]]) -> None:
    path = tmp_path / "bad.jsonl"
    for lines, why in (
        ([*written[:3], written[2]], "line 4: step 1 begins before step 1 has ended"),
        ([*written[:4], *written[2:4]], r"line 5: step 1 \(s1\) begins a second time"),
    ):
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        with pytest.raises(DataError, match=why):
            traces.read(path)


def test_more_after_the_answer_is_refused(tmp_path: Path, written: list[dict[str, Any]]) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in [*written, written[1]]), encoding="utf-8")
    with pytest.raises(DataError, match=rf"line {len(written) + 1}: the run was over"):
        traces.read(path)


def test_a_missing_file_says_that_its_run_was_cut_off(tmp_path: Path) -> None:
    (tmp_path / "run.jsonl.partial").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"No such file.*run\.jsonl\.partial: that run was cut off"):
        traces.read(tmp_path / "run.jsonl")


def test_too_large_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MAX_BYTES", 100)
    (tmp_path / "big.jsonl").write_bytes(b"x" * 101)
    with pytest.raises(DataError, match="longer than 100 bytes"):
        traces.read(tmp_path / "big.jsonl")
