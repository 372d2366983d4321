"""Segmenters of transformers: SAM, SAM-HQ, SAM 2 and 2.1, EdgeTAM and SAM 3's tracker, which are asked about boxes; and
models for instance segmentation (MaskFormer, Mask2Former, RF-DETR), whose masks are matched to the boxes.

What kind a checkpoint is, its configuration says, not its name. No remote code is run. torch and transformers are
imported when a segmenter is made.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent.errors import CheckpointError, MissingExtraError, SegmentationError
from fo1agent.extras import check_torch, torch_needed
from fo1agent.pictures.image import LoadedImage
from fo1agent.presets import goes
from fo1agent.presets.files import folder_of
from fo1agent.regions.masks import Mask
from fo1agent.segmenters.base import Latest, at_once, matched, one_line

KEPT_PICTURES = 4
"""Of so many of the latest pictures the embedding is kept: 4 to 20 MB each, by the model."""
_BOXES_AT_ONCE = 128
# From this score on a model's own mask may be a region's; low, because the region's box chooses among them.
_LEAST_SCORE = 0.3
# The processor of each model for images; the checkpoints of some are saved with the one for video.
_PROCESSORS = {
    "SamModel": "SamProcessor",
    "SamHQModel": "SamHQProcessor",
    "Sam2Model": "Sam2Processor",
    "EdgeTamModel": "Sam2Processor",
    "Sam3TrackerModel": "Sam3TrackerProcessor",
}


def load_transformers(name_or_folder: str | os.PathLike[str], *, device: str = "cpu") -> Callable[..., Any]:
    """The segmenter of a Hugging Face checkpoint.

    Args:
        name_or_folder: a hub name such as `facebook/sam2.1-hiera-tiny`, or a local folder with model and processor.
        device: as torch names it.

    Raises:
        SegmentationError: it cannot be loaded, or makes no masks of things.
        MissingExtraError: it needs a package that is not installed.
    """
    check_torch("A segmenter of transformers")
    source = os.fspath(name_or_folder)
    name = f"transformers:{Path(source).resolve().name if os.path.isdir(source) else source}"
    try:
        folder = folder_of(source)
    except CheckpointError as exc:
        raise SegmentationError(f"{name} cannot be loaded: {exc}") from exc
    with torch_needed("A segmenter of transformers"):  # now, as it takes seconds
        from transformers import AutoConfig
        from transformers.models.auto import modeling_auto as auto

    try:
        kind = AutoConfig.from_pretrained(folder).model_type
        if kind in auto.MODEL_FOR_MASK_GENERATION_MAPPING_NAMES:
            return PromptedSegmenter(
                name, *_prompted(folder, auto.MODEL_FOR_MASK_GENERATION_MAPPING_NAMES[kind]), device
            )
        if kind in auto.MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING_NAMES:
            return InstanceSegmenter(name, *_instance(folder, "AutoModelForInstanceSegmentation"), device)
        if kind in auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES:
            return InstanceSegmenter(name, *_instance(folder, "AutoModelForUniversalSegmentation"), device)
    except SegmentationError:
        raise
    except ImportError as exc:
        raise MissingExtraError(f"{name} needs a package that is not installed: {one_line(exc)}") from exc
    except Exception as exc:  # a stranger's files: configuration, processor, weights, each with its own errors
        raise SegmentationError(f"{name} cannot be loaded: {one_line(exc)}") from exc
    detects = {*auto.MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES, *auto.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES}
    hint = goes("detector", source if os.path.isdir(source) else name) if kind in detects else ""
    raise SegmentationError(f"{name} is a {kind!r}, which makes no masks of things.{hint}")


def _prompted(folder: Path, architecture: str) -> tuple[Any, Any]:
    import transformers

    model = _complete(*getattr(transformers, architecture).from_pretrained(folder, output_loading_info=True))
    return model, getattr(transformers, _PROCESSORS[architecture]).from_pretrained(folder)


def _instance(folder: Path, auto_class: str) -> tuple[Any, Any]:
    import transformers

    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    finish = getattr(processor, "post_process_instance_segmentation", None)
    # The others give each pixel to some thing, however unlikely it is of any.
    if finish is None or "return_binary_maps" not in inspect.signature(finish).parameters:
        raise ValueError(f"a {type(processor).__name__} makes no masks of single things.")
    return _complete(*getattr(transformers, auto_class).from_pretrained(folder, output_loading_info=True)), processor


def _complete(model: Any, loaded: dict[str, Any]) -> Any:
    # transformers would fill what the weights lack with random numbers, and go on.
    missing = sorted(key for key in loaded["missing_keys"] if not key.endswith("num_batches_tracked"))
    if missing:
        raise ValueError(f"its weights lack {', '.join(missing[:3])} and so on.")
    return model


class PromptedSegmenter:
    """A SAM of any generation: a picture is embedded once, and all boxes of a call are asked about together."""

    def __init__(self, name: str, model: Any, processor: Any, device: str) -> None:
        self.name = name
        self._model, self._processor, self._device = model.to(device).eval(), processor, device
        self._embedded = Latest[dict[str, Any]](KEPT_PICTURES)

    def __call__(self, image: LoadedImage, boxes: np.ndarray) -> list[Mask]:
        """A mask for each box, of the quality that the model predicts."""
        import torch

        with torch.inference_mode():
            known = self._embedded.of(image, self._embed)
            parts = [boxes[k : k + _BOXES_AT_ONCE] for k in range(0, len(boxes), _BOXES_AT_ONCE)]
            return [mask for part in parts for mask in self._masks(image, known, part)]

    def _embed(self, image: LoadedImage) -> dict[str, Any]:
        inputs = self._processor(images=image.pixels, return_tensors="pt")
        embedding = self._model.get_image_embeddings(inputs["pixel_values"].to(self._device))
        # SAM scales a picture by its longer side; the later ones stretch it to a square.
        frame = inputs.get("reshaped_input_sizes")
        side = getattr(self._processor, "target_size", None)
        seen = frame[0].tolist() if frame is not None else [side, side]
        sizes = {} if frame is None else {"reshaped_input_sizes": frame.tolist()}
        named = {"image_embeddings": embedding}
        if isinstance(embedding, tuple):  # SAM-HQ
            named = {"image_embeddings": embedding[0], "intermediate_embeddings": list(embedding[1])}
        return {"embedding": named, "seen_hw": seen, "sizes": {"original_sizes": [list(image.size_hw)], **sizes}}

    def _masks(self, image: LoadedImage, known: dict[str, Any], boxes: np.ndarray) -> list[Mask]:
        import torch

        (height, width), (seen_h, seen_w) = image.size_hw, known["seen_hw"]
        scaled = boxes * np.array([seen_w / width, seen_h / height] * 2)
        asked = torch.as_tensor(scaled[None], dtype=torch.float32, device=self._device)
        said = self._model(**known["embedding"], input_boxes=asked, multimask_output=False)
        qualities = said.iou_scores[0, :, 0].float().clamp(0, 1).tolist()
        logits, masks = said.pred_masks[0].float(), []
        for part in logits.split(at_once(image.size_hw)):
            (large,) = self._processor.post_process_masks([part], **known["sizes"])
            masks += list(large[:, 0].cpu().numpy())
        return [Mask.of(mask, quality) for mask, quality in zip(masks, qualities, strict=True)]


class InstanceSegmenter:
    """A model that finds things and their masks by itself; each box gets the one that overlaps it most."""

    def __init__(self, name: str, model: Any, processor: Any, device: str) -> None:
        self.name = name
        self._model, self._processor, self._device = model.to(device).eval(), processor, device
        self._found = Latest[list[Mask]](KEPT_PICTURES)

    def __call__(self, image: LoadedImage, boxes: np.ndarray) -> list[Mask | None]:
        """A mask for each box that one fits; its quality is the model's score of it."""
        return matched(boxes, self._found.of(image, self._find))

    def _find(self, image: LoadedImage) -> list[Mask]:
        import torch

        with torch.inference_mode():
            inputs = self._processor(images=image.pixels, return_tensors="pt").to(self._device)
            told = self._processor.post_process_instance_segmentation(
                self._model(**inputs), threshold=_LEAST_SCORE, target_sizes=[image.size_hw], return_binary_maps=True
            )[0]
        infos = told["segments_info"]
        maps = told["segmentation"].cpu().numpy() if infos else []
        masks = [Mask.of(one > 0, min(1.0, float(info["score"]))) for one, info in zip(maps, infos, strict=True)]
        return [mask for mask in masks if mask.area]
