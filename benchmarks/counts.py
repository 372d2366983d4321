"""How often counts are exactly right, by how much the things overlap; and whether tiles count a thing twice.

    python benchmarks/counts.py --instances instances_dev.json --images images/dev [--limit N] [--json]
                                [--model FOLDER] [--composites 200]

A count is asked of every class that a picture shows, but for those with a crowd, of which nobody knows how many there
are. `±` is one standard error of a share of that many counts. With `--composites`, things that are alone of their kind
in their picture are cut out and laid on grey, so that borders of tiles cut each of them, and once more so that none
does; a thing in which two regions are counted is counted twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring import parser_of
from PIL import Image

import fo1agent
from fo1agent.evaluate.coco import read_instances
from fo1agent.evaluate.progress import track
from fo1agent.model.tiled import tiled
from fo1agent.pictures.image import load_image
from fo1agent.regions.boxes import areas, iou, xywh_to_xyxy
from fo1agent.regions.tiles import tiles_of
from fo1agent.scene import Model

OVERLAPS = ("none", "0 to .1", ".1 to .3", ".3 to .5", "over .5")
"""Of the two true boxes of a class in a picture that overlap the most: their IoU."""
SIZE_WH, TILES, SIDES, LEAST_SHARE = (1200, 900), 2, (110, 190), 0.08


@dataclass(frozen=True)
class Class:
    """What a picture shows of one class: its name, the true boxes, and whether one of them is a crowd."""

    name: str
    boxes: np.ndarray
    crowd: bool

    @property
    def overlap(self) -> int:
        """Which of `OVERLAPS`."""
        most = float(np.triu(iou(self.boxes, self.boxes), k=1).max())
        return 0 if most == 0 else 1 + int(np.searchsorted([0.1, 0.3, 0.5], most))


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--instances", type=Path, required=True, help="COCO instances")
    parser.add_argument("--images", type=Path, required=True, help="the folder of their pictures")
    parser.add_argument("--limit", type=int, help="only the first so many pictures")
    parser.add_argument("--model", help="a folder with weights; without it, fo1-nano")
    parser.add_argument("--composites", type=int, default=0, help="so many composites, in place of the table")
    options = parser.parse_args()
    model, shown = fo1agent.load(options.model), classes(read_instances(options.instances))
    pictures = [(options.images / name, found) for name, found in list(shown.items())[: options.limit]]
    if options.composites:
        report: Any = composites(model, pictures, options.composites)
        lines = [f"{kind:16} {row}" for kind, row in report.items()]
    else:
        report = table(model, pictures)
        lines = [
            f"{one['overlap']:10} {one['exact']:5.1f} ± {one['error']:.1f} % exact of {one['counts']:5}, "
            f"{one['off']:.2f} off, {one['more']:+.2f} too many"
            for one in report
        ]
    print(json.dumps(report, indent=2) if options.json else "\n".join(lines))


def classes(truth: Mapping[str, Any]) -> dict[str, list[Class]]:
    """Picture → what it shows."""
    names = {one["id"]: one["name"] for one in truth["categories"]}
    by_picture: dict[int, dict[int, list[Any]]] = {one["id"]: {} for one in truth["images"]}
    for one in truth["annotations"]:
        by_picture[one["image_id"]].setdefault(one["category_id"], []).append(one)
    return {
        picture["file_name"]: [
            Class(names[kind], xywh_to_xyxy(np.array([one["bbox"] for one in own])), any(one["iscrowd"] for one in own))
            for kind, own in by_picture[picture["id"]].items()
        ]
        for picture in truth["images"]
    }


def table(model: Model, pictures: Sequence[tuple[Path, list[Class]]]) -> list[dict[str, Any]]:
    """For each of `OVERLAPS`, and for all: how many counts are exact, and how far they are off."""
    rows = []
    for path, shown in track(pictures, len(pictures), "counting"):
        scene = model.open(path)
        rows += [(one.overlap, scene.count(one.name).value - len(one.boxes)) for one in shown if not one.crowd]
    overlap, off = np.array(rows, dtype=int).reshape(-1, 2).T
    groups = [(name, off[overlap == k]) for k, name in enumerate(OVERLAPS)] + [("all", off)]
    return [_row(name, own) for name, own in groups if len(own)]


def _row(name: str, off: np.ndarray) -> dict[str, Any]:
    exact = float((off == 0).mean())
    return {
        "overlap": name,
        "counts": len(off),
        "exact": round(100 * exact, 1),
        "error": round(100 * (exact * (1 - exact) / len(off)) ** 0.5, 1),
        "off": round(float(np.abs(off).mean()), 3),
        "more": round(float(off.mean()), 3),
    }


def composites(model: Model, pictures: Sequence[tuple[Path, list[Class]]], count: int) -> dict[str, dict[str, int]]:
    """Things laid on borders of tiles and away from them, and how they are counted by tiles."""
    things = [
        (path, one.name, one.boxes[0])
        for path, shown in pictures
        for one in shown
        if len(one.boxes) == 1 and not one.crowd and areas(one.boxes)[0] >= LEAST_SHARE * _pixels(path)
    ]
    by_tiles, report = Model(tiled(model.predictor, TILES)), {}
    for kind in ("on borders", "away from them"):
        sums = {"composites": count, "things": 0, "counted": 0, "twice": 0}
        for seed in track(range(count), count, kind):
            canvas, laid = _composite(things, np.random.default_rng(seed), kind == "on borders")
            found = by_tiles.open(load_image(canvas)).ground_many({name for name, _ in laid})
            for name, box in laid:
                regions = found[name].boxes
                x, y = (regions[:, :2] + regions[:, 2:]).T / 2
                inside = int(((x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])).sum())
                sums["things"] += 1
                sums["counted"] += inside > 0
                sums["twice"] += inside > 1
        report[kind] = sums
    return report


def _pixels(path: Path) -> int:
    with Image.open(path) as image:
        return image.width * image.height


def _composite(
    things: Sequence[tuple[Path, str, np.ndarray]], rng: np.random.Generator, cut: bool
) -> tuple[Image.Image, list[tuple[str, np.ndarray]]]:
    """About eight things on grey, cut by borders of tiles or not; and what lies where."""
    borders = [
        {tile.box[side] for tile in tiles_of(SIZE_WH, TILES) for side in (axis, axis + 2)} - {0, SIZE_WH[axis]}
        for axis in (0, 1)
    ]
    canvas, laid = Image.new("RGB", SIZE_WH, (124, 124, 124)), []
    for _ in range(200):
        path, name, box = things[rng.integers(len(things))]
        width, height = box[2:] - box[:2]
        size = rng.uniform(*SIDES) / max(width, height) * np.array([width, height])
        corner = np.round(rng.uniform(0, np.array(SIZE_WH) - size))
        place = np.concatenate([corner, np.round(corner + size)])
        across = [any(place[axis] + 8 < at < place[axis + 2] - 8 for at in borders[axis]) for axis in (0, 1)]
        near = [any(place[axis] - 8 < at < place[axis + 2] + 8 for at in borders[axis]) for axis in (0, 1)]
        apart = all((place[:2] > one[2:] + 20).any() or (place[2:] < one[:2] - 20).any() for _, one in laid)
        if min(size) < 30 or not apart or not (any(across) if cut else not any(near)):
            continue
        with Image.open(path) as image:
            part = image.convert("RGB").crop(tuple(np.round(box).astype(int)))
        wide, high = (place[2:] - place[:2]).astype(int).tolist()
        canvas.paste(part.resize((wide, high)), tuple(corner.astype(int)))
        laid.append((name, place))
        if len(laid) == 8:
            break
    return canvas, laid


if __name__ == "__main__":
    main()
