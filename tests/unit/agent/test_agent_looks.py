"""Many pictures are opened batch by batch and looked at together, and each gives what it gives alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fo1agent.agent.sharing import looks, of_each
from fo1agent.errors import FO1AgentError, ImageError, InputError
from fo1agent.model.predictor import Predictor
from fo1agent.scene import Model, Scene, batches
from tests.fakes import FakePredictor
from tests.tiny_models import reference
from tests.unit.agent.test_agent_batch import PICTURE, Many


@dataclass
class _Kept:
    """An encoding of a known size."""

    nbytes: int


@dataclass
class _Scene:
    """What `batches` reads of a scene."""

    model: Any
    encoding: _Kept


class _Large(FakePredictor):
    cache_bytes = 100

    def match_many(self, encodings: Sequence[Any], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        raise AssertionError("how many pictures are open does not hang on what is asked")


def sizes(predictor: Any, nbytes: Sequence[int]) -> list[int]:
    """How many of pictures that take so many bytes are open together."""
    model = Model(predictor)
    return [len(batch) for batch in batches(nbytes, lambda size: _Scene(model, _Kept(size)))]


def test_so_many_are_open_together_as_the_model_would_keep() -> None:
    large = _Large([])
    assert sizes(large, [1] * 40) == [16, 16, 8]
    assert sizes(large, [40] * 7) == [3, 3, 1]
    assert sizes(large, [200, 1, 1]) == [1, 2]
    assert sizes(FakePredictor([]), [1] * 3) == [1, 1, 1]  # nothing of these can be computed together
    assert sizes(large, []) == []


def test_a_batch_is_made_when_the_one_before_has_been_taken() -> None:
    opened: list[int] = []

    def scene(number: int) -> Any:
        opened.append(number)
        if number == 3:
            raise ImageError("3 is broken.")
        return _Scene(Model(_Large([])), _Kept(1))

    made = batches(iter(range(20)), scene)
    assert [item for item, _ in next(made)] == opened == list(range(16))
    (rest,) = made
    assert [item for item, _ in rest] == [16, 17, 18, 19]


def test_looks_share_passes_and_errors_stay_where_they_are() -> None:
    model = Many()

    names, of = ["a", "absent", "b", "wrong", "c"], {}

    def opened(name: str) -> Scene:
        if name == "absent":
            raise ImageError("There is no absent.")
        scene = Model(model).open(PICTURE)
        of[id(scene.encoding)] = name
        return scene

    def look(scene: Scene) -> Any:
        name = of[id(scene.encoding)]
        if name == "wrong":
            raise InputError("No such region.")
        return name, scene.describe("r0").text

    found = list(looks(names, opened, look))
    assert [item for item, _, _ in found] == names
    assert [scene is None for _, scene, _ in found] == [False, True, False, False, False]
    assert [got if isinstance(got, tuple) else str(got) for _, _, got in found] == [
        ("a", "a bus"),
        "There is no absent.",
        ("b", "a bus"),
        "No such region.",
        ("c", "a bus"),
    ]
    # All three where all are there at once, which a busy machine does not promise.
    assert max(count for what, count in model.made if what == "generate") > 1


def test_a_bug_is_raised() -> None:
    scenes = [Model(Many()).open(PICTURE) for _ in range(2)]
    with pytest.raises(ZeroDivisionError):
        of_each(lambda scene: 1 // 0, scenes)


class Brief(Predictor):
    """The tiny model, which knows no end, writes few words."""

    def generate_many(self, about: Any, texts: Sequence[str], max_new_tokens: int = 256) -> list[str]:
        return super().generate_many(about, texts, 4)


PHRASES = ("dog", "red car", "x")
SHAPES = st.tuples(st.integers(30, 90), st.integers(30, 90), st.integers(0, 4))


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    st.lists(SHAPES, min_size=2, max_size=3), st.lists(st.sampled_from(["dog", "red car", "x"]), min_size=1, max_size=2)
)
def test_pictures_of_any_sizes_and_box_counts_give_together_what_each_gives_alone(
    made: list[tuple[int, int, int]], phrases: list[str]
) -> None:
    model = Model(Brief(*reference()))  # no head and no list of names: all that is said of a picture is decoded
    noise = np.random.default_rng(len(made))
    pictures = [noise.integers(0, 256, (height, width, 3), dtype=np.uint8) for width, height, _ in made]
    boxes = [[[k, 2 * k, k + 20, 28] for k in range(count)] for _, _, count in made]

    def opened(number: int) -> Scene:
        return model.open(pictures[number], np.reshape(boxes[number], (-1, 4)))

    def look(scene: Scene) -> Any:
        found = scene.ground_many(phrases, threshold=0.0)
        same = scene.ground(like="r0", threshold=0.0) if len(scene.regions) > 3 else found[phrases[0]]
        told = [scene.describe(target).text for target in (*scene.regions, (1, 1, 20, 29))]
        return [(region.id, region.score) for one in (*found.values(), same) for region in one], told

    alone = [look(opened(number)) for number in range(len(made))]
    together = [got for _, _, got in looks(range(len(made)), opened, look)]
    for (scored, told), got in zip(alone, together, strict=True):
        assert not isinstance(got, FO1AgentError)
        assert got[1] == told
        assert dict(got[0]).keys() == dict(scored).keys()
        np.testing.assert_allclose([s for _, s in sorted(got[0])], [s for _, s in sorted(scored)], rtol=0, atol=1e-5)
