"""GLM-4.1V and 4.6V-Flash as bases: much as Qwen2.5-VL, but the tower has no windows and merges by a convolution.

The region map is the output of the tower's last block, before its norm and that convolution.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import Glm4vForConditionalGeneration
from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil

from fo1agent.model.bases.chat import Chat
from fo1agent.model.bases.hooks import recorded
from fo1agent.model.bases.qwen import Qwen, unblocked
from fo1agent.model.frames import TowerInput, Vision
from fo1agent.model.prompting import ProcessingConfig


class Glm4V(Qwen):
    """See the module."""

    # It answers without thinking first. A turn ends where the next begins.
    chat = Chat(
        opening="[gMASK]<sop><|user|>\n",
        image_opening="<|begin_of_image|>",
        image_closing="<|end_of_image|>",
        closing="/nothink<|assistant|>\n<think></think>\n",
        stop="<|user|>",
        next_turn="\n",
        tokenizers=("PreTrainedTokenizerFast", "TokenizersBackend"),
        markers=("<|", "[gMASK]", "<sop>", "<think>", "</think>"),
    )

    def build(self, config: Any) -> Any:
        return Glm4vForConditionalGeneration(config)

    def image_processor(self, config: Any, settings: ProcessingConfig) -> Any:
        vision = config.vision_config
        frames = vision.temporal_patch_size  # it counts the pixels of as many copies of a picture
        sizes: dict[str, Any] = {
            "size": {"shortest_edge": frames * settings.min_pixels, "longest_edge": frames * settings.max_pixels},
            "patch_size": vision.patch_size,
            "merge_size": vision.spatial_merge_size,
            "temporal_patch_size": frames,
        }
        return Glm4vImageProcessorPil(**sizes)

    def encode_image(self, base: Any, seen: TowerInput, want_map: bool) -> Vision:
        grid = torch.tensor([[1, *seen.grid_hw]], device=seen.pixel_values.device)
        with recorded(base.model.visual.blocks[-1]) as states:
            tokens = torch.cat(tuple(base.model.get_image_features(seen.pixel_values, grid).pooler_output))
        merge = base.config.vision_config.spatial_merge_size
        return Vision(tokens, unblocked(states[0], seen.grid_hw, merge) if want_map else None)


ADAPTER = Glm4V()
