"""A picture, its boxes and a question → what the towers and the tokenizer's model take, exactly as in the reference.

A picture's sizes in every frame, and the way of boxes between them, live in `ImageSizes`, so they cannot disagree.
This file reads no weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from fo1agent.errors import CheckpointError, ImageError
from fo1agent.model import bases
from fo1agent.model.aux_encoder import prepare_aux
from fo1agent.model.config import FO1Config, ProcessingConfig
from fo1agent.model.sequence import IMAGE_SLOT, REGION_SLOT

LONGEST_ASPECT = 200


@dataclass(frozen=True)
class ImageSizes:
    """Width and height of one picture in every frame that a box passes through, pixels.

    Attributes:
        original_wh: the upright picture as opened.
        scale_xy: factors from there to `seen_wh`; 1 unless the long side was cut (a stretched side does not count).
        seen_wh: the picture that both towers are given.
        aux_wh: input of the auxiliary tower (its main view).
        primary_wh: input of the primary tower, multiples of 28.
    """

    original_wh: tuple[int, int]
    scale_xy: tuple[float, float]
    seen_wh: tuple[int, int]
    aux_wh: tuple[int, int]
    primary_wh: tuple[int, int]

    def to_aux(self, boxes: Any) -> Tensor:
        """[N, 4] xyxy pixels of the original → float32 pixels of the auxiliary input, clipped to the picture."""
        (w, h), (aux_w, aux_h) = self.seen_wh, self.aux_wh
        boxes = _float64(boxes) * boxes_factor(self.scale_xy)
        boxes = torch.minimum(boxes.clamp(min=0), boxes.new_tensor([w, h, w, h]))
        return (boxes * boxes_factor((aux_w / w, aux_h / h))).float()

    def to_primary(self, boxes: Any) -> Tensor:
        """[N, 4] xyxy pixels of the original → float32 pixels of the primary input."""
        factors = (self.primary_wh[0] / self.aux_wh[0], self.primary_wh[1] / self.aux_wh[1])
        return self.to_aux(boxes) * boxes_factor(factors).float()

    def from_aux(self, boxes: Tensor) -> Tensor:
        """[N, 4] xyxy pixels of the auxiliary input → float32 pixels of the original, clipped to it."""
        (w, h), (seen_w, seen_h), (aux_w, aux_h) = self.original_wh, self.seen_wh, self.aux_wh
        factors = (aux_w / seen_w * self.scale_xy[0], aux_h / seen_h * self.scale_xy[1])
        boxes = boxes / boxes_factor(factors).to(boxes)
        return torch.minimum(boxes, boxes.new_tensor([w, h, w, h]))

    def to_fractions(self, boxes: Any) -> Tensor:
        """[N, 4] xyxy pixels of the original → float32 fractions of its width and height."""
        w, h = self.original_wh
        return (_float64(boxes) / boxes_factor((w, h))).float()


def _float64(boxes: Any) -> Tensor:
    """[N, 4] on the CPU: float32 would already move a box of a large picture, and not every device has float64."""
    return torch.as_tensor(boxes, dtype=torch.float64, device="cpu").reshape(-1, 4)


def boxes_factor(factors_xy: tuple[float, float]) -> Tensor:
    """(x, y) → [x, y, x, y], float64."""
    return torch.tensor([*factors_xy, *factors_xy], dtype=torch.float64)


@dataclass(frozen=True)
class ImageInputs:
    """One picture as tower input.

    Attributes:
        pixel_values: [h * w, 1176] float32, the primary tower's patches, 2 x 2 blocks together.
        grid_hw: h and w of the patch grid.
        merged_hw: rows and columns of image tokens.
        aux_views: named views [1, 3, H, W] of the auxiliary tower.
        sizes: the picture in every frame.
    """

    pixel_values: Tensor
    grid_hw: tuple[int, int]
    merged_hw: tuple[int, int]
    aux_views: Mapping[str, Tensor]
    sizes: ImageSizes


class Processor:
    """Pictures, boxes and words → model input, and ids → words.

    Args:
        tokenizer: a Hugging Face tokenizer that knows the chat and region tokens.
        config: the model's configuration.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, config: FO1Config) -> None:
        self.tokenizer = tokenizer
        self.settings = ProcessingConfig(**config.processing)
        self.aux_config = config.aux
        self.adapter = bases.adapter(config.base_config.model_type)
        vision = config.base_config.vision_config
        self.patch_size, self.merge = vision.patch_size, vision.spatial_merge_size
        self.image_processor = Qwen2VLImageProcessorPil(
            size={"shortest_edge": self.settings.min_pixels, "longest_edge": self.settings.max_pixels},
            patch_size=vision.patch_size,
            merge_size=vision.spatial_merge_size,
            temporal_patch_size=vision.temporal_patch_size,
        )
        self.stop_id = self.token_id(self.adapter.STOP)

    # --- pictures and boxes ------------------------------------------------------------------------------------

    def image(self, image: Image.Image) -> ImageInputs:
        """Tower input of one upright PIL picture of any mode.

        Raises:
            ImageError: the picture is more than 200 times as long as it is wide, or the reverse.
        """
        rgb = image.convert("RGB")
        seen, scale = self._limit_sides(rgb)
        if max(seen.size) > LONGEST_ASPECT * min(seen.size):
            raise ImageError(f"The picture is {image.width} x {image.height}: sides may differ {LONGEST_ASPECT} times.")
        patches = self.image_processor(images=seen, return_tensors="pt")
        _, h, w = (int(v) for v in patches["image_grid_thw"][0])
        views = prepare_aux(self.aux_config, self.settings, seen)
        aux_h, aux_w = views["main"].shape[-2:]
        sizes = ImageSizes(
            original_wh=image.size,
            scale_xy=scale,
            seen_wh=seen.size,
            aux_wh=(aux_w, aux_h),
            primary_wh=(w * self.patch_size, h * self.patch_size),
        )
        return ImageInputs(patches["pixel_values"], (h, w), (h // self.merge, w // self.merge), views, sizes)

    def _limit_sides(self, image: Image.Image) -> tuple[Image.Image, tuple[float, float]]:
        """Stretch short sides, cut the long one; and the factors by which boxes follow the cut (not the stretch)."""
        low, high = self.settings.min_side, self.settings.max_side
        if min(image.size) < low:
            image = image.resize((max(image.width, low), max(image.height, low)), Image.Resampling.BICUBIC)
        longest = max(image.size)
        if longest <= high:
            return image, (1.0, 1.0)
        factor = high / longest
        width, height = (max(int(side * factor), low) for side in image.size)
        scale = (width / image.width, height / image.height)
        return image.resize((width, height), Image.Resampling.BICUBIC), scale

    def keep_best(self, scores: Sequence[float] | np.ndarray) -> tuple[np.ndarray, str]:
        """Which boxes are kept, as positions in their given order, and a note for a person if some are not."""
        scores, limit = np.asarray(scores, dtype=np.float64), self.settings.max_regions
        if len(scores) <= limit:
            return np.arange(len(scores)), ""
        best = np.argsort(-scores, kind="stable")[:limit]
        return np.sort(best), f"{len(scores)} boxes given, best {limit} kept"

    # --- words -------------------------------------------------------------------------------------------------

    def prompt_ids(self, regions: Sequence[int], text: str) -> Tensor:
        """Ids [P] of one user turn with slots; `regions` holds the number of boxes of each picture, in order."""
        return torch.cat([self.prefix_ids(regions), self.question_ids(regions, text)])

    def prefix_ids(self, regions: Sequence[int]) -> Tensor:
        """Ids of what all questions share: everything up to the last picture's last region."""
        return self._tokenize(self._prompt_parts(regions)[0])

    def question_ids(self, regions: Sequence[int], text: str) -> Tensor:
        """Ids of the rest of the turn: the words, and the opening of the answer."""
        return self._tokenize([self._prompt_parts(regions)[1] + plain(text) + self.adapter.CLOSING])

    def phrase_ids(self, phrase: str) -> Tensor:
        """Ids of a phrase whose last state is matched with regions: `<ground>phrase</ground>`."""
        return self._tokenize([f"<ground>{plain(phrase)}</ground>"])

    def text_ids(self, text: str) -> Tensor:
        """Ids [.] int64 of trusted text: special tokens in it count as such."""
        return self._tokenize([text])

    def region_ids(self, count: int) -> list[int]:
        """Ids of `<region0>` … `<region{count-1}>`."""
        return [self.token_id(f"<region{i}>") for i in range(count)]

    def token_id(self, token: str) -> int:
        """Id of an added token.

        Raises:
            CheckpointError: the tokenizer does not know it.
        """
        index = self.tokenizer.get_vocab().get(token)
        if index is None:
            raise CheckpointError(f"The tokenizer has no token {token!r}; FO1 needs it.")
        return index

    def decode(self, ids: Tensor) -> str:
        """Text of generated ids, special tokens kept, without the stop token and outer blanks."""
        text = self.tokenizer.decode(ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(text).removesuffix(self.adapter.STOP).strip()

    def _prompt_parts(self, regions: Sequence[int]) -> tuple[list[str | int], str]:
        """The shared part as text and slots, and the text between its last slot (or picture) and the user's words."""
        parts: list[str | int] = []
        pending, first = self.adapter.OPENING, 0
        for count in regions:
            parts += [pending + self.adapter.IMAGE_OPENING, IMAGE_SLOT]
            pending = self.adapter.IMAGE_CLOSING
            for index in range(first, first + count):
                parts += [f"{pending}<region{index}>", REGION_SLOT]
                pending = ""
            pending += "\n" * (count > 0)
            first += count
        if parts and parts[-1] == IMAGE_SLOT:
            # With no region the prefix ends behind the picture; the newline stays with the words.
            closing = self.adapter.IMAGE_CLOSING.rstrip("\n")
            return [*parts, closing], pending.removeprefix(closing)
        return parts, pending

    def _tokenize(self, parts: Sequence[str | int]) -> Tensor:
        """Pieces of text are cut beside added tokens, so this equals tokenising the whole."""
        ids: list[int] = []
        for part in parts:
            if isinstance(part, int):
                ids.append(part)
            else:
                ids += self.tokenizer(part, add_special_tokens=False)["input_ids"]
        return torch.tensor(ids, dtype=torch.long)


def plain(text: str) -> str:
    """The user's words with chat markers broken, so that text read in a picture cannot end the turn."""
    return text.replace("<|", "< |")
