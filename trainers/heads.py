"""New heads for a model that has none, such as the public checkpoint, and new names for one that has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from fo1agent.errors import InputError
from fo1agent.model.fo1 import FO1, build_heads

RARE = 0.02  # share of (phrase, region) pairs that match, about; where a new match head starts


def add_heads(model: FO1, heads: Mapping[str, Any]) -> list[str]:
    """Give the model those of `heads` (`match`, `iou`: constructor arguments) that it lacks; returns their names.

    A new match head starts at the share of pairs that match, so that its first steps do not unlearn everything else.

    Raises:
        InputError: `heads` names another head, or arguments that it does not take.
    """
    if strange := sorted(set(heads) - {"match", "iou", "proposal"}):
        raise InputError(f"heads knows match and iou, not {', '.join(strange)}.")
    new = {name: dict(settings or {}) for name, settings in heads.items() if name not in model.config.heads}
    if "proposal" in new:
        raise InputError("A proposal head is trained by `fo1agent train proposals`, on maps that are kept for it.")
    if not new:
        return []
    try:
        match, iou, _ = build_heads(new, model.config.hidden_size, model.aux.levels)
    except TypeError as exc:
        raise InputError(f"heads {new}: {exc}.") from exc
    if match is not None:
        nn.init.constant_(match.get_parameter("bias"), math.log(RARE / (1 - RARE)))
        model.match_head = match.to(model.device)
    if iou is not None:
        model.iou_head = iou.to(model.device)
    model.config.heads = {**model.config.heads, **new}
    return list(new)


@torch.no_grad()
def add_names(model: FO1, names: Sequence[str]) -> list[str]:
    """Teach a closed-vocabulary model that there are these names too; returns those that are new.

    `senses` and `names` of its match head grow by a row each, which starts as the mean of the rows it has: no region is
    taken for a new name yet, nor is one any less what it was.
    """
    known = list(model.config.vocabulary or ())
    new = [name for name in dict.fromkeys(names) if name not in known]
    head = model.match_head
    if not new or model.config.vocabulary is None:
        return new
    if head is not None and head.classes:
        for layer_name in ("senses", "names"):
            old: nn.Linear = getattr(head, layer_name)
            grown = nn.Linear(old.in_features, old.out_features + len(new)).to(old.weight)
            rows = old.weight[:-1].mean(dim=0, keepdim=True).expand(len(new), -1)
            bias = old.bias[:-1].mean().expand(len(new))
            # "None of them" stays last.
            grown.weight.copy_(torch.cat([old.weight[:-1], rows, old.weight[-1:]]))
            grown.bias.copy_(torch.cat([old.bias[:-1], bias, old.bias[-1:]]))
            setattr(head, layer_name, grown)
        head.extra += len(new)
        settings = {**model.config.heads["match"], "extra": head.extra}
        model.config.heads = {**model.config.heads, "match": settings}
    model.config.vocabulary = [*known, *new]
    return new
