"""What the records of a run share: one class each for a step, an event and an answer, made while it runs, written as
JSON and read back with every field checked.

Regions stand in JSON as `img_3fa9c1d2/r7` in a trace and as `r7` on the wire, where the picture is known: `SHORT` as
context of the dump. Whoever reads from the wire gives a `Reader` as context, which knows the picture's regions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Protocol, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializationInfo,
    TypeAdapter,
    ValidationInfo,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from fo1agent.plans.language import LARGEST
from fo1agent.regions.regions import Region, Regions, shown
from fo1agent.untrusted import UntrustedText

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True, defer_build=True)
"""Of every record: nothing missing, nothing unknown, no NaN, no number given as text."""

SHORT = {"short": True}
"""As context of a dump: regions by their short ids."""


class Reader(Protocol):
    """As context of reading: the picture that regions are of."""

    def received(self, told: Mapping[str, Any]) -> Region:
        """A region of `{id, box, label, score}`. Raises ValueError or TypeError where this picture cannot have it."""
        ...

    def called(self, region_id: Any) -> Region:
        """The region of an id, likewise."""
        ...


class RegionPart(BaseModel):
    """A region: `img_3fa9c1d2/r7`, its box in pixels of the upright picture, and how likely it is its label."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)

    id: str = Field(min_length=1)
    box: tuple[float, float, float, float] = Field(description="x1, y1, x2, y2; y points down")
    label: str | None
    score: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _right_way_round(self) -> Self:
        x1, y1, x2, y2 = self.box
        if x2 < x1 or y2 < y1:
            raise ValueError(f"box of {self.id} is inside out")
        return self

    @classmethod
    def of(cls, region: Region) -> Self:
        """A region with its box to a hundredth of a pixel."""
        x1, y1, x2, y2 = (round(value, 2) for value in region.box)
        return cls(id=region.id, box=(x1, y1, x2, y2), label=region.label, score=round(region.score, 4))

    def region(self) -> Region:
        """As the rest of the package has it."""
        return Region(self.id, self.box, self.score, self.label, "trace")


def read_region(told: Any, info: ValidationInfo) -> Region:
    """A region as JSON has it, `{id, box, label, score}`."""
    if not isinstance(told, Mapping) or not isinstance(told.get("id"), str):
        raise ValueError(f"a region was expected, got {shown(told)}")
    if info.context is not None:
        return info.context.received(told)
    box = told.get("box")
    return RegionPart.model_validate({**told, "box": tuple(box) if isinstance(box, list) else box}).region()


def listed(told: Mapping[str, Any], name: str) -> list[Any]:
    """A field of a JSON object that is a list; an empty one where it is missing."""
    value = told.get(name, [])
    if not isinstance(value, list):
        raise ValueError(f"{name}: a list was expected, got {shown(value)}")
    return value


def _read_regions(told: Any, info: ValidationInfo) -> Regions:
    if isinstance(told, Regions):
        return told
    if info.context is None:
        raise ValueError("regions are told by their boxes")
    if not isinstance(told, list) or len(set(map(str, told))) < len(told):
        raise ValueError(f"a list of regions was expected, each once, got {shown(told)}")
    return Regions.from_list([info.context.called(one) for one in told])


def ids(regions: Regions, info: SerializationInfo) -> list[str]:
    """Regions as JSON tells of them beside their boxes."""
    return [region.name if info.context == SHORT else region.id for region in regions]


Named = Annotated[
    Regions,
    PlainValidator(_read_regions),
    PlainSerializer(ids),
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
]
"""Regions, in JSON as their ids."""


def plain(value: Any) -> Any:
    """A value as JSON can hold it, without NaN and infinity, which a language model or a tool of one's own may give."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def _checked_value(value: Any, check: Callable[[Any], Any], info: ValidationInfo) -> Any:
    """What a step or a part of an answer comes to. What is read may be text out of a picture."""
    if info.mode == "python" and info.context is None:
        check(plain(value))
        return value
    value = check(value)
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, int) and abs(one) > LARGEST:
            raise ValueError("too large a number")
    return UntrustedText(value) if isinstance(value, str) else value


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Arguments = Annotated[dict[str, Any], PlainSerializer(plain, return_type=dict[str, Any])]
"""A tool's arguments."""
One = int | float | bool | str | None
StepValue = Annotated[One, WrapValidator(_checked_value), PlainSerializer(plain, return_type=One)]
"""What a step comes to, where that is no region."""
AnswerValue = Annotated[
    One | list[One], WrapValidator(_checked_value), PlainSerializer(plain, return_type=One | list[One])
]
"""What an answer comes to; a list of one for each part of a chained question."""
Seconds = Annotated[float, Field(ge=0), PlainSerializer(lambda value: round(value, 4), return_type=float)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Points = Annotated[
    tuple[Annotated[tuple[float, float], BeforeValidator(_as_tuple)], ...],
    BeforeValidator(_as_tuple),
]
"""(x, y) each, in pixels of the picture."""


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def dump(record: Any, *, short: bool, without: Sequence[str] = ()) -> dict[str, Any]:
    """A record as JSON values.

    Args:
        record: of any class of records.
        short: regions by their short ids.
        without: fields to leave out.
    """
    context = SHORT if short else None
    return _adapter(type(record)).dump_python(record, mode="json", context=context, exclude=set(without))


def load(kind: type[Any], told: Any, reader: Reader) -> Any:
    """A record from the wire; fields that are not known here, of a later version, are passed over.

    Raises:
        ValueError, TypeError: a field is missing or wrong.
    """
    # As JSON, in which lists stand for tuples.
    return _adapter(kind).validate_json(json.dumps(told), context=reader, extra="ignore")
