"""From parsed clauses to a plan: shares steps between clauses, and knows what "it", "they" and "the red one" mean."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from fo1agent.planners.rules import syntax as s
from fo1agent.planners.rules.syntax import Condition, NounPhrase, Quantity
from fo1agent.planners.rules.tokens import tokenize
from fo1agent.planners.rules.words import ANIMATE_PRONOUNS, ASPECTS, NUMBER_NOUNS
from fo1agent.plans import language as p
from fo1agent.words import lexicon
from fo1agent.words.colors import asks_for_color

# A direction is measured from the best of several reference things; nearness from any of them.
_CONVERSE = {
    "left_of": "right_of", "right_of": "left_of", "above": "below", "below": "above", "on": "has_on",
    "inside": "contains", "has_on": "on", "contains": "inside", "in_front_of": "behind", "behind": "in_front_of",
    "near": "near", "next_to": "next_to", "overlaps": "overlaps",
}  # fmt: skip
_DIRECTIONS = ("left_of", "right_of", "above", "below", "in_front_of", "behind")


class CannotPlanError(Exception):
    """A parsed question has no plan; the message says why. Never leaves the rule planner."""


def compile_plan(question: str, clauses: list[s.Clause]) -> p.Plan:
    """The plan that answers all clauses.

    Raises:
        CannotPlanError: a pronoun refers to nothing, or the question is longer than a plan may be.
    """
    compiler = _Compiler(question)
    try:
        parts = [ref for clause in clauses for ref in compiler.clause(clause)]
        unused = tuple(clause.words for clause in clauses if isinstance(clause, s.Unused))
        compiler.add(p.Answer, of=tuple(parts), unused=unused)
        return p.Plan(question=question, steps=compiler.needed())
    except ValidationError as exc:  # a limit of the plan language: too many steps, parts or letters
        raise CannotPlanError("That is more than I can answer in one go") from exc


def _renamed(step: Any, ids: dict[str, str]) -> Any:
    """A step with its references renamed."""
    refs = ("id", "of", "to", "and_to", "without", "among", "left", "right")
    fields = {key: value for key, value in step if key in refs}

    def renamed(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(renamed, value))
        return ids.get(value, value) if isinstance(value, str) else value

    return step.model_copy(update={key: renamed(value) for key, value in fields.items()})


def _is_verb(noun: str) -> bool:
    """Whether what stands where a noun should is a form of a verb: "(is he) running"."""
    return noun.endswith("ing") and not lexicon.may_be_seen(noun)


def _kind_of(noun: str) -> str:
    """What "one" stands for: the noun without its colour."""
    words = noun.split(" ")
    while len(words) > 1 and (words[0] in lexicon.COLORS or (words[0] == "and" and words[1] in lexicon.COLORS)):
        words = words[1:]
    return " ".join(words)


class _Compiler:
    def __init__(self, question: str) -> None:
        self.question = question
        self.steps: list[Any] = []
        self._known: dict[Any, str] = {}
        self._mentions: list[tuple[NounPhrase, str]] = []

    def add(self, kind: type[p.Step], **fields: Any) -> str:
        """Add a step, unless an equal one is there; gives its id."""
        key = (kind, tuple(sorted(fields.items())))
        if key not in self._known:
            self._known[key] = f"s{len(self.steps) + 1}"
            self.steps.append(kind(id=self._known[key], **fields))
        return self._known[key]

    def needed(self) -> tuple[p.AnyStep, ...]:
        """The steps that the answer needs, numbered anew: what was only spoken of falls away."""
        wanted = {self.steps[-1].id}
        for step in reversed(self.steps):
            if step.id in wanted:
                wanted |= {ref for ref, _ in step.inputs()}
        kept = [step for step in self.steps if step.id in wanted]
        ids = {step.id: f"s{k}" for k, step in enumerate(kept, 1)}
        return tuple(_renamed(step, ids) for step in kept)

    def clause(self, clause: s.Clause) -> list[str]:
        """Add a clause's steps; gives the ids of the results it asks for. What it is about is what "it" means next."""
        about = getattr(clause, "thing", None) or next(iter(getattr(clause, "things", ())), None)
        meant = self._antecedent(about) if about is not None and about.pronoun and self._mentions else None
        result = getattr(self, "_" + type(clause).__name__)(clause)
        subject = meant or next(
            (one for one in reversed(self._mentions) if about is not None and one[0] == about), None
        )
        if meant is not None and about is not None and (about.conditions or about.order) and about.pronoun != "one":
            # "Which of them is red?": the red one.
            subject = (replace(meant[0], plural=about.order is None and meant[0].plural), self._chosen_of(meant[1]))
        if isinstance(clause, s.WhatIs) and not clause.thing.noun and clause.thing.order is None:
            # "What is right of it?" goes on speaking of "it"; "they" are what was named.
            named = [(replace(clause.thing, plural=True), ref) for noun, ref in self._mentions if noun == clause.thing]
            self._mentions = [one for one in self._mentions if one[0] != clause.thing] + named
        elif subject is not None:
            self._mentions = [one for one in self._mentions if one[1] != subject[1]] + [subject]
        return result if isinstance(result, list) else [result]

    def _chosen_of(self, ref: str) -> str:
        """The last step that chooses among a step's regions, or the step itself."""
        chosen = ref
        for step in self.steps:
            if step.gives == "regions" and getattr(step, "of", None) == chosen:
                chosen = step.id
        return chosen

    # ---- noun phrases ----

    def regions(self, thing: NounPhrase, purpose: p.Purpose) -> str:
        """The step that gives the regions of a noun phrase."""
        if thing.quantity is not None and thing.quantity.share == "vague":
            raise CannotPlanError("I can't tell how many that would be (say a number)")
        measured, _, counted = thing.noun.partition(" of ")
        number = measured.split(" ")[-1] in NUMBER_NOUNS
        if measured in NUMBER_NOUNS and counted and purpose == "count":
            thing = replace(thing, noun=counted)  # "the numbers of dogs and buses"
        elif number or thing.noun in ASPECTS or _is_verb(thing.noun):
            raise CannotPlanError("I can't parse that question")
        if thing.pronoun == "one":
            thing = replace(thing, noun=_kind_of(self._antecedent(thing)[0].noun), pronoun="")
        if thing.pronoun:
            ref = self._antecedent(thing)[1]
        else:
            ref = self.add(p.Find, phrase=thing.noun or None, purpose=purpose)
        if thing.owner is not None:
            ref = self.add(p.Keep, of=ref, relation="overlaps", to=self.reference(thing.owner))
        ref = self.kept(ref, thing, thing.conditions)
        ref = self._less(ref, thing)
        if thing.order in ("ranked", "last") and thing.conditions and thing.conditions[-1].side in ("left", "right"):
            # "the last cow on the right", "the first car on the left"
            ref = self.regions(replace(thing, conditions=thing.conditions[:-1], order=None), purpose)
            thing = replace(thing, order=f"{thing.conditions[-1].side}most")
        ref = self._ordered(ref, thing)
        if not thing.pronoun:
            self._mention(thing, ref)
        return ref

    def _less(self, ref: str, thing: NounPhrase) -> str:
        """A step's regions without those that a noun phrase leaves out: "but the dog", "the other dogs"."""
        for left_out in thing.without:
            if left_out.pronoun == "one":
                left_out = replace(left_out, noun=_kind_of(thing.noun), pronoun="")
            ref = self.add(p.Except, of=ref, without=self.regions(left_out, "exists"))
        if thing.other and not thing.without:
            spoken_of = [known for noun, known in self._mentions if noun.noun == thing.noun or not thing.noun]
            if not spoken_of:
                raise CannotPlanError(f"I can't tell which {thing.noun or 'thing'} the others are not")
            ref = self.add(p.Except, of=ref, without=spoken_of[-1])
        return ref

    def _ordered(self, ref: str, thing: NounPhrase) -> str:
        """Those of a step's regions that a superlative or a number takes: "the largest", "the nearest to the bus"."""
        if thing.order in ("ranked", "last"):
            raise CannotPlanError("I can't tell in which order you count (say “second from the left”)")
        if thing.order in ("nearest", "farthest"):
            some = {"number": thing.number} if thing.number else {}
            if thing.order_to is None:
                by = "largest" if thing.order == "nearest" else "smallest"  # as seen from the camera
                return self.add(p.Select, of=ref, by=by, rank=thing.rank, **some)
            return self.add(
                p.Select, of=ref, by=thing.order, to=self.reference(thing.order_to), rank=thing.rank, **some
            )
        if thing.order is not None:
            return self.add(p.Select, of=ref, by=thing.order, rank=thing.rank, number=thing.number or 1)
        return ref if thing.number is None else self.add(p.Exactly, of=ref, number=thing.number)

    def the(self, thing: NounPhrase, purpose: p.Purpose = "the") -> str:
        """The step that gives the one region a definite noun phrase means; with the purpose "exists", only where it is
        surely there."""
        if thing.order is None and thing.conditions and thing.conditions[-1] == Condition(side="middle"):
            thing = replace(
                thing, order="middle", conditions=thing.conditions[:-1]
            )  # "the cup in the middle" of several
        ref = self.regions(thing, purpose)
        if thing.order is None and thing.number is None and not isinstance(self._step(ref), p.Select):
            ref = self.add(p.Select, of=ref, by="best")
            if not thing.pronoun:
                self._mention(thing, ref)
        return ref

    def reference(self, thing: NounPhrase) -> str:
        """What something is related to: "the bus" is the best bus, "a bus" any, "the buses" all there are."""
        if thing.place:
            return self.add(p.Find, phrase=thing.noun, purpose="place")
        if thing.quantity is not None and thing.quantity.share not in ("some", "all"):
            raise CannotPlanError("I can't relate things to a number of others")
        if thing.pronoun and self._antecedent(thing)[0].plural:
            return self._antecedent(thing)[1]
        every = thing.quantity is not None and thing.quantity.share == "all"
        if thing.definite and not every and not thing.plural:
            return self.the(thing)
        return self.regions(thing, "exists")

    def kept(self, ref: str, thing: NounPhrase, conditions: tuple[Condition, ...]) -> str:
        """Add the steps that keep what all the conditions hold of. That a person sits on a bench is more than that it
        is there; that a cup stands on a table is not."""
        for condition in conditions:
            ref = self.keep(ref, condition)
            noun = thing.noun or "person"
            if (
                condition.posture
                and condition.name in ("on", "inside")
                and (noun in ("person", "animal") or lexicon.is_a(noun, "person") or lexicon.is_a(noun, "animal"))
            ):
                ref = self.add(p.Are, of=ref, words=(condition.posture,), negated=condition.negated)
        return ref

    def keep(self, ref: str, relation: Condition) -> str:
        """Add the step, or steps, that keep what stands in the relation."""
        if relation.name == "inside" and relation.to and relation.to.pronoun in ("it", "this") and not self._mentions:
            return ref  # in the picture
        if relation.words:
            return self.add(p.Are, of=ref, words=relation.words, negated=relation.negated)
        if relation.kind is not None:
            kind = self.the(relation.kind) if relation.kind.definite else self.regions(relation.kind, "exists")
            return self.add(p.Except, of=ref, without=kind, only=not relation.negated)
        if relation.side:
            outer = relation.side.startswith("far ")
            for side in relation.side.removeprefix("far ").split():
                ref = self.add(p.KeepSide, of=ref, side=side, third=outer, negated=relation.negated)
            return ref
        assert relation.to is not None
        if relation.name == "between":
            if relation.and_to is relation.to:  # "between the cars"
                to = and_to = self.regions(replace(relation.to, quantity=None), "exists")
            else:
                assert relation.and_to is not None
                to, and_to = self._end(relation.to), self._end(relation.and_to)
            return self.add(p.Keep, of=ref, relation="between", to=to, and_to=and_to, negated=relation.negated)
        to = self.reference(relation.to)
        if relation.to.place:  # on the beach as in the kitchen
            return self.add(p.Keep, of=ref, relation="inside", to=to, negated=relation.negated)
        every = relation.to.quantity is not None and relation.to.quantity.share == "all"
        meant = self._antecedent(relation.to)[0] if relation.to.pronoun else relation.to
        each = every or (meant.plural and relation.to.definite and relation.name in _DIRECTIONS)
        ref = self.add(p.Keep, of=ref, relation=relation.name, to=to, each=each, negated=relation.negated)
        return self.add(p.Are, of=ref, words=(relation.degree,)) if relation.degree else ref

    def _end(self, thing: NounPhrase) -> str:
        """What something is between: the bus, or any of several."""
        return self.the(thing) if thing.definite and not thing.plural else self.regions(thing, "exists")

    def _step(self, ref: str) -> Any:
        return self.steps[int(ref[1:]) - 1]

    def _mention(self, thing: NounPhrase, ref: str) -> None:
        self._mentions = [(noun, known) for noun, known in self._mentions if noun != thing] + [(thing, ref)]

    def _antecedent(self, pronoun: NounPhrase) -> tuple[NounPhrase, str]:
        """The latest thing a pronoun can mean: of its number if there is one, else simply the latest."""
        fits = [
            (thing, ref)
            for thing, ref in self._mentions
            if (pronoun.pronoun == "one" or thing.plural == pronoun.plural)
            and (pronoun.pronoun not in ANIMATE_PRONOUNS or lexicon.is_a(thing.noun, "person"))
        ]
        found = fits or self._mentions
        if not found:
            raise CannotPlanError(f"I can't tell what “{pronoun.pronoun}” means")
        return found[-1]

    # ---- clauses ----

    def _count(self, thing: NounPhrase) -> str:
        if thing.negative or (thing.quantity is not None and thing.quantity.share not in ("", "all", "some")):
            raise CannotPlanError("I can't tell how many are asked for")  # "how many no dogs"
        if thing.quantity is not None and thing.quantity.comparison:
            raise CannotPlanError("I can't tell which number is asked for")  # "how many more twelve sheep than cows"
        return self.add(p.Count, of=self.regions(thing, "count"))

    def _counts(self, things: tuple[NounPhrase, ...]) -> str:
        counts = tuple(self._count(thing) for thing in things)
        return counts[0] if len(counts) == 1 else self.add(p.Arithmetic, operation="sum", of=counts)

    def _HowMany(self, clause: s.HowMany) -> str | list[str]:
        return [self._count(thing) for thing in clause.things] if clause.each else self._counts(clause.things)

    def _HowManyMore(self, clause: s.HowManyMore) -> str:
        operation = "absolute_difference" if clause.absolute else "difference"
        return self.add(p.Arithmetic, operation=operation, of=(self._count(clause.more), self._count(clause.than)))

    def _IsThere(self, clause: s.IsThere) -> str:
        if clause.comparison:
            counted = self._counts(clause.things)
            return self.add(p.Compare, left=counted, comparison=clause.comparison, right=clause.number)
        parts = [self._there(thing) for thing in clause.things]
        if len(parts) == 1:
            return parts[0]
        return self.add(p.Logic, operation="any" if clause.any_will_do else "all", of=tuple(parts))

    def _there(self, thing: NounPhrase) -> str:
        quantity = thing.quantity
        if quantity is not None and quantity.comparison:
            counted = self._count(replace(thing, quantity=None, negative=False))
            so = self.add(p.Compare, left=counted, comparison=quantity.comparison, right=quantity.number)
            return self.add(p.Logic, operation="not", of=(so,)) if thing.negative else so
        last = thing.conditions[-1] if thing.conditions else None
        to_each = last is not None and last.to is not None and last.to.quantity == Quantity("all")
        if last is not None and last.to is not None and to_each and last.name in _CONVERSE and not thing.negative:
            # "Is there a person on each bench?": whether each bench has one.
            to = self.regions(replace(last.to, quantity=None), "exists")
            one = replace(thing, definite=False, plural=False, quantity=None, conditions=thing.conditions[:-1])
            with_one = self.keep(to, Condition(_CONVERSE[last.name], one))
            return self.add(p.Share, of=with_one, among=to, quantity="all")
        ref = self.add(p.Exists, of=self.regions(thing, "exists"))
        none = thing.negative or (quantity is not None and quantity.share == "none")
        return self.add(p.Logic, operation="not", of=(ref,)) if none else ref

    def _AreMore(self, clause: s.AreMore) -> str:
        left, right = self._counts(clause.left), self._counts(clause.right)
        return self.add(p.Compare, left=left, comparison=clause.comparison, right=right)

    def _WhichMore(self, clause: s.WhichMore) -> str:
        return self.add(p.Which, of=tuple(map(self._count, clause.things)), direction=clause.direction)

    def _IsAt(self, clause: s.IsAt) -> str:
        thing, quantity = clause.thing, clause.thing.quantity
        if quantity is not None and quantity.share == "vague":
            raise CannotPlanError("I can't tell how many that would be (say a number)")
        if thing.negative or (quantity is not None and quantity.share == "none"):  # "no boat is blue"
            return self._there(replace(thing.at(*clause.conditions), negative=True, quantity=None))
        if quantity is not None and quantity.comparison == "all_but":  # "all of the suitcases but one are black"
            whole = self.regions(replace(thing, quantity=None), "the" if thing.definite else "exists")
            part = self.add(p.Count, of=self.kept(whole, thing, clause.conditions))
            rest = self.add(p.Arithmetic, operation="difference", of=(self.add(p.Count, of=whole), quantity.number))
            return self.add(p.Compare, left=part, comparison="equal", right=rest)
        if quantity is not None and quantity.comparison:  # "exactly one apple is green"
            return self._there(replace(thing, definite=False).at(*clause.conditions))
        if quantity is not None and quantity.share == "some" and (thing.order or thing.number):
            whole = self.regions(replace(thing, quantity=None), "the")  # "one of the two leftmost dogs"
            return self.add(p.Exists, of=self.kept(whole, thing, clause.conditions))
        if quantity is not None and quantity.share == "some":
            return self._there(replace(thing, quantity=None).at(*clause.conditions))
        several = thing.plural and (thing.order is None or thing.number)
        if quantity is not None or several:  # "are the dogs on the couch": all of them
            share = "all" if quantity is None else quantity.share
            whole = part = self.regions(replace(thing, quantity=None), "the" if thing.definite else "exists")
            part = self.kept(part, thing, clause.conditions)
            return self.add(p.Share, of=part, among=whole, quantity=share)
        if not thing.definite and not thing.pronoun and thing.order is None:
            return self._there(thing.at(*clause.conditions))
        return self.add(p.Exists, of=self.kept(self.the(thing), thing, clause.conditions))

    def _HowManyKinds(self, clause: s.HowManyKinds) -> str:
        return self.add(p.Kinds, of=self.regions(clause.thing, "count"))

    def _WhichKind(self, clause: s.WhichKind) -> str:
        ref = self.regions(clause.thing, "count")
        return self.add(p.WhichKind, of=ref, direction=clause.direction, number=clause.number)

    def _Reckon(self, clause: s.Reckon) -> str:
        counted = self._counts(clause.things)
        if clause.operation == "difference" and clause.per is not None:
            each = self._count(clause.per)
            if clause.number != 1:
                each = self.add(p.Arithmetic, operation="product", of=(each, clause.number))
            return self.add(p.Arithmetic, operation="take_away", of=(counted, each))
        if clause.operation == "shortfall":
            wanted: str | int = clause.number if clause.per is None else self._count(clause.per)
            return self.add(p.Arithmetic, operation="difference", of=(wanted, counted))
        operation = "take_away" if clause.operation == "difference" else clause.operation
        return self.add(p.Arithmetic, operation=operation, of=(counted, clause.number))

    def _IsEnough(self, clause: s.IsEnough) -> str:
        if clause.kinds:
            counted = self.add(p.Kinds, of=self.regions(clause.things[0], "count"))
        else:
            counted = self._counts(clause.things)
        other: str | int = clause.other if isinstance(clause.other, int) else self._count(clause.other)
        if clause.times != 1:
            other = self.add(p.Arithmetic, operation="product", of=(other, clause.times))
        if clause.more:
            other = self.add(p.Arithmetic, operation="sum", of=(other, clause.more))
        return self.add(p.Compare, left=counted, comparison=clause.comparison, right=other)

    def _AllSo(self, clause: s.AllSo) -> str:
        refs = tuple(ref for one in clause.clauses for ref in self.clause(one))
        return self.add(p.Logic, operation="all", of=refs)

    def _SameColor(self, clause: s.SameColor) -> str:
        refs = [self.regions(t, "exists") if t.plural else self.the(t) for t in clause.things]
        return self.add(p.SameColor, of=tuple(refs))

    def _Total(self, clause: s.Total) -> str:
        less = tuple(map(self._count, clause.minus))
        return self.add(p.Arithmetic, operation="difference", of=(self._counts(clause.plus), *less))

    def _Spoken(self, clause: s.Spoken) -> list[str]:
        with suppress(CannotPlanError):  # it was not understood when it was said, either
            self.clause(clause.clause)
        return []

    def _Unused(self, clause: s.Unused) -> list[str]:
        return []

    def _WhichOf(self, clause: s.WhichOf) -> str:
        names = tuple(name for name, _ in clause.options)
        refs = []
        for _, option in clause.options:
            if isinstance(option, s.IsLarger):
                refs.append(self._IsLarger(option))
                continue
            if isinstance(option, Condition):
                assert clause.thing is not None
                of = self.keep(self.the(clause.thing), option)
            else:
                of = self.regions(option, "the" if option.definite else "exists")
            refs.append(self.add(p.Exists, of=of))
        return self.add(p.Either, of=tuple(refs), names=names)

    def _WhichSide(self, clause: s.WhichSide) -> str:
        thing = self.the(clause.thing)
        to = {} if clause.to is None else {"to": self.the(clause.to)}
        return self.add(p.Place, of=thing, options=clause.options, **to)

    def _measure(self, thing: NounPhrase, quantity: str, to: NounPhrase | None) -> str:
        ref = self.the(thing)
        fields = {} if to is None else {"to": self.the(to)}
        return self.add(p.Measure, of=ref, quantity=quantity, **fields)

    def _IsLarger(self, clause: s.IsLarger) -> str:
        left = self._measure(clause.left, clause.quantity, clause.to)
        right = self._measure(clause.right, clause.quantity, clause.to)
        if left == right:
            raise CannotPlanError("I can't compare a thing with itself")
        return self.add(p.Compare, left=left, comparison=clause.comparison, right=right)

    def _WhichLarger(self, clause: s.WhichLarger) -> str:
        measures = tuple(self._measure(thing, clause.quantity, clause.to) for thing in clause.things)
        return self.add(p.Which, of=measures, direction="most" if clause.comparison == "more" else "fewest")

    def _ReadText(self, clause: s.ReadText) -> str:
        noun = {"noun": clause.bearer} if clause.bearer else {}
        sides = tuple(clause.side.removeprefix("far ").split())
        where = {"sides": sides, "third": clause.side.startswith("far ")} if sides else {}
        if clause.thing is None or (clause.thing.pronoun and not self._mentions):
            return self.add(p.Read, **where)
        thing = self.the(clause.thing)
        if clause.relation:
            return self.add(p.Read, relation=clause.relation, to=thing, **noun)
        itself = clause.bearer and clause.thing.noun.endswith(clause.bearer)
        return (
            self.add(p.Read, of=thing, otherwise="picture", **where) if itself else self.add(p.Read, of=thing, **noun)
        )

    def _Says(self, clause: s.Says) -> str:
        return self.add(p.Says, of=self._ReadText(clause.read), words=self._as_written(clause.words))

    def _as_written(self, words: str) -> str:
        """Tokens as they stand in the question: a text is compared by its spelling."""
        written = self.question.split()
        spans = (
            " ".join(written[i:j]) for i in range(len(written)) for j in range(i + 1, min(len(written), i + 12) + 1)
        )
        same = (span for span in spans if [one for one in tokenize(span) if one[0].isalnum()] == words.split(" "))
        return next(same, words).strip("?!.,;:“”\"'")

    def _WhatIs(self, clause: s.WhatIs) -> str:
        if clause.thing.quantity is not None and clause.thing.quantity.share not in ("", "all", "some"):
            raise CannotPlanError("I can't name a part of things")
        return self.add(p.Name, of=self.regions(clause.thing, "the" if clause.thing.definite else "ground"))

    def _WhereIs(self, clause: s.WhereIs) -> str:
        return self.add(p.Locate, of=self._meant(clause.thing))

    def _SegmentIt(self, clause: s.SegmentIt) -> str:
        return self.add(p.Segment, of=self._meant(clause.thing))

    def _PointAt(self, clause: s.PointAt) -> str:
        return self.add(p.Point, of=self._meant(clause.thing))

    def _CornersOf(self, clause: s.CornersOf) -> str:
        return self.add(p.Corners, of=self._meant(clause.thing))

    def _Fills(self, clause: s.Fills) -> str:
        share = self.add(p.Measure, of=self._meant(clause.thing), quantity="share")
        if not clause.comparison:
            return share
        return self.add(p.Compare, left=share, comparison=clause.comparison, right=clause.number)

    def _Percentage(self, clause: s.Percentage) -> str:
        whole = self.regions(replace(clause.thing, quantity=None), "count")
        part = self.kept(whole, clause.thing, clause.said)
        counts = self.add(p.Count, of=part), self.add(p.Count, of=whole)
        return self.add(p.Arithmetic, operation="percentage", of=counts)

    def _Measured(self, clause: s.Measured) -> str:
        to = {} if clause.to is None else {"to": self.the(clause.to, "exists")}
        return self.add(p.Measure, of=self.the(clause.thing, "exists"), quantity=clause.quantity, **to)

    def _IsText(self, clause: s.IsText) -> str:
        return self.add(p.Says, of=self._ReadText(clause.read))

    def _meant(self, thing: NounPhrase) -> str:
        """ "The dog" is the likeliest one; of anything else all that there are. Whoever is told where something is, or
        clicks there, must not be sent to a thing that is not."""
        return self.the(thing, "exists") if thing.definite and not thing.plural else self.regions(thing, "exists")

    def _DescribeIt(self, clause: s.DescribeIt) -> str:
        if clause.thing is None or (clause.thing.pronoun and not self._mentions):
            return self.add(p.Describe)
        return self.add(p.Describe, of=self.the(clause.thing))

    def _AskAbout(self, clause: s.AskAbout) -> str:
        several = clause.thing.plural or (clause.thing.pronoun and self._antecedent(clause.thing)[0].plural)
        if several and asks_for_color(clause.question) and (clause.thing.order is None or clause.thing.number):
            return self.add(p.Colors, of=self.regions(clause.thing, "the"))
        return self.add(p.Inspect, of=self.the(clause.thing), question=clause.question)
