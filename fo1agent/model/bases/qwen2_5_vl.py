"""Qwen2.5-VL as a base: where its feature map is.

The base is transformers' own class, unchanged. Its region map is the output of the last full-attention block of the
vision tower (before the merger, without a norm), read by a hook that exists only during the call.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.vision_utils import get_vision_window_index

from fo1agent.model.bases.hooks import recorded
from fo1agent.model.bases.qwen import Qwen, unblocked
from fo1agent.model.frames import TowerInput, Vision


class Qwen2p5VL(Qwen):
    """See the module."""

    def build(self, config: Qwen2_5_VLConfig) -> Any:
        return Qwen2_5_VLForConditionalGeneration(config)

    def encode_image(self, base: Any, seen: TowerInput, want_map: bool) -> Vision:
        grid = torch.tensor([[1, *seen.grid_hw]], device=seen.pixel_values.device)
        if not want_map:
            return Vision(torch.cat(tuple(base.model.get_image_features(seen.pixel_values, grid).pooler_output)))
        with recorded(base.model.visual.blocks[region_block(base.config)]) as states:
            tokens = torch.cat(tuple(base.model.get_image_features(seen.pixel_values, grid).pooler_output))
        return Vision(tokens, self.raster(states[0], seen.grid_hw, base.config))

    def raster(self, hidden: Tensor, grid_hw: tuple[int, int], config: Any) -> Tensor:
        """Hidden states [h * w, C] in the tower's window order → map [1, C, h, w]."""
        vision, (h, w) = config.vision_config, grid_hw
        merge, channels = vision.spatial_merge_size, hidden.shape[-1]
        order = raster_order(h, w, merge, vision.window_size, vision.patch_size)
        cells = hidden.reshape(-1, merge * merge, channels)[order.to(hidden.device)]
        return unblocked(cells, grid_hw, merge)


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # for training, too
def raster_order(h: int, w: int, merge: int, window_size: int, patch_size: int) -> Tensor:
    """Where in the tower's window order each merged cell of a picture of h x w patches stands, [h * w / merge²]."""
    order, _ = get_vision_window_index(torch.tensor([[1, h, w]]), merge, window_size=window_size, patch_size=patch_size)
    return torch.argsort(order)


def region_block(config: Any) -> int:
    """Index of the last full-attention block of the vision tower."""
    return max(config.vision_config.fullatt_block_indexes)


ADAPTER = Qwen2p5VL()
