"""Qwen2.5-VL as a base: where its feature map is, how its positions are made, how its chat looks.

The base is transformers' own class, unchanged. Its region map is the output of the last full-attention block of the
vision tower (before the merger, without a norm), read by a hook that exists only during the call. `model` is that class
and `config` its configuration throughout; they are typed Any where transformers' own annotations are too narrow.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.vision_utils import get_vision_window_index

from fo1agent.model.bases.qwen2_5_vl_chat import (  # noqa: F401 (part of an adapter)
    CLOSING,
    IMAGE_CLOSING,
    IMAGE_OPENING,
    NEXT_TURN,
    OPENING,
    STOP,
    TOKENIZERS,
)


def build(config: Qwen2_5_VLConfig) -> Qwen2_5_VLForConditionalGeneration:
    """The stock class with random weights."""
    return Qwen2_5_VLForConditionalGeneration(config)


def decoder(model: Any) -> nn.Module:
    """The text decoder. Pass `inputs_embeds` before `position_ids`: the first tensor gives it the batch size."""
    return model.model.language_model


def image_token_size(config: Any) -> int:
    """Width of the tokens that the vision tower's merger gives."""
    return config.vision_config.out_hidden_size


def encode_image(
    model: Any, pixel_values: Tensor, grid_hw: tuple[int, int], want_map: bool
) -> tuple[Tensor, Tensor | None]:
    """One image through the vision tower and its merger, once.

    Args:
        model: the base.
        pixel_values: [h * w, 1176] flattened patches, 2 x 2 blocks together.
        grid_hw: h and w of the patch grid.
        want_map: whether to return the region map.

    Returns:
        Image tokens [T, d] in raster order of merged cells, and the map [1, C, h, w], or None.
    """
    grid = torch.tensor([[1, *grid_hw]], device=pixel_values.device)
    visual = model.model.visual
    if not want_map:
        return torch.cat(tuple(model.model.get_image_features(pixel_values, grid).pooler_output)), None
    with recorded(visual.blocks[region_block(model.config)]) as seen:
        tokens = torch.cat(tuple(model.model.get_image_features(pixel_values, grid).pooler_output))
    return tokens, raster(seen[0], grid_hw, model.config)


def region_block(config: Any) -> int:
    """Index of the last full-attention block of the vision tower."""
    return max(config.vision_config.fullatt_block_indexes)


@contextmanager
def recorded(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the module's outputs during the block; calls from other threads are not collected."""
    seen: list[Tensor] = []
    thread = threading.get_ident()

    def keep(_module: nn.Module, _args: object, output: Tensor) -> None:
        if threading.get_ident() == thread:
            seen.append(output)

    handle = module.register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def raster(hidden: Tensor, grid_hw: tuple[int, int], config: Any) -> Tensor:
    """Hidden states [h * w, C] in the tower's window order → map [1, C, h, w]."""
    vision, (h, w) = config.vision_config, grid_hw
    merge, channels = vision.spatial_merge_size, hidden.shape[-1]
    order, _ = get_vision_window_index(
        torch.tensor([[1, h, w]]), merge, window_size=vision.window_size, patch_size=vision.patch_size
    )
    cells = hidden.reshape(-1, merge * merge, channels)[torch.argsort(order).to(hidden.device)]
    cells = cells.reshape(h // merge, w // merge, merge, merge, channels)
    return cells.permute(4, 0, 2, 1, 3).reshape(1, channels, h, w)


def positions(
    model: Any,
    image_slots: Tensor,
    grids: Sequence[tuple[int, int]],
    mask: Tensor,
) -> tuple[Tensor, Tensor]:
    """mRoPE positions; a region token counts as a word.

    Args:
        model: the base.
        image_slots: [B, L] bool, True where an image token stands.
        grids: merged rows and columns of every image, in order over the batch.
        mask: [B, L] bool, False on padding.

    Returns:
        [3, B, L] positions (1 on padding, as in the reference), and [B], the next free position of each row.
    """
    merge = model.config.vision_config.spatial_merge_size
    grid_thw = torch.tensor([[1, h * merge, w * merge] for h, w in grids]).reshape(-1, 3)
    position_ids, delta = model.model.get_rope_index(
        image_slots.long(), mm_token_type_ids=image_slots.int(), image_grid_thw=grid_thw, attention_mask=mask
    )
    position_ids = position_ids.masked_fill(~mask, 1)
    return position_ids, delta[:, 0] + mask.sum(1)
