"""What is asked of one picture in one training step, and the right answers, from its boxes and captions.

`choose_regions` picks the boxes that become region tokens, `Truth` says what each of them is, and the task functions
turn both into questions: text, expected reply, or a phrase with the regions it matches. Everything random comes from
the generator that is passed in. This file knows no model and no tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fo1agent import lexicon
from fo1agent.boxes import coverage, iou
from fo1agent.prompts.loader import render
from fo1agent.prompts.reply import grounded
from fo1agent.trainers.data.features import ANNOTATED, PROPOSAL, Picture
from fo1agent.trainers.data.records import Example

SAME = 0.5  # IoU above which a box shows the annotated object
CLEAR = 0.3  # IoU below which it shows none
BACKGROUND = "background"  # what a region is called that shows none of the known names


@dataclass(frozen=True)
class Question:
    """Words for one picture and the reply that is to be learned."""

    text: str
    reply: str


@dataclass(frozen=True, eq=False)
class Phrase:
    """A phrase, and which of the chosen regions it names.

    Attributes:
        text: the phrase.
        name: index into the vocabulary of the name it means; -1 when it means none of them.
        targets: [N] float32 in {0, 1}.
        weights: [N] float32; 0 where nobody knows.
    """

    text: str
    name: int
    targets: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class Truth:
    """What the chosen regions of a picture show.

    Attributes:
        names: [N] int64 index of the name of the best-overlapping object, -1 for background.
        overlap: [N] float32 best IoU with any annotated object.
        matches: [K, N] bool: region n shows an object of name k.
        unknown: [K, N] bool: region n lies in a crowd of name k, so nobody knows.
        objects: per annotated object (name index, region that shows it best, or -1).
    """

    names: np.ndarray
    overlap: np.ndarray
    matches: np.ndarray
    unknown: np.ndarray
    objects: tuple[tuple[int, int], ...]

    @property
    def present(self) -> list[int]:
        """Indices of the names that the picture shows, seen or not."""
        return sorted({name for name, _ in self.objects} | set(np.flatnonzero(self.unknown.any(1)).tolist()))

    def regions_of(self, name: int) -> list[int]:
        """One region per object of that name, ascending; objects that no region shows are left out."""
        return sorted({region for k, region in self.objects if k == name and region >= 0})


def choose_regions(picture: Picture, most: int, by_hand: float, rng: np.random.Generator) -> np.ndarray:
    """Positions of the boxes that become regions 0, 1, …: the best few proposals, in their order.

    With probability `by_hand` some annotated or jittered boxes stand among them, anywhere, as boxes that a person drew.
    """
    proposals = np.flatnonzero(picture.kind == PROPOSAL)
    # Prompts are full more often than not, as they are in use; a model that never saw late regions fails on them.
    count = most if rng.random() < 0.5 else int(rng.integers(min(12, most), most + 1))
    chosen = proposals[:count]
    drawn = np.flatnonzero(picture.kind >= ANNOTATED)
    if len(drawn) and rng.random() < by_hand:
        extra = rng.choice(drawn, size=min(len(drawn), int(rng.integers(1, 9))), replace=False)
        places = np.sort(rng.integers(0, len(chosen) + 1, len(extra)))
        chosen = np.insert(chosen, places, extra)[:most]
    return chosen


def find_truth(image: Example, boxes: np.ndarray, vocabulary: Mapping[str, int]) -> Truth:
    """Compare boxes [N, 4] with the annotation. An object whose name is not in the vocabulary is none of its names."""
    real = ~image.crowd
    overlap = iou(boxes.astype(np.float64), image.boxes[real].astype(np.float64))
    labels = np.array([vocabulary.get(label, -1) for label in image.labels], dtype=np.int64)
    matches = np.zeros((len(vocabulary), len(boxes)), dtype=bool)
    unknown = np.zeros_like(matches)
    names = np.full(len(boxes), -1, dtype=np.int64)
    best = np.zeros(len(boxes), dtype=np.float32)
    objects: list[tuple[int, int]] = []
    if overlap.size:
        best = overlap.max(axis=1).astype(np.float32)
        names = np.where(best > SAME, labels[real][overlap.argmax(axis=1)], -1)
        for column, name in enumerate(labels[real]):
            if name < 0:
                continue
            matches[name] |= overlap[:, column] > SAME
            shown = overlap[:, column].max() > SAME
            objects.append((int(name), int(overlap[:, column].argmax()) if shown else -1))
    for crowd, name in zip(image.boxes[image.crowd], labels[image.crowd], strict=True):
        if name < 0:
            continue
        unknown[name] |= coverage(boxes.astype(np.float64), crowd[None].astype(np.float64))[:, 0] > 0.5
    return Truth(names, best, matches, unknown & ~matches, tuple(objects))


def name_targets(truth: Truth, background: int) -> np.ndarray:
    """[N] int64: each region's name index, `background` where it clearly shows none, -100 where nobody says."""
    clear = (truth.overlap < CLEAR) & ~truth.unknown.any(axis=0)
    return np.where(truth.names >= 0, truth.names, np.where(clear, background, -100))


class TaskMaker:
    """Makes questions and phrases for pictures of one vocabulary.

    Args:
        vocabulary: the names that boxes carry.
        words: words that mean none of the names (see `unknown_words`).
    """

    def __init__(self, vocabulary: Sequence[str], words: Sequence[str] = ()) -> None:
        self.vocabulary = tuple(vocabulary)
        self.words = tuple(words)
        self.index = {name: k for k, name in enumerate(self.vocabulary)}

    def phrases(self, truth: Truth, absent: int, unknown: int, rng: np.random.Generator) -> list[Phrase]:
        """Every name that the picture shows, some that it does not, and some words that are no name."""
        present = truth.present
        others = np.setdiff1d(np.arange(len(self.vocabulary)), present)
        chosen = [*present, *rng.choice(others, size=min(absent, len(others)), replace=False).tolist()]
        made = []
        for k in chosen:
            weights = (~truth.unknown[k]).astype(np.float32)
            made.append(Phrase(self._wording(k, rng), k, truth.matches[k].astype(np.float32), weights))
        for word in rng.choice(self.words, size=min(unknown, len(self.words)), replace=False).tolist():
            # A region that shows a known object is not "grass"; what the background shows, nobody wrote down.
            made.append(Phrase(word, -1, np.zeros(len(truth.names), np.float32), (truth.names >= 0).astype(np.float32)))
        return made

    def references(self, image: Example, boxes: np.ndarray) -> list[Phrase]:
        """The picture's own phrases that speak of a known name ("red car"), and which of `boxes` [N, 4] they mean."""
        overlap = iou(boxes.astype(np.float64), image.boxes.astype(np.float64))
        made = []
        for reference in image.phrases:
            meant = lexicon.resolve(reference.text, self.vocabulary)
            if len(meant.names) != 1 or not meant.modifiers:
                continue
            best = overlap[:, list(reference.boxes)].max(axis=1, initial=0.0)
            clear = (best > SAME) | (best < CLEAR)
            targets = (best > SAME).astype(np.float32)
            made.append(Phrase(reference.text, self.index[meant.names[0]], targets, clear.astype(np.float32)))
        return made

    def _wording(self, k: int, rng: np.random.Generator) -> str:
        name = self.vocabulary[k]
        return lexicon.plural(name) if rng.random() < 0.15 else name

    def describe(self, truth: Truth, count: int, rng: np.random.Generator) -> list[Question]:
        """What single regions are: known objects first, now and then a piece of background."""
        known, rest = np.flatnonzero(truth.names >= 0), np.flatnonzero(truth.overlap < CLEAR)
        picked = rng.choice(known, size=min(count, len(known)), replace=False).tolist()
        if len(rest) and rng.random() < 0.5:
            picked.append(int(rng.choice(rest)))
        questions = []
        for n in picked:
            name = self.vocabulary[truth.names[n]] if truth.names[n] >= 0 else BACKGROUND
            template = "brief_region_caption" if rng.random() < 0.8 else "detailed_region_caption"
            questions.append(Question(render(template, f"<region{n}>"), name))
        return questions

    def dense(self, truth: Truth, count: int, rng: np.random.Generator) -> Question | None:
        """What many regions are, in one reply; None if none is clear."""
        clear = np.flatnonzero((truth.names >= 0) | (truth.overlap < CLEAR))
        if not len(clear):
            return None
        known, rest = clear[truth.names[clear] >= 0], clear[truth.names[clear] < 0]
        picked = rng.permutation(np.concatenate([rng.permutation(known)[:count], rng.permutation(rest)[: count // 5]]))
        names = [self.vocabulary[truth.names[n]] if truth.names[n] >= 0 else BACKGROUND for n in picked]
        asked = "".join(f"<region{n}>" for n in picked)
        reply = "".join(f"<region{n}>{name}" for n, name in zip(picked, names, strict=True))
        return Question(render("brief_region_caption", asked), reply)

    def detect(self, truth: Truth, rng: np.random.Generator) -> Question:
        """Find one to four names, some of which may be absent."""
        names = self._some_names(truth, int(rng.integers(1, 5)), rng)
        wanted = [self.vocabulary[k] for k in names]
        reply = "".join(grounded(self.vocabulary[k], truth.regions_of(k)) for k in names)
        return Question(render("od", "; ".join(wanted)), reply)

    def count(self, truth: Truth, rng: np.random.Generator) -> Question:
        """How many of one name: the regions, then their number."""
        (k,) = self._some_names(truth, 1, rng)
        regions = truth.regions_of(k)
        name = lexicon.plural(self.vocabulary[k])
        return Question(render("od_counting", name), f"{grounded(self.vocabulary[k], regions)} {len(regions)}")

    def everything(self, truth: Truth) -> Question:
        """Every known object with its regions."""
        names = sorted({k for k, region in truth.objects if region >= 0})
        reply = "".join(grounded(self.vocabulary[k], truth.regions_of(k)) for k in names)
        return Question(render("od_all"), reply or BACKGROUND)

    def caption(self, image: Example, truth: Truth, rng: np.random.Generator) -> Question | None:
        """A caption whose words for known objects are linked to their regions; None without captions."""
        if not image.captions:
            return None
        sentence = image.captions[int(rng.integers(len(image.captions)))]
        return Question(render("grounding"), self.link(sentence, truth))

    def link(self, sentence: str, truth: Truth) -> str:
        """Put regions behind the words of a caption that name an object with a region: exact words, no general ones."""
        linked: set[int] = set()

        def with_regions(match: re.Match[str]) -> str:
            names = lexicon.resolve(match[0], self.vocabulary)
            k = self.index[names.names[0]] if names.exact and len(names.names) == 1 else -1
            regions = truth.regions_of(k) if k >= 0 and k not in linked else []
            if not regions:
                return match[0]
            linked.add(k)
            return grounded(match[0], regions if lexicon.is_plural(match[0]) else regions[:1])

        return _NOUN.sub(with_regions, sentence.lower().rstrip(" .")) + "."

    def _some_names(self, truth: Truth, count: int, rng: np.random.Generator) -> list[int]:
        present = truth.present
        names: list[int] = []
        for _ in range(count):
            pool = present if present and rng.random() < 0.75 else range(len(self.vocabulary))
            k = int(rng.choice(list(pool)))
            if k not in names:
                names.append(k)
        return names


_NOUN = re.compile(r"\b[a-z]+(?:-[a-z]+)?\b")


def unknown_words(sentences: Sequence[str], vocabulary: Sequence[str], least: int = 5) -> tuple[str, ...]:
    """Common nouns of the captions that mean none of the names, most frequent first."""
    counts: dict[str, int] = {}
    for sentence in sentences:
        for word in set(_NOUN.findall(sentence.lower())):
            counts[word] = counts.get(word, 0) + 1
    frequent = [w for w, n in sorted(counts.items(), key=lambda item: -item[1]) if n >= least and len(w) > 2]
    return tuple(w for w in frequent if lexicon.is_noun(w) and not _means_something(w, vocabulary))


def _means_something(word: str, vocabulary: Sequence[str]) -> bool:
    meaning = lexicon.resolve(word, vocabulary)
    return bool(meaning.names or meaning.near)
