"""A picture's sizes in every frame, the way of boxes between them, and the picture as the towers take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


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

    def to_aux(self, boxes: Any) -> Tensor:
        """[N, 4] xyxy pixels of the original → float32 pixels of the auxiliary input, clipped to the picture."""
        (w, h), (aux_w, aux_h) = self.seen_wh, self.aux_wh
        boxes = _float64(boxes) * boxes_factor(self.scale_xy)
        boxes = torch.minimum(boxes.clamp(min=0), boxes.new_tensor([w, h, w, h]))
        return (boxes * boxes_factor((aux_w / w, aux_h / h))).float()

    def to_primary(self, boxes: Any) -> Tensor:
        """[N, 4] xyxy pixels of the original → float32 pixels of the primary input."""
        factors = (self.primary_wh[0] / self.aux_wh[0], self.primary_wh[1] / self.aux_wh[1])
        return self.to_aux(boxes) * boxes_factor(factors).float()

    def from_aux(self, boxes: Tensor) -> Tensor:
        """[N, 4] xyxy pixels of the auxiliary input → float32 pixels of the original, clipped to it."""
        (w, h), (seen_w, seen_h), (aux_w, aux_h) = self.original_wh, self.seen_wh, self.aux_wh
        factors = (aux_w / seen_w * self.scale_xy[0], aux_h / seen_h * self.scale_xy[1])
        boxes = boxes / boxes_factor(factors).to(boxes)
        return torch.minimum(boxes, boxes.new_tensor([w, h, w, h]))

    def to_fractions(self, boxes: Any) -> Tensor:
        """[N, 4] xyxy pixels of the original → float32 fractions of its width and height."""
        w, h = self.original_wh
        return (_float64(boxes) / boxes_factor((w, h))).float()


def _float64(boxes: Any) -> Tensor:
    """[N, 4] on the CPU: float32 would already move a box of a large picture, and not every device has float64."""
    return torch.as_tensor(boxes, dtype=torch.float64, device="cpu").reshape(-1, 4)


def boxes_factor(factors_xy: tuple[float, float]) -> Tensor:
    """(x, y) → [x, y, x, y], float64."""
    return torch.tensor([*factors_xy, *factors_xy], dtype=torch.float64)


@dataclass(frozen=True)
class ImageInputs:
    """One picture as tower input.

    Attributes:
        pixel_values: [h * w, 1176] float32, the primary tower's patches, 2 x 2 blocks together.
        grid_hw: h and w of the patch grid.
        merged_hw: rows and columns of image tokens.
        aux_views: named views [1, 3, H, W] of the auxiliary tower.
        sizes: the picture in every frame.
    """

    pixel_values: Tensor
    grid_hw: tuple[int, int]
    merged_hw: tuple[int, int]
    aux_views: Mapping[str, Tensor]
    sizes: ImageSizes
