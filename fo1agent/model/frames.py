"""A picture's sizes in every frame, the way of boxes between them, and the picture as the towers take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
        primary_wh: input of the primary tower, as far as its map covers it.
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
class TowerInput:
    """One picture as the base's vision tower takes it; a base's adapter makes it.

    Attributes:
        pixel_values: whatever the tower takes, such as [h * w, 1176] float32 patches, 2 x 2 blocks together.
        grid_hw: rows and columns of the map that regions look at.
        merged_hw: rows and columns that the image tokens are spread over, for families whose positions know of them.
        size_wh: the whole picture in the frame in which a map's cells have their strides, pixels. Usually the tower's
            input; of a map that is stitched of tiles, its cells times the patch.
        pieces: what stands for the picture in a prompt, in order: texts, and numbers of image tokens. (): its image
            tokens alone.
        named: tensors that the tower takes beside `pixel_values`, by the names of its arguments.
    """

    pixel_values: Any
    grid_hw: tuple[int, int]
    merged_hw: tuple[int, int]
    size_wh: tuple[int, int]
    pieces: tuple[str | int, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)

    def to(self, device: Any) -> TowerInput:
        """The same with its tensors on a device."""
        named = {name: tensor.to(device) for name, tensor in self.named.items()}
        return replace(self, pixel_values=self.pixel_values.to(device), named=named)


@dataclass(frozen=True)
class Vision:
    """What a base's vision tower saw in one picture.

    Attributes:
        tokens: [T, d], in the order in which they are read.
        map: [1, C, h, w] of `TowerInput.grid_hw`, before tokens are merged; None if it was not wanted.
        extras: each [T, d]: what else goes into the decoder at these tokens' places.
    """

    tokens: Any
    map: Any = None
    extras: tuple[Any, ...] = ()


@dataclass(frozen=True)
class PictureTokens:
    """A picture as the language model reads it, in place of one image slot.

    Attributes:
        tokens: [T, d].
        grid_hw: `TowerInput.merged_hw`.
        ids: [L] int64 with T image slots, and between them text that belongs to the picture; None: T slots alone.
        extras: as of `Vision`.
    """

    tokens: Any
    grid_hw: tuple[int, int]
    ids: Any = None
    extras: tuple[Any, ...] = ()


@dataclass(frozen=True)
class ImageInputs:
    """One picture as tower input: tensors, or arrays for an engine that takes those.

    Attributes:
        seen: what the primary tower takes.
        aux_views: named views of the auxiliary tower, tensors [1, 3, H, W] or arrays [1, H, W, 3].
        sizes: the picture in every frame.
        ids: as of `PictureTokens`.
    """

    seen: TowerInput
    aux_views: Mapping[str, Any]
    sizes: ImageSizes
    ids: Any = None

    @property
    def pixel_values(self) -> Any:
        """Of the primary tower."""
        return self.seen.pixel_values

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Rows and columns of the primary tower's map."""
        return self.seen.grid_hw

    @property
    def merged_hw(self) -> tuple[int, int]:
        """Rows and columns of image tokens."""
        return self.seen.merged_hw


@dataclass(frozen=True)
class TowerFeatures:
    """Feature maps of one tower for one image, with the size of the picture that it saw.

    Attributes:
        maps: list of [1, C, H, W].
        size_wh: width and height of the tower's input, pixels.
    """

    maps: list[Any] = field(repr=False)
    size_wh: tuple[float, float]
