"""Productions about text in the picture: what is written where."""

from __future__ import annotations

from dataclasses import replace

from fo1agent.planners.rules import syntax as s
from fo1agent.planners.rules import words as w
from fo1agent.planners.rules.parser import Parser
from fo1agent.planners.rules.syntax import NounPhrase

_ALL_OVER = w.phrases(
    "on the side of | on the front of | on the back of | across | along | upon | of | at | on top of | from | all "
    "over | over | on the surface of"
)

_FAR_SIDES = {"leftmost": "far left", "rightmost": "far right", "topmost": "far top", "lowest": "far bottom"}


def read(p: Parser) -> s.Clause | None:
    """The text on something: "What does the bus say?", "What is written on the sign?", "Read the sign."."""
    if p.take("read", "transcribe", "read out", "spell out"):
        return _read_out(p)
    if not p.take("what", "which"):
        return None
    start = p.i
    if p.take_any(w.BE | w.MODAL | w.DO | w.HAVE):
        p.take("it that is", "been", "be", "the thing")
        if p.take_any(w.WRITTEN | {"displayed", "spelled"}) and p.tokens[p.i - 1] in w.WRITTEN:
            return _written_at(p)
        p.i = start
    if p.take_any(w.BE):  # "what is the bus number"
        thing = p.noun_phrase(conditions=False)
        if thing is not None and thing.noun.endswith((" number", " name")) and p.at_end():
            noun, _, bearer = thing.noun.rpartition(" ")
            return s.ReadText(replace(thing, noun=noun, definite=True), bearer=bearer)
        p.i = start
    # "what does the sign say", "what the sign says"
    p.take_any(w.DO)
    thing = p.noun_phrase()
    if thing is not None and p.take_any(
        ("say", "says", "read", "reads", "state", "states", "spell", "spells", "saying")
    ):
        return _said_by(p, thing)
    # "what can you read on the sign", "what words are on the bus", "what is the text on the bus"
    p.i = start
    p.take_any(w.MODAL | w.DO)
    if p.take("you", "i", "we", "one") and p.take("read"):
        return _written_at(p)
    p.i = start
    p.take_any(w.BE)
    p.take_any(w.DETERMINERS)
    p.take_any(("visible", "written", "printed", "actual", "exact"))
    word = p.take_any(w.TEXT_NOUNS)
    if word or (p.now in ("number", "name", "numbers", "words") and p.peek(1) != "of" and p.take_any((p.now,))):
        while p.take_any(w.AUXILIARY | w.WRITTEN | w.SHOWN | w.APPEAR | w.PEOPLE_PRONOUNS | w.SEE | {"there", "that"}):
            pass
        p.take("read")
        return _written_at(p)
    return None


_ANY_TEXT = w.words("text writing words letters lettering numbers digits inscription inscriptions")
_ALL_OF_IT = w.phrases(
    "everything | all of it | it all | all that is there | all the writing | every word | all the words | all words"
)


def is_text(p: Parser) -> s.Clause | None:
    """ "Is there any text?", "Is there writing on the bus?", "Any text on the sign?"."""
    if not p._opening():
        p.take("is", "are")
    p.take("any", "some", "a", "got any")
    p.take("visible", "readable", "legible", "printed")
    if not p.take_any(_ANY_TEXT):
        return None
    if p.take_any(w.BE):  # "is any text written on it"
        p.take_any(w.WRITTEN)
    where = _written_at(p)
    return s.IsText(where) if isinstance(where, s.ReadText) else None


_SAY = w.words("say says read reads state states spell spells")


def _read_out(p: Parser) -> s.Clause | None:
    """ "(read) me the sign", "(read) what is written on the bus"."""
    p.take("me", "us", "for me")
    p.take("out loud", "aloud", "out")
    p.take("to me", "for me")
    if p.at_end():
        return s.ReadText()
    if p.take(*_ALL_OF_IT):
        return _written_at(p)
    if p.take("what is", "what it says", "whatever is"):
        p.take_any(w.WRITTEN)
    thing = p.noun_phrase()
    return _written_at(p) if thing is None else _text_of(p, thing)


def _said_by(p: Parser, thing: NounPhrase) -> s.Clause | None:
    """ "(what does the sign say) on it", "(what does it say) on the bus"."""
    p.take("on it", "out", "on them")
    if not p.now:
        return _text_of(p, thing)
    if thing.pronoun:
        return _written_at(p)
    relation = p.relation()
    return None if relation is None or not (relation.to or relation.side) else _text_of(p, thing.at(relation))


def does_say(p: Parser) -> s.Clause | None:
    """Whether something is written there: "Does the sign say STOP?", "Is EXIT written on the door?", "Is the word bus
    on the sign?"."""
    start = p.i
    if p.take_any(w.DO):
        thing = p.noun_phrase()
        if thing is None or not p.take_any(_SAY):
            return None
        p.take("the words", "the word")
        at = _index(p, ("on",)) if thing.pronoun else len(p.tokens)
        return _says_so(p, at, None if thing.pronoun and at < len(p.tokens) else thing)
    p.i = start
    if not p.take_any(w.BE):
        return None
    worded = p.take("the words", "the word", "the letters", "the letter", "the text")
    return _says_so(p, _index(p, tuple(w.WRITTEN) + (("on", "in") if worded else ())), None)


def _index(p: Parser, ends: tuple[str, ...]) -> int:
    return next((at for at in range(p.i, len(p.tokens)) if p.tokens[at] in ends), len(p.tokens))


def _says_so(p: Parser, at: int, thing: NounPhrase | None) -> s.Clause | None:
    """Read the words up to a place, and after it where they are written."""
    said, p.i = p.tokens[p.i : at], at
    if not any(word[0].isalnum() for word in said) or (thing is None and not p.now):
        return None
    p.take_any(w.WRITTEN)
    where = _written_at(p) if thing is None else _text_of(p, thing)
    return s.Says(where, " ".join(said)) if isinstance(where, s.ReadText) else None


def _written_at(p: Parser) -> s.Clause | None:
    """Read where the text is: "on the bus", "next to the bus", or nowhere in particular."""
    while p.take_any(w.FILLER) or p.scope() or p.take("down"):
        pass
    if not p.now:
        return s.ReadText()
    start = p.i
    relation = p.relation()
    if relation is not None and relation.side and not relation.negated:
        return s.ReadText(side=relation.side)
    p.i = start
    if p.take(*_ALL_OVER):
        thing = p.noun_phrase()
        return None if thing is None else _text_of(p, thing)
    relation = p.relation()
    if relation is None or relation.to is None:
        return None
    if relation.name in ("on", "inside", "overlaps"):
        return _text_of(p, relation.to)
    return s.ReadText(relation.to, relation.name)


def _text_of(p: Parser, thing: NounPhrase) -> s.Clause | None:
    """The text on a thing; a bearer of text ("its sign", "the sign on the bus") is read where it is."""
    noun = thing.noun.rsplit(" ", 1)[-1]
    bears = noun in w.BEARERS and thing.noun not in ("stop sign",)
    if not bears and noun not in w.TEXT_NOUNS:
        return s.ReadText(thing)
    bearer = thing.noun if bears else ""
    if thing.owner is not None:
        return s.ReadText(thing.owner, bearer=bearer)
    if thing.conditions and thing.conditions[0].to is not None:
        where = thing.conditions[0]
        if where.name in ("on", "inside", "overlaps"):
            return s.ReadText(where.to, bearer=bearer)
        return s.ReadText(where.to, where.name, bearer)
    if bears:
        return s.ReadText(thing, bearer=bearer, side=thing.conditions[0].side if thing.conditions else "")
    if any(where.negated or not where.side for where in thing.conditions[:1]) or len(thing.conditions) > 1:
        return None  # "the text that is not on the left", "the text that is red"
    if thing.order is not None:  # "the text on the far left"
        return s.ReadText(side=_FAR_SIDES[thing.order]) if thing.order in _FAR_SIDES and thing.rank == 1 else None
    return s.ReadText(side=thing.conditions[0].side if thing.conditions else "")
