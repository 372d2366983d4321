"""How detectors of transformers that read text are asked for phrases, each by itself.

Most of them read all phrases in one text, so that what is found of one depends on the others. Here each phrase is a
text of its own: several make a batch, for which the picture is read once (`Once`), and whatever else is asked about the
picture later does not read it again. Only texts of one length stand in a batch, so that none is padded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fo1agent.errors import InputError
from fo1agent.pictures.image import LoadedImage
from fo1agent.proposals.kept import Kept
from fo1agent.regions.boxes import cxcywh_to_xyxy

if TYPE_CHECKING:
    import torch

Found = tuple[np.ndarray, np.ndarray]
"""Boxes [N, 4] xyxy pixels of the picture, and their scores [N]."""


class Once:
    """Makes a part of a model that looks at the picture alone compute once for each picture.

    Args:
        module: the part. Its first tensor has a row for each text, all of the same picture; the rows of its result are
            copies of one.
    """

    def __init__(self, module: Any) -> None:
        self.picture = ""
        self._forward, self._kept = module.forward, Kept()
        module.forward = self._again

    def _again(self, *args: Any, **kwargs: Any) -> Any:
        import torch
        from torch.utils._pytree import tree_leaves, tree_map_only

        rows = next(len(one) for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor))

        def first(one: torch.Tensor) -> torch.Tensor:
            return one[:1]

        def repeated(one: torch.Tensor) -> torch.Tensor:
            return one.expand(rows, *one.shape[1:]).contiguous() if one.dim() and len(one) == 1 else one

        made = self._kept.get_or_make(
            self.picture,
            lambda: self._forward(
                *tree_map_only(torch.Tensor, first, args), **tree_map_only(torch.Tensor, first, kwargs)
            ),
        )
        return made if rows == 1 else tree_map_only(torch.Tensor, repeated, made)


class Reader(ABC):
    """A detector that reads text, asked for phrases. Not safe to share between threads.

    Args:
        model, processor: of transformers.
        device: where the model is.
        name: for errors.

    Attributes:
        keeps: the score from which its makers keep what it finds.
        at_once: phrases in a batch; of most, each takes the memory of the picture's features through a transformer.
        padded: whether all texts are padded to one length, whatever stands beside them.
    """

    keeps: float
    at_once = 4
    padded = False

    def __init__(self, model: Any, processor: Any, device: str, name: str) -> None:
        self._model, self._processor, self._device, self._name = model, processor, device, name
        self._once = [Once(part) for part in self._alone()]
        self._pictures = Kept()

    def find(self, image: LoadedImage, phrases: Sequence[str]) -> list[Found]:
        """What is found of each phrase."""
        for part in self._once:
            part.picture = image.sha256
        pixels = self._pictures.get_or_make(image.sha256, lambda: self._pixels(image))
        groups: dict[int, list[int]] = {}
        for k, length in enumerate(self._lengths(phrases)):
            groups.setdefault(0 if self.padded else length, []).append(k)
        found: dict[int, Found] = {}
        for same in groups.values():
            for at in range(0, len(same), self.at_once):
                batch = same[at : at + self.at_once]
                found.update(zip(batch, self._read(image, pixels, [phrases[k] for k in batch]), strict=True))
        return [found[k] for k in range(len(phrases))]

    @abstractmethod
    def _alone(self) -> list[Any]:
        """The parts of the model that look at the picture alone."""

    @abstractmethod
    def _read(self, image: LoadedImage, pixels: Any, phrases: Sequence[str]) -> list[Found]:
        """What is found of phrases whose texts have one length."""

    def _pixels(self, image: LoadedImage) -> Any:
        return self._processor.image_processor(images=image.pixels, return_tensors="pt").to(self._device)

    def _lengths(self, phrases: Sequence[str]) -> list[int]:
        """Tokens of each phrase's text."""
        lengths = [len(ids) for ids in self._processor.tokenizer([self._text(one) for one in phrases])["input_ids"]]
        for phrase, length in zip(phrases, lengths, strict=True):
            if length > self._most:
                raise InputError(
                    f"{self._name} reads {self._most} tokens; “{phrase[:40]}…” has {length}. Pass a shorter phrase."
                )
        return lengths

    def _text(self, phrase: str) -> str:
        """The longest text that is made of a phrase."""
        return phrase

    @property
    @abstractmethod
    def _most(self) -> int:
        """Tokens that are read."""

    def _in_pixels(self, image: LoadedImage, boxes_cxcywh: torch.Tensor) -> np.ndarray:
        """[N, 4] of boxes in shares of the picture."""
        return cxcywh_to_xyxy(as_array(boxes_cxcywh)) * ([image.width, image.height] * 2)


class DinoReader(Reader):
    """Grounding DINO, and MM Grounding DINO, which LLMDet has been published as."""

    keeps = 0.35  # box threshold of its demo: github.com/IDEA-Research/GroundingDINO, demo/inference_on_a_image.py

    def _alone(self) -> list[Any]:
        return [self._model.model.backbone]

    @property
    def _most(self) -> int:
        return self._model.config.max_text_len

    def _text(self, phrase: str) -> str:
        return f"{phrase}."

    def _read(self, image: LoadedImage, pixels: Any, phrases: Sequence[str]) -> list[Found]:
        import torch

        texts = self._processor.tokenizer([self._text(one) for one in phrases], return_tensors="pt").to(self._device)
        ids = texts["input_ids"]
        outputs = self._model(**texts, **{name: _rows(one, len(phrases)) for name, one in pixels.items()})
        # A box is scored by the best of the phrase's own tokens.
        stop = self._processor.tokenizer.convert_tokens_to_ids(".")
        other = torch.isin(ids, torch.tensor([*self._processor.tokenizer.all_special_ids, stop], device=ids.device))
        per_token = outputs.logits[:, :, : ids.shape[1]].sigmoid().masked_fill(other[:, None], 0.0)
        scores = per_token.amax(dim=2)
        return [
            (self._in_pixels(image, boxes), as_array(own))
            for boxes, own in zip(outputs.pred_boxes, scores, strict=True)
        ]


class OwlReader(Reader):
    """OWL-ViT and OWLv2, which score every phrase by itself."""

    keeps = 0.1  # `post_process_grounded_object_detection` of their processors, and their model cards
    at_once = 64
    padded = True

    def _alone(self) -> list[Any]:
        return [getattr(self._model, self._model.base_model_prefix).vision_model]

    @property
    def _most(self) -> int:
        return self._model.config.text_config.max_position_embeddings

    def _read(self, image: LoadedImage, pixels: Any, phrases: Sequence[str]) -> list[Found]:
        texts = self._processor(text=[list(phrases)], return_tensors="pt").to(self._device)
        outputs = self._model(**texts, pixel_values=pixels["pixel_values"])
        # The picture's shares are those of the square that it was padded to, or of itself squeezed into one.
        found = self._processor.post_process_grounded_object_detection(
            outputs, threshold=-1.0, target_sizes=[image.size_hw]
        )[0]
        return [(as_array(found["boxes"]), as_array(own)) for own in outputs.logits[0].sigmoid().T]


class OmDetReader(Reader):
    """OmDet-Turbo."""

    keeps = 0.3  # `post_process_grounded_object_detection` of its processor

    def _alone(self) -> list[Any]:
        return [self._model.vision_backbone, self._model.encoder]

    @property
    def _most(self) -> int:
        return self._model.config.text_config.max_position_embeddings

    def _text(self, phrase: str) -> str:
        return f"Detect {phrase}."

    def _read(self, image: LoadedImage, pixels: Any, phrases: Sequence[str]) -> list[Found]:
        import torch

        tokens: dict[str, Any] = {}
        for kind, texts in (("tasks", [self._text(one) for one in phrases]), ("classes", list(phrases))):
            read = self._processor.tokenizer(texts, padding="max_length", max_length=self._most, return_tensors="pt")
            tokens |= {f"{kind}_{name}": one.to(self._device) for name, one in read.items()}
        outputs = self._model(
            **tokens,
            classes_structure=torch.ones(len(phrases), dtype=torch.long, device=self._device),
            pixel_values=_rows(pixels["pixel_values"], len(phrases)),
        )
        scores = outputs.decoder_class_logits[:, :, 0].sigmoid()
        pairs = zip(outputs.decoder_coord_logits, scores, strict=True)
        return [(self._in_pixels(image, boxes), as_array(own)) for boxes, own in pairs]


class Sam3Reader(Reader):
    """SAM 3, asked for a concept in words."""

    padded = True
    keeps = 0.5  # confidence of its image demo: github.com/facebookresearch/sam3, model/sam3_image_processor.py

    def _alone(self) -> list[Any]:
        return [self._model.vision_encoder]

    @property
    def _most(self) -> int:
        return self._model.config.text_config.max_position_embeddings

    def _read(self, image: LoadedImage, pixels: Any, phrases: Sequence[str]) -> list[Found]:
        texts = self._processor.tokenizer(
            list(phrases), padding="max_length", max_length=self._most, return_tensors="pt"
        )
        texts = texts.to(self._device)
        outputs = self._model(**texts, pixel_values=_rows(pixels["pixel_values"], len(phrases)))
        found = self._processor.post_process_object_detection(
            outputs, threshold=-1.0, target_sizes=[image.size_hw] * len(phrases)
        )
        return [(as_array(one["boxes"]), as_array(one["scores"])) for one in found]


READERS: dict[str, type[Reader]] = {
    "grounding-dino": DinoReader,
    "mm-grounding-dino": DinoReader,
    "omdet-turbo": OmDetReader,
    "owlv2": OwlReader,
    "owlvit": OwlReader,
    "sam3": Sam3Reader,
    "sam3_video": Sam3Reader,
}
"""By `model_type`."""


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as numpy."""
    return tensor.detach().float().cpu().numpy()


def _rows(one: Any, count: int) -> Any:
    """A picture's tensor, once for each text."""
    return one.expand(count, *one.shape[1:])
