"""From parsed clauses to a plan: shares steps between clauses, and knows what "it", "they" and "the red one" mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from fo1agent import lexicon
from fo1agent.agent import plan as p
from fo1agent.agent.planners.rules import syntax as s
from fo1agent.agent.planners.rules.syntax import NounPhrase, Relation
from fo1agent.agent.planners.rules.words import ANIMATE_PRONOUNS

# A direction is measured from the best of several reference things; nearness from any of them.
_DIRECTIONS = ("left_of", "right_of", "above", "below", "in_front_of", "behind")


class CannotPlanError(Exception):
    """A parsed question has no plan; the message says why. Never leaves the rule planner."""


def compile_plan(question: str, clauses: list[s.Clause]) -> p.Plan:
    """The plan that answers all clauses.

    Raises:
        CannotPlanError: a pronoun refers to nothing, or the question is longer than a plan may be.
    """
    compiler = _Compiler()
    try:
        parts = [ref for clause in clauses for ref in compiler.clause(clause)]
        compiler.add(p.Answer, of=tuple(parts))
        return p.Plan(question=question, steps=tuple(compiler.steps))
    except ValidationError as exc:  # a limit of the plan language: too many steps, parts or letters
        raise CannotPlanError("That is more than I can answer in one go") from exc


class _Compiler:
    def __init__(self) -> None:
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

    def clause(self, clause: s.Clause) -> list[str]:
        """Add a clause's steps; gives the ids of the results it asks for."""
        result = getattr(self, "_" + type(clause).__name__)(clause)
        return result if isinstance(result, list) else [result]

    # ---- noun phrases ----

    def regions(self, thing: NounPhrase, purpose: p.Purpose) -> str:
        """The step that gives the regions of a noun phrase."""
        if thing.pronoun == "one":
            thing = replace(thing, noun=self._antecedent(thing)[0].noun, pronoun="")
        if thing.pronoun:
            ref = self._antecedent(thing)[1]
        else:
            ref = self.add(p.Find, phrase=thing.noun or None, purpose=purpose)
        if thing.owner is not None:
            ref = self.add(p.Keep, of=ref, relation="overlaps", to=self.reference(thing.owner))
        for relation in thing.relations:
            ref = self.keep(ref, relation)
        if thing.order in ("ranked", "last"):
            raise CannotPlanError("I can't tell in which order you count (say “second from the left”)")
        if thing.order in ("nearest", "farthest"):
            to = thing.order_to
            if to is None:
                by = "largest" if thing.order == "nearest" else "smallest"  # as seen from the camera
                ref = self.add(p.Select, of=ref, by=by, rank=thing.rank)
            else:
                ref = self.add(p.Select, of=ref, by=thing.order, to=self.reference(to), rank=thing.rank)
        elif thing.order is not None:
            ref = self.add(p.Select, of=ref, by=thing.order, rank=thing.rank)
        if not thing.pronoun:
            self._mention(thing, ref)
        return ref

    def the(self, thing: NounPhrase) -> str:
        """The step that gives the one region a definite noun phrase means."""
        ref = self.regions(thing, "the")
        if thing.order is None and not isinstance(self._step(ref), p.Select):
            ref = self.add(p.Select, of=ref, by="best")
            if not thing.pronoun:
                self._mention(thing, ref)
        return ref

    def reference(self, thing: NounPhrase, relation: str = "near") -> str:
        """What something is related to: "the bus" is the best bus, "a bus" any, "the buses" any of them."""
        if thing.pronoun and self._antecedent(thing)[0].plural:
            return self._antecedent(thing)[1]
        if thing.definite and (not thing.plural or relation in _DIRECTIONS):
            return self.the(thing)
        return self.regions(thing, "exists")

    def keep(self, ref: str, relation: Relation) -> str:
        """Add the step, or steps, that keep what stands in the relation."""
        if relation.side:
            for side in relation.side.split():
                ref = self.add(p.KeepSide, of=ref, side=side, negated=relation.negated)
            return ref
        assert relation.to is not None
        if relation.name == "between":
            if relation.and_to is relation.to:  # "between the cars"
                cars = self.regions(relation.to, "exists")
                to, and_to = (self.add(p.Select, of=cars, by="best", rank=rank) for rank in (1, 2))
            else:
                assert relation.and_to is not None
                to, and_to = self.the(relation.to), self.the(relation.and_to)
            return self.add(p.Keep, of=ref, relation="between", to=to, and_to=and_to, negated=relation.negated)
        to = self.reference(relation.to, relation.name)
        return self.add(p.Keep, of=ref, relation=relation.name, to=to, negated=relation.negated)

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
            raise CannotPlanError(f"I can't tell what “{pronoun.pronoun}” is")
        return found[-1]

    # ---- clauses ----

    def _count(self, thing: NounPhrase) -> str:
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
        parts = []
        for thing in clause.things:
            ref = self.add(p.Exists, of=self.regions(thing, "exists"))
            parts.append(self.add(p.Logic, operation="not", of=(ref,)) if thing.negative else ref)
        if len(parts) == 1:
            return parts[0]
        return self.add(p.Logic, operation="any" if clause.any_will_do else "all", of=tuple(parts))

    def _AreMore(self, clause: s.AreMore) -> str:
        left, right = self._counts(clause.left), self._counts(clause.right)
        return self.add(p.Compare, left=left, comparison=clause.comparison, right=right)

    def _WhichMore(self, clause: s.WhichMore) -> str:
        return self.add(p.Which, of=tuple(map(self._count, clause.things)), direction=clause.direction)

    def _IsAt(self, clause: s.IsAt) -> str:
        thing = clause.thing
        if thing.plural and thing.order is None:  # "are the dogs on the couch": all of them
            ref = kept = self.regions(thing, "the")
            for relation in clause.relations:
                kept = self.keep(kept, relation)
            everything, those = self.add(p.Count, of=ref), self.add(p.Count, of=kept)
            return self.add(p.Compare, left=those, comparison="equal", right=everything)
        ref = self.the(thing)
        for relation in clause.relations:
            ref = self.keep(ref, relation)
        return self.add(p.Exists, of=ref)

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
        return self.add(p.Compare, left=left, comparison=clause.comparison, right=right)

    def _WhichLarger(self, clause: s.WhichLarger) -> str:
        measures = tuple(self._measure(thing, clause.quantity, clause.to) for thing in clause.things)
        return self.add(p.Which, of=measures, direction="most" if clause.comparison == "more" else "fewest")

    def _ReadText(self, clause: s.ReadText) -> str:
        noun = {"noun": clause.bearer} if clause.bearer else {}
        if clause.thing is None or (clause.thing.pronoun and not self._mentions):
            return self.add(p.Read)
        thing = self.the(clause.thing)
        if clause.relation:
            return self.add(p.Read, relation=clause.relation, to=thing, **noun)
        itself = clause.bearer and clause.thing.noun.endswith(clause.bearer)
        return self.add(p.Read, of=thing, otherwise="picture") if itself else self.add(p.Read, of=thing, **noun)

    def _WhatIs(self, clause: s.WhatIs) -> str:
        return self.add(p.Name, of=self.regions(clause.thing, "the" if clause.thing.definite else "ground"))

    def _WhereIs(self, clause: s.WhereIs) -> str:
        thing = clause.thing
        if thing.definite and not thing.plural:
            return self.add(p.Locate, of=self.the(thing))
        return self.add(p.Locate, of=self.regions(thing, "exists"))

    def _DescribeIt(self, clause: s.DescribeIt) -> str:
        if clause.thing is None or (clause.thing.pronoun and not self._mentions):
            return self.add(p.Describe)
        return self.add(p.Describe, of=self.the(clause.thing))

    def _AskAbout(self, clause: s.AskAbout) -> str:
        return self.add(p.Inspect, of=self.the(clause.thing), question=clause.question)
