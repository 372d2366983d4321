"""LLaVA-OneVision as a base: the whole picture as one tile, then tiles of it, with a vector at the end of every row.

Regions look at the map of the whole picture. The tiles show a picture with a margin, which is cut off of their tokens
in whole cells, so that theirs would fit the picture only to about a cell.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import nn
from transformers import LlavaOnevisionForConditionalGeneration
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.utils.constants import IMAGENET_STANDARD_MEAN, IMAGENET_STANDARD_STD

from fo1agent.model.bases import refuse_unless
from fo1agent.model.bases.chat import QWEN
from fo1agent.model.bases.tiles import Tiled, stitched
from fo1agent.model.frames import TowerInput, Vision
from fo1agent.model.prompting import ProcessingConfig

MOST_SHAPES, MOST_TILES = 256, 12  # in all, and along a side; the released models have 36 and 6
_RATIO = re.compile(r"anyres_max_[1-9][0-9]{0,3}")


class Limited(LlavaOnevisionImageProcessorPil):
    """Transformers' own, with the most pixels of a picture, to which a larger one is shrunk before it comes here."""

    most_pixels: int = 0


class LlavaOnevision(Tiled):
    """See the module."""

    chat = replace(
        QWEN,
        opening="<|im_start|>user ",
        image_opening="",
        image_closing="\n",
        closing="<|im_end|><|im_start|>assistant\n",
        next_turn="<|im_start|>user \n",
        markers=("<|", "<image>", "<video>"),
    )

    def check(self, config: Any) -> None:
        side, layers = config.vision_config.image_size, config.vision_config.num_hidden_layers
        read = config.vision_feature_layer
        known = all(-layers - 1 <= layer <= layers for layer in ([read] if isinstance(read, int) else read))
        refuse_unless(known, "vision_feature_layer", read, f"a number from {-layers - 1} to {layers}")
        how = config.vision_feature_select_strategy
        refuse_unless(
            how == "full", "vision_feature_select_strategy", how, "'full', the only one whose cells are a grid"
        )
        ratio = config.vision_aspect_ratio
        refuse_unless(
            bool(_RATIO.fullmatch(ratio)), "vision_aspect_ratio", ratio, "'anyres_max_' and a number of tiles"
        )
        shapes = config.image_grid_pinpoints
        fit = 0 < len(shapes) <= MOST_SHAPES and all(
            len(shape) == 2 and all(0 < one <= MOST_TILES * side and one % side == 0 for one in shape)
            for shape in shapes
        )
        wanted = f"1 to {MOST_SHAPES} pairs of multiples of {side}, each at most {MOST_TILES} times that"
        refuse_unless(fit, "image_grid_pinpoints", shapes, wanted)

    def build(self, config: Any) -> Any:
        return LlavaOnevisionForConditionalGeneration(config)

    def vision_tower(self, base: Any) -> nn.Module:
        return nn.ModuleList([super().vision_tower(base), nn.ParameterList([base.model.image_newline])])

    def image_processor(self, config: Any, settings: ProcessingConfig) -> Any:
        side = config.vision_config.image_size
        processor = Limited(
            size={"height": side, "width": side},
            image_grid_pinpoints=config.image_grid_pinpoints,
            image_mean=IMAGENET_STANDARD_MEAN,
            image_std=IMAGENET_STANDARD_STD,
        )
        processor.most_pixels = settings.max_pixels
        return processor

    def tower_input(self, processor: Any, image: Image.Image, config: Any) -> TowerInput:
        # How many tiles there are follows from the picture's size, here and again in the model.
        found = processor(images=_within(image, processor.most_pixels), return_tensors="pt")
        side = config.vision_config.image_size
        cells = side // config.vision_config.patch_size
        return TowerInput(
            pixel_values=found["pixel_values"],
            grid_hw=(cells, cells),
            merged_hw=(cells, cells),
            size_wh=(side, side),
            named={"image_sizes": torch.as_tensor(found["image_sizes"])},
        )

    def encode_image(self, base: Any, seen: TowerInput, want_map: bool) -> Vision:
        found = base.model.get_image_features(seen.pixel_values, **seen.named)
        # What tokens are made of: the norm behind the last block was trained for another depth.
        layers = base.config.vision_feature_layer
        states = found.hidden_states[layers if isinstance(layers, int) else layers[-1]]
        return Vision(found.pooler_output[0], stitched(states[:1], 1, 1) if want_map else None)


def _within(image: Image.Image, most: int) -> Image.Image:
    """The picture, shrunk if it has more pixels than that."""
    factor = math.sqrt(most / (image.width * image.height))
    if factor >= 1:
        return image
    width, height = (max(int(side * factor), 1) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


ADAPTER = LlavaOnevision()
