"""`fo1agent data …`: look at training data, and write it anew. Thin, as the rest of the command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fo1agent.cli import console

if TYPE_CHECKING:
    from fo1agent.trainers.data.check import SourceReport
    from fo1agent.trainers.data.formats.source import Source, SourceRecipe

# The names of trainers.data.formats.FORMATS and of convert.TARGETS; a test compares. Importing them takes a second.
FORMATS = (
    *("examples", "coco", "yolo", "voc", "refcoco", "flickr", "genome"),
    *("scene_text", "conversations", "questions", "captions", "shards", "hub"),
)
# And of boxes.FORMS.
FORMS = (
    *("xyxy", "xywh", "cxcywh", "xyxy-normalized", "xywh-normalized", "cxcywh-normalized"),
    *("xyxy-1000", "xywh-1000", "cxcywh-1000"),
)
TARGETS = ("examples", "coco", "yolo", "conversations", "shards")
_MOST_LABELS = 8
_VAL = "For yolo: share of the pictures to hold out as val; if absent, val is train."

as_json = click.option("--json", "json_output", is_flag=True, help="Print one JSON object instead of text.")
PATH = click.Path(exists=True, path_type=Path)


def _source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how a source is to be read."""
    for option in (
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N records."),
        click.option(
            "--tolerance", type=click.FloatRange(0, 1), default=0.01, show_default=True, help="Share that may be bad."
        ),
        click.option(
            "--boxes", type=click.Choice(FORMS), metavar="FORM", help=f"The form of boxes: {', '.join(FORMS[:4])}, …"
        ),
        click.option("--column", "columns", multiple=True, metavar="FIELD=COLUMN", help="For hub: a field's column."),
        click.option("--split", metavar="NAME", help="train, val, …, if the format has several."),
        click.option("--images", type=PATH, metavar="DIR", help="The folder of the pictures, if it is not found."),
        click.option("--format", "format_name", type=click.Choice(FORMATS), help="The format; without it, guessed."),
    ):
        command = option(command)
    return command


@click.group("data", epilog="\b\nExample:\n  fo1agent data check coco/instances_train.json --pictures")
def data() -> None:
    """Check, look at, convert and make training data."""


@data.command(epilog="\b\nExample:\n  fo1agent data check instances_train.json instances_val.json --pictures")
@click.argument("sources", nargs=-1, required=True, type=PATH, metavar="SOURCE…")
@click.option("--pictures", is_flag=True, help="Decode every picture too.")
@_source_options
@as_json
@click.pass_context
def check(ctx: click.Context, sources: Sequence[Path], pictures: bool, json_output: bool, **reading: Any) -> None:
    """Say what SOURCE holds and which records are bad; exit 1 if too many are, or none is good."""
    from fo1agent.trainers.data.check import check as look

    recipes = [_recipe(path, **reading) for path in sources]
    report = look(recipes, pictures, _progress() if console.interactive() else None)
    if json_output:
        console.result_json(report.to_dict())
    else:
        for source in report.sources:
            _print_source(source)
        for note in report.notes:
            console.result(f"note: {note}")
    if not report.ok:
        ctx.exit(1)


@data.command(epilog="\b\nExample:\n  fo1agent data preview coco/instances_train.json --out sheet.png --count 20")
@click.argument("source", type=PATH)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER|FILE.png", help="What to write.")
@click.option("--count", type=click.IntRange(1, 400), default=12, show_default=True, help="How many pictures.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which pictures are picked.")
@_source_options
def preview(source: Path, out: Path, count: int, seed: int, **reading: Any) -> None:
    """Draw examples of SOURCE: boxes, labels, phrases and texts."""
    from fo1agent.trainers.data.formats import open_source
    from fo1agent.trainers.data.preview import preview as draw

    opened = open_source(_recipe(source, **reading))
    failed = draw(opened, out, count, seed)
    for reason in [*opened.problems.first, *failed]:
        console.note(f"left out: {console.one_line(reason)}")
    _print_warnings(opened)
    console.result(f"wrote {out}")


@data.command(epilog="\b\nExample:\n  fo1agent data convert my_yolo/ --to coco my_coco/ --copy")
@click.argument("source", type=PATH)
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@click.option("--to", "target", type=click.Choice(TARGETS), required=True, help="What to write.")
@click.option("--copy", is_flag=True, help="Put the pictures into OUT too; yolo and shards always hold them.")
@click.option("--val", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="SHARE", help=_VAL)
@_source_options
@as_json
def convert(
    source: Path, out: Path, target: str, copy: bool, val: float | None, json_output: bool, **reading: Any
) -> None:
    """Write SOURCE in another format, to the new folder OUT."""
    from fo1agent.trainers.data.convert import convert as write
    from fo1agent.trainers.data.formats import open_source

    opened = open_source(_recipe(source, **reading))
    report = write(opened, target, out, copy, val)
    for reason in opened.problems.first:
        console.note(f"left out: {console.one_line(reason)}")
    _print_warnings(opened)
    if json_output:
        console.result_json({**vars(report), "warnings": opened.warnings()})
        return
    console.result(f"wrote {report.examples} examples to {out}")
    if report.left_out:
        listed = ", ".join(f"{what} ({count})" for what, count in report.left_out.items())
        console.result(f"{target} has no place for {listed}")
    if report.note:
        console.result(f"note: {report.note}")


def _print_warnings(source: Source) -> None:
    for warning in source.warnings():
        console.note(f"note: {console.one_line(warning)}")


def _recipe(
    path: Path,
    format_name: str | None,
    images: Path | None,
    split: str | None,
    columns: Sequence[str],
    boxes: str | None,
    tolerance: float,
    limit: int | None,
) -> SourceRecipe:
    from fo1agent.trainers.data.formats.source import SourceRecipe, Tolerance

    pairs = [column.partition("=") for column in columns]
    if wrong := next((field + sign for field, sign, column in pairs if not (field and column)), None):
        raise click.UsageError(f"--column {wrong!r} is not FIELD=COLUMN, as in image=picture.")
    return SourceRecipe(
        path,
        format=format_name,
        images=images,
        split=split,
        boxes=boxes,
        columns={field: column for field, _, column in pairs},
        limit=limit,
        tolerance=Tolerance(tolerance) if tolerance else Tolerance(share=0, least=0),
    )


def _progress() -> Callable[[int], None]:
    def show(count: int) -> None:
        if count % 1000 == 0:
            console.passing(f"{count} examples")

    return show


def _print_source(source: SourceReport) -> None:
    console.result(f"{source.name}  ({source.format})")
    passed = f", {source.passed} passed over" if source.passed else ""
    console.result(f"  records   {source.good} good, {source.bad} bad{passed}; {source.pictures} pictures")
    if source.boxes:
        each = source.boxes / max(1, source.good)
        console.result(f"  boxes     {source.boxes}, {each:.1f} a record; {source.crowd} crowds")
        sides = " · ".join(f"{value:g}" for value in source.short_sides.values())
        console.result(f"  sides     shorter side at {' '.join(source.short_sides)}: {sides} px")
    if source.labels:
        names = list(source.labels.items())
        shown = ", ".join(f"{name} {count}" for name, count in names[:_MOST_LABELS])
        rest = f" … {names[-1][0]} {names[-1][1]}" if len(names) > _MOST_LABELS else ""
        console.result(f"  labels    {len(names)}: {shown}{rest}")
    nothing = f" ({source.empty_phrases} of nothing)" if source.empty_phrases else ""
    said = [
        f"{what} {count:g}{more}"
        for what, count, more in (
            ("captions", source.captions, ""),
            ("phrases", source.phrases, nothing),
            ("texts", source.texts, ""),
            ("turns", source.turns, ""),
            ("absent names", source.absent, " a record"),
        )
        if count
    ]
    if said:
        console.result(f"  words     {', '.join(said)}")
    for doubt in source.doubts:
        console.result(f"  DOUBT     {console.one_line(doubt)}")
    for note in source.notes:
        console.result(f"  note      {console.one_line(note)}")
    for remark in source.remarks:
        console.result(f"  note      {console.one_line(str(remark))}")
    for reason in source.reasons[:5]:
        console.result(f"  bad       {console.one_line(reason)}")
    if source.bad > 5:
        console.result(f"  bad       … {source.bad} in all")
    if not source.good:
        console.result("  NOTHING TO LEARN FROM: no record is good")
    elif not source.tolerated:
        console.result("  TOO MANY BAD RECORDS: mend them, or raise --tolerance")


@data.command(
    epilog="\b\nExample:\n  fo1agent data synth composites --sprites tuxpaint --photos train2017/ --count 3000"
)
@click.argument("out", type=click.Path(file_okay=False, path_type=Path), metavar="OUT")
@click.option(
    "--sprites",
    multiple=True,
    required=True,
    metavar="FOLDER|PACKAGE",
    help="Cut-outs: RGBA pictures named by what they show, or tuxpaint, fluent-emoji. Repeatable.",
)
@click.option(
    "--photos",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Photographs for backgrounds; without it, patterns.",
)
@click.option(
    "--instances",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.json",
    help="COCO boxes of the photographs, to cut around.",
)
@click.option("--count", type=click.IntRange(min=0), default=1000, show_default=True, help="Pictures to train on.")
@click.option("--dev", type=click.IntRange(min=0), default=0, help="Pictures to measure on, with pairs held out.")
@click.option("--size", type=click.IntRange(64, 2048), default=384, show_default=True, help="Side, in pixels.")
@click.option("--most", type=click.IntRange(min=1), default=15, show_default=True, help="Things in a picture, at most.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed gives the same pictures."
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("~/.cache/fo1agent/sprites"),
    show_default=True,
    metavar="DIR",
    help="Where packages are kept.",
)
@as_json
def synth(
    out: Path,
    sprites: Sequence[str],
    photos: Path | None,
    instances: Path | None,
    count: int,
    dev: int,
    size: int,
    most: int,
    seed: int,
    cache: Path,
    json_output: bool,
) -> None:
    """Make pictures of cut-outs, with known boxes, names and colours.

    OUT gets train.jsonl, dev.jsonl, images/, held_out.json and LICENCES.txt.
    """
    from fo1agent.trainers.data.composites.backgrounds import read_backgrounds
    from fo1agent.trainers.data.composites.packages import open_source
    from fo1agent.trainers.data.composites.scenes import SceneSettings
    from fo1agent.trainers.data.composites.stock import build_stock
    from fo1agent.trainers.data.composites.synth import synthesize

    if instances and not photos:
        raise click.UsageError("--instances are the boxes of --photos; pass both.")
    settings = SceneSettings(size=size, most=most)
    backgrounds = read_backgrounds(photos, instances)
    sources = [open_source(name, cache.expanduser()) for name in sprites]
    licences = [line for source in sources for line in source.licences]
    licences += [f"{photos}: photographs behind the things, under their own licences"] if photos else []
    for line in licences:
        console.note(line)
    stock = build_stock([sprite for source in sources for sprite in source.sprites])
    report = synthesize(out, stock, backgrounds, settings, {"train": count, "dev": dev}, seed, licences)
    console.figures(report.to_dict(), json_output)
