"""The proposal head: where things are, from the auxiliary tower's feature maps, whatever they are called.

Every cell of every level gives one box (its distances to the four sides) and one objectness logit that predicts how
well that box fits (its IoU), so the score ranks boxes by quality. Works on any tower: a level is a map [B, C, h, w]
with its stride and the pixel at which its first cell is centred. Coordinates are pixels of the tower's input.

It knows no language, and by itself no names; with `classes` it says how well a cell's box fits a thing of each of so
many kinds. `proposal_losses` is what it is trained by.

Source of the parts: FCOS (arXiv 1904.01355), quality focal loss (arXiv 2006.04388).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_iou, nms

_GROUPS = 8  # of the group norms
_LARGEST_LOG_SIDE = 5.0  # sides are at most e^5 cells: keeps an untrained head finite


@dataclass(frozen=True)
class ProposalHeadConfig:
    """What the head is made of; kept as JSON beside the weights.

    Attributes:
        channels, strides, offsets: of each level it reads, finest first: channels of the map, input pixels per cell,
            input pixel at which cell 0 is centred.
        width: channels inside the head.
        extra_levels: coarser levels that the head adds itself, each at twice the stride of the one before.
        blocks: separable convolutions before the objectness, and as many before the box.
        classes: K, kinds of things that are told apart; 1: things of any kind.
    """

    channels: tuple[int, ...]
    strides: tuple[float, ...]
    offsets: tuple[float, ...]
    width: int = 96
    extra_levels: int = 1
    blocks: int = 2
    classes: int = 1

    def __post_init__(self) -> None:
        for name in ("channels", "strides", "offsets"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not (len(self.channels) == len(self.strides) == len(self.offsets) >= 1):
            raise ValueError(f"{self}: pass one channel count, stride and offset for each of at least one level.")
        if list(self.strides) != sorted(set(self.strides)):
            raise ValueError(f"strides must rise from level to level, got {self.strides}.")
        if self.width % _GROUPS:
            raise ValueError(f"width must be a multiple of {_GROUPS}, got {self.width}.")

    @property
    def all_strides(self) -> tuple[float, ...]:
        """Stride of every level that gives boxes, the extra ones included."""
        return self.strides + tuple(self.strides[-1] * 2 ** (k + 1) for k in range(self.extra_levels))

    @property
    def all_offsets(self) -> tuple[float, ...]:
        """Centre of cell 0 of every such level; a 3x3 convolution of stride 2 padded by 1 keeps it where it was."""
        return self.offsets + self.offsets[-1:] * self.extra_levels


class LevelOutput(NamedTuple):
    """One level: objectness logits [B, K, h, w], and box sides [B, 4, h, w]: pixels from the cell's centre to the
    left, top, right and bottom, all positive."""

    logits: Tensor
    sides: Tensor


class GroupNorm(nn.GroupNorm):
    """torch's, for maps of any size: `F.group_norm` refuses a batch of one picture whose map is a single cell."""

    def __init__(self, channels: int) -> None:
        super().__init__(_GROUPS, channels)

    def forward(self, input: Tensor) -> Tensor:
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class SeparableConv(nn.Module):
    """Depth-wise `kernel` x `kernel`, then 1x1, group norm, SiLU; any shape [B, C, h, w]."""

    def __init__(self, width: int, kernel: int = 5, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width, bias=False)
        self.pointwise = nn.Conv2d(width, width, 1, bias=False)
        self.norm = GroupNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(self.pointwise(self.depthwise(x))))


class ProposalHead(nn.Module):
    """Maps → one box and one score per cell → the best boxes."""

    def __init__(self, config: ProposalHeadConfig) -> None:
        super().__init__()
        self.config = config
        width, levels = config.width, len(config.all_strides)
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, width, 1, bias=False), GroupNorm(width)) for c in config.channels
        )
        self.coarser = nn.ModuleList(SeparableConv(width, 3, 2) for _ in range(config.extra_levels))
        self.merges = nn.ModuleList(SeparableConv(width) for _ in range(levels))
        self.score_blocks = nn.ModuleList(SeparableConv(width) for _ in range(config.blocks))
        self.box_blocks = nn.ModuleList(SeparableConv(width) for _ in range(config.blocks))
        self.score = nn.Conv2d(width, config.classes, 1)
        self.box = nn.Conv2d(width, 4, 1)
        self.side_scales = nn.Parameter(torch.ones(levels))
        nn.init.constant_(self.score.bias, -math.log(99))  # pyright: ignore[reportArgumentType] (it has a bias)
        nn.init.normal_(self.box.weight, std=0.01)
        nn.init.constant_(self.box.bias, 1.0)  # pyright: ignore[reportArgumentType]  e^1 cells to each side

    def forward(self, maps: Sequence[Tensor]) -> list[LevelOutput]:
        """The configured levels' maps, finest first, each [B, C, h, w] → one output per level, extra levels last."""
        levels = [lateral(m) for lateral, m in zip(self.laterals, maps, strict=True)]
        for coarser in self.coarser:
            levels.append(coarser(levels[-1]))
        strides, offsets = self.config.all_strides, self.config.all_offsets
        for k in reversed(range(len(levels))):  # context flows from coarse to fine
            if k + 1 < len(levels):
                geometry = (strides[k], offsets[k]), (strides[k + 1], offsets[k + 1])
                levels[k] = levels[k] + resample(levels[k + 1], levels[k].shape[-2:], *geometry)
            levels[k] = self.merges[k](levels[k])
        return [self._predict(x, k) for k, x in enumerate(levels)]

    def _predict(self, x: Tensor, level: int) -> LevelOutput:
        scored = boxed = x
        for block in self.score_blocks:
            scored = scored + block(scored)
        for block in self.box_blocks:
            boxed = boxed + block(boxed)
        log_sides = self.box(boxed).float() * self.side_scales[level].float()
        sides = log_sides.clamp(max=_LARGEST_LOG_SIDE).exp() * self.config.all_strides[level]
        return LevelOutput(self.score(scored).float(), sides)

    def flatten(self, outputs: Sequence[LevelOutput]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All cells of all levels in one row: logits [B, P, K], sides [B, P, 4], centres [P, 2], strides [P]."""
        logits = torch.cat([o.logits.flatten(2) for o in outputs], dim=2).transpose(1, 2)
        sides = torch.cat([o.sides.flatten(2) for o in outputs], dim=2).transpose(1, 2)
        sizes_hw = [o.logits.shape[-2:] for o in outputs[: len(self.config.strides)]]
        return logits, sides, *self.cells(sizes_hw, logits.device)

    def cells(self, sizes_hw: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
        """Centres [P, 2] and strides [P] of all cells of all levels, for maps of these (height, width)."""
        sizes = [tuple(size) for size in sizes_hw]
        for _ in range(self.config.extra_levels):
            sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
        centres, strides = [], []
        for (h, w), stride, offset in zip(sizes, self.config.all_strides, self.config.all_offsets, strict=True):
            ys = offset + stride * torch.arange(h, device=device, dtype=torch.float32)
            xs = offset + stride * torch.arange(w, device=device, dtype=torch.float32)
            centres.append(torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1).reshape(-1, 2))
            strides.append(torch.full((h * w,), float(stride), device=device))
        return torch.cat(centres), torch.cat(strides)

    def decode(
        self, outputs: Sequence[LevelOutput], size_hw: tuple[int, int], limit: int = 100, overlap: float = 0.7
    ) -> tuple[Tensor, Tensor]:
        """`decode_each` of a head that tells no kinds apart."""
        ((boxes, scores),) = self.decode_each(outputs, size_hw, limit, overlap)
        return boxes, scores

    @torch.no_grad()
    def decode_each(
        self,
        outputs: Sequence[LevelOutput],
        size_hw: tuple[int, int],
        limit: int = 100,
        overlap: float = 0.7,
        least: float = 0.0,
    ) -> list[tuple[Tensor, Tensor]]:
        """For each kind the best boxes of one picture (B = 1), best first.

        Args:
            outputs: what `forward` returned.
            size_hw: height and width of the tower's input, pixels; boxes are cut there.
            limit: at most so many boxes of a kind.
            overlap: of two boxes with a larger IoU the better one is kept.
            least: boxes that score less are dropped.

        Returns:
            boxes [N, 4] xyxy in pixels of the tower's input, and their scores [N]: the IoU that the head expects of
            them with some object, 0 to 1. Boxes thinner than a pixel are dropped, so N may be 0.
        """
        logits, sides, centres, _ = self.flatten(outputs)
        height, width = size_hw
        found = []
        for scores in logits[0].sigmoid().unbind(-1):
            scores, best = scores.topk(min(20 * limit, len(scores)))
            scores, best = scores[scores >= least], best[scores >= least]
            boxes = sides_to_boxes(centres[best], sides[0, best])
            boxes = torch.minimum(boxes.clamp(min=0), boxes.new_tensor([width, height, width, height]))
            thick = (boxes[:, 2:] - boxes[:, :2] >= 1).all(dim=1)
            boxes, scores = boxes[thick], scores[thick]
            kept = nms(boxes, scores, overlap)[:limit]
            found.append((boxes[kept], scores[kept]))
        return found


def resample(x: Tensor, size_hw: Sequence[int], fine: tuple[float, float], coarse: tuple[float, float]) -> Tensor:
    """Read a coarse map [B, C, h, w] at the cell centres of a finer one, bilinearly; beyond the border its last value.

    `fine` and `coarse` are (stride, offset). Two small matmuls; cells need not be aligned, as they are not in towers
    with TensorFlow's padding.
    """

    def weights(cells: int, known: int) -> Tensor:  # [cells, known]
        at = (fine[1] + fine[0] * torch.arange(cells, device=x.device) - coarse[1]) / coarse[0]
        at = at.clamp(0, known - 1)
        return (1 - (at[:, None] - torch.arange(known, device=x.device)).abs()).clamp(min=0).to(x.dtype)

    height, width = size_hw
    return weights(height, x.shape[-2]) @ (x @ weights(width, x.shape[-1]).T)


def sides_to_boxes(centres: Tensor, sides: Tensor) -> Tensor:
    """Centres [..., 2] and distances to left, top, right, bottom [..., 4] → xyxy [..., 4]."""
    return torch.cat([centres - sides[..., :2], centres + sides[..., 2:]], dim=-1)


def boxes_to_sides(centres: Tensor, boxes: Tensor) -> Tensor:
    """The inverse; a centre outside its box gives negative distances."""
    return torch.cat([centres - boxes[..., :2], boxes[..., 2:] - centres], dim=-1)


def assign(centres: Tensor, strides: Tensor, boxes: Tensor, radius: float = 1.5, reach: float = 8.0) -> Tensor:
    """Which box each cell is responsible for.

    A cell takes a box if it lies in it, within `radius` cells of its middle, on the level for the box's long side: at
    most `reach` cells, and more than half of that. Of several boxes, the smallest.

    Args:
        centres, strides: [P, 2] and [P], as from `ProposalHead.flatten`.
        boxes: [N, 4] xyxy pixels, N may be 0.

    Returns:
        [P] index into `boxes`, or -1.
    """
    if not len(boxes):
        return torch.full((len(centres),), -1, dtype=torch.long, device=centres.device)
    size = boxes[:, 2:] - boxes[:, :2]
    inside = boxes_to_sides(centres[:, None], boxes[None]).amin(dim=-1) > 0  # [P, N]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    near = ((centres[:, None] - middle).abs().amax(dim=-1)) < radius * strides[:, None]
    finest, coarsest = strides.min(), strides.max()
    long_side = size.amax(dim=-1)
    fits = (long_side <= reach * strides[:, None]) | (strides[:, None] == coarsest)
    fits &= (long_side > reach / 2 * strides[:, None]) | (strides[:, None] == finest)
    area = size.prod(dim=-1).expand(len(centres), -1).masked_fill(~(inside & near & fits), torch.inf)
    smallest, index = area.min(dim=1)
    return index.masked_fill(smallest.isinf(), -1)


def proposal_losses(
    head: ProposalHead,
    outputs: Sequence[LevelOutput],
    boxes: Sequence[Tensor],
    ignored: Sequence[Tensor],
    kinds: Sequence[Tensor] | None = None,
) -> dict[str, Tensor]:
    """The three losses of the head, each a sum over the batch: divide by `count` to get means per responsible cell.

    Args:
        outputs: what `head(maps)` returned for a batch of B pictures.
        boxes: per picture [N, 4] xyxy, pixels of the tower's input; N may be 0.
        ignored: per picture [M, 4], areas (crowds) in which an unassigned cell is neither right nor wrong.
        kinds: per picture [N] int64, of which of the head's K kinds each box is; None where all are of the first.

    Returns:
        `objectness`: quality focal loss on every cell; its target is the IoU of the cell's box with the box it is
        responsible for, at that box's kind, and 0 elsewhere. `overlap`: -log IoU. `sides`: smooth L1 of the logarithms
        of the four sides, which still pulls where boxes do not meet. `count`: responsible cells, no gradient.
    """
    logits, sides, centres, strides = head.flatten(outputs)
    targets = torch.stack([assign(centres, strides, b) for b in boxes])  # [B, P]
    image, cell = (targets >= 0).nonzero(as_tuple=True)
    starts = torch.tensor([0, *(len(b) for b in boxes)], device=logits.device).cumsum(0)
    responsible = targets[image, cell] + starts[image]
    wanted = torch.cat(list(boxes))[responsible]

    found_sides = sides[image, cell]
    wanted_sides = boxes_to_sides(centres[cell], wanted)
    iou = iou_from_sides(found_sides, wanted_sides)
    overlap = -iou.clamp(min=1e-3).log()
    close = F.smooth_l1_loss(found_sides.log(), wanted_sides.log(), reduction="none", beta=0.1).mean(dim=-1)

    quality = torch.zeros_like(logits)
    kind = torch.zeros_like(responsible) if kinds is None else torch.cat(list(kinds))[responsible]
    quality[image, cell, kind] = iou.detach()
    counted = (torch.stack([~_covered(centres, crowd) for crowd in ignored]) | (targets >= 0))[..., None]
    objectness = F.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    objectness = objectness * (logits.sigmoid() - quality).square() * counted
    count = objectness.new_tensor(float(len(cell)))
    return {"objectness": objectness.sum(), "overlap": overlap.sum(), "sides": close.sum(), "count": count}


def iou_from_sides(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes around the same centres, from their distances [K, 4] (all positive) → [K]."""
    shared = torch.minimum(a, b)
    shared = (shared[:, 0] + shared[:, 2]) * (shared[:, 1] + shared[:, 3])
    areas = [(s[:, 0] + s[:, 2]) * (s[:, 1] + s[:, 3]) for s in (a, b)]
    return shared / (areas[0] + areas[1] - shared)


def _covered(centres: Tensor, boxes: Tensor) -> Tensor:
    """[P] whether a centre lies in any of `boxes` [M, 4]."""
    return (boxes_to_sides(centres[:, None], boxes[None]).amin(dim=-1) > 0).any(dim=1)


def fill_gaps(boxes: Tensor, found: Tensor, overlap: float = 0.5) -> Tensor:
    """Which of `found` [M, 4] lie where none of `boxes` [N, 4] does (IoU at most `overlap`); a mask [M]."""
    if not len(boxes) or not len(found):
        return torch.ones(len(found), dtype=torch.bool, device=found.device)
    return box_iou(found, boxes).amax(dim=1) <= overlap
