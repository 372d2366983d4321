"""Token ids with slots for images and regions → the tensors that the language model reads.

A slot is a negative id. An image slot becomes all that stands for its picture (image tokens, and in some families text
between them), a region slot the next region token of its sample.
A sample may end in branches: continuations that all see what came before them and nothing of each other, so that many
phrases about one picture cost one pass. This file knows no towers and no tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fo1agent.errors import InputError
from fo1agent.model.frames import PictureTokens
from fo1agent.model.masks import Sight
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
        pictures: one per image slot.
        region_tokens: [N, d], one per region slot, in order; None for none.
        labels: [P] int64 targets, `IGNORED` where there is none; None when nothing is to be learned.
        branches: id lists [.] int64 without slots, each continuing `input_ids` on its own.
        branch_labels: targets of each branch; a branch's first token is never a target.
    """

    input_ids: Tensor
    pictures: Sequence[PictureTokens] = ()
    region_tokens: Tensor | None = None
    labels: Tensor | None = None
    branches: Sequence[Tensor] = ()
    branch_labels: Sequence[Tensor] | None = None


@dataclass
class TokenBatch:
    """What the language model reads: B samples, padded on the right to L tokens.

    Attributes:
        inputs_embeds: [B, L, d].
        position_ids: [axes, B, L] int64; 1 on padding.
        mask: [B, L] bool, False on padding; [B, S + L] behind a cache of S.
        place: as mask, int64: how many tokens of its own sequence stand before a token.
        labels: [B, L] int64, `IGNORED` on slots and padding; None when no sample has labels.
        region_slots: [B, L] bool.
        branch: [B, L] int64, the number of a token's branch, -1 before the branches.
        branch_ends: [K, 2] int64, (sample, position) of the last token of every branch, in order.
        next_position: [B] int64, the first position after what comes before the branches.
        image_index: [B, L] int64, which of the batch's n image tokens stands there, -1: none; None without images.
        extras: each [n, d]: what else goes into the decoder at the image tokens' places.
        ids: [B, L] int64, what is read, slots negative; anything on padding.
        sample: [B, L] int64, whose a token is where rows hold several samples (`pack`); None where each holds one.
        padded: as of `Sight`.
    """

    inputs_embeds: Tensor
    position_ids: Tensor
    mask: Tensor
    place: Tensor
    labels: Tensor | None
    region_slots: Tensor
    branch: Tensor
    branch_ends: Tensor
    next_position: Tensor
    image_index: Tensor | None = None
    extras: Sequence[Tensor] = ()
    ids: Tensor | None = None
    sample: Tensor | None = None
    padded: bool = True

    @classmethod
    def plain(
        cls,
        inputs_embeds: Tensor,
        position_ids: Tensor,
        mask: Tensor,
        image_index: Tensor | None = None,
        extras: Sequence[Tensor] = (),
        ids: Tensor | None = None,
        padded: bool = True,
    ) -> TokenBatch:
        """Rows [B, L] with nothing to learn, no region slots and no branches; `mask` covers a cache too."""
        shape = inputs_embeds.shape[:2]
        slots, branch = mask.new_zeros(shape, dtype=torch.bool), mask.new_full(shape, -1, dtype=torch.long)
        ends, following = branch.new_zeros(0, 2), position_ids[0, :, -1] + 1
        place = mask.long().cumsum(1) - 1
        known = (inputs_embeds, position_ids, mask.bool(), place, None, slots, branch, ends, following)
        return cls(*known, image_index, extras, ids, padded=padded)

    def padded_left(self) -> TokenBatch:
        """The same rows with their padding in front, as a decoder that goes on needs them. No labels, no branches."""
        length = self.mask.shape[1]
        shift = length - self.mask.sum(1, keepdim=True)
        order = (torch.arange(length, device=shift.device) - shift) % length
        embeds = self.inputs_embeds.gather(1, order[..., None].expand_as(self.inputs_embeds))
        positions = self.position_ids.gather(2, order.expand_as(self.position_ids))
        images = None if self.image_index is None else self.image_index.gather(1, order)
        ids = None if self.ids is None else self.ids.gather(1, order)
        moved = TokenBatch.plain(embeds, positions, self.mask.gather(1, order), images, self.extras, ids)
        moved.region_slots = self.region_slots.gather(1, order)
        return moved

    def region_tokens(self) -> Tensor:
        """What stands in the region slots of each row, [B, N, d], zeros behind a row's last."""
        rows = zip(self.inputs_embeds, self.region_slots, strict=True)
        return torch.nn.utils.rnn.pad_sequence([embeds[slots] for embeds, slots in rows], batch_first=True)

    def sight(self) -> Sight:
        """Who is in the rows, for a mask. Branches and samples of one row do not stand behind a cache."""
        image = None
        if self.image_index is not None:
            image = torch.nn.functional.pad(self.image_index >= 0, (self.mask.shape[1] - self.branch.shape[1], 0))
        branch = self.branch if len(self.branch_ends) else None
        return Sight(self.mask, self.place, branch, self.sample, image, self.padded)


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
    pictures = [picture for sample in samples for picture in sample.pictures]
    # Row-major order of the slots is the order of the samples, and within each the order of its tokens.
    for slots, tokens in (
        (image_slots, [picture.tokens for picture in pictures]),
        (region_slots, [s.region_tokens for s in samples if s.region_tokens is not None]),
    ):
        if slots.any():
            embeds = embeds.masked_scatter(slots[..., None], torch.cat(tokens).to(embeds))
    if first_mention is not None:
        nothing = embeds.new_zeros(0, embeds.shape[-1])
        own = [nothing if s.region_tokens is None else s.region_tokens.to(embeds) for s in samples]
        embeds = embeds + torch.stack([mentioned(i, r, first_mention) for i, r in zip(ids, own, strict=True)])

    stem = mask & (branch < 0)
    position_ids, next_position = positions(image_slots, [picture.grid_hw for picture in pictures], stem)
    in_branch = next_position[:, None] + offset
    position_ids = torch.where((branch >= 0)[None], in_branch[None], position_ids)
    place = torch.where(branch >= 0, stem.sum(1, keepdim=True) + offset, stem.cumsum(1) - 1)
    images, extras = None, []
    if pictures:
        images = (image_slots.flatten().cumsum(0) - 1).view_as(ids).masked_fill(~image_slots, -1)
        extras = [torch.cat(same).to(embeds) for same in zip(*(p.extras for p in pictures), strict=True)]
    known = (embeds, position_ids, mask, place, labels, region_slots, branch, ends_of(branch), next_position)
    return TokenBatch(*known, images, extras, ids)


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


def _expand(index: int, sample: Sample) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Ids, branch numbers, offsets within a branch, and labels of one sample, each [L], image slots repeated."""
    ids = sample.input_ids
    is_image = ids == IMAGE_SLOT
    regions = 0 if sample.region_tokens is None else len(sample.region_tokens)
    if int(is_image.sum()) != len(sample.pictures):
        raise InputError(
            f"samples[{index}] has {int(is_image.sum())} image slots, {len(sample.pictures)} images. Give one per slot."
        )
    if int((ids == REGION_SLOT).sum()) != regions:
        raise InputError(
            f"samples[{index}] has {int((ids == REGION_SLOT).sum())} region slots and {regions} region tokens."
        )
    inside = [_picture_ids(picture).to(ids.device) for picture in sample.pictures]
    stem = _filled(ids, is_image, inside)
    branches = list(sample.branches)
    full = torch.cat([stem, *branches])
    number = torch.cat([torch.full_like(stem, -1), *(torch.full_like(b, i) for i, b in enumerate(branches))])
    offset = torch.cat([torch.zeros_like(stem), *(torch.arange(len(b), device=b.device) for b in branches)])
    if sample.labels is None and sample.branch_labels is None:
        return full, number, offset, None
    own = torch.full_like(stem, IGNORED)
    if sample.labels is not None:
        own = _filled(sample.labels, is_image, [torch.full_like(one, IGNORED) for one in inside])
        own = own.masked_fill(stem < 0, IGNORED)
    targets = sample.branch_labels
    learned = [torch.full_like(b, IGNORED) for b in branches] if targets is None else [t.clone() for t in targets]
    for target in learned:
        # Its predecessor in the row belongs to another branch.
        target[:1] = IGNORED
    return full, number, offset, torch.cat([own, *learned])


def _picture_ids(picture: PictureTokens) -> Tensor:
    """What stands in place of the image slot, [L] int64."""
    return torch.full((len(picture.tokens),), IMAGE_SLOT) if picture.ids is None else picture.ids


def _filled(values: Tensor, at: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """[P] with each value at the P places marked in `at` replaced by the next of `parts`."""
    first, *rest = values.tensor_split(at.nonzero()[:, 0].cpu())
    return torch.cat([first, *(piece for part, own in zip(parts, rest, strict=True) for piece in (part, own[1:]))])


def _pad(rows: Sequence[Tensor], value: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)


def ends_of(branch: Tensor) -> Tensor:
    """(sample, position) of each branch's last token, [K, 2]."""
    following = torch.cat([branch[:, 1:], branch.new_full((len(branch), 1), -1)], dim=1)
    return ((branch >= 0) & (branch != following)).nonzero()
