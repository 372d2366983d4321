"""The proposal head: geometry, decoding, who is responsible for which box, the losses; and lending its boxes out."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import box_iou

from fo1agent.model.proposal_head import (
    LevelOutput,
    ProposalHead,
    ProposalHeadConfig,
    assign,
    boxes_to_sides,
    fill_gaps,
    iou_from_sides,
    proposal_losses,
    resample,
    sides_to_boxes,
)
from fo1agent.pictures.image import load_image
from fo1agent.proposals.base import Proposer
from fo1agent.proposals.head import HeadProposer

CONFIG = ProposalHeadConfig(channels=(4, 6, 8), strides=(8, 16, 32), offsets=(3.5, 11.5, 11.5), width=16)
SIZE_HW = (172, 236)  # 44 mod 64, as the nano's tower wants it
GRIDS = (22, 30), (11, 15), (6, 8), (3, 4)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def make_maps(batch=1):
    return [
        torch.randn(batch, 4, 22, 30),
        torch.randn(batch, 6, 11, 15),
        torch.randn(batch, 8, 6, 8),
    ]


def perfect_outputs(head: ProposalHead, boxes: torch.Tensor) -> list[LevelOutput]:
    """What a head would say that knows `boxes`: their sides, and certainty, in every cell that is responsible."""
    empty = [
        LevelOutput(torch.zeros(1, 1, h, w), torch.ones(1, 4, h, w)) for h, w in ((22, 30), (11, 15), (6, 8), (3, 4))
    ]
    _, _, centres, strides = head.flatten(empty)
    owner = assign(centres, strides, boxes)
    sides = torch.ones(len(centres), 4)
    sides[owner >= 0] = boxes_to_sides(centres, boxes[owner.clamp(min=0)])[owner >= 0]
    logits = torch.where(owner >= 0, 20.0, -20.0)
    outputs, start = [], 0
    for o in empty:
        h, w = o.logits.shape[-2:]
        part = slice(start, start + h * w)
        outputs.append(LevelOutput(logits[part].reshape(1, 1, h, w), sides[part].T.reshape(1, 4, h, w)))
        start += h * w
    return outputs


BOXES = torch.tensor([[20.0, 30, 60, 90], [100, 20, 220, 160], [150, 60, 170, 75], [0, 0, 236, 172]])


def test_every_level_gives_one_box_and_score_per_cell():
    outputs = ProposalHead(CONFIG)(make_maps(2))
    assert [tuple(o.logits.shape) for o in outputs] == [(2, 1, 22, 30), (2, 1, 11, 15), (2, 1, 6, 8), (2, 1, 3, 4)]
    assert [tuple(o.sides.shape) for o in outputs] == [(2, 4, 22, 30), (2, 4, 11, 15), (2, 4, 6, 8), (2, 4, 3, 4)]
    assert all((o.sides > 0).all() for o in outputs)


def test_a_batch_equals_its_pictures_one_by_one():
    head, maps = ProposalHead(CONFIG).eval(), make_maps(3)
    together = head(maps)
    for i in range(3):
        alone = head([m[i : i + 1] for m in maps])
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a.logits[i : i + 1], b.logits, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(a.sides[i : i + 1], b.sides, rtol=1e-4, atol=1e-4)


def test_the_nano_head_has_a_third_of_a_million_parameters():
    config = ProposalHeadConfig(channels=(32, 576, 1280), strides=(8, 16, 32), offsets=(3.5, 11.5, 11.5))
    assert 250_000 < sum(p.numel() for p in ProposalHead(config).parameters()) < 330_000


def test_any_number_of_levels_works_and_inputs_are_not_changed():
    head = ProposalHead(ProposalHeadConfig((4,), (16,), (0.5,), width=8, extra_levels=0))
    maps = [torch.randn(1, 4, 1, 1)]
    before = maps[0].clone()
    assert len(head(maps)) == 1
    assert torch.equal(maps[0], before)


def test_cells_stand_where_the_tower_looks():
    head = ProposalHead(CONFIG)
    _, _, centres, strides = head.flatten(head(make_maps()))
    assert centres[0].tolist() == [3.5, 3.5]
    assert centres[1].tolist() == [11.5, 3.5]  # raster order: x runs first
    assert centres[22 * 30].tolist() == [11.5, 11.5]
    assert strides.unique().tolist() == [8, 16, 32, 64]


def test_resampling_reads_a_plane_exactly_although_cells_are_not_aligned():
    def plane(stride, offset, h, w):
        ys = offset + stride * torch.arange(h)[:, None]
        xs = offset + stride * torch.arange(w)[None]
        return (2.0 * ys + 0.5 * xs)[None, None]

    fine = resample(plane(16, 11.5, 11, 15), (22, 30), (8, 3.5), (16, 11.5))
    torch.testing.assert_close(fine[..., 1:21, 1:29], plane(8, 3.5, 22, 30)[..., 1:21, 1:29])
    assert fine[0, 0, 0, 0] == plane(16, 11.5, 1, 1)  # beyond the border: the last value


def test_sides_and_boxes_are_inverse():
    centres = torch.rand(5, 2) * 50 + 50
    boxes = torch.cat([centres - torch.rand(5, 2) * 40, centres + torch.rand(5, 2) * 40], dim=1)
    torch.testing.assert_close(sides_to_boxes(centres, boxes_to_sides(centres, boxes)), boxes)


def test_decoding_finds_what_the_outputs_say():
    head = ProposalHead(CONFIG)
    boxes, scores = head.decode(perfect_outputs(head, BOXES), SIZE_HW)
    found = boxes[scores > 0.5]
    assert len(found) == 4
    assert box_iou(BOXES, found).amax(dim=1).min() > 0.999
    assert (scores[:-1] >= scores[1:]).all()


def test_decoded_boxes_lie_in_the_picture_and_keep_to_the_limit():
    head = ProposalHead(CONFIG)
    boxes, scores = head.decode(head(make_maps()), SIZE_HW, limit=7)
    assert boxes.shape == (7, 4)
    assert scores.shape == (7,)
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= torch.tensor([236.0, 172.0])).all()
    overlaps = box_iou(boxes, boxes).fill_diagonal_(0)
    assert overlaps.max() <= 0.7


def test_boxes_without_thickness_are_no_proposals():
    head = ProposalHead(CONFIG)
    outputs = [LevelOutput(o.logits, o.sides * 0 + 0.1) for o in head(make_maps())]
    boxes, scores = head.decode(outputs, SIZE_HW)
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)


def cells():
    head = ProposalHead(CONFIG)
    _, _, centres, strides = head.flatten(head(make_maps()))
    return centres, strides


def test_no_box_no_responsible_cell():
    assert (assign(*cells(), torch.zeros(0, 4)) == -1).all()


def test_a_box_goes_to_the_level_of_its_size_and_to_cells_in_its_middle():
    centres, strides = cells()
    owner = assign(centres, strides, BOXES)
    for i, stride in enumerate((8, 32, 8, 32)):
        mine = owner == i
        assert mine.any(), i
        assert strides[mine].unique().tolist() == [stride]
        assert (boxes_to_sides(centres[mine], BOXES[i].expand(int(mine.sum()), 4)) > 0).all()


def test_of_two_boxes_at_one_place_the_smaller_is_taken():
    centres, strides = cells()
    boxes = torch.tensor([[20.0, 20, 60, 60], [24, 24, 56, 56]])
    owner = assign(centres, strides, boxes)
    assert not (owner == 0).any()
    assert (owner == 1).any()


def test_overlap_from_sides_is_the_overlap_of_the_boxes():
    centres = torch.zeros(6, 2)
    a, b = torch.rand(6, 4) + 0.1, torch.rand(6, 4) + 0.1
    wanted = box_iou(sides_to_boxes(centres, a), sides_to_boxes(centres, b)).diagonal()
    torch.testing.assert_close(iou_from_sides(a, b), wanted)


def test_perfect_outputs_cost_nothing():
    head = ProposalHead(CONFIG)
    losses = proposal_losses(head, perfect_outputs(head, BOXES), [BOXES], [torch.zeros(0, 4)])
    assert losses["count"] > 4
    for name in ("objectness", "overlap", "sides"):
        assert losses[name].item() == pytest.approx(0, abs=1e-3), name


def test_pictures_without_boxes_teach_only_that_nothing_is_there():
    head = ProposalHead(CONFIG)
    losses = proposal_losses(head, head(make_maps()), [torch.zeros(0, 4)], [torch.zeros(0, 4)])
    assert losses["objectness"] > 0
    assert losses["overlap"] == losses["sides"] == losses["count"] == 0


def test_ragged_batches_find_their_own_boxes():
    head = ProposalHead(CONFIG)
    maps, none = make_maps(3), torch.zeros(0, 4)
    boxes = [BOXES[:1], none, BOXES[1:]]
    together = proposal_losses(head, head(maps), boxes, [none, BOXES[2:3], none])
    alone = [
        proposal_losses(head, head([m[i : i + 1] for m in maps]), [boxes[i]], [[none, BOXES[2:3], none][i]])
        for i in range(3)
    ]
    for name, value in together.items():
        torch.testing.assert_close(value, sum(a[name] for a in alone), rtol=1e-4, atol=1e-4)


def test_cells_in_a_crowd_are_not_taught_to_be_empty():
    head, maps, none = ProposalHead(CONFIG), make_maps(), torch.zeros(0, 4)
    everything = torch.tensor([[-1.0, -1, 300, 300]])
    assert proposal_losses(head, head(maps), [none], [everything])["objectness"] == 0
    half = proposal_losses(head, head(maps), [none], [torch.tensor([[0.0, 0, 118, 172]])])["objectness"]
    full = proposal_losses(head, head(maps), [none], [none])["objectness"]
    assert 0 < half < full


def test_the_head_learns_one_picture():
    head, maps = ProposalHead(CONFIG), make_maps()
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-3)
    for _ in range(120):
        losses = proposal_losses(head, head(maps), [BOXES], [torch.zeros(0, 4)])
        optimizer.zero_grad()
        ((losses["objectness"] + losses["overlap"] + 0.25 * losses["sides"]) / losses["count"]).backward()
        optimizer.step()
    boxes, _ = head.decode(head(maps), SIZE_HW, limit=8)
    assert (box_iou(BOXES, boxes).amax(dim=1) > 0.7).all()


def test_gaps_are_filled_where_no_box_lies():
    boxes = torch.tensor([[0.0, 0, 10, 10]])
    found = torch.tensor([[0.0, 0, 10, 9], [20, 20, 30, 30]])
    assert fill_gaps(boxes, found).tolist() == [False, True]
    assert fill_gaps(boxes[:0], found).tolist() == [True, True]
    assert fill_gaps(boxes, found[:0]).tolist() == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"channels": (4, 6)}, "at least one level"),
        ({"strides": (8, 8, 16)}, "must rise"),
        ({"width": 12}, "multiple of 8"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        ProposalHeadConfig(**{**vars(CONFIG), **wrong})


@dataclass
class TwoThings:
    """Sees the same two boxes in every picture."""

    name: str = "two"
    boxes: np.ndarray = field(default_factory=lambda: np.array([[0.0, 0, 5, 5], [1, 2, 3, 4]]))
    objectness: np.ndarray = field(default_factory=lambda: np.array([0.2, 0.9]))

    def encode(self, image, /):
        return self


@pytest.mark.parametrize("limit", [100, 1, 0])
def test_a_models_boxes_can_be_lent_to_another(limit):
    image = load_image(Image.new("RGB", (8, 8)))
    proposer = HeadProposer(TwoThings(), limit)
    assert isinstance(proposer, Proposer)
    regions = proposer(image)
    assert len(regions) == min(limit, 2)
    assert regions.source == "two"
    if limit:
        assert regions[0].box == (1, 2, 3, 4)
        assert (regions[0].id, regions[0].label, regions[0].score) == (f"{image.id}/r0", None, 0.9)
