"""`fo1agent.evaluate.detection` gives pycocotools' figures for what a model answers, and hides no failure."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fo1agent.errors import DataError, ImageError, MissingExtraError
from fo1agent.evaluate.detection import evaluate
from fo1agent.regions.regions import Regions

Answers = Mapping[str, list[tuple[list[float], float]]]
"""Category name to (xyxy box, score) pairs: what a scene answers."""


class FixedScene:
    """A scene that answers from a table."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    @property
    def regions(self) -> Regions:
        return _regions([pair for pairs in self._answers.values() for pair in pairs], None)

    def ground_many(self, phrases: Sequence[str], *, threshold: float | None = None) -> dict[str, Regions]:
        assert threshold == 0
        return {phrase: _regions(self._answers.get(phrase, []), phrase) for phrase in phrases}


class FixedModel:
    """A model whose scenes answer from a table by file name; a name that is not in it cannot be opened."""

    def __init__(self, table: Mapping[str, Answers]) -> None:
        self._table = table

    def open(self, source: Any, /) -> FixedScene:
        if source.name not in self._table:
            raise ImageError(f"{source}: no such file.")
        return FixedScene(self._table[source.name])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three pictures, two categories, a crowd."""
    boxes = [  # picture, category, xywh, crowd
        (1, 1, [10, 10, 100, 80], 0),
        (1, 1, [200, 10, 50, 80], 0),
        (1, 3, [30, 200, 120, 120], 0),
        (2, 3, [5, 5, 20, 20], 0),
        (3, 1, [0, 0, 300, 300], 1),
        (3, 3, [310, 310, 60, 60], 0),
    ]
    truth = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 400, "height": 400} for i in (1, 2, 3)],
        "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
        "annotations": [
            {
                "id": i,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": crowd,
            }
            for i, (image, category, box, crowd) in enumerate(boxes, start=1)
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(truth), encoding="utf-8")
    return path


def test_true_boxes_give_a_hundred(data: Path) -> None:
    report = evaluate(FixedModel(_truth_table(data)), data, data.parent)
    assert report.ap == pytest.approx(100)
    assert report.ap50 == pytest.approx(100)
    assert report.recall50 == pytest.approx(100)
    assert report.recall75 == pytest.approx(100)
    assert (report.images, report.failures) == (3, ())


def test_no_answers_give_zero(data: Path) -> None:
    report = evaluate(FixedModel({f"{i}.jpg": {} for i in (1, 2, 3)}), data, data.parent)
    assert (report.ap, report.recall50) == (0, 0)


def test_figures_equal_pycocotools_own_summary(data: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    random = np.random.default_rng(0)

    def shake(box: list[float], score: float) -> tuple[list[float], float]:
        x1, y1, x2, y2 = (value + random.normal(0, 4) for value in box)
        return [x1, y1, max(x2, x1), max(y2, y1)], float(random.uniform())

    table = _truth_table(data, shake)
    report = evaluate(FixedModel(table), data, data.parent)
    rows = [
        {"image_id": int(name[0]), "category_id": {"person": 1, "car": 3}[label], "score": score}
        | {"bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]}
        for name, answers in table.items()
        for label, pairs in answers.items()
        for box, score in pairs
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(data))
        evaluator = COCOeval(truth, truth.loadRes(rows), "bbox")  # pyright: ignore[reportArgumentType]
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    ours = [report.ap, report.ap50, report.ap75, report.ap_small, report.ap_medium, report.ap_large]
    assert 0 < report.ap < 100
    np.testing.assert_allclose(ours, evaluator.stats[:6] * 100)


def test_box_in_a_crowd_costs_nothing(data: Path) -> None:
    table = _truth_table(data)
    table["3.jpg"] = {**table["3.jpg"], "person": [([20, 20, 60, 60], 0.99)]}
    assert evaluate(FixedModel(table), data, data.parent).ap == pytest.approx(100)


def test_wrong_name_costs_precision_but_not_recall(data: Path) -> None:
    table = {
        name: {"car": pairs.get("person", []), "person": pairs.get("car", [])}
        for name, pairs in _truth_table(data).items()
    }
    report = evaluate(FixedModel(table), data, data.parent)
    assert report.ap == 0
    assert report.recall50 == pytest.approx(100)


def test_only_the_best_hundred_answers_of_a_picture_count(data: Path) -> None:
    table = _truth_table(data)
    noise = [([float(i), 350.0, i + 5.0, 355.0], 0.8) for i in range(100)]
    right = [(box, 0.1) for box, _ in table["1.jpg"]["person"]]
    few = evaluate(FixedModel({**table, "1.jpg": {**table["1.jpg"], "person": noise[:90] + right}}), data, data.parent)
    many = evaluate(FixedModel({**table, "1.jpg": {**table["1.jpg"], "person": noise + right}}), data, data.parent)
    assert few.ap > many.ap == pytest.approx(50)  # The cars are all right, no person is left.


def test_picture_that_cannot_be_opened_is_reported_and_costs(data: Path) -> None:
    table = _truth_table(data)
    del table["2.jpg"]
    report = evaluate(FixedModel(table), data, data.parent)
    assert [name for name, _ in report.failures] == ["2.jpg"]
    assert report.ap < 100
    assert report.to_dict()["failures"] == 1
    assert report.images == 3


def test_limit_takes_the_first_pictures(data: Path) -> None:
    report = evaluate(FixedModel({"1.jpg": _truth_table(data)["1.jpg"]}), data, data.parent, limit=1)
    assert (report.images, report.failures, report.ap) == (1, (), pytest.approx(100))
    figures = report.to_dict()
    assert figures["APs"] is None  # The only small object is in the second picture.
    assert set(figures) == {
        *("AP", "AP50", "AP75", "APs", "APm", "APl", "recall@100", "recall@100_75", "images", "failures", "seconds")
    }


def test_nothing_but_the_result_reaches_stdout(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(FixedModel(_truth_table(data)), data, data.parent)
    assert capsys.readouterr().out == ""


def _truth(images: Any = None, **wrong: Any) -> str:
    """An instances file of one annotation with something wrong."""
    annotation = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "iscrowd": 0} | wrong
    images = images or [{"id": 1, "file_name": "a.jpg"}]
    return json.dumps({"images": images, "annotations": [annotation], "categories": [{"id": 1, "name": "cat"}]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "bad.json is not JSON"),
        ("[]", "no list 'images'"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}', "lists no pictures"),
        ('{"images": [], "annotations": [], "categories": []}', "lists no categories"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', r"images\[0\] has no file_name"),
        ('{"images": [{"id": 1, "file_name": "a"}], "annotations": [3], "categories": []}', r"annotations\[0\] has no"),
        (_truth(images=[{"id": 1, "file_name": 7}]), r"images\[0\] has the id 1 and file_name 7; wanted a number and"),
        (_truth(category_id=9), r"bad.json: annotations\[0\] is of the category_id 9, which no category has"),
        (_truth(category_id=[1]), r"annotations\[0\] is of the category_id \[1\]"),
        (_truth(bbox=[0, 0, 1e300, 5]), r"annotations\[0\] has the bbox \[0, 0, 1e\+300, 5\]; wanted \[x, y, width"),
        (_truth(bbox=[0, 0, -1, 5]), r"annotations\[0\] has the bbox \[0, 0, -1, 5\]"),
        (_truth(bbox=[0, 0, float("nan"), 5]), r"annotations\[0\] has the bbox \[0, 0, nan, 5\]"),
        (_truth(bbox="all"), r"annotations\[0\] has the bbox 'all'"),
    ],
)
def test_file_that_is_not_coco_is_a_data_error(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        evaluate(FixedModel({}), path, tmp_path)


def test_missing_folder_is_a_data_error(data: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        evaluate(FixedModel({}), data, data.parent / "nowhere")


def test_missing_pycocotools_says_what_to_install(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(MissingExtraError, match=r'pip install "pycocotools>='):
        evaluate(FixedModel({}), data, data.parent)


def _regions(pairs: Sequence[tuple[list[float], float]], label: str | None) -> Regions:
    return Regions(
        np.array([box for box, _ in pairs]).reshape(-1, 4),
        np.array([score for _, score in pairs]),
        (label,) * len(pairs),
        tuple(f"img_0/r{i}" for i in range(len(pairs))),
    )


def _truth_table(
    data: Path, change: Callable[[list[float], float], tuple[list[float], float]] = lambda box, score: (box, score)
) -> dict[str, Answers]:
    """What a model would answer that knows the truth (crowds aside), each box changed by `change`."""
    truth = json.loads(data.read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in truth["categories"]}
    table: dict[str, dict[str, list[tuple[list[float], float]]]] = {image["file_name"]: {} for image in truth["images"]}
    for row in truth["annotations"]:
        if not row["iscrowd"]:
            x, y, w, h = row["bbox"]
            pairs = table[f"{row['image_id']}.jpg"].setdefault(names[row["category_id"]], [])
            pairs.append(change([x, y, x + w, y + h], 0.9))
    return dict(table)
