"""Tiny models of every family that FO1 plugs into, random weights. A further family is one more row of `FAMILIES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from fo1agent.model.config import FO1Config
from fo1agent.model.fo1 import FO1
from fo1agent.model.frames import ImageInputs
from fo1agent.model.processing import FO1Processor
from tests.tiny_models import reference

VOCABULARY = 640  # rows of the word embeddings


@dataclass(frozen=True)
class Family:
    """How a tiny model of a family is made, and how the bare base is asked.

    Attributes:
        base: ids of special tokens by their text → the base's configuration.
        inputs: a picture, and where its tokens stand [1, L] → what the bare base takes beside ids and mask.
        strides: pixels of the region map's levels.
        tokens: what the chat needs beside the tokens of the tests' tokenizer.
    """

    base: Callable[[Mapping[str, int]], dict[str, Any]]
    inputs: Callable[[ImageInputs, Tensor], dict[str, Any]]
    strides: tuple[float, ...] = (4.0, 8.0, 16.0, 32.0)
    tokens: tuple[str, ...] = ()


TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 4096,
}
VISION: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "depth": 2, "out_hidden_size": 32}


def special(ids: Mapping[str, int]) -> dict[str, Any]:
    return {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }


def qwen2_5_vl(ids: Mapping[str, int]) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
    text = {key: value for key, value in TEXT.items() if key != "head_dim"} | {"rope_parameters": rope}
    return special(ids) | {"text_config": text, "vision_config": VISION | {"fullatt_block_indexes": [1]}}


def qwen3_vl(ids: Mapping[str, int]) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3], "mrope_interleaved": True}
    vision = VISION | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    return special(ids) | {"text_config": TEXT | {"rope_parameters": rope}, "vision_config": vision}


def qwen3_5(ids: Mapping[str, int]) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5, "mrope_section": [2, 1, 1]}
    linear = {f"linear_{name}_head_dim": 8 for name in ("key", "value")}
    linear |= {"linear_num_key_heads": 2, "linear_num_value_heads": 2}
    layers = {"layer_types": ["linear_attention", "full_attention"]}
    text = TEXT | linear | layers | {"rope_parameters": rope | {"mrope_interleaved": True}}
    return special(ids) | {"text_config": text, "vision_config": VISION | {"num_position_embeddings": 16}}


GEMMA = ("<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>")


def gemma3(ids: Mapping[str, int]) -> dict[str, Any]:
    # The window is shorter than a prompt, the square has 4 x 4 tokens.
    layers = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 7, "query_pre_attn_scalar": 16}
    vision = {"image_size": 32, "patch_size": 4, "num_attention_heads": 2, "num_hidden_layers": 2}
    return {
        "image_token_index": ids["<image_soft_token>"],
        "boi_token_index": ids["<start_of_image>"],
        "eoi_token_index": ids["<end_of_image>"],
        "mm_tokens_per_image": 16,
        "text_config": TEXT | layers,
        "vision_config": {"hidden_size": 32, "intermediate_size": 48, **vision},
    }


GEMMA4 = ("<bos>", "<|turn>", "<turn|>", "<|image>", "<image|>", "<|image|>")


def gemma4(ids: Mapping[str, int]) -> dict[str, Any]:
    # The last two layers take keys and values of the first two.
    layers = {"layer_types": ["sliding_attention", "full_attention"] * 2, "num_hidden_layers": 4, "sliding_window": 7}
    per_layer = {"vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 2}
    bounds = {"final_logit_softcapping": 3.0, "use_bidirectional_attention": "vision", "global_head_dim": 32}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16, "num_hidden_layers": 2}
    vision = {"patch_size": 4, "pooling_kernel_size": 2, "position_embedding_size": 64}
    return {
        "image_token_id": ids["<|image|>"],
        "boi_token_id": ids["<|image>"],
        "eoi_token_id": ids["<image|>"],
        "video_token_id": ids["<|video_pad|>"],
        "audio_token_id": ids["<|quad_start|>"],
        "text_config": TEXT | layers | per_layer | bounds,
        "vision_config": {"hidden_size": 32, "intermediate_size": 48, **heads, **vision},
    }


def places_inputs(inputs: ImageInputs, slots: Tensor) -> dict[str, Any]:
    return {"pixel_values": inputs.pixel_values, "mm_token_type_ids": slots.long(), **inputs.seen.named}


def square_inputs(inputs: ImageInputs, slots: Tensor) -> dict[str, Any]:
    return {"pixel_values": inputs.pixel_values, "token_type_ids": slots.long()}


# A ViT of 2 layers on tiles of 32 x 32 pixels.
VIT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
TILE_STRIDES = (2.0, 4.0, 8.0, 16.0)
IDEFICS3 = ("<end_of_utterance>", "<fake_token_around_image>", "<global-img>", "<row_1_col_1>", "<image>")


def idefics3(ids: Mapping[str, int]) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 1e4}
    text = TEXT | {"model_type": "llama", "rope_parameters": rope}
    return {"image_token_id": ids["<image>"], "text_config": text, "vision_config": VIT, "scale_factor": 2}


def internvl(ids: Mapping[str, int]) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 1e4}
    text = TEXT | {"model_type": "qwen3", "rope_parameters": rope}
    return {"image_token_id": ids["<IMG_CONTEXT>"], "text_config": text, "vision_config": VIT}


def llava_onevision(ids: Mapping[str, int]) -> dict[str, Any]:
    text = TEXT | {"model_type": "qwen2"}
    vision = VIT | {"model_type": "siglip_vision_model", "vision_use_head": False}
    return {
        "image_token_index": ids["<image>"],
        "video_token_index": ids["<video>"],
        "text_config": {key: value for key, value in text.items() if key != "head_dim"},
        "vision_config": vision,
        "image_grid_pinpoints": [[32, 32], [32, 64], [64, 32], [64, 64], [32, 96]],
        "vision_aspect_ratio": "anyres_max_2",  # more tokens than of two tiles are shrunk
    }


LFM2 = ("<|startoftext|>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>", "<|img_row_1_col_1|>", "<image>")


def lfm2_vl(ids: Mapping[str, int]) -> dict[str, Any]:
    text = TEXT | {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False}
    vision = {key: value for key, value in VIT.items() if key != "image_size"}
    return {
        "image_token_id": ids["<image>"],
        "text_config": {key: value for key, value in text.items() if key != "head_dim"},
        "vision_config": vision | {"num_patches": 16, "vision_use_head": False},  # tiles of 64 x 64
        "projector_hidden_size": 32,
    }


GLM = (
    "[gMASK]",
    "<sop>",
    "<|user|>",
    "<|assistant|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|image|>",
    "<|video|>",
)


def glm4v(ids: Mapping[str, int]) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5, "mrope_section": [1, 1, 2]}
    return {
        "image_token_id": ids["<|image|>"],
        "video_token_id": ids["<|video|>"],
        "image_start_token_id": ids["<|begin_of_image|>"],
        "image_end_token_id": ids["<|end_of_image|>"],
        "text_config": TEXT | {"rope_parameters": rope},
        "vision_config": VISION | {"image_size": 56},
    }


def pixel_inputs(inputs: ImageInputs, slots: Tensor) -> dict[str, Any]:
    return {"pixel_values": inputs.pixel_values, **inputs.seen.named}


def grid_inputs(inputs: ImageInputs, slots: Tensor) -> dict[str, Any]:
    grid = torch.tensor([[1, *inputs.grid_hw]])
    return {"pixel_values": inputs.pixel_values, "image_grid_thw": grid, "mm_token_type_ids": slots.int()}


FAMILIES: dict[str, Family] = {
    "qwen2_5_vl": Family(qwen2_5_vl, grid_inputs, (3.5, 7.0, 14.0, 28.0)),
    "qwen3_vl": Family(qwen3_vl, grid_inputs),
    "qwen3_5": Family(qwen3_5, grid_inputs),
    "gemma4": Family(gemma4, places_inputs, (1.0, 2.0, 4.0, 8.0), GEMMA4),
    "gemma3": Family(gemma3, square_inputs, (1.0, 2.0, 4.0, 8.0), GEMMA),
    "idefics3": Family(idefics3, pixel_inputs, TILE_STRIDES, IDEFICS3),
    "smolvlm": Family(idefics3, pixel_inputs, TILE_STRIDES, IDEFICS3),
    "internvl": Family(internvl, pixel_inputs, TILE_STRIDES, ("<img>", "</img>", "<IMG_CONTEXT>")),
    "llava_onevision": Family(llava_onevision, pixel_inputs, TILE_STRIDES, ("<image>", "<video>")),
    "lfm2_vl": Family(lfm2_vl, pixel_inputs, TILE_STRIDES, LFM2),
    "glm4v": Family(glm4v, grid_inputs, (3.5, 7.0, 14.0, 28.0), GLM),
}

AUX: dict[str, Any] = {
    "type": "davit",
    "depths": [1, 1, 1, 1],
    "patch_size": [7, 3, 3, 3],
    "patch_stride": [4, 2, 2, 2],
    "patch_padding": [3, 1, 1, 1],
    "patch_prenorm": [False, True, True, True],
    "window_size": 4,
    "embed_dim": [8, 8, 16, 16],
    "num_heads": [1, 1, 2, 2],
    "num_groups": [1, 1, 2, 2],
}


@cache
def tokenizer(tokens: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """The tests' tokenizer with further special tokens."""
    whole = PreTrainedTokenizerFast(
        tokenizer_object=reference()[1].tokenizer.backend_tokenizer, pad_token="<|endoftext|>", eos_token="<|im_end|>"
    )
    whole.add_tokens(list(tokens), special_tokens=True)
    return whole


@cache
def tiny_base(name: str) -> tuple[FO1, FO1Processor]:
    """A model of the family and its processor. Do not change its weights."""
    return made(name, {"match": {"width": 16}, "iou": {}})


def made(name: str, heads: Mapping[str, Any], **text: Any) -> tuple[FO1, FO1Processor]:
    """A new model of the family and its processor, with more said of its decoder."""
    family = FAMILIES[name]
    words = tokenizer(family.tokens)
    ids = words.get_vocab()
    base = family.base(ids) | {"model_type": name, "tie_word_embeddings": True}
    ends = {"bos_token_id": None, "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"]}
    base["text_config"] |= ends | text
    config = FO1Config(
        base_config=base,
        aux=AUX,
        region={"roi_size": 2, "primary_channels": 32, "fpn_channels": 8, "fpn_strides": list(family.strides)},
        region_projector={"layers": 2, "hidden_size": 32},
        processing={"max_pixels": 128 * 128, "max_regions": 20},
        heads=heads,
    )
    torch.manual_seed(0)
    with torch.inference_mode(False):
        model = FO1(config).eval()
        for parameter in model.base.parameters():
            if parameter.ndim > 1:  # large enough that a wrong mask shows
                torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        return model, FO1Processor(words, config)
