"""What several ask of a model, computed together.

Whoever asks is a generator that yields what it needs of a model (a `Need`), is given it, and goes on. `together` takes
all of them on as far as they come and computes in one pass what they need of one kind, what others build on first, so
that words, which take longest, are written when nobody has more to ask before. So one way of asking serves one and
many. Results are those of asking one after the other.

A model is known by the methods of `fo1agent.scene.Predictor`. One that has `match_many` and `generate_many` as well, as
ours have, is asked by them; any other is asked one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Need:
    """Something of a model, about a picture as the model keeps it.

    Attributes:
        predictor: the model.
        encoding: the picture.
    """

    predictor: Any
    encoding: Any


@dataclass(frozen=True, eq=False)
class Boxes(Need):
    """The picture with other boxes [M, 4]; gives its encoding."""

    boxes: np.ndarray


@dataclass(frozen=True, eq=False)
class Names(Need):
    """What each region is called; gives (names, probabilities [N])."""


@dataclass(frozen=True, eq=False)
class Find(Need):
    """Asks finders for what they have not said of these phrases yet; gives nothing.

    Attributes:
        naming: that regions are to be named by the phrases; only finders with names of their own are asked.
    """

    phrases: Sequence[str]
    naming: bool = False


@dataclass(frozen=True, eq=False)
class Match(Need):
    """Probabilities [P, N] of phrases."""

    phrases: Sequence[str]


@dataclass(frozen=True, eq=False)
class Beyond(Need):
    """Of each phrase the boxes that only finders see, with scores."""

    phrases: Sequence[str]


@dataclass(frozen=True, eq=False)
class Words(Need):
    """The raw reply to a question."""

    text: str


Asking = Generator[Need, Any, T]
"""Whoever asks, and at last returns a `T`."""


def together(askers: Sequence[Asking[T]]) -> list[T]:
    """What each of them returns, in order.

    Raises:
        Whatever one of them raises, the first in order of those that come to it at the same time; the others end there.
    """
    results: dict[int, T] = {}
    needs: dict[int, Need] = {}
    given: dict[int, Any] = dict.fromkeys(range(len(askers)))
    while given:
        for number, value in given.items():
            try:
                needs[number] = askers[number].send(value)
            except StopIteration as end:
                results[number] = end.value
        given = {}
        kind = next((kind for kind in _PASSES if any(type(need) is kind for need in needs.values())), None)
        chosen = {number: needs.pop(number) for number in list(needs) if type(needs[number]) is kind}
        of_model: dict[int, dict[int, Need]] = {}
        for number, need in chosen.items():
            of_model.setdefault(id(need.predictor), {})[number] = need
        for group in of_model.values():
            asked = list(group.values())
            given.update(zip(group, _PASSES[type(asked[0])](asked[0].predictor, asked), strict=True))
    return [results[number] for number in range(len(askers))]


def alone(asker: Asking[T]) -> T:
    """What one returns."""
    return together([asker])[0]


def _boxes(predictor: Any, needs: Sequence[Boxes]) -> list[Any]:
    return [predictor.with_boxes(need.encoding, need.boxes) for need in needs]


def _find(predictor: Any, needs: Sequence[Find]) -> list[None]:
    return [predictor.ask(need.encoding, need.phrases, need.naming) for need in needs]


def _names(predictor: Any, needs: Sequence[Names]) -> list[Any]:
    many = predictor.vocabulary is not None and hasattr(predictor, "match_many")
    if len(needs) > 1 and many and not hasattr(predictor, "beyond"):
        # All that the names need a pass for.
        predictor.match_many([need.encoding for need in needs], [predictor.vocabulary] * len(needs))
    return [predictor.labels(need.encoding) for need in needs]


def _match(predictor: Any, needs: Sequence[Match]) -> Sequence[np.ndarray]:
    if len(needs) == 1 or not hasattr(predictor, "match_many"):
        return [predictor.match(need.encoding, need.phrases) for need in needs]
    return predictor.match_many([need.encoding for need in needs], [need.phrases for need in needs])


def _beyond(predictor: Any, needs: Sequence[Beyond]) -> list[Any]:
    return [predictor.beyond(need.encoding, need.phrases) for need in needs]


def _words(predictor: Any, needs: Sequence[Words]) -> Sequence[str]:
    if len(needs) == 1 or not hasattr(predictor, "generate_many"):
        return [predictor.generate(need.encoding, need.text) for need in needs]
    return predictor.generate_many([need.encoding for need in needs], [need.text for need in needs])


_PASSES: dict[type[Need], Callable[[Any, Any], Sequence[Any]]] = {
    Boxes: _boxes,
    Find: _find,
    Names: _names,
    Match: _match,
    Beyond: _beyond,
    Words: _words,
}
"""Kind of need → what computes several of one model. Those that others build on come first."""
