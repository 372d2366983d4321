"""The answer to a question: its text, its value, and what it rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    SkipValidation,
    ValidationInfo,
    computed_field,
    model_validator,
)
from pydantic.dataclasses import dataclass

from fo1agent.errors import InputError
from fo1agent.plans.language import Plan
from fo1agent.regions.regions import Region, Regions
from fo1agent.results import Bounds
from fo1agent.runs.record import STRICT, AnswerValue, Named, RegionPart, Texts, dump, listed, plain, read_region
from fo1agent.runs.step import StepRecord
from fo1agent.whole import whole


def _in_order(bounds: Any) -> Any:
    for one in bounds if isinstance(bounds, list) else [bounds]:
        try:
            known = [float(v) for v in (one["at_least"], one["at_most"]) if v is not None] if one else []
        except OverflowError:
            raise ValueError("too large a number") from None
        if len(known) == 2 and known[0] > known[1]:
            raise ValueError(f"at_least, {known[0]:g}, is above at_most, {known[1]:g}")
    return bounds


@dataclass(frozen=True, eq=False, config=STRICT)
class Answer:
    """An answer, and what it rests on; or an abstention, and why.

    Attributes:
        question: as it was asked.
        text: the answer in English; for an abstention, the reason.
        value: int, bool or str; a list with one of these (or None) per part of a chained question; None when abstained.
        abstained: no part of the question could be answered.
        not_judged: words of the question that could not be judged: ("woman",) where the model only knows people. What
            depends on them has no value, except what holds either way ("no people, so no women").
        bounds: `{"at_least": 0, "at_most": 6}` for a number that depends on such words; a list with one of these or
            None per part of a chained question; None where there is nothing to bound.
        reason: why it abstained, or why a part is missing; "" for a whole answer.
        evidence: the regions the answer rests on.
        candidates: regions that were looked at and are not evidence.
        plan: the plan that was run; None when the question was not understood.
        trace: the steps.
        planner: what planned, or called the tools: `rules`, `fo1`, a chat model's name.
        notes: what a person should know about the run, such as that the chat model could not be reached.
        unsupported: claims that no result supports, and why; they are not in the evidence.
        seconds: wall-clock time from question to answer.
        image: the picture (PIL), for `save`.
    """

    question: Annotated[str, Field(exclude=True)]
    text: str
    value: AnswerValue = None
    abstained: bool = False
    reason: str = ""
    evidence: Named = Field(default_factory=Regions.empty)
    candidates: Annotated[Named, Field(exclude=True)] = Field(default_factory=Regions.empty)
    plan: Annotated[SkipValidation[Plan | None], Field(exclude=True)] = None
    trace: Annotated[tuple[StepRecord, ...], Field(exclude=True)] = ()
    planner: str = ""
    notes: Texts = ()
    unsupported: Texts = ()
    not_judged: Annotated[Texts, Field(description="words of the question that could not be judged")] = ()
    bounds: Annotated[
        Bounds | list[Bounds | None] | None,
        AfterValidator(_in_order),
        PlainSerializer(plain, return_type=Bounds | list[Bounds | None] | None),
        Field(description="of a number that hangs on them; one or null for each part of a chained question"),
    ] = None
    seconds: Annotated[float, Field(exclude=True)] = 0.0
    image: Annotated[Any, Field(exclude=True, repr=False)] = None

    def __str__(self) -> str:
        return self.text

    @property
    def steps(self) -> tuple[StepRecord, ...]:
        """The steps, by their name in JSON."""
        return self.trace

    @property
    def points(self) -> dict[str, tuple[float, float]]:
        """Where to click, if that was asked: region id → (x, y) in pixels of the picture."""
        return {
            region.id: point
            for step in self.trace
            for region, point in zip(step.regions, step.points, strict=False)  # most steps have none
        }

    @computed_field
    @property
    def regions(self) -> tuple[RegionPart, ...]:
        """Evidence and candidates as a trace has them."""
        return tuple(RegionPart.of(region) for region in self._regions().values())

    @model_validator(mode="before")
    @classmethod
    def _of_json(cls, told: Any, info: ValidationInfo) -> Any:
        """The fields of a JSON object: `regions` with their boxes, of which `evidence` and the steps name some."""
        if not isinstance(told, dict) or "regions" not in told:
            return told
        regions = [(one, read_region(one, info)) for one in listed(told, "regions")]
        known = {one["id"]: region for one, region in regions}
        evidence = listed(told, "evidence")
        if len(known) < len(regions) or len(set(map(str, evidence))) < len(evidence):
            raise ValueError("a region is told twice")
        if unknown := sorted({str(one) for one in evidence} - known.keys()):
            raise ValueError(f"evidence names {', '.join(unknown)}, which is not among the regions")
        fields = {name: value for name, value in told.items() if name not in ("regions", "steps")}
        return {
            "question": "",
            **fields,
            "evidence": Regions.from_list([known[one] for one in evidence]),
            "candidates": Regions.from_list([region for one, region in known.items() if one not in evidence]),
            "trace": tuple(listed(told, "steps")),
        }

    def to_dict(self) -> dict[str, Any]:
        """`question, text, value, abstained, reason, evidence, regions, steps, …`, ready for JSON; evidence as short
        ids."""
        return {
            "question": self.question,
            **dump(self, short=True, without=["regions"]),
            "regions": [region.to_dict() for region in self._regions().values()],
            "steps": [record.to_dict() for record in self.trace],
        }

    def _regions(self) -> dict[str, Region]:
        return {region.id: region for region in (*self.evidence, *self.candidates)}

    def save(self, path: str | Path) -> Path:
        """Write the answer as a picture (.png, .jpg, .webp) or as a report (.html).

        Raises:
            InputError: another ending, an answer without a picture, or a file that cannot be written (what was there
                stays).
        """
        path = Path(path)
        if self.image is None:
            raise InputError("This answer holds no picture to draw on; ask the agent about one.")
        ending = path.suffix.lower()
        if ending not in (".html", ".htm", ".png", ".jpg", ".jpeg", ".webp"):
            raise InputError(f"Cannot save an answer as {path.name!r}. Use an ending of .png, .jpg, .webp or .html.")
        try:
            with whole(path) as temporary:
                if ending in (".html", ".htm"):
                    from fo1agent.runs import report

                    temporary.write_text(report.html(self, self.image), encoding="utf-8")
                else:
                    from fo1agent.pictures import drawing

                    # Tags on a thumbnail cannot be read, so a small picture is enlarged.
                    side = max(*self.image.size, 640)
                    drawing.draw(self.image, self.evidence, self.candidates, side, self.points).save(temporary)
        except OSError as exc:
            raise InputError(f"{path} cannot be written: {exc.strerror or exc}.") from exc
        return path


def known_of(scene: Any) -> tuple[str, ...]:
    """What a person should know of an open picture, such as that it has very many regions, for `Answer.notes`."""
    note = str(getattr(scene, "note", "") or "").rstrip(".")  # a scene of somebody else's may have none
    return (f"{note}.",) if note else ()
