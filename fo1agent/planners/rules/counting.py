"""Productions that ask for a number: counts, sums and differences."""

from __future__ import annotations

from dataclasses import replace

from fo1agent.planners.rules import syntax as s
from fo1agent.planners.rules import words as w
from fo1agent.planners.rules.parser import Parser
from fo1agent.planners.rules.syntax import NounPhrase
from fo1agent.words import lexicon

_STATE = w.phrases(
    "what is | what are | how large is | how big is | how high is | give me | give | find | state | report | "
    "calculate | determine | get | provide | estimate | return | output | show me | what | i need | compute | "
    "name | identify | i would like | i want"
)
_COUNT = w.phrases("count up | count | add up | add together | add | sum up | sum | tally | enumerate")

_APART = w.phrases("separately | individually | apart | one by one | on their own | each")
_GENERAL = w.words("fruits animals vehicles foods things objects items")
_WHAT_TOTAL = w.phrases(
    "what is the total | what total | what number | what do you get | what do i get | what is the sum | "
    "what is the result"
)


def _counted(p: Parser, things: list[NounPhrase] | None) -> s.HowMany | None:
    found = None if things is None else p.bag(things)
    return None if not found else s.HowMany(tuple(found))


def how_many(p: Parser) -> s.Clause | list[s.Clause] | None:
    """ "How many dogs are there?", "How many boats aren't white?", "How many dogs and how many cats?"."""
    if not p.take("how many", "how much", "how numerous are"):
        return None
    if chosen := p.attempt(lambda: _of_the_chosen(p)):
        return chosen
    p.take("of")
    if p.take("different") and p.now in _GENERAL:  # "how many different fruits": kinds of them
        things = p.things(("and",))
        kinds = None if things is None else p.bag(things)
        return s.HowManyKinds(kinds[0]) if kinds and len(kinds) == 1 else None
    if p.now in ("kinds", "types", "sorts", "species", "colors", "color", "times"):
        return None
    p.take("in total", "total", "overall")
    p.take(":")
    while p.take_any(w.BE | w.DO | {"there"}):
        p.skip()
    p.take("of")
    things = p.things()
    if things is None:
        return None
    if len(things) == 1 and not things[0].noun and p.now in w.BE:  # "how many of these are dogs or cats"
        things = p.attempt(lambda of=things[0]: _among(p, of)) or things
    each: list[NounPhrase] = []
    summed = False
    while True:  # "how many dogs and how many cats"
        start = p.i
        p.take(",")
        summed |= p.now == "plus"
        p.take("and", "plus")
        more = p.things() if p.take("how many") else None
        if more is None:
            p.i = start
            break
        each += more
    if p.tokens[-2:] in (["are", "left"], ["is", "left"]):
        return None  # those that remain, or on the left: nothing says which
    counted = _counted(p, things + each)
    if counted is None:
        return None
    apart = (each and not summed and not p._total()) or p.tokens[-1] in ("respectively", "each") or "each" in p.tokens
    return replace(counted, each=bool(apart) and len(counted.things) > 1)


def _of_the_chosen(p: Parser) -> list[s.Clause] | None:
    """Read "(how many of) the two leftmost dogs are black": what is said of them comes after they are chosen."""
    p.take("out of", "of")
    whole = p.noun_phrase(conditions=False)
    if whole is None or not whole.number:
        return None
    said = p.predicates() if p.take_any(w.BE) else None
    if said is None or not p.at_end():
        return None
    them = NounPhrase("", definite=True, plural=True, pronoun="them")
    return [s.Spoken(s.WhatIs(whole)), s.HowMany((them.at(*said),))]


def _among(p: Parser, of: NounPhrase) -> list[NounPhrase] | None:
    """Read "(how many of these) are dogs or cats"."""
    p.take_any(w.BE)
    p.take("either")
    things = None if p.now in lexicon.COLORS or p.now == "not" else p.things()
    return None if things is None else [thing.at(*of.conditions) for thing in things]


def added_up(p: Parser) -> s.Clause | None:
    """ "If you add the dogs and the cats, how many are there?", "Counting the dogs, what do you get?"."""
    if p.take("what total do you get for", "what is the total for"):
        return _counted(p, p.things())
    made = p.attempt(lambda: _they_make(p))
    if made is not None:
        return made
    asked = p.take("how many", "what do you get", "what is the result", "what is the total", "what is the sum")
    if asked:
        p.take("objects", "things", "items")
        while p.take_any(w.AUXILIARY | w.PEOPLE_PRONOUNS | {"there", "get", ","}) or p.scope():
            pass
    if p.take_any(("if", "when", "by", "once", "after")):
        p.take_any(w.PEOPLE_PRONOUNS)
    counting = p.take_any(("count", "counting"))
    if not counting and not p.take_any(("add", "combine", "sum", "adding", "combining", "summing", "put", "take")):
        return None
    p.take("up", "together")
    p.take("both", "all", "just", "only")
    p.take("the number of", "the numbers of")
    things = p.things(("and", "plus", "to", "with"))
    if things is None or (len(things) < 2 and not counting):
        return None
    p.take("up")
    p.skip()
    if not asked:
        p.take(",")
        if p.now and not p.take("how many", *_WHAT_TOTAL):
            return None
        p.take("number", "objects", "things", "items", "of them")
        if (counting and p.now in ("pieces", "kinds")) or (counting and p._may_name(p.now)):
            p.noun_phrase(conditions=False)  # "counting just couches and chairs, how many pieces of furniture"
    found = p.bag(things)
    return s.HowMany(tuple(found)) if found else None


def _they_make(p: Parser) -> s.Clause | None:
    """ "What do dogs and cats add up to?"."""
    if not p.take("what do", "what total do"):
        return None
    things = p.things(("and", "plus"), conditions=False)
    if things is None or not p.take("equals", "add", "make", "sum to", "give", "amount to", "come to"):
        return None
    return s.HowMany(tuple(things))


def number_of(p: Parser) -> s.Clause | list[s.Clause] | None:
    """ "What is the number of dogs", "count the dogs", "number of dogs and cats", "the dog count"."""
    p.take(*_STATE)
    p.take("for me", "me")
    if p.peek(1) != "of" and p.take(*_COUNT, "compare"):
        compared = p.tokens[p.i - 1] == "compare"
        p.take("for me")
        p.take("all of", "up", "how many", "the number of", "the numbers of", "the counts of", "together")
        if compared and p.tokens[p.i - 1] != "of":
            return None
        things = p.things(("and", "to", "with", "plus", "&") if compared else ("and", "or", "plus", "&"))
        apart = p.take(*_APART) or compared
        counted = _counted(p, things)
        return counted and replace(counted, each=apart and len(counted.things) > 1)
    p.take("the", "a")
    while p.take_any(("total", "combined", "exact", "overall", "joint", "sum", "full", "whole", "current", "precise")):
        pass
    if p.take_any(("number", "count", "total", "sum", "tally", "numbers", "counts", "headcount", "quantity")):
        if p.take("of", "for"):
            while p.take("the number of", "the count of", "all of", "all"):
                pass
            return _counted(p, p.things())
        return None
    if p.i and p.tokens[p.i - 1] in ("total", "combined"):  # "total dogs and cats"
        start = p.i
        things = p.things()
        if things is not None and len(things) > 1:
            return _counted(p, things)
        p.i = start
    p.i -= 1 if p.i and p.tokens[p.i - 1] in ("total", "sum") else 0
    if p.take("total of", "sum of", "total for"):
        p.take("the number of")
        return _counted(p, p.things())
    thing = p.noun_phrase(conditions=False)
    if thing is not None and thing.noun.endswith((" count", " total")):
        return _counted(p, [replace(thing, noun=thing.noun.rsplit(" ", 1)[0])])
    return None


def how_many_more(p: Parser) -> s.Clause | None:
    """ "How many more dogs than cats are there", "What is the difference between the number of dogs and cats"."""
    higher = " ".join(p.tokens[p.i : p.i + 3]) in (
        "how much higher", "how much larger", "how much greater", "how much bigger"
    )  # fmt: skip
    if not higher and p.take("by how many", "by how much", "how much", "how many"):
        return _by_how_many(p)
    if p.take("how much higher is", "how much larger is", "how much greater is", "how much bigger is"):
        p.take("the number of")
        pair = _pair_than(p)
        return None if pair is None else s.HowManyMore(*pair)
    if p.take("subtract"):
        return _subtracted(p)
    p.take("what is", "find", "calculate", "give me", "compute", "tell me")
    minus = p.attempt(lambda: _minus(p))
    if minus is not None:
        return minus
    return _difference(p) if p.take("the difference", "difference") else None


def _by_how_many(p: Parser) -> s.Clause | None:
    """ "(how many) more dogs than cats", "(by how many) do dogs outnumber cats", "(how many) dogs minus cats"."""
    if p.take("more", "fewer", "less"):
        fewer = p.tokens[p.i - 1] != "more"
        pair = _pair_than(p)
        if pair is None:
            return None
        left, right = pair
        return s.HowManyMore(right, left) if fewer else s.HowManyMore(left, right)
    p.take("do", "does")
    p.take("the number of")
    left = p.noun_phrase()
    if left is not None and p.take_any(("outnumber", "outnumbers", "exceed", "exceeds")):
        p.take("the number of", "that of")
        right = p.noun_phrase()
        p.take("by")
        return None if right is None else s.HowManyMore(left, right)
    if left is not None and p.take("minus", "less"):
        right = p.noun_phrase()
        if right is not None and p.bag([]) is not None:
            return s.HowManyMore(left, right)
    return None


def _subtracted(p: Parser) -> s.Clause | None:
    """ "(subtract) the number of cats from that of dogs"."""
    p.take("the number of")
    less = p.noun_phrase(conditions=False)
    if less is None or not p.take("from"):
        return None
    p.take("the number of", "that of")
    more = p.noun_phrase()
    more = replace(more, noun=less.noun.split(" ")[-1], pronoun="") if more and more.pronoun == "one" else more
    return None if more is None else s.HowManyMore(more, less)


def _difference(p: Parser) -> s.Clause | None:
    """ "(the difference) between the number of dogs and cats"."""
    p.take("in number", "in numbers", "in the number", "in count")
    if not p.take("between", "of"):
        return None
    p.take("the number of", "the numbers of", "the count of", "the counts of", "numbers of")
    left = p.noun_phrase()
    if left is None or not p.take("and"):
        return None
    p.take("the number of", "the count of", "that of")
    right = p.noun_phrase()
    if right is None or p.bag([]) is None:
        return None
    return s.HowManyMore(left, right, absolute=True)


def _minus(p: Parser) -> s.Clause | None:
    """ "the number of dogs minus the number of cats"."""
    p.take("the number of", "number of")
    more = p.noun_phrase(conditions=False)
    if more is None or not p.take("minus"):
        return None
    p.take("the number of", "number of")
    less = p.noun_phrase()
    return None if less is None else s.HowManyMore(more, less)


def _pair_than(p: Parser) -> tuple[NounPhrase, NounPhrase] | None:
    """Read "dogs (are there) than cats (in the picture)"."""
    left = p.noun_phrase()
    if left is None:
        return None
    while p.now and p.now != "than":
        start = p.i
        p.skip()
        if not (p.take_any(w.AUXILIARY | w.SHOWN | w.PEOPLE_PRONOUNS | w.SEE | {"there"}) or p.i > start):
            return None
    if not p.take("than"):
        return None
    p.take("there are", "there is", "the number of", "that of")
    right = p.noun_phrase()
    if right is None or p.bag([]) is None:
        return None
    return left, right
