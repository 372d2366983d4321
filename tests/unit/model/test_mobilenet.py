"""The auxiliary tower: TensorFlow's padding and anchors, views whose parities fit, candidates inside the picture."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from fo1agent.errors import CheckpointError
from fo1agent.model.mobilenet import (
    COCO_IDS,
    LEVELS,
    VIEWS,
    MobileNetV2SSD,
    View,
    anchor_boxes,
    decode,
    mirror,
    prepare,
    same_padding,
)
from fo1agent.model.views import view_size


@pytest.fixture(scope="module")
def tower() -> MobileNetV2SSD:
    torch.manual_seed(0)
    return MobileNetV2SSD().eval()


@pytest.mark.parametrize(("size", "pads"), [(300, (0, 1)), (75, (1, 1)), (38, (0, 1)), (19, (1, 1)), (2, (0, 1))])
def test_padding_at_stride_two_is_tensorflows(size: int, pads: tuple[int, int]) -> None:
    assert same_padding(size) == pads


@pytest.mark.parametrize("size_wh", [(640, 480), (480, 640), (416, 416), (4000, 1000), (30, 28), (1, 200)])
def test_view_sides_have_the_parities_of_training(size_wh: tuple[int, int]) -> None:
    width, height = view_size(*size_wh, 492)
    assert width % 64 == height % 64 == 44
    assert max(width, height) == 492


def test_coco_ids_skip_the_ten_unused_ones() -> None:
    assert len(COCO_IDS) == 80
    assert COCO_IDS[0] == 1
    assert COCO_IDS[-1] == 90


def test_maps_have_the_strides_and_channels_they_claim(tower: MobileNetV2SSD) -> None:
    with torch.inference_mode():
        maps = tower.maps(torch.zeros(1, 3, 300, 364))
    for level, features in zip(LEVELS, maps, strict=True):
        assert features.shape[1] == level.channels
        assert features.shape[2:] == (-(-300 // level.stride), -(-364 // level.stride))


def test_the_first_cell_looks_where_its_level_says(tower: MobileNetV2SSD) -> None:
    # The gradient of one cell's value shows which pixels it sees; their middle is the cell's centre.
    for index, level in enumerate(LEVELS[:3]):
        pixels = torch.zeros(1, 3, 300, 300, requires_grad=True)
        cell = 8
        tower.maps(pixels)[index][0, :, cell, cell].sum().backward()
        assert pixels.grad is not None
        seen = pixels.grad.abs().sum((0, 1)).sum(0).nonzero().flatten()  # columns
        middle = (seen.min() + seen.max()).item() / 2
        assert abs(middle - (level.offset + cell * level.stride)) <= 1


def test_anchors_keep_their_pixels_when_the_view_grows() -> None:
    small = anchor_boxes([(19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)], (300, 300))
    large = anchor_boxes([(31, 31), (16, 16), (8, 8), (4, 4), (2, 2), (1, 1)], (492, 492))
    assert small.shape == (1917, 4)
    np.testing.assert_allclose(small[0, 2:] * 300, large[0, 2:] * 492, rtol=1e-5)
    np.testing.assert_allclose(small[0], [0.5 / 19, 0.5 / 19, 0.1, 0.1], rtol=1e-6)


def test_zero_codes_give_the_anchor_itself() -> None:
    anchors = torch.tensor([[0.5, 0.5, 0.2, 0.4]])
    torch.testing.assert_close(decode(torch.zeros(1, 4), anchors), torch.tensor([[0.4, 0.3, 0.6, 0.7]]))


def test_forward_gives_candidates_of_every_view_inside_the_picture(tower: MobileNetV2SSD) -> None:
    views = prepare(Image.new("RGB", (200, 100), (90, 20, 200)))
    assert [tuple(view.shape[2:]) for view in views.values()] == [(364, 748), (300, 300), (300, 300)]
    with torch.inference_mode():
        maps, candidates = tower(views)
    assert [m.shape[1] for m in maps] == [level.channels for level in tower.levels]
    assert len(candidates.boxes) == len(VIEWS)
    for boxes, logits in zip(candidates.boxes, candidates.logits, strict=True):
        assert len(boxes) == len(logits)
        assert logits.shape[1] == 80
        assert boxes.min() >= 0
        assert boxes.max() <= 1


def test_a_mirrored_view_of_the_mirrored_picture_sees_what_the_straight_view_sees() -> None:
    torch.manual_seed(0)
    views = (View(300, square=True), View(300, square=True, mirrored=True))
    tower = MobileNetV2SSD(views).eval()
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (300, 300, 3), dtype=np.uint8))
    with torch.inference_mode():
        _, straight = tower(prepare(picture, views))
        _, turned = tower(prepare(ImageOps.mirror(picture), views))
    # The same pixels, so the same logits; and the boxes come back in the other picture's own direction.
    torch.testing.assert_close(turned.logits[1], straight.logits[0])
    torch.testing.assert_close(mirror(turned.boxes[1]), straight.boxes[0])


def test_the_last_map_is_the_view_shrunk(tower: MobileNetV2SSD) -> None:
    views = prepare(Image.new("RGB", (200, 100), (90, 20, 200)))
    with torch.inference_mode():
        maps, _ = tower(views)
    expected = (torch.tensor([90, 20, 200.0]) / 127.5 - 1)[None, :, None, None].expand_as(maps[-1])
    torch.testing.assert_close(maps[-1], expected)


@pytest.mark.parametrize("views", [(), (View(300, mirrored=True),)])
def test_a_tower_needs_a_first_view_that_is_not_mirrored(views: tuple[View, ...]) -> None:
    with pytest.raises(CheckpointError, match="needs a view"):
        MobileNetV2SSD(views)


def test_a_views_side_must_fit_the_padding() -> None:
    with pytest.raises(CheckpointError, match="44 mod 64"):
        View(640)
