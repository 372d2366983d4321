"""The region encoder: pooling against torchvision, bins by true cell centres, embedding, and its options."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

from fo1agent.model import region_encoder
from fo1agent.model.region_encoder import (
    Level,
    PoolSpec,
    RegionConfig,
    RegionEncoder,
    SimpleFP,
    TowerFeatures,
    box_embedding,
    pool_bins,
    pool_mean,
    pool_mean_folded,
)

BOXES = torch.tensor(
    [
        [0.0, 0.0, 320.0, 240.0],  # the whole picture
        [311.0, 234.0, 320.0, 240.0],  # its last corner, with samples exactly on the border
        [160.0, 120.0, 161.0, 121.5],  # smaller than a cell
        [50.0, 50.0, 50.0, 50.0],  # no area
        [-20.0, -9.0, 400.0, 300.0],  # beyond every side
        [89.97, 75.96, 257.31, 200.93],
    ]
)


@pytest.mark.parametrize("stride", [4.0, 3.5, 28.0])
def test_mean_pooling_is_torchvision_s_roi_align_averaged(stride: float):
    features = torch.randn(1, 5, 37, 53, generator=torch.Generator().manual_seed(0))
    wanted = roi_align(features, [BOXES], 7, 1 / stride).mean((2, 3))
    torch.testing.assert_close(pool_mean(features, BOXES, stride), wanted, rtol=0, atol=2e-6)


@pytest.mark.parametrize("stride", [4.0, 3.5, 28.0])
def test_so_is_aligned_pooling_of_boxes_that_have_an_area(stride: float):
    features, boxes = torch.randn(1, 5, 37, 53, generator=torch.Generator().manual_seed(0)), BOXES[[0, 1, 2, 4, 5]]
    wanted = roi_align(features, [boxes], 7, 1 / stride, aligned=True).mean((2, 3))
    torch.testing.assert_close(pool_mean(features, boxes, stride, aligned=True), wanted, rtol=0, atol=2e-6)
    (folded,) = pool_mean_folded([features], boxes, stride, aligned=True)
    torch.testing.assert_close(folded, wanted, rtol=0, atol=2e-6)


def test_folded_upsampling_is_upsampling_then_roi_align():
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(1, 3, h, w, generator=generator) for h, w in [(60, 80), (30, 40), (15, 20), (8, 10)]]
    upsampled = [F.interpolate(m, size=(60, 80), mode="bilinear", align_corners=False) for m in maps]
    wanted = [roi_align(m, [BOXES], 7, 1 / 4.0).mean((2, 3)) for m in upsampled]
    for got, expected in zip(pool_mean_folded(maps, BOXES, 4.0), wanted, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=2e-6)


def test_bins_read_a_ramp_at_their_own_centres():
    level = Level(stride=16, channels=2, offset=11.5)
    x = 11.5 + 16 * torch.arange(31.0)
    features = torch.stack([x[None].expand(31, 31), x[:, None].expand(31, 31)])[None]
    boxes = torch.tensor([[100.0, 60.0, 300.0, 100.0]])
    got = pool_bins(features, boxes, level, PoolSpec(0, bins=2), (492, 492)).reshape(2, 2, 2)
    torch.testing.assert_close(got[0], torch.tensor([[150.0, 250.0], [150.0, 250.0]]))
    torch.testing.assert_close(got[1], torch.tensor([[70.0, 70.0], [90.0, 90.0]]))


def test_an_enlarged_box_is_clipped_to_the_picture():
    level = Level(stride=1, channels=1, offset=0.0)
    features = torch.arange(100.0).expand(1, 1, 100, 100)
    boxes = torch.tensor([[0.0, 0.0, 40.0, 40.0], [30.0, 30.0, 50.0, 50.0]])
    got = pool_bins(features, boxes, level, PoolSpec(0, context=2.0), (100, 100))[:, 0]
    torch.testing.assert_close(got, torch.tensor([30.0, 40.0]))


def test_the_embedding_is_sines_and_cosines_of_cy_cx_w_h():
    got = box_embedding(torch.tensor([[10.0, 20.0, 30.0, 60.0]]), (100.0, 200.0), 16)[0].reshape(4, 4)
    for row, value in zip(got, (40 / 200, 20 / 100, 20 / 100, 40 / 200), strict=True):
        angle = 2 * math.pi * value
        wanted = [math.sin(angle), math.cos(angle), math.sin(angle / 100), math.cos(angle / 100)]
        torch.testing.assert_close(row, torch.tensor(wanted))


def test_the_nano_s_reads_give_4312_numbers_and_evidence_behind_them():
    levels = [Level(4, 24, 3.5), Level(8, 32, 3.5), Level(16, 576, 11.5), Level(32, 1280, 11.5)]
    pools = (PoolSpec(0), PoolSpec(1, 2), PoolSpec(2, 2), PoolSpec(3), PoolSpec(2, 1, 2.0))
    encoder = RegionEncoder(RegionConfig(pools=pools, primary_channels=0, evidence_size=162), levels)
    assert (encoder.pooled_size, encoder.size) == (4312, 4474)
    maps = [torch.randn(1, level.channels, 300 // int(level.stride), 300 // int(level.stride)) for level in levels]
    evidence = torch.rand(6, 162)
    got = encoder(TowerFeatures(maps, (300, 300)), BOXES, evidence=evidence)
    assert got.shape == (6, 4474)
    assert torch.equal(got[:, 4312:], evidence)
    with pytest.raises(ValueError, match="takes evidence"):
        encoder(TowerFeatures(maps, (300, 300)), BOXES)


def test_no_boxes_give_no_vectors_and_inputs_stay_as_they_are():
    encoder = RegionEncoder(RegionConfig(primary_channels=8, fpn_channels=4), [Level(4, 4), Level(8, 8)])
    aux = TowerFeatures([torch.randn(1, 4, 20, 20), torch.randn(1, 8, 10, 10)], (80, 80))
    primary = TowerFeatures([torch.randn(1, 8, 6, 6)], (84, 84))
    assert encoder(aux, torch.zeros(0, 4), primary, torch.zeros(0, 4)).shape == (0, encoder.size)
    before = BOXES.clone()
    encoder(aux, BOXES, primary, BOXES)
    assert torch.equal(BOXES, before)
    with pytest.raises(ValueError, match="pass primary and primary_boxes"):
        encoder(aux, BOXES)


@pytest.mark.parametrize("rows", [2, 3, 11, 24])
@pytest.mark.parametrize("kept", [[0], [1], [2], [3], [4], [5], [2, 5], [0, 1, 2, 3, 4, 5], []])
def test_levels_that_are_made_only_inside_boxes_are_read_as_whole_ones(rows: int, kept: list[int]):
    torch.manual_seed(0)
    encoder = RegionEncoder(RegionConfig(primary_channels=8, fpn_channels=4), [Level(4, 4)])
    primary_map, boxes = torch.randn(1, 8, rows, 23), BOXES[kept]
    assert encoder.simple_fpn is not None
    whole = zip(encoder.simple_fpn(primary_map), encoder.config.fpn_strides, strict=True)
    wanted = torch.cat([pool_mean(level, boxes, stride) for level, stride in whole], dim=1)
    aux = TowerFeatures([torch.zeros(1, 4, 60, 80)], (320.0, 240.0))
    got = encoder(aux, boxes, TowerFeatures([primary_map], (322.0, rows * 14.0)), boxes)
    got = got - box_embedding(boxes, (322.0, rows * 14.0), encoder.pooled_size)
    torch.testing.assert_close(got[:, 4:], wanted, rtol=0, atol=5e-6)


def test_of_a_small_box_only_a_small_part_of_the_levels_is_made(monkeypatch: pytest.MonkeyPatch):
    made: list[tuple[int, ...]] = []
    encoder = RegionEncoder(RegionConfig(primary_channels=8, fpn_channels=4), [Level(4, 4)])
    finest = encoder.get_submodule("simple_fpn.simfp_1")
    finest.register_forward_hook(lambda *seen: made.append(tuple(seen[2].shape[2:])))
    aux = TowerFeatures([torch.zeros(1, 4, 60, 80)], (320.0, 240.0))
    encoder(aux, BOXES[2:3], TowerFeatures([torch.randn(1, 8, 100, 100)], (1400.0, 1400.0)), BOXES[2:3])
    assert max(made[0]) <= 4 * 12  # of 400


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_map_that_is_read_in_pieces_is_read_as_in_one(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    features = torch.randn(1, 7, 37, 53, generator=torch.Generator().manual_seed(0)).to(dtype)
    wanted = pool_mean(features.float(), BOXES, 4.0)
    monkeypatch.setattr(region_encoder, "_CELLS_AT_ONCE", 2 * 37 * 53)
    torch.testing.assert_close(pool_mean(features, BOXES, 4.0), wanted, rtol=0, atol=2e-6)


def test_simple_fp_doubles_twice_and_halves_once():
    sizes = [tuple(m.shape) for m in SimpleFP(16, 6)(torch.randn(1, 16, 6, 8))]
    assert sizes == [(1, 6, 24, 32), (1, 6, 12, 16), (1, 6, 6, 8), (1, 6, 3, 4)]


def test_impossible_configurations_are_refused():
    with pytest.raises(ValueError, match="divisible by 4"):
        RegionEncoder(RegionConfig(primary_channels=0), [Level(4, 3)])
    with pytest.raises(ValueError, match="bins from 1"):
        PoolSpec(0, bins=0)
    with pytest.raises(ValueError, match="four levels"):
        RegionConfig(fpn_strides=(7.0, 14.0))
