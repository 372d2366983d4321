"""How the MobileNet tower looks at a picture: its views, as arrays, and the geometry of what it sees. No torch here.

A view's sides are 44 mod 64, for which every stage has the parities it was trained with; see `mobilenet.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from fo1agent.errors import CheckpointError

TRAINED_SIDE = 300  # pixels; the size the detector was trained at, and its anchors' unit
PARITY = 64, 44  # sides are 44 mod 64
NUM_CLASSES = 80


class Level(NamedTuple):
    """One feature map: pixels per cell, channels, and the pixel position of cell 0's centre."""

    stride: int
    channels: int
    offset: float


@dataclass(frozen=True)
class View:
    """One way of looking at the picture.

    Attributes:
        side: pixels of its long side, 44 mod 64.
        square: both sides are that long, whatever the picture's shape, as in the detector's training.
        mirrored: left and right are swapped.
    """

    side: int
    square: bool = False
    mirrored: bool = False

    def __post_init__(self) -> None:
        if self.side % PARITY[0] != PARITY[1]:
            raise CheckpointError(f"A view's side is 44 mod 64 (300, 364, 428, …), got {self.side}.")


@dataclass(frozen=True)
class Candidates:
    """What the detector itself sees, one entry per view of the picture.

    Attributes:
        boxes: per view [A, 4], xyxy in fractions of the picture's width and height, clipped to 0..1; never mirrored.
        logits: per view [A, 80], one independent logit (sigmoid) per COCO name.
    """

    boxes: tuple[Any, ...]
    logits: tuple[Any, ...]


# On coco-natural dev the detector alone has AP 23.0 by the better of a 300 and a 492 view, 25.9 by the mean of these.
VIEWS = (View(748), View(300, square=True), View(300, square=True, mirrored=True))

LEVELS = (Level(4, 24, 3.5), Level(8, 32, 3.5), Level(16, 576, 11.5), Level(32, 1280, 11.5))
PIXELS = Level(4, 3, 1.5)  # the view itself, shrunk: the backbone forgets much of what colour things are


def as_views(views: Sequence[View | Mapping[str, Any]]) -> tuple[View, ...]:
    """Views from what `config.json` says of them."""
    made = tuple(view if isinstance(view, View) else View(**view) for view in views)
    if not made or made[0].mirrored:
        raise CheckpointError(f"The tower needs a view, the first of them not mirrored; got {made}.")
    return made


def view_size(width: int, height: int, long_side: int) -> tuple[int, int]:
    """(width, height) nearest to the picture's shape with the long side given and both sides 44 mod 64."""
    step, rest = PARITY
    scale = long_side / max(width, height)
    sides = (max(round((side * scale - rest) / step), 1) * step + rest for side in (width, height))
    w, h = sides
    return w, h


def prepare(image: Image.Image, views: Sequence[View | Mapping[str, Any]] = VIEWS) -> dict[str, np.ndarray]:
    """An RGB picture → its views in their order, named "main", "view1", …; each [1, H, W, 3] float32 in -1..1."""
    prepared = {}
    for k, view in enumerate(as_views(views)):
        size_wh = (view.side, view.side) if view.square else view_size(*image.size, view.side)
        resized = image.resize(size_wh, Image.Resampling.BILINEAR)
        if view.mirrored:
            resized = resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        prepared[f"view{k}" if k else "main"] = np.array(resized, dtype=np.float32)[None] / np.float32(127.5) - 1
    return prepared


def anchor_boxes(grids: Sequence[tuple[int, int]], size_hw: tuple[int, int]) -> np.ndarray:
    """Anchors of six levels as (cx, cy, w, h) in fractions of the view, [A, 4] float32.

    Their size in pixels never changes (a share of 300), their centres lie in the middle of each level's cells.
    """
    height, width = size_hw
    scales = [0.2 + 0.15 * k for k in range(6)] + [1.0]
    rows = []
    for k, (gh, gw) in enumerate(grids):
        if k == 0:
            shapes = [(0.1, 1.0), (scales[0], 2.0), (scales[0], 0.5)]
        else:
            shapes = [(scales[k], ratio) for ratio in (1.0, 2.0, 0.5, 3.0, 1 / 3)]
            shapes.append((math.sqrt(scales[k] * scales[k + 1]), 1.0))
        wh = np.array(
            [(s * math.sqrt(r) * TRAINED_SIDE / width, s / math.sqrt(r) * TRAINED_SIDE / height) for s, r in shapes]
        )
        cy, cx = np.meshgrid((np.arange(gh) + 0.5) / gh, (np.arange(gw) + 0.5) / gw, indexing="ij")
        centres = np.stack([cx, cy], axis=-1).reshape(-1, 1, 2)
        cells = np.concatenate(
            [np.broadcast_to(centres, (gh * gw, len(shapes), 2)), np.broadcast_to(wh, (gh * gw, len(shapes), 2))],
            axis=-1,
        )
        rows.append(cells.reshape(-1, 4))
    return np.concatenate(rows).astype(np.float32)
