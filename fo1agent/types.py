"""`Region` and `Regions`: boxes of one picture, with ids, scores and labels. No torch.

Boxes are xyxy float pixels of the original, EXIF-upright picture. `Regions` keeps parallel numpy arrays, checked once
when it is made, and is sliced like a list; an empty one is ordinary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np

from fo1agent.errors import BoxError, InputError

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Region:
    """One box of one picture.

    Attributes:
        id: `img_3fa9c1d2/r7`: the picture's content id, then `r` + the model's region index, or `b` + the box itself
            (`img_3fa9c1d2/b10_20_110_220`) for a box that is none of the scene's proposals.
        box: (x1, y1, x2, y2), pixels of the original upright picture.
        score: probability, 0 to 1, that the region is what `label` says.
        label: the phrase it was found by, or what it was named; None when nobody named it.
        source: who made the box: `given`, `fo1`, `ultralytics:yolo11n`, `ocr`, …
    """

    id: str
    box: Box
    score: float
    label: str | None = None
    source: str = "given"

    @property
    def name(self) -> str:
        """The short id used in pictures and terminals: `r7`."""
        return self.id.rsplit("/", 1)[-1]

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) of the middle, pixels."""
        x1, y1, x2, y2 = self.box
        return (x1 + x2) / 2, (y1 + y2) / 2

    @property
    def area(self) -> float:
        """Square pixels."""
        x1, y1, x2, y2 = self.box
        return (x2 - x1) * (y2 - y1)

    def to_dict(self) -> dict[str, Any]:
        """`{id, box, label, score}`, as every JSON surface prints it."""
        return {
            "id": self.id,
            "box": [round(v, 2) for v in self.box],
            "label": self.label,
            "score": round(self.score, 4),
        }


@dataclass(frozen=True, eq=False)
class Regions(Sequence[Region]):
    """An ordered set of regions of one picture. Empty is normal.

    Attributes:
        boxes: [N, 4] float64, xyxy pixels of the original upright picture.
        scores: [N] float64 in [0, 1].
        labels: N labels, or None where a region has none.
        ids: N region ids.
        source: who made the boxes.
        none_score: probability that the picture shows nothing of what was asked for; None when nothing was asked.
        note: something a person should be told (boxes were cut to 100, the word is not one the model knows); else "".
        not_judged: words of what was asked for that could not be judged: ("dead",) where only cats were looked for. The
            regions are then those that it may be true of.
        judged: what was looked for, in words: "cat" of "dead cat"; "" where nothing was asked for.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: tuple[str | None, ...]
    ids: tuple[str, ...]
    source: str = "given"
    none_score: float | None = None
    note: str = field(default="")
    not_judged: tuple[str, ...] = ()
    judged: str = ""

    def __post_init__(self) -> None:
        boxes = check_boxes(self.boxes)
        scores = np.array(self.scores, dtype=np.float64).reshape(-1)
        n = len(boxes)
        if not (len(scores) == len(self.labels) == len(self.ids) == n):
            raise InputError(
                f"Regions got {n} boxes, {len(scores)} scores, {len(self.labels)} labels and {len(self.ids)} ids. "
                "Pass one of each per region."
            )
        if n and not (np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()):
            raise InputError(f"Region scores must lie in [0, 1], got {scores.min()}..{scores.max()}.")
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "ids", tuple(self.ids))

    @classmethod
    def empty(
        cls,
        source: str = "given",
        none_score: float | None = None,
        note: str = "",
        not_judged: tuple[str, ...] = (),
    ) -> Regions:
        """No region at all."""
        return cls(np.zeros((0, 4)), np.zeros(0), (), (), source, none_score, note, not_judged)

    @classmethod
    def from_list(
        cls,
        regions: Sequence[Region],
        none_score: float | None = None,
        note: str = "",
        not_judged: tuple[str, ...] = (),
    ) -> Regions:
        """Collect single regions, in their order; the source is that of the first."""
        if not regions:
            return cls.empty(none_score=none_score, note=note, not_judged=not_judged)
        return cls(
            np.array([r.box for r in regions], dtype=np.float64),
            np.array([r.score for r in regions]),
            tuple(r.label for r in regions),
            tuple(r.id for r in regions),
            regions[0].source,
            none_score,
            note,
            not_judged,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Region]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Region: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | np.ndarray) -> Regions: ...
    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> Region | Regions:
        """A region, or the subset that a slice, a list of positions or a boolean mask [N] names."""
        if isinstance(index, (int, np.integer)):
            x1, y1, x2, y2 = (float(v) for v in self.boxes[index])
            return Region(self.ids[index], (x1, y1, x2, y2), float(self.scores[index]), self.labels[index], self.source)
        if not isinstance(index, slice):
            index = np.asarray(index)
            if not index.size:  # numpy makes an empty list one of floats, which name no position
                index = index.astype(np.int64)
        keep = np.arange(len(self))[index]
        return Regions(
            self.boxes[keep],
            self.scores[keep],
            tuple(self.labels[i] for i in keep),
            tuple(self.ids[i] for i in keep),
            self.source,
            self.none_score,
            self.note,
            self.not_judged,
            self.judged,
        )

    def by_id(self, region_id: str) -> Region:
        """The region of that id; the short form `r7` works as well.

        Raises:
            InputError: no such region; the message lists those there are.
        """
        for i, known in enumerate(self.ids):
            if region_id in (known, known.rsplit("/", 1)[-1]):
                return self[i]
        raise InputError(f"No region {region_id!r}. There are: {', '.join(r.name for r in self) or 'none'}.")

    def to_dicts(self) -> list[dict[str, Any]]:
        """One `{id, box, label, score}` per region."""
        return [region.to_dict() for region in self]

    def to_coco(self, image_id: int, category_ids: dict[str, int]) -> list[dict[str, Any]]:
        """COCO results of the regions whose label is a key of `category_ids`; boxes become xywh."""
        return [
            {
                "image_id": image_id,
                "category_id": category_ids[r.label],
                "bbox": [r.box[0], r.box[1], r.box[2] - r.box[0], r.box[3] - r.box[1]],
                "score": r.score,
            }
            for r in self
            if r.label in category_ids
        ]

    def to_supervision(self) -> Any:
        """A `supervision.Detections`; needs `pip install supervision`."""
        try:
            import supervision  # pyright: ignore[reportMissingImports]
        except ImportError as exc:
            from fo1agent.errors import MissingExtraError

            raise MissingExtraError('to_supervision needs one more package: pip install "supervision>=0.26"') from exc
        return supervision.Detections(
            xyxy=self.boxes.astype(np.float32),
            confidence=self.scores.astype(np.float32),
            data={"class_name": np.array([label or "" for label in self.labels]), "id": np.array(self.ids)},
        )

    def to_geojson(self) -> dict[str, Any]:
        """A GeoJSON FeatureCollection of box polygons, in picture pixels (y points down)."""
        return {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "id": r.id,
                    "properties": {"label": r.label, "score": r.score},
                    "geometry": {"type": "Polygon", "coordinates": [_ring(r.box)]},
                }
                for r in self
            ],
        }


def _ring(box: Box) -> list[list[float]]:
    x1, y1, x2, y2 = box
    return [[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]]


def check_boxes(boxes: Any) -> np.ndarray:
    """Return boxes as a new float64 array [N, 4]; N may be 0.

    Raises:
        BoxError: wrong shape, a value that is not finite, or x2 < x1 or y2 < y1; the message names index and values.
    """
    try:
        array = np.array(boxes, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as exc:
        raise BoxError(f"boxes must be numbers of shape [N, 4] (xyxy pixels), got {boxes!r:.80}.") from exc
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise BoxError(f"boxes must have shape [N, 4] (xyxy pixels), got {list(array.shape)}.")
    bad = ~np.isfinite(array).all(axis=1) | (array[:, 2] < array[:, 0]) | (array[:, 3] < array[:, 1])
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        values = tuple(float(v) for v in array[i])
        if not all(math.isfinite(v) for v in values):
            raise BoxError(f"boxes[{i}] = {values}: every value must be finite.")
        side = "x2 < x1" if values[2] < values[0] else "y2 < y1"
        raise BoxError(f"boxes[{i}] = {values}: {side}. Pass xyxy pixels; for xywh use boxes.xywh_to_xyxy.")
    return array
