"""Token ids with slots for images and regions → the tensors that the language model reads.

A slot is a negative id. An image slot becomes the image's tokens, a region slot the next region token of its sample.
A sample may end in branches: continuations that all see what came before them and nothing of each other, so that many
phrases about one picture cost one pass. This file knows no towers and no tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from fo1agent.errors import InputError
from fo1agent.model.prompting import IMAGE_SLOT, REGION_SLOT
from fo1agent.regions.regions import shown

IGNORED = -100


def check_ids(size: int, input_ids: Any, attention_mask: Any = None, labels: Any = None) -> None:
    """Refuse what are no ids [B, P] of a vocabulary of `size`, and a mask or labels of another shape; None is none.

    Raises:
        InputError: the message names which of them, what was got and what was wanted.
    """
    for name, given, others in (("input_ids", input_ids, [IMAGE_SLOT, REGION_SLOT]), ("labels", labels, [IGNORED])):
        if given is None and given is labels:
            continue
        if not isinstance(given, Tensor) or given.dtype not in (torch.int64, torch.int32) or given.ndim != 2:
            raise InputError(f"{name} must be a tensor [B, P] of whole numbers, got {_told(given)}.")
        known = ((given >= 0) & (given < size)) | torch.isin(given, given.new_tensor(others))
        if not known.all():
            raise InputError(f"{name} must be ids from 0 to {size - 1} or of {others}, got {int(given[~known][0])}.")
    for name, given in (("attention_mask", attention_mask), ("labels", labels)):
        if given is not None and (not isinstance(given, Tensor) or given.shape != input_ids.shape):
            raise InputError(f"{name} must be a tensor {list(input_ids.shape)}, as input_ids is, got {_told(given)}.")
    read = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    if not len(read) or not read.bool().any(1).all():
        raise InputError("A row of input_ids has nothing to read: leave it out, or mark its ids in attention_mask.")


def _told(value: Any) -> str:
    """A value for a message: of a tensor its kind and shape, not its numbers."""
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else shown(value)


def check_length(most: int, prompt: int, new: int) -> None:
    """Refuse a prompt of more positions than a model has, or that leaves too few of them for new tokens.

    Raises:
        InputError: together they are more than `most`.
    """
    if prompt + new > most:
        raise InputError(
            f"The prompt takes {prompt} positions and max_new_tokens {new}, together {prompt + new}; the model has "
            f"{most}. Shorten the text or ask for fewer tokens."
        )


@dataclass
class Sample:
    """One prompt before splicing.

    Attributes:
        input_ids: [P] int64, with `IMAGE_SLOT` and `REGION_SLOT`.
        image_tokens: one [T, d] per image slot.
        image_grids: one (rows, columns) of merged cells per image slot; T = rows * columns.
        region_tokens: [N, d], one per region slot, in order; None for none.
        labels: [P] int64 targets, `IGNORED` where there is none; None when nothing is to be learned.
        branches: id lists [.] int64 without slots, each continuing `input_ids` on its own.
        branch_labels: targets of each branch; a branch's first token is never a target.
    """

    input_ids: Tensor
    image_tokens: Sequence[Tensor] = ()
    image_grids: Sequence[tuple[int, int]] = ()
    region_tokens: Tensor | None = None
    labels: Tensor | None = None
    branches: Sequence[Tensor] = ()
    branch_labels: Sequence[Tensor] | None = None


@dataclass
class TokenBatch:
    """What the language model reads: B samples, padded on the right to L tokens.

    Attributes:
        inputs_embeds: [B, L, d].
        position_ids: [3, B, L] int64; 1 on padding.
        mask: [B, L] bool, False on padding.
        labels: [B, L] int64, `IGNORED` on slots and padding; None when no sample has labels.
        region_slots: [B, L] bool.
        branch: [B, L] int64, the number of a token's branch, -1 before the branches.
        branch_ends: [K, 2] int64, (sample, position) of the last token of every branch, in order.
        next_position: [B] int64, the first position after what comes before the branches.
        sample: [B, L] int64, whose a token is where rows hold several samples (`pack`); None where each holds one.
    """

    inputs_embeds: Tensor
    position_ids: Tensor
    mask: Tensor
    labels: Tensor | None
    region_slots: Tensor
    branch: Tensor
    branch_ends: Tensor
    next_position: Tensor
    sample: Tensor | None = None

    @classmethod
    def plain(cls, inputs_embeds: Tensor, position_ids: Tensor, mask: Tensor) -> TokenBatch:
        """Rows [B, L] with nothing to learn, no slots and no branches; `mask` [B, S + L] covers a cache of S too."""
        shape = inputs_embeds.shape[:2]
        slots, branch = mask.new_zeros(shape, dtype=torch.bool), mask.new_full(shape, -1, dtype=torch.long)
        ends, following = branch.new_zeros(0, 2), position_ids[0, :, -1] + 1
        return cls(inputs_embeds, position_ids, mask.bool(), None, slots, branch, ends, following)

    def padded_left(self) -> TokenBatch:
        """The same rows with their padding in front, as a decoder that goes on needs them. No labels, no branches."""
        length = self.mask.shape[1]
        shift = length - self.mask.sum(1, keepdim=True)
        order = (torch.arange(length, device=shift.device) - shift) % length
        embeds = self.inputs_embeds.gather(1, order[..., None].expand_as(self.inputs_embeds))
        positions = self.position_ids.gather(2, order.expand_as(self.position_ids))
        moved = TokenBatch.plain(embeds, positions, self.mask.gather(1, order))
        moved.region_slots = self.region_slots.gather(1, order)
        return moved

    def region_tokens(self) -> Tensor:
        """What stands in the region slots of each row, [B, N, d], zeros behind a row's last."""
        rows = zip(self.inputs_embeds, self.region_slots, strict=True)
        return torch.nn.utils.rnn.pad_sequence([embeds[slots] for embeds, slots in rows], batch_first=True)

    def attention_mask(self) -> Tensor:
        """[B, L] for an ordinary batch; additive [B, 1, L, L] as soon as a row holds branches or several samples."""
        if not len(self.branch_ends) and self.sample is None:
            return self.mask.long()
        return branch_mask(self.branch, self.mask, self.branch.shape[1], self.inputs_embeds.dtype, self.sample)


@dataclass
class Prefix:
    """The keys and values of a prompt's beginning, shared by every question that continues it.

    Attributes:
        layers: (keys, values) of each layer, each [1, heads, L, head_dim]. Never written to.
        next_position: position of the token that comes next, the same on all three axes.
        region_states: [N, d], last hidden state at each region slot.
        region_tokens: [N, d], what stood in those slots.
    """

    layers: list[tuple[Tensor, Tensor]]
    next_position: int
    region_states: Tensor
    region_tokens: Tensor

    @classmethod
    def empty(cls, hidden_size: int) -> Prefix:
        """The beginning of a prompt without any picture: nothing."""
        return cls([], 0, torch.zeros(0, hidden_size), torch.zeros(0, hidden_size))

    @property
    def length(self) -> int:
        """Tokens in the prefix."""
        return self.layers[0][0].shape[2] if self.layers else 0

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(k.nbytes + v.nbytes for k, v in self.layers) + self.region_states.nbytes

    def cache(self, rows: int = 1) -> DynamicCache:
        """A cache of so many rows that start at the prefix. It grows by concatenation; the prefix stays as it is."""
        cache = DynamicCache()
        for index, (keys, values) in enumerate(self.layers):
            cache.update(keys[:, :, :0], values[:, :, :0], index)
            layer: Any = cache.layers[index]
            layer.keys, layer.values = keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1)
        return cache


def assemble(
    samples: Sequence[Sample],
    embed: Callable[[Tensor], Tensor],
    positions: Callable[[Tensor, Sequence[tuple[int, int]], Tensor], tuple[Tensor, Tensor]],
    device: torch.device | None = None,
    first_mention: int | None = None,
) -> TokenBatch:
    """Splice image and region tokens into their slots, and pad.

    Args:
        samples: one prompt each; they need not be of one length.
        embed: ids [B, L] → embeddings [B, L, d].
        positions: the base adapter's `positions` without its first argument.
        device: where the batch shall live; the samples' ids may be elsewhere.
        first_mention: id of `<region0>`, if region numbers in words carry their regions' tokens; see `mentioned`.

    Raises:
        InputError: a sample's slots and tokens differ in number.
    """
    rows = [_expand(i, sample) for i, sample in enumerate(samples)]
    ids = _pad([row[0] for row in rows], 0).to(device)
    branch = _pad([row[1] for row in rows], -1).to(device)
    offset = _pad([row[2] for row in rows], 0).to(device)
    mask = _pad([torch.ones_like(row[0]) for row in rows], 0).bool().to(device)
    labels = None
    if any(row[3] is not None for row in rows):
        filled = [torch.full_like(row[0], IGNORED) if row[3] is None else row[3] for row in rows]
        labels = _pad(filled, IGNORED).to(device)

    image_slots, region_slots = ids == IMAGE_SLOT, ids == REGION_SLOT
    embeds = embed(ids.clamp(min=0))
    # Row-major order of the slots is the order of the samples, and within each the order of its tokens.
    for slots, tokens in (
        (image_slots, [t for sample in samples for t in sample.image_tokens]),
        (region_slots, [s.region_tokens for s in samples if s.region_tokens is not None]),
    ):
        if slots.any():
            embeds = embeds.masked_scatter(slots[..., None], torch.cat(tokens).to(embeds))
    if first_mention is not None:
        nothing = embeds.new_zeros(0, embeds.shape[-1])
        own = [nothing if s.region_tokens is None else s.region_tokens.to(embeds) for s in samples]
        embeds = embeds + torch.stack([mentioned(i, r, first_mention) for i, r in zip(ids, own, strict=True)])

    stem = mask & (branch < 0)
    position_ids, next_position = positions(image_slots, [g for s in samples for g in s.image_grids], stem)
    in_branch = next_position[:, None] + offset
    position_ids = torch.where((branch >= 0)[None], in_branch[None], position_ids)
    return TokenBatch(embeds, position_ids, mask, labels, region_slots, branch, _ends(branch), next_position)


@dataclass
class Packed:
    """A batch whose samples share rows, and the way back.

    Attributes:
        batch: R <= B rows; of its fields only those that the decoder and the loss on labels read stay meaningful.
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
    mask = sample >= 0

    def moved(values: Tensor, fill: int) -> Tensor:
        return values.flatten(0, 1)[source].masked_fill(~mask, fill)

    labels = None
    if batch.labels is not None:
        labels = moved(batch.labels, IGNORED)
        starts = sample != torch.cat([sample.new_full((len(rows), 1), -1), sample[:, :-1]], dim=1)
        labels = labels.masked_fill(starts, IGNORED)  # its predecessor belongs to another sample
    branch = moved(batch.branch, -1)
    return Packed(
        TokenBatch(
            inputs_embeds=batch.inputs_embeds.flatten(0, 1)[source],
            position_ids=torch.stack([moved(axis, 1) for axis in batch.position_ids]),
            mask=mask,
            labels=labels,
            region_slots=moved(batch.region_slots, 0),
            branch=branch,
            branch_ends=_ends(branch),
            next_position=batch.next_position,
            sample=sample,
        ),
        places,
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


def mentioned(ids: Tensor, region_tokens: Tensor, first_mention: int) -> Tensor:
    """What mentions add to the embeddings of ids [L]: region K's token where `<regionK>` stands, else zero; [L, d].

    Args:
        ids: may hold slots.
        region_tokens: [N, d]; a number of no region adds nothing.
        first_mention: id of `<region0>`; those of the others follow in order.
    """
    number = ids.to(region_tokens.device) - first_mention
    known = (number >= 0) & (number < len(region_tokens))
    if not len(region_tokens):
        return region_tokens.new_zeros(len(ids), region_tokens.shape[-1])
    return region_tokens[number.clamp(0, len(region_tokens) - 1)] * known[:, None]


def branches_after(
    prefix: Prefix, branches: Sequence[Tensor], dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What it takes to read branches behind a cached prefix in one pass.

    Returns:
        ids [1, S], position ids [3, 1, S], additive mask [1, 1, S, L + S], and [K], the last token of each branch.
    """
    lengths = torch.tensor([len(b) for b in branches])
    ids = torch.cat(list(branches))
    number = torch.arange(len(branches)).repeat_interleave(lengths).to(ids.device)
    offset = torch.cat([torch.arange(len(b)) for b in branches]).to(ids.device)
    position_ids = (prefix.next_position + offset).expand(3, 1, -1)
    branch = torch.cat([number.new_full((prefix.length,), -1), number])[None]
    mask = branch_mask(branch, torch.ones_like(branch, dtype=torch.bool), len(ids), dtype)
    return ids[None], position_ids, mask, (lengths.cumsum(0) - 1).to(ids.device)


def branch_mask(branch: Tensor, mask: Tensor, queries: int, dtype: torch.dtype, sample: Tensor | None = None) -> Tensor:
    """Additive mask [B, 1, queries, L] of the last `queries` tokens: earlier tokens of the stem and of the same branch.

    Args:
        branch: [B, L] int64, -1 for the stem.
        mask: [B, L] bool, False on padding.
        queries: how many of the last tokens ask.
        dtype: of the result.
        sample: [B, L] int64, tokens of different numbers do not see each other; None: all of a row are of one.
    """
    length = branch.shape[1]
    index = torch.arange(length, device=branch.device)
    asking = branch[:, length - queries :, None]  # [B, queries, 1]
    seen = (branch[:, None] < 0) | (branch[:, None] == asking)
    seen = seen & (index[None, None] <= index[length - queries :, None]) & mask[:, None]
    if sample is not None:
        seen = seen & (sample[:, None] == sample[:, length - queries :, None])
    blocked = torch.finfo(dtype).min
    return torch.zeros(seen.shape, dtype=dtype, device=branch.device).masked_fill(~seen, blocked)[:, None]


def _expand(index: int, sample: Sample) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Ids, branch numbers, offsets within a branch, and labels of one sample, each [L], image slots repeated."""
    ids = sample.input_ids
    is_image = ids == IMAGE_SLOT
    regions = 0 if sample.region_tokens is None else len(sample.region_tokens)
    if int(is_image.sum()) != len(sample.image_tokens) or len(sample.image_tokens) != len(sample.image_grids):
        raise InputError(
            f"samples[{index}] has {int(is_image.sum())} image slots, {len(sample.image_tokens)} images and "
            f"{len(sample.image_grids)} image grids. Give one of each per image."
        )
    if int((ids == REGION_SLOT).sum()) != regions:
        raise InputError(
            f"samples[{index}] has {int((ids == REGION_SLOT).sum())} region slots and {regions} region tokens."
        )
    counts = torch.ones_like(ids)
    counts[is_image] = counts.new_tensor([len(t) for t in sample.image_tokens])
    stem = ids.repeat_interleave(counts)
    branches = list(sample.branches)
    full = torch.cat([stem, *branches])
    number = torch.cat([torch.full_like(stem, -1), *(torch.full_like(b, i) for i, b in enumerate(branches))])
    offset = torch.cat([torch.zeros_like(stem), *(torch.arange(len(b), device=b.device) for b in branches)])
    if sample.labels is None and sample.branch_labels is None:
        return full, number, offset, None
    own = torch.full_like(stem, IGNORED) if sample.labels is None else sample.labels.repeat_interleave(counts)
    own = own.masked_fill(stem < 0, IGNORED)
    targets = sample.branch_labels
    learned = [torch.full_like(b, IGNORED) for b in branches] if targets is None else [t.clone() for t in targets]
    for target in learned:
        # Its predecessor in the row belongs to another branch.
        target[:1] = IGNORED
    return full, number, offset, torch.cat([own, *learned])


def _pad(rows: Sequence[Tensor], value: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)


def _ends(branch: Tensor) -> Tensor:
    """(sample, position) of each branch's last token, [K, 2]."""
    following = torch.cat([branch[:, 1:], branch.new_full((len(branch), 1), -1)], dim=1)
    return ((branch >= 0) & (branch != following)).nonzero()
