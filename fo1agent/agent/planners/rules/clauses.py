"""What all productions share: lists of things, and the words around them that only say "in the picture"."""

from __future__ import annotations

from dataclasses import replace

from fo1agent.agent.planners.rules import words as w
from fo1agent.agent.planners.rules.noun_phrases import PhraseParser
from fo1agent.agent.planners.rules.syntax import NounPhrase, Relation

_EMPTY_PHRASES = w.phrases("in total | in all | to be | if any | would you say | do you think | by you | of them")

_OPPOSITES = {"left_of": "right_of", "right_of": "left_of"}


class ClausePhrases(PhraseParser):
    """Reads lists of things and empty words."""

    def at_end(self) -> bool:
        """Whether nothing is left but words that say nothing."""
        while self.now in (",", ":") or self.now in w.FILLER:
            self.i += 1
        self.skip()
        return not self.now

    def things(
        self, joiners: tuple[str, ...] = ("and", "or", "plus", "&"), relations: bool = True
    ) -> list[NounPhrase] | None:
        """Read "dogs", "dogs and cats", "dogs, cats and birds"."""
        first = self.noun_phrase(relations)
        if first is None:
            return None
        found = [first]
        while True:
            start = self.i
            comma = self.take(",")
            joined = bool(self.take_any(joiners))
            self.take("the number of", "the count of", "of")
            following = self.noun_phrase(relations) if comma or joined else None
            if following is None:
                self.i = start
                break
            found.append(following)
        last = found[-1]
        if len(found) > 1 and last.relations and not any(thing.relations for thing in found[:-1]):
            found = [*(thing.at(*last.relations) for thing in found[:-1]), last]
        return found

    def bag(self, things: list[NounPhrase]) -> list[NounPhrase] | None:
        """Read what follows the things that are counted or looked for, gathering where they are.

        "(are there) (in the picture)", "does the photo show", "can you see to the left of the bus".
        """
        while self.now:
            start = self.i
            self.skip()
            self.take(",", ":")
            relation = self.attempt(self._had_by) or self.attempt(self._clause_relation)
            if relation is None and self.take(
                "and tell me the total", "and give me the total", "get", "both", "all", "make"
            ):
                continue
            if relation is None and self.take("and", "but"):
                relation = self.attempt(self._clause_relation)
            relation = relation or self.attempt(self._having)
            if relation is not None:
                if not things:
                    return None  # nobody is there to be in the relation
                things = [thing.at(relation) for thing in things]
                continue
            if self.take("it look like", "it seem like", "it seem", "it appear", "it look as if"):
                continue
            if self.take(*_EMPTY_PHRASES):
                continue
            if self.attempt(self._picture_subject) or self.take_any(
                w.AUXILIARY
                | w.PEOPLE_PRONOUNS
                | w.SEE
                | w.SHOW
                | w.SHOWN
                | w.APPEAR
                | w.STANCE
                | w.TOTALS
                | {"there", "not"}
            ):
                continue
            if self.take("that", "which", "who", "out", "up"):
                continue
            if self.i == start:
                return None
        return things

    def _had_by(self) -> Relation | None:
        """ "(how many people) does the bus have on its left"."""
        if not self.take_any(w.DO):
            return None
        owner = self.noun_phrase(relations=False)
        if owner is None or not self.take_any(w.HAVE):
            return None
        relation = self.relation()
        if relation is None or relation.to is None or not relation.to.pronoun:
            return None
        return replace(relation, to=owner)

    def _having(self) -> Relation | None:
        """ "(people who) have the bus on their right" are to the left of it."""
        if not self.take_any(w.HAVE):
            return None
        what = self.noun_phrase(relations=False)
        relation = self.relation() if what is not None else None
        if relation is None or relation.to is None or relation.to.pronoun not in w.POSSESSIVES:
            return None
        return replace(relation, name=_OPPOSITES[relation.name], to=what) if relation.name in _OPPOSITES else None

    def _picture_subject(self) -> bool | None:
        self.take_any(w.DETERMINERS)
        return bool(self.take_any(w.PICTURE)) or None

    def _total(self) -> bool:
        return bool(w.TOTALS & set(self.tokens)) or " in all" in " ".join(self.tokens)

    def _opening(self) -> bool:
        """Read "are there", "do you see", "does the picture show", "there are": what claims begin with."""
        start = self.i
        if self.take_any(w.BE) and self.take("there"):
            return True
        self.i = start
        if self.take("there") and self.take_any(w.BE):
            return True
        self.i = start
        if self.take_any(w.MODAL) and self.take("there be"):
            return True
        self.i = start
        if self.take_any(w.DO | w.MODAL | w.HAVE) and self._you_see():
            return True
        self.i = start
        if self.take_any(w.DO) and self.take("it", "this") and self.take_any(w.SHOW):
            return True
        self.i = start
        if self.take_any(w.DO) and self.take("anything", "something"):
            self.skip()
            if self.take("look like", "resemble"):
                return True
        self.i = start
        if self.take_any(w.DO | w.BE) and self.take("not"):  # "does not the picture show"
            self.take_any(w.DETERMINERS)
            if self.take_any(w.PICTURE) and self.take_any(w.SHOW):
                return True
        self.i = start
        if self.take_any(w.DO | w.HAVE | w.BE):
            self.take_any(w.DETERMINERS)
            if self.take_any(w.PICTURE) and (self.take_any(w.SHOW) or self.take("of")):
                return True
        self.i = start
        self.take_any(w.DETERMINERS)
        if self.take_any(w.PICTURE) and self.take_any(w.SHOW):
            return True
        self.i = start
        if self.take_any(w.PEOPLE_PRONOUNS) and (self.take_any(w.MODAL) or True) and self.take_any(w.SEE):
            return True
        self.i = start
        if (
            self.take("is this", "is it")
            and self.take_any(("a", "an", "the"))
            and self.take_any(w.PICTURE)
            and self.take("of")
        ):
            return True
        self.i = start
        return False

    def _you_see(self) -> bool:
        self.take("not")
        seen = w.SEE | w.HAVE | {"found", "spotted", "seen", "noticed"}
        people = w.PEOPLE_PRONOUNS | w.PERSONS
        return bool(self.take_any(people) and self.take_any(seen)) and (self.take("out") or True)

    def _aside(self) -> None:
        """Pass over ", in the picture,"."""
        self.take(",")
        self.skip()
        self.take(",")

    def _empty_rest(self) -> bool:
        while self.now and (self.take_any(w.SHOWN | w.APPEAR | w.STANCE | {"be", "there"}) or self.scope()):
            pass
        return self.at_end()
