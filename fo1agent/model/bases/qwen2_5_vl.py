"""Qwen2.5-VL as a base: where its feature map is, and how its vision tower attends on a CPU.

The base is transformers' own class. Its region map is the output of the last full-attention block of the vision tower
(before the merger, without a norm), read by a hook that exists only during the call.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLVisionAttention
from transformers.vision_utils import get_vision_window_index

from fo1agent.model import attention
from fo1agent.model.bases.hooks import recorded
from fo1agent.model.bases.qwen import Qwen, unblocked
from fo1agent.model.frames import TowerInput, Vision


class Qwen2p5VL(Qwen):
    """See the module."""

    def build(self, config: Qwen2_5_VLConfig) -> Any:
        base = Qwen2_5_VLForConditionalGeneration(config)
        blocks: Any = base.model.visual.blocks
        for block in blocks:
            block.attn.__class__ = VisionAttention  # its layers, and all that transformers knows of it, stay
        base.model.visual.set_attn_implementation(attention.NAME)
        return base

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


# Rows of queries and keys that are turned at a time, so that what is between two steps stays in the processor's cache.
_TURNED = 64


class VisionAttention(Qwen2_5_VLVisionAttention):
    """transformers' attention, but that on a CPU windows of one size are looked at together, not one by one."""

    def forward(
        self,
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        max_seqlen: int | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """States [N, C], the first numbers [W + 1] of windows and the end, cosines and sines [N, D] → [N, C]."""
        plain = self.config._attn_implementation == attention.NAME and attention.untraced(hidden_states)
        qkv = self.qkv(hidden_states) if plain else hidden_states
        if not plain or qkv.requires_grad or position_embeddings is None:
            return super().forward(hidden_states, cu_seqlens, position_embeddings, max_seqlen, **kwargs)
        count = len(hidden_states)
        cells = qkv.view(count, 3 * self.num_heads, -1)
        turn(cells[:, : 2 * self.num_heads], *position_embeddings)
        cells = cells.unflatten(1, (3, -1))
        seen, end = torch.empty_like(cells[:, 0]), 0
        for length, windows in groupby(cu_seqlens.diff().tolist()):
            start, end = end, end + sum(windows)
            query, key, value = cells[start:end].unflatten(0, (-1, length)).permute(2, 0, 3, 1, 4)
            seen[start:end] = attention.whole(query, key, value, self.scaling).transpose(1, 2).flatten(0, 1)
        return self.proj(seen.flatten(1))


def turn(heads: Tensor, cosines: Tensor, sines: Tensor) -> None:
    """Rotary positions, in place and in float32: heads [N, H, D], cosines and sines [N, D], whose halves are alike."""
    half = heads.shape[-1] // 2
    for start in range(0, len(heads), _TURNED):
        rows = slice(start, start + _TURNED)
        cosine, sine = cosines[rows, None].float(), sines[rows, None, :half].float()
        given = heads[rows].float()
        turned = given * cosine
        turned[..., :half].addcmul_(given[..., half:], sine, value=-1)
        turned[..., half:].addcmul_(given[..., :half], sine)
        heads[rows] = turned


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
