"""Recipes: types, defaults, overrides, and errors that name the key."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from fo1agent.errors import InputError
from fo1agent.trainers.recipe import load_recipe
from fo1agent.trainers.step import TrainSettings


@dataclass(frozen=True)
class Data:
    root: Path
    images: int | None = None
    sizes: tuple[int, ...] = (300, 492)
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    data: Data
    train: TrainSettings
    kind: Literal["a", "b"] = "a"
    flip: bool = True


TEXT = """
data: {root: some/where, sizes: [44, 108], weights: {match: 2, box: 1e-1}}
train: {steps: 10, lr: 1e-3, part_lr: {head: 1e-4}}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(TEXT)
    return path


def test_a_recipe_becomes_dataclasses(file):
    recipe = load_recipe(Recipe, file)
    assert recipe.data == Data(Path("some/where"), None, (44, 108), {"match": 2.0, "box": 0.1})
    assert recipe.train.lr == 1e-3
    assert recipe.train.part_lr == {"head": 1e-4}
    assert (recipe.kind, recipe.flip) == ("a", True)


def test_overrides_reach_nested_keys(file):
    recipe = load_recipe(Recipe, file, ["train.steps=3", "data.images=7", "kind=b", "flip=false", "data.weights.x=1"])
    assert (recipe.train.steps, recipe.data.images, recipe.kind, recipe.flip) == (3, 7, "b", False)
    assert recipe.data.weights == {"match": 2.0, "box": 0.1, "x": 1.0}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("train.stepz=3", "train: unknown key(s) stepz. Did you mean steps?"),
        ("colour=red", "unknown key(s) colour"),
        ("train.steps=many", "train: steps is of type int, got 'many'"),
        ("train.steps=true", "steps is of type int, got True"),
        ("train.lr=fast", "lr is of type float"),
        ("train.lr=-1", "TrainSettings.lr must be positive"),
        ("kind=c", "kind is one of a, b, got 'c'"),
        ("data.sizes=3", "sizes is a list"),
        ("data=3", "data is a group of keys"),
        ("data.root.x=3", "root is a value, not a group"),
        ("train.steps", "not of the form key=value"),
        ("flip=[", "not YAML"),
    ],
)
def test_a_bad_override_names_its_key(file, override, says):
    with pytest.raises(InputError) as error:
        load_recipe(Recipe, file, [override])
    assert says in str(error.value)


def test_a_missing_key_is_named(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("train: {steps: 1, lr: 1}")
    with pytest.raises(InputError, match=r"missing key.*data"):
        load_recipe(Recipe, path)


@pytest.mark.parametrize("text", ["- a list", "a: [", "just words"])
def test_a_file_that_is_no_mapping_is_an_error(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(InputError):
        load_recipe(Recipe, path)


def test_a_missing_file_lists_the_packaged_recipes(tmp_path):
    with pytest.raises(InputError, match="Packaged recipes"):
        load_recipe(Recipe, tmp_path / "none.yaml")


LAUGHS = "\n".join(["a0: &a0 [1, 1, 1]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 20))])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: os.mkfifo(path), "got a pipe, wanted a regular file"),
        (lambda path: path.mkdir(), "got a folder, wanted a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "got a device, wanted a regular file"),
        (lambda path: path.write_text("#" * 300_000), "wanted at most 262144"),
        (lambda path: path.write_bytes(b"kind: \xff"), "is not UTF-8"),
        (lambda path: path.write_text("{" * 2000), "nested too deep"),
        (lambda path: path.write_text("data: " + "[" * 40 + "]" * 40), "over 32 deep"),
        (lambda path: path.write_text(LAUGHS), "holds more than 100000 values"),
        (lambda path: path.write_text("data: &a [*a]"), "over 32 deep"),
        (lambda path: path.write_text("data: " + "9" * 5000), "is not YAML"),
        (lambda path: path.write_text("data: 2001-99-99"), "is not YAML"),
    ],
)
def test_a_file_that_is_no_recipe_is_an_input_error(tmp_path, make, says):
    make(tmp_path / "r.yaml")
    with pytest.raises(InputError) as error:
        load_recipe(Recipe, tmp_path / "r.yaml")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "9" * 400])
def test_a_number_that_is_not_finite_is_none(file, value):
    with pytest.raises(InputError, match=r"weights\.match is of type float"):
        load_recipe(Recipe, file, [f"data.weights.match={value}"])
