"""What is asked of one picture in one training step, and the right answers, from all that an `Example` may hold.

`choose_regions` picks the boxes that become region tokens, `Truth` says what each of them is, and the task functions
turn both into questions: text, expected reply, or a phrase with the regions it matches. A `TaskMaker` asks about the
names of one vocabulary; `OpenTasks` makes one for each picture, of its own names. Everything random comes from the
generator that is passed in. This file knows no model and no tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent.errors import DataError
from fo1agent.evaluate.files import read_text
from fo1agent.prompts.loader import render
from fo1agent.prompts.reply import grounded
from fo1agent.regions.boxes import coverage, iou
from fo1agent.trainers import yamls
from fo1agent.trainers.data.features import ANNOTATED, PROPOSAL
from fo1agent.trainers.data.records import Example
from fo1agent.words import lexicon

SAME = 0.5  # IoU above which a box shows the annotated object
CLEAR = 0.3  # IoU below which it shows none
BACKGROUND = "background"  # what a region is called that shows none of the known names
NONE, UNSAID = -1, -2  # in place of a name: the phrase means none of them; nobody says which it means


@dataclass(frozen=True)
class Question:
    """Words for one picture and the reply that is to be learned.

    Attributes:
        text, reply: see above.
        numbers: `<regionK>` in the reply are learned too; False where they are chance.
    """

    text: str
    reply: str
    numbers: bool = True


@dataclass(frozen=True, eq=False)
class Phrase:
    """A phrase, and which of the chosen regions it names.

    Attributes:
        text: the phrase.
        name: index into the vocabulary of the name it means; `NONE` when it means none of them, `UNSAID` when nobody
            says.
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
        names: [N] int64 index of the name of the best-overlapping object, -1 for background or an object without name.
        overlap: [N] float32 best IoU with any annotated object.
        matches: [K, N] bool: region n shows an object of name k.
        unknown: [K, N] bool: region n lies in a crowd of name k, so nobody knows.
        objects: per named object (name index, region that shows it best, or -1).
        absent: [K] bool: the picture is known not to show the name.
        shows: [N, B] bool: region n shows box b of the example, crowds included.
        best: per box of the example, the region that shows it best, or -1.
    """

    names: np.ndarray
    overlap: np.ndarray
    matches: np.ndarray
    unknown: np.ndarray
    objects: tuple[tuple[int, int], ...]
    absent: np.ndarray
    shows: np.ndarray
    best: tuple[int, ...]

    @property
    def present(self) -> list[int]:
        """Indices of the names that the picture shows, seen or not."""
        return sorted({name for name, _ in self.objects} | set(np.flatnonzero(self.unknown.any(1)).tolist()))

    def regions_of(self, name: int) -> list[int]:
        """One region per object of that name, ascending; objects that no region shows are left out."""
        return sorted({region for k, region in self.objects if k == name and region >= 0})


def choose_regions(
    picture: Any,
    most: int,
    by_hand: float,
    rng: np.random.Generator,
    needed: Collection[int] = (),
    given: float = 0.0,
) -> np.ndarray:
    """Positions of the boxes that become regions 0, 1, …: the best few proposals, in their order.

    With probability `by_hand` some annotated or jittered boxes stand among them, anywhere, as boxes that a person drew.
    With probability `given` there are only annotated ones, as when a picture is opened with boxes. `needed` are
    annotated boxes (counted without crowds) that stand among them in any case.
    """
    annotated = np.flatnonzero(picture.kind == ANNOTATED)
    if given and len(annotated) and rng.random() < given:
        others = np.setdiff1d(np.arange(len(annotated)), sorted(needed))
        chosen = [*sorted(needed)[:most], *rng.permutation(others)][:most]
        return annotated[np.sort(np.array(chosen, dtype=np.int64))]
    proposals = np.flatnonzero(picture.kind == PROPOSAL)
    # Prompts are full more often than not, as they are in use; a model that never saw late regions fails on them.
    count = most if rng.random() < 0.5 else int(rng.integers(min(12, most), most + 1))
    chosen = proposals[:count]
    drawn = np.flatnonzero(picture.kind >= ANNOTATED)
    extra = np.zeros(0, dtype=np.int64)
    if len(drawn) and rng.random() < by_hand:
        extra = rng.choice(drawn, size=min(len(drawn), int(rng.integers(1, 9))), replace=False)
    if needed:
        asked = annotated[sorted(needed)[:most]]
        # Last, so that the cut below takes others.
        extra = np.concatenate([np.setdiff1d(extra, asked), asked])[-most:]
    if len(extra):
        chosen = chosen[: most - min(len(extra), most)] if needed else chosen
        places = np.sort(rng.integers(0, len(chosen) + 1, len(extra)))
        chosen = np.insert(chosen, places, extra)[:most]
    return chosen


def needed_boxes(example: Example) -> list[int]:
    """Boxes that the example's dialogues and texts speak of, counted without crowds, as in `choose_regions`."""
    asked = {k for turn in example.turns for k in turn.regions}
    asked |= {k for k, text in enumerate(example.texts) if text}
    places = np.cumsum(~example.crowd) - 1
    return [int(places[k]) for k in sorted(asked) if k < len(places) and not example.crowd[k]]


def find_truth(image: Example, boxes: np.ndarray, vocabulary: Mapping[str, int], exhaustive: bool = True) -> Truth:
    """Compare boxes [N, 4] with the annotation.

    Args:
        image: the picture's annotations.
        boxes: xyxy pixels of the picture.
        vocabulary: names and their indices; boxes of other names count as boxes without one.
        exhaustive: a picture that lists no absent names shows none but those of its boxes.
    """
    real = ~image.crowd
    overlap = iou(boxes.astype(np.float64), image.boxes.astype(np.float64))
    labels = np.array([vocabulary.get(label, -1) for label in image.labels], dtype=np.int64)
    matches = np.zeros((len(vocabulary), len(boxes)), dtype=bool)
    unknown = np.zeros_like(matches)
    names = np.full(len(boxes), -1, dtype=np.int64)
    best = np.zeros(len(boxes), dtype=np.float32)
    shown = [-1] * len(image.boxes)
    objects: list[tuple[int, int]] = []
    if overlap.size:
        shown = [int(column.argmax()) if column.max() > SAME else -1 for column in overlap.T]
    if overlap[:, real].size:
        best = overlap[:, real].max(axis=1).astype(np.float32)
        names = np.where(best > SAME, labels[real][overlap[:, real].argmax(axis=1)], -1)
        for box in np.flatnonzero(real & (labels >= 0)):
            matches[labels[box]] |= overlap[:, box] > SAME
            objects.append((int(labels[box]), shown[box]))
    for crowd, name in zip(image.boxes[image.crowd], labels[image.crowd], strict=True):
        if name >= 0:
            unknown[name] |= coverage(boxes.astype(np.float64), crowd[None].astype(np.float64))[:, 0] > 0.5
    absent = np.zeros(len(vocabulary), dtype=bool)
    if image.absent:
        absent[[vocabulary[name] for name in image.absent if name in vocabulary]] = True
    elif exhaustive:
        absent[:] = True
    absent[labels[labels >= 0]] = False
    return Truth(names, best, matches, unknown & ~matches, tuple(objects), absent, overlap > SAME, tuple(shown))


def name_targets(truth: Truth, background: int) -> np.ndarray:
    """[N] int64: each region's name index, `background` where it clearly shows none, -100 where nobody says."""
    clear = (truth.overlap < CLEAR) & ~truth.unknown.any(axis=0) & truth.absent.any()
    return np.where(truth.names >= 0, truth.names, np.where(clear, background, -100))


class TaskMaker:
    """Makes questions and phrases for pictures of one vocabulary.

    Args:
        vocabulary: the names that boxes carry.
        words: words that mean none of the names (see `unknown_words`).
        confusable: per name, names that are easily taken for it; asked for first among those that a picture lacks.
        exhaustive: see `find_truth`.
    """

    closed = True  # an index of a name means the same in every picture

    def __init__(
        self,
        vocabulary: Sequence[str],
        words: Sequence[str] = (),
        confusable: Mapping[str, Sequence[str]] | None = None,
        exhaustive: bool = True,
    ) -> None:
        self.vocabulary = tuple(vocabulary)
        self.words = tuple(words)
        self.index = {name: k for k, name in enumerate(self.vocabulary)}
        self.confusable, self.exhaustive = dict(confusable or {}), exhaustive

    def of(self, image: Example, others: Collection[str], rng: np.random.Generator) -> TaskMaker:
        """What to ask about one picture by: itself; compare `OpenTasks.of`."""
        return self

    def phrases(self, truth: Truth, absent: int, unknown: int, rng: np.random.Generator) -> list[Phrase]:
        """Every name that the picture shows, some that it does not, and some words that are no name."""
        present = truth.present
        made = []
        for k in [*present, *self._absent(truth, absent, rng)]:
            weights = (~truth.unknown[k]).astype(np.float32)
            if k not in present and not truth.absent[k]:
                # Nobody looked for it; but a region that shows something else is not it.
                weights = (truth.names >= 0).astype(np.float32)
            made.append(Phrase(self._wording(k, rng), k, truth.matches[k].astype(np.float32), weights))
        for word in rng.choice(self.words, size=min(unknown, len(self.words)), replace=False).tolist():
            # A region that shows a known object is not "grass"; what the background shows, nobody wrote down.
            weights = (truth.names >= 0).astype(np.float32)
            made.append(Phrase(word, NONE, np.zeros(len(truth.names), np.float32), weights))
        return made

    def references(self, image: Example, truth: Truth, most: int, rng: np.random.Generator) -> list[Phrase]:
        """Free phrases of the example with the regions they name, those that name nothing included."""
        chosen = rng.choice(len(image.phrases), size=min(most, len(image.phrases)), replace=False)
        made = []
        for reference in (image.phrases[k] for k in chosen):
            targets = np.asarray(truth.shows[:, list(reference.boxes)].any(axis=1), dtype=np.float32)
            k = self._meant(reference.text)
            if self.closed and k == UNSAID:
                continue
            made.append(Phrase(reference.text, k, targets, np.ones(len(targets), np.float32)))
        return made

    def _meant(self, text: str) -> int:
        """Index of the name that a free phrase speaks of ("red car": car), or `UNSAID`."""
        if not self.closed:
            return self.index.get(text, UNSAID)
        meant = lexicon.resolve(text, self.vocabulary)
        return self.index[meant.names[0]] if meant.exact and len(meant.names) == 1 else UNSAID

    def _absent(self, truth: Truth, count: int, rng: np.random.Generator) -> list[int]:
        """Names that the picture does not show, or may not: up to half of them easily confused with one it does."""
        present = truth.present
        others = np.setdiff1d(np.arange(len(self.vocabulary)), present)
        close = {
            self.index[name]
            for k in present
            for name in self.confusable.get(self.vocabulary[k], ())
            if name in self.index and self.index[name] in others
        }
        hard = rng.permutation(sorted(close))[: -(-count // 2)].astype(int).tolist()
        rest = np.setdiff1d(others, hard)
        return [*hard, *rng.choice(rest, size=min(count - len(hard), len(rest)), replace=False).tolist()]

    def _wording(self, k: int, rng: np.random.Generator) -> str:
        name = self.vocabulary[k]
        return lexicon.plural(name) if rng.random() < 0.15 else name

    def describe(self, truth: Truth, count: int, rng: np.random.Generator) -> list[Question]:
        """What single regions are: known objects first, now and then a piece of background.

        The piece is rare: asked about one in every other picture, nano took small persons for background.
        """
        known, rest = np.flatnonzero(truth.names >= 0), np.flatnonzero(truth.overlap < CLEAR)
        picked = rng.choice(known, size=min(count, len(known)), replace=False).tolist()
        if len(rest) and truth.absent.any() and rng.random() < 0.25:
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
        return Question(render("brief_region_caption", asked), reply, numbers=False)

    def detect(self, truth: Truth, rng: np.random.Generator) -> Question | None:
        """Find one to four names, some of which may be absent; None when nobody knows of any name."""
        names = self._some_names(truth, int(rng.integers(1, 5)), rng)
        if not names:
            return None
        wanted = [self.vocabulary[k] for k in names]
        reply = "".join(grounded(self.vocabulary[k], truth.regions_of(k)) for k in names)
        return Question(render("od", "; ".join(wanted)), reply)

    def count(self, truth: Truth, rng: np.random.Generator) -> Question | None:
        """How many of one name: the regions, then their number; None when nobody knows of any name."""
        names = self._some_names(truth, 1, rng)
        if not names:
            return None
        (k,) = names
        regions = truth.regions_of(k)
        name = lexicon.plural(self.vocabulary[k])
        return Question(render("od_counting", name), f"{grounded(self.vocabulary[k], regions)} {len(regions)}")

    def everything(self, truth: Truth) -> Question | None:
        """Every known object with its regions; None when nobody says what the picture shows."""
        if not self.vocabulary or not (truth.absent.any() or truth.objects):
            return None
        names = sorted({k for k, region in truth.objects if region >= 0})
        reply = "".join(grounded(self.vocabulary[k], truth.regions_of(k)) for k in names)
        return Question(render("od_all"), reply or BACKGROUND)

    def refer(self, image: Example, truth: Truth, rng: np.random.Generator) -> Question | None:
        """Find what one to three free phrases name; None when the example has none."""
        count = min(len(image.phrases), 1 if rng.random() < 0.6 else int(rng.integers(2, 4)))
        if not count:
            return None
        chosen = [image.phrases[k] for k in rng.choice(len(image.phrases), size=count, replace=False)]
        groups = [
            grounded(one.text, sorted({truth.best[box] for box in one.boxes if truth.best[box] >= 0})) for one in chosen
        ]
        return Question(render("rec" if count == 1 else "od", "; ".join(one.text for one in chosen)), "".join(groups))

    def alike(self, truth: Truth, rng: np.random.Generator) -> Question | None:
        """All regions of the category of one of them; None when no object has a region."""
        shown = [(k, region) for k, region in truth.objects if region >= 0]
        if not shown:
            return None
        k, region = shown[int(rng.integers(len(shown)))]
        others = [n for n in truth.regions_of(k) if n != region]
        return Question(render("visual_prompt_od", f"<region{region}>"), grounded(self.vocabulary[k], others))

    def read(self, image: Example, truth: Truth, count: int, rng: np.random.Generator) -> list[Question]:
        """What is written in single regions."""
        written = [(truth.best[k], text) for k, text in enumerate(image.texts) if text and truth.best[k] >= 0]
        chosen = rng.choice(len(written), size=min(count, len(written)), replace=False)
        return [Question(render("region_ocr", f"<region{written[k][0]}>"), written[k][1]) for k in chosen]

    def dialogue(self, image: Example, truth: Truth) -> list[Question]:
        """The example's turns with its boxes as this prompt's regions, up to the first about a box without one."""
        turns: list[Question] = []
        shown = {box: region for box, region in enumerate(truth.best) if region >= 0}
        for turn in image.turns:
            if not turn.regions <= shown.keys():
                break
            here = turn.renumbered(shown)
            turns.append(Question(here.question, here.reply))
        return turns

    def caption(self, image: Example, truth: Truth, rng: np.random.Generator) -> Question | None:
        """A caption whose words for known objects are linked to their regions; None without captions."""
        if not image.captions:
            return None
        sentence = image.captions[int(rng.integers(len(image.captions)))]
        return Question(render("grounding"), self.link(sentence, truth))

    def link(self, sentence: str, truth: Truth) -> str:
        """Put regions behind the words of a caption that name an object with a region.

        Words that mean just the name are linked. One that means a kind of it ("man" for a person) is linked when it can
        only be one: the picture shows a single object of that name.
        """
        linked: set[int] = set()

        def with_regions(match: re.Match[str]) -> str:
            meaning = lexicon.resolve(match[0], self.vocabulary)
            k = self.index[meaning.names[0]] if len(meaning.names) == 1 else -1
            if k < 0 or k in linked:
                return match[0]
            shown = truth.regions_of(k)
            alone = sum(name == k for name, _ in truth.objects) == 1 and not truth.unknown[k].any()
            kind = alone and lexicon.is_a(lexicon.singular(match[0]), self.vocabulary[k])
            if not shown or not (meaning.exact or kind):
                return match[0]
            linked.add(k)
            return grounded(match[0], shown if lexicon.is_plural(match[0]) else shown[:1])

        return _NOUN.sub(with_regions, sentence.lower().rstrip(" .")) + "."

    def _some_names(self, truth: Truth, count: int, rng: np.random.Generator) -> list[int]:
        present, absent = truth.present, np.flatnonzero(truth.absent).tolist()
        names: list[int] = []
        for _ in range(count):
            pool = present if present and rng.random() < 0.75 else [*present, *absent]
            k = int(rng.choice(pool)) if pool else -1
            if k >= 0 and k not in names:
                names.append(k)
        return names


class OpenTasks:
    """Tasks for an open vocabulary: every picture is asked about its own names, and names it does not or may not show.

    Args:
        confusable: per name, names that are easily taken for it (`read_confusable`).
        words: words that mean none of the names.
        absent: names that are no picture's own, at most so many.
    """

    closed = False

    def __init__(
        self, confusable: Mapping[str, Sequence[str]] | None = None, words: Sequence[str] = (), absent: int = 24
    ) -> None:
        self.confusable, self.words, self.absent = dict(confusable or {}), tuple(words), absent

    def of(self, image: Example, others: Collection[str], rng: np.random.Generator) -> TaskMaker:
        """Tasks of one picture.

        Args:
            image: the picture's annotations.
            others: names that the other pictures of the batch show: the hard negatives of this one.
            rng: chooses which.
        """
        own = sorted({label for label in image.labels if label})
        close = [name for label in own for name in self.confusable.get(label, ())]
        lacking = rng.permutation(sorted(set(image.absent))).tolist()
        around = rng.permutation(sorted(set(others))).tolist()
        foreign = dict.fromkeys(name for name in (*close, *around, *lacking) if name and name not in own)
        vocabulary = [*own, *list(foreign)[: self.absent]]
        maker = TaskMaker(vocabulary, self.words, self.confusable, exhaustive=False)
        maker.closed = False
        return maker


def read_confusable(file: Path) -> dict[str, tuple[str, ...]]:
    """A negatives file: a YAML or JSON mapping of names to lists of names that are easily taken for them.

    Raises:
        DataError: it is none.
    """
    try:
        tree = yamls.parse(read_text(file, _MAX_CONFUSABLE), most=1_000_000)
    except ValueError as exc:
        raise DataError(f"{file} {exc}.") from exc
    lists = isinstance(tree, dict) and all(isinstance(v, list) for v in tree.values())
    if not lists or not all(isinstance(n, str) for k, v in tree.items() for n in (k, *v)):
        raise DataError(f"{file}: wanted a mapping of names to lists of names, as in cat: [dog, fox].")
    return {name: tuple(close) for name, close in tree.items()}


_MAX_CONFUSABLE = 4 << 20  # bytes of a negatives file
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
