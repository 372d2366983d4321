"""Idefics3 and SmolVLM as bases: tiles, each announced by words, and the whole picture behind them.

Regions look at the map that the tiles make together. The picture as a whole is one more tile, whose cells are up to
four times as wide: too coarse for small boxes, while what surrounds a box is what the auxiliary tower sees anyway. A
picture of one tile has only that map.
"""

from __future__ import annotations

import math
from typing import Any

from PIL import Image
from torch import nn
from transformers import Idefics3ForConditionalGeneration
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from fo1agent.model.bases.chat import Chat
from fo1agent.model.bases.tiles import Tiled, stitched
from fo1agent.model.frames import TowerInput, Vision
from fo1agent.model.prompting import ProcessingConfig

MOST_TILES = 4  # along a side, as the released models have it
AROUND = "<fake_token_around_image>"


class Idefics3(Tiled):
    """See the module. The chat is that of the SmolVLMs of this type; Idefics3-8B-Llama3 begins it otherwise.

    Attributes:
        processor: transformers' class that cuts pictures. The one around it wants num2words, for videos.
    """

    chat = Chat(
        opening="<|im_start|>User:",
        image_opening="",
        image_closing="",
        closing="<end_of_utterance>\nAssistant:",
        stop="<end_of_utterance>",
        next_turn="\nUser: ",
        tokenizers=("GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend"),
        markers=("<|", "<end_of_utterance>", AROUND, "<global-img>", "<row_", "<image>"),
    )
    processor: Any = Idefics3ImageProcessorPil

    def build(self, config: Any) -> Any:
        return Idefics3ForConditionalGeneration(config)

    def vision_tower(self, base: Any) -> nn.Module:
        return nn.ModuleList([base.model.vision_model, base.model.connector])

    def decoder(self, base: Any) -> Any:
        return base.model.text_model

    def image_processor(self, config: Any, settings: ProcessingConfig) -> Any:
        side = config.vision_config.image_size
        tiles = min(max(math.isqrt(settings.max_pixels) // side, 1), MOST_TILES)
        return self.processor(
            size={"longest_edge": tiles * side}, max_image_size={"longest_edge": side}, return_row_col_info=True
        )

    def tower_input(self, processor: Any, image: Image.Image, config: Any) -> TowerInput:
        found = processor(images=image, return_tensors="pt")
        rows, columns = int(found["rows"][0][0]), int(found["cols"][0][0])  # 0 x 0 for one tile
        vision = config.vision_config
        cells = vision.image_size // vision.patch_size
        merged = cells // config.scale_factor
        high, wide = max(rows, 1), max(columns, 1)
        return TowerInput(
            pixel_values=found["pixel_values"],
            grid_hw=(high * cells, wide * cells),
            merged_hw=(high * merged, wide * merged),
            size_wh=(wide * cells * vision.patch_size, high * cells * vision.patch_size),
            pieces=pieces(rows, columns, merged**2),
        )

    def encode_image(self, base: Any, seen: TowerInput, want_map: bool) -> Vision:
        found = base.model.get_image_features(seen.pixel_values)
        vision = base.config.vision_config
        rows, columns = (cells // (vision.image_size // vision.patch_size) for cells in seen.grid_hw)
        where = stitched(found.last_hidden_state[: rows * columns], rows, columns) if want_map else None
        return Vision(found.pooler_output[0], where)


def pieces(rows: int, columns: int, tokens: int) -> tuple[str | int, ...]:
    """What stands for a picture of rows x columns tiles and the whole; of 0 x 0 the whole alone."""
    found: list[str | int] = []
    between = ""
    for row in range(1, rows + 1):
        for column in range(1, columns + 1):
            found += [f"{between}{AROUND}<row_{row}_col_{column}>", tokens]
            between = ""
        between = "\n"
    blank = "\n" if rows else ""
    return (*found, f"{between}{blank}{AROUND}<global-img>", tokens, AROUND)


ADAPTER = Idefics3()
