"""Names taught beside a finished model (`fo1agent.model.lesson`), from pictures with boxes.

    part     trains                                   losses (weight)                            rate
    finder   by steps, from the model's own head      objectness (1), overlap (1), sides (0.25)  RATE
    looks    at once, by regression, after the finder  cross-entropy, with a penalty on weights
    the model itself: no

Nothing needs to be rehearsed, for nothing that is old trains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fo1agent.model.fo1 import FO1
from fo1agent.model.lesson import Lesson, own_boxes
from fo1agent.model.processing import FO1Processor
from fo1agent.trainers.calibration import Scored, fit, minimise
from fo1agent.trainers.data.features import FeatureStore
from fo1agent.trainers.data.records import Example, open_picture
from fo1agent.trainers.data.tasks import find_truth
from fo1agent.trainers.processes import find_processes
from fo1agent.trainers.proposals import HeadStage, MapSource

RARE = 0.01  # share of cells that show a thing of one name, about; where a new finder starts
PENALTY = 1.0  # on the squares of looks' weights, against the cross-entropy of one positive of each name
LEAST_RATE = 20  # positives without which the terms keep the weights that they start with
MOST_ROWS = 12_000  # regions that looks are fitted to; 19 kB each


def new_lesson(model: FO1, names: Sequence[str]) -> Lesson:
    """An untaught lesson for a model with a proposal head; its finder starts by looking where that head does."""
    finder = dict(model.config.heads["proposal"])
    lesson = Lesson(names, finder, model.aux.levels, model.region_encoder.size)
    state = {name: tensor.clone().float() for name, tensor in model.proposal_head.state_dict().items()}
    # A third of what says "some thing": enough to look in the right places, too little to be sure of one name.
    state["score.weight"] = state["score.weight"].repeat(len(names), 1, 1, 1) / 3
    state["score.bias"] = torch.full((len(names),), float(np.log(RARE / (1 - RARE))))
    lesson.finder.load_state_dict(state)
    return lesson


class FinderStage(HeadStage):
    """Trains a lesson's finder.

    Args:
        model: whose tower looks.
        lesson: trained in place.
        pictures: to train on.
        batch_size: pictures per step.
        cache: folder that keeps the tower's maps, or None.
    """

    name = "finder"

    def __init__(
        self, model: FO1, lesson: Lesson, pictures: Sequence[Example], batch_size: int, cache: Path | None
    ) -> None:
        tower = deepcopy(model.aux).to(find_processes().device)
        source = MapSource(tower, model.config.aux, model.config.heads["proposal"]["levels"], cache)
        super().__init__(lesson.finder, source, pictures, batch_size)
        self._index = {name: kind for kind, name in enumerate(lesson.names)}

    def kinds(self, record: Example) -> list[int]:
        return [self._index[label] for label in record.labels]


def fit_looks(lesson: Lesson, store: FeatureStore, pictures: Sequence[int]) -> None:
    """Set a lesson's `looks` by logistic regression on the regions of these pictures of a store."""
    index = {name: k for k, name in enumerate(lesson.names)}
    share = max(8, MOST_ROWS // max(1, len(pictures)))
    vectors, targets, weights = [], [], []
    for position in pictures:
        picture = store[position]
        truth = find_truth(picture.image, picture.boxes, index)
        shows = np.asarray(truth.matches.any(axis=0))
        rest = np.flatnonzero(~shows)
        # Few of the regions show a name; of the others, some stand for all.
        room = max(1, share - int(shows.sum()))
        kept = np.random.default_rng((1, position)).permutation(rest)[:room]
        chosen = np.concatenate([np.flatnonzero(shows)[:share], kept])
        counts = np.where(shows[chosen], 1.0, len(rest) / max(1, len(kept)))
        vectors.append(picture.vectors[chosen].astype(np.float32))
        targets.append(truth.matches[:, chosen].T)
        weights.append(counts[:, None] * (1.0 - truth.unknown[:, chosen].T))
    x, y, w = (torch.from_numpy(np.concatenate(rows).astype(np.float32)) for rows in (vectors, targets, weights))
    weight, bias = _regression(x, y, w)
    with torch.no_grad():
        lesson.looks.weight.copy_(weight)
        lesson.looks.bias.copy_(bias)


def _regression(x: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Weight [E, F] and bias [E] for vectors [R, F], targets and weights [R, E]."""
    mean, deviation = x.mean(dim=0), x.std(dim=0)
    scale = deviation + deviation.mean()  # so that numbers that hardly vary stay small
    scaled, positives = (x - mean) / scale, y.sum(dim=0).clamp(min=1)
    weight = torch.zeros(x.shape[1], y.shape[1], requires_grad=True)
    bias = torch.full((y.shape[1],), -4.0, requires_grad=True)

    def loss() -> Tensor:
        entropy = F.binary_cross_entropy_with_logits(scaled @ weight + bias, y, w, reduction="none")
        return (entropy.sum(dim=0) / positives).sum() + PENALTY * weight.square().sum()

    minimise([weight, bias], loss, 40, memory=10)
    with torch.no_grad():
        plain = weight / scale[:, None]
        return plain.T, bias - mean @ plain


@torch.no_grad()
def calibrate_lesson(
    model: FO1,
    processor: FO1Processor,
    lesson: Lesson,
    images: Sequence[Example],
    on_progress: Callable[[int, int], None],
) -> None:
    """Weigh a lesson's terms by pictures that it was not trained on, if they show enough of what it teaches."""
    index = {name: k for k, name in enumerate(lesson.names)}
    if sum(int((~image.crowd).sum()) for image in images) < LEAST_RATE:
        return
    scored = []
    for done, image in enumerate(images, start=1):
        features = model.encode_image(processor.image(open_picture(image)))
        found = lesson.find(features.aux.maps, features.aux.size_wh)
        boxes, _ = model.propose(features, processor.settings.max_regions)
        more, _ = own_boxes(found, model.placed(features.sizes.to_aux(boxes)))
        boxes = torch.cat([boxes, model.placed(features.sizes.from_aux(more.cpu().numpy()))])
        terms = lesson.terms(found, model.placed(features.sizes.to_aux(boxes)), model.region_vectors(features, boxes))
        scored.append(Scored.of(boxes.double().numpy(), terms, image, index))
        on_progress(done, len(images))
    with torch.enable_grad():
        numbers = fit(scored, torch.tensor([*lesson.weights.tolist(), lesson.bias.item()]))
    lesson.weights.copy_(numbers[:-1])
    lesson.bias.copy_(numbers[-1])
