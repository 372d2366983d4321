"""Detection on COCO-style data, end to end: the model's own boxes, its own names, its own scores.

Every category name is asked for on every picture (`Scene.ground_many`, with its suppression of duplicates); the best
100 answers of a picture count, as COCO prescribes. Recall is that of the scene's regions, whatever they are called. The
sums are pycocotools'. A picture that cannot be opened stays in the measurement with no answers, and is reported.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fo1agent.errors import DataError, FO1AgentError, MissingExtraError
from fo1agent.evaluate.progress import track
from fo1agent.types import Regions

log = logging.getLogger(__name__)

MAX_DETECTIONS = 100


class GroundingModel(Protocol):
    """What is needed of a model; `fo1agent.Model` is one. Of the scenes it opens, `regions` and `ground_many` are."""

    def open(self, source: Any, /) -> Any: ...


@dataclass(frozen=True)
class DetectionReport:
    """COCO figures in percent; NaN where the data holds nothing to measure (no small object, say).

    Attributes:
        ap: mean over IoU .50:.05:.95 and categories; `ap50` and `ap75` at one IoU; `ap_small`, `ap_medium` and
            `ap_large` by COCO's areas (32 and 96 pixels squared).
        recall50: share of the true boxes, of any category, that one of the scene's best 100 regions covers at IoU .5;
            `recall75` at .75.
        images: pictures measured, those that failed included.
        failures: picture file name and reason, one per picture that could not be opened.
        seconds: wall time of the whole, metrics included.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    recall50: float
    recall75: float
    images: int
    seconds: float
    failures: tuple[tuple[str, str], ...] = field(default=())

    def to_dict(self) -> dict[str, float | int | None]:
        """One flat object for `--json`; a figure that does not exist is null."""
        figures = {
            "AP": self.ap,
            "AP50": self.ap50,
            "AP75": self.ap75,
            "APs": self.ap_small,
            "APm": self.ap_medium,
            "APl": self.ap_large,
            "recall@100": self.recall50,
            "recall@100_75": self.recall75,
        }
        rounded = {name: None if np.isnan(value) else round(value, 2) for name, value in figures.items()}
        return {**rounded, "images": self.images, "failures": len(self.failures), "seconds": round(self.seconds, 1)}


def evaluate(model: GroundingModel, instances: Path, images: Path, *, limit: int | None = None) -> DetectionReport:
    """Measure a model on the pictures that a COCO instances file lists.

    Args:
        model: opens pictures; see `GroundingModel`.
        instances: COCO JSON with `images`, `annotations` (xywh pixels, `iscrowd`) and `categories`.
        images: the folder of the pictures.
        limit: only the first so many pictures; None for all.

    Raises:
        DataError: the instances file is not what COCO prescribes, or the folder is none.
        MissingExtraError: pycocotools is not installed.
    """
    coco_class, evaluator_class = _pycocotools()
    start = time.perf_counter()
    truth = _read_instances(instances)
    if not images.is_dir():
        raise DataError(f"--images {images}: no such folder.")
    records = truth["images"][:limit]
    category_ids = {category["name"]: category["id"] for category in truth["categories"]}

    detections: list[dict[str, Any]] = []
    proposals: list[dict[str, Any]] = []
    failures: list[tuple[str, str]] = []
    for record in track(records, len(records), "detecting"):
        try:
            scene = model.open(images / record["file_name"])
            found = scene.ground_many(list(category_ids), threshold=0.0)
        except FO1AgentError as exc:
            failures.append((record["file_name"], str(exc)))
            continue
        results = [row for regions in found.values() for row in regions.to_coco(record["id"], category_ids)]
        detections += sorted(results, key=lambda row: -row["score"])[:MAX_DETECTIONS]
        proposals += _as_proposals(scene.regions, record["id"], truth["categories"][0]["id"])

    image_ids = [record["id"] for record in records]
    # pycocotools reports on stdout, which belongs to our own result.
    with contextlib.redirect_stdout(io.StringIO()) as said:
        ground_truth = _coco(coco_class, truth, truth["annotations"])
        named = _run(evaluator_class, ground_truth, _coco(coco_class, truth, detections), image_ids, by_category=True)
        agnostic = _run(
            evaluator_class, ground_truth, _coco(coco_class, truth, proposals), image_ids, by_category=False
        )
    log.debug("%s", said.getvalue())
    return DetectionReport(
        ap=_precision(named),
        ap50=_precision(named, iou=0.5),
        ap75=_precision(named, iou=0.75),
        ap_small=_precision(named, area="small"),
        ap_medium=_precision(named, area="medium"),
        ap_large=_precision(named, area="large"),
        recall50=_recall(agnostic, iou=0.5),
        recall75=_recall(agnostic, iou=0.75),
        images=len(records),
        seconds=time.perf_counter() - start,
        failures=tuple(failures),
    )


def _pycocotools() -> tuple[Any, Any]:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as exc:
        raise MissingExtraError('Detection metrics need pycocotools: pip install "fo1agent[eval]"') from exc
    return COCO, COCOeval


def _read_instances(path: Path) -> dict[str, Any]:
    try:
        truth = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise DataError(f"{path}: not a readable JSON file ({exc}).") from exc
    wanted = {
        "images": ("id", "file_name"),
        "annotations": ("image_id", "category_id", "bbox", "iscrowd"),
        "categories": ("id", "name"),
    }
    for part, keys in wanted.items():
        rows = truth.get(part) if isinstance(truth, dict) else None
        if not isinstance(rows, list):
            raise DataError(f"{path}: no list {part!r}. Pass COCO instances JSON (images, annotations, categories).")
        for i, row in enumerate(rows):
            missing = [key for key in keys if not isinstance(row, dict) or key not in row]
            if missing:
                raise DataError(f"{path}: {part}[{i}] has no {', '.join(missing)}.")
    if not truth["images"] or not truth["categories"]:
        raise DataError(f"{path}: lists no {'pictures' if truth['categories'] else 'categories'}.")
    return truth


def _as_proposals(regions: Regions, image_id: int, any_category: int) -> list[dict[str, Any]]:
    """COCO results of the bare boxes. pycocotools wants a known category even where it compares none."""
    return [
        {"image_id": image_id, "category_id": any_category, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": float(score)}
        for (x1, y1, x2, y2), score in zip(regions.boxes.tolist(), regions.scores, strict=True)
    ]


def _coco(coco_class: Any, truth: dict[str, Any], rows: list[dict[str, Any]]) -> Any:
    """A pycocotools index over annotations or results; unlike its own `loadRes`, no results at all are fine."""
    coco = coco_class()
    annotations = [
        {"iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3], **row, "id": i} for i, row in enumerate(rows, start=1)
    ]
    coco.dataset = {"images": truth["images"], "categories": truth["categories"], "annotations": annotations}
    coco.createIndex()
    return coco


def _run(evaluator_class: Any, truth: Any, results: Any, image_ids: list[int], *, by_category: bool) -> Any:
    evaluator = evaluator_class(truth, results, iouType="bbox")
    evaluator.params.imgIds = image_ids
    evaluator.params.maxDets = [1, 10, MAX_DETECTIONS]
    evaluator.params.useCats = int(by_category)
    evaluator.evaluate()
    evaluator.accumulate()
    return evaluator


def _precision(evaluator: Any, iou: float | None = None, area: str = "all") -> float:
    # precision: [IoU, recall step, category, area, detections]; -1 where a category has no true box.
    values = evaluator.eval["precision"][_at(evaluator, iou), :, :, evaluator.params.areaRngLbl.index(area), -1]
    return _percent(values)


def _recall(evaluator: Any, iou: float) -> float:
    # recall: [IoU, category, area, detections].
    return _percent(evaluator.eval["recall"][_at(evaluator, iou), :, evaluator.params.areaRngLbl.index("all"), -1])


def _at(evaluator: Any, iou: float | None) -> Any:
    return slice(None) if iou is None else np.isclose(evaluator.params.iouThrs, iou)


def _percent(values: np.ndarray) -> float:
    known = values[values > -1]
    return float("nan") if known.size == 0 else 100 * float(known.mean())
