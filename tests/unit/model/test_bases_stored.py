"""What a folder says of a base without a schema of its own is bounded, chooses no code, and is wrong in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch

from fo1agent.errors import CheckpointError
from fo1agent.model import reading, weights
from fo1agent.model.config import FO1Config
from fo1agent.model.fo1 import FO1
from tests.tiny_bases import tiny_base


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    weights.save(*tiny_base("qwen3_vl"), folder)
    return folder


@pytest.fixture
def changed(saved: Path, tmp_path: Path) -> Callable[[str, Any], Path]:
    """A folder of links to the saved one, with another value in its config.json; of None, without the key."""

    def make(key: str, value: Any) -> Path:
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
