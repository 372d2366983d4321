"""What the page of bases shows is so: its blocks run, the family that it adds is one, and its table is whole."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import LlavaConfig

from fo1agent.model import bases, weights
from fo1agent.model.bases import GROUP
from fo1agent.model.config import FO1Config
from fo1agent.model.fo1 import FO1
from fo1agent.model.generation import greedy
from fo1agent.model.processing import FO1Processor
from fo1agent.model.sequence import IMAGE_SLOT, Sample
from tests.e2e.test_docs_pages import blocks, folder  # noqa: F401 (a fixture)
from tests.published import publish
from tests.tiny_bases import AUX, TEXT, tokenizer

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "bases.md").read_text(encoding="utf-8")


def test_the_table_has_every_family() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)[1:] == list(bases.FAMILIES)


def test_a_base_is_attached_as_the_page_says(folder: Path) -> None:  # noqa: F811
    (code, *_), (expected,) = blocks(PAGE, "python"), blocks(PAGE, "text")
    torch.manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "docs/bases.md", "exec"), {})
    assert printed.getvalue() == expected


def save_llava(folder: Path) -> LlavaConfig:  # noqa: F811 (a folder, not the fixture)
    """A tiny model of the family that the page adds, with random weights; the configuration of its base."""
    words = tokenizer(("<s>", "</s>", "<image>"))
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    base = LlavaConfig(
        text_config={"model_type": "llama", **TEXT},
        vision_config={"model_type": "clip_vision_model", "image_size": 32, "patch_size": 8, **sizes},
        image_token_index=words.get_vocab()["<image>"],
        tie_word_embeddings=True,
    )
    strides, processing = [2.0, 4.0, 8.0, 16.0], {"max_regions": 20}
    region = {"roi_size": 2, "primary_channels": 32, "fpn_channels": 8, "fpn_strides": strides}
    with torch.inference_mode(False):
        model = FO1(FO1Config(base_config=base, aux=AUX, region=region, processing=processing)).eval()
    weights.save(model, FO1Processor(words, model.config), folder)
    return base


@torch.inference_mode()
def test_the_family_that_the_page_adds_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, module, naming = blocks(PAGE, "python")
    assert len(module.splitlines()) < 150
    (tmp_path / "llava_base.py").write_text(module, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(bases.FAMILIES, "llava", "")  # so that what the block writes is taken back
    exec(compile(naming, "docs/bases.md", "exec"), {"bases": bases})
    base = save_llava(tmp_path / "model")
    model, processor = weights.load(tmp_path / "model")
    picture = Image.effect_noise((60, 40), 80)
    features = model.encode_image(processor.image(picture))
    # Nothing is added to the bare base.
    alone = Sample(processor.prompt_ids([0], "What is this?"), [features.picture])
    at = int((alone.input_ids == IMAGE_SLOT).nonzero())
    slots = torch.full((len(features.image_tokens),), base.image_token_id)
    ids = torch.cat([alone.input_ids[:at], slots, alone.input_ids[at + 1 :]])[None]
    pixels = processor.image(picture).pixel_values
    bare = model.base(input_ids=ids, pixel_values=pixels, attention_mask=torch.ones_like(ids)).logits
    assert torch.equal(model(model.assemble([alone])).logits, bare)
    # What is kept of the picture is gone on from as if all were read at once.
    tokens = model.encode_regions(features, torch.tensor([[2.0, 2, 30, 30], [20, 5, 60, 40]]))[1]
    prefix = model.prefill(Sample(processor.prefix_ids([2]), [features.picture], tokens))
    question = processor.question_ids([2], "What is <region1>?")
    whole = Sample(torch.cat([processor.prefix_ids([2]), question]), [features.picture], tokens)
    hidden = model(model.assemble([whole])).hidden_states[0, -1]
    torch.testing.assert_close(model.phrase_states(prefix, [question])[0], hidden, rtol=0, atol=1e-5)
    assert len(greedy(model, prefix, question, (), 3).ids) == 3


def test_a_family_that_a_package_publishes_is_known_at_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repo: Path
) -> None:
    _, module, _ = blocks(PAGE, "python")
    (named,) = re.findall(r'^(llava = ".*")$', PAGE, re.MULTILINE)
    publish(
        tmp_path,
        monkeypatch,
        named.replace('"', ""),
        package="llava-base",
        module="llava_base",
        text=module,
        group=GROUP,
    )
    save_llava(tmp_path / "model")
    Image.effect_noise((60, 40), 80).save(tmp_path / "seen.png")
    (tmp_path / "boxes.json").write_text("[[2, 2, 30, 30], [20, 5, 60, 40]]")
    arguments = ["ground", "seen.png", "dog", "--boxes", "boxes.json", "--model", "model", "--threshold", "0", "--json"]
    path = os.pathsep.join([str(tmp_path), str(repo)])
    done = subprocess.run(
        [sys.executable, "-m", "fo1agent", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["phrases"]["dog"]["regions"]) == 2
