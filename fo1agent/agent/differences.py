"""What differs between two runs: their settings, plans, steps and answers.

Scores may differ by a tolerance, and boxes by a few pixels, because no two machines compute exactly the same; times are
shown and never count. Where the traces come from is not known here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import numpy as np

from fo1agent.plans.language import Plan
from fo1agent.regions.boxes import iou
from fo1agent.regions.regions import Region, Regions
from fo1agent.runs.answer import Answer
from fo1agent.runs.step import StepRecord
from fo1agent.traces.store import Trace
from fo1agent.words.english import listed

if TYPE_CHECKING:
    from PIL.Image import Image

TOLERANCE = 0.01
"""By how much a score may differ; a measured length by this share of it."""

SAME_BOX_IOU = 0.99
"""Boxes with at least this overlap are the same."""

# A region of another name with this overlap is what the other run called differently.
_SAME_THING_IOU = 0.5
_ABSENT = "–"


@dataclass(frozen=True)
class Difference:
    """One difference.

    Attributes:
        what: what differs: `score of r3`, `value`, `text`, …
        a: its value in the first run, in words.
        b: its value in the second.
        regions: name of the region that it is about in either run; "" where it is about none, or it has none.
    """

    what: str
    a: str
    b: str
    regions: tuple[str, str] = ("", "")

    def to_dict(self) -> dict[str, Any]:
        """`{what, a, b}`, and `regions` where it is about one."""
        fields: dict[str, Any] = {"what": self.what, "a": self.a, "b": self.b}
        return {**fields, "regions": list(self.regions)} if any(self.regions) else fields


@dataclass(frozen=True)
class StepPair:
    """A step of one run beside the step of the other that does the same; None where there is none.

    Attributes:
        a: of the first run.
        b: of the second.
        differences: how their results differ.
    """

    a: StepRecord | None
    b: StepRecord | None
    differences: tuple[Difference, ...]

    @property
    def shown(self) -> StepRecord:
        """Either of them, to say which step it is."""
        record = self.a or self.b
        assert record is not None
        return record

    def to_dict(self) -> dict[str, Any]:
        """`{a, b, tool, same, seconds, differences}`: a and b as ids of steps, or None."""
        return {
            "a": self.a and self.a.id,
            "b": self.b and self.b.id,
            "tool": self.shown.tool,
            "same": not self.differences,
            "seconds": [record and round(record.seconds, 4) for record in (self.a, self.b)],
            "differences": [one.to_dict() for one in self.differences],
        }


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        a: the first run.
        b: the second.
        settings: settings that differ: versions, model, picture, limits. They explain, and do not count.
        plan: how the plans differ; empty where the same was done, or no plan was made.
        steps: the steps of both, side by side.
        answer: how the answers differ.
        notes: what could not be compared, and why.
    """

    a: Trace
    b: Trace
    settings: tuple[Difference, ...]
    plan: tuple[Difference, ...]
    steps: tuple[StepPair, ...]
    answer: tuple[Difference, ...]
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether plans, steps and answers are the same."""
        return not self.plan and not self.answer and not any(pair.differences for pair in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """`{same, a, b, settings, plan, steps, answer, notes}`, ready for JSON."""
        return {
            "same": self.same,
            "a": _summary(self.a),
            "b": _summary(self.b),
            "settings": [one.to_dict() for one in self.settings],
            "plan": [one.to_dict() for one in self.plan],
            "steps": [pair.to_dict() for pair in self.steps],
            "answer": [one.to_dict() for one in self.answer],
            "notes": list(self.notes),
        }


def compare(a: Trace, b: Trace, tolerance: float = TOLERANCE, replayed: bool = False) -> Comparison:
    """Put two runs side by side.

    Args:
        a: the first run.
        b: the second.
        tolerance: by how much scores may differ; measured numbers by this share.
        replayed: `b` is `a` run again. What `b` has beyond a cut-off `a` is then not a difference, nor is an answer
            that `b` lacks because a chat model wrote it.
    """
    pairs = tuple(
        StepPair(one, other, tuple(_step(one, other, tolerance))) for one, other in _aligned(a.steps, b.steps)
    )
    notes: list[str] = []
    if replayed and not a.complete:
        pairs = tuple(StepPair(p.a, p.b, ()) if p.a is None else p for p in pairs)
        notes.append("The recorded run was cut off, so it has no answer, and maybe not all of its steps.")
    elif replayed and not b.complete:
        written = "The answer was written by a language model, which was not asked again."
        notes.append(written if a.steps else "Nothing was run: the planner had no plan for this question.")
    compared = not replayed or (a.complete and b.complete)
    answer = tuple(_answer(a.answer, b.answer, tolerance)) if compared else ()
    return Comparison(a, b, tuple(_settings(a, b)), tuple(_plans(a, b)), pairs, answer, tuple(notes))


def html(comparison: Comparison, image_a: Image | None, image_b: Image | None) -> str:
    """Both runs side by side as one HTML file, differences marked.

    Args:
        comparison: the result of `compare`.
        image_a: the first run's picture, upright; None if it is not available.
        image_b: the second's.
    """
    from fo1agent.runs import report

    names = [pair.differences for pair in comparison.steps]
    marked = [frozenset(one.regions[k] for found in names for one in found if one.regions[k]) for k in (0, 1)]
    a, b = (
        report.Side(
            f"{label}: {trace.name}",
            trace.answer,
            (trace.run.image.width, trace.run.image.height),
            image,
            differing,
            _took(trace),
        )
        for label, trace, image, differing in zip(
            "AB", (comparison.a, comparison.b), (image_a, image_b), marked, strict=True
        )
    )
    return report.side_by_side(
        a,
        b,
        title=comparison.a.run.question,
        verdict=verdict(comparison),
        same=comparison.same,
        steps=[(pair.a, pair.b, pair.differences) for pair in comparison.steps],
        plan=comparison.plan,
        answer=comparison.answer,
        settings=comparison.settings,
        notes=comparison.notes,
    )


def verdict(comparison: Comparison) -> str:
    """The result in a sentence: `Different: the answer, and 2 of 7 steps.`"""
    if comparison.same:
        return "The same."
    steps = sum(bool(pair.differences) for pair in comparison.steps)
    parts = ["the plan"] if comparison.plan else []
    parts += ["the answer"] if comparison.answer else []
    parts += [f"{steps} of {len(comparison.steps)} step{'s' if len(comparison.steps) > 1 else ''}"] if steps else []
    return f"Different: {listed(parts)}."


def _took(trace: Trace) -> dict[str, str]:
    """What a run took, in words."""
    took = {"answer after": f"{trace.answer.seconds:.2f} s"}
    if trace.run.opened is not None:
        took["opening the picture"] = f"{trace.run.opened.seconds:.2f} s"
    costs = trace.costs
    if costs is None:
        return took
    calls = dict(costs.calls)
    asked = calls.pop("llm", 0)
    took["passes of the model and OCR"] = ", ".join(f"{n} {kind}" for kind, n in calls.items()) or "none"
    took["time in models"] = f"{costs.seconds:.2f} s"
    took["pixels looked at"] = f"{costs.pixels:,}"
    if asked:
        took["replies of a language model"] = str(asked)
    if costs.input_tokens is not None or costs.output_tokens is not None:
        took["its tokens"] = f"{costs.input_tokens or 0} read, {costs.output_tokens or 0} written"
    return took


# ---- steps -----------------------------------------------------------------------------------------------------------


def _aligned(a: Sequence[StepRecord], b: Sequence[StepRecord]) -> Iterator[tuple[StepRecord | None, StepRecord | None]]:
    """Pairs in running order: steps of one tool and arguments, and what stands between them by tool alone."""
    matcher = SequenceMatcher(None, [_key(step) for step in a], [_key(step) for step in b], autojunk=False)
    for kind, a1, a2, b1, b2 in matcher.get_opcodes():
        if kind == "equal":
            yield from zip(a[a1:a2], b[b1:b2], strict=True)
            continue
        left, right = list(a[a1:a2]), list(b[b1:b2])
        while left:
            step = left.pop(0)
            place = next((k for k, other in enumerate(right) if other.tool == step.tool), None)
            if place is None:
                yield step, None
                continue
            yield from ((None, other) for other in right[:place])
            yield step, right[place]
            del right[: place + 1]
        yield from ((None, other) for other in right)


def _key(step: StepRecord) -> str:
    return json.dumps([step.tool, step.args], sort_keys=True, ensure_ascii=False, default=str)


def _step(a: StepRecord | None, b: StepRecord | None, tolerance: float) -> Iterator[Difference]:
    if a is None or b is None:
        yield Difference("step", a.text if a else _ABSENT, b.text if b else _ABSENT)
        return
    found = list(_results(a, b, tolerance))
    if _key(a) != _key(b):
        yield Difference("arguments", _arguments(a), _arguments(b))
    yield from found
    # The text says in words what was compared above; it is looked at only for what nothing else tells.
    if not found and _key(a) == _key(b) and not _same_text(a.text, b.text, tolerance):
        yield Difference("text", a.text, b.text)


def _results(a: StepRecord, b: StepRecord, tolerance: float) -> Iterator[Difference]:
    if not _same_text(a.error, b.error, tolerance):
        yield Difference("error", a.error or "none", b.error or "none")
    if not _same_value(a.value, b.value, tolerance):
        yield Difference("value", _words(a.value), _words(b.value))
    yield from _open_words(a, b)
    yield from _regions(a.regions, b.regions, tolerance)


def _regions(a: Regions, b: Regions, tolerance: float) -> Iterator[Difference]:
    """Regions by name; those of no common name by where they are."""
    mine, theirs = {r.name: r for r in a}, {r.name: r for r in b}
    for name in [name for name in mine if name in theirs]:
        yield from _region(mine.pop(name), theirs.pop(name), tolerance)
    for name, region in list(mine.items()):
        other, overlap = _likest(region, list(theirs.values()))
        if other is None or overlap < _SAME_THING_IOU:
            continue
        del mine[name], theirs[other.name]
        # A name such as b10_20_110_220 is the box, and moves with it.
        if overlap < SAME_BOX_IOU or region.index is not None or other.index is not None:
            yield Difference("region", name, f"{other.name} (IoU {overlap:.2f})", (name, other.name))
        yield from _region(region, other, tolerance, moved=False)
    for region in mine.values():
        yield Difference("region", f"{region.name} {region.score:.2f}", _ABSENT, (region.name, ""))
    for region in theirs.values():
        yield Difference("region", _ABSENT, f"{region.name} {region.score:.2f}", ("", region.name))


def _region(a: Region, b: Region, tolerance: float, moved: bool = True) -> Iterator[Difference]:
    names = (a.name, b.name)
    overlap = _iou(a, b)
    if moved and overlap < SAME_BOX_IOU:
        yield Difference(f"box of {a.name}", _corners(a), f"{_corners(b)} (IoU {overlap:.2f})", names)
    if a.label != b.label:
        yield Difference(f"label of {a.name}", a.label or "none", b.label or "none", names)
    if abs(a.score - b.score) > tolerance:
        yield Difference(f"score of {a.name}", f"{a.score:.3f}", f"{b.score:.3f}", names)


def _likest(region: Region, others: list[Region]) -> tuple[Region | None, float]:
    overlaps = [_iou(region, other) for other in others]
    if not overlaps:
        return None, 0.0
    best = int(np.argmax(overlaps))
    return others[best], overlaps[best]


def _iou(a: Region, b: Region) -> float:
    if a.box == b.box:  # an empty box overlaps nothing, itself included
        return 1.0
    return float(iou(np.array([a.box]), np.array([b.box]))[0, 0])


# ---- answers, plans, settings ----------------------------------------------------------------------------------------


def _answer(a: Answer, b: Answer, tolerance: float) -> Iterator[Difference]:
    if a.abstained != b.abstained:
        yield Difference("abstained", _words(a.abstained), _words(b.abstained))
    if not _same_value(a.value, b.value, tolerance):
        yield Difference("value", _words(a.value), _words(b.value))
    if not _same_bounds(a.bounds, b.bounds, tolerance):
        yield Difference("bounds", _bounds(a.bounds), _bounds(b.bounds))
    yield from _open_words(a, b)
    if not _same_text(a.text, b.text, tolerance):
        yield Difference("text", a.text, b.text)
    mine, theirs = ({r.name for r in answer.evidence} for answer in (a, b))
    if mine != theirs:
        yield Difference("evidence", _names(a.evidence), _names(b.evidence))
    if a.unsupported != b.unsupported:
        yield Difference("not borne out", _words(list(a.unsupported)) or "none", _words(list(b.unsupported)) or "none")


def _open_words(a: Answer | StepRecord, b: Answer | StepRecord) -> Iterator[Difference]:
    if set(a.not_judged) != set(b.not_judged):
        yield Difference("not judged", _words(list(a.not_judged)) or "none", _words(list(b.not_judged)) or "none")


def _same_bounds(a: Any, b: Any, tolerance: float) -> bool:
    mine, theirs = ([one and list(one.values()) for one in _listed(bounds)] for bounds in (a, b))
    return _same_value(mine, theirs, tolerance)


def _bounds(bounds: Any) -> str:
    return ", ".join(
        "none" if one is None else f"{_words(one['at_least'])} to {_words(one['at_most'])}" for one in _listed(bounds)
    )


def _listed(bounds: Any) -> list[dict[str, Any] | None]:
    return bounds if isinstance(bounds, list) else [bounds]


def _plans(a: Trace, b: Trace) -> Iterator[Difference]:
    if _steps_of(a.plan) != _steps_of(b.plan):
        yield Difference("plan", _outline(a.plan), _outline(b.plan))


def _steps_of(plan: Plan | None) -> Any:
    return plan and plan.steps


def _outline(plan: Plan | None) -> str:
    """`find “bus” → count → answer`."""
    if plan is None:
        return "none"
    return " → ".join(
        f"{step.op} “{step.phrase}”" if step.op == "find" and step.phrase else step.op for step in plan.steps
    )


def _settings(a: Trace, b: Trace) -> Iterator[Difference]:
    mine, theirs = _setting(a), _setting(b)
    for name in dict.fromkeys((*mine, *theirs)):
        one, other = mine.get(name, "unknown"), theirs.get(name, "unknown")
        if one != other:
            yield Difference(name, one, other)


def _setting(trace: Trace) -> dict[str, str]:
    run = trace.run
    model, regions = run.model, run.regions
    return {
        "question": run.question,
        "picture": (run.image.sha256 or run.image.id or run.image.source)[:16],
        "picture size": f"{run.image.width} x {run.image.height}",
        "model": model.name if model else "none",
        "weights": model.fingerprint[:16] if model else "none",
        "thresholds": _flat(model.thresholds) if model else "none",
        "boxes from": regions.source if regions else "unknown",
        "boxes": str(regions.count) if regions else "unknown",
        "planner": " ".join(filter(None, (run.planner.name, run.planner.llm))),
        "budget": _flat(run.budget),
        **run.versions,
        "platform": run.platform,
    }


def _summary(trace: Trace) -> dict[str, Any]:
    costs = trace.costs
    return {
        "name": trace.name,
        "started": trace.run.started,
        "question": trace.run.question,
        "complete": trace.complete,
        "answer": trace.answer.text,
        "seconds": trace.answer.seconds,
        "costs": costs and costs.to_dict(),
    }


# ---- values and words ------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"\d+\.\d+")


def _same_value(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_same_value(one, other, tolerance) for one, other in zip(a, b, strict=True))
    if isinstance(a, bool) != isinstance(b, bool):
        return False
    if isinstance(a, float) or isinstance(b, float):
        if not isinstance(a, (int, float)) or not isinstance(b, (int, float)):
            return False
        return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
    return a == b


def _same_text(a: str, b: str, tolerance: float) -> bool:
    """Equal but for decimal numbers within the tolerance, and the hundredth that is lost in two printed places."""
    if _NUMBER.sub("#", a) != _NUMBER.sub("#", b):
        return False
    pairs = zip(_NUMBER.findall(a), _NUMBER.findall(b), strict=True)
    return all(abs(float(one) - float(other)) <= tolerance + 0.01 for one, other in pairs)


def _words(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return str(value)


def _arguments(step: StepRecord) -> str:
    return _flat({"id": step.id, **step.args})


def _flat(fields: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_words(value)}" for name, value in fields.items())


def _corners(region: Region) -> str:
    return " ".join(f"{value:.0f}" for value in region.box)


def _names(regions: Regions) -> str:
    return " ".join(region.name for region in regions) or "none"
