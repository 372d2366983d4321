"""A scene whose things are known: grounds phrases with the lexicon over given labels. No model, real behaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from fo1agent import geometry
from fo1agent.errors import ToolFailed
from fo1agent.lexicon import resolve
from fo1agent.types import Region, Regions
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
    calls: list[str] = field(default_factory=list)

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
        return {phrase: self._ground(phrase, threshold or 0.0) for phrase in phrases}

    def read(self, target: Any = None, *, source: str = "ocr") -> Result:
        self._call("read")
        texts = [(t.text, t.box) for t in self.things if t.text and (target is None or _is_in(t.box, target.box))]
        return Result("\n".join(text for text, _ in texts), tuple(Line(*pair) for pair in texts))

    def describe(self, target: Region | None = None) -> Result:
        self._call("describe")
        return Result(f"A {self._named(target)}." if target else f"A picture of {len(self.things)} things.")

    def inspect(self, target: Region, question: str) -> Result:
        self._call("inspect")
        return Result(f"{self._named(target)}: {question}")

    def _named(self, target: Region) -> str:
        return self.things[int(target.name[1:])].label

    def _call(self, tool: str) -> None:
        self.calls.append(tool)
        if tool in self.broken:
            raise ToolFailed(f"{tool} is broken.")

    def _ground(self, phrase: str, threshold: float) -> Regions:
        meant = resolve(phrase, self.vocabulary)
        if not meant.names:
            return Regions.empty(none_score=1.0, note=f"fo1-nano does not know “{phrase}”.")
        fits = [
            i
            for i, thing in enumerate(self.things)
            if thing.label in meant.names and thing.score >= threshold and set(meant.modifiers) <= set(thing.adjectives)
        ]
        return self._regions(sorted(fits, key=lambda i: -self.things[i].score), phrase)

    def _regions(self, which: Sequence[int], label: str | None) -> Regions:
        return Regions.from_list(
            [
                Region(f"img_0/r{i}", self.things[i].box, self.things[i].score, label or self.things[i].label, "given")
                for i in which
            ]
        )


def _is_in(box: tuple[float, ...], outer: tuple[float, ...]) -> bool:
    return bool(geometry.relation("overlaps", np.array([box]), np.array(outer))[0])
