"""Which parts of an answer the results of tools support; nothing is looked at again.

A number must be one that a result gave, or follow from such numbers; an answer must rest on a region, a number, a text
or an absence that was in a result; and a word that no result judged must not be claimed. It knows results, not
pictures; `claims` checks whether a region is what the answer says.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from fo1agent.regions.regions import RegionRef
from fo1agent.results import regions_in
from fo1agent.tools.outcome import Outcome
from fo1agent.untrusted import UntrustedText
from fo1agent.words import lexicon

_DIGITS = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?!\.?\w)")
_NAMES = re.compile(r"\b(?:[rb]\d[\d_]*|img_[0-9a-f]+(?:-[0-9a-f]+)?)\b")
_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_WORDS = {word: number for number, word in enumerate(_NUMBERS, start=2)}
_MOST_TERMS = 10  # so many numbers are added up in every way
_MOST_REGIONS = 16  # of so many regions sides and gaps are told apart
_NEAR = 0.02  # by this share a measured length may be off


class Results:
    """The results of the tools that were called for one question.

    Attributes:
        not_judged: words that could not be judged, in the order they came up.
        nothing: whether a result says that something is not there.
        own: whether a tool of the user's own returned something; it may judge what ours cannot.
    """

    def __init__(self) -> None:
        self.not_judged: list[str] = []
        self.nothing = False
        self.own = False
        self._open: list[str] = []  # those of not_judged on which a result hangs
        self._numbers: set[float] = set()
        self._bounds: set[float] = set()  # of numbers that are not known
        self._counts: dict[str, float] = {}  # by what was called: numbers that may be added up
        self._scores: set[float] = set()
        self._boxes: list[tuple[float, float, float, float]] = []
        self._texts: list[str] = []
        self._labels: set[str] = set()

    def add(self, outcome: Outcome, called: str = "", ours: bool = True) -> None:
        """A tool has told something.

        Args:
            outcome: its outcome.
            called: tool and arguments, so that a repeated call is not added up.
            ours: whether it comes with fo1agent.
        """
        result = outcome.result
        if not outcome.ok or not isinstance(result, BaseModel):
            return
        self.own |= not ours
        open_words = tuple(getattr(result, "not_judged", ()))
        self.not_judged += [word for word in open_words if word not in self.not_judged]
        regions = regions_in(result)
        if regions is not None:
            hangs = open_words and regions  # that there are no dead cats holds where there is no cat
            self._open += open_words if hangs else ()
            self._add_regions(regions, called, sure=not hangs)
            self.nothing |= not regions and not getattr(result, "note", "")
        for name, field in type(result).model_fields.items():
            value = None if field.exclude else getattr(result, name)
            if isinstance(value, UntrustedText) or (isinstance(value, str) and not ours):
                self._texts.append(value)
                self._numbers |= set(numbers_in(value))
            elif isinstance(value, bool):
                self._texts.append("yes" if value else "no")
            elif isinstance(value, (int, float)):
                (self._bounds if name in ("at_least", "at_most") else self._numbers).add(float(value))

    def gives(self, number: float, given: Iterable[float] = ()) -> bool:
        """Whether a number was in a result, or follows from numbers that were and from those that were `given`."""
        return (
            _is_among(number, self._numbers)
            or _is_among(number, _derived(list(self._counts.values()), given))
            or (number >= 20 and _is_among(number, self._lengths(), _NEAR))
        )

    def bounds(self, number: float) -> bool:
        """Whether a number bounds one that is not known."""
        return _is_among(number, self._bounds)

    def scores(self, number: float) -> bool:
        """Whether a number is the probability of a region, as a share or in percent, in two places."""
        return any(abs(number - one) <= 0.006 or abs(number - 100 * one) <= 0.6 for one in self._scores)

    def says(self, text: str) -> bool:
        """Whether a text was in a result, or a result in the text; signs and case do not count."""
        wanted = _letters(text)
        said = [letters for one in self._texts if (letters := _letters(one))]
        return bool(wanted) and any(wanted in one or (len(one) > 2 and one in wanted) for one in said)

    def names(self, text: str) -> bool:
        """Whether a text speaks of a thing that was found."""
        return any(stands_in(label, text) for label in self._labels)

    def open_words(self, text: str, told: Sequence[str] = ()) -> list[str]:
        """Words that could not be judged and that a text claims anyway, except those that it `told` to be open."""
        left = {_letters(word) for word in told}
        claimed = (word for word in self._open if _letters(word) not in left and stands_in(word, text))
        return list(dict.fromkeys(claimed))

    def _add_regions(self, regions: Sequence[RegionRef], called: str, sure: bool) -> None:
        labels = Counter(one.label for one in regions)
        self._labels.update(label for label in labels if label)
        there = {called: len(regions), **({f"{called} {k}": n for k, n in labels.items()} if len(labels) > 1 else {})}
        if sure:
            self._counts.update(there)
        (self._numbers if sure else self._bounds).update(map(float, there.values()))
        self._scores.update(one.score for one in regions)
        self._boxes += [one.box for one in regions if one.box not in self._boxes][:_MOST_REGIONS]

    def _lengths(self) -> Iterator[float]:
        """Sides, areas, corners and distances of regions, and what they differ by."""
        boxes = self._boxes[:_MOST_REGIONS]
        for x1, y1, x2, y2 in boxes:
            yield from (x1, y1, x2, y2, x2 - x1, y2 - y1, (x2 - x1) * (y2 - y1), (x1 + x2) / 2, (y1 + y2) / 2)
        for a, b in itertools.permutations(boxes, 2):
            yield from (a[k] - b[j] for k in range(4) for j in range(4) if k % 2 == j % 2)
            yield math.dist(((a[0] + a[2]) / 2, (a[1] + a[3]) / 2), ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2))


def numbers_in(text: str) -> list[float]:
    """The numbers that a text tells, in digits or in words from two to twelve; names of regions are none."""
    text = _NAMES.sub(" ", text)
    words = re.findall(r"[^\W\d_]+", text.lower())
    found = [float(one) for one in _DIGITS.findall(text)] + [float(_WORDS[word]) for word in words if word in _WORDS]
    return list(dict.fromkeys(found))


def unfounded(text: str, question: str, results: Results) -> list[float]:
    """The numbers of an answer's text that neither stood in a result, as bounds or otherwise, nor in the question."""
    asked = numbers_in(question)
    known = (lambda one: _is_among(one, asked), results.bounds, results.scores, lambda one: results.gives(one, asked))
    return [one for one in numbers_in(text) if not any(knows(one) for knows in known)]


def rests_on_something(text: str, value: Any, question: str, results: Results) -> bool:
    """Whether any result bears out an answer that cites no region: by a number, a text, a thing that was found and that
    it speaks of, or one that was not."""
    if isinstance(value, bool):
        found = results.names(f"{text}\n{question}") if value else results.nothing
        return found or results.says("yes" if value else "no")
    if isinstance(value, (int, float)):
        return results.gives(value, numbers_in(question))
    if results.nothing or results.names(f"{text}\n{value}") or results.says(text) or results.says(str(value or "")):
        return True
    return value is None and any(results.gives(one) for one in numbers_in(text))


def stands_in(words: str, text: str) -> bool:
    """Whether words stand in a text, of one thing or of several."""
    forms = "|".join(re.escape(form) for form in {words, lexicon.singular(words), lexicon.plural(words)})
    return re.search(rf"(?<!\w)(?:{forms})(?!\w)", text, re.IGNORECASE) is not None


def _derived(counts: Sequence[float], given: Iterable[float]) -> Iterator[float]:
    """What follows from numbers by adding up, taking away, multiplying and dividing."""
    for a, b in itertools.permutations([*counts, *given], 2):
        yield from (a + b, a - b, a * b, *((a / b, 100 * a / b) if b else ()))
    few = counts[:_MOST_TERMS]
    for size in range(3, len(few) + 1):
        yield from map(math.fsum, itertools.combinations(few, size))


def _is_among(number: float, numbers: Iterable[float], share: float = 1e-3) -> bool:
    small = float(number).is_integer() and abs(number) < 20
    return any(math.isclose(number, one, rel_tol=0.0 if small else share, abs_tol=1e-6) for one in numbers)


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()
