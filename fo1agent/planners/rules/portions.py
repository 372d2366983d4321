"""Productions that ask how much: of the picture a thing fills, of several something is so, and how wide a thing is."""

from __future__ import annotations

from dataclasses import replace

from fo1agent.planners.rules import syntax as s
from fo1agent.planners.rules import words as w
from fo1agent.planners.rules.parser import Parser
from fo1agent.planners.rules.syntax import NounPhrase

_PORTION = w.words("percentage percent share fraction proportion part portion ratio amount %")
_AREA = w.phrases(
    "of the area | of the surface | of the space | of all the pixels | of the pixels | area | space | room"
)
_FILL = w.phrases(
    "fill up | fills up | fill | fills | cover | covers | occupy | occupies | take up | takes up | take | takes | "
    "span | spans | use up | uses up | make up | makes up | account for | accounts for | are in | is in"
)
_FILLED = w.phrases(
    "covered by | covered with | covered in | filled by | filled with | filled up by | occupied by | taken up by | "
    "taken by | made up by | made up of | inside | in | within"
)
_PARTS = {"half": 50, "quarter": 25}
_WHOLE = w.phrases("the whole | the entire | the full | the complete | all of the | all of this")
_COMPARED = (
    (w.phrases("more than | over | above"), "more"),
    (w.phrases("less than | fewer than | under | below"), "fewer"),
    (w.phrases("at least | no less than | not less than"), "at_least"),
    (w.phrases("at most | no more than | not more than | up to"), "at_most"),
)
_HOW_LARGE = w.phrases("how big | how large")
_THAN = w.phrases(
    "than | in relation to | relative to | with respect to | as a share of | as a part of | in proportion to"
)
_LENGTHS = {"wide": "width", "broad": "width", "tall": "height", "high": "height", "width": "width", "height": "height"}
_IN_PIXELS = w.phrases("in pixels | measured in pixels | in px")


def portion(p: Parser) -> s.Clause | list[s.Clause] | None:
    """ "How much of the picture does the bus fill?", "What percentage of the cars are red?", "How big is the bus?"."""
    if p.take(*_HOW_LARGE):
        return _how_large(p)
    p.take("what is", "tell me", "give me")
    if p.take("how much"):
        p.take(*_AREA)
        return _filling(p) if _of_the_picture(p) else None
    if p.take("what area", "which area"):
        _of_the_picture(p)
        p.take_any(w.DO)
        filled = _before_filling(p)
        _of_the_picture(p)
        return filled
    p.take("what", "which", "the")
    if not p.take_any(_PORTION):
        return None
    p.take(*_AREA)
    if _of_the_picture(p):
        return _filling(p)
    return _of_several(p) if p.take("of", "of all") else None


def fills_so_much(p: Parser) -> s.Clause | None:
    """ "Does the bus fill more than half of the picture?"."""
    if not p.take_any(w.DO):
        return None
    thing = p.before(_FILL, lambda before: thing if (thing := before.noun_phrase()) and _is_seen(thing) else None)
    if thing is None:
        return None
    if p.take(*_WHOLE):
        return s.Fills(thing, "at_least", 100) if p.take_any(w.PICTURE) else None
    comparison = next((name for said, name in _COMPARED if p.take(*said)), "")
    number = _part(p)
    if number is None or not _of_the_picture(p):
        return None
    return s.Fills(thing, comparison or "at_least", number)


def measured(p: Parser) -> s.Clause | None:
    """ "How wide is the bus?", "What is the height of the dog?", "How far is the dog from the bus?"."""
    if p.take(
        "how far apart are", "what is the distance between", "how far is it between", "how many pixels are between"
    ):
        things = p.things(("and",), conditions=False)
        p.take(*_IN_PIXELS)
        return _distance(*things) if things and len(things) == 2 else None
    if p.take("how far is", "how far are", "how far away is"):
        thing = p.noun_phrase(conditions=False)
        p.take("away")
        to = p.noun_phrase(conditions=False) if thing is not None and p.take("from", "to") else None
        return _distance(thing, to) if thing is not None and to is not None else None
    asks = (p.take("how") and p.peek(1) in w.BE) or (p.take("what is the", "what is") and p.peek(1) == "of")
    quantity = _LENGTHS.get(p.now, "") if asks else ""
    p.i += 2
    if not quantity:
        return None
    thing = p.before(_IN_PIXELS, lambda before: before.noun_phrase()) or p.noun_phrase()
    return s.Measured(thing, quantity) if thing is not None and _is_seen(thing) else None


def _distance(thing: NounPhrase, to: NounPhrase) -> s.Measured:
    """From one thing to another; "the nearest remote" is the one nearest to the other."""
    if to.order in ("nearest", "farthest") and to.order_to is None:
        to = replace(to, order_to=thing)
    elif thing.order in ("nearest", "farthest") and thing.order_to is None:
        thing = replace(thing, order_to=to)
    return s.Measured(thing, "distance", to)


def _how_large(p: Parser) -> s.Clause | None:
    """ "(how big) is the bus", "(how big) is the bus compared to the picture"."""
    things = p.things(("and",)) if p.take_any(w.BE) else None
    if things is None or len(things) != 1 or not _is_seen(things[0]):
        return None
    if p.take(*_THAN) and not p.attempt(p._picture_subject):
        return None
    return s.Fills(things[0])


def _of_the_picture(p: Parser) -> bool:
    return bool(p.attempt(p._in_the_picture)) or p.take("of the screen", "of the display", "of the whole screen")


def _filling(p: Parser) -> list[s.Clause] | None:
    """ "(how much of the picture) does the bus fill", "is covered by the bus", "is the bus"."""
    p.take("that", "which")
    if not p.take_any(w.BE):
        p.take_any(w.DO)
        return _before_filling(p)  # or "(the part of the picture that) the bus fills"
    p.take(*_FILLED)
    return _each(p)


def _before_filling(p: Parser) -> list[s.Clause] | None:
    """Read "(does) the bus take up"."""
    return p.before(_FILL, _each)


def _each(p: Parser) -> list[s.Clause] | None:
    things = p.things(("and",))
    return [s.Fills(thing) for thing in things] if things and all(map(_is_seen, things)) else None


def _part(p: Parser) -> int | None:
    """How many of a hundred "half", "a third", "30 %" are."""
    p.take("a", "one", "the")
    if word := p.take_any(_PARTS):
        return _PARTS[word]
    number = p.number()
    return number if number is not None and number <= 100 and p.take("%", "percent", "per cent") else None


def _of_several(p: Parser) -> s.Clause | None:
    """ "(what percentage of) the cars are red"."""
    thing = p.noun_phrase()
    if thing is None or not _is_seen(thing) or not p.take_any(w.BE):
        return None
    said = p.predicates()
    if said is None and (rest := p.rest(is_so=True)) is not None:
        said = (rest,)
    return None if said is None else s.Percentage(thing, said)


def _is_seen(thing: NounPhrase) -> bool:
    return not (thing.negative or thing.noun in w.PICTURE or thing.pronoun == "one")
