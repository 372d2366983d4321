"""One FO1 model's own boxes as a proposer, for another model that has none (the public 3B checkpoint, say).

A model that opens a picture with its own boxes does not come this way: its head reads maps that are computed anyway.
Knows nothing of heads or towers; it asks a predictor to encode the picture, and the predictor keeps that encoding.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from fo1agent.pictures.image import LoadedImage
from fo1agent.regions.ids import numbered
from fo1agent.regions.regions import Regions


class Encoding(Protocol):
    """What is read of an encoding: boxes [N, 4] xyxy pixels of the original picture, objectness [N] in 0..1."""

    @property
    def boxes(self) -> np.ndarray: ...
    @property
    def objectness(self) -> np.ndarray: ...


class Encoder(Protocol):
    """What is needed of a predictor; `fo1agent.model.predictor.Predictor` is one."""

    @property
    def name(self) -> str: ...
    def encode(self, image: LoadedImage, /) -> Encoding: ...


class HeadProposer:
    """A proposer that lends out the boxes of `predictor`:

    nano = fo1agent.load()
    model = fo1agent.load("omlab/VLM-FO1_Qwen2.5-VL-3B-v01", proposer=HeadProposer(nano.predictor))
    """

    def __init__(self, predictor: Encoder, limit: int = 100) -> None:
        self._predictor, self._limit = predictor, limit

    @property
    def name(self) -> str:
        """The predictor's own."""
        return self._predictor.name

    def __call__(self, image: LoadedImage) -> Regions:
        """The best `limit` boxes, best first, unlabelled; there may be none.

        Raises:
            InputError: the predictor makes no proposals of its own.
        """
        encoding = self._predictor.encode(image)
        best = np.argsort(-encoding.objectness, kind="stable")[: self._limit]
        ids = numbered(image.id, range(len(best)))
        return Regions(encoding.boxes[best], encoding.objectness[best], (None,) * len(best), ids, source=self.name)
