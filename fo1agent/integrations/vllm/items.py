"""A picture with its boxes as vLLM carries it: tensors by name, from the process that reads requests to the worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fo1agent.model.frames import ImageInputs, ImageSizes, TowerInput

_VIEW = "view_"
_SIZES = ("original_wh", "scale_xy", "seen_wh", "aux_wh", "primary_wh")
_GRIDS = ("grid_hw", "merged_hw", "size_wh")
ON_CPU = ("layout", "first")
"""Names of tensors that stay where they are: numbers that are read on the way."""


@dataclass(frozen=True)
class Item:
    """One picture of a prompt.

    Attributes:
        inputs: what the towers take.
        boxes: [N, 4] float64 xyxy pixels of the original picture.
        first: the number of its first region, which follows those of the pictures before it.
    """

    inputs: ImageInputs
    boxes: Tensor
    first: int

    def tensors(self) -> dict[str, Tensor]:
        """All of it, by name."""
        seen, sizes = self.inputs.seen, self.inputs.sizes
        layout = [*(getattr(sizes, name) for name in _SIZES), *(getattr(seen, name) for name in _GRIDS)]
        return {
            "pixel_values": seen.pixel_values,
            **{f"{_VIEW}{name}": view for name, view in self.inputs.aux_views.items()},
            "layout": torch.tensor(layout, dtype=torch.float64),
            "boxes": self.boxes,
            "first": torch.tensor(self.first),
        }

    @classmethod
    def of(cls, tensors: Mapping[str, Any]) -> Item:
        """The item of such tensors."""
        pairs = tensors["layout"].tolist()
        (scale_x, scale_y), whole = pairs[1], [(int(a), int(b)) for a, b in pairs]
        original, _, seen, aux, primary, grid, merged, size = whole
        views = {name.removeprefix(_VIEW): view for name, view in tensors.items() if name.startswith(_VIEW)}
        inputs = ImageInputs(
            TowerInput(tensors["pixel_values"], grid, merged, size),
            views,
            ImageSizes(original, (scale_x, scale_y), seen, aux, primary),
        )
        return cls(inputs, tensors["boxes"], int(tensors["first"]))


def unbatched(batch: Mapping[str, Any]) -> list[Item]:
    """The items of a batch: by name a tensor or a list with one entry for each."""
    count = len(batch["layout"])
    return [Item.of({name: values[k] for name, values in batch.items()}) for k in range(count)]


def merged_hw(layout: Tensor) -> tuple[int, int]:
    """Rows and columns of a picture's tokens, of an item's `layout`."""
    rows, columns = layout[len(_SIZES) + _GRIDS.index("merged_hw")].tolist()
    return int(rows), int(columns)


def mrope_positions(length: int, pictures: Sequence[tuple[int, tuple[int, int]]]) -> np.ndarray:
    """Positions [3, length] of a prompt: time, row and column of picture tokens, and one number for all else.

    Args:
        length: tokens of the prompt.
        pictures: where each picture's first token stands, and rows and columns of its tokens; in order.
    """
    positions, read, following = np.empty((3, length), dtype=np.int64), 0, 0
    for start, (rows, columns) in pictures:
        end, begun = start + rows * columns, following + start - read
        positions[:, read:start] = np.arange(following, begun)
        positions[0, start:end] = begun
        positions[1, start:end] = begun + np.repeat(np.arange(rows), columns)
        positions[2, start:end] = begun + np.tile(np.arange(columns), rows)
        read, following = end, begun + max(rows, columns)
    positions[:, read:] = np.arange(following, following + length - read)
    return positions
