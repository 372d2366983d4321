"""Pictures and words as arrays: `FO1Processor` of the ONNX engine, without torch or transformers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tokenizers import Tokenizer

from fo1agent.errors import CheckpointError
from fo1agent.model.bases.chat import QWEN
from fo1agent.model.folder import one_line
from fo1agent.model.frames import ImageInputs, ImageSizes, TowerInput
from fo1agent.model.prompting import ProcessingConfig, Prompting
from fo1agent.model.stored import OwnConfig
from fo1agent.model.tokenizer_files import WHOLE, check_files, check_ids
from fo1agent.model.views import prepare

# CLIP's, of the pictures that Qwen2.5-VL's vision tower was trained with.
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
_DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)


class OnnxProcessor(Prompting):
    """Makes what the graphs take.

    Args:
        folder: holds tokenizer.json.
        config: the model's.

    Raises:
        CheckpointError: the tokenizer is missing or malformed, or is not the model's.
    """

    chat = QWEN

    def __init__(self, folder: Path, config: OwnConfig) -> None:
        self.settings = ProcessingConfig(**(config.processing.model_dump() if config.processing else {}))
        self._config = config
        check_files(folder, self.chat.tokenizers)
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / WHOLE))
        except Exception as exc:  # it raises no other
            raise CheckpointError(f"No tokenizer can be made of {folder / WHOLE}: {one_line(exc)}.") from exc
        rows = config.known_base.text_config.vocab_size
        stop, most = self.chat.stop, self.settings.max_regions
        check_ids(folder, self._tokenizer.get_vocab(), stop, rows, most, config.first_mention)
        self.stop_id = self.token_id(stop)

    # --- words -------------------------------------------------------------------------------------------------

    def _id_of(self, token: str) -> int | None:
        return self._tokenizer.token_to_id(token)

    def _text_ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _array(self, ids: Sequence[int]) -> np.ndarray:
        return np.array(ids, dtype=np.int64)

    def decode(self, ids: np.ndarray) -> str:
        """As `FO1Processor.decode`."""
        return self._spoken(self._tokenizer.decode(ids.tolist(), skip_special_tokens=False))

    # --- pictures ----------------------------------------------------------------------------------------------

    def image(self, image: Image.Image) -> ImageInputs:
        """Tower input of one upright PIL picture of any mode, as arrays.

        Raises:
            ImageError: the picture is more than 200 times as long as it is wide, or the reverse.
        """
        seen, scale = self._seen(image)
        vision = self._config.known_base.vision_config
        patches, (h, w) = self._patches(seen)
        views = prepare(seen, [view.model_dump() for view in self._config.aux.views])  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue] (only such towers have graphs)
        aux_h, aux_w = views["main"].shape[1:3]
        primary_wh = (w * vision.patch_size, h * vision.patch_size)
        sizes = ImageSizes(image.size, scale, seen.size, (aux_w, aux_h), primary_wh)
        merge = vision.spatial_merge_size
        return ImageInputs(TowerInput(patches, (h, w), (h // merge, w // merge), primary_wh), views, sizes)

    def _patches(self, image: Image.Image) -> tuple[np.ndarray, tuple[int, int]]:
        """Patches [h * w, .] float32 in blocks of merged cells, and (h, w), as transformers' Qwen2VLImageProcessor."""
        vision = self._config.known_base.vision_config
        patch, merge, frames = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
        width, height = self._size(*image.size)
        resized = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
        pixels = (resized * np.float32(1 / 255) - _MEAN) / _DEVIATION
        h, w = height // patch, width // patch
        cells = pixels.reshape(h // merge, merge, patch, w // merge, merge, patch, 3).transpose(0, 3, 1, 4, 6, 2, 5)
        repeated = np.repeat(cells[:, :, :, :, :, None], frames, axis=5)
        return repeated.reshape(h * w, -1), (h, w)

    def _size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height in whole merged cells, within the limits of pixels; transformers' `smart_resize`."""
        cell = self._config.known_base.vision_config.cell
        low, high = self.settings.min_pixels, self.settings.max_pixels
        sides = [round(side / cell) * cell for side in (width, height)]
        if math.prod(sides) > high:
            shrunk = math.sqrt(width * height / high)
            sides = [max(cell, math.floor(side / shrunk / cell) * cell) for side in (width, height)]
        elif math.prod(sides) < low:
            grown = math.sqrt(low / (width * height))
            sides = [math.ceil(side * grown / cell) * cell for side in (width, height)]
        return sides[0], sides[1]
