"""LFM2-VL as a base: pictures as they are shaped, large ones as tiles, and a decoder that cannot branch.

Most layers of the decoder are short convolutions over its row. No mask divides a row for them, so what shares a row is
one sequence, and their cache is overwritten rather than appended to. Regions look at the map that tiles make together.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from PIL import Image
from transformers import Cache, DynamicCache, Lfm2VlForConditionalGeneration
from transformers.models.lfm2_vl.image_processing_lfm2_vl import Lfm2VlImageProcessor

from fo1agent.model.bases.chat import Chat
from fo1agent.model.bases.tiles import Tiled, stitched
from fo1agent.model.frames import TowerInput, Vision
from fo1agent.model.prompting import ProcessingConfig

MOST_TILES = 10  # as the released models have it


class Lfm2VL(Tiled):
    """See the module."""

    chat = Chat(
        opening="<|startoftext|><|im_start|>user\n",
        image_opening="<|image_start|>",
        image_closing="<|image_end|>",
        closing="<|im_end|>\n<|im_start|>assistant\n",
        stop="<|im_end|>",
        next_turn="\n<|im_start|>user\n",
        tokenizers=("PreTrainedTokenizerFast", "TokenizersBackend"),
        markers=("<|", "<image>"),
    )
    can_branch = False

    def build(self, config: Any) -> Any:
        return Lfm2VlForConditionalGeneration(config)

    def cache(self, config: Any) -> Cache:
        return DynamicCache(config=config.get_text_config())

    def image_processor(self, config: Any, settings: ProcessingConfig) -> Any:
        tile, patch = _tile(config), config.vision_config.patch_size
        tiles = min(settings.max_pixels // tile**2, MOST_TILES)
        tokens = max(min(settings.max_pixels, tile**2) // (patch * config.downsample_factor) ** 2, 1)
        return Lfm2VlImageProcessor(
            encoder_patch_size=patch,
            downsample_factor=config.downsample_factor,
            tile_size=tile,
            min_image_tokens=max(tokens // 4, 1),
            max_image_tokens=tokens,
            do_image_splitting=tiles > 1,
            max_tiles=max(tiles, 2),
            return_row_col_info=True,
        )

    def tower_input(self, processor: Any, image: Image.Image, config: Any) -> TowerInput:
        found = processor(images=image, return_tensors="pt")
        rows, columns = int(found["image_rows"][0]), int(found["image_cols"][0])
        shapes, patch = found["spatial_shapes"], config.vision_config.patch_size
        h, w = (int(cells) for cells in shapes[0])
        numbers = (shapes // config.downsample_factor).prod(1).tolist()
        return TowerInput(
            pixel_values=found["pixel_values"],
            grid_hw=(rows * h, columns * w),
            merged_hw=(rows * h // config.downsample_factor, columns * w // config.downsample_factor),
            size_wh=(columns * w * patch, rows * h * patch),
            pieces=pieces(rows, columns, numbers) if rows * columns > 1 else (),
            named={"spatial_shapes": shapes, "pixel_attention_mask": found["pixel_attention_mask"]},
        )

    def encode_image(self, base: Any, seen: TowerInput, want_map: bool) -> Vision:
        found = base.model.get_image_features(seen.pixel_values, **seen.named)
        tokens = torch.cat(found.pooler_output)
        if not want_map:
            return Vision(tokens)
        h, w = seen.named["spatial_shapes"][0].tolist()
        rows, columns = seen.grid_hw[0] // h, seen.grid_hw[1] // w
        return Vision(tokens, stitched(found.last_hidden_state[: rows * columns, : h * w], rows, columns, (h, w)))


def _tile(config: Any) -> int:
    """Pixels of a tile's side: twice the grid that the tower's positions were made for, as released models have it."""
    return 2 * math.isqrt(config.vision_config.num_patches) * config.vision_config.patch_size


def pieces(rows: int, columns: int, tokens: list[int]) -> tuple[str | int, ...]:
    """What stands for a picture of rows x columns tiles and the whole, of so many tokens each."""
    names = [f"<|img_row_{row + 1}_col_{column + 1}|>" for row in range(rows) for column in range(columns)]
    return tuple(one for pair in zip([*names, "<|img_thumbnail|>"], tokens, strict=True) for one in pair)


ADAPTER = Lfm2VL()
