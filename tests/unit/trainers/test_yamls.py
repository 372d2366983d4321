"""YAML of people: no key twice, bounded, and words as they stand where that is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from fo1agent.errors import DataError, InputError
from fo1agent.trainers import yamls
from fo1agent.trainers.data.formats import SourceRecipe, open_source
from fo1agent.trainers.data.tasks import read_confusable
from fo1agent.trainers.recipe import load_recipe
from fo1agent.trainers.step import TrainSettings


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: 1\nb: 2\na: 1", "holds the key 'a' twice, again in line 3"),
        ("a: {0: cat, 0: dog}", "holds the key '0' twice, again in line 1"),
        ("a: {<<: {b: 1}, <<: {c: 1}}", "holds the key '<<' twice"),
        ("a: " + "[" * 5000, "is nested too deep"),
        ("a: " + "[" * 40 + "]" * 40, "nests them over 32 deep"),
        ("a: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", "holds more than 10 values"),
        ("a: &a [*a]", "over 32 deep"),
        ("a: !!bool x", "is not YAML"),
        ("a: !!python/object/apply:os.getcwd []", "is not YAML: could not determine a constructor"),
        ("{[1]: 2}", "is not YAML"),
        ("{!!seq x: 2}", "is not YAML"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    for as_written in (False, True):
        with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared
            yamls.parse(text, 10, as_written)
        assert why in str(error.value)
        assert "\n" not in str(error.value)


def test_numbers_and_dates_are_looked_at_where_they_are_read_as_such() -> None:
    with pytest.raises(ValueError, match="holds the key '0x1' twice"):
        yamls.parse("a: {1: cat, 0x1: dog}", 10)
    with pytest.raises(ValueError, match="is not YAML"):
        yamls.parse("a: !!timestamp x", 10)


def test_keys_of_other_mappings_and_of_those_taken_in_are_no_twins() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: {<<: *a}\nx: 4"
    assert yamls.parse(text, 100) == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}, "c": {"x": 1, "y": 2}, "x": 4}


def test_words_stay_as_they_are_written() -> None:
    text = "[1, 010, 0x10, 1:30, 1_000, 2.5, 1.50, 1e3, .inf, 2020-01-01, yes, null, cup]"
    kept = [1, "010", "0x10", "1:30", "1_000", 2.5, "1.50", "1e3", ".inf", "2020-01-01", True, None, "cup"]
    assert yamls.parse(text, 100, as_written=True) == kept
    assert yamls.parse("[010, 0x10, 1:30]", 100) == [8, 16, 90]


def test_files_that_people_write_have_no_key_twice(tmp_path: Path) -> None:
    file = tmp_path / "data.yaml"
    file.write_text("train: .\nnames: [cup]\nnames: [dog]\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds the key 'names' twice"):
        open_source(SourceRecipe(tmp_path))
    with pytest.raises(DataError, match="holds the key 'names' twice"):
        read_confusable(file)
    file.write_text("steps: 1\nlr: 1\nlr: 0.1\n", encoding="utf-8")
    with pytest.raises(InputError, match="holds the key 'lr' twice"):
        load_recipe(TrainSettings, file)


def test_classes_are_called_what_stands_there(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    (tmp_path / "data.yaml").write_text("train: .\nnames: [1, 0x10, 1:30, 010, 1.50]\nnc: 5\n", encoding="utf-8")
    assert open_source(SourceRecipe(tmp_path)).vocabulary == ("1", "0x10", "1:30", "010", "1.50")
