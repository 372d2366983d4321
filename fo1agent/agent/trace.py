"""What a run did: one record per step, in the order the steps finished."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fo1agent.types import Regions


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
