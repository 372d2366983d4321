"""Turns what a run found into an `Answer`: its value, an English sentence, and the regions it rests on.

It reads the plan's structure, not the question, so a plan from any planner is worded the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from fo1agent.plans import language as p
from fo1agent.regions.ids import is_region_id
from fo1agent.regions.regions import Region, Regions
from fo1agent.runs.answer import Answer, Bounds, known_of
from fo1agent.runs.plan_run import Failure, Open, Run
from fo1agent.runs.step import StepRecord
from fo1agent.words import lexicon
from fo1agent.words.colors import asks_for_color, is_color_words
from fo1agent.words.english import listed, with_article
from fo1agent.words.phrases import TO_KNOW, may_be_looked_for


def conclude(run: Run, question: str, trace: tuple[StepRecord, ...], image: Any) -> Answer:
    """The answer of a finished run."""
    parts = run.plan.steps[-1]
    assert isinstance(parts, p.Answer)
    values: list[Any] = []
    reasons: list[str] = []
    bounds: list[Bounds | None] = []
    open_words: list[str] = []
    for ref in parts.of:
        result = run.results[ref]
        bounds.append(_bounds(result))
        open_words += run.not_judged.get(ref, ())
        if isinstance(result, Failure):
            values.append(None)
            reasons.append(result.reason)
        elif isinstance(result, Open):
            values.append(None)
            reasons.append(f"I can't judge {_quoted(run.not_judged[ref])}")
        else:
            assert not isinstance(result, Regions)
            values.append(int(result) if isinstance(result, float) and result.is_integer() else result)
    evidence = _unique([r for ref in parts.of for r in _evidence(run, ref)])
    seen = _unique([r for step in run.plan.steps if step.op == "find" for r in _found(run, step.id)])
    seen = _unique([*seen, *(near.region for near in run.landmarks.values())])
    candidates = [r for r in seen if r.id not in evidence.ids]
    text = text_so_far(run)
    if run.assumed:
        text += f" (I take the whole picture for the {listed(list(run.assumed))}.)"
    for ref, region in run.taken.items() if any(value is not None for value in values) else ():
        number = len(_found(run, ref))
        text += f" (Of the {number} {_Wording(run).noun(ref, number)} I took the likeliest, {region.name}.)"
    if parts.unused:
        text += f" (Not used: {_quoted(parts.unused)}.)"
    return Answer(
        question=question,
        text=text,
        value=values[0] if len(values) == 1 else values if any(v is not None for v in values) else None,
        abstained=all(value is None for value in values),
        reason="; ".join(dict.fromkeys(reasons)),
        evidence=evidence,
        candidates=Regions.from_list(candidates),
        plan=run.plan,
        trace=trace,
        not_judged=tuple(dict.fromkeys(open_words)),
        bounds=bounds[0] if len(bounds) == 1 else bounds if any(bounds) else None,
        seconds=run.meter.seconds,
        image=image,
        notes=_notes(run),
    )


def _notes(run: Run) -> tuple[str, ...]:
    """What a person should know: of the picture's regions, such as that there are very many; and what would make a word
    known."""
    notes = list(known_of(run.scene))
    unknown = {id(result): ref for ref, result in reversed(run.results.items()) if _is_unknown(result)}
    steps = (run.plan.step(ref) for ref in unknown.values())  # those where a word came up first
    if any(not isinstance(step, p.Find) or may_be_looked_for(step.phrase or "") for step in steps):
        notes.append(TO_KNOW)
    return tuple(notes)


def _is_unknown(result: Any) -> bool:
    return isinstance(result, Failure) and result.kind == "unknown"


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
    return _without_articles(" ".join(sentences), run)


def _without_articles(text: str, run: Run) -> str:
    """The text without "the" and "a" before ids by which the question names regions."""
    named = [step.phrase for step in run.plan.steps if isinstance(step, p.Find) and step.phrase]
    ids = "|".join(re.escape(one) for one in dict.fromkeys(named) if is_region_id(one))
    return re.sub(rf"\b(?:the|an?) (?=(?:{ids})\b)", "", text, flags=re.IGNORECASE) if ids else text


def _cannot(failure: Failure) -> str:
    if failure.kind == "budget":
        return f"I stopped before this was answered: {failure.reason}."
    return f"I can't tell: {failure.reason}."


def _bounds(result: Any) -> Bounds | None:
    """What is known of a number that is not."""
    if not isinstance(result, Open) or (result.at_least is None and result.at_most is None):
        return None
    return {"at_least": result.at_least, "at_most": result.at_most}


def _quoted(words: Iterable[str]) -> str:
    return listed([f"“{one}”" for one in words])


def _found(run: Run, ref: str) -> Regions:
    result = run.results.get(ref)
    return result if isinstance(result, Regions) else Regions.empty()


def _ids(run: Run, ref: str) -> tuple[str, ...]:
    return tuple(_found(run, ref).ids)


def _unique(regions: list[Region]) -> Regions:
    """Each region once, with its mask where one of them has it: the step that found it came before."""
    masked = {r.id: r for r in regions if r.mask is not None}
    return Regions.from_list(list(({r.id: r for r in regions} | masked).values()))


def _evidence(run: Run, ref: str) -> list[Region]:
    """The regions that a step's result rests on: its own, those they were compared with, and those of its inputs."""
    step = run.plan.step(ref)
    if isinstance(run.results[ref], Failure):
        return []
    if isinstance(step, p.Except):
        return list(run.rests_on.get(ref, ()))
    own = list(run.rests_on.get(ref, ()))
    if isinstance(step, (p.Keep, p.KeepSide, p.Are)):
        # A relation that does not hold between two definite things rests on both of them.
        subject = _evidence(run, step.of) if not own and _is_one(run.plan, step.of) else []
        others = [step.to, step.and_to] if isinstance(step, p.Keep) else []
        return own + subject + [r for other in others if other for r in _evidence(run, other)]
    if isinstance(step, p.Select):
        return own + (_evidence(run, step.to) if step.to else [])
    if isinstance(step, p.Find) or (isinstance(step, p.UseTool) and step.gives == "regions"):
        return own
    if isinstance(step, p.UseTool):  # its own are those that it was given; and those that these were chosen by
        return own + [r for other in step.of.values() for r in _evidence(run, other) if r.id not in _ids(run, other)]
    return own + [r for other, _ in step.inputs() for r in _evidence(run, other) if step.op != "read" or step.to]


def _is_one(plan: p.Plan, ref: str) -> bool:
    """Whether a step gives the one region of a definite noun phrase."""
    step = plan.step(ref)
    return isinstance(step, p.Select) and step.number == 1


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
    "contains": "around",
    "has_on": "under",
}
_SIDE_WORDS = {
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
    "middle": "in the middle",
}
_FAR_SIDE_WORDS = {
    "left": "on the far left",
    "right": "on the far right",
    "top": "at the very top",
    "bottom": "at the very bottom",
    "middle": "in the middle",
}
_ORDER_WORDS = {"best": "", "topmost": "highest", "central": "most central", "lowest": "lowest"}
# Places that things are on, not in.
_STOOD_ON = re.compile(
    r"\b(balcony|beach|bridge|coast|court|deck|dock|farm|floor|grass|ground|hill|ice|island|lawn|mountain|pavement|"
    r"pier|pitch|platform|playground|porch|road|roof|rooftop|sand|shore|sidewalk|slope|snow|stage|street|terrace|track|"
    r"trail|veranda|wharf)$"
)
_MORE_WORDS = {
    ("area", "more"): "larger than",
    ("area", "fewer"): "smaller than",
    ("height", "more"): "taller than",
    ("height", "fewer"): "shorter than",
    ("width", "more"): "wider than",
    ("width", "fewer"): "narrower than",
    ("y", "fewer"): "higher than",
    ("y", "more"): "lower than",
    ("x", "fewer"): "further left than",
    ("x", "more"): "further right than",
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
        """One step's result as a sentence; what could not be judged is said with it."""
        text = self.clause(ref)
        words = self.run.not_judged.get(ref, ())
        if words and words != ("color",):
            text = self._with_what_is_open(ref, text, words)
        return text[:1].upper() + text[1:] + ("" if text[-1:] in ".!?”" and not text.endswith("”") else ".")

    def clause(self, ref: str) -> str:
        """A sentence in small letters and without its full stop; one that is open as if what is open held."""
        return getattr(self, "_" + self.plan.step(ref).op)(self.plan.step(ref)).strip()

    def _with_what_is_open(self, ref: str, text: str, words: tuple[str, ...]) -> str:
        """ "there are 6 people; which of them are women I can't tell"."""
        nothing = self.run.results[ref] in (0, False) and not self._in_doubt(ref)
        if not isinstance(self.run.results[ref], Open):
            if nothing and len(words) == 1 and lexicon.is_thing(words[0]):
                many = isinstance(self.plan.step(ref), p.Count)
                return f"{text}, so no {lexicon.plural(words[0]) if many else words[0]}"
            return f"{text}; I can't judge {_quoted(words)}, but the answer is the same either way"
        text = re.sub(r"^(yes|no)[,:] ", "", text)
        origin = self._origin(ref, words[0])
        if isinstance(self.plan.step(origin), p.Read):  # text whose place was not found
            return f"{text}; whether that is what “{words[0]}” means I can't tell"
        if any(isinstance(one, p.Keep) and one.negated for one in self._below(ref)):
            # What is left of them hangs on the words: "elephants without a rider".
            base = self._base(next(iter(self.plan.step(ref).inputs()))[0])[0]
            return f"{self._are(base, len(_found(self.run, base)))}; {_quoted(words)} I can't judge"
        if len(words) != 1 or words[0].endswith(" of"):
            return f"{text}; {_quoted(words)} I can't judge"
        those = _found(self.run, origin)
        several = len(those) > 1
        step = self.plan.step(origin)
        if isinstance(step, p.Are) and f"that {words[0]}" in step.words and _is_verb(words[0]):
            does = _numbered_verb(words[0], several)
            return f"{text}; {'which of them' if several else 'whether it'} {does} I can't tell"
        base = self.noun(self._base(origin)[0])
        said = _as_predicate(words[0], several, base == "person" or lexicon.is_a(base, "person"))
        if not said:
            return f"{text}; {_quoted(words)} I can't judge"
        spoken_of = set(self._spoken_of(ref))
        together = set(those.ids) <= spoken_of or spoken_of <= set(those.ids)
        mixed = isinstance(self.plan.step(ref), (p.Compare, p.Arithmetic, p.Logic, p.Which))
        if mixed or (spoken_of and not together):
            which = f"which of the {self.noun(origin, 2)} are" if several else f"whether the {self.noun(origin)} is"
            return f"{text}; {which} {said} I can't tell"
        it = "the person" if len(those) and those.judged == "person" else "it"
        return f"{text}; {'which of them are' if several else f'whether {it} is'} {said} I can't tell"

    def _in_doubt(self, ref: str) -> bool:
        """Whether there are regions below a result that may be meant or not."""
        return bool(self.run.maybe.get(ref)) or any(self._in_doubt(one) for one, _ in self.plan.step(ref).inputs())

    def _below(self, ref: str) -> list[Any]:
        """The steps that choose among regions, from a result down to what was found."""
        step = self.plan.step(ref)
        found = []
        while not isinstance(step, p.Find) and (inputs := list(step.inputs())):
            step = self.plan.step(inputs[0][0])
            found.append(step)
        return found

    def _origin(self, ref: str, words: str) -> str:
        """The first step that words were left open by."""
        return next(step.id for step in self.plan.steps if words in self.run.not_judged.get(step.id, ()))

    def _spoken_of(self, ref: str) -> list[str]:
        """The ids of the regions that a sentence is about."""
        step = self.plan.step(ref)
        of = getattr(step, "of", None)
        refs = [of] if isinstance(of, str) else list(of or ())
        return [i for one in refs if isinstance(one, str) for i in _all_found(self.run, one)]

    def value(self, ref: str) -> Any:
        """A step's result; one that is open as it is if what could not be judged holds."""
        result = self.run.results[ref]
        return result.if_so if isinstance(result, Open) else result

    def yes(self, ref: str) -> str:
        return "yes" if self.value(ref) else "no"

    # ---- noun phrases ----

    def noun(self, ref: str, count: int = 1) -> str:
        """What a step's regions are called, without article: "red cars to the left of the bus"."""
        step = self.plan.step(ref)
        if isinstance(step, p.Find):
            self.mentioned.add(ref)
            return _numbered(self._judged(step), count)
        if isinstance(step, p.Select):
            word = _ORDER_WORDS.get(step.by, step.by)
            if self.run.maybe.get(ref) or not word:
                return self.noun(step.of, count)
            if step.rank > 1:
                word = f"{_ordinal(step.rank)} {word}".strip()
            if step.number > 1 and step.to is None:
                return f"{word} {self.noun(step.of, 2)}"
            if step.to is not None:
                preposition = "to" if step.by == "nearest" else "from"
                return f"{self.noun(step.of, step.number)} {word} {preposition} {self.definite(step.to)}"
            return f"{word} {self.noun(step.of)}".strip()
        if isinstance(step, p.Are):
            return self._noun_that_is(step, count)
        if isinstance(step, p.Exactly):
            return self.noun(step.of, count)
        if isinstance(step, p.Except):
            return self._noun_except(step, count)
        if isinstance(step, p.UseTool):
            labels = {region.label for region in _found(self.run, ref)}
            return _numbered((labels.pop() or "thing") if len(labels) == 1 else "thing", count)
        assert isinstance(step, (p.Keep, p.KeepSide))
        if isinstance(step, p.Keep) and step.negated and step.relation == "overlaps":
            return f"{self.noun(step.of, count)} without {self.definite(step.to)}"
        that = f"that {'is' if count == 1 else 'are'} " if step.negated else ""
        return f"{self.noun(step.of, count)} {that}{self._relation(step)}"

    def _noun_that_is(self, step: p.Are, count: int) -> str:
        judged = self._judged_words(step)
        if not judged:
            return self.noun(step.of, count)
        if not step.negated:
            return f"{' or '.join(judged)} {self.noun(step.of, count)}"
        below = self.plan.step(step.of)
        again = isinstance(below, p.Are) and below.negated and self._judged_words(below)
        that = "and" if again else "that is" if count == 1 else "that are"
        return f"{self.noun(step.of, count)} {that} not {' or '.join(judged)}"

    def _noun_except(self, step: p.Except, count: int) -> str:
        if step.only:
            kind = self.noun(step.without, count)
            return f"{self.noun(step.of, count)} that {f'is {with_article(kind)}' if count == 1 else f'are {kind}'}"
        left_out = [self._excluded(step.without)]
        while isinstance(below := self.plan.step(step.of), p.Except) and not below.only:
            step = below
            left_out.insert(0, self._excluded(step.without))
        return f"{self.noun(step.of, count)} other than {listed(left_out)}"

    def _judged(self, step: p.Find) -> str:
        """What was looked for, in the words that were judged."""
        if step.phrase is None:
            return "thing"
        judged = _found(self.run, step.id).judged
        said_less = self.run.not_judged.get(step.id) or (step.purpose != "the" and self._wide(step))
        return judged if judged and said_less else step.phrase

    def _wide(self, step: Any) -> str:
        """The noun of a phrase of which only what has one name was looked for: "sign", for stop signs; else ""."""
        noun = lexicon.singular(step.phrase or "").lower() if isinstance(step, p.Find) else ""
        return noun if lexicon.is_wider(noun) and _found(self.run, step.id).judged not in ("", noun) else ""

    def _judged_words(self, step: p.Are) -> list[str]:
        open_words = self.run.not_judged.get(step.id, ())
        return [words for words in step.words if words.removeprefix("that ") not in open_words]

    def _excluded(self, ref: str) -> str:
        step = self.plan.step(ref)
        if isinstance(step, p.Find) and step.purpose != "the":
            return self.noun(ref, 2)
        return self.definite(ref)

    def _relation(self, step: p.Keep | p.KeepSide) -> str:
        negation = "not " if step.negated else ""
        if isinstance(step, p.KeepSide):
            return f"{negation}{(_FAR_SIDE_WORDS if step.third else _SIDE_WORDS)[step.side]}"
        second = f" and {self.definite(step.and_to)}" if step.and_to else ""
        if step.and_to == step.to:
            return f"{negation}between the {self.noun(step.to, 2)}"
        if step.each:
            every = "both" if len(_found(self.run, step.to)) == 2 else "all"
            return f"{negation}{_RELATION_WORDS[step.relation]} {every} {self.noun(step.to, 2)}"
        to = self.plan.step(step.to)
        place = isinstance(to, p.Find) and to.purpose == "place" and step.relation == "inside"
        preposition = "on" if place and _STOOD_ON.search(self.noun(step.to)) else _RELATION_WORDS[step.relation]
        return f"{negation}{preposition} {self.definite(step.to)}{second}"

    def definite(self, ref: str) -> str:
        """The thing with its article: "the bus"; "a bus" where any would do."""
        step = self.plan.step(ref)
        if isinstance(step, p.Find) and step.purpose not in ("the", "place"):
            return with_article(self.noun(ref))
        if isinstance(step, p.Exactly) or (isinstance(step, p.Select) and step.number > 1):
            return f"the {step.number} {self.noun(ref, 2)}"
        if isinstance(step, (p.Are, p.Keep, p.KeepSide, p.Except)) and self._any_will_do(ref):
            return with_article(self.noun(ref))
        return f"the {self.noun(ref, self._many(ref))}"

    def _any_will_do(self, ref: str) -> bool:
        base = self.plan.step(self._base(ref)[0])
        return isinstance(base, p.Find) and base.purpose != "the"

    def _many(self, ref: str) -> int:
        return max(len(_found(self.run, ref)), 1)

    def counted(self, ref: str) -> str:
        """ "3 dogs", "1 dog", "no dogs" for a count step; the number itself for another."""
        step = self.plan.step(ref)
        number = self.value(ref)
        if not isinstance(step, p.Count):
            return f"{number:g}"
        return f"{number or 'no'} {self.noun(step.of, number)}"

    def _base(self, ref: str) -> tuple[str, list[Any]]:
        """The step below all conditions, and the conditions, innermost first."""
        conditions: list[Any] = []
        step = self.plan.step(ref)
        while isinstance(step, (p.Keep, p.KeepSide, p.Are)) or (isinstance(step, p.Except) and step.only):
            if not isinstance(step, p.Are) or self._judged_words(step):
                conditions.insert(0, step)
            step = self.plan.step(step.of)
        return step.id, conditions

    def _condition(self, step: Any, count: int = 1) -> str:
        """What a condition says of a thing, after "is": "red", "a dog", "not to the left of the bus"."""
        if isinstance(step, p.Are):
            words = self._judged_words(step)
            if step.negated and len(words) > 1:
                return f"neither {' nor '.join(words)}"
            return ("not " if step.negated else "") + " or ".join(words)
        if isinstance(step, p.Except):
            return self.definite(step.without) if count == 1 else self.noun(step.without, count)
        return self._relation(step)

    def _are(self, of: Any, count: int = 1, zero: str = "no") -> str:
        """ "There are 3 dogs", "2 people are to the left of the bus"."""
        step = self.plan.step(of)
        while count and isinstance(step, p.Are) and not self._judged_words(step):
            # What may be meant is fewer than there are: of 5 umbrellas 4 may be pink.
            of, step = step.of, self.plan.step(step.of)
            count = max(count, len(_found(self.run, of)))
        base, conditions = self._base(of)
        verb = "is" if count == 1 else "are"
        under = self.plan.step(base)
        if conditions and (isinstance(under, p.Exactly) or (isinstance(under, p.Select) and under.number > 1)):
            said = " and ".join(self._condition(one, count or 2) for one in conditions)
            return f"{count or 'none'} of {self.definite(base)} {verb} {said}"
        if count and all(isinstance(one, p.Are) and not one.negated for one in conditions):
            return f"there {verb} {count} {self.noun(of, count)}"
        said = f"{count or zero} {self.noun(base, count)}"
        if not conditions:
            return f"there {verb} {said}"
        return f"{said} {verb} {' and '.join(self._condition(one, count or 2) for one in conditions)}"

    # ---- sentences, one per kind of step ----

    def _count(self, step: p.Count) -> str:
        wide = self._wide(self.plan.step(self._base(step.of)[0]))
        others = f"; other {lexicon.plural(wide)} I can't judge" if wide else ""
        return f"{self._are(step.of, self.value(step.id))}{others}"

    def _exists(self, step: p.Exists) -> str:
        found = bool(self.value(step.id))
        base, conditions = self._base(step.of)
        several = _is_one(self.plan, base) and self.run.maybe.get(base) and len(_found(self.run, base)) > 1
        if several and isinstance(self.run.results[step.id], Open):
            return self._are(base, len(_found(self.run, base)))  # which of them is meant is open
        if self._one_is_meant(base) and (conditions or self.run.not_judged.get(step.id)):
            # "the dog", "r3": there is one, is the condition true?
            if not conditions:
                return f"{self.yes(step.id)}, I see {self.definite(base)}"
            if not found and len(conditions) == 1 and getattr(conditions[0], "negated", False):
                return f"no, {self.definite(base)} is {self._condition(conditions[0]).removeprefix('not ')}"
            negation = "" if found else "not "
            said = " and ".join(self._condition(one) for one in conditions)
            return f"{self.yes(step.id)}, {self.definite(base)} is {negation}{said}"
        if not found:
            return f"no, I see no {self.noun(step.of, 1)}"
        return f"{self.yes(step.id)}, {self._are(step.of, len(_found(self.run, step.of)))}"

    def _one_is_meant(self, ref: str) -> bool:
        """Whether a step gives one definite thing: "the dog", or a region by its id."""
        step = self.plan.step(ref)
        return _is_one(self.plan, ref) or (isinstance(step, p.Find) and is_region_id(step.phrase or ""))

    def _kinds(self, step: p.Kinds) -> str:
        number = self.value(step.id)
        noun = self.noun(step.of, 2).replace("pieces of ", "")
        return f"there {'is' if number == 1 else 'are'} {number or 'no'} kind{'' if number == 1 else 's'} of {noun}"

    def _which_kind(self, step: p.WhichKind) -> str:
        value = str(self.value(step.id))
        if step.number is not None:
            each = " of each" if " and " in value else ""
            return f"{value}: there {'is' if step.number == 1 else 'are'} only {step.number}{each}"
        names = [lexicon.plural(name) for name in re.split(r", | and ", value)]
        return f"{listed(names)}: there are the {step.direction} of {'these' if len(names) > 1 else 'them'}"

    def _share(self, step: p.Share) -> str:
        whole, part = len(_found(self.run, step.among)), len(_found(self.run, step.of))
        conditions = self._base(step.of)[1][len(self._base(step.among)[1]) :]
        said = " and ".join(self._condition(one, whole) for one in conditions) or "so"
        if not conditions and self.run.not_judged.get(step.id):
            return f"{self.yes(step.id)}, there {'is' if whole == 1 else 'are'} {whole} {self.noun(step.among, whole)}"
        if whole == 1:
            negation = "" if part else "not "
            return f"{self.yes(step.id)}, the only {self.noun(step.among)} is {negation}{said}"
        if part == whole == 2:
            return f"{self.yes(step.id)}, both {self.noun(step.among, 2)} are {said}"
        those = f"all {whole}" if part == whole else f"{part or 'none'} of the {whole}"
        return f"{self.yes(step.id)}, {those} {self.noun(step.among, 2)} {'is' if part == 1 else 'are'} {said}"

    def _arithmetic(self, step: p.Arithmetic) -> str:
        number = self.value(step.id)
        refs = [ref for ref in step.of if isinstance(ref, str)]
        given = [one for one in step.of if isinstance(one, int)]
        if not all(isinstance(self.plan.step(ref), p.Count) for ref in refs):
            return f"{number:g}"
        parts = [self.counted(ref) for ref in refs]
        if step.operation == "percentage":
            return self._percentage(refs, number)
        if given:
            sign = {"sum": "and {:g} more make", "take_away": "less {:g} make", "product": "times {:g} make"}
            said = sign.get(step.operation.replace("difference", "take_away"), "and {:g} differ by").format(sum(given))
            if len(refs) == 1 and isinstance(step.of[0], str):
                return f"{parts[0]} {said} {number:g}"
            return f"{number:g}: there {'is' if parts[0].startswith('1 ') else 'are'} {listed(parts)}"
        if isinstance(self.run.results[step.id], Open):
            parts = list(dict.fromkeys(parts))
            return f"there {'is' if parts[0].startswith('1 ') else 'are'} {listed(parts)}"
        if step.operation == "sum":
            return f"{number:g} in total: {listed(parts)}"
        if number < 0:
            return f"there are {-number:g} fewer: {listed(parts)}"
        return f"the difference is {number:g}: {listed(parts)}"

    def _percentage(self, refs: list[str], number: float) -> str:
        """ "50 %: 1 of the 2 cars is red"; of what is not known, as if it held."""
        of, among = (next(self.plan.step(ref).inputs())[0] for ref in refs)
        (base, of_it), (whole_base, of_whole) = self._base(of), self._base(among)
        part, whole = len(_found(self.run, of)), len(_found(self.run, among))
        said = " and ".join(self._condition(one, whole) for one in of_it[len(of_whole) :])
        if isinstance(self.run.results[refs[0]], Open):
            return f"there {'is' if whole == 1 else 'are'} {whole} {self.noun(among, whole)}"
        if base != whole_base or not said:
            return f"{number:.0f} %: {listed([self.counted(ref) for ref in refs])}"
        verb = "is" if part == 1 else "are"
        return f"{number:.0f} %: {part or 'none'} of the {whole} {self.noun(among, 2)} {verb} {said}"

    def _measure(self, step: p.Measure) -> str:
        number = self.value(step.id)
        if step.quantity == "share":
            return self._filled(step, number)
        what = self.definite(step.of)
        if step.to is not None:
            return f"there are {number:.0f} pixels between {what} and {self.definite(step.to)}"
        if step.quantity == "area" and any(one.mask is not None for one in self.run.rests_on[step.id]):
            return f"{what} fills {number:.0f} pixels"
        if step.quantity == "area":
            return f"the box of {what} covers {number:.0f} square pixels"
        if step.quantity in ("x", "y"):
            return f"{what} is {number:.0f} pixels from the {'left' if step.quantity == 'x' else 'top'}"
        return f"the box of {what} is {number:.0f} pixels {'high' if step.quantity == 'height' else 'wide'}"

    def _filled(self, step: p.Measure, number: float) -> str:
        found = self.run.rests_on[step.id]
        n = len(found)
        what = f"the {f'{n} ' if n > 1 else ''}{self.noun(step.of, n)}"
        share = "less than 1" if number < 1 else f"{number:.0f}"
        if not any(one.mask is None for one in found):
            return f"{what} {'fills' if n == 1 else 'fill'} {share} % of the picture"
        boxes = "the box of" if n == 1 else "the boxes of"
        return f"{boxes} {what} {'fills' if n == 1 else 'fill'} {share} % of the picture"

    def _compare(self, step: p.Compare) -> str:
        yes = self.yes(step.id)
        left = self.plan.step(step.left)
        right = self.plan.step(step.right) if isinstance(step.right, str) else None
        if isinstance(left, p.Measure) and isinstance(right, p.Measure):
            words = _MORE_WORDS.get((left.quantity, step.comparison), f"equal in {left.quantity} to")
            words = words.format(to=self.definite(left.to) if left.to else "")
            negation = "" if self.value(step.id) else "not "
            return f"{yes}, {self.definite(left.of)} is {negation}{words} {self.definite(right.of)}"
        if right is None and isinstance(left, p.Count):
            return f"{yes}, {self._are(left.of, self.value(left.id))}"
        if right is None:
            return f"{yes}: {self.clause(left.id)}"
        if isinstance(left, p.Count) and isinstance(right, p.Count):
            parts = dict.fromkeys((self.counted(left.id), self.counted(right.id)))
            if isinstance(self.run.results[step.id], Open):
                return f"there {'is' if next(iter(parts)).startswith('1 ') else 'are'} {listed(list(parts))}"
            return f"{yes}: {listed([self.counted(left.id), self.counted(right.id)])}"
        below = [ref for one in (left, right) for ref in self._counts_below(one.id)]
        return f"{yes}: {listed([self.counted(ref) for ref in dict.fromkeys(below)])}" if below else yes

    def _counts_below(self, ref: str) -> list[str]:
        step = self.plan.step(ref)
        if isinstance(step, p.Count):
            return [ref]
        return [found for other, _ in step.inputs() for found in self._counts_below(other)]

    def _which(self, step: p.Which) -> str:
        winner = str(self.value(step.id))
        steps = [self.plan.step(ref) for ref in step.of]
        if all(isinstance(s, p.Count) for s in steps):
            parts = listed(list(dict.fromkeys(self.counted(ref) for ref in step.of)))
            if isinstance(self.run.results[step.id], Open):
                return f"there {'is' if parts.startswith('1 ') else 'are'} {parts}"
            if winner == "the same":
                return f"the same: {parts}"
            return f"{lexicon.plural(winner)}: there are {parts}"
        return "neither" if winner == "the same" else f"the {winner}"

    def _colors(self, step: p.Colors) -> str:
        value, found = str(self.value(step.id)), _found(self.run, step.of)
        noun = self.noun(step.of, len(found))
        if any(region.name in value.split() for region in found):
            return f"the {noun} differ: {value}"
        return f"the {noun} {'is' if len(found) == 1 else 'are'} {value}"

    def _same_color(self, step: p.SameColor) -> str:
        things = listed([f"the {self.noun(ref, self._many(ref))}" for ref in step.of])
        same = "have the same color" if self.value(step.id) else "do not have the same color"
        return f"{self.yes(step.id)}, {things} {same}"

    def _either(self, step: p.Either) -> str:
        value = str(self.value(step.id))
        looked = self.plan.step(step.of[0])
        if isinstance(looked, p.Compare):
            return f"neither {' nor '.join(step.names)}" if value == "neither" else value
        of = looked.of if isinstance(looked, p.Exists) else None
        condition = None if of is None else self.plan.step(of)
        if isinstance(self.run.results[step.id], Open) and not isinstance(condition, p.Are):
            return "I can't tell which"
        if isinstance(condition, p.Are) and isinstance(self.run.results[step.id], Open):
            return f"I see {self.definite(self._base(condition.of)[0])}"
        if isinstance(condition, p.Are):
            said = {"both": " and ".join(step.names), "neither": f"neither {' nor '.join(step.names)}"}.get(
                value, value
            )
            base = self._base(condition.of)[0]
            return f"{self.definite(base)} is {said}" if _is_one(self.plan, base) else said
        kept = [next(iter(self.plan.step(ref).inputs()))[0] for ref in step.of]
        if value in ("both", "neither", "none of these") and _is_one(self.plan, self._base(kept[0])[0]):
            said = [" and ".join(self._condition(one) for one in self._base(of)[1]) for of in kept]
            joined = listed(said) if value == "both" else f"neither {' nor '.join(said)}"
            return f"{self.definite(self._base(kept[0])[0])} is {joined}"
        if value in ("both", "neither", "none of these"):
            return f"{value}: {listed(list(step.names))}"
        chosen = next((ref for ref, name in zip(step.of, step.names, strict=True) if name == value), None)
        of = next(iter(self.plan.step(chosen).inputs()))[0] if chosen else None
        base, conditions = self._base(of) if of else ("", [])
        if conditions and _is_one(self.plan, base):
            return f"{self.definite(base)} is {' and '.join(self._condition(one) for one in conditions)}"
        return value

    def _place(self, step: p.Place) -> str:
        value = str(self.value(step.id))
        for option in step.options:
            if option.removesuffix("_of").replace("_", " ") == value:
                where = _SIDE_WORDS[option] + " of the picture" if step.to is None else _RELATION_WORDS[option]
                to = "" if step.to is None else " " + self.definite(step.to)
                return f"{self.definite(step.of)} is {where}{to}"
        return f"{self.definite(step.of)} is {value}"

    def _logic(self, step: p.Logic) -> str:
        stripped = [re.sub(r"^(yes|no)[,:] ", "", self.clause(ref)) for ref in step.of]
        if len(stripped) == 2 and {self.run.results[ref] for ref in step.of} == {True, False}:
            return f"{self.yes(step.id)}: {stripped[0]}, but {stripped[1]}"
        return f"{self.yes(step.id)}: {listed(stripped)}"

    def _read(self, step: p.Read) -> str:
        text = f"“{self.value(step.id)}”"
        if step.to is not None:
            return f"the text {_RELATION_WORDS[step.relation or 'near']} {self.definite(step.to)} reads {text}"
        if step.of is None or not _found(self.run, step.of):
            places = _FAR_SIDE_WORDS if step.third else _SIDE_WORDS
            where = " and ".join(places[side] for side in step.sides)
            return f"the text {f'{where} of' if where else 'in'} the picture reads {text}"
        base, _ = self._base(step.of)
        under = self.plan.step(base)
        found = under.of if isinstance(under, p.Select) else base
        again = found in self.mentioned
        if step.noun and step.noun not in ("number", "name") and " " not in step.noun:
            bearer = f"its {step.noun}" if again else f"the {step.noun} of {self.definite(step.of)}"
        else:
            bearer = "it" if again else self.definite(step.of)
        return f"{bearer} reads {text}"

    def _says(self, step: p.Says) -> str:
        if isinstance(self.run.results[step.of], Failure):
            return "no, there is no text that I can read"
        return f"{self.yes(step.id)}, {self.clause(step.of)}"

    def _describe(self, step: p.Describe) -> str:
        return str(self.value(step.id))

    def _inspect(self, step: p.Inspect) -> str:
        value = str(self.value(step.id))
        if asks_for_color(step.question) and isinstance(self.run.results[step.id], Open) and "," in value:
            return f"{self.definite(step.of)} shows {value}, and which of them people call it by I can't tell"
        if asks_for_color(step.question) and is_color_words(value):
            return f"{self.definite(step.of)} is {value}"
        return value

    def _tool(self, step: p.UseTool) -> str:
        value = self.value(step.id)
        if isinstance(value, str):
            return value
        said = f"says {self.yes(step.id)}" if isinstance(value, bool) else f"gives {value:g}"
        used = [self._used(ref, step) for ref in dict.fromkeys(step.of.values())]
        return f"the tool {step.name} {said}{f' for {listed(used)}' if used else ''}"

    def _used(self, ref: str, step: p.UseTool) -> str:
        """What a tool was given of a step: "the cat", "the 2 remotes"."""
        used = len(set(self.run.rests_on[step.id].ids).intersection(_found(self.run, ref).ids))
        return f"the {f'{used} ' if used > 1 else ''}{self.noun(ref, used)}"

    def _name(self, step: p.Name) -> str:
        value = str(self.value(step.id))
        found = _found(self.run, step.of)
        one = len(found) == 1
        known = "," in value or " and " in value
        what = value if known else with_article(value) if one else f"{len(found)} {lexicon.plural(value)}"
        under = self.plan.step(step.of)
        if isinstance(under, p.Keep) and under.relation in ("has_on", "contains") and not under.negated:
            return f"{self.definite(under.to)} is {'on' if under.relation == 'has_on' else 'in'} {what}"
        if isinstance(under, (p.Keep, p.KeepSide)):
            where = " and ".join(self._condition(one) for one in self._base(step.of)[1])
            return f"{where} I see {what}"
        if isinstance(under, p.Select) and under.by != "best":
            # Only what was chosen among names it: "the thing nearest to the person" is yet to be named.
            base = self.plan.step(self._base(under.of)[0])
            named = isinstance(base, p.Find) and lexicon.singular(base.phrase or "").endswith(value)
            if under.number > 1:
                return f"the {under.number} {self.noun(step.of)} are {listed([region.name for region in found])}"
            return f"the {self.noun(step.of)} is {found[0].name if named else f'{what} ({found[0].name})'}"
        return f"I see {what}"

    def _locate(self, step: p.Locate) -> str:
        found = _found(self.run, step.of)
        names = listed([r.name for r in found[:8]]) + (" and more" if len(found) > 8 else "")
        value = self.value(step.id)
        places = re.split(r", | and ", str(value))
        where = listed(["in the middle" if place == "middle" else f"at the {place}" for place in places])
        if "middle" not in places:
            where = f"at the {value}"
        verb = "is" if len(found) == 1 else "are"
        called = list(dict.fromkeys(self.run.names(step.of)))
        noun = self.noun(step.of, len(found))
        if len(called) <= 3 and not any(name in self.noun(self._base(step.of)[0]) for name in called):
            names = f"{listed([with_article(name) for name in called])}, {names}"  # "the black vehicle": a motorcycle
        near = self.run.landmarks.get(step.id)
        if near is not None:
            where = f"{near.words} the {near.region.label} ({near.region.name}), {where}"
        return f"the {noun} {verb} {where} of the picture ({names})"

    def _segment(self, step: p.Segment) -> str:
        found = self.run.rests_on[step.id]
        masked = [region.name for region in found if region.mask is not None]
        verb = "fills" if len(masked) == 1 else "fill"
        return f"the {self.noun(step.of, len(found))} {verb} {self.value(step.id)} ({listed(masked)})"

    def _point(self, step: p.Point) -> str:
        found = _found(self.run, step.of)
        noun, names = self.noun(step.of, len(found)), listed([region.name for region in found])
        return f"click at {self.value(step.id)} for the {noun} ({names})"

    def _corners(self, step: p.Corners) -> str:
        found = _found(self.run, step.of)
        noun, names = self.noun(step.of, len(found)), listed([region.name for region in found])
        boxes = "the box of" if len(found) == 1 else "the boxes of"
        return f"{boxes} the {noun} {'is' if len(found) == 1 else 'are'} {self.value(step.id)} ({names})"


def _all_found(run: Run, ref: str) -> list[str]:
    """The ids of a step's regions, or of those that its number was made of."""
    found = _found(run, ref)
    return (
        list(found.ids)
        if len(found)
        else [i for other, _ in run.plan.step(ref).inputs() for i in _all_found(run, other)]
    )


def _is_verb(words: str) -> bool:
    """Whether what was not judged begins with a verb: "smoke a pipe"; not "the farmer own"."""
    first = words.split()[0]
    return len(words.split()) <= 4 and first not in _NO_VERBS and first not in lexicon.COLORS


_NO_VERBS = frozenset(
    ("the", "a", "an", "it", "is", "are", "short", "left", "if", "because", "my", "his", "her", "not")
)
_DEGREES = frozenset(("slightly", "barely", "far", "well", "much", "way", "considerably"))


def _as_predicate(words: str, several: bool, of_people: bool = True) -> str:
    """What stands after "it is" or "they are" for words that were not judged; "" where nothing fits there."""
    if words in _DEGREES:
        return ""
    first, last = words.split()[0], words.split()[-1]
    if first.endswith(("ing", "ed", "en")):
        return words
    if first in ("that", "who", "which", "not", "no", "have", "has", "do", "does"):
        return ""
    is_kind = (of_people and lexicon.is_a(last, "person")) or lexicon.is_narrower(last)
    if " " not in words and words not in lexicon.COLORS and is_kind:
        return lexicon.plural(last) if several else with_article(last)
    return "" if " " in words else words


def _numbered_verb(words: str, several: bool) -> str:
    """ "smoke", of one thing "smokes"."""
    first, _, rest = words.partition(" ")
    if first in ("have", "has"):
        return f"{'have' if several else 'has'} {rest}"
    if not several and not first.endswith("s"):
        first += "es" if first.endswith(("s", "sh", "ch", "x", "o")) else "s"
    return f"{first} {rest}".strip()


_UNCOUNTED = frozenset(("food", "furniture", "fruit", "cutlery", "silverware", "luggage", "baggage", "clothing"))


def _numbered(phrase: str, count: int) -> str:
    """A phrase as so many are called; "cat and dog" → "cats and dogs"."""
    if phrase in _UNCOUNTED:
        return f"piece{'' if count == 1 else 's'} of {phrase}"
    if count == 1:
        return phrase
    for joiner in (" and ", " or "):
        head, joined, last = phrase.rpartition(joiner)
        if joined and lexicon.is_noun(head.rpartition(" ")[2]) and head.rpartition(" ")[2] not in lexicon.COLORS:
            return f"{lexicon.plural(head)}{joiner}{lexicon.plural(last)}"
    return lexicon.plural(phrase)


def _ordinal(rank: int) -> str:
    if rank in _ORDINALS:
        return _ORDINALS[rank]
    ending = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{ending}"
