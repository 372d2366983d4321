"""A scene whose things are known: grounds phrases with the lexicon over given labels. No model, real behaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from fo1agent.errors import ToolFailed
from fo1agent.regions import geometry
from fo1agent.regions.points import point_at
from fo1agent.regions.regions import Region, Regions
from fo1agent.results import PointRef, PointResult
from fo1agent.words.colors import COLORS, asks_for_color, basic_color
from fo1agent.words.phrases import meanings
from tests.coco_names import COCO_NAMES


@dataclass(frozen=True)
class Thing:
    """One known thing: what it is, where (xyxy), how sure a model would be, its adjectives and the text on it."""

    label: str
    box: tuple[float, float, float, float]
    score: float = 0.9
    adjectives: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Line:
    """A line of text and its box."""

    text: str
    box: tuple[float, float, float, float]
    score: float = 1.0


@dataclass(frozen=True)
class Result:
    """What reading, describing and inspecting give."""

    text: str
    lines: tuple[Line, ...] = ()


@dataclass
class LabelledScene:
    """Things of known labels in a picture of known size; counts the calls it gets."""

    things: Sequence[Thing]
    width: int = 640
    height: int = 480
    vocabulary: tuple[str, ...] = COCO_NAMES
    thresholds: Mapping[str, float] = field(default_factory=lambda: {"ground": 0.3, "count": 0.4, "exists": 0.35})
    broken: tuple[str, ...] = ()
    answers: bool = False
    calls: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def image(self) -> Image.Image:
        return Image.new("RGB", (self.width, self.height))

    @property
    def regions(self) -> Regions:
        return self._regions(range(len(self.things)), None)

    def named(self) -> Regions:
        return self.regions[self.regions.scores >= self.thresholds["ground"]]

    def ground_many(self, phrases: Sequence[str], *, threshold: float | None = None) -> dict[str, Regions]:
        self._call("ground_many")
        return {phrase: self._ground(phrase, threshold) for phrase in phrases}

    def read(self, target: Any = None, *, source: str = "ocr") -> Result:
        self._call("read")
        texts = [(t.text, t.box) for t in self.things if t.text and (target is None or _is_in(t.box, target.box))]
        return Result("\n".join(text for text, _ in texts), tuple(Line(*pair) for pair in texts))

    def describe(self, target: Region | None = None) -> Result:
        self._call("describe")
        return Result(f"A {self._named(target)}." if target else f"A picture of {len(self.things)} things.")

    def inspect(self, target: Region, question: str) -> Result:
        self._call("inspect")
        if asks_for_color(question):
            thing = self._thing(target)
            colors = [word for word in (thing.adjectives if thing else ()) if basic_color(word)]
            return Result(" and ".join(colors) or "of no color that I know")
        if not self.answers:
            raise ToolFailed(f"fo1-nano can name things but not answer {question!r}; a larger model can.")
        return Result(f"{self._named(target)}: {question}")

    def point(self, what: Regions) -> PointResult:
        self._call("point")
        size = self.height, self.width
        points = [PointRef.of(region, *point_at(region, self.named()), size) for region in what]
        return PointResult.of(what, points)

    def _named(self, target: Region) -> str:
        thing = self._thing(target)
        return thing.label if thing else target.label or "picture"

    def _thing(self, target: Region) -> Thing | None:
        """What a region is of; None for the whole picture."""
        number = int(target.name[1:]) if target.name[1:].isdigit() else -1
        return self.things[number] if 0 <= number < len(self.things) else None

    def _call(self, tool: str) -> None:
        self.calls.append(tool)
        if tool in self.broken:
            raise ToolFailed(f"{tool} is broken.")

    @property
    def _known(self) -> tuple[str, ...]:
        """The names that a model of this scene would know: its vocabulary, and what its things are called."""
        return tuple(dict.fromkeys((*self.vocabulary, *(thing.label for thing in self.things))))

    def _ground(self, phrase: str, threshold: float | None) -> Regions:
        """Colours and the adjectives that hold of anything here are known of each thing; others are of none."""
        adjectives = {*COLORS, *(word for thing in self.things for word in thing.adjectives)}
        found: dict[str, Region] = {}
        notes: list[str] = []
        open_words: list[str] = []
        meanings_ = meanings(phrase, self._known, "fo1-nano", adjectives)
        for meant in meanings_:
            fits = [
                i
                for i, thing in enumerate(self.things)
                if thing.label in meant.names
                and {_plain(q) for q in meant.qualities} <= set(map(_plain, thing.adjectives))
            ]
            fits = _sure([(self.things[i].score, i) for i in fits], self.thresholds, threshold)
            found.update({r.id: r for r in self._regions(fits, meant.judged)})
            note = meant.note or ("" if fits else meant.absent)
            notes += [note] if note else []
            open_words += meant.not_judged
        none_score = 1.0 if not found else 0.1
        regions = Regions.from_list(list(found.values()), none_score, " ".join(notes), tuple(dict.fromkeys(open_words)))
        return replace(regions, judged=" and ".join(meant.judged for meant in meanings_ if meant.judged))

    def _regions(self, which: Sequence[int], label: str | None) -> Regions:
        return Regions.from_list(
            [
                Region(f"img_0/r{i}", self.things[i].box, self.things[i].score, label or self.things[i].label, "given")
                for i in which
            ]
        )


def _plain(adjective: str) -> str:
    return basic_color(adjective) or adjective


def _sure(scored: list[tuple[float, int]], thresholds: Mapping[str, float], threshold: float | None) -> list[int]:
    """Positions of what counts as found, best first: see `Scene.thresholds`."""
    ordered = sorted(scored, key=lambda one: -one[0])
    if threshold is not None:
        return [i for score, i in ordered if score >= threshold]
    surely = [i for score, i in ordered if score >= thresholds["count"]]
    return surely or [i for score, i in ordered[:1] if score >= thresholds["exists"]]


def _is_in(box: tuple[float, ...], outer: tuple[float, ...]) -> bool:
    return bool(geometry.relation("overlaps", np.array([box]), np.array(outer))[0])
