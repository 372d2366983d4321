"""Attention of vLLM for heads that its kernel for CPUs does not know, such as the golden tensors' of 16 numbers."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from vllm.model_executor.models import qwen2  # pyright: ignore[reportMissingImports]

_LEAST = 32


class Widened(nn.Module):
    """vLLM's attention of heads with zeros behind their numbers, which change no product."""

    def __init__(self, heads: int, size: int, scale: float, *, num_kv_heads: int, **named: Any) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.size = heads, num_kv_heads, size
        self.attn = _Attention(heads, _LEAST, scale, num_kv_heads=num_kv_heads, **named)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        pairs = ((query, self.heads), (key, self.kv_heads), (value, self.kv_heads))
        wide = [F.pad(one.view(len(one), n, self.size), (0, _LEAST - self.size)).flatten(1) for one, n in pairs]
        return self.attn(*wide).view(-1, self.heads, _LEAST)[..., : self.size].flatten(1)


_Attention = qwen2.Attention


def widen() -> None:
    """Let the decoders that vLLM makes from now on in this process have it."""
    qwen2.Attention = Widened
