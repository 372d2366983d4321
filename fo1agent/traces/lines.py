"""What the lines of a trace hold: every field with its type, checked alike when a line is written and when it is read.

docs/traces.md tells them to readers, `schema` gives them as JSON schema.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

from fo1agent.pictures.ocr import UntrustedText
from fo1agent.regions.regions import Region, Regions
from fo1agent.runs.answer import Answer
from fo1agent.runs.step import StepRecord

FORMAT = 1
"""Raised when a field is dropped or means something else. One that is added has a value for lines without it, so that
older traces can be read."""

MAX_SIDE = 2**31 - 1
"""Pixels: no picture has more on a side, whatever its format."""


class Part(BaseModel):
    """Base of all lines and their parts: nothing missing but what older traces lack, nothing unknown, no NaN, no number
    given as text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class RegionPart(Part):
    """A region: `img_3fa9c1d2/r7`, its box in pixels of the upright picture, and how likely it is its label."""

    id: str = Field(min_length=1)
    box: tuple[float, float, float, float] = Field(description="x1, y1, x2, y2; y points down")
    label: str | None
    score: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _right_way_round(self) -> RegionPart:
        x1, y1, x2, y2 = self.box
        if x2 < x1 or y2 < y1:
            raise ValueError(f"box of {self.id} is inside out")
        return self

    @classmethod
    def of(cls, region: Region) -> RegionPart:
        """A region with its box to a hundredth of a pixel."""
        x1, y1, x2, y2 = (round(value, 2) for value in region.box)
        return cls(id=region.id, box=(x1, y1, x2, y2), label=region.label, score=round(region.score, 4))

    def region(self) -> Region:
        """As the rest of the package has it."""
        return Region(self.id, self.box, self.score, self.label, "trace")


class CostsPart(Part):
    """As `costs.Costs.to_dict` gives it."""

    calls: dict[str, Annotated[int, Field(ge=0)]]
    seconds: float = Field(ge=0)
    pixels: int = Field(ge=0)
    input_tokens: int | None = Field(ge=0)
    output_tokens: int | None = Field(ge=0)


class ImagePart(Part):
    """The picture that was asked about; the picture itself is not kept."""

    id: str | None = Field(description="img_ and 8 hex digits or more; null for a scene that has no id")
    sha256: str | None = Field(
        pattern=r"^[0-9a-f]{64}$", description='of "WIDTHxHEIGHT:" and the RGB bytes of the upright picture'
    )
    source: str = Field(description="an absolute path, an address without its query, or what else it was")
    width: int = Field(ge=1, le=MAX_SIDE)
    height: int = Field(ge=1, le=MAX_SIDE)


class BoxesPart(Part):
    """Where the picture's regions came from. The boxes themselves stand here unless the model proposes its own."""

    source: str
    count: int = Field(ge=0)
    boxes: tuple[tuple[float, float, float, float], ...] | None
    scores: tuple[float, ...] | None

    @model_validator(mode="after")
    def _complete(self) -> BoxesPart:
        if (self.boxes is None) != (self.scores is None) or len(self.boxes or ()) != len(self.scores or ()):
            raise ValueError("boxes and scores belong together, one each per region")
        return self


class ModelPart(Part):
    """The model that looked."""

    name: str
    fingerprint: str = Field(description="hash of the weights")
    thresholds: dict[str, float]


class PlannerPart(Part):
    """Who decided on the steps; `llm` names the language model that it asks, if any."""

    name: str
    llm: str | None


class OpenedPart(Part):
    """What opening the picture took."""

    seconds: float = Field(ge=0)
    costs: CostsPart


def _integer(value: Any) -> Any:
    if isinstance(value, bool):  # which equals 1
        raise ValueError("a truth value is no number")
    return value


def _utc(text: str) -> str:
    if datetime.fromisoformat(text).utcoffset() is None:
        raise ValueError("a time needs its zone: 2026-01-31T12:00:00.000Z")
    return text


class RunLine(Part):
    """The first line: all that is known before the first step."""

    type: Literal["run"] = "run"
    format: Annotated[Literal[1], BeforeValidator(_integer)]
    started: Annotated[str, AfterValidator(_utc)] = Field(description="UTC, ISO 8601")
    question: str
    image: ImagePart
    regions: BoxesPart | None = Field(description="null for a scene that does not tell")
    model: ModelPart | None = Field(description="null for a scene without a model of ours")
    planner: PlannerPart
    verify: bool = Field(description="whether the evidence was looked at again before the answer")
    budget: dict[str, int | float] = Field(description="every limit of `Budget` by its name")
    opened: OpenedPart | None = Field(description="null when the picture was open already")
    versions: dict[str, str] = Field(description="of python, fo1agent, torch, transformers")
    platform: str


class StepPart(Part):
    """A finished step: what `StepRecord.to_dict` tells, its value, and its regions with boxes."""

    id: str
    tool: str
    args: dict[str, Any]
    text: str
    value: int | float | bool | str | None
    regions: tuple[str, ...]
    found: tuple[RegionPart, ...]
    seconds: float = Field(ge=0)
    error: str = Field(description="why it gave no result; empty when it did")
    not_judged: tuple[str, ...] = Field((), description="words of the question that its result hangs on, not judged")

    @model_validator(mode="after")
    def _agree(self) -> StepPart:
        if self.regions != tuple(region.id for region in self.found):
            raise ValueError("regions and found name different regions")
        return self

    @classmethod
    def of(cls, record: StepRecord) -> StepPart:
        """A step that just ended."""
        return cls(
            id=record.id,
            tool=record.tool,
            args=plain(record.args),
            text=record.text,
            value=plain(record.value),
            regions=record.regions.ids,
            found=tuple(map(RegionPart.of, record.regions)),
            seconds=round(record.seconds, 4),
            error=record.error,
            not_judged=record.not_judged,
        )

    def record(self) -> StepRecord:
        """As the rest of the package has it; texts stay marked as untrusted."""
        value = UntrustedText(self.value) if isinstance(self.value, str) else self.value
        found = regions_of(self.found)
        return StepRecord(
            self.id, self.tool, self.args, found, value, self.text, self.seconds, self.error, self.not_judged
        )


class BoundsPart(Part):
    """What is known of a number that hangs on words that could not be judged."""

    at_least: int | float | None = Field(description="it is no less; null where that is not known")
    at_most: int | float | None = Field(description="it is no more; null where that is not known")

    @classmethod
    def of(cls, bounds: Any) -> BoundsPart | tuple[BoundsPart | None, ...] | None:
        """As `Answer.bounds` has them: of the answer, or one or none for each part of it."""
        if isinstance(bounds, list):
            return tuple(None if one is None else cls(**plain(one)) for one in bounds)
        return None if bounds is None else cls(**plain(bounds))


class AnswerPart(Part):
    """As `Answer.to_dict` gives it, less its question and steps, which stand in their own lines."""

    text: str
    value: int | float | bool | str | list[Any] | None
    abstained: bool
    reason: str
    evidence: tuple[str, ...]
    regions: tuple[RegionPart, ...]
    planner: str
    notes: tuple[str, ...]
    unsupported: tuple[str, ...]
    not_judged: tuple[str, ...] = Field((), description="words of the question that could not be judged")
    bounds: BoundsPart | tuple[BoundsPart | None, ...] | None = Field(
        None, description="of a number that hangs on them; one or null for each part of a chained question"
    )

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> AnswerPart:
        for one in self.bounds if isinstance(self.bounds, tuple) else (self.bounds,):
            try:
                known = [float(v) for v in (one.at_least, one.at_most) if v is not None] if one else []
            except OverflowError:
                raise ValueError("bounds: too large a number") from None
            if len(known) == 2 and known[0] > known[1]:
                raise ValueError(f"bounds: at_least, {known[0]:g}, is above at_most, {known[1]:g}")
        return self

    @model_validator(mode="after")
    def _evidence_is_known(self) -> AnswerPart:
        unknown = set(self.evidence) - {region.id for region in self.regions}
        if unknown:
            raise ValueError(f"evidence names {', '.join(sorted(unknown))}, which is not among the regions")
        return self

    @classmethod
    def of(cls, answer: Answer) -> AnswerPart:
        """A finished answer."""
        regions = {region.id: region for region in (*answer.evidence, *answer.candidates)}
        return cls(
            text=answer.text,
            value=plain(answer.value),
            abstained=answer.abstained,
            reason=answer.reason,
            evidence=answer.evidence.ids,
            regions=tuple(map(RegionPart.of, regions.values())),
            planner=answer.planner,
            notes=tuple(answer.notes),
            unsupported=tuple(answer.unsupported),
            not_judged=tuple(answer.not_judged),
            bounds=BoundsPart.of(answer.bounds),
        )


class EventLine(Part):
    """Base of the lines after the first: `at` is seconds since the run began."""

    at: float = Field(ge=0)


class PlanLine(EventLine):
    """A plan, the first one or one that took its place; `costs` is what making it took."""

    type: Literal["plan"] = "plan"
    planner: str
    revision: int = Field(ge=0)
    steps: list[dict[str, Any]]
    costs: CostsPart


class StepStartLine(EventLine):
    """A step begins."""

    type: Literal["step_start"] = "step_start"
    number: int = Field(ge=1)
    id: str
    tool: str
    args: dict[str, Any]


class StepEndLine(EventLine):
    """A step is over; `costs` is what was used since the line before that had costs."""

    type: Literal["step_end"] = "step_end"
    number: int = Field(ge=1)
    step: StepPart
    costs: CostsPart


class AnswerLine(EventLine):
    """The last line of a run that came to its end; `costs` is all that it used, opening the picture included."""

    type: Literal["answer"] = "answer"
    answer: AnswerPart
    seconds: float = Field(ge=0)
    costs: CostsPart


class ErrorPart(Part):
    """An exception: its class and message."""

    type: str
    message: str


class ErrorLine(EventLine):
    """The last line of a run that an exception ended."""

    type: Literal["error"] = "error"
    error: ErrorPart
    costs: CostsPart


AfterRun = PlanLine | StepStartLine | StepEndLine | AnswerLine | ErrorLine
Line = RunLine | AfterRun
LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="type")])


def schema() -> dict[str, Any]:
    """JSON schema of a line."""
    return LINE.json_schema(mode="serialization")


def plain(value: Any) -> Any:
    """A value as JSON can hold it: no number that is none, which a language model or a tool of one's own may give."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def regions_of(parts: Sequence[RegionPart]) -> Regions:
    """Regions as the rest of the package has them."""
    return Regions.from_list([part.region() for part in parts])
