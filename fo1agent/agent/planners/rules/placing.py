"""Productions about what there is and where it is."""

from __future__ import annotations

from dataclasses import replace

from fo1agent import lexicon
from fo1agent.agent.planners.rules import syntax as s
from fo1agent.agent.planners.rules import words as w
from fo1agent.agent.planners.rules.comparing import Comparing
from fo1agent.agent.planners.rules.syntax import NounPhrase

_SEVERAL = w.phrases(
    "multiple | several | many | numerous | a few | a couple of | various | lots of | a lot of | plenty of"
)
_WHICH_SIDE = w.phrases(
    "on which side | on what side | to which side | to what side | at which side | which side | what side | "
    "in which half | on which half"
)
_LOCATE = w.phrases(
    "locate | find | point to | point out | point at | highlight | mark | show me where | show me | show | "
    "outline | detect | pinpoint | give me the location of | identify"
)


class Placing(Comparing):
    """Existence, relations, sides, and where something is."""

    def _is_there(self) -> s.Clause | None:
        if not (self._is_there_opening() or self.take("any", "got any")):
            return None
        self.i -= 1 if self.tokens[self.i - 1] == "any" else 0
        return self._exist()

    def _is_there_opening(self) -> bool:
        start = self.i
        if self.take_any(w.BE) and (self.take("there") or self.take("not there")):
            return True
        self.i = start
        if self.take("there") and (self.take_any(w.BE) or self.take("exists", "exist")):
            return True
        self.i = start
        if self.take_any(w.DO) and self.take("there") and self.take("exist", "appear to be", "seem to be"):
            return True
        self.i = start
        return False

    def _exist(self) -> s.Clause | None:
        self._aside()
        self.take("not")
        if self.take("neither"):
            first = self.noun_phrase()
            second = self.noun_phrase() if first is not None and self.take("nor") else None
            if first is None or second is None:
                return None
            found = self.bag([replace(first, negative=True), replace(second, negative=True)])
            return s.IsThere(tuple(found)) if found else None
        self.take("also", "by any chance")
        comparison, number = self._quantity()
        any_will_do = False
        start = self.i
        things = self.things(("or",))
        if things is not None and len(things) > 1 and "or" in self.tokens[start : self.i]:
            any_will_do = True
        else:
            self.i = start
            things = self.things(("and", "plus"))
        if things is None:
            return None
        if comparison == "equal" and self.take("or more", "or greater"):
            comparison = "at_least"
        if self.take("or fewer", "or less"):
            comparison = "at_most"
        found = self.bag(things)
        return s.IsThere(tuple(found), any_will_do, comparison, number) if found else None

    def _quantity(self) -> tuple[str, int]:
        """Read "more than two", "at least 3", "only one", "several"; ("", 0) where nothing of the kind stands."""
        start = self.i
        for phrases, comparison in (
            (("no more than", "not more than", "at most", "up to", "maximum"), "at_most"),
            (("no less than", "no fewer than", "at least", "not less than"), "at_least"),
            (("more than", "over", "above"), "more"),
            (("fewer than", "less than", "under", "below"), "fewer"),
            (("exactly", "precisely", "only", "just", "a total of", ""), "equal"),
        ):
            self.i = start
            if phrases[-1] != "" and not self.take(*phrases):
                continue
            self.take(*(phrase for phrase in phrases if phrase)) if phrases[-1] == "" else None
            only = self.i > start
            self.take("exactly")
            number = int(self.now) if self.now.isdigit() else w.NUMBERS.get(self.now, -1)
            if number >= 0 and self.peek(1) != "of":
                self.i += 1
                if self.take("or more"):
                    return "at_least", number
                return ("at_most", number) if self.take("or fewer", "or less") else (comparison, number)
            if only and self.take("a single", "a", "an", "single"):
                return comparison, 1
        self.i = start
        if self.take(*_SEVERAL):
            return "at_least", 2
        return "", 0

    def _see_or_show(self) -> s.Clause | None:
        """ "Do you see a dog", "does the picture show dogs", "has the photo got one", "is this a picture of a dog"."""
        return self._exist() if self._opening() else None

    def _is_without(self) -> s.Clause | None:
        """ "Is the picture without (free of) dogs?"."""
        start = self.i
        if self.take_any(w.BE):  # "are cats absent", "is the bus missing from the picture"
            things = self.things(("and", "or"), relations=False)
            if things is not None and self.take("absent", "missing", "not visible", "not present", "nowhere"):
                self.take("from view", "to be seen", "to be found")
                return s.IsThere(tuple(replace(thing, negative=True) for thing in things))
        self.i = start
        lacking = self.take_any(w.DO) and self.attempt(self._picture_subject) and self.take("lack")
        self.i = self.i if lacking else start
        if not lacking and not (self.take_any(w.BE) and self.attempt(self._picture_subject) and self.take("without")):
            return None
        things = self.things(("and", "or"))
        return None if things is None else s.IsThere(tuple(replace(thing, negative=True) for thing in things))

    def _is_colored(self) -> s.Clause | None:
        """ "Is the car red?", "Are all cars red?", "How many of the cars are red?", "Which car is red?"."""
        asked = self.now
        if not self.take("how many", "which", "what") and not self.take_any(w.BE):
            return None
        of = self.take("all of", "both of", "each of", "every one of", "all", "both", "every", "each")
        self.take("of")
        thing = self.noun_phrase(relations=False)
        if thing is None or not thing.noun or thing.negative:
            return None
        *words, color = thing.noun.split(" ")
        if words and color in lexicon.COLORS:  # "are the cars red": nothing stands between
            thing = replace(thing, noun=lexicon.singular(" ".join(words)), plural=lexicon.is_plural(words[-1]))
        else:
            color = self.take_any(lexicon.COLORS) if self.take_any(w.BE) else ""
        if not color or not self.at_end():
            return None
        colored = replace(thing, noun=f"{color} {thing.noun}")
        if asked == "how":
            return s.HowMany((colored,))
        if asked in ("which", "what"):
            return s.WhereIs(colored)
        if of or (thing.definite and thing.plural):
            return s.AreMore((colored,), "equal", (thing,))
        return s.IsThere((colored,))

    def _has_beside(self) -> s.Clause | list[s.Clause] | None:
        """ "Does the bus have a dog on its left?", "The bus has how many people to its left?"."""
        self.take_any(w.DO)
        owner = self.noun_phrase(relations=False)
        if owner is None or owner.noun in w.PICTURE or not self.take_any(w.HAVE):
            return None
        counting = self.take("how many")
        things = self.things(relations=False)
        relation = self.relation() if things is not None else None
        if things is None or relation is None or relation.to is None or not relation.to.pronoun:
            return None
        things = [thing.at(replace(relation, to=owner)) for thing in things]
        if counting:
            return s.HowMany(tuple(things))
        return self._at(things[0], "") if len(things) == 1 else s.IsThere(tuple(things))

    def _is_at(self) -> s.Clause | None:
        """ "Is the dog to the left of the cat", "Is a dog visible", "Does the dog appear on the left", "Are all …"."""
        verb = self.take_any(w.BE | w.DO | w.MODAL | w.HAVE)
        if not verb:
            return None
        self.take("not")
        comparison, number = self._quantity()  # "is at least one dog visible"
        start = self.i
        things = self.things(("and", "or"))
        if things is None:
            return None
        if not comparison and len(things) == 1 and things[0].relations and self._empty_rest():
            return self._at(_as_verb(things[0], verb), self.tokens[start])
        self.i = start
        things = self.things(("and", "or"), relations=False)
        if things is None or any(thing.pronoun == "this" for thing in things):
            return None
        before = self.i
        found = self.bag(list(things))
        if found is None or self.i == before:
            return None
        any_will_do = "or" in self.tokens[start:before]
        if comparison:
            return s.IsThere(tuple(found), any_will_do, comparison, number)
        if found[0].relations and (found[0].definite or len(found) > 1):
            clauses = [self._at(_as_verb(thing, verb), self.tokens[start]) for thing in found]
            return clauses[0] if len(clauses) == 1 else s.IsThere(tuple(found), any_will_do)
        return s.IsThere(tuple(found), any_will_do)

    def _at(self, thing: NounPhrase, first_word: str) -> s.Clause:
        """The last relation is what is asked; those before it say which thing is meant."""
        if not thing.definite and first_word not in ("all", "every", "each"):
            return s.IsThere((thing,))
        if first_word in ("all", "every", "each"):
            thing = replace(thing, plural=True, definite=True)
        *given, asked = thing.relations
        return s.IsAt(replace(thing, relations=tuple(given)), (asked,))

    def _statement(self) -> s.Clause | None:
        """ "The dog is to the left of the cat", as after "is it true that"."""
        first = self.now
        thing = self.noun_phrase(relations=False)
        if thing is None or not self.take_any(w.BE | w.STANCE | w.APPEAR):
            return None
        if self.take_any(w.SHOWN):
            return s.IsThere((thing,)) if self._empty_rest() else None
        found = self.bag([thing])
        if not found:
            return None
        return self._at(found[0], first) if found[0].relations else s.IsThere(tuple(found))

    def _which_side(self) -> s.Clause | None:
        """ "Is the dog on the left or on the right of the cat?", "On which side of the cat is the dog?"."""
        if self.take(*_WHICH_SIDE):
            to = None
            if self.take("of") and not self.attempt(self._picture_subject):
                to = self.noun_phrase(relations=False)
            self.take_any(w.BE | w.DO)
            thing = self.noun_phrase(relations=False)
            if thing is None:
                return None
            while self.take_any(w.STANCE | w.APPEAR | {"on", "in", "at"}):
                pass
            if to is None and self.take("of"):
                to = None if self.attempt(self._picture_subject) else self.noun_phrase(relations=False)
            self.take(
                ", left or right", ", the left or the right", ", the left or right", ", on the left or on the right"
            )
            return s.WhichSide(thing, ("left", "right") if to is None else ("left_of", "right_of"), to)
        if not self.take_any(w.BE | w.DO):
            return None
        thing = self.noun_phrase(relations=False)
        if thing is None:
            return None
        while self.take_any(w.STANCE | w.APPEAR | w.FILLER) or self.take("to be"):
            pass
        start = self.i
        self.take("to", "on", "at")
        owner = self.attempt(self._owned_side)
        if owner is None:
            self.i = start
        first = self._side_option()
        if owner is None and not self.scope() and self.take("of"):  # "on the left of the bus or on the right"
            owner = self.noun_phrase(relations=False)
        if not first or not self.take("or"):
            return None
        self.take("is it", "rather")
        second = self._side_option()
        if not second:
            return None
        if owner is not None:
            return s.WhichSide(thing, (first, second), owner)
        if self.scope() or self.at_end():
            simple = {"left_of": "left", "right_of": "right", "above": "top", "below": "bottom"}
            return s.WhichSide(thing, (simple[first], simple[second]))
        self.take("of", "from", "to", "than")
        to = self.noun_phrase(relations=False)
        return None if to is None else s.WhichSide(thing, (first, second), to)

    def _side_option(self) -> str:
        self.take("to", "on", "at", "in")
        self.take("the", "its", "their")
        side = self.take_any(("left", "right", "above", "below", "top", "bottom", "over", "under", "higher", "lower",
                              "upper"))  # fmt: skip
        self.take_any(w.SIDE_PARTS)
        return {"left": "left_of", "right": "right_of", "above": "above", "over": "above", "top": "above",
                "higher": "above", "upper": "above", "lower": "below"}.get(side, "below" if side else "")  # fmt: skip

    def _where(self) -> s.Clause | None:
        if self.take("where", "in which part of the picture", "in what part of the picture", "in which area"):
            self.take("exactly", "abouts")
            if self.take_any(w.MODAL | w.DO):
                self.take_any(w.PEOPLE_PRONOUNS)
                if not self.take_any(w.SEE):
                    self.i -= 0
            else:
                self.take_any(w.BE)
        elif self.take(*_LOCATE):
            self.take("where", "the position of", "the location of")
            self.take_any(w.BE)
        elif self.take("what is the position of", "what is the location of"):
            pass
        else:
            return None
        start = self.i
        thing = self.noun_phrase(relations=False)
        while self.take_any(w.STANCE):
            pass
        if thing and self.take("relative to", "with respect to", "in relation to", "with regard to", "than"):
            to = self.noun_phrase(relations=False)
            self.take(", left or right", ", to the left or to the right", ", on the left or on the right")
            return None if to is None else s.WhichSide(thing, ("left_of", "right_of"), to)
        self.i = start
        thing = self.noun_phrase()
        if thing is None or thing.negative:
            return None
        found = self.bag([thing])
        return s.WhereIs(found[0]) if found else None


def _as_verb(thing: NounPhrase, verb: str) -> NounPhrase:
    """ "Is the skis …" speaks of one thing, whatever the noun looks like."""
    return replace(thing, plural=False) if verb in ("is", "was", "does") else thing
