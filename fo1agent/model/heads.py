"""Scores for regions: detector evidence, the region-phrase match, and the predicted overlap.

`MatchHead` gives one logit per (phrase, region) pair from the language model's final states. Where the auxiliary tower
is a detector, its evidence for the class the phrase names is one term of that logit, so training starts at the
detector and learns what the region tokens and the language model add. `sigmoid(logit)` is the probability that the
region is what the phrase says.

Source of the idea: region-phrase matching as in GLIP (arXiv 2112.03857), on FO1's region tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_iou, nms

LEAST_OVERLAP = 0.45  # a candidate says nothing of a box that it overlaps less (IoU)
_FLOOR, _SCALE = -8.0, 4.0  # logits enter region vectors as (logit - floor) / scale, so 0 means "no evidence"
_LEAST_PROBABILITY = 1e-3


def evidence(candidates: Sequence[tuple[Tensor, Tensor]], boxes: Tensor) -> Tensor:
    """What each view's best-overlapping candidate says of each box.

    Args:
        candidates: per view, boxes [A, 4] and class logits [A, K].
        boxes: [N, 4] xyxy in the same units as the candidates'.

    Returns:
        [N, views * (K + 1)]: per view K shifted logits, then the overlap (IoU); all zero below `LEAST_OVERLAP`.
    """
    parts = []
    for candidate_boxes, logits in candidates:
        overlap, best = box_iou(boxes.float(), candidate_boxes.float()).max(dim=1)
        shifted = (logits[best].float().clamp(min=_FLOOR) - _FLOOR) / _SCALE
        parts.append(torch.cat([shifted, overlap[:, None]], dim=1) * (overlap > LEAST_OVERLAP)[:, None])
    return torch.cat(parts, dim=1)


def evidence_probability(evidence: Tensor, views: int) -> tuple[Tensor, Tensor]:
    """[N, views * (K + 1)] → per class the mean of (class score x overlap) over the views [N, K], and has-any [N]."""
    per_view = evidence.unflatten(1, (views, -1))
    overlap = per_view[..., -1:]
    probability = torch.sigmoid(per_view[..., :-1] * _SCALE + _FLOOR) * overlap
    return probability.mean(dim=1), (overlap > 0).any(dim=1).squeeze(-1)


def detector_proposals(
    candidates: Sequence[tuple[Tensor, Tensor]], size_wh: tuple[float, float], limit: int = 100, max_iou: float = 0.7
) -> tuple[Tensor, Tensor]:
    """The detector's best boxes over all views, whatever they show.

    A box is the mean of the candidates of its own class that overlap it by more than `max_iou`, weighted by score and
    overlap: several views of one thing know its sides better than one.

    Args:
        candidates: per view, boxes [A, 4] in fractions of the picture and class logits [A, K].
        size_wh: the picture's width and height, so that overlap is measured in its own shape.
        limit: boxes returned at most.
        max_iou: of two boxes that overlap more, the better one stays.

    Returns:
        boxes [N, 4] xyxy pixels of the picture and scores [N] (best class probability), best first.
    """
    boxes = torch.cat([boxes.float() for boxes, _ in candidates])
    scores, names = torch.cat([logits.float() for _, logits in candidates]).max(dim=1)
    # Suppression is quadratic; four times the limit before it loses no recall (measured on coco-natural dev).
    scores, best = scores.sigmoid().topk(min(4 * limit, len(scores)))
    width, height = size_wh
    boxes, names = boxes[best] * boxes.new_tensor([width, height, width, height]), names[best]
    keep = nms(boxes, scores, max_iou)[:limit]
    overlap = box_iou(boxes[keep], boxes)
    votes = overlap * scores * ((overlap > max_iou) & (names[keep, None] == names))
    # A box without area overlaps nothing, not even itself.
    total = votes.sum(dim=1, keepdim=True)
    agreed = torch.where(total > 0, votes @ boxes / total.clamp(min=1e-12), boxes[keep])
    # A mean of boxes at the border may round to beyond it.
    return torch.minimum(agreed, agreed.new_tensor([width, height, width, height])), scores[keep]


@dataclass(frozen=True)
class RegionKeys:
    """What the match head needs of a picture's regions, computed once.

    Attributes:
        keys: [N, width].
        fit: [N], predicted-IoU logits; zeros without an IoU head.
        named: [N, K + E], probability of each name by the region token; K = E = 0 when the head has no classes.
        detected: [N, K], the detector's probability of each class.
        seen: [N] bool, the detector has an opinion of the region.
    """

    keys: Tensor
    fit: Tensor
    named: Tensor
    detected: Tensor
    seen: Tensor

    def tensors(self) -> list[Tensor]:
        """All that is kept."""
        return [self.keys, self.fit, self.named, self.detected, self.seen]


class MatchHead(nn.Module):
    """One logit per (phrase, region): is this region what the phrase says?

        logit = weights · (language, detector, name, fit) + bias

    language: query(phrase) · key(region) / sqrt(width).
    detector: logit of the detector's evidence for the classes that the phrase means. `senses(phrase)` is a learned
        distribution over the K classes and "none of them", so a phrase that the detector never heard of gets no
        support from it. A region that it says nothing about (a box drawn by hand) gets a learned constant.
    name: the same for the classes that the region token itself is read as.
    fit: logit of the predicted IoU.

    With K = 0 the detector's and the name's terms are zero. `extra` names are known beside the detector's classes, to
    `senses` and to the region's name; for those the detector has the same constant as for regions that it did not see.

    Args:
        hidden_size: d, width of the language model.
        width: width of queries and keys.
        classes: K, detector classes; 0 for none.
        views: of the picture, in the evidence.
        extra: E, names that the detector has no class for.
    """

    TERMS = ("language", "detector", "name", "fit")

    def __init__(self, hidden_size: int, width: int = 128, classes: int = 0, views: int = 1, extra: int = 0) -> None:
        super().__init__()
        self.classes, self.views, self.extra = classes, views, extra
        self.query = nn.Linear(hidden_size, width)
        self.key = nn.Linear(2 * hidden_size, width)
        self.scale = 1 / math.sqrt(width)
        self.weights = nn.Parameter(torch.tensor([1.0, 0.7, 0.3, 0.0]))
        self.bias = nn.Parameter(torch.zeros(()))
        if classes:
            self.senses = nn.Linear(hidden_size, self.names_known + 1)
            self.names = nn.Linear(hidden_size, self.names_known + 1)
            self.unseen = nn.Parameter(torch.tensor(-3.0))

    @property
    def names_known(self) -> int:
        """K + E, and the index of "none of them"."""
        return self.classes + self.extra if self.classes else 0

    def keys(
        self, region_states: Tensor, region_tokens: Tensor, evidence: Tensor | None, fit: Tensor | None
    ) -> RegionKeys:
        """The regions' side of the match.

        Args:
            region_states: [N, d], final states at the region slots.
            region_tokens: [N, d], what stood in those slots.
            evidence: [N, views * (K + 1)] of `evidence`; needed when the head has classes.
            fit: [N] logits of the IoU head, or None.
        """
        keys = self.key(torch.cat([region_states, region_tokens], dim=-1))
        fit_logits = keys.new_zeros(len(keys)) if fit is None else fit
        if not self.classes:
            nothing = keys.new_zeros(len(keys), 0)
            return RegionKeys(keys, fit_logits, nothing, nothing, keys.new_zeros(len(keys), dtype=torch.bool))
        if evidence is None:
            raise ValueError(f"This match head takes evidence [N, {self.views * (self.classes + 1)}].")
        named = self.names(region_tokens).float().softmax(dim=-1)[:, :-1]
        return RegionKeys(keys, fit_logits, named, *evidence_probability(evidence.float(), self.views))

    def forward(self, phrase_states: Tensor, regions: RegionKeys) -> Tensor:
        """Match logits [P, N] of phrases (final states [P, d], one per phrase) with regions."""
        # In bfloat16 the upper clamp of a probability is 1, and its logit infinite.
        with torch.autocast(phrase_states.device.type, enabled=False):
            terms = self.terms(phrase_states.float(), regions)
            return torch.einsum("t,tpn->pn", self.weights.float(), terms) + self.bias.float()

    def terms(self, phrase_states: Tensor, regions: RegionKeys) -> Tensor:
        """The unweighted terms of the logits, [4, P, N] float32, in the order of `TERMS`."""
        weight, bias = self.query.weight.float(), self.query.bias.float()
        language = F.linear(phrase_states, weight, bias) @ regions.keys.float().T * self.scale
        fit = regions.fit.float().expand_as(language)
        if not self.classes:
            return torch.stack([language, torch.zeros_like(language), torch.zeros_like(language), fit])
        senses = F.linear(phrase_states, self.senses.weight.float(), self.senses.bias.float()).softmax(dim=-1)[:, :-1]
        detected = senses[:, : self.classes] @ regions.detected.float().T
        if self.extra:
            detected = detected + senses[:, self.classes :].sum(dim=1, keepdim=True) * self.unseen.float().sigmoid()
        detector = torch.where(regions.seen, safe_logit(detected), self.unseen.float())
        return torch.stack([language, detector, safe_logit(senses @ regions.named.float().T), fit])


def safe_logit(probability: Tensor) -> Tensor:
    """Logit of a probability, of the same shape, finite also for 0 and 1."""
    return torch.logit(probability.clamp(_LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY))


class IoUHead(nn.Module):
    """How well a region's box fits its object: predicted IoU in 0..1 from the region token."""

    def __init__(self, hidden_size: int, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(hidden_size, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, region_tokens: Tensor) -> Tensor:
        """[N, d] → logits [N]; `sigmoid` of it is the IoU."""
        return self.layers(region_tokens).squeeze(-1)


def match_loss(logits: Tensor, targets: Tensor, weights: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal binary cross-entropy of match logits, normalised by the number of positives (at least 1).

    Args:
        logits: [P, N].
        targets: [P, N] in {0, 1}.
        weights: [P, N]; 0 where a pair must not be learned from (crowds).
    """
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probability = torch.sigmoid(logits.detach())
    miss = targets * (1 - probability) + (1 - targets) * probability
    return (loss * miss**gamma * weights).sum() / (targets * weights).sum().clamp(min=1)
