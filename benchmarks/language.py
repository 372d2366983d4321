"""What the language model adds to the detector it starts from: detection figures with and without its term.

    .venv/bin/python benchmarks/language.py INSTANCES.json IMAGES [--model FOLDER] [--limit N]

The same boxes, the same suppression, three scores: all terms of the match head; the detector's evidence and the
predicted IoU only (the language model's query is set to zero, though it still says which class a phrase means); and
the evidence alone.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import torch

import fo1agent
from fo1agent.evaluate import detection


@click.command()
@click.argument("instances", type=click.Path(exists=True, path_type=Path))
@click.argument("images", type=click.Path(exists=True, path_type=Path))
@click.option("--model", "name", default=None, help="A folder; default is fo1-nano.")
@click.option("--limit", type=int, default=None, help="Only the first N pictures.")
def main(instances: Path, images: Path, name: str | None, limit: int | None) -> None:
    """Print one JSON object per score."""
    model = fo1agent.load(name)
    head = model.predictor.model.match_head
    silence = {
        "all terms": (),
        "evidence and predicted IoU": (head.query.weight, head.query.bias),
        "evidence alone": (head.fit,),
    }
    for score, parameters in silence.items():
        with torch.no_grad():
            for parameter in parameters:
                parameter.zero_()
        figures = detection.evaluate(model, instances, images, limit=limit).to_dict()
        click.echo(json.dumps({"score": score, **figures}))
        model.predictor.cache.clear()


if __name__ == "__main__":
    main()
