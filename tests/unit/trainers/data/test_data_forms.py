"""Data that means something else than it seems to: other forms of boxes, other JSON types, twins. Right, or named."""

from __future__ import annotations

import io
import json
import logging
import random
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fo1agent.errors import DataError, InputError
from fo1agent.trainers.data import coco as coco_data
from fo1agent.trainers.data.check import check
from fo1agent.trainers.data.coco import load_coco
from fo1agent.trainers.data.composites.backgrounds import read_backgrounds
from fo1agent.trainers.data.convert import convert
from fo1agent.trainers.data.formats import Source, SourceRecipe, guess_format, open_source
from fo1agent.trainers.data.formats.boxes import CUT, FORMS, GONE
from fo1agent.trainers.data.formats.hub import BOXES
from fo1agent.trainers.data.formats.voc import DIFFICULT
from fo1agent.trainers.data.formats.yolo import CORNERS, KEYPOINTS, OUTLINE, SCORE, TURNED
from fo1agent.trainers.data.mixture import Mixture
from fo1agent.trainers.data.outlines import outline
from fo1agent.trainers.data.records import Example

WIDTH, HEIGHT = 640, 480


def picture(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)
    return path


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def coco(folder: Path, *annotations: dict, image: dict | None = None, category: object = 1, count: int = 1) -> Path:
    images = [
        {"id": k, "file_name": f"{k}.jpg", "width": WIDTH, "height": HEIGHT} | (image or {}) for k in range(count)
    ]
    rows = [{"id": k, "image_id": 0, "category_id": 1, "bbox": [10, 20, 30, 40]} | a for k, a in enumerate(annotations)]
    rows = [{key: value for key, value in row.items() if value is not ...} for row in rows]
    tree = {"images": images, "annotations": rows, "categories": [{"id": category, "name": "cup"}]}
    return write(folder / "instances.json", tree)


def read(path: Path, **fields: Any) -> tuple[list[Example], Source]:
    source = open_source(SourceRecipe(path, **fields))
    return list(source), source


def said(source: Source) -> dict[str, int]:
    return {remark.what: remark.count for remark in source.problems.remarks}


# ---- JSON types ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["iscrowd", "ignore"])
@pytest.mark.parametrize(
    ("value", "crowd"),
    [("0", False), ("1", True), (True, True), (False, False), (1.0, True), (None, False), ("false", False), (0, False)],
)
def test_flags_may_have_any_type(tmp_path: Path, flag: str, value: object, crowd: bool) -> None:
    (example,), source = read(coco(tmp_path, {flag: value}))
    assert example.crowd.tolist() == [crowd]
    assert list(said(source)) == ([coco_data.IGNORED] if flag == "ignore" and crowd else [])


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"iscrowd": "yes"}, "annotations[0]: iscrowd is 'yes'; wanted 0 or 1"),
        ({"iscrowd": 2}, "annotations[0]: iscrowd is 2; wanted 0 or 1"),
        ({"iscrowd": []}, "annotations[0]: iscrowd is []; wanted 0 or 1"),
        ({"category_id": None}, "annotations[0] has category None, which is not in the file"),
        ({"category_id": True}, "annotations[0] has category True, which is not in the file"),
        ({"category_id": "01"}, "annotations[0] has category '01', which is not in the file"),
        ({"category_id": ...}, "annotations[0] lacks category_id"),
        ({"bbox": ...}, "annotations[0] lacks bbox, and has no segmentation"),
        ({"bbox": None}, "annotations[0]: bbox is None; wanted four numbers, x, y, width, height"),
        ({"bbox": "1234"}, "annotations[0]: bbox is '1234'; wanted four numbers"),
        ({"bbox": "[10, 20, 30, 40]"}, "annotations[0]: bbox is '[10, 20, 30, 40]'; wanted four numbers"),
        ({"bbox": {"0": 1, "1": 2, "2": 3, "3": 4}}, "annotations[0]: bbox is {'0': 1, '1': 2"),
        ({"bbox": [[10, 20, 30, 40]]}, "annotations[0]: bbox is [[10, 20, 30, 40]]; wanted four numbers"),
        ({"bbox": [True, 2, 3, 4]}, "annotations[0]: bbox is [True, 2, 3, 4]; wanted four numbers"),
        ({"bbox": [1, 2, 3, 4, 0.9]}, "annotations[0]: bbox is [1, 2, 3, 4, 0.9]; wanted four numbers"),
        ({"bbox": [10, 20, 30, 1e400]}, "annotations[0]: bbox is [10, 20, 30, inf]: not finite"),
    ],
)
def test_what_is_no_such_value_is_named(tmp_path: Path, record: dict, why: str) -> None:
    _, source = read(coco(tmp_path, record))
    (reason,) = source.problems.first
    assert reason.startswith(f"instances.json#0: {why}")


@pytest.mark.parametrize(
    ("image", "annotation", "category"),
    [
        ("7", 7, 1),
        (7, "7", "1"),
        (7.0, "7", 1.0),
        (-7, "-7", 1),
        ("cat", "cat", 1),
        (7, 7, 1),
    ],
)
def test_ids_are_joined_whatever_their_types(
    tmp_path: Path, image: object, annotation: object, category: object
) -> None:
    (example,), source = read(coco(tmp_path, {"image_id": annotation}, image={"id": image}, category=category))
    assert (source.problems.bad, example.labels, example.boxes.tolist()) == (0, ("cup",), [[10, 20, 40, 60]])


def test_ids_that_differ_as_text_stay_apart(tmp_path: Path) -> None:
    examples, source = read(coco(tmp_path, {"image_id": "007"}, image={"id": 7}))
    assert [len(e.boxes) for e in examples] == [0]
    assert source.problems.first == [
        "instances.json: annotations[0] belongs to image '007', which is not in the file",
    ]


def test_numbers_may_be_written_as_text(tmp_path: Path) -> None:
    file = coco(tmp_path, {"bbox": ["10", "20.5", " 30", "4e1"]}, image={"width": "640", "height": 480.0})
    (example,), _ = read(file)
    assert example.boxes.tolist() == [[10, 20.5, 40, 60.5]]
    assert (example.width, example.height) == (640, 480)


@pytest.mark.parametrize("width", [0, "0", -1, "wide", True, [640], 640.5])
def test_sizes_that_are_none_are_named(tmp_path: Path, width: object) -> None:
    _, source = read(coco(tmp_path, {}, image={"width": width}))
    assert source.problems.first[0].startswith("instances.json#0: images[0]: ")


def test_captions_are_joined_whatever_the_type_of_their_ids(tmp_path: Path) -> None:
    instances = coco(tmp_path, {}, image={"id": 7})
    captions = write(tmp_path / "c.json", {"annotations": [{"image_id": "7", "caption": "A cup."}]})
    assert read(instances, captions=captions)[0][0].captions == ("A cup.",)
    write(captions, {"annotations": [{"image_id": 8, "caption": "A cup."}]})
    with pytest.raises(DataError, match=r"c\.json: no caption is of a picture in .*instances\.json"):
        read(instances, captions=captions)


def test_refcoco_and_genome_join_ids_of_other_types(tmp_path: Path) -> None:
    coco(tmp_path / "r", {"id": "5"})
    reference = {"ref_id": 1, "ann_id": 5, "image_id": "0", "split": "train", "sentences": [{"sent": "the cup"}]}
    write(tmp_path / "r" / "refs.json", [reference])
    (example,), _ = read(tmp_path / "r")
    assert example.phrases[0].boxes == (0,)
    region = {"phrase": "a cup", "x": 1, "y": 2, "width": 30, "height": 40}
    write(tmp_path / "g" / "region_descriptions.json", [{"id": "1", "regions": [region]}])
    write(tmp_path / "g" / "image_data.json", [{"image_id": 1, "width": 640, "height": 480}])
    (example,), _ = read(tmp_path / "g")
    assert example.boxes.tolist() == [[1, 2, 31, 42]]


# ---- outlines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bbox", [..., None, [], [0, 0, 0, 0]])
@pytest.mark.parametrize(
    "segmentation",
    [[[10, 20, 40, 20, 40, 60], [12, 30, 15, 30, 15, 35]], [10, 20, 40, 20, 40, 60], [[[10, 20], [40, 20], [40, 60]]]],
)
def test_a_box_is_taken_from_polygons(tmp_path: Path, bbox: object, segmentation: object) -> None:
    (example,), source = read(coco(tmp_path, {"bbox": bbox, "segmentation": segmentation}))
    assert example.boxes.tolist() == [[10, 20, 40, 60]]
    assert said(source) == {coco_data.FROM_OUTLINE: 1}


def test_a_box_that_is_there_is_the_box(tmp_path: Path) -> None:
    (example,), source = read(coco(tmp_path, {"segmentation": [[0, 0, 1, 1, 0, 1]]}))
    assert (example.boxes.tolist(), said(source)) == ([[10, 20, 40, 60]], {})


@pytest.mark.parametrize("packed", [False, True])
def test_a_box_is_taken_from_runs_as_pycocotools_takes_it(tmp_path: Path, packed: bool) -> None:
    mask = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    rng = np.random.default_rng(3)
    for _ in range(40):
        height, width = rng.integers(1, 30, 2)
        pixels = np.zeros((height, width), np.uint8)
        y, x = rng.integers(0, height), rng.integers(0, width)
        pixels[y : y + rng.integers(1, 12), x : x + rng.integers(1, 12)] = 1
        pixels[rng.random((height, width)) < 0.01] = 1
        runs = mask.encode(np.asfortranarray(pixels))
        counts: object = runs["counts"].decode()
        if not packed:
            flat = pixels.flatten(order="F")
            edges = np.flatnonzero(np.diff(flat)) + 1
            lengths = np.diff(np.array([0, *edges.tolist(), len(flat)])).tolist()
            counts = [0, *lengths] if flat[0] else lengths
        box, size = outline({"size": [int(height), int(width)], "counts": counts})
        assert list(box) == mask.toBbox(runs).tolist()
        assert size == (height, width)


@pytest.mark.parametrize(
    ("segmentation", "why"),
    [
        ([[1, 2, 3]], "wanted lists of at least three points"),
        ([["a", 2, 3, 4, 5, 6]], "wanted lists of x, y"),
        ([[1, 2, 3, 4, 5, float("nan")]], "wanted lists of at least three points"),
        ("polygon", "wanted polygons or runs"),
        ({"size": [480, 640], "counts": [5]}, "add up to 5; wanted 480 x 640"),
        ({"size": [480, 640], "counts": [480 * 640]}, "has no pixels"),
        ({"size": [480, 640], "counts": [-1, 2]}, "hold -1; wanted whole numbers"),
        ({"size": [480, 640], "counts": [1, 10**9]}, "add up to more than"),
        ({"size": [480, 640], "counts": "é"}, "not packed as"),
        ({"size": [480, 640], "counts": "P"}, "end in the middle"),
        ({"size": [10**9, 10**9], "counts": [1]}, "wanted size, height and width"),
        ({"size": [2, 2], "counts": [1, 3]}, "is of 2 x 2 pixels, the picture has 640 x 480"),
    ],
)
def test_an_outline_that_is_none_is_named(tmp_path: Path, segmentation: object, why: str) -> None:
    _, source = read(coco(tmp_path, {"bbox": ..., "segmentation": segmentation}))
    (reason,) = source.problems.first
    assert reason.startswith("instances.json#0: annotations[0] lacks bbox, and its segmentation")
    assert why in reason


# ---- forms of boxes --------------------------------------------------------------------------------------------------


def numbers(form: str, width: int, height: int, seed: int = 0) -> list[list[float]]:
    """Forty boxes all over a picture, in a form."""
    rng = random.Random(seed)
    layout, _, unit = form.partition("-")
    grid = {"": None, "normalized": 1, "1000": 1000}[unit]
    rows = []
    for _ in range(40):
        (x1, x2), (y1, y2) = (sorted(rng.uniform(0, side) for _ in "ab") for side in (width, height))
        corner = {"xyxy": (x1, y1), "xywh": (x1, y1), "cxcywh": ((x1 + x2) / 2, (y1 + y2) / 2)}[layout]
        row = [*corner, *((x2, y2) if layout == "xyxy" else (x2 - x1, y2 - y1))]
        rows.append([v * grid / (width, height)[k % 2] if grid else v for k, v in enumerate(row)])
    return rows


def made(folder: Path, wanted: str, rows: list[list[float]], size: tuple[int, int]) -> Path:
    """A source of a format with ten pictures and these boxes, as many in each."""
    share = len(rows) // 10
    parts = [rows[k * share : (k + 1) * share] for k in range(10)]
    head = [{"id": k, "file_name": f"{k}.jpg", "width": size[0], "height": size[1]} for k in range(10)]
    if wanted == "coco":
        annotations = [{"image_id": k, "bbox": row} for k, part in enumerate(parts) for row in part]
        return coco(folder, *annotations, count=10, image={"width": size[0], "height": size[1]})
    records: list[dict] = []
    for record, part in zip(head, parts, strict=True):
        turns = [{"from": "human", "value": "<region0>?"}, {"from": "gpt", "value": "A cup."}]
        records.append(
            {
                "examples": record | {"boxes": part},
                "conversations": record | {"image": record["file_name"], "bbox_list": part, "conversations": turns},
                "questions": record | {"category": "cup", "answer": len(part), "boxes": part},
                "scene_text": record | {"words": [{"bbox": row, "text": "A"} for row in part]},
            }[wanted]
        )
    return write(folder / "e.jsonl", "".join(json.dumps(record) + "\n" for record in records))


USUAL = {"coco": "xywh", "questions": "xywh", "scene_text": "xywh", "examples": "xyxy", "conversations": "xyxy"}


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080)], ids=str)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wanted", USUAL)
def test_another_form_is_doubted_and_said_it_is_right(
    tmp_path: Path, wanted: str, form: str, size: tuple[int, int]
) -> None:
    file = made(tmp_path, wanted, numbers(form, *size), size)
    assert guess_format(file) == wanted
    (report,) = check([SourceRecipe(file)]).sources
    if form == USUAL[wanted]:
        assert (report.good, report.doubts, report.remarks) == (10, [], [])
    else:
        (doubt,) = report.doubts
        assert doubt.endswith(f", say --boxes {form}")
        if form.endswith("-normalized"):
            assert (report.good, report.bad) == (0, 10)
    examples, source = read(file, boxes=form)
    assert (len(examples), source.warnings()) == (10, [])
    right = np.array(numbers("xyxy", *size))
    np.testing.assert_allclose(np.concatenate([e.boxes for e in examples]), right, atol=1e-2)


def test_boxes_that_stand_out_are_counted(tmp_path: Path) -> None:
    rows = [[600, 10, 50, 20], [700, 10, 50, 20], [10, 10, 0, 20], [630, 10, 11, 20], [10, 10, 20, 20]]
    (report,) = check([SourceRecipe(coco(tmp_path, *({"bbox": row} for row in rows)))]).sources
    assert (report.boxes, report.doubts) == (3, [])
    assert [(r.what, r.count, r.first) for r in report.remarks] == [
        (CUT, 1, "instances.json#0"),
        (GONE, 2, "instances.json#0"),
    ]


def test_people_who_stand_half_outside_are_no_other_form(tmp_path: Path) -> None:
    rows = [[k * 30, 300, 60, 400] if k % 3 == 0 else [k * 30, 10, 20, 20] for k in range(20)]
    (report,) = check([SourceRecipe(coco(tmp_path, *({"bbox": row} for row in rows)))]).sources
    (doubt,) = report.doubts
    assert doubt == "35% of the boxes, read as xywh, do not lie in their pictures"


def test_tiny_boxes_may_be_said_to_be_pixels(tmp_path: Path) -> None:
    file = coco(tmp_path, {"bbox": [0, 0, 1, 1]})
    _, source = read(file)
    assert "if they are pixels, say --boxes xywh" in source.problems.first[0]
    assert read(file, boxes="xywh")[0][0].boxes.tolist() == [[0, 0, 1, 1]]


def test_an_unknown_form_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown form 'yxyx'\. Known: xyxy, xywh"):
        read(coco(tmp_path, {}), boxes="yxyx")


@pytest.mark.parametrize("form", FORMS)
def test_hub_columns_say_the_form(tmp_path: Path, form: str) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    rows = {"image": [], "boxes": []}
    file = picture(tmp_path / "a.jpg")
    for k in range(10):
        rows["image"].append(str(file))
        rows["boxes"].append(numbers(form, WIDTH, HEIGHT)[k * 4 : k * 4 + 4])
    datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "t" / "a.parquet")
    field = next(field for field, known in BOXES.items() if known == form)
    examples, source = read(tmp_path / "t" / "a.parquet", format="hub", columns={"image": "image", field: "boxes"})
    assert (len(examples), source.warnings()) == (10, [])
    right = np.array(numbers("xyxy", WIDTH, HEIGHT))
    np.testing.assert_allclose(np.concatenate([e.boxes for e in examples]), right, atol=1e-2)


# ---- YOLO ------------------------------------------------------------------------------------------------------------


def yolo(folder: Path, line: str, settings: str = "", name: str = "a") -> Path:
    picture(folder / "images" / "train" / f"{name}.jpg", (100, 50))
    (folder / "labels" / "train").mkdir(parents=True, exist_ok=True)
    (folder / "labels" / "train" / f"{name}.txt").write_bytes(line.encode())
    write(folder / "data.yaml", f"train: images/train\nval: images/train\nnames: [cup, dog]\n{settings}")
    return folder


BOX = [[40, 15, 60, 35]]


@pytest.mark.parametrize(
    ("line", "settings", "remark"),
    [
        ("1 0.5 0.5 0.2 0.4", "", None),
        ("1\t0.5\t0.5\t0.2\t0.4\t\r\n\r\n", "nc: 2", None),
        ("\ufeff1 5e-1 5E-1 2.0e-01 0.400000000000000022", "nc: 2.0", None),
        ("1.000000000000000000e+00 0.5 0.5 0.2 0.4", "", None),
        ("1 0.5 0.5 0.2 0.4 0.93", "", SCORE),
        ("1 0.5 0.5 0.2 0.4 0.1 0.1 2 0.9 0.9 0", "kpt_shape: [2, 3]", KEYPOINTS),
        ("1 0.5 0.5 0.2 0.4 0.1 0.1 0.9 0.9", "kpt_shape: [2, 2]", KEYPOINTS),
        ("1 0.4 0.3 0.6 0.3 0.6 0.7 0.4 0.7", "", CORNERS),
        ("1 0.4 0.3 0.6 0.3 0.6 0.7 0.4 0.7", "task: obb", TURNED),
        ("1 0.4 0.3 0.6 0.3 0.5 0.7", "", OUTLINE),
    ],
)
def test_yolo_rows_are_read_right_and_what_is_unused_is_named(
    tmp_path: Path, line: str, settings: str, remark: str | None
) -> None:
    (example,), source = read(yolo(tmp_path, line, settings), split="train")
    np.testing.assert_allclose(example.boxes, BOX, atol=1e-4)
    assert example.labels == ("dog",)
    assert said(source) == ({} if remark is None else {remark: 1})


@pytest.mark.parametrize(
    ("line", "settings", "why"),
    [
        ("1 0.5 0.5 0.2 0.4 0.1", "kpt_shape: [2, 3]", "6 numbers; wanted class, box and keypoints: 5, or 11"),
        ("1 0.5 0.5 0.2 0.4 0.1 nan 0 0.1 0.1 0", "kpt_shape: [2, 3]", "a keypoint is not a finite number"),
        ("1 0.5 0.5 0.2 0.4 1.57", "", "6 numbers; wanted class, center x"),
        ("1 0.5 0.5 0.2 0.4 0.1 0.1 2 0.3 0.3 2 0.4", "", "12 numbers; .*data.yaml needs kpt_shape"),
        (
            "1 50 25 20 20",
            "",
            "wanted numbers from 0 to 1, parts of the picture's size; if they are pixels, say --boxes cx",
        ),
        ("1.5 0.5 0.5 0.2 0.4", "", "class '1.5'; wanted a whole number"),
        ("-1 0.5 0.5 0.2 0.4", "", "class -1, but there are 2 names"),
    ],
)
def test_yolo_rows_that_are_none_are_named(tmp_path: Path, line: str, settings: str, why: str) -> None:
    _, source = read(yolo(tmp_path, line, settings))
    with pytest.raises(DataError, match=rf"a\.txt: line 1: .*{why}"):
        raise DataError(source.problems.first[0])


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("nc: 3", "nc is 3, but there are 2 names"),
        ("kpt_shape: 17", r"kpt_shape is 17; wanted \[how many"),
        ("kpt_shape: [17, x]", "kpt_shape is .*wanted"),
    ],
)
def test_yolo_settings_that_disagree_are_named(tmp_path: Path, settings: str, why: str) -> None:
    with pytest.raises(DataError, match=why):
        read(yolo(tmp_path, "", settings))


@pytest.mark.parametrize(
    ("line", "form"), [("1 50 25 20 20", "cxcywh"), ("1 40 15 60 35", "xyxy"), ("1 0.4 0.3 0.2 0.4", "xywh-normalized")]
)
def test_yolo_numbers_may_be_said_to_be_others(tmp_path: Path, line: str, form: str) -> None:
    (example,), source = read(yolo(tmp_path, line), boxes=form, split="train")
    np.testing.assert_allclose(example.boxes, BOX, atol=1e-4)
    assert source.warnings() == []


@pytest.mark.parametrize(
    ("splits", "told"),
    [
        ("val: images/val", "val"),
        ("val: ./images/train/", ""),
        ("val: [images/train]", ""),
        ("val: [images/train, images/val]", "val"),
        ("val: images/train\ntest: images/test", "test"),
    ],
)
def test_yolo_splits_that_are_not_read_are_named(tmp_path: Path, splits: str, told: str) -> None:
    yolo(tmp_path, "")
    write(tmp_path / "data.yaml", f"train: images/train\n{splits}\nnames: [cup, dog]\n")
    _, source = read(tmp_path)
    note = [f"only train is read; data.yaml has {told} too, for --split"] if told else []
    assert source.warnings() == [f"{tmp_path}: {one}" for one in note]
    report = check([SourceRecipe(tmp_path)]).sources[0]
    assert (report.notes, report.doubts) == (note, [])


POSE = "0 .5 .5 .2 .4 .1 .1 1 .2 .2 1"


@pytest.mark.parametrize(
    ("lines", "doubtful"),
    [
        ([POSE], "1 of 1 outlines"),
        ([POSE, "1 .5 .5 .4 .4 .5 .5 0 .5 .4 1", "0 .1 .2 .3 .2 .3 .8"], "2 of 3 outlines"),
        ([POSE, "0 .1 .2 .3 .2 .3 .8"], ""),
        (["0 0 0 1 0 1 1 0 1 0 0"], ""),  # the outline of the whole picture
        (["0 1 1 0 1 0 0 1 0 1 1"], ""),
        (["0 .1 .2 .3 .2 .3 .8 .2 .9 .1 .5"], ""),
    ],
)
def test_yolo_outlines_that_look_like_keypoints_are_doubted(tmp_path: Path, lines: list[str], doubtful: str) -> None:
    _, source = read(yolo(tmp_path, "\n".join(lines)))
    told = f"what is read as an outline looks like a box with keypoints ({doubtful}); say kpt_shape in data.yaml"
    assert source.doubts() == ([told] if doubtful else [])


def test_yolo_keypoints_beyond_one_are_named(tmp_path: Path) -> None:
    _, source = read(yolo(tmp_path, POSE.replace(".2 1", ".2 2")))
    assert source.problems.first[0].endswith(
        "line 1: 11 numbers that look like a box with keypoints; say kpt_shape in data.yaml"
    )
    (example,), source = read(yolo(tmp_path, POSE.replace(".2 1", ".2 2"), "kpt_shape: [2, 3]"))
    assert (example.boxes.tolist(), source.doubts()) == ([[40, 15, 60, 35]], [])


@pytest.mark.parametrize("place", ["images/train", "[images/train]", "list.txt", "./images/train", "ABSOLUTE"])
def test_yolo_pictures_are_found_however_named(tmp_path: Path, place: str) -> None:
    yolo(tmp_path, "1 0.5 0.5 0.2 0.4")
    write(tmp_path / "list.txt", "./images/train/a.jpg\r\n\r\n")
    place = str(tmp_path / "images") if place == "ABSOLUTE" else place
    write(tmp_path / "data.yaml", f"\ufefftrain: {place}\nnames:\n  0: cup\n  1: dog\n")
    (example,), _ = read(tmp_path)
    assert example.labels == ("dog",)


# ---- twins -----------------------------------------------------------------------------------------------------------

TWINS = ("._a.jpg", "__MACOSX/._a.jpg", "__MACOSX/a.jpg", "@eaDir/a.jpg/SYNO_THUMB_M.jpg", ".thumbs/a.jpg", "Thumbs.db")


def test_twins_in_folders_are_passed_over(tmp_path: Path) -> None:
    root = tmp_path / ".hidden home"  # a person's own hidden folder is as good as any
    yolo(root, "1 0.5 0.5 0.2 0.4")
    for twin in (*TWINS, "desktop.ini", ".DS_Store"):
        write(root / "images" / "train" / twin, "Mac OS X")
    write(root / "._data.yaml", "Mac OS X")
    assert [e.id for e in read(root)[0]] == ["a"]
    assert len(read_backgrounds(root).photos) == 1
    voc = tmp_path / "voc"
    picture(voc / "a.jpg")
    box = "<xmin>11</xmin><ymin>6</ymin><xmax>30</xmax><ymax>35</ymax>"
    thing = f"<object><name>cup</name><difficult>1</difficult><bndbox>{box}</bndbox></object>"
    write(voc / "a.xml", f"<annotation><filename>a.jpg</filename>{thing}</annotation>")
    write(voc / "._a.xml", "Mac OS X")
    examples, source = read(voc)
    assert ([e.id for e in examples], source.problems.bad, said(source)) == (["a"], 0, {DIFFICULT: 1})


def test_twins_of_and_in_archives_are_passed_over(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, "JPEG")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in (
            *((f"./{twin}", b"Mac OS X") for twin in TWINS),
            ("./x/0.jpg", buffer.getvalue()),
            ("./x/0.txt", b"A cup."),
            ("./x/._0.txt", b"Mac OS X"),
            ("./x/0.jpeg", buffer.getvalue()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    write(tmp_path / "._a.tar", "Mac OS X")
    assert guess_format(tmp_path) == "shards"
    (example,), source = read(tmp_path)
    assert (example.captions, source.problems.bad) == (("A cup.",), 0)
    assert source.warnings() == [
        f"{tmp_path}: 1 file(s) stand where the key has one of the kind already, as a.tar: ./x/0.jpeg; "
        "the last one is taken"
    ]


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tgz"])
def test_a_packed_file_is_to_be_unpacked(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="is packed; unpack it"):
        guess_format(write(tmp_path / name, "PK"))


def test_names_that_differ_by_case_stay_apart_on_every_machine(tmp_path: Path) -> None:
    records = []
    for k, name in enumerate(("a.jpg", "A.JPG")):
        picture(tmp_path / name)
        records.append({"id": k, "file_name": name, "width": WIDTH, "height": HEIGHT, "boxes": [[9, 9, 99, 99]]})
    write(tmp_path / "e.jsonl", "".join(json.dumps(r | {"labels": ["cup"]}) + "\n" for r in records))
    convert(read(tmp_path / "e.jsonl")[1], "yolo", tmp_path / "out")
    names = [p.name.casefold() for p in (tmp_path / "out" / "images" / "train").iterdir()]
    assert len(set(names)) == 2


# ---- trainers --------------------------------------------------------------------------------------------------------


def test_load_coco_warns_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = coco(tmp_path, *({"bbox": row} for row in numbers("xyxy", WIDTH, HEIGHT)))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            load_coco(file, tmp_path)
    doubt, cut = (record.getMessage() for record in caplog.records)
    assert doubt.startswith(f"{file}: ")
    assert doubt.endswith("if they are, write it anew with fo1agent data convert --to coco --boxes xyxy")
    assert cut.startswith(f"{file}: {CUT}")


def test_load_coco_refuses_parts_of_the_size(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="they look like parts of its size"):
        load_coco(coco(tmp_path, {"bbox": [0.1, 0.2, 0.3, 0.4]}), tmp_path)


def test_a_mixture_warns_before_it_draws(tmp_path: Path) -> None:
    file = made(tmp_path, "questions", numbers("xyxy", WIDTH, HEIGHT), (WIDTH, HEIGHT))
    mixture = Mixture.of([SourceRecipe(file)])
    warnings = mixture.warnings()
    assert any(warning.endswith("say --boxes xyxy") for warning in warnings)
    assert (mixture.sources[0].problems.good, mixture.sources[0].problems.bad) == (0, 0)
