"""Loading is strict and says which keys are wrong; saving gives back what was loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fo1agent.errors import CheckpointError
from fo1agent.model import public, reading, weights
from fo1agent.model.fo1 import FO1
from fo1agent.model.sequence import Sample
from tests.tiny_models import CHECKPOINT, nano, reference

SHARD = "model-00001-of-00002.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the public-layout checkpoint that a test may spoil."""
    shutil.copytree(CHECKPOINT, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def edit_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    change(config)
    path.write_text(json.dumps(config), encoding="utf-8")


def edit_shard(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    (folder / "model.safetensors.index.json").unlink(missing_ok=True)
    tensors = load_file(folder / SHARD)
    change(tensors)
    save_file(tensors, folder / SHARD)


def test_the_public_layout_loads_whatever_its_folder_is_called(folder: Path):
    model, _ = weights.load(folder.rename(folder.with_name("x")))
    assert model.base.lm_head.weight is model.base.model.language_model.embed_tokens.weight
    assert model.image_projector(torch.ones(1)) == torch.ones(1)
    assert not model.training


@pytest.mark.parametrize("names", [["mm_projector"], ["mm_projector.0", "mm_projector.2"]])
def test_an_image_projector_is_found_by_its_tensors(folder: Path, names: list[str]):
    def add(tensors: dict[str, torch.Tensor]) -> None:
        for name in names:
            tensors[f"model.{name}.weight"], tensors[f"model.{name}.bias"] = torch.ones(64, 64), torch.zeros(64)

    edit_shard(folder, add)
    projector = weights.load(folder)[0].image_projector
    assert isinstance(projector, torch.nn.Sequential)
    assert len(projector) == 2 * len(names) - 1
    assert torch.equal(projector[0](torch.ones(64)), torch.full((64,), 64.0))


def public_names(stages: dict[int, int]) -> list[str]:
    """The names of the 3B checkpoint, spelled out from its description."""
    names = ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
    both = ("weight", "bias")
    for layer in range(36):
        start = f"model.layers.{layer}."
        names += [f"{start}self_attn.{p}_proj.{kind}" for p in "qkv" for kind in both]
        names += [start + "self_attn.o_proj.weight"]
        names += [f"{start}mlp.{p}_proj.weight" for p in ("gate", "up", "down")]
        names += [f"{start}{p}_layernorm.weight" for p in ("input", "post_attention")]
    tower = "model.vision_tower.image_tower."
    names += [tower + "patch_embed.proj.weight", tower + "merger.ln_q.weight"]
    names += [f"{tower}merger.mlp.{i}.{kind}" for i in (0, 2) for kind in both]
    for block in range(32):
        start = f"{tower}blocks.{block}."
        names += [f"{start}norm{i}.weight" for i in (1, 2)]
        names += [f"{start}attn.{p}.{kind}" for p in ("qkv", "proj") for kind in both]
        names += [f"{start}mlp.{p}_proj.{kind}" for p in ("gate", "up", "down") for kind in both]
    tower = "model.vision_tower_aux.image_tower."
    for stage, depth in stages.items():
        names += [f"{tower}convs.{stage}.{p}.{kind}" for p in ("proj", "norm") for kind in both]
        for i in range(depth):
            for part, attention in (("spatial_block", "window_attn"), ("channel_block", "channel_attn")):
                start = f"{tower}blocks.{stage}.{i}.{part}."
                ends = [f"conv{k}.fn.dw" for k in (1, 2)] + [f"{attention}.norm", f"{attention}.fn.qkv"]
                ends += [f"{attention}.fn.proj", "ffn.norm", "ffn.fn.net.fc1", "ffn.fn.net.fc2"]
                names += [f"{start}{end}.{kind}" for end in ends for kind in both]
    pyramid = "model.object_vp_extractor.simple_fpn.simfp_"
    names += [f"{pyramid}{end}.{kind}" for end in ("1.0", "1.1", "1.3", "2.0") for kind in both]
    for end in ("1.4", "1.5", "2.1", "2.2", "3.0", "3.1", "4.1", "4.2"):
        names += [f"{pyramid}{end}.weight", f"{pyramid}{end}.norm.weight", f"{pyramid}{end}.norm.bias"]
    names += [f"model.mm_projector_aux.{i}.{kind}" for i in (0, 2) for kind in both]
    return names


def test_all_1261_names_of_the_3b_find_their_place_in_a_model_of_its_size():
    names = public_names({0: 1, 1: 1, 2: 9, 3: 1})
    assert len(names) == 1261
    raw = json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    del raw["fo1_tiny_sizes"]
    raw |= {"mm_vision_tower_aux": "resources/davit-large.pth", "vocab_size": 151936, "hidden_size": 2048}
    raw |= {"intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 2}
    raw["rope_scaling"] = {"type": "mrope", "mrope_section": [16, 24, 24]}
    raw["vision_config"] |= {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}
    raw["vision_config"] |= {"out_hidden_size": 2048, "fullatt_block_indexes": [7, 15, 23, 31]}
    config = public.public_config(raw, dict.fromkeys(names, torch.empty(0)))
    with torch.device("meta"):
        model = FO1(config)
    assert set(model.state_dict()) == {public.rename(name) for name in names}
    assert model.region_encoder.size == 5888
    assert sum(p.numel() for p in model.parameters()) // 10**6 == 4150


def test_missing_unexpected_and_misshapen_weights_are_named_together(folder: Path):
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.mm_projector_aux.surplus"] = tensors.pop("model.mm_projector_aux.2.bias")
        tensors["model.mm_projector_aux.0.bias"] = torch.zeros(3)

    edit_shard(folder, spoil)
    with pytest.raises(CheckpointError) as error:
        weights.load(folder)
    message = str(error.value)
    assert "missing 1: region_projector.2.bias" in message
    assert "unexpected 1: region_projector.surplus" in message
    assert "wrong shape 1: region_projector.0.bias is [3], wanted [64]" in message


def test_two_keys_for_one_weight_are_an_error(folder: Path):
    edit_shard(folder, lambda t: t.update({"base.lm_head.weight": torch.zeros(1), "lm_head.weight": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=r"mean the same weight: base\.lm_head\.weight"):
        weights.load(folder)


def test_a_tied_weight_may_be_stored_twice_but_not_differently(folder: Path):
    table = reading.read_tensors(CHECKPOINT)["model.embed_tokens.weight"].clone()
    edit_shard(folder, lambda tensors: tensors.update({"lm_head.weight": table}))
    weights.load(folder)
    edit_shard(folder, lambda tensors: tensors.update({"lm_head.weight": table + 1}))
    with pytest.raises(CheckpointError, match=r"ties base\.lm_head\.weight to"):
        weights.load(folder)


def test_an_untied_model_needs_its_own_head(folder: Path):
    edit_config(folder, lambda config: config.update(tie_word_embeddings=False))
    with pytest.raises(CheckpointError, match=r"missing 1: base\.lm_head\.weight"):
        weights.load(folder)


def test_an_absent_or_broken_shard_is_named(folder: Path):
    shard = folder / SHARD
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=f"{SHARD} is not a whole safetensors file"):
        weights.load(folder)
    shard.unlink()
    with pytest.raises(CheckpointError, match=f"index.json: weight_map.* is '{SHARD}', wanted a file that is there"):
        weights.load(folder)
    for path in folder.glob("model*"):
        path.unlink()
    with pytest.raises(CheckpointError, match="holds no safetensors file"):
        weights.load(folder)


def test_a_tensor_that_the_index_promises_must_be_there(folder: Path):
    tensors = load_file(folder / SHARD)
    del tensors["model.mm_projector_aux.2.bias"]
    save_file(tensors, folder / SHARD)
    with pytest.raises(
        CheckpointError,
        match=r"lacks what model.safetensors.index.json seeks in it: missing 1: model\.mm_projector_aux\.2\.bias",
    ):
        weights.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "llava"}, "config.json: model_type is 'llava', wanted 'fo1'"),
        (
            {"mm_region_feature_combination": "mean"},
            "mm_region_feature_combination is 'mean', wanted 'concat', the only way",
        ),
        ({"mm_apply_region_layer_norm": True}, "mm_apply_region_layer_norm is true, wanted false"),
        (
            {"aux_image_aspect_ratio": "stretch"},
            "aux_image_aspect_ratio is 'stretch', wanted 'dynamic', 'squash' or 'dynamic_square'",
        ),
        (
            {"fo1_tiny_sizes": {}},
            "mm_vision_tower_aux is 'resources/davit-tiny.pth', wanted one of davit-base, davit-large",
        ),
    ],
)
def test_a_config_that_cannot_be_computed_is_refused(folder: Path, change: dict[str, Any], message: str):
    edit_config(folder, lambda config: config.update(change))
    with pytest.raises(CheckpointError, match=message):
        weights.load(folder)


def test_a_config_that_lacks_or_garbles_something_is_refused(folder: Path):
    edit_config(folder, lambda config: config.pop("image_token_id"))
    with pytest.raises(CheckpointError, match="image_token_id is missing, wanted an integer from 0"):
        weights.load(folder)
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config\.json is not JSON, wanted a JSON object"):
        weights.load(folder)
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        weights.load(folder.parent)


def test_a_folder_without_a_tokenizer_is_refused(folder: Path):
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        (folder / name).unlink()
    with pytest.raises(CheckpointError, match="tokenizer"):
        weights.load(folder)


@pytest.mark.parametrize("make", [reference, nano])
def test_what_is_saved_loads_again_bit_for_bit(tmp_path: Path, make):
    model, processor = make()
    weights.save(model, processor, tmp_path)
    again, own_processor = weights.load(tmp_path)
    huggingface = FO1.from_pretrained(tmp_path)
    for other in (again, huggingface):
        state = other.state_dict()
        assert state.keys() == model.state_dict().keys()
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert again.config.vocabulary == model.config.vocabulary
    ids = processor.prompt_ids([], "Where is the dog?")
    assert torch.equal(own_processor.prompt_ids([], "Where is the dog?"), ids)
    with torch.inference_mode():
        logits = [m(m.assemble([Sample(ids)])).logits for m in (model, again, huggingface.eval())]
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])


def test_a_wanted_dtype_is_given_to_weights_but_not_to_rotary_tables():
    model, _ = weights.load(CHECKPOINT, torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.base.model.language_model.rotary_emb.inv_freq.dtype == torch.float32
