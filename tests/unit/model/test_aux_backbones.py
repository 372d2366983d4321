"""Any backbone of transformers as auxiliary tower: its maps lie where they say, and a folder keeps it whole."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import ConvNextConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING_NAMES

from fo1agent.errors import CheckpointError, MissingExtraError
from fo1agent.model import aux_backbones, stored_towers, weights
from fo1agent.model.aux_encoder import build_aux, prepare_aux
from fo1agent.model.config import FO1Config
from fo1agent.model.fo1 import FO1
from fo1agent.model.processing import FO1Processor
from fo1agent.model.prompting import ProcessingConfig
from fo1agent.trainers.data.records import Example
from fo1agent.trainers.language import part_parameters
from fo1agent.trainers.pictures import FrozenViews
from tests.tiny_models import reference

FOUR = [4.0, 8.0, 16.0, 32.0]
STAGES: dict[str, Any] = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
VIT: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
TOWERS: dict[str, dict[str, Any]] = {
    "convnext": STAGES,
    "convnextv2": STAGES,
    "swin": {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 4], "window_size": 4},
    "dinov3_convnext": STAGES,
    "resnet": {**STAGES, "embedding_size": 8},  # counts its batches in whole numbers, which are no weights
    "timm_backbone": {"backbone": "convnext_atto"},
    "dinov3_vit": {**VIT, "intermediate_size": 32},
    "radio": {**VIT, "num_hidden_layers": 8, "patch_size": 16, "max_img_size": 128, "norm_mean": [0.4, 0.5, 0.6]},
}
PYRAMIDS = ("dinov3_vit", "radio")  # one map, of which the region encoder makes four
SIZE = (190, 130)  # no multiples of any stride
BOXES = torch.tensor([[8.0, 8, 90, 100], [100, 30, 180, 120]])


def aux_of(kind: str) -> dict[str, Any]:
    return {"type": "backbone", "config": {"model_type": kind, **TOWERS[kind]}}


@cache
def model_with(kind: str) -> tuple[FO1, FO1Processor]:
    """A tiny FO1 whose auxiliary tower is of a kind. Do not change its weights."""
    base, processor = reference()
    said = base.config
    torch.manual_seed(0)
    config = FO1Config(
        base_config=said.base_config.to_dict(),
        aux=aux_of(kind),
        region={**said.region, "aux_fpn_channels": 8 if kind in PYRAMIDS else 0},
        region_projector=said.region_projector,
        processing=said.processing,
    )
    with torch.inference_mode(False):
        return FO1(config).eval(), FO1Processor(processor.tokenizer, config)


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8))


def tokens(pair: tuple[FO1, FO1Processor], image: Image.Image) -> torch.Tensor:
    model, processor = pair
    with torch.inference_mode():
        return model.encode_regions(model.encode_image(processor.image(image)), BOXES)[1]


@pytest.mark.parametrize("kind", TOWERS)
def test_maps_have_the_strides_that_their_levels_name(kind: str) -> None:
    model, processor = model_with(kind)
    levels = model.aux.levels
    assert [level.stride for level in levels] == ([16.0] if kind in PYRAMIDS else FOUR)
    spot = (96, 32)  # where one pixel square differs from the rest
    plain = Image.new("RGB", SIZE, (120, 120, 120))
    marked = plain.copy()
    marked.paste((255, 0, 0), (spot[0], spot[1], spot[0] + 32, spot[1] + 32))
    with torch.inference_mode():
        seen = [model.encode_image(processor.image(image)) for image in (plain, marked)]
    for level, one, other in zip(levels, *(features.aux_maps for features in seen), strict=True):
        # 190 x 130 pixels, padded to whole cells of the coarsest map; C-RADIO's stretched to the nearest ones.
        width, height = {"radio": (192, 128), "dinov3_vit": (192, 144)}.get(kind, (192, 160))
        assert one.shape == (1, level.channels, height // level.stride, width // level.stride)
        change = (one - other)[0].norm(dim=0)
        # The middle of what changed most is the middle of the square, within a cell.
        at = (change > 0.5 * change.max()).nonzero().double().mean(0) * level.stride + level.offset
        assert (at - torch.tensor([spot[1] + 16, spot[0] + 16])).abs().max() <= level.stride + 2
    assert (seen[0].pyramid is not None) == (kind in PYRAMIDS)
    if seen[0].pyramid is not None:
        grid = seen[0].aux_maps[0].shape[-2:]
        assert [tuple(m.shape) for m in seen[0].pyramid.maps] == [
            (1, 8, int(grid[0] * factor), int(grid[1] * factor)) for factor in (4, 2, 1, 0.5)
        ]


@pytest.mark.parametrize("kind", TOWERS)
def test_region_tokens_follow_the_picture_and_the_box(kind: str) -> None:
    pair = model_with(kind)
    seen, other = tokens(pair, picture(0)), tokens(pair, picture(1))
    assert seen.shape == (2, pair[0].config.hidden_size)
    aux = slice(pair[0].region_encoder.pooled_size - 4 * pair[0].region_encoder.config.fpn_channels)
    vectors = []
    for seed in (0, 1):
        with torch.inference_mode():
            features = pair[0].encode_image(pair[1].image(picture(seed)))
            vectors.append(pair[0].region_vectors(features, BOXES)[:, aux])
    assert (vectors[0] - vectors[1]).abs().amax() > 1e-4  # it is the auxiliary part, too, that differs
    assert not torch.allclose(seen, other)
    assert not torch.allclose(seen[0], seen[1])


@pytest.mark.parametrize("kind", TOWERS)
def test_a_folder_keeps_the_tower(kind: str, tmp_path: Path) -> None:
    pair = model_with(kind)
    weights.save(*pair, tmp_path)
    again = weights.load(tmp_path)
    assert again[0].config.aux == aux_of(kind) == json.loads((tmp_path / "config.json").read_text())["aux"]
    state = again[0].state_dict()
    assert state.keys() == pair[0].state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in pair[0].state_dict().items())
    assert torch.equal(tokens(again, picture(0)), tokens(pair, picture(0)))


@pytest.mark.parametrize("kind", TOWERS)
def test_its_last_stage_alone_trains_as_a_part(kind: str) -> None:
    model, processor = model_with(kind)
    tail = {id(p) for p in part_parameters(model, "aux_tail")}
    whole = {id(p) for p in model.aux.parameters()}
    assert tail
    assert tail < whole
    try:
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in tail)
        features = model.encode_image(processor.image(picture(0)))
        model.encode_regions(features, BOXES)[1].square().sum().backward()
        learned = {id(p) for p in model.parameters() if p.grad is not None}
        assert learned <= tail
        assert len(learned) > len(tail) / 2
    finally:
        model.zero_grad()
        model.requires_grad_(True)


@pytest.mark.parametrize("kind", ["convnext", "radio"])
def test_what_is_kept_of_a_frozen_tower_is_what_it_sees(kind: str, tmp_path: Path) -> None:
    model, processor = model_with(kind)
    picture(0).save(tmp_path / "0.png")
    nothing = {"boxes": np.zeros((0, 4), np.float32), "labels": (), "crowd": np.zeros(0, bool)}
    example, inputs = Example(0, tmp_path / "0.png", *SIZE, **nothing), processor.image(picture(0))
    with torch.no_grad():
        live = model.encode_image(inputs)
        for _ in range(2):  # seen, then read from the disk
            kept = FrozenViews(tmp_path / "kept", model).features(example, inputs)
            vectors = [model.region_vectors(features, BOXES) for features in (kept, live)]
            torch.testing.assert_close(*vectors, rtol=5e-3, atol=5e-3)  # kept in half precision
    with torch.enable_grad():  # what is made of a kept map still learns
        again = FrozenViews(tmp_path / "kept", model).features(example, inputs)
        assert model.region_vectors(again, BOXES).requires_grad


def test_the_tower_s_own_pixels_are_those_of_its_normalisation() -> None:
    image = Image.new("RGB", (64, 64), (255, 255, 255))

    def first(aux: dict[str, Any]) -> list[float]:
        return prepare_aux(aux, ProcessingConfig(), image)["main"][0, :, 0, 0].tolist()

    imagenet = [(1 - m) / s for m, s in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)]
    assert first(aux_of("convnext")) == pytest.approx(imagenet, rel=1e-5)
    clip = (0.26862954, 0.26130258, 0.27577711)
    assert first(aux_of("radio")) == pytest.approx([(1 - m) / s for m, s in zip((0.4, 0.5, 0.6), clip, strict=True)])
    own = {**aux_of("convnext"), "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.25, 0.1]}
    assert first(own) == pytest.approx([1.0, 2.0, 5.0])


def test_a_configuration_of_transformers_may_be_given_as_it_is() -> None:
    said = FO1Config(aux={"type": "backbone", "config": ConvNextConfig(**STAGES)}).aux["config"]
    assert build_aux({"type": "backbone", "config": said}).levels == build_aux(aux_of("convnext")).levels
    assert json.loads(json.dumps(said)) == said


@pytest.mark.parametrize("said", [{"model_type": "convnext"}, {"model_type": "focalnet", "embed_dim": 16}])
def test_widths_that_are_left_to_a_backbone_s_own_class_build_too(said: dict[str, Any]) -> None:
    with torch.device("meta"):
        tower = build_aux({"type": "backbone", "config": said})
    channels = {"convnext": [96, 192, 384, 768], "focalnet": [16 * 2, 16 * 4, 16 * 8, 16 * 8]}
    assert [level.channels for level in tower.levels] == channels[said["model_type"]]


def test_maps_are_those_that_the_configuration_names() -> None:
    config = {"model_type": "convnext", **STAGES, "out_features": ["stage2", "stage4"]}
    levels = build_aux({"type": "backbone", "config": config}).levels
    assert [(level.stride, level.channels) for level in levels] == [(8.0, 16), (32.0, 32)]


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"model_type": "llama"}, "is a backbone of transformers, such as convnext.*got 'llama'"),
        ({"model_type": "convnext", "depths": [1, 1]}, "describes no convnext"),
        (
            {"model_type": "swin", "depths": [512] * 64, "num_heads": [1] * 64, "embed_dim": 1},
            "more parts than any model",
        ),
        ({"model_type": "swin", "window_size": 2048}, "numbers beside its weights, wanted at most"),
        ({"model_type": "timm_backbone", "backbone": "hf-hub:some/where"}, "is a model of timm"),
        ({"model_type": "timm_backbone"}, "is a model of timm, such as .* got None"),
    ],
)
def test_what_is_no_backbone_is_one_line(config: dict[str, Any], told: str) -> None:
    with pytest.raises(CheckpointError, match=told) as error:
        build_aux({"type": "backbone", "config": config})
    assert "\n" not in str(error.value)


def test_without_timm_the_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aux_backbones, "is_timm_available", lambda: False)
    with pytest.raises(MissingExtraError, match=r"convnext_atto is one of timm's\. Install it: pip install timm$"):
        build_aux(aux_of("timm_backbone"))


def test_the_bounds_let_every_backbone_of_transformers_through() -> None:
    refused = {}
    for kind in [*MODEL_FOR_BACKBONE_MAPPING_NAMES, "radio"]:
        said = CONFIG_MAPPING[kind]().to_dict()
        try:
            stored_towers.Backbone.model_validate({"type": "backbone", "config": said})
        except ValueError as exc:
            refused[kind] = str(exc)
    assert refused == {}


def test_keys_that_name_code_to_run_are_left_alone() -> None:
    config = {**aux_of("convnext")["config"], "_attn_implementation": "who/ever", "auto_map": {"AutoConfig": "a.b"}}
    made = aux_backbones.backbone_config(config)
    assert made._attn_implementation != "who/ever"
    assert not hasattr(made, "auto_map")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("convnext")
    weights.save(*model_with("convnext"), made)
    return made


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"depths": [1, 1, 1, 10**9]}, r"aux\.config\.depths\.3 is 1000000000, wanted a number of at most 512"),
        ({"hidden_sizes": [10**9] * 4}, r"aux\.config\.hidden_sizes\.0 is 1000000000"),
        ({"depths": [1] * 10_000}, r"aux\.config\.depths is a list of 10000"),
        ({"model_type": 3}, r"aux\.config\.model_type is 3, wanted the name of a backbone"),
        ({"model_type": "bert"}, "is a backbone of transformers"),
        ({"hidden_sizes": [8, 16, 24, 36]}, "wrong shape"),
        ({"hidden_sizes": [8, 16, 24]}, "describes no convnext"),
    ],
)
def test_a_folder_that_describes_no_such_tower_is_told_in_one_line(
    change: dict[str, Any], told: str, folder: Path, tmp_path: Path
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    said = json.loads((folder / "config.json").read_text())
    said["aux"]["config"] |= change
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(said))
    with pytest.raises(CheckpointError, match=told) as error:
        weights.load(tmp_path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_a_tower_s_weights_are_strict(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    state = load_file(folder / "model.safetensors")
    name = next(key for key in state if key.startswith("aux."))
    state["aux.more"] = state.pop(name)
    (tmp_path / "model.safetensors").unlink()
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=f"missing 1: {name}; unexpected 1: aux.more"):
        weights.load(tmp_path)
