"""A detector of transformers run on several pictures, each of which gets the outputs that it would get alone.

Pictures whose input has one shape go through the network together; none is padded for another, because what a network
sees beside a picture changes what it finds in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fo1agent.proposals.base import alike


@torch.inference_mode()
def outputs_of(model: Any, inputs: Sequence[Mapping[str, Tensor]]) -> list[Any]:
    """The network's outputs for each picture.

    Args:
        model: in eval mode.
        inputs: of each picture, what its processor made of it alone; `pixel_values` is [1, C, H, W], other tensors are
            [n, …] with n of their own.

    Returns:
        For each picture outputs of the model's kind, with those of its tensors that have a row or rows for every
        picture. They equal those of the picture alone up to the rounding of larger products.
    """
    kinds = [tuple((name, tuple(one.shape)) for name, one in own.items()) for own in inputs]
    pixels = [own["pixel_values"].shape[-2:].numel() for own in inputs]
    found: dict[int, Any] = {}
    for batch in alike(kinds, pixels):
        together = {name: torch.cat([inputs[k][name] for k in batch]) for name in inputs[batch[0]]}
        outputs = model(**together)
        found.update(zip(batch, _apart(outputs, len(batch)), strict=True))
    return [found[k] for k in range(len(inputs))]


def _apart(outputs: Any, count: int) -> list[Any]:
    """The outputs of a batch as those of each picture."""
    if count == 1:
        return [outputs]
    rows = {
        name: value.chunk(count)
        for name, value in outputs.items()
        if isinstance(value, Tensor) and value.ndim and len(value) and len(value) % count == 0
    }
    return [type(outputs)(**{name: parts[k] for name, parts in rows.items()}) for k in range(count)]
