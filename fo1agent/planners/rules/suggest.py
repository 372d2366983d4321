"""For a question that was not understood: the nearest one that would be, made from the nouns it holds."""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import pairwise, permutations

from fo1agent.planners.rules import words as w
from fo1agent.words import lexicon

_ABOUT_ONE = (
    "How many {many} are there?",
    "Is there {a_one} in the picture?",
    "Where is the {one}?",
    "What is next to the {one}?",
    "Describe the {one}.",
    "Which {one} is the largest?",
)
_ABOUT_TEXT = ("What does the {one} say?",)
_ABOUT_TWO = (
    "Is the {one} to the left of the {other}?",
    "How many {many} are to the left of the {other}?",
    "Are there more {many} than {others}?",
    "How many {many} and {others} are there in total?",
    "Which {one} is nearest to the {other}?",
)


def nearest_question(tokens: list[str], *earlier: list[str]) -> str:
    """The template, filled with one or two of the question's own nouns, whose words are most like the question's.

    Args:
        tokens: of the question.
        earlier: tokens of the questions before it, latest first, for a question that has no noun ("the others?").
    """
    nouns = next(filter(None, map(_nouns, (tokens, *earlier))), [])
    if not nouns:
        return "How many … are there?"
    candidates = [_fill(template, noun, noun) for template in _ABOUT_ONE for noun in nouns]
    if set(tokens) & (w.WRITTEN | w.TEXT_NOUNS | w.BEARERS | {"say", "says", "read", "reads"}):
        candidates += [_fill(template, noun, noun) for template in _ABOUT_TEXT for noun in nouns]
    candidates += [_fill(template, a, b) for template in _ABOUT_TWO for a, b in permutations(nouns, 2)]
    return max(candidates, key=lambda question: _likeness(question, tokens))


def _nouns(tokens: list[str]) -> list[str]:
    """Up to three visible things that the question names, in the singular."""
    found: list[str] = []
    for before, token in pairwise(["", *tokens]):
        if before == "how":  # "how heavy"
            continue
        word = lexicon.singular(token)
        if (
            token.isalpha()
            and token not in w.BOUNDARY | w.DETERMINERS | w.PICTURE | w.SIDES.keys()
            and lexicon.is_thing(word)
        ):
            found.append(word)
    return list(dict.fromkeys(found))[:3]


def _fill(template: str, one: str, other: str) -> str:
    many, others = lexicon.plural(one), lexicon.plural(other)
    return template.format(one=one, many=many, other=other, others=others, a_one=_with_article(one))


def _with_article(noun: str) -> str:
    return ("an " if noun[0] in "aeio" or noun.startswith("umbrella") else "a ") + noun


def _likeness(question: str, tokens: list[str]) -> float:
    words = question.lower().rstrip("?.").split()
    return SequenceMatcher(None, words, tokens, autojunk=False).ratio()
