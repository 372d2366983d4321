"""Phrases for a scene: what its things are called, with and without colours, and near misses that name nothing in it.

A phrase is only written where its answer is beyond doubt: "red apple" needs every apple in the scene to be clearly red
or clearly not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fo1agent.trainers.data.composites.names import split_words
from fo1agent.trainers.data.composites.recolor import COLORLESS
from fo1agent.trainers.data.composites.scenes import Thing
from fo1agent.trainers.data.composites.stock import Stock
from fo1agent.trainers.data.records import Reference
from fo1agent.words.colors import COLORS

# Names for what photographs may show without a box.
_UNBOXED = split_words(
    """
    tree, flower, house, window, door, potted plant, seedling, herb, mushroom, ladder, basket, bucket, mirror, shirt,
    hat, cap, shoe, jeans, glasses, sunglasses
    """
)
_CLEARLY = 0.4  # share of a colour from which a thing of that colour still shows it, however much is hidden
_HARDLY = 0.07  # share up to which nobody would call the thing so
_HARDLY_COLORLESS = 0.22  # shade and glare are gray and white on anything
_HARDLY_NEAR = 0.15  # share of it and its neighbours, on a thing that has no one clear colour
_NEAR = {
    "black": ("gray", "purple", "blue", "brown"),
    "white": ("gray", "pink", "yellow"),
    "gray": ("black", "white", "blue"),
    "red": ("orange", "pink", "brown"),
    "orange": ("red", "yellow", "brown"),
    "brown": ("orange", "red", "yellow", "black"),
    "yellow": ("orange", "green", "brown"),
    "green": ("yellow", "blue"),
    "blue": ("green", "purple"),
    "purple": ("blue", "pink"),
    "pink": ("red", "purple", "orange"),
}
_MOST_COLORED, _MOST_MISSES, _MOST_ABSENT = 8, 4, 2
_MOST_NAMES_ABSENT = 24


def phrases_of(things: Sequence[Thing], stock: Stock, held_out: bool, rng: np.random.Generator) -> list[Reference]:
    """Phrases with the positions of the things they name, in random order.

    Args:
        things: of one scene.
        stock: knows which names may mean the same thing.
        held_out: whether pairs that are held out may be named.
        rng: all that is random.
    """
    labels = list(dict.fromkeys(thing.label for thing in things))
    special = [t.name for t in things if t.name != t.label and _is_certain(t.name, things, stock)]
    names = labels + list(dict.fromkeys(special))
    found = [Reference(name, _named(name, things)) for name in names]

    colored, misses = [], []
    shown = {thing.color for thing in things if thing.color}
    for name in names:
        label = stock.label_of[name]
        if label in COLORS:  # "a red orange" is no phrase to learn from
            continue
        for color in COLORS:
            if not held_out and (label, color) in stock.held_out:
                continue
            boxes = _colored(name, color, things)
            if boxes is None:
                continue
            (colored if boxes else misses).append((name, color, boxes))
    several = [c for c in colored if len(_named(c[0], things)) > 1]
    alone = [c for c in colored if c not in several]
    found += [_phrase(c) for c in _some(several, _MOST_COLORED, rng) + _some(alone, _MOST_COLORED // 2, rng)]
    # A miss is hard when its colour is on something else.
    hard = [m for m in misses if m[1] in shown]
    found += [_phrase(m) for m in _some(hard, _MOST_MISSES - 1, rng) + _some(misses, 1, rng)]
    found += [Reference(name) for name in absent_names(things, stock, rng)[:_MOST_ABSENT]]
    unique = {reference.text: reference for reference in found}
    return [list(unique.values())[k] for k in rng.permutation(len(unique))]


def absent_names(things: Sequence[Thing], stock: Stock, rng: np.random.Generator) -> list[str]:
    """Some labels that the scene surely does not show."""
    tried = rng.permutation(len(stock.labels))[: 2 * _MOST_NAMES_ABSENT]
    names = [stock.labels[k] for k in tried if stock.labels[k] not in _UNBOXED]
    sure = [n for n in names if not any(stock.related(n, t.name) or stock.related(n, t.label) for t in things)]
    return sure[:_MOST_NAMES_ABSENT]


def _is_certain(name: str, things: Sequence[Thing], stock: Stock) -> bool:
    """Whether no thing without that name might be called so: a "bird" beside an eagle may be another eagle."""
    return not any(t.name == t.label and t.label == stock.label_of[name] for t in things)


def _named(name: str, things: Sequence[Thing]) -> tuple[int, ...]:
    return tuple(k for k, thing in enumerate(things) if name in (thing.label, thing.name))


def _colored(name: str, color: str, things: Sequence[Thing]) -> tuple[int, ...] | None:
    """The things of that name and colour; None where somebody may think otherwise of one of them."""
    boxes = []
    for k in _named(name, things):
        thing = things[k]
        if thing.color == color and thing.shares[color] >= (0.5 if color in COLORLESS else _CLEARLY):
            boxes.append(k)
        elif thing.color == color or not _is_surely_not(thing, color):
            return None
    return tuple(boxes)


def _is_surely_not(thing: Thing, color: str) -> bool:
    """Whether nobody would say that a thing is of a colour that is not its own."""
    share = thing.shares[color]
    if thing.color is None:
        return share + sum(thing.shares[near] for near in _NEAR[color]) <= _HARDLY_NEAR
    return share <= (_HARDLY_COLORLESS if color in COLORLESS else _HARDLY) or _is_shade(thing, color)


def _is_shade(thing: Thing, color: str) -> bool:
    """Whether a little of the colour is only the shaded or glaring side of a thing of another, clear colour."""
    sides = {"orange": ("brown",), "yellow": ("orange", "brown"), "red": ("brown", "pink"), "pink": ("red",)}
    return color in sides.get(thing.color or "", ()) and thing.shares[color] < 0.25


def _some(found: list, most: int, rng: np.random.Generator) -> list:
    return [found[k] for k in rng.permutation(len(found))[:most]]


def _phrase(found: tuple[str, str, tuple[int, ...]]) -> Reference:
    name, color, boxes = found
    return Reference(f"{color} {name}", boxes)
