"""The nano, asked by many at once: what it answers together is what it answers alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

import fo1agent
from fo1agent.pictures.image import load_image
from fo1agent.runs.batching import Batched, ManyPredictor

DEMO = Path(fo1agent.__file__).parent / "data" / "demo"
PHRASES = ["cat", "remote", "red bus", "person", "couch", "traffic light", "sleeping cat", "blue car"]


@pytest.fixture(scope="module")
def model() -> fo1agent.Model:
    return fo1agent.load()


def test_many_at_once_are_answered_as_one_after_the_other(model: fo1agent.Model) -> None:
    passes: list[tuple[str, int, int]] = []
    predictor = cast(ManyPredictor, fo1agent.load().predictor)  # one that remembers nothing of the other's
    batched = Batched(predictor, wait_s=1.0, on_pass=lambda *told: passes.append(told))
    pictures = [DEMO / "cat.jpg", DEMO / "bus.jpg"]
    alone = {path: model.open(path) for path in pictures}
    with ThreadPoolExecutor(16) as threads:
        scenes = list(threads.map(replace(model, predictor=batched).open, pictures * 4))
        for path, scene in zip(pictures * 4, scenes, strict=True):
            np.testing.assert_array_equal(scene.encoding.boxes, alone[path].encoding.boxes)
        assert sum(different for kind, _, different in passes if kind == "encode") < 8

        # Other phrases in the same pass change nothing but the last digits.
        asked = [(path, scene, phrase) for path, scene in zip(pictures, scenes, strict=False) for phrase in PHRASES]
        found = threads.map(lambda one: batched.match(one[1].encoding, [one[2]]), asked)
        for (path, _, phrase), scores in zip(asked, found, strict=True):
            expected = model.predictor.match(alone[path].encoding, [phrase])
            np.testing.assert_allclose(scores, expected, atol=1e-4)
        assert max(jobs for kind, jobs, _ in passes if kind == "match") > 1

        targets = [f"r{k}" for k in range(8)]
        said = list(threads.map(scenes[0].describe, targets))
        assert [one.text for one in said] == [alone[pictures[0]].describe(target).text for target in targets]
        assert max(jobs for kind, jobs, _ in passes if kind == "generate") > 1
    batched.close()


def test_what_was_asked_before_needs_no_pass(model: fo1agent.Model) -> None:
    predictor = cast(ManyPredictor, model.predictor)
    encoding = predictor.encode(load_image(DEMO / "cat.jpg"))
    assert predictor.recalled(encoding, ["never asked"]) is None
    expected = predictor.match(encoding, ["never asked", "cat"])
    for phrases in (["never asked", "cat"], ["cat"], []):
        known = predictor.recalled(encoding, phrases)
        assert known is not None
        np.testing.assert_array_equal(known, expected[2 - len(phrases) :])
