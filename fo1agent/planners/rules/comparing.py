"""Productions that compare: two counts, two sizes, two distances."""

from __future__ import annotations

from dataclasses import replace

from fo1agent.planners.rules import syntax as s
from fo1agent.planners.rules import words as w
from fo1agent.planners.rules.parser import Parser
from fo1agent.planners.rules.syntax import NounPhrase

_EQUAL_TO = w.phrases("equal to | the same as | equal | match | matches | equals | identical to | same as")
_EQUAL_IN_NUMBER = w.phrases(
    "the same in number | in equal number | in equal numbers | in the same number | equal in number | the same "
    "number | equal in numbers | the same in numbers | identical | equal | the same | equally many | present in "
    "equal numbers | identical in number"
)
_NUMBER_OF = w.phrases("number of | numbers of | of | numbers | number | in number | count | members | instances")


def are_more(p: Parser) -> s.Clause | None:
    """ "Are there more dogs than cats?", "Are there as many dogs as cats?", "Do you see fewer cats than dogs?"."""
    if not p._opening():
        p.take_any(w.BE | w.DO | w.MODAL | w.HAVE)  # "are more people visible than cars"
        p.take("count", "you count", "i count")
    p._aside()
    p.take("not")
    p.take("any", "a", "an", "the", "just", "exactly")
    if p.take("greater number of", "larger number of", "higher number of", "bigger number of"):
        return _than(p, "more")
    if p.take("smaller number of", "lower number of", "lesser number of"):
        return _than(p, "fewer")
    if p.take("more", "fewer", "less"):
        return _than(p, "more" if p.tokens[p.i - 1] == "more" else "fewer")
    at_least = p.take("at least")
    if p.take("as many", "as much"):
        left = _until(p, "as")
        right = _compared(p) if left and p.take("as") else None
        return s.AreMore(left, "at_least" if at_least else "equal", right) if left and right else None
    if p.take("equally many"):
        return _same(p, p.things())
    if p.take("same number of", "equal number of", "identical number of", "equal numbers of", "same numbers of",
                 "the same number of"):  # fmt: skip
        start = p.i
        left = _until(p, "as")
        if left and p.take("as"):
            right = _compared(p)
            return s.AreMore(left, "equal", right) if right else None
        p.i = start
        return _same(p, p.things())
    return None


def _same(p: Parser, things: list[NounPhrase] | None) -> s.Clause | None:
    if things is None or len(things) != 2 or p.bag([]) is None:
        return None
    return s.AreMore((things[0],), "equal", (things[1],))


def _than(p: Parser, comparison: str) -> s.Clause | None:
    """Read "dogs than cats", or "dogs or cats", which asks which of the two."""
    p.take("of")
    start = p.i
    left = _until(p, "than")
    if left and p.take("than"):
        there = p.attempt(lambda things=left: _elsewhere(p, things))
        if there is not None:
            return s.AreMore(left, comparison, there)
        right = _compared(p)
        where = tuple(one for one in right[-1].conditions if one.name or one.side) if right else ()
        if where and not any(thing.conditions for thing in left):
            left = tuple(thing.at(*where) for thing in left)  # "… than cars on the left"
        return s.AreMore(left, comparison, right) if right else None
    p.i = start
    first = p.noun_phrase()
    if first is None:
        return None
    things = [first]
    while p.take(",", "or"):
        p.take("or")
        p.take("are there", "is there")
        p.take("more", "fewer", "less")
        other = p.noun_phrase()
        if other is None:
            return None
        things.append(other)
    if len(things) < 2 or p.bag([]) is None:
        return None
    return s.WhichMore(tuple(things), "most" if comparison == "more" else "fewest")


def _elsewhere(p: Parser, things: tuple[NounPhrase, ...]) -> tuple[NounPhrase, ...] | None:
    """Read "(more people on the left side than) on the right side": the same things, there."""
    relation = p.relation()
    if relation is None or not p.at_end() or not all(thing.conditions for thing in things):
        return None
    return tuple(replace(thing, conditions=(*thing.conditions[:-1], relation)) for thing in things)


def _until(p: Parser, word: str) -> tuple[NounPhrase, ...] | None:
    """Read things and the empty words before `word`; several things are counted together."""
    things = p.things(("and", "plus"))
    if things is None:
        return None
    while p.now and p.now != word:
        start = p.i
        p.skip()
        p.take_any(w.AUXILIARY | w.SHOWN | w.PEOPLE_PRONOUNS | w.SEE | {"there", ","})
        if p.i == start:
            return None
    return tuple(things)


def _compared(p: Parser) -> tuple[NounPhrase, ...] | None:
    p.take("there are", "there is", "of")
    p.take("the number of", "that of", "the count of")
    things = p.things(("and", "plus"))
    found = None if things is None else p.bag(things)
    return tuple(found) if found else None


_OUTNUMBERED = (
    (("outnumber", "outnumbers", "exceed", "exceeds", "surpass", "surpasses"), "more"),
    (("outnumbered by", "exceeded by"), "fewer"),
    (_EQUAL_TO, "equal"),
)


def numbers_compared(p: Parser) -> s.Clause | None:
    """ "Do dogs outnumber cats?", "Is the number of dogs greater than that of cats?", "Are dogs as common as cats?"."""
    verb = p.take_any(w.BE | w.DO)
    number = p.take("the number of", "the count of", "the total number of", "the amount of", "number of")
    left = p.noun_phrase(conditions=False)
    if left is None:
        return None
    if not verb:
        verb = p.take_any(w.BE)
    if left.noun.endswith(" count"):
        left, number = replace(left, noun=left.noun.removesuffix(" count")), True
    if number or left.plural or not left.definite or verb == "do":
        p.skip()
        for verbs, comparison in _OUTNUMBERED:
            if p.take(*verbs):
                return _pair(p, left, comparison)
    return _number_compared(p, left) if number else _plurals_compared(p, left)


def _number_compared(p: Parser, left: NounPhrase) -> s.Clause | None:
    """ "(is the number of dogs) greater than that of cats", "(are the number of dogs) and the number of cats equal"."""
    if p.take("and"):
        p.take("the number of", "the count of")
        right = p.noun_phrase()
        return s.AreMore((left,), "equal", (right,)) if right and _until_equal(p) else None
    comparison = _comparison(p)
    return _pair(p, left, comparison) if comparison and p.take("than") else None


def _plurals_compared(p: Parser, left: NounPhrase) -> s.Clause | None:
    """ "(are dogs) and cats equally common", "(are dogs) as common as cats", "(are dogs) or cats more numerous"."""
    if p.take("and"):
        right = p.noun_phrase(conditions=False)
        if right is not None and _until_equal(p):
            return s.AreMore((left,), "equal", (right,))
        return None
    if p.take("present in"):
        p.take("a", "the")
        if p.take_any(("greater", "larger", "higher")) and p.take("numbers than", "number than"):
            return _pair(p, left, "more")
        return None
    if p.take("or"):  # "are dogs or cats more numerous"
        right = p.noun_phrase(conditions=False)
        word = p.take_any(("more", "less"))
        if right is None or not word or not p.take_any(w.OFTEN):
            return None
        return s.WhichMore((left, right), "most" if word == "more" else "fewest")
    p.take_any(w.APPEAR)
    direction = p.take_any(("more", "less", "fewer", "as"))
    if direction in ("fewer", "less") and p.take("than"):
        return _pair(p, left, "fewer")
    if direction and p.take_any(w.OFTEN) and p.take("than", "as"):
        return _pair(p, left, {"more": "more", "as": "equal"}.get(direction, "fewer"))
    return None


def _until_equal(p: Parser) -> bool:
    """Read "equal in number", "the same", "equally common" to the end."""
    p.take_any(w.BE | w.APPEAR)
    p.skip()
    if p.take(*_EQUAL_IN_NUMBER):
        return True
    return p.take("equally", "as") and bool(p.take_any(w.OFTEN))


def _comparison(p: Parser) -> str:
    p.take("any", "a lot", "much")
    word = p.take_any(("greater", "larger", "higher", "bigger", "more", "smaller", "lower", "less", "fewer"))
    return {"": ""}.get(word, "more" if word in ("greater", "larger", "higher", "bigger", "more") else "fewer")


def _pair(p: Parser, left: NounPhrase, comparison: str) -> s.Clause | None:
    p.take("the number of", "that of", "the count of", "the total number of", "those of")
    p.take("the") if p.peek(2) == "count" else None
    right = p.noun_phrase(conditions=False)
    if right is None:
        return None
    if right.noun.endswith(" count"):
        right = replace(right, noun=right.noun.removesuffix(" count"))
    p.take("in number", "in numbers", "in quantity")
    return None if p.bag([]) is None else s.AreMore((left,), comparison, (right,))


def which_more(p: Parser) -> s.Clause | None:
    """ "Which are there more of, dogs or cats?", "What is more common: dogs or cats?"."""
    direction = more_of(p)
    if not direction:
        return None
    p.skip()
    p.take(",", ":")
    p.take("the")
    p.take("number of")
    things = p.things(("and", "or"))
    if things is None or len(things) < 2 or p.bag([]) is None:
        return None
    return s.WhichMore(tuple(things), direction)


def more_of(p: Parser) -> str:
    start = p.i
    if not p.take_any(("which", "what")):
        return ""
    if not p.take("of the two", "of these", "of them", "of those") and p.take("of"):
        return ""
    p.take("kind of", "type of")
    group = p._noun() if p._may_name(p.now) else None
    if group in ("group", "category", "class", "kind", "type") and p.take("is larger", "is bigger"):
        return "most"
    if group in ("group", "category", "class", "kind", "type") and p.take("is smaller"):
        return "fewest"
    if p.take("is higher , the number of", "is larger , the number of", "is greater , the number of",
                 "is bigger , the number of"):  # fmt: skip
        return "most"
    if p.take("is lower , the number of", "is smaller , the number of"):
        return "fewest"
    p.take("of these", "of them", "of the two", "of those")
    while p.now and p.take_any(w.AUXILIARY | w.PEOPLE_PRONOUNS | w.SEE | w.APPEAR | {"there", "the", "a", "in"}):
        p.skip()
    word = p.take_any(("more", "fewer", "less", "most", "fewest", "least", "greater", "larger", "higher",
                          "lower", "smaller"))  # fmt: skip
    if not word:
        p.i = start
        return ""
    common = p.take_any(w.OFTEN)
    of = p.take(*_NUMBER_OF)
    of = of or (word in ("more", "fewer", "less", "most", "fewest", "least") and p.now in (",", ":"))
    if not common and not of:
        p.i = start
        return ""
    p.skip()
    p.take("of these", "of the two", "than the other")
    return "most" if word in ("more", "most", "greater", "larger", "higher") else "fewest"


def is_larger(p: Parser) -> s.Clause | None:
    """ "Is the dog bigger than the cat?", "Is the truck lower than the bus?", "Is it closer to the bus than the
    cat?"."""
    verb = p.take_any(w.BE | w.DO)
    p.take("not")
    left = p.noun_phrase(conditions=False)
    if left is None or not (verb or p.take_any(w.BE)):
        return None
    left = replace(left, noun=left.noun.removesuffix(" look"))
    p.take("look", "seem", "seem to be", "appear", "appear to be", "looking")
    p.take("not") if not verb else None
    measured = _measure(p)
    if measured is None:
        return None
    quantity, comparison, to = measured
    either = p.take_any(w.MEASURES) if p.peek(1) in w.MEASURES and p.take("or") else ""
    if either and w.MEASURES[either] == (quantity, "fewer" if comparison == "more" else "more"):
        first = next(word for word in p.tokens if w.MEASURES.get(word) == (quantity, comparison))
        return _larger_or_smaller(p, left, (first, either))
    if not p.take("than"):
        return _closer_to_which(p, left, quantity, comparison, to)
    p.take("to")
    right = p.noun_phrase()
    p.take_any(w.BE)
    if right is not None and left.plural and right.plural and "greater" in p.tokens:
        return s.AreMore((left,), comparison, (right,))
    if right is None or left.plural or right.plural or right.quantity:
        return None  # one thing is compared with one other
    return s.IsLarger(left, quantity, comparison, right, to)


def _larger_or_smaller(p: Parser, left: NounPhrase, words: tuple[str, str]) -> s.Clause | None:
    """Read "(is the dog bigger or smaller) than the cat": which of the two it is."""
    right = p.noun_phrase() if p.take("than") else None
    if right is None or left.plural or right.plural:
        return None
    options = []
    for word in words:
        quantity, comparison = w.MEASURES[word]
        options.append((word, s.IsLarger(left, quantity, comparison, right)))
    return s.WhichOf(tuple(options))


def _closer_to_which(
    p: Parser, thing: NounPhrase, quantity: str, comparison: str, to: NounPhrase | None
) -> s.Clause | None:
    """Read "(is the cup closer to the clock) or to the phone": which of the two is it closer to."""
    if to is None or quantity != "distance" or not p.take("or"):
        return None
    p.take("to", "is it closer to", "closer to", "nearer to")
    other = p.noun_phrase(conditions=False)
    if other is None or not p.at_end():
        return None
    other = replace(other, noun=to.noun, pronoun="") if other.pronoun == "one" else other
    return s.WhichLarger((to, other), "distance", comparison, thing)


def _measure(p: Parser) -> tuple[str, str, NounPhrase | None] | None:
    """(what is measured, more or fewer, from where) of "bigger", "higher up", "further left", "closer to the bus"."""
    p.take("any", "much", "a lot", "the", "physically")
    if p.take("further to the", "farther to the", "more to the", "further", "farther", "more"):
        side = p.take_any(("left", "right", "up", "down"))
        if side:
            return ("x" if side in ("left", "right") else "y"), ("more" if side in ("right", "down") else "fewer"), None
        p.i -= 1
    if p.take("takes up more", "take up more", "taking up more", "covers more", "fills more"):
        p.take("space", "room", "area", "of the")
        p.scope()
        return "area", "more", None
    word = p.take_any(w.MEASURES)
    if not word:
        return _most(p)
    quantity, comparison = w.MEASURES[word]
    if quantity != "distance":
        p.take("up", "down")
        p.skip()
        return quantity, comparison, None
    p.take("away")
    if not p.take("to", "from"):
        return None
    to = p.noun_phrase(conditions=False)
    return None if to is None or to.noun.split(" ")[0] in w.SIDES else (quantity, comparison, to)


def _most(p: Parser) -> tuple[str, str, NounPhrase | None] | None:
    """The same of "(the) biggest", "nearest to the bus"."""
    chosen = p.superlative(NounPhrase("thing"))
    if chosen is None or chosen.order not in w.OF_ORDER or chosen.rank != 1:
        return None
    quantity, comparison = w.OF_ORDER[chosen.order]
    if (quantity == "distance") != (chosen.order_to is not None):
        return None
    return quantity, comparison, chosen.order_to


def which_larger(p: Parser) -> s.Clause | None:
    """ "Which is bigger, the dog or the cat?", "Which boat is the biggest, the left one or the right one?"."""
    named = None
    if p.take("of the"):  # "of the two giraffes, which is taller, …"
        named = p.noun_phrase(conditions=False) if p.number() else None
        if named is None or not p.take(","):
            return None
    if not p.take_any(("which", "what", "who")):
        return None
    named, things = _which_of(p, named)
    p.take_any(w.BE | w.STANCE)
    measured = _measure(p)
    if measured is None:
        return None
    if things is None and named is not None and p.at_end() and measured[2] is None:  # "which dog is bigger?"
        order = next(order for order, of in w.OF_ORDER.items() if of == measured[:2])
        return s.WhatIs(replace(named, definite=True, order=order, quantity=None))
    if things is None:
        p.take(",", ":")
        things = p.things(("and", "or"))
    if things is None or len(things) < 2:
        return None
    if named is not None:
        kind = replace(named, definite=False, quantity=None)
        things = [_one_of(kind, thing) for thing in things]
    quantity, comparison, to = measured
    return s.WhichLarger(tuple(things), quantity, comparison, to)


def _which_of(p: Parser, named: NounPhrase | None) -> tuple[NounPhrase | None, list[NounPhrase] | None]:
    """ "(which) of the two dogs", "(which) of the dog and the cat", "(which) dog": the kind, and things."""
    if p.take("of the two", "of these two", "of those two", "of these", "of those", "of them"):
        return (named if p.now in w.BE else p.noun_phrase(conditions=False)), None
    if p.take("of"):
        things = p.things(("and", "or"), conditions=False)
        return (things[0], None) if things is not None and len(things) == 1 else (named, things)
    if not p.take("one", "thing", "object", "animal", "item") and p.now not in w.BE | w.STANCE and p.now != "takes":
        named = p.noun_phrase(conditions=False)
    return named, None


def _one_of(kind: NounPhrase, thing: NounPhrase) -> NounPhrase:
    """ "the left one" of boats: the left boat; "the one on the right": the boat on the right."""
    if thing.pronoun != "one":
        return thing
    return replace(thing, noun=kind.noun, pronoun="", conditions=(*kind.conditions, *thing.conditions))
