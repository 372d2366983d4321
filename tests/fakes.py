"""A small predictor that knows a handful of boxes and what they show: numpy only, no weights, nothing random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fo1agent.pictures.image import LoadedImage
from fo1agent.regions.boxes import clip, iou, visible
from fo1agent.regions.regions import Regions


@dataclass
class FakeEncoding:
    boxes: np.ndarray
    objectness: np.ndarray
    note: str = ""
    source: str = "fo1"


@dataclass
class FakePredictor:
    """Knows true objects as (box, name, probability). A region is what the object it overlaps most is.

    `passes` counts what was run: towers, match, generate. `replies` maps a piece of a question to the reply.
    """

    objects: Sequence[tuple[tuple[float, float, float, float], str, float]]
    vocabulary: tuple[str, ...] | None = ("person", "bus", "car", "dog", "truck")
    taught: frozenset[str] = frozenset()
    replies: dict[str, str] = field(default_factory=dict)
    name: str = "fake"
    fingerprint: str = "0" * 16
    max_regions: int = 100
    thresholds: dict[str, float] = field(default_factory=lambda: {"ground": 0.25, "count": 0.25, "exists": 0.15})
    passes: dict[str, int] = field(default_factory=lambda: {"towers": 0, "match": 0, "generate": 0})
    asked: list[str] = field(default_factory=list)

    def encode(self, image: LoadedImage, proposals: Regions | None = None) -> FakeEncoding:
        self.passes["towers"] += 1
        if proposals is not None:
            return self._kept(proposals.boxes, proposals.scores, proposals.source)
        boxes = np.array([box for box, _, _ in self.objects], dtype=np.float64).reshape(-1, 4)
        boxes = clip(boxes, image.size_hw)[visible(boxes, image.size_hw)]
        return self._kept(boxes, np.full(len(boxes), 0.5), "fo1")

    def _kept(self, boxes: np.ndarray, scores: np.ndarray, source: str) -> FakeEncoding:
        note = f"{len(boxes)} boxes given, {self.max_regions} kept" if len(boxes) > self.max_regions else ""
        return FakeEncoding(boxes[: self.max_regions], scores[: self.max_regions], note, source)

    def with_boxes(self, encoding: Any, boxes: np.ndarray) -> FakeEncoding:
        return FakeEncoding(np.asarray(boxes, dtype=np.float64), np.ones(len(boxes)), source="given")

    def match(self, encoding: Any, phrases: Sequence[str]) -> np.ndarray:
        self.passes["match"] += 1
        self.asked += phrases
        return np.array([[self._probability(box, phrase) for box in encoding.boxes] for phrase in phrases])

    def labels(self, encoding: Any) -> tuple[list[str | None], np.ndarray]:
        if self.vocabulary is None:
            return [None] * len(encoding.boxes), encoding.objectness.copy()
        found = [self._shown(box) for box in encoding.boxes]
        return [name for name, _ in found], np.array([p for _, p in found])

    def similar(self, encoding: Any, index: int) -> np.ndarray:
        name, _ = self._shown(encoding.boxes[index])
        same = np.array([self._probability(box, name) for box in encoding.boxes])
        same[index] = 1.0
        return same

    def generate(self, about: Any, text: str, max_new_tokens: int = 256) -> str:
        self.passes["generate"] += 1
        self.asked.append(text)
        return next((reply for piece, reply in self.replies.items() if piece in text), "")

    def _shown(self, box: np.ndarray) -> tuple[str, float]:
        overlap = iou(np.array([box]), np.array([b for b, _, _ in self.objects]))[0]
        _, name, probability = self.objects[int(overlap.argmax())]
        return (name, probability * float(overlap.max())) if overlap.max() > 0 else ("person", 0.01)

    def _probability(self, box: np.ndarray, phrase: str) -> float:
        name, probability = self._shown(box)
        # An attribute before the name makes it a little less sure.
        return probability * 0.9 ** (len(phrase.split()) - 1) if phrase.split()[-1] == name else 0.01


class ComparingPredictor(FakePredictor):
    """One that compares regions of several pictures, by their names, as the nano does without fitted numbers.

    Examples of what is not meant take the regions of that name away.
    """

    compares = True

    def vectors(self, encoding: Any, index: int) -> dict[str, np.ndarray]:
        return {"names": self.match(encoding, self.vocabulary or ())[:, index]}

    def alike(
        self, encoding: Any, likes: Sequence[Mapping[str, np.ndarray]], unlikes: Sequence[Any] = ()
    ) -> np.ndarray:
        rows = self.match(encoding, self.vocabulary or ())
        wanted, unwanted = (
            {int(one["names"].argmax()) for one in some if one["names"].max() > 0.1} for some in (likes, unlikes)
        )
        return rows[sorted(wanted - unwanted)].max(axis=0, initial=0.01)
