"""Productions that ask what something is or looks like."""

from __future__ import annotations

from dataclasses import replace

from fo1agent.planners.rules import syntax as s
from fo1agent.planners.rules import words as w
from fo1agent.planners.rules.parser import Parser
from fo1agent.planners.rules.syntax import NounPhrase

_DESCRIBE = w.phrases(
    "what is happening | what is going on | what happens | caption | what is the picture of | "
    "what is the picture about | what is this picture of | what is this picture about | "
    "what is this a picture of | describe | summarize | summarise"
)
_IN_WHICH_WAY = w.phrases("for me | to me | briefly | in detail | what you see in | what is in | what you see")
_TELL_ABOUT = w.phrases(
    "tell me about | tell me something about | tell me more about | give me a description of | give me a caption "
    "of | give a description of | give me a caption for | give a caption for | write a caption for | write a "
    "description of | about"
)
_DOING = w.phrases(
    "doing | holding | wearing | eating | playing | made of | looking at | riding | carrying | called | do | "
    "drinking | watching | sitting on | standing on | playing with"
)


def describe(p: Parser) -> s.Clause | None:
    """ "Describe the picture.", "Describe the dog.", "Tell me about the bus."."""
    if p.take(*_DESCRIBE):
        if p.tokens[p.i - 1] not in ("describe", "caption", "summarize", "summarise"):
            return s.DescribeIt()
        p.take(*_IN_WHICH_WAY)
    elif p.take(*_TELL_ABOUT):
        pass
    elif p.take("what do", "what does", "what"):
        if p.attempt(p._picture_subject):
            if not p.take_any(w.SHOW) and not p.take("look like"):
                return None
            return s.DescribeIt()
        thing = p.noun_phrase()
        if thing is not None and (p.take("look like") or p.take("looks like")):
            return s.DescribeIt(thing)
        return None
    else:
        return None
    start = p.i
    p.take_any(w.DETERMINERS)
    if not p.now or (p.take_any(w.PICTURE) and p.at_end()):
        return s.DescribeIt()
    p.i = start
    if p.at_end():
        return s.DescribeIt()
    thing = p.noun_phrase()
    if thing is None:
        return None
    return s.DescribeIt() if thing.pronoun in ("this", "that") and not thing.conditions else s.DescribeIt(thing)


def aspect(p: Parser) -> s.Clause | None:
    """What only the model itself can answer: "What color is the car?", "What is the man doing?"."""
    question = " ".join(p.tokens[p.i :]).replace(" 's", "'s") + "?"
    if not p.take("what", "which"):
        return None
    if p.take("is the", "are the"):
        if p.take_any(w.ASPECTS) and p.take("of"):
            thing = p.noun_phrase()
            return None if thing is None or not thing.definite else s.AskAbout(thing, question)
        p.i -= 2
    aspect = p.take_any(w.ASPECTS)
    if aspect in ("kind", "type", "sort", "breed", "species", "make", "model", "brand") and p.take("of"):
        named = p.noun_phrase(conditions=False)
        if named is None:
            return None
        p.take_any(w.BE)
        thing = p.noun_phrase()
        if thing is None:  # "what kind of animal is on the couch", "what kind of animals are there"
            found = p.bag([named])
            return s.WhatIs(found[0]) if found else None
        if thing.pronoun in ("this", "that", "it"):
            return s.WhatIs(named)
        return s.AskAbout(thing, question)
    verb = p.take_any(w.BE | w.DO)
    if not verb:
        return None
    thing = p.noun_phrase()
    if thing is None or not (thing.definite or thing.pronoun):
        return None
    if aspect:
        return s.AskAbout(thing, question) if p.at_end() else None
    doing = p.take(*_DOING)
    return s.AskAbout(thing, question) if doing and p.at_end() else None


def what(p: Parser) -> s.Clause | None:
    """ "What is to the left of the cat", "Which dog is nearest to the bus", "What can you see"."""
    who = p.now == "who"
    if p.take("list", "name", "enumerate", "identify"):
        p.take("all of", "everything")
        found = p.bag([p.noun_phrase() or NounPhrase("", plural=True)])
        return s.WhatIs(found[0]) if found else None
    thing = _asked_kind(p) if p.take_any(("what", "which", "who")) else None
    if thing is None:
        return None
    done = s.WhereIs if who else s.WhatIs
    start = p.i
    p.take_any(w.BE)
    while p.take_any(w.STANCE | w.APPEAR):
        pass
    if p.now in ("that", "down", "up", "over", "out") and p.peek(1) in w.PREPOSITIONS | {"right", "up"}:
        p.i += 1  # "what is that on the table", "what is down in the corner"
        start = p.i
    chosen = p.attempt(lambda: _chosen(p, thing))
    if chosen is not None:
        return done(chosen)
    p.i = start
    if not thing.noun and p.take_any(w.BE) and not p.take("there"):
        asked = p.attempt(lambda: _asked_thing(p))
        if asked is not None:
            return asked
    p.i = start
    if thing.noun and p.take("is this", "is that", "is it", "are these", "are those", "are they") and p.at_end():
        return s.WhatIs(thing)
    p.i = start
    p.lenient &= bool(thing.noun)  # of anything at all, more than words must be said
    found = p.bag([thing])
    if not found or (not found[0].conditions and p.i == start):
        return None
    return done(found[0])


def _asked_kind(p: Parser) -> NounPhrase | None:
    """ "(what) else", "(which) of them", "(which) dog", "(who)": what is asked for; a bare "what" is any thing."""
    who = p.tokens[p.i - 1] == "who"
    p.take("else")
    among_them = p.take("of", "one of") and p.now in ("them", "these", "those")
    if among_them and not p._may_name(p.peek(1)):
        p.i += 1
        return NounPhrase("", definite=True, plural=True, pronoun="them")
    if who or not (p.now in w.DETERMINERS or p._may_name(p.now)):
        return NounPhrase("person") if who else NounPhrase("")
    named = p.noun_phrase(conditions=False)
    return None if named is None else replace(named, definite=False)


def _chosen(p: Parser, thing: NounPhrase) -> NounPhrase | None:
    """ "(which dog is) the largest", "(what is) the largest of the vehicles"."""
    wanted = thing.quantity
    if wanted is not None and wanted.comparison == "equal" and wanted.of is None:  # "which two dogs are nearest"
        thing = replace(thing, quantity=None, number=wanted.number)
    chosen = p.superlative(thing)
    if chosen is not None and p.take("of the", "of these", "of all the", "of all", "among the", "of"):
        among = p.noun_phrase(conditions=False)
        chosen = None if among is None else replace(chosen, noun=among.noun)
    found = None if chosen is None else p.bag([chosen])
    return found[0] if found else None


def _asked_thing(p: Parser) -> s.Clause | None:
    """ "(what is) the largest object", "(what is) the thing to the left of the cat", "(what is) r's name"."""
    thing = p.noun_phrase()
    if thing is None or not p.at_end():
        return None
    if thing.order or thing.conditions or not thing.noun:
        return s.WhatIs(thing) if not thing.pronoun or thing.conditions else s.DescribeIt(thing)
    return s.DescribeIt(thing) if thing.definite else None
