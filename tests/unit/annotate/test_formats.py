"""What a job found, as the programs that it is written for read it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from fo1agent.annotate.formats import LeftOut, check, left_out, write
from fo1agent.annotate.job import Job, here, run
from fo1agent.annotate.sources import Listing, listing
from fo1agent.annotate.tasks import Task
from fo1agent.errors import DataError, InputError
from fo1agent.scene import Model
from fo1agent.trainers.lock import locked


@pytest.fixture
def job(photos: Path, tmp_path: Path, model: Model) -> Job:
    """Done: five pictures, of which one is broken, with a bus and two people each."""
    made = Job(tmp_path / "out", listing(str(photos)), Task("detect", ("bus", "person")), {}, 2)
    run(made, lambda: here(model))
    return made


def test_pycocotools_reads_coco_and_finds_each_box(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    coco: Any = pytest.importorskip("pycocotools.coco")
    instances, results = write(job, ["coco"])
    truth = coco.COCO(str(instances))
    assert [one["file_name"] for one in truth.dataset["images"]] == ["a.png", "b.png", "d.png", "deep/c.png"]
    assert {one["name"]: one["id"] for one in truth.dataset["categories"]} == {"bus": 1, "person": 2}
    (bus,) = truth.loadAnns(truth.getAnnIds(imgIds=[1], catIds=[1]))
    assert (bus["bbox"], bus["area"], bus["score"]) == ([10, 10, 50, 50], 2500, 0.9)
    assert len(truth.loadRes(str(results)).getAnnIds(catIds=[2])) == 8
    capsys.readouterr()  # pycocotools reports there


def test_numbers_of_the_source_are_kept(job: Job, tmp_path: Path, model: Model) -> None:
    first = replace(job.listing.items[0], image_id=70)
    listed = Listing((first,), {"truck": 5, "bus": 6, "person": 1})
    other = replace(job, folder=tmp_path / "ids", listing=listed)
    run(other, lambda: here(model))
    rows = json.loads(write(other, ["coco"])[1].read_text())
    assert [(row["image_id"], row["category_id"]) for row in rows] == [(70, 6), (70, 1), (70, 1)]


def test_yolo_has_a_file_a_picture_and_names_classes_from_0(job: Job) -> None:
    (folder,) = write(job, ["yolo"])
    write(job, ["yolo"])  # again, in its place
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.txt"))
    assert names == ["labels/a.txt", "labels/b.txt", "labels/d.txt", "labels/deep/c.txt"]
    assert yaml.safe_load((folder / "data.yaml").read_text())["names"] == {0: "bus", 1: "person"}
    first, *people = (folder / "labels/a.txt").read_text().splitlines()
    assert first == "0 0.291667 0.350000 0.416667 0.500000"
    assert [line.split()[0] for line in people] == ["1", "1"]


def test_yolo_names_its_files_as_readers_look_for_them_and_refuses_two_of_one_name(
    job: Job, tmp_path: Path, model: Model
) -> None:
    first, second, *_ = job.listing.items

    def written(*names: str) -> tuple[list[str], Any]:
        pair = tuple(replace(one, picture=name) for one, name in zip((first, second), names, strict=True))
        other = replace(job, folder=tmp_path / names[0].replace("/", "_"), listing=Listing(pair))
        run(other, lambda: here(model))
        (folder,) = write(other, ["yolo"])
        told = yaml.safe_load((folder / "data.yaml").read_text())
        assert told["train"] == told["val"]
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.txt")), told["train"]

    # A number where a name would leave the folder, or is no file's; what all addresses have in common is left out.
    assert written("../../evil.png", "t.parquet#1") == (["labels/000000000.txt", "labels/000000001.txt"], "images")
    assert written("s3://bucket/a/b.png", "s3://bucket/c.png") == (["labels/a/b.txt", "labels/c.txt"], "images")
    assert written("/data/x/a.png", "/data/x/b.png") == (["labels/a.txt", "labels/b.txt"], "images")
    # The last folder `images` of a picture's path is where readers put `labels`.
    assert written("images/v/a.png", "b.png") == (["labels/b.txt", "labels/v/a.txt"], "images")
    assert written("v/images/a.png", "t/images/b/c.png") == (
        ["t/labels/b/c.txt", "v/labels/a.txt"],
        ["t/images", "v/images"],
    )
    with pytest.raises(DataError, match=r"a\.png and a\.jpg would both be labels/a\.txt in YOLO"):
        written("a.png", "a.jpg")


def test_one_process_at_a_time_writes_and_removes_what_a_killed_one_left(job: Job) -> None:
    left = job.folder / ".tmp-12345678-coco_instances.json"
    left.write_text("half")
    with locked(job.folder), pytest.raises(DataError, match="is in use"):
        write(job, ["coco"])
    assert left.exists()
    write(job, ["coco"])
    assert not left.exists()


def test_what_was_not_judged_is_in_no_format(job: Job, tmp_path: Path, model: Model) -> None:
    words = ("zebrafish", "dead bus", "person", "dog")
    other = replace(job, folder=tmp_path / "open", task=Task("detect", words))
    run(other, lambda: here(model))
    # Nobody knows the first; of the second only the bus was judged; no dog was found, which is an answer.
    assert left_out(other) == LeftOut(("zebrafish", "dead bus"), 4)
    instances, _, yolo, _, labels = write(other, ["coco", "yolo", "label-studio"])
    told = json.loads(instances.read_text())
    assert told["categories"] == [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
    assert {one["category_id"] for one in told["annotations"]} == {1}
    assert yaml.safe_load((yolo / "data.yaml").read_text())["names"] == {0: "person", 1: "dog"}
    assert [one.get("value") for one in ElementTree.parse(labels).iter("Label")] == ["person", "dog"]
    for word, left in (("dead bus", LeftOut(("dead bus",), 4)), ("zebrafish", LeftOut(("zebrafish",), 0))):
        counted = replace(job, folder=tmp_path / word, task=Task("count", (word,)))
        run(counted, lambda: here(model))
        assert left_out(counted) == left
        assert yaml.safe_load((write(counted, ["yolo"])[0] / "data.yaml").read_text())["names"] == {}


def test_two_pictures_of_one_name_and_tasks_without_boxes_are_refused_before_the_first(job: Job) -> None:
    pair = tuple(replace(one, picture=name) for one, name in zip(job.listing.items, ("a.png", "a.jpg"), strict=False))
    other = replace(job, listing=Listing(pair))
    check(other, ["coco", "label-studio"])
    with pytest.raises(DataError, match=r"a\.png and a\.jpg would both be labels/a\.txt"):
        check(other, ["yolo"])
    with pytest.raises(InputError, match="read finds no regions"):
        check(replace(job, task=Task("read")), ["coco"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("p/x.jpg", "p/x.txt/b.jpg"),
            r"^p/x\.txt/b\.jpg needs a folder labels/p/x\.txt in YOLO, .* the file of p/x\.jpg\.",
        ),
        (
            ("p/x.txt/y/b.jpg", "p/x.jpg"),
            r"^p/x\.txt/y/b\.jpg needs a folder labels/p/x\.txt in YOLO, .* of p/x\.jpg\.",
        ),
        (
            ("data.yaml/images/a.jpg", "b.jpg"),
            r"^data\.yaml/.* a folder data\.yaml in YOLO, .* the file of the classes\.",
        ),
        (("data.yaml/a.jpg", "p/x.jpg/b.jpg", "p/x.jpg", "images/data.yaml"), None),  # below labels it is no file
    ],
)
def test_a_picture_whose_folder_would_be_a_file_of_yolo_is_refused_before_the_first(
    job: Job, tmp_path: Path, model: Model, names: tuple[str, ...], message: str | None
) -> None:
    items = tuple(replace(one, picture=name) for one, name in zip(job.listing.items, names, strict=False))
    other = replace(job, folder=tmp_path / "clash", listing=Listing(items))
    check(other, ["coco", "label-studio"])
    if message:
        with pytest.raises(DataError, match=message):
            check(other, ["yolo"])
    else:
        run(other, lambda: here(model))
        assert len(list(write(other, ["yolo"])[0].rglob("*.txt"))) == 3  # one of four is no picture


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        ([70, 3, 5, 6, 9], [70, 3, 6, 9]),
        ([f"id-{k}" for k in range(5)], [1, 2, 4, 5]),  # COCO has numbers alone
        ([3, None, None, None, None], [1, 2, 4, 5]),  # the third would have the first one's
        ([7, 7, 8, 9, 10], [1, 2, 4, 5]),
    ],
)
def test_pictures_have_the_source_s_numbers_in_coco_if_each_has_one_of_its_own(
    job: Job, tmp_path: Path, model: Model, ids: list[Any], told: list[int]
) -> None:
    items = tuple(replace(one, image_id=number) for one, number in zip(job.listing.items, ids, strict=True))
    other = replace(job, folder=tmp_path / "ids", listing=Listing(items, text_ids=isinstance(ids[0], str)))
    run(other, lambda: here(model))
    instances, results = (json.loads(path.read_text()) for path in write(other, ["coco"]))
    assert [one["id"] for one in instances["images"]] == told
    assert [one["image_id"] for one in results] == [one for one in told for _ in range(3)]


def test_label_studio_gets_percentages_of_the_picture_and_its_labels(job: Job) -> None:
    tasks, labels = write(job, ["label-studio"])
    task = json.loads(tasks.read_text())[0]
    assert task["data"] == {"image": "a.png"}
    (prediction,) = task["predictions"]
    assert prediction["score"] == 0.7
    value = prediction["result"][0]["value"]
    assert value["rectanglelabels"] == ["bus"]
    assert [round(value[side], 2) for side in ("x", "y", "width", "height")] == [8.33, 10.0, 41.67, 50.0]
    assert [one.get("value") for one in ElementTree.parse(labels).iter("Label")] == ["bus", "person"]


def test_labels_are_the_categories_where_nothing_was_looked_for(job: Job, tmp_path: Path, model: Model) -> None:
    other = replace(job, folder=tmp_path / "described", task=Task("describe"))
    run(other, lambda: here(model))
    told = json.loads(write(other, ["coco"])[0].read_text())
    assert [one["name"] for one in told["categories"]] == ["bus", "person"]
    assert len(told["annotations"]) == 12


def test_nothing_found_is_an_empty_list_and_text_has_no_boxes(job: Job, tmp_path: Path, model: Model) -> None:
    none = replace(job, folder=tmp_path / "none", task=Task("detect", ("dog",)))
    run(none, lambda: here(model))
    assert json.loads(write(none, ["coco"])[1].read_text()) == []
    with pytest.raises(InputError, match="read finds no regions"):
        write(replace(job, task=Task("read")), ["coco"])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_with_a_segmenter_rows_and_coco_have_masks(
    job: Job, tmp_path: Path, model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    coco: Any = pytest.importorskip("pycocotools.coco")

    def right_halves(image: Any, boxes: Any) -> list[Any]:
        """Of the bus none; of all others the right half of the box."""
        masks: list[Any] = [np.zeros(image.size_hw, bool) for _ in boxes]
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.round().astype(int), strict=True):
            mask[y1:y2, (x1 + x2) // 2 : x2] = x1 != 10
        return masks

    other = replace(job, folder=tmp_path / "masks", task=Task("detect", ("bus", "person"), masks=True))
    run(other, lambda: here(replace(model, segmenter=right_halves)))
    regions = next(other.shards.rows())["regions"]
    assert [bool(one["mask"]) for one in regions] == [False, True, True]
    instances, results = write(other, ["coco"])
    truth = coco.COCO(str(instances))
    bus, person, _ = truth.loadAnns(truth.getAnnIds(imgIds=[1]))
    assert (bus["segmentation"], bus["area"], person["area"]) == ([], 2500, 800)
    pixels = truth.annToMask(person)
    assert (pixels.shape, pixels.sum(), pixels[10:50, 90:110].all()) == ((100, 120), 800, True)
    told = [one.get("segmentation") for one in json.loads(results.read_text())[:2]]
    assert told == [None, person["segmentation"]]
    capsys.readouterr()


def test_a_segmenter_that_fails_is_an_error_of_its_picture(job: Job, tmp_path: Path, model: Model) -> None:
    def failing(image: Any, boxes: Any) -> list[Any]:
        raise RuntimeError("too much")

    other = replace(job, folder=tmp_path / "masks", task=Task("detect", ("bus",), masks=True))
    run(other, lambda: here(replace(model, segmenter=failing)))
    assert "too much" in next(other.shards.rows())["error"]
    with pytest.raises(InputError, match="read makes no masks"):
        Task("read", masks=True)
