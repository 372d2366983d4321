"""Attention of few tokens over many, as in writing and in judging phrases behind a picture.

Several query heads share the keys of one. transformers' `sdpa` copies keys and values for each of them, or leaves it to
torch, which on a CPU takes up to 17 times as long for one token. Here they ask as further queries of the one head: the
same numbers, nothing copied. Everything else is transformers' `sdpa`.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.jit import is_tracing  # pyright: ignore[reportPrivateImportUsage] (torch's own documentation names it so)
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "fo1_sdpa"


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, Tensor | None]:
    """transformers' contract of an attention.

    Args:
        module: the layer; its `num_key_value_groups` heads of queries share keys.
        query: [B, H, Q, D].
        key, value: [B, H / groups, S, D].
        attention_mask: [B, 1, Q, S] or None.
        dropout, scaling, more: as for `sdpa`.

    Returns:
        [B, Q, H, D], and None.
    """
    groups, (rows, heads, asked, size) = getattr(module, "num_key_value_groups", 1), query.shape
    # Without a mask several queries see what their order allows; with one, all heads must have the same.
    shared = asked == 1 if attention_mask is None else attention_mask.shape[1] == 1
    special = is_tracing() or any(more.get(name) is not None for name in ("softcap", "position_bias"))
    if groups == 1 or asked >= key.shape[2] or special or not shared:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **more)
    mask = None if attention_mask is None else attention_mask.repeat(1, 1, groups, 1)
    packed = query.reshape(rows, heads // groups, groups * asked, size)
    found = F.scaled_dot_product_attention(packed, key, value, mask, dropout, scale=scaling)
    return found.reshape(rows, heads, asked, -1).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
