"""Follow-ups: short sentences that ask something anew of what was asked about before ("And cats?", "Where?")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fo1agent.planners.rules import syntax as s
from fo1agent.planners.rules import words as w
from fo1agent.planners.rules.parser import Parser
from fo1agent.planners.rules.syntax import Condition, NounPhrase
from fo1agent.words import lexicon

# What is asked of one thing after the other: "(Where is the cat,) the remotes (and the couch)?"
_OF_ONE = (s.WhereIs, s.SegmentIt, s.PointAt, s.CornersOf, s.Fills, s.Measured, s.Percentage, s.AskAbout)
_WHO_CLICKS = w.MODAL | w.DO | w.PEOPLE_PRONOUNS | w.words("to have need best")
_OF_THING = {"left": "left_of", "right": "right_of", "top": "above", "bottom": "below"}


def follow_up(tokens: list[str], before: Sequence[s.Clause]) -> list[s.Clause] | None:
    """What a short sentence asks, given the clauses before it; None when it is no follow-up.

    Args:
        tokens: of one sentence.
        before: everything that was asked until then, oldest first.
    """
    if not before:
        return None
    for production in FOLLOW_UPS:
        parser = Parser(tokens)
        while parser.take_any(("and", "but", "so", "then", "ok", "okay", ",")):
            pass
        found = production(parser, before)
        if found is not None and parser.at_end():
            return [found]
    return None


def is_named(thing: NounPhrase) -> bool:
    """Whether a phrase that stands by itself names something: a fragment has no grammar to tell it from noise."""
    return lexicon.is_thing(thing.noun.rpartition(" ")[2])


def _may_be_named(thing: NounPhrase) -> bool:
    """The same of more of what was asked: "(the cups) and the books", a noun that has another sense first."""
    noun = thing.noun.rpartition(" ")[2]
    return is_named(thing) or (thing.owner is None and thing.plural and lexicon.may_be_seen(noun))


def same_of(p: Parser, before: Sequence[s.Clause]) -> s.Clause | None:
    """ "(How many dogs are there?) And cats?": the same of something else."""
    p.take("what about", "how about")
    things = p.things()
    if (
        things is None
        or not p.at_end()
        or not all(_may_be_named(thing) or (thing.pronoun == "one" and thing.conditions) for thing in things)
    ):
        return None
    kinds = (s.HowMany, s.IsThere, s.IsAt, *_OF_ONE)
    last = next((one for one in reversed(before) if isinstance(one, kinds)), before[-1])
    if isinstance(last, s.HowMany):
        return s.HowMany(tuple(things))
    if isinstance(last, s.IsThere) and not last.comparison:
        where = tuple(one for one in last.things[-1].conditions if one.name or one.side)
        bare = not any(thing.conditions for thing in things)
        placed = [thing.at(*where) for thing in things] if bare else things  # "(a dog on the bench?) A person?"
        return s.IsThere(tuple(placed), last.any_will_do)
    if isinstance(last, _OF_ONE) and len(things) == 1:
        return replace(last, thing=things[0])
    if isinstance(last, s.IsAt) and len(things) == 1 and not things[0].conditions:
        return s.IsAt(things[0], last.conditions)
    return None


def another_one(p: Parser, before: Sequence[s.Clause]) -> s.Clause | None:
    """ "(Where is the left dog?) And the other one?", "… And the smallest?": the same of another one of them."""
    p.take("what about", "how about")
    one = p.noun_phrase(conditions=False)
    subject, last = _subject(before), before[-1]
    if one is None or one.pronoun != "one" or len(subject) != 1 or not p.at_end() or not (one.order or one.other):
        return None
    asked = replace(one, noun=subject[0].noun, pronoun="")
    if isinstance(last, (*_OF_ONE, s.DescribeIt)):
        return replace(last, thing=asked)
    if isinstance(last, s.IsAt):
        return s.IsAt(asked, last.conditions)
    return s.WhatIs(asked) if isinstance(last, (s.WhatIs, s.HowMany, s.IsThere)) else None


def where(p: Parser, before: Sequence[s.Clause]) -> s.Clause | None:
    """ "(Is there a dog?) Where?", "… And where do I click?"."""
    subject = _subject(before)
    if len(subject) != 1 or not p.take("where exactly", "whereabouts", "where"):
        return None
    if p.tokens[-1] in ("click", "tap", "press") and set(p.tokens[p.i : -1]) <= _WHO_CLICKS:
        p.i = len(p.tokens)
        return s.PointAt(subject[0])
    return s.WhereIs(subject[0])


def one_more(p: Parser, before: Sequence[s.Clause]) -> s.Clause | None:
    """ "(Where do I click for the cat,) and where for the couch?", "(A mask of the cat?) And one of the couch?"."""
    last = before[-1]
    if not isinstance(last, (s.SegmentIt, s.PointAt, s.CornersOf)):
        return None
    p.take("what about", "how about")
    p.take(
        "where",
        "one",
        "another one",
        "another",
        "that",
        "a point",
        "the coordinates",
        "a mask",
        "the outline",
        "the box",
    )
    thing = p.noun_phrase() if p.take("on", "of", "for", "in", "around") else None
    return None if thing is None or thing.negative or not p.at_end() else replace(last, thing=thing)


def how_many(p: Parser, before: Sequence[s.Clause]) -> s.Clause | None:
    """ "(Are there any cars?) How many?", "… And how many on the left?", "… How many of them are red?"."""
    subject = _subject(before)
    if not subject or w.TOTALS & set(p.tokens) or not p.take("how many"):
        return None
    p.take("of them", "of those", "of these")
    p.take("exactly", "are there", "do you see", "are there exactly")
    if p.at_end():
        return s.HowMany(subject, each=len(subject) > 1)
    being = p.take_any(w.BE)
    said = p.predicates()
    if said is None or (said[0].kind is not None and not being):
        return None
    if len(subject) != 1 or (subject[0].definite and not subject[0].plural):
        return None  # "(where is the dog? and) how many are left of it?": how many of what, nothing says
    return s.HowMany((_said_anew(subject[0], said),))


def elsewhere(p: Parser, before: Sequence[s.Clause]) -> s.Clause | None:
    """ "(How many cars are left of the bus?) And on the right?": the same question, asked of another place."""
    p.take("what about", "how about")
    said = p.predicate()
    if said is None or not all(one.name or one.side or one.words for one in said):
        return None
    last = before[-1]
    if isinstance(last, s.HowMany) or (isinstance(last, s.IsThere) and not last.comparison):
        return replace(last, things=tuple(_said_anew(thing, said) for thing in last.things))
    if isinstance(last, s.IsAt):
        return replace(last, conditions=tuple(_beside_the_same(one, last.conditions) for one in said))
    if isinstance(last, s.Percentage):
        return replace(last, said=said)
    if isinstance(last, s.WhatIs) and last.thing.conditions:
        return replace(last, thing=_said_anew(last.thing, said))
    return None


def which_measures(p: Parser, before: Sequence[s.Clause]) -> s.Clause | None:
    """ "(Is there a dog and a cat?) Which one is bigger?"."""
    if not p.take("which of them", "which of the two", "which one", "which"):
        return None
    p.take_any(w.BE)
    p.take("the")
    word = p.take_any(w.MEASURES.keys() | w.SUPERLATIVES.keys())
    subject = _subject(before)
    order = w.SUPERLATIVES.get(word) or w.SIZE_ORDER.get(word, "")
    if not word or not p.at_end() or not order or order in ("nearest", "farthest"):
        return None
    if len(subject) == 1 and (subject[0].plural or not subject[0].definite):
        return s.WhatIs(replace(subject[0], definite=True, plural=False, order=order))
    quantity, comparison = w.OF_ORDER.get(order, ("", ""))
    return s.WhichLarger(subject, quantity, comparison) if len(subject) > 1 and quantity else None


def color(p: Parser, before: Sequence[s.Clause]) -> s.Clause | None:
    """ "(Is there a car?) What colour?"."""
    subject = _subject(before)
    if len(subject) != 1 or not p.take("what color", "which color", "in what color", "in which color"):
        return None
    return s.AskAbout(replace(subject[0], definite=True), "What color is it?")


def _subject(before: Sequence[s.Clause]) -> tuple[NounPhrase, ...]:
    """What the last clause was about, with no number and no denial."""
    last = before[-1]
    things: tuple[NounPhrase, ...]
    if isinstance(last, s.IsAt) and not last.thing.definite and not last.thing.pronoun:
        things = (last.thing.at(*last.conditions),)
    elif isinstance(last, (s.HowMany, s.IsThere, s.WhichLarger, s.WhichMore)):
        things = last.things
    elif isinstance(last, (s.IsLarger, s.AreMore)):
        left, right = last.left, last.right
        things = (left, right) if isinstance(left, NounPhrase) and isinstance(right, NounPhrase) else ()
    else:
        thing = getattr(last, "thing", None)
        things = (thing,) if isinstance(thing, NounPhrase) and thing.noun else ()
    return tuple(replace(thing, quantity=None, negative=False) for thing in things)


def _said_anew(thing: NounPhrase, said: tuple[Condition, ...]) -> NounPhrase:
    """A thing with what is said of it now in place of what was said before of the same sort: places for places."""
    place = any(one.name or one.side for one in said)
    kept = tuple(one for one in thing.conditions if bool(one.name or one.side) != place)
    return replace(thing, conditions=kept).at(*(_beside_the_same(one, thing.conditions) for one in said))


def _beside_the_same(one: Condition, earlier: Sequence[Condition]) -> Condition:
    """ "(left of the bus,) and on the right": of the bus, not of the picture."""
    to = next((known.to for known in earlier if known.name and known.to is not None and not known.to.pronoun), None)
    if to is not None and one.to is not None and one.to.pronoun in ("it", "them", "they"):
        return replace(one, to=to)  # "(left of the couch?) Right of it?"
    return replace(one, name=_OF_THING[one.side], side="", to=to) if to and one.side in _OF_THING else one


FollowUp = Callable[[Parser, Sequence[s.Clause]], "s.Clause | None"]

FOLLOW_UPS: tuple[FollowUp, ...] = (same_of, another_one, one_more, where, how_many, elsewhere, which_measures, color)
