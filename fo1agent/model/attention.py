"""Attention on a CPU, at what its units for products can do, with the numbers of transformers' `sdpa`.

Several query heads share the keys of one. transformers' `sdpa` copies keys and values for each of them, or leaves it to
torch, which on a CPU takes up to 17 times as long for one token. Here they ask as further queries of the one head: the
same numbers, nothing copied. Whole prompts and pictures in bfloat16 are attended to by whole matrix products, where
torch's own kernel reaches a fifth of their speed. Everything else is transformers' `sdpa`, as is all on other devices.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.jit import is_tracing  # pyright: ignore[reportPrivateImportUsage] (torch's own documentation names it so)
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "fo1_sdpa"

# Scores that are computed at a time, so that they stay in the processor's cache; and the fewest queries in a product.
_SCORES = 3 * 2**17
_QUERIES = 64


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
    if not special and attention_mask is None and asked == key.shape[2] > 1 and not dropout and by_products(query):
        told = more.get("is_causal")
        ordered = getattr(module, "is_causal", True) if told is None else told
        found = products(query.unflatten(1, (-1, groups)), key, value, scaling, ordered).flatten(1, 2)
        return found.transpose(1, 2).contiguous(), None
    if groups == 1 or asked >= key.shape[2] or special or not shared:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **more)
    mask = None if attention_mask is None else attention_mask.repeat(1, 1, groups, 1)
    packed = query.reshape(rows, heads // groups, groups * asked, size)
    found = F.scaled_dot_product_attention(packed, key, value, mask, dropout, scale=scaling)
    return found.reshape(rows, heads, asked, -1).transpose(1, 2).contiguous(), None


def whole(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """All of [B, H, Q, D] look at all of [B, H, S, D]: [B, H, Q, D]."""
    if by_products(query):
        return products(query[:, :, None], key, value, scaling)[:, :, 0]
    return F.scaled_dot_product_attention(query, key, value, scale=scaling)


def by_products(query: Tensor) -> bool:
    """Whether `products` is what is faster here, and nothing has to remember how it came about."""
    return query.dtype == torch.bfloat16 and untraced(query) and _units()


def untraced(given: Tensor) -> bool:
    """Whether this is a tensor of a CPU in a run of which there will be neither a gradient nor a graph."""
    learns = torch.is_grad_enabled() and given.requires_grad
    return given.device.type == "cpu" and not (learns or is_tracing() or torch.compiler.is_compiling())


@cache
def _units() -> bool:
    """Whether the CPU has units for bfloat16, and not those (AMX) with which torch's kernel is fast."""
    return torch.cpu._is_avx512_bf16_supported() and not torch.cpu._is_amx_tile_supported()


def products(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, ordered: bool = False) -> Tensor:
    """Attention in bfloat16 by a few large matrix products.

    A product rounds scores to bfloat16, which would be far too coarse for large ones. A second one gives what the first
    has left away, so that scores are as exact as in float32, where torch has no fast product that says so.

    Args:
        query: [B, H, G, Q, D]; the G heads share keys.
        key, value: [B, H, S, D].
        scaling: of scores; None: one over the root of D.
        ordered: whether a query sees only the keys up to its own number; Q is then S.

    Returns:
        [B, H, G, Q, D].
    """
    batch, heads, groups, asked, size = query.shape
    known = key.shape[2]
    query, key, value = query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1)
    found = torch.empty(len(query), groups, asked, value.shape[-1], dtype=value.dtype)
    scale = size**-0.5 if scaling is None else scaling
    rows = min(asked, max(_QUERIES, _SCORES // (known * groups)))
    many = max(1, _SCORES // (known * groups * rows))
    for first in range(0, len(query), many):
        some = slice(first, first + many)
        keys, values = key[some].contiguous(), value[some].contiguous()
        for start in range(0, asked, rows):
            end = min(start + rows, asked)
            seen = end if ordered else known
            asking = query[some, :, start:end].flatten(1, 2)
            scores = _scores(asking, keys[:, :seen], scale)
            if ordered:
                later = torch.ones(end - start, end - start, dtype=torch.bool).triu_(1)
                scores.unflatten(1, (groups, -1))[..., start:].masked_fill_(later, float("-inf"))
            weights = torch.softmax(scores, -1).to(value.dtype)
            found[some, :, start:end] = torch.bmm(weights, values[:, :seen]).unflatten(1, (groups, -1))
    return found.unflatten(0, (batch, heads))


def _scores(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """[n, Q, D] and [n, S, D] in bfloat16 → [n, Q, S] in float32."""
    keys = key.transpose(1, 2)
    coarse = torch.bmm(query, keys)
    return coarse.float().add_(torch.baddbmm(coarse, query, keys, beta=-1)).mul_(scale)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
