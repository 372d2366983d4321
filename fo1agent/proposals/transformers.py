"""Any Hugging Face object detector as a proposer and a finder: DETR, RT-DETR, RF-DETR, D-FINE, YOLOS, …, with the names
of their classes; and those that read phrases: Grounding DINO, LLMDet, OWL-ViT, OWLv2, OmDet-Turbo, SAM 3.

What kind a checkpoint is, its configuration says, not its name. No remote code is run. torch and transformers are
imported when a proposer is made.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fo1agent.errors import CheckpointError, InputError, MissingExtraError, ProposalError
from fo1agent.extras import check_torch, torch_needed
from fo1agent.pictures.image import LoadedImage
from fo1agent.presets import goes
from fo1agent.presets.files import folder_of
from fo1agent.proposals.base import to_regions
from fo1agent.proposals.kept import LOOKS, Kept, identity
from fo1agent.proposals.labels import names_of, scores_of
from fo1agent.proposals.readers import READERS, Found, as_array
from fo1agent.proposals.trust import Trust
from fo1agent.regions.boxes import cxcywh_to_xyxy
from fo1agent.regions.regions import LIMIT, Regions

T = TypeVar("T")
# The score from which a closed detector's makers keep what it finds, by `model_type`.
_KEEPS = {
    "detr": 0.7,  # the notebook of github.com/facebookresearch/detr
    "rt_detr": 0.6,  # --thrh of github.com/lyuwenyu/RT-DETR, references/deploy; `rt_detr_v2` and D-FINE come from there
    "rt_detr_v2": 0.6,
    "table-transformer": 0.7,
    "yolos": 0.9,  # its model card
}
_WEIGHTS = (".safetensors", ".bin")
_KEEPS_ELSE = 0.5  # `post_process_object_detection` of transformers, and RF-DETR's own `predict`


class TransformersProposer:
    """One Hugging Face detector: its boxes, all classes together, and where it finds names or phrases. Threads that
    share it wait for each other.

    Attributes:
        name: `transformers:` and the hub name, or the folder's.
        names: of its classes; None for one that reads phrases.
        phrases: what its boxes are of, for one that reads phrases and was given some; else None.
        trust: what its scores are worth, by the threshold that its makers advise.
        identity: of a folder, a hash of its configuration and weights, as others may be called the same; else "".
    """

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
            min_score: boxes below are not proposed, and not found. Low, because FO1 judges them again.
            limit: at most so many boxes, and so many of a phrase.
            device: as torch names it.

        Raises:
            ProposalError: it cannot be loaded, or is no object detector.
            MissingExtraError: it needs a package that is not installed, such as timm.
            InputError: phrases for a detector that reads no text, or empty ones.
        """
        source = os.fspath(name_or_folder)
        self.name = f"transformers:{Path(source).resolve().name if os.path.isdir(source) else source}"
        self.phrases = None if phrases is None else _checked(phrases)
        self._min_score, self._limit = min_score, limit
        check_torch("A proposer of transformers")
        with torch_needed("A proposer of transformers"):
            kind, model, processor = _loaded(source, self.name, self.phrases is not None)
        model = model.to(device).eval()
        self._reader = READERS[kind](model, processor, device, self.name) if kind in READERS else None
        self._classes = None if self._reader else _Classes(model, processor, device)
        self.names = None if self._classes is None else tuple(self._classes.names)
        self.trust = Trust.at(self._reader.keeps if self._reader else _KEEPS.get(kind, _KEEPS_ELSE))
        files = Path(source).glob("*") if os.path.isdir(source) else ()
        told = [one for one in files if one.name == "config.json" or one.suffix in _WEIGHTS]
        self.identity = identity(told) if told else ""
        self._lock = threading.Lock()

    def __call__(self, image: LoadedImage) -> Regions:
        """Boxes in original pixels, best first, named by the detector's classes or by the phrases.

        Raises:
            ProposalError: the detector failed, or gave something that is no box or no score.
            InputError: a phrase is longer than the detector can read.
        """
        names = self._looked_for
        return self._best(image, names, self._found(image, names)) if names else Regions.empty(self.name)

    def propose_many(self, images: Sequence[LoadedImage]) -> list[Regions]:
        """What a call gives of each. A detector with classes is shown pictures that it sees in one size together; one
        that reads phrases looks at one after the other, for which its phrases go together.

        Raises:
            ProposalError, InputError: as for a call.
        """
        classes, names = self._classes, self._looked_for
        if classes is None or not names:
            return [self(image) for image in images]
        looks = self._run(lambda: classes.looks(images))
        return [self._best(image, names, classes.named(look, names)) for image, look in zip(images, looks, strict=True)]

    @property
    def _looked_for(self) -> tuple[str, ...]:
        """What its boxes are of."""
        return self.phrases or ("object",) if self._classes is None else tuple(self._classes.names)

    def _best(self, image: LoadedImage, names: tuple[str, ...], found: Sequence[Found]) -> Regions:
        """All boxes that were found of names, each as the likeliest of them."""
        boxes, scores = self._scored(found)
        best = scores.argmax(axis=0)
        return self._regions(image, (boxes, scores.max(axis=0)), [names[k] for k in best.tolist()])

    def find(self, image: LoadedImage, phrases: Sequence[str]) -> list[Regions]:
        """The boxes of each phrase, or of each of its names; errors as for a call."""
        readable = [" ".join(one.lower().replace(".", " ").split()) for one in phrases]
        found = self._found(image, readable)
        return [self._regions(image, one, [phrase] * len(one[0])) for one, phrase in zip(found, phrases, strict=True)]

    def _scored(self, found: Sequence[Found]) -> Found:
        """Boxes [N, 4], and of each name a score [P, N]."""
        if self._classes is not None:
            return found[0][0], np.stack([scores for _, scores in found])
        lengths = [len(boxes) for boxes, _ in found]
        scores = np.zeros((len(found), sum(lengths)))
        ends = np.cumsum(lengths)
        for row, end, (_, own) in zip(scores, ends, found, strict=True):
            row[end - len(own) : end] = own
        return np.concatenate([boxes for boxes, _ in found]), scores

    def _found(self, image: LoadedImage, phrases: Sequence[str]) -> list[Found]:
        asked: Any = self._reader or self._classes
        return self._run(lambda: asked.find(image, phrases))

    def _run(self, work: Callable[[], T]) -> T:
        """What the detector is to do, when no other thread uses it."""
        import torch

        try:
            with self._lock, torch.inference_mode():
                return work()
        except InputError:
            raise
        except Exception as exc:  # a detector's failure, whatever it is, is one for the caller
            raise ProposalError(f"{self.name} failed: {_one_line(exc)}") from exc

    def _regions(self, image: LoadedImage, found: Found, labels: Sequence[str | None]) -> Regions:
        boxes, scores = found
        kept = np.flatnonzero(~(scores < self._min_score))  # what is no number is told, not dropped
        return to_regions(image, boxes[kept], scores[kept], [labels[k] for k in kept.tolist()], self.name, self._limit)


class _Classes:
    """A detector with classes. It looks at each picture once. Not safe to share between threads."""

    def __init__(self, model: Any, processor: Any, device: str) -> None:
        self._model, self._processor, self._device = model, processor, device
        self._labels = model.config.id2label
        self.names = names_of(self._labels, len(self._labels))
        self._pictures = Kept(LOOKS)

    def find(self, image: LoadedImage, names: Sequence[str]) -> list[Found]:
        """All boxes, with the scores of each name."""
        return self.named(self.looks([image])[0], names)

    def looks(self, images: Sequence[LoadedImage]) -> list[Found]:
        """`look`, at those pictures that it has not looked at."""
        keys = [image.sha256 for image in images]
        return self._pictures.get_or_make_many(keys, lambda new: self.look([images[k] for k in new]))

    def named(self, look: Found, names: Sequence[str]) -> list[Found]:
        """The scores of each name among those of all classes."""
        boxes, scores = look
        return [(boxes, scores_of(self.names[name], scores)) for name in names]

    def look(self, images: Sequence[LoadedImage]) -> list[Found]:
        """Of each picture boxes [N, 4] and scores [N, K] of all classes."""
        from fo1agent.proposals.passes import outputs_of

        inputs = [self._processor(images=image.pixels, return_tensors="pt").to(self._device) for image in images]
        return [self._seen(*pair) for pair in zip(images, outputs_of(self._model, inputs), strict=True)]

    def _seen(self, image: LoadedImage, outputs: Any) -> Found:
        """What the network's outputs say of one picture."""
        if "pred_boxes" not in outputs:  # another kind of network, of which only its own processor knows
            found = self._processor.post_process_object_detection(outputs, 0.0, [image.size_hw])[0]
            scores = np.zeros((len(found["boxes"]), len(self._labels)))
            scores[np.arange(len(scores)), as_array(found["labels"]).astype(int)] = as_array(found["scores"])
            return as_array(found["boxes"]), scores
        logits = outputs.logits[0]
        # Those with a class of nothing, behind the others, are trained by softmax; the rest by sigmoid.
        nothing = logits.shape[-1] == len(self._labels) + 1
        scores = as_array(logits.softmax(-1)[:, :-1] if nothing else logits.sigmoid())
        return cxcywh_to_xyxy(as_array(outputs.pred_boxes[0])) * ([image.width, image.height] * 2), scores


def _loaded(source: str, name: str, phrases: bool) -> tuple[str, Any, Any]:
    """`model_type`, model and processor."""
    try:
        folder = folder_of(source)
    except CheckpointError as exc:
        raise ProposalError(f"{name} cannot be loaded: {exc}") from exc
    import transformers  # now, as it takes seconds
    from transformers.models.auto.modeling_auto import MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES

    try:
        kind = transformers.AutoConfig.from_pretrained(folder).model_type
        if kind in READERS:
            sam = kind.startswith("sam3")  # the video model's checkpoints hold it
            of_model: Any = transformers.Sam3Model if sam else transformers.AutoModelForZeroShotObjectDetection
            processor = (transformers.Sam3Processor if sam else transformers.AutoProcessor).from_pretrained(folder)
        elif kind not in MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES:
            hint = goes("segmenter", source if os.path.isdir(source) else name) if _makes_masks(kind) else ""
            raise ProposalError(f"{name} is a {kind!r}, which is no object detector.{hint}")
        elif phrases:
            raise InputError(f"{name} is a {kind!r}, which reads no phrases. Pass none.")
        else:
            processor = transformers.AutoImageProcessor.from_pretrained(folder)
            of_model = transformers.AutoModelForObjectDetection
        model, loaded = of_model.from_pretrained(folder, output_loading_info=True)
    except (InputError, ProposalError):
        raise
    except ImportError as exc:
        raise MissingExtraError(f"{name} needs a package that is not installed: {_one_line(exc)}") from exc
    except Exception as exc:  # a stranger's files: configuration, tokenizer, weights, each with its own errors
        raise ProposalError(f"{name} cannot be loaded: {_one_line(exc)}") from exc
    # transformers would fill what the weights lack with random numbers, and go on.
    missing = sorted(key for key in loaded["missing_keys"] if not key.endswith("num_batches_tracked"))
    if missing:
        raise ProposalError(f"{name} cannot be loaded: its weights lack {', '.join(missing[:3])} and so on.")
    return kind, model, processor


def _makes_masks(kind: str) -> bool:
    from transformers.models.auto import modeling_auto as auto

    return kind in {
        *auto.MODEL_FOR_MASK_GENERATION_MAPPING_NAMES,
        *auto.MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING_NAMES,
        *auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES,
    }


def _checked(phrases: Sequence[str]) -> tuple[str, ...]:
    if isinstance(phrases, str):
        raise InputError("phrases must be a list of strings, not one string.")
    # A full stop ends a phrase for the detectors that read them all in one line.
    cleaned = tuple(" ".join(phrase.lower().replace(".", " ").split()) for phrase in phrases)
    if not cleaned or not all(cleaned):
        raise InputError(f"phrases must be one or more words each, got {list(phrases)!r:.120}.")
    return cleaned


def _one_line(exc: Exception) -> str:
    return (" ".join(str(exc).split()) or type(exc).__name__)[:300]
