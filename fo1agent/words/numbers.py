"""Numbers in words."""

from __future__ import annotations

import re

_UNITS = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
NUMBERS = {**{word: i for i, word in enumerate(_UNITS)}, **{word: 10 * i for i, word in enumerate(_TENS, 2)}}
"""The single words of numbers: "seven", "eighty"."""


def number_of(words: str) -> int | None:
    """The number that words up to a hundred name: "seven", "forty-two", "one hundred"; None for other words."""
    if words in ("hundred", "one hundred"):
        return 100
    tens, _, unit = words.replace("-", " ").partition(" ")
    if not unit:
        return NUMBERS.get(tens)
    return NUMBERS[tens] + NUMBERS[unit] if tens in _TENS and 0 < NUMBERS.get(unit, 0) < 10 else None
