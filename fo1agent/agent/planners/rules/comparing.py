"""Productions that compare: two counts, two sizes, two distances."""

from __future__ import annotations

from dataclasses import replace

from fo1agent.agent.planners.rules import syntax as s
from fo1agent.agent.planners.rules import words as w
from fo1agent.agent.planners.rules.counting import Counting
from fo1agent.agent.planners.rules.syntax import NounPhrase

_EQUAL_TO = w.phrases("equal to | the same as | equal | match | matches | equals | identical to | same as")
_EQUAL_IN_NUMBER = w.phrases(
    "the same in number | in equal number | in equal numbers | in the same number | equal in number | the same "
    "number | equal in numbers | the same in numbers | identical | equal | the same | equally many | present in "
    "equal numbers | identical in number"
)
_NUMBER_OF = w.phrases("number of | numbers of | of | numbers | number | in number | count | members | instances")


class Comparing(Counting):
    """More, fewer, as many, larger, closer; and which of two."""

    def _are_more(self) -> s.Clause | None:
        if not self._opening():
            self.take_any(w.BE | w.DO | w.MODAL | w.HAVE)  # "are more people visible than cars"
            self.take("count", "you count", "i count")
        self._aside()
        self.take("not")
        self.take("any", "a", "an", "the", "just", "exactly")
        if self.take("greater number of", "larger number of", "higher number of", "bigger number of"):
            return self._than("more")
        if self.take("smaller number of", "lower number of", "lesser number of"):
            return self._than("fewer")
        if self.take("more", "fewer", "less"):
            return self._than("more" if self.tokens[self.i - 1] == "more" else "fewer")
        at_least = self.take("at least")
        if self.take("as many", "as much"):
            left = self._until("as")
            right = self._compared() if left and self.take("as") else None
            return s.AreMore(left, "at_least" if at_least else "equal", right) if left and right else None
        if self.take("equally many"):
            return self._same(self.things())
        if self.take("same number of", "equal number of", "identical number of", "equal numbers of", "same numbers of",
                     "the same number of"):  # fmt: skip
            start = self.i
            left = self._until("as")
            if left and self.take("as"):
                right = self._compared()
                return s.AreMore(left, "equal", right) if right else None
            self.i = start
            return self._same(self.things())
        return None

    def _same(self, things: list[NounPhrase] | None) -> s.Clause | None:
        if things is None or len(things) != 2 or self.bag([]) is None:
            return None
        return s.AreMore((things[0],), "equal", (things[1],))

    def _than(self, comparison: str) -> s.Clause | None:
        """Read "dogs than cats", or "dogs or cats", which asks which of the two."""
        self.take("of")
        start = self.i
        left = self._until("than")
        if left and self.take("than"):
            right = self._compared()
            if right and right[-1].relations and not any(thing.relations for thing in left):
                left = tuple(thing.at(*right[-1].relations) for thing in left)  # "… than cars on the left"
            return s.AreMore(left, comparison, right) if right else None
        self.i = start
        first = self.noun_phrase()
        if first is None:
            return None
        things = [first]
        while self.take(",", "or"):
            self.take("or")
            self.take("are there", "is there")
            self.take("more", "fewer", "less")
            other = self.noun_phrase()
            if other is None:
                return None
            things.append(other)
        if len(things) < 2 or self.bag([]) is None:
            return None
        return s.WhichMore(tuple(things), "most" if comparison == "more" else "fewest")

    def _until(self, word: str) -> tuple[NounPhrase, ...] | None:
        """Read things and the empty words before `word`; several things are counted together."""
        things = self.things(("and", "plus"))
        if things is None:
            return None
        while self.now and self.now != word:
            start = self.i
            self.skip()
            self.take_any(w.AUXILIARY | w.SHOWN | w.PEOPLE_PRONOUNS | w.SEE | {"there", ","})
            if self.i == start:
                return None
        return tuple(things)

    def _compared(self) -> tuple[NounPhrase, ...] | None:
        self.take("there are", "there is", "of")
        self.take("the number of", "that of", "the count of")
        things = self.things(("and", "plus"))
        found = None if things is None else self.bag(things)
        return tuple(found) if found else None

    def _numbers_compared(self) -> s.Clause | None:
        """ "Do dogs outnumber cats", "Is the number of dogs greater than that of cats", "Are dogs as common as …"."""
        verb = self.take_any(w.BE | w.DO)
        number = self.take("the number of", "the count of", "the total number of", "the amount of", "number of")
        left = self.noun_phrase(relations=False)
        if left is None:
            return None
        if not verb:
            verb = self.take_any(w.BE)
        if left.noun.endswith(" count"):
            left, number = replace(left, noun=left.noun.removesuffix(" count")), True
        if number or left.plural or not left.definite:
            self.skip()
            if self.take_any(("outnumber", "outnumbers", "exceed", "exceeds", "surpass", "surpasses")):
                return self._pair(left, "more")
            if self.take("outnumbered by", "exceeded by"):
                return self._pair(left, "fewer")
            if self.take(*_EQUAL_TO):
                return self._pair(left, "equal")
        if number:
            if self.take("and"):
                self.take("the number of", "the count of")
                right = self.noun_phrase()
                if right and self._until_equal():
                    return s.AreMore((left,), "equal", (right,))
                return None
            comparison = self._comparison()
            return self._pair(left, comparison) if comparison and self.take("than") else None
        if self.take("and"):
            right = self.noun_phrase(relations=False)
            if right is not None and self._until_equal():
                return s.AreMore((left,), "equal", (right,))
            return None
        if self.take("present in"):
            self.take("a", "the")
            if self.take_any(("greater", "larger", "higher")) and self.take("numbers than", "number than"):
                return self._pair(left, "more")
            return None
        if self.take("or"):  # "are dogs or cats more numerous"
            right = self.noun_phrase(relations=False)
            word = self.take_any(("more", "less"))
            if right is None or not word or not self.take_any(w.OFTEN):
                return None
            return s.WhichMore((left, right), "most" if word == "more" else "fewest")
        self.take_any(w.APPEAR)
        direction = self.take_any(("more", "less", "fewer", "as"))
        if direction in ("fewer", "less") and self.take("than"):
            return self._pair(left, "fewer")
        if direction and self.take_any(w.OFTEN) and self.take("than", "as"):
            return self._pair(left, {"more": "more", "as": "equal"}.get(direction, "fewer"))
        return None

    def _until_equal(self) -> bool:
        """Read "equal in number", "the same", "equally common" to the end."""
        self.take_any(w.BE | w.APPEAR)
        self.skip()
        if self.take(*_EQUAL_IN_NUMBER):
            return True
        return self.take("equally", "as") and bool(self.take_any(w.OFTEN))

    def _comparison(self) -> str:
        self.take("any", "a lot", "much")
        word = self.take_any(("greater", "larger", "higher", "bigger", "more", "smaller", "lower", "less", "fewer"))
        return {"": ""}.get(word, "more" if word in ("greater", "larger", "higher", "bigger", "more") else "fewer")

    def _pair(self, left: NounPhrase, comparison: str) -> s.Clause | None:
        self.take("the number of", "that of", "the count of", "the total number of", "those of")
        self.take("the") if self.peek(2) == "count" else None
        right = self.noun_phrase(relations=False)
        if right is None:
            return None
        if right.noun.endswith(" count"):
            right = replace(right, noun=right.noun.removesuffix(" count"))
        self.take("in number", "in numbers", "in quantity")
        return None if self.bag([]) is None else s.AreMore((left,), comparison, (right,))

    def _which_more(self) -> s.Clause | None:
        """ "Which are there more of, dogs or cats?", "What is more common: dogs or cats?"."""
        direction = self._more_of()
        if not direction:
            return None
        self.skip()
        self.take(",", ":")
        self.take("the")
        self.take("number of")
        things = self.things(("and", "or"))
        if things is None or len(things) < 2 or self.bag([]) is None:
            return None
        return s.WhichMore(tuple(things), direction)

    def _more_of(self) -> str:
        start = self.i
        if not self.take_any(("which", "what")):
            return ""
        if not self.take("of the two", "of these", "of them", "of those") and self.take("of"):
            return ""
        self.take("kind of", "type of")
        group = self._noun() if self._may_name(self.now) else None
        if group in ("group", "category", "class", "kind", "type") and self.take("is larger", "is bigger"):
            return "most"
        if group in ("group", "category", "class", "kind", "type") and self.take("is smaller"):
            return "fewest"
        if self.take("is higher , the number of", "is larger , the number of", "is greater , the number of",
                     "is bigger , the number of"):  # fmt: skip
            return "most"
        if self.take("is lower , the number of", "is smaller , the number of"):
            return "fewest"
        self.take("of these", "of them", "of the two", "of those")
        while self.now and self.take_any(
            w.AUXILIARY | w.PEOPLE_PRONOUNS | w.SEE | w.APPEAR | {"there", "the", "a", "in"}
        ):
            self.skip()
        word = self.take_any(("more", "fewer", "less", "most", "fewest", "least", "greater", "larger", "higher",
                              "lower", "smaller"))  # fmt: skip
        if not word:
            self.i = start
            return ""
        common = self.take_any(w.OFTEN)
        of = self.take(*_NUMBER_OF)
        of = of or (word in ("more", "fewer", "less", "most", "fewest", "least") and self.now in (",", ":"))
        if not common and not of:
            self.i = start
            return ""
        self.skip()
        self.take("of these", "of the two", "than the other")
        return "most" if word in ("more", "most", "greater", "larger", "higher") else "fewest"

    def _is_larger(self) -> s.Clause | None:
        """ "Is the dog bigger than the cat", "Is the dog closer to the bus than the cat"."""
        verb = self.take_any(w.BE)
        left = self.noun_phrase(relations=False)
        if left is None or not (verb or self.take_any(w.BE)):
            return None
        measured = self._measure()
        if measured is None:
            return None
        quantity, comparison, to = measured
        if not self.take("than"):
            return None
        self.take("to")
        right = self.noun_phrase()
        self.take_any(w.BE)
        return None if right is None else s.IsLarger(left, quantity, comparison, right, to)

    def _measure(self) -> tuple[str, str, NounPhrase | None] | None:
        self.take("any", "much", "a lot", "the", "physically")
        word = self.take_any(w.MEASURES)
        if not word:
            return None
        quantity, comparison = w.MEASURES[word]
        if quantity != "distance":
            return quantity, comparison, None
        self.take("away")
        if not self.take("to", "from"):
            return None
        to = self.noun_phrase(relations=False)
        return None if to is None or to.noun.split(" ")[0] in w.SIDES else (quantity, comparison, to)

    def _which_larger(self) -> s.Clause | None:
        """ "Which is bigger, the dog or the cat?"."""
        if not self.take_any(("which", "what", "who")):
            return None
        things: list[NounPhrase] | None = None
        if self.take("of"):
            things = self.things(("and", "or"), relations=False)
        else:
            self.take("one", "thing", "object", "animal", "item")
        self.take_any(w.BE)
        measured = self._measure()
        if measured is None:
            return None
        if things is None:
            self.take(",", ":")
            things = self.things(("and", "or"))
        if things is None or len(things) < 2:
            return None
        quantity, comparison, to = measured
        return s.WhichLarger(tuple(things), quantity, comparison, to)
