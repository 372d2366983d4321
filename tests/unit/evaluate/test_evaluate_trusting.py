"""How far a finder can be trusted: numbers that are known, and one pass over pictures whose labels are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fo1agent
from fo1agent.cli import main
from fo1agent.errors import DataError, InputError
from fo1agent.evaluate import trusting
from fo1agent.evaluate.trusting import Samples, calibrate, fit, logistic
from fo1agent.proposals import trusted
from fo1agent.proposals.base import to_regions
from fo1agent.proposals.trust import Trust, log_odds

CAT = Path(fo1agent.__file__).parent / "data" / "demo" / "cat.jpg"


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def drawn(size: int, scale: float, bias: float, skill: float = 1.0, seed: int = 0) -> Samples:
    """Boxes of which a third is spoken of; a finder without skill says of them whatever it likes."""
    rng = np.random.default_rng(seed)
    own, said = rng.normal(-2, 2, size), rng.normal(-1, 2, size)
    right = rng.random(size) < sigmoid(own + skill * (scale * said + bias))
    spoken = rng.random(size) < 1 / 3
    right = np.where(spoken, right, rng.random(size) < sigmoid(own))
    return Samples(np.where(spoken, sigmoid(said), 0.0), sigmoid(own), right)


def test_scale_and_bias_are_found_again() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(-1, 2, 40_000)
    scale, bias = logistic(x, rng.random(len(x)) < sigmoid(1.7 * x - 0.6))
    assert (scale, bias) == (pytest.approx(1.7, abs=0.05), pytest.approx(-0.6, abs=0.05))


def test_scores_that_tell_the_wrong_way_tell_nothing() -> None:
    x = np.linspace(-3, 3, 400)
    assert logistic(x, x < 0) == (0.0, pytest.approx(0.0, abs=1e-6))
    scale, bias = logistic(x, x > 0)  # parted perfectly
    assert 3 < scale < 100
    assert abs(bias) < 1


def test_a_finder_weighs_by_what_it_knows() -> None:
    good, bad = (fit(one, one) for one in (drawn(20_000, 1.5, 0.5), drawn(20_000, 1.5, 0.5, skill=0.0)))
    assert good.weight > 0.4
    assert good.lowers
    assert (bad.weight, bad.scale) == (0, 0)
    # Log-odds of opinions that tell different things add up; their mean alone would be half as sure.
    assert good.sure == pytest.approx(1 + good.weight, rel=0.3)
    both = drawn(20_000, 1.5, 0.5, seed=1)
    mean = (log_odds(both.own) + good.weight * good.log_odds(both.scores)) / (1 + good.weight)
    claimed = sigmoid(good.sure * mean + good.shift)
    for low, high in ((0.1, 0.3), (0.3, 0.6), (0.6, 0.9)):
        inside = (claimed > low) & (claimed <= high)
        assert claimed[inside].mean() == pytest.approx(both.right[inside].mean(), abs=0.05)
    unknown = drawn(5_000, 1.5, 0.5)
    nothing = Samples(unknown.scores, np.full(5_000, np.nan), unknown.right)
    alone = fit(nothing, nothing)
    assert alone.weight == 1.0
    assert alone.scale > 0.5


def said(scores: np.ndarray, right: np.ndarray) -> Trust:
    """What is fitted to boxes that a finder alone speaks of, where the model found enough of other things."""
    beside = Samples(np.zeros(50), np.full(50, 0.5), np.ones(50, dtype=bool))
    return fit(Samples(scores, np.full(len(scores), np.nan), right), beside)


def test_scores_that_tell_nothing_are_not_heard() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.05, 0.95, 400)
    assert said(scores, np.zeros(400, dtype=bool)).scale == 0
    assert said(scores, rng.random(400) < 0.1).scale == 0
    assert said(scores, rng.random(400) < 0.1 * (1 - scores)).scale == 0  # the surer, the less right
    assert said(scores, rng.random(400) < 0.3 * scores).scale > 0.3
    few = rng.uniform(0.05, 0.95, (200, 40))
    heard = [said(one, rng.random(40) < 0.1).scale > 0 for one in few]
    assert np.mean(heard) < 0.05  # by luck


def test_a_finder_that_is_mostly_right_is_heard_though_its_scores_do_not_say_when() -> None:
    right = np.arange(1000) % 10 > 0
    for score in (0.2, 0.9):
        trust = said(np.full(1000, score), right)
        assert trust.scale == pytest.approx(1.0, abs=0.5)
        assert sigmoid(trust.log_odds(np.array([score]))) == pytest.approx(0.9, abs=0.01)
    mixed = said(np.linspace(0.1, 0.9, 1000), right)
    assert 0 < mixed.scale < 0.1
    assert sigmoid(mixed.log_odds(np.array([0.2, 0.8]))) == pytest.approx(0.9, abs=0.02)


def test_too_little_to_judge_by_is_told() -> None:
    with pytest.raises(DataError, match="Only 0 things of these pictures were found at all, 20 are needed"):
        fit(Samples.together([]), Samples.together([]))
    with pytest.raises(DataError, match="The finder found nothing"):
        fit(*[Samples(np.zeros(50), np.full(50, 0.5), np.ones(50, dtype=bool))] * 2)


class Toy:
    """Says where cats and ostriches are; the same of every picture."""

    name, names, trust = "toy", ("cat", "ostrich"), Trust()

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find(self, image, phrases):
        self.asked += phrases
        boxes = {"cat": [[5.0, 60, 240, 360]], "ostrich": [[300.0, 350, 330, 400], [10.0, 10, 60, 60]]}
        scores = {"cat": [0.7], "ostrich": [0.9, 0.2]}
        return [
            to_regions(image, np.array(boxes[one]), np.array(scores[one]), [one] * len(scores[one]), self.name)
            for one in phrases
        ]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> tuple[Path, Path]:
    """Twelve pictures, each a little brighter than the one before, with a cat, an ostrich, and a sofa that nobody
    can be asked for by one word."""
    folder = tmp_path_factory.mktemp("pictures")
    photo = Image.open(CAT)
    truth: dict = {"images": [], "annotations": [], "categories": []}
    truth["categories"] = [{"id": k, "name": name} for k, name in ((1, "cat"), (7, "ostrich"), (9, "angry gizmo"))]
    for k in range(12):
        photo.point(lambda value, k=k: value + k).save(folder / f"{k}.png")
        truth["images"].append({"id": k, "file_name": f"{k}.png", "width": photo.width, "height": photo.height})
        for category, box in ((1, [5, 60, 315, 410]), (7, [300, 350, 30, 50])):
            truth["annotations"].append(
                {"id": len(truth["annotations"]) + 1, "image_id": k, "category_id": category, "bbox": box, "iscrowd": 0}
                | {"area": box[2] * box[3]}
            )
    file = folder / "instances.json"
    file.write_text(json.dumps(truth))
    return file, folder


class Liar(Toy):
    """Says that everything is in a corner of the picture, and always as surely."""

    names = None

    def find(self, image, phrases):
        return [to_regions(image, np.array([[0.0, 0, 30, 30]]), np.array([0.9]), [one], self.name) for one in phrases]


@pytest.fixture(scope="module")
def alone():
    return fo1agent.load()


def test_a_finder_is_fitted_and_measured_on_pictures(labelled, alone, monkeypatch) -> None:
    monkeypatch.setattr(trusting, "LEAST_RIGHT", 5)
    toy = Toy()
    fitted = calibrate(alone, toy, *labelled)
    assert (fitted.pictures, fitted.held, fitted.unasked) == (8, 4, ("angry gizmo",))
    assert len(toy.asked) == 12 * 2  # about each name once a picture
    told = fitted.to_dict()
    assert set(fitted.figures) == {
        "model alone", "finder alone before", "finder alone after", "joined before", "joined after"
    }  # fmt: skip
    # The model has no ostrich; the toy's first box is one, its second is none.
    assert told["joined after"]["AP"] >= told["model alone"]["AP"] + 49
    assert fitted.trust.log_odds(np.array([0.9]))[0] > 1
    assert fitted.trust.log_odds(np.array([0.2]))[0] < -1


def test_what_there_is_too_little_of_is_named_with_its_file(labelled, alone, tmp_path) -> None:
    file, folder = labelled
    truth = json.loads(file.read_text())
    bad = tmp_path / "bad.json"

    def said(**changed: Any) -> str:
        bad.write_text(json.dumps(truth | changed))
        with pytest.raises(DataError) as raised:
            trusting.calibrate(alone, Toy(), bad, folder)
        return str(raised.value)

    unknown = [{"id": 1, "name": "wug"}, {"id": 7, "name": "dax"}, {"id": 9, "name": "angry gizmo"}]
    who = "fo1-nano and toy know"
    assert said(categories=unknown) == f"{bad}: {who} none of its categories, wug, dax and angry gizmo, by one word."
    assert said(annotations=[]) == (
        f"{bad}: of its 0 annotations none is of one of the 8 pictures that are fitted to and of a category that {who}."
    )
    lost = [{**record, "file_name": f"no{record['id']}.png"} for record in truth["images"]]
    assert said(images=lost).startswith(
        f"{bad}: Only 0 things of these pictures were found at all, 20 are needed. Give more. 8 of 8 pictures could "
        "not be looked at, the first of them no0.png: "
    )


def test_a_finder_that_knows_nothing_is_not_asked(labelled, alone, monkeypatch) -> None:
    monkeypatch.setattr(trusting, "LEAST_RIGHT", 5)
    liar = Liar()
    before = fo1agent.load(finder=liar, trust={})
    assert before.open(CAT).ground("ostrich").note == ""
    fitted = calibrate(alone, liar, *labelled)
    told = fitted.to_dict()
    assert (told["trust"]["scale"], told["trust"]["weight"]) == (0, 0)
    assert told["finder alone before"]["AP"] < 1
    assert told["joined after"] == told["model alone"]
    after = fo1agent.load(finder=liar, trust={"toy": fitted.trust})
    assert after.open(CAT).ground("ostrich").note == "fo1-nano does not know “ostrich”. It knows bird."
    answer = fo1agent.Agent(after).ask(CAT, "Is there an ostrich?")
    assert answer.value == fo1agent.Agent(alone).ask(CAT, "Is there an ostrich?").value


def trusts(model: Any) -> tuple[Trust, ...]:
    """The trust in each of its finders."""
    return model.predictor.trust


def used(model: Any) -> Trust:
    """The trust in its only finder."""
    (trust,) = trusts(model)
    return trust


def test_what_is_fitted_is_used_by_what_is_loaded_later(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv(trusted.WHERE, str(tmp_path))
    toy = Toy()
    model = fo1agent.load(finder=toy)
    assert used(model) == Trust()
    own, finders = trusting.parts(model)
    assert (own.name, finders) == ("fo1-nano", (toy,))
    trust = Trust(scale=2.0, weight=0.5)
    weights = own.predictor.fingerprint
    trusted.write(trusted.place(toy, weights), [trusted.Calibration(toy, trust, {})], weights)
    assert used(fo1agent.load(finder=toy)) == trust
    assert used(fo1agent.load(finder=toy, trust={})) == Trust()
    assert used(fo1agent.load(finder=toy, trust={"toy": Trust(bias=1.0)})) == Trust(bias=1.0)


def test_a_file_is_used_for_each_finder_that_it_holds(alone, tmp_path) -> None:
    toy, other, third = Toy(), Liar(), Liar()
    other.name, third.name = "liar", "third"
    file, weights = tmp_path / "trust.json", alone.predictor.fingerprint
    first = trusted.Calibration(toy, Trust(bias=2.0), {})
    trusted.write(file, [first], weights)
    assert trusts(fo1agent.load(finder=[toy, other], trust=file)) == (Trust(bias=2.0), Trust())
    trusted.write(file, [first, trusted.Calibration(other, Trust(bias=3.0), {})], weights)
    three = fo1agent.load(finder=[third, other, toy], trust=file)
    assert trusts(three) == (Trust(), Trust(bias=3.0), Trust(bias=2.0))
    with pytest.raises(DataError, match="was made for the finder 'toy' or 'liar', not 'third'"):
        fo1agent.load(finder=third, trust=file)
    with pytest.raises(InputError, match="is of finders, and none is named"):
        fo1agent.load(trust=file)


def test_the_command_fits_and_tells(labelled, monkeypatch, tmp_path, capsys) -> None:
    import fo1agent.loading

    monkeypatch.setenv(trusted.WHERE, str(tmp_path))
    monkeypatch.setattr(trusting, "LEAST_RIGHT", 3)
    monkeypatch.setattr(fo1agent.loading, "resolve_finder", lambda spec, device: Toy())
    file, folder = labelled
    command = ["calibrate", "--instances", str(file), "--images", str(folder), "--limit", "6", "--json"]
    with pytest.raises(SystemExit) as none:
        main([*command])
    assert none.value.code == 2
    assert "Name a detector" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main([*command, "--finder", "toy"])
    assert end.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert Path(told["file"]).parent == tmp_path
    assert used(fo1agent.load(finder=Toy())).scale == pytest.approx(told["trust"]["scale"], abs=1e-5)


def test_the_command_writes_several_detectors_into_one_file(labelled, monkeypatch, tmp_path, capsys) -> None:
    import fo1agent.loading

    def named(spec: str, device: str) -> Toy:
        finder = Liar() if spec == "liar" else Toy()
        finder.name = spec
        return finder

    monkeypatch.setattr(trusting, "LEAST_RIGHT", 3)
    monkeypatch.setattr(fo1agent.loading, "resolve_finder", named)
    file, folder = labelled
    out = tmp_path / "both.json"
    command = ["calibrate", "--instances", str(file), "--images", str(folder), "--limit", "6", "--json"]
    with pytest.raises(SystemExit) as end:
        main([*command, "--finder", "toy", "--finder", "liar", "--out", str(out)])
    assert end.value.code == 0
    printed = capsys.readouterr()
    assert [(one["finder"], one["file"]) for one in json.loads(printed.out)] == [("toy", str(out)), ("liar", str(out))]
    assert "liar: its scores tell right from wrong no better than chance. It will not be asked." in printed.err
    loaded = fo1agent.load(finder=["liar", "toy"], trust=out)
    assert [one.scale > 0 for one in trusts(loaded)] == [False, True]
