"""Colour words: of several things of one kind, is the one in the named colour found?

Read are examples as `fo1agent data synth` writes them. A phrase counts when it is a colour and a name ("red cup"), the
example has that name as a phrase of its own, and the name has more boxes than the coloured phrase: knowing the name is
then not enough. Asked is twice: with the true boxes given, which of the things of that name the model ranks first; and
with the model's own boxes, whether its best region is one that is meant (IoU .5). Beside both stand what no model is
needed for: chance, the name without the colour, and the colours of the pixels without the name.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fo1agent.errors import DataError, FO1AgentError, of_one
from fo1agent.evaluate.files import read_json, read_lines
from fo1agent.evaluate.progress import track
from fo1agent.pictures.color import box_color_shares
from fo1agent.regions.boxes import iou
from fo1agent.regions.regions import Regions
from fo1agent.words.colors import basic_color

if TYPE_CHECKING:
    from PIL import Image

FOUND_IOU = 0.5
_FIGURES = ("ranked", "chance", "pixels", "found", "blind")


class GroundingModel(Protocol):
    """What is needed of a model; `fo1agent.Model` is one. Of the scenes it opens, `ground_many` and `image` are."""

    def open(self, source: Any, boxes: Any = None) -> Any: ...


@dataclass(frozen=True)
class ColorPhrase:
    """A phrase that only its colour decides.

    Attributes:
        text: "red cup".
        name: "cup".
        label: category of what is meant.
        color: "red".
        meant: positions of the boxes that it names.
        candidates: positions of the boxes that `name` names, those included.
    """

    text: str
    name: str
    label: str
    color: str
    meant: tuple[int, ...]
    candidates: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ColorPicture:
    """A picture with its boxes [N, 4] xyxy pixels and the phrases to ask."""

    file_name: str
    boxes: np.ndarray
    phrases: tuple[ColorPhrase, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of one phrase.

    Attributes:
        phrase: what was asked.
        held_out: whether its (category, colour) is one that training never showed.
        known: whether the model knows the name; an unknown one counts as wrong.
        ranked: of the true boxes of that name, one that is meant came first.
        found: the best of the model's own regions is one that is meant.
        blind: the best of its own regions for the name without the colour happens to be.
        pixels: of the true boxes of that name, the one whose pixels show most of the colour is.
    """

    phrase: ColorPhrase
    held_out: bool
    known: bool
    ranked: bool
    found: bool
    blind: bool
    pixels: bool

    @property
    def chance(self) -> float:
        """The probability that a box picked blindly among those of that name is meant."""
        return len(self.phrase.meant) / len(self.phrase.candidates)


@dataclass(frozen=True)
class ColorReport:
    """All outcomes, in the file's order; pictures that failed, with their reasons, have none."""

    outcomes: tuple[Outcome, ...]
    failures: tuple[tuple[str, str], ...] = ()
    seconds: float = field(default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """One object for `--json`: percentages for all phrases, pairs seen and held out, names the model knows, and
        each colour; null where there are no such phrases."""
        groups = {
            "all": list(self.outcomes),
            "seen": [o for o in self.outcomes if not o.held_out],
            "held_out": [o for o in self.outcomes if o.held_out],
            "known": [o for o in self.outcomes if o.known],
            "known_held_out": [o for o in self.outcomes if o.known and o.held_out],
        }
        colors = sorted({o.phrase.color for o in self.outcomes})
        by_color = {color: [o.ranked for o in self.outcomes if o.phrase.color == color] for color in colors}
        return {
            **{name: _figures(outcomes) for name, outcomes in groups.items()},
            "ranked_by_color": {color: _percent(right) for color, right in by_color.items()},
            "failures": len(self.failures),
            "seconds": round(self.seconds, 1),
        }


def evaluate(
    model: GroundingModel, file: Path, images: Path, held_out: Collection[tuple[str, str]], *, limit: int | None = None
) -> ColorReport:
    """Ask every phrase that only its colour decides.

    Args:
        model: opens pictures, with given boxes or with its own; see `GroundingModel`.
        file: examples, one JSON object a line.
        images: folder that their `file_name` starts from.
        held_out: (category, colour) pairs to count apart; see `read_held_out`.
        limit: only the first so many pictures; None for all.

    Raises:
        DataError: a line is no example, or there is no phrase to ask.
    """
    pictures = read_pictures(file)[:limit]
    if not pictures:
        raise DataError(f"{file}: no phrase such as “red cup” whose name has boxes of other colours too.")
    start = time.perf_counter()
    outcomes: list[Outcome] = []
    failures: list[tuple[str, str]] = []
    pairs = frozenset(held_out)
    for picture in track(pictures, len(pictures), "asking for colours"):
        try:
            outcomes += _ask(model, images / picture.file_name, picture, pairs)
        except FO1AgentError as exc:
            failures.append((picture.file_name, str(of_one(exc))))
    return ColorReport(tuple(outcomes), tuple(failures), time.perf_counter() - start)


def read_pictures(file: Path) -> list[ColorPicture]:
    """The pictures of an examples file that have phrases to ask.

    Raises:
        DataError: unreadable, or a line is no example; the message names file, line and reason.
    """
    pictures = []
    for number, line in read_lines(file):
        try:
            record = json.loads(line)
            boxes = np.array(record.get("boxes", []), dtype=np.float64).reshape(-1, 4)
            phrases = tuple(_phrases(record.get("labels", []), record.get("phrases", [])))
            name = record["file_name"]
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as exc:
            raise DataError(f"{file}:{number}: no example with boxes, labels and phrases ({exc!r}).") from exc
        if phrases:
            pictures.append(ColorPicture(name, boxes, phrases))
    return pictures


def read_held_out(file: Path) -> list[tuple[str, str]]:
    """(category, colour) pairs from a file that holds `[["cup", "red"], …]`.

    Raises:
        DataError: it holds something else.
    """
    try:
        return [(str(label), str(color)) for label, color in read_json(file)]
    except (ValueError, TypeError) as exc:
        raise DataError(f'{file}: no list of pairs such as [["cup", "red"], …] ({exc}).') from exc


def _phrases(labels: Sequence[str], phrases: Sequence[tuple[str, list[int]]]) -> Iterator[ColorPhrase]:
    named = {text: tuple(boxes) for text, boxes in phrases}
    for text, meant in named.items():
        color, _, name = text.partition(" ")
        candidates = named.get(name, ())
        if basic_color(color) and meant and set(meant) < set(candidates):
            yield ColorPhrase(text, name, labels[meant[0]], color, meant, candidates)


def _ask(
    model: GroundingModel, path: Path, picture: ColorPicture, held_out: frozenset[tuple[str, str]]
) -> Iterator[Outcome]:
    texts = [phrase.text for phrase in picture.phrases]
    names = [phrase.name for phrase in picture.phrases]
    scene = model.open(path, boxes=picture.boxes)
    given = scene.ground_many(texts, threshold=0.0)
    shares = _shares(scene.image, picture.boxes)
    own = model.open(path).ground_many(list(dict.fromkeys(texts + names)), threshold=0.0)
    for phrase in picture.phrases:
        meant = picture.boxes[list(phrase.meant)]
        yield Outcome(
            phrase,
            held_out=(phrase.label, phrase.color) in held_out,
            known=not given[phrase.text].note,
            ranked=_first_of(given[phrase.text], phrase.candidates) in phrase.meant,
            found=_hits(own[phrase.text], meant),
            blind=_hits(own[phrase.name], meant),
            pixels=max(phrase.candidates, key=lambda k: shares[k][str(basic_color(phrase.color))]) in phrase.meant,
        )


def _shares(image: Image.Image, boxes: np.ndarray) -> list[dict[str, float]]:
    """Colour shares of each box of a picture."""
    corners = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], axis=1).astype(int)
    return [box_color_shares(image, (x1, y1, max(x2, x1 + 1), max(y2, y1 + 1))) for x1, y1, x2, y2 in corners.tolist()]


def _first_of(found: Regions, candidates: Sequence[int]) -> int | None:
    """The first of some given boxes in what was found, best first; None if none of them has any probability."""
    for region in found:
        if region.index in candidates:
            return region.index if region.score > 0 else None
    return None


def _hits(found: Regions, meant: np.ndarray) -> bool:
    return bool(len(found) and found.scores[0] > 0 and iou(found.boxes[:1], meant).max() >= FOUND_IOU)


def _figures(outcomes: Sequence[Outcome]) -> dict[str, float | int | None]:
    by_name: dict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        for name in _FIGURES:
            by_name[name].append(float(getattr(outcome, name)))
    figures = {name: _percent(by_name[name]) for name in _FIGURES}
    return {**figures, "n": len(outcomes)}


def _percent(values: Sequence[float]) -> float | None:
    return round(100 * sum(values) / len(values), 1) if values else None
