"""What the language model adds to the detector it starts from: detection figures with and without its term.

    .venv/bin/python benchmarks/language.py INSTANCES.json IMAGES [--model FOLDER] [--limit N]

The same boxes, the same suppression; the terms of the match head (`MatchHead.TERMS`) are silenced one after another
until only the detector's evidence is left. Even there it is the language model that says which class a phrase means.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import torch

from fo1agent.evaluate import detection
from fo1agent.model.predictor import load_predictor
from fo1agent.scene import Model

CACHE_BYTES = 8 * 2**30  # some hundred encoded pictures, so that the towers see each only once


@click.command()
@click.argument("instances", type=click.Path(exists=True, path_type=Path))
@click.argument("images", type=click.Path(exists=True, path_type=Path))
@click.option("--model", "name", default=None, help="A folder; default is fo1-nano.")
@click.option("--limit", type=int, default=None, help="Only the first N pictures.")
def main(instances: Path, images: Path, name: str | None, limit: int | None) -> None:
    """Print one JSON object per score."""
    predictor = load_predictor(name)
    predictor.cache.max_bytes = CACHE_BYTES
    model = Model(predictor)
    head = predictor.model.match_head
    for silenced in (None, "language", "name", "fit"):
        if silenced:
            with torch.no_grad():
                head.weights[head.TERMS.index(silenced)] = 0
        for encoding in predictor.cache:
            encoding.matched.clear()
        terms = [term for term, weight in zip(head.TERMS, head.weights.tolist(), strict=True) if weight]
        figures = detection.evaluate(model, instances, images, limit=limit).to_dict()
        click.echo(json.dumps({"terms": terms, **figures}))


if __name__ == "__main__":
    main()
