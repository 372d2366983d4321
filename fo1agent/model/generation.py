"""Greedy decoding behind a shared prefix, one token a step with the decoder's cache. Knows ids, not words.

`greedy` continues one prompt, `greedy_many` many at once that begin alike: the same ids, but for what rounding does to
two equally likely tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fo1agent.model.fo1 import FO1
from fo1agent.model.sequence import Prefix, branch_mask, branches_after


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
        hidden = model.decode(model.embed(new, prefix), positions, None, cache)
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


@torch.inference_mode()
def greedy_many(
    model: FO1, prefix: Prefix, branches: Sequence[Tensor], stop_ids: Collection[int], max_new_tokens: int = 256
) -> list[Generated]:
    """`greedy` for every branch, all of them in one pass a token. No branch sees another, and none copies the prefix.

    Args:
        model, prefix, stop_ids, max_new_tokens: as for `greedy`.
        branches: [.] int64 each, what follows the prefix, at least one token and no slots. May be none.
    """
    taken: list[list[int]] = [[] for _ in branches]
    if not branches or not max_new_tokens:
        return [Generated(torch.tensor(ids, dtype=torch.long), None, False) for ids in taken]
    cache = prefix.cache()
    ids, positions, mask, ends = branches_after(prefix, branches, model.base.dtype)
    open_branches = torch.arange(len(branches))
    lengths = torch.tensor([len(branch) for branch in branches])
    # The branch of every token in the cache; finished branches stay in it, and nobody looks at them.
    owner = torch.cat([torch.full((prefix.length,), -1), open_branches.repeat_interleave(lengths)])
    next_positions = prefix.next_position + lengths
    while True:
        device = model.device
        embeds = model.embed(ids, prefix)
        hidden = model.decode(embeds, positions.to(device), mask.to(device), cache)[0, ends.to(device)]
        found = model.base.lm_head(hidden).argmax(dim=-1).cpu()
        for branch, token in zip(open_branches.tolist(), found.tolist(), strict=True):
            taken[branch].append(token)
        going = torch.tensor([token not in stop_ids for token in found.tolist()])
        if not going.any() or len(taken[int(open_branches[0])]) == max_new_tokens:
            break
        open_branches, ids = open_branches[going], found[going][None]
        positions = next_positions[open_branches].expand(3, 1, -1)
        next_positions[open_branches] += 1
        owner = torch.cat([owner, open_branches])
        mask = branch_mask(owner[None], torch.ones(1, len(owner), dtype=torch.bool), ids.shape[1], model.base.dtype)
        ends = torch.arange(ids.shape[1])
    return [Generated(torch.tensor(t, dtype=torch.long), None, t[-1] in stop_ids) for t in taken]
