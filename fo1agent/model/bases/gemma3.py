"""Gemma 3 as a base: every picture is squeezed into one square, and its tokens see each other.

Most layers of its decoder see a window; `Adapter.window` gives each kind of layer a mask of its own. Word embeddings
come scaled; image and region tokens go in as they are. Its region map is the tower's last hidden state.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from PIL import Image
from torch import nn
from transformers import Gemma3ForConditionalGeneration
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

from fo1agent.model.bases import Adapter, refuse_unless
from fo1agent.model.bases.chat import Chat
from fo1agent.model.frames import TowerInput, Vision
from fo1agent.model.prompting import ProcessingConfig

CHAT = Chat(
    opening="<bos><start_of_turn>user\n",
    image_opening="\n\n<start_of_image>",
    image_closing="<end_of_image>\n\n",
    closing="<end_of_turn>\n<start_of_turn>model\n",
    stop="<end_of_turn>",
    next_turn="\n<start_of_turn>user\n",
    tokenizers=("GemmaTokenizer", "GemmaTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend"),
    markers=("<start_of_", "<end_of_", "<image_soft_token>", "<bos>", "<eos>", "<pad>", "<unused"),
)


class Gemma3(Adapter):
    """See the module."""

    chat = CHAT

    def check(self, config: Any) -> None:
        vision, tokens = config.vision_config, config.mm_tokens_per_image
        cells, side = vision.image_size // vision.patch_size, math.isqrt(tokens)
        fits = side > 0 and side * side == tokens and cells % side == 0
        refuse_unless(fits, "mm_tokens_per_image", tokens, f"a square whose side divides {cells} cells")

    def build(self, config: Any) -> Any:
        return Gemma3ForConditionalGeneration(config)

    def vision_tower(self, base: Any) -> nn.Module:
        return nn.ModuleList([base.model.vision_tower, base.model.multi_modal_projector])

    def decoder(self, base: Any) -> Any:
        return base.model.language_model

    def look_ahead(self, config: Any) -> Collection[str]:
        return ("full_attention", "sliding_attention")

    def embedding_scale(self, base: Any) -> float:
        return float(base.get_input_embeddings().embed_scale)

    def image_token_size(self, config: Any) -> int:
        return config.text_config.hidden_size

    def map_size(self, config: Any) -> int:
        return config.vision_config.hidden_size

    def image_processor(self, config: Any, settings: ProcessingConfig) -> Any:
        side = config.vision_config.image_size
        return Gemma3ImageProcessorPil(size={"height": side, "width": side})

    def tower_input(self, processor: Any, image: Image.Image, config: Any) -> TowerInput:
        vision = config.vision_config
        pixels = processor(images=image, return_tensors="pt")["pixel_values"]
        cells, tokens = vision.image_size // vision.patch_size, int(config.mm_tokens_per_image**0.5)
        return TowerInput(pixels, (cells, cells), (tokens, tokens), (vision.image_size, vision.image_size))

    def encode_image(self, base: Any, seen: TowerInput, want_map: bool) -> Vision:
        found = base.model.get_image_features(seen.pixel_values)
        where = found.last_hidden_state.transpose(1, 2).unflatten(2, seen.grid_hw) if want_map else None
        return Vision(found.pooler_output[0], where)


ADAPTER = Gemma3()
