"""What a model's scores are worth, from one pass of end-to-end detection over COCO-style data.

Are they probabilities? A region that is kept for a name is right when it claims a true box of that name at IoU .5 that
no better one has claimed (COCO's matching; what matches a crowd counts neither way). Of the regions with a score of
`LEAST_SCORE` or more, at most the best hundred of a picture, the expected calibration error is the mean over `BINS`
equal bins of |mean score - share right|, each weighted by its regions.

Do they order regions well? AP of the same regions when they are ranked in other ways: by plain objectness, with the
name that the model gives, and with terms of its match head silenced. The differences come with their standard error
over pictures drawn anew with replacement, the same draws for every ranking.

Do they say when nothing is there? False regions per class that a picture does not show, at the model's own threshold
for finding; and questions of existence with known answers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent.evaluate import coco, detection, qa
from fo1agent.evaluate.coco import Difference, Matches, Row
from fo1agent.evaluate.plots import Bin
from fo1agent.regions.boxes import once
from fo1agent.regions.regions import Regions
from fo1agent.scene import FIRM, REPEATED_IOU, SAME_THING_IOU, SECOND_THING, Model, Scene

LEAST_SCORE = 0.05
BINS = 15
RESAMPLES = 300
OBJECTNESS = "plain objectness"
SILENCED: Mapping[str, tuple[str, ...]] = {
    "all but language": ("language",),
    "the detector alone": ("language", "name", "fit"),
}
"""Rankings by a part of the match head's terms: what they are called, and the terms that are silenced."""


@dataclass(frozen=True)
class Ranking:
    """AP and AP50 of another ranking, in percent, and what the model's own scores gain over it."""

    ap: float
    ap50: float
    gain: Difference

    def to_dict(self) -> dict[str, float | None]:
        """Plain values for JSON."""
        values = {"AP": self.ap, "AP50": self.ap50, "gain": self.gain.ap, "gain_error": self.gain.ap_error}
        values |= {"gain50": self.gain.ap50, "gain50_error": self.gain.ap50_error}
        return {name: None if math.isnan(value) else round(value, 2) for name, value in values.items()}


@dataclass(frozen=True)
class ScoresReport:
    """Everything measured.

    Attributes:
        detection: the figures of the pass itself.
        matches: what came of every answer; for pictures and further sums.
        bins: those that hold regions, lowest first.
        false_per_absent: regions found per (picture, class it does not show); NaN without such a pair.
        existence: outcomes of the questions asked; () when none were given.
        rankings: by name.
        run: the answers themselves.
        seconds: wall time of all.
    """

    detection: detection.DetectionReport
    matches: Matches
    bins: tuple[Bin, ...]
    false_per_absent: float
    existence: tuple[qa.Outcome, ...]
    rankings: Mapping[str, Ranking]
    run: detection.Run = field(repr=False)
    seconds: float = 0.0

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, 0 to 1; NaN without regions."""
        return calibration_error(self.bins)

    def summary(self) -> dict[str, Any]:
        """The figures of a screen; the rankings as sentences."""
        figures = self._figures()
        for name, ranking in self.rankings.items():
            figures[name] = f"AP {ranking.ap:.2f}, own scores {ranking.gain}"
        return figures

    def to_dict(self) -> dict[str, Any]:
        """One object for `--json`."""
        rankings = {name: ranking.to_dict() for name, ranking in self.rankings.items()}
        return {**self._figures(), "rankings": rankings, "reliability": [vars(b) for b in self.bins]}

    def _figures(self) -> dict[str, Any]:
        figures: dict[str, Any] = {
            **self.detection.to_dict(),
            "calibration_error": None if not self.bins else round(self.calibration_error, 4),
            "calibrated_regions": sum(b.regions for b in self.bins),
            "false_per_absent_class": None if math.isnan(self.false_per_absent) else round(self.false_per_absent, 4),
        }
        if self.existence:
            right = sum(outcome.correct for outcome in self.existence)
            figures |= {"existence": round(right / len(self.existence), 4), "existence_n": len(self.existence)}
        return {**figures, "seconds": round(self.seconds, 1)}


def evaluate(
    model: Model,
    instances: Path,
    images: Path,
    *,
    existence: Path | None = None,
    ask: Callable[[Any, str], qa.Answering] | None = None,
    silenced: Mapping[str, Sequence[str]] = SILENCED,
    resamples: int = RESAMPLES,
    limit: int | None = None,
) -> ScoresReport:
    """Measure a model's scores.

    Args:
        model: opens pictures. Rankings with silenced terms need a predictor with a match head.
        instances, images, limit: as for `detection.evaluate`.
        existence: yes/no questions about some of the pictures, JSON lines as `qa.read_questions` reads them; those
            about other pictures are not asked.
        ask: who answers them, `Agent(model).ask`.
        silenced: rankings by a part of the match head's terms.
        resamples: how often the pictures are drawn anew; fewer than 2 give no standard errors.

    Raises:
        DataError: a file is not what it should be.
        MissingExtraError: pycocotools is not installed.
    """
    start = time.perf_counter()
    questions = qa.read_questions(existence) if existence and ask else []
    pass_ = _Pass(model, coco.read_instances(instances), questions, ask, silenced)
    run = detection.detect(model, instances, images, limit=limit, also=pass_.look)
    named = coco.match(run.truth, run.detections, run.image_ids)
    figures = detection.report(run, start, named)
    runs = [Matches.of(named)]
    for rows in pass_.rows.values():
        runs.append(Matches.of(coco.match(run.truth, rows, run.image_ids, areas=False)))
    draws = coco.bootstrap(runs, resamples)
    rankings = {
        name: Ranking(*runs[k].average_precision(), coco.difference(runs, draws, 0, k))
        for k, name in enumerate(pass_.rows, start=1)
    }
    bins = reliability(runs[0])
    absent = pass_.false / pass_.absent if pass_.absent else math.nan
    unopened = [qa.failed(q, reason) for picture, reason in run.failures for q in pass_.questions.get(picture, ())]
    outcomes = (*pass_.outcomes, *unopened)
    return ScoresReport(figures, runs[0], bins, absent, outcomes, rankings, run, time.perf_counter() - start)


def reliability(matches: Matches, least: float = LEAST_SCORE, bins: int = BINS) -> tuple[Bin, ...]:
    """Mean score and share right of the regions that score `least` or more, in `bins` equal bins from 0 to 1."""
    counted = [~ranked.ignored[0] & (ranked.scores >= least) for ranked in matches.categories]
    pairs = list(zip(matches.categories, counted, strict=True))
    scores = np.concatenate([ranked.scores[mask] for ranked, mask in pairs])
    right = np.concatenate([ranked.right[0][mask] for ranked, mask in pairs])
    place = np.minimum((scores * bins).astype(int), bins - 1)
    found = []
    for k in np.unique(place):
        inside = place == k
        means = float(scores[inside].mean()), float(right[inside].mean())
        found.append(Bin(k / bins, (k + 1) / bins, int(inside.sum()), *means))
    return tuple(found)


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error, 0 to 1; NaN without regions."""
    regions = sum(b.regions for b in bins)
    return sum(b.regions * abs(b.score - b.right) for b in bins) / regions if regions else math.nan


class _Pass:
    """What is noted of every picture while it is open."""

    def __init__(
        self,
        model: Model,
        truth: dict[str, Any],
        questions: Iterable[qa.Question],
        ask: Callable[[Any, str], qa.Answering] | None,
        silenced: Mapping[str, Sequence[str]],
    ) -> None:
        self.names = [category["name"] for category in truth["categories"]]
        self.ids = np.array([category["id"] for category in truth["categories"]])
        self.shown: dict[int, set[int]] = {}
        for row in truth["annotations"]:
            self.shown.setdefault(row["image_id"], set()).add(row["category_id"])
        self.questions: dict[str, list[qa.Question]] = {}
        for question in questions:
            self.questions.setdefault(question.image, []).append(question)
        self.ask = ask
        self.predictor: Any = model.predictor
        has_terms = getattr(getattr(self.predictor, "model", None), "match_head", None) is not None
        self.silenced = dict(silenced) if has_terms else {}
        self.rows: dict[str, list[Row]] = {name: [] for name in (OBJECTNESS, *self.silenced)}
        self.false = self.absent = 0
        self.outcomes: list[qa.Outcome] = []

    def look(self, record: dict[str, Any], scene: Scene, found: Mapping[str, Regions]) -> None:
        shown = self.shown.get(record["id"], set())
        for name, category in zip(self.names, self.ids.tolist(), strict=True):
            if category not in shown:
                self.absent += 1
                self.false += int((found[name].scores >= scene.thresholds["ground"]).sum())
        if self.ask:
            ask = self.ask
            self.outcomes += [
                qa.answer(ask, scene, question) for question in self.questions.get(record["file_name"], ())
            ]
        self.rows[OBJECTNESS] += self._rows(record["id"], scene, self._objectness(scene))
        if self.silenced:
            variants = self.predictor.match_without(scene.encoding, self.names, list(self.silenced.values()))
            for name, scores in zip(self.silenced, variants, strict=True):
                self.rows[name] += self._rows(record["id"], scene, scores)

    def _objectness(self, scene: Scene) -> np.ndarray:
        """[K, N]: a region's objectness at the name that the model gives it, else 0."""
        scores = np.zeros((len(self.names), len(scene.encoding.boxes)))
        for n, label in enumerate(scene.regions.labels):
            if label in self.names:
                scores[self.names.index(label), n] = scene.encoding.objectness[n]
        return scores

    def _rows(self, image_id: int, scene: Scene, scores: np.ndarray) -> list[Row]:
        """COCO results of a picture: each thing once for each name, as a scene finds them, the best hundred."""
        boxes = scene.encoding.boxes
        kept = suppress(boxes, scores)
        best = np.argsort(-kept, axis=None, kind="stable")[: coco.MAX_DETECTIONS]
        rows = []
        for name, n in zip(*np.unravel_index(best, kept.shape), strict=True):
            if kept[name, n] > 0:
                rows.append(coco.result(image_id, int(self.ids[name]), boxes[n].tolist(), float(kept[name, n])))
        return rows


def suppress(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """What a scene makes of rankings [K, N] of the same boxes [N, 4]: scores with each thing once, 0 for what goes."""
    left = np.zeros(scores.shape)
    for name, row in enumerate(scores):
        kept, own = once(boxes, row, SAME_THING_IOU, REPEATED_IOU, SECOND_THING, FIRM)
        left[name, kept] = own
    return left
