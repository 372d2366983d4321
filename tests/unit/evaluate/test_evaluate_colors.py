"""`fo1agent.evaluate.colors` asks only what the colour decides, and counts pairs and unknown names apart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fo1agent.errors import DataError, ImageError
from fo1agent.evaluate.colors import evaluate, read_held_out, read_pictures
from fo1agent.regions.regions import Regions

BOXES = [[0, 0, 20, 20], [30, 0, 50, 20], [60, 0, 80, 20]]
RGB = [(220, 20, 20), (20, 60, 220), (20, 60, 220)]
LINE = {
    "id": 1,
    "file_name": "a.png",
    "width": 90,
    "height": 20,
    "boxes": BOXES,
    "labels": ["cup", "cup", "cup"],
    "phrases": [["cup", [0, 1, 2]], ["red cup", [0]], ["blue cup", [1, 2]], ["green cup", []], ["old cup", [1]]],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    picture = Image.new("RGB", (90, 20), (128, 128, 128))
    for box, color in zip(BOXES, RGB, strict=True):
        picture.paste(color, (box[0], box[1], box[2], box[3]))
    picture.save(tmp_path / "a.png")
    path = tmp_path / "examples.jsonl"
    path.write_text(json.dumps(LINE) + "\n", encoding="utf-8")
    return path


@dataclass
class Scene:
    """Finds each phrase as `scores` says, one score per box."""

    image: Image.Image
    scores: dict[str, list[float]]
    note: str = ""

    def ground_many(self, phrases: list[str], threshold: float) -> dict[str, Regions]:
        assert threshold == 0
        return {phrase: self._found(np.array(self.scores[phrase])) for phrase in phrases}

    def _found(self, scores: np.ndarray) -> Regions:
        order = np.argsort(-scores)
        ids = tuple(f"img_00000000/r{k}" for k in order)
        return Regions(np.array(BOXES, float)[order], scores[order], (None,) * 3, ids, "fake", note=self.note)


@dataclass
class Model:
    scores: dict[str, list[float]]
    note: str = ""

    def open(self, source: Any, boxes: Any = None) -> Scene:
        if not Path(source).is_file():
            raise ImageError("no such picture")
        return Scene(Image.open(source).convert("RGB"), self.scores, self.note)


RIGHT = {"cup": [0.9, 0.8, 0.7], "red cup": [0.9, 0.1, 0.1], "blue cup": [0.1, 0.2, 0.8]}


def test_an_oracle_is_always_right_and_chance_is_the_share_of_boxes_that_are_meant(file: Path) -> None:
    figures = evaluate(Model(RIGHT), file, file.parent, [("cup", "blue")]).to_dict()
    assert figures["all"] == {"ranked": 100, "chance": 50, "pixels": 100, "found": 100, "blind": 50, "n": 2}
    assert (figures["seen"]["n"], figures["held_out"]["n"], figures["known"]["n"]) == (1, 1, 2)
    assert figures["ranked_by_color"] == {"blue": 100, "red": 100}


def test_a_box_without_any_probability_does_not_count_as_first(file: Path) -> None:
    nothing = {phrase: [0.0, 0.0, 0.0] for phrase in RIGHT}
    figures = evaluate(Model(nothing), file, file.parent, []).to_dict()
    assert (figures["all"]["ranked"], figures["all"]["found"]) == (0, 0)
    assert figures["held_out"] == {"ranked": None, "chance": None, "pixels": None, "found": None, "blind": None, "n": 0}


def test_names_that_the_model_does_not_know_are_counted_apart(file: Path) -> None:
    figures = evaluate(Model(RIGHT, note="does not know"), file, file.parent, []).to_dict()
    assert (figures["all"]["n"], figures["known"]["n"]) == (2, 0)


def test_only_phrases_that_the_colour_decides_are_asked(file: Path) -> None:
    (picture,) = read_pictures(file)
    assert [phrase.text for phrase in picture.phrases] == ["red cup", "blue cup"]


def test_a_picture_that_cannot_be_opened_is_reported(file: Path) -> None:
    (file.parent / "a.png").unlink()
    report = evaluate(Model(RIGHT), file, file.parent, [])
    assert report.failures == (("a.png", "no such picture"),)


@pytest.mark.parametrize(
    "line", ["no json", "[]", '{"boxes": [[0, 0, 1, 1]]}', '{"file_name": "a", "boxes": [[1]]}', '{"phrases": [["a"]]}']
)
def test_a_line_that_is_no_example_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "bad.jsonl").write_text(json.dumps(LINE) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"bad\.jsonl:2"):
        read_pictures(tmp_path / "bad.jsonl")


def test_a_file_without_such_phrases_is_told(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text(json.dumps({**LINE, "phrases": []}) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="no phrase such as"):
        evaluate(Model({}), tmp_path / "none.jsonl", tmp_path, [])


def test_held_out_pairs_are_read(tmp_path: Path) -> None:
    (tmp_path / "held_out.json").write_text('[["cup", "red"]]', encoding="utf-8")
    assert read_held_out(tmp_path / "held_out.json") == [("cup", "red")]
    (tmp_path / "held_out.json").write_text('["cup"]', encoding="utf-8")
    with pytest.raises(DataError, match="no list of pairs"):
        read_held_out(tmp_path / "held_out.json")
