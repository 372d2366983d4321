"""Make a trained match head's scores probabilities, on pictures that it was not trained on.

A scene shows what is left after duplicates are suppressed, so that is what must be calibrated: the probability that a
region which was kept for a name is an object of that name, and one that no better region has already claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fo1agent.model.fo1 import FO1
from fo1agent.model.processing import Processor
from fo1agent.regions.boxes import iou, nms
from fo1agent.scene import SAME_THING_IOU
from fo1agent.trainers.data.features import PROPOSAL, FeatureStore, Picture
from fo1agent.trainers.data.tasks import SAME, TaskMaker, find_truth
from fo1agent.trainers.language import region_sample

ROUNDS = 3  # which regions are kept depends on the scores, and those on the fit


@dataclass(frozen=True, eq=False)
class Scored:
    """One picture's proposals: the terms of every (name, proposal) logit, and what is true.

    Attributes:
        boxes: [N, 4] xyxy pixels.
        terms: [T, K, N]: `MatchHead.TERMS`, or those of a lesson.
        overlap: [N, G] IoU with the annotated objects.
        names: [G] name index of each object.
        unknown: [K, N] bool: nobody knows.
    """

    boxes: np.ndarray
    terms: Tensor
    overlap: np.ndarray
    names: np.ndarray
    unknown: np.ndarray


def calibrate(
    model: FO1, processor: Processor, store: FeatureStore, tasks: TaskMaker, pictures: Sequence[int]
) -> dict[str, float]:
    """Set the weights and the bias of the match head by logistic regression; returns them by name."""
    scored = [score(model, processor, store[i], tasks) for i in pictures]
    head = model.match_head
    numbers = fit(scored, torch.tensor([*head.weights.tolist(), 0.0]))
    with torch.no_grad():
        head.weights.copy_(numbers[:-1])
        head.bias.copy_(numbers[-1])
    return dict(zip((*head.TERMS, "bias"), numbers.tolist(), strict=True))


def fit(scored: Sequence[Scored], numbers: Tensor) -> Tensor:
    """Weights of the terms and the bias, [T + 1], by logistic regression; `numbers` are those that it starts from."""
    for _ in range(ROUNDS):
        numbers = _regression(*_kept(scored, numbers))
    return numbers


@torch.no_grad()
def score(model: FO1, processor: Processor, picture: Picture, tasks: TaskMaker) -> Scored:
    """Every name against the picture's own proposals."""
    chosen = np.flatnonzero(picture.kind == PROPOSAL)
    boxes = picture.boxes[chosen].astype(np.float64)
    truth = find_truth(picture.image, boxes, tasks.index)
    vectors = torch.from_numpy(picture.vectors[chosen].astype(np.float32))
    tokens = model.project_regions(vectors)
    prefix = model.prefill(region_sample(model, processor, picture, tokens))
    states = model.phrase_states(prefix, [processor.phrase_ids(name) for name in tasks.vocabulary])
    fit = torch.zeros(len(tokens)) if model.iou_head is None else model.iou_head(tokens)
    keys = model.match_head.keys(prefix.region_states, tokens, vectors[:, model.region_encoder.pooled_size :], fit)
    terms = model.match_head.terms(states, keys)
    real = ~picture.image.crowd
    names = np.array([tasks.index[label] for label in picture.image.labels], dtype=np.int64)[real]
    overlap = iou(boxes, picture.image.boxes[real].astype(np.float64))
    return Scored(boxes, terms, overlap, names, truth.unknown)


def _kept(scored: Sequence[Scored], numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Terms [T, R] and truth [R] of the regions that are kept for each name, in all pictures."""
    terms, truths = [], []
    for picture in scored:
        logits = torch.einsum("t,tkn->kn", numbers[:-1], picture.terms).numpy()
        for name, row in enumerate(logits):
            kept = nms(picture.boxes, row, SAME_THING_IOU)
            kept = kept[~picture.unknown[name, kept]]
            terms.append(picture.terms[:, name, torch.from_numpy(kept)])
            truths.append(_claims(picture.overlap[kept][:, picture.names == name]))
    return torch.cat(terms, dim=1), torch.from_numpy(np.concatenate(truths).astype(np.float32))


def _claims(overlap: np.ndarray) -> np.ndarray:
    """[R] bool: whether each region, best first, shows an object [R, G] that no earlier one has claimed."""
    free = np.ones(overlap.shape[1], dtype=bool)
    claims = np.zeros(len(overlap), dtype=bool)
    for n in np.flatnonzero((overlap > SAME).any(axis=1)):
        candidates = np.where(free, overlap[n], 0.0)
        best = int(candidates.argmax())
        if candidates[best] > SAME:
            claims[n], free[best] = True, False
    return claims


def _regression(terms: Tensor, truth: Tensor) -> Tensor:
    """Weights of the terms and the bias [T + 1] that minimise the cross-entropy."""
    numbers = F.one_hot(torch.tensor(1), len(terms) + 1).float().requires_grad_()
    optimizer = torch.optim.LBFGS([numbers], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(numbers[:-1] @ terms + numbers[-1], truth)
        loss.backward()
        return loss

    optimizer.step(closure)
    return numbers.detach()
