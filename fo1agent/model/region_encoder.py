"""HFRE, the region encoder: boxes and feature maps of one image in, one feature vector per box out.

Pooling is separable. RoIAlign averages bilinear samples on a regular grid, so what it reads from a map is
`wy(box)^T F wx(box)` with one short weight vector per axis: two small matmuls per level instead of a sampling kernel,
and bilinear upsampling of a deeper level folds into the weights (`U^T w`), so no upsampled map is ever built.
`axis_weights` repeats torchvision's float32 operations in their order, because a sample that lies exactly on the border
of a map counts or does not count by the last bit.

This file knows no towers, tokens or prompts. Boxes here are pixels of the tower's input, not of the original image.

Source: VLM-FO1 (arXiv 2509.25916), hybrid fine-grained region encoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fo1agent.model.frames import TowerFeatures

FACTORS = (4.0, 2.0, 1.0, 0.5)  # resolution of SimpleFP's levels, in that of its map


@dataclass(frozen=True)
class Level:
    """Geometry of one feature map.

    Attributes:
        stride: input pixels per cell.
        channels: C of the map [1, C, H, W].
        offset: input pixel at which the centre of cell 0 lies, for pools that keep their bins.
    """

    stride: float
    channels: int
    offset: float = 0.0


@dataclass(frozen=True)
class PoolSpec:
    """One read of one level: `bins` x `bins` cells kept, of the box enlarged `context` times about its centre."""

    level: int
    bins: int = 1
    context: float = 1.0

    def __post_init__(self) -> None:
        if self.level < 0 or self.bins < 1 or self.context <= 0:
            raise ValueError(f"{self}: level counts from 0, bins from 1, and context is positive.")


@dataclass(frozen=True)
class RegionConfig:
    """What a region vector is made of.

    Attributes:
        pools: reads of the auxiliary maps, concatenated in this order. Empty: the reference's way, which is RoIAlign
            averaged over all levels, each upsampled to the first one's grid.
        roi_size: RoIAlign grid of the reference's way, and of the primary tower.
        primary_channels: width of the primary tower's map; 0 when regions do not look at that tower.
        fpn_channels: width of each of SimpleFP's four levels on the primary map.
        fpn_strides: input pixels per cell of those levels.
        fpn_factors: their resolution, in that of the primary map: powers of two.
        of_tokens: the primary map is made of the base's image tokens, before the image projector, one cell a token,
            and not of what the tower gives before it merges patches to tokens.
        aux_fpn_channels: width of each of the four levels that a SimpleFP makes of the auxiliary tower's last map, at
            `FACTORS` of its resolution; they are then what is read, each by itself. 0: the tower's own maps are.
        aligned: a box is moved by half a cell where it is averaged, as torchvision's `aligned=True` does.
        evidence_size: E, numbers per box that a detector adds to the vector; 0 for none.
    """

    pools: tuple[PoolSpec, ...] = ()
    roi_size: int = 7
    primary_channels: int = 1280
    fpn_channels: int = 512
    fpn_strides: tuple[float, ...] = (3.5, 7.0, 14.0, 28.0)
    fpn_factors: tuple[float, ...] = FACTORS
    of_tokens: bool = False
    aux_fpn_channels: int = 0
    aligned: bool = False
    evidence_size: int = 0

    def __post_init__(self) -> None:
        pools = tuple(p if isinstance(p, PoolSpec) else PoolSpec(**p) for p in self.pools)
        object.__setattr__(self, "pools", pools)
        for name in ("fpn_strides", "fpn_factors"):
            given = tuple(float(s) for s in getattr(self, name))
            object.__setattr__(self, name, given)
            if self.primary_channels and len(given) != 4:
                raise ValueError(f"{name} must name SimpleFP's four levels, got {given}.")


class RegionEncoder(nn.Module):
    """Turns boxes into region vectors; `size` is their length, and `levels` are those that it reads.

    Args:
        config: what to read.
        levels: the auxiliary tower's levels, in the order of its maps.
    """

    def __init__(self, config: RegionConfig, levels: Sequence[Level]) -> None:
        super().__init__()
        self.config = config
        self.levels = tuple(levels)
        self.aux_fpn = None
        if config.aux_fpn_channels:
            deepest = self.levels[-1]
            self.aux_fpn = SimpleFP(deepest.channels, config.aux_fpn_channels)
            strides = [deepest.stride / factor for factor in FACTORS]
            self.levels = tuple(Level(stride, config.aux_fpn_channels, (stride - 1) / 2) for stride in strides)
        self.simple_fpn = None
        if config.primary_channels:
            self.simple_fpn = SimpleFP(config.primary_channels, config.fpn_channels, config.fpn_factors)
        aux_size = sum(self.levels[p.level].channels * p.bins**2 for p in config.pools)
        if not config.pools:
            aux_size = sum(level.channels for level in self.levels)
        self.pooled_size = aux_size + (4 * config.fpn_channels if config.primary_channels else 0)
        if self.pooled_size % 4:
            raise ValueError(f"{self.pooled_size} pooled numbers cannot carry a box embedding; make it divisible by 4.")
        self.size = self.pooled_size + config.evidence_size

    def forward(
        self,
        aux: TowerFeatures,
        aux_boxes: Tensor,
        primary: TowerFeatures | None = None,
        primary_boxes: Tensor | None = None,
        evidence: Tensor | None = None,
    ) -> Tensor:
        """Region vectors of one image.

        Args:
            aux: the auxiliary tower's maps, or what `pyramid` made of them.
            aux_boxes: [N, 4] xyxy pixels of that tower's input. N may be 0.
            primary: the primary tower's map; needed when the config has a primary part.
            primary_boxes: [N, 4] xyxy pixels of that tower's input.
            evidence: [N, E], what a detector says of the same boxes; needed when the config has evidence.

        Returns:
            [N, size] float32: [auxiliary | primary] + box embedding, then evidence.
        """
        aux_boxes = aux_boxes.float()
        if self.config.pools:
            parts = [
                pool_bins(aux.maps[p.level], aux_boxes, self.levels[p.level], p, aux.size_wh) for p in self.config.pools
            ]
        elif self.aux_fpn is not None:
            reads = zip(aux.maps, self.levels, strict=True)
            parts = [pool_mean(one, aux_boxes, level.stride, *self._roi) for one, level in reads]
        else:
            parts = pool_mean_folded(aux.maps, aux_boxes, self.levels[0].stride, *self._roi)
        frame, boxes = aux, aux_boxes
        if self.simple_fpn is not None:
            if primary is None or primary_boxes is None:
                raise ValueError("This region encoder also reads the primary tower: pass primary and primary_boxes.")
            frame, boxes = primary, primary_boxes.float()
            parts += self._pool_pyramid(primary.maps[0], boxes)
        pooled = torch.cat(parts, dim=1)
        features = pooled + box_embedding(boxes, frame.size_wh, self.pooled_size)
        if not self.config.evidence_size:
            return features
        if evidence is None:
            raise ValueError(f"This region encoder takes evidence: pass [N, {self.config.evidence_size}].")
        return torch.cat([features, evidence.to(features)], dim=1)

    @property
    def _roi(self) -> tuple[int, bool]:
        return self.config.roi_size, self.config.aligned

    def _pool_pyramid(self, primary_map: Tensor, boxes: Tensor) -> list[Tensor]:
        """`pool_mean` of SimpleFP's levels of the map, finest first: four of [N, fpn_channels].

        Levels are made only where boxes are, and let go once those have been read: the finest has 16 times the cells
        of the public checkpoint's map, and would be most of what is kept of a picture.
        """
        strides, factors = self.config.fpn_strides, self.config.fpn_factors
        height, width = primary_map.shape[2:]
        assert self.simple_fpn is not None
        (left, right), (top, bottom) = _spans(boxes, (width, height), strides, factors)
        parts = []
        levels = self.simple_fpn(primary_map[:, :, top:bottom, left:right])
        for made, stride, factor in zip(levels, strides, factors, strict=True):
            size_hw = int(height * factor), int(width * factor)
            wy, wx = _mean_weights(size_hw, boxes, stride, *self._roi)
            y, x = int(top * factor), int(left * factor)
            wy, wx = wy[:, None, y : y + made.shape[2]], wx[:, None, x : x + made.shape[3]]
            parts.append(read_cells(made, wy, wx))
        return parts

    def pyramid(self, maps: Sequence[Tensor], size_wh: tuple[float, float]) -> TowerFeatures | None:
        """SimpleFP's levels of the auxiliary tower's last map; None when its own maps are read."""
        return None if self.aux_fpn is None else TowerFeatures(self.aux_fpn(maps[-1]), size_wh)


def _spans(
    boxes: Tensor, size_wh: tuple[int, int], strides: Sequence[float], factors: Sequence[float]
) -> list[tuple[int, int]]:
    """The columns and the rows (first, behind the last) of a map on which its pyramid depends inside boxes.

    They hold whole cells of the coarsest level, and two of those more on each side: one for linear samples and boxes
    that are moved by half a cell, one for convolutions over three cells.

    Args:
        boxes: [N, 4] xyxy pixels.
        size_wh: columns and rows of the map.
        strides: pixels per cell of each level.
        factors: their resolution, in that of the map.
    """
    unit = math.ceil(1 / min(factors))  # cells of the map in one of the coarsest level
    if not len(boxes):
        return [(0, min(unit, size)) for size in size_wh]
    cells = [stride * factor for stride, factor in zip(strides, factors, strict=True)]
    # A box reads at least one cell of a level.
    low, high = boxes[:, :2].amin(0), torch.maximum(boxes[:, 2:], boxes[:, :2] + unit * max(cells)).amax(0)
    spans = []
    for start, end, size in zip(low.tolist(), high.tolist(), size_wh, strict=True):
        first = min(int(start // max(cells)), size) - 2 * unit
        first = max(0, first - first % unit)
        last = max(math.ceil(end / min(cells)) + 2 * unit, first + unit)
        spans.append((first, min(last + -last % unit, size)))
    return spans


# --- pooling -----------------------------------------------------------------------------------------------------


def pool_mean(features: Tensor, boxes: Tensor, stride: float, roi_size: int = 7, aligned: bool = False) -> Tensor:
    """Average of torchvision's `roi_align(aligned=aligned, sampling_ratio=-1)` over its bins, [N, C] float32.

    Args:
        features: [1, C, H, W].
        boxes: [N, 4] xyxy, float32 pixels of the tower's input.
        stride: input pixels per cell.
        roi_size: bins per side.
        aligned: whether boxes are moved by half a cell.
    """
    wy, wx = _mean_weights(features.shape[2:], boxes, stride, roi_size, aligned)
    return read_cells(features, wy[:, None], wx[:, None])


def pool_mean_folded(
    maps: Sequence[Tensor], boxes: Tensor, stride: float, roi_size: int = 7, aligned: bool = False
) -> list[Tensor]:
    """`pool_mean` of every map as if upsampled to the first one's grid, bilinearly: list of [N, C]."""
    wy, wx = _mean_weights(maps[0].shape[2:], boxes, stride, roi_size, aligned)
    pooled = [read_cells(maps[0], wy[:, None], wx[:, None])]
    for deeper in maps[1:]:
        folded_y = wy @ _upsampling(deeper.shape[2], wy.shape[1], wy.device)
        folded_x = wx @ _upsampling(deeper.shape[3], wx.shape[1], wx.device)
        pooled.append(read_cells(deeper, folded_y[:, None], folded_x[:, None]))
    return pooled


def pool_bins(features: Tensor, boxes: Tensor, level: Level, spec: PoolSpec, size_wh: tuple[float, float]) -> Tensor:
    """Averages of the `bins` x `bins` cells of each box, kept apart, [N, C * bins * bins] float32.

    Samples are placed by the level's true cell centres. An enlarged box is clipped to the picture first.
    """
    if spec.context != 1.0:
        boxes = _enlarge(boxes, spec.context, size_wh)
    cells = (boxes - level.offset) / level.stride
    x1, y1, x2, y2 = cells.unbind(1)
    height, width = features.shape[2:]
    # Two samples a bin at least: one alone makes a small box's vector jump as the box moves.
    wy = axis_weights(y1, y2, height, spec.bins, least_samples=2)
    wx = axis_weights(x1, x2, width, spec.bins, least_samples=2)
    return read_cells(features, wy, wx)


@torch.no_grad()
def axis_weights(
    start: Tensor, end: Tensor, size: int, bins: int, least_extent: float = 0.0, least_samples: int = 1
) -> Tensor:
    """Weight of each cell of one axis in each bin of each interval, [N, bins, size] float32.

    RoIAlign's rule: a bin averages ceil(extent / bins) evenly spaced linear samples; a sample before -1 or beyond
    `size` counts as zero; others are clamped to the first and last cell.

    Args:
        start, end: [N] float32, in cells (0 is the centre of the first cell).
        size: cells on the axis.
        bins: bins per interval.
        least_extent: shorter intervals are widened, keeping their start.
        least_samples: samples per bin, at least.
    """
    extent = (end - start).clamp(min=least_extent)
    bin_extent = extent / bins
    samples = torch.ceil(bin_extent).clamp(min=least_samples)
    most = int(samples.max()) if len(samples) else least_samples
    bin_index = torch.arange(bins, device=start.device, dtype=start.dtype)[None, :, None]
    sample_index = torch.arange(most, device=start.device, dtype=start.dtype)[None, None, :]
    step, count = bin_extent[:, None, None], samples[:, None, None]
    at = start[:, None, None] + bin_index * step + (sample_index + 0.5) * step / count  # [N, bins, most]
    counted = (sample_index < count) & (at >= -1.0) & (at <= size)
    share = counted / count
    at = at.clamp(min=0.0, max=size - 1)
    low = at.long()
    high = (low + 1).clamp(max=size - 1)
    beyond = at - low
    weights = start.new_zeros(len(start), bins, size)
    weights.scatter_add_(2, low, share * (1.0 - beyond))
    return weights.scatter_add_(2, high, share * beyond)


def _mean_weights(
    size_hw: Sequence[int], boxes: Tensor, stride: float, roi_size: int, aligned: bool
) -> tuple[Tensor, Tensor]:
    """Per-axis weights ([N, H], [N, W]) of RoIAlign averaged over its bins."""
    x1, y1, x2, y2 = (boxes * (1.0 / stride) - (0.5 if aligned else 0.0)).unbind(1)
    height, width = size_hw
    # torchvision's aligned=False: a box is at least one cell wide and high.
    least = 0.0 if aligned else 1.0
    wy = axis_weights(y1, y2, height, roi_size, least_extent=least)
    wx = axis_weights(x1, x2, width, roi_size, least_extent=least)
    return wy.mean(1), wx.mean(1)


def read_cells(features: Tensor, wy: Tensor, wx: Tensor) -> Tensor:
    """`wy^T F wx` for every box and bin: features [1, C, H, W], wy [N, by, H], wx [N, bx, W] → [N, C * by * bx].

    Computed in float32, of so many channels at once that no copy of a large map is made.
    """
    height, width = features.shape[2:]
    at_once = max(1, _CELLS_AT_ONCE // (height * width))
    parts = [_read_channels(part, wy, wx) for part in features[0].split(at_once)]
    return (parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)).flatten(1)


_CELLS_AT_ONCE = 2**19


def _read_channels(features: Tensor, wy: Tensor, wx: Tensor) -> Tensor:
    """`read_cells` of some channels [C, H, W]: [N, C, by, bx]."""
    n, by, height = wy.shape
    channels, width = len(features), features.shape[2]
    rows = features.float().transpose(0, 1).reshape(height, channels * width)
    # Rows first: what comes out is laid out as the second product needs it.
    rows = (wy.reshape(n * by, height) @ rows).reshape(n, by * channels, width)
    cells = torch.bmm(rows, wx.transpose(1, 2)).reshape(n, by, channels, wx.shape[1])
    return cells.transpose(1, 2)


def _upsampling(small: int, large: int, device: torch.device) -> Tensor:
    """The matrix [large, small] of torch's linear upsampling (align_corners=False) along one axis."""
    identity = torch.eye(small, device=device)[None]
    return F.interpolate(identity, size=large, mode="linear", align_corners=False)[0].T


def _enlarge(boxes: Tensor, factor: float, size_wh: tuple[float, float]) -> Tensor:
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) * (factor / 2)
    limit = boxes.new_tensor(size_wh)
    low = torch.minimum((center - half).clamp(min=0), limit)
    high = torch.minimum((center + half).clamp(min=0), limit)
    return torch.cat([low, high], dim=1)


# --- box embedding and SimpleFP ----------------------------------------------------------------------------------


def box_embedding(boxes: Tensor, size_wh: tuple[float, float], size: int) -> Tensor:
    """Sine embedding of (cy, cx, w, h), each a fraction of the picture, [N, size] float32; `size` divisible by 4."""
    width, height = size_wh
    x1, y1, x2, y2 = (boxes / boxes.new_tensor([width, height, width, height])).unbind(1)
    values = torch.stack([(y1 + y2) / 2, (x1 + x2) / 2, x2 - x1, y2 - y1], dim=1)  # [N, 4]
    quarter = size // 4
    index = torch.arange(quarter, device=boxes.device)
    period = 10000.0 ** (2 * (index // 2) / quarter)
    angle = values[:, :, None] * (2 * math.pi) / period  # [N, 4, size / 4]
    return torch.where(index % 2 == 0, angle.sin(), angle.cos()).reshape(len(boxes), size)


class SimpleFP(nn.Module):
    """ViTDet's simple feature pyramid on one map: a level at each of the `factors` of its resolution.

    Module names are VLM-FO1's. A factor of 1/2 is a pooling; each doubling is a transposed convolution to half of the
    channels, with a norm and GELU before the next one.
    """

    def __init__(self, channels: int, out_channels: int, factors: Sequence[float] = FACTORS) -> None:
        super().__init__()
        for number, factor in enumerate(factors, 1):
            layers: list[nn.Module] = [] if factor >= 1 else [nn.MaxPool2d(round(1 / factor))]
            width = channels
            for doubling in range(round(math.log2(max(factor, 1)))):
                if doubling:
                    layers += [ChannelNorm(width), nn.GELU()]
                layers.append(nn.ConvTranspose2d(width, width // 2, 2, stride=2))
                width //= 2
            self.add_module(f"simfp_{number}", nn.Sequential(*layers, *_smoothing(width, out_channels)))

    def forward(self, features: Tensor) -> list[Tensor]:
        """[1, C, h, w] → a map [1, out, ., .] for each factor."""
        return [level(features) for level in self.children()]


def _smoothing(channels: int, out_channels: int) -> list[nn.Module]:
    return [ConvNorm(channels, out_channels, 1), ConvNorm(out_channels, out_channels, 3, padding=1)]


class ConvNorm(nn.Conv2d):
    """A convolution without bias, then `ChannelNorm`; the norm is a child, as in the public checkpoint's names."""

    def __init__(self, channels: int, out_channels: int, kernel: int, padding: int = 0) -> None:
        super().__init__(channels, out_channels, kernel, padding=padding, bias=False)
        self.norm = ChannelNorm(out_channels)

    def forward(self, input: Tensor) -> Tensor:
        return self.norm(super().forward(input))


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel of [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
