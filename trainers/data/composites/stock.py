"""What can be put into a scene: cut-outs by category, the colours each works in, and the pairs kept for dev.

A pair (category, colour) is held out by a hash of its words, so that every machine and every seed keep the same ones.
Colours that things of a category have by nature are never held out: banning yellow bananas would ban bananas.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from fo1agent.errors import DataError
from fo1agent.trainers.data.composites.names import COCO_LABELS, NATURAL_ONLY, UNCOLORED
from fo1agent.trainers.data.composites.recolor import clear_color, recolor, shows
from fo1agent.trainers.data.composites.sprites import Sprite
from fo1agent.words import lexicon
from fo1agent.words.colors import COLORS

Pair = tuple[str, str]
"""(label, colour)."""

_HELD_OUT_IN = 5  # one pair in so many
_JUDGED_AT = 72  # pixels of the long side: whether a colour works is seen on a small copy as well
_COCO_WEIGHT = 10.0  # of a label that photographs have boxes for, against any other


@dataclass(frozen=True, eq=False)
class Item:
    """A cut-out with what is known of its colours.

    Attributes:
        sprite: the cut-out.
        color: the one it has by nature, None where that is not clear.
        colors: those it can be given, its own not among them.
    """

    sprite: Sprite
    color: str | None
    colors: tuple[str, ...]


class Stock:
    """All cut-outs of a run.

    Args:
        items: at least one.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        if not items:
            raise DataError("No cut-outs: every picture was dropped as too small, opaque or without a clear name.")
        self.items = tuple(items)
        self.by_label: dict[str, list[Item]] = {}
        for item in self.items:
            self.by_label.setdefault(item.sprite.label, []).append(item)
        self.labels = tuple(sorted(self.by_label))
        weights = np.array([_COCO_WEIGHT if label in COCO_LABELS else 1.0 for label in self.labels])
        self.weights = weights / weights.sum()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Labels and the more special names, sorted."""
        return tuple(sorted(set(self.labels) | {item.sprite.name for item in self.items}))

    @cached_property
    def label_of(self) -> dict[str, str]:
        """The label of every name."""
        return {item.sprite.name: item.sprite.label for item in self.items} | {label: label for label in self.labels}

    @cached_property
    def painted(self) -> frozenset[Pair]:
        """Pairs that can be painted."""
        return frozenset((item.sprite.label, color) for item in self.items for color in item.colors)

    @cached_property
    def held_out(self) -> frozenset[Pair]:
        """Pairs that training never shows nor names."""
        natural = {(item.sprite.label, item.color) for item in self.items}
        return frozenset(pair for pair in self.painted - natural if _hash(pair) % _HELD_OUT_IN == 0)

    @cached_property
    def colors(self) -> dict[str, tuple[str, ...]]:
        """Colours that each label can be shown in, by nature or painted; labels with fewer than two are left out."""
        pairs = self.painted | {(item.sprite.label, item.color) for item in self.items if item.color}
        found = {label: tuple(c for c in COLORS if (label, c) in pairs) for label in self.labels}
        return {label: colors for label, colors in found.items() if len(colors) > 1}

    def pick(self, label: str, color: str | None, rng: np.random.Generator) -> tuple[Sprite, str | None, bool]:
        """A cut-out of a label in a colour, None for whichever it has: (cut-out, its colour, whether to paint it)."""
        items = self.by_label[label]
        if color is None:
            item = items[int(rng.integers(len(items)))]
            return item.sprite, item.color, False
        able = [item for item in items if color == item.color or color in item.colors]
        item = able[int(rng.integers(len(able)))]
        return item.sprite, color, color != item.color

    def related(self, a: str, b: str) -> bool:
        """Whether one name may be said of the other thing too: "bird" of an eagle, "glove" of a baseball glove."""
        key = (a, b) if a < b else (b, a)
        if key not in self._related:
            one, other = self.label_of.get(a, a), self.label_of.get(b, b)
            words = {lexicon.singular(word) for word in a.split()} & {lexicon.singular(word) for word in b.split()}
            self._related[key] = (
                one == other or bool(words) or lexicon.is_a(a, b) or lexicon.is_a(b, a) or one in _ALIKE.get(other, ())
            )
        return self._related[key]

    @cached_property
    def _related(self) -> dict[tuple[str, str], bool]:
        return {}


def build_stock(sprites: Sequence[Sprite]) -> Stock:
    """Look at every cut-out in every colour, and keep what works."""
    items = []
    for sprite in sprites:
        image = sprite.image(_JUDGED_AT).copy()
        image.thumbnail((_JUDGED_AT, _JUDGED_AT), Image.Resampling.BOX)
        small = np.asarray(image)
        visible = small[..., 3] > 127
        if not visible.any():
            continue
        called = {sprite.label, sprite.name}
        own = None if called & UNCOLORED else clear_color(small[..., :3][visible])
        colors: list[str] = []
        if not called & (NATURAL_ONLY | UNCOLORED):
            for color in COLORS:
                painted = None if color == own else recolor(small, color)
                if painted is not None and shows(painted[..., :3][visible], color):
                    colors.append(color)
        items.append(Item(sprite, own, tuple(colors)))
    return Stock(items)


def _hash(pair: Pair) -> int:
    return int.from_bytes(hashlib.sha256(" ".join(pair).encode()).digest()[:4], "big")


# Labels between which people waver, or of which one may be seen in a picture of the other.
_ALIKE_GROUPS = """
hat cap crown helmet, cup bowl vase teapot jar bottle bucket, couch chair bed bench, handbag backpack suitcase
basket, car truck bus train tractor, bicycle motorcycle tricycle scooter, donut bagel, sandwich bread taco, tv
laptop camera, clock watch stopwatch, flower rose tulip seedling, shirt jacket coat dress kimono, apple tomato peach
apricot, lemon lime mango pear orange, dog wolf fox, cow bison ox goat sheep deer, knife dagger, cake cupcake pie,
key wrench, horse unicorn deer moose, cat lion tiger leopard, frisbee plate, book notebook ledger calendar, kite
flag umbrella parachute, sports ball balloon, spoon fork, mouse keyboard, bear koala
"""


def _read_alike() -> dict[str, set[str]]:
    alike: dict[str, set[str]] = {}
    for group in _ALIKE_GROUPS.replace("sports ball", "sports_ball").split(","):
        words = [word.replace("_", " ") for word in group.split()]
        for word in words:
            alike.setdefault(word, set()).update(words)
    return alike


_ALIKE = _read_alike()
