"""What benchmarks/shares.py counts is what a model does."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from fo1agent.model.predictor import Predictor
from tests.tiny_models import FIXTURES, reference

IMAGE = Image.open(FIXTURES / "images" / "d_97x65_3.png").convert("RGB")


@pytest.fixture
def shares(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(repo / "benchmarks"))
    return importlib.import_module("shares")


def test_products_and_attention_are_counted(shares: Any) -> None:
    linear, states = torch.nn.Linear(4, 6), torch.zeros(1, 2, 5, 8)
    with torch.inference_mode():
        assert shares.operations(lambda: linear(torch.zeros(3, 4))) == 2 * 3 * 4 * 6
        attended = shares.operations(lambda: torch.nn.functional.scaled_dot_product_attention(states, states, states))
    assert attended == 2 * (2 * 2 * 5 * 5 * 8)


def test_every_part_has_a_share(shares: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "COPIED", 2**16)
    predictor = Predictor(*reference())
    figures = shares.measure(
        predictor,
        IMAGE,
        importlib.import_module("full_size").some_boxes(3, *IMAGE.size),
        tokens=2,
        rounds=1,
        pack=False,
    )
    assert list(figures["parts"]) == ["vision tower", "DaViT", "SimpleFP", "prefill", "decode"]
    assert all(part["seconds"] > 0 and part["share"] > 0 for part in figures["parts"].values())


def test_a_token_reads_the_layers_and_the_output_layer(shares: Any) -> None:
    model, processor = reference()
    decoder = model.adapter.decoder(model.base)
    embeddings = decoder.embed_tokens.weight.nbytes
    rest = decoder.norm.weight.nbytes
    assert (
        shares.weights_a_token(Predictor(model, processor))
        == sum(one.nbytes for one in decoder.parameters()) - embeddings - rest + model.base.lm_head.weight.nbytes
    )
