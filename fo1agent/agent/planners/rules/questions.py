"""The grammar of questions: from tokens to clauses, one per thing that is asked.

A clause counts as parsed only when every word of it was understood; half-understood questions are left to the caller,
who says so. The order of the productions matters where one question form is the beginning of another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fo1agent import lexicon
from fo1agent.agent.planners.rules import syntax as s
from fo1agent.agent.planners.rules import words as w
from fo1agent.agent.planners.rules.asking import Asking
from fo1agent.agent.planners.rules.syntax import NounPhrase, Relation

_ENDS = ("?", ".", "!", ";")
_CONNECTORS = (",", "and", "then", ":", "but", "also", "plus")

_SEEN_FROM = w.phrases(
    "relative to | with respect to | in relation to | with regard to | starting from | starting at | with | from | "
    "looking at | look at | if you look at | when you look at | consider | take"
)
_EQUALS = w.phrases("equals | equal | is | are | make | makes | gives")


# Second halves of a question that add nothing to its first.
_SAME_AGAIN = (
    "what do you get", "what is the total", "what is the sum", "what is the result", "what is the answer",
    "how many is that", "how many are there in total", "how many in total", "what is the total number",
)  # fmt: skip


def parse(tokens: list[str]) -> list[s.Clause] | None:
    """All clauses of a question in their order; None when any part of it is not understood."""
    clauses: list[s.Clause] = []
    for sentence in _sentences(tokens):
        found = _parse_sentence(sentence, clauses)
        if found is None:
            return None
        clauses += found
    return clauses or None


def _sentences(tokens: list[str]) -> list[list[str]]:
    sentences: list[list[str]] = [[]]
    for token in tokens:
        if token in _ENDS:
            sentences.append([])
        else:
            sentences[-1].append(token)
    return [sentence for sentence in sentences if any(token[0].isalnum() for token in sentence)]


def _parse_sentence(tokens: list[str], before: list[s.Clause]) -> list[s.Clause] | None:
    if before and " ".join(tokens) in _SAME_AGAIN:
        return []
    if counted := _if_so_how_many(tokens):
        return counted
    again = _like_the_last(tokens, before) if tokens[0] in ("and", "what", "how") else None
    whole = again or Question(tokens).clause()
    if whole is not None:
        return whole
    for at, token in enumerate(tokens):
        if token not in _CONNECTORS or at == 0:
            continue
        rest = tokens[at + 1 :]
        while rest and rest[0] in (*_CONNECTORS, *w.FILLER):
            rest = rest[1:]
        if not rest:
            continue
        left = Question(tokens[:at]).clause()
        if left is None:
            continue
        right = _parse_sentence(rest, before + left) if rest[0] in w.QUESTION_START else None
        right = right or _like_the_last(rest, before + left)
        if right is not None:
            return left + right
    return _like_the_last(tokens, before)


def _if_so_how_many(tokens: list[str]) -> list[s.Clause] | None:
    """ "Are there any dogs, and if so, how many?": the number says both."""
    asked = [token for token in tokens if token not in (",", "and")]
    if asked[-4:] != ["if", "so", "how", "many"]:
        return None
    found = Question(tokens[: len(tokens) - 1 - tokens[::-1].index("if")]).clause()
    if found is None or len(found) != 1 or not isinstance(found[0], s.IsThere) or found[0].comparison:
        return None
    return [s.HowMany(found[0].things)]


def _like_the_last(tokens: list[str], before: list[s.Clause]) -> list[s.Clause] | None:
    """ "How many dogs are there? And cats?": the same question of something else."""
    if not before:
        return None
    parser = Question(tokens)
    parser.take("and", "what about", "how about")
    parser.take("what about", "how about")
    things = parser.things()
    if things is None or not parser.at_end() or not all(_is_named(thing) for thing in things):
        return None
    last = before[-1]
    if isinstance(last, s.HowMany):
        return [s.HowMany(tuple(things))]
    if isinstance(last, s.IsThere) and not last.comparison:
        return [s.IsThere(tuple(things), last.any_will_do)]
    if isinstance(last, s.WhereIs) and len(things) == 1:
        return [s.WhereIs(things[0])]
    if isinstance(last, s.IsAt) and len(things) == 1 and not things[0].relations:
        return [s.IsAt(things[0], last.relations)]
    return None


class Question(Asking):
    """The productions in their order. Each reads one whole clause or gives None."""

    def clause(self) -> list[s.Clause] | None:
        """Read the tokens as one clause (rarely, several that share words); None unless all of them fit."""
        self._prelude()
        self._drop_tag()
        start = self.i
        productions: tuple[Callable[[], s.Clause | list[s.Clause] | None], ...] = (
            self._greetings_only,
            self._how_many_more,
            self._added_up,
            self._how_many,
            self._number_of,
            self._which_more,
            self._are_more,
            self._numbers_compared,
            self._which_side,
            self._which_larger,
            self._is_larger,
            self._read,
            self._is_there,
            self._see_or_show,
            self._is_without,
            self._is_colored,
            self._has_beside,
            self._is_at,
            self._statement,
            self._where,
            self._describe,
            self._aspect,
            self._what,
            self._fragment,
            self._fronted,
        )
        for production in productions:
            self.i = start
            found = production()
            if found is not None and self.at_end():
                return found if isinstance(found, list) else [found]
        self.i = start
        return None

    def _fragment(self) -> s.Clause | None:
        """ "Any dogs?", "Dogs left of the bus?": asks whether there are; or "Dogs plus cats =": how many."""
        start = self.i
        self.take("number of", "the number of")
        summands = self.things(("plus", "and"))
        if summands and len(summands) > 1 and (self.take(*_EQUALS) or (not self.now and "plus" in self.tokens)):
            self.take("how many", "what", "how much")
            return s.HowMany(tuple(summands)) if self.bag([]) is not None else None
        self.i = start
        comparison, number = self._quantity()
        things = self.things()
        if things is None or not all(_is_named(thing) for thing in things):
            return None
        return s.IsThere(tuple(things), False, comparison, number)

    def _fronted(self) -> s.Clause | list[s.Clause] | None:
        """ "To the left of the bus, how many people are there?", "Dogs and cats: how many in total?"."""
        if self.take("of", "among", "out of"):
            start = self.i
            whole = self.things(relations=False)
            self.skip()
            if whole is None or not self.take(","):
                return None
            if self.now in ("which", "what"):
                self.i = start
                return self._of_the_two()
            if not self.take("how many"):
                return None
            self.take("of them")
            if not whole[0].noun and self.take("are"):  # "of all the things, how many are dogs"
                whole = self.things() or whole
            found = self.bag(whole)
            return s.HowMany(tuple(found)) if found else None
        if self.take(*_SEEN_FROM):
            return self._as_seen_from()
        if self.take("than"):  # "compared to the bus", "compared to cars"
            start = self.i
            seen = self._as_seen_from()
            if seen is not None:
                return seen
            self.i = start
            return self._of_the_two()
        if self.take("comparing", "between", "considering", "if you compare", "when comparing"):
            start = self.i
            self.take("the number of", "the numbers of")
            compared = self._of_the_two()
            if compared is not None:
                return compared
            self.i = start
            return self._as_seen_from()
        if self.now in ("looking", "if", "when"):
            self.take("if", "when")
            self.take("you", "we", "i", "one")
            if not self.take("looking", "look"):
                return None
        relation = self.relation()
        if relation is not None:
            if self.take_any(w.BE) and self.now != "how":
                return None
            if not self.take(",", ":") and self.now not in w.QUESTION_START:
                return None
            clause = self._single_clause()
            if isinstance(clause, (s.HowMany, s.IsThere)):
                return replace(clause, things=tuple(thing.at(relation) for thing in clause.things))
            if isinstance(clause, (s.WhatIs, s.WhereIs)):
                return replace(clause, thing=clause.thing.at(relation))
            return None
        things = self.things()
        if things is None or not self.take(",", ":"):
            return None
        rest = self.tokens[self.i :]
        self.i = len(self.tokens)
        if rest[:2] in (["how", "many"], ["what", "is"]):
            bag = Question(rest[2:])
            bag.take("the")
            if bag.bag(things) is not None and bag.at_end():
                return s.HowMany(tuple(things))
        if rest and rest[0] in ("which", "what"):
            asked = Question([*rest, ","])
            order = asked._more_of()
            if order and len(things) > 1:
                return s.WhichMore(tuple(things), order)
        return None

    def _single_clause(self) -> s.Clause | None:
        """The rest of the question, if it asks one thing; nothing is left of it afterwards."""
        found = Question(self.tokens[self.i :]).clause()
        self.i = len(self.tokens)
        return found[0] if found is not None and len(found) == 1 else None

    def _as_seen_from(self) -> s.Clause | None:
        """ "(Relative to) the bus, is the dog on the left?": sides are of the bus, not of the picture."""
        to = self.noun_phrase(relations=False)
        self.take("as reference", "as the reference", "as a reference")
        if to is None or not self.take(",", ":"):
            return None
        clause = self._single_clause()
        names = {"left": "left_of", "right": "right_of", "top": "above", "bottom": "below"}

        def of_it(thing: NounPhrase) -> NounPhrase:
            return replace(thing, relations=tuple(map(beside, thing.relations)))

        def beside(relation: Relation) -> Relation:
            if relation.to is not None and relation.to.pronoun:
                return replace(relation, to=to)
            return replace(relation, name=names[relation.side], side="", to=to) if relation.side in names else relation

        if isinstance(clause, s.IsAt):
            return replace(clause, relations=tuple(map(beside, clause.relations)))
        if isinstance(clause, (s.HowMany, s.IsThere)):
            return replace(clause, things=tuple(map(of_it, clause.things)))
        if isinstance(clause, (s.WhatIs, s.WhereIs)):
            return replace(clause, thing=of_it(clause.thing))
        if isinstance(clause, s.WhichSide) and clause.to is None:
            return replace(clause, to=to, options=tuple(names[option] for option in clause.options))
        return None

    def _of_the_two(self) -> s.Clause | None:
        """ "(Between) people and cars, which are there more of?", "(comparing) the two, are there more people?"."""
        things = self.things(("and", "or"), relations=False)
        if things is None or not self.take(",", ":"):
            return None
        rest = Question(self.tokens[self.i :])
        self.i = len(self.tokens)
        direction = Question([*rest.tokens, ","])._more_of()
        if direction and len(things) > 1:
            return s.WhichMore(tuple(things), direction)
        if not rest._opening() or not rest.take("more", "fewer", "less"):
            return None
        comparison = "more" if rest.tokens[rest.i - 1] == "more" else "fewer"
        named = rest.noun_phrase()
        others = [thing for thing in things if named is None or thing.noun != named.noun]
        if named is None or rest.bag([]) is None or len(others) != max(len(things) - 1, 1):
            return None
        return s.AreMore((named,), comparison, tuple(others))


def _is_named(thing: NounPhrase) -> bool:
    """Whether a phrase that stands by itself names something: a fragment has no grammar to tell it from noise."""
    return lexicon.is_noun(thing.noun.rpartition(" ")[2])
