"""`FO1ForVLLM`: fo1agent's towers and vLLM's decoder."""

# vLLM has an environment of its own, in which nothing else is checked.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import SupportsLoRA, SupportsMRoPE, SupportsMultiModal, SupportsPP
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.utils import (
    WeightsMapper,
    init_vllm_registered_model,
    maybe_prefix,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from fo1agent.integrations.vllm.config import DECODERS, PublicConfig, ServedConfig
from fo1agent.integrations.vllm.deepstack import Deepstack
from fo1agent.integrations.vllm.items import merged_hw, mrope_positions, unbatched
from fo1agent.integrations.vllm.processing import IMAGE, DummyInputs, Info, Processor
from fo1agent.integrations.vllm.towers import Towers
from fo1agent.model.public import rename

# Our names of the decoder's weights and vLLM's.
_DECODER = {"base.model.language_model.": "model.", "base.lm_head.": "lm_head."}
# What judges beside the words; vLLM writes words only.
_HEADS = ("match_head.", "iou_head.", "proposal_head.", "lessons.")


@MULTIMODAL_REGISTRY.register_processor(Processor, info=Info, dummy_inputs=DummyInputs)
class FO1ForVLLM(nn.Module, SupportsMultiModal, SupportsLoRA, SupportsPP, SupportsMRoPE):
    """See the module. LoRA adapters and tensor parallelism are of the decoder; each worker has all of the towers."""

    packed_modules_mapping = {  # noqa: RUF012 (vLLM's contract)
        "qkv_proj": ["q_proj", "k_proj", "v_proj"],
        "gate_up_proj": ["gate_proj", "up_proj"],
    }
    # By it vLLM finds the layers that a LoRA adapter names.
    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={ours: f"language_model.{theirs}" for ours, theirs in _DECODER.items()}
    )

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        if modality == "image":
            return f"<|vision_start|>{IMAGE}<|vision_end|>"
        raise ValueError(f"FO1 reads pictures, not {modality}.")

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config: Any = vllm_config.model_config.hf_config
        self.config: ServedConfig = config
        with self._mark_tower_model(vllm_config, "image"):
            self.towers = Towers.build(config, vllm_config.model_config.dtype)
        with self._mark_language_model(vllm_config):
            self.language_model: Any = init_vllm_registered_model(
                vllm_config=vllm_config,
                prefix=maybe_prefix(prefix, "language_model"),
                hf_config=config.get_text_config(),
                architectures=[DECODERS[config.base_config.model_type]],
            )
        self.make_empty_intermediate_tensors = self.language_model.make_empty_intermediate_tensors
        levels, model = self.towers.adapter.extras(config.base_config), self.language_model.model
        tokens = vllm_config.scheduler_config.max_num_batched_tokens
        self.deep = Deepstack(model.layers, levels, tokens, model.config.hidden_size)

    def embed_multimodal(self, **kwargs: object) -> list[Tensor]:
        return [self.towers.tokens(item) for item in unbatched(kwargs)] if kwargs else []

    def embed_input_ids(
        self,
        input_ids: Tensor,
        multimodal_embeddings: Any = None,
        *,
        is_multimodal: Tensor | None = None,
    ) -> Tensor:
        own = self.deep.take(multimodal_embeddings or (), is_multimodal)
        return super().embed_input_ids(input_ids, own, is_multimodal=is_multimodal)

    def get_mrope_input_positions(self, input_tokens: list[int], mm_features: list[Any]) -> tuple[Tensor, int]:
        ordered = sorted(mm_features, key=lambda one: one.mm_position.offset)
        # The first token of a picture's place is what opens it.
        pictures = [(one.mm_position.offset + 1, merged_hw(one.data["layout"].data)) for one in ordered]
        positions = mrope_positions(len(input_tokens), pictures)
        return torch.from_numpy(positions), int(positions.max(initial=-1)) + 1 - len(input_tokens)

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: object,
    ) -> Any:
        return self.language_model.model(
            input_ids, positions, intermediate_tensors, None if intermediate_tensors is not None else inputs_embeds
        )

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        return self.language_model.compute_logits(hidden_states)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        of_towers: dict[str, Tensor] = {}
        ours = rename if isinstance(self.config, PublicConfig) else str

        def decoder() -> Iterator[tuple[str, Tensor]]:
            for stored, tensor in weights:
                name = ours(stored)
                known = next((prefix for prefix in _DECODER if name.startswith(prefix)), None)
                if known is not None:
                    yield _DECODER[known] + name.removeprefix(known), tensor
                elif not name.startswith(_HEADS):
                    of_towers[name] = tensor

        loaded = self.language_model.load_weights(decoder())
        names = self.towers.put(of_towers)
        return {f"language_model.{name}" for name in loaded} | {f"towers.{name}" for name in names}

    def get_mm_mapping(self) -> MultiModelKeys:
        return MultiModelKeys.from_string_field(
            language_model="language_model", connector="towers.region_projector.", tower_model="towers."
        )
