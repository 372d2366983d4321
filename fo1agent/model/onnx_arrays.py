"""What stands around the graphs, in numpy: where boxes come from, what they read of maps, and where tokens stand.

Most functions equal one of torch's side, which is named and tells the reasons; operations are float32 and in its order,
for a sample on the border of a map counts or does not count by the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fo1agent.model.prompting import IMAGE_SLOT
from fo1agent.regions.boxes import overlaps, suppress

LEAST_OVERLAP, FLOOR, SCALE = 0.45, -8.0, 4.0  # as in `heads`


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Of any shape; it does not overflow."""
    return np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))


# --- boxes -------------------------------------------------------------------------------------------------------


def best(scores: np.ndarray, count: int) -> np.ndarray:
    """Positions of the `count` largest of [N], best first."""
    return np.argsort(-scores, kind="stable")[:count]


def decode(codes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """`mobilenet.decode`."""
    ty, tx, th, tw = (codes / np.array([10, 10, 5, 5], dtype=np.float32)).T
    cx, cy, w, h = anchors.T
    cx, cy, w, h = cx + tx * w, cy + ty * h, w * np.exp(tw), h * np.exp(th)
    return np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1).clip(0, 1)


def detector_proposals(
    boxes: np.ndarray, logits: np.ndarray, size_wh: tuple[int, int], limit: int, max_iou: float = 0.7
) -> tuple[np.ndarray, np.ndarray]:
    """`heads.detector_proposals` of the candidates of all views, boxes [A, 4] and logits [A, K]."""
    names = logits.argmax(axis=1)
    scores = sigmoid(np.take_along_axis(logits, names[:, None], axis=1)[:, 0])
    first = best(scores, 4 * limit)
    size = np.array([*size_wh, *size_wh], dtype=np.float32)
    boxes, names, scores = boxes[first] * size, names[first], scores[first]
    keep = suppress(boxes, max_iou, limit)
    overlap = overlaps(boxes[keep], boxes)
    votes = overlap * scores * ((overlap > max_iou) & (names[keep, None] == names))
    total = votes.sum(axis=1, keepdims=True)
    agreed = np.where(total > 0, votes @ boxes / total.clip(min=1e-12), boxes[keep])
    return np.minimum(agreed, size), scores[keep]


def head_proposals(
    logits: np.ndarray,
    sides: np.ndarray,
    centres: np.ndarray,
    size_wh: tuple[int, int],
    limit: int,
    overlap: float = 0.7,
) -> tuple[np.ndarray, np.ndarray]:
    """`ProposalHead.decode`: logits [P], sides [P, 4] and centres [P, 2] of `cells` → boxes [N, 4], scores [N]."""
    scores = sigmoid(logits)
    first = best(scores, 20 * limit)
    scores, centres, sides = scores[first], centres[first], sides[first]
    boxes = np.concatenate([centres - sides[:, :2], centres + sides[:, 2:]], axis=1)
    boxes = np.minimum(boxes.clip(min=0), np.array([*size_wh, *size_wh], dtype=np.float32))
    thick = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    boxes, scores = boxes[thick], scores[thick]
    kept = suppress(boxes, overlap, limit)
    return boxes[kept], scores[kept]


def cells(levels: Sequence[tuple[Sequence[int], float, float]]) -> np.ndarray:
    """Centres [P, 2] of all cells of levels, each (height and width), stride and offset; `ProposalHead.cells`."""
    centres = []
    for (h, w), stride, offset in levels:
        ys, xs = np.indices((h, w), dtype=np.float32) * np.float32(stride) + np.float32(offset)
        centres.append(np.stack([xs, ys], axis=-1).reshape(-1, 2))
    return np.concatenate(centres)


def evidence(candidates: Sequence[tuple[np.ndarray, np.ndarray]], boxes: np.ndarray) -> np.ndarray:
    """`heads.evidence`: per view boxes [A, 4] and logits [A, K], and boxes [N, 4] → [N, views * (K + 1)]."""
    parts = []
    for found, logits in candidates:
        overlap = overlaps(boxes, found)
        nearest = overlap.argmax(axis=1)
        largest = overlap[np.arange(len(boxes)), nearest, None]
        shifted = (logits[nearest].clip(min=FLOOR) - FLOOR) / SCALE
        parts.append(np.concatenate([shifted, largest], axis=1) * (largest > LEAST_OVERLAP))
    return np.concatenate(parts, axis=1, dtype=np.float32)


# --- what boxes read ---------------------------------------------------------------------------------------------


def enlarged(boxes: np.ndarray, factor: float, size_wh: tuple[int, int]) -> np.ndarray:
    """Boxes scaled about their centres and cut at the picture, as `region_encoder.pool_bins` does."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) * np.float32(factor / 2)
    limit = np.array(size_wh, dtype=np.float32)
    return np.concatenate([np.minimum(one.clip(min=0), limit) for one in (centre - half, centre + half)], axis=1)


def axis_weights(start: np.ndarray, end: np.ndarray, size: int, bins: int) -> np.ndarray:
    """`region_encoder.axis_weights` with two samples a bin at least: [N] and [N] float32 → [N, bins, size]."""
    extent = (end - start).clip(min=0) / np.float32(bins)
    samples = np.ceil(extent).clip(min=2)
    most = int(samples.max(initial=2))
    bin_index = np.arange(bins, dtype=np.float32)[None, :, None]
    sample_index = np.arange(most, dtype=np.float32)[None, None]
    step, count = extent[:, None, None], samples[:, None, None]
    at = start[:, None, None] + bin_index * step + (sample_index + np.float32(0.5)) * step / count
    share = ((sample_index < count) & (at >= -1) & (at <= size)) / count
    at = at.clip(0, size - 1)
    low = at.astype(np.int64)
    beyond = at - low
    row = np.arange(len(start) * bins).reshape(len(start), bins, 1) * size
    weights = np.zeros(len(start) * bins * size, dtype=np.float32)
    for cell, part in ((low, share * (1 - beyond)), ((low + 1).clip(max=size - 1), share * beyond)):
        np.add.at(weights, (row + cell).ravel(), part.astype(np.float32).ravel())
    return weights.reshape(len(start), bins, size)


def box_embedding(boxes: np.ndarray, size_wh: tuple[int, int], size: int) -> np.ndarray:
    """`region_encoder.box_embedding`."""
    x1, y1, x2, y2 = (boxes / np.array([*size_wh, *size_wh], dtype=np.float32)).T
    values = np.stack([(y1 + y2) / 2, (x1 + x2) / 2, x2 - x1, y2 - y1], axis=1)
    index = np.arange(size // 4)
    period = np.float32(10000) ** (2 * (index // 2) / (size // 4)).astype(np.float32)
    angle = values[:, :, None] * np.float32(2 * math.pi) / period
    return np.where(index % 2 == 0, np.sin(angle), np.cos(angle)).reshape(len(boxes), size)


# --- where tokens stand ------------------------------------------------------------------------------------------


def vision_places(grid_hw: tuple[int, int], vision: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosines and sines [P, head] of the places of patches in blocks, and the mask [P, P] of their windows."""
    (h, w), merge = grid_hw, vision.spatial_merge_size
    blocks = (h // merge, merge, w // merge, merge)
    yx = [side.reshape(blocks).swapaxes(1, 2).ravel() for side in np.indices(grid_hw)]
    spatial = vision.hidden_size // vision.num_heads // 2
    theta = vision.rope_parameters.rope_theta if vision.rope_parameters else 1e4
    rates = (1 / theta ** (np.arange(0, spatial, 2, dtype=np.float32) / spatial)).astype(np.float32)
    angles = np.concatenate([side[:, None].astype(np.float32) * rates for side in yx] * 2, axis=1)
    across = vision.window_size // vision.patch_size // merge * merge
    window = yx[0] // across * w + yx[1] // across
    blocked = np.where(window[:, None] == window[None], 0, np.finfo(np.float32).min).astype(np.float32)
    return np.cos(angles), np.sin(angles), blocked


def positions(ids: Sequence[int], grids: Sequence[tuple[int, int]]) -> tuple[np.ndarray, int]:
    """mRoPE positions [3, L] of a prompt's tokens, each image slot being its tokens; and the next free position.

    Equals `bases.qwen2_5_vl.positions` of one row: words count on along all three axes; an image's tokens are spread
    over its merged grid from the place where it begins.
    """
    parts, at, pictures = [], 0, iter(grids)
    for one in ids:
        if one == IMAGE_SLOT:
            h, w = next(pictures)
            parts.append(
                np.stack([np.zeros(h * w, dtype=np.int64), *(side.ravel() for side in np.indices((h, w)))]) + at
            )
            at += max(h, w)
        else:
            parts.append(np.full((3, 1), at))
            at += 1
    return np.concatenate(parts, axis=1).astype(np.int64), at


def branch_mask(owner: np.ndarray, queries: int, stem: np.ndarray | None = None) -> np.ndarray:
    """`sequence.branch_mask` of one row, for several stems in it.

    Args:
        owner: [L], the branch of each token; of a stem's tokens a number below 0.
        queries: how many of the last tokens ask.
        stem: [K], the number of each branch's stem; None: there is one, -1.

    Returns:
        [1, 1, queries, L] float32.
    """
    index = np.arange(len(owner))
    asking = owner[len(owner) - queries :]
    above = np.full(queries, -1) if stem is None else np.where(asking < 0, asking, stem[asking.clip(min=0)])
    seen = (owner[None] == above[:, None]) | (owner[None] == asking[:, None])
    seen &= index[None] <= index[len(owner) - queries :, None]
    return np.where(seen, 0, np.finfo(np.float32).min).astype(np.float32)[None, None]
