"""`fo1agent train …` and `fo1agent finetune`: a model from data. Parse, call, print; no torch until one is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import click

from fo1agent.cli import console


@click.group(
    epilog="\b\nExamples:\n"
    "  fo1agent train align model=3b sources='[{path: instances_train.json, images: train/}]'\n"
    "  fo1agent train instruct my_recipe.yaml train.steps=500 lora.rank=8"
)
def train() -> None:
    """Train a model, or a part of one, from a recipe.

    A recipe is a YAML file, or the name of one in the package; KEY=VALUE changes single keys of it, with dots between
    nested ones. A run that was stopped, even by kill -9, continues when the same command is given again.
    """


def _stage(name: str, what: str, example: str) -> Callable[[Callable[[list[str]], None]], click.Command]:
    """A command `fo1agent train <name> [RECIPE] [KEY=VALUE…]`; without RECIPE it is the packaged one of that name."""

    def decorate(run: Callable[[list[str]], None]) -> click.Command:
        @train.command(name, help=what, epilog=f"\b\nExample:\n  {example}")
        @click.argument("arguments", nargs=-1, metavar="[RECIPE] [KEY=VALUE]…")
        @click.option(
            "--print", "show", is_flag=True, help="Print the packaged recipe, to copy and change; no training."
        )
        def command(arguments: Sequence[str], show: bool) -> None:
            if show:
                recipe = files("fo1agent.trainers") / "recipes" / f"{name}.yaml"
                console.result_text(recipe.read_text(encoding="utf-8").removesuffix("\n"))
                return
            given = list(arguments)
            with _going_on_later(name):
                _no_bars()
                run(given if given and "=" not in given[0] else [name, *given])

        return command

    return decorate


@_stage(
    "proposals",
    "Stage 0: the proposal head.",
    "fo1agent train proposals data.root=coco tower.weights=tower.safetensors cache=runs/maps",
)
def _proposals(arguments: list[str]) -> None:
    from fo1agent.trainers.proposals import main

    console.result(str(main(arguments).weights))


@_stage(
    "align",
    "Stage 1: regions, for an unchanged base.",
    "fo1agent train align model=VLM-FO1-3B sources='[{path: instances_train2017.json, images: train2017}]'",
)
def _align(arguments: list[str]) -> None:
    from fo1agent.trainers.alignment import TABLE
    from fo1agent.trainers.tuning import run

    console.result(str(run(TABLE, arguments)))


@_stage(
    "instruct",
    "Stage 2: answers with regions, by LoRA or whole.",
    "fo1agent train instruct model=runs/align/model sources='[{path: refcoco/}, {path: llava.json, weight: 1}]'",
)
def _instruct(arguments: list[str]) -> None:
    from fo1agent.trainers.instruction import TABLE
    from fo1agent.trainers.tuning import run

    console.result(str(run(TABLE, arguments)))


@_stage(
    "nano",
    "fo1-nano from its ingredients, all stages.",
    "fo1agent train nano data.root=coco tower=tower.safetensors work=runs/nano out=runs/nano/model",
)
def _nano(arguments: list[str]) -> None:
    from fo1agent.trainers.nano import main

    main(arguments)


@_stage(
    "likeness",
    "How regions of several pictures are compared.",
    "fo1agent train likeness model=runs/nano/model data.root=coco",
)
def _likeness(arguments: list[str]) -> None:
    from fo1agent.trainers.likeness import main

    console.result(str(main(arguments)))


@click.command(epilog="\b\nExample:\n  fo1agent finetune --coco my_pictures/ --out my_model/ --minutes 20")
@click.option(
    "--coco",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    metavar="DIR|FILE",
    help="Pictures with COCO annotations: a train and a val file, or one file, of which a fifth is held out.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("finetuned"),
    show_default=True,
    metavar="DIR",
    help="The new model's folder.",
)
@click.option("--model", "model_name", metavar="NAME|FOLDER", help="The model to start from; without it, fo1-nano.")
@click.option("--minutes", type=click.FloatRange(min=0.1), default=10, show_default=True, help="Minutes of training.")
@click.option("--steps", type=click.IntRange(min=1), help="Steps of training, 8 pictures each, in place of --minutes.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Train on the first N pictures only.")
@click.option(
    "--check-on",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A COCO file with labels for old names: their AP is measured too, before and after.",
)
@click.option("--overwrite", is_flag=True, help="Replace a model in --out.")
@click.option("--json", "json_output", is_flag=True, help="Print one JSON object instead of text.")
def finetune(
    coco: Path,
    out: Path,
    model_name: str | None,
    minutes: float,
    steps: int | None,
    limit: int | None,
    check_on: Path | None,
    overwrite: bool,
    json_output: bool,
) -> None:
    """Teach a model new names from your own pictures with labels.

    Old names do not change, unless your data labels them too. Prints AP on held-out pictures, before and after, and how
    many of the old answers for old names the model still gives. If interrupted, it continues when the same command is
    given again.
    """
    with _going_on_later("finetune"):
        from fo1agent.trainers.finetune import finetune as run

        _no_bars()
        report = run(coco, out, model_name, minutes, steps, limit, console.note, check_on, overwrite)
    figures = report.to_dict()
    if json_output:
        console.result_json({"model": str(out), **figures})
        return
    _table(
        f"on {report.after.images} held-out pictures",
        [
            *((name, figures["before"][name], figures["after"][name]) for name in ("AP", "AP50", "recall@100")),
            *((f"AP {row.name}", row.before, row.after) for row in report.names),
        ],
    )
    kept, check = report.kept, report.checked
    _table(
        f"things of the {kept.known} names it had, found on {kept.pictures} pictures",
        [(row.name, row.before, row.after) for row in (kept.total, *kept.changed)],
    )
    if check is not None:
        _table(
            f"AP of {len(check.names)} names it had, on {check.pictures} pictures of {Path(check.file).name}",
            [(row.name, row.before, row.after) for row in (check.mean, *check.changed)],
        )
    for line in report.losses():
        console.note(f"warning: {line}")
    console.note(f"the model is in {out}: fo1agent ask PICTURE QUESTION --model {out}")


def _table(what: str, rows: Iterable[tuple[str, float | None, float | None]]) -> None:
    """Rows of a name and two figures, under a line that says of what they are."""
    rows = list(rows)
    width = max(12, *(len(name) for name, _, _ in rows))
    console.result(f"{'':<{width}} {'before':>7} {'after':>7}   {what}")
    for name, before, after in rows:
        console.result(f"{name:<{width}} {_figure(before):>7} {_figure(after):>7}")


def _figure(value: float | None) -> str:
    """A count as it is, a percentage with one place."""
    return "-" if value is None else f"{value}" if isinstance(value, int) else f"{value:.1f}"


@contextmanager
def _going_on_later(what: str) -> Iterator[None]:
    """Ctrl-C ends with what to do and the usual code, as it does within training steps, where a checkpoint is made."""
    try:
        yield
    except KeyboardInterrupt:
        console.note(f"{what}: stopped by SIGINT. Start the same command again to go on.")
        raise SystemExit(130) from None


def _no_bars() -> None:
    """Saving a model takes a second; transformers would draw a bar for it."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
