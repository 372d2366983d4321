"""FO1 without its language model: both towers, the region encoder and the projectors, as they run in vLLM's worker."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers.initialization import no_init_weights

from fo1agent.errors import CheckpointError
from fo1agent.integrations.vllm.items import Item
from fo1agent.model.config import FO1Config
from fo1agent.model.fo1 import FO1
from fo1agent.model.tensors import misfits


class Towers(FO1):
    """What makes picture tokens and region tokens; it has no decoder."""

    def __init__(self, config: FO1Config) -> None:
        with no_init_weights():
            super().__init__(_without_words(config))
        del self.base.model.language_model, self.base.lm_head

    @classmethod
    def build(cls, config: FO1Config, dtype: torch.dtype) -> Towers:
        """The towers in a dtype, with arbitrary weights, on the device that is torch's default."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)  # what rotates positions is kept in it, as where torch runs all
        try:
            towers = cls(config)
        finally:
            torch.set_default_dtype(before)
        for parameter in towers.parameters():
            parameter.data = parameter.data.to(dtype)
        return towers.eval()

    def put(self, tensors: Mapping[str, Tensor]) -> set[str]:
        """Make the tensors the weights; their names.

        Raises:
            CheckpointError: some are missing or left over, or have other shapes.
        """
        own: dict[str, Tensor] = self.state_dict()
        if told := misfits(tensors, own, {}):
            raise CheckpointError(f"The weights of the towers do not fit the configuration: {told}.")
        placed = {name: tensor.to(own[name].device, own[name].dtype) for name, tensor in tensors.items()}
        self.load_state_dict(placed, assign=True)
        return set(placed)

    @torch.inference_mode()
    def tokens(self, item: Item) -> Tensor:
        """The picture's tokens, then its regions', and beside each what goes into deeper layers: [T + N, (1 + E) * d].

        E is the base's number of `extras`; regions have none, so theirs are zeros.
        """
        features = self.encode_image(item.inputs)
        tokens = torch.cat([features.image_tokens, *features.picture.extras], dim=1)
        if not len(item.boxes):
            return tokens
        regions = self.encode_regions(features, item.boxes.cpu())[1].to(tokens.dtype)
        return torch.cat([tokens, pad(regions, (0, tokens.shape[1] - regions.shape[1]))])


def _without_words(config: FO1Config) -> FO1Config:
    """The configuration with a language model of no layers and one word, and without heads."""
    base = copy.deepcopy(config.base_config)
    text: Any = base.get_text_config()
    text.num_hidden_layers, text.layer_types, text.vocab_size, text.pad_token_id = 0, [], 1, None
    parts = ("aux", "region", "image_projector", "region_projector", "processing")
    return FO1Config(base_config=base, **{part: getattr(config, part) for part in parts})
