"""Few queries over many keys give what transformers' `sdpa` gives, without copies of keys and values."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from fo1agent.model import attention
from tests.tiny_models import nano, reference


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the queries that are asked together."""
    seen: list[tuple[int, ...]] = []
    plain = attention.F.scaled_dot_product_attention

    def spied(query: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        seen.append(tuple(query.shape))
        return plain(query, *rest, **named)

    monkeypatch.setattr(attention, "F", SimpleNamespace(scaled_dot_product_attention=spied))
    return seen


def tensors(rows: int, asked: int, known: int, dtype: torch.dtype, heads: int = 6) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(rows, heads, asked, 8), (rows, 2, known, 8), (rows, 2, known, 8)]
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("rows", "asked", "masked"), [(1, 1, False), (3, 1, False), (1, 1, True), (1, 5, True), (3, 5, True)]
)
def test_few_queries_are_asked_together(
    rows: int, asked: int, masked: bool, dtype: torch.dtype, packed: list[tuple[int, ...]]
) -> None:
    layer: Any = SimpleNamespace(num_key_value_groups=3)
    query, key, value = tensors(rows, asked, 40, dtype)
    mask = None
    if masked:
        blocked = torch.rand(rows, 1, asked, 40, generator=torch.Generator().manual_seed(1)) < 0.5
        mask = torch.zeros(blocked.shape, dtype=dtype).masked_fill(blocked, torch.finfo(dtype).min)
    got, _ = attention.attend(layer, query, key, value, mask, scaling=0.3)
    wanted, _ = sdpa_attention_forward(layer, query, key, value, mask, scaling=0.3)
    assert packed == [(rows, 2, 3 * asked, 8)]
    assert got.is_contiguous()
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize(("asked", "known", "heads"), [(40, 40, 6), (5, 40, 6), (5, 40, 2)])
def test_whole_prompts_and_what_only_order_masks_are_left_to_transformers(
    asked: int, known: int, heads: int, packed: list[tuple[int, ...]]
) -> None:
    layer: Any = SimpleNamespace(num_key_value_groups=heads // 2, is_causal=True)
    query, key, value = tensors(1, asked, known, torch.float32, heads)
    got, _ = attention.attend(layer, query, key, value, None)
    assert torch.equal(got, sdpa_attention_forward(layer, query, key, value, None)[0])
    assert not packed


@pytest.mark.parametrize("pair", [reference, nano])
def test_the_decoder_of_a_model_attends_so_and_its_vision_tower_as_ever(pair: Any) -> None:
    model, _ = pair()
    assert model.adapter.decoder(model.base).config._attn_implementation == attention.NAME
    assert model.adapter.vision_tower(model.base).config._attn_implementation == "sdpa"
    assert attention.NAME not in model.config.to_json_string()
