"""Few queries over many keys give what transformers' `sdpa` gives, without copies of keys and values."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import Qwen2_5_VLConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLVisionAttention

from fo1agent.model import attention
from fo1agent.model.bases.qwen2_5_vl import VisionAttention
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


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with units for bfloat16, whatever it is."""
    monkeypatch.setattr(attention, "_units", lambda: True)
    monkeypatch.setattr(attention, "_SCORES", 700)  # several pieces, the last of them smaller
    monkeypatch.setattr(attention, "_QUERIES", 3)


def far(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((got.double() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("ordered", [False, True])
def test_whole_prompts_in_bfloat16_are_as_exact_by_products_as_by_torch(units: None, ordered: bool) -> None:
    query, key, value = tensors(2, 40, 40, torch.bfloat16)
    query, key = query * 8, key + 6  # large scores, of which bfloat16 would keep too little
    layer: Any = SimpleNamespace(num_key_value_groups=3, is_causal=ordered)
    got, _ = attention.attend(layer, query, key, value, None)
    exact = [one.double() for one in (query, key, value)]
    wanted, _ = sdpa_attention_forward(layer, exact[0], exact[1], exact[2], None)
    torchs, _ = sdpa_attention_forward(layer, query, key, value, None)
    assert got.dtype == torch.bfloat16
    assert got.is_contiguous()
    assert far(got, wanted) < 2 * far(torchs, wanted) < 0.02


def test_pieces_of_heads_and_of_queries_make_the_whole(units: None, monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = tensors(5, 12, 12, torch.bfloat16, heads=2)
    in_pieces = attention.whole(query, key, value, 0.3)
    monkeypatch.setattr(attention, "_SCORES", 10**9)
    torch.testing.assert_close(attention.whole(query, key, value, 0.3), in_pieces, rtol=0, atol=1e-2)


@pytest.mark.parametrize("why", ["float32", "gradient", "no units"])
def test_other_wholes_are_left_to_torch(units: None, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = tensors(1, 12, 12, torch.float32 if why == "float32" else torch.bfloat16, heads=2)
    query.requires_grad_(why == "gradient")
    if why == "no units":
        monkeypatch.setattr(attention, "_units", lambda: False)
    got = attention.whole(query, key, value, 0.3)
    assert torch.equal(got, attention.F.scaled_dot_product_attention(query, key, value, scale=0.3))
    assert got.requires_grad == (why == "gradient")


@pytest.mark.parametrize("lengths", [[70], [4, 4, 2, 4, 4, 2, 1], [64, 6]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("learning", [False, True])
def test_windows_looked_at_together_see_what_each_sees_alone(
    lengths: list[int], dtype: torch.dtype, learning: bool
) -> None:
    config: Any = Qwen2_5_VLConfig(vision_config={"hidden_size": 32, "num_heads": 2}).vision_config
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    layer = Qwen2_5_VLVisionAttention(config).to(dtype)
    count, ends = sum(lengths), torch.tensor([0, *lengths]).cumsum(0)
    angles = torch.randn(count, 8).repeat(1, 2)
    given = torch.randn(count, 32).to(dtype)
    with torch.set_grad_enabled(learning):
        wanted = layer(given, ends, (angles.cos(), angles.sin()))
        layer.__class__, config._attn_implementation = VisionAttention, attention.NAME
        kept = given.clone()
        got = layer(given, ends, (angles.cos(), angles.sin()))
    assert torch.equal(given, kept)
    assert got.requires_grad == learning
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("pair", [reference, nano])
def test_the_decoder_of_a_model_and_its_vision_tower_attend_so_unless_told_otherwise(pair: Any) -> None:
    model, _ = pair()
    for part in (model.adapter.decoder(model.base), model.adapter.vision_tower(model.base)):
        assert part.config._attn_implementation == attention.NAME
    assert attention.NAME not in model.config.to_json_string()
