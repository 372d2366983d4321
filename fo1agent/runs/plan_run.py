"""Runs a plan on a scene: groundings in one pass, then step by step, each finished step told as it happens.

It knows plans and the methods of a scene, not questions and not English; the wording is `answer`'s. A tool that fails,
or a thing that is not there, becomes the step's result (`Failure`), and the steps that need it pass the reason on; our
own bugs are raised.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np

from fo1agent.errors import BudgetExceeded, InputError, ReplyError, ToolError, ToolFailed
from fo1agent.pictures.color import PLAIN
from fo1agent.plans import language as p
from fo1agent.regions import geometry
from fo1agent.regions.boxes import centers, iou
from fo1agent.regions.ids import is_region_id, respelled
from fo1agent.regions.regions import Region, Regions
from fo1agent.regions.relations import between, related, stand
from fo1agent.results import bound, tells_of_regions, value_of
from fo1agent.runs.budget import Budget, Meter
from fo1agent.runs.step import FailureKind, StepEnd, StepRecord, StepStart
from fo1agent.runs.whereabouts import Landmark, landmark, places
from fo1agent.untrusted import UntrustedText
from fo1agent.words import lexicon
from fo1agent.words.colors import asks_for_color, is_color_words
from fo1agent.words.english import listed, with_article

# "The bus" takes for granted that there is one, so the best region will do from this probability on.
PRESUPPOSED = 0.02
# From this overlap on, two regions of one picture are the same thing.
SAME_BOX = 0.5

_EXPECTED = (ToolError, InputError, ReplyError)
_NEARER = 1e9  # pixels by which what touches is nearer than anything that does not


class SceneLike(Protocol):
    """What the executor asks of a scene; `fo1agent.Scene` is one."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def regions(self) -> Regions: ...
    def named(self) -> Regions: ...
    def ground_many(self, phrases: list[str], *, threshold: float | None = None) -> Mapping[str, Regions]: ...
    def read(self, target: Any = None) -> Any: ...
    def describe(self, target: Any = None) -> Any: ...
    def inspect(self, target: Any, question: str) -> Any: ...


class ToolLike(Protocol):
    """What the executor asks of a tool; `fo1agent.Tool` is one."""

    def with_regions(self, arguments: Mapping[str, Any], regions: Mapping[str, Regions]) -> dict[str, Any]: ...
    def call(self, scene: Any, arguments: Mapping[str, Any]) -> Any: ...


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step has no result.

    Attributes:
        reason: a clause for people: `no region looks like “bus” (best 0.04)`.
        kind: `unknown` word, thing `missing`, tool `error`, or `budget` used up.
    """

    reason: str
    kind: FailureKind


NO_TEXT = Failure("there is no text that can be read there", "missing")
"""What reading gives where there is nothing to read."""


@dataclass(frozen=True, slots=True)
class Open:
    """A result that is not known, because words of the question could not be judged.

    Attributes:
        if_so: what it is if those words hold wherever they may.
        at_least: a number is no less; None where there is no such bound, or it is no number.
        at_most: a number is no more.
    """

    if_so: int | float | bool | str
    at_least: int | float | None = None
    at_most: int | float | None = None


Result = Regions | int | float | bool | str | Failure | Open


class Run:
    """One plan on one scene. Iterate over it to run it; `results` then holds what each step gave.

    Attributes:
        results: step id → regions, number, bool, text, `Open` or `Failure`; complete once the run is over. Regions of
            which words could not be judged are all those that may be meant.
        maybe: step id → ids of its regions that may be meant, or may not.
        not_judged: step id → the words that could not be judged for it, or for the steps it takes its input from.
        rests_on: step id → the regions that its result rests on.
        touching: id of a step that measured no distance, as two boxes touch → the distance of their centres in pixels.
        landmarks: step id → what the things that it locates are on, in, at or beside, where that is known.
        assumed: places that the whole picture was taken for.
        taken: id of a step that gave several regions → the likeliest, which was taken where the question speaks of one,
            "the dog", or a tool takes one.
        points: step id → where to click, (x, y) in pixels, one for each region that the step rests on.
        stopped: the budget's limit that ended the run early; "" if none did.
    """

    def __init__(
        self, plan: p.Plan, scene: SceneLike, meter: Meter | None = None, tools: Mapping[str, ToolLike] | None = None
    ) -> None:
        self.plan = plan
        self.tools = tools or {}
        self.scene = scene
        self.meter = meter or Meter(Budget())
        self.results: dict[str, Result] = {}
        self.maybe: dict[str, frozenset[str]] = {}
        self.not_judged: dict[str, tuple[str, ...]] = {}
        self.rests_on: dict[str, Regions] = {}
        self.touching: dict[str, float] = {}
        self.landmarks: dict[str, Landmark] = {}
        self.points: dict[str, tuple[tuple[float, float], ...]] = {}
        self.stopped = ""
        self.taken: dict[str, Region] = {}
        self.assumed: dict[str, None] = {}
        self._grounded: dict[str, Regions] = {}
        self._unlikely: dict[str, Regions] = {}

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
        above = (words for ref, _ in step.inputs() for words in self.not_judged.get(ref, ()))
        self.not_judged[step.id] = tuple(dict.fromkeys(above))
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
        if isinstance(result, str) and any(self.maybe.get(ref) for ref, _ in step.inputs()):
            result = Open(result)  # said of a thing that may not be the one that is meant
        self.results[step.id] = result
        rests_on = self.rests_on.setdefault(step.id, result if isinstance(result, Regions) else Regions.empty())
        failure = result if isinstance(result, Failure) else None
        return StepRecord(
            step.id,
            step.op,
            _arguments(step),
            asked="" if failure else self._asked(step),
            gave=failure.reason if failure else self._gave(step, result),
            value=None if isinstance(result, (Regions, Failure, Open)) else result,
            regions=rests_on,
            seconds=time.perf_counter() - start,
            error=failure.reason if failure else "",
            failure=failure.kind if failure else None,
            not_judged=self.not_judged[step.id],
            points=self.points.get(step.id, ()),
        )

    def _survives(self, step: Any) -> bool:
        """Reading goes on with the whole picture when the thing to read was not found, if the plan says so; whether
        there is any text is known where none was read."""
        if isinstance(step, p.Says) and step.words is None:
            return self.results[step.of] is NO_TEXT
        if step.op != "read" or step.otherwise != "picture" or step.to is not None:
            return False
        failure = self.results[step.of]
        return isinstance(failure, Failure) and failure.kind in ("missing", "unknown")

    # ---- finding and choosing regions ----

    def _find(self, step: p.Find) -> Result:
        if step.phrase is None:
            return self.scene.named()
        found = self._ground(step.phrase)
        if step.purpose == "place" and not len(found):
            self.assumed = dict.fromkeys((*self.assumed, step.phrase))
            return Regions.from_list([self._whole(step.phrase)])
        if not len(found) and found.note:
            return Failure(found.note.rstrip("."), "unknown")
        if step.purpose == "the" and not len(found):
            likely = self._best_of_all(step.phrase)
            if not len(likely) or likely.scores[0] < PRESUPPOSED:
                return Failure(self._nothing_like(step.phrase), "missing")
            found = likely[:1]
        self._leave_open(step.id, found.ids if found.not_judged else (), found.not_judged)
        return found

    def _whole(self, label: str) -> Region:
        """The whole picture as a region."""
        width, height = self.scene.width, self.scene.height
        return Region(f"b0_0_{width}_{height}", (0.0, 0.0, float(width), float(height)), 1.0, label, "given")

    def _ground(self, phrase: str) -> Regions:
        """What a phrase names; those of the whole plan are looked for in one pass."""
        if phrase not in self._grounded:
            wanted = [s.phrase for s in self.plan.steps if isinstance(s, p.Find) and s.phrase]
            wanted += [one for s in self.plan.steps if isinstance(s, p.Are) for one in self._said_of(s)]
            # An id that no region has, or that is misspelt, is no fault of the other phrases.
            wanted = [phrase] if _is_by_id(phrase) else [one for one in wanted if not _is_by_id(one)]
            self.meter.model_call()
            self._grounded.update(self.scene.ground_many(list(dict.fromkeys(wanted))))
        return self._grounded[phrase]

    def _best_of_all(self, phrase: str) -> Regions:
        """The regions of a phrase, best first, however unlikely."""
        if phrase not in self._unlikely:
            self.meter.model_call()
            self._unlikely[phrase] = self.scene.ground_many([phrase], threshold=0.0)[phrase]
        return self._unlikely[phrase]

    def _said_of(self, step: p.Are) -> list[str]:
        """The phrases that say that a word holds: "red car", "person sitting on a bench"."""
        noun = self._phrase_of(step.of)
        return [_said_of(noun, words) for words in step.words]

    def _phrase_of(self, ref: str) -> str:
        """The phrase whose regions a step chooses among."""
        step = self.plan.step(ref)
        while not isinstance(step, (p.Find, p.UseTool)):
            step = self.plan.step(next(step.inputs())[0])
        return (step.phrase if isinstance(step, p.Find) else None) or "thing"

    def _leave_open(self, ref: str, ids: Iterable[str], words: Iterable[str] = ()) -> None:
        """Say which regions of a step may be meant or not, and the words that this hangs on."""
        self.maybe[ref] = frozenset(ids)
        self.not_judged[ref] = tuple(dict.fromkeys((*self.not_judged.get(ref, ()), *words)))

    def _regions(self, ref: str) -> Regions:
        result = self.results[ref]
        assert isinstance(result, Regions)
        return result

    def _unsure(self, ref: str) -> np.ndarray:
        """[N]: which of a step's regions may be meant or not."""
        maybe = self.maybe.get(ref, frozenset())
        return np.array([i in maybe for i in self._regions(ref).ids], dtype=bool)

    def _chosen(self, step: Any, surely: np.ndarray, perhaps: np.ndarray) -> Regions:
        """Those of `of` [N] that surely or perhaps fit, and which of them are open."""
        of = self._regions(step.of)
        fits = surely | perhaps
        unsure = (self._unsure(step.of) | ~surely)[fits]
        kept = of[fits]
        self._leave_open(step.id, np.array(kept.ids, dtype=object)[unsure])
        return kept

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
            return self._nothing_like(step.phrase)
        if isinstance(step, (p.Keep, p.Are, p.Except, p.KeepSide, p.Select, p.Exactly)) and not len(
            self._regions(step.of)
        ):
            return self._absent(step.of)
        if isinstance(step, p.Except) and not step.only:
            return f"there is no other {self._phrase_of(ref)}"
        return "nothing in the picture fits that description"

    def _nothing_like(self, phrase: str) -> str:
        found = self._best_of_all(phrase)
        best = f" (best {found.scores.max():.2f})" if len(found) else ""
        return f"no region looks like “{phrase}”{best}"

    def _keep(self, step: p.Keep) -> Result:
        of, to = self._regions(step.of), self._regions(step.to)
        if step.and_to is not None:
            if step.and_to == step.to and len(to) == 1:
                return Failure(f"there is only one {self._phrase_of(step.to)}, {to[0].name}", "missing")
            surely = perhaps = np.asarray(between(of, to, self._regions(step.and_to)).any(axis=1))
            if self._unsure(step.to).any() or self._unsure(step.and_to).any():
                surely = np.zeros(len(of), dtype=bool)
        else:
            pairs = stand(step.relation, of, to)
            if step.each:
                perhaps = surely = np.asarray(pairs.all(axis=1)) & (len(to) > 0)
                if self._unsure(step.to).any():
                    perhaps = np.ones(len(of), dtype=bool)
            else:
                sure = pairs[:, ~self._unsure(step.to)]
                perhaps, surely = np.asarray(pairs.any(axis=1)), np.asarray(sure.any(axis=1))
        of_all = self.plan.step(step.of)
        if isinstance(of_all, p.Find) and of_all.phrase is None and not step.negated:
            # "What is next to the cars?" does not ask for the cars.
            named = [i for ref in (step.to, step.and_to) if ref for i in self._regions(ref).ids]
            others = ~np.isin(np.array(of.ids, dtype=str), named)
            surely, perhaps = surely & others, perhaps & others
        return self._chosen(step, ~perhaps, ~surely) if step.negated else self._chosen(step, surely, perhaps)

    def _are(self, step: p.Are) -> Result:
        of = self._regions(step.of)
        surely, perhaps = np.zeros(len(of), dtype=bool), np.zeros(len(of), dtype=bool)
        already = set(self.not_judged[step.id])
        for words, phrase in zip(step.words, self._said_of(step), strict=True):
            found = self._ground(phrase)
            unknown = bool(found.note) and not len(found)
            bare = words.removeprefix("that ")
            told = [word for word in found.not_judged if word not in already]
            open_words = [bare] if unknown or told else []
            fits = np.ones(len(of), dtype=bool) if unknown else _among(of, found)
            perhaps |= fits
            surely |= fits & (not open_words)
            self._leave_open(step.id, (), open_words)
        return self._chosen(step, ~perhaps, ~surely) if step.negated else self._chosen(step, surely, perhaps)

    def _except(self, step: p.Except) -> Result:
        of, without = self._regions(step.of), self._regions(step.without)
        perhaps, surely = _among(of, without), _among(of, without[~self._unsure(step.without)])
        if self.not_judged.get(step.without):  # a kind that is only known by a more general name
            perhaps = np.ones(len(of), dtype=bool)
        return self._chosen(step, surely, perhaps) if step.only else self._chosen(step, ~perhaps, ~surely)

    def _side(self, step: p.KeepSide) -> Result:
        boxes, width, height = self._regions(step.of).boxes, self.scene.width, self.scene.height
        fits = _on_side(boxes, step.side, width, height, 1 / 3 if step.third else 1 / 2) ^ step.negated
        return self._chosen(step, fits, fits)

    def _select(self, step: p.Select) -> Result:
        of = self._regions(step.of)
        if not len(of):
            return Failure(self._absent(step.of), "missing")
        if step.number >= len(of) - step.rank + 1 > 0 and step.rank == 1 and len(of) == step.number:
            self._leave_open(step.id, np.array(of.ids, dtype=object)[self._unsure(step.of)])
            return of
        if self._unsure(step.of).any() or (step.to is not None and self._unsure(step.to).any()):
            # Which of them is meant hangs on words that could not be judged: any of them may be.
            self._leave_open(step.id, of.ids)
            return of
        if step.to is not None:
            to = self._regions(step.to)
            if not len(to):
                return Failure(self._absent(step.to), "missing")
            of = of[~np.isin(np.array(of.ids, dtype=str), to.ids)]
            order = geometry.nearest(of.boxes, to.boxes)
            order = order if step.by == "nearest" else order[::-1]
        else:
            of = self._measured(of) if step.by in ("largest", "smallest") else of
            order = np.argsort(_sort_key(step.by, of, self.scene), kind="stable")
        if step.rank + step.number - 1 > len(order):
            return Failure(f"there {_are_only(len(order))} to choose from", "missing")
        if step.by == "best" and len(of) > 1:
            self.taken[step.of] = of[int(order[step.rank - 1])]
        return of[[int(at) for at in order[step.rank - 1 : step.rank - 1 + step.number]]]

    def _exactly(self, step: p.Exactly) -> Result:
        of = self._regions(step.of)
        least, most = self._size(step.of)
        if least == most != step.number:
            there = "is only" if most == 1 else f"{'is' if most == 1 else 'are'}{' only' * (most < step.number)}"
            return Failure(f"there {there} {most or 'none'}, not {step.number}", "missing")
        self._leave_open(step.id, np.array(of.ids, dtype=object)[self._unsure(step.of)])
        return of

    # ---- numbers, truth, names ----

    def _bounds(self, ref: str | int) -> tuple[float, float]:
        """(least, greatest) that a number may be."""
        value = ref if isinstance(ref, int) else self.results[ref]
        if isinstance(value, Open):
            low, high = value.at_least, value.at_most
            return -math.inf if low is None else low, math.inf if high is None else high
        assert isinstance(value, (int, float))
        return value, value

    def _size(self, ref: str) -> tuple[int, int]:
        """(least, greatest) number of regions of a step."""
        unsure = self._unsure(ref)
        return int((~unsure).sum()), len(unsure)

    def _count(self, step: p.Count) -> Result:
        self.rests_on[step.id] = self._regions(step.of)
        return _number(*self._size(step.of))

    def _exists(self, step: p.Exists) -> Result:
        self.rests_on[step.id] = self._regions(step.of)
        least, most = self._size(step.of)
        return least > 0 if (least > 0) == (most > 0) else Open(True)

    def _kinds(self, step: p.Kinds) -> Result:
        self.rests_on[step.id] = self._regions(step.of)
        least, most = self._size(step.of)
        kinds = len(set(self.names(step.of)))
        return kinds if least == most else _number(min(1, least), kinds)

    def _which_kind(self, step: p.WhichKind) -> Result:
        found = self._regions(step.of)
        if not len(found):
            return Failure(self._absent(step.of), "missing")
        names = self.names(step.of)
        counts = {name: names.count(name) for name in dict.fromkeys(names)}
        if step.number is not None:
            wanted: Iterable[int] = [step.number]
        else:
            wanted = [max(counts.values()) if step.direction == "most" else min(counts.values())]
        winners = [name for name, number in counts.items() if number in wanted]
        if not winners:
            return Failure(f"there are {step.number} of none", "missing")
        fits = np.array([name in winners for name in names], dtype=bool)
        self.rests_on[step.id] = found[fits]
        return listed(winners)

    def _share(self, step: p.Share) -> Result:
        self.rests_on[step.id] = self._regions(step.among)
        (least, most), (fewest, all_of_them) = self._size(step.of), self._size(step.among)
        if not all_of_them:
            return Failure(self._absent(step.among), "missing")
        holds = _SHARES[step.quantity]
        said = {
            holds(part, whole)
            for whole in range(max(fewest, 1), all_of_them + 1)
            for part in range(min(least, whole), min(most, whole) + 1)
        }
        return said.pop() if len(said) == 1 else Open(holds(most, all_of_them))

    def _measure(self, step: p.Measure) -> Result:
        if step.quantity == "share":
            return self._filled(step)
        region = self._best(step.of)
        if step.quantity == "area":
            region = self._measured(Regions.from_list([region]))[0]
        self.rests_on[step.id] = Regions.from_list([region])
        x1, y1, x2, y2 = region.box
        if step.to is not None:
            to = self._best(step.to)
            self.rests_on[step.id] = Regions.from_list([region, to])
            gap = geometry.gaps(np.array([region.box]), np.array([to.box]))[0, 0]
            value = float(gap)
            if not value:
                middles = geometry.center_distances(np.array([region.box]), np.array([to.box]))
                self.touching[step.id] = float(middles[0, 0])
        else:
            sizes = {"area": region.area, "height": y2 - y1, "width": x2 - x1, "x": (x1 + x2) / 2, "y": (y1 + y2) / 2}
            value = float(sizes[step.quantity])
        return Open(value) if any(self._unsure(ref).any() for ref, _ in step.inputs()) else value

    def _filled(self, step: p.Measure) -> Result:
        """How much of the picture regions fill, in percent."""
        found = self._regions(step.of)
        if not len(found):
            raise _MissingError(self._absent(step.of))
        unsure = self._unsure(step.of)
        self.rests_on[step.id] = found = self._measured(found)
        whole = self.scene.width * self.scene.height
        least, most = (round(100 * some.covered() / whole, 1) for some in (found[~unsure], found))
        return _number(least, most)

    def _arithmetic(self, step: p.Arithmetic) -> Result:
        refs = [ref for ref in step.of if isinstance(ref, str)]
        if (
            step.operation == "sum"
            and len(refs) == len(step.of)
            and all(isinstance(self.plan.step(ref), p.Count) for ref in refs)
        ):
            # One region is one thing, even where two of the phrases fit it ("men, women and children").
            sure, maybe = set(), set()
            for ref in refs:
                of = next(self.plan.step(ref).inputs())[0]
                sure |= set(self._regions(of).ids) - self.maybe.get(of, frozenset())
                maybe |= set(self._regions(of).ids)
            return _number(len(sure), len(maybe))
        (low, high), *others = (self._bounds(ref) for ref in step.of)
        if step.operation == "percentage":
            return _percentage((low, high), others[0])
        if step.operation == "take_away" and sum(one for one, _ in others) > high:
            return Failure(f"there {_are_only(int(high))}", "missing")
        if step.operation == "sum":
            return _number_within(low + sum(one for one, _ in others), high + sum(one for _, one in others))
        if step.operation == "product":
            return _number_within(low * math.prod(one for one, _ in others), high * math.prod(one for _, one in others))
        low, high = low - sum(one for _, one in others), high - sum(one for one, _ in others)
        if step.operation == "absolute_difference":
            low, high = max(0.0 if isinstance(low, float) else 0, low, -high), max(abs(low), abs(high))
        return _number_within(low, high)

    def _ranked(self, ref: str | int) -> tuple[float, float]:
        """As `_bounds`, for a comparison: distances of boxes that touch are told apart by their centres."""
        low, high = self._bounds(ref)
        if isinstance(ref, str) and low == high and ref in self.touching:
            low = high = self.touching[ref] - _NEARER
        return low, high

    def _compare(self, step: p.Compare) -> Result:
        (a, b), (c, d) = self._ranked(step.left), self._ranked(step.right)
        known = a == b and c == d
        surely, never = {
            "more": (a > d, b <= c),
            "fewer": (b < c, a >= d),
            "at_least": (a >= d, b < c),
            "at_most": (b <= c, a > d),
            "equal": (known and a == c, b < c or a > d),
            "different": (b < c or a > d, known and a == c),
        }[step.comparison]
        return bool(surely) if surely or never or known else Open(True)

    def _which(self, step: p.Which) -> Result:
        numbers = [self._ranked(ref) for ref in step.of]
        if step.direction == "fewest":
            numbers = [(-high, -low) for low, high in numbers]
        most = max(low for low, _ in numbers)
        winners = [ref for ref, (_, high) in zip(step.of, numbers, strict=True) if high >= most]
        if len(winners) == 1:
            return self._called(winners[0])
        if all(isinstance(self.plan.step(ref), p.Measure) for ref in winners):
            ids = {self.rests_on[ref].ids[:1] for ref in winners}
            if len(ids) == 1:
                return Failure(f"both are the same thing here ({self.rests_on[winners[0]][0].name})", "missing")
        return "the same" if all(low == high for low, high in numbers) else Open(self._called(winners[0]))

    def _called(self, ref: str) -> str:
        """What a number counts or measures, in words: "dog", "leftmost boat"."""
        step, before, behind = self.plan.step(ref), "", ""
        while not isinstance(step, (p.Find, p.UseTool)):
            if isinstance(step, p.Select):
                behind += _AT.get(step.by, "")
            elif isinstance(step, p.KeepSide) and not step.negated:
                behind += f" on the {step.side}"
            elif isinstance(step, p.Are) and not step.negated:
                before = f"{' or '.join(step.words)} {before}"
            step = self.plan.step(next(step.inputs())[0])
        return f"{before}{(step.phrase if isinstance(step, p.Find) else None) or 'thing'}{behind}"

    def _colors(self, step: p.Colors) -> Result:
        found = self._regions(step.of)
        if not len(found):
            raise _MissingError(self._absent(step.of))
        self.rests_on[step.id] = found
        colors = self._colors_of(found)
        if len(set(colors)) == 1:
            return colors[0]
        return listed([f"{region.name} {color}" for region, color in zip(found, colors, strict=True)])

    def _colors_of(self, regions: Regions) -> list[str]:
        asked = [(region, "What color is it?") for region in regions]
        together = getattr(self.scene, "inspect_many", None)  # a scene of somebody else's may not have it
        if together is not None and len(asked) > 1:
            self.meter.model_call(sum(round(region.area) for region in regions))
            return [str(told.text) for told in together(asked)]
        colors = []
        for region, question in asked:
            self._pay_for(region)
            colors.append(str(self.scene.inspect(region, question).text))
        return colors

    def _same_color(self, step: p.SameColor) -> Result:
        regions = [region for ref in step.of for region in self._regions(ref)]
        if not regions:
            raise _MissingError(self._absent(step.of[0]))
        self.rests_on[step.id] = Regions.from_list(list({region.id: region for region in regions}.values()))
        same = len(set(self._colors_of(self.rests_on[step.id]))) == 1
        return Open(same) if any(self._unsure(ref).any() for ref in step.of) else same

    def _either(self, step: p.Either) -> Result:
        results = [self.results[ref] for ref in step.of]
        if any(isinstance(result, Open) for result in results):
            may_be = [name for name, result in zip(step.names, results, strict=True) if result is not False]
            return Open(" or ".join(may_be)) if may_be else "neither"
        so = [name for name, result in zip(step.names, results, strict=True) if result]
        if len(so) == len(results) == 2:
            return "both"
        return listed(so) if so else "neither" if len(results) == 2 else "none of these"

    def _place(self, step: p.Place) -> Result:
        region = self._best(step.of)
        box = np.array([region.box])
        to = None if step.to is None else self._best(step.to)
        self.rests_on[step.id] = Regions.from_list([region] if to is None else [region, to])
        for option in step.options:
            if to is None:
                holds = _on_side(box, option, self.scene.width, self.scene.height)[0]
            else:
                holds = related(option, Regions.from_list([region]), Regions.from_list([to]))[0, 0]
            if holds:
                return option.removesuffix("_of").replace("_", " ")
        return "neither" if len(step.options) == 2 else "none of these"

    def _logic(self, step: p.Logic) -> Result:
        values = [self.results[ref] for ref in step.of]
        if step.operation == "not":
            return Open(not values[0].if_so) if isinstance(values[0], Open) else not values[0]
        decides = step.operation == "any"  # one "yes" decides any of them, one "no" all of them
        if any(value is decides for value in values):
            return decides
        return Open(True) if any(isinstance(value, Open) for value in values) else not decides

    def names(self, ref: str) -> list[str]:
        """What each region of a step is called."""
        names = {r.id: r.label for r in self.scene.regions}
        return [names.get(r.id) or r.label or "thing" for r in self._regions(ref)]

    def _name(self, step: p.Name) -> Result:
        found = self._regions(step.of)
        if not len(found):
            return Failure(self._absent(step.of), "missing")
        self.rests_on[step.id] = found
        labels = self.names(step.of)
        counts = {label: labels.count(label) for label in dict.fromkeys(labels)}
        if len(counts) == 1:
            return next(iter(counts))
        return listed([f"{n} {lexicon.plural(label)}" if n > 1 else with_article(label) for label, n in counts.items()])

    def _locate(self, step: p.Locate) -> Result:
        found = self._regions(step.of)
        if not len(found):
            return Failure(self._absent(step.of), "missing")
        self.rests_on[step.id] = found
        named = self.scene.named()
        near = landmark(found, named[~np.isin(np.array(named.ids, dtype=str), [*self._ids_above(step)])])
        if near is not None:
            self.landmarks[step.id] = near
        return listed(places(found, self.scene.width, self.scene.height))

    def _segment(self, step: p.Segment) -> Result:
        found = self._regions(step.of)
        if not len(found):
            return Failure(self._absent(step.of), "missing")
        result = self._asked_of_scene("segment", found)
        if not result.masks:
            return Failure(result.note.rstrip(".") or "the segmenter has no mask of it", "missing")
        self.rests_on[step.id] = result.regions
        sizes, shares = [f"{mask.area}" for mask in result.masks], [f"{mask.share:.0%}" for mask in result.masks]
        box = "box" if len(sizes) == 1 else "boxes"
        return f"{listed(sizes)} pixels, {listed(shares)} of {'its' if box == 'box' else 'their'} {box}"

    def _point(self, step: p.Point) -> Result:
        found = self._regions(step.of)
        if not len(found):
            return Failure(self._absent(step.of), "missing")
        result = self._asked_of_scene("point", found)
        self.rests_on[step.id] = result.regions
        self.points[step.id] = tuple((float(point.x), float(point.y)) for point in result.points)
        return listed([f"({x:.0f}, {y:.0f})" for x, y in self.points[step.id]])

    def _corners(self, step: p.Corners) -> Result:
        found = self._regions(step.of)
        if not len(found):
            return Failure(self._absent(step.of), "missing")
        self.rests_on[step.id] = found
        return listed(["({:.0f}, {:.0f}, {:.0f}, {:.0f})".format(*region.box) for region in found])

    def _asked_of_scene(self, method: str, regions: Regions) -> Any:
        ask = getattr(self.scene, method, None)  # a scene of somebody else's may not have it
        if ask is None:
            raise ToolFailed(f"this scene cannot {method} regions")
        self.meter.model_call(self.scene.width * self.scene.height)
        return ask(regions)

    def _measured(self, regions: Regions) -> Regions:
        """Regions whose areas are compared: with their masks, where there is a segmenter, so that all are measured
        alike."""
        if not getattr(self.scene, "segments", False) or not len(regions):
            return regions
        return self._asked_of_scene("segment", regions).regions

    def _ids_above(self, step: Any) -> set[str]:
        """The ids of all regions that a step's input was made of: the question has named them already."""
        own = self.results.get(step.id)
        ids = set(own.ids) if isinstance(own, Regions) else set()
        return ids.union(*(self._ids_above(self.plan.step(ref)) for ref, _ in step.inputs()))

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
            ids = [str(k) for k in range(len(lines))]
            read = Regions.from_list([Region(i, line.box, line.score) for i, line in zip(ids, lines, strict=True)])
            kept = related(step.relation, read, Regions.from_list([to]))[:, 0]
            text = "\n".join(line.text for line, keep in zip(lines, kept, strict=True) if keep)
            self.rests_on[step.id] = Regions.from_list([to])
        elif region is not None:
            self.rests_on[step.id] = Regions.from_list([region])
        elif step.sides:
            text = "\n".join(line.text for line in self._at_sides(lines, step))
        if not text.strip():
            return NO_TEXT
        said = UntrustedText(" ".join(text.split()))
        if step.of is not None and region is None:  # the whole picture was read, for want of what was named
            self._leave_open(step.id, (), [step.noun or self._phrase_of(step.of)])
            return Open(said)
        if step.noun and (" " in step.noun or step.noun in ("number", "name")):
            # "The invisible sign of the bus", "the bus number": its text is read, and no more is known of it.
            self._leave_open(step.id, (), [step.noun])
            return Open(said)
        return said

    def _at_sides(self, lines: list[Any], step: p.Read) -> list[Any]:
        """The lines whose centre lies on the sides of the picture that are read."""
        boxes = np.array([line.box for line in lines], dtype=np.float64).reshape(-1, 4)
        width, height = self.scene.width, self.scene.height
        share = 1 / 3 if step.third else 1 / 2
        there = np.all([_on_side(boxes, side, width, height, share) for side in step.sides], axis=0).tolist()
        return [line for line, kept in zip(lines, there, strict=True) if kept]

    def _says(self, step: p.Says) -> Result:
        self.rests_on[step.id] = self.rests_on[step.of]
        text = self.results[step.of]
        if isinstance(text, Failure):
            return False  # there is none
        assert isinstance(text, (str, Open))
        read = text.if_so if isinstance(text, Open) else text
        if step.words is None:
            return bool(read)
        letters = _letters(step.words)
        said = letters in _letters(str(read)) if letters else step.words in str(read)
        return Open(said) if isinstance(text, Open) else said

    def _describe(self, step: p.Describe) -> Result:
        region = None if step.of is None else self._best(step.of)
        self._pay_for(region)
        result = self.scene.describe() if region is None else self.scene.describe(region)
        if region is not None:
            self.rests_on[step.id] = Regions.from_list([region])
        elif isinstance(getattr(result, "regions", None), Regions):
            self.rests_on[step.id] = result.regions
        return UntrustedText(result.text) or Failure("the model sees nothing here that it can name", "error")

    def _inspect(self, step: p.Inspect) -> Result:
        region = self._best(step.of)
        self._pay_for(region)
        self.rests_on[step.id] = Regions.from_list([region])
        reply = self.scene.inspect(region, step.question)
        if asks_for_color(step.question) and len(re.split(r", | and ", reply.text)) > PLAIN:
            self._leave_open(step.id, (), ["color"])
            return Open(UntrustedText(reply.text))
        return UntrustedText(reply.text) or Failure("the model gave no reply", "error")

    def _pay_for(self, region: Region | None) -> None:
        self.meter.model_call(round(region.area) if region else self.scene.width * self.scene.height)

    # ---- tools of others ----

    def _tool(self, step: p.UseTool) -> Result:
        tool = self.tools.get(step.name)
        if tool is None:
            return Failure(f"there is no tool {step.name} here", "error")
        passed = {name: self._passed(ref) for name, ref in step.of.items()}
        given = tool.with_regions(step.args, passed)
        self.meter.model_call()
        outcome = tool.call(cast(Any, self.scene), given)
        if not outcome.ok:
            return Failure(outcome.blamed.rstrip("."), "error")
        result = outcome.result
        if getattr(result, "abstained", False) is True:
            return Failure(f"{step.name}: {result.text}".rstrip("."), "error")
        if step.gives == "regions" and not tells_of_regions(result):
            return Failure(f"{step.name} gave no regions", "error")
        found = bound(result, self.scene, given)
        self.rests_on[step.id] = found if step.gives == "regions" else self._used(step, given, passed, found)
        open_words = tuple(getattr(result, "not_judged", ())) if len(found) or step.gives != "regions" else ()
        self._leave_open(step.id, found.ids if open_words else (), open_words)
        if step.gives == "regions":
            note = str(getattr(result, "note", "") or "")
            return Failure(note.rstrip("."), "unknown") if note and not len(found) else found
        unsure = bool(open_words) or any(self._unsure(ref).any() for ref in step.of.values())
        return _value_given(step, result, unsure)

    def _used(
        self, step: p.UseTool, given: Mapping[str, Any], passed: Mapping[str, Regions], found: Regions
    ) -> Regions:
        """The regions that a value rests on: those that the tool tells of, and those that it was given."""
        used = {region.id: region for region in found}
        for name, regions in passed.items():
            one = isinstance(given[name], str)  # the likeliest of several, where it takes one
            used |= {region.id: region for region in regions[: 1 if one else len(regions)] if region.id not in used}
            if one and len(regions) > 1:
                self.taken[step.of[name]] = regions[0]
        return Regions.from_list(list(used.values()))

    def _passed(self, ref: str) -> Regions:
        """The regions of a step for a tool, the likeliest first.

        Raises:
            _MissingError: it gave none.
        """
        self._best(ref)
        found = self._regions(ref)
        return found[np.argsort(-found.scores, kind="stable")]

    # ---- the record's text ----

    def _asked(self, step: Any) -> str:
        if step.op == "find":
            return f"“{step.phrase}”" if step.phrase else "everything"
        words = [
            str(getattr(step, key)).replace("_", " ")
            for key in ("relation", "side", "by", "operation", "comparison", "quantity", "direction", "number")
            if getattr(step, key, None) is not None and (key, step.op) != ("number", "select")
        ]
        if step.op == "select" and step.number > 1:
            words.append(str(step.number))
        if step.op == "are":
            words.append(" or ".join(step.words))
        if step.op == "says":
            words.append(f"“{step.words}”" if step.words else "anything")
        if step.op == "tool":
            words += [step.name, *map(str, step.args.values()), *map(self._short, step.of.values())]
        if getattr(step, "negated", False):
            words.insert(0, "not")
        place = [self._short(getattr(step, key, None)) for key in ("to", "and_to", "without")]
        if step.op in ("read", "describe", "inspect", "locate", "segment", "point", "corners", "place"):
            place.insert(0, self._short(step.of))
        if step.op == "compare":
            place.append(str(step.right) if isinstance(step.right, int) else str(self.results[step.right]))
        return " ".join(word for word in (*words, *place) if word)

    def _gave(self, step: Any, result: Result) -> str:
        if isinstance(result, Open):
            return _range_of(result)
        if isinstance(result, bool):
            return "yes" if result else "no"
        if isinstance(result, str):
            return f"“{result}”" if step.op == "read" else result
        if not isinstance(result, Regions):
            return f"{result:g}"
        if step.op == "find":
            shown = "  ".join(f"{r.name} {r.score:.2f}" for r in result[:8]) or "nothing"
        else:
            shown = " ".join(r.name for r in result[:8]) or "none"
        shown += f"  … {len(result)} in all" if len(result) > 8 else ""
        if step.op == "find" and result.by:
            shown += f"  by {listed(list(result.by))}"
        if self._own_open_words(step):
            shown += f"  not judged: {', '.join(self._own_open_words(step))}"
        return shown

    def _own_open_words(self, step: Any) -> list[str]:
        """The words that could not be judged and first stood in this step."""
        above = {words for ref, _ in step.inputs() for words in self.not_judged.get(ref, ())}
        return [words for words in self.not_judged.get(step.id, ()) if words not in above]

    def _short(self, ref: Any) -> str:
        found = self.results.get(ref) if isinstance(ref, str) else None
        return " ".join(r.name for r in found[:4]) if isinstance(found, Regions) else ""


def _value_given(step: p.UseTool, result: Any, unsure: bool) -> Result:
    """The number, truth or text that a tool gave, held to the kind that the plan says."""
    value = value_of(result)
    if value is None and step.gives == "number":
        least, most = (getattr(result, side, None) for side in ("at_least", "at_most"))
        if isinstance(least, (int, float)) or isinstance(most, (int, float)):
            return Open(most if isinstance(most, (int, float)) else least or 0, least, most)
    kind = "bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
    if value is None or kind != step.gives or (isinstance(value, float) and not math.isfinite(value)):
        wanted = {"number": "number", "bool": "yes or no", "text": "text"}[step.gives]
        return Failure(f"{step.name} gave no {wanted}", "error")
    if isinstance(value, str):
        return UntrustedText(" ".join(value.split())) or Failure(f"{step.name} gave no text", "error")
    given = value if isinstance(value, bool) else _number_within(value, value)
    return Open(given) if unsure and not isinstance(given, (Failure, Open, Regions)) else given


def _is_by_id(phrase: str) -> bool:
    """Whether a phrase names a region by its id, or would if it were spelled rightly."""
    return is_region_id(phrase) or respelled(phrase) is not None


def _are_only(number: int) -> str:
    return f"is only {number}" if number == 1 else f"are only {number}"


def _letters(text: str) -> str:
    """The letters and digits of a text, in one case: how it is spaced differs between signs and readers."""
    return "".join(char for char in text.casefold() if char.isalnum())


def _arguments(step: Any) -> dict[str, Any]:
    return step.model_dump(exclude={"id", "op"}, exclude_none=True, mode="json")


class _MissingError(Exception):
    """A step needs a region and its input gave none. Never leaves this module."""


def _said_of(noun: str, words: str) -> str:
    """The phrase that says it: "red car", "person that is sitting", "person that smokes"."""
    if is_color_words(words):
        return f"{words} {noun}"
    return f"{noun} {words}" if words.startswith("that ") else f"{noun} that is {words}"


def _number(least: float, most: float) -> int | float | Open:
    """A number, or the bounds of one."""
    if least == most:
        return least
    return Open(most, None if least == -math.inf else least, None if most == math.inf else most)


def _percentage(part: tuple[float, float], whole: tuple[float, float]) -> Result:
    """How many of a hundred (least, greatest), of a part and a whole that may be so many."""
    if not whole[1] > 0:
        return Failure("there are none to choose from", "missing")
    least = 100 * part[0] / whole[1]
    most = max(least, min(100.0, 100 * part[1] / whole[0] if whole[0] > 0 else 100.0))
    return _number_within(round(least, 1), round(most, 1))


def _number_within(least: float, most: float) -> Result:
    """As `_number`, but for results that nobody can count with: numbers multiplied over and over."""
    if any(p.LARGEST < abs(one) < math.inf for one in (least, most)):
        return Failure("the result is larger than any number that can be worked with", "error")
    return _number(least, most)


def _range_of(result: Open) -> str:
    if result.at_most is None and result.at_least is None:
        return "open"
    return f"{result.at_least or 0:g} to {'any number' if result.at_most is None else f'{result.at_most:g}'}"


def _among(of: Regions, others: Regions) -> np.ndarray:
    """[N]: which regions are among the others: of one id, or the same box by and large."""
    if not len(of) or not len(others):
        return np.zeros(len(of), dtype=bool)
    same_id = np.isin(np.array(of.ids, dtype=str), np.array(others.ids, dtype=str))
    return same_id | (iou(of.boxes, others.boxes).max(axis=1) >= SAME_BOX)


def _on_side(boxes: np.ndarray, side: str, width: int, height: int, share: float = 0.5) -> np.ndarray:
    """[N]: the centre lies in that half (share) of the picture; `middle` is the middle third of its width."""
    x, y = centers(boxes).T
    return {
        "left": x < width * share,
        "right": x >= width * (1 - share),
        "top": y < height * share,
        "bottom": y >= height * (1 - share),
        "middle": (x >= width / 3) & (x <= width * 2 / 3),
    }[side]


def _sort_key(by: str, regions: Regions, scene: SceneLike) -> np.ndarray:
    """[N], smallest first."""
    x1, y1, x2, y2 = regions.boxes.T
    x, y = centers(regions.boxes).T
    middle = np.array([scene.width / 2, scene.height / 2])
    keys: dict[str, Callable[[], np.ndarray]] = {
        "best": lambda: -regions.scores,
        "largest": lambda: -regions.areas(),
        "smallest": lambda: regions.areas(),
        "tallest": lambda: y1 - y2,
        "shortest": lambda: y2 - y1,
        "widest": lambda: x1 - x2,
        "narrowest": lambda: x2 - x1,
        "leftmost": lambda: x,
        "rightmost": lambda: -x,
        "topmost": lambda: y,
        "lowest": lambda: -y,
        "central": lambda: np.linalg.norm(centers(regions.boxes) - middle, axis=1),
        "middle": lambda: _from_the_median(regions.boxes),
    }
    return keys[by]()


def _from_the_median(boxes: np.ndarray) -> np.ndarray:
    """[N]: how many places each is from the middle of the row that they form, along the way they spread more."""
    spread = centers(boxes)
    axis = int(np.ptp(spread[:, 0]) < np.ptp(spread[:, 1]))
    return np.abs(np.argsort(np.argsort(spread[:, axis], kind="stable"), kind="stable") - (len(boxes) - 1) / 2)


_AT = {
    "leftmost": " on the left",
    "rightmost": " on the right",
    "topmost": " at the top",
    "lowest": " at the bottom",
    "central": " in the middle",
    "middle": " in the middle",
}

_SHARES: dict[str, Callable[[int, int], bool]] = {
    "all": lambda part, whole: part == whole,
    "not_all": lambda part, whole: part < whole,
    "most": lambda part, whole: 2 * part > whole,
    "half": lambda part, whole: 2 * part == whole,
    "at_least_half": lambda part, whole: 2 * part >= whole,
    "none": lambda part, whole: part == 0,
    "some": lambda part, whole: part > 0,
}

_DO: dict[str, Callable[[Run, Any], Result]] = {
    "find": Run._find,
    "keep": Run._keep,
    "are": Run._are,
    "except": Run._except,
    "side": Run._side,
    "select": Run._select,
    "exactly": Run._exactly,
    "count": Run._count,
    "kinds": Run._kinds,
    "exists": Run._exists,
    "share": Run._share,
    "measure": Run._measure,
    "arithmetic": Run._arithmetic,
    "compare": Run._compare,
    "which": Run._which,
    "which_kind": Run._which_kind,
    "colors": Run._colors,
    "same_color": Run._same_color,
    "either": Run._either,
    "place": Run._place,
    "logic": Run._logic,
    "name": Run._name,
    "locate": Run._locate,
    "segment": Run._segment,
    "point": Run._point,
    "corners": Run._corners,
    "read": Run._read,
    "says": Run._says,
    "describe": Run._describe,
    "inspect": Run._inspect,
    "tool": Run._tool,
}
