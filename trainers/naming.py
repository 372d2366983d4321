"""Stage naming, before a language model takes part: region tokens learn what they show from every box at once.

    part                   trains   losses (weight)         rate
    region_projector       yes      name (1), iou (0.5)     train.lr
    match_head.names       yes      name (1)                train.lr
    iou_head               yes      iou (0.5)               train.lr
    base                   no
    auxiliary tower        no

It comes a second time, without the projector, when the language stages are over: they see few regions a step, and most
of them people, so the names that heads give have drifted from what the tokens still know.

A step costs one small network on some thousand cached vectors, so this teaches the projector in minutes what it would
take the language model's few words per picture hours to. Only for a base without pretraining, before stage base.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fo1agent.model.fo1 import FO1
from fo1agent.trainers.data.features import PictureStore
from fo1agent.trainers.data.tasks import find_truth, name_targets
from fo1agent.trainers.pictures import shuffled
from fo1agent.trainers.step import share

EVIDENCE_DROPOUT = 0.25
# A name counts as its frequency to this power, inverted: most boxes show few of the names. On coco-natural dev, after a
# thousand steps, naming of true boxes went from 80.1 to 79.4 %, and its mean over classes from 62 to 65.
BALANCE = 0.3
BACKGROUND_SHARE = 0.35  # of the regions that show nothing known; most do, and they are soon learned


class NamingStage:
    """The `Stage` above.

    Args:
        model: the FO1 to train.
        store: features of the training pictures.
        vocabulary: names and their indices.
        pictures: positions in the store to train on.
        batch_size: pictures per step.
        seed: with the step's number, decides everything random.
        tokens: False leaves the region projector as it is, so that no language model's tokens change.
    """

    name = "naming"
    loss_weights: Mapping[str, float] = {"name": 1.0, "iou": 0.5}

    def __init__(
        self,
        model: FO1,
        store: PictureStore,
        vocabulary: Mapping[str, int],
        pictures: Sequence[int],
        batch_size: int,
        seed: int = 0,
        tokens: bool = True,
    ) -> None:
        self._tokens = tokens
        self.store, self.vocabulary, self.pictures = store, vocabulary, tuple(pictures)
        self.batch_size, self.seed = batch_size, seed
        self.model = model
        self._order = shuffled(len(self.pictures), seed)
        labels = Counter(label for k in self.pictures for label in store[k].image.labels)
        known = {k: labels[name] for name, k in vocabulary.items()}
        self.weights = name_weights([known.get(k, 0) for k in range(model.match_head.names_known)])

    def trainable(self) -> dict[str, list[nn.Parameter]]:
        """Projector, IoU head, and of the match head the layer that names regions."""
        parts = {
            "region_projector": self.model.region_projector if self._tokens else None,
            "iou_head": self.model.iou_head,
            "names": self.model.match_head.names,
        }
        return {name: list(part.parameters()) for name, part in parts.items() if part is not None}

    def batch(self, step: int, part: int = 0, parts: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors [R, F], names [R] (K for background, -100 where nobody says) and best IoUs [R]."""
        vectors, names, overlaps = [], [], []
        for number in share(self.batch_size, part, parts):
            number += step * self.batch_size
            rng = np.random.default_rng((self.seed, 2, number))
            picture = self.store[self.pictures[self._order(number)]]
            truth = find_truth(picture.image, picture.boxes, self.vocabulary)
            shown = name_targets(truth, self.model.match_head.names_known)
            kept = (shown != self.model.match_head.names_known) | (rng.random(len(shown)) < BACKGROUND_SHARE)
            own = torch.from_numpy(picture.vectors[kept].astype(np.float32))
            evidence = self.model.region_encoder.config.evidence_size
            if evidence and rng.random() < EVIDENCE_DROPOUT:
                own[:, -evidence:] = 0
            vectors.append(own)
            names.append(torch.from_numpy(shown[kept]))
            overlaps.append(torch.from_numpy(truth.overlap[kept]))
        return torch.cat(vectors), torch.cat(names), torch.cat(overlaps)

    def counts(self, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, float]:
        """Weights of the regions whose name is known, and the number of all regions."""
        _, names, overlaps = batch
        return {"name": float(self.weights[names[names >= 0]].sum()), "iou": len(overlaps)}

    def losses(self, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy of the name, and of the predicted IoU; sums over regions."""
        vectors, names, overlaps = (tensor.to(self.model.device) for tensor in batch)
        tokens = self.model.project_regions(vectors)
        said = self.model.match_head.names(tokens).float()
        losses = {"name": F.cross_entropy(said, names, self.weights.to(said.device), reduction="sum")}
        if self.model.iou_head is not None:
            fit = self.model.iou_head(tokens).float()
            losses["iou"] = F.binary_cross_entropy_with_logits(fit, overlaps, reduction="sum")
        return losses

    def data_fingerprint(self) -> str:
        """Of the features and their annotations."""
        return self.store.fingerprint

    def evaluate(self) -> dict[str, float]:
        """Nothing: see `LanguageStage.evaluate`."""
        return {}


def name_weights(counts: Sequence[int]) -> Tensor:
    """What a region of each name counts, [K + 1]: K names and the background, which counts 1, as names do on average.

    Args:
        counts: objects of each name; of a name with none, nothing can be learned, and it counts as the rarest.
    """
    rarity = torch.tensor(counts, dtype=torch.float32).clamp(min=1) ** -BALANCE
    return torch.cat([rarity / rarity.mean(), torch.ones(1)])
