"""Changes of pictures in training that keep every word about them true: mirror, crop, scale, colour.

Each takes a picture with its example and gives both anew; boxes follow their pixels. What the change would make false
is left out (a caption after a crop, a phrase that says a side), and a picture whose words cannot be kept true by that
is not changed: `can_mirror` and `can_move` say which. An example that comes out has neither path nor data, for no file
holds its picture.

Pixels and boxes are moved by the same functions of torchvision. What is random is drawn here, from the generator of the
sample: torchvision's own transforms would draw from torch's, which every thread shares, and no run could be resumed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional
from torchvision.tv_tensors import BoundingBoxes

from fo1agent.errors import InputError
from fo1agent.regions.boxes import areas, intersections
from fo1agent.trainers.data.records import Example, Reference

Window = tuple[int, int, int, int]
"""x1, y1, x2, y2: whole pixels of the picture."""

_SIDE = re.compile(r"\b(left|right)(most|wards?|y|ies|hand(ed)?)?\b|\b(counter|anti)?-?clockwise\b|o['’]?clock\b", re.I)
_COORDINATES = re.compile(r"[\[(<{]\s*\d+(\.\d+)?\s*,\s*\d+(\.\d+)?\s*[,\])>}]")
# Typed for tensors alone, they take pictures too.
_COLORING: Any = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
_WHOLE = 0.95  # share of a word's box that must be left for the word to be readable


@dataclass(frozen=True)
class AugmentRecipe:
    """How often and how much pictures are changed.

    Attributes:
        mirror: probability of mirroring, of those that can be.
        crop: probability of a crop around an object.
        free_crop: probability of a crop that shows none of `free_of`, where there is one.
        free_of: names of which everything is boxed; see `free_crop`.
        keep: share of a box that must be left in a crop for the box to stay.
        scale: the range, from and to, that the size is multiplied by.
        color: strength of changes of brightness, contrast and saturation; 0.4 means from 0.6 to 1.4 times.

    Raises:
        InputError: a probability or share outside 0 to 1, or a range that is none.
    """

    mirror: float = 0.5
    crop: float = 0.0
    free_crop: float = 0.0
    free_of: tuple[str, ...] = ("person",)
    keep: float = 0.4
    scale: tuple[float, float] = (1.0, 1.0)
    color: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mirror", "crop", "free_crop", "keep", "color"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"augment.{name} must be from 0 to 1, got {getattr(self, name)}.")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise InputError(f"augment.scale must be 0 < from <= to, got {self.scale}.")


def augment(
    image: Image.Image, example: Example, recipe: AugmentRecipe, rng: np.random.Generator
) -> tuple[Image.Image, Example]:
    """Change a picture at random, as the recipe says."""
    if can_move(example):
        window = None
        if rng.random() < recipe.free_crop:
            window = free_window(example, recipe.free_of, rng)
        if window is None and rng.random() < recipe.crop:
            window = object_window(example, rng)
        if window is not None:
            # Whoever asks for crops without people says that people are boxed.
            boxed = recipe.free_of if recipe.free_crop else ()
            image, example = crop(image, example, window, recipe.keep, boxed)
        if recipe.scale != (1.0, 1.0):
            image, example = scale(image, example, float(rng.uniform(*recipe.scale)))
    if rng.random() < recipe.mirror and can_mirror(example):
        image, example = mirror(image, example)
    return (jitter_color(image, recipe.color, rng) if recipe.color else image), example


def says_side(sentence: str) -> bool:
    """A text has a word that means another place in the mirrored or cropped picture: left, right, clockwise."""
    return _SIDE.search(sentence) is not None


def can_move(example: Example) -> bool:
    """No turn writes coordinates, which a crop or another size would make wrong."""
    return not any(_COORDINATES.search(turn.question + " " + turn.reply) for turn in example.turns)


def can_mirror(example: Example) -> bool:
    """Nothing said of the picture names a side, and nothing is written in it that is to be read.

    Words are not swapped: `right` in “the right cup” is a side, in “right behind” it is not.
    """
    said = (
        *example.captions,
        *example.labels,
        *(phrase.text for phrase in example.phrases),
        *(turn.question + " " + turn.reply for turn in example.turns),
    )
    return can_move(example) and not any(example.texts) and not any(map(says_side, said))


def mirror(image: Image.Image, example: Example) -> tuple[Image.Image, Example]:
    """Swap left and right.

    Raises:
        InputError: something said of the picture would become false; see `can_mirror`.
    """
    if not can_mirror(example):
        raise InputError(f"{example.name} cannot be mirrored: its words name a side, or are to be read.")
    return _moved(image, example, functional.horizontal_flip)


def crop(
    image: Image.Image, example: Example, window: Window, keep: float = 0.4, exhaustive: Collection[str] = ()
) -> tuple[Image.Image, Example]:
    """Cut a window out.

    Boxes are cut at its border. One of which less than `keep` is left is dropped; of a crowd, whatever is left stays,
    for it says where nobody knows. Phrases lose the dropped boxes, and go when they have lost all or say a side. Turns
    stay when they name regions and all of these are left; captions go. A word that is cut stays as a box without text.

    Args:
        image, example: a picture and what is known of it.
        window: inside the picture.
        keep: share of a box's area.
        exhaustive: names of which everything is boxed: one whose boxes lie all outside becomes absent.

    Raises:
        InputError: no such window, or turns write coordinates.
    """
    x1, y1, x2, y2 = window
    if not (0 <= x1 < x2 <= example.width and 0 <= y1 < y2 <= example.height):
        raise InputError(f"{window} is no window of a picture of {example.width} x {example.height} pixels.")
    _check_movable(example)
    cut = partial(functional.crop, top=y1, left=x1, height=y2 - y1, width=x2 - x1)
    image, cropped = _moved(image, example, cut)
    left = areas(cropped.boxes.astype(np.float64)) / np.maximum(areas(example.boxes.astype(np.float64)), 1e-9)
    kept = np.flatnonzero((left > 0) & (example.crowd | (left >= keep)))
    seen = {*(example.labels[k] for k in np.flatnonzero(left > 0)), *example.absent}
    gone = [name for name in dict.fromkeys(example.labels) if name in exhaustive and name not in seen]
    absent = (*example.absent, *gone)
    texts = tuple(example.texts[k] if left[k] >= _WHOLE else None for k in kept) if example.texts else ()
    cropped = replace(_renumbered(cropped, kept), captions=(), absent=absent, texts=texts)
    return image, without_sides(cropped)


def scale(image: Image.Image, example: Example, factor: float) -> tuple[Image.Image, Example]:
    """Make a picture larger or smaller, its sides at least one pixel. Boxes are within 1e-4 pixels of exact ones.

    Raises:
        InputError: a factor of 0 or below, or turns write coordinates.
    """
    if not factor > 0:
        raise InputError(f"A scale is above 0, got {factor}.")
    _check_movable(example)
    width, height = max(1, round(example.width * factor)), max(1, round(example.height * factor))
    return _moved(image, example, partial(functional.resize, size=[height, width]))


def jitter_color(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Change brightness, contrast and saturation, each by a factor from 1 - strength to 1 + strength.

    Hues stay: a red cup is to stay red.
    """
    for change in _COLORING:
        image = change(image, float(rng.uniform(1 - strength, 1 + strength)))
    return image


def object_window(
    example: Example, rng: np.random.Generator, zoom: tuple[float, float] = (1.5, 4.0), least: int = 64
) -> Window | None:
    """A window around an object at random, some times as large as it, with the object whole in it; None without one.

    Args:
        example: its boxes.
        rng: chooses.
        zoom: the window's sides in sides of the object, from and to.
        least: the window's sides in pixels, where the picture has as many.
    """
    real = np.flatnonzero(~example.crowd)
    if not len(real):
        return None
    box = example.boxes[int(rng.choice(real))].astype(np.float64)
    factor = float(rng.uniform(*zoom))
    spans = []
    for low, high, full in ((box[0], box[2], example.width), (box[1], box[3], example.height)):
        low, high = int(np.floor(low)), int(np.ceil(high))
        side = min(full, max(round((high - low) * factor), high - low, min(least, full)))
        start = int(rng.integers(max(0, high - side), min(low, full - side) + 1))
        spans.append((start, start + side))
    (x1, x2), (y1, y2) = spans
    return x1, y1, x2, y2


def free_window(
    example: Example,
    names: Sequence[str],
    rng: np.random.Generator,
    least: float = 0.15,
    margin: int = 2,
) -> Window | None:
    """A window at random that shows nothing of some names; None if there is none that is worth it.

    Only for exhaustive boxes: who is not boxed is not avoided.

    Args:
        example: its boxes, crowds among them.
        names: what the window must not show.
        rng: chooses, larger windows more often.
        least: share of the picture that the window covers at least; its sides are at least half of what that means.
        margin: pixels that it keeps away from their boxes, for boxes are never exact.
    """
    banned = np.array([label in names for label in example.labels], dtype=bool)
    if not banned.any():
        return None
    walls = example.boxes[banned].astype(np.float64) + np.array([-margin, -margin, margin, margin])
    windows = _gaps(walls, example.width, example.height, rng)
    sides = windows[:, 2:] - windows[:, :2]
    sizes = np.array([example.width, example.height])
    large = (areas(windows) >= least * sizes.prod()) & (sides >= 0.5 * np.sqrt(least) * sizes).all(axis=1)
    windows = windows[large]
    shows = (intersections(windows, example.boxes[~banned].astype(np.float64)) > 0).any(axis=1)
    windows = windows[shows] if shows.any() else windows
    if not len(windows):
        return None
    weights = areas(windows)
    x1, y1, x2, y2 = windows[int(rng.choice(len(windows), p=weights / weights.sum()))]
    return int(x1), int(y1), int(x2), int(y2)


def _moved(image: Image.Image, example: Example, change: Callable[[Any], Any]) -> tuple[Image.Image, Example]:
    """Picture and boxes, both changed by one of torchvision's functions; boxes stay within the new picture."""
    canvas = example.height, example.width
    wrapped: Any = BoundingBoxes
    boxes = change(wrapped(torch.tensor(example.boxes), format="XYXY", canvas_size=canvas))
    image, boxes = change(image), functional.clamp_bounding_boxes(boxes)
    moved = replace(example, width=image.width, height=image.height, boxes=boxes.numpy(), path=None, data=None)
    return image, moved


def _gaps(walls: np.ndarray, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Windows [N, 4] between borders of the picture and of the boxes that meet none of the boxes."""
    edges = []
    for low, high, full in ((walls[:, 0], walls[:, 2], width), (walls[:, 1], walls[:, 3], height)):
        inner = np.unique(np.concatenate([np.floor(low), np.ceil(high)]))
        inner = inner[(inner > 0) & (inner < full)]
        if len(inner) > 14:  # pairs of pairs: this many are enough to find a good window
            inner = np.sort(rng.choice(inner, 14, replace=False))
        edges.append(np.concatenate([[0], inner, [full]]))
    across, down = (np.array(list(combinations(e, 2))) for e in edges)
    pairs = np.concatenate([np.repeat(across, len(down), axis=0), np.tile(down, (len(across), 1))], axis=1)
    windows = pairs[:, [0, 2, 1, 3]]
    return windows[~(intersections(windows, walls) > 0).any(axis=1)]


def _renumbered(example: Example, kept: np.ndarray) -> Example:
    """The example with only some of its boxes, and with everything that names boxes by number changed to that."""
    number = {int(old): new for new, old in enumerate(kept)}
    phrases = []
    for phrase in example.phrases:
        boxes = tuple(number[k] for k in phrase.boxes if k in number)
        if boxes or not phrase.boxes:
            phrases.append(Reference(phrase.text, boxes))
    return replace(
        example,
        boxes=example.boxes[kept],
        labels=tuple(example.labels[k] for k in kept),
        crowd=example.crowd[kept],
        phrases=tuple(phrases),
        texts=tuple(example.texts[k] for k in kept) if example.texts else (),
        turns=tuple(
            turn.renumbered(number) for turn in example.turns if turn.regions and turn.regions <= number.keys()
        ),
    )


def without_sides(example: Example) -> Example:
    """The example without all words that `says_side`."""
    return replace(
        example,
        captions=tuple(sentence for sentence in example.captions if not says_side(sentence)),
        phrases=tuple(phrase for phrase in example.phrases if not says_side(phrase.text)),
        turns=tuple(turn for turn in example.turns if not says_side(turn.question + " " + turn.reply)),
    )


def _check_movable(example: Example) -> None:
    if not can_move(example):
        raise InputError(f"{example.name}: its turns write coordinates, so it must stay as it is.")
