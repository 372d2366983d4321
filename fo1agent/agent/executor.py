"""Runs a plan on a scene: groundings in one pass, then step by step, each finished step told as it happens.

It knows plans and the methods of a scene, not questions and not English; the wording is `answer`'s. A tool that fails,
or a thing that is not there, becomes the step's result (`Failure`), and the steps that need it pass the reason on; our
own bugs are raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from fo1agent import geometry, lexicon
from fo1agent.agent import plan as p
from fo1agent.agent.budget import Budget, Meter
from fo1agent.agent.events import StepEnd, StepStart
from fo1agent.agent.trace import StepRecord
from fo1agent.boxes import areas, centers, parts
from fo1agent.errors import BudgetExceeded, InputError, ReplyError, ToolError
from fo1agent.ocr import UntrustedText
from fo1agent.types import Region, Regions

# "The bus" takes for granted that there is one, so the best region will do from this probability on.
PRESUPPOSED = 0.02

_EXPECTED = (ToolError, InputError, ReplyError)


class SceneLike(Protocol):
    """What the executor asks of a scene; `fo1agent.Scene` is one."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def regions(self) -> Regions: ...
    def named(self) -> Regions: ...
    @property
    def thresholds(self) -> Mapping[str, float]: ...
    def ground_many(self, phrases: list[str], *, threshold: float | None = None) -> Mapping[str, Regions]: ...
    def read(self, target: Any = None) -> Any: ...
    def describe(self, target: Any = None) -> Any: ...
    def inspect(self, target: Any, question: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step has no result.

    Attributes:
        reason: a clause for people: `no region looks like “bus” (best 0.04)`.
        kind: `unknown` word, thing `missing`, tool `error`, or `budget` used up.
    """

    reason: str
    kind: Literal["unknown", "missing", "error", "budget"]


Result = Regions | int | float | bool | str | Failure


class Run:
    """One plan on one scene. Iterate over it to run it; `results` then holds what each step gave.

    Attributes:
        results: step id → regions, number, bool, text or `Failure`; complete once the run is over.
        rests_on: step id → the regions that its result rests on.
        stopped: the budget's limit that ended the run early; "" if none did.
    """

    def __init__(self, plan: p.Plan, scene: SceneLike, meter: Meter | None = None) -> None:
        self.plan = plan
        self.scene = scene
        self.meter = meter or Meter(Budget())
        self.results: dict[str, Result] = {}
        self.rests_on: dict[str, Regions] = {}
        self.stopped = ""
        self._grounded: dict[str, Regions] = {}

    def __iter__(self) -> Iterator[StepRecord]:
        """Run the steps, one record for each that ran; the `answer` step only names results and has none."""
        return (event.record for event in self.events() if isinstance(event, StepEnd))

    def events(self, after: int = 0) -> Iterator[StepStart | StepEnd]:
        """Run the steps, told as they start and end.

        Args:
            after: steps that the question has had before this plan, from which the numbers go on.
        """
        for step in self.plan.steps[:-1]:
            if not self.stopped:
                try:
                    self.meter.step()
                except BudgetExceeded as exc:
                    self.stopped = str(exc)
            if self.stopped:
                self.results[step.id] = Failure(self.stopped, "budget")
                continue
            after += 1
            yield StepStart(after, step.id, step.op, _arguments(step))
            yield StepEnd(after, self._run(step))

    def _run(self, step: Any) -> StepRecord:
        start = time.perf_counter()
        blocked = next((r for ref, _ in step.inputs() if isinstance(r := self.results[ref], Failure)), None)
        if blocked is not None and not self._survives(step):
            result: Result = blocked
        else:
            try:
                result = _DO[step.op](self, step)
            except _MissingError as exc:
                result = Failure(str(exc), "missing")
            except _EXPECTED as exc:
                result = Failure(str(exc).rstrip("."), "error")
            except BudgetExceeded as exc:
                self.stopped = str(exc)
                result = Failure(self.stopped, "budget")
        self.results[step.id] = result
        rests_on = self.rests_on.setdefault(step.id, result if isinstance(result, Regions) else Regions.empty())
        return StepRecord(
            step.id,
            step.op,
            _arguments(step),
            rests_on,
            None if isinstance(result, (Regions, Failure)) else result,
            self._say(step, result),
            time.perf_counter() - start,
            result.reason if isinstance(result, Failure) else "",
        )

    def _survives(self, step: Any) -> bool:
        """Reading goes on with the whole picture when the thing to read was not found, if the plan says so."""
        if step.op != "read" or step.otherwise != "picture" or step.to is not None:
            return False
        failure = self.results[step.of]
        return isinstance(failure, Failure) and failure.kind in ("missing", "unknown")

    # ---- finding and choosing regions ----

    def _find(self, step: p.Find) -> Result:
        if step.phrase is None:
            return self.scene.named()
        if step.phrase not in self._grounded:
            phrases = dict.fromkeys(s.phrase for s in self.plan.steps if isinstance(s, p.Find) and s.phrase)
            self.meter.model_call()
            # Every score is wanted, to say how good the best one was; thresholds are applied below.
            self._grounded.update(self.scene.ground_many(list(phrases), threshold=0.0))
        found = self._grounded[step.phrase]
        if not len(found) and found.note:
            return Failure(found.note.rstrip("."), "unknown")
        if step.purpose != "the":
            found = found[found.scores >= self.scene.thresholds[step.purpose]]
            return found[~parts(found.boxes)] if step.purpose == "count" else found
        sure = found[found.scores >= self.scene.thresholds["exists"]]
        if len(sure):
            return sure
        likely = found[found.scores >= PRESUPPOSED]
        return likely[:1] if len(likely) else Failure(_nothing_like(step.phrase, found), "missing")

    def _regions(self, ref: str) -> Regions:
        result = self.results[ref]
        assert isinstance(result, Regions)
        return result

    def _best(self, ref: str) -> Region:
        """The best region of a step.

        Raises:
            _MissingError: it gave none.
        """
        found = self._regions(ref)
        if not len(found):
            raise _MissingError(self._absent(ref))
        return found[int(np.argmax(found.scores))]

    def _absent(self, ref: str) -> str:
        """Why a step gave no region, in words."""
        step = self.plan.step(ref)
        if isinstance(step, p.Find) and step.phrase is not None:
            return _nothing_like(step.phrase, self._grounded[step.phrase])
        if isinstance(step, (p.Keep, p.KeepSide, p.Select)) and not len(self._regions(step.of)):
            return self._absent(step.of)
        return "nothing in the picture fits that description"

    def _keep(self, step: p.Keep) -> Result:
        of, to = self._regions(step.of), self._regions(step.to)
        if step.and_to is not None:
            best, other = self._best(step.to), self._best(step.and_to)
            holds = geometry.between(of.boxes, np.array(best.box), np.array(other.box))
            holds &= ~np.isin(np.array(of.ids, dtype=str), [best.id, other.id])
        else:
            pairs = _related(step.relation, of.boxes, to.boxes)
            pairs &= np.array(of.ids, dtype=str)[:, None] != np.array(to.ids, dtype=str)[None]
            holds = pairs.any(axis=1)
        return of[holds ^ step.negated]

    def _side(self, step: p.KeepSide) -> Result:
        of = self._regions(step.of)
        return of[_on_side(of.boxes, step.side, self.scene.width, self.scene.height) ^ step.negated]

    def _select(self, step: p.Select) -> Result:
        of = self._regions(step.of)
        if not len(of):
            return Failure(self._absent(step.of), "missing")
        if step.to is not None:
            to = self._regions(step.to)
            if not len(to):
                return Failure(self._absent(step.to), "missing")
            of = of[~np.isin(np.array(of.ids, dtype=str), to.ids)]
            order = geometry.nearest(of.boxes, to.boxes)
            order = order if step.by == "nearest" else order[::-1]
        else:
            order = np.argsort(_sort_key(step.by, of, self.scene), kind="stable")
        if step.rank > len(order):
            return Failure(f"there are only {len(order)} to choose from", "missing")
        return of[[int(order[step.rank - 1])]]

    # ---- numbers, truth, names ----

    def _count(self, step: p.Count) -> Result:
        self.rests_on[step.id] = self._regions(step.of)
        return len(self._regions(step.of))

    def _exists(self, step: p.Exists) -> Result:
        self.rests_on[step.id] = self._regions(step.of)
        return len(self._regions(step.of)) > 0

    def _measure(self, step: p.Measure) -> Result:
        region = self._best(step.of)
        self.rests_on[step.id] = Regions.from_list([region])
        x1, y1, x2, y2 = region.box
        if step.to is not None:
            to = self._best(step.to)
            self.rests_on[step.id] = Regions.from_list([region, to])
            gap = geometry.gaps(np.array([region.box]), np.array([to.box]))[0, 0]
            middle = geometry.center_distances(np.array([region.box]), np.array([to.box]))[0, 0]
            return float(gap + 1e-3 * middle)  # boxes that touch are told apart by their centres
        return float({"area": region.area, "height": y2 - y1, "width": x2 - x1}[step.quantity])

    def _number(self, ref: str | int) -> float:
        value = ref if isinstance(ref, int) else self.results[ref]
        assert isinstance(value, (int, float))
        return value

    def _arithmetic(self, step: p.Arithmetic) -> Result:
        first, *others = (self._number(ref) for ref in step.of)
        counted = [self.plan.step(ref) for ref in step.of]
        if step.operation == "sum" and all(isinstance(c, p.Count) for c in counted):
            # One region is one thing, even where two of the phrases fit it ("men, women and children").
            return len({i for ref in step.of for i in self.rests_on[ref].ids})
        if step.operation == "sum":
            return first + sum(others)
        difference = first - sum(others)
        return abs(difference) if step.operation == "absolute_difference" else difference

    def _compare(self, step: p.Compare) -> Result:
        left, right = self._number(step.left), self._number(step.right)
        return bool(
            {
                "more": left > right,
                "fewer": left < right,
                "equal": left == right,
                "different": left != right,
                "at_least": left >= right,
                "at_most": left <= right,
            }[step.comparison]
        )

    def _which(self, step: p.Which) -> Result:
        numbers = [self._number(ref) for ref in step.of]
        best = max(numbers) if step.direction == "most" else min(numbers)
        winners = [ref for ref, number in zip(step.of, numbers, strict=True) if number == best]
        return self._called(winners[0]) if len(winners) == 1 else "the same"

    def _called(self, ref: str) -> str:
        """The phrase that a number counts or measures."""
        step = self.plan.step(ref)
        while not isinstance(step, p.Find):
            step = self.plan.step(next(step.inputs())[0])
        return step.phrase or "thing"

    def _place(self, step: p.Place) -> Result:
        region = self._best(step.of)
        box = np.array([region.box])
        to = None if step.to is None else self._best(step.to)
        self.rests_on[step.id] = Regions.from_list([region] if to is None else [region, to])
        for option in step.options:
            if to is None:
                holds = _on_side(box, option, self.scene.width, self.scene.height)[0]
            else:
                holds = _related(option, box, np.array([to.box]))[0, 0]
            if holds:
                return option.removesuffix("_of").replace("_", " ")
        return "neither" if len(step.options) == 2 else "none of these"

    def _logic(self, step: p.Logic) -> Result:
        values = [bool(self.results[ref]) for ref in step.of]
        return {"all": all(values), "any": any(values), "not": not values[0]}[step.operation]

    def _name(self, step: p.Name) -> Result:
        found = self._regions(step.of)
        if not len(found):
            return Failure(self._absent(step.of), "missing")
        self.rests_on[step.id] = found
        names = {r.id: r.label for r in self.scene.regions}
        labels = [names.get(r.id) or r.label or "thing" for r in found]
        counts = {label: labels.count(label) for label in dict.fromkeys(labels)}
        if len(counts) == 1:
            return next(iter(counts))
        return listed([f"{n} {lexicon.plural(label)}" if n > 1 else with_article(label) for label, n in counts.items()])

    def _locate(self, step: p.Locate) -> Result:
        found = self._regions(step.of)
        if not len(found):
            return Failure(self._absent(step.of), "missing")
        self.rests_on[step.id] = found
        width, height = self.scene.width, self.scene.height
        return listed(list(dict.fromkeys(_where(center, width, height) for center in centers(found.boxes))))

    # ---- reading and describing ----

    def _read(self, step: p.Read) -> Result:
        region: Region | None = None
        found = None if step.of is None else self.results[step.of]
        if step.of is not None and isinstance(found, Regions) and (len(found) or step.otherwise == "nothing"):
            region = self._best(step.of)
        self._pay_for(region)
        result = self.scene.read() if region is None else self.scene.read(region)
        lines = list(result.lines)
        text = str(result.text)
        if step.relation is not None and step.to is not None:
            to = self._best(step.to)
            boxes = np.array([line.box for line in lines], dtype=np.float64).reshape(-1, 4)
            kept = _related(step.relation, boxes, np.array([to.box]))[:, 0]
            text = "\n".join(line.text for line, keep in zip(lines, kept, strict=True) if keep)
            self.rests_on[step.id] = Regions.from_list([to])
        elif region is not None:
            self.rests_on[step.id] = Regions.from_list([region])
        return UntrustedText(" ".join(text.split())) or Failure("there is no text that can be read there", "missing")

    def _describe(self, step: p.Describe) -> Result:
        region = None if step.of is None else self._best(step.of)
        self._pay_for(region)
        result = self.scene.describe() if region is None else self.scene.describe(region)
        if region is not None:
            self.rests_on[step.id] = Regions.from_list([region])
        elif isinstance(getattr(result, "regions", None), Regions):
            self.rests_on[step.id] = result.regions
        return UntrustedText(result.text) or Failure("the model gave no description", "error")

    def _inspect(self, step: p.Inspect) -> Result:
        region = self._best(step.of)
        self._pay_for(region)
        self.rests_on[step.id] = Regions.from_list([region])
        reply = self.scene.inspect(region, step.question)
        return UntrustedText(reply.text) or Failure("the model gave no reply", "error")

    def _pay_for(self, region: Region | None) -> None:
        self.meter.model_call(round(region.area) if region else self.scene.width * self.scene.height)

    # ---- the record's text ----

    def _say(self, step: Any, result: Result) -> str:
        """What was done and what came of it, in one short line: `left of r3  r1 r5`."""
        if isinstance(result, Failure):
            return result.reason
        if step.op == "find":
            wanted = f"“{step.phrase}”" if step.phrase else "everything"
        else:
            words = [
                str(getattr(step, key)).replace("_", " ")
                for key in ("relation", "side", "by", "operation", "comparison", "quantity")
                if getattr(step, key, None) is not None
            ]
            place = [self._short(getattr(step, key, None)) for key in ("to", "and_to")]
            if step.op in ("read", "describe", "inspect", "locate", "place"):
                place.insert(0, self._short(step.of))
            if step.op == "compare":
                place.append(str(step.right) if isinstance(step.right, int) else str(self.results[step.right]))
            wanted = " ".join(word for word in (*words, *place) if word)
        if isinstance(result, Regions):
            if step.op == "find":
                shown = "  ".join(f"{r.name} {r.score:.2f}" for r in result[:8]) or "nothing"
            else:
                shown = " ".join(r.name for r in result[:8]) or "none"
            shown += f"  … {len(result)} in all" if len(result) > 8 else ""
        elif isinstance(result, bool):
            shown = "yes" if result else "no"
        elif isinstance(result, str):
            shown = f"“{result}”" if step.op == "read" else result
        else:
            shown = f"{result:g}"
        return f"{wanted}  {shown}" if wanted else shown

    def _short(self, ref: Any) -> str:
        found = self.results.get(ref) if isinstance(ref, str) else None
        return " ".join(r.name for r in found[:4]) if isinstance(found, Regions) else ""


def _arguments(step: Any) -> dict[str, Any]:
    return step.model_dump(exclude={"id", "op"}, exclude_none=True, mode="json")


class _MissingError(Exception):
    """A step needs a region and its input gave none. Never leaves this module."""


def listed(parts: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def with_article(noun: str) -> str:
    """ "a bus", "an orange"; plurals stay without."""
    if lexicon.is_plural(noun):
        return noun
    return ("an " if noun[:1].lower() in "aeio" or noun.lower().startswith("umbrella") else "a ") + noun


def _nothing_like(phrase: str, found: Regions) -> str:
    best = f" (best {found.scores.max():.2f})" if len(found) else ""
    return f"no region looks like “{phrase}”{best}"


def _related(relation: str, boxes_a: np.ndarray, boxes_b: np.ndarray) -> np.ndarray:
    """[N, M] as `geometry.relations`, and depth as far as flat boxes tell it: what stands lower is in front."""
    if relation not in ("in_front_of", "behind"):
        return geometry.relations(relation, boxes_a, boxes_b)
    shared = np.minimum(boxes_a[:, None, 2], boxes_b[None, :, 2]) > np.maximum(boxes_a[:, None, 0], boxes_b[None, :, 0])
    lower = boxes_a[:, None, 3] > boxes_b[None, :, 3]
    return shared & (lower if relation == "in_front_of" else ~lower)


def _on_side(boxes: np.ndarray, side: str, width: int, height: int) -> np.ndarray:
    """[N]: the centre lies in that half of the picture; `middle` is the middle third of its width."""
    x, y = centers(boxes).T
    return {
        "left": x < width / 2,
        "right": x >= width / 2,
        "top": y < height / 2,
        "bottom": y >= height / 2,
        "middle": (x >= width / 3) & (x <= width * 2 / 3),
    }[side]


def _where(center: np.ndarray, width: int, height: int) -> str:
    x, y = center
    across = "left" if x < width / 3 else "right" if x > width * 2 / 3 else ""
    down = "top" if y < height / 3 else "bottom" if y > height * 2 / 3 else ""
    return f"{down} {across}".strip() or "middle"


def _sort_key(by: str, regions: Regions, scene: SceneLike) -> np.ndarray:
    """[N], smallest first."""
    x1, y1, x2, y2 = regions.boxes.T
    x, y = centers(regions.boxes).T
    middle = np.array([scene.width / 2, scene.height / 2])
    keys: dict[str, Callable[[], np.ndarray]] = {
        "best": lambda: -regions.scores,
        "largest": lambda: -areas(regions.boxes),
        "smallest": lambda: areas(regions.boxes),
        "tallest": lambda: y1 - y2,
        "shortest": lambda: y2 - y1,
        "widest": lambda: x1 - x2,
        "narrowest": lambda: x2 - x1,
        "leftmost": lambda: x,
        "rightmost": lambda: -x,
        "topmost": lambda: y,
        "lowest": lambda: -y,
        "central": lambda: np.linalg.norm(centers(regions.boxes) - middle, axis=1),
    }
    return keys[by]()


_DO: dict[str, Callable[[Run, Any], Result]] = {
    "find": Run._find,
    "keep": Run._keep,
    "side": Run._side,
    "select": Run._select,
    "count": Run._count,
    "exists": Run._exists,
    "measure": Run._measure,
    "arithmetic": Run._arithmetic,
    "compare": Run._compare,
    "which": Run._which,
    "place": Run._place,
    "logic": Run._logic,
    "name": Run._name,
    "locate": Run._locate,
    "read": Run._read,
    "describe": Run._describe,
    "inspect": Run._inspect,
}
