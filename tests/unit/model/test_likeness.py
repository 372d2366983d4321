"""Regions compared across pictures: which of names and looks speaks, counter-examples, odd input, and both engines."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fo1agent.errors import CheckpointError, InputError, ToolFailed
from fo1agent.integrations.handles import Scenes
from fo1agent.loading import load
from fo1agent.model.finding import find_folder, fingerprint
from fo1agent.model.likeness import FILE, ByLook, ByName, Likeness, Seen, alike, believed, by_name
from fo1agent.model.predictor import Predictor
from fo1agent.model.tiled import TiledPredictor
from fo1agent.regions.examples import Example
from fo1agent.runs.batching import Batched
from fo1agent.scene import Model, Scene
from tests.tiny_models import FIXTURES, nano, reference

FITTED = Likeness(state_mean=(0, 0), token_mean=(0, 0), looks=ByLook(bias=-2, state=4, token=0, fit=0))
DEMO = find_folder(None)[0].parent / "demo"


def seen(names: list[list[float]], states: list[list[float]]) -> Seen:
    return Seen(np.array(names), np.array(states), np.zeros((len(states), 2)), np.zeros(len(states)))


def test_examples_that_have_a_name_are_compared_by_it_and_others_by_how_they_look() -> None:
    # Two names; the second region is called as the first, the third looks like it.
    named = seen([[0.9, 0.0], [0.8, 0.0], [0.0, 0.7]], [[1, 0], [0, 1], [1, 0]])
    np.testing.assert_allclose(alike(named, [named.vectors(0)], [], FITTED), [0.9, 0.8, 0.0], atol=2e-6)
    unnamed = seen([[0.001, 0.0]] * 3, [[1, 0], [0, 1], [1, 0]])
    near, far = 1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2))
    np.testing.assert_allclose(alike(unnamed, [unnamed.vectors(0)], [], FITTED), [near, far, near], atol=1e-6)


def test_between_the_two_their_shares_grow_with_the_name() -> None:
    found = [alike(seen([[p], [0.0]], [[1, 0], [1, 0]]), [seen([[p]], [[1, 0]]).vectors(0)], [], FITTED)[1]
             for p in (0.001, 0.015, 0.03, 0.5)]  # fmt: skip
    assert found == sorted(found, reverse=True)
    assert found[-1] < 2e-6


def test_counter_examples_turn_away_from_what_they_look_like() -> None:
    picture = seen([[0.0]] * 3, [[1, 0], [0.8, 0.6], [0.8, -0.6]])
    plain = alike(picture, [picture.vectors(0)], [], FITTED)
    turned = alike(picture, [picture.vectors(0)], [picture.vectors(1)], FITTED)
    assert plain[1] == pytest.approx(plain[2])
    assert turned[2] > plain[2] > turned[1]


def test_an_example_whose_name_is_in_doubt_says_little_and_never_turns_the_order_of_regions() -> None:
    weights = ByName(bias=-0.1, score=1.2, known=1.0, only=2.0, score_known=0.3)
    rows = [[0.9, 0.0], [0.6, 0.0], [0.3, 0.0], [0.0, 0.8]]
    of = {}
    for example in ([0.95, 0.0], [0.2, 0.0], [0.2, 0.19], [0.05, 0.05], [0.001, 0.001]):
        said = believed(np.array(rows), [{"names": np.array(example, dtype=np.float32)}])
        of[tuple(example)] = by_name(*said, weights)
        assert (np.diff(of[tuple(example)][np.argsort(said[0])]) >= 0).all()
    assert of[0.95, 0.0][0] > of[0.2, 0.0][0] > of[0.2, 0.19][0] > of[0.05, 0.05][0]
    assert of[0.95, 0.0][0] == pytest.approx(0.93, abs=0.03)


def test_what_regions_are_compared_by_is_a_part_of_the_fingerprint(tmp_path: Path) -> None:
    folder, _ = find_folder(None)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(folder / name)
    plain = fingerprint(tmp_path)
    (tmp_path / FILE).write_text(FITTED.model_dump_json(), encoding="utf-8")
    fitted = fingerprint(tmp_path)
    (tmp_path / FILE).write_text(
        FITTED.model_copy(update={"names": ByName(bias=1)}).model_dump_json(), encoding="utf-8"
    )
    assert len({plain, fitted, fingerprint(tmp_path), fingerprint(folder)}) == 4


def test_without_fitted_numbers_only_names_speak_and_of_no_name_nothing_is_said() -> None:
    picture = seen([[0.5, 0.0], [0.25, 0.0]], [[1, 0], [1, 0]])
    np.testing.assert_allclose(alike(picture, [picture.vectors(0)], [], None), [0.5, 0.25])
    nothing = seen([[0.0, 0.0]] * 2, [[1, 0], [1, 0]])
    assert not alike(nothing, [nothing.vectors(0)], [], None).any()


def test_regions_that_only_lessons_found_have_names_and_no_look() -> None:
    picture = Seen(np.array([[0.0], [0.0]]), np.ones((1, 2)), np.zeros((1, 2)), np.zeros(1))
    assert set(picture.vectors(1)) == {"names"}
    assert alike(picture, [picture.vectors(0)], [], FITTED)[1] == 0.0
    assert np.isfinite(alike(picture, [picture.vectors(1)], [], FITTED)).all()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"bias": 1}', json.dumps({**FITTED.model_dump(), "looks": {"bias": "x"}})]
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=FILE) as caught:
        Likeness.of(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_it_has_none(tmp_path: Path) -> None:
    assert Likeness.of(tmp_path) is None


# ---- scenes ----


@pytest.fixture(scope="module")
def cat_and_cut() -> tuple[Scene, Scene]:
    model = load(engine="onnx")
    cat = Image.open(DEMO / "cat.jpg").convert("RGB")
    return model.open(cat), model.open(cat.transpose(Image.Transpose.FLIP_LEFT_RIGHT))


def test_an_example_finds_its_kind_in_another_picture(cat_and_cut: tuple[Scene, Scene]) -> None:
    here, there = cat_and_cut
    remotes = here.ground("remote")
    example = pickle.loads(pickle.dumps(here.example(remotes[0])))
    assert (example.picture, example.label, example.box) == (here.id, "remote", remotes[0].box)
    found = there.ground(like=example)
    assert found.ids == there.ground("remote").ids
    assert set(found.labels) == {"remote"}
    assert there.ground(like=[example], limit=1).ids == found.ids[:1]
    album = there.model.open_many([here.loaded, there.loaded])
    assert [one.ids for one in album.ground(like=example)] == [(remotes[1].id,), found.ids]
    several = there.ground(like=[example, here.example(remotes[1].box)], unlike=[here.example(here.ground("cat")[0])])
    assert several.ids == found.ids
    assert len(pickle.dumps(example)) < 8000


def test_examples_of_the_same_picture_are_not_found_themselves(cat_and_cut: tuple[Scene, Scene]) -> None:
    here, _ = cat_and_cut
    first, second = here.ground("remote")
    assert here.ground(like=first.id).ids == here.ground(like=[here.example(first)]).ids == (second.id,)
    assert not len(here.ground(like=[first, second.box]))
    assert here.ground(like=list(first.box)).ids == (second.id,)


def test_both_engines_find_the_same(cat_and_cut: tuple[Scene, Scene]) -> None:
    here, there = cat_and_cut
    theirs = load(engine="torch")
    one, other = theirs.open(here.loaded), theirs.open(there.loaded)
    for box in ((0.0, 0.0, 300.0, 200.0), here.ground("remote")[0].box):
        found, wanted = (b.ground(like=a.example(box), threshold=0) for a, b in ((here, there), (one, other)))
        assert found.ids[:5] == wanted.ids[:5]
        np.testing.assert_allclose(found.scores[:5], wanted.scores[:5], atol=1e-3)
    np.testing.assert_allclose(
        other.ground(like=here.example("r0"), threshold=0).scores[:5],
        there.ground(like=here.example("r0"), threshold=0).scores[:5],
        atol=1e-3,
    )


def test_examples_are_found_in_tiles_and_taken_from_them(cat_and_cut: tuple[Scene, Scene]) -> None:
    here, there = cat_and_cut
    predictor: Any = TiledPredictor(there.model.predictor, 2)
    tiled = Model(predictor).open(there.loaded)
    assert len(tiled.regions) > len(there.regions)
    remote = here.example(here.ground("remote")[0])
    found, named = tiled.ground(like=remote, threshold=0.05), tiled.ground("remote", threshold=0.05)
    assert found.ids == named.ids
    assert len(found)
    of_a_tile = tiled.example(tiled.regions[len(tiled.regions) - 1])
    assert len(of_a_tile.vectors["names"]) == 80
    assert "state" in of_a_tile.vectors


def test_examples_of_other_weights_are_refused(cat_and_cut: tuple[Scene, Scene]) -> None:
    here, there = cat_and_cut
    foreign = Example("img_00000000/r0", (0.0, 0.0, 9.0, 9.0), None, "f" * 64, here.example("r0").vectors)
    with pytest.raises(InputError, match=r"img_00000000/r0 was made by other weights \(ffffffff\)"):
        there.ground(like=foreign)
    odd = {**here.example("r0").vectors, "names": np.zeros(3, dtype=np.float32)}
    fewer = Example("img_00000000/r0", (0.0, 0.0, 9.0, 9.0), None, here.example("r0").fingerprint, odd)
    with pytest.raises(InputError, match="knows 3 names, fo1-nano here 80"):
        there.ground(like=fewer)


BAD = np.array([0.5, np.nan], dtype=np.float32)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"id": 7}, "The example 7 is broken: its id must be a text, got 7. Make it anew"),
        ({"box": (0.0, 0.0, 9.0)}, r"its box must be four finite numbers, got \(0.0, 0.0, 9.0\)"),
        ({"box": (0.0, 0.0, 9.0, float("nan"))}, "its box must be four finite numbers"),
        ({"label": ["remote"]}, "its label must be a text or None"),
        ({"fingerprint": None}, "its fingerprint must be a text, got None"),
        ({"vectors": None}, "its vectors must be arrays"),
        ({"vectors": {"names": [0.5] * 80}}, "its vectors must be arrays"),
        ({"vectors": {"names": BAD}}, "its vectors must be arrays"),
        ({"vectors": {"names": np.zeros((80, 1), dtype=np.float32)}}, "its vectors must be arrays"),
        ({"vectors": {"names": np.array([None] * 80)}}, "its vectors must be arrays"),
        ({"vectors": {}}, "An example knows 0 names, fo1-nano here 80"),
        ({"vectors": {"names": np.full(80, 7.0, dtype=np.float32)}}, "to have a name with probability 7. Make it anew"),
        ({"state": np.zeros(3, dtype=np.float32)}, "holds 3 numbers as state, where [0-9]+ are wanted. Make it anew"),
        ({"looks": np.zeros(3, dtype=np.float32)}, "holds 'looks', and no model compares that. Make it anew"),
    ],
)
def test_an_example_that_was_tampered_with_is_refused(
    cat_and_cut: tuple[Scene, Scene], changed: dict[str, Any], told: str
) -> None:
    here, there = cat_and_cut
    example = pickle.loads(pickle.dumps(here.example("r0")))
    for name, value in changed.items():
        if name in vars(example):
            vars(example)[name] = value
        else:
            example.vectors[name] = value
    for asked in ({"like": example}, {"like": "r0", "unlike": [example]}):
        with pytest.raises(InputError, match=told):
            there.ground(**asked)
    vars(example).clear()
    with pytest.raises(InputError, match="The example 'without an id' is broken: its id must be a text, got None"):
        there.ground(like=example)


def test_an_example_of_numbers_however_large_is_compared(cat_and_cut: tuple[Scene, Scene]) -> None:
    here, there = cat_and_cut
    example = here.example("r0")
    for name in ("state", "token"):
        example.vectors[name][:] = np.finfo(np.float32).max
    example.vectors["names"][:] = 0
    assert np.isfinite(there.ground(like=example, threshold=0).scores).all()


def test_an_example_is_of_its_picture_whatever_boxes_that_was_opened_with(cat_and_cut: tuple[Scene, Scene]) -> None:
    here, _ = cat_and_cut
    first, second = here.ground("remote")
    boxed = Scenes(here.model).receive(here.loaded, [first.box, second.box])[1]
    assert boxed.id != here.id
    assert boxed.ground(like=here.example(first)).ids == (f"{boxed.id}/r1",)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"like": []}, "like holds no example"),
        ({"like": ["r0", None]}, "like holds None"),
        ({"phrase": "cat", "unlike": "r0"}, "a phrase takes none"),
        ({"unlike": "r0"}, "one of the two"),
        ({"like": "r999"}, "No region r999"),
    ],
)
def test_odd_examples_are_refused(cat_and_cut: tuple[Scene, Scene], arguments: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        cat_and_cut[0].ground(**arguments)


IMAGE = Image.open(FIXTURES / "images" / "d_97x65_3.png").convert("RGB")
BOXES = [[24.0, 3.88, 91.35, 48.7], [32.22, 17.12, 45.79, 61.6]]


def test_an_open_model_finds_what_is_similar_in_one_picture_and_says_that_it_compares_no_others() -> None:
    scene = Model(Predictor(*reference(), name="tiny")).open(IMAGE, boxes=BOXES)
    assert len(scene.ground(like="r0", threshold=0)) == 1
    for ask in (lambda: scene.example("r0"), lambda: scene.ground(like=["r0", "r1"])):
        with pytest.raises(ToolFailed, match="tiny cannot compare regions of several pictures"):
            ask()


def test_a_model_that_threads_share_compares_as_the_model_itself_does() -> None:
    own = Predictor(*nano(), name="nano", fingerprint="b")
    scene = Model(own).open(IMAGE, boxes=BOXES)
    batched = Batched(own)
    try:
        shared = Model(batched).open(IMAGE, boxes=BOXES)
        found = shared.ground(like=shared.example("r0"), threshold=0)
    finally:
        batched.close()
    wanted = scene.ground(like=scene.example("r0"), threshold=0)
    assert found.ids == wanted.ids
    np.testing.assert_allclose(found.scores, wanted.scores)
