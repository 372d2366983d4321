"""Segmenters of ultralytics: SAM, SAM 2 and 2.1 and MobileSAM, which are asked about boxes; and FastSAM and the `-seg`
models, whose masks are matched to the boxes.

ultralytics is AGPL-3.0; see `proposals.ultralytics`, which imports it and keeps it to itself in the same way.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent.errors import InputError, MissingExtraError, ProposalError, SegmentationError
from fo1agent.pictures.image import LoadedImage
from fo1agent.presets import goes
from fo1agent.proposals.ultralytics import fetch, import_ultralytics, safe_unpickling, unpickles_all
from fo1agent.regions.masks import Mask
from fo1agent.segmenters.base import Latest, matched, one_line

KEPT_PICTURES = 4
"""Of so many of the latest pictures the masks of a `-seg` model are kept; of a SAM, the embedding of the latest."""
_LEAST_SCORE = 0.2  # as in `segmenters.transformers`; ultralytics' own is .25


def load_ultralytics(weights: str | os.PathLike[str], *, device: str = "cpu") -> Callable[..., Any]:
    """The segmenter of a file of weights.

    Args:
        weights: a local file, or the name of one of ultralytics' released weights, such as `sam2_t.pt` or
            `yolo11n-seg.pt`, which it then downloads into its own folder. SAMs it tells by the file's name.
        device: as torch names it.

    Raises:
        MissingExtraError: ultralytics is not installed.
        SegmentationError: the weights cannot be loaded, or are of a model that makes no masks.
        InputError: no such file and no such release.
    """
    ultralytics = import_ultralytics("A segmenter of ultralytics")
    try:
        path = str(fetch(os.fspath(weights)))
    except ProposalError as exc:
        raise SegmentationError(str(exc)) from exc
    name, stem = f"ultralytics:{Path(path).stem}", Path(path).stem.lower()
    try:
        if "sam" in stem and "fastsam" not in stem:
            return UltralyticsSam(name, _sam(ultralytics, path), device)
        with safe_unpickling():
            model = (ultralytics.FastSAM if "fastsam" in stem else ultralytics.YOLO)(path)
    except ImportError as exc:
        raise MissingExtraError(f"{name} needs a package that is not installed: {one_line(exc)}") from exc
    except InputError:
        raise
    except Exception as exc:  # whatever a stranger's pickle or its loader comes to
        raise SegmentationError(f"{name} cannot be loaded: {one_line(exc)}") from exc
    if model.task != "segment":
        hint = goes("detector", f"ultralytics:{os.fspath(weights)}") if model.task in ("detect", "pose", "obb") else ""
        raise SegmentationError(f"{name} is for the task {model.task!r}, which makes no masks.{hint}")
    model.clear_callback("on_predict_end")  # where usage data would be sent
    return UltralyticsMasks(name, model, device)


def _sam(ultralytics: Any, path: str) -> Any:
    """A SAM, whose file ultralytics would unpickle whatever it holds: first it is read as weights and nothing else."""
    import torch

    downloads: Any = importlib.import_module("ultralytics.utils.downloads")
    file = str(downloads.attempt_download_asset(path))
    if not unpickles_all():
        torch.load(file, map_location="cpu", weights_only=True)
    return ultralytics.SAM(file)


class UltralyticsSam:
    """A SAM of ultralytics: a picture is embedded once while it is the latest, all boxes of a call in one pass."""

    def __init__(self, name: str, model: Any, device: str, image_size: int = 1024) -> None:
        self.name = name
        # Nothing is left out for its score: there is one mask for each box.
        options = {"conf": 0.0, "imgsz": image_size, "device": device, "save": False, "verbose": False, "model": ""}
        self._predictor = model.task_map["segment"]["predictor"](overrides={"task": "segment", **options})
        self._predictor.setup_model(model=model.model, verbose=False)
        self._predictor.callbacks["on_predict_end"] = []  # where usage data would be sent
        self._embedded = Latest[Any](1)

    def __call__(self, image: LoadedImage, boxes: np.ndarray) -> tuple[list[np.ndarray], list[float]]:
        """A mask for each box, and the quality that the model predicts."""
        self._embedded.of(image, self._embed)
        result = self._predictor(bboxes=boxes.tolist())[0]
        masks = [] if result.masks is None else list(result.masks.data.cpu().numpy().astype(bool))
        kept = [] if result.boxes is None else result.boxes.cls.cpu().numpy().astype(int).tolist()
        scores = [] if result.boxes is None else result.boxes.conf.cpu().numpy().clip(0, 1).tolist()
        # A score of 0 is left out all the same; the classes are the numbers of the boxes.
        given = {k: (mask, score) for k, mask, score in zip(kept, masks, scores, strict=True)}
        empty = np.zeros(image.size_hw, dtype=bool), 0.0
        each = [given.get(k, empty) for k in range(len(boxes))]
        return [mask for mask, _ in each], [score for _, score in each]

    def _embed(self, image: LoadedImage) -> bool:
        self._predictor.set_image(np.asarray(image.pixels)[..., ::-1].copy())  # it takes BGR
        return True


class UltralyticsMasks:
    """A model of ultralytics that finds things and their masks by itself."""

    def __init__(self, name: str, model: Any, device: str) -> None:
        self.name = name
        self._model, self._device = model, device
        self._found = Latest[list[Mask]](KEPT_PICTURES)

    def __call__(self, image: LoadedImage, boxes: np.ndarray) -> list[Mask | None]:
        """A mask for each box that one fits; its quality is the model's score of it."""
        return matched(boxes, self._found.of(image, self._find))

    def _find(self, image: LoadedImage) -> list[Mask]:
        options = {"conf": _LEAST_SCORE, "device": self._device, "verbose": False, "save": False, "retina_masks": True}
        result = self._model.predict(image.pixels, **options)[0]
        if result.masks is None:
            return []
        masks, scores = result.masks.data.cpu().numpy(), result.boxes.conf.cpu().numpy().clip(0, 1)
        found = [Mask.of(mask > 0.5, float(score)) for mask, score in zip(masks, scores, strict=True)]
        return [mask for mask in found if mask.area]
