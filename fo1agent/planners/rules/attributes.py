"""Productions about what things are like, and which of several they are."""

from __future__ import annotations

from dataclasses import replace

from fo1agent.planners.rules import syntax as s
from fo1agent.planners.rules import words as w
from fo1agent.planners.rules.parser import Parser
from fo1agent.planners.rules.syntax import Condition, NounPhrase, Quantity
from fo1agent.words import lexicon

_EQUATED = w.phrases(
    "the same color as | the same color | of the same color as | of the same color | equal in color | alike in color"
)


def is_so(p: Parser) -> s.Clause | list[s.Clause] | None:
    """What holds of a thing: "Are most boats white?", "Is the keyboard black or white?", "Isn't that a cup on the
    desk?", "Is the dog barking?".
    """
    verb = p.take_any(w.BE | w.DO | w.MODAL | w.HAVE)
    if not verb:
        return None
    p.take("not", "it true that", "it that")
    start = p.i
    for conditions in (True, False):
        p.i = start
        thing = p.noun_phrase(conditions)
        found = None if thing is None else _said(p, thing, verb in w.BE)
        if found is not None and p.at_end():
            return _done(found) if verb in w.HAVE else found
    p.i = start
    return _does(p, "" if verb in w.BE else "that ") if p.lenient else None


def _done(found: s.Clause) -> s.Clause:
    """ "Has anyone eaten it?": that they have."""
    if not isinstance(found, s.IsAt) or not found.conditions[-1].words:
        return found
    words = tuple(f"that have {one.removeprefix('that ')}" for one in found.conditions[-1].words)
    return replace(found, conditions=(*found.conditions[:-1], replace(found.conditions[-1], words=words)))


def _does(p: Parser, that: str) -> s.Clause | None:
    """Read "(does) the dog bark", "(is) the kitten asleep": the last words are what it does or is."""
    for cut in (1, 2, 3):
        before = Parser(p.tokens[p.i : len(p.tokens) - cut])
        thing = before.noun_phrase(conditions=False)
        if thing is not None and before.at_end() and (thing.pronoun or lexicon.is_noun(thing.noun.split(" ")[-1])):
            words = " ".join(p.tokens[len(p.tokens) - cut :])
            p.i = len(p.tokens)
            return s.IsAt(thing, (Condition(words=(f"{that}{words}",)),))
    return None


def is_said(p: Parser) -> s.Clause | list[s.Clause] | None:
    """The same as a statement: "All boats are white.", "The dog is barking."."""
    start = p.i
    for conditions in (True, False):
        p.i = start
        thing = p.noun_phrase(conditions)
        p.take_any(w.MODAL)
        if thing is None or not p.take_any(w.BE | w.DO):
            continue
        found = _said(p, thing)
        if found is not None and p.at_end():
            return found
    return None


def _said(p: Parser, thing: NounPhrase, is_so: bool = True) -> s.Clause | None:
    """Read what is said of a thing, one thing or another: a choice where one definite thing is either."""
    while p.take_any(w.FILLER | w.APPEAR) or p.scope():
        pass
    if thing.noun == "color" and thing.owner is not None:  # "the bed's color is blue"
        thing = thing.owner
    if thing.pronoun in ("this", "that", "these", "those") and not thing.conditions:
        there = p.attempt(lambda: _so_many(p))  # "that is exactly five people"
        if there is not None:
            return there
    said = p.predicate()
    if said is None:
        rest = p.rest(is_so)
        said = None if rest is None else (rest,)
    if said is None:
        return None
    if said[-1].kind is not None:  # "(is that) a cup on the desk"
        said = (replace(said[-1], kind=p._after(said[-1].kind)),)
    if one := _choice(p, thing, said):
        return one
    while True:
        start = p.i
        p.skip()
        more = p.predicate() if p.take("and", "but") or p.i > start else None
        if more is None:
            p.i = start
            break
        said = (*said, *more)
    if thing.pronoun in ("this", "that", "it", "these", "those") and said[0].kind is not None and len(said) == 1:
        found = s.IsThere((replace(said[0].kind, definite=False),))
        return found if thing.pronoun in ("this", "that") and not said[0].negated else s.IsAt(thing, said)
    return s.IsAt(thing, said)


def _so_many(p: Parser) -> s.Clause | None:
    thing = p.noun_phrase()
    if thing is None or thing.quantity is None or not thing.quantity.comparison or not p.at_end():
        return None
    return s.IsThere((thing,))


def _choice(p: Parser, thing: NounPhrase, said: tuple[Condition, ...]) -> s.Clause | None:
    """Read "(is the keyboard black) or white", "(is it a cat) or a dog", "(is it on the couch) or on the chair"."""
    several = thing.plural and thing.definite and thing.quantity is None
    if several and len(said) == 1 and len(said[0].words) > 1 and not said[0].negated and "either" not in p.tokens:
        return s.AskAbout(thing, "What color is it?")  # "are the chairs black or white"
    one = len(said) == 1 and not said[0].negated and (thing.quantity is None or not thing.plural)
    whole = thing.definite and not thing.plural and thing.quantity is None
    if not one or not whole:
        return None
    if len(said[0].words) > 1:
        return (
            None
            if "either" in p.tokens
            else s.WhichOf(tuple((word, Condition(words=(word,))) for word in said[0].words), thing)
        )
    options = [said[0]]
    while True:
        start = p.i
        p.take(",")
        if not p.take("or"):
            p.i = start
            break
        p.take("is it", "are they", "rather")
        more = p.predicate()
        if more is None or len(more) != 1:
            return None
        options.append(more[0])
    if len(options) < 2:
        return None
    if options[0].kind is not None and options[-1].kind is None:
        return None
    to = options[0].to
    if to is not None:  # "above the kites or below them"
        options = [replace(o, to=to) if o.to is not None and o.to.pronoun else o for o in options]
    return s.WhichOf(tuple((_name(option, options), option) for option in options), thing)


def _name(option: Condition, options: list[Condition]) -> str:
    """What a choice is answered by."""
    if option.words:
        return " or ".join(option.words)
    if option.kind is not None:
        return option.kind.noun
    if option.side:
        return option.side
    others = {one.to.noun for one in options if one.to is not None}
    if option.to is not None and len(others) == len(options):
        return option.to.noun
    return option.name.removesuffix("_of").replace("_", " ")


def which_of(p: Parser) -> s.Clause | None:
    """Which thing it is true of: "What's in the bottom right, a backpack or an umbrella?", "Which boat is blue: the
    left one or the right one?".
    """
    if not p.take_any(("which", "what", "who")):
        return None
    named = None
    if not p.take("one of", "of", "one"):
        named = p.noun_phrase(conditions=False) if p.now not in w.BE else None
    if not p.take_any(w.BE):
        return None
    while p.take_any(w.FILLER | w.STANCE):
        pass
    said = p.predicate()
    if said is None or not p.take(",", ":"):
        return None
    things = options(p, named)
    if things is None or not p.at_end():
        return None
    return s.WhichOf(tuple((name, thing.at(*said)) for name, thing in things))


def is_which(p: Parser) -> s.Clause | None:
    """Which of several it is: "Are there three cows or four?", "Where's the cat, on the couch or on the chair?", "The
    bus: red or blue?".
    """
    if p.take("where"):
        if not p.take_any(w.BE):
            return None
        thing = p.noun_phrase(conditions=False)
        if thing is None or not p.take(",", ":"):
            return None
        return _alternatives(p, thing)
    if p.take("are there", "is there", "do you see", "can you see", "there are"):
        first = p.number()
        thing = p.noun_phrase() if first is not None else None
        if thing is None:
            second = p.number() if first is not None and p.take("or") else None
            thing = p.noun_phrase() if second is not None else None
            if thing is None or not p.at_end():
                return None
            return s.HowMany((replace(thing, quantity=None),))
        if not p.take("or") or p.number() is None or not p.at_end():
            return None
        return s.HowMany((replace(thing, quantity=None),))
    thing = p.noun_phrase()
    if thing is None or not p.take(",", ":") or not thing.definite:
        return None
    return _alternatives(p, thing)


def _alternatives(p: Parser, thing: NounPhrase) -> s.Clause | None:
    """Read "on the couch or on the chair", "red or black" after a thing and a comma."""
    p.take("is it", "is that", "is he", "is she", "are they")
    said = p.predicate()
    return None if said is None else _choice(p, replace(thing, plural=False), said)


def options(p: Parser, named: NounPhrase | None = None) -> list[tuple[str, NounPhrase]] | None:
    """Read "a backpack or an umbrella", "the left one, the middle one or the right one": (name, thing) each."""
    things = p.things(("and", "or"))
    if things is None or len(things) < 2:
        return None
    if named is not None:
        things = [replace(t, noun=named.noun, pronoun="") if t.pronoun == "one" else t for t in things]
    return [(name_of(thing), thing) for thing in things]


def name_of(thing: NounPhrase) -> str:
    """What a thing is called in an answer: "left boat", "yellow train"."""
    words = " ".join(word for condition in thing.conditions for word in condition.words)
    side = next((condition.side for condition in thing.conditions if condition.side), "")
    order = {"leftmost": "left", "rightmost": "right", "central": "middle", "topmost": "top", "lowest": "bottom"}
    place = side or order.get(thing.order or "", thing.order or "")
    return " ".join(word for word in (place, words, thing.noun or "thing") if word)


def all_said(p: Parser) -> s.Clause | None:
    """ "The bench is green and the boat is brown": whether both are so."""
    for at in range(p.i + 1, len(p.tokens) - 1):
        if p.tokens[at] != "and":
            continue
        found = [is_said(Parser(part)) for part in (p.tokens[p.i : at], p.tokens[at + 1 :])]
        if all(isinstance(one, s.IsAt) for one in found):
            p.i = len(p.tokens)
            return s.AllSo(tuple(one for one in found if isinstance(one, s.IsAt)))
    return None


def same_color(p: Parser) -> s.Clause | None:
    """Whether they have one colour: "Are the bicycles the same colour?", "Is the backpack the same colour as the
    bear?"."""
    if not p.take_any(w.BE | w.DO):
        return None
    things = p.things(("and", "or"), conditions=False)
    if things is None:
        return None
    p.take_any(w.HAVE | {"all", "both"})
    colors = all(thing.noun == "color" and thing.owner is not None for thing in things)  # "the oven's color"
    if not p.take(*_EQUATED) and not (colors and p.take("the same as", "the same", "equal to")):
        return None
    if p.tokens[p.i - 1] in ("as", "to"):
        more = p.noun_phrase(conditions=False)
        if more is None:
            return None
        things = [*things, more]
    things = [thing.owner if thing.noun == "color" and thing.owner else thing for thing in things]
    if not p.at_end() or (len(things) == 1 and not things[0].plural) or not all(map(_are_given, things)):
        return None
    return s.SameColor(tuple(replace(thing, quantity=None) for thing in things))


def _are_given(thing: NounPhrase) -> bool:
    """Whether it is all of them that a phrase speaks of: "the dogs", "all dogs"; not "two dogs", "a dog"."""
    return thing.definite or bool(thing.pronoun) or (thing.plural and thing.quantity in (None, Quantity("all")))


def which_is(p: Parser) -> s.Clause | None:
    """ "Which car is red?": where it is."""
    if not p.take_any(("which", "what")):
        return None
    of = p.take("one of", "of")
    thing = p.noun_phrase(conditions=False)
    if thing is None or not (thing.noun or (of and thing.pronoun)) or not p.take_any(w.BE):
        return None
    said = p.predicates()
    if said is None or not said[0].words or not p.at_end():
        return None
    return s.WhereIs((thing if thing.pronoun else replace(thing, definite=False)).at(*said))


def color_of(p: Parser) -> s.Clause | None:
    """What colour it is: "What colour is the cup on the table?", "What is the colour of the bag?", "the dog's
    colour?"."""
    p.take("what is", "what are", "tell me", "name")
    p.take("the")
    if p.take("what colors", "what color", "which color", "what colored", "color"):
        if p.take("of"):
            thing = p.noun_phrase()
        else:
            if not p.take_any(w.BE | w.DO | w.HAVE):
                return None
            thing = p.noun_phrase()
            p.take("have", "painted")
    else:
        thing = p.noun_phrase()
        if thing is not None and thing.noun == "color" and thing.owner is not None:
            thing = thing.owner
        elif thing is None or not p.take_any(w.BE | w.HAVE) or not p.take("what color", "which color"):
            return None
    if thing is None:
        return None
    thing = _the_one_meant(p) or thing
    if thing.quantity is not None and thing.quantity.share != "all":  # "what color are most cows"
        return None
    return s.AskAbout(replace(thing, definite=True), "What color is it?") if p.at_end() else None


def _the_one_meant(p: Parser) -> NounPhrase | None:
    start = p.i
    p.take(",")
    meant = p.noun_phrase()
    if meant is not None and p.take("i mean") and p.at_end():
        return meant
    p.i = start
    return None


_STRANDED = {
    **dict.fromkeys(("on", "on top of"), "has_on"),
    **dict.fromkeys(("in", "inside"), "contains"),
    **dict.fromkeys(("under", "below", "beneath", "underneath"), "above"),
    **dict.fromkeys(("above", "over"), "below"),
    "behind": "in_front_of",
    "in front of": "behind",
    **dict.fromkeys(("next to", "beside", "right next to", "by"), "next_to"),
    **dict.fromkeys(("near", "close to"), "near"),
    **dict.fromkeys(("left of", "to the left of"), "right_of"),
    **dict.fromkeys(("right of", "to the right of"), "left_of"),
}


def what_under(p: Parser) -> s.Clause | None:
    """ "What's the teddy bear on?", "What is the cat next to?": what the thing is in the relation to."""
    if not p.take("what", "which thing") or not p.take_any(w.BE):
        return None
    thing = p.noun_phrase(conditions=False)
    if thing is None or not thing.definite:
        return None
    while p.take_any(w.STANCE | w.FILLER):
        pass
    for words in sorted(_STRANDED, key=len, reverse=True):
        start = p.i
        if p.take(words) and p.at_end():
            return s.WhatIs(NounPhrase("").at(Condition(_STRANDED[words], thing)))
        if p.i > start and p.take(",", ":"):  # "what is the cat under, the oven or the table"
            either = options(p)
            if either is not None and p.at_end():
                relation = {"above": "below", "below": "above", "has_on": "on", "contains": "inside"}
                name = relation.get(_STRANDED[words], _STRANDED[words])
                return s.WhichOf(tuple((called, Condition(name, to)) for called, to in either), thing)
        p.i = start
    return None


def name_one(p: Parser) -> s.Clause | None:
    """ "Name something green in this picture.": what is there that is so."""
    if not p.take("name", "tell me", "give me", "show me", "find", "list"):
        return None
    if p.now not in ("something", "anything", "everything"):
        return None
    thing = p.noun_phrase()
    return None if thing is None or not thing.conditions else s.WhatIs(replace(thing, quantity=None))


def does_have(p: Parser) -> s.Clause | None:
    """ "Does each laptop have its own mouse?": no, where there are too few or some have none near; whether what is near
    a thing is its own, boxes do not tell."""
    if not p.take_any(w.DO):
        return None
    owner = p.noun_phrase(conditions=False)
    if owner is None or owner.quantity != Quantity("all") or not p.take_any(w.HAVE | {"get", "own"}):
        return None
    begins = p.i
    own = p.take("its own", "their own", "his own", "her own")
    p.take("a", "an", "one")
    times = p.number() or 1
    what = p.noun_phrase(conditions=False)
    own |= p.take("of its own", "of their own", "each", "to itself", "for itself")
    if what is None or not p.at_end():
        return None
    what = replace(what, definite=False, quantity=None)
    beside = Condition("near", what), Condition(words=("that have " + " ".join(p.tokens[begins:]),))
    each = s.IsAt(replace(owner, plural=True, definite=True), beside)
    if not own and times == 1:
        return each
    return s.AllSo((s.IsEnough((what,), "at_least", replace(owner, quantity=None), times), each))


def is_one_of_two(p: Parser) -> s.Clause | None:
    """That it holds of none: "Neither dogs nor cats?", "Neither the dog nor the cat is white."."""
    if not p.take("neither"):
        return None
    start = p.i
    things = p.things(("nor", "or", "and"), conditions=False)
    if things is not None and p.take_any(w.BE | w.DO):  # "neither the tv nor the remote is white"
        said = p.predicate()
        if said is not None and len(said) == 1 and p.at_end():
            denied = (replace(said[0], negated=not said[0].negated),)
            return s.AllSo(tuple(s.IsAt(thing, denied) for thing in things))
    p.i = start
    things = p.things(("nor", "or", "and"))
    things = None if things is None else p.bag(things)
    if things is None or not p.at_end() or not all(lexicon.is_thing(thing.noun) for thing in things):
        return None
    return s.IsThere(tuple(replace(thing, negative=True) for thing in things))
