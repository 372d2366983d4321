"""The eleven basic colour words, and other spellings of them.

Source: Berlin and Kay, Basic Color Terms (1969).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

COLORS = ("black", "white", "gray", "red", "orange", "brown", "yellow", "green", "blue", "purple", "pink")
_SPELLINGS: Mapping[str, str] = {"grey": "gray", "silver": "gray", "violet": "purple", "golden": "yellow"}
_COLOR_QUESTION = re.compile(r"\bcolou?r(s|ed)?\b", re.IGNORECASE)


def basic_color(word: str) -> str | None:
    """The basic colour that a word names, or None: "Grey" → "gray", "wooden" → None."""
    name = _SPELLINGS.get(word.lower(), word.lower())
    return name if name in COLORS else None


def is_color_words(words: str) -> bool:
    """Whether the words are colours and nothing else: "red", "black and white"."""
    return all(word == "and" or basic_color(word) is not None for word in words.split())


def asks_for_color(question: str) -> bool:
    """Whether the question is about a colour: "What colour is it?"."""
    return _COLOR_QUESTION.search(question) is not None
