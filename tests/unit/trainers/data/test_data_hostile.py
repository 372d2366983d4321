"""Training data that is no regular file, has no end, or is nested without one: one line each, and at once."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fo1agent.errors import DataError
from fo1agent.evaluate.coco import read_instances
from fo1agent.evaluate.colors import read_held_out, read_pictures
from fo1agent.evaluate.files import read_text
from fo1agent.evaluate.qa import read_questions
from fo1agent.trainers.data.check import check
from fo1agent.trainers.data.composites.sprites import read_folder
from fo1agent.trainers.data.files import fingerprint
from fo1agent.trainers.data.formats import SourceRecipe, guess_format, open_source
from fo1agent.trainers.data.tasks import read_confusable
from fo1agent.trainers.splits import find_splits

DEEP = 200_000
Put = Callable[[Path], object]


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10)).save(path)
    return path


def yolo(root: Path) -> Path:
    picture(root / "images/a.png")
    write(root / "data.yaml", "train: images\nnames: [cup]\n")
    return write(root / "labels/a.txt")


def yolo_settings(root: Path) -> Path:
    yolo(root)
    return root / "data.yaml"


def voc(root: Path) -> Path:
    picture(root / "JPEGImages/a.png")
    return write(root / "Annotations/a.xml")


def voc_split(root: Path) -> Path:
    voc(root)
    return write(root / "ImageSets/Main/train.txt")


def flickr(root: Path) -> Path:
    size = "<annotation><size><width>20</width><height>10</height></size></annotation>"
    write(root / "Annotations/a.xml", size)
    return write(root / "Sentences/a.txt")


def flickr_xml(root: Path) -> Path:
    flickr(root)
    return root / "Annotations/a.xml"


def icdar(root: Path) -> Path:
    picture(root / "a.png")
    return write(root / "gt_a.txt")


# A data set, the file in it that is exchanged, and whether its source opens all the same, with that record bad.
RECORDS = {
    "yolo": yolo,
    "voc": voc,
    "flickr": flickr,
    "flickr of xml": flickr_xml,
    "scene_text": icdar,
}
SPLITS = {"voc": voc_split, "yolo": yolo_settings}
FILES = ["coco", "scene_text", "shards", "examples", "captions", "conversations", "questions", "refcoco", "hub"]
KINDS = {"a pipe": pipe, "a device": endless}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RECORDS)
def test_a_label_file_that_is_none_is_a_bad_record(tmp_path: Path, name: str, kind: str) -> None:
    KINDS[kind](RECORDS[name](tmp_path))
    report = check([SourceRecipe(tmp_path, format=name.split()[0])])
    (reason,) = report.sources[0].reasons
    assert f"is {kind}, not a regular file" in reason


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SPLITS)
def test_a_list_that_is_none_is_one_error(tmp_path: Path, name: str, kind: str) -> None:
    KINDS[kind](SPLITS[name](tmp_path))
    with pytest.raises(DataError, match=f"is {kind}, not a regular file"):
        open_source(SourceRecipe(tmp_path, format=name, split="train"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_a_data_set_that_is_no_file_is_one_error(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / "a.json"
    KINDS[kind](path)
    with pytest.raises(DataError, match=f"a.json is {kind}, not a regular file"):
        open_source(SourceRecipe(path, format=name, columns={"image": "x"} if name == "hub" else {}))
    with pytest.raises(DataError, match=f"is {kind}, not a regular file"):
        guess_format(path)
    with pytest.raises(DataError, match=f"is {kind}, not a regular file"):
        fingerprint(path)


def test_other_files_of_a_folder_are_looked_at_as_well(tmp_path: Path) -> None:
    pipe(tmp_path / "a.tar")
    with pytest.raises(DataError, match=r"a.tar is a pipe, not a regular file"):
        open_source(SourceRecipe(tmp_path, format="shards"))
    pipe(tmp_path / "a.json")
    with pytest.raises(DataError, match=r"a.json is a pipe, not a regular file"):
        find_splits(tmp_path)
    for read in (read_instances, read_questions, read_pictures, read_held_out, read_confusable):
        with pytest.raises(DataError, match=r"a.json is a pipe, not a regular file"):
            read(tmp_path / "a.json")
    pipe(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a.png is a pipe, not a regular file"):
        read_folder(tmp_path)


def test_a_file_that_is_longer_than_it_may_be_is_not_read(tmp_path: Path) -> None:
    with write(tmp_path / "a.txt").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match=r"has 1,099,511,627,776 bytes; wanted at most 1,000"):
        read_text(tmp_path / "a.txt", 1000)


def test_a_label_link_that_leads_nowhere_is_bad_and_a_missing_file_a_picture_without_objects(tmp_path: Path) -> None:
    labels = yolo(tmp_path)
    labels.unlink()
    assert len(next(iter(open_source(SourceRecipe(tmp_path)))).boxes) == 0
    labels.symlink_to(tmp_path / "gone.txt")
    (reason,) = check([SourceRecipe(tmp_path)]).sources[0].reasons
    assert "there is no such file" in reason


@pytest.mark.parametrize("text", ["[" * DEEP, '{"a":' * DEEP])
@pytest.mark.parametrize("name", ["coco", "scene_text", "captions", "conversations", "examples"])
def test_deep_json_is_one_line(tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path / "a.json", text)
    try:
        report = check([SourceRecipe(path, format=name)])
    except DataError as exc:
        told = str(exc)
    else:
        (told,) = report.sources[0].reasons
    assert "\n" not in told
    assert "a.json" in told


def test_deep_text_elsewhere_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", "[" * DEEP)
    for read in (find_splits, read_instances):
        with pytest.raises(DataError, match="nested too deep"):
            read(path)
    with pytest.raises(DataError, match="nested too deep"):
        read_confusable(write(tmp_path / "a.yaml", "a: " + "[" * 5000))
    write(yolo_settings(tmp_path), "train: images\nnames: " + "[" * 5000)
    with pytest.raises(DataError, match=r"data.yaml is nested too deep\.$"):
        open_source(SourceRecipe(tmp_path))


def test_a_deep_record_is_bad(tmp_path: Path) -> None:
    record = {"id": 1, "file_name": "a.png", "width": 20, "height": 10}
    path = write(tmp_path / "e.jsonl", json.dumps(record) + "\n" + '{"id":' + "[" * DEEP + "\n")
    report = check([SourceRecipe(path)])
    assert (report.sources[0].good, report.sources[0].bad) == (1, 1)


def test_a_tar_is_still_read(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    write(tmp_path / "a.txt", "A cup.")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("a.png", "a.txt"):
            tar.add(tmp_path / name, name)
    (example,) = open_source(SourceRecipe(tmp_path / "x.tar"))
    assert example.captions == ("A cup.",)
