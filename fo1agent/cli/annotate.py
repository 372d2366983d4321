"""`fo1agent annotate`: one task on very many pictures, into a folder; killed and run again, it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fo1agent.cli import console
from fo1agent.cli import loading as cli_loading
from fo1agent.cli import ocr as cli_ocr
from fo1agent.errors import EngineError

if TYPE_CHECKING:
    from fo1agent.annotate.formats import LeftOut
    from fo1agent.annotate.job import Job, Progress

# Of the options that choose a model, those that change answers by more than rounding.
_CHOOSING = ("model_name", "proposer", "finder", "segmenter", "quantize", "ocr_lang", "ocr_set")
# Of files that name pictures.
_LISTS = (".json", ".jsonl", ".ndjson", ".parquet")
# Where nobody sees it move, a line of progress is printed so often.
_EVERY_S = 30.0


class _Kind(click.Choice):
    """The tasks; of a picture in that place it says where it comes from."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value not in self.choices and Path(value).is_file():
            self.fail(f'{value} is a second file. Put a pattern in quotes, as "photos/*.jpg", or name their folder.')
        return super().convert(value, param, ctx)


class _Folder(click.Path):
    """A folder of this machine."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if "://" in str(value):
            self.fail("shards are written whole or not at all, on a disk. Name a folder, and copy it when all is done.")
        return super().convert(value, param, ctx)


@click.command(
    epilog='\b\nExamples:\n  fo1agent annotate photos/ detect "red car" person --out cars/\n'
    "  fo1agent annotate instances.json detect --images photos/ --threshold 0 --out found/\n"
    '  fo1agent annotate "s3://bucket/*.jpg" ask "How many people are there?" --out answers/'
)
@click.argument("source")
@click.argument("task", type=_Kind(["detect", "count", "read", "describe", "ask"]))
@click.argument("words", nargs=-1)
@click.option("--out", type=_Folder(file_okay=False, path_type=Path), required=True, metavar="DIR", help="Where to.")
@click.option(
    "--images", metavar="DIR", help="The folder of the pictures that a file names; without it, the file's own."
)
@click.option("--column", metavar="NAME", help="The column or field of the pictures, where it is none of the usual.")
@click.option("--question-column", metavar="NAME", help="That of the questions, where it is not called question.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Keep regions with at least this score.")
@click.option("--most", type=click.IntRange(1), default=100, show_default=True, help="Regions kept of a picture.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N pictures.")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Only N pictures, drawn by --seed.")
@click.option("--seed", type=int, default=0, show_default=True, help="Draws another sample.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["coco", "yolo", "label-studio"]),
    help="When all is done, write this beside the shards too; may be given several times.",
)
@click.option("--shard", type=click.IntRange(1), default=256, show_default=True, help="Pictures of a shard.")
@cli_loading.ray_option("Compute")
@click.option("--actors", type=click.IntRange(1), metavar="N", help="With --ray: how many hold the model.")
@cli_loading.model_options
@cli_ocr.ocr_options
@click.option("--json", "json_output", is_flag=True, help="Print one JSON object instead of text.")
@click.pass_context
def annotate(
    ctx: click.Context,
    source: str,
    task: Any,
    words: Sequence[str],
    out: Path,
    images: str | None,
    column: str | None,
    question_column: str | None,
    threshold: float | None,
    most: int,
    limit: int | None,
    sample: int | None,
    seed: int,
    formats: Sequence[str],
    shard: int,
    ray_address: str | None,
    actors: int | None,
    json_output: bool,
    **loading: Any,
) -> None:
    """Do TASK on every picture of SOURCE, and write Parquet shards to --out.

    SOURCE is a folder, a pattern in quotes, .json (COCO), .jsonl or .parquet, here or at an address such as s3://….
    TASK is detect PHRASE…, count PHRASE, read, describe, or ask QUESTION. `detect` without phrases takes the categories
    of COCO JSON, `ask` without a question that of each line. The same command goes on where it was stopped. A picture
    that cannot be read is a row with its error; exit 1 if all are.
    """
    from fo1agent.annotate.formats import check, left_out, write
    from fo1agent.annotate.job import Job, Way, here, run
    from fo1agent.annotate.sources import listing
    from fo1agent.annotate.tasks import Task, asked, foreseen

    if actors is not None and ray_address is None:
        raise click.UsageError("--actors is for --ray. Add --ray, or leave it out.")
    listed = listing(source, images, column, question_column).chosen(limit, sample, seed)
    phrases = tuple(words) or (tuple(listed.categories) if task == "detect" else ())
    masks = bool(loading["segmenter"]) and task != "ask"  # the answers of `ask` show theirs
    job = Job(
        out, listed, Task(task, phrases, threshold, most, masks), {name: loading[name] for name in _CHOOSING}, shard
    )
    check(job, formats)

    def way() -> Way:
        if ray_address is None:
            model = _load(**loading)
            _tell_foreseen(foreseen(model, job.task, asked(job.task, listed.items)))
            return here(model)
        from fo1agent.annotate.ray import over_ray

        gpus = int(loading["device"].startswith("cuda"))
        return over_ray(partial(_load, **loading), ray_address, actors, gpus, _tell_foreseen)

    began = time.perf_counter()
    with _going_on_later(job):
        done = run(job, way, _shown())
    files = []
    if formats and done.failed < done.total:
        files = [str(path) for path in write(job, formats)]
        _tell_left_out(left_out(job))
    told = {
        "out": str(out),
        "pictures": done.total,
        "failed": done.failed,
        "shards": len(job.shards.finished()),
        "files": files,
    }
    if json_output:
        console.result_json({**told, "seconds": round(time.perf_counter() - began, 1)})
    else:
        failed = f", {done.failed:,} failed" if done.failed else ""
        console.result(f"{out}: {_many(done.total, 'picture')} in {_many(told['shards'], 'shard')}{failed}")
        for file in files:
            console.result(f"wrote {file}")
    if done.failed:
        first = next(row for row in job.shards.rows(["picture", "error"]) if row["error"] is not None)
        console.note(console.one_line(f"first failure: {first['picture']}: {first['error']}"))
    if done.failed == done.total:
        console.error(
            f"No picture could be answered.{_sought(job, source, images)} What failed stays so in {out}: remove it, "
            "and run again."
        )
        ctx.exit(1)


@contextmanager
def _going_on_later(job: Job) -> Iterator[None]:
    """Ctrl-C, and an engine that is gone, end with how much is done; Ctrl-C with the usual code."""
    try:
        with console.ctrl_c():
            yield
    except (KeyboardInterrupt, EngineError) as exc:
        done, total = job.done(), _many(len(job.listing.items), "picture")
        if console.interactive():
            console.passed()
        console.note(f"{done:,} of {total} are done and stay; the same command goes on.")
        if isinstance(exc, EngineError):
            raise
        raise SystemExit(130) from None


def _sought(job: Job, source: str, images: str | None) -> str:
    """Where pictures were sought that a file names by their paths, if none of them is there."""
    named = [one for one in job.listing.items if one.row is None and one.place != one.picture]
    absent = (str(row["error"]).startswith("There is no file ") for row in job.shards.rows(["error"]))
    if not source.lower().endswith(_LISTS) or not named or not all(absent):
        return ""
    where = f"in {images}: check --images" if images else "beside that file: name their folder with --images"
    return f" None was found {where}."


def _tell_foreseen(lines: Sequence[str]) -> None:
    for line in lines:
        console.note(f"warning: {console.one_line(line)}")


def _tell_left_out(left: LeftOut) -> None:
    from fo1agent.words.english import listed

    if left.regions:
        told = f"{_many(left.regions, 'region')} of words that were not judged in full"
        console.note(f"left out of these files: {told}; the shards have them")
    if left.categories:
        names = listed([f"“{one}”" for one in left.categories])
        console.note(console.one_line(f"left out of these files: {names}, which could not be judged"))


def _load(ocr_lang: str | None, ocr_set: Sequence[str], model_name: str | None, **running: Any) -> Any:
    from fo1agent.loading import load

    return load(model_name, ocr=cli_ocr.reader(ocr_lang, ocr_set), needs_boxes=True, **running)


def _shown() -> Callable[[Progress], None]:
    """Prints how far a job is: in one line that changes on a terminal, elsewhere in a line now and then."""
    terminal, last = console.interactive(), time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal last
        if terminal:
            console.passing(told(progress))
            console.note(" " if progress.done == progress.total else "")
        elif time.monotonic() - last >= _EVERY_S:
            console.note(told(progress))
            last = time.monotonic()

    return show


def told(progress: Progress) -> str:
    """How far a job is, in a line: "512 of 20,000 pictures, 3 failed · 21.4/s · 15 min left"."""
    failed = f", {progress.failed:,} failed" if progress.failed else ""
    left = f" · {_duration(progress.left_s)} left" if progress.left_s else ""
    return f"{progress.done:,} of {progress.total:,} pictures{failed} · {progress.rate:.1f}/s{left}   "


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
