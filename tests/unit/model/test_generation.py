"""Decoding many branches at once gives what decoding each alone gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fo1agent.model.fo1 import FO1
from fo1agent.model.generation import greedy, greedy_many
from fo1agent.model.prefix import Prefix
from fo1agent.model.sequence import Sample
from tests.tiny_models import nano, reference


def random_prefix(model: FO1, seed: int) -> Prefix:
    """What some words leave behind."""
    ids = torch.randint(0, 500, (9,), generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        return model.prefill(Sample(ids))


def random_branches(count: int, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 7, (count,), generator=generator).tolist()
    return [torch.randint(0, 500, (length,), generator=generator) for length in lengths]


@pytest.mark.parametrize("make", [nano, reference])
@pytest.mark.parametrize("count", [1, 2, 13])
def test_many_branches_give_what_each_gives_alone(make, count: int) -> None:
    model, _ = make()
    prefix, branches = random_prefix(model, count), random_branches(count, count)
    alone = [greedy(model, prefix, branch, (), 12) for branch in branches]
    # Tokens that some branches reach early and others never: they end at different steps.
    stops = {int(generated.ids[3]) for generated in alone[::2]}
    alone = [greedy(model, prefix, branch, stops, 12) for branch in branches]
    together = greedy_many(model, prefix, branches, stops, 12)
    assert len({len(generated.ids) for generated in alone}) > 1 or count == 1
    for one, same in zip(alone, together, strict=True):
        assert one.ids.tolist() == same.ids.tolist()
        assert one.stopped == same.stopped


def test_prefix_stays_as_it_is_and_may_be_empty() -> None:
    model, _ = nano()
    prefix, branches = random_prefix(model, 3), random_branches(4, 3)
    before = [tensor.clone() for tensor in prefix.tensors()]
    greedy_many(model, prefix, branches, (), 5)
    assert len(before) == 4
    assert all(torch.equal(now, old) for now, old in zip(prefix.tensors(), before, strict=True))
    empty = Prefix.empty(model.config.hidden_size)
    together = greedy_many(model, empty, branches, (), 5)
    assert [g.ids.tolist() for g in together] == [greedy(model, empty, b, (), 5).ids.tolist() for b in branches]


def test_no_branches_and_no_tokens_are_ordinary() -> None:
    model, _ = nano()
    prefix = random_prefix(model, 1)
    assert greedy_many(model, prefix, [], ()) == []
    (nothing,) = greedy_many(model, prefix, random_branches(1, 1), (), max_new_tokens=0)
    assert (nothing.ids.tolist(), nothing.stopped) == ([], False)
