"""Detection on COCO-style data, end to end: the model's own boxes, its own names, its own scores.

Every category name is asked for on every picture (`Scene.ground_many`, with its suppression of duplicates); the best
100 answers of a picture count, as COCO prescribes. Recall is that of the scene's regions, whatever they are called. The
sums are pycocotools'. A picture that cannot be opened stays in the measurement with no answers, and is reported.
`evaluate` is `detect`, the pass over the pictures, then `report`, the sums; other measurements share the pass.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from fo1agent.agent.sharing import looks
from fo1agent.errors import DataError, FO1AgentError
from fo1agent.evaluate import coco
from fo1agent.evaluate.coco import Row
from fo1agent.evaluate.progress import track
from fo1agent.regions.regions import Regions

T = TypeVar("T")


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


@dataclass(frozen=True, eq=False)
class Run:
    """What a model answered on the pictures of an instances file; from this every figure is made.

    Attributes:
        truth: the instances file.
        records: of the pictures looked at, as in the file.
        detections: COCO results, of each picture the best hundred.
        proposals: COCO results of the scenes' bare regions; their category means nothing.
        failures: picture file name and reason, one per picture that could not be opened.
    """

    truth: dict[str, Any]
    records: list[dict[str, Any]]
    detections: list[Row]
    proposals: list[Row]
    failures: list[tuple[str, str]]

    @property
    def image_ids(self) -> list[int]:
        """Ids of the pictures looked at."""
        return [record["id"] for record in self.records]


def evaluate(model: GroundingModel, instances: Path, images: Path, *, limit: int | None = None) -> DetectionReport:
    """Measure a model on the pictures that a COCO instances file lists.

    Args:
        model: opens pictures; see `GroundingModel`.
        instances: see `coco.read_instances`.
        images: the folder of the pictures.
        limit: only the first so many pictures; None for all.

    Raises:
        DataError: the instances file is not what COCO prescribes, or the folder is none.
        MissingExtraError: pycocotools is not installed.
    """
    start = time.perf_counter()
    return report(detect(model, instances, images, limit=limit), start)


def detect(
    model: GroundingModel,
    instances: Path,
    images: Path,
    *,
    limit: int | None = None,
    also: Callable[[dict[str, Any], Any, Mapping[str, Regions]], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Run:
    """One pass over the pictures; arguments and errors as for `evaluate`.

    Args:
        also: called with every picture's record, its open scene, and what was found for each name.
        on_progress: called with how many pictures of how many were looked at, after each; a bar is shown without it.
    """
    coco.pycocotools()  # what is missing should be said before the pass, not after it
    truth = coco.read_instances(instances)
    if not images.is_dir():
        raise DataError(f"--images {images}: no such folder.")
    run = Run(truth, truth["images"][:limit], [], [], [])
    category_ids = {category["name"]: category["id"] for category in truth["categories"]}

    def opened(record: dict[str, Any]) -> Any:
        return model.open(images / record["file_name"])

    def look(scene: Any) -> tuple[Mapping[str, Regions], Regions]:
        return scene.ground_many(list(category_ids), threshold=0.0), scene.regions

    count, all_looks = len(run.records), looks(run.records, opened, look)
    for record, scene, got in (
        track(all_looks, count, "detecting") if on_progress is None else _told(all_looks, count, on_progress)
    ):
        if isinstance(got, FO1AgentError):
            run.failures.append((record["file_name"], str(got)))
            continue
        found, regions = got
        results = (row for regions in found.values() for row in regions.to_coco(record["id"], category_ids))
        run.detections.extend(coco.best_rows(results))
        run.proposals.extend(_as_proposals(regions, record["id"], truth["categories"][0]["id"]))
        if also:
            also(record, scene, found)
    return run


def _told(items: Iterable[T], count: int, on_progress: Callable[[int, int], None]) -> Iterator[T]:
    for done, item in enumerate(items, start=1):
        yield item
        on_progress(done, count)


def report(run: Run, start: float, named: Any = None) -> DetectionReport:
    """The figures of a run.

    Args:
        run: of `detect`.
        start: `time.perf_counter()` when the measurement began.
        named: `coco.match` of its detections, where it is at hand.
    """
    if named is None:
        named = coco.match(run.truth, run.detections, run.image_ids)
    agnostic = coco.match(run.truth, run.proposals, run.image_ids, by_category=False, areas=False)
    for evaluator in (named, agnostic):
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator.accumulate()
    return DetectionReport(
        ap=_precision(named),
        ap50=_precision(named, iou=0.5),
        ap75=_precision(named, iou=0.75),
        ap_small=_precision(named, area="small"),
        ap_medium=_precision(named, area="medium"),
        ap_large=_precision(named, area="large"),
        recall50=_recall(agnostic, iou=0.5),
        recall75=_recall(agnostic, iou=0.75),
        images=len(run.records),
        seconds=time.perf_counter() - start,
        failures=tuple(run.failures),
    )


def _as_proposals(regions: Regions, image_id: int, any_category: int) -> list[Row]:
    """COCO results of the bare boxes. pycocotools wants a known category even where it compares none."""
    pairs = zip(regions.boxes.tolist(), regions.scores, strict=True)
    return [coco.result(image_id, any_category, box, float(score)) for box, score in pairs]


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
