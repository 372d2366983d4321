"""A picture's sizes in every frame, the way of boxes between them, and the picture as the towers take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ImageSizes:
    """Width and height of one picture in every frame that a box passes through, pixels.

    Attributes:
        original_wh: the upright picture as opened.
        scale_xy: factors from there to `seen_wh`; 1 unless the long side was cut (a stretched side does not count).
        seen_wh: the picture that both towers are given.
        aux_wh: input of the auxiliary tower (its main view).
        primary_wh: input of the primary tower, multiples of 28.
    """

    original_wh: tuple[int, int]
    scale_xy: tuple[float, float]
    seen_wh: tuple[int, int]
    aux_wh: tuple[int, int]
    primary_wh: tuple[int, int]

    @property
    def original_hw(self) -> tuple[int, int]:
        """Height and width of the upright picture as opened."""
        return self.original_wh[1], self.original_wh[0]

    def to_aux(self, boxes: Any) -> np.ndarray:
        """[N, 4] xyxy pixels of the original → float32 pixels of the auxiliary input, clipped to the picture."""
        (w, h), (aux_w, aux_h) = self.seen_wh, self.aux_wh
        boxes = _float64(boxes) * _factor(self.scale_xy)
        boxes = np.minimum(boxes.clip(min=0), [w, h, w, h])
        return (boxes * _factor((aux_w / w, aux_h / h))).astype(np.float32)

    def to_primary(self, boxes: Any) -> np.ndarray:
        """[N, 4] xyxy pixels of the original → float32 pixels of the primary input."""
        factors = (self.primary_wh[0] / self.aux_wh[0], self.primary_wh[1] / self.aux_wh[1])
        return self.to_aux(boxes) * _factor(factors).astype(np.float32)

    def from_aux(self, boxes: np.ndarray) -> np.ndarray:
        """[N, 4] xyxy pixels of the auxiliary input → float32 pixels of the original, clipped to it."""
        (w, h), (seen_w, seen_h), (aux_w, aux_h) = self.original_wh, self.seen_wh, self.aux_wh
        factors = (aux_w / seen_w * self.scale_xy[0], aux_h / seen_h * self.scale_xy[1])
        boxes = np.asarray(boxes, dtype=np.float32) / _factor(factors).astype(np.float32)
        return np.minimum(boxes, np.array([w, h, w, h], dtype=np.float32))

    def to_fractions(self, boxes: Any) -> np.ndarray:
        """[N, 4] xyxy pixels of the original → float32 fractions of its width and height."""
        return (_float64(boxes) / _factor(self.original_wh)).astype(np.float32)


def _float64(boxes: Any) -> np.ndarray:
    """[N, 4], from an array or a tensor of any device; float32 would already move a box of a large picture."""
    return np.asarray(boxes.cpu() if hasattr(boxes, "cpu") else boxes, dtype=np.float64).reshape(-1, 4)


def _factor(factors_xy: tuple[float, float]) -> np.ndarray:
    """(x, y) → [x, y, x, y], float64."""
    return np.array([*factors_xy, *factors_xy], dtype=np.float64)


@dataclass(frozen=True)
class ImageInputs:
    """One picture as tower input: tensors, or arrays for an engine that takes those.

    Attributes:
        pixel_values: [h * w, 1176] float32, the primary tower's patches, 2 x 2 blocks together.
        grid_hw: h and w of the patch grid.
        merged_hw: rows and columns of image tokens.
        aux_views: named views of the auxiliary tower, tensors [1, 3, H, W] or arrays [1, H, W, 3].
        sizes: the picture in every frame.
    """

    pixel_values: Any
    grid_hw: tuple[int, int]
    merged_hw: tuple[int, int]
    aux_views: Mapping[str, Any]
    sizes: ImageSizes


@dataclass(frozen=True)
class TowerFeatures:
    """Feature maps of one tower for one image, with the size of the picture that it saw.

    Attributes:
        maps: list of [1, C, H, W].
        size_wh: width and height of the tower's input, pixels.
    """

    maps: list[Any] = field(repr=False)
    size_wh: tuple[float, float]
