"""COCO's files and COCO's sums, for every measurement that needs them; the matching is pycocotools'.

`Matches` keeps what pycocotools found of every answer, per category and best first, so that average precision over any
weighting of the pictures costs milliseconds: that is what makes a bootstrap affordable.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent.errors import DataError, MissingExtraError
from fo1agent.evaluate.files import read_json
from fo1agent.extras import install_line
from fo1agent.foreign import one_line

log = logging.getLogger(__name__)

MAX_DETECTIONS = 100  # answers of a picture that count, as COCO prescribes
IOUS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0, 1, 101)

Row = dict[str, Any]
"""A COCO result: `image_id`, `category_id`, `bbox` (xywh pixels), `score`."""


def read_lists(path: Path, hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> dict[str, Any]:
    """COCO JSON with the lists `images`, `annotations` and `categories`, whatever these hold.

    Args:
        path: the file.
        hook: see `files.read_json`.

    Raises:
        DataError: it is no such file.
    """
    tree = read_json(path, hook)
    for part in ("images", "annotations", "categories"):
        if not isinstance(tree, dict) or not isinstance(tree.get(part), list):
            raise DataError(f"{path}: no list {part!r}. Pass COCO instances JSON (images, annotations, categories).")
    return tree


def read_instances(path: Path) -> dict[str, Any]:
    """COCO JSON with `images`, `annotations` (xywh pixels, `iscrowd`) and `categories`.

    Raises:
        DataError: the file is not what COCO prescribes; names the record.
    """
    truth = read_lists(path)
    wanted = {
        "images": ("id", "file_name"),
        "annotations": ("image_id", "category_id", "bbox", "iscrowd"),
        "categories": ("id", "name"),
    }
    for part, keys in wanted.items():
        for i, row in enumerate(truth[part]):
            missing = [key for key in keys if not isinstance(row, dict) or key not in row]
            if missing:
                raise DataError(f"{path}: {part}[{i}] has no {', '.join(missing)}.")
    for part, name in (("images", "file_name"), ("categories", "name")):
        for i, row in enumerate(truth[part]):
            if not (isinstance(row["id"], _IDS) and isinstance(row[name], str)):
                said = one_line(f"id {row['id']!r} and {name} {row[name]!r}", 100)
                raise DataError(f"{path}: {part}[{i}] has the {said}; wanted a number and a text.")
    categories = {row["id"] for row in truth["categories"]}
    for i, row in enumerate(truth["annotations"]):
        if wrong := _wrong(row, categories):
            raise DataError(f"{path}: annotations[{i}] {wrong}.")
    if not truth["images"] or not truth["categories"]:
        raise DataError(f"{path}: lists no {'pictures' if truth['categories'] else 'categories'}.")
    return truth


_FARTHEST = 1e6  # pixels from a picture's corner


_IDS = (int, float, str)


def _wrong(annotation: Mapping[str, Any], categories: Set[Any]) -> str:
    """What is wrong with an annotation; "" if nothing is."""
    category, box = annotation["category_id"], annotation["bbox"]
    if not isinstance(category, _IDS) or category not in categories:
        return f"is of the category_id {one_line(repr(category), 40)}, which no category has"
    numbers = isinstance(box, list) and len(box) == 4 and all(type(one) in (int, float) for one in box)
    # So that NaN is none either.
    if not numbers or not all(abs(one) <= _FARTHEST for one in box) or min(box[2:]) < 0:
        return (
            f"has the bbox {one_line(repr(box), 80)}; wanted [x, y, width, height] in pixels, none beyond "
            f"{_FARTHEST:,.0f}, and no side below 0"
        )
    return ""


def result(image_id: int, category_id: int, box: Sequence[float], score: float) -> Row:
    """A COCO result of an xyxy box in pixels."""
    x1, y1, x2, y2 = box
    return {"image_id": image_id, "category_id": category_id, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}


def best_rows(rows: Iterable[Row]) -> list[Row]:
    """The best hundred rows of one picture, best first."""
    return sorted(rows, key=lambda row: -row["score"])[:MAX_DETECTIONS]


def match(
    truth: dict[str, Any],
    rows: Sequence[Row],
    image_ids: Sequence[int],
    *,
    by_category: bool = True,
    areas: bool = True,
) -> Any:
    """pycocotools' COCOeval after its matching.

    Args:
        truth: of `read_instances`.
        rows: results of all pictures.
        image_ids: the pictures that count.
        by_category: False compares boxes whatever they are called.
        areas: False leaves out small, medium and large, which takes a quarter of the time.

    Raises:
        MissingExtraError: pycocotools is not installed.
    """
    coco_class, evaluator_class = pycocotools()
    # pycocotools reports on stdout, which belongs to our own result.
    with contextlib.redirect_stdout(io.StringIO()) as said:
        evaluator = evaluator_class(
            _index(coco_class, truth, truth["annotations"]), _index(coco_class, truth, rows), iouType="bbox"
        )
        evaluator.params.imgIds = list(image_ids)
        evaluator.params.maxDets = [MAX_DETECTIONS]
        evaluator.params.useCats = int(by_category)
        if not areas:
            evaluator.params.areaRng, evaluator.params.areaRngLbl = evaluator.params.areaRng[:1], ["all"]
        evaluator.evaluate()
    log.debug("%s", said.getvalue())
    return evaluator


def pycocotools() -> tuple[Any, Any]:
    """Its classes COCO and COCOeval.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as exc:
        raise MissingExtraError(f"Detection metrics need pycocotools: {install_line('eval')}") from exc
    return COCO, COCOeval


def _index(coco_class: Any, truth: dict[str, Any], rows: Sequence[Row]) -> Any:
    """A pycocotools index over annotations or results; unlike its own `loadRes`, no results at all are fine."""
    coco = coco_class()
    annotations = [
        {"iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3], **row, "id": i} for i, row in enumerate(rows, start=1)
    ]
    coco.dataset = {"images": truth["images"], "categories": truth["categories"], "annotations": annotations}
    coco.createIndex()
    return coco


@dataclass(frozen=True, eq=False)
class Ranked:
    """The answers of one category in all pictures, best first.

    Attributes:
        scores: [D].
        image: [D] int64, position of the picture.
        right: [T, D] bool, per IoU of `IOUS`: claims a true box that no better answer of the picture has claimed.
        ignored: [T, D] bool: matches a crowd, so it counts neither way.
        truths: [I] int64, true boxes of each picture, crowds left out.
    """

    scores: np.ndarray
    image: np.ndarray
    right: np.ndarray
    ignored: np.ndarray
    truths: np.ndarray


@dataclass(frozen=True, eq=False)
class Matches:
    """What every answer of a run came to, by category; `pictures` is the number of pictures."""

    categories: tuple[Ranked, ...]
    pictures: int

    @classmethod
    def of(cls, evaluator: Any) -> Matches:
        """Of `match`, over all areas."""
        ids = list(evaluator.params.imgIds)
        position = {image_id: i for i, image_id in enumerate(ids)}
        areas = len(evaluator.params.areaRng)
        categories = len(evaluator.params.catIds) if evaluator.params.useCats else 1
        found = []
        for k in range(categories):
            start = k * areas * len(ids)  # the first area is "all"
            seen = [e for e in evaluator.evalImgs[start : start + len(ids)] if e is not None]
            truths = np.zeros(len(ids), dtype=np.int64)
            for e in seen:
                truths[position[e["image_id"]]] = np.count_nonzero(np.asarray(e["gtIgnore"]) == 0)
            scores = np.concatenate([e["dtScores"] for e in seen] or [[]])
            order = np.argsort(-scores, kind="mergesort")
            matched = np.concatenate([e["dtMatches"] > 0 for e in seen] or [np.zeros((len(IOUS), 0), bool)], axis=1)
            ignored = np.concatenate(
                [e["dtIgnore"].astype(bool) for e in seen] or [np.zeros((len(IOUS), 0), bool)], axis=1
            )
            image = np.repeat([position[e["image_id"]] for e in seen], [len(e["dtScores"]) for e in seen])
            found.append(
                Ranked(
                    scores[order],
                    image.astype(np.int64)[order],
                    (matched & ~ignored)[:, order],
                    ignored[:, order],
                    truths,
                )
            )
        return cls(tuple(found), len(ids))

    def average_precision(self, weights: np.ndarray | None = None) -> tuple[float, float]:
        """AP over all IoUs and AP50, in percent; NaN where there is no true box.

        Args:
            weights: [I] int64, how often each picture counts; None for once.
        """
        weights = np.ones(self.pictures, dtype=np.int64) if weights is None else weights
        per_category = [p for ranked in self.categories if (p := _precisions(ranked, weights)) is not None]
        if not per_category:
            return float("nan"), float("nan")
        by_iou = 100 * np.mean(per_category, axis=0)
        return float(by_iou.mean()), float(by_iou[0])


def _precisions(ranked: Ranked, weights: np.ndarray) -> np.ndarray | None:
    """[T], COCO's interpolated precision of one category, 0 to 1; None where the weighted pictures show none of it."""
    truths = int(ranked.truths @ weights)
    if truths == 0:
        return None
    last = np.flatnonzero(ranked.right[0])  # whoever is right at a higher IoU is right at the lowest
    if not len(last):
        return np.zeros(len(ranked.right))
    # What comes behind the last right answer changes no precision at a recall that is reached.
    upto = slice(0, int(last[-1]) + 1)
    weight = weights[ranked.image[upto]]
    right = np.cumsum(ranked.right[:, upto] * weight, axis=1)
    wrong = np.cumsum(~(ranked.right | ranked.ignored)[:, upto] * weight, axis=1)
    precision = right / (right + wrong + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # How many right answers each recall takes, and where in its row that number is reached: all rows in one search.
    needed = np.searchsorted(np.arange(truths + 1) / truths, _RECALLS)
    offsets = (truths + 1) * np.arange(len(right))[:, None]
    length = right.shape[1]
    steps = np.searchsorted((right + offsets).ravel(), needed + offsets) - length * np.arange(len(right))[:, None]
    taken = np.take_along_axis(precision, np.minimum(steps, length - 1), axis=1)
    return (taken * (steps < length)).mean(axis=1)


@dataclass(frozen=True)
class Difference:
    """A difference in AP points, with its standard error over resampled pictures."""

    ap: float
    ap_error: float
    ap50: float
    ap50_error: float

    def __str__(self) -> str:
        return f"{self.ap:+.2f} ± {self.ap_error:.2f} (AP50 {self.ap50:+.2f} ± {self.ap50_error:.2f})"


def bootstrap(runs: Sequence[Matches], resamples: int, seed: int = 0) -> np.ndarray:
    """AP and AP50 of several runs on the same pictures, drawn anew with replacement, [resamples, runs, 2].

    Every run gets the same draws, so that differences between runs are paired.
    """
    rng = np.random.default_rng(seed)
    pictures = runs[0].pictures
    figures = np.empty((resamples, len(runs), 2))
    for k in range(resamples):
        weights = np.bincount(rng.integers(pictures, size=pictures), minlength=pictures)
        figures[k] = [run.average_precision(weights) for run in runs]
    return figures


def difference(runs: Sequence[Matches], draws: np.ndarray, first: int, second: int) -> Difference:
    """How much better run `first` is than run `second`; `draws` are `bootstrap`'s."""
    ap, ap50 = np.subtract(runs[first].average_precision(), runs[second].average_precision()).tolist()
    if len(draws) < 2:
        return Difference(ap, float("nan"), ap50, float("nan"))
    errors = (draws[:, first] - draws[:, second]).std(axis=0, ddof=1)
    return Difference(ap, float(errors[0]), ap50, float(errors[1]))
