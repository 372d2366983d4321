"""VLX-Seek 1.5's layout: a tiny folder of random weights in it loads strictly, and computes what its code describes."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.ops import roi_align
from transformers import Qwen3_5ForConditionalGeneration
from transformers.initialization import no_init_weights

import fo1agent
from fo1agent.errors import CheckpointError, InputError
from fo1agent.model import weights
from fo1agent.model.config import FO1Config
from fo1agent.model.fo1 import FO1
from fo1agent.model.processing import FO1Processor
from fo1agent.model.region_encoder import box_embedding
from fo1agent.model.vlx_seek import own_tensors, vlx_config
from fo1agent.regions.regions import Regions
from tests.tiny_bases import AUX, qwen3_5, tiny_base, tokenizer

WIDTH, LAYERS, HIDDEN, PATCH, GRID = 16, 4, 37, 16, 8  # of C-RADIO: channels, blocks, MLP, pixels, position table
OUT, AUX_OUT = 4, 6  # channels of the levels of both pyramids
TOWER = "model.vision_tower_aux.image_tower.radio_model."
HFRE = "model.object_vp_extractor."
MEAN, STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]
BOXES = [[5.0, 6.0, 60.0, 40.0], [30.0, 3.0, 120.0, 80.0], [0.0, 2.0, 20.0, 95.0]]


def config_json(ids: dict[str, int]) -> dict[str, Any]:
    base = qwen3_5(ids)
    ends = {"bos_token_id": None, "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"]}
    return {
        **base,
        "text_config": {**base["text_config"], **ends},
        "architectures": ["VLXSeek1_5ForCausalLM"],
        "model_type": "vlx_seek_1_5",
        "tie_word_embeddings": True,
        "mm_vision_tower": "Qwen3.5",
        "mm_vision_tower_aux": "C-RADIOv4-SO400M",
        "vision_aux_config": {
            "args": {"model": "vit_so400m_patch16_224", "cpe_max_size": GRID * PATCH, "num_cls_tokens": 3},
            "num_attention_heads": 2,
            "patch_size": PATCH,
            "version": "c-radio_v4-so400m",
        },
        "mm_object_hidden_size": 4 * (OUT + AUX_OUT),
        "mm_use_vision_tower_object_feature": True,
        "mm_use_simpleFPN_for_vt": True,
        "mm_use_simpleFPN_for_vt_aux": True,
        "mm_simpleFPN_out_channels_for_vt": OUT,
        "mm_object_feature_combination": "concat",
        "mm_roi_algined": True,
        "mm_bbox_order_mode": "raster",
        "mm_projector_type": "identity",
    }


def pyramid(
    prefix: str, channels: int, out: int, factors: tuple[float, ...], stride: int
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a SimpleFP, as its class makes them."""
    shapes: dict[str, tuple[int, ...]] = {}
    for factor in factors:
        level, place, width = f"{prefix}simfp_{int(np.log2(stride / factor))}.", 0, channels
        for doubling in range(int(np.log2(max(factor, 1)))):
            if doubling:
                shapes |= {f"{level}{place}.{name}": (width,) for name in ("weight", "bias")}
                place += 2  # and a GELU
            shapes |= {f"{level}{place}.weight": (width, width // 2, 2, 2), f"{level}{place}.bias": (width // 2,)}
            place, width = place + 1, width // 2
        place += factor < 1  # a pooling
        for side, given in ((1, width), (3, out)):
            shapes[f"{level}{place}.weight"] = (out, given, side, side)
            shapes |= {f"{level}{place}.norm.{name}": (out,) for name in ("weight", "bias")}
            place += 1
    return shapes


def tower() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "patch_generator.embedder.weight": (WIDTH, 3 * PATCH**2),
        "patch_generator.pos_embed": (1, GRID**2, WIDTH),
        "patch_generator.cls_token.token": (8, WIDTH),
    }
    for block in range(LAYERS):
        for name, (given, out) in {
            "attn.qkv": (WIDTH, 3 * WIDTH), "attn.proj": (WIDTH, WIDTH),
            "mlp.fc1": (WIDTH, HIDDEN), "mlp.fc2": (HIDDEN, WIDTH),
        }.items():  # fmt: skip
            shapes |= {f"blocks.{block}.{name}.weight": (out, given), f"blocks.{block}.{name}.bias": (out,)}
        for name in ("norm1", "norm2"):
            shapes |= {f"blocks.{block}.{name}.{part}": (WIDTH,) for part in ("weight", "bias")}
    return {f"{TOWER}model.{name}": shape for name, shape in shapes.items()}


def tensors(base: torch.nn.Module, width: int) -> dict[str, Tensor]:
    """Random weights under VLX-Seek's names."""
    shapes = tower()
    shapes |= pyramid(f"{HFRE}simple_fpn.", width, OUT, (8, 4, 2, 1), 32)
    shapes |= pyramid(f"{HFRE}simple_fpn_aux.", WIDTH, AUX_OUT, (4, 2, 1, 0.5), 16)
    size = 4 * (OUT + AUX_OUT)
    for place, given in ((0, size), (2, width)):
        shapes |= {
            f"model.mm_projector_aux.{place}.weight": (width, given),
            f"model.mm_projector_aux.{place}.bias": (width,),
        }
    made = {name: torch.randn(shape) * 0.2 for name, shape in sorted(shapes.items())}
    made |= {
        f"{TOWER}input_conditioner.norm_{k}": torch.tensor(v)[:, None, None] for k, v in (("mean", MEAN), ("std", STD))
    }
    made[f"{TOWER}summary_idxs"] = torch.tensor([0, 1])
    for name, one in base.state_dict().items():
        if name != "lm_head.weight":
            made[name.replace("model.visual.", "model.vision_tower.visual.")] = one.clone()
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("any") / "seek"
    words = tokenizer(("<objfeat>",))
    words.save_pretrained(made)
    for path in made.iterdir():
        path.write_text(re.sub(r"<region(\d+)>", r"<obj\1>", path.read_text("utf-8")), "utf-8")
    said = config_json(words.get_vocab())
    torch.manual_seed(0)
    base = FO1Config(base_config={**qwen3_5(words.get_vocab()), "model_type": "qwen3_5", "tie_word_embeddings": True})
    stock = Qwen3_5ForConditionalGeneration(base.base_config)
    save_file(tensors(stock, said["vision_config"]["out_hidden_size"]), made / "model.safetensors", {"format": "pt"})
    (made / "config.json").write_text(json.dumps(said), "utf-8")
    return made


@pytest.fixture(scope="module")
def pair(folder: Path) -> tuple[FO1, FO1Processor]:
    return weights.load(folder)


def picture(size: tuple[int, int] = (128, 96)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def test_every_weight_finds_its_place(pair: tuple[FO1, FO1Processor], folder: Path) -> None:
    model, stored = pair[0], load_file(folder / "model.safetensors")
    state = model.state_dict()
    layer = "aux.backbone.encoder.layer.2."
    fused = torch.cat([state[f"{layer}attention.{q}_proj.weight"] for q in "qkv"])
    assert torch.equal(fused, stored[f"{TOWER}model.blocks.2.attn.qkv.weight"])
    assert torch.equal(state[f"{layer}attention.o_proj.bias"], stored[f"{TOWER}model.blocks.2.attn.proj.bias"])
    assert torch.equal(state[f"{layer}layer_scale1.lambda1"], torch.ones(WIDTH))
    assert torch.equal(state["region_encoder.simple_fpn.simfp_1.6.bias"], stored[f"{HFRE}simple_fpn.simfp_2.6.bias"])
    assert torch.equal(
        state["region_encoder.aux_fpn.simfp_4.2.norm.bias"], stored[f"{HFRE}simple_fpn_aux.simfp_5.2.norm.bias"]
    )
    assert model.base.lm_head.weight is model.base.model.language_model.embed_tokens.weight
    # Each number of the checkpoint is one of the model's, but for what normalises pixels and indexes the summary.
    scales = 2 * LAYERS * WIDTH
    counted = sum(one.numel() for name, one in stored.items() if "input_cond" not in name and "summary" not in name)
    own = {id(p): p.numel() for p in model.parameters()}
    assert counted == sum(own.values()) - scales


def test_the_published_tower_s_tensors_find_their_place_in_one_of_its_size(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """C-RADIOv4-SO400M, whose heads follow from its name; without memory for its numbers."""
    said = json.loads((folder / "config.json").read_text("utf-8"))
    del said["vision_aux_config"]["num_attention_heads"]
    sizes = {"WIDTH": 1152, "LAYERS": 27, "HIDDEN": 4304, "GRID": 128}
    for name, size in sizes.items():
        monkeypatch.setattr(f"{__name__}.{name}", size)
    shapes = tower() | pyramid(f"{HFRE}simple_fpn_aux.", 1152, AUX_OUT, (4, 2, 1, 0.5), 16)
    stored = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    config = vlx_config(said, stored)
    assert (config.aux["config"]["num_attention_heads"], config.aux["config"]["max_img_size"]) == (16, 2048)
    with torch.device("meta"), no_init_weights():
        model = FO1(config)
    own = {
        name: one.shape for name, one in model.state_dict().items() if name.startswith(("aux.", "region_encoder.aux"))
    }
    assert own == {name: one.shape for name, one in own_tensors(stored).items()}
    assert 410e6 < sum(shape.numel() for name, shape in own.items() if name.startswith("aux.")) < 450e6


@torch.inference_mode()
def test_region_vectors_are_what_its_code_describes(pair: tuple[FO1, FO1Processor]) -> None:
    model, processor = pair
    features = model.encode_image(processor.image(picture((130, 92))))  # no multiples of either patch
    rows, columns = features.grid_hw
    assert features.primary_map is not None
    assert model.region_encoder.simple_fpn is not None
    assert features.pyramid is not None
    # The primary map is that of the image tokens, in raster order.
    torch.testing.assert_close(features.primary_map[0, :, 1, 2], features.image_tokens[columns + 2])
    levels = model.region_encoder.simple_fpn(features.primary_map)
    assert [m.shape[-2:] for m in levels] == [(rows * f, columns * f) for f in (8, 4, 2, 1)]
    assert features.aux_maps[0].shape == (1, WIDTH, 6, 8)  # stretched to 96 x 128
    boxes = torch.tensor(BOXES)
    boxes[:, 3].clamp_(max=92)
    width, height = 32 * columns, 32 * rows
    moved = boxes * torch.tensor([width / 130, height / 92, width / 130, height / 92])
    pooled = [
        roi_align(level, [own], 7, 1 / stride, aligned=True).mean((2, 3))
        for maps, own in ((features.pyramid.maps, boxes), (levels, moved))
        for level, stride in zip(maps, (4, 8, 16, 32), strict=True)
    ]
    wanted = torch.cat(pooled, 1) + box_embedding(moved, (width, height), 4 * (OUT + AUX_OUT))
    got = model.region_vectors(features, torch.tensor(BOXES, dtype=torch.float64))
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_the_tower_is_the_published_one(pair: tuple[FO1, FO1Processor], folder: Path) -> None:
    """Its map, computed here from the stored tensors, block by block."""
    stored = {k.removeprefix(f"{TOWER}model."): v for k, v in load_file(folder / "model.safetensors").items()}
    image = picture()
    pixels = torch.from_numpy(np.asarray(image, np.float32) / 255).permute(2, 0, 1)
    pixels = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    rows, columns = 96 // PATCH, 128 // PATCH
    patches = pixels.reshape(3, rows, PATCH, columns, PATCH).permute(1, 3, 0, 2, 4).reshape(rows * columns, -1)
    x = patches @ stored["patch_generator.embedder.weight"].T
    table = stored["patch_generator.pos_embed"].reshape(GRID, GRID, WIDTH)  # as large as the longer side
    x = x + table[:rows, :columns].reshape(-1, WIDTH)
    x = torch.cat([stored["patch_generator.cls_token.token"], x])[None]
    for block in range(LAYERS):
        own = {k.removeprefix(f"blocks.{block}."): v for k, v in stored.items() if k.startswith(f"blocks.{block}.")}

        def linear(name: str, given: Tensor, own: dict[str, Tensor] = own) -> Tensor:
            return torch.nn.functional.linear(given, own[f"{name}.weight"], own[f"{name}.bias"])

        def norm(name: str, given: Tensor, own: dict[str, Tensor] = own) -> Tensor:
            return torch.nn.functional.layer_norm(given, (WIDTH,), own[f"{name}.weight"], own[f"{name}.bias"], 1e-6)

        q, k, v = (
            part.reshape(1, -1, 2, WIDTH // 2).transpose(1, 2)
            for part in linear("attn.qkv", norm("norm1", x)).chunk(3, -1)
        )
        seen = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        x = x + linear("attn.proj", seen)
        x = x + linear("mlp.fc2", torch.nn.functional.gelu(linear("mlp.fc1", norm("norm2", x))))
    wanted = x[0, 8:].T.reshape(1, WIDTH, rows, columns)
    model, processor = pair
    torch.testing.assert_close(model.encode_image(processor.image(image)).aux_maps[0], wanted, rtol=1e-4, atol=1e-4)


def test_prompts_are_vlx_seek_s(pair: tuple[FO1, FO1Processor], folder: Path) -> None:
    processor = pair[1]
    words = {
        token["content"]: token["id"] for token in json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    }
    assert "<obj0>" in words
    assert "<region0>" not in words
    ids = processor.prompt_ids([2], "Where is <region1>?").tolist()
    assert [i for i in ids if i in (words["<obj0>"], words["<obj1>"])] == [
        words["<obj0>"],
        words["<obj1>"],
        words["<obj1>"],
    ]
    text = processor._prompt(["Where?"], picture(), BOXES[:2]).text
    assert text == (
        "<|im_start|>user\n<|vision_start|><image><|vision_end|>\n<region0><regionfeat><region1><regionfeat>\nWhere?"
        "<|im_end|>\n<|im_start|>assistant\n"
    )
    assert processor.decode([words["<obj1>"]]) == "<region1>"


def test_proposals_are_read_in_its_order_and_given_boxes_in_the_caller_s(folder: Path) -> None:
    proposed = Regions(np.array(BOXES), np.array([0.9, 0.8, 0.7]), (None,) * 3, ("r0", "r1", "r2"), source="detector")
    model = fo1agent.load(folder, proposer=lambda _: proposed)
    by_rows = [BOXES[2], BOXES[1], BOXES[0]]
    assert model.open(picture()).encoding.boxes.tolist() == by_rows
    assert model.open(picture(), boxes=BOXES).encoding.boxes.tolist() == BOXES
    with pytest.raises(InputError, match="makes no proposals of its own"):
        fo1agent.load(folder, needs_boxes=True)


@pytest.mark.parametrize(("mode", "first"), [("none", [0, 1, 2]), ("area_asc", [2, 0, 1]), ("area_desc", [1, 0, 2])])
def test_other_orders(mode: str, first: list[int], folder: Path, tmp_path: Path) -> None:
    place = changed(folder, tmp_path, lambda said: said.update(mm_bbox_order_mode=mode))
    processor = FO1Processor.from_folder(place)
    assert processor.reading_order(np.array(BOXES)).tolist() == first


def test_it_answers_and_is_kept_in_our_layout(pair: tuple[FO1, FO1Processor], tmp_path: Path) -> None:
    batch = pair[1](images=picture(), text="What is <region1>?", boxes=BOXES)
    ids = pair[0].generate(**batch, max_new_tokens=4)
    weights.save(*pair, tmp_path / "own")
    again = weights.load(tmp_path / "own")
    assert json.loads((tmp_path / "own/config.json").read_text())["model_type"] == "fo1"
    state = again[0].state_dict()
    assert all(torch.equal(one, state[name]) for name, one in pair[0].state_dict().items())
    assert torch.equal(again[0].generate(**again[1](picture(), "What is <region1>?", BOXES), max_new_tokens=4), ids)


@pytest.mark.parametrize("family", ["qwen3_vl", "internvl"])
def test_a_map_of_image_tokens_is_for_bases_whose_tokens_are_a_grid(family: str) -> None:
    base, known = tiny_base(family)
    region = {"of_tokens": True, "primary_channels": base.adapter.image_token_size(base.config.base_config)}
    model = FO1.attach(
        copy.deepcopy(base.base), copy.deepcopy(known.tokenizer), AUX, processing=base.config.processing, region=region
    )
    inputs = FO1Processor(known.tokenizer, model.config).image(picture())
    with torch.inference_mode():
        if family == "internvl":  # it reads tiles
            with pytest.raises(InputError, match=r"of_tokens .* as \d+ tokens, not as \d+ x \d+: leave of_tokens out"):
                model.encode_image(inputs)
        else:
            features = model.encode_image(inputs)
            assert features.primary_map is not None
            assert features.primary_map.shape[-2:] == features.grid_hw


# --- what is refused ---------------------------------------------------------------------------------------------


def changed(folder: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of the folder with another config.json."""
    place = tmp_path / "m"
    shutil.copytree(folder, place, symlinks=True)
    said = json.loads((place / "config.json").read_text("utf-8"))
    change(said)
    (place / "config.json").write_text(json.dumps(said), "utf-8")
    return place


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mm_use_simpleFPN_for_vt_aux": False}, "mm_use_simpleFPN_for_vt_aux is false, wanted true, the only way"),
        ({"mm_object_feature_combination": None}, "mm_object_feature_combination is missing, which means"),
        ({"mm_apply_object_layer_norm": True}, "mm_apply_object_layer_norm is true, wanted false"),
        ({"mm_bbox_order_mode": "spiral"}, "mm_bbox_order_mode is 'spiral', wanted 'none', 'raster'"),
        ({"mm_object_hidden_size": 6144}, "mm_object_hidden_size is 6144, wanted 40"),
        ({"vision_aux_config": {"args": {"model": "vit_tiny"}}}, r"vision_aux_config\.args\.model is 'vit_tiny'"),
        ({"image_token_id": None}, "image_token_id is missing"),
        ({"text_config": {}}, "text_config.vocab_size is missing"),
    ],
)
def test_a_config_that_cannot_be_computed_is_refused(
    change: dict[str, Any], told: str, folder: Path, tmp_path: Path
) -> None:
    def edit(said: dict[str, Any]) -> None:
        said |= change
        for key in [key for key, value in change.items() if value is None]:
            del said[key]

    with pytest.raises(CheckpointError, match=told) as error:
        weights.load(changed(folder, tmp_path, edit))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            f"{TOWER}model.blocks.1.attn.qkv.bias",
            r"missing 3: aux\.backbone\.encoder\.layer\.1\.attention\.k_proj\.bias",
        ),
        (f"{TOWER}model.patch_generator.pos_embed", r"patch_generator\.pos_embed is missing"),
        (f"{HFRE}simple_fpn.simfp_2.6.bias", r"missing 1: region_encoder\.simple_fpn\.simfp_1\.6\.bias"),
        (None, r"unexpected 1: model\.more"),
    ],
)
def test_weights_are_strict(name: str | None, told: str, folder: Path, tmp_path: Path) -> None:
    place = changed(folder, tmp_path, lambda said: said)
    stored = load_file(place / "model.safetensors")
    if name is None:
        stored["model.more"] = torch.ones(1)
    else:
        del stored[name]
    save_file(stored, place / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=told):
        weights.load(place)
