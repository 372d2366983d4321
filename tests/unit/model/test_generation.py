"""Decoding many branches at once gives what decoding each alone gives."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.cache_utils import DynamicLayer

from fo1agent.model import prefix as keeping
from fo1agent.model.fo1 import FO1
from fo1agent.model.generation import greedy, greedy_behind, greedy_many
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


class Waits(TorchDispatchMode):
    """What makes a CPU wait for a device, or copies something to it, by the operators and calls that do."""

    WAITING = ("_local_scalar_dense", "item", "is_nonzero", "nonzero", "equal", "masked_select")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.seen: list[str] = []
        for owner, name in ((Tensor, "tolist"), (Tensor, "cpu"), (Tensor, "numpy"), (torch, "tensor")):
            monkeypatch.setattr(owner, name, self._counted(name, getattr(owner, name)))

    def _counted(self, name: str, plain: Any) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            self.seen.append(name)
            return plain(*args, **named)

        return call

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (name := func.overloadpacket.__name__) in self.WAITING:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def one_by_one(model: FO1, prefix: Prefix, branches: list[Tensor], most: int) -> None:
    greedy(model, prefix, branches[0], {10**6}, most)


def one_prefix(model: FO1, prefix: Prefix, branches: list[Tensor], most: int) -> None:
    greedy_many(model, prefix, branches, {10**6}, most)


def two_prefixes(model: FO1, prefix: Prefix, branches: list[Tensor], most: int) -> None:
    greedy_behind(model, [prefix, prefix], [branches[:2], branches[2:]], {10**6}, most)


@pytest.mark.parametrize("make", [nano, reference])
@pytest.mark.parametrize("write", [one_by_one, one_prefix, two_prefixes])
def test_a_token_waits_for_nothing_but_whether_it_is_the_last(
    make: Any, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = make()
    prefix, branches = random_prefix(model, 3), random_branches(5, 3)
    seen = []
    for most in (4, 9):
        with monkeypatch.context() as patched, Waits(patched) as waits:
            write(model, prefix, branches, most)
        seen.append(Counter(waits.seen))
    more = seen[1] - seen[0]
    assert more.total() == 5, more


@pytest.mark.parametrize("make", [nano, reference])
def test_a_token_copies_nothing_that_is_kept_of_those_before_it(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = make()
    prefix, branches = random_prefix(model, 3), random_branches(5, 3)
    rooms = []
    moved = keeping._moved
    monkeypatch.setattr(keeping, "_moved", lambda *args: rooms.append(args[1]) or moved(*args))
    greedy_many(model, prefix, branches, (), 9)
    layers = len(prefix.tensors()) // 2
    assert rooms == [prefix.length] * 2 * layers


def test_what_others_make_of_a_layer_with_room_is_what_it_goes_on_from() -> None:
    layer, plain = keeping.RoomyLayer(), DynamicLayer()
    generator = torch.Generator().manual_seed(0)

    def read(count: int) -> None:
        new = torch.randn(2, 3, 2, count, 4, generator=generator)
        for one in (layer, plain):
            keys, values = one.update(*new)
        torch.testing.assert_close(layer.keys, keys, rtol=0, atol=0)
        torch.testing.assert_close(layer.values, values, rtol=0, atol=0)

    read(5)
    for one in (layer, plain):
        one.crop(-2)
    read(1)
    for one in (layer, plain):
        one.reorder_cache(torch.tensor([2, 0, 1]))  # pyright: ignore[reportArgumentType]
    read(100)
    read(30)
    twin = keeping.RoomyLayer.of(layer)
    twin.update(*torch.randn(2, 3, 2, 1, 4, generator=generator))
    read(1)
    assert (layer.get_seq_length(), twin.get_seq_length()) == (135, 135)
