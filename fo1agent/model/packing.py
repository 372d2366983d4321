"""Samples that share rows, and branches that become rows: other arrangements of a batch, and the way back.

`pack` lets short samples share rows, so that little is padding; `spread` is for decoders that cannot branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fo1agent.model.sequence import IGNORED, TokenBatch, ends_of


@dataclass
class Packed:
    """A batch whose samples share rows, and the way back.

    Attributes:
        batch: R rows; of its fields only those that the decoder and the loss on labels read stay meaningful.
        places: [B, L] int64, where each token of the original batch went, in R * L' flattened; padding points anywhere.
    """

    batch: TokenBatch
    places: Tensor

    def unpack(self, hidden: Tensor) -> Tensor:
        """[R, L', d] of the packed rows → [B, L, d] of the samples; what stands on padding means nothing."""
        return hidden.flatten(0, 1)[self.places]


def pack(batch: TokenBatch) -> Packed:
    """Let short samples share rows no longer than the longest sample, so that little is padding.

    No sample sees another and positions stay, so each token's state is what it would be alone (up to rounding).
    """
    lengths = batch.mask.sum(dim=1).tolist()
    rows = _fill(lengths, max(lengths))
    size = max(sum(lengths[i] for i in row) for row in rows)
    device = batch.mask.device
    source = torch.zeros(len(rows), size, dtype=torch.long, device=device)  # token in B * L flattened
    sample = torch.full_like(source, -1)
    places = torch.zeros_like(batch.branch)
    for r, row in enumerate(rows):
        start = 0
        for i in row:
            end = start + lengths[i]
            source[r, start:end] = torch.arange(lengths[i], device=device) + i * batch.mask.shape[1]
            sample[r, start:end] = i
            places[i, : lengths[i]] = torch.arange(start, end, device=device) + r * size
            start = end
    found = replace(_moved(batch, source, sample >= 0), sample=sample)
    if found.labels is not None:
        starts = sample != torch.cat([sample.new_full((len(rows), 1), -1), sample[:, :-1]], dim=1)
        found.labels.masked_fill_(starts, IGNORED)  # its predecessor belongs to another sample
    return Packed(found, places)


def spread(batch: TokenBatch) -> Packed:
    """Give each branch a row of its own, behind a copy of its sample's stem. What a stem teaches counts once."""
    whole, device = batch.mask.shape[1], batch.mask.device
    rows: list[Tensor] = []
    again: list[int] = []  # how many tokens of a row stand in an earlier one too
    for i, (kept, branch) in enumerate(zip(batch.mask, batch.branch, strict=True)):
        stem = (kept & (branch < 0)).nonzero()[:, 0]
        own = [(branch == number).nonzero()[:, 0] for number in range(int(branch.max()) + 1)] or [stem[:0]]
        for number, tokens in enumerate(own):
            rows.append(torch.cat([stem, tokens]) + i * whole)
            again.append(len(stem) if number else 0)
    source = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    index = torch.arange(source.shape[1], device=device)
    mask = index < torch.tensor([len(row) for row in rows], device=device)[:, None]
    repeated = index < torch.tensor(again, device=device)[:, None]
    places = torch.zeros_like(batch.branch)
    new = mask & ~repeated
    places.view(-1)[source[new]] = torch.arange(source.numel(), device=device).view_as(source)[new]
    found = _moved(replace(batch, branch=torch.full_like(batch.branch, -1)), source, mask)
    if found.labels is not None:
        found.labels.masked_fill_(repeated, IGNORED)
    return Packed(found, places)


def _moved(batch: TokenBatch, source: Tensor, mask: Tensor) -> TokenBatch:
    """The batch's tokens in other rows.

    Args:
        batch: what is moved.
        source: [R, L'] int64, in B * L flattened.
        mask: [R, L'] bool, False on padding.
    """

    def moved(values: Tensor, fill: int) -> Tensor:
        return values.flatten(0, 1)[source].masked_fill(~mask, fill)

    branch = moved(batch.branch, -1)
    return TokenBatch(
        inputs_embeds=batch.inputs_embeds.flatten(0, 1)[source],
        position_ids=torch.stack([moved(axis, 1) for axis in batch.position_ids]),
        mask=mask,
        place=moved(batch.place, 0),
        labels=None if batch.labels is None else moved(batch.labels, IGNORED),
        region_slots=moved(batch.region_slots, 0),
        branch=branch,
        branch_ends=ends_of(branch),
        next_position=batch.next_position,
        image_index=None if batch.image_index is None else moved(batch.image_index, -1),
        extras=batch.extras,
        ids=None if batch.ids is None else moved(batch.ids, 0),
    )


def _fill(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Samples by row, the longest first, each in the first row that has room for it."""
    rows: list[list[int]] = []
    left: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        row = next((r for r, space in enumerate(left) if space >= lengths[i]), len(rows))
        if row == len(rows):
            rows.append([])
            left.append(room)
        rows[row].append(i)
        left[row] -= lengths[i]
    return rows
