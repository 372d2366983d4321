"""One stage of training on regions and words; base, alignment and instruction differ only in data (`StageTable`).

A batch is a few pictures. Each is one sequence: the picture, its regions, and then many short branches that do not see
each other: phrases whose final state is matched with every region, and questions with their replies. So one pass over a
picture teaches dozens of phrases and answers at once. Short sequences share a row (`sequence.pack`).

Losses: `next_token` on replies; `match` (focal cross-entropy of phrase-region logits); `senses` (which known class a
phrase means); `name` (which class a region token is); `iou` (how well a region's box fits). Pictures come from a
`Feed`: as kept features of frozen towers, or through the towers themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fo1agent.model.fo1 import FO1
from fo1agent.model.heads import match_loss
from fo1agent.model.packing import pack, spread
from fo1agent.model.processing import FO1Processor
from fo1agent.model.sequence import IGNORED, Sample, TokenBatch
from fo1agent.trainers.data.ahead import Ahead
from fo1agent.trainers.data.features import FeatureStore, JoinedStores, Picture
from fo1agent.trainers.data.tasks import (
    NONE,
    UNSAID,
    OpenTasks,
    Phrase,
    Question,
    TaskMaker,
    Truth,
    choose_regions,
    find_truth,
    name_targets,
    needed_boxes,
)
from fo1agent.trainers.lora import matrices
from fo1agent.trainers.pictures import Cached, Feed, Seen, View, pictured, see_patches
from fo1agent.trainers.recipe import build
from fo1agent.trainers.step import share


@dataclass(frozen=True)
class Mix:
    """What one picture is asked in one step.

    Attributes:
        regions: most regions in a prompt.
        by_hand: probability that annotated and jittered boxes stand among the proposals.
        given: probability that there are no proposals, but only annotated boxes.
        evidence_dropout: probability that a picture's regions lose the detector's evidence, as drawn boxes lack it.
        absent, unknown: phrases for names that the picture does not show, and for words that are no name.
        describe: regions to be named in words, one question each.
        dense: regions to be named in one reply; it teaches where a region's token is found several times faster.
        detect, count, everything, caption, alike: probability of such a question.
        references: free phrases to be matched; refer: probability of a question about some of them.
        read: regions whose text is asked for.
        longest: tokens of a dialogue; turns beyond it are left out.
    """

    regions: int = 100
    by_hand: float = 0.5
    given: float = 0.0
    evidence_dropout: float = 0.25
    absent: int = 12
    unknown: int = 2
    describe: int = 6
    dense: int = 30
    detect: float = 1.0
    count: float = 0.5
    everything: float = 0.3
    caption: float = 0.5
    alike: float = 0.2
    references: int = 8
    refer: float = 1.0
    read: int = 3
    longest: int = 2048


@dataclass(frozen=True)
class StageTable:
    """What distinguishes a stage: which parts train, which losses count how much, what is asked."""

    name: str
    parts: tuple[str, ...]
    loss_weights: Mapping[str, float]
    mix: Mix = field(default_factory=Mix)

    def mixed(self, changes: Mapping[str, Any], where: str) -> StageTable:
        """The table with another mix of questions, as `changes`, named `where` in a recipe, says."""
        return replace(self, mix=build(Mix, {**asdict(self.mix), **changes}, where))


def _output(model: FO1) -> list[nn.Module]:
    """The output layer, where it is not the embedding itself."""
    tied = model.base.lm_head.weight is model.base.get_input_embeddings().weight
    return [] if tied else [model.base.lm_head]


# The parts of an FO1 that a stage may name; one that a model lacks is empty.
PARTS: Mapping[str, Callable[[FO1], Sequence[nn.Module | None]]] = {
    "language": lambda model: [model.adapter.decoder(model.base)],
    "output": _output,
    "lora": matrices,
    "token_rows": lambda model: [getattr(model, "token_rows", None)],
    "vision": lambda model: [model.adapter.vision_tower(model.base)],
    "image_projector": lambda model: [model.image_projector],
    "aux_tail": lambda model: model.aux.tail,
    "region_encoder": lambda model: [model.region_encoder],
    "region_projector": lambda model: [model.region_projector],
    "match_head": lambda model: [model.match_head],
    "iou_head": lambda model: [model.iou_head],
}


def part_parameters(model: FO1, name: str) -> list[nn.Parameter]:
    """The parameters of one part, () when the model lacks it."""
    return [p for module in PARTS[name](model) if module is not None for p in module.parameters()]


@dataclass(frozen=True, eq=False)
class Asked:
    """One picture's share of a batch.

    Attributes:
        view: the picture, and its boxes.
        chosen: positions of the boxes that are regions 0, 1, …
        blind: its regions lose the detector's evidence.
        truth: what the regions show.
        phrases, questions: each a branch of its own.
        dialogue: turns that follow one another, in one branch.
    """

    view: View
    chosen: np.ndarray
    blind: bool
    truth: Truth
    phrases: Sequence[Phrase]
    questions: Sequence[Question]
    dialogue: Sequence[Question] = ()


class LanguageStage:
    """The `Stage` that `StageTable` describes, on one feed of pictures.

    Args:
        table: what trains and what is asked.
        model: the FO1 to train.
        processor: of that model.
        feed: the pictures; a feature store stands for `Cached` with `pictures`.
        tasks: makes phrases and questions.
        pictures: with a feature store, its positions to train on; () otherwise.
        batch_size: pictures per step.
        seed: with the step's number, decides everything random.
        workers: threads that open pictures ahead of their step; 0 for none. They are not the processes of a DataLoader,
            because boxes may come from the model itself, which each of those would copy.
    """

    def __init__(
        self,
        table: StageTable,
        model: FO1,
        processor: FO1Processor,
        feed: FeatureStore | JoinedStores | Feed,
        tasks: TaskMaker | OpenTasks,
        pictures: Sequence[int] = (),
        batch_size: int = 1,
        seed: int = 0,
        workers: int = 0,
    ) -> None:
        self.name, self.loss_weights, self.mix = table.name, table.loss_weights, table.mix
        self.model, self.processor, self.tasks = model, processor, tasks
        self.batch_size, self.seed = batch_size, seed
        self._parts = table.parts
        if isinstance(feed, FeatureStore | JoinedStores):
            feed = Cached(feed, model, processor, pictures, seed)
        self.feed: Feed = feed
        self._ids = lru_cache(maxsize=1 << 16)(processor.text_ids)
        self._numbers = torch.tensor(processor.region_ids(processor.settings.max_regions))
        self._question_ids = lru_cache(maxsize=1 << 16)(processor.question_ids)
        self._workers = workers
        self._readers: dict[tuple[int, int], Ahead[list[Asked]]] = {}

    def trainable(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by part; a part that the model lacks is left out."""
        parts = {name: part_parameters(self.model, name) for name in self._parts}
        return {name: parameters for name, parameters in parts.items() if parameters}

    def layers(self) -> list[nn.Module]:
        """The decoder's: a part of a batch runs each once. The vision tower runs once per picture, so is not here."""
        return list(self.model.adapter.decoder(self.model.base).layers)

    def batch(self, step: int, part: int = 0, parts: int = 1) -> list[Asked]:
        """The pictures of step `step` and what they are asked; those that teach nothing are left out."""
        if (part, parts) not in self._readers:
            self._readers[part, parts] = Ahead(lambda k: self._make(k, part, parts), self._workers)
        return self._readers[part, parts](step)

    def counts(self, batch: list[Asked]) -> dict[str, int]:
        """Labelled tokens, and pictures that have phrases, known names, or boxes to judge."""
        classes = self._classes
        phrased = [asked for asked in batch if asked.phrases]
        named = [asked for asked in phrased if classes and (name_targets(asked.truth, classes) >= 0).any()]
        return {
            "next_token": sum(self._branch(turns, _opening(a))[1] for a in batch for turns in _spoken(a)),
            "match": len(phrased),
            "senses": sum(any(p.name != UNSAID for p in asked.phrases) for asked in phrased) if classes else 0,
            "name": len(named),
            "iou": sum(len(asked.chosen) > 0 for asked in batch),
        }

    def losses(self, batch: list[Asked]) -> dict[str, Tensor]:
        """The named losses of a batch, each a sum over what `counts` counts."""
        if not batch:
            return {}
        seen = [self._look(asked) for asked in batch]
        tokens = self.model.project_regions(torch.cat([s.vectors for s in seen])).split([len(s.vectors) for s in seen])
        samples = [self._sample(*one) for one in zip(batch, seen, tokens, strict=True)]
        assembled = self.model.assemble(samples)
        packed = (pack if self.model.adapter.can_branch else spread)(assembled)
        output = self.model(packed.batch, logits_to_keep=None)
        learned = self.counts(batch)["next_token"]
        found = {"next_token": output.loss * learned} if learned else {}
        return {**found, **self._region_losses(batch, seen, tokens, assembled, packed.unpack(output.hidden_states))}

    def example_names(self, batch: list[Asked]) -> list[str]:
        """The pictures of a batch, for messages."""
        return [asked.view.image.name for asked in batch]

    def close(self) -> None:
        """End the reading threads."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def evaluate(self) -> dict[str, float]:
        """Nothing: stages are compared by `fo1agent eval`, on the whole path."""
        return {}

    # --- making a batch ----------------------------------------------------------------------------------------

    def _make(self, step: int, part: int, parts: int) -> list[Asked]:
        first = step * self.batch_size
        numbers = [first + place for place in range(self.batch_size)]
        labels: list[set[str]] = [set()] * self.batch_size
        if not self.tasks.closed:
            # Of the whole batch, whatever part of it is made here.
            labels = [{label for label in self.feed.example(number).labels if label} for number in numbers]
        asked = []
        for place in share(self.batch_size, part, parts):
            others = set[str]().union(*labels[:place], *labels[place + 1 :])
            asked.append(self._draw(numbers[place], others))
        return [one for one in asked if one is not None]

    def _draw(self, number: int, others: set[str]) -> Asked | None:
        """Picture `number` of the feed's row, and what it is asked this time; None when there is nothing to ask."""
        rng = np.random.default_rng((self.seed, 2, number))
        asked = self._ask(self.feed.open(number, rng), others, rng)
        return asked if asked.phrases or asked.questions or asked.dialogue else None

    def _ask(self, view: View, others: set[str], rng: np.random.Generator) -> Asked:
        mix, image = self.mix, view.image
        tasks = self.tasks.of(image, others, rng)
        most = min(mix.regions, self.processor.settings.max_regions)
        chosen = np.zeros(0, dtype=np.int64)
        if not _general(image):
            chosen = choose_regions(view, most, mix.by_hand, rng, needed_boxes(image), mix.given)
        truth = find_truth(image, view.boxes[chosen], tasks.index, tasks.exhaustive)
        blind = bool(self.model.region_encoder.config.evidence_size) and rng.random() < mix.evidence_dropout
        dialogue = tasks.dialogue(image, truth)
        if _general(image):
            return Asked(view, chosen, blind, truth, (), (), dialogue)
        questions = [*tasks.describe(truth, mix.describe, rng), *tasks.read(image, truth, mix.read, rng)]
        optional = (
            (mix.dense > 0, lambda: tasks.dense(truth, mix.dense, rng)),
            (mix.detect, lambda: tasks.detect(truth, rng)),
            (mix.count, lambda: tasks.count(truth, rng)),
            (mix.everything, lambda: tasks.everything(truth)),
            (mix.caption, lambda: tasks.caption(image, truth, rng)),
            (mix.alike, lambda: tasks.alike(truth, rng)),
            (mix.refer, lambda: tasks.refer(image, truth, rng)),
        )
        questions += [q for share, make in optional if rng.random() < share and (q := make()) is not None]
        phrases = tasks.phrases(truth, mix.absent, mix.unknown, rng) if len(chosen) else []
        if len(chosen):
            phrases += tasks.references(image, truth, mix.references, rng)
        return Asked(view, chosen, blind, truth, phrases, questions, dialogue)

    # --- reading a batch ---------------------------------------------------------------------------------------

    def _look(self, asked: Asked) -> Seen:
        seen = self.feed.look(asked.view, asked.chosen)
        if not asked.blind:
            return seen
        vectors = seen.vectors.clone()
        vectors[:, self.model.region_encoder.pooled_size :] = 0
        return replace(seen, vectors=vectors)

    def _sample(self, asked: Asked, seen: Seen, tokens: Tensor) -> Sample:
        """The picture and its regions, then phrases, then questions, each a branch."""
        phrases = [self.processor.phrase_ids(phrase.text) for phrase in asked.phrases]
        labels = [torch.full_like(ids, IGNORED) for ids in phrases]
        branches = list(phrases)
        for turns in _spoken(asked):
            (ids, targets), _ = self._branch(turns, _opening(asked))
            branches.append(ids)
            labels.append(targets)
        if seen.picture is None:
            # The first token of the turn is the stem, so that there is one.
            stem, branches[0], labels[0] = branches[0][:1], branches[0][1:], labels[0][1:]
            return Sample(stem, region_tokens=tokens, branches=branches, branch_labels=labels)
        return Sample(
            self.processor.prefix_ids([len(tokens)]),
            [seen.picture],
            tokens,
            branches=branches,
            branch_labels=labels,
        )

    def _branch(self, turns: Sequence[Question], opening: tuple[int, ...]) -> tuple[tuple[Tensor, Tensor], int]:
        """Ids and targets of questions with their replies, one after another, and how many tokens are to be learned.

        Args:
            turns: at least one; of a dialogue, turns beyond `Mix.longest` are left out.
            opening: see `_opening`.
        """
        ids, targets = [], []
        for turn in turns:
            words = self._next_ids(turn.text) if ids else self._question_ids(opening, turn.text)
            reply = torch.cat([self._ids(turn.reply), torch.tensor([self.processor.stop_id])])
            if ids and sum(map(len, ids)) + len(words) + len(reply) > self.mix.longest:
                break
            ids += [words, reply]
            learned = reply if turn.numbers else reply.masked_fill(torch.isin(reply, self._numbers), IGNORED)
            targets += [torch.full_like(words, IGNORED), learned]
        count = sum(int((part != IGNORED).sum()) for part in targets)
        return (torch.cat(ids), torch.cat(targets)), count

    def _next_ids(self, text: str) -> Tensor:
        chat = self.processor.chat
        return self._ids(chat.next_turn + self.processor.plain(text) + chat.closing)

    # --- losses ------------------------------------------------------------------------------------------------

    @property
    def _classes(self) -> int:
        """Classes of the match head that names stand for; 0 when it has none, or names differ between pictures."""
        head = self.model.match_head
        return head.names_known if head is not None and self.tasks.closed else 0

    def _region_losses(
        self,
        batch: Sequence[Asked],
        seen: Sequence[Seen],
        tokens: Sequence[Tensor],
        assembled: TokenBatch,
        hidden: Tensor,
    ) -> dict[str, Tensor]:
        terms: dict[str, list[Tensor]] = {"match": [], "senses": [], "name": [], "iou": []}
        head, iou_head, classes = self.model.match_head, self.model.iou_head, self._classes
        samples, places = assembled.branch_ends.unbind(1)
        device = hidden.device
        for index, (asked, own) in enumerate(zip(batch, tokens, strict=True)):
            fit = None
            if iou_head is not None and len(own):
                fit = iou_head(own).float()
                overlap = torch.from_numpy(asked.truth.overlap).to(device)
                terms["iou"].append(F.binary_cross_entropy_with_logits(fit, overlap))
            if head is None or not asked.phrases:
                continue
            # A picture's phrases are its first branches.
            states = hidden[index, places[samples == index][: len(asked.phrases)]]
            evidence = seen[index].vectors[:, self.model.region_encoder.pooled_size :]
            keys = head.keys(
                hidden[index, assembled.region_slots[index]], own, evidence, None if fit is None else fit.detach()
            )
            targets = torch.from_numpy(np.stack([phrase.targets for phrase in asked.phrases])).to(device)
            weights = torch.from_numpy(np.stack([phrase.weights for phrase in asked.phrases])).to(device)
            terms["match"].append(match_loss(head(states, keys), targets, weights))
            if not classes:
                continue
            senses = [{NONE: classes, UNSAID: IGNORED}.get(phrase.name, phrase.name) for phrase in asked.phrases]
            if any(name != IGNORED for name in senses):
                names = torch.tensor(senses, device=device)
                terms["senses"].append(F.cross_entropy(head.senses(states).float(), names))
            shown = torch.from_numpy(name_targets(asked.truth, classes)).to(device)
            if (shown >= 0).any():
                terms["name"].append(F.cross_entropy(head.names(own).float(), shown))
        return {name: torch.stack(values).sum() for name, values in terms.items() if values}


def _general(image: Any) -> bool:
    """Only questions and answers, and no boxes that they speak of: a picture without regions, or no picture."""
    return not len(image.boxes) and bool(image.turns) and not image.phrases and not image.absent


def _opening(asked: Asked) -> tuple[int, ...]:
    """For `FO1Processor.question_ids`: no picture before the question, or one with or without regions."""
    return (min(len(asked.chosen), 1),) if pictured(asked.view) else ()


def _spoken(asked: Asked) -> list[Sequence[Question]]:
    """What is said about a picture, each entry one branch."""
    return [*([question] for question in asked.questions), *([asked.dialogue] if asked.dialogue else [])]


def region_sample(model: FO1, processor: FO1Processor, picture: Picture, tokens: Tensor) -> Sample:
    """The shared beginning of a picture's prompts: the picture, then its regions with their tokens [N, d]."""
    return Sample(processor.prefix_ids([len(tokens)]), [see_patches(model, picture)], tokens)
