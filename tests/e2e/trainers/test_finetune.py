"""The short road at the shell: a folder of drawn pictures with names that the nano lacks, and a better model of it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

import fo1agent
from fo1agent.cli import main
from fo1agent.errors import DataError, InputError
from fo1agent.trainers import finetune as finetuning
from fo1agent.trainers.finetune import Left, checkable
from fo1agent.trainers.keeping import NameChecked, NameKept, compare, packaged_pictures
from fo1agent.trainers.lock import LOCK, locked
from fo1agent.trainers.splits import find_splits, known_name, open_parts
from tests.drawn import write_coco

NAMES = ("square", "cross")


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    write_coco(folder, "train", 4, seed=1, names=NAMES, side=200)
    write_coco(folder, "val", 2, seed=2, names=NAMES, side=200)
    return folder


@pytest.fixture(scope="module")
def taught(coco: Path) -> tuple[Path, dict, str]:
    """The new model's folder, what the command reported, and what it said on the way."""
    pytest.importorskip("pycocotools")
    out = coco / "model"
    arguments = ["finetune", "--coco", str(coco), "--out", str(out), "--steps", "6", "--json"]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return out, json.loads(done.stdout), done.stderr


def test_a_folder_of_pictures_makes_a_better_model(taught: tuple[Path, dict, str], coco: Path) -> None:
    out, report, _ = taught
    assert report["new_names"] == list(NAMES)
    assert report["after"]["AP50"] > report["before"]["AP50"] + 20
    assert {row["AP_before"] for row in report["names"].values()} == {0}
    model = fo1agent.load(out)
    known = model.predictor.vocabulary
    assert known is not None
    assert known[:1] == ("person",)
    assert known[-2:] == NAMES
    scene = model.open(coco / "images/val/0.png")
    assert "cross" in scene.ground("cross", threshold=0.0).note or len(scene.ground("cross", threshold=0.0))


def test_what_it_knew_is_found_as_before_to_the_last_bit(taught: tuple[Path, dict, str]) -> None:
    out, report, _ = taught
    kept = report["old_names"]["former_answers"]
    assert kept["pictures"] == 2 + 2 + 4  # packaged, held out, trained on
    total = kept["names"][0]
    assert total["before"] == total["after"] == total["same"] > 5
    before, after = fo1agent.load(engine="torch"), fo1agent.load(out)
    names = before.predictor.vocabulary
    assert names is not None
    for picture in packaged_pictures()[1:]:
        was, now = (model.open(picture).ground_many(names, threshold=0.0) for model in (before, after))
        for name in names:
            count = len(was[name])
            np.testing.assert_array_equal(now[name].boxes[:count], was[name].boxes)
            np.testing.assert_array_equal(now[name].scores[:count], was[name].scores)
            assert not now[name].scores[count:].any()


def test_steps_and_what_is_left_of_them_are_said(taught: tuple[Path, dict, str]) -> None:
    _, report, said = taught
    assert "finding: 6 steps of 8 pictures (--steps 6)\n" in said
    assert re.search(r"finding: 3 of 6, \d+:\d\d left\n", said)
    assert "finding: 6 of 6\n" in said
    for what in ("measuring before", "measuring after"):
        assert re.search(rf"{what}: (\d+) of \1\n", said)
    assert re.search(r"looking at pictures: 4 of 8, \d+:\d\d left\n", said)
    assert (report["steps"], report["pictures_a_step"]) == (6, 8)


def test_the_new_folder_says_what_came_of_it(taught: tuple[Path, dict, str]) -> None:
    out, report, _ = taught
    record = json.loads((out / "finetune.json").read_text(encoding="utf-8"))
    assert record == {"model": "fo1-nano", **{key: value for key, value in report.items() if key != "model"}}
    card = (out / "README.md").read_text(encoding="utf-8")
    total = report["old_names"]["former_answers"]["names"][0]
    assert "New names: square, cross.\nNames that it had and was taught again: none.\n" in card
    assert f"| AP of cross | 0.0 | {report['names']['cross']['AP_after']:.1f} |" in card
    assert f"| all | {total['before']} | {total['after']} | {total['same']} |" in card


def test_a_model_is_not_replaced_unasked(taught: tuple[Path, dict, str], coco: Path) -> None:
    out, *_ = taught
    weights = (out / "model.safetensors").read_bytes()
    done = CliRunner().invoke(main, ["finetune", "--coco", str(coco), "--out", str(out)])
    assert done.exit_code == 1
    assert "holds a model already" in done.stderr
    assert "--overwrite" in done.stderr
    assert (out / "model.safetensors").read_bytes() == weights


def test_a_second_call_is_refused_before_it_measures(coco: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    work = tmp_path / "m.work"
    work.mkdir()
    with locked(work):
        done = CliRunner().invoke(main, ["finetune", "--coco", str(coco), "--out", str(out), "--steps", "1"])
    assert done.exit_code == 1
    assert f"{work} is in use: process {os.getpid()} on " in done.stderr
    assert done.stderr.count("\n") == 1
    assert not out.exists()
    assert [file.name for file in work.iterdir()] == [LOCK]


@pytest.mark.parametrize("stage", ["measure", "planned"])
def test_ctrl_c_says_how_to_go_on_wherever_it_comes(
    coco: Path, tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(finetuning, stage, interrupt)
    if stage != "measure":
        monkeypatch.setattr(finetuning, "measure", lambda *_: SimpleNamespace(report=SimpleNamespace(ap=0.0)))
    arguments = ["finetune", "--coco", str(coco), "--out", str(tmp_path / "m")]
    done = CliRunner().invoke(main, [*arguments, *([] if stage == "planned" else ["--steps", "1"])])
    assert done.exit_code == 130
    assert done.stderr.endswith("finetune: stopped by SIGINT. Start the same command again to go on.\n")
    assert "Aborted" not in done.stderr


def test_a_file_is_taken_as_well_as_its_folder(tmp_path: Path) -> None:
    write_coco(tmp_path, "all", 5, seed=0)
    file = tmp_path / "instances_all.json"
    assert find_splits(file) == find_splits(tmp_path)
    (tmp_path / "annotations").mkdir()
    file.rename(tmp_path / "annotations/all.json")
    training, held_out = find_splits(tmp_path / "annotations/all.json")  # the pictures are beside its folder
    assert training.images.samefile(tmp_path / "images/all")
    assert held_out.images == training.images


def test_why_a_file_in_the_folder_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text('{"images": [', encoding="utf-8")
    with pytest.raises(DataError, match=r"holds no COCO file .*cut\.json is not JSON"):
        find_splits(tmp_path)


@pytest.mark.parametrize("images", ["7", "[7, 8]", '[{"id": 1}, {"id": 2}]', "[{}, {}]"])
def test_wrong_records_of_a_folder_are_typed(tmp_path: Path, images: str) -> None:
    (tmp_path / "a.json").write_text(f'{{"images": {images}, "annotations": [], "categories": []}}', encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.json"):
        find_splits(tmp_path)


def test_a_name_taught_again_is_said_and_measured_by_a_file(coco: Path, taught: tuple[Path, dict, str]) -> None:
    """The taught model is taught a second time: its own new name again, as plurals in capitals, and a third name."""
    first, *_ = taught
    again = coco.parent / "again"
    write_coco(again, "train", 2, seed=3, names=("cross", "circle"), side=200)
    write_coco(again, "val", 1, seed=4, names=("cross", "circle"), side=200)
    for split in ("train", "val"):
        file = again / f"instances_{split}.json"
        file.write_text(file.read_text(encoding="utf-8").replace('"cross"', '"Crosses"'), encoding="utf-8")
    arguments = ["finetune", "--coco", str(again), "--out", str(coco / "second"), "--steps", "1", "--model", str(first)]
    check = ["--check-on", str(coco / "instances_val.json")]
    done = CliRunner().invoke(main, [*arguments, *check], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "taken for names that the model has: Crosses (cross)\n" in done.stderr
    assert "new names: circle\n" in done.stderr
    assert "taught again, the only names it had that may change: cross\n" in done.stderr
    for when in ("before", "after"):
        assert f"checking {when}: 2 of 2\n" in done.stderr
    lines = done.stdout.splitlines()
    at = next(k for k, line in enumerate(lines) if "AP of 2 names it had, on 2 pictures of instances_val.json" in line)
    assert lines[at + 1].startswith("all ")
    assert not any(line.startswith("square ") for line in lines[at:])  # only what changed
    vocabulary = fo1agent.load(coco / "second").predictor.vocabulary
    assert vocabulary is not None
    assert vocabulary[-3:] == (*NAMES, "circle")


def test_lost_answers_are_counted_by_name() -> None:
    bus, cup, far = ([[0.0, 0, 10, 10]], [[20.0, 20, 30, 30]], [[70.0, 70, 80, 80]])
    before = [{"bus": np.array(bus), "cup": np.array([*cup, *far])}, {"cup": np.array(cup)}]
    after = [{"bus": np.array([[0.0, 0, 10, 9]]), "cup": np.array(far)}, {"dog": np.array(cup)}]
    kept = compare(before, after, ["bus", "cup", "dog", "person"])
    assert kept.names == (NameKept("bus", 1, 1, 1), NameKept("cup", 3, 1, 1), NameKept("dog", 0, 1, 0))
    assert kept.total == NameKept("all", 4, 3, 2)
    assert [name.name for name in kept.changed] == ["cup", "dog"]
    assert (kept.known, kept.pictures) == (4, 2)
    assert NameChecked("cup", 9.0, 1.0) != NameChecked("cup", 9.0, 9.0)


def test_a_file_to_check_on_must_show_a_name_that_the_model_had(coco: Path) -> None:
    with pytest.raises(InputError, match="shows none of the names that the model had"):
        checkable(coco / "instances_val.json", ["bus", "cup"])
    file, images = checkable(coco / "instances_val.json", ["bus", "cross"])
    assert (file, images) == (coco / "instances_val.json", coco / "images/val")


def test_how_far_it_is_is_said_ten_times() -> None:
    said: list[str] = []
    left = Left("looking", said.append)
    for done in range(1, 26):
        left(done, 25)
    assert [line.split(",")[0] for line in said] == [
        f"looking: {k} of 25" for k in (3, 5, 8, 10, 13, 15, 18, 20, 23, 25)
    ]
    assert all(re.fullmatch(r"looking: \d+ of 25, \d+:\d\d left", line) for line in said[:-1])


@pytest.mark.parametrize(
    ("category", "name"),
    [
        ("cup", "cup"), ("Cups", "cup"), ("Hot_Dog", "hot dog"), ("stop-signs", "stop sign"), ("skis", "skis"),
        ("yield sign", "yield sign"), ("Yield_Sign", "Yield_Sign"), ("tea cup", "tea cup"),
    ],
)  # fmt: skip
def test_a_category_that_is_an_old_name_in_other_letters_is_that_name(category: str, name: str) -> None:
    assert known_name(category, ("cup", "hot dog", "stop sign", "skis")) == name


def test_categories_without_a_box_are_not_taught_and_two_of_one_name_are_one(tmp_path: Path) -> None:
    write_coco(tmp_path, "all", 10, seed=0, names=("cups", "Cup", "cross"))
    file = tmp_path / "instances_all.json"
    tree = json.loads(file.read_text(encoding="utf-8"))
    tree["categories"].append({"id": 9, "name": "things"})
    file.write_text(json.dumps(tree), encoding="utf-8")
    said: list[str] = []
    parts = open_parts(tmp_path, tmp_path, None, ("cup", "dog"), said.append)
    assert parts.names == ("cup", "cross")
    assert parts.training.data.categories == parts.held_out.data.categories == ("cup", "cross")
    assert len(parts.training.data), len(parts.held_out.data) == (8, 2)
    assert "not taught, as no training picture shows one: things" in said
    assert "taken for names that the model has: cups (cup), Cup (cup)" in said


def test_of_many_pictures_some_only_calibrate(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", 80, seed=0, side=40)
    write_coco(tmp_path, "val", 2, seed=1, side=40)
    parts = open_parts(tmp_path, tmp_path, None, (), lambda _: None)
    assert len(parts.training.data) == 70
    assert len(parts.held_back) == 10
    assert not {image.id for image in parts.held_back} & {image.id for image in parts.training.data}


def test_one_file_is_split_the_same_way_every_time(tmp_path: Path) -> None:
    write_coco(tmp_path, "all", 10, seed=0)
    training, held_out = find_splits(tmp_path)
    assert (training, held_out) == find_splits(tmp_path)
    assert training.keep is not None
    assert held_out.keep is not None
    assert (len(training.keep), len(held_out.keep)) == (8, 2)
    assert not training.keep & held_out.keep
    assert training.images == tmp_path / "images/all"


def test_roboflows_layout_is_found(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_coco(tmp_path / "made", split, 2, seed=0)
        (tmp_path / "mine" / split).mkdir(parents=True)
        (tmp_path / "made" / f"instances_{split}.json").rename(tmp_path / "mine" / split / "_annotations.coco.json")
        for picture in (tmp_path / "made/images" / split).iterdir():
            picture.rename(tmp_path / "mine" / split / picture.name)
    training, held_out = find_splits(tmp_path / "mine")
    assert training.images.name == "train"
    assert held_out.images.name == "valid"
    assert training.keep is held_out.keep is None


def test_what_is_no_coco_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no COCO file"):
        find_splits(tmp_path)
    write_coco(tmp_path, "all", 3, seed=0)
    for picture in (tmp_path / "images/all").iterdir():
        picture.unlink()
    with pytest.raises(DataError, match=r"lists '0.png', which is in none of"):
        find_splits(tmp_path)
    run = CliRunner().invoke(main, ["finetune", "--coco", str(tmp_path), "--out", str(tmp_path / "out")])
    assert run.exit_code == 1
    assert "which is in none of" in run.stderr
