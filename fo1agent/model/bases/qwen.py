"""What the Qwen families have in common: patches in blocks of merged cells, and positions on three axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from fo1agent.model.bases import Adapter, refuse_unless
from fo1agent.model.bases.chat import QWEN
from fo1agent.model.frames import TowerInput
from fo1agent.model.prompting import ProcessingConfig


class Qwen(Adapter):
    """The part that all of them share.

    Attributes:
        mean, deviation: per channel, of the pictures that the tower was trained with; by default CLIP's.
    """

    chat = QWEN
    axes = 3
    mean: tuple[float, ...] = tuple(OPENAI_CLIP_MEAN)
    deviation: tuple[float, ...] = tuple(OPENAI_CLIP_STD)

    def check(self, config: Any) -> None:
        text = config.get_text_config()
        rope = text.rope_parameters or {}
        if (sections := rope.get("mrope_section")) is None:
            return
        width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        half = int(width * rope.get("partial_rotary_factor", 1.0)) // 2
        known = isinstance(sections, (list, tuple)) and all(type(one) is int and one >= 0 for one in sections)
        refuse_unless(
            known and len(sections) == 3 and sum(sections) == half,
            "text_config.rope_parameters.mrope_section",
            sections,
            f"three numbers that make {half}, half of the part of a head that turns",
        )

    def vision_tower(self, base: Any) -> nn.Module:
        return base.model.visual

    def decoder(self, base: Any) -> Any:
        return base.model.language_model

    def image_token_size(self, config: Any) -> int:
        return config.vision_config.out_hidden_size

    def map_size(self, config: Any) -> int:
        return config.vision_config.hidden_size

    def image_processor(self, config: Any, settings: ProcessingConfig) -> Any:
        vision = config.vision_config
        return Qwen2VLImageProcessorPil(
            size={"shortest_edge": settings.min_pixels, "longest_edge": settings.max_pixels},
            patch_size=vision.patch_size,
            merge_size=vision.spatial_merge_size,
            temporal_patch_size=vision.temporal_patch_size,
            image_mean=list(self.mean),
            image_std=list(self.deviation),
        )

    def tower_input(self, processor: Any, image: Image.Image, config: Any) -> TowerInput:
        patches = processor(images=image, return_tensors="pt")
        _, h, w = (int(side) for side in patches["image_grid_thw"][0])
        return self.kept_input(patches["pixel_values"], (h, w), config)

    def kept_input(self, pixel_values: Tensor, grid_hw: tuple[int, int], config: Any) -> TowerInput:
        vision, (h, w) = config.vision_config, grid_hw
        merge, patch = vision.spatial_merge_size, vision.patch_size
        return TowerInput(pixel_values, grid_hw, (h // merge, w // merge), (w * patch, h * patch))

    def positions(
        self, base: Any, image_slots: Tensor, grids: Sequence[tuple[int, int]], mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """mRoPE: a picture's tokens are spread over its merged grid."""
        merge = base.config.vision_config.spatial_merge_size
        grid_thw = torch.tensor([[1, h * merge, w * merge] for h, w in grids]).reshape(-1, 3)
        position_ids, delta = base.model.get_rope_index(
            image_slots.long(), mm_token_type_ids=image_slots.int(), image_grid_thw=grid_thw, attention_mask=mask
        )
        # 1 on padding, as in the reference.
        return position_ids.masked_fill(~mask, 1), delta[:, 0] + mask.sum(1)


def unblocked(hidden: Tensor, grid_hw: tuple[int, int], merge: int) -> Tensor:
    """Hidden states [h * w, C], merged cells in raster order and each a block of patches → map [1, C, h, w]."""
    (h, w), channels = grid_hw, hidden.shape[-1]
    cells = hidden.reshape(h // merge, w // merge, merge, merge, channels)
    return cells.permute(4, 0, 2, 1, 3).reshape(1, channels, h, w)
