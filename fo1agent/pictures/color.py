"""Which of the eleven basic colour words a person would give the thing in a box. No model of the picture, no torch.

A box holds more than the thing, and a thing more than its colour: a red bus is half window, and street shows below it.
So each pixel gets a share of each colour word and a weight: how far it lies from the middle of the box, whether its
colour lies around the box too, how light and how vivid it is. Both were learned from what people say in captions
(`data/colors.json`, a few hundred numbers, made by scripts/learn_colors.py). This is what a colour word in a phrase
("red car") means to a model that was not trained on colours. It does not know what the thing is nor the light it
stands in: a white car at sunset is orange.

`color_shares` knows nothing learned: it gives each pixel one word by its hue, lightness and saturation.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from fo1agent.words.colors import COLORS

if TYPE_CHECKING:
    from PIL import Image

# This much of its sides around a box, what is behind the thing shows alone.
AROUND = 0.15
# A box is looked at with its longer side at this many pixels; no colour that people name is smaller.
_SIDE = 96
_BINS = 16  # of each axis of CIE Lab, to tell whether a colour lies around the box too
_FAINT = 1e-3  # a share that is as good as none
# A colour that fits at least so far is one of the thing's colours.
SEVERAL = 0.5
PLAIN = 2  # colours that a thing may show, and still be called by one
LEAST = 0.01  # of a thing; less of a colour is noise


def color_shares(rgb: np.ndarray) -> dict[str, float]:
    """Share of each colour among pixels [N, 3] uint8; they add up to 1, or are all 0 where there are no pixels."""
    counts = np.bincount(_name_pixels(rgb), minlength=len(COLORS))
    return dict(zip(COLORS, (counts / max(1, len(rgb))).tolist(), strict=True))


def box_color_shares(image: Image.Image, box: Sequence[int], thing: np.ndarray | None = None) -> dict[str, float]:
    """Share of each colour of the thing in a box; they add up to 1.

    Args:
        image: the whole picture, RGB.
        box: x1, y1, x2, y2 in pixels, within the picture, at least one pixel.
        thing: [height, width] truth values of the box's pixels: which are the thing's, where that is known. No other
            pixel then counts; None for all of the box, of which what is likelier the thing counts more.
    """
    looks, places = box_pixels(image, box)
    learned = _learned()
    if thing is not None:
        kept = _as_seen(thing, image, box)
        looks, places = looks[kept], np.zeros((int(kept.sum()), places.shape[1]))
    hidden = np.tanh(_product(looks, learned["hidden"]) + learned["hidden_bias"])
    words = _softmax(_product(hidden, learned["word"]) + learned["word_bias"])
    weights = _softmax(np.concatenate([places, looks[:, _LOOKS_OF_WEIGHT]], axis=1) @ learned["weight"])
    return dict(zip(COLORS, (weights @ words).tolist(), strict=True))


def _as_seen(thing: np.ndarray, image: Image.Image, box: Sequence[int]) -> np.ndarray:
    """[N]: which of the pixels that `box_pixels` looks at are at least half the thing's; if none is, those that are
    most."""
    from PIL import Image as images

    left, top, right, bottom = _around(image, box)[1]
    small = images.fromarray(thing.astype(np.uint8) * 255).resize((right - left, bottom - top), _BOX_FILTER)
    share = np.asarray(small).ravel()
    return share >= min(128, share.max())


def _product(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """rows @ matrix, in parts so small that numpy's BLAS does not wake other threads.

    They would spin for tens of milliseconds afterwards, and hold up whatever computes next.
    """
    return np.concatenate([part @ matrix for part in np.array_split(rows, 1 + rows.size * matrix.shape[1] // 100_000)])


def is_color(shares: Mapping[str, float], color: str) -> float:
    """How far the thing in a box of these shares is of that colour: 1 for the colour that fits best, 0.5 and more for
    each that a person would name, and 0 for what is next to nothing of it."""
    return _fits(shares)[color] if shares[color] >= LEAST else 0.0


def main_color(shares: Mapping[str, float]) -> tuple[str, float]:
    """The colour that fits best, and its share, 0 to 1, of all that the thing shows."""
    fits = _fits(shares)
    best = max(COLORS, key=lambda color: fits[color])
    return best, shares[best]


def colors_of(shares: Mapping[str, float], most: int = 3) -> tuple[str, ...]:
    """The colours that a person would name, best first: ("white", "red"); at least one, at most `most`."""
    fits = _fits(shares)
    ranked = sorted(COLORS, key=lambda color: -fits[color])
    return tuple(color for k, color in enumerate(ranked[:most]) if k == 0 or is_color(shares, color) >= SEVERAL)


def is_plain(shares: Mapping[str, float]) -> bool:
    """Whether the thing in a box shows few enough colours for people to call it by one: a box of three and more is
    mostly glass, shadow and what surrounds the thing."""
    return len(colors_of(shares)) <= PLAIN


def box_pixels(image: Image.Image, box: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """What is looked at of each pixel in a box: its look [N, 9] and its place [N, 5], both about 1 in size.

    The look: lightness, a and b of CIE Lab, chroma and chroma by lightness, a and b by chroma, saturation, value. The
    place: how much more of its colour lies around the box than in it, squares of its distances from the middle, how low
    it is, and how near a corner. For arguments see `box_color_shares`.
    """
    rgb, (left, top, right, bottom) = _around(image, box)
    lab = _lab(rgb)
    inside = np.zeros(lab.shape[:2], dtype=bool)
    inside[top:bottom, left:right] = True
    elsewhere = _elsewhere(lab, inside)
    height, width = bottom - top, right - left
    x = np.broadcast_to((np.arange(width) + 0.5) / width * 2 - 1, (height, width)).ravel()
    y = np.repeat((np.arange(height) + 0.5) / height * 2 - 1, width)
    places = np.stack([elsewhere, x * x, y * y, y, x * x * y * y], axis=1)
    return _looks(rgb[inside], lab[inside]), places


# Lightness, chroma and saturation: of what a pixel looks like, what says how much it counts.
_LOOKS_OF_WEIGHT = [0, 3, 7]


@lru_cache(maxsize=1)
def _learned() -> dict[str, np.ndarray]:
    """By name: `hidden` [9, H], `hidden_bias` [H], `word` [H, 11], `word_bias` [11], `weight` [8], `scale` [11],
    `bias` [11], `odds` []."""
    text = (files("fo1agent") / "data" / "colors.json").read_text(encoding="utf-8")
    return {name: np.array(numbers, dtype=np.float64) for name, numbers in json.loads(text).items()}


def _fits(shares: Mapping[str, float]) -> dict[str, float]:
    learned = _learned()
    fit = np.sqrt(np.array([shares[color] for color in COLORS]) + _FAINT) * learned["scale"] + learned["bias"]
    return dict(zip(COLORS, np.exp((fit - fit.max()) * learned["odds"]).tolist(), strict=True))


def _looks(rgb: np.ndarray, lab: np.ndarray) -> np.ndarray:
    light, a, b = lab.T / np.array([[50.0], [40.0], [40.0]])
    chroma = np.hypot(a, b)
    red, green, blue = rgb.T / 255
    value, low = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    by_light = [light - 1, a, b, chroma, chroma / (light + 0.3)]
    return np.stack([*by_light, a / (chroma + 0.1), b / (chroma + 0.1), (value - low) / (value + 0.05), value], axis=1)


def _around(image: Image.Image, box: Sequence[int]) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """The box and what surrounds it, made small: [H, W, 3] float64 in 0..255, and where the box lies in it."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    x, y = math.ceil(width * AROUND), math.ceil(height * AROUND)
    west, north = max(0, left - x), max(0, top - y)
    east, south = min(image.width, right + x), min(image.height, bottom + y)
    part = image.crop((west, north, east, south))
    scale = min(1.0, _SIDE / max(width, height))
    if scale < 1:
        part = part.resize((max(1, round(part.width * scale)), max(1, round(part.height * scale))), _BOX_FILTER)
    to_x, to_y = part.width / (east - west), part.height / (south - north)
    x1, y1 = min(part.width - 1, int((left - west) * to_x)), min(part.height - 1, int((top - north) * to_y))
    x2 = min(part.width, max(x1 + 1, math.ceil((right - west) * to_x)))
    y2 = min(part.height, max(y1 + 1, math.ceil((bottom - north) * to_y)))
    return np.asarray(part, dtype=np.float64), (x1, y1, x2, y2)


def _elsewhere(lab: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """For each pixel inside: log of the share that its colour has outside by the share that it has inside, -3..3."""
    if inside.all():
        return np.zeros(inside.sum())
    bins = ((lab + np.array([0, 128, 128])) * np.array([_BINS / 100.001, _BINS / 256, _BINS / 256])).astype(np.int64)
    index = (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]
    within, without = (np.bincount(index[where], minlength=_BINS**3) for where in (inside, ~inside))
    pixel = 1 / inside.sum()
    ratio = np.log((without / (~inside).sum() + pixel) / (within * pixel + pixel))
    return np.clip(ratio, -3, 3)[index[inside]]


def _lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB [..., 3] in 0..255 → CIE Lab under D65."""
    v = rgb / 255
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


# Of linear RGB; each column divided by white.
_TO_XYZ = np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]]) / [
    0.9505,
    1.0,
    1.089,
]
_BOX_FILTER = 4  # PIL.Image.Resampling.BOX: the mean of what falls into a pixel


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def to_hsv(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[N, 3] uint8 → hue in degrees, saturation and value from 0 to 1, [N] float32 each; hue 0 of what has none."""
    r, g, b = (rgb[:, k].astype(np.float32) / 255 for k in range(3))
    value = np.maximum(np.maximum(r, g), b)
    chroma = value - np.minimum(np.minimum(r, g), b)
    safe = np.where(chroma > 0, chroma, 1)
    hue = np.select([value == r, value == g], [((g - b) / safe) % 6, (b - r) / safe + 2], default=(r - g) / safe + 4)
    return hue * 60, chroma / np.maximum(value, 1e-6), value


def _name_pixels(rgb: np.ndarray) -> np.ndarray:
    """[N, 3] uint8 → [N] index into `COLORS`."""
    hue, saturation, value = to_hsv(rgb)
    chroma = value - rgb.min(axis=1).astype(np.float32) / 255
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
