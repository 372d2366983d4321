"""Whatever stands in a stranger's file, a reader gives sound examples and counts the rest; it never fails otherwise."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from fo1agent.errors import DataError
from fo1agent.trainers.data.files import ArrayFile, LineFile
from fo1agent.trainers.data.formats import SourceRecipe, Tolerance, open_source
from fo1agent.trainers.data.formats.boxes import BoxReader
from fo1agent.trainers.data.formats.fields import exact_boxes
from fo1agent.trainers.data.records import regions_of

BOX = [10, 5, 20, 30]
SIZED = {"file_name": "a.png", "width": 100, "height": 50}
VALID: dict[str, list[tuple[str, Any]]] = {
    "examples": [
        (
            "e.jsonl",
            {
                **SIZED, "id": 1, "boxes": [[*BOX[:2], 40, 40]], "labels": ["cup"], "crowd": [0], "captions": ["x"],
                "absent": ["dog"], "phrases": [["a cup", [0]]], "texts": ["TEA"], "turns": [["<region0>?", "yes"]],
            },
        )
    ],
    "questions": [
        ("q.jsonl", {**SIZED, "question": "Is it?", "answers": [{"answer": "yes"}, {"answer": "no"}]}),
        ("q.jsonl", {**SIZED, "category": "dog", "answer": 1, "boxes": [BOX]}),
        ("q.jsonl", {**SIZED, "question": "Where?", "bbox": BOX}),
        ("q.jsonl", {**SIZED, "text": "It is.", "label": True}),
        ("q.jsonl", {"image": "a.png", "positive": "white", "negative": "black"}),
    ],
    "captions": [("c.jsonl", {**SIZED, "captions": ["A cup."]})],
    "conversations": [
        (
            "c.json",
            [
                {
                    "id": "x", "image": "a.png", "bbox_list": [[1, 2, 30, 40]],
                    "conversations": [{"from": "human", "value": "<region0>?"}, {"from": "gpt", "value": "Yes"}],
                }
            ],
        )
    ],
    "scene_text": [
        ("w.jsonl", {**SIZED, "words": [{"bbox": BOX, "text": "JOINT", "legible": True}]}),
        (
            "t.json",
            {
                "imgs": {"7": {**SIZED, "id": 7, "set": "train"}},
                "anns": {"1": {"image_id": 7, "bbox": BOX, "utf8_string": "New", "legibility": "legible"}},
            },
        ),
    ],
    "coco": [
        (
            "i.json",
            {
                "images": [{**SIZED, "id": 1, "neg_category_ids": [2]}, {**SIZED, "id": 2}],
                "annotations": [{"id": 5, "image_id": 1, "category_id": 1, "bbox": BOX, "iscrowd": 0}],
                "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "dog"}],
            },
        )
    ],
    "yolo": [("data.yaml", {"train": "images", "names": ["cup"]})],
}  # fmt: skip

junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(-5, 200), max_size=5),
    st.dictionaries(st.sampled_from(["id", "bbox", "x"]), st.integers(), max_size=2),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [path, *(place for key in keys for place in places(value[key], (*path, key)))]


@st.composite
def spoiled(draw) -> tuple[str, str, Any]:
    """A format with one of its files, somewhere in which something else stands, or nothing."""
    name = draw(st.sampled_from(sorted(VALID)))
    file, content = draw(st.sampled_from(VALID[name]))
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(places(content)[1:] or [()]))
        if not path:
            continue
        parent = content
        for key in path[:-1]:
            parent = parent[key]
        if draw(st.booleans()) and isinstance(parent, dict):
            del parent[path[-1]]
        else:
            parent[path[-1]] = draw(junk)
    return name, file, content


@settings(deadline=None, max_examples=200)
@example(("scene_text", "t.json", {"imgs": {"7": None}, "anns": {}}))
@given(spoiled())
def test_a_spoiled_record_is_counted_or_sound(case: tuple[str, str, Any]) -> None:
    name, file, content = case
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file
        (Path(folder) / "images").mkdir()
        for where in ("a.png", "images/a.png"):
            Image.new("1", (100, 50)).save(Path(folder) / where)
        path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML, too
        try:
            source = open_source(SourceRecipe(path, format=name, tolerance=Tolerance(1)))
            examples = list(source)
        except DataError:
            return  # the file as a whole is none of its format
        assert source.problems.good == len(examples)
        assert all(": " in reason for reason in source.problems.first)
        for one in examples:
            count = len(one.boxes)
            hash(one.id)
            assert len(one.labels) == len(one.crowd) == count
            assert all(isinstance(label, str) for label in (*one.labels, *one.absent, *one.captions))
            assert len(one.texts) in (0, count)
            assert np.isfinite(one.boxes).all()
            assert (one.boxes[:, 2:] > one.boxes[:, :2]).all()
            assert (one.boxes >= 0).all()
            assert (one.boxes[:, 2:] <= [one.width, one.height]).all()
            assert all(0 <= k < count for phrase in one.phrases for k in phrase.boxes)
            assert all(k < count for turn in one.turns for k in regions_of(turn.question + turn.reply))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b""))), st.booleans())
def test_lines_by_position_are_lines_in_order(lines: list[bytes], ended: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.write_bytes(b"\n".join(lines) + (b"\n" if ended and lines else b""))
        file = LineFile(path)
        in_order = list(file)
        assert [file[k] for k in range(len(file))] == in_order
        if ended or not lines or lines[-1]:
            assert in_order == lines


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=30), max_size=3), max_size=8), st.integers(1, 40))
def test_arrays_by_position_are_arrays_in_order(records: list[dict], block: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("fo1agent.trainers.data.files._BLOCK", block)
        path = Path(folder) / "x.json"
        path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8", errors="surrogatepass")
        array = ArrayFile(path)
        assert list(array) == records
        assert [json.loads(array[k]) for k in range(len(array))] == records


@pytest.mark.parametrize("height", [0.0, 1e-50])
def test_a_box_without_area_is_no_box(height: float) -> None:
    boxes, kept, _ = BoxReader("xyxy").read([[10, 0, 40, height], [10, 5, 40, 25]], 100, 50)
    assert kept == [1]
    assert boxes.tolist() == [[10, 5, 40, 25]]
    with pytest.raises(DataError, match=r"boxes\[0\]"):
        exact_boxes([[10, 0, 40, height]], 100, 50)


@pytest.mark.parametrize("far", [101.0, 3.5e38, 1e308])  # float32 ends at 3.4e38
def test_a_box_beside_its_picture_is_no_box_however_far(far: float) -> None:
    rows = [[far, 5, far, 25], [-far, 5, -far, 25], [10, far, 40, far], [-far, -far, far, far]]
    boxes, kept, _ = BoxReader("xyxy").read(rows, 100, 50)
    assert kept == [3]
    assert boxes.tolist() == [[0, 0, 100, 50]]
