"""Qwen3-VL as a base: no windows in its tower, and features of earlier blocks go into the decoder's first layers.

Its region map is the tower's last hidden state, before the merger and its norm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration

from fo1agent.model.bases.chat import QWEN
from fo1agent.model.bases.qwen import Qwen, unblocked
from fo1agent.model.frames import TowerInput, Vision


class Qwen3VL(Qwen):
    """See the module."""

    chat = replace(QWEN, opening="<|im_start|>user\n")
    mean = deviation = (0.5, 0.5, 0.5)

    def build(self, config: Any) -> Any:
        return Qwen3VLForConditionalGeneration(config)

    def extras(self, config: Any) -> int:
        return len(config.vision_config.deepstack_visual_indexes)

    def encode_image(self, base: Any, seen: TowerInput, want_map: bool) -> Vision:
        grid = torch.tensor([[1, *seen.grid_hw]], device=seen.pixel_values.device)
        found = base.model.get_image_features(seen.pixel_values, grid)
        merge = base.config.vision_config.spatial_merge_size
        extras = tuple(torch.cat(tuple(of_images)) for of_images in getattr(found, "deepstack_features", ()))
        where = unblocked(found.last_hidden_state, seen.grid_hw, merge) if want_map else None
        return Vision(torch.cat(tuple(found.pooler_output)), where, extras)

    def picture_inputs(self, image_slots: Tensor, extras: Sequence[Tensor]) -> Mapping[str, Any]:
        return {"visual_pos_masks": image_slots, "deepstack_visual_embeds": list(extras)}


ADAPTER = Qwen3VL()
