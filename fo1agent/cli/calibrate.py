"""`fo1agent calibrate`: how far detectors beside the model can be trusted, from pictures with labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from fo1agent.cli import console
from fo1agent.cli import loading as cli_loading


@click.command(
    epilog="\b\nExample:\n  fo1agent calibrate --instances val.json --images val/ --finder grounding-dino-tiny"
)
@click.option(
    "--instances",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE.json",
    help="COCO instances.",
)
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="The folder of the pictures.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT.json",
    help="Write here, of every detector; without it, where every later command finds it by itself.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N pictures.")
@cli_loading.model_options
@click.option("--json", "json_output", is_flag=True, help="Print one JSON object instead of text.")
def calibrate(
    instances: Path,
    images: Path,
    out: Path | None,
    limit: int | None,
    model_name: str | None,
    json_output: bool,
    **running: Any,
) -> None:
    """Fit how far the scores of --finder (or --proposer) can be trusted, and how much they weigh beside the model.

    Two thirds of the pictures are fitted to; AP and calibration error before and after are shown on the rest.
    """
    from fo1agent.evaluate.trusting import calibrate as fit
    from fo1agent.evaluate.trusting import parts
    from fo1agent.loading import load
    from fo1agent.proposals import trusted

    console.check_outputs({"--out": out}, [instances])
    model, finders = parts(load(model_name, needs_boxes=True, trust={}, **running))
    if not finders:
        raise click.UsageError("Name a detector: --finder, or a --proposer that has names or reads phrases.")
    told, done = [], []
    for finder in finders:
        fitted = fit(model, finder, instances, images, limit=limit)
        for picture, reason in fitted.failures:
            console.note(f"failed: {picture}: {console.one_line(reason)}")
        if not fitted.trust.scale:
            console.note(
                f"{finder.name}: its scores tell right from wrong no better than chance. It will not be asked."
            )
        done.append(trusted.Calibration(finder, fitted.trust, fitted.to_dict()))
        path = out or trusted.place(finder, model.predictor.fingerprint)
        trusted.write(path, done if out else done[-1:], model.predictor.fingerprint)
        told.append({**fitted.to_dict(), "file": str(path)})
        if not json_output:
            for line in lines(told[-1]):
                console.result(line)
    if json_output:
        console.result_json(told[0] if len(told) == 1 else told)


_WORDS = {"held": "held back", "unasked": "known to neither"}


def lines(fitted: Mapping[str, Any]) -> Iterator[str]:
    """What was fitted, for people: a line for each of `Fitted.to_dict`, without those that say nothing."""
    for name, value in fitted.items():
        if text := _text(value):
            yield f"{_WORDS.get(name, name.replace('_', ' ')):<17} {text}"


def _text(value: Any) -> str:
    """A value in words; "" where there is none."""
    if isinstance(value, Mapping):
        parts = ((name, _text(part)) for name, part in value.items())
        return "  ".join(f"{name.replace('_', ' ')} {part}" for name, part in parts if part)
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
