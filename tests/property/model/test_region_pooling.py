"""Laws of region pooling: it is RoIAlign averaged, boxes do not see each other, and inputs stay as they are."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import roi_align

from fo1agent.model.region_encoder import Level, PoolSpec, pool_bins, pool_mean

coordinate = st.floats(-60, 400, width=32, allow_nan=False)
box = st.tuples(coordinate, coordinate, coordinate, coordinate).map(
    lambda v: (min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3]))
)
boxes = st.lists(box, min_size=1, max_size=6).map(lambda rows: torch.tensor(rows, dtype=torch.float32))
strides = st.sampled_from([3.5, 4.0, 7.0, 14.0, 28.0])
LEVEL = Level(stride=8, channels=3, offset=3.5)


def features(height: int = 23, width: int = 31) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))


@given(boxes, strides, st.integers(1, 40), st.integers(1, 40))
def test_mean_pooling_equals_torchvision_on_any_box_and_map(rows: Tensor, stride: float, height: int, width: int):
    maps = features(height, width)
    wanted = roi_align(maps, [rows], 7, 1 / stride).mean((2, 3))
    torch.testing.assert_close(pool_mean(maps, rows, stride), wanted, rtol=0, atol=1e-5)


@given(boxes, st.sampled_from([PoolSpec(0), PoolSpec(0, 2), PoolSpec(0, 1, 2.0)]))
def test_each_box_is_pooled_as_if_alone(rows: Tensor, spec: PoolSpec):
    together = pool_bins(features(), rows, LEVEL, spec, (248, 184))
    alone = torch.cat([pool_bins(features(), row[None], LEVEL, spec, (248, 184)) for row in rows])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


@given(boxes)
def test_another_order_of_boxes_permutes_the_vectors(rows: Tensor):
    before = rows.clone()
    backwards = pool_mean(features(), rows.flip(0), 8.0)
    torch.testing.assert_close(backwards.flip(0), pool_mean(features(), rows, 8.0), rtol=0, atol=1e-5)
    assert torch.equal(rows, before)
