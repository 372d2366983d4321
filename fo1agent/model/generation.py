"""Greedy decoding behind a shared prefix, one token a step with the decoder's cache. Knows ids, not words."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from fo1agent.model.fo1 import FO1
from fo1agent.model.sequence import Prefix


@dataclass(frozen=True)
class Generated:
    """What came out.

    Attributes:
        ids: [n] int64, with the stop token if there was one.
        logits: [n, V], from which each id was taken; None unless asked for.
        stopped: False when the limit of tokens ended it.
    """

    ids: Tensor
    logits: Tensor | None
    stopped: bool


@torch.inference_mode()
def greedy(
    model: FO1,
    prefix: Prefix,
    ids: Tensor,
    stop_ids: Collection[int],
    max_new_tokens: int = 256,
    keep_logits: bool = False,
) -> Generated:
    """Continue a prompt with the likeliest tokens.

    Args:
        model: in eval mode.
        prefix: the prompt's beginning, which stays as it is (`Prefix.empty` when there is none).
        ids: [Q] int64, the rest of the prompt, at least one token and no slots.
        stop_ids: ids that end the answer.
        max_new_tokens: at most so many.
        keep_logits: whether to return the logits of every step.
    """
    cache, position = prefix.cache(), prefix.next_position
    taken: list[int] = []
    kept: list[Tensor] = []
    new = ids.to(model.device)[None]
    while len(taken) < max_new_tokens:
        positions = (position + torch.arange(new.shape[1], device=new.device)).expand(3, 1, -1)
        hidden = model.decode(model.embed(new), positions, None, cache)
        logits = model.base.lm_head(hidden[0, -1])
        taken.append(int(logits.argmax()))
        if keep_logits:
            kept.append(logits)
        if taken[-1] in stop_ids:
            break
        position += new.shape[1]
        new = new.new_tensor([[taken[-1]]])
    stopped = bool(taken) and taken[-1] in stop_ids
    return Generated(torch.tensor(taken, dtype=torch.long), torch.stack(kept) if kept else None, stopped)
