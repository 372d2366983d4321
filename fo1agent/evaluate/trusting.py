"""How far a finder can be trusted, fitted to pictures with labels, and what that is worth on others.

Two thirds of the pictures fit a `Trust`. What a finder says of a box is right where the box claims a true one of that
name at IoU .5. By logistic regression its scores become log-odds, which is all where FO1 does not know a word. If they
tell nothing, and most of what it says is wrong, its scale is 0: it is not heard. Then its weight beside FO1's own
opinion, what its silence is taken for, and how sure both together are, are those by which they are least surprised by
the labels: what they say together is a probability as the model's own is, and its thresholds hold. The other third
shows AP and calibration error before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from fo1agent.errors import DataError, FO1AgentError, of_one
from fo1agent.evaluate import coco, scores
from fo1agent.evaluate.coco import Matches, Row
from fo1agent.evaluate.progress import track
from fo1agent.model.joined import JoinedPredictor, Opinions
from fo1agent.pictures.image import LoadedImage
from fo1agent.proposals.trust import Trust, log_odds
from fo1agent.regions.boxes import claims, coverage, iou, nms
from fo1agent.regions.regions import Regions
from fo1agent.scene import REPEATED_IOU, Model
from fo1agent.words.english import listed
from fo1agent.words.phrases import meanings

HELD_EVERY = 3
"""Every third picture is measured on, the others are fitted to."""
LEAST_RIGHT = 20
"""So many things must be found in the pictures, by whomever, for a finder to be judged."""
_RIGHT_IOU = 0.5
_MOST_WEIGHT = 19.0  # of the finder beside the model's 1
_SILENT = np.linspace(-7, 0, 15).tolist()  # log-odds that its silence may be taken for
_LEAST_GAIN = 0.01  # share of the surprise that a finder must take away to be heard
_CHANCE = 2.0  # nats in all that two numbers fitted to a few boxes take away, with little luck, of nothing
_LEAST_SCALE = 1e-3
_OFTEN = 0.25  # what is right so often is of use even if its scores tell nothing: FO1 finds things at this probability
_SURELY_NOT = 0.01  # what the model is so sure of and the finder says nothing of, weighs nothing in the choice


@dataclass(frozen=True)
class Figures:
    """AP in percent, and the expected calibration error of scores from .05 up (see `scores`)."""

    ap: float
    calibration_error: float

    def to_dict(self) -> dict[str, float | None]:
        """Plain values for JSON."""
        values = {"AP": round(self.ap, 2), "calibration_error": round(self.calibration_error, 4)}
        return {name: None if np.isnan(value) else value for name, value in values.items()}


@dataclass(frozen=True)
class Fitted:
    """A finder's trust.

    Attributes:
        finder: its name.
        trust: what was fitted.
        figures: on the pictures held back: `model alone`, and `finder alone` and `joined`, each `before` and `after`.
        pictures, held: how many were fitted to, and how many measured on.
        unasked: categories that neither knows.
    """

    finder: str
    trust: Trust
    figures: Mapping[str, Figures]
    pictures: int
    held: int
    unasked: tuple[str, ...] = ()
    failures: tuple[tuple[str, str], ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """One object for `--json`."""
        told = ("scale", "bias", "weight", "silent", "sure", "shift")
        trust = {name: round(getattr(self.trust, name), 5) for name in told}
        return {
            "finder": self.finder,
            "trust": trust,
            **{name: one.to_dict() for name, one in self.figures.items()},
            "pictures": self.pictures,
            "held": self.held,
            "unasked": list(self.unasked),
            "failures": len(self.failures),
        }


def parts(model: Model) -> tuple[Model, tuple[Any, ...]]:
    """The model without its finders, and they."""
    joined = model.predictor
    if not isinstance(joined, JoinedPredictor):
        return model, ()
    return replace(model, predictor=joined.model), joined.finders


def calibrate(model: Model, finder: Any, instances: Path, images: Path, *, limit: int | None = None) -> Fitted:
    """Fit one finder beside a model.

    Args:
        model: without finders; what it proposes are the scenes' boxes.
        finder: a `proposals.base.Finder`.
        instances: see `coco.read_instances`.
        images: the folder of the pictures.
        limit: only the first so many pictures.

    Raises:
        DataError: the instances file is not what COCO prescribes, the folder is none, or there is too
            little in the pictures to judge by.
        MissingExtraError: pycocotools is not installed.
    """
    coco.pycocotools()  # what is missing should be said before the pass, not after it
    truth = coco.read_instances(instances)
    if not images.is_dir():
        raise DataError(f"--images {images}: no such folder.")
    records = truth["images"][:limit]
    held = records[HELD_EVERY - 1 :: HELD_EVERY]
    fitted_to = [record for k, record in enumerate(records) if k % HELD_EVERY != HELD_EVERY - 1]
    once = _Once(finder)
    heard = {finder.name: Trust()}  # whatever it comes with; of the opinions that are fitted to, trust changes nothing
    joined = JoinedPredictor(model.predictor, [once], heard)
    asked, unasked = _asked(joined, [category["name"] for category in truth["categories"]])
    known = _of_categories(truth, asked)
    _check_enough(instances, truth, known, fitted_to, f"{model.name} and {finder.name}")
    work = _Work(known, images, asked)
    alone = replace(model, predictor=JoinedPredictor(Mute(model.predictor), [once], heard))
    parts = list(work.samples((alone, replace(model, predictor=joined)), fitted_to))
    try:
        trust = fit(*(Samples.together([part[k] for part in parts]) for k in range(2)))
    except DataError as exc:
        raise DataError(f"{instances}: {exc}{work.lost(len(fitted_to))}") from exc
    figures = work.figures(_variants(model, once, trust), held) if held else {}
    return Fitted(finder.name, trust, figures, len(fitted_to), len(held), unasked, tuple(work.failures.items()))


def _check_enough(
    instances: Path, truth: dict[str, Any], known: dict[str, Any], records: Sequence[dict[str, Any]], who: str
) -> None:
    """Refuse what cannot be judged by, whatever is found.

    Raises:
        DataError: nobody knows one of the categories, or no annotation is of these pictures and of such a category.
    """
    if not known["categories"]:
        names = listed([str(category["name"])[:40] for category in truth["categories"][:5]])
        more = " and others" if len(truth["categories"]) > 5 else ""
        raise DataError(f"{instances}: {who} know none of its categories, {names}{more}, by one word.")
    seen = {record["id"] for record in records}
    if not any(row["image_id"] in seen for row in known["annotations"]):
        raise DataError(
            f"{instances}: of its {len(truth['annotations'])} annotations none is of one of the {len(records)} "
            f"pictures that are fitted to and of a category that {who} know."
        )


# ---- what is fitted to ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Samples:
    """What was said of boxes, and whether it was right.

    Attributes:
        scores: [S] of the finder, 0 where it says nothing.
        own: [S] of the model; NaN where it has no word.
        right: [S] bool.
    """

    scores: np.ndarray
    own: np.ndarray
    right: np.ndarray

    @classmethod
    def together(cls, parts: Sequence[Samples]) -> Samples:
        """All of several."""
        if not parts:
            return cls(np.zeros(0), np.zeros(0), np.zeros(0, dtype=bool))
        return cls(*(np.concatenate([getattr(one, name) for one in parts]) for name in ("scores", "own", "right")))


def fit(alone: Samples, beside: Samples) -> Trust:
    """The trust that surprises least.

    Args:
        alone: as the finder chooses among boxes where the model has no word.
        beside: as both do.

    Raises:
        DataError: there is too little to judge by.
    """
    right = int(beside.right.sum())
    if right < LEAST_RIGHT:
        raise DataError(
            f"Only {right} things of these pictures were found at all, {LEAST_RIGHT} are needed. Give more."
        )
    spoken = alone.scores > 0
    if not spoken.any():
        raise DataError("The finder found nothing in these pictures. Give pictures of things that it knows.")
    trust = _by_itself(log_odds(alone.scores[spoken]), alone.right[spoken])
    if not trust.scale:
        return trust
    known = ((beside.scores > 0) | (beside.own > _SURELY_NOT)) & ~np.isnan(beside.own)
    return _weighed(trust, beside.scores[known], log_odds(beside.own[known]), beside.right[known])


def _by_itself(said: np.ndarray, right: np.ndarray) -> Trust:
    """The trust in a finder that nobody else is asked beside; with a scale of 0 if it is worth nothing.

    Args:
        said: log-odds [S] of the boxes that it speaks of.
        right: [S] bool.
    """
    scale, bias = logistic(said, right)
    level = _level(right)
    if _loss(scale * said + bias, right) > _bar(np.full(len(right), level), right):
        if level < log_odds(np.array(_OFTEN)):
            return Trust(0.0, level, weight=0.0)
        scale, bias = (scale, bias) if scale > _LEAST_SCALE else (_LEAST_SCALE, level)
    return Trust(scale, bias, silent=_score_at(_SILENT[0], scale, bias))


def _bar(logits: np.ndarray, right: np.ndarray) -> float:
    """The loss that one who adds something to these logits must come down to."""
    loss = _loss(logits, right)
    return loss - max(_LEAST_GAIN * loss, _CHANCE / len(right))


def _level(right: np.ndarray) -> float:
    """The log-odds of being right."""
    rate = np.clip(right.mean(), 1e-6, 1 - 1e-6)
    return float(np.log(rate / (1 - rate)))


def _weighed(trust: Trust, said: np.ndarray, own: np.ndarray, right: np.ndarray) -> Trust:
    """The trust with its best weight and silence beside log-odds of the model; without weight if it adds too little."""
    if not right.any():
        return trust
    # One that says the same of everything only shifts the model's own scores. It must be worth more than that.
    scale, bias = logistic(own, right)
    best, least = replace(trust, weight=0.0), _bar(scale * own + bias, right)
    for silent in dict.fromkeys(_score_at(level, trust.scale, trust.bias) for level in _SILENT):
        its = replace(trust, silent=silent).log_odds(said)
        mine, other, _ = _regression(np.stack([own, its], axis=1), right)
        if other <= 0:
            continue
        weight = float(other / max(mine, other / _MOST_WEIGHT))
        mean = (own + weight * its) / (1 + weight)
        sure, shift = logistic(mean, right)
        if (loss := _loss(sure * mean + shift, right)) < least:
            best, least = replace(trust, silent=silent, weight=weight, sure=sure, shift=shift), loss
    return best


def _score_at(level: float, scale: float, bias: float) -> float:
    """The score whose log-odds are `level`, within what a Trust may say."""
    at = (level - bias) / max(scale, _LEAST_SCALE)
    return float(np.clip(1 / (1 + np.exp(-np.clip(at, -20, 20))), 1e-4, 0.5))


def logistic(x: np.ndarray, y: np.ndarray, ridge: float = 1e-3) -> tuple[float, float]:
    """(scale, bias) for which sigmoid(scale * x + bias) predicts y best; scale is 0 or more.

    `ridge` bounds it where x parts the labels perfectly, and draws the scale to 1 where all of x is the same.
    """
    scale, bias = _regression(x[:, None], y, ridge).tolist()
    return (scale, bias) if scale > 0 else (0.0, _level(y))


def _regression(x: np.ndarray, y: np.ndarray, ridge: float = 1e-3) -> np.ndarray:
    """What each column of x [S, K] is times, and the bias, [K + 1], by logistic regression.

    By Newton's method, which for a convex loss of a few numbers ends after a few steps.
    """
    columns = x.shape[1]
    design, at = np.column_stack([x, np.ones(len(x))]), np.array([*[0.0] * columns, _level(y)])
    ridges, plain = ridge * np.array([*[1.0] * columns, 0.1]), np.array([*[1.0] * columns, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ at))
        slope = design.T @ (p - y) + ridges * (at - plain)
        curve = (design * (p * (1 - p))[:, None]).T @ design + np.diag(ridges)
        step = np.linalg.solve(curve, slope)
        at = at - step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return at


def _loss(logits: np.ndarray, right: np.ndarray) -> float:
    return float(np.logaddexp(0, np.where(right, -logits, logits)).mean())


# ---- the pictures --------------------------------------------------------------------------------------------------


class _Once:
    """A finder that is asked once about a phrase and a picture, for as long as that picture is looked at."""

    def __init__(self, finder: Any) -> None:
        self._finder, self._picture = finder, ""
        self._said: dict[str, Regions] = {}
        self.name, self.names, self.trust = finder.name, finder.names, Trust.of(finder)

    def find(self, image: LoadedImage, phrases: Sequence[str]) -> list[Regions]:
        if image.sha256 != self._picture:
            self._picture, self._said = image.sha256, {}
        new = [one for one in phrases if one not in self._said]
        if new:
            self._said.update(zip(new, self._finder.find(image, new), strict=True))
        return [self._said[one] for one in phrases]


class Mute:
    """A model that has no word for anything."""

    vocabulary: tuple[str, ...] = ()
    taught: frozenset[str] = frozenset()

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def _asked(joined: JoinedPredictor, categories: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Category → the one word by which it is judged; and the categories for which there is none."""
    asked = {}
    for category in categories:
        meant = meanings(category, joined.vocabulary, joined.name, any_words=joined.any_words)
        if len(meant) == 1 and len(meant[0].names) == 1 and not (meant[0].not_judged or meant[0].qualities):
            asked[category] = meant[0].names[0]
    return asked, tuple(one for one in categories if one not in asked)


def _of_categories(truth: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """An instances file of some categories."""
    categories = [category for category in truth["categories"] if category["name"] in names]
    ids = {category["id"] for category in categories}
    annotations = [row for row in truth["annotations"] if row["category_id"] in ids]
    return {**truth, "categories": categories, "annotations": annotations}


def _variants(model: Model, finder: _Once, trust: Trust) -> dict[str, Model]:
    """The models to measure, by what they are called."""
    mute = Mute(model.predictor)
    made = {"model alone": model}
    for when, one in (("before", finder.trust), ("after", trust)):
        by_name = {finder.name: one}
        for what, own in (("finder alone", mute), ("joined", model.predictor)):
            predictor = JoinedPredictor(own, [finder], by_name)
            made[f"{what} {when}"] = Model(predictor, model.proposer, model.ocr)
    return {name: made[name] for name in ("model alone", *sorted(made.keys() - {"model alone"}, reverse=True))}


@dataclass(frozen=True, eq=False)
class _Work:
    """The pictures, and what goes wrong with them."""

    truth: dict[str, Any]
    images: Path
    asked: Mapping[str, str]
    failures: dict[str, str] = field(default_factory=dict)

    def _each(
        self, records: list[dict[str, Any]], doing: str, look: Callable[[dict[str, Any], Path], Any]
    ) -> Iterator[Any]:
        for record in track(records, len(records), doing):
            try:
                yield look(record, self.images / record["file_name"])
            except FO1AgentError as exc:
                self.failures[record["file_name"]] = str(of_one(exc))

    def lost(self, count: int) -> str:
        """How many of so many pictures could not be looked at, and why the first; "" where all could."""
        if not self.failures:
            return ""
        name, reason = next(iter(self.failures.items()))
        return f" {len(self.failures)} of {count} pictures could not be looked at, the first of them {name}: {reason}"

    def samples(self, models: Sequence[Model], records: list[dict[str, Any]]) -> Iterator[list[Samples]]:
        """What was said of each picture's boxes, with each model."""
        ids = {category["name"]: category["id"] for category in self.truth["categories"]}
        truths: dict[tuple[int, int], list[dict[str, Any]]] = {}
        for row in self.truth["annotations"]:
            truths.setdefault((row["image_id"], row["category_id"]), []).append(row)

        def judged(model: Model, record: dict[str, Any], path: Path) -> Samples:
            encoding: Any = model.open(path).encoding
            predictor = cast(JoinedPredictor, model.predictor)
            predictor.match(encoding, list(self.asked.values()))  # all in one pass, and of a finder in one call
            predictor.beyond(encoding, list(self.asked.values()))
            return Samples.together(
                [
                    _judged(predictor.opinions(encoding, word), truths.get((record["id"], ids[name]), []))
                    for name, word in self.asked.items()
                ]
            )

        def look(record: dict[str, Any], path: Path) -> list[Samples]:
            return [judged(model, record, path) for model in models]

        yield from self._each(records, "fitting", look)

    def figures(self, models: Mapping[str, Model], records: list[dict[str, Any]]) -> dict[str, Figures]:
        """What each model comes to."""
        ids = {category["name"]: category["id"] for category in self.truth["categories"]}
        rows: dict[str, list[Row]] = {name: [] for name in models}

        def look(record: dict[str, Any], path: Path) -> None:
            for name, model in models.items():
                found = model.open(path).ground_many(list(self.asked), threshold=0.0)
                pairs = (
                    coco.result(record["id"], ids[category], region.box, region.score)
                    for category, regions in found.items()
                    for region in regions
                )
                rows[name] += coco.best_rows(pairs)

        for _ in self._each(records, "measuring", look):
            pass
        seen = [record["id"] for record in records]
        return {name: _figures(coco.match(self.truth, own, seen, areas=False)) for name, own in rows.items()}


def _figures(evaluator: Any) -> Figures:
    matches = Matches.of(evaluator)
    return Figures(matches.average_precision()[0], scores.calibration_error(scores.reliability(matches)))


def _judged(said: Opinions, truths: Sequence[Mapping[str, Any]]) -> Samples:
    """Each thing once, best first; right is what claims a true box that no better one has claimed."""
    score = said.by.get(0, np.zeros(len(said.boxes)))
    rank = score if said.own is None else np.maximum(said.own, score)
    kept = nms(said.boxes, rank, REPEATED_IOU)
    boxes = said.boxes[kept]
    x, y, width, height = np.array([row["bbox"] for row in truths], dtype=np.float64).reshape(-1, 4).T
    true = np.stack([x, y, x + width, y + height], axis=1)
    crowd = np.array([bool(row.get("iscrowd")) for row in truths], dtype=bool)
    right = claims(iou(boxes, true[~crowd]), _RIGHT_IOU)
    counted = right | ~(coverage(boxes, true[crowd]) > _RIGHT_IOU).any(axis=1)
    own = np.full(len(kept), np.nan) if said.own is None else said.own[kept]
    return Samples(score[kept][counted], own[counted], right[counted])
