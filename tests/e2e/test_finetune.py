"""The short road at the shell: a folder of drawn pictures with names that the nano lacks, and a better model of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import fo1agent
from fo1agent.cli import main
from fo1agent.errors import DataError
from fo1agent.trainers.finetune import find_splits
from tests.drawn import write_coco

NAMES = ("square", "cross")


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    write_coco(folder, "train", 12, seed=1, names=NAMES, side=200)
    write_coco(folder, "val", 5, seed=2, names=NAMES, side=200)
    return folder


def test_a_folder_of_pictures_makes_a_better_model(coco: Path, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    out = tmp_path / "model"
    arguments = ["finetune", "--coco", str(coco), "--out", str(out), "--steps", "5", "--json"]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["new_names"] == list(NAMES)
    assert report["after"]["AP50"] > report["before"]["AP50"] + 20
    model = fo1agent.load(out)
    known = model.predictor.vocabulary
    assert known is not None
    assert known[:1] == ("person",)
    assert known[-2:] == NAMES
    scene = model.open(coco / "images/val/0.png")
    assert "cross" in scene.ground("cross", threshold=0.0).note or len(scene.ground("cross", threshold=0.0))


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
