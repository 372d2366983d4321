"""What the vLLM plug-in does without vLLM: its configuration, items, positions and chat template."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import jinja2
import numpy as np
import pytest
import torch
from PIL import Image

from fo1agent.errors import CheckpointError
from fo1agent.integrations.vllm import chat_template
from fo1agent.integrations.vllm.config import ARCHITECTURE, DECODERS, OwnConfig, PublicConfig
from fo1agent.integrations.vllm.items import Item, merged_hw, mrope_positions, unbatched
from fo1agent.integrations.vllm.towers import Towers
from fo1agent.model import weights
from fo1agent.model.bases.qwen2_5_vl import ADAPTER
from fo1agent.model.prompting import IMAGE_SLOT
from tests.tiny_bases import tiny_base
from tests.tiny_models import CHECKPOINT, reference


def _image(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def _item(width: int = 97, height: int = 65, boxes: int = 3, first: int = 0) -> Item:
    corners = torch.tensor([[1.0, 2.0, 30.0, 40.0]], dtype=torch.float64).repeat(boxes, 1)
    return Item(reference()[1].image(_image(width, height)), corners, first)


def test_an_item_is_the_same_after_the_way() -> None:
    item = _item(2300, 300, first=7)  # its long side is cut, so that boxes are scaled
    (came,) = unbatched({name: [one] for name, one in item.tensors().items()})
    assert came.inputs.sizes == item.inputs.sizes
    assert came.inputs.sizes.scale_xy[0] != 1
    seen, sent = came.inputs.seen, item.inputs.seen
    assert (seen.grid_hw, seen.merged_hw, seen.size_wh) == (sent.grid_hw, sent.merged_hw, sent.size_wh)
    assert torch.equal(seen.pixel_values, sent.pixel_values)
    assert came.inputs.aux_views.keys() == item.inputs.aux_views.keys()
    assert (came.first, came.boxes.tolist()) == (7, item.boxes.tolist())
    assert merged_hw(item.tensors()["layout"]) == sent.merged_hw


def test_a_batch_of_equal_pictures_comes_as_one_tensor() -> None:
    items = [_item(first=k).tensors() for k in range(2)]
    assert [one.first for one in unbatched({name: torch.stack([one[name] for one in items]) for name in items[0]})] == [
        0,
        1,
    ]


def test_the_towers_alone_give_the_model_s_tokens() -> None:
    model, _ = reference()
    towers = Towers.build(PublicConfig.from_dict({}, name_or_path=str(CHECKPOINT)), torch.float32)
    own = {name: one for name, one in model.state_dict().items() if not name.startswith(("base.model.lang", "base.lm"))}
    assert towers.put(own) == set(own)
    item = _item()
    with torch.inference_mode():
        features = model.encode_image(item.inputs)
        wanted = [features.image_tokens, model.encode_regions(features, item.boxes)[1]]
    torch.testing.assert_close(towers.tokens(item), torch.cat(wanted), rtol=0, atol=0)
    assert len(towers.tokens(_item(boxes=0))) == len(wanted[0])


def test_beside_tokens_stands_what_goes_into_deeper_layers(tmp_path: Path) -> None:
    model, processor = tiny_base("qwen3_vl")
    weights.save(model, processor, tmp_path)
    towers = Towers.build(OwnConfig.from_dict({}, name_or_path=str(tmp_path)), torch.float32)
    towers.put({name: one for name, one in model.state_dict().items() if name in towers.state_dict()})
    item = Item(processor.image(_image(64, 48)), torch.tensor([[4.0, 4.0, 30.0, 40.0]] * 3), 0)
    with torch.inference_mode():
        picture = model.encode_image(item.inputs).picture
    found = towers.tokens(item)
    assert found.shape == (len(picture.tokens) + 3, 3 * 32)
    torch.testing.assert_close(found[:-3], torch.cat([picture.tokens, *picture.extras], dim=1), rtol=0, atol=0)
    assert found[-3:, :32].abs().min() > 0
    assert not found[-3:, 32:].any()


def test_weights_that_are_not_the_towers_are_named() -> None:
    towers = Towers.build(PublicConfig.from_dict({}, name_or_path=str(CHECKPOINT)), torch.bfloat16)
    assert {one.dtype for one in towers.parameters()} == {torch.bfloat16}
    with pytest.raises(CheckpointError, match=r"missing .* unexpected 1: nonsense"):
        towers.put({"nonsense": torch.zeros(1)})


def test_positions_are_those_of_the_base() -> None:
    """Two pictures and text around them, region tokens among it."""
    grids, base = [(3, 5), (4, 2)], reference()[0].base
    slots = torch.tensor([[False] * 4 + [True] * 15 + [False] * 6 + [True] * 8 + [False] * 5])
    wanted, following = ADAPTER.positions(base, slots, grids, torch.ones_like(slots))
    found = mrope_positions(slots.shape[1], [(4, grids[0]), (25, grids[1])])
    assert found.tolist() == wanted[:, 0].tolist()
    assert found.max() + 1 == following[0]
    assert mrope_positions(3, []).tolist() == [[0, 1, 2]] * 3


@pytest.mark.parametrize("family", sorted(DECODERS))
def test_the_chat_template_writes_the_processor_s_prompt(family: str, tmp_path: Path) -> None:
    model, processor = tiny_base(family)
    weights.save(model, processor, tmp_path)
    template = jinja2.Environment().from_string(chat_template(str(tmp_path)).read_text(encoding="utf-8"))
    said = [{"type": "image"}, {"type": "text", "text": "Where is <|im_end|> the dog?"}]
    messages = [{"role": "user", "content": said}, {"role": "assistant", "content": "Here."}]
    messages += [{"role": "user", "content": "And the cat?"}]
    conversation = [
        {"role": "user", "content": [{"type": "image", "image": _image(64, 64)}, said[1]]},
        *messages[1:],
    ]
    wanted = processor.apply_chat_template(conversation)
    written = template.render(messages=messages, add_generation_prompt=True)
    assert written.replace("<|image_pad|>", "<image>") == wanted
    own = template.render(messages=[{"role": "system", "content": "Be brief."}, messages[-1]])
    assert own == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nAnd the cat?<|im_end|>\n"


def test_without_regions_a_prompt_is_what_the_template_writes() -> None:
    processor = reference()[1]
    ids = processor.prompt_ids([0], "Where is the dog?").tolist()
    text = "<|vision_start|><|image_pad|><|vision_end|>\nWhere is the dog?"
    wanted = processor.text_ids(f"{processor.chat.opening}{text}{processor.chat.closing}").tolist()
    assert [processor.token_id("<|image_pad|>") if one == IMAGE_SLOT else one for one in ids] == wanted


def test_both_layouts_are_one_configuration_to_vllm(tmp_path: Path) -> None:
    weights.save(*reference(), tmp_path)
    public = PublicConfig.from_dict({"torch_dtype": "float32"}, name_or_path=str(CHECKPOINT))
    own, unused = OwnConfig.from_dict(
        json.loads((tmp_path / "config.json").read_text(encoding="utf-8")),
        name_or_path=str(tmp_path),
        return_unused_kwargs=True,
        other=1,
    )
    assert unused == {"other": 1}
    for config in (public, own):
        assert config.architectures == [ARCHITECTURE]
        assert config.dtype == torch.float32
        text = config.get_text_config()
        assert (text.hidden_size, text.tie_word_embeddings) == (64, True)
    assert public.region == own.region


def test_a_model_that_vllm_cannot_run_is_refused(tmp_path: Path) -> None:
    model, processor = tiny_base("internvl")
    weights.save(model, processor, tmp_path)
    with pytest.raises(CheckpointError, match="has a base of internvl; in vLLM run qwen2_5_vl"):
        OwnConfig.from_dict({}, name_or_path=str(tmp_path))
    nano = files("fo1agent") / "data" / "nano"
    with pytest.raises(CheckpointError, match=r"nano reads regions where they are named .* Use engine torch"):
        OwnConfig.from_dict({}, name_or_path=str(nano))
