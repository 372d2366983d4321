"""On Ray a job ends in the bytes that it has in one process, also when actors die."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fo1agent.annotate.job import Job, here, run
from fo1agent.annotate.ray import over_ray
from fo1agent.annotate.sources import Listing, listing
from fo1agent.annotate.tasks import Task, asked, foreseen
from fo1agent.errors import InputError, ToolFailed
from fo1agent.scene import Model

ray: Any = pytest.importorskip("ray", reason="the extra ray is not installed")
pytest.importorskip("ray.data", reason="the extra ray is not installed")
pytestmark = pytest.mark.filterwarnings("default")  # Ray's own


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    os.environ["RAY_AUTH_MODE"] = "disabled"
    ray.init(num_cpus=2, object_store_memory=100 * 2**20, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def job(photos: Path, tmp_path: Path) -> Job:
    return Job(tmp_path / "out", listing(str(photos)), Task("detect", ("bus", "people")), {}, 2)


WORDS = ("buses", "zebrafish", "axolotls")


def dying(model: Model, marks: Path | None) -> Model:
    """A model whose process dies at the first picture: the first time if `marks` is a file to leave, else always."""
    predictor: Any = model.predictor
    encode: Callable[..., Any] = predictor.encode

    def deadly(*given: Any) -> Any:
        if marks is None or not marks.exists():
            if marks is not None:
                marks.write_text(str(os.getpid()))
            os._exit(1)
        return encode(*given)

    predictor.encode = deadly
    return model


def written(job: Job) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in job.shards.folder.iterdir()}


def test_two_actors_write_what_one_process_writes_although_one_of_them_dies(
    job: Job, model: Model, tmp_path: Path
) -> None:
    alone = replace(job, folder=tmp_path / "alone")
    run(alone, lambda: here(model))
    told = []
    done = run(job, lambda: over_ray(partial(dying, model, tmp_path / "died"), actors=2), told.append)
    assert (tmp_path / "died").exists()
    assert written(job) == written(alone)
    assert (done.done, done.failed, len(told)) == (5, 1, 3)


def test_actors_with_another_model_add_no_rows(job: Job, model: Model) -> None:
    run(replace(job, listing=Listing(job.listing.items[:2])), lambda: here(model))
    (job.folder / "job.json").write_text(json.dumps({**job.about(), "made_by": {"name": "fake", "weights": "1" * 16}}))
    with pytest.raises(InputError, match=r"was begun with fake \(1+\), now it is fake \(0+\)"):
        run(job, lambda: over_ray(lambda: model, actors=1))
    assert job.done() == 2


def test_what_will_not_be_answered_is_told_as_one_process_tells_it(job: Job, model: Model) -> None:
    items = tuple(
        replace(one, question=f"How many {word} are there?")
        for one, word in zip(job.listing.items, WORDS, strict=False)
    )
    other, told = replace(job, listing=Listing(items), task=Task("ask")), []
    run(other, lambda: over_ray(lambda: model, actors=1, on_foreseen=told.append))
    assert told == [foreseen(model, other.task, asked(other.task, items))]
    assert told[0] == [f"{model.predictor.name} does not know “zebrafish” and “axolotl”."]


def test_a_shard_that_kills_every_actor_ends_the_job_and_what_is_finished_stays(job: Job, model: Model) -> None:
    job.shards.folder.mkdir(parents=True)
    with pytest.raises(ToolFailed, match="Ray gave up"):
        run(job, lambda: over_ray(partial(dying, model, None), actors=1))
    assert run(job, lambda: here(model)).done == 5
