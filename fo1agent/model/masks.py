"""Who sees whom in the rows that a decoder reads, and the masks that say so to its layers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Sight:
    """The tokens of B rows, those in a cache first; all that decides who sees whom.

    Attributes:
        mask: [B, S] bool, False on padding.
        place: [B, S] int64, how many tokens of its own sequence stand before a token.
        branch: [B, S] int64, the number of a token's branch, -1 for the stem; None: no row has branches.
        sample: [B, S] int64, tokens of different numbers do not see each other; None: all of a row are of one.
        image: [B, S] bool, True where an image token stands; None: nowhere.
        padded: False where it is known that nothing is padding, so that no device has to be asked.
    """

    mask: Tensor
    place: Tensor
    branch: Tensor | None = None
    sample: Tensor | None = None
    image: Tensor | None = None
    padded: bool = True


Mask = Tensor | dict[str, Tensor]
"""[B, S] int64, additive [B, 1, queries, S], or one of these for each type of layer."""


def attention_mask(
    sight: Sight, queries: int, dtype: torch.dtype, window: int | None = None, look_ahead: Collection[str] = ()
) -> Mask | None:
    """The mask of the last `queries` tokens of each row; None: nothing but order decides who sees whom.

    Args:
        sight: the tokens.
        queries: how many ask.
        dtype: of an additive mask.
        window: how many tokens, itself among them, a token sees in layers of the type `sliding_attention`; None: there
            are no such layers.
        look_ahead: types of layers in which the tokens of a picture also see those of it that follow.
    """
    blocks = picture_blocks(sight.image) if look_ahead and sight.image is not None else None
    if sight.branch is None and sight.sample is None and blocks is None:
        return sight.mask.long() if sight.padded else None  # the decoder knows what follows from that
    seen = visible(sight, queries)
    ahead = seen
    if blocks is not None:
        ahead = seen | ((blocks[:, None] == blocks[:, -queries:, None]) & (blocks[:, None] >= 0))
    full, sliding = (ahead if kind in look_ahead else seen for kind in ("full_attention", "sliding_attention"))
    if window is None:
        return additive(full, dtype)
    near = sight.place[:, -queries:, None] - sight.place[:, None] < window
    return {"full_attention": additive(full, dtype), "sliding_attention": additive(sliding & near, dtype)}


def visible(sight: Sight, queries: int) -> Tensor:
    """[B, queries, S] bool: earlier tokens of the stem and of the same branch, of the same sample."""
    length = sight.mask.shape[1]
    index = torch.arange(length, device=sight.mask.device)
    seen = (index[None, None] <= index[length - queries :, None]) & sight.mask[:, None]
    if sight.branch is not None:
        seen = seen & ((sight.branch[:, None] < 0) | (sight.branch[:, None] == sight.branch[:, -queries:, None]))
    if sight.sample is not None:
        seen = seen & (sight.sample[:, None] == sight.sample[:, -queries:, None])
    return seen


def picture_blocks(image: Tensor) -> Tensor:
    """[B, S] int64: the number of the run of image tokens that a token belongs to, -1 for none."""
    starts = image & ~torch.nn.functional.pad(image, (1, 0))[:, :-1]
    return (starts.cumsum(1) - 1).masked_fill(~image, -1)


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, queries, S] bool → [B, 1, queries, S], 0 where something is seen."""
    blocked = torch.finfo(dtype).min
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, blocked)[:, None]
