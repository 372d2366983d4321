"""Naming of hand-drawn boxes: what counts as named right, and that every box is counted once."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from fo1agent.errors import DataError
from fo1agent.evaluate.regions import Named, RegionsReport, evaluate
from fo1agent.model.predictor import Predictor
from fo1agent.scene import Model
from tests.tiny_models import VOCABULARY, nano, reference


def named(name: str, label: str | None, words: str, share: float = 0.1) -> Named:
    return Named("a.jpg", (0.0, 0.0, 10.0, 10.0), share, name, label, words)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three pictures: 130 boxes, more than a model takes; a crowd and a box outside; and one that is missing."""
    for k in (1, 2):
        Image.new("RGB", (80, 60), (40 * k, 90, 120)).save(tmp_path / f"{k}.png")
    boxes = [(1, [k % 40, k // 40 * 10, 20, 15], 0) for k in range(130)]
    boxes += [(2, [0, 0, 80, 60], 1), (2, [100, 0, 5, 5], 0), (2, [70, 50, 30, 30], 0), (3, [1, 1, 5, 5], 0)]
    truth = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 80, "height": 60} for i in (1, 2, 3)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(VOCABULARY, start=1)],
        "annotations": [
            {"id": i, "image_id": image, "category_id": 1 + i % 3, "bbox": box, "iscrowd": crowd}
            for i, (image, box, crowd) in enumerate(boxes)
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(truth), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("words", "exact", "begins"),
    [
        ("dog", True, True),
        ("A Dog.", True, True),
        ("the dogs", True, True),
        ("a dog on a couch", False, True),
        ("a brown dog", False, False),
        ("hot dog", False, False),
        ("", False, False),
    ],
)
def test_words_are_judged_without_case_article_and_plural(words: str, exact: bool, begins: bool) -> None:
    box = named("dog", None, words)
    assert (box.worded, box.begun) == (exact, begins)
    assert not box.labelled


def test_a_name_of_two_words_needs_both() -> None:
    assert named("hot dog", None, "a hot dog with mustard").begun
    assert not named("hot dog", None, "a hot day").begun
    assert named("skis", "skis", "skis").worded


def test_class_mean_weighs_a_rare_class_as_much_as_a_common_one() -> None:
    boxes = [named("dog", "dog", "dog", 0.01)] * 3 + [named("cat", "dog", "", 0.5), named("cat", None, "cat", 0.5)]
    report = RegionsReport(tuple(boxes), images=1, seconds=0.0)
    assert report.accuracy("labels") == pytest.approx(60)
    assert report.class_mean("labels") == pytest.approx(50)
    assert report.accuracy("labels", large=True) == 0
    assert report.accuracy("words", large=True) == pytest.approx(50)
    assert report.confusions() == {("cat", "dog"): 1, ("cat", "None"): 1}
    assert report.per_class()["dog"] == {"boxes": 3, "labels": 100, "words": 100, "first_words": 100}
    assert report.summary()["large_boxes"] == 2


def test_no_boxes_give_no_figures_but_a_report() -> None:
    report = RegionsReport((), images=0, seconds=0.0)
    assert math.isnan(report.accuracy("labels"))
    assert report.summary()["labels"]["class_mean"] is None


@pytest.mark.parametrize("make", [nano, reference])
def test_every_visible_box_is_named_once_and_crowds_are_not(data: Path, make) -> None:
    report = evaluate(Model(Predictor(*make(), fingerprint=make.__name__)), data, data.parent)
    assert [(box.image, box.label is None) for box in report.boxes[-2:]] == [("2.png", False), ("3.png", True)]
    assert len(report.boxes) == 130 + 1 + 1
    assert report.boxes[130].box == (70, 50, 80, 60)  # cut at the border
    assert report.boxes[130].share == pytest.approx(100 / 4800)
    assert [picture for picture, _ in report.failures] == ["3.png"]
    assert {box.label for box in report.boxes[:-1]} <= set(VOCABULARY)
    assert {box.name for box in report.boxes} == set(VOCABULARY)
    json.dumps([report.to_dict(), [box.to_dict() for box in report.boxes]])


def test_words_can_be_left_out(data: Path) -> None:
    model = Model(Predictor(*nano(), fingerprint="nano"))
    assert all(not box.words for box in evaluate(model, data, data.parent, limit=1, words=False).boxes)


def test_an_instances_file_without_sizes_is_refused(data: Path) -> None:
    truth = json.loads(data.read_text(encoding="utf-8"))
    del truth["images"][1]["width"]
    data.write_text(json.dumps(truth), encoding="utf-8")
    with pytest.raises(DataError, match=r"2\.png has no width or height"):
        evaluate(Model(Predictor(*nano())), data, data.parent)
