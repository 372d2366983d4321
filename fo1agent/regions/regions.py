"""`Region` and `Regions`: boxes of one picture, with ids, scores and labels. No torch.

Boxes are xyxy float pixels of the original, EXIF-upright picture. `Regions` keeps parallel numpy arrays, checked once
when it is made, and is sliced like a list; an empty one is ordinary.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, overload

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationInfo, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

from fo1agent.errors import BoxError, InputError
from fo1agent.regions.boxes import areas, clip, visible
from fo1agent.regions.ids import RegionId, name_of
from fo1agent.regions.masks import Mask

Box = tuple[float, float, float, float]


BOX_SCHEMA: dict[str, Any] = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
"""JSON schema of a box, [x1, y1, x2, y2] in pixels of the upright picture; y points down."""

LIMIT = 100
"""How many boxes a picture gets unless told otherwise: as many as FO1 was trained to look at."""


@dataclass(frozen=True, slots=True)
class Region:
    """One box of one picture.

    Attributes:
        id: `img_3fa9c1d2/r7`: the picture's content id, then `r` + the model's region index, or `b` + the box itself
            (`img_3fa9c1d2/b10_20_110_220`) for a box that is none of the scene's proposals.
        box: (x1, y1, x2, y2), pixels of the original upright picture.
        score: probability, 0 to 1, that the region is what `label` says.
        label: what was judged of the phrase by which it was found, or its name; None if it has none.
        source: what made the box: `given`, `fo1`, `ultralytics:yolo11n`, `ocr`, …
        mask: which pixels are the thing's, once it was segmented; else None. Two regions are equal whatever theirs are.
    """

    id: str
    box: Box
    score: float
    label: str | None = None
    source: str = "given"
    mask: Mask | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The short id used in pictures and terminals: `r7`."""
        return name_of(self.id)

    @property
    def index(self) -> int | None:
        """Its number among the scene's proposals; None for a box that is none of them."""
        known = RegionId.read(self.name)
        return known and known.index

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) of the middle, pixels."""
        x1, y1, x2, y2 = self.box
        return (x1 + x2) / 2, (y1 + y2) / 2

    @property
    def area(self) -> float:
        """Square pixels: of its mask where it has one, else of its box."""
        if self.mask is not None:
            return float(self.mask.area)
        x1, y1, x2, y2 = self.box
        return (x2 - x1) * (y2 - y1)

    def to_dict(self) -> dict[str, Any]:
        """`{id, box, label, score}`: the short id, [x1, y1, x2, y2] to a hundredth of a pixel, as on every route."""
        return {
            "id": self.name,
            "box": [round(v, 2) for v in self.box],
            "label": self.label,
            "score": round(self.score, 4),
        }

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return as_form(cls, handler.generate_schema(RegionRef), _region, RegionRef.of)


class RegionRef(BaseModel):
    """A region in a result."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    id: str = Field(description="Short id, to be passed to other tools.")
    label: str | None = Field(
        description="What it was judged to be, which may be less than the phrase said; null if nobody named it."
    )
    score: float = Field(description="Probability of that, 0 to 1.")
    box: Annotated[tuple[float, float, float, float], WithJsonSchema(BOX_SCHEMA)] = Field(
        description="[x1, y1, x2, y2] in pixels; y points down."
    )

    @classmethod
    def of(cls, region: Region) -> RegionRef:
        """A region as results carry it."""
        return cls(**region.to_dict())


def _region(form: RegionRef, picture: Any) -> Region:
    return Region(form.id, form.box, form.score, form.label) if picture is None else picture.bound(form)


def picture_of(info: ValidationInfo) -> Any:
    """What is validated is bound to this picture: `bound` gives its region for a `RegionRef`, `told` for an id; None
    where there is none."""
    return info.context.get("picture") if isinstance(info.context, Mapping) else None


def as_form(kind: type, form: CoreSchema, read: Callable[[Any, Any], Any], told: Callable[[Any], Any]) -> CoreSchema:
    """The pydantic schema of a class whose JSON has another form: `read` makes one of what the form has read and of
    `picture_of` the validation; `told` gives what the form tells."""

    def made(value: Any, info: ValidationInfo) -> Any:
        return read(value, picture_of(info))

    from_form = core_schema.with_info_after_validator_function(made, form)
    return core_schema.json_or_python_schema(
        json_schema=from_form,
        python_schema=core_schema.union_schema([core_schema.is_instance_schema(kind), from_form]),
        serialization=core_schema.plain_serializer_function_ser_schema(told, return_schema=form),
    )


@dataclass(frozen=True, eq=False)
class Regions(Sequence[Region]):
    """An ordered set of regions of one picture. Empty is normal.

    Attributes:
        boxes: [N, 4] float64, xyxy pixels of the original upright picture.
        scores: [N] float64 in [0, 1].
        labels: N labels, or None where a region has none.
        ids: N region ids.
        source: what made the boxes.
        none_score: probability that the picture shows no such thing; None if nothing was looked for.
        note: something a person should know (boxes were cut to 100, the model does not know the word); else "".
        not_judged: words of the phrase that could not be judged: ("dead",) where only cats were looked for. The regions
            are then those of which the words may be true.
        judged: what was looked for, in words: "cat" of "dead cat"; "" if nothing was looked for.
        by: who judged it, by name, where finders were asked; () for the model alone.
        masks: N masks, or None where a region has none; left out, none has.
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
    by: tuple[str, ...] = ()
    masks: tuple[Mask | None, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        boxes = check_boxes(self.boxes)
        scores = np.array(self.scores, dtype=np.float64).reshape(-1)
        n = len(boxes)
        masks = tuple(self.masks) or (None,) * n
        if not (len(scores) == len(self.labels) == len(self.ids) == n):
            raise InputError(
                f"Regions got {n} boxes, {len(scores)} scores, {len(self.labels)} labels and {len(self.ids)} ids. "
                "Pass one of each per region."
            )
        if len(masks) != n:
            raise InputError(f"Regions got {n} boxes and {len(masks)} masks. Pass one for each, or none at all.")
        if n and not (np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()):
            raise InputError(f"Region scores must lie in [0, 1], got {scores.min()}..{scores.max()}.")
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "ids", tuple(self.ids))
        object.__setattr__(self, "masks", masks)

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
            masks=tuple(r.mask for r in regions),
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(regions: list[Region], picture: Any) -> Regions:
            return cls.from_list(regions)

        return as_form(cls, handler.generate_schema(list[Region]), read, list)

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
            score, label, mask = float(self.scores[index]), self.labels[index], self.masks[index]
            return Region(self.ids[index], (x1, y1, x2, y2), score, label, self.source, mask)
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
            self.by,
            tuple(self.masks[i] for i in keep),
        )

    def areas(self) -> np.ndarray:
        """[N] square pixels, measured of all alike: of their masks if every region has one, else of their boxes."""
        masks = [mask for mask in self.masks if mask is not None]
        return (
            np.array([mask.area for mask in masks], dtype=np.float64) if len(masks) == len(self) else areas(self.boxes)
        )

    def covered(self) -> float:
        """Square pixels that they cover together, each once: of their masks if every region has one, else of their
        boxes."""
        if not len(self):
            return 0.0
        masks = [mask.pixels() for mask in self.masks if mask is not None]
        if len(masks) == len(self):
            return float(np.logical_or.reduce(masks).sum())
        import shapely

        return float(shapely.union_all(shapely.box(*self.boxes.T)).area)

    def by_id(self, region_id: str) -> Region:
        """The region of that id; the short form `r7` works as well.

        Raises:
            InputError: no such region; the message lists those there are.
        """
        for i, known in enumerate(self.ids):
            if region_id in (known, name_of(known)):
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


# The names by which boxes are written, each unambiguous; x, y, width and height are not: of the corner or the middle?
_CORNER_NAMES = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom"))
_SIDE_NAMES = ("left", "top", "width", "height")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?")
_MOST_TEXT = 400  # characters of one box as text
_MOST_TEXTS = 4_000_000  # characters of all boxes as text

WANTED_BOX = "[x1, y1, x2, y2], four numbers in pixels"
"""How a box is written, for messages."""

_short = reprlib.Repr()
_short.maxlist = _short.maxtuple = _short.maxdict = 8
_short.maxstring = _short.maxother = 80
_short.maxlevel = 4


def shown(value: Any) -> str:
    """A value from outside in at most 80 characters, for a message that says what was got."""
    try:
        text = _short.repr(value)
    except Exception:  # a number of ten thousand digits, or a stranger's own __repr__
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:79]}…"


def read_box(value: Any) -> Box:
    """A box in any of the forms that people and language models write, as four finite numbers.

    Args:
        value: four numbers in a list, tuple or array ([4] or [1, 4]); two corners, [[x1, y1], [x2, y2]]; a dict with
            x1, y1, x2, y2, or xmin…, or left, top, right, bottom, or left, top, width, height; a dict with `box` or
            `bbox_2d` that holds one of these; any of them as JSON text; or a `Region`. A number may be text ("12.5").

    Raises:
        BoxError: it is none of these. Whether x1 <= x2 is not looked at.
    """
    box = _four(value, depth=0)
    if box is None:
        raise BoxError(f"A box is {WANTED_BOX}; got {shown(value)}.")
    return box


def _four(value: Any, depth: int) -> Box | None:
    """The box that a value means; None if it means none."""
    if depth > 3:
        return None
    if isinstance(value, Region):
        return value.box
    if isinstance(value, (str, bytes)):
        return _four(_from_text(value, _MOST_TEXT), depth + 1)
    if isinstance(value, Mapping):
        return _four_named(value, depth)
    if hasattr(value, "tolist") and hasattr(value, "shape"):  # of numpy, torch and their kin
        return _four(value.tolist(), depth + 1) if tuple(value.shape) in ((4,), (1, 4), (2, 2)) else None
    if not isinstance(value, (list, tuple)):
        return None
    if len(value) == 1:
        return _four(value[0], depth + 1) if isinstance(value[0], (list, tuple)) else None
    if len(value) == 2 and all(isinstance(corner, (list, tuple)) and len(corner) == 2 for corner in value):
        value = (*value[0], *value[1])
    if len(value) != 4:
        return None
    numbers = [read for one in value if (read := number(one)) is not None]
    return (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == 4 else None


def _four_named(value: Mapping[Any, Any], depth: int) -> Box | None:
    if len(value) == 1:
        ((name, inner),) = value.items()
        return _four(inner, depth + 1) if name in ("box", "bbox_2d") else None
    for names in (*_CORNER_NAMES, _SIDE_NAMES):
        if value.keys() == set(names):
            box = _four([value[name] for name in names], depth + 1)
            if box is not None and names == _SIDE_NAMES:
                left, top, width, height = box
                return left, top, left + width, top + height
            return box
    return None


def number(value: Any) -> float | None:
    """A finite number from outside, also as text or as an array's only value; None for all else, truth values too."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():  # numpy's and torch's scalars
        value = value.item()
    if isinstance(value, str) and len(value) <= 64 and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        read = float(value)
    except OverflowError:
        return None
    return read if math.isfinite(read) else None


def _from_text(text: str | bytes, most: int) -> Any:
    """What JSON text holds, or four numbers with commas between them; None if it is neither, or too long."""
    if len(text) > most:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if isinstance(text, bytes):
            return None
    inner = text.strip()
    inner = inner[1:-1] if inner[:1] + inner[-1:] in ("()", "[]") else inner
    parts = inner.split(",")
    return parts if len(parts) == 4 else None


def check_boxes(boxes: Any) -> np.ndarray:
    """Return boxes as a new float64 array [N, 4]; N may be 0.

    Args:
        boxes: an array [N, 4], a list of what `read_box` takes, `Regions`, or JSON text of a list.

    Raises:
        BoxError: wrong shape, a value that is no finite number, or x2 < x1 or y2 < y1; the message names index and
            values.
    """
    array = _rows(boxes)
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        hint = " Put one box into a list: [[x1, y1, x2, y2]]." if array.shape == (4,) else ""
        raise BoxError(f"boxes must have shape [N, 4] (xyxy pixels), got {list(array.shape)}.{hint}")
    bad = ~np.isfinite(array).all(axis=1) | (array[:, 2] < array[:, 0]) | (array[:, 3] < array[:, 1])
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        values = tuple(float(v) for v in array[i])
        if not all(math.isfinite(v) for v in values):
            raise BoxError(f"boxes[{i}] = {values}: every value must be finite.")
        side = "x2 < x1" if values[2] < values[0] else "y2 < y1"
        raise BoxError(f"boxes[{i}] = {values}: {side}. A box is [x1, y1, x2, y2]; x2 = x1 + width, y2 = y1 + height.")
    return array


def check_pixels(boxes: np.ndarray | Sequence[Box]) -> None:
    """Refuse boxes [N, 4] from outside that all lie within the first pixel.

    Nobody means that pixel. Such boxes are parts of the picture's size, as other tools write them, and would quietly be
    looked at as next to nothing.

    Raises:
        BoxError: they do; the message names the first one.
    """
    if len(boxes) and np.abs(boxes).max() <= 1 and np.any(boxes):
        corners = ", ".join(f"{v:g}" for v in boxes[0])
        raise BoxError(
            f"The box ({corners}) looks like parts of the picture's size; give pixels: multiply by width and height."
        )


def check_inside(boxes: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Boxes [N, 4] that `check_boxes` gave, cut at the border of a picture of `size_hw` = (height, width) pixels.

    Raises:
        BoxError: a box has no part inside the picture, and the message names its index; or all are parts of its size
            instead of pixels.
    """
    seen = visible(boxes, size_hw)
    if not seen.all():
        i, (height, width) = int(np.flatnonzero(~seen)[0]), size_hw
        raise BoxError(
            f"boxes[{i}] = {tuple(boxes[i].tolist())} has no area inside the picture, which is {width} x {height} "
            "pixels (width x height). Boxes are xyxy pixels of the upright picture."
        )
    if max(size_hw) > 1:
        check_pixels(boxes)
    return clip(boxes, size_hw)


def read_pixels(value: Any) -> Box:
    """A box from outside, as `read_box` reads it and `check_pixels` takes it.

    Raises:
        BoxError: it is no box, or one of parts of the picture's size.
    """
    box = read_box(value)
    check_pixels([box])
    return box


def _rows(boxes: Any) -> np.ndarray:
    """Boxes as a new float64 array of any shape."""
    given = boxes
    if isinstance(given, Regions):
        return given.boxes.copy()
    if isinstance(given, (str, bytes)):
        given = _from_text(given, _MOST_TEXTS)
    if isinstance(given, np.ndarray) and given.dtype.kind in "iuf":
        return np.array(given, dtype=np.float64)
    if hasattr(given, "tolist") and hasattr(given, "shape"):
        if 0 in tuple(given.shape):
            return np.zeros((0, 4))
        given = given.tolist()
    if not isinstance(given, (list, tuple)):
        raise BoxError(f"boxes must be numbers of shape [N, 4] (xyxy pixels), got {shown(boxes)}.")
    if all(isinstance(row, (list, tuple)) and all(type(v) in (int, float) for v in row) for row in given):
        try:
            return np.array(given, dtype=np.float64)
        except (ValueError, OverflowError):  # rows of different lengths, or a number that is no float's
            pass
    elif len(given) == 4 and all(number(v) is not None for v in given):
        return np.array([number(v) for v in given])  # one box alone, whose shape is told
    rows = [_four(row, depth=0) for row in given]
    for i, row in enumerate(rows):
        if row is None:
            raise BoxError(
                f"boxes must be numbers of shape [N, 4] (xyxy pixels): boxes[{i}] must be {WANTED_BOX}, and finite; "
                f"got {shown(given[i])}."
            )
    return np.array(rows, dtype=np.float64)
