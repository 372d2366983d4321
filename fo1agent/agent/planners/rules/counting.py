"""Productions that ask for a number: counts, sums and differences."""

from __future__ import annotations

from dataclasses import replace

from fo1agent.agent.planners.rules import syntax as s
from fo1agent.agent.planners.rules import words as w
from fo1agent.agent.planners.rules.preamble import Preamble
from fo1agent.agent.planners.rules.syntax import NounPhrase

_STATE = w.phrases(
    "what is | what are | how large is | how big is | how high is | give me | give | find | state | report | "
    "calculate | determine | get | provide | estimate | return | output | show me | what | i need | compute | "
    "name | identify | i would like | i want"
)
_COUNT = w.phrases("count up | count | add up | add together | add | sum up | sum | tally | enumerate")

_WHAT_TOTAL = w.phrases(
    "what is the total | what total | what number | what do you get | what do i get | what is the sum | "
    "what is the result"
)


class Counting(Preamble):
    """How many, how many together, how many more."""

    def _counted(self, things: list[NounPhrase] | None) -> s.HowMany | None:
        found = None if things is None else self.bag(things)
        return None if not found else s.HowMany(tuple(found))

    def _how_many(self) -> s.Clause | list[s.Clause] | None:
        if not self.take("how many", "how much", "how numerous are"):
            return None
        self.take("of")
        self.take("different")
        if self.now in ("kinds", "types", "sorts", "species", "colors", "color", "times"):
            return None
        self.take("in total", "total", "overall")
        self.take(":")
        while self.take_any(w.BE | w.DO | {"there"}):
            self.skip()
        self.take("of")
        things = self.things()
        if things is None:
            return None
        if len(things) == 1 and not things[0].noun and self.take_any(w.BE):  # "how many of these are dogs or cats"
            self.take("either")
            things = self.things() or things
        each: list[NounPhrase] = []
        summed = False
        while True:  # "how many dogs and how many cats"
            start = self.i
            self.take(",")
            summed |= self.now == "plus"
            self.take("and", "plus")
            more = self.things() if self.take("how many") else None
            if more is None:
                self.i = start
                break
            each += more
        counted = self._counted(things + each)
        if counted is None:
            return None
        apart = (
            (each and not summed and not self._total())
            or self.tokens[-1] in ("respectively", "each")
            or "each" in self.tokens
        )
        return replace(counted, each=bool(apart) and len(counted.things) > 1)

    def _added_up(self) -> s.Clause | None:
        """ "If you add the dogs and the cats, how many are there?", "Counting the dogs, what do you get?"."""
        if self.take("what total do you get for", "what is the total for"):
            return self._counted(self.things())
        made = self.attempt(self._they_make)
        if made is not None:
            return made
        asked = self.take("how many", "what do you get", "what is the result", "what is the total", "what is the sum")
        if asked:
            self.take("objects", "things", "items")
            while self.take_any(w.AUXILIARY | w.PEOPLE_PRONOUNS | {"there", "get", ","}) or self.scope():
                pass
        if self.take_any(("if", "when", "by", "once", "after")):
            self.take_any(w.PEOPLE_PRONOUNS)
        counting = self.take_any(("count", "counting"))
        if not counting and not self.take_any(
            ("add", "combine", "sum", "adding", "combining", "summing", "put", "take")
        ):
            return None
        self.take("up", "together")
        self.take("both", "all")
        self.take("the number of", "the numbers of")
        things = self.things(("and", "plus", "to", "with"))
        if things is None or (len(things) < 2 and not counting):
            return None
        self.take("up")
        self.skip()
        if not asked:
            self.take(",")
            if self.now and not self.take("how many", *_WHAT_TOTAL):
                return None
            self.take("number", "objects", "things", "items", "of them")
        found = self.bag(things)
        return s.HowMany(tuple(found)) if found else None

    def _they_make(self) -> s.Clause | None:
        """ "What do dogs and cats add up to?"."""
        if not self.take("what do", "what total do"):
            return None
        things = self.things(("and", "plus"), relations=False)
        if things is None or not self.take("equals", "add", "make", "sum to", "give", "amount to", "come to"):
            return None
        return s.HowMany(tuple(things))

    def _number_of(self) -> s.Clause | list[s.Clause] | None:
        """ "What is the number of dogs", "count the dogs", "number of dogs and cats", "the dog count"."""
        self.take(*_STATE)
        self.take("for me", "me")
        if self.peek(1) != "of" and self.take(*_COUNT):
            self.take("for me")
            self.take("all of", "up", "how many", "the number of", "together")
            return self._counted(self.things())
        self.take("the", "a")
        while self.take_any(
            ("total", "combined", "exact", "overall", "joint", "sum", "full", "whole", "current", "precise")
        ):
            pass
        if self.take_any(("number", "count", "total", "sum", "tally", "numbers", "counts", "headcount", "quantity")):
            if self.take("of", "for"):
                while self.take("the number of", "the count of", "all of", "all"):
                    pass
                return self._counted(self.things())
            return None
        if self.i and self.tokens[self.i - 1] in ("total", "combined"):  # "total dogs and cats"
            start = self.i
            things = self.things()
            if things is not None and len(things) > 1:
                return self._counted(things)
            self.i = start
        self.i -= 1 if self.i and self.tokens[self.i - 1] in ("total", "sum") else 0
        if self.take("total of", "sum of", "total for"):
            self.take("the number of")
            return self._counted(self.things())
        thing = self.noun_phrase(relations=False)
        if thing is not None and thing.noun.endswith((" count", " total", " number")):
            return self._counted([replace(thing, noun=thing.noun.rsplit(" ", 1)[0])])
        return None

    def _how_many_more(self) -> s.Clause | None:
        """ "How many more dogs than cats are there", "What is the difference between the number of dogs and cats"."""
        higher = " ".join(self.tokens[self.i : self.i + 3]) in (
            "how much higher", "how much larger", "how much greater", "how much bigger"
        )  # fmt: skip
        if not higher and self.take("by how many", "by how much", "how much", "how many"):
            start = self.i
            if self.take("more", "fewer", "less"):
                fewer = self.tokens[self.i - 1] != "more"
                pair = self._pair_than()
                if pair is None:
                    return None
                left, right = pair
                return s.HowManyMore(right, left) if fewer else s.HowManyMore(left, right)
            self.i = start
            self.take("do", "does")
            self.take("the number of")
            left = self.noun_phrase()
            if left is not None and self.take_any(("outnumber", "outnumbers", "exceed", "exceeds")):
                self.take("the number of", "that of")
                right = self.noun_phrase()
                self.take("by")
                return None if right is None else s.HowManyMore(left, right)
            if left is not None and self.take("minus", "less"):
                right = self.noun_phrase()
                if right is not None and self.bag([]) is not None:
                    return s.HowManyMore(left, right)
            if left is not None and self.bag([]) is not None:
                return None
            return None
        if self.take("how much higher is", "how much larger is", "how much greater is", "how much bigger is"):
            self.take("the number of")
            pair = self._pair_than()
            return None if pair is None else s.HowManyMore(*pair)
        if self.take("subtract"):
            self.take("the number of")
            less = self.noun_phrase(relations=False)
            if less is None or not self.take("from"):
                return None
            self.take("the number of", "that of")
            more = self.noun_phrase()
            return None if more is None else s.HowManyMore(more, less)
        self.take("what is", "find", "calculate", "give me", "compute", "tell me")
        minus = self.attempt(self._minus)
        if minus is not None:
            return minus
        if not self.take("the difference", "difference"):
            return None
        self.take("in number", "in numbers", "in the number", "in count")
        if not self.take("between", "of"):
            return None
        self.take("the number of", "the numbers of", "the count of", "the counts of", "numbers of")
        left = self.noun_phrase()
        if left is None or not self.take("and"):
            return None
        self.take("the number of", "the count of", "that of")
        right = self.noun_phrase()
        if right is None or self.bag([]) is None:
            return None
        return s.HowManyMore(left, right, absolute=True)

    def _minus(self) -> s.Clause | None:
        """ "the number of dogs minus the number of cats"."""
        self.take("the number of", "number of")
        more = self.noun_phrase(relations=False)
        if more is None or not self.take("minus"):
            return None
        self.take("the number of", "number of")
        less = self.noun_phrase()
        return None if less is None else s.HowManyMore(more, less)

    def _pair_than(self) -> tuple[NounPhrase, NounPhrase] | None:
        """Read "dogs (are there) than cats (in the picture)"."""
        left = self.noun_phrase()
        if left is None:
            return None
        while self.now and self.now != "than":
            start = self.i
            self.skip()
            if not (self.take_any(w.AUXILIARY | w.SHOWN | w.PEOPLE_PRONOUNS | w.SEE | {"there"}) or self.i > start):
                return None
        if not self.take("than"):
            return None
        self.take("there are", "there is", "the number of", "that of")
        right = self.noun_phrase()
        if right is None or self.bag([]) is None:
            return None
        return left, right
