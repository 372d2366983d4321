"""Pictures and boxes of a request → what the worker takes, and the prompt's ids with places for them.

Boxes come in the request's `mm_processor_kwargs`: `{"boxes": [[[x1, y1, x2, y2], …], …]}`, a list for each picture of
the prompt. A prompt names a picture by `<|vision_start|><|image_pad|><|vision_end|>`; in its place come its tokens and,
behind them, `<regionN>` with a place for a region token for each box.
"""

# vLLM has an environment of its own, in which nothing else is checked.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BatchFeature
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
from vllm.multimodal.parse import MultiModalDataItems
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
    PromptUpdate,
    PromptUpdateDetails,
)

from fo1agent.errors import BoxError, InputError
from fo1agent.integrations.vllm.config import ServedConfig
from fo1agent.integrations.vllm.items import ON_CPU, Item, merged_hw
from fo1agent.model.finding import find_folder
from fo1agent.model.processing import FO1Processor
from fo1agent.model.prompting import IMAGE_SLOT
from fo1agent.regions.regions import check_boxes, shown

IMAGE = "<|image_pad|>"
_BOXES, _FIRST = "boxes", "first"


class _Placed(dict[str, Any]):
    """Boxes of some pictures of a prompt, and the numbers of their first; no request can hold it."""


@lru_cache(maxsize=4)
def processor_of(name_or_folder: str) -> FO1Processor:
    """fo1agent's processor of a model."""
    return FO1Processor.from_folder(find_folder(name_or_folder)[0])


class Info(BaseProcessingInfo):
    """What vLLM asks about the model before it has a request."""

    @property
    def own(self) -> FO1Processor:
        """fo1agent's processor."""
        return processor_of(self.model_id)

    def get_hf_config(self) -> ServedConfig:
        return self.ctx.get_hf_config(ServedConfig)

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        return {"image": None}

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        settings, vision = self.own.settings, self.get_hf_config().base_config.vision_config
        cell = vision.patch_size * vision.spatial_merge_size
        return {"image": settings.max_pixels // cell**2 + settings.max_regions}


class DummyInputs(BaseDummyInputsBuilder[Info]):
    """The largest request, by which vLLM measures memory."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        chat = self.info.own.chat
        return (chat.image_opening + IMAGE + chat.image_closing) * mm_counts.get("image", 0)

    def get_dummy_mm_data(self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Any) -> Any:
        settings = self.info.own.settings
        side = min(settings.max_side, int(settings.max_pixels**0.5))
        count, asked = mm_counts.get("image", 0), mm_options.get("image")
        return {"image": self._get_dummy_images(width=side, height=side, num_images=count, overrides=asked)}


class Processor(BaseMultiModalProcessor[Info]):
    """See the module. What does not depend on the words is kept by vLLM's caches, by picture, boxes and number."""

    # --- which boxes belong to which picture -------------------------------------------------------------------

    def _places(self, told: Mapping[str, Any], items: MultiModalDataItems) -> list[tuple[np.ndarray, int]]:
        """Boxes [N, 4] of each picture and the number of its first.

        Raises:
            InputError: there are not as many lists of boxes as pictures, or more boxes than a prompt holds.
            BoxError: a list holds what is no box.
        """
        pictures = items.get_all_counts().get("image", 0)
        given, most = told.get(_BOXES), self.info.own.settings.max_regions
        lists = [None] * pictures if given is None else given
        if not isinstance(lists, (list, tuple)) or len(lists) != pictures:
            raise InputError(
                f"mm_processor_kwargs.boxes must hold a list of boxes for each of {pictures} pictures, got "
                f"{shown(given)}."
            )
        boxes = [np.zeros((0, 4)) if own is None else _boxes(own, k) for k, own in enumerate(lists)]
        counts = [len(own) for own in boxes]
        if sum(counts) > most:
            raise InputError(f"The pictures of a prompt have {sum(counts)} boxes together; at most {most} are read.")
        firsts = told[_FIRST] if isinstance(told, _Placed) else (np.cumsum(counts) - counts).tolist()
        return list(zip(boxes, firsts, strict=True))

    def _get_mm_hashes(self, inputs: Any) -> Any:
        places = self._places(inputs.hf_processor_mm_kwargs, inputs.mm_data_items)
        pictures = super()._get_mm_hashes(replace(inputs, hf_processor_mm_kwargs={})).get("image", [])
        pairs = zip(pictures, places, strict=True)
        return {
            "image": [
                hashlib.sha256(f"{picture} {first} ".encode() + boxes.tobytes()).hexdigest()
                for picture, (boxes, first) in pairs
            ]
        }

    def _get_cache_missing_processor_kwargs(self, inputs: Any, mm_is_cached: Mapping[str, Sequence[bool]]) -> Any:
        places = self._places(inputs.hf_processor_mm_kwargs, inputs.mm_data_items)
        missing = [place for place, known in zip(places, mm_is_cached.get("image", ()), strict=True) if not known]
        return _Placed({_BOXES: [boxes for boxes, _ in missing], _FIRST: [first for _, first in missing]})

    # --- tensors -----------------------------------------------------------------------------------------------

    def _apply_hf_processor_main(self, mm_items: MultiModalDataItems, hf_kwargs: Mapping[str, object]) -> BatchFeature:
        places = self._places(hf_kwargs, mm_items)
        made = []
        for k, (boxes, first) in enumerate(places):
            inputs = self.info.own.image(mm_items["image"].get(k))
            made.append(Item(inputs, torch.from_numpy(boxes), first).tensors())
        return BatchFeature({name: [one[name] for one in made] for name in (made[0] if made else ())})

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {name: MultiModalFieldConfig.batched("image", keep_on_cpu=name in ON_CPU) for name in hf_inputs}

    # --- the prompt --------------------------------------------------------------------------------------------

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, Any],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        own, made = self.info.own, out_mm_kwargs.get("image", [])
        image = own.token_id(IMAGE)
        start, end = (own.token_id(text.strip()) for text in (own.chat.image_opening, own.chat.image_closing))

        def replacement(k: int) -> PromptUpdateDetails:
            tensors = made[k].get_data()
            rows, columns = merged_hw(tensors["layout"])
            first, count = int(tensors["first"]), len(tensors["boxes"])
            parts = _region_parts(own, first, count)
            full = [start, *[image] * (rows * columns), end, *(image if one < 0 else one for one in parts)]
            return PromptUpdateDetails.select_token_id(full, image)

        return [PromptReplacement("image", [start, image, end], replacement)]

    def _postprocess_prompt(self, prompt: list[int]) -> list[int]:
        """With the line's end that FO1 has behind each picture, which the templates of other models leave away."""
        own = self.info.own
        end, line = own.token_id(own.chat.image_closing.strip()), own.text_ids("\n").tolist()
        made: list[int] = []
        for k, one in enumerate(prompt):
            made.append(one)
            if one == end and not own.tokenizer.decode(prompt[k + 1 : k + 2]).startswith("\n"):
                made += line
        return made

    def get_dummy_inputs(self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Any) -> Any:
        made = super().get_dummy_inputs(seq_len, mm_counts, mm_options)
        count, most = mm_counts.get("image", 0), self.info.own.settings.max_regions
        boxes = [[[0.0, 0.0, 8.0, 8.0]] * (most // max(count, 1))] * count
        return replace(made, hf_processor_mm_kwargs={_BOXES: boxes})


def _boxes(given: Any, picture: int) -> np.ndarray:
    """Boxes of one picture of a prompt, [N, 4] float64."""
    try:
        return np.ascontiguousarray(check_boxes(given), dtype=np.float64)
    except BoxError as exc:
        raise BoxError(f"Of picture {picture}: {exc}") from exc


def _region_parts(own: FO1Processor, first: int, count: int) -> list[int]:
    """Ids of a picture's regions, with slots (negative) for their tokens."""
    ids: Tensor = own.prefix_ids([first, count])
    places = (ids == IMAGE_SLOT).nonzero().flatten().tolist()
    return ids[places[1] + 2 :].tolist() if count else []
