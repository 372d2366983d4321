"""SmolVLM2 as a base: Idefics3 under another name."""

from __future__ import annotations

from typing import Any

from transformers import SmolVLMForConditionalGeneration
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from fo1agent.model.bases.idefics3 import Idefics3


class SmolVLM(Idefics3):
    """See the module."""

    processor = SmolVLMImageProcessorPil

    def build(self, config: Any) -> Any:
        return SmolVLMForConditionalGeneration(config)


ADAPTER = SmolVLM()
