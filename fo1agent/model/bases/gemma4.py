"""Gemma 4 as a base: pictures keep their shape, and words bring inputs for each of the decoder's layers.

Its region map is what the vision tower's encoder gives, before cells are pooled into tokens. Larger models let the
tokens of a picture see each other, in layers with a window. Tokens of pictures and regions bring the padding's inputs
for the layers, as image tokens do in the base itself. Logits are bounded.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import Gemma4ForConditionalGeneration
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

from fo1agent.model.bases import refuse_unless
from fo1agent.model.bases.gemma3 import CHAT, Gemma3
from fo1agent.model.bases.hooks import recorded
from fo1agent.model.frames import TowerInput, Vision
from fo1agent.model.prompting import ProcessingConfig

TOKENS = (70, 140, 280)  # that a picture may have at most; the released models have the last


class Gemma4(Gemma3):
    """See the module."""

    chat = replace(
        CHAT,
        opening="<bos><|turn>user\n",
        image_opening="\n\n<|image>",
        image_closing="<image|>\n\n",
        closing="<turn|>\n<|turn>model\n",
        stop="<turn|>",
        next_turn="\n<|turn>user\n",
        markers=("<|", "<turn|>", "<image|>", "<channel|>", "<bos>", "<eos>", "<pad>", "<unused"),
    )

    def check(self, config: Any) -> None:
        padding, words = config.text_config.pad_token_id, config.text_config.vocab_size
        known = type(padding) is int and 0 <= padding < words
        refuse_unless(known, "text_config.pad_token_id", padding, f"an integer from 0 to {words - 1}")

    def build(self, config: Any) -> Any:
        return Gemma4ForConditionalGeneration(config)

    def vision_tower(self, base: Any) -> nn.Module:
        return nn.ModuleList([base.model.vision_tower, base.model.embed_vision])

    def look_ahead(self, config: Any) -> Collection[str]:
        return ("sliding_attention",) if config.text_config.use_bidirectional_attention == "vision" else ()

    def word_inputs(self, base: Any, ids: Tensor) -> Mapping[str, Any]:
        text = base.config.text_config
        if not text.hidden_size_per_layer_input:
            return {}
        words = ids.masked_fill(ids < 0, text.pad_token_id)
        return {"per_layer_inputs": base.model.language_model.get_per_layer_inputs(words)}

    def logits(self, base: Any, hidden: Tensor, words: Sequence[int] | None = None) -> Tensor:
        found, most = super().logits(base, hidden, words), base.config.text_config.final_logit_softcapping
        return found if most is None else torch.tanh(found / most) * most

    def image_processor(self, config: Any, settings: ProcessingConfig) -> Any:
        vision = config.vision_config
        pixels = (vision.patch_size * vision.pooling_kernel_size) ** 2
        return Gemma4ImageProcessorPil(
            patch_size=vision.patch_size,
            pooling_kernel_size=vision.pooling_kernel_size,
            max_soft_tokens=max((most for most in TOKENS if most * pixels <= settings.max_pixels), default=TOKENS[0]),
        )

    def tower_input(self, processor: Any, image: Image.Image, config: Any) -> TowerInput:
        vision = config.vision_config
        found = processor(images=image, return_tensors="pt")
        columns, rows = (int(most) + 1 for most in found["image_position_ids"][0].amax(0))
        pooled = vision.pooling_kernel_size
        return TowerInput(
            pixel_values=found["pixel_values"],
            grid_hw=(rows, columns),
            merged_hw=(rows // pooled, columns // pooled),
            size_wh=(columns * vision.patch_size, rows * vision.patch_size),
            named={"image_position_ids": found["image_position_ids"]},  # -1 where the picture has been filled up
        )

    def encode_image(self, base: Any, seen: TowerInput, want_map: bool) -> Vision:
        cells = math.prod(seen.grid_hw)
        with recorded(base.model.vision_tower.encoder) as states:
            found = base.model.get_image_features(seen.pixel_values, **seen.named)
        where = None
        if want_map:
            where = states[0].last_hidden_state[:, :cells].transpose(1, 2).unflatten(2, seen.grid_hw)
        return Vision(torch.cat(tuple(found.pooler_output)), where)


ADAPTER = Gemma4()
