"""What the language model adds to the detector it starts from: AP by a part of the match head's terms, with its noise.

    .venv/bin/python benchmarks/language.py INSTANCES.json IMAGES [--model FOLDER] [--limit N] [--resamples N]

The same boxes, the same suppression; the terms (`MatchHead.TERMS`) are silenced one after another until only the
detector's evidence is left. Even there it is the language model that says which class a phrase means. ± is a standard
error over pictures drawn anew, the same draws for every row.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from fo1agent.evaluate import scores
from fo1agent.loading import load

STEPS = ("language", "name", "fit")  # silenced one more each time; the detector is what is left


@click.command()
@click.argument("instances", type=click.Path(exists=True, path_type=Path))
@click.argument("images", type=click.Path(exists=True, path_type=Path))
@click.option("--model", "name", default=None, help="A folder; default is fo1-nano.")
@click.option("--limit", type=int, default=None, help="Only the first N pictures.")
@click.option("--resamples", default=scores.RESAMPLES, show_default=True)
def main(instances: Path, images: Path, name: str | None, limit: int | None, resamples: int) -> None:
    """Print one JSON object per row; `gain` is what all terms together have over it."""
    silenced = {" ".join(STEPS[:k]): STEPS[:k] for k in range(1, len(STEPS) + 1)}
    report = scores.evaluate(load(name), instances, images, silenced=silenced, resamples=resamples, limit=limit)
    click.echo(json.dumps({"silenced": "nothing", **report.detection.to_dict()}))
    for without, ranking in report.rankings.items():
        if without in silenced:
            click.echo(json.dumps({"silenced": without, **ranking.to_dict()}))


if __name__ == "__main__":
    main()
