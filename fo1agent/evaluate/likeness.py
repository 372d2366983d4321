"""How well regions that are like examples of other pictures are found, and whether their scores are probabilities.

A question is a kind of thing and one or a few annotated boxes of it, each from another picture. It is asked of every
picture that gave it no example. An example is read together with the regions of its picture, as a box drawn by hand is.
Each thing counts once, as a scene finds it; a region is right when it claims a true box of the kind at IoU .5 that no
better one has claimed. What lies in a crowd of the kind counts neither way. Kinds count alike, however frequent.

What is not meant is shown as somebody would who looks at the first answers: by the best wrong regions of up to three
pictures, which are then asked no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent.errors import DataError, FO1AgentError, ToolFailed, of_one
from fo1agent.evaluate import coco, scores
from fo1agent.evaluate.plots import Bin
from fo1agent.evaluate.progress import track
from fo1agent.model.likeness import Likeness, Seen, Vectors, alike
from fo1agent.regions.boxes import claims, clip, coverage, iou, once, visible, xywh_to_xyxy
from fo1agent.scene import FIRM, REPEATED_IOU, SAME_THING_IOU, SECOND_THING, Model

RIGHT_IOU = 0.5
LEAST_SEEN = 0.03  # regions that score less, and are none of the best, change no figure
_BEST = 0.02  # of all regions
PER_KIND = 4  # questions
AGAINST = 3  # pictures whose best wrong regions are shown as what is not meant
_MOST_EXAMPLES = 50  # of a picture
_CROWDED = 0.5  # share of a region that lies in a crowd


@dataclass(frozen=True, eq=False)
class Pool:
    """Regions of pictures with labels, one picture after the other.

    Attributes:
        seen: what is compared of all N regions.
        boxes: [N, 4] xyxy pixels.
        starts: [P + 1] where each picture's regions begin.
        overlap: of each picture, IoU [n, G] of its regions with the true boxes.
        crowded: of each picture, the share [n, C] of its regions that lies in each crowd.
        kinds: of each picture, the kinds [G] of its true boxes.
        crowds: of each picture, the kinds [C] of its crowds.
        examples: what is compared of annotated boxes.
        example_kinds, example_pictures: [E] kind and picture of each.
        categories: names of the kinds.
        vocabulary: names that the model knows, in the order of `seen.names`.
        more: further features of regions [N, d] and of examples [E, d], by name.
    """

    seen: Seen
    boxes: np.ndarray
    starts: np.ndarray
    overlap: Sequence[np.ndarray]
    crowded: Sequence[np.ndarray]
    kinds: Sequence[np.ndarray]
    crowds: Sequence[np.ndarray]
    examples: Sequence[Mapping[str, np.ndarray]]
    example_kinds: np.ndarray
    example_pictures: np.ndarray
    categories: tuple[str, ...]
    vocabulary: tuple[str, ...]
    more: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)

    def without(self, names: Sequence[str]) -> Pool:
        """The same, seen by a model that does not know these names."""
        known = [k for k, name in enumerate(self.vocabulary) if name not in names]
        examples = [{**one, "names": one["names"][known]} for one in self.examples]
        seen = replace(self.seen, names=self.seen.names[:, known])
        return replace(self, seen=seen, examples=examples, vocabulary=tuple(self.vocabulary[k] for k in known))

    @cached_property
    def pictures(self) -> np.ndarray:
        """[N] the picture of each region."""
        return np.repeat(np.arange(len(self.kinds)), np.diff(self.starts))


Features = Mapping[str, Callable[[Any, np.ndarray], np.ndarray]]
"""Name → (scene, boxes [n, 4]) → features [n, d]."""


def read(
    model: Model,
    instances: Path,
    images: Path,
    *,
    every: int = 1,
    limit: int | None = None,
    more: Features | None = None,
) -> Pool:
    """Look at every picture of an instances file.

    Args:
        model: what looks.
        instances: see `coco.read_instances`.
        images: the folder of the pictures.
        every: only every so manieth picture, the first one first.
        limit: only the first so many of these.
        more: further features that are wanted.

    Raises:
        DataError: the instances file is not what COCO prescribes, or no picture could be read.
        ToolFailed: the model compares nothing.
    """
    truth = coco.read_instances(instances)
    if not images.is_dir():
        raise DataError(f"--images {images}: no such folder.")
    records = truth["images"][::every][:limit]
    categories = sorted(truth["categories"], key=lambda category: category["id"])
    number = {category["id"]: k for k, category in enumerate(categories)}
    rows: dict[int, list[dict[str, Any]]] = {}
    for row in truth["annotations"]:
        rows.setdefault(row["image_id"], []).append(row)
    parts, failures = [], {}
    for record in track(records, len(records), "reading"):
        try:
            scene = model.open(images / record["file_name"])
            parts.append(_part(scene, rows.get(record["id"], []), number, more or {}))
        except FO1AgentError as exc:
            failures[record["file_name"]] = str(of_one(exc))
    if not parts:
        raise DataError(f"{instances}: no picture could be read: {next(iter(failures.values()), 'it lists none')}")
    names = tuple(category["name"] for category in categories)
    return _stacked(parts, names, tuple(model.predictor.vocabulary or ()), failures)


@dataclass(frozen=True, eq=False)
class _Part:
    """One picture of a `Pool`."""

    seen: Seen
    boxes: np.ndarray
    overlap: np.ndarray
    crowded: np.ndarray
    kinds: np.ndarray
    crowds: np.ndarray
    examples: Sequence[Mapping[str, np.ndarray]]
    example_kinds: np.ndarray
    more: Mapping[str, tuple[np.ndarray, np.ndarray]]


def _part(scene: Any, rows: Sequence[Mapping[str, Any]], number: Mapping[int, int], more: Features) -> _Part:
    true = xywh_to_xyxy(np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4))
    kinds = np.array([number[row["category_id"]] for row in rows], dtype=np.int64)
    crowd = np.array([bool(row["iscrowd"]) for row in rows], dtype=bool)
    shown = np.flatnonzero(visible(true, scene.loaded.size_hw) & ~crowd)[:_MOST_EXAMPLES]
    drawn = clip(true[shown], scene.loaded.size_hw)
    predictor, encoding = scene.model.predictor, scene.encoding
    seen = predictor.seen(encoding)
    boxes = encoding.boxes[: len(seen.states)]  # without regions that only lessons found
    kept = encoding.boxes[: max(predictor.max_regions - len(drawn), 0)]
    beside = predictor.seen(predictor.with_boxes(encoding, np.concatenate([kept, drawn]))) if len(drawn) else None
    examples = [] if beside is None else [beside.vectors(len(kept) + k) for k in range(len(drawn))]
    return _Part(
        replace(seen, names=seen.names[: len(boxes)]),
        boxes,
        iou(boxes, true[~crowd]),
        coverage(boxes, true[crowd]),
        kinds[~crowd],
        kinds[crowd],
        examples,
        kinds[shown],
        {name: (made(scene, boxes), made(scene, drawn)) for name, made in more.items()},
    )


def _stacked(
    parts: Sequence[_Part], categories: tuple[str, ...], vocabulary: tuple[str, ...], failures: Mapping[str, str]
) -> Pool:
    def all_of(name: str) -> np.ndarray:
        return np.concatenate([getattr(part.seen, name).astype(np.float32) for part in parts])

    more = {
        name: (
            np.concatenate([part.more[name][0] for part in parts]),
            np.concatenate([part.more[name][1] for part in parts]),
        )
        for name in parts[0].more
    }
    return Pool(
        Seen(all_of("names"), all_of("states"), all_of("tokens"), all_of("fit")),
        np.concatenate([part.boxes for part in parts]),
        np.cumsum([0, *(len(part.boxes) for part in parts)]),
        [part.overlap for part in parts],
        [part.crowded for part in parts],
        [part.kinds for part in parts],
        [part.crowds for part in parts],
        [example for part in parts for example in part.examples],
        np.concatenate([part.example_kinds for part in parts]),
        np.repeat(np.arange(len(parts)), [len(part.examples) for part in parts]),
        categories,
        vocabulary,
        more,
        dict(failures),
    )


# ---- questions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Question:
    """Which regions are of the kind of these examples?

    Attributes:
        kind: what they show.
        likes: numbers of examples of a pool.
        unlikes: numbers of regions of it that are of another kind.
        asked: [P] bool: the pictures that it is asked of.
    """

    kind: int
    likes: np.ndarray
    unlikes: np.ndarray
    asked: np.ndarray

    def vectors(self, pool: Pool) -> tuple[Vectors, Vectors]:
        """What is compared of the examples, and of what is not meant."""
        return [pool.examples[k] for k in self.likes], [pool.seen.vectors(k) for k in self.unlikes]


Judge = Callable[[Question], np.ndarray]
"""Scores [N] of all regions of a pool."""


def questions(pool: Pool, examples: int, per_kind: int = PER_KIND, seed: int = 0) -> list[Question]:
    """Questions with so many examples each, of every kind that more than so many pictures show."""
    draw, found = np.random.default_rng(seed), []
    shows = [set(kinds.tolist()) for kinds in pool.kinds]
    for kind in range(len(pool.categories)):
        rows = np.flatnonzero(pool.example_kinds == kind)
        places = np.unique(pool.example_pictures[rows])
        if len(places) < examples or sum(kind in one for one in shows) <= examples:
            continue
        for _ in range(per_kind):
            chosen = draw.choice(places, examples, replace=False)
            likes = np.array([draw.choice(rows[pool.example_pictures[rows] == place]) for place in chosen])
            asked = np.ones(len(pool.kinds), dtype=bool)
            asked[chosen] = False
            found.append(Question(kind, likes, np.zeros(0, dtype=np.int64), asked))
    return found


def against(pool: Pool, question: Question, judge: Judge) -> Question:
    """The question with what its first answers would let somebody show as not meant."""
    said = judged(pool, question, judge(question))
    wrong = said.rows[~said.right & ~said.ignored]  # best first
    _, first = np.unique(pool.pictures[wrong], return_index=True)
    unlikes = wrong[np.sort(first)[:AGAINST]]
    asked = question.asked.copy()
    asked[pool.pictures[unlikes]] = False
    return replace(question, unlikes=unlikes, asked=asked)


@dataclass(frozen=True, eq=False)
class Judged:
    """The regions that a question finds, each thing once, best first.

    Attributes:
        rows: [R] their numbers.
        scores: [R] as a scene gives them.
        right: [R] bool: claims a true box that no better one has claimed.
        ignored: [R] bool: lies in a crowd of the kind.
        doubted: [R] bool: overlaps a better one, so that little of its score is left.
        truths: [P] true boxes of the kind in each picture, 0 where it is not asked.
    """

    rows: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    ignored: np.ndarray
    doubted: np.ndarray
    truths: np.ndarray

    @property
    def judged_by_score(self) -> np.ndarray:
        """[R] bool: those that count, and whose score is theirs alone."""
        return ~(self.ignored | self.doubted)

    def average_precision(self) -> float:
        """Mean over the true boxes of the precision down to what claims it, 0 where nothing does; in percent."""
        right = self.right[~self.ignored]
        precision = np.cumsum(right) / np.arange(1, len(right) + 1)
        return 100 * float(precision[right].sum() / self.truths.sum()) if self.truths.sum() else float("nan")


def judged(pool: Pool, question: Question, score: np.ndarray) -> Judged:
    """What becomes of scores [N]; those that change no figure are left out."""
    least = min(LEAST_SEEN, float(np.quantile(score, 1 - _BEST)))
    truths = np.array([np.count_nonzero(kinds == question.kind) for kinds in pool.kinds]) * question.asked
    found = []
    for picture in np.unique(pool.pictures[(score >= least) & question.asked[pool.pictures]]):
        start, stop = pool.starts[picture : picture + 2]
        own = np.flatnonzero(score[start:stop] >= least)
        boxes, plain = pool.boxes[start + own], score[start + own]
        kept, scored = once(boxes, plain, SAME_THING_IOU, REPEATED_IOU, SECOND_THING, FIRM)
        own, doubted = own[kept], scored < plain[kept]
        right = claims(pool.overlap[picture][np.ix_(own, pool.kinds[picture] == question.kind)], RIGHT_IOU)
        crowded = pool.crowded[picture][np.ix_(own, pool.crowds[picture] == question.kind)]
        found.append((start + own, scored, right, ~right & (crowded > _CROWDED).any(axis=1), doubted))
    empty = np.zeros(0, dtype=np.int64), np.zeros(0), *(np.zeros(0, dtype=bool),) * 3
    whole = [np.concatenate(parts) for parts in zip(empty, *found, strict=True)]
    order = np.argsort(-whole[1], kind="stable")
    rows, scored, right, ignored, doubted = (each[order] for each in whole)
    return Judged(rows, scored, right, ignored, doubted, truths)


# ---- figures -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Figures:
    """What questions came to.

    Attributes:
        ap: average precision at IoU .5, the mean over kinds, in percent.
        bins: those of the scores from `scores.LEAST_SCORE` up, lowest first.
        exact: share, in percent, of the pictures that show the kind in which as many regions reach the threshold as
            there are things of the kind; the mean over kinds.
        found: regions that reach the threshold in a picture that shows none.
        claimed, right: mean score of the regions that reach the threshold, and the share of them that is right.
        questions, kinds: how many were asked, and of how many kinds.
    """

    ap: float
    bins: tuple[Bin, ...]
    exact: float
    found: float
    claimed: float
    right: float
    questions: int
    kinds: int

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, 0 to 1; NaN without regions."""
        return scores.calibration_error(self.bins)

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain values for JSON."""
        values = {
            "AP50": round(self.ap, 1),
            "calibration_error": round(self.calibration_error, 4),
            "exact_counts": round(self.exact, 1),
            "found_where_none_is": round(self.found, 4),
            "claimed": round(self.claimed, 3),
            "right": round(self.right, 3),
            "questions": self.questions,
            "kinds": self.kinds,
        }
        return {name: None if np.isnan(value) else value for name, value in values.items()}


def figures(pool: Pool, asked: Sequence[Question], judge: Judge, threshold: float) -> Figures:
    """What questions come to with the scores of a judge."""
    ap: dict[int, list[float]] = {}
    exact: dict[int, list[float]] = {}
    absent, said = [], []
    for question in asked:
        found = judged(pool, question, judge(question))
        sure = found.scores >= threshold
        counts = np.bincount(pool.pictures[found.rows[sure & ~found.ignored]], minlength=len(found.truths))
        crowded = np.array([question.kind in crowds for crowds in pool.crowds])
        shown, none = found.truths > 0, question.asked & (found.truths == 0) & ~crowded
        ap.setdefault(question.kind, []).append(found.average_precision())
        exact.setdefault(question.kind, []).append(100 * _mean((counts == found.truths)[shown & ~crowded]))
        absent.append(_mean(counts[none]))
        kept = ~found.ignored & (found.scores >= scores.LEAST_SCORE)
        said.append(np.stack([found.scores[kept], found.right[kept]]))
    score, right = np.concatenate([np.zeros((2, 0)), *said], axis=1)
    sure = score >= threshold
    return Figures(
        _mean([_mean(each) for each in ap.values()]),
        _bins(score, right),
        _mean([_mean(each) for each in exact.values()]),
        _mean(absent),
        _mean(score[sure]),
        _mean(right[sure]),
        len(asked),
        len(ap),
    )


def _mean(values: Any) -> float:
    """NaN of none, and of those that are."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float("nan")


def _bins(score: np.ndarray, right: np.ndarray) -> tuple[Bin, ...]:
    place, found = np.minimum((score * scores.BINS).astype(int), scores.BINS - 1), []
    for k in np.unique(place):
        inside = place == k
        means = float(score[inside].mean()), float(right[inside].mean())
        found.append(Bin(k / scores.BINS, (k + 1) / scores.BINS, int(inside.sum()), *means))
    return tuple(found)


def by_examples(pool: Pool, fitted: Likeness | None) -> Judge:
    """How a model judges that was fitted so."""

    def judge(question: Question) -> np.ndarray:
        return alike(pool.seen, *question.vectors(pool), fitted)

    return judge


def by_names(pool: Pool) -> Judge:
    """How a model judges that is told what the kind is called, and knows the name; 0 where it does not."""

    def judge(question: Question) -> np.ndarray:
        name = pool.categories[question.kind]
        return pool.seen.names[:, pool.vocabulary.index(name)] if name in pool.vocabulary else np.zeros(len(pool.boxes))

    return judge


@dataclass(frozen=True)
class LikenessReport:
    """Figures by what was given: examples, what is not meant as well, or the name of the kind."""

    figures: Mapping[str, Figures]
    pictures: int
    threshold: float
    failures: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """One object for `--json`."""
        told = {name: one.to_dict() for name, one in self.figures.items()}
        return {**told, "pictures": self.pictures, "threshold": self.threshold, "failures": len(self.failures)}


def evaluate(
    model: Model,
    instances: Path,
    images: Path,
    *,
    examples: Sequence[int] = (1, 3),
    per_kind: int = PER_KIND,
    limit: int | None = None,
) -> LikenessReport:
    """Measure how a model finds what is like examples.

    Args:
        model: without finders, which have no say in it.
        instances: see `coco.read_instances`.
        images: the folder of the pictures.
        examples: numbers of examples in a question.
        per_kind: questions about each kind.
        limit: only the first so many pictures.

    Raises:
        DataError: as for `read`; or no kind is shown often enough.
        ToolFailed: the model compares nothing.
    """
    predictor: Any = model.predictor
    if not getattr(predictor, "compares", False) or not hasattr(predictor, "seen"):
        raise ToolFailed(
            f"{model.name} cannot compare regions of several pictures, or not without detectors beside it."
        )
    pool = read(model, instances, images, limit=limit)
    threshold, judge = predictor.thresholds["ground"], by_examples(pool, predictor.likeness)
    told: dict[str, Figures] = {}
    for count in examples:
        asked = questions(pool, count, per_kind)
        if not asked:
            raise DataError(f"{instances}: no kind is shown by more than {count} of these pictures. Give more of them.")
        what = f"{count} example{'s' if count > 1 else ''}"
        told[what] = figures(pool, asked, judge, threshold)
        told[f"{what}, and what is not meant"] = figures(
            pool, [against(pool, one, judge) for one in asked], judge, threshold
        )
        told[f"the name, asked as {what}"] = figures(pool, asked, by_names(pool), threshold)
    return LikenessReport(told, len(pool.kinds), threshold, pool.failures)
