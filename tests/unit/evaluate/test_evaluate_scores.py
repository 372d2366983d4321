"""What scores are worth: calibration, other rankings and their noise, and things that are not there."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fo1agent.evaluate import coco, plots
from fo1agent.evaluate.coco import Matches, Ranked, Row
from fo1agent.evaluate.scores import OBJECTNESS, SILENCED, Bin, evaluate, reliability, suppress
from fo1agent.model.predictor import Predictor
from fo1agent.scene import Model
from tests.fakes import FakePredictor
from tests.tiny_models import VOCABULARY, nano

NAMES = ("person", "bus", "car", "dog")


def random_truth(pictures: int, seed: int = 0) -> tuple[dict, list[Row]]:
    """An instances file and shaken, partly wrong answers to it."""
    rng = np.random.default_rng(seed)
    annotations, rows = [], []
    for image in range(1, pictures + 1):
        for _ in range(rng.integers(0, 6)):
            x, y = rng.uniform(0, 200, 2)
            box, category = [x, y, 60.0, 40.0], int(rng.integers(1, 5))
            crowd = int(rng.random() < 0.1)
            annotations.append({"image_id": image, "category_id": category, "bbox": box, "iscrowd": crowd})
            shaken = [v + rng.normal(0, 5) for v in box]
            named = category if rng.random() < 0.8 else int(rng.integers(1, 5))
            rows.append({"image_id": image, "category_id": named, "bbox": shaken, "score": float(rng.uniform())})
    truth = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 300, "height": 250} for i in range(1, pictures + 1)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(NAMES, start=1)],
        "annotations": annotations,
    }
    return truth, rows


def official(truth: dict, rows: list[Row], ids: list[int]) -> tuple[float, float]:
    """pycocotools' own AP and AP50."""
    evaluator = coco.match(truth, rows, ids, areas=False)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.accumulate()
    precision = evaluator.eval["precision"][:, :, :, 0, -1]
    return 100 * precision[precision > -1].mean(), 100 * precision[0][precision[0] > -1].mean()


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_of_matches_is_pycocotools(seed: int) -> None:
    truth, rows = random_truth(12, seed)
    ids = [record["id"] for record in truth["images"]]
    matches = Matches.of(coco.match(truth, rows, ids))
    assert 0 < matches.average_precision()[0] < 100
    np.testing.assert_allclose(matches.average_precision(), official(truth, rows, ids))


def test_weight_of_a_picture_is_how_often_it_counts() -> None:
    truth, rows = random_truth(8, 3)
    ids = [record["id"] for record in truth["images"]]
    matches = Matches.of(coco.match(truth, rows, ids, areas=False))
    weights = np.array([1, 0, 2, 1, 0, 1, 3, 1])
    copies = [(old, new) for old, n in zip(ids, weights, strict=True) for new in range(100 * old, 100 * old + n)]
    drawn = {
        **truth,
        "images": [{**truth["images"][old - 1], "id": new} for old, new in copies],
        "annotations": [
            {**row, "image_id": new} for old, new in copies for row in truth["annotations"] if row["image_id"] == old
        ],
    }
    answers = [{**row, "image_id": new} for old, new in copies for row in rows if row["image_id"] == old]
    expected = official(drawn, answers, [new for _, new in copies])
    np.testing.assert_allclose(matches.average_precision(weights), expected)


def test_differences_are_paired_and_a_run_does_not_differ_from_itself() -> None:
    truth, rows = random_truth(30, 1)
    ids = [record["id"] for record in truth["images"]]
    rng = np.random.default_rng(0)
    worse = [{**row, "score": float(rng.uniform())} if row["image_id"] % 3 == 0 else row for row in rows]
    runs = [Matches.of(coco.match(truth, these, ids, areas=False)) for these in (rows, worse, rows)]
    draws = coco.bootstrap(runs, 40)
    assert coco.difference(runs, draws, 0, 2) == coco.Difference(0, 0, 0, 0)
    paired = coco.difference(runs, draws, 0, 1)
    unpaired = np.hypot(draws[:, 0, 0].std(), draws[:, 1, 0].std())
    assert paired.ap == pytest.approx(runs[0].average_precision()[0] - runs[1].average_precision()[0])
    assert 0 < paired.ap_error < unpaired
    assert np.isnan(coco.difference(runs, draws[:1], 0, 1).ap_error)


@pytest.mark.parametrize("seed", range(20))
def test_rankings_are_suppressed_as_a_scene_suppresses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 60, (25, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 50, (25, 2))], axis=1)
    known = [(tuple(box), "bus", float(score)) for box, score in zip(boxes, rng.integers(1, 6, 25) / 5, strict=True)]
    scene = Model(FakePredictor(known)).open(Image.new("RGB", (120, 120)))
    (row,) = suppress(scene.encoding.boxes, scene.model.predictor.match(scene.encoding, ["bus"]))
    found = scene.ground("bus", threshold=0.0)
    numbers = [int(region.name[1:]) for region in found]
    np.testing.assert_allclose(row[numbers], found.scores)
    assert np.flatnonzero(row).tolist() == sorted(n for n in numbers if row[n] > 0)


def test_nothing_is_suppressed_where_there_is_nothing() -> None:
    assert suppress(np.zeros((0, 4)), np.zeros((3, 0))).shape == (3, 0)


def test_calibration_counts_right_regions_per_bin_and_leaves_crowds_out() -> None:
    scores = np.array([0.95, 0.94, 0.5, 0.45, 0.01])
    right = np.tile([True, False, True, False, True], (10, 1))
    ignored = np.tile([False, False, False, True, False], (10, 1))
    ranked = Ranked(scores, np.zeros(5, int), right, ignored, np.array([3]))
    found = reliability(Matches((ranked,), 1), bins=2)
    assert [(b.low, b.high, b.regions) for b in found] == [(0.5, 1, 3)]
    assert found[0].score == pytest.approx(scores[:3].mean())
    assert found[0].right == pytest.approx(2 / 3)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two pictures of one person and one bus, one that is missing, and questions about all."""
    for k in (1, 2):
        Image.new("RGB", (300, 250), (80 * k, 90, 120)).save(tmp_path / f"{k}.png")
    truth, _ = random_truth(3)
    boxes = [(1, 1, [10, 10, 60, 100]), (1, 2, [100, 20, 150, 120]), (2, 1, [10, 10, 60, 100]), (3, 1, [1, 1, 9, 9])]
    truth["annotations"] = [{"image_id": i, "category_id": c, "bbox": b, "iscrowd": 0} for i, c, b in boxes]
    (tmp_path / "instances.json").write_text(json.dumps(truth), encoding="utf-8")
    questions = [("1.png", "yes"), ("2.png", "no"), ("3.png", "no"), ("4.png", "no")]
    rows = [{"file_name": name, "question": "Is there a bus in the image?", "answer": a} for name, a in questions]
    (tmp_path / "existence.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path / "instances.json"


def says(found: bool) -> Any:
    return SimpleNamespace(text="", value=found, abstained=False, reason="")


def test_one_pass_gives_all_figures(data: Path) -> None:
    # The bus is seen in every picture, so also where it is not.
    objects = [((10, 10, 70, 110), "person", 0.9), ((100, 20, 250, 140), "bus", 0.6)]
    predictor = FakePredictor(objects)
    report = evaluate(
        Model(predictor),
        data,
        data.parent,
        existence=data.parent / "existence.jsonl",
        ask=lambda scene, _: says(bool(len(scene.ground("bus")))),
        resamples=20,
    )
    assert predictor.passes["towers"] == 2
    assert [picture for picture, _ in report.detection.failures] == ["3.png"]
    assert [outcome.correct for outcome in report.existence] == [True, False, False]
    # Picture 1 lacks car and dog, picture 2 also the bus, which is the one false region.
    assert report.false_per_absent == pytest.approx(1 / 5)
    assert set(report.rankings) == {OBJECTNESS}  # a fake has no match head
    assert report.summary()["existence"] == pytest.approx(1 / 3, abs=1e-3)
    counted = {(b.regions, round(b.score, 2), round(b.right, 2)) for b in report.bins if b.score > 0.5}
    assert counted == {(2, 0.9, 1.0), (2, 0.6, 0.5)}
    json.dumps(report.to_dict())


def test_rankings_by_parts_of_the_match_head_are_measured_where_there_is_one(data: Path) -> None:
    truth = json.loads(data.read_text(encoding="utf-8"))
    # Only names that the model knows: a scene gives no region for others, and they would take places in the hundred.
    known = [c["id"] for c in truth["categories"]][: len(VOCABULARY)]
    truth["categories"] = [{"id": k, "name": name} for k, name in zip(known, VOCABULARY, strict=True)]
    truth["annotations"] = [row for row in truth["annotations"] if row["category_id"] in known]
    data.write_text(json.dumps(truth), encoding="utf-8")
    everything = {**SILENCED, "nothing": ()}
    model = Model(Predictor(*nano(), fingerprint="nano"))
    report = evaluate(model, data, data.parent, resamples=3, limit=2, silenced=everything)
    assert set(report.rankings) == {OBJECTNESS, *everything}
    assert report.rankings["nothing"].gain.ap == pytest.approx(0, abs=1e-6)
    assert report.existence == ()
    json.dumps([report.to_dict(), report.summary()])


def test_charts_show_something_and_stay_small(tmp_path: Path) -> None:
    bins = [Bin(k / 15, (k + 1) / 15, 10 + k, (k + 0.5) / 15, k / 14) for k in range(15)]
    empty = plots.reliability([], float("nan"))
    lines = {"loss": ([1, 2, 3], [4.0, 2.0, float("nan")]), "none": ([], [])}
    pictures = [
        plots.reliability(bins, 0.02),
        plots.curves(lines, "loss"),
        plots.curves({}, "nothing"),
        plots.confusion(["cat", "dog"], np.array([[3, 1], [0, 0]]), "who"),
    ]
    for k, picture in enumerate([empty, *pictures]):
        assert len(picture.getcolors(100_000) or []) > 10
        picture.save(tmp_path / f"{k}.png")
        assert (tmp_path / f"{k}.png").stat().st_size < 100_000
