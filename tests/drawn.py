"""Drawn pictures with their COCO file: shapes of several kinds on grey, for training tests that need no photograph."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SHAPES = ("circle", "square", "triangle", "cross")
COLORS = ("crimson", "seagreen", "royalblue", "gold", "purple")


def write_coco(
    root: Path, split: str, count: int, seed: int, names: Sequence[str] = ("circle", "square"), side: int = 120
) -> None:
    """Write `images/<split>/<k>.png` and `instances_<split>.json` under `root`.

    Args:
        root: folder, made if missing.
        split: `train`, `val`, …
        count: pictures.
        seed: decides what they show.
        names: shapes to draw (`SHAPES`), and the categories of the file.
        side: width of a picture; every second one is higher than wide.
    """
    rng = np.random.default_rng(seed)
    folder = root / "images" / split
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for k in range(count):
        width, height = [(side, side * 3 // 4), (side * 3 // 4, side)][k % 2]
        noise = rng.integers(90, 130, (height, width, 1), np.uint8).repeat(3, axis=2)
        picture = Image.fromarray(noise)
        pen = ImageDraw.Draw(picture)
        for left in (3, width // 2 + 2):
            size = int(rng.integers(width // 4, width // 2 - 6))
            x, y = left, int(rng.integers(2, height - size - 2))
            category = int(rng.integers(len(names)))
            draw_shape(pen, names[category], (x, y, x + size, y + size), str(rng.choice(COLORS)))
            box = [x, y, size, size]
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": k + 1, "category_id": category + 1, "bbox": box,
                    "area": size * size, "iscrowd": 0,
                }
            )  # fmt: skip
        picture.save(folder / f"{k}.png")
        images.append({"id": k + 1, "file_name": f"{k}.png", "width": width, "height": height})
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(names)]
    tree = {"images": images, "annotations": annotations, "categories": categories}
    (root / f"instances_{split}.json").write_text(json.dumps(tree), encoding="utf-8")


def draw_shape(pen: ImageDraw.ImageDraw, name: str, box: tuple[int, int, int, int], color: str) -> None:
    """One of `SHAPES`, filling the box."""
    x1, y1, x2, y2 = box
    if name == "circle":
        pen.ellipse(box, fill=color)
    elif name == "square":
        pen.rectangle(box, fill=color)
    elif name == "triangle":
        pen.polygon([((x1 + x2) // 2, y1), (x2, y2), (x1, y2)], fill=color)
    else:
        third = (x2 - x1) // 3
        pen.rectangle((x1 + third, y1, x2 - third, y2), fill=color)
        pen.rectangle((x1, y1 + third, x2, y2 - third), fill=color)
