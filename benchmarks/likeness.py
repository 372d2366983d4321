"""What is like examples of other pictures, on pictures with labels: how much of it is found, by what it is compared.

    .venv/bin/python benchmarks/likeness.py DATA/coco-natural [--limit N]

DATA/coco-natural holds instances_dev.json and images/dev. With one and three examples, AP at IoU .5 (the mean over
kinds), the calibration error and the exact counts (`fo1agent.evaluate.likeness`) are printed as one JSON object for

- ours: `ground(like=…)`;
- today's rule: names alone, as regions of one picture are compared;
- pooled: the cosine of the features that the region encoder pools, each as far from its mean as it varies;
- colour: histograms of 64 colours, as Bhattacharyya compares them;
- the name: the model is told what the kind is called, and needs no example.

Once for all kinds, and once for forty of the eighty whose names are taken from the model. Its weights have seen all
eighty with their names, so that these forty are easier than kinds which it never saw.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

import fo1agent
from fo1agent.evaluate.likeness import Judge, Pool, Question, by_examples, by_names, figures, questions, read

_COLORS = 4  # steps of each of red, green and blue
_SIDE = 24  # pixels of a region that are looked at for their colour, in a row
_NEAREST = 0.05  # of all regions; those behind change no figure


def histograms(scene: Any, boxes: np.ndarray) -> np.ndarray:
    """Square roots [n, 64] of the shares of colours."""
    found = np.zeros((len(boxes), _COLORS**3), dtype=np.float32)
    for row, box in zip(found, boxes, strict=True):
        part = np.asarray(scene.image.crop(scene._pixels(box)).resize((_SIDE, _SIDE))).reshape(-1, 3)
        place = part.astype(np.int64) * _COLORS // 256 @ [_COLORS**2, _COLORS, 1]
        row += np.sqrt(np.bincount(place, minlength=len(row)) / len(place))
    return found


def pooled(scene: Any, boxes: np.ndarray) -> np.ndarray:
    """What the region encoder pools [n, d]."""
    encoding = scene.encoding
    if len(boxes) and (len(boxes) != len(encoding.boxes) or (boxes != encoding.boxes).any()):
        encoding = scene.model.predictor.with_boxes(encoding, boxes)
    size = scene.model.predictor.model.region_encoder.pooled_size  # what follows is the detector's
    return encoding.region_vectors[: len(boxes), :size].float().numpy()


def by_cosine(regions: np.ndarray, examples: np.ndarray) -> Judge:
    """Scores from 0 to 1 that rank the nearest regions by their mean cosine with the examples."""

    def judge(question: Question) -> np.ndarray:
        cosine = regions @ examples[question.likes].mean(axis=0)
        return np.where(cosine >= np.quantile(cosine, 1 - _NEAREST), 0.5 + 0.5 * cosine, 0.0)

    return judge


def judges(pool: Pool, fitted: Any) -> Mapping[str, Judge]:
    """By what is compared."""
    regions, examples = pool.more["pooled"]
    mean, spread = regions.mean(axis=0), regions.std(axis=0) + 1e-3
    scaled = [(rows - mean) / spread for rows in (regions, examples)]
    unit = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9) for rows in scaled]
    return {
        "ours": by_examples(pool, fitted),
        "today's rule": by_examples(pool, None),
        "pooled": by_cosine(unit[0], unit[1]),
        "colour": by_cosine(*pool.more["colour"]),
        "the name": by_names(pool),
    }


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--limit", type=int, help="Only so many pictures.")
@click.option("--per-kind", type=int, default=3, show_default=True, help="Questions about each kind.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the forty kinds.")
def main(data: Path, limit: int | None, per_kind: int, seed: int) -> None:
    """Print one JSON object."""
    start = time.process_time()
    model = fo1agent.load(engine="torch")
    more = {"pooled": pooled, "colour": histograms}
    whole = read(model, data / "instances_dev.json", data / "images" / "dev", limit=limit, more=more)
    left_out = np.random.default_rng(seed).permutation(len(whole.categories))[len(whole.categories) // 2 :]
    cut = whole.without([whole.categories[kind] for kind in left_out])
    predictor: Any = model.predictor
    told: dict[str, Any] = {"pictures": len(whole.kinds)}
    for what, pool, kinds in (("all", whole, range(len(whole.categories))), ("left out", cut, left_out.tolist())):
        for count in (1, 3):
            asked = [one for one in questions(pool, count, per_kind) if one.kind in kinds]
            for name, judge in judges(pool, predictor.likeness).items():
                if what == "all" or name != "the name":
                    found = figures(pool, asked, judge, predictor.thresholds["ground"]).to_dict()
                    told[f"{what}, {count}, {name}"] = found
                    click.echo(f"{what}, {count}, {name}: {json.dumps(found)}", err=True)
    told["cpu_seconds"] = round(time.process_time() - start)
    click.echo(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
