"""What a question comes to: the answer, its value, and what it rests on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fo1agent.errors import InputError
from fo1agent.plans.language import Plan
from fo1agent.regions.regions import Regions
from fo1agent.runs.step import StepRecord

Value = int | float | bool | str | list[Any] | None


@dataclass(frozen=True, eq=False)
class Answer:
    """What was found out, and what it rests on; or why nothing was.

    Attributes:
        question: as it was asked.
        text: the answer in English; for an abstention, what stood in the way.
        value: int, bool or str; a list with one of these (or None) per part of a chained question; None when abstained.
        abstained: no part of the question could be answered.
        not_judged: words of the question that could not be judged: ("woman",) where the model can only tell people.
            What hangs on them has no value, but for what holds either way ("no people, so no women").
        bounds: `{"at_least": 0, "at_most": 6}` for a number that hangs on such words; a list with one of these or None
            per part of a chained question; None where there is nothing to bound.
        reason: why it abstained, or why a part is missing; "" for a whole answer.
        evidence: the regions the answer rests on.
        candidates: regions that were looked at and are not evidence.
        plan: the plan that was run; None when the question was not understood.
        trace: what each step did.
        planner: who planned, or called the tools: `rules`, `fo1`, a chat model's name.
        notes: what a person should be told of how it came about, such as that the chat model could not be reached.
        unsupported: claims that the picture does not bear out, and why; they are not in the evidence.
        seconds: wall-clock time from question to answer.
        image: the picture (PIL), for `save`.
    """

    question: str
    text: str
    value: Value = None
    abstained: bool = False
    reason: str = ""
    evidence: Regions = field(default_factory=Regions.empty)
    candidates: Regions = field(default_factory=Regions.empty)
    plan: Plan | None = None
    trace: tuple[StepRecord, ...] = ()
    planner: str = ""
    notes: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    not_judged: tuple[str, ...] = ()
    bounds: Any = None
    seconds: float = 0.0
    image: Any = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.text

    @property
    def steps(self) -> tuple[StepRecord, ...]:
        """The trace, by the name the JSON gives it."""
        return self.trace

    def to_dict(self) -> dict[str, Any]:
        """`text, value, abstained, reason, evidence, regions, steps, …`, ready for JSON; evidence as short ids."""
        regions = {r.id: r for r in (*self.evidence, *self.candidates)}
        return {
            "question": self.question,
            "text": self.text,
            "value": self.value,
            "abstained": self.abstained,
            "reason": self.reason,
            "not_judged": list(self.not_judged),
            "bounds": self.bounds,
            "evidence": [region.name for region in self.evidence],
            "regions": [r.to_dict() for r in regions.values()],
            "steps": [record.to_dict() for record in self.trace],
            "planner": self.planner,
            "notes": list(self.notes),
            "unsupported": list(self.unsupported),
        }

    def save(self, path: str | Path) -> Path:
        """Write the answer as a picture (.png, .jpg, .webp) or as a report (.html).

        Raises:
            InputError: the ending is none of these, or the answer holds no picture.
        """
        path = Path(path)
        if self.image is None:
            raise InputError("This answer holds no picture to draw on; ask the agent about one.")
        if path.suffix.lower() in (".html", ".htm"):
            from fo1agent.runs import report

            path.write_text(report.html(self, self.image), encoding="utf-8")
        elif path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"):
            from fo1agent.pictures import drawing

            # Tags on a thumbnail cannot be read, so a small picture is enlarged.
            side = max(*self.image.size, 640)
            drawing.draw(self.image, self.evidence, self.candidates, side).save(path)
        else:
            raise InputError(f"Cannot save an answer as {path.name!r}. Use an ending of .png, .jpg, .webp or .html.")
        return path
