"""One task on the pictures of a source, written to a folder: begun, killed, run again, and the same in the end.

A job is cut into shards before it begins. Which pictures are in which shard follows from what the job is, never from
who computes it, so that any number of workers write the same files. `job.json` says what the job is, and which model
made its first rows; a folder with another job is refused, and so are rows of another model. Who computes is a `Way`:
this process, or others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fo1agent.annotate.shards import Shards, written
from fo1agent.annotate.sources import Item, Listing, named
from fo1agent.annotate.tasks import Row, Task, Worker
from fo1agent.errors import DataError, InputError, TrainingError
from fo1agent.evaluate.files import read_json
from fo1agent.scene import Model
from fo1agent.trainers.lock import LOCK, locked
from fo1agent.whole import remove, whole

FILE = "job.json"
_MADE_BY = "made_by"  # its entry of the model that made rows; not there before any did
SHARD = 256
"""Pictures of a shard unless told otherwise: what a kill costs at most."""


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        done: rows that are written or will be with their shard.
        total: rows of the job.
        failed: rows with an error.
        rate: pictures a second, of this run.
        left_s: seconds that the rest takes at this rate; None before the first.
    """

    done: int
    total: int
    failed: int
    rate: float
    left_s: float | None


@dataclass(frozen=True)
class Job:
    """What is to be done, and where it is written.

    Attributes:
        folder: for the shards; made if it is not there.
        listing: the pictures.
        task: what is asked of each.
        model: the options that choose the model, for `job.json`: what they change, changes answers.
        shard: pictures of a shard.

    Raises:
        InputError: it is to answer questions, and there are none.
    """

    folder: Path
    listing: Listing
    task: Task
    model: Mapping[str, Any]
    shard: int = SHARD

    def __post_init__(self) -> None:
        if self.task.kind == "ask" and not self.task.words and not any(one.question for one in self.listing.items):
            raise InputError(_no_question(self.listing.fields))

    @property
    def shards(self) -> Shards:
        """Its shards, in a folder of their own, which Arrow, pandas, DuckDB and Spark read as one table."""
        return Shards(self.folder / "rows", self.listing.text_ids, self.task.masks)

    def items(self, number: int) -> Sequence[Item]:
        """The pictures of a shard."""
        return self.listing.items[number * self.shard : (number + 1) * self.shard]

    def about(self) -> dict[str, Any]:
        """What is in `job.json`."""
        task = asdict(self.task)
        if not self.task.masks:  # of a job that was begun before there were any
            del task["masks"]
        return {
            "version": 1,
            "pictures": len(self.listing.items),
            "digest": self.listing.digest(),
            "task": {**task, "words": list(self.task.words)},
            "model": {name: list(one) if isinstance(one, tuple) else one for name, one in sorted(self.model.items())},
            "shard": self.shard,
        }

    def done(self) -> int:
        """How many rows are written."""
        return sum(len(self.items(number)) for number in self.shards.finished())

    def left(self) -> list[int]:
        """Numbers of the shards that are not there yet."""
        count = -(-len(self.listing.items) // self.shard)
        return sorted(set(range(count)) - set(self.shards.finished()))


def _no_question(fields: Sequence[str]) -> str:
    told = 'There is no question. Name one for all, or give each picture its "question"'
    return f"{told}, or name their field with --question-column; there are {named(fields)}." if fields else f"{told}."


OnRows = Callable[[Sequence[Row]], None]
Way = Callable[[Job, Sequence[int], OnRows], Iterator[tuple[int, list[Row]]]]
"""Computes shards of a job, in any order: yields each one's number and rows, and tells rows as they are done."""


def here(model: Model) -> Way:
    """In this process, one shard after the other."""

    def computed(job: Job, numbers: Sequence[int], on_rows: OnRows) -> Iterator[tuple[int, list[Row]]]:
        made_by(job, maker(model))
        worker = Worker(model, job.task)
        for number in numbers:
            yield number, worker.rows(job.items(number), on_rows)

    return computed


def maker(model: Model) -> dict[str, str]:
    """Which model makes rows, for `job.json`: its name, and a hash of its weights, unless a server has them, which is
    the same at another address."""
    predictor: Any = model.predictor
    weights = {} if getattr(predictor, "elsewhere", False) else {"weights": predictor.fingerprint}
    return {"name": predictor.name, **weights}


def made_by(job: Job, told: Mapping[str, str]) -> None:
    """Write into `job.json` which model makes the rows, or see that it is the one that made those that are there.

    A `Way` of one's own calls it, too, before its first rows.

    Args:
        job: whose folder is claimed.
        told: what `maker` says of the model.

    Raises:
        InputError: it is another one.
    """
    path = job.folder / FILE
    about = read_json(path)
    if _MADE_BY not in about:
        _write(path, {**about, _MADE_BY: told})
    elif (before := about[_MADE_BY]) != told:
        was, now = (f"{one['name']} ({one.get('weights', 'of a server')[:11]})" for one in (before, told))
        raise InputError(f"{job.folder} was begun with {was}, now it is {now}. Choose another folder, or remove it.")


def run(job: Job, way: Callable[[], Way], on_progress: Callable[[Progress], None] | None = None) -> Progress:
    """Do what is left of a job.

    Args:
        job: what is to be done.
        way: gives who computes; not called where nothing is left, so that no model is loaded for nothing.
        on_progress: called as rows are done.

    Returns:
        How far it is: all of it.

    Raises:
        InputError: the folder holds another job, or one of another model, or something else.
        DataError: another process works in it, or a file cannot be written. Shards that are there stay; of a job that
            ends before its first one nothing is left.
    """
    with _made(job), alone(job), _begun(job):
        return _do(job, way, on_progress or (lambda progress: None))


@contextmanager
def _made(job: Job) -> Iterator[None]:
    """Make the folders; where the block fails, those that nothing is in are gone again."""
    rows = job.shards.folder
    made = [one for one in (rows, *rows.parents) if not one.exists()]
    rows.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # one that holds something ends it
            for one in made:
                one.rmdir()
        raise


@contextmanager
def _begun(job: Job) -> Iterator[None]:
    """Claim the folder; where the block fails before there is a shard, give it back."""
    path = job.folder / FILE
    new = not path.exists()
    try:
        _claim(job)
        yield
    except BaseException:
        if new and not job.shards.finished():
            path.unlink(missing_ok=True)
            with suppress(OSError):  # Windows removes nothing that is open
                (job.folder / LOCK).unlink()
        raise


@contextmanager
def alone(job: Job) -> Iterator[None]:
    """Keep every other process out of a job's folder, and remove what a killed one left half written there.

    Raises:
        DataError: another process works in it.
    """
    try:
        with locked(job.folder, "annotates"):
            for path in job.folder.glob(".tmp-*"):
                remove(path)
            yield
    except TrainingError as exc:
        raise DataError(str(exc)) from exc


def _do(job: Job, way: Callable[[], Way], on_progress: Callable[[Progress], None]) -> Progress:
    job.shards.tidy()
    before, failed = job.shards.counts()
    left, done, began = job.left(), 0, time.perf_counter()

    def progress() -> Progress:
        seconds, rest = time.perf_counter() - began, len(job.listing.items) - before - done
        rate = done / seconds if done else 0.0
        return Progress(before + done, len(job.listing.items), failed, rate, rest / rate if rate else None)

    def on_rows(rows: Sequence[Row]) -> None:
        nonlocal done, failed
        done += len(rows)
        failed += sum(row.get("error") is not None for row in rows)
        on_progress(progress())

    if left:
        compute = way()
        began = time.perf_counter()
        for number, rows in compute(job, left, on_rows):
            job.shards.write(number, rows)
    return progress()


def _claim(job: Job) -> None:
    """Write `job.json`, or see that it says the same."""
    path, about = job.folder / FILE, job.about()
    if path.exists():
        there = read_json(path)
        if isinstance(there, dict) and {name: there[name] for name in there if name != _MADE_BY} == about:
            return
        differing = [name for name in about if not isinstance(there, dict) or there.get(name) != about[name]]
        raise InputError(
            f"{job.folder} holds another job: {_told(there, about, differing)}. Choose another folder, or remove it."
        )
    if job.shards.finished():
        raise InputError(f"{job.folder} holds shards but no {FILE}. Choose another folder.")
    _write(path, about)


def _write(path: Path, about: Mapping[str, Any]) -> None:
    with written(path), whole(path) as temporary:
        temporary.write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _told(there: Any, about: Mapping[str, Any], differing: Sequence[str]) -> str:
    name = next((one for one in differing if one != "digest"), "digest")
    if name == "digest" or not isinstance(there, dict):
        return "its pictures are others"
    was, now = (json.dumps(one.get(name), ensure_ascii=False) for one in (there, about))
    return f"{name} is {was}, now {now}"
