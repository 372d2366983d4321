"""Boxes that the caller already has: from a file, another program, or drawn by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fo1agent.errors import InputError
from fo1agent.pictures.image import LoadedImage
from fo1agent.presets import WITH_BOXES
from fo1agent.regions.ids import numbered
from fo1agent.regions.regions import LIMIT, Regions, check_boxes, check_inside


class Given:
    """Proposes the boxes it was made with, in their order, so that region `r3` is the caller's `boxes[3]`."""

    name = "given"

    def __init__(
        self,
        boxes: np.ndarray | Sequence[Sequence[float]] | None = None,
        scores: Sequence[float] | np.ndarray | None = None,
        labels: Sequence[str | None] | None = None,
        limit: int = LIMIT,
    ) -> None:
        """Keep a copy.

        Args:
            boxes: [N, 4] xyxy pixels of the upright picture; N may be 0. None for a model that is only ever asked about
                boxes passed to `Model.open`: proposing then fails with a message that says so.
            scores: [N], 0 to 1; 1 each without them.
            labels: N names; None where there is none.
            limit: when there are more boxes, the best are kept, still in the caller's order.

        Raises:
            BoxError: a box is malformed.
            InputError: lengths differ.
        """
        self._boxes = None if boxes is None else check_boxes(boxes)
        n = 0 if self._boxes is None else len(self._boxes)
        self._scores = np.ones(n) if scores is None else np.array(scores, dtype=np.float64).reshape(-1)
        self._labels = (None,) * n if labels is None else tuple(labels)
        self._limit = limit
        if not n == len(self._scores) == len(self._labels):
            raise InputError(f"{n} boxes, {len(self._scores)} scores and {len(self._labels)} labels: pass one of each.")

    def __call__(self, image: LoadedImage) -> Regions:
        """The boxes, cut at the picture's border.

        Raises:
            BoxError: a box has no part inside the picture, and the message names its index; or all are parts of its
                size instead of pixels.
            InputError: there are no boxes to give.
        """
        if self._boxes is None:
            raise InputError(f"No boxes were given. {WITH_BOXES}")
        inside, n = check_inside(self._boxes, image.size_hw), len(self._boxes)
        best = np.sort(np.argsort(-self._scores, kind="stable")[: self._limit])
        return Regions(
            inside[best],
            self._scores[best],
            tuple(self._labels[i] for i in best),
            numbered(image.id, range(len(best))),
            self.name,
            note=f"{n} boxes given, best {self._limit} kept" if n > self._limit else "",
        )
