"""Make a trained match head's scores probabilities, on pictures that it was not trained on.

A scene shows what is left after duplicates are suppressed, so that is what must be calibrated: the probability that a
region which was kept for a name is an object of that name, and one that no better region has already claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fo1agent.model.fo1 import FO1
from fo1agent.model.processing import FO1Processor
from fo1agent.regions.boxes import claims, iou, nms
from fo1agent.scene import SAME_THING_IOU
from fo1agent.trainers.data.features import PROPOSAL, FeatureStore, Picture
from fo1agent.trainers.data.records import Example
from fo1agent.trainers.data.tasks import SAME, TaskMaker, find_truth
from fo1agent.trainers.language import region_sample

_OVER = float(np.nextafter(SAME, 1))
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

    @classmethod
    def of(cls, boxes: np.ndarray, terms: Tensor, image: Example, index: Mapping[str, int]) -> Scored:
        """Boxes and their terms, and what is true of them by a picture's annotations; `index` numbers the names."""
        real = ~image.crowd
        names = np.array([index[label] for label in image.labels], dtype=np.int64)[real]
        overlap = iou(boxes, image.boxes[real].astype(np.float64))
        return cls(boxes, terms, overlap, names, find_truth(image, boxes, index).unknown)


def calibrate(
    model: FO1, processor: FO1Processor, store: FeatureStore, tasks: TaskMaker, pictures: Sequence[int]
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
def score(model: FO1, processor: FO1Processor, picture: Picture, tasks: TaskMaker) -> Scored:
    """Every name against the picture's own proposals."""
    chosen = np.flatnonzero(picture.kind == PROPOSAL)
    boxes = picture.boxes[chosen].astype(np.float64)
    vectors = torch.from_numpy(picture.vectors[chosen].astype(np.float32))
    tokens = model.project_regions(vectors)
    prefix = model.prefill(region_sample(model, processor, picture, tokens))
    states = model.phrase_states(prefix, [processor.phrase_ids(name) for name in tasks.vocabulary])
    fit = torch.zeros(len(tokens)) if model.iou_head is None else model.iou_head(tokens)
    keys = model.match_head.keys(prefix.region_states, tokens, vectors[:, model.region_encoder.pooled_size :], fit)
    terms = model.match_head.terms(states, keys)
    return Scored.of(boxes, terms, picture.image, tasks.index)


def _kept(scored: Sequence[Scored], numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Terms [T, R] and truth [R] of the regions that are kept for each name, in all pictures."""
    terms, truths = [], []
    for picture in scored:
        logits = torch.einsum("t,tkn->kn", numbers[:-1], picture.terms).numpy()
        for name, row in enumerate(logits):
            kept = nms(picture.boxes, row, SAME_THING_IOU)
            kept = kept[~picture.unknown[name, kept]]
            terms.append(picture.terms[:, name, torch.from_numpy(kept)])
            truths.append(claims(picture.overlap[kept][:, picture.names == name], _OVER))
    return torch.cat(terms, dim=1), torch.from_numpy(np.concatenate(truths).astype(np.float32))


def _regression(terms: Tensor, truth: Tensor) -> Tensor:
    """Weights of the terms and the bias [T + 1] that minimise the cross-entropy."""
    numbers = F.one_hot(torch.tensor(1), len(terms) + 1).float().requires_grad_()
    minimise([numbers], lambda: F.binary_cross_entropy_with_logits(numbers[:-1] @ terms + numbers[-1], truth), 60)
    return numbers.detach()


def minimise(numbers: list[Tensor], loss: Callable[[], Tensor], rounds: int, memory: int = 100) -> None:
    """Bring `numbers` to where `loss` is least, by L-BFGS."""
    optimizer = torch.optim.LBFGS(numbers, max_iter=rounds, history_size=memory, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
