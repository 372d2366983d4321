"""A step of a run: that it begins, that it is over, and the record of what it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from fo1agent.regions.regions import Regions


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One finished step.

    Attributes:
        id: the plan step's id.
        tool: its operation: `find`, `keep`, `count`, …
        args: its arguments; references to other steps are given as their ids.
        regions: the regions it gave, or that its result rests on.
        value: its result when that is a number, a bool or text; else None.
        text: the result in a few words, for people.
        seconds: wall-clock time it took.
        error: why it gave no result; "" when it did.
        not_judged: words of the question that could not be judged, on which its result hangs.
    """

    id: str
    tool: str
    args: dict[str, Any]
    regions: Regions
    value: int | float | bool | str | None
    text: str
    seconds: float
    error: str = field(default="")
    not_judged: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """`{tool, args, text, regions, seconds}`, `error` and `not_judged` where there are any; regions by short id."""
        result: dict[str, Any] = {
            "id": self.id,
            "tool": self.tool,
            "args": self.args,
            "text": self.text,
            "regions": [region.name for region in self.regions],
            "seconds": round(self.seconds, 4),
        }
        if self.error:
            result["error"] = self.error
        if self.not_judged:
            result["not_judged"] = list(self.not_judged)
        return result


@dataclass(frozen=True, slots=True)
class StepStart:
    """A step begins.

    Attributes:
        number: 1 for the first of the question; it goes on counting where a second plan begins.
        id: the plan step's id, or the id of a chat model's tool call.
        tool: its operation (`find`, `keep`, …), or the tool that was called (`ground`, `count`, …).
        args: its arguments; references to other steps are given as their ids.
    """

    type: ClassVar[Literal["step_start"]] = "step_start"
    number: int
    id: str
    tool: str
    args: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """`{type, number, id, tool, args}`."""
        return {"type": self.type, "number": self.number, "id": self.id, "tool": self.tool, "args": self.args}


@dataclass(frozen=True, slots=True)
class StepEnd:
    """A step is over, with a result or with an error; every `StepStart` is followed by one."""

    type: ClassVar[Literal["step_end"]] = "step_end"
    number: int
    record: StepRecord

    def to_dict(self) -> dict[str, Any]:
        """`{type, number, step}`, the step as `StepRecord.to_dict` gives it."""
        return {"type": self.type, "number": self.number, "step": self.record.to_dict()}
