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
from fo1agent.agent.planners.rules.noun_phrases import PhraseParser
from fo1agent.agent.planners.rules.syntax import NounPhrase

_ENDS = ("?", ".", "!", ";")
_CONNECTORS = (",", "and", "then", ":", "but", "also", "plus")
_TOTALS = frozenset(["total", "altogether", "combined", "together", "sum", "overall"])
_OFTEN = ("numerous", "common", "frequent", "plentiful", "abundant", "prevalent", "often", "frequently", "prominent")
_WRITTEN = frozenset(
    [
        "written",
        "printed",
        "inscribed",
        "painted",
        "engraved",
        "labeled",
        "labelled",
        "lettered",
        "spelled",
        "embroidered",
    ]
)


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
    again = _like_the_last(tokens, before) if tokens[0] in ("and", "what", "how") else None
    whole = again or _Question(tokens).clause()
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
        left = _Question(tokens[:at]).clause()
        if left is None:
            continue
        right = _parse_sentence(rest, before + left) if rest[0] in w.QUESTION_START else None
        right = right or _like_the_last(rest, before + left)
        if right is not None:
            return left + right
    return _like_the_last(tokens, before)


def _like_the_last(tokens: list[str], before: list[s.Clause]) -> list[s.Clause] | None:
    """ "How many dogs are there? And cats?": the same question of something else."""
    if not before:
        return None
    parser = _Question(tokens)
    parser.take("and", "what about", "how about")
    parser.take("what about", "how about")
    things = parser.things()
    if things is None or not parser.at_end():
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


class _Question(PhraseParser):
    """The productions. Each reads one whole clause or gives None."""

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

    def at_end(self) -> bool:
        """Whether nothing is left but words that say nothing."""
        while self.now == "," or self.now in w.FILLER:
            self.i += 1
        self.skip()
        return not self.now

    # ---- around the question ----

    def _prelude(self) -> None:
        """Pass over "Hi, could you please tell me if", "In this picture,", "I would like to know"."""
        while True:
            start = self.i
            self.take_any(w.FILLER | {",", ":", "and", "question", "but", "great", "sorry", "dear", "quick"})
            if self.attempt(self._picture_opening):
                continue
            if self.take(
                "tell me about",
                "could you count",
                "can you count",
                "can you describe",
                "could you describe",
                "can you read",
                "could you read",
            ):
                self.i = self.i - (3 if self.tokens[self.i - 1] == "about" else 1)
                return
            if self.attempt(self._request):
                continue
            if self.i == start:
                return

    def _picture_opening(self) -> bool | None:
        """ "In this picture,", "Looking at the photo", "Given the image,"."""
        self.take("when", "by", "after")
        if self.take_any(
            ("looking", "look", "based", "given", "considering", "judging", "according", "examining", "for")
        ):
            self.take_any(("at", "on", "by", "from", "to", "in", "closely"))
            self.take_any(("at",))
            self.take_any(w.DETERMINERS)
            while self.take_any(("given", "above", "entire", "whole", "attached", "following")):
                pass
            if not self.take_any(w.PICTURE):
                return None
        elif self.take("from the viewer 's perspective", "from the viewer 's point of view", "from our perspective",
                       "from the camera 's perspective", "from where you are", "as seen from the camera",
                       "from this perspective", "from your perspective", "taken together", "as seen from the viewer"):  # fmt: skip
            pass
        elif self.now not in w.PREPOSITIONS | {"here"} or not self.scope():
            return None
        self.take("carefully", "closely")
        self.take(",", "and", ":")
        return True

    def _request(self) -> bool | None:
        """ "Could you tell me (if)", "I want to know", "Do you know"."""
        start = self.i
        if self.take_any(w.MODAL | {"do"}) and self.take("you", "i", "we"):
            self.take("please", "kindly", "also", "perhaps", "maybe")
            if self.take("tell me", "say", "tell", "let me know", "check", "confirm", "determine", "work out", "know",
                         "help me", "inform me", "verify", "please tell me", "ask", "ask you", "think", "find out",
                         "state", "figure out", "show me", "give me", "tell us"):  # fmt: skip
                if self.tokens[self.i - 2 : self.i] in (["give", "me"], ["show", "me"]):
                    self.i -= 2
                    return self.i > start
                self._embedding()
                return True
            # "Can you count …", "could you describe …": an order as it stands.
            return True if self.now in ("count", "describe", "read", "locate", "point", "list", "name", "identify",
                                        "transcribe", "give", "highlight", "calculate", "add") else None  # fmt: skip
        self.i = start
        if self.take("tell me", "tell us", "let me know", "say", "please tell me", "let us know", "answer", "check",
                     "confirm", "determine", "verify", "decide", "state", "any idea", "help me", "inform me", "see",
                     "judge", "find out", "work out", "figure out", "answer me", "true or false"):  # fmt: skip
            self._embedding()
            return True
        if self.take("i would like to", "i would love to", "i want to", "i need to", "i wish to", "i am trying to",
                     "i would like you to", "i want you to", "we want to", "we need to", "i have to"):  # fmt: skip
            if self.take("know", "find out", "learn", "ask", "understand", "see", "check", "tell me", "figure out"):
                self._embedding()
            return True
        if self.take("i wonder", "i am wondering", "i was wondering", "i am curious", "just wondering", "wondering"):
            self._embedding()
            return True
        if self.take("is it true", "is it correct", "is it the case", "is it right", "would you say", "is it so"):
            self.take("that")
            return True
        return None

    def _embedding(self) -> None:
        self.take("me", "us", "out")
        self.take("if", "whether", "that", "about whether", "as to whether", "about", ":", ",")
        self.take("or not")

    def _drop_tag(self) -> None:
        """Forget ", right?", ", isn't it?", "or not" at the end."""
        tags = (["right"], ["correct"], ["yes"], ["or", "not"], ["true", "or", "false"], ["yes", "or", "no"],
                ["is", "not", "it"], ["are", "not", "there"], ["is", "not", "there"], ["are", "not", "they"],
                ["thanks"], ["thank", "you"], ["please"], ["is", "there"], ["are", "there"])  # fmt: skip
        for tag in tags:
            cut = len(self.tokens) - len(tag)
            if (
                cut > self.i + 1
                and self.tokens[cut:] == tag
                and (self.tokens[cut - 1] == "," or tag[0] in ("or", "true"))
            ):
                self.tokens = self.tokens[: cut - 1] if self.tokens[cut - 1] == "," else self.tokens[:cut]

    def _greetings_only(self) -> list[s.Clause] | None:
        return [] if self.at_end() else None

    def _fronted(self) -> s.Clause | list[s.Clause] | None:
        """ "To the left of the bus, how many people are there?", "Dogs and cats: how many in total?"."""
        if self.take("of", "among", "out of"):
            whole = self.things(relations=False)
            if whole is None or not self.take(","):
                return None
            if not self.take("how many"):
                return None
            self.take("of them")
            found = self.bag(whole)
            return s.HowMany(tuple(found)) if found else None
        if self.take("relative to", "with respect to", "in relation to", "with regard to", "than"):
            return self._as_seen_from()
        if self.take("comparing", "between", "out of", "considering"):
            return self._of_the_two()
        if self.now in ("looking", "if", "when"):
            self.take("if", "when")
            self.take("you", "we", "i", "one")
            if not self.take("looking", "look"):
                return None
        relation = self.relation()
        if relation is not None:
            if not self.take(",") and self.now not in w.QUESTION_START:
                return None
            found = _Question(self.tokens[self.i :]).clause()
            self.i = len(self.tokens)
            if found is None or len(found) != 1:
                return None
            clause = found[0]
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
        if rest[:2] == ["how", "many"] or rest[:2] == ["what", "is"]:
            bag = _Question(rest[2:])
            bag.take("the")
            if bag.bag(things) is not None and bag.at_end():
                return s.HowMany(tuple(things))
        if rest and rest[0] in ("which", "what"):
            asked = _Question([*rest, ","])
            order = asked._more_of()
            if order and len(things) > 1:
                return s.WhichMore(tuple(things), order)
        return None

    def _as_seen_from(self) -> s.Clause | None:
        """ "(Relative to) the bus, is the dog on the left?": sides are of the bus, not of the picture."""
        to = self.noun_phrase(relations=False)
        if to is None or not self.take(","):
            return None
        found = _Question(self.tokens[self.i :]).clause()
        self.i = len(self.tokens)
        if found is None or len(found) != 1:
            return None
        clause = found[0]
        names = {"left": "left_of", "right": "right_of", "top": "above", "bottom": "below"}

        def of_it(thing: NounPhrase) -> NounPhrase:
            return replace(thing, relations=tuple(map(beside, thing.relations)))

        def beside(relation: Relation) -> Relation:
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
        if things is None or len(things) < 2 or not self.take(","):
            return None
        rest = _Question(self.tokens[self.i :])
        self.i = len(self.tokens)
        direction = _Question([*rest.tokens, ","])._more_of()
        if direction:
            return s.WhichMore(tuple(things), direction)
        if not rest._opening() or not rest.take("more", "fewer", "less"):
            return None
        comparison = "more" if rest.tokens[rest.i - 1] == "more" else "fewer"
        named = rest.noun_phrase()
        others = [thing for thing in things if named is None or thing.noun != named.noun]
        if named is None or rest.bag([]) is None or len(others) != len(things) - 1:
            return None
        return s.AreMore((named,), comparison, tuple(others))

    # ---- shared pieces ----

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
            self.take(",")
            relation = self.attempt(self._had_by) or self.attempt(self._clause_relation)
            if relation is None and self.take("and tell me the total", "and give me the total", "get", "both", "all", "make"):
                continue
            if relation is None and self.take("and", "but"):
                relation = self.attempt(self._clause_relation)
            if relation is not None:
                things = [thing.at(relation) for thing in things]
                continue
            if self.take("it look like", "it seem like", "it seem", "it appear", "it look as if"):
                continue
            if self.take("in total", "in all", "to be", "if any", "would you say", "do you think", "by you", "of them"):
                continue
            if self.attempt(self._picture_subject) or self.take_any(
                w.AUXILIARY
                | w.PEOPLE_PRONOUNS
                | w.SEE
                | w.SHOW
                | w.SHOWN
                | w.APPEAR
                | w.STANCE
                | _TOTALS
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

    def _picture_subject(self) -> bool | None:
        self.take_any(w.DETERMINERS)
        return bool(self.take_any(w.PICTURE)) or None

    def _total(self) -> bool:
        return bool(_TOTALS & set(self.tokens)) or " in all" in " ".join(self.tokens)

    def _counted(self, things: list[NounPhrase] | None) -> s.HowMany | None:
        found = None if things is None else self.bag(things)
        return None if not found else s.HowMany(tuple(found))

    # ---- counting ----

    def _how_many(self) -> s.Clause | list[s.Clause] | None:
        if not self.take("how many", "how much", "how numerous are"):
            return None
        self.take("of")
        self.take("different")
        if self.now in ("kinds", "types", "sorts", "species", "colors", "color", "times"):
            return None
        self.take("in total", "total", "overall")
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
        while True:  # "how many dogs and how many cats"
            start = self.i
            self.take(",")
            self.take("and", "plus")
            more = self.things() if self.take("how many") else None
            if more is None:
                self.i = start
                break
            each += more
        counted = self._counted(things + each)
        if counted is None:
            return None
        apart = (each and not self._total()) or self.tokens[-1] in ("respectively", "each") or "each" in self.tokens
        return replace(counted, each=bool(apart) and len(counted.things) > 1)

    def _added_up(self) -> s.Clause | None:
        """ "If you add the dogs and the cats, how many are there?", "How many things are there if you count dogs and cats?"."""
        asked = self.take("how many", "what do you get", "what is the result", "what is the total", "what is the sum")
        if asked:
            self.take("objects", "things", "items")
            while self.take_any(w.AUXILIARY | w.PEOPLE_PRONOUNS | {"there", "get", ","}):
                pass
        if self.take_any(("if", "when", "by", "once", "after")):
            self.take_any(w.PEOPLE_PRONOUNS)
        if not self.take_any(("add", "count", "combine", "sum", "counting", "adding", "combining", "summing", "put", "take")):
            return None
        self.take("up", "together")
        self.take("both", "all")
        self.take("the number of", "the numbers of")
        things = self.things(("and", "plus", "to", "with"))
        if things is None or len(things) < 2:
            return None
        self.take("up")
        self.skip()
        if not asked:
            self.take(",")
            if not self.take("how many", "what is the total", "what do you get", "what is the sum"):
                return None
            self.take("number", "objects", "things", "items", "of them")
        found = self.bag(things)
        return s.HowMany(tuple(found)) if found else None

    def _number_of(self) -> s.Clause | list[s.Clause] | None:
        """ "What is the number of dogs", "count the dogs", "number of dogs and cats", "the dog count"."""
        self.take("what is", "what are", "how large is", "how big is", "how high is", "give me", "give", "find", "state", "report", "calculate",
                  "determine", "get", "provide", "estimate", "return", "output", "show me", "what", "i need",
                  "compute", "name")  # fmt: skip
        self.take("for me", "me")
        if self.take("count up", "count", "add up", "add together", "add", "sum up", "sum", "tally",
                     "enumerate"):  # fmt: skip
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

    # ---- comparing numbers ----

    def _opening(self) -> bool:
        """Read "are there", "do you see", "does the picture show", "there are": what a claim about numbers begins with."""
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
        if self.take_any(w.DO | w.MODAL | w.HAVE) and (self.take("not") or True) and self.take_any(w.PEOPLE_PRONOUNS):
            if self.take_any(w.SEE | w.HAVE | {"found", "spotted", "seen", "noticed"}):
                self.take("out")
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

    def _are_more(self) -> s.Clause | None:
        self._opening()
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

    def _aside(self) -> None:
        """Pass over ", in the picture,"."""
        self.take(",")
        self.skip()
        self.take(",")

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
            return s.AreMore(left, comparison, right) if right else None
        self.i = start
        first = self.noun_phrase()
        if first is None:
            return None
        things = [first]
        while self.take(",", "or"):
            self.take("or")
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
        return None if things is None or self.bag([]) is None else tuple(things)

    def _numbers_compared(self) -> s.Clause | None:
        """ "Do dogs outnumber cats", "Is the number of dogs greater than that of cats", "Are dogs more common than cats"."""
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
            if self.take("equal to", "the same as", "equal", "match", "matches", "equals", "identical to", "same as"):
                return self._pair(left, "equal")
        if number:
            if self.take("and"):
                self.take("the number of", "the count of")
                right = self.noun_phrase()
                if right and self.bag_until_equal():
                    return s.AreMore((left,), "equal", (right,))
                return None
            comparison = self._comparison()
            return self._pair(left, comparison) if comparison and self.take("than") else None
        if self.take("and"):
            right = self.noun_phrase(relations=False)
            if right is not None and self.bag_until_equal():
                return s.AreMore((left,), "equal", (right,))
            return None
        if self.take("present in"):
            self.take("a", "the")
            if self.take_any(("greater", "larger", "higher")) and self.take("numbers than", "number than"):
                return self._pair(left, "more")
            return None
        direction = self.take_any(("more", "less", "fewer", "as"))
        if direction in ("fewer", "less") and self.take("than"):
            return self._pair(left, "fewer")
        if direction and self.take_any(_OFTEN) and self.take("than", "as"):
            return self._pair(left, {"more": "more", "as": "equal"}.get(direction, "fewer"))
        return None

    def bag_until_equal(self) -> bool:
        """Read "equal in number", "the same", "equally common" to the end."""
        self.take_any(w.BE | w.APPEAR)
        self.skip()
        if self.take("the same in number", "in equal number", "in equal numbers", "in the same number", "equal in number", "the same number", "equal in numbers", "the same in numbers",
                     "identical", "equal", "the same", "equally many", "present in equal numbers",
                     "identical in number"):  # fmt: skip
            return True
        return self.take("equally", "as") and bool(self.take_any(_OFTEN))

    def _comparison(self) -> str:
        self.take("any", "a lot", "much")
        word = self.take_any(("greater", "larger", "higher", "bigger", "more", "smaller", "lower", "less", "fewer"))
        return {"": ""}.get(word, "more" if word in ("greater", "larger", "higher", "bigger", "more") else "fewer")

    def _pair(self, left: NounPhrase, comparison: str) -> s.Clause | None:
        self.take("the number of", "that of", "the count of", "the total number of", "those of")
        self.take("the") if self.peek(2) == "count" else None
        right = self.noun_phrase()
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
        common = self.take_any(_OFTEN)
        of = self.take("number of", "numbers of", "of", "numbers", "number", "in number", "count", "members", "instances")
        of = of or self.now in (",", ":")
        if not common and not of:
            self.i = start
            return ""
        self.skip()
        self.take("of these", "of the two", "than the other")
        return "most" if word in ("more", "most", "greater", "larger", "higher") else "fewest"

    # ---- existence ----

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
        if self.take("multiple", "several", "many", "numerous", "a few", "a couple of", "various", "lots of", "a lot of",
                     "plenty of"):  # fmt: skip
            return "at_least", 2
        return "", 0

    def _see_or_show(self) -> s.Clause | None:
        """ "Do you see a dog", "does the picture show dogs", "has the photo got a dog", "is this a picture of a dog"."""
        return self._exist() if self._opening() else None

    # ---- where things are to each other ----

    def _is_at(self) -> s.Clause | None:
        """ "Is the dog to the left of the cat", "Is a dog visible", "Does the dog appear on the left", "Are all dogs …"."""
        verb = self.take_any(w.BE | w.DO | w.MODAL)
        if not verb:
            return None
        self.take("not")
        start = self.i
        things = self.things(("and", "or"))
        if things is None:
            return None
        if len(things) == 1 and things[0].relations and self._empty_rest():
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
        if found[0].relations and (found[0].definite or len(found) > 1):
            clauses = [self._at(_as_verb(thing, verb), self.tokens[start]) for thing in found]
            return clauses[0] if len(clauses) == 1 else s.IsThere(tuple(found), any_will_do)
        return s.IsThere(tuple(found), any_will_do)

    def _is_without(self) -> s.Clause | None:
        """ "Is the picture without (free of) dogs?"."""
        if not (self.take_any(w.BE) and self.attempt(self._picture_subject) and self.take("without")):
            return None
        things = self.things(("and", "or"))
        return None if things is None else s.IsThere(tuple(replace(thing, negative=True) for thing in things))

    def _is_colored(self) -> s.Clause | None:
        """ "Is the car red?": whether there is a red car."""
        if not self.take_any(w.BE):
            return None
        self.take("the")
        words = (self._noun() or "").split()
        if len(words) < 2 or words[-1] not in lexicon.COLORS or not self.at_end():
            return None
        thing = lexicon.singular(" ".join(words[:-1]))
        return s.IsThere((NounPhrase(f"{words[-1]} {thing}"),))

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

    def _empty_rest(self) -> bool:
        while self.now and (self.take_any(w.SHOWN | w.APPEAR | w.STANCE | {"be", "there"}) or self.scope()):
            pass
        return self.at_end()

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
        if self.take("on which side", "on what side", "which side", "what side", "in which half", "on which half"):
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

    # ---- sizes and distances ----

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
        return None if to is None or to.noun in w.SIDES else (quantity, comparison, to)

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

    # ---- reading ----

    def _read(self) -> s.Clause | None:
        if self.take("read", "transcribe", "read out", "spell out"):
            self.take("me", "us", "for me")
            self.take("out loud", "aloud", "out")
            self.take("to me", "for me")
            if self.at_end():
                return s.ReadText()
            if self.take("what is", "what it says", "whatever is"):
                self.take_any(_WRITTEN)
            thing = self.noun_phrase()
            if thing is not None:
                return self._text_of(thing)
            return self._written_at()
        if not self.take("what", "which"):
            return None
        start = self.i
        if self.take_any(w.BE | w.MODAL | w.DO | w.HAVE):
            self.take("it that is", "been", "be", "the thing")
            if self.take_any(_WRITTEN | {"displayed", "spelled"}) and self.tokens[self.i - 1] in _WRITTEN:
                return self._written_at()
            self.i = start
        # "what does the sign say", "what the sign says"
        self.take_any(w.DO)
        thing = self.noun_phrase()
        if thing is not None and self.take_any(
            ("say", "says", "read", "reads", "state", "states", "spell", "spells", "saying")
        ):
            self.take("on it", "out", "on them")
            found = self._text_of(thing)
            if self.now:
                if thing.pronoun:  # "what does it say on the bus"
                    return self._written_at()
                relation = self.relation()
                if relation is None or relation.to is None:
                    return None
                found = self._text_of(thing.at(relation))
            return found
        # "what can you read on the sign", "what words are on the bus", "what is the text on the bus"
        self.i = start
        self.take_any(w.MODAL | w.DO)
        if self.take("you", "i", "we", "one") and self.take("read"):
            return self._written_at()
        self.i = start
        self.take_any(w.BE)
        self.take_any(w.DETERMINERS)
        self.take_any(("visible", "written", "printed", "actual", "exact"))
        word = self.take_any(w.TEXT_NOUNS)
        if word or (
            self.now in ("number", "name", "numbers", "words") and self.peek(1) != "of" and self.take_any((self.now,))
        ):
            while self.take_any(
                w.AUXILIARY | _WRITTEN | w.SHOWN | w.APPEAR | w.PEOPLE_PRONOUNS | w.SEE | {"there", "that"}
            ):
                pass
            self.take("read")
            return self._written_at()
        return None

    def _written_at(self) -> s.Clause | None:
        """Read where the text is: "on the bus", "next to the bus", or nowhere in particular."""
        while self.take_any(w.FILLER) or self.scope() or self.take("down"):
            pass
        if not self.now:
            return s.ReadText()
        if self.take("on the side of", "on the front of", "on the back of", "across", "along", "upon", "of", "at",
                     "on top of", "from", "all over", "over", "on the surface of"):  # fmt: skip
            thing = self.noun_phrase()
            return None if thing is None else self._text_of(thing)
        relation = self.relation()
        if relation is None or relation.to is None:
            return None
        if relation.name in ("on", "inside", "overlaps"):
            return self._text_of(relation.to)
        return s.ReadText(relation.to, relation.name)

    def _text_of(self, thing: NounPhrase) -> s.Clause:
        """The text on a thing; a bearer of text ("its sign", "the sign on the bus") is read where it is."""
        noun = thing.noun.rsplit(" ", 1)[-1]
        bears = noun in w.BEARERS and thing.noun not in ("stop sign",)
        if not bears and noun not in w.TEXT_NOUNS:
            return s.ReadText(thing)
        bearer = noun if bears else ""
        if thing.owner is not None:
            return s.ReadText(thing.owner, bearer=bearer)
        if thing.relations and thing.relations[0].to is not None:
            where = thing.relations[0]
            if where.name in ("on", "inside", "overlaps"):
                return s.ReadText(where.to, bearer=bearer)
            return s.ReadText(where.to, where.name, bearer)
        return s.ReadText(thing, bearer=bearer) if bears else s.ReadText()

    # ---- what, which, who, where ----

    def _where(self) -> s.Clause | None:
        if self.take("where", "in which part of the picture", "in what part of the picture", "in which area"):
            self.take("exactly", "abouts")
            if self.take_any(w.MODAL | w.DO):
                self.take_any(w.PEOPLE_PRONOUNS)
                if not self.take_any(w.SEE):
                    self.i -= 0
            else:
                self.take_any(w.BE)
        elif self.take("locate", "find", "point to", "point out", "point at", "highlight", "mark", "show me where",
                       "show me", "show", "outline", "detect", "pinpoint", "give me the location of", "identify"):  # fmt: skip
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

    def _describe(self) -> s.Clause | None:
        if self.take("what is happening", "what is going on", "what happens", "what is this", "what is it", "what is that",
                     "caption this", "caption it", "caption", "what is the picture of", "what is the picture about",
                     "what is this picture of", "what is this picture about", "what is this a picture of",
                     "describe", "summarize", "summarise"):  # fmt: skip
            if self.tokens[self.i - 1] not in ("describe", "caption", "summarize", "summarise"):
                return s.DescribeIt()
            self.take("for me", "to me", "briefly", "in detail", "what you see in", "what is in", "what you see")
        elif self.take("tell me about", "tell me something about", "tell me more about", "give me a description of",
                       "give me a caption of", "give a description of", "give me a caption for", "give a caption for",
                       "write a caption for", "write a description of", "about"):  # fmt: skip
            pass
        elif self.take("what do", "what does", "what"):
            if self.attempt(self._picture_subject):
                if not self.take_any(w.SHOW) and not self.take("look like"):
                    return None
                return s.DescribeIt()
            thing = self.noun_phrase()
            if thing is not None and (self.take("look like") or self.take("looks like")):
                return s.DescribeIt(thing)
            return None
        else:
            return None
        start = self.i
        self.take_any(w.DETERMINERS)
        if not self.now or (self.take_any(w.PICTURE) and self.at_end()):
            return s.DescribeIt()
        self.i = start
        if self.at_end():
            return s.DescribeIt()
        thing = self.noun_phrase()
        if thing is None:
            return None
        return (
            s.DescribeIt() if thing.pronoun in ("this", "that", "it") and not thing.relations else s.DescribeIt(thing)
        )

    def _aspect(self) -> s.Clause | None:
        """Questions about a thing that only the model can answer: "What color is the car?", "What is the man doing?"."""
        question = " ".join(self.tokens[self.i :]).replace(" 's", "'s") + "?"
        if not self.take("what", "which"):
            return None
        if self.take("is the", "are the"):
            if self.take_any(w.ASPECTS) and self.take("of"):
                thing = self.noun_phrase()
                return None if thing is None or not thing.definite else s.AskAbout(thing, question)
            self.i -= 2
        aspect = self.take_any(w.ASPECTS)
        if aspect in ("kind", "type", "sort", "breed", "species", "make", "model", "brand") and self.take("of"):
            named = self.noun_phrase(relations=False)
            if named is None:
                return None
            self.take_any(w.BE)
            thing = self.noun_phrase()
            if thing is None:  # "what kind of animal is on the couch", "what kind of animals are there"
                found = self.bag([named])
                return s.WhatIs(found[0]) if found else None
            if thing.pronoun in ("this", "that", "it"):
                return s.WhatIs(named)
            return s.AskAbout(thing, question)
        verb = self.take_any(w.BE | w.DO)
        if not verb:
            return None
        thing = self.noun_phrase()
        if thing is None or not (thing.definite or thing.pronoun):
            return None
        if aspect:
            return s.AskAbout(thing, question) if self.at_end() else None
        doing = self.take("doing", "holding", "wearing", "eating", "playing", "made of", "looking at", "riding", "carrying",
                          "called", "do", "drinking", "watching", "sitting on", "standing on", "playing with")  # fmt: skip
        return s.AskAbout(thing, question) if doing and self.at_end() else None

    def _what(self) -> s.Clause | None:
        """ "What is to the left of the cat", "Which dog is nearest to the bus", "Who is on the left", "What can you see"."""
        who = self.now == "who"
        if self.take("list", "name", "enumerate", "identify"):
            self.take("all of", "everything")
            thing = self.noun_phrase() or NounPhrase("", plural=True)
            found = self.bag([thing])
            return s.WhatIs(found[0]) if found else None
        if not self.take_any(("what", "which", "who")):
            return None
        thing = NounPhrase("person") if who else NounPhrase("")
        self.take("of", "one of")
        if not who and (self.now in w.DETERMINERS or self._may_name(self.now)):
            named = self.noun_phrase(relations=False)
            if named is None:
                return None
            thing = replace(named, definite=False)
        done = s.WhereIs if who else s.WhatIs
        start = self.i
        self.take_any(w.BE)
        while self.take_any(w.STANCE | w.APPEAR):
            pass
        chosen = self.superlative(thing)
        if chosen is not None:
            found = self.bag([chosen])
            if found:
                return done(found[0])
        self.i = start
        if not thing.noun and self.take_any(w.BE) and not self.take("there"):
            asked = self.attempt(self._asked_thing)
            if asked is not None:
                return asked
        self.i = start
        found = self.bag([thing])
        if not found or (not found[0].relations and self.i == start):
            return None
        return done(found[0])

    def _asked_thing(self) -> s.Clause | None:
        """ "(what is) the largest object", "(what is) the thing to the left of the cat", "(what is) r's name"."""
        thing = self.noun_phrase()
        if thing is None or not self.at_end():
            return None
        if thing.order or thing.relations or not thing.noun:
            return s.WhatIs(thing) if not thing.pronoun or thing.relations else s.DescribeIt(thing)
        return s.DescribeIt(thing) if thing.definite else None

    def _fragment(self) -> s.Clause | None:
        """ "Any dogs?", "A dog in the picture?", "Dogs left of the bus?": asks whether there are. "Dogs plus cats =" """
        start = self.i
        summands = self.things(("plus",))
        if summands and len(summands) > 1 and self.take("equals", "equal", "is", "are", "make", "makes", "gives"):
            self.take("how many", "what", "how much")
            return s.HowMany(tuple(summands)) if self.bag([]) is not None else None
        self.i = start
        comparison, number = self._quantity()
        things = self.things()
        if things is None or any(thing.pronoun or not thing.noun for thing in things):
            return None
        return s.IsThere(tuple(things), False, comparison, number)


def _as_verb(thing: NounPhrase, verb: str) -> NounPhrase:
    """ "Is the skis …" speaks of one thing, whatever the noun looks like."""
    return replace(thing, plural=False) if verb in ("is", "was", "does") else thing
