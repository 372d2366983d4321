"""Turns what a run found into an `Answer`: its value, an English sentence, and the regions it rests on.

It reads the plan's structure, not the question, so a plan from any planner is worded the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fo1agent import lexicon
from fo1agent.agent import plan as p
from fo1agent.agent.budget import Meter
from fo1agent.agent.claims import regrounded
from fo1agent.agent.executor import Failure, Run, listed, with_article
from fo1agent.agent.trace import StepRecord
from fo1agent.errors import BudgetExceeded, InputError
from fo1agent.types import Region, Regions

Value = int | float | bool | str | list[Any] | None


@dataclass(frozen=True, eq=False)
class Answer:
    """What was found out, and what it rests on; or why nothing was.

    Attributes:
        question: as it was asked.
        text: the answer in English; for an abstention, what stood in the way.
        value: int, bool or str; a list with one of these (or None) per part of a chained question; None when abstained.
        abstained: no part of the question could be answered.
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
    plan: p.Plan | None = None
    trace: tuple[StepRecord, ...] = ()
    planner: str = ""
    notes: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    seconds: float = 0.0
    image: Any = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.text

    @property
    def steps(self) -> tuple[StepRecord, ...]:
        """The trace, by the name the JSON gives it."""
        return self.trace

    def to_dict(self) -> dict[str, Any]:
        """`text, value, abstained, reason, evidence, regions, steps, …`, ready for JSON; evidence as region ids."""
        regions = {r.id: r for r in (*self.evidence, *self.candidates)}
        return {
            "question": self.question,
            "text": self.text,
            "value": self.value,
            "abstained": self.abstained,
            "reason": self.reason,
            "evidence": list(self.evidence.ids),
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
            from fo1agent import report

            path.write_text(report.html(self, self.image), encoding="utf-8")
        elif path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"):
            from fo1agent import drawing

            # Tags on a thumbnail cannot be read, so a small picture is enlarged.
            side = max(*self.image.size, 640)
            drawing.draw(self.image, self.evidence, self.candidates, side).save(path)
        else:
            raise InputError(f"Cannot save an answer as {path.name!r}. Use an ending of .png, .jpg, .webp or .html.")
        return path


def conclude(run: Run, question: str, trace: tuple[StepRecord, ...], image: Any) -> Answer:
    """The answer of a finished run."""
    parts = run.plan.steps[-1]
    assert isinstance(parts, p.Answer)
    values: list[Any] = []
    reasons: list[str] = []
    for ref in parts.of:
        result = run.results[ref]
        if isinstance(result, Failure):
            values.append(None)
            reasons.append(result.reason)
        else:
            assert not isinstance(result, Regions)
            values.append(int(result) if isinstance(result, float) and result.is_integer() else result)
    evidence = _unique([r for ref in parts.of for r in _evidence(run, ref)])
    seen = _unique([r for step in run.plan.steps if step.op == "find" for r in _found(run, step.id)])
    candidates = [r for r in seen if r.id not in evidence.ids]
    return Answer(
        question=question,
        text=text_so_far(run),
        value=values[0] if len(values) == 1 else values if any(v is not None for v in values) else None,
        abstained=all(value is None for value in values),
        reason="; ".join(dict.fromkeys(reasons)),
        evidence=evidence,
        candidates=Regions.from_list(candidates),
        plan=run.plan,
        trace=trace,
        seconds=run.meter.seconds,
        image=image,
    )


def verified(answer: Answer, scene: Any, meter: Meter) -> Answer:
    """The answer after a second look at its evidence: regions that are not what they were found as are taken out and
    named, and where there was evidence and none is left, it is an abstention."""
    try:
        kept, wrong = regrounded(answer.evidence, scene, meter)
    except BudgetExceeded as exc:
        return replace(answer, notes=(*answer.notes, f"The evidence was not looked at again: {exc}."))
    if not wrong:
        return answer
    dropped = [region for region in answer.evidence if region not in kept]
    answer = replace(
        answer,
        evidence=Regions.from_list(kept),
        candidates=Regions.from_list([*answer.candidates, *dropped]),
        unsupported=tuple(wrong),
    )
    if kept:
        return replace(answer, text=f"{answer.text} (Not borne out: {'; '.join(wrong)}.)")
    reason = "; ".join(wrong)
    return replace(answer, text=f"I can't tell: {reason}.", value=None, abstained=True, reason=reason)


def text_so_far(run: Run) -> str:
    """The answer's sentences up to the first part that has no result yet; "" before there is one."""
    parts = run.plan.steps[-1]
    assert isinstance(parts, p.Answer)
    wording = _Wording(run)
    sentences: dict[str, None] = {}
    for ref in parts.of:
        if ref not in run.results:
            break
        result = run.results[ref]
        sentences[_cannot(result) if isinstance(result, Failure) else wording.sentence(ref)] = None
    return " ".join(sentences)


def _cannot(failure: Failure) -> str:
    if failure.kind == "budget":
        return f"I stopped before this was answered: {failure.reason}."
    return f"I can't tell: {failure.reason}."


def _found(run: Run, ref: str) -> Regions:
    result = run.results.get(ref)
    return result if isinstance(result, Regions) else Regions.empty()


def _unique(regions: list[Region]) -> Regions:
    return Regions.from_list(list({r.id: r for r in regions}.values()))


def _evidence(run: Run, ref: str) -> list[Region]:
    """The regions that a step's result rests on: its own, those they were compared with, and those of its inputs."""
    step = run.plan.step(ref)
    if isinstance(run.results[ref], Failure):
        return []
    own = list(run.rests_on.get(ref, ()))
    if isinstance(step, (p.Keep, p.KeepSide)):
        # A relation that does not hold between two definite things rests on both of them.
        subject = _evidence(run, step.of) if not own and isinstance(run.plan.step(step.of), p.Select) else []
        others = [step.to, step.and_to] if isinstance(step, p.Keep) else []
        return own + subject + [r for other in others if other for r in _evidence(run, other)]
    if isinstance(step, p.Select):
        return own + (_evidence(run, step.to) if step.to else [])
    if isinstance(step, p.Find):
        return own
    return own + [r for other, _ in step.inputs() for r in _evidence(run, other) if step.op != "read" or step.to]


_RELATION_WORDS = {
    "left_of": "to the left of",
    "right_of": "to the right of",
    "above": "above",
    "below": "below",
    "on": "on",
    "inside": "in",
    "near": "near",
    "next_to": "next to",
    "overlaps": "with",
    "in_front_of": "in front of",
    "behind": "behind",
    "between": "between",
}
_SIDE_WORDS = {
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
    "middle": "in the middle",
}
_ORDER_WORDS = {"best": "", "topmost": "highest", "central": "most central", "lowest": "lowest"}
_MORE_WORDS = {
    ("area", "more"): "larger than",
    ("area", "fewer"): "smaller than",
    ("height", "more"): "taller than",
    ("height", "fewer"): "shorter than",
    ("width", "more"): "wider than",
    ("width", "fewer"): "narrower than",
    ("distance", "more"): "farther from {to} than",
    ("distance", "fewer"): "closer to {to} than",
}
_ORDINALS = {2: "second", 3: "third", 4: "fourth", 5: "fifth", 6: "sixth", 7: "seventh", 8: "eighth", 9: "ninth"}


class _Wording:
    """English for the steps of one run. It remembers what it last named, so that a later sentence may say "its"."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.plan = run.plan
        self.mentioned: set[str] = set()

    def sentence(self, ref: str) -> str:
        """One step's result as a sentence."""
        text = getattr(self, "_" + self.plan.step(ref).op)(self.plan.step(ref))
        text = text.strip()
        return text[:1].upper() + text[1:] + ("" if text[-1:] in ".!?”" and not text.endswith("”") else ".")

    # ---- noun phrases ----

    def noun(self, ref: str, count: int = 1) -> str:
        """What a step's regions are called, without article: "red cars to the left of the bus"."""
        step = self.plan.step(ref)
        if isinstance(step, p.Find):
            phrase = step.phrase or "thing"
            self.mentioned.add(ref)
            return phrase if count == 1 else lexicon.plural(phrase)
        if isinstance(step, p.Select):
            word = _ORDER_WORDS.get(step.by, step.by)
            if step.rank > 1:
                word = f"{_ORDINALS.get(step.rank, f'{step.rank}th')} {word}".strip()
            if step.to is not None:
                preposition = "to" if step.by == "nearest" else "from"
                return f"{self.noun(step.of)} {word} {preposition} {self.definite(step.to)}"
            return f"{word} {self.noun(step.of)}".strip()
        assert isinstance(step, (p.Keep, p.KeepSide))
        return f"{self.noun(step.of, count)} {self._relation(step)}"

    def _relation(self, step: p.Keep | p.KeepSide) -> str:
        negation = "not " if step.negated else ""
        if isinstance(step, p.KeepSide):
            return f"{negation}{_SIDE_WORDS[step.side]}"
        second = f" and {self.definite(step.and_to)}" if step.and_to else ""
        return f"{negation}{_RELATION_WORDS[step.relation]} {self.definite(step.to)}{second}"

    def definite(self, ref: str) -> str:
        """The thing with its article: "the bus"; "a bus" where any would do."""
        step = self.plan.step(ref)
        if isinstance(step, p.Find) and step.purpose != "the":
            return with_article(self.noun(ref))
        return f"the {self.noun(ref, self._many(ref))}"

    def _many(self, ref: str) -> int:
        return max(len(_found(self.run, ref)), 1)

    def counted(self, ref: str) -> str:
        """ "3 dogs", "1 dog", "no dogs" for a count step."""
        step = self.plan.step(ref)
        assert isinstance(step, p.Count)
        number = self.run.results[ref]
        assert isinstance(number, int)
        return f"{number or 'no'} {self.noun(step.of, number)}"

    def _base(self, ref: str) -> tuple[str, list[p.Keep | p.KeepSide]]:
        """The step below all relations, and the relations, innermost first."""
        relations: list[p.Keep | p.KeepSide] = []
        step = self.plan.step(ref)
        while isinstance(step, (p.Keep, p.KeepSide)):
            relations.insert(0, step)
            step = self.plan.step(step.of)
        return step.id, relations

    def _are(self, of: str, count: int, zero: str = "no") -> str:
        """ "There are 3 dogs", "2 people are to the left of the bus"."""
        base, relations = self._base(of)
        verb = "is" if count == 1 else "are"
        said = f"{count or zero} {self.noun(base, count)}"
        if not relations:
            return f"there {verb} {said}"
        return f"{said} {verb} {' and '.join(self._relation(r) for r in relations)}"

    # ---- sentences, one per kind of step ----

    def _count(self, step: p.Count) -> str:
        number = self.run.results[step.id]
        assert isinstance(number, int)
        return self._are(step.of, number)

    def _exists(self, step: p.Exists) -> str:
        found = bool(self.run.results[step.id])
        base, relations = self._base(step.of)
        if isinstance(self.plan.step(base), p.Select) and relations:  # "the dog": there is one, is the relation true?
            negation = "" if found else "not "
            said = " and ".join(self._relation(r) for r in relations)
            return f"{'yes' if found else 'no'}, {self.definite(base)} is {negation}{said}"
        if not found:
            return f"no, I see no {self.noun(step.of, 1)}"
        return f"yes, {self._are(step.of, len(_found(self.run, step.of)))}"

    def _arithmetic(self, step: p.Arithmetic) -> str:
        number = self.run.results[step.id]
        assert isinstance(number, (int, float))
        if not all(isinstance(self.plan.step(ref), p.Count) for ref in step.of):
            return f"{number:g}"
        parts = [self.counted(ref) for ref in step.of]
        if step.operation == "sum":
            return f"{number:g} in total: {listed(parts)}"
        if number < 0:
            return f"there are {-number:g} fewer: {listed(parts)}"
        return f"the difference is {number:g}: {listed(parts)}"

    def _measure(self, step: p.Measure) -> str:
        number = self.run.results[step.id]
        assert isinstance(number, (int, float))
        what = self.definite(step.of)
        if step.to is not None:
            return f"there are {number:.0f} pixels between {what} and {self.definite(step.to)}"
        if step.quantity == "area":
            return f"the box of {what} covers {number:.0f} square pixels"
        return f"the box of {what} is {number:.0f} pixels {'high' if step.quantity == 'height' else 'wide'}"

    def _compare(self, step: p.Compare) -> str:
        yes = "yes" if self.run.results[step.id] else "no"
        left = self.plan.step(step.left)
        right = self.plan.step(step.right) if isinstance(step.right, str) else None
        if isinstance(left, p.Measure) and isinstance(right, p.Measure):
            words = _MORE_WORDS.get((left.quantity, step.comparison), f"equal in {left.quantity} to")
            words = words.format(to=self.definite(left.to) if left.to else "")
            negation = "" if self.run.results[step.id] else "not "
            return f"{yes}, {self.definite(left.of)} is {negation}{words} {self.definite(right.of)}"
        if isinstance(left, p.Count):
            if right is None:
                number = self.run.results[left.id]
                assert isinstance(number, int)
                return f"{yes}, {self._are(left.of, number)}"
            if isinstance(right, p.Count):
                kept = self.plan.step(left.of)
                if isinstance(kept, (p.Keep, p.KeepSide)) and kept.of == right.of:  # "are the dogs on the couch"
                    number, all_of_them = self.run.results[left.id], self.run.results[right.id]
                    if all_of_them == 1:
                        negation = "" if number else "not "
                        return f"{yes}, the only {self.noun(right.of)} is {negation}{self._relation(kept)}"
                    those = f"all {number}" if number == all_of_them else f"{number or 'none'} of the {all_of_them}"
                    verb = "is" if number == 1 else "are"
                    return f"{yes}, {those} {self.noun(right.of, 2)} {verb} {self._relation(kept)}"
                return f"{yes}: {listed([self.counted(left.id), self.counted(right.id)])}"
        return yes

    def _which(self, step: p.Which) -> str:
        winner = str(self.run.results[step.id])
        steps = [self.plan.step(ref) for ref in step.of]
        if all(isinstance(s, p.Count) for s in steps):
            parts = listed([self.counted(ref) for ref in step.of])
            if winner == "the same":
                return f"the same: {parts}"
            return f"{lexicon.plural(winner)}: there are {parts}"
        return "neither" if winner == "the same" else f"the {winner}"

    def _place(self, step: p.Place) -> str:
        value = str(self.run.results[step.id])
        for option in step.options:
            if option.removesuffix("_of").replace("_", " ") == value:
                where = _SIDE_WORDS[option] + " of the picture" if step.to is None else _RELATION_WORDS[option]
                to = "" if step.to is None else " " + self.definite(step.to)
                return f"{self.definite(step.of)} is {where}{to}"
        return f"{self.definite(step.of)} is {value}"

    def _logic(self, step: p.Logic) -> str:
        yes = "yes" if self.run.results[step.id] else "no"
        parts = [self.sentence(ref) for ref in step.of]
        stripped = [part.removeprefix("Yes, ").removeprefix("No, ").rstrip(".") for part in parts]
        return f"{yes}: {listed(stripped)}"

    def _read(self, step: p.Read) -> str:
        text = f"“{self.run.results[step.id]}”"
        if step.to is not None:
            return f"the text {_RELATION_WORDS[step.relation or 'near']} {self.definite(step.to)} reads {text}"
        if step.of is None or not _found(self.run, step.of):
            return f"the text in the picture reads {text}"
        base, _ = self._base(step.of)
        under = self.plan.step(base)
        found = under.of if isinstance(under, p.Select) else base
        again = found in self.mentioned
        if step.noun:
            bearer = f"its {step.noun}" if again else f"the {step.noun} of {self.definite(step.of)}"
        else:
            bearer = "it" if again else self.definite(step.of)
        return f"{bearer} reads {text}"

    def _describe(self, step: p.Describe) -> str:
        return str(self.run.results[step.id])

    def _inspect(self, step: p.Inspect) -> str:
        return str(self.run.results[step.id])

    def _name(self, step: p.Name) -> str:
        value = str(self.run.results[step.id])
        found = _found(self.run, step.of)
        one = len(found) == 1
        known = "," in value or " and " in value
        what = value if known else with_article(value) if one else f"{len(found)} {lexicon.plural(value)}"
        under = self.plan.step(step.of)
        if isinstance(under, (p.Keep, p.KeepSide)):
            return f"{self._relation(under)} I see {what}"
        if isinstance(under, p.Select) and under.by != "best":
            # Only what was chosen among names it: "the thing nearest to the person" is yet to be named.
            base = self.plan.step(self._base(under.of)[0])
            named = isinstance(base, p.Find) and value in (base.phrase or "").split()
            return f"the {self.noun(step.of)} is {found[0].name if named else f'{what} ({found[0].name})'}"
        return f"I see {what}"

    def _locate(self, step: p.Locate) -> str:
        found = _found(self.run, step.of)
        names = listed([r.name for r in found[:8]]) + (" and more" if len(found) > 8 else "")
        where = f"{'in' if self.run.results[step.id] == 'middle' else 'at'} the {self.run.results[step.id]}"
        verb = "is" if len(found) == 1 else "are"
        return f"the {self.noun(step.of, len(found))} {verb} {where} of the picture ({names})"
