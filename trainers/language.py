"""One stage of training on regions and words; base, alignment and instruction differ only in data (`StageTable`).

A batch is a few pictures. Each is one sequence: the picture, its regions, and then many short branches that do not see
each other: phrases whose final state is matched with every region, and questions with their replies. So one pass over a
picture teaches dozens of phrases and answers at once.

Losses: `next_token` on replies; `match` (focal cross-entropy of phrase-region logits); `senses` (which detector class a
phrase means); `name` (which class a region token is); `iou` (how well a region's box fits). Towers are frozen and come
from a `FeatureStore`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fo1agent.model.fo1 import FO1
from fo1agent.model.heads import match_loss
from fo1agent.model.processing import Processor
from fo1agent.model.sequence import IGNORED, Sample, TokenBatch
from fo1agent.trainers.data.features import Picture, PictureStore
from fo1agent.trainers.data.tasks import (
    Phrase,
    Question,
    TaskMaker,
    Truth,
    choose_regions,
    find_truth,
    name_targets,
)
from fo1agent.trainers.step import share


@dataclass(frozen=True)
class Mix:
    """What one picture is asked in one step.

    Attributes:
        regions: most regions in a prompt.
        by_hand: probability that annotated and jittered boxes stand among the proposals.
        evidence_dropout: probability that a picture's regions lose the detector's evidence, as drawn boxes lack it.
        absent, unknown: phrases for names that the picture does not show, and for words that are no name.
        describe: regions to be named in words, one question each.
        dense: regions to be named in one reply; it teaches where a region's token is found several times faster.
        detect, count, everything, caption: probability of such a question.
    """

    regions: int = 100
    by_hand: float = 0.5
    evidence_dropout: float = 0.25
    absent: int = 12
    unknown: int = 2
    describe: int = 6
    dense: int = 30
    detect: float = 1.0
    count: float = 0.5
    everything: float = 0.3
    caption: float = 0.5


@dataclass(frozen=True)
class StageTable:
    """What distinguishes a stage: which parts train, which losses count how much, what is asked."""

    name: str
    parts: tuple[str, ...]
    loss_weights: Mapping[str, float]
    mix: Mix = field(default_factory=Mix)


# The parts of an FO1 that a stage may name.
PARTS: Mapping[str, Callable[[FO1], nn.Module | None]] = {
    "language": lambda model: model.base.model.language_model,
    "vision": lambda model: model.base.model.visual,
    "region_projector": lambda model: model.region_projector,
    "match_head": lambda model: model.match_head,
    "iou_head": lambda model: model.iou_head,
}


@dataclass(frozen=True, eq=False)
class Asked:
    """One picture's share of a batch: regions, questions and phrases."""

    picture: Picture
    vectors: Tensor
    truth: Truth
    phrases: Sequence[Phrase]
    questions: Sequence[Question]


class LanguageStage:
    """The `Stage` that `StageTable` describes, on one feature store.

    Args:
        table: what trains and what is asked.
        model: the FO1 to train.
        processor: of that model.
        store: its features of the training pictures.
        tasks: makes phrases and questions.
        pictures: positions in the store to train on.
        batch_size: pictures per step.
        seed: with the step's number, decides everything random.
    """

    def __init__(
        self,
        table: StageTable,
        model: FO1,
        processor: Processor,
        store: PictureStore,
        tasks: TaskMaker,
        pictures: Sequence[int],
        batch_size: int,
        seed: int = 0,
    ) -> None:
        self.name, self.loss_weights, self.mix = table.name, table.loss_weights, table.mix
        self.model, self.processor, self.store, self.tasks = model, processor, store, tasks
        self.pictures, self.batch_size, self.seed = tuple(pictures), batch_size, seed
        self._parts = table.parts
        self._ids = lru_cache(maxsize=1 << 16)(processor.text_ids)
        self._question_ids = lru_cache(maxsize=1 << 16)(lambda text: processor.question_ids([1], text))

    def trainable(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by part; a part that the model lacks is left out."""
        modules = {name: PARTS[name](self.model) for name in self._parts}
        return {name: list(module.parameters()) for name, module in modules.items() if module is not None}

    def batch(self, step: int, part: int = 0, parts: int = 1) -> list[Asked]:
        """The pictures of step `step` and what they are asked; every picture once per epoch."""
        first = step * self.batch_size
        return [self._draw(first + place) for place in share(self.batch_size, part, parts)]

    def counts(self, batch: list[Asked]) -> dict[str, int]:
        """Labelled tokens, and pictures that have phrases, known names, or boxes to judge."""
        classes = self.model.match_head.classes if self.model.match_head is not None else 0
        phrased = [asked for asked in batch if asked.phrases]
        named = [asked for asked in phrased if classes and (name_targets(asked.truth, classes) >= 0).any()]
        return {
            "next_token": sum(len(self._reply(q)) for asked in batch for q in asked.questions),
            "match": len(phrased),
            "senses": len(phrased),
            "name": len(named),
            "iou": len(batch),
        }

    def losses(self, batch: list[Asked]) -> dict[str, Tensor]:
        """The named losses of a batch, each a sum over what `counts` counts."""
        vectors = torch.cat([asked.vectors for asked in batch]).to(self.model.device)
        tokens = self.model.project_regions(vectors).split([len(asked.vectors) for asked in batch])
        assembled = self.model.assemble([self._sample(a, t) for a, t in zip(batch, tokens, strict=True)])
        output = self.model(assembled, logits_to_keep=None)
        learned = self.counts(batch)["next_token"]
        found = {"next_token": output.loss * learned} if learned else {}
        return {**found, **self._region_losses(batch, tokens, assembled, output.hidden_states)}

    def example_names(self, batch: list[Asked]) -> list[str]:
        """The pictures of a batch, for messages."""
        return [asked.picture.image.name for asked in batch]

    def evaluate(self) -> dict[str, float]:
        """Nothing: stages are compared by `fo1agent eval`, on the whole path."""
        return {}

    # --- making a batch ----------------------------------------------------------------------------------------

    def _draw(self, number: int) -> Asked:
        """Picture `number` of an endless row of shuffled epochs, and what it is asked this time."""
        epoch, place = divmod(number, len(self.pictures))
        order = np.random.default_rng((self.seed, 1, epoch)).permutation(self.pictures)
        return self._ask(self.store[int(order[place])], np.random.default_rng((self.seed, 2, number)))

    def _ask(self, picture: Picture, rng: np.random.Generator) -> Asked:
        mix, tasks = self.mix, self.tasks
        chosen = choose_regions(picture, mix.regions, mix.by_hand, rng)
        truth = find_truth(picture.image, picture.boxes[chosen], tasks.index)
        vectors = torch.from_numpy(picture.vectors[chosen].astype(np.float32))
        evidence = self.model.region_encoder.config.evidence_size
        if evidence and rng.random() < mix.evidence_dropout:
            vectors[:, -evidence:] = 0
        questions = tasks.describe(truth, mix.describe, rng)
        optional = (
            (mix.dense > 0, lambda: tasks.dense(truth, mix.dense, rng)),
            (mix.detect, lambda: tasks.detect(truth, rng)),
            (mix.count, lambda: tasks.count(truth, rng)),
            (mix.everything, lambda: tasks.everything(truth)),
            (mix.caption, lambda: tasks.caption(picture.image, truth, rng)),
        )
        questions += [q for share, make in optional if rng.random() < share and (q := make()) is not None]
        phrases = tasks.phrases(truth, mix.absent, mix.unknown, rng)
        phrases += tasks.references(picture.image, picture.boxes[chosen])
        return Asked(picture, vectors, truth, phrases, questions)

    def _sample(self, asked: Asked, tokens: Tensor) -> Sample:
        """The picture and its regions, then phrases, then questions, each a branch."""
        phrases = [self.processor.phrase_ids(phrase.text) for phrase in asked.phrases]
        labels = [torch.full_like(ids, IGNORED) for ids in phrases]
        branches = list(phrases)
        for question in asked.questions:
            words, reply = self._question_ids(question.text), self._reply(question)
            branches.append(torch.cat([words, reply]))
            labels.append(torch.cat([torch.full_like(words, IGNORED), reply]))
        sample = region_sample(self.model, self.processor, asked.picture, tokens, "vision" in self._parts)
        return replace(sample, branches=branches, branch_labels=labels)

    def _reply(self, question: Question) -> Tensor:
        """Ids of a reply, its end included: the tokens to learn."""
        return torch.cat([self._ids(question.reply), torch.tensor([self.processor.stop_id])])

    # --- losses ------------------------------------------------------------------------------------------------

    def _region_losses(
        self, batch: Sequence[Asked], tokens: Sequence[Tensor], assembled: TokenBatch, hidden: Tensor
    ) -> dict[str, Tensor]:
        terms: dict[str, list[Tensor]] = {"match": [], "senses": [], "name": [], "iou": []}
        head, iou_head = self.model.match_head, self.model.iou_head
        samples, places = assembled.branch_ends.unbind(1)
        device = hidden.device
        for index, (asked, own) in enumerate(zip(batch, tokens, strict=True)):
            fit = None
            if iou_head is not None:
                fit = iou_head(own).float()
                overlap = torch.from_numpy(asked.truth.overlap).to(device)
                terms["iou"].append(F.binary_cross_entropy_with_logits(fit, overlap))
            if head is None or not asked.phrases:
                continue
            # A picture's phrases are its first branches.
            states = hidden[index, places[samples == index][: len(asked.phrases)]]
            evidence = asked.vectors[:, self.model.region_encoder.pooled_size :].to(device)
            keys = head.keys(
                hidden[index, assembled.region_slots[index]], own, evidence, None if fit is None else fit.detach()
            )
            targets = torch.from_numpy(np.stack([phrase.targets for phrase in asked.phrases])).to(device)
            weights = torch.from_numpy(np.stack([phrase.weights for phrase in asked.phrases])).to(device)
            terms["match"].append(match_loss(head(states, keys), targets, weights))
            if head.classes:
                names = torch.tensor([p.name if p.name >= 0 else head.classes for p in asked.phrases], device=device)
                terms["senses"].append(F.cross_entropy(head.senses(states).float(), names))
                shown = torch.from_numpy(name_targets(asked.truth, head.classes)).to(device)
                if (shown >= 0).any():
                    terms["name"].append(F.cross_entropy(head.names(own).float(), shown))
        return {name: torch.stack(values).sum() for name, values in terms.items() if values}


def region_sample(
    model: FO1, processor: Processor, picture: Picture, tokens: Tensor, train_vision: bool = False
) -> Sample:
    """The shared beginning of a picture's prompts: the picture, then its regions with their tokens [N, d]."""
    pixels = torch.from_numpy(picture.pixel_values.astype(np.float32)).to(model.device)
    with torch.set_grad_enabled(train_vision and torch.is_grad_enabled()):
        image_tokens, _ = model.adapter.encode_image(model.base, pixels, picture.grid_hw, False)
        image_tokens = model.image_projector(image_tokens)
    rows, columns = (side // processor.merge for side in picture.grid_hw)
    return Sample(processor.prefix_ids([len(tokens)]), [image_tokens], [(rows, columns)], tokens)
