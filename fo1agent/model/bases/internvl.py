"""InternVL3 and 3.5 as bases: tiles in raster order, then the whole picture as one more, all without words between.

Regions look at the map that the tiles make together; the whole picture is left out of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from PIL import Image
from transformers import InternVLForConditionalGeneration
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import (
    GotOcr2ImageProcessorPil,
    get_optimal_tiled_canvas,
)
from transformers.utils.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from fo1agent.model.bases.chat import QWEN
from fo1agent.model.bases.tiles import Tiled, one_side, stitched
from fo1agent.model.frames import TowerInput, Vision
from fo1agent.model.prompting import ProcessingConfig

MOST_TILES = 12  # as the released models have it


class InternVL(Tiled):
    """See the module."""

    chat = replace(
        QWEN,
        opening="<|im_start|>user\n",
        image_opening="<img>",
        image_closing="</img>\n",
        markers=("<|", "<img>", "</img>", "<IMG_CONTEXT>"),
    )

    def build(self, config: Any) -> Any:
        return InternVLForConditionalGeneration(config)

    def image_processor(self, config: Any, settings: ProcessingConfig) -> Any:
        side = one_side(config.vision_config.image_size)
        return GotOcr2ImageProcessorPil(
            size={"height": side, "width": side},
            crop_to_patches=True,
            max_patches=min(max(settings.max_pixels // side**2, 1), MOST_TILES),
            image_mean=IMAGENET_DEFAULT_MEAN,
            image_std=IMAGENET_DEFAULT_STD,
        )

    def tower_input(self, processor: Any, image: Image.Image, config: Any) -> TowerInput:
        side, patch = (one_side(getattr(config.vision_config, name)) for name in ("image_size", "patch_size"))
        columns, rows = get_optimal_tiled_canvas(
            (image.height, image.width), (side, side), processor.min_patches, processor.max_patches
        )
        cells = side // patch
        merged = int(cells * config.downsample_ratio)
        return TowerInput(
            pixel_values=processor(images=image, return_tensors="pt")["pixel_values"],
            grid_hw=(rows * cells, columns * cells),
            merged_hw=(rows * merged, columns * merged),
            size_wh=(columns * cells * patch, rows * cells * patch),
        )

    def encode_image(self, base: Any, seen: TowerInput, want_map: bool) -> Vision:
        found = base.model.get_image_features(seen.pixel_values)
        vision = base.config.vision_config
        side = one_side(vision.image_size) // one_side(vision.patch_size)
        rows, columns = (cells // side for cells in seen.grid_hw)
        # A class token stands before the cells of each tile.
        where = stitched(found.last_hidden_state[: rows * columns, 1:], rows, columns) if want_map else None
        return Vision(found.pooler_output.flatten(0, 1), where)


ADAPTER = InternVL()
