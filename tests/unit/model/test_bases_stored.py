"""What a folder says of a base without a schema of its own is bounded, chooses no code, and is wrong in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, reduce
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from fo1agent.errors import CheckpointError
from fo1agent.model import bases, reading, weights
from fo1agent.model.config import FO1Config
from fo1agent.model.fo1 import FO1
from tests.tiny_bases import tiny_base


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A saved folder of a family."""

    @cache
    def save(family: str) -> Path:
        folder = tmp_path_factory.mktemp("saved") / "model"
        weights.save(*tiny_base(family), folder)
        return folder

    return save


@pytest.fixture
def saved(folders: Callable[[str], Path]) -> Path:
    return folders("qwen3_vl")


@pytest.fixture
def changed(folders: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """A folder of links to a saved one, with another value in its config.json; of None, without the key."""

    def make(key: str, value: Any, family: str = "qwen3_vl") -> Path:
        saved = folders(family)
        for file in saved.iterdir():
            (tmp_path / file.name).symlink_to(file)
        tree = json.loads((saved / "config.json").read_text(encoding="utf-8"))
        *parents, last = key.split(".")
        inside = reduce(lambda part, name: part[name], parents, tree["base_config"])
        if value is None:
            del inside[last]
        else:
            inside[last] = value
        (tmp_path / "config.json").unlink()
        (tmp_path / "config.json").write_text(json.dumps(tree), encoding="utf-8")
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("model_type", "llama", "base_config.model_type is 'llama', wanted one of gemma3, "),
        ("text_config", None, "base_config.text_config is missing"),
        ("vision_config", 3, "base_config.vision_config is 3, wanted an object"),
        ("text_config.num_hidden_layers", 10**6, "num_hidden_layers is 1000000, wanted a number of at most 512"),
        ("text_config.hidden_size", 70_000, "hidden_size is 70000, wanted an integer from 1 to 65536"),
        ("vision_config.depth", 513, "vision_config.depth is 513, wanted a number of at most 512"),
        ("vision_config.intermediate_size", 10**12, "intermediate_size is 1000000000000, wanted a number of at most"),
        ("vision_config.deepstack_visual_indexes", [0] * 70_000, "a list of 70000, wanted at most 65536 of them"),
        ("vision_config.deepstack_visual_indexes", [0] * 65_000, "a list of 65000, wanted different layers below the"),
        (
            "vision_config.deepstack_visual_indexes",
            [0, 2],
            "indexes is [0, 2], wanted different layers below the depth 2",
        ),
        ("vision_config.num_position_embeddings", 2**24, "pos_embed.weight is [16, 32], wanted [16777216, 32]"),
        ("text_config.hidden_act", "x" * 2000, "text_config.hidden_act is 'xxx"),
        ("text_config.hidden_act", "magic", "describes no model"),
        ("image_token_id", "many", "base_config describes no model of transformers"),
        ("vision_config.out_hidden_size", 48, "image tokens of 48 numbers and its language model reads 32"),
        ("vision_config.hidden_size", 64, "region.primary_channels is 32, wanted 0, or 64"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(changed, key: str, value: Any, says: str) -> None:
    folder = changed(key, value)
    with pytest.raises(CheckpointError) as error:
        weights.load(folder)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("_attn_implementation", "somebody/kernels"),
        ("attn_implementation", "somebody/kernels"),
        ("text_config._attn_implementation", "somebody/kernels"),
        ("vision_config.attn_implementation", {"": "somebody/kernels"}),
        ("auto_map", {"AutoModel": "somebody/model--modeling.Model"}),
        ("quantization_config", {"quant_method": "gptq"}),
        ("num_labels", 2**24),  # transformers would name every one
        ("text_config.num_labels", 2**24),
        ("vision_config.num_labels", 2**24),
        ("vision_config.id2label", {"0": "cat"}),
        ("text_config.label2id", {"cat": 0}),
    ],
)
def test_keys_that_choose_code_or_name_classes_are_left_out(changed, key: str, value: Any) -> None:
    model, processor = weights.load(changed(key, value))
    said = model.config.base_config
    name = key.rpartition(".")[2]
    assert all(value != getattr(config, name, None) for config in (said, said.text_config, said.vision_config))
    batch = processor(None, "Hello")
    assert torch.equal(model(**batch).logits, tiny_base("qwen3_vl")[0](**batch).logits)


def test_no_memory_is_taken_for_a_model_whose_weights_these_are_not(saved: Path) -> None:
    config, tensors = reading.read(saved)
    devices: list[str] = []

    def make(config: FO1Config) -> FO1:
        devices.append(torch.empty(0).device.type)
        return FO1(config)

    lacking = {name: tensor for name, tensor in tensors.items() if not name.endswith("pos_embed.weight")}
    with pytest.raises(CheckpointError, match=r"do not fit each other: missing 1: base\.model\.visual\.pos_embed"):
        reading.build(make, config, lacking, saved)
    assert devices == ["meta"]
    reading.build(make, config, tensors, saved)
    assert devices == ["meta", "meta", "cpu"]


SECTION = "text_config.rope_parameters.mrope_section"
RATIO, SHAPES = "vision_aspect_ratio", "image_grid_pinpoints"


@pytest.mark.parametrize(
    ("family", "key", "value", "says"),
    [
        *(
            ("llava_onevision", "vision_config", {"model_type": kind}, "base_config describes no llava_onevision: ")
            for kind in ("timm_wrapper", "resnet", "sam")
        ),
        ("llava_onevision", SHAPES, [[32, 32]] * 300, "a list of 300, wanted 1 to 256 pairs of multiples of 32"),
        ("llava_onevision", SHAPES, [], "image_grid_pinpoints is [], wanted 1 to 256 pairs"),
        ("llava_onevision", SHAPES, [[0, 0]], "image_grid_pinpoints is a list of 1, wanted 1 to 256 pairs"),
        ("llava_onevision", SHAPES, [[32]], "image_grid_pinpoints is a list of 1, wanted 1 to 256 pairs"),
        ("llava_onevision", SHAPES, [[32, 320_000]], "image_grid_pinpoints is a list of 1, wanted 1 to 256 pairs"),
        ("llava_onevision", RATIO, "x", "vision_aspect_ratio is 'x', wanted 'anyres_max_' and a number of tiles"),
        ("llava_onevision", RATIO, "anyres_max_0", "vision_aspect_ratio is 'anyres_max_0', wanted 'anyres_max_' and"),
        ("llava_onevision", "vision_feature_layer", 3, "vision_feature_layer is 3, wanted a number from -3 to 2"),
        ("llava_onevision", "vision_feature_layer", -4, "vision_feature_layer is -4, wanted a number from -3 to 2"),
        ("llava_onevision", "vision_feature_select_strategy", "default", "strategy is 'default', wanted 'full'"),
        ("lfm2_vl", "downsample_factor", 0, "downsample_factor is 0, wanted a number above 0, at most 64"),
        ("lfm2_vl", "vision_config.num_patches", 0, "num_patches is 0, wanted a number above 0, at most 65536"),
        (
            "gemma4",
            "vision_config.pooling_kernel_size",
            0,
            "kernel_size is 0, wanted a number above 0, at most 64",
        ),
        (
            "gemma4",
            "vision_config.pooling_kernel_size",
            10**6,
            "kernel_size is 1000000, wanted a number above 0",
        ),
        ("gemma4", "text_config.pad_token_id", -1, "text_config.pad_token_id is -1, wanted an integer from 0 to 639"),
        ("gemma3", "mm_tokens_per_image", 15, "mm_tokens_per_image is 15, wanted a square whose side divides 8 cells"),
        ("gemma3", "mm_tokens_per_image", 25, "mm_tokens_per_image is 25, wanted a square whose side divides 8 cells"),
        ("internvl", "vision_config.image_size", [0, 0], "vision_config.image_size.0 is 0, wanted a number above 0"),
        ("internvl", "downsample_ratio", -0.5, "downsample_ratio is -0.5, wanted a number above 0, at most 1"),
        ("idefics3", "vision_config.image_size", [32, 16], "base_config describes no idefics3: "),
        ("idefics3", "scale_factor", -2, "scale_factor is -2, wanted a number above 0, at most 64"),
        ("qwen3_vl", SECTION, [2, 3], "mrope_section is [2, 3], wanted three numbers that make 8, half of the part"),
        ("qwen3_5", SECTION, [2, 2, 1], "mrope_section is [2, 2, 1], wanted three numbers that make 4"),
        ("glm4v", SECTION, [-2, 5, 1], "mrope_section is [-2, 5, 1], wanted three numbers that make 4"),
        ("glm4v", SECTION, "x", "mrope_section is 'x', wanted three numbers that make 4"),
        (
            "qwen3_vl",
            "text_config.max_position_embeddings",
            -1,
            "embeddings is -1, wanted a number above 0",
        ),
    ],
)
def test_what_would_fail_at_the_first_picture_is_refused_with_the_folder(
    changed, family: str, key: str, value: Any, says: str
) -> None:
    folder = changed(key, value, family)
    with pytest.raises(CheckpointError) as error:
        weights.load(folder)
    assert says in str(error.value)
    assert str(error.value).startswith(f"{folder / 'config.json'}: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value).replace(str(folder), "")) < 400


@pytest.mark.parametrize("family", sorted(bases.FAMILIES))
def test_what_the_released_models_say_is_taken(family: str) -> None:
    # The class's own default of Gemma 3 is a tower of another size than the released ones.
    said: dict[str, Any] = {"vision_config": {"image_size": 896, "patch_size": 14}} if family == "gemma3" else {}
    bases.adapter(family).check(CONFIG_MAPPING[family](**said))
