"""Which of the eleven basic colour words the pixels of a box show, and how much. No model, no torch.

Each pixel gets the word of its hue, lightness and saturation; the middle of the box counts, where the thing is, and a
colour that lies around the box too counts little, for it is rather that of what is behind. This is what a colour word
in a phrase ("red car") means to a model that was not trained on colours. It knows nothing of light: a white car at
sunset is orange.

Source of the words: Berlin and Kay, Basic Color Terms (1969).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

COLORS = ("black", "white", "gray", "red", "orange", "brown", "yellow", "green", "blue", "purple", "pink")
_SPELLINGS: Mapping[str, str] = {"grey": "gray", "silver": "gray", "violet": "purple", "golden": "yellow"}

_COLOR_QUESTION = re.compile(r"\bcolou?r(s|ed)?\b", re.IGNORECASE)

# A thing fills part of its box, and part of it is glass, shadow or glare: this share of the middle is all of it.
FULL_SHARE = 0.25
# Colourless pixels lie behind anything.
FULL_SHARE_COLORLESS = 0.5
MIDDLE = 0.8  # of each side
# This much of its sides around a box, what is behind the thing shows alone; a colour that is there as much as in the
# box counts that little. Of 287 things, 62 % then get a colour that people name in captions, and 48 % without
# (benchmarks/colors.py; of 42 others that nothing was chosen by, 57 and 38 %).
AROUND = 0.15
BEHIND = 0.25
_MOST_PIXELS = 20_000  # enough to know shares to a percent


def basic_color(word: str) -> str | None:
    """The basic colour that a word names, or None: "Grey" → "gray", "wooden" → None."""
    name = _SPELLINGS.get(word.lower(), word.lower())
    return name if name in COLORS else None


def asks_for_color(question: str) -> bool:
    """Whether the question is about a colour: "What colour is it?"."""
    return _COLOR_QUESTION.search(question) is not None


def color_shares(rgb: np.ndarray) -> dict[str, float]:
    """Share of each colour among pixels [N, 3] uint8; they add up to 1, or are all 0 where there are no pixels."""
    counts = np.bincount(_name_pixels(rgb), minlength=len(COLORS))
    return dict(zip(COLORS, (counts / max(1, len(rgb))).tolist(), strict=True))


def box_color_shares(image: Image.Image, box: Sequence[int]) -> dict[str, float]:
    """Share of each colour in the middle of a box, less the share that it has around the box; they add up to 1 at most.

    Args:
        image: the whole picture, RGB.
        box: x1, y1, x2, y2 in pixels, within the picture, at least one pixel.
    """
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    inset_x, inset_y = int(width * (1 - MIDDLE) / 2), int(height * (1 - MIDDLE) / 2)
    x, y = math.ceil(width * AROUND), math.ceil(height * AROUND)
    west, north = max(0, left - x), max(0, top - y)
    east, south = min(image.width, right + x), min(image.height, bottom + y)

    def shares_of(*parts: tuple[int, int, int, int]) -> dict[str, float]:
        pixels = np.concatenate([np.asarray(image.crop(part)).reshape(-1, 3) for part in parts])
        return color_shares(pixels[:: max(1, len(pixels) // _MOST_PIXELS)])

    inside = shares_of((left + inset_x, top + inset_y, right - inset_x, bottom - inset_y))
    around = shares_of(
        (west, north, east, top), (west, bottom, east, south), (west, top, left, bottom), (right, top, east, bottom)
    )
    return {color: max(share - around[color], BEHIND * share) for color, share in inside.items()}


def is_color(shares: Mapping[str, float], color: str) -> float:
    """How far a box of these shares is of that colour, 0 to 1."""
    full = FULL_SHARE_COLORLESS if color in ("black", "white", "gray") else FULL_SHARE
    return min(1.0, shares[color] / full)


def main_color(shares: Mapping[str, float]) -> tuple[str, float]:
    """The colour that fits best, and how far it does, 0 to 1."""
    best = max(COLORS, key=lambda color: shares[color] / (FULL_SHARE_COLORLESS if color in COLORS[:3] else FULL_SHARE))
    return best, is_color(shares, best)


def _name_pixels(rgb: np.ndarray) -> np.ndarray:
    """[N, 3] uint8 → [N] index into `COLORS`."""
    r, g, b = (rgb[:, k].astype(np.float32) / 255 for k in range(3))
    value, low = np.maximum(np.maximum(r, g), b), np.minimum(np.minimum(r, g), b)
    chroma = value - low
    safe = np.where(chroma > 0, chroma, 1)
    hue = (
        np.select([value == r, value == g], [((g - b) / safe) % 6, (b - r) / safe + 2], default=(r - g) / safe + 4) * 60
    )  # degrees
    saturation = chroma / np.maximum(value, 1e-6)
    reddish = (hue < 18) | (hue >= 340)
    warm = hue < 42
    conditions = [
        value < 0.2,
        (saturation < 0.18) & (value > 0.75),
        (saturation < 0.18) | (chroma < 0.06),
        reddish & (saturation < 0.5) & (value > 0.7),
        (hue >= 295) & (hue < 340),
        warm & ~reddish & (value < 0.62),
        reddish & (saturation < 0.6) & (value < 0.5),
        reddish,
        warm,
        hue < 70,
        hue < 170,
        hue < 258,
    ]
    words = ["black", "white", "gray", "pink", "pink", "brown", "brown", "red", "orange", "yellow", "green", "blue"]
    return np.select(conditions, [COLORS.index(word) for word in words], default=COLORS.index("purple"))
