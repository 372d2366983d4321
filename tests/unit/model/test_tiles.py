"""Bases that cut a picture into tiles: tiles and words are those of transformers' own processors; their map; limits."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    Idefics3Processor,
    InternVLProcessor,
    InternVLVideoProcessor,
    Lfm2VlProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
)

from fo1agent.model.processing import FO1Processor
from fo1agent.model.prompting import ProcessingConfig
from fo1agent.model.sequence import IMAGE_SLOT
from tests.tiny_bases import tiny_base

SIZES = [(90, 64), (64, 100), (32, 32), (300, 20), (128, 128)]


def noise(size: tuple[int, int]) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def idefics3(ours: FO1Processor) -> Any:
    return Idefics3Processor(ours.image_processor, copy.deepcopy(ours.tokenizer), image_seq_len=4)


def internvl(ours: FO1Processor) -> Any:
    words = copy.deepcopy(ours.tokenizer)
    for name, token in (("start_image", "<img>"), ("end_image", "</img>"), ("context_image", "<IMG_CONTEXT>")):
        setattr(words, f"{name}_token", token)
        setattr(words, f"{name}_token_id", words.convert_tokens_to_ids(token))
    words.video_token = "<video>"
    return InternVLProcessor(ours.image_processor, words, InternVLVideoProcessor(), image_seq_length=4)


def llava_onevision(ours: FO1Processor) -> Any:
    return LlavaOnevisionProcessor(
        ours.image_processor,
        copy.deepcopy(ours.tokenizer),
        LlavaOnevisionVideoProcessor(),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_2",
    )


def lfm2_vl(ours: FO1Processor) -> Any:
    return Lfm2VlProcessor(ours.image_processor, copy.deepcopy(ours.tokenizer))


THEIRS: dict[str, tuple[Callable[[FO1Processor], Any], str]] = {
    "idefics3": (idefics3, "<|im_start|>User:<image>What?<end_of_utterance>\nAssistant:"),
    "internvl": (internvl, "<|im_start|>user\n<IMG_CONTEXT>\nWhat?<|im_end|>\n<|im_start|>assistant\n"),
    "lfm2_vl": (lfm2_vl, "<|startoftext|><|im_start|>user\n<image>What?<|im_end|>\n<|im_start|>assistant\n"),
    "llava_onevision": (llava_onevision, "<|im_start|>user <image>\nWhat?<|im_end|><|im_start|>assistant\n"),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", sorted(THEIRS))
def test_ids_and_tiles_are_those_of_transformers_own_processor(name: str, size: tuple[int, int]) -> None:
    model, ours = tiny_base(name)
    make, text = THEIRS[name]
    seen = ours._seen(noise(size))[0]
    wanted = make(ours)(images=[seen], text=[text], return_tensors="pt")
    inputs = ours.image(noise(size))
    tokens = model.encode_image(inputs).image_tokens
    ids = ours.prompt_ids([0], "What?")
    at = int((ids == IMAGE_SLOT).nonzero())
    own = torch.full((len(tokens),), IMAGE_SLOT) if inputs.ids is None else inputs.ids
    ids = torch.cat([ids[:at], own, ids[at + 1 :]])
    ids[ids == IMAGE_SLOT] = model.config.base_config.image_token_id
    assert ids.tolist() == wanted["input_ids"][0].tolist()
    assert torch.equal(inputs.pixel_values, wanted["pixel_values"])


@pytest.mark.parametrize(("name", "tile"), [("idefics3", 32), ("smolvlm", 32), ("internvl", 32), ("lfm2_vl", 64)])
@torch.inference_mode()
def test_the_cells_of_a_tile_lie_on_the_map_where_it_lies_in_the_picture(name: str, tile: int) -> None:
    model, processor = tiny_base(name)
    plain = Image.new("RGB", (128, 2 * tile), "gray")
    marked = plain.copy()
    box = (64, tile, 64 + tile, 2 * tile)  # one of two rows of tiles, of cells of 8 x 8 pixels
    marked.paste("white", box)
    inputs = processor.image(marked)
    before, after = (model.encode_image(one).primary_map for one in (processor.image(plain), inputs))
    cells = tile // 8
    assert inputs.grid_hw == (2 * cells, 16)
    assert before is not None
    assert after is not None
    moved = (after != before)[0].any(0)
    wanted = torch.zeros(2 * cells, 16, dtype=torch.bool)
    wanted[cells:, 8 : 8 + cells] = True
    assert torch.equal(moved, wanted)
    assert (inputs.sizes.to_primary([box]) / 8).tolist() == [[8, cells, 8 + cells, 2 * cells]]


@torch.inference_mode()
def test_the_map_of_llava_onevision_is_that_of_its_first_tile() -> None:
    model, processor = tiny_base("llava_onevision")
    features = model.encode_image(processor.image(noise((90, 64))))
    assert features.primary_map is not None
    projected = model.base.model.multi_modal_projector(features.primary_map.flatten(2).mT)[0]
    torch.testing.assert_close(projected, features.image_tokens[:16])


@pytest.mark.parametrize("name", ["glm4v", "idefics3", "internvl", "lfm2_vl", "llava_onevision", "qwen3_vl"])
def test_no_more_pixels_of_a_picture_are_looked_at_than_a_model_allows(name: str) -> None:
    model, _ = tiny_base(name)
    adapter, config = model.adapter, model.config.base_config
    for most in (4000, 1_000_000):
        processor = adapter.image_processor(config, ProcessingConfig(max_pixels=most))
        seen = adapter.tower_input(processor, noise((256, 256)), config)
        width, height = seen.named.get("image_sizes", [seen.size_wh])[0]
        assert (width * height <= 4000) == (most == 4000)


@pytest.mark.parametrize("name", ["glm4v", "idefics3", "internvl", "lfm2_vl", "llava_onevision", "smolvlm"])
def test_the_vision_tower_holds_all_that_image_tokens_are_made_with(name: str) -> None:
    # What is kept of frozen towers is found again by their weights.
    model, _ = tiny_base(name)
    adapter, base = model.adapter, model.base
    language = {id(part) for module in (adapter.decoder(base), base.lm_head) for part in module.parameters()}
    wanted = {key for key, part in base.named_parameters() if id(part) not in language}
    found = {id(part) for part in adapter.vision_tower(base).parameters()}
    assert {key for key, part in base.named_parameters() if id(part) in found} == wanted
