"""Laws of tiles: things are counted once, wherever the seams lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fo1agent.model import tiled as tiling
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.regions.boxes import coverage
from fo1agent.regions.regions import Regions
from fo1agent.regions.tiles import OVERLAP, Tile, best_tile, fitting, side_of, tiles_of, whole_in
from fo1agent.scene import Model

tiled: Any = tiling.tiled  # what it makes has the methods of the model inside
COMPOSITES = 200
WIDTH, HEIGHT, COUNT = 450, 350, 5


@dataclass
class Seen:
    boxes: np.ndarray
    objectness: np.ndarray
    scores: np.ndarray
    note: str = ""
    source: str = "fo1"
    nbytes: int = 0
    judged: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.boxes)

    def thickened(self) -> Seen:
        return self

    def lightened(self, again: Any) -> Seen:
        return self


class Spotter:
    """Sees whatever is not black, each colour as a thing, half of one as surely as a whole one, but never exactly where
    it is; what is smaller than a share of what it is shown it does not see."""

    name, fingerprint, vocabulary, taught, max_regions = "spotter", "0", ("thing",), frozenset(), 100
    thresholds: ClassVar = {"ground": 0.25, "count": 0.25, "exists": 0.15}
    cache_bytes, proposes = 1000, True

    def __init__(self, least: float = 0.0) -> None:
        self.least = least

    def encode(self, image: LoadedImage, proposals: Regions | None = None) -> Seen:
        pixels = np.asarray(image.pixels).astype(np.int64)
        colors = pixels[..., 0] * 65536 + pixels[..., 1] * 256 + pixels[..., 2]
        rows, columns = np.nonzero(colors)
        order = np.argsort(colors[rows, columns], kind="stable")
        rows, columns = rows[order], columns[order]
        starts = np.flatnonzero(np.diff(colors[rows, columns], prepend=-1))
        least, most = np.minimum.reduceat, np.maximum.reduceat
        corners = np.zeros((0, 4))
        if len(starts):
            sides = least(columns, starts), least(rows, starts), most(columns, starts) + 1, most(rows, starts) + 1
            corners = np.stack(sides, axis=1)
        sides = (corners[:, 2:] - corners[:, :2]).max(axis=1)
        kept = sides >= max(self.least * max(pixels.shape), 2)
        # Where a box is depends a little on what else is in sight, as with every detector.
        rng = np.random.default_rng([*pixels.shape, len(rows)])
        moved = corners + rng.uniform(-0.04, 0.04, corners.shape) * sides[:, None]
        moved = np.clip(moved, 0, [*pixels.shape[1::-1]] * 2)[kept]
        return Seen(moved, np.ones(len(moved)), rng.uniform(0.3, 0.99, len(moved)))

    def match(self, encoding: Seen, phrases: list[str]) -> np.ndarray:
        return np.stack([encoding.scores] * len(phrases))

    def recalled(self, encoding: Seen, phrases: list[str]) -> np.ndarray:
        return self.match(encoding, phrases)

    def labels(self, encoding: Seen) -> tuple[list[str], np.ndarray]:
        return ["thing"] * len(encoding), encoding.scores


def composite(seed: int) -> tuple[LoadedImage, np.ndarray]:
    """Rectangles that touch nothing, many of them on seams; and where they are."""
    rng = np.random.default_rng(seed)
    seams = [(tile.box[rng.integers(0, 2) * 2], tile.box[rng.integers(0, 2) * 2 + 1]) for tile in TILES]
    canvas, boxes = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.zeros((0, 4))
    for number in range(1, int(rng.integers(5, 60))):
        size = np.exp(rng.uniform(np.log(6), np.log(130), 2))
        on_seam = np.array(seams[rng.integers(len(seams))]) + rng.uniform(-0.5, 0.5, 2) * size
        middle = on_seam if rng.random() < 0.7 else rng.uniform(0, [WIDTH, HEIGHT])
        x1, y1, x2, y2 = np.round(np.clip([*(middle - size / 2), *(middle + size / 2)], 0, [WIDTH, HEIGHT] * 2))
        alone = (x2 + 4 < boxes[:, 0]) | (x1 > boxes[:, 2] + 4) | (y2 + 4 < boxes[:, 1]) | (y1 > boxes[:, 3] + 4)
        if min(x2 - x1, y2 - y1) >= 4 and max(x2 - x1, y2 - y1) < 4 * min(x2 - x1, y2 - y1) and alone.all():
            canvas[int(y1) : int(y2), int(x1) : int(x2)] = (number, 255 - number, 9)
            boxes = np.concatenate([boxes, [[x1, y1, x2, y2]]])
    return load_image(canvas), boxes


TILES = tiles_of((WIDTH, HEIGHT), COUNT)


def test_nothing_is_counted_twice_or_missed_in_composites_whose_things_lie_on_seams() -> None:
    model, cut = Model(tiled(Spotter(least=0.02), COUNT)), 0
    for seed in range(COMPOSITES):
        image, boxes = composite(seed)
        found = model.open(image).count("thing")
        assert found.value == len(boxes), seed
        cut += sum(
            int((~whole_in(tile, boxes, (WIDTH, HEIGHT)) & (coverage(boxes, np.array([tile.box])) > 0)[:, 0]).sum())
            for tile in TILES
        )
    assert cut > 20 * COMPOSITES  # a thing is cut by some tile again and again


@given(st.integers(40, 4000), st.integers(40, 4000), st.integers(2, 12))
def test_tiles_cover_a_picture_and_whatever_is_small_lies_whole_in_one(width: int, height: int, count: int) -> None:
    tiles = tiles_of((width, height), count)
    last = [tile for tile in tiles if tile.level == tiles[-1].level]
    side = side_of(max(width, height), count)
    assert sum(tile.box[1] == 0 and tile.box[0] == 0 for tile in last) == 1
    along = sorted({tile.box[::2] if width >= height else tile.box[1::2] for tile in last})
    assert len(along) == count
    assert (along[0][0], along[-1][1]) == (0, max(width, height))
    assert all(first[1] - second[0] >= OVERLAP * side - 2 for first, second in pairwise(along))
    rng = np.random.default_rng(width)
    middle = rng.uniform(0, [width, height], (50, 2))
    small = np.concatenate([middle - 0.09 * side, middle + 0.09 * side], axis=1).clip(0, [width, height] * 2)
    assert np.any([whole_in(tile, small, (width, height)) for tile in last], axis=0).all()


@given(st.integers(100, 20_000), st.integers(100, 2000))
def test_as_many_tiles_fit_as_are_seen_pixel_by_pixel_and_none_where_the_picture_is_hardly_larger(
    long: int, seen: int
) -> None:
    count = fitting(long, seen)
    assert (count == 1) == (long <= 2 * seen)
    if count > 1:
        assert side_of(long, count) <= seen + 1e-6
        assert side_of(long, count - 1) > seen - 1e-6


def test_a_box_is_read_in_the_smallest_tile_that_has_room_for_it_around() -> None:
    tiles = [
        Tile((0, 0, 800, 600), 0),
        Tile((0, 0, 400, 400), 1),
        Tile((300, 0, 700, 400), 1),
        Tile((0, 0, 200, 200), 2),
    ]
    boxes = np.array([[10, 10, 60, 60], [10, 10, 190, 150], [330, 50, 400, 90], [0, 0, 790, 590], [150, 50, 250, 90]])
    assert best_tile(tiles, boxes.astype(float)).tolist() == [3, 1, 2, 0, 1]
