"""Who sees whom, counted by hand on rows of a few tokens."""

from __future__ import annotations

from typing import Any

import torch

from fo1agent.model.masks import Sight, attention_mask, picture_blocks

# Two tokens of words, a picture of three, one of words; then two branches of two and one tokens.
IMAGE = torch.tensor([[0, 0, 1, 1, 1, 0, 0, 0, 0]], dtype=torch.bool)
BRANCH = torch.tensor([[-1, -1, -1, -1, -1, -1, 0, 0, 1]])
PLACE = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 7, 6]])
EVERYTHING = torch.ones(1, 9, dtype=torch.bool)


def seen(mask: Any, query: int) -> list[int]:
    """Which tokens the query sees in an additive mask of one row."""
    assert mask.shape[:2] == (1, 1)
    return (mask[0, 0, query] == 0).nonzero()[:, 0].tolist()


def test_where_order_decides_the_decoder_is_given_padding_alone() -> None:
    padded = torch.tensor([[False, True, True]])
    mask = attention_mask(Sight(padded, padded.long()), 3, torch.float32)
    assert isinstance(mask, torch.Tensor)
    assert (mask.dtype, mask.tolist()) == (torch.int64, [[0, 1, 1]])
    # Words alone: there is no picture to look ahead in.
    assert isinstance(
        attention_mask(Sight(padded, padded.long()), 3, torch.float32, 2, ("full_attention",)), torch.Tensor
    )


def test_branches_see_the_stem_and_themselves() -> None:
    mask = attention_mask(Sight(EVERYTHING, PLACE, BRANCH), 9, torch.float32)
    assert seen(mask, 5) == [0, 1, 2, 3, 4, 5]
    assert seen(mask, 7) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert seen(mask, 8) == [0, 1, 2, 3, 4, 5, 8]
    assert seen(mask, 2) == [0, 1, 2]


def test_a_window_is_counted_along_a_token_s_own_sequence_and_holds_in_its_layers_only() -> None:
    mask = attention_mask(Sight(EVERYTHING, PLACE, BRANCH), 3, torch.float32, window=3)
    assert isinstance(mask, dict)
    full, near = mask["full_attention"], mask["sliding_attention"]
    assert seen(full, 2) == [0, 1, 2, 3, 4, 5, 8]
    assert seen(near, 0) == [4, 5, 6]
    assert seen(near, 1) == [5, 6, 7]
    assert seen(near, 2) == [4, 5, 8]  # its place is 6, though eight tokens stand before it


def test_tokens_of_a_picture_look_ahead_in_the_layers_that_are_named() -> None:
    sight = Sight(EVERYTHING, PLACE, BRANCH, image=IMAGE)
    mask = attention_mask(sight, 9, torch.float32, window=4, look_ahead=("sliding_attention",))
    assert isinstance(mask, dict)
    assert seen(mask["full_attention"], 2) == [0, 1, 2]
    assert seen(mask["sliding_attention"], 2) == [0, 1, 2, 3, 4]
    assert seen(mask["sliding_attention"], 4) == [1, 2, 3, 4]
    assert seen(attention_mask(sight, 9, torch.float32, look_ahead=("full_attention",)), 3) == [0, 1, 2, 3, 4]


def test_samples_that_share_a_row_see_nothing_of_each_other_nor_of_padding() -> None:
    mask = torch.tensor([[True, True, True, True, False]])
    sight = Sight(mask, torch.tensor([[0, 1, 0, 1, 0]]), sample=torch.tensor([[0, 0, 1, 1, -1]]))
    found = attention_mask(sight, 5, torch.float32)
    assert [seen(found, query) for query in range(4)] == [[0], [0, 1], [2], [2, 3]]


def test_pictures_side_by_side_in_a_row_are_told_apart_by_the_words_between_them() -> None:
    image = torch.tensor([[1, 1, 0, 1, 0], [0, 0, 1, 1, 1]], dtype=torch.bool)
    assert picture_blocks(image).tolist() == [[0, 0, -1, 1, -1], [-1, -1, 0, 0, 0]]
