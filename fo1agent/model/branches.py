"""Many continuations of one prefix or of several, read and gone on with at once.

`SharedRows`: a row for each prefix, in which its branches stand behind each other, divided by a mask, so that none
copies the prefix. `OwnRows`: for decoders with layers that no mask divides, rows of a batch, which start with copies of
one prefix; those of one length together, for a recurrent state would also read padding. Both give what each branch
would be alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import Cache

from fo1agent.model.masks import Sight
from fo1agent.model.prefix import Prefix, joined


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
    return start_behind(model, [prefix], [branches])


def start_behind(model: Any, prefixes: Sequence[Prefix], branches: Sequence[Sequence[Tensor]]) -> Branches:
    """`start` of the branches of several prefixes, which are numbered through; at least one in all."""
    if model.adapter.can_branch:
        return SharedRows(model, prefixes, branches)
    read = [OwnRows(model, *pair) for pair in zip(prefixes, branches, strict=True)]
    return read[0] if len(read) == 1 else InTurn(read, [len(own) for own in branches])


_PADDING = -2  # the branch of what nobody sees


class SharedRows:
    """K branches in a row for each of B prefixes; see `start_behind`.

    What is missing in the shorter rows is padding that nobody sees, and nobody looks at branches that have ended.
    """

    def __init__(self, model: Any, prefixes: Sequence[Prefix], branches: Sequence[Sequence[Tensor]]) -> None:
        self.model, self.branches = model, [branch for own in branches for branch in own]
        one = len(prefixes) == 1
        self.cache = model.continued(prefixes[0]) if one else joined(prefixes, model.continued(Prefix.empty(0)))
        # What stands where is reckoned on the CPU; the device gets it once a pass.
        self.row = torch.arange(len(prefixes)).repeat_interleave(torch.tensor([len(own) for own in branches]))
        self.open = torch.arange(len(self.branches))
        self.lengths = torch.tensor([len(branch) for branch in self.branches])
        lengths = torch.tensor([prefix.length for prefix in prefixes], device=model.device)
        self.start = torch.tensor([[prefix.length, prefix.next_position] for prefix in prefixes], device=model.device)
        # Of every token in the cache its branch, and its place in what it continues, where the mask is made.
        self.place = torch.arange(max(prefix.length for prefix in prefixes), device=model.device).repeat(
            len(prefixes), 1
        )
        self.owner = torch.where(self.place < lengths[:, None], -1, _PADDING)
        tokens = [prefix.region_tokens.to(model.device) for prefix in prefixes]
        self.region_tokens = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
        self.regions = torch.tensor([len(own) for own in tokens], device=model.device)

    def read(self) -> Tensor:
        offset = torch.cat([torch.arange(len(branch)) for branch in self.branches])
        hidden = self._read(torch.cat(self.branches), self.open.repeat_interleave(self.lengths), offset)
        return hidden[(self.lengths.cumsum(0) - 1).to(hidden.device)]

    def go_on(self, going: Tensor, ids: Tensor) -> Tensor:
        self.open = self.open[going]
        hidden = self._read(ids, self.open, self.lengths[self.open])
        self.lengths[self.open] += 1
        return hidden

    def _read(self, ids: Tensor, owner: Tensor, offset: Tensor) -> Tensor:
        """Last states [T, d] of tokens [T] of these branches, rising, so far behind their prefixes."""
        model, row = self.model, self.row[owner]
        counts = torch.bincount(row, minlength=len(self.owner))
        within = torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]
        width, old = int(counts.max()), self.owner.shape[1]
        ids, owner, offset, row, within = torch.stack([ids.cpu(), owner, offset, row, within]).to(model.device)
        self.owner = torch.nn.functional.pad(self.owner, (0, width), value=_PADDING)
        self.place = torch.nn.functional.pad(self.place, (0, width))
        self.owner[row, old + within], self.place[row, old + within] = owner, self.start[row, 0] + offset
        words = model.embed(ids) + self._mentioned(ids, row)
        embeds = words.new_zeros(len(self.owner), width, words.shape[-1])
        read, positions = owner.new_zeros(embeds.shape[:2]), owner.new_ones(embeds.shape[:2])
        embeds[row, within], read[row, within], positions[row, within] = words, ids, self.start[row, 1] + offset
        mask = model.mask(Sight(self.owner != _PADDING, self.place, self.owner), width)
        return model.decode(embeds, positions.expand(model.adapter.axes, -1, -1), mask, self.cache, read)[row, within]

    def _mentioned(self, ids: Tensor, row: Tensor) -> Tensor | int:
        """What mentions of regions in these rows [T] add to the embeddings of ids [T]; see `sequence.mentioned`."""
        last = self.region_tokens.shape[1] - 1
        if self.model.config.first_mention is None or last < 0:
            return 0
        number = ids - self.model.config.first_mention
        known = (number >= 0) & (number < self.regions[row])
        return self.region_tokens[row, number.clamp(0, last)].to(self.model.base.dtype) * known[:, None]


class InTurn:
    """Branches of several prefixes, those of one after those of another, in a pass each.

    Args:
        read: those of each prefix.
        counts: how many each has.
    """

    def __init__(self, read: Sequence[Branches], counts: Sequence[int]) -> None:
        self.read_of, self.counts = read, list(counts)

    def read(self) -> Tensor:
        return torch.cat([own.read() for own, count in zip(self.read_of, self.counts, strict=True) if count])

    def go_on(self, going: Tensor, ids: Tensor) -> Tensor:
        parts = going.split(self.counts)
        self.counts = [int(part.sum()) for part in parts]
        pairs = zip(self.read_of, parts, ids.split(self.counts), strict=True)
        return torch.cat([own.go_on(part, new) for own, part, new in pairs if len(new)])


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
