"""On a CUDA device everything is as on a CPU: regions, answers, batches, a step of training.

    pytest -m gpu

fo1-nano computes in float32 here, whose sums come in another order on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fo1agent as fo
from fo1agent.scene import Model
from tests.tiny_stages import language_stage, tiny_store

DEVICE = "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]
QUESTIONS = (
    "How many remotes are there?",
    "Is there a couch?",
    "Where is the cat?",
    "Is the cat to the left of a remote?",
    "How many remotes are to the right of the cat?",
    "Is there a dog?",
    "What is on the couch?",
    "How many cats are there?",
    "Which is larger, the cat or the couch?",
    "Are there more remotes than cats?",
)
# Scores are products of thousands of float32 sums; the two devices differ by 1e-5 where sums are long.
SCORES = 1e-3


@pytest.fixture(scope="module")
def models() -> tuple[Model, Model]:
    """fo1-nano on the CPU, and on the device."""
    return fo.load(engine="torch"), fo.load(device=DEVICE)


@pytest.fixture
def photo(repo: Path) -> Image.Image:
    return Image.open(repo / "fo1agent" / "data" / "demo" / "cat.jpg")


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Convolutions in float32, not in TF32, as products are by default."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def test_the_device_finds_the_same_regions(models: tuple[Model, Model], photo: Image.Image) -> None:
    here, there = (model.open(photo).named() for model in models)
    assert there.ids == here.ids
    assert there.labels == here.labels
    np.testing.assert_allclose(there.scores, here.scores, atol=SCORES)
    np.testing.assert_allclose(there.boxes, here.boxes, atol=0.05)  # pixels


def test_the_device_answers_the_same(models: tuple[Model, Model], photo: Image.Image) -> None:
    told = [[fo.Agent(model).ask(model.open(photo), question).text for question in QUESTIONS] for model in models]
    assert told[1] == told[0]


def test_captions_are_the_same_one_by_one_and_together(models: tuple[Model, Model], photo: Image.Image) -> None:
    written: list[Any] = []
    for model in models:
        scene = model.open(photo)
        ids = list(scene.named().ids[:4])
        written.append([scene.describe(one).text for one in ids])
        predictor: Any = model.predictor
        together = predictor.generate_many(scene.encoding, [f"What is <region{k}>?" for k in range(4)], 8)
        alone = [predictor.generate(scene.encoding, f"What is <region{k}>?", 8) for k in range(4)]
        assert together == alone
    assert written[1] == written[0]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_counts_the_same(models: tuple[Model, Model], photo: Image.Image, dtype: str) -> None:
    half = fo.load(device=DEVICE, dtype=dtype)
    counts = [model.open(photo).count("remote").value for model in (*models, half)]
    assert counts == [2, 2, 2]


def test_a_compiled_model_says_the_same(models: tuple[Model, Model], photo: Image.Image) -> None:
    compiled = fo.load(device=DEVICE, compile=True)
    here, there = (model.open(photo).named() for model in (models[0], compiled))
    assert there.ids == here.ids
    np.testing.assert_allclose(there.scores, here.scores, atol=SCORES)


def test_a_step_of_training_has_the_same_loss(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    losses = []
    for device in ("cpu", DEVICE):
        stage = language_stage(store)
        stage.model.to(device)  # pyright: ignore[reportArgumentType]  (transformers' own decorator)
        batch = stage.batch(0)
        losses.append({name: value.item() for name, value in stage.losses(batch).items()})
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
