"""The COCO reader: boxes, crowds, captions, absent names, and errors that name the record."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from fo1agent.errors import DataError
from fo1agent.trainers.data.coco import load_captions, load_coco

SHARED = Path(os.environ.get("FO1AGENT_SHARED", Path(__file__).parents[4] / "../shared"))


def tree() -> dict:
    return {
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 100, "height": 50},
            {"id": 9, "file_name": "b.jpg", "width": 10, "height": 10},
        ],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [10, 5, 20, 30], "iscrowd": 0},
            {"image_id": 7, "category_id": 1, "bbox": [90, 40, 20.5, 30], "iscrowd": 1},
            {"image_id": 7, "category_id": 1, "bbox": [5, 5, 0, 30]},
        ],
        "categories": [{"id": 3, "name": "cup"}, {"id": 1, "name": "person"}, {"id": 5, "name": "dog"}],
    }


def write(tmp_path, content, name="i.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_records_hold_boxes_names_crowds_and_what_is_absent(tmp_path):
    data = load_coco(write(tmp_path, tree()), tmp_path / "images")
    assert data.categories == ("person", "cup", "dog")
    assert data.dropped == 1
    first, second = data
    np.testing.assert_array_equal(first.boxes, [[10, 5, 30, 35], [90, 40, 100, 50]])  # cut at the border
    assert first.boxes.dtype == np.float32
    assert first.labels == ("cup", "person")
    np.testing.assert_array_equal(first.crowd, [False, True])
    assert first.absent == ("dog",)
    assert (first.path, first.width, first.height) == (tmp_path / "images/a.jpg", 100, 50)
    assert second.boxes.shape == (0, 4)
    assert second.absent == ("person", "cup", "dog")
    assert len(data) == 2
    assert data.images[1] is second


def test_lvis_absence_is_what_the_file_says(tmp_path):
    content = tree()
    content["images"][0] |= {"neg_category_ids": [5], "coco_url": "http://images.example/train2017/a.jpg"}
    del content["images"][0]["file_name"]
    first, second = load_coco(write(tmp_path, content), tmp_path)
    assert first.absent == ("dog",)
    assert second.absent == ()  # not known
    assert first.path == tmp_path / "a.jpg"


@pytest.mark.parametrize("layout", ["jsonl", "coco"])
def test_captions_are_read_from_both_layouts(tmp_path, layout):
    if layout == "jsonl":
        captions = write(tmp_path, '{"image_id": 7, "captions": [" A cup. ", "", "Two."]}\n', "c.jsonl")
    else:
        rows = [{"image_id": 7, "caption": c} for c in (" A cup. ", "", "Two.")]
        captions = write(tmp_path, {"annotations": rows}, "c.json")
    first, second = load_coco(write(tmp_path, tree()), tmp_path, captions)
    assert first.captions == ("A cup.", "Two.")
    assert second.captions == ()


def broken(path, value):
    content = tree()
    *parents, last = path
    place = content
    for key in parents:
        place = place[key]
    place[last] = value
    return content


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not JSON"),
        ([1], "no list 'images'"),
        ({"images": [], "annotations": {}, "categories": []}, "no list 'annotations'"),
        (
            broken(["annotations", 1, "bbox"], [1, 2, 3]),
            "annotations[1]: bbox is [1, 2, 3]; wanted four numbers, x, y, width, height",
        ),
        (broken(["annotations", 1, "bbox"], [1, 2, 3, -4]), "annotations[1]: bbox is [1, 2, 3, -4]: a side below 0"),
        (
            broken(["annotations", 1, "bbox"], [1, 2, 3, float("nan")]),
            "annotations[1]: bbox is [1, 2, 3, nan]: not finite",
        ),
        (broken(["annotations", 0, "image_id"], 8), "annotations[0] belongs to image 8"),
        (broken(["annotations", 0, "category_id"], 2), "annotations[0] has category 2"),
        (broken(["images", 1], {"id": 9, "width": 3, "height": 4}), "images[1] lacks"),
        (broken(["images", 1, "width"], 0), "images[1]: the picture is 0 x 10"),
        (broken(["categories", 0], {"id": 3}), "categories[0] lacks"),
    ],
)
def test_a_wrong_record_is_named(tmp_path, content, says):
    path = write(tmp_path, content)
    with pytest.raises(DataError) as error:
        load_coco(path, tmp_path)
    assert says in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("line", ['{"image_id": 7}', "[", '{"image_id": 7, "captions": [3]}'])
def test_a_wrong_caption_line_is_named(tmp_path, line):
    with pytest.raises(DataError, match=r"c\.jsonl"):
        load_captions(write(tmp_path, line, "c.jsonl"))


def test_a_missing_file_is_a_typed_error(tmp_path):
    with pytest.raises(DataError, match="Cannot read"):
        load_coco(tmp_path / "none.json", tmp_path)


@pytest.mark.skipif(not (SHARED / "data/coco-natural").is_dir(), reason="the natural data set is not on this machine")
def test_the_natural_dev_set_has_its_stated_numbers():
    root = SHARED / "data/coco-natural"
    data = load_coco(root / "instances_dev.json", root / "images/dev", root / "captions_dev.jsonl")
    assert len(data) == 296
    assert sum(len(i.boxes) for i in data) + data.dropped == 2818
    assert sum(int(i.crowd.sum()) for i in data) == 40
    assert all(i.path and i.path.exists() for i in data)
    assert sum(bool(i.captions) for i in data) > 280
