"""Many continuations of one prefix or of several, read and gone on with at once.

`SharedRows`: a row for each prefix, in which its branches stand behind each other, divided by a mask, so that none
copies the prefix. `OwnRows`: for decoders with layers that no mask divides, rows of a batch, which start with copies of
one prefix; those of one length together, for a recurrent state would also read padding. Both give what each branch
would be alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import Cache

from fo1agent.model.masks import Sight
from fo1agent.model.prefix import Prefix, joined, roomy


class Branches(Protocol):
    """Continuations of a prefix, as far as they have been read."""

    def read(self) -> Tensor:
        """Read the branches: last hidden state of each, [K, d]."""
        ...

    def go_on(self, going: Sequence[int], ids: Tensor) -> Tensor:
        """Read one more token of the branches that go on: last hidden states [k, d].

        Args:
            going: which of the K branches that were read last go on, rising; the others end.
            ids: [K] int64, where the model is: the next token of each of the K.
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
        fresh = model.continued(prefixes[0] if one else Prefix.empty(0))
        self.cache = fresh if one else roomy(joined(prefixes, fresh))
        # What a device is told is reckoned on the CPU, without tensors, and only when something has changed.
        self.rows = [row for row, own in enumerate(branches) for _ in own]
        self.open = list(range(len(self.branches)))
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
        lengths = [len(branch) for branch in self.branches]
        tokens = [(branch, offset) for branch, length in enumerate(lengths) for offset in range(length)]
        width, where = self._laid_out([branch for branch, _ in tokens])
        ids, offset = torch.stack([torch.cat(self.branches), torch.tensor([o for _, o in tokens])]).to(where.device)
        hidden = self._read(ids, offset, width, where)
        ends = torch.tensor([length - 1 for length in accumulate(lengths)], device=where.device)
        self.width, self.where = self._laid_out(self.open)
        self.offset = torch.tensor(lengths, device=where.device)
        return hidden[ends]

    def go_on(self, going: Sequence[int], ids: Tensor) -> Tensor:
        if len(going) < len(self.open):
            self.open = [self.open[k] for k in going]
            kept = torch.tensor(going, device=ids.device)
            ids, self.offset = ids[kept], self.offset[kept]
            self.width, self.where = self._laid_out(self.open)
        hidden = self._read(ids, self.offset, self.width, self.where)
        self.offset = self.offset + 1
        return hidden

    def _laid_out(self, owners: Sequence[int]) -> tuple[int, Tensor]:
        """Where tokens of these branches, rising, stand in a pass.

        Returns:
            How many there are in the fullest row; and [3, T] of each token's branch, row, and column among those read.
        """
        counts = [0] * len(self.start)
        columns = []
        for owner in owners:
            row = self.rows[owner]
            columns.append(counts[row])
            counts[row] += 1
        where = torch.tensor([list(owners), [self.rows[owner] for owner in owners], columns])
        return max(counts), where.to(self.model.device)

    def _read(self, ids: Tensor, offset: Tensor, width: int, where: Tensor) -> Tensor:
        """Last states [T, d] of tokens [T], so far behind their prefixes, which stand as `_laid_out` says."""
        model, (owner, row, within), old = self.model, where, self.owner.shape[1]
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

    def go_on(self, going: Sequence[int], ids: Tensor) -> Tensor:
        ends, parts = list(accumulate(self.counts)), ids.split(self.counts)
        starts = [end - count for end, count in zip(ends, self.counts, strict=True)]
        chosen = [[k - first for k in going if first <= k < end] for first, end in zip(starts, ends, strict=True)]
        self.counts = [len(part) for part in chosen]
        pairs = zip(self.read_of, chosen, parts, strict=True)
        return torch.cat([own.go_on(part, new) for own, part, new in pairs if part])


@dataclass
class _Rows:
    """Branches of one length.

    Attributes:
        branches: k of their numbers.
        places: [k] int64, where the model is: where each stands among all those that were read last.
        cache: of k rows.
        length: tokens of each behind the prefix.
    """

    branches: list[int]
    places: Tensor
    cache: Cache
    length: int


class OwnRows:
    """Branches as rows; see `start`."""

    def __init__(self, model: Any, prefix: Prefix, branches: Sequence[Tensor]) -> None:
        self.model, self.prefix, self.branches = model, prefix, branches
        by_length: dict[int, list[int]] = {}
        for number, branch in enumerate(branches):
            by_length.setdefault(len(branch), []).append(number)
        self.groups = [
            _Rows(own, torch.tensor(own, device=model.device), model.continued(prefix, len(own)), 0)
            for _, own in sorted(by_length.items())
        ]
        self.open = list(range(len(branches)))

    def read(self) -> Tensor:
        return self._read([torch.stack([self.branches[k] for k in group.branches]) for group in self.groups])

    def go_on(self, going: Sequence[int], ids: Tensor) -> Tensor:
        following = [ids[group.places][:, None] for group in self.groups]
        if len(going) < len(self.open):
            following = self._close({self.open[k] for k in going}, following)
        return self._read(following)

    def _close(self, going: set[int], following: list[Tensor]) -> list[Tensor]:
        """Let go of all other branches: what follows those that go on, by group."""
        self.open = [branch for branch in self.open if branch in going]
        place = {branch: k for k, branch in enumerate(self.open)}
        left = []
        for group, ids in zip(self.groups, following, strict=True):
            kept = [k for k, branch in enumerate(group.branches) if branch in going]
            if kept and len(kept) < len(group.branches):
                rows = torch.tensor(kept, device=ids.device)
                group.cache.reorder_cache(rows)  # pyright: ignore[reportArgumentType] (any integers do)
                ids = ids[rows]
            group.branches = [group.branches[k] for k in kept]
            group.places = torch.tensor([place[branch] for branch in group.branches], device=ids.device)
            left += [ids] * bool(kept)
        self.groups = [group for group in self.groups if group.branches]
        return left

    def _read(self, read: Sequence[Tensor]) -> Tensor:
        """Last states [k, d] of the open branches, after these ids [., T] of each group."""
        model, prefix = self.model, self.prefix
        states = torch.zeros(len(self.open), model.config.hidden_size, dtype=model.base.dtype, device=model.device)
        for group, ids in zip(self.groups, read, strict=True):
            at = prefix.next_position + group.length + torch.arange(ids.shape[1], device=model.device)
            positions = at.expand(model.adapter.axes, len(ids), -1)
            # Nothing is padding, so there is nothing to mask.
            hidden = model.decode(model.embed(ids, prefix), positions, None, group.cache, ids)
            group.length += ids.shape[1]
            states[group.places] = hidden[:, -1]
        return states
