"""What of a phrase a model can judge, and what it cannot.

Every content word of a phrase is either part of what is judged (a name that the model knows, a colour that the pixels
tell) or is listed in `not_judged`: "dead cat" is judged as "cat", and "dead" is said to be open. A model that takes any
words judges the whole phrase. Nothing here looks at a picture.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from fo1agent.words import lexicon
from fo1agent.words.colors import COLORS, basic_color


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words before a noun that only point at it.
_POINTERS = _words(
    "a an the this that these those some any all each every both one my your our his her its their there here visible"
)
_SAYS_NOTHING = _POINTERS | {"and", "or"}
# Words before a noun that say how many of it are meant, which no single region tells.
_HOW_MANY = _words(
    "two three four five six seven eight nine ten eleven twelve dozen hundred several few many most half no"
)
# What turns what follows it round, so that it is not judged as it stands.
_NEGATIONS = _words("no non not never without except besides but excluding minus un")
# A phrase goes on after its noun with one of these: "people *sitting* on a bench", "cars *that* are red".
_GOES_ON = _words(
    "that which who whose whom with without in on at by near under over behind beside besides between above below "
    "inside outside from to into onto across along around against for except excluding is are was were has have not "
    "and or "
    "left right next close wearing holding carrying riding"
)
_IN_THE_PICTURE = re.compile(
    r"(?:(?:that|which|who) (?:is|are|can be)? ?)?(?:(?:visible|seen|shown|present|here|there)|"
    r"(?:in|on|from|of) (?:the|this|that|your|my) (?:picture|image|photo|photograph|scene|shot|frame|view))+"
)
_OF_A_PART = re.compile(r"\b(\w+) (haired|eyed|headed|faced|nosed|bearded|coated|clad|dressed|legged|tailed|roofed)\b")
_IS_COLORED = re.compile(r"(?:that|which|who) (?:is|are|was|were) (\w+)")
# Words before "of" for a part of what follows: there is no telling how many there are of them.
_PARTS = _words("slice piece part half side corner end top bottom edge leg wheel")
# Words before "of" for several of what follows, or for a sort of it.
_GROUPS = _words("pair group bunch herd flock set couple row pile stack lot crowd kind type sort")
_IN_PAIRS = _words("scissors trousers pants jeans shorts skis ski glasses goggles shoes boots gloves socks tweezers")
_SORTS = ("kind", "type", "sort")
# Nouns that are counted in pieces.
_UNCOUNTED = _words("fruit cutlery silverware furniture luggage baggage clothing equipment food electronics")


@dataclass(frozen=True, slots=True)
class Meaning:
    """One thing that a phrase names, as far as it can be judged.

    Attributes:
        names: what the model is asked for: names that it knows, any of which will do, or the phrase itself where the
            model takes any words; empty when it has no word for it.
        qualities: adjectives that are judged apart from the name: ("red",).
        noun: the name in the words of the phrase: "car".
        judged: what is judged, in words: "red car".
        not_judged: the words that are not, in their order: ("dead",), ("woman",), ("sitting on a bench",).
        note: what a person should be told where there are no names; else "".
        wider: what the model itself would judge of it, where it has no word of its own and finders are asked for one:
            "car", with "taxi" not judged. None where it has one, or nothing that would do.
        absent: what a person should be told where nothing is found, because the word means more than the names: of
            "sign", where only stop signs are looked for; else "".
    """

    names: tuple[str, ...]
    qualities: tuple[str, ...] = ()
    noun: str = ""
    judged: str = ""
    not_judged: tuple[str, ...] = ()
    note: str = ""
    wider: Meaning | None = None
    absent: str = ""


def meanings(
    phrase: str,
    vocabulary: Sequence[str] | None,
    model: str,
    adjectives: Collection[str] = COLORS,
    any_words: bool = False,
    own: Sequence[str] | None = None,
) -> tuple[Meaning, ...]:
    """What a phrase names, one `Meaning` for each thing ("cats and remotes" names two).

    Args:
        phrase: as it was asked.
        vocabulary: the names that the model knows; None where any words will do.
        model: what the model is called, for notes.
        adjectives: qualities that can be judged beside names.
        any_words: whether a noun that is no name of the vocabulary can be judged as it stands, by a finder.
        own: the names that the model itself knows, where others of the vocabulary are of finders; None: all of them.
    """
    phrase = " ".join(phrase.split())
    if vocabulary is None:
        return (Meaning((phrase,), judged=phrase),)
    known = tuple(vocabulary)
    return _meanings(
        phrase, _Words(known, model, frozenset(adjectives), any_words, known if own is None else tuple(own))
    )


def mentions(text: str, vocabulary: Sequence[str]) -> list[str]:
    """The names of the vocabulary that words of a text mean, in order, alone or in pairs ("hot dog" is no dog)."""
    words = re.findall(r"[^\W_]+", text.lower())
    found: list[str] = []
    k = 0
    while k < len(words):
        pair = lexicon.resolve(" ".join(words[k : k + 2]), vocabulary)
        two = pair.exact and not pair.modifiers and not lexicon.resolve(words[k], vocabulary).exact
        meant = pair if two else lexicon.resolve(words[k], vocabulary)
        # WordNet's "whites" and "blacks" are people; next to a noun the words are colours.
        if len(meant.names) == 1 and words[k] not in lexicon.COLORS:
            found += meant.names
        k += 2 if two else 1
    return found


@dataclass(frozen=True, slots=True)
class _Words:
    """What can be judged: see `meanings`."""

    vocabulary: tuple[str, ...]
    model: str
    adjectives: frozenset[str]
    any_words: bool
    own: tuple[str, ...]

    def resolve(self, words: Sequence[str]) -> lexicon.Resolution:
        """What a noun with words before it means; as it stands, where any words can be judged and no name says it."""
        found = lexicon.resolve(" ".join(words), self.vocabulary)
        if not words or not self.any_words or (found.names and not found.special and not found.wide):
            return found
        said = lexicon.singular(" ".join(words).lower()).split()
        plain = (k for k, word in enumerate(said) if word not in _NEGATIONS and not _is_adjective(word, COLORS))
        noun = next((k for k in range(len(said)) if lexicon.is_noun(" ".join(said[k:]))), next(plain, len(said) - 1))
        return lexicon.Resolution((" ".join(said[noun:]),), exact=True, modifiers=tuple(said[:noun]))

    def stands(self, words: Sequence[str]) -> bool:
        """Whether words end in a noun that can be judged, so that what follows is said of it."""
        if lexicon.resolve(" ".join(words), self.vocabulary).names:
            return True
        return self.any_words and lexicon.is_thing(words[-1])


@lru_cache(maxsize=4096)
def _meanings(phrase: str, known: _Words) -> tuple[Meaning, ...]:
    for said in (phrase, lexicon.singular(phrase.lower())):
        if said in known.vocabulary:  # whatever its words mean by themselves ("no entry sign")
            return (_beside(Meaning((said,), judged=said), said.split(), known),)
    text = re.sub(
        r"\b(\w+)-(?!red\b)(\w+(?:ed|ing))\b", r"\1\2", phrase.lower().replace("’", "'")
    )  # "red-haired" is not red
    text = _OF_A_PART.sub(r"\1\2", text)
    words = re.findall(r"[^\W_]+(?:'[a-z]+)?|,|&", text)
    for at, word in enumerate(words):
        if word not in ("and", "or", ",", "&", "plus") or not 0 < at < len(words) - 1:
            continue
        first = _named(words[:at], known)
        if not first.names or _is_adjective(words[at - 1], known.adjectives):
            continue
        others = _meanings(" ".join(words[at + 1 :]), known)
        if all(other.names for other in others):
            return (first, *others)
    return (_named(words, known),)


def _named(words: list[str], known: _Words) -> Meaning:
    return _beside(_meaning(words, known), words, known)


def _beside(meaning: Meaning, words: list[str], known: _Words) -> Meaning:
    """A meaning, with what the model itself would judge where only finders have the word."""
    if any(name in known.own for name in meaning.names):
        return meaning
    wider = _meaning(words, replace(known, vocabulary=known.own, any_words=False))
    return replace(meaning, wider=wider) if wider.names else meaning


def _meaning(words: Sequence[str], known: _Words) -> Meaning:
    words = [word for word in words if word != ","]
    counted: list[str] = []
    while len(words) > 1 and (words[0] in _POINTERS or words[0] in _HOW_MANY or words[0].isdigit()):
        counted += [words[0]] if words[0] not in _POINTERS else []
        words = words[1:]
    if not words:
        return Meaning((), note=f"{known.model} does not know “”.")
    head, behind = _split(words, known)
    counted_of = _of_what(head, known.vocabulary)
    if counted_of is None and not known.any_words:
        near = lexicon.resolve(" ".join(head[head.index("of", 1) + 1 :]), known.vocabulary).names
        return Meaning((), note=_unknown(known.model, " ".join(head), near))
    head, group = counted_of or (head, "")
    found = known.resolve(head)
    said = lexicon.singular(" ".join(head))
    if not found.names:
        return Meaning((), note=_unknown(known.model, said, found.near))
    qualities: list[str] = []
    open_words = [*counted, group] if group else counted
    negated = ""
    # Of a traffic light, a colour is the lamp that is lit, not the paint; of a person, clothes, skin or hair.
    apart = known.adjectives - set(COLORS) if found.names in (("traffic light",), ("person",)) else known.adjectives
    for word in found.modifiers:
        if word in _NEGATIONS:
            negated = word
        elif word in _SAYS_NOTHING or all(word in name.split() for name in found.names):
            continue
        elif _is_adjective(word, apart) and not negated:
            qualities.append(word)
        else:
            open_words.append(f"{negated} {word}".strip())
            negated = ""
    by_name = found.special or found.wide or found.names == ("person",)
    noun = " or ".join(found.names) if by_name else _noun_of(said, found)
    if found.special:
        open_words.append(found.special)
    colored = _IS_COLORED.fullmatch(behind)
    if colored and _is_adjective(colored[1], apart):
        qualities.append(colored[1])
    elif behind and not _IN_THE_PICTURE.fullmatch(behind):
        open_words.append(behind.removeprefix("that is ").removeprefix("that "))
    joined = " and ".join(qualities) if len(qualities) > 1 else "".join(qualities)
    judged = f"{joined} {noun}".strip()
    others = lexicon.plural(found.wide)
    absent = f"{known.model} sees no {judged}; other {others} it can't judge." if found.wide else ""
    return Meaning(found.names, tuple(qualities), noun, judged, tuple(open_words), absent=absent)


def _of_what(head: list[str], vocabulary: tuple[str, ...]) -> tuple[list[str], str] | None:
    """(what is counted of "glass of wine", "pair of skis", "herd of cows", "row of"); None of "slice of pizza": a part,
    and there is no telling how many."""
    if "of" not in head[1:-1]:
        return head, ""
    at = head.index("of", 1)
    noun, behind_of = lexicon.singular(head[at - 1]), [word for word in head[at + 1 :] if word not in _POINTERS]
    before, name = list(head[: at - 1]), " ".join((*behind_of, noun))
    if name in vocabulary:  # "glass of wine"
        return [*before, *name.split()], ""
    if behind_of:
        in_pieces = noun in ("piece", "item") and behind_of[-1] in _UNCOUNTED
        if (noun == "pair" and behind_of[-1] in _IN_PAIRS) or head[at - 1] in _SORTS or in_pieces:
            return [*before, *behind_of], ""  # "some kind of dog" is a dog, "pieces of fruit" are fruit
        if noun in _GROUPS:
            return [*before, *behind_of], " ".join(head[at - 1 : at + 1])
    return None if noun in _PARTS else (head, "")


def _split(words: list[str], known: _Words) -> tuple[list[str], str]:
    """(words up to and with the noun, what is said of it behind): "people", "sitting on a bench"."""
    for at in range(1, len(words)):
        word = words[at]
        compound = lexicon.is_noun(" ".join(words[: at + 1]))  # "human being"
        participle = word.endswith("ing") and len(word) > 4 and not lexicon.is_thing(word) and not compound
        joins = word in ("and", "or") and basic_color(words[at - 1]) is not None
        goes_on = participle or (word in _GOES_ON and not joins)
        if goes_on and not _is_adjective(words[at - 1], COLORS) and known.stands(words[:at]):
            return words[:at], " ".join(words[at:])
    return words, ""


def _is_adjective(word: str, adjectives: Collection[str]) -> bool:
    return word in adjectives or (basic_color(word) is not None and basic_color(word) in adjectives)


def _noun_of(said: str, found: lexicon.Resolution) -> str:
    """The phrase without its modifiers: what a person called it, where that says no more than the names."""
    words = said.split()
    if found.modifiers and tuple(words[: len(found.modifiers)]) == found.modifiers:
        return " ".join(words[len(found.modifiers) :])
    return found.names[0] if found.modifiers else said


# Words for what somebody would do with a picture, also where a verb was taken for a thing ("select the cat"), and for
# measures of it: no detector finds them in it.
_NO_THINGS = _words(
    "point pixel coordinate click position location setting selection segmentation area size width height percentage "
    "percent amount select touch aim draw remove give"
)


def may_be_looked_for(phrase: str) -> bool:
    """Whether a detector that takes any words might find what a phrase names: an ostrich, not a pixel or a setting."""
    return lexicon.singular(phrase.lower()).partition(" of ")[0].rpartition(" ")[2] not in _NO_THINGS


TO_KNOW = "With --finder grounding-dino-tiny, any word can be looked for."
"""What to tell a person of a word that the model does not know: the one command that would make it known."""


def _unknown(model: str, said: str, near: Sequence[str]) -> str:
    known = f" It knows {' and '.join(near)}." if near else ""
    return f"{model} does not know “{said}”.{known}"
