"""Many continuations of one prefix, read and gone on with at once.

`SharedRow`: branches stand behind each other in one row that a mask divides, so that none copies the prefix. `OwnRows`:
for decoders with layers that no mask divides, rows of a batch, which start with copies of the prefix; those of one
length together, for a recurrent state would also read padding. Both give what each branch would be alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import Cache

from fo1agent.model.masks import Sight
from fo1agent.model.prefix import Prefix


class Branches(Protocol):
    """Continuations of a prefix, as far as they have been read."""

    def read(self) -> Tensor:
        """Read the branches: last hidden state of each, [K, d]."""
        ...

    def go_on(self, going: Tensor, ids: Tensor) -> Tensor:
        """Read one more token of the branches that go on: last hidden states [k, d].

        Args:
            going: [K] bool, which of those that were read last go on; the others end.
            ids: [k] int64, the next token of each that does.
        """
        ...


def start(model: Any, prefix: Prefix, branches: Sequence[Tensor]) -> Branches:
    """Branches, id lists [.] int64 without slots and of at least one token, behind a prefix, which stays as it is."""
    kind = SharedRow if model.adapter.can_branch else OwnRows
    return kind(model, prefix, branches)


class SharedRow:
    """Branches in one row; see `start`."""

    def __init__(self, model: Any, prefix: Prefix, branches: Sequence[Tensor]) -> None:
        self.model, self.prefix, self.branches = model, prefix, branches
        self.cache = model.continued(prefix)
        # The branch of every token in the cache, and its place, where the mask is made; nobody looks at branches that
        # have ended.
        self.owner = torch.full((prefix.length,), -1, device=model.device)
        self.place = torch.arange(prefix.length, device=model.device)
        self.open = torch.arange(len(branches))
        self.lengths = torch.tensor([len(branch) for branch in branches])

    def read(self) -> Tensor:
        offset = torch.cat([torch.arange(len(branch)) for branch in self.branches])
        hidden = self._read(torch.cat(list(self.branches)), self.open.repeat_interleave(self.lengths), offset)
        return hidden[(self.lengths.cumsum(0) - 1).to(hidden.device)]

    def go_on(self, going: Tensor, ids: Tensor) -> Tensor:
        self.open = self.open[going]
        hidden = self._read(ids, self.open, self.lengths[self.open])
        self.lengths[self.open] += 1
        return hidden

    def _read(self, ids: Tensor, owner: Tensor, offset: Tensor) -> Tensor:
        model, prefix = self.model, self.prefix
        ids, owner, offset = torch.stack([ids.cpu(), owner, offset]).to(model.device)
        self.owner = torch.cat([self.owner, owner])
        self.place = torch.cat([self.place, prefix.length + offset])
        sight = Sight(torch.ones_like(self.owner, dtype=torch.bool)[None], self.place[None], self.owner[None])
        positions = (prefix.next_position + offset).expand(model.adapter.axes, 1, -1)
        mask = model.mask(sight, len(ids))
        return model.decode(model.embed(ids[None], prefix), positions, mask, self.cache, ids[None])[0]


@dataclass
class _Rows:
    """Branches of one length.

    Attributes:
        branch: [k] int64, their numbers.
        cache: of k rows.
        length: tokens of each behind the prefix.
    """

    branch: Tensor
    cache: Cache
    length: int


class OwnRows:
    """Branches as rows; see `start`."""

    def __init__(self, model: Any, prefix: Prefix, branches: Sequence[Tensor]) -> None:
        self.model, self.prefix, self.branches = model, prefix, branches
        lengths = torch.tensor([len(branch) for branch in branches])
        numbers = [(lengths == length).nonzero()[:, 0] for length in lengths.unique().tolist()]
        self.groups = [_Rows(number, model.continued(prefix, len(number)), 0) for number in numbers]
        self.open = torch.arange(len(branches))

    def read(self) -> Tensor:
        return self._read(lambda group: torch.stack([self.branches[k] for k in group.branch.tolist()]))

    def go_on(self, going: Tensor, ids: Tensor) -> Tensor:
        self.open = self.open[going]
        following = torch.zeros(len(self.branches), dtype=torch.long, device=ids.device)
        following[self.open] = ids
        for group in self.groups:
            kept = torch.isin(group.branch, self.open)
            if not kept.all():
                group.cache.reorder_cache(kept.nonzero()[:, 0])  # pyright: ignore[reportArgumentType] (any integers do)
                group.branch = group.branch[kept]
        self.groups = [group for group in self.groups if len(group.branch)]
        return self._read(lambda group: following[group.branch][:, None])

    def _read(self, ids_of: Any) -> Tensor:
        model, prefix = self.model, self.prefix
        states = torch.zeros(len(self.branches), model.config.hidden_size, dtype=model.base.dtype, device=model.device)
        for group in self.groups:
            ids = ids_of(group)
            at = prefix.next_position + group.length + torch.arange(ids.shape[1], device=model.device)
            positions = at.expand(model.adapter.axes, len(ids), -1)
            # Nothing is padding, so there is nothing to mask.
            hidden = model.decode(model.embed(ids, prefix), positions, None, group.cache, ids)
            group.length += ids.shape[1]
            states[group.branch.to(states.device)] = hidden[:, -1]
        return states[self.open.to(states.device)]
