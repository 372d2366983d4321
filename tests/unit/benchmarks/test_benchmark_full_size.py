"""Whether the plain way of benchmarks/full_size.py computes what the model does: only then is it a measure."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fo1agent.model.attention import NAME
from fo1agent.model.predictor import Predictor
from fo1agent.regions.regions import Regions
from tests.tiny_models import FIXTURES, reference

IMAGE = Image.open(FIXTURES / "images" / "d_97x65_3.png").convert("RGB")
QUESTION = "What is <region1>?"


@pytest.fixture
def full_size(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(repo / "benchmarks"))
    return importlib.import_module("full_size")


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(*reference())


def test_the_plain_way_pools_the_same_vectors_and_writes_the_same_ids(full_size: Any, predictor: Predictor) -> None:
    boxes = full_size.some_boxes(5, *IMAGE.size)
    model, processor = predictor.model, predictor.processor
    inputs = processor.image(IMAGE)
    with torch.inference_mode():
        features = model.encode_image(inputs)
        vectors = full_size.plain_vectors(model, features, inputs, boxes)
        torch.testing.assert_close(vectors, model.region_vectors(features, torch.from_numpy(boxes)), rtol=0, atol=1e-4)
    regions = Regions(boxes, np.ones(5), (None,) * 5, tuple("abcde"))
    ids = full_size.plain_answer(predictor, IMAGE, boxes, QUESTION, 8)
    assert len(ids) > 1
    said = predictor.generate(predictor.encode(IMAGE, regions), QUESTION, max_new_tokens=8)
    assert processor.decode(ids) == said
    assert model.adapter.decoder(model.base).config._attn_implementation == NAME


def test_every_kind_of_run_is_measured(full_size: Any, predictor: Predictor) -> None:
    figures = full_size.measure(predictor, IMAGE, full_size.some_boxes(11, *IMAGE.size), tokens=2, rounds=1)
    assert len(figures) == 13
    assert all(value > 0 for value in figures.values())
    assert predictor.stop_ids


def test_its_model_has_the_widths_of_the_public_one_and_weights_that_are_numbers(full_size: Any) -> None:
    config = full_size.wide_config(36, 32)
    assert config.base_config.vision_config.fullatt_block_indexes == [7, 15, 23, 31]
    text = config.get_text_config()
    assert (text.hidden_size, text.num_key_value_heads, text.vocab_size) == (2048, 2, 151_936)
    linear = torch.nn.Linear(4, 3)
    with torch.no_grad():
        full_size.fill(torch.nn.Sequential(linear, torch.nn.LayerNorm(3)))
    assert len(linear.weight.unique()) == 12
    assert not torch.any(linear.bias)
