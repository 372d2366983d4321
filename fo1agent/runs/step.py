"""A step of a run: that it begins, that it is over, and the record of what it did."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, Field, ValidationInfo, computed_field, model_validator
from pydantic.dataclasses import dataclass

from fo1agent.regions.regions import Regions
from fo1agent.runs.record import (
    STRICT,
    Arguments,
    Named,
    Points,
    RegionPart,
    Seconds,
    StepValue,
    Texts,
    dump,
    listed,
    read_region,
)

FailureKind = Literal["unknown", "missing", "error", "budget"]
"""Why a step has no result: a word that the model does not know, a thing that is not there, a tool that failed, a limit
that is used up."""


@dataclass(frozen=True, slots=True, config=STRICT)
class StepRecord:
    """One finished step.

    Attributes:
        id: the plan step's id, or the id of a chat model's tool call.
        tool: its operation (`find`, `keep`, `count`, …), or the tool that was called.
        args: its arguments; references to other steps are given as their ids.
        asked: what it was asked, in a few words for people: `“remote”`, `left of r3`; "" where its name says it.
        gave: its result, likewise: `r0 0.82  r2 0.22`, `2`, `no`; the reason of a failure.
        value: its result when that is a number, a bool or text; else None.
        regions: the regions it gave, or that its result rests on.
        seconds: wall-clock time it took.
        error: why it has no result; "" if it has one.
        failure: the kind of failure; None if it has a result.
        not_judged: words of the question that could not be judged and on which its result depends.
        points: where to click, (x, y) in pixels of the picture, one for each of `regions`; empty unless it points.
    """

    id: str
    tool: str
    args: Arguments
    asked: str
    gave: str
    value: StepValue
    regions: Named
    seconds: Seconds
    error: Annotated[str, Field(description="why it gave no result; empty when it did")] = ""
    failure: FailureKind | None = None
    not_judged: Annotated[Texts, Field(description="words of the question that its result hangs on, not judged")] = ()
    points: Annotated[
        Points,
        Field(description="where to click, x and y in pixels, one for each of the regions; empty unless it points"),
    ] = ()

    @computed_field
    @property
    def text(self) -> str:
        """What was asked and its result, in one line, separated by two blanks."""
        return f"{self.asked}  {self.gave}" if self.asked else self.gave

    @computed_field
    @property
    def found(self) -> tuple[RegionPart, ...]:
        """The regions as a trace has them."""
        return tuple(map(RegionPart.of, self.regions))

    @model_validator(mode="before")
    @classmethod
    def _of_json(cls, told: Any, info: ValidationInfo) -> Any:
        """The fields of a JSON object, whose regions stand in `found` with their boxes."""
        if not isinstance(told, dict):
            return told
        fields = {name: value for name, value in told.items() if name not in ("text", "found")}
        if "asked" not in told:  # of a trace that was written before there were two fields
            asked, _, gave = str(told.get("text", "")).partition("  ")
            fields |= {"asked": asked, "gave": gave} if gave else {"asked": "", "gave": asked}
            fields.setdefault("failure", "error" if told.get("error") else None)
        if "found" in told:
            regions = Regions.from_list([read_region(one, info) for one in listed(told, "found")])
            if list(regions.ids) != listed(told, "regions"):
                raise ValueError("regions and found name different regions")
            fields["regions"] = regions
        if len(listed(told, "points")) not in (0, len(listed(told, "regions"))):
            raise ValueError("there are not as many points as regions")
        return fields

    def to_dict(self) -> dict[str, Any]:
        """`{id, tool, args, asked, gave, text, value, regions, seconds}`, `error`, `failure`, `not_judged` and `points`
        where there are any; regions by short id."""
        told = dump(self, short=True, without=["found"])
        seldom = ("error", "failure", "not_judged", "points")
        return {name: value for name, value in told.items() if value or name not in seldom}


@dataclass(frozen=True, slots=True, config=STRICT)
class StepStart:
    """A step begins.

    Attributes:
        number: 1 for the first step of the question; a second plan continues the numbers.
        id: the plan step's id, or the id of a chat model's tool call.
        tool: its operation (`find`, `keep`, …), or the tool that was called (`ground`, `count`, …).
        args: its arguments; references to other steps are given as their ids.
    """

    type: ClassVar[Literal["step_start"]] = "step_start"
    number: Annotated[int, Field(ge=1)]
    id: str
    tool: str
    args: Arguments

    def to_dict(self) -> dict[str, Any]:
        """`{type, number, id, tool, args}`."""
        return {"type": self.type, **dump(self, short=True)}


@dataclass(frozen=True, slots=True, config=STRICT)
class StepEnd:
    """A step has ended, with a result or with an error; one follows every `StepStart`."""

    type: ClassVar[Literal["step_end"]] = "step_end"
    number: Annotated[int, Field(ge=1)]
    record: StepRecord = Field(validation_alias=AliasChoices("step", "record"))

    def to_dict(self) -> dict[str, Any]:
        """`{type, number, step}`, the step as `StepRecord.to_dict` gives it."""
        return {"type": self.type, "number": self.number, "step": self.record.to_dict()}
