"""Change the colour of a cut-out so that a person would call it by another colour word, and keep it a picture of the
same thing: light, shade and glare stay where they are.

The hue that most of the thing has (or its white and gray, when it has next to no hue) moves to the wanted colour; what
has another hue stays: the leaf of an apple, the windows of a bus. Whether it worked, the pixels say (`shows`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fo1agent.pictures.color import color_shares, to_hsv
from fo1agent.words.colors import COLORS

# Hue in degrees, saturation and value in 0..1 of the middle of a thing of that colour, and how far it may be off.
_TARGETS: Mapping[str, tuple[float, float, float, float]] = {
    "red": (358, 0.88, 0.78, 7),
    "orange": (27, 0.92, 0.95, 4),
    "yellow": (53, 0.86, 0.96, 5),
    "green": (125, 0.72, 0.60, 25),
    "blue": (217, 0.80, 0.76, 14),
    "purple": (278, 0.62, 0.62, 8),
    "pink": (332, 0.45, 0.97, 8),
    "brown": (25, 0.66, 0.42, 4),
    "black": (30, 0.04, 0.10, 180),
    "white": (60, 0.03, 0.97, 180),
    "gray": (210, 0.04, 0.52, 180),
}
# What is surely of a colour: least and most saturation, least and most value, and degrees from the hue above.
_CLEAR: Mapping[str, tuple[float, float, float, float]] = {
    "red": (0.7, 1, 0.6, 1),
    "orange": (0.72, 1, 0.8, 1),
    "yellow": (0.55, 1, 0.7, 1),
    "green": (0.4, 1, 0.3, 1),
    "blue": (0.45, 1, 0.4, 1),
    "purple": (0.35, 0.85, 0.42, 0.95),
    "pink": (0.25, 0.75, 0.75, 1),
    "brown": (0.4, 0.85, 0.22, 0.58),
    "black": (0, 1, 0, 0.15),
    "white": (0, 0.12, 0.85, 1),
    "gray": (0, 0.14, 0.3, 0.68),
}
_CLEAR_HUE = {"red": 13, "orange": 12, "yellow": 11, "green": 42, "blue": 30, "purple": 16, "pink": 26, "brown": 12}
COLORLESS = ("black", "white", "gray")

_MAIN_SHARE = 0.36  # of the visible pixels: less is not what a person would call the thing's colour
_HUE_FULL, _HUE_NONE = 38.0, 58.0  # degrees from the main hue: up to here it moves, from here on it stays
_GRAY_FULL, _GRAY_NONE = 0.16, 0.28  # saturation


def recolor(pixels: np.ndarray, color: str, rng: np.random.Generator | None = None) -> np.ndarray | None:
    """A copy in another colour, or None when the thing has no main colour to move.

    Args:
        pixels: [h, w, 4] uint8 RGBA.
        color: one of the eleven basic colours.
        rng: varies the shade; None for the middle of the colour.
    """
    visible = pixels[..., 3] > 16
    hue, saturation, value = to_hsv(pixels[..., :3][visible])
    weight, main_hue = _main_region(hue, saturation, value, pixels[..., 3][visible] / 255.0)
    if weight is None:
        return None
    to_hue, to_saturation, to_value, spread = _TARGETS[color]
    if rng is not None:
        to_hue += rng.uniform(-spread, spread)
        to_saturation *= rng.uniform(0.9, 1.1)
        to_value *= rng.uniform(0.92, 1.05)
    inside = weight > 0.5
    middle_v = float(np.clip(np.median(value[inside]), 0.05, 0.97))
    middle_s = float(np.clip(np.median(saturation[inside]), 0.05, 0.97))

    # A little of the play of hues stays. Near gray there is none: hue is chance there.
    off = 0.0 if main_hue is None else (hue - main_hue + 180) % 360 - 180
    new_hue = to_hue + 0.2 * off + np.zeros_like(hue)
    new_value = _bend(value, middle_v, min(to_value, 0.98))
    if color in COLORLESS or middle_s < 0.12:
        # Glare has less colour than the thing itself.
        new_saturation = to_saturation * np.clip((1.15 - value) / (1.15 - middle_v), 0.25, 1.15)
    else:
        new_saturation = _bend(saturation, middle_s, min(to_saturation, 0.97))
    moved = _to_rgb(new_hue % 360, np.clip(new_saturation, 0, 1), np.clip(new_value, 0, 1))
    result = pixels.copy()
    before = pixels[..., :3][visible].astype(np.float32)
    result[..., :3][visible] = (before + weight[:, None] * (moved * 255 - before) + 0.5).astype(np.uint8)
    return result


def shows(rgb: np.ndarray, color: str) -> bool:
    """Whether pixels [N, 3] uint8 are so much of a colour, and so little of any other, that nobody would doubt it."""
    shares = color_shares(rgb)
    # Shade makes brown of orange, and gray of white.
    shade = {"orange": "brown", "white": "gray", "gray": "white" if shares["black"] < 0.2 else "", "black": "gray"}
    others = [s for name, s in shares.items() if name not in (color, shade.get(color))]
    least = 0.6 if color in COLORLESS else 0.45
    return shares[color] >= least and max(others) <= (0.3 if shares[color] < 0.7 else 0.25)


def clear_color(rgb: np.ndarray) -> str | None:
    """The one colour that pixels [N, 3] uint8 show beyond doubt; None if there is none.

    Stricter than `shows`: what was painted is in the middle of its colour, what is so by nature may be tan, maroon or
    navy, which one person calls brown and another orange.
    """
    shares = color_shares(rgb)
    best = max(COLORS, key=lambda color: shares[color])
    if shares[best] < 0.6 or not shows(rgb, best):
        return None
    if best == "gray" and shares["black"] + shares["white"] > 0.2:  # a zebra, a husky
        return None
    hue, saturation, value = to_hsv(rgb)
    s, v = float(np.median(saturation)), float(np.median(value))
    least_s, most_s, least_v, most_v = _CLEAR[best]
    if not (least_s <= s <= most_s and least_v <= v <= most_v):
        return None
    off = np.abs((hue - _TARGETS[best][0] + 180) % 360 - 180)
    return best if best in COLORLESS or float(np.median(off)) <= _CLEAR_HUE[best] else None


def _main_region(
    hue: np.ndarray, saturation: np.ndarray, value: np.ndarray, alpha: np.ndarray
) -> tuple[np.ndarray | None, float | None]:
    """([N] weight of what may change colour, its hue), with no hue for white and gray; no weight: nothing may."""
    chromatic = _ramp(saturation, 0.14, 0.30) * _ramp(value, 0.05, 0.15)
    histogram = np.bincount((hue / 10).astype(int) % 36, weights=chromatic * alpha, minlength=36)
    near = histogram + np.roll(histogram, 1) + np.roll(histogram, -1)
    center = int(near.argmax())
    off = ((hue - (center * 10 + 5)) + 180) % 360 - 180
    close = chromatic * (np.abs(off) < 30) * alpha
    if close.sum() > 0:
        main = center * 10 + 5 + float((off * close).sum() / close.sum())
        off = (hue - main + 180) % 360 - 180
        weight = chromatic * (1 - _ramp(np.abs(off), _HUE_FULL, _HUE_NONE))
        if (weight * alpha).sum() >= _MAIN_SHARE * alpha.sum():
            return weight.astype(np.float32), main
    colorless = (1 - _ramp(saturation, _GRAY_FULL, _GRAY_NONE)) * _ramp(value, 0.1, 0.25)
    if (colorless * alpha).sum() >= 0.6 * alpha.sum():
        return colorless.astype(np.float32), None
    return None, None


def _bend(x: np.ndarray, middle: float, to: float) -> np.ndarray:
    """A rising curve from 0 to 1 that takes `middle` to `to`, flat beside the middle so that shade stays one colour."""
    low = to * np.clip(x / middle, 0, 1) ** (0.55 if to > middle else 1.0)
    high = to + (1 - to) * np.clip((x - middle) / (1 - middle), 0, 1) ** (1 + 2.0 * (1 - to))
    return np.where(x < middle, low, high)


def _ramp(x: np.ndarray, zero: float, one: float) -> np.ndarray:
    """0 up to `zero`, 1 from `one` on, smooth between."""
    t = np.clip((x - zero) / (one - zero), 0, 1)
    return t * t * (3 - 2 * t)


def _to_rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """[N, 3] float32 in 0..1."""
    channels = []
    for n in (5, 3, 1):
        k = (n + hue / 60) % 6
        channels.append(value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1))
    return np.stack(channels, axis=1).astype(np.float32)
