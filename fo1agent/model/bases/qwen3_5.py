"""Qwen3.5 as a base: Qwen3-VL's tower without features for the decoder's layers, and a decoder that cannot branch.

Three of four layers of its decoder keep a recurrent state (gated delta rule). They take no mask between tokens, so
what shares a row is one sequence, and their cache is overwritten rather than appended to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor
from transformers import Cache, DynamicCache, Qwen3_5ForConditionalGeneration

from fo1agent.model.bases.qwen3_vl import Qwen3VL


class Qwen3p5(Qwen3VL):
    """See the module."""

    # It answers without thinking first.
    chat = replace(
        Qwen3VL.chat,
        closing="<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        tokenizers=(*Qwen3VL.chat.tokenizers, "Qwen3_5Tokenizer"),
    )
    can_branch = False

    def build(self, config: Any) -> Any:
        return Qwen3_5ForConditionalGeneration(config)

    def cache(self, config: Any) -> Cache:
        return DynamicCache(config=config.get_text_config())

    def extras(self, config: Any) -> int:
        return 0

    def picture_inputs(self, image_slots: Tensor, extras: Sequence[Tensor]) -> Mapping[str, Any]:
        return {}


ADAPTER = Qwen3p5()
