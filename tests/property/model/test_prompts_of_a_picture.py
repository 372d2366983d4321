"""However many boxes a prompt holds, each region is scored as its prompt alone would score it, and keeps its number."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fo1agent.loading import load
from fo1agent.model.encoding import SceneEncoding
from fo1agent.model.predicting import BasePredictor
from fo1agent.model.predictor import Predictor
from fo1agent.regions.regions import Regions
from tests.tiny_models import FIXTURES, nano, reference

# The picture's tokens are read with the first prompt and not again: sums are rounded otherwise. 1e-6 was seen.
ROUNDING = 1e-5
PHRASES = ["dog", "the person on the left"]
IMAGE = Image.open(FIXTURES / "images" / "d_97x65_3.png").convert("RGB")


@cache
def onnx_nano() -> BasePredictor:
    return load(engine="onnx").predictor  # pyright: ignore[reportReturnType]


@cache
def open_torch() -> BasePredictor:
    model, processor = reference()
    return Predictor(model, copy(processor), name="tiny", fingerprint="prompts-open")


@cache
def closed_torch() -> BasePredictor:
    model, processor = nano()
    return Predictor(model, copy(processor), name="nano", fingerprint="prompts-closed")


def holding(predictor: BasePredictor, most: int) -> BasePredictor:
    """The model with so many boxes in a prompt."""
    predictor.processor.settings = replace(predictor.processor.settings, max_regions=most)
    predictor.max_regions = most
    return predictor


def encoded(predictor: BasePredictor, boxes: np.ndarray, scores: np.ndarray) -> SceneEncoding:
    predictor.cache.max_bytes = 0  # how many a prompt holds is no part of the key
    ids = tuple(f"img_0/r{k}" for k in range(len(boxes)))
    return predictor.encode(IMAGE, Regions(boxes, scores, (None,) * len(boxes), ids))


@pytest.mark.parametrize("engine", [onnx_nano, open_torch, closed_torch])
@settings(max_examples=5, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 9), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_a_region_is_scored_as_its_prompt_alone_scores_it(engine, number: int, most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 40, (number, 2)).astype(float)
    boxes = np.concatenate([corners, corners + rng.integers(4, 25, (number, 2))], axis=1)
    scores = rng.integers(0, 3, number) / 2  # with ties
    predictor = holding(engine(), most)
    whole = encoded(predictor, boxes, scores)
    np.testing.assert_array_equal(whole.boxes, boxes)
    rows, (silent,) = predictor.match(whole, PHRASES), silenced(predictor, whole)
    assert rows.shape == silent.shape == (len(PHRASES), number)
    assert len(whole.chunks) == (-(-number // most) if number > most else 0)
    order = np.argsort(-scores, kind="stable")
    for first in range(0, number, most):
        part = np.sort(order[first : first + most])
        alone = encoded(predictor, boxes[part], scores[part])
        assert not alone.chunks
        np.testing.assert_allclose(predictor.match(alone, PHRASES), rows[:, part], atol=ROUNDING)
        np.testing.assert_allclose(silenced(predictor, alone)[0], silent[:, part], atol=ROUNDING)
    if number <= most:
        unlimited = encoded(holding(predictor, 20), boxes, scores)
        np.testing.assert_array_equal(predictor.match(unlimited, PHRASES), rows)


def silenced(predictor: BasePredictor, encoding: SceneEncoding) -> list[np.ndarray]:
    """Scores without the language's term; of a model without such terms those of phrases."""
    if predictor.vocabulary is None:
        return [predictor.match(encoding, PHRASES)]
    return predictor.match_without(encoding, PHRASES, [["language"]])
