"""DaViT as we run it gives what transformers' own gives."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import Florence2VisionConfig
from transformers.models.florence2.modeling_florence2 import Florence2VisionWindowAttention

from fo1agent.model.aux_encoder import DaViT, WindowAttention


def config(bias: bool = True) -> Florence2VisionConfig:
    return Florence2VisionConfig(
        embed_dim=[16, 32],
        num_heads=[2, 4],
        num_groups=[2, 4],
        depths=[1, 1],
        window_size=4,
        drop_path_rate=0.0,
        patch_size=[7, 3],
        patch_stride=[4, 2],
        patch_padding=[3, 1],
        patch_prenorm=[False, True],
        qkv_bias=bias,
        attn_implementation="sdpa",  # pyright: ignore[reportCallIssue] (of every configuration)
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("height", "width"), [(8, 4), (7, 4), (8, 5), (3, 2), (9, 10)])
@pytest.mark.parametrize("learning", [True, False])
def test_windows_beyond_the_edge_hold_what_zeros_give(height: int, width: int, bias: bool, learning: bool) -> None:
    torch.manual_seed(0)
    plain = Florence2VisionWindowAttention(config(bias), 1)
    hidden = torch.randn(2, height, width, 32)
    own = WindowAttention(copy.deepcopy(plain))
    with torch.set_grad_enabled(learning):
        got, wanted = own(hidden), plain(hidden)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)
    if learning:
        for layer in (own, plain):
            layer(hidden).square().sum().backward()
        torch.testing.assert_close(own.qkv.weight.grad, plain.qkv.weight.grad, rtol=1e-4, atol=1e-5)


def test_a_tower_keeps_the_names_of_the_public_weights_and_runs_no_layer_beyond_the_map() -> None:
    torch.manual_seed(0)
    tower = DaViT(config()).eval()
    assert "blocks.0.0.spatial_block.window_attn.qkv.weight" in tower.state_dict()
    assert not any(isinstance(part, Florence2VisionWindowAttention) for part in tower.modules())
    cells: list[int] = []
    attention = tower.blocks[0][0].spatial_block.window_attn  # pyright: ignore[reportIndexIssue, reportAttributeAccessIssue]
    attention.qkv.register_forward_hook(lambda _, given, __: cells.append(given[0][..., 0].numel()))
    with torch.inference_mode():
        maps, _ = tower({"main": torch.randn(1, 3, 36, 20)})
    assert [tuple(one.shape) for one in maps] == [(1, 16, 9, 5), (1, 32, 5, 3)]
    assert cells == [9 * 5]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blocks_keep_channels_last_and_give_what_their_own_forward_gives(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    tower: Any = DaViT(config())
    tower.to(dtype).eval()
    given: list[bool] = []
    for block in tower.blocks:
        for conv in (part for part in block.modules() if isinstance(part, torch.nn.Conv2d)):
            conv.register_forward_pre_hook(lambda _, args: given.append(args[0].stride()[1] == 1))
    hidden = torch.randn(2, 3, 36, 20).to(dtype)
    with torch.inference_mode():
        maps, _ = tower({"main": hidden})
        assert given == [True] * 8
        for conv, stage, got in zip(tower.convs, tower.blocks, maps, strict=True):
            hidden = conv(hidden)
            for block in stage:  # pyright: ignore[reportGeneralTypeIssues]
                hidden = block(hidden)
            torch.testing.assert_close(got, hidden, rtol=0, atol=1e-6 if dtype == torch.float32 else 3e-2)
