"""A job gives a row a picture, whatever happens to it on the way."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fo1agent.annotate.job import Job, Progress, here, run
from fo1agent.annotate.sources import Item, Listing, listing
from fo1agent.annotate.tasks import Kind, Row, Task, asked, foreseen
from fo1agent.errors import DataError, EngineError, InputError, ToolFailed
from fo1agent.loading import load
from fo1agent.regions.regions import Regions
from fo1agent.scene import Model
from fo1agent.segmenters.base import NO_SEGMENTER
from fo1agent.tools.describing import describe
from fo1agent.trainers.lock import locked
from tests.fakes import FakePredictor
from tests.unit.annotate.conftest import OBJECTS
from tests.vllm_server import served

PEOPLE = [(0.8, [70, 10, 110, 50]), (0.7, [70, 55, 110, 95])]


@pytest.fixture
def job(photos: Path, tmp_path: Path) -> Job:
    return Job(tmp_path / "out", listing(str(photos)), Task("detect", ("bus", "people")), {"model_name": None}, 2)


def rows_of(job: Job, model: Model) -> list[Row]:
    run(job, lambda: here(model))
    return list(job.shards.rows())


def files(job: Job) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in job.folder.rglob("*") if path.is_file() and path.name != "run.lock"
    }


def test_each_picture_is_a_row_and_a_bad_one_has_its_error(job: Job, model: Model) -> None:
    rows = rows_of(job, model)
    assert [row["picture"] for row in rows] == ["a.png", "b.png", "broken.png", "d.png", "deep/c.png"]
    assert [bool(row["error"]) for row in rows] == [False, False, True, False, False]
    assert "broken.png" in rows[2]["error"]
    assert (rows[0]["width"], rows[0]["height"], rows[0]["image"][:4]) == (120, 100, "img_")
    told = [(one["phrase"], one["score"], one["box"]) for one in rows[0]["regions"]]
    assert told == [("bus", 0.9, [10, 10, 60, 60]), *(("people", *one) for one in PEOPLE)]
    assert sorted(path.name for path in job.shards.folder.iterdir()) == [f"part-00000{k}.parquet" for k in range(3)]


@pytest.mark.parametrize(
    ("kind", "words", "text", "value"),
    [
        ("count", ("person",), None, 2),
        ("read", (), "", None),
        ("describe", (), "2 people, 1 bus", None),
        ("ask", ("How many buses are there?",), "There is 1 bus.", 1),
    ],
)
def test_the_other_tasks(job: Job, model: Model, kind: Kind, words: tuple[str, ...], text: str, value: int) -> None:
    model = replace(model, ocr=lambda image, min_score=0.0: [])
    row = rows_of(replace(job, task=Task(kind, words)), model)[0]
    assert (row["text"], row["value"]) == (text, value)
    assert json.loads(row["result"])


def test_a_description_is_that_of_the_tool(job: Job, model: Model, photos: Path) -> None:
    model.predictor.replies["Briefly describe"] = (  # pyright: ignore[reportAttributeAccessIssue]
        "<ground>A bus</ground><objects><region0></objects> and "
        "<ground>two people</ground><objects><region1><region2></objects>."
    )
    row = rows_of(replace(job, task=Task("describe")), model)[0]
    told: Any = describe.call(model.open(photos / "a.png"), {}).result
    assert (row["text"], json.loads(row["result"])) == (told.text, {"source": "model"})
    assert [(one["id"], one["label"], one["score"], tuple(one["box"])) for one in row["regions"]] == [
        (one.name, one.label, one.score, one.box) for one in told.regions
    ]
    assert [one["label"] for one in row["regions"]] == ["A bus", "two people", "two people"]


def test_each_picture_may_have_its_own_question(job: Job, model: Model) -> None:
    first, second, *_ = job.listing.items
    items = (replace(first, question="Is there a dog?"), second)
    rows = rows_of(replace(job, listing=Listing(items), task=Task("ask")), model)
    assert (rows[0]["question"], rows[0]["text"]) == ("Is there a dog?", "No, I see no dog.")
    assert "There is no question" in rows[1]["error"]


def test_a_job_of_questions_has_some(job: Job) -> None:
    with pytest.raises(InputError, match=r"There is no question\. Name one for all"):
        replace(job, task=Task("ask"))
    fields = replace(job.listing, fields=("image", "prompt"))
    with pytest.raises(InputError, match=r"with --question-column; there are image, prompt\.$"):
        replace(job, task=Task("ask"), listing=fields)


def test_ids_that_are_text_stay_in_the_rows(job: Job, model: Model) -> None:
    items = tuple(replace(one, image_id=f"id-{one.index}") for one in job.listing.items)
    rows = rows_of(replace(job, listing=Listing(items, text_ids=True)), model)
    assert [row["image_id"] for row in rows] == [f"id-{k}" for k in range(5)]


def test_an_error_of_one_picture_is_not_that_of_its_neighbours(
    job: Job, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, match, made = model.predictor.encode, model.predictor.match, []

    def encoding_of(*given: Any) -> Any:
        made.append(encode(*given))
        return made[-1]

    def failing(encoding: Any, phrases: Sequence[str]) -> Any:
        if encoding is made[0]:
            raise ToolFailed("too much")
        return match(encoding, phrases)

    monkeypatch.setattr(model.predictor, "encode", encoding_of)
    monkeypatch.setattr(model.predictor, "match", failing)
    rows = rows_of(job, model)
    assert [row["error"] for row in rows][:2] == ["too much", None]


def killed_after(shards: int, model: Model) -> Callable[[], Any]:
    """A way that ends in the middle, as a kill does."""

    def computed(job: Job, numbers: Sequence[int], on_rows: Any) -> Iterator[tuple[int, list[Row]]]:
        for done, one in enumerate(here(model)(job, numbers, on_rows)):
            if done == shards:
                raise KeyboardInterrupt
            yield one

    return lambda: computed


def test_a_job_that_was_killed_goes_on_and_ends_the_same(job: Job, model: Model, tmp_path: Path) -> None:
    whole = replace(job, folder=tmp_path / "whole")
    rows_of(whole, model)
    with pytest.raises(KeyboardInterrupt):
        run(job, killed_after(1, model))
    assert job.done() == 2
    kept = job.shards.path(0).stat().st_mtime_ns
    (job.shards.folder / ".tmp-12345678-part-000001.parquet").write_bytes(b"half")
    before, told = model.predictor.passes["towers"], []  # pyright: ignore[reportAttributeAccessIssue]
    done = run(job, lambda: here(model), told.append)
    assert model.predictor.passes["towers"] - before == 2  # pyright: ignore[reportAttributeAccessIssue]
    assert job.shards.path(0).stat().st_mtime_ns == kept
    assert files(job) == files(whole)
    assert [(one.done, one.failed) for one in told] == [(4, 1), (5, 1)]
    assert (done.done, done.total, done.failed) == (5, 5, 1)


@pytest.mark.parametrize("there", [None, "out", "out/rows"])
def test_a_job_that_ends_before_its_first_shard_leaves_nothing(job: Job, there: str | None, tmp_path: Path) -> None:
    job = replace(job, folder=tmp_path / "deep" / "out")
    if there:
        (tmp_path / "deep" / there).mkdir(parents=True)
    before = set(tmp_path.rglob("*"))

    def gone() -> Any:
        assert (job.folder / "job.json").exists()
        raise EngineError("http://127.0.0.1:9/v1 does not answer")

    with pytest.raises(EngineError):
        run(job, gone)
    assert set(tmp_path.rglob("*")) == before


def test_a_job_that_ends_later_or_was_there_before_keeps_its_folder(job: Job, model: Model) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(job, killed_after(1, model))
    (shard,) = job.shards.folder.iterdir()
    kept = files(job)
    for change in ({}, {"shard": 3}):
        with pytest.raises((KeyboardInterrupt, InputError)):
            run(replace(job, **change), killed_after(0, model))
        assert files(job) == kept
    shard.unlink()  # so that it is computed again
    with pytest.raises(KeyboardInterrupt):
        run(job, killed_after(0, model))
    assert sorted(path.name for path in job.folder.iterdir()) == ["job.json", "rows", "run.lock"]


def test_a_finished_job_loads_no_model(job: Job, model: Model) -> None:
    rows_of(job, model)

    def none() -> Any:
        raise AssertionError("nothing is left to do")

    assert run(job, none).done == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": Task("count", ("bus",))}, 'task is .*"detect".*, now .*"count"'),
        ({"model": {"model_name": "other"}}, "model is .*null.*, now .*other"),
        ({"shard": 3}, "shard is 2, now 3"),
    ],
)
def test_a_folder_with_another_job_is_refused(job: Job, model: Model, change: dict[str, Any], message: str) -> None:
    rows_of(job, model)
    with pytest.raises(InputError, match=message):
        run(replace(job, **change), lambda: here(model))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": "1" * 16}, r"was begun with fake \(00000000000\), now it is fake \(11111111111\)\. Choose"),
        ({"name": "other"}, r"was begun with fake \(0+\), now it is other \(0+\)"),
        ({"elsewhere": True}, r"was begun with fake \(0+\), now it is fake \(of a server\)"),
    ],
)
def test_a_job_of_one_model_does_not_go_on_with_another(
    job: Job, model: Model, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(job, killed_after(1, model))
    before = files(job)
    other = Model(FakePredictor(OBJECTS))
    for name, value in change.items():
        setattr(other.predictor, name, value)
    with pytest.raises(InputError, match=message):
        run(job, lambda: here(other))
    assert files(job) == before
    assert run(job, lambda: here(model)).done == 5
    assert run(job, lambda: here(other)).done == 5  # nothing is computed


def test_a_job_that_was_begun_before_models_were_written_down_goes_on(job: Job, model: Model) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(job, killed_after(1, model))
    made = json.loads((job.folder / "job.json").read_text())
    assert made.pop("made_by") == {"name": "fake", "weights": "0" * 16}
    (job.folder / "job.json").write_text(json.dumps(made))
    assert run(job, lambda: here(model)).done == 5


def test_other_pictures_are_another_job(job: Job, model: Model) -> None:
    rows_of(job, model)
    others = Listing(tuple(replace(one, picture=f"x{one.picture}") for one in job.listing.items))
    with pytest.raises(InputError, match="its pictures are others"):
        run(replace(job, listing=others), lambda: here(model))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_full_disk_ends_a_job_whose_shards_stay_whole(job: Job, model: Model) -> None:
    resource = importlib.import_module("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    rows_of(replace(job, listing=Listing(job.listing.items[:2])), model)
    (job.folder / "job.json").unlink()
    (job.folder / "job.json").write_text(json.dumps(job.about()))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(
            DataError, match=r"part-000001\.parquet cannot be written: .*\. What is finished stays: the"
        ):
            run(job, lambda: here(model))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in job.shards.folder.iterdir()] == ["part-000000.parquet"]
    assert len(rows_of(job, model)) == 5


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(
    ("room", "message"),
    [(0, r"Cannot lock .*out: run\.lock: File too large\."), (200, r"job\.json cannot be written: File too large\.")],
)
def test_a_disk_that_is_full_when_a_job_begins_is_told_with_the_file(
    job: Job, model: Model, room: int, message: str
) -> None:
    resource = importlib.import_module("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(DataError, match=message):
            run(job, lambda: here(model))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in job.folder.rglob("*") if path.is_file()] == (["run.lock"] if room == 0 else [])
    assert job.folder.exists() == (room == 0)
    assert len(rows_of(job, model)) == 5


def test_two_jobs_do_not_write_into_one_folder(job: Job, model: Model) -> None:
    job.folder.mkdir()
    with locked(job.folder), pytest.raises(DataError, match=r"is in use: process .* into it since"):
        run(job, lambda: here(model))


def test_progress_says_rate_and_time_left() -> None:
    from fo1agent.cli.annotate import told

    assert (
        told(Progress(512, 20_000, 3, 21.4, 910.0)).strip() == "512 of 20,000 pictures, 3 failed · 21.4/s · 15 min left"
    )
    assert told(Progress(5, 5, 0, 2.0, 0.0)).strip() == "5 of 5 pictures · 2.0/s"


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        ("detect", (), "detect takes phrases, got 0"),
        ("count", ("a", "b"), "count takes one phrase, got 2"),
        ("read", ("a",), "read takes no words, got 1"),
        ("ask", ("a", "b"), "ask takes one question, got 2"),
        ("detect", (" ",), "a phrase is empty"),
        ("guess", (), "There is no task 'guess'"),
    ],
)
def test_a_task_without_its_words_is_refused(kind: Any, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Task(kind, words)


def test_what_a_model_cannot_judge_is_known_before(model: Model) -> None:
    name, words = model.predictor.name, ("bus", "zebrafish", "dead bus", "axolotl")
    assert foreseen(model, Task("detect", words)) == [
        f"{name} does not know “zebrafish” and “axolotl”.",
        f"{name} cannot judge “dead” of “dead bus”.",
    ]
    assert foreseen(model, Task("detect", ("red bus", "person", "r3"))) == []
    many = foreseen(model, Task("detect", tuple(f"axolotl {k}" for k in range(30))))
    assert many[0].endswith("“axolotl 9” and 20 more.")


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("How many buses are there?", []),
        ("How many zebrafish are left of the bus?", ["{} does not know “zebrafish”."]),
        ("How many dead dogs are there?", ["{} cannot judge “dead” of “dead dog”."]),
        ("What is in the picture?", []),
        ("Where is r3?", []),
        ("Is R1 to the left of the zebrafish?", ["{} does not know “zebrafish”."]),
        ("Outline the bus.", [NO_SEGMENTER]),
        ("flibber the grobble why", ["I can't parse that question: “flibber the grobble why”"]),
    ],
)
def test_what_stands_in_the_way_of_a_question_is_known_before(model: Model, question: str, told: list[str]) -> None:
    assert foreseen(model, Task("ask", (question,))) == [line.format(model.predictor.name) for line in told]
    assert foreseen(model, Task("ask")) == []


def test_an_engine_that_is_gone_ends_a_job_which_goes_on_when_it_is_back(photos: Path, tmp_path: Path) -> None:
    def proposer(image: Any) -> Regions:
        return Regions(np.array([[1.0, 1, 20, 20]]), np.ones(1), (None,), ("r0",), "test")

    class Nothing:
        name, names = "nothing", ("axolotl",)

        def find(self, image: Any, phrases: Sequence[str]) -> list[Regions]:
            return [Regions(np.empty((0, 4)), np.empty(0), (), (), self.name) for _ in phrases]

    asked: dict[str, None] = {}  # the pictures, each as it is sent

    def answer(path: str, body: Any) -> Any:
        if path != "/v1/chat/completions":
            return server.vllm(path, body)
        asked[body["messages"][0]["content"][0]["image_url"]["url"]] = None
        return (400, {"message": "too long"}) if len(asked) == 1 else server.vllm(path, body)

    job = Job(tmp_path / "out", listing(str(photos)), Task("count", ("bus",)), {"model_name": None}, 1)
    with served() as server:
        model, server.answer = load(engine=server.url, proposer=proposer), answer
        with pytest.raises(EngineError, match="does not answer"):
            run(job, lambda: here(model), lambda progress: server.stop() if progress.done == 2 else None)
    assert (job.done(), len(asked)) == (3, 2)  # the broken picture asks nothing
    with served() as moved:  # to another port
        run(job, lambda: here(load(engine=moved.url, proposer=proposer, finder=Nothing(), tiles="auto")))
    rows = list(job.shards.rows())
    assert [row["value"] for row in rows] == [None, 1, None, 1, 1]
    assert "refuses the request: too long" in rows[0]["error"]
    assert "broken.png" in rows[2]["error"]


def test_so_it_is_for_questions_of_pictures_and_those_that_have_none(model: Model) -> None:
    own = (
        "How many zebrafish are there?",
        None,
        "Outline the dead bus.",
        "flibber the grobble why",
        "wibble the wobble why",
        "",
    )
    items = [Item(index, "a.png", "a.png", question=one) for index, one in enumerate(own * 2)]
    questions = asked(Task("ask"), items)
    assert questions == [own[0], "", *own[2:5]]
    assert foreseen(model, Task("ask"), questions) == [
        "Some pictures have no question.",
        "I can't parse that question: “flibber the grobble why” and “wibble the wobble why”",
        NO_SEGMENTER,
        f"{model.predictor.name} does not know “zebrafish”.",
        f"{model.predictor.name} cannot judge “dead” of “dead bus”.",
    ]
    # One for all is that of the pictures that have none.
    assert asked(Task("ask", ("Is there a bus?",)), items)[:2] == [own[0], "Is there a bus?"]
    assert asked(Task("count", ("bus",)), items) == []
    assert len(asked(Task("ask"), (Item(k, "a.png", "a.png", question=f"{k}?") for k in range(20_000)))) == 10_000
