"""A segmenter whose masks are known: what is not white, in a picture of drawn things."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from fo1agent.pictures.image import LoadedImage
from fo1agent.scene import Model
from tests.fakes import FakePredictor

DISC, LEASH, BALL = (40.0, 40.0, 120.0, 120.0), (200.0, 20.0, 360.0, 180.0), (300.0, 40.0, 330.0, 70.0)
THINGS = [(DISC, "frisbee", 0.9), (LEASH, "tie", 0.8), (BALL, "apple", 0.7)]


def drawn() -> Image.Image:
    """400 x 200 pixels: a red disc; a blue diagonal, and a green ball in the empty corner of its box."""
    picture = Image.new("RGB", (400, 200), "white")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((40, 40, 119, 119), fill=(220, 20, 20))
    pen.line((204, 24, 355, 175), fill=(20, 40, 220), width=8)
    pen.ellipse((300, 40, 329, 69), fill=(20, 150, 40))
    return picture


CALLS: dict[str, dict[str, Any]] = {
    "look": {},
    "ground": {"phrase": "small tie"},
    "count": {"phrase": "tie"},
    "read": {},
    "describe": {"region": "r1"},
    "inspect": {"question": "What colour is it?", "region": "r1"},
    "relate": {"a": "apple", "relation": "inside", "b": "tie"},
    "segment": {"phrase": "tie"},
    "point": {"phrase": "tie"},
    "zoom": {"region": "r1", "phrase": "apple"},
    "annotate": {"regions": ["r0"]},
    "ask": {"question": "Outline the tie."},
}
"""A call of every tool on what is drawn; each but `read` finds something."""

COLORS = {"frisbee": (220, 20, 20), "tie": (20, 40, 220), "apple": (20, 150, 40)}


class ByColor:
    """For each box the pixels in it of the commonest colour that is not white; counts its calls."""

    name = "by-color"

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, image: LoadedImage, boxes: np.ndarray) -> tuple[np.ndarray, list[float]]:
        self.calls.append(len(boxes))
        return np.stack([self._mask(np.asarray(image.pixels), box) for box in boxes]), [0.9] * len(boxes)

    def _mask(self, pixels: np.ndarray, box: np.ndarray) -> np.ndarray:
        x1, y1, x2, y2 = (round(v) for v in box)
        inside = np.zeros(pixels.shape[:2], dtype=bool)
        inside[y1:y2, x1:x2] = True
        each = [inside & (pixels == color).all(axis=2) for color in COLORS.values()]
        return max(each, key=lambda mask: int(mask.sum()))


def model(segmenter: object = None) -> Model:
    """A model that finds the drawn things, with a segmenter, `ByColor` unless another is given."""
    made = ByColor() if segmenter is None else segmenter
    known = (*COLORS, "zebra")
    return Model(FakePredictor(THINGS, vocabulary=known), segmenter=made)  # pyright: ignore[reportArgumentType]
