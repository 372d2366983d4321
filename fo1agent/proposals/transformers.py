"""Any Hugging Face object detector as a proposer: DETR, RT-DETR, RF-DETR, YOLOS, …, and those that read phrases:
Grounding DINO, OWL-ViT, OWLv2, OmDet-Turbo.

What kind a checkpoint is, its configuration says, not its name. No remote code is run. torch and transformers are
imported when a proposer is made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fo1agent.errors import InputError, MissingExtraError, ProposalError
from fo1agent.extras import torch_needed
from fo1agent.pictures.image import LoadedImage
from fo1agent.proposals.base import to_regions
from fo1agent.regions.boxes import cxcywh_to_xyxy
from fo1agent.regions.regions import LIMIT, Regions

if TYPE_CHECKING:
    import torch

Detections = tuple[np.ndarray, np.ndarray, list[str | None]]
"""Boxes [N, 4] xyxy original pixels, scores [N], N labels."""


class TransformersProposer:
    """Boxes of one Hugging Face detector, all classes together."""

    def __init__(
        self,
        name_or_folder: str | os.PathLike[str],
        *,
        phrases: Sequence[str] | None = None,
        min_score: float = 0.01,
        limit: int = LIMIT,
        device: str = "cpu",
    ) -> None:
        """Load the detector.

        Args:
            name_or_folder: a hub name such as `PekingU/rtdetr_v2_r18vd`, or a local folder with model and processor.
            phrases: what to look for, for detectors that read text; None means `("object",)` for those.
            min_score: boxes below are not proposed. Low, because FO1 judges them again.
            limit: at most so many boxes.
            device: as torch names it.

        Raises:
            ProposalError: it cannot be loaded, or is no object detector.
            MissingExtraError: it needs a package that is not installed, such as timm.
            InputError: phrases for a detector that reads no text, or empty ones.
        """
        with torch_needed("A proposer of transformers"):
            from transformers import (
                AutoConfig,
                AutoImageProcessor,
                AutoModelForObjectDetection,
                AutoModelForZeroShotObjectDetection,
                AutoProcessor,
            )
            from transformers.models.auto.modeling_auto import (
                MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES,
                MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES,
            )

        source = os.fspath(name_or_folder)
        self.name = f"transformers:{Path(source).resolve().name if os.path.isdir(source) else source}"
        self._phrases = _checked(phrases)
        self._min_score, self._limit, self._device = min_score, limit, device
        try:
            kind = AutoConfig.from_pretrained(source).model_type
            if kind in MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES:
                self._detect: Callable[[LoadedImage], Detections] = self._by_phrases(kind)
                self._processor: Any = AutoProcessor.from_pretrained(source)
                model, loaded = AutoModelForZeroShotObjectDetection.from_pretrained(source, output_loading_info=True)
            elif kind not in MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES:
                raise ProposalError(f"{self.name} is a {kind!r}, which is no object detector.")
            elif phrases is not None:
                raise InputError(f"{self.name} is a {kind!r}, which reads no phrases. Pass none.")
            else:
                self._detect = self._by_classes
                self._processor = AutoImageProcessor.from_pretrained(source)
                model, loaded = AutoModelForObjectDetection.from_pretrained(source, output_loading_info=True)
        except (InputError, ProposalError):
            raise
        except ImportError as exc:
            raise MissingExtraError(f"{self.name} needs a package that is not installed: {_one_line(exc)}") from exc
        except Exception as exc:  # a stranger's files: configuration, tokenizer, weights, each with its own errors
            raise ProposalError(f"{self.name} cannot be loaded: {_one_line(exc)}") from exc
        # transformers would fill what the weights lack with random numbers, and go on.
        missing = sorted(key for key in loaded["missing_keys"] if not key.endswith("num_batches_tracked"))
        if missing:
            raise ProposalError(f"{self.name} cannot be loaded: its weights lack {', '.join(missing[:3])} and so on.")
        self._model: Any = model.to(device).eval()

    def __call__(self, image: LoadedImage) -> Regions:
        """Boxes in original pixels, best first, named by the detector's classes or by the phrases.

        Raises:
            ProposalError: the detector failed, or gave something that is no box or no score.
            InputError: the phrases are more than the detector can read at once.
        """
        import torch

        try:
            with torch.inference_mode():
                boxes, scores, labels = self._detect(image)
        except InputError:
            raise
        except Exception as exc:  # a detector's failure, whatever it is, is one for the caller
            raise ProposalError(f"{self.name} failed: {_one_line(exc)}") from exc
        return to_regions(image, boxes, scores, labels, self.name, self._limit)

    def _by_phrases(self, kind: str) -> Callable[[LoadedImage], Detections]:
        return {"omdet-turbo": self._by_omdet, "owlv2": self._by_owl, "owlvit": self._by_owl}.get(kind, self._by_dino)

    def _by_classes(self, image: LoadedImage) -> Detections:
        outputs = self._model(**self._processor(images=image.pixels, return_tensors="pt").to(self._device))
        found = self._processor.post_process_object_detection(outputs, self._min_score, [image.size_hw])[0]
        names = self._model.config.id2label
        return _numpy(found["boxes"]), _numpy(found["scores"]), [names.get(int(k)) for k in found["labels"]]

    def _by_owl(self, image: LoadedImage) -> Detections:
        texts = [list(self._phrases)]
        inputs = self._processor(images=image.pixels, text=texts, return_tensors="pt").to(self._device)
        found = self._processor.post_process_grounded_object_detection(
            self._model(**inputs), threshold=self._min_score, target_sizes=[image.size_hw], text_labels=texts
        )[0]
        return _numpy(found["boxes"]), _numpy(found["scores"]), list(found["text_labels"])

    def _by_omdet(self, image: LoadedImage) -> Detections:
        texts = [list(self._phrases)]
        inputs = self._processor(images=image.pixels, text=texts, return_tensors="pt").to(self._device)
        found = self._processor.post_process_grounded_object_detection(
            self._model(**inputs),
            text_labels=texts,
            threshold=self._min_score,
            nms_threshold=0.7,
            target_sizes=[image.size_hw],
        )[0]
        return _numpy(found["boxes"]), _numpy(found["scores"]), list(found["text_labels"])

    def _by_dino(self, image: LoadedImage) -> Detections:
        # The processor's own step names a box by every token above a threshold, which runs phrases into each other.
        # Here a box belongs to the phrase that holds its best token.
        text = " ".join(f"{phrase}." for phrase in self._phrases)
        inputs = self._processor(images=image.pixels, text=text, return_tensors="pt").to(self._device)
        tokens = self._tokens_of_phrases(inputs["input_ids"][0])
        outputs = self._model(**inputs)
        per_token = _numpy(outputs.logits[0].sigmoid())  # [Q, T]
        scores = np.stack([per_token[:, positions].max(axis=1) for positions in tokens], axis=1)  # [Q, P]
        height, width = image.size_hw
        boxes = cxcywh_to_xyxy(_numpy(outputs.pred_boxes[0])) * [width, height, width, height]
        best, kept = scores.max(axis=1), scores.max(axis=1) >= self._min_score
        return boxes[kept], best[kept], [self._phrases[k] for k in scores.argmax(axis=1)[kept]]

    def _tokens_of_phrases(self, input_ids: torch.Tensor) -> list[list[int]]:
        """For each phrase, where its tokens stand in `input_ids`."""
        tokenizer = self._processor.tokenizer
        full_stop = tokenizer.convert_tokens_to_ids(".")
        positions: list[list[int]] = [[]]
        for position, token in enumerate(input_ids.tolist()):
            if token == full_stop:
                positions.append([])
            elif token not in tokenizer.all_special_ids:
                positions[-1].append(position)
        positions = positions[: len(self._phrases)]
        if len(input_ids) > self._model.config.max_text_len or not all(positions):
            raise InputError(
                f"{self.name} cannot read {len(self._phrases)} phrases at once. Pass fewer or shorter ones."
            )
        return positions


def _checked(phrases: Sequence[str] | None) -> tuple[str, ...]:
    if phrases is None:
        return ("object",)
    if isinstance(phrases, str):
        raise InputError("phrases must be a list of strings, not one string.")
    # A full stop ends a phrase for the detectors that read them all in one line.
    cleaned = tuple(" ".join(phrase.lower().replace(".", " ").split()) for phrase in phrases)
    if not cleaned or not all(cleaned):
        raise InputError(f"phrases must be one or more words each, got {list(phrases)!r:.120}.")
    return cleaned


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


def _one_line(exc: Exception) -> str:
    return (" ".join(str(exc).split()) or type(exc).__name__)[:300]
