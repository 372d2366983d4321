"""Each value of each format exchanged for others: what is said of it is in words of the data, not of Python."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fo1agent.errors import DataError
from fo1agent.trainers.data.check import check
from fo1agent.trainers.data.formats import SourceRecipe

OTHERS = (5, None, "x", [5], {}, True, [None], [[5]])
PYTHONS = re.compile(
    r"' object|indices must|attribute|unpack|argument|iterable|subscript|operand|not supported|literal|convert|Error"
)
IMAGE = {"id": 1, "file_name": "a.jpg", "width": 100, "height": 50}
BOX = [1, 2, 30, 20]
COCO = {
    "images": [{**IMAGE, "neg_category_ids": [1]}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": BOX, "iscrowd": 0}],
    "categories": [{"id": 1, "name": "cup"}],
}
SAID = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": [{"type": "text", "text": "A cup."}]}]
ENTRY = {"file_name": "a.jpg", "width": 100, "height": 50}

# By format: the file that is exchanged and what it holds; `Lines` are one object each.
FILES: dict[str, tuple[str, Any]] = {
    "coco": ("a.json", COCO),
    "refcoco": (
        "refs.json",
        [{"ref_id": 1, "ann_id": 1, "image_id": 1, "split": "train", "sentences": [{"sent": "a"}]}],
    ),
    "genome": (
        "region_descriptions.json",
        [{"id": 1, "regions": [{"phrase": "a", "x": 1, "y": 2, "width": 9, "height": 9}]}],
    ),
    "genome sizes": ("image_data.json", [{"image_id": 1, "width": 100, "height": 50, "url": "x/1.jpg"}]),
    "scene_text": (
        "a.json",
        {
            "imgs": {"1": {**IMAGE, "set": "train"}},
            "anns": {"1": {"image_id": 1, "bbox": BOX, "utf8_string": "A", "legibility": "legible"}},
        },
    ),
    "scene_text lines": ("a.jsonl", {**ENTRY, "words": [{"bbox": BOX, "text": "A", "legible": True}]}),
    "conversations": ("a.jsonl", {"id": "1", **ENTRY, "image": "a.jpg", "bbox_list": [BOX], "conversations": SAID}),
    "questions": ("a.jsonl", {**ENTRY, "category": "cup", "answer": 1, "boxes": [BOX]}),
    "questions of answers": ("a.jsonl", {**ENTRY, "question": "Is it?", "answers": [{"answer": "yes"}]}),
    "questions of boxes": ("a.jsonl", {**ENTRY, "question": "Is it?", "bbox": BOX}),
    "captions": ("a.jsonl", {**ENTRY, "captions": ["A cup."]}),
    "captions of COCO": ("a.json", {"images": [IMAGE], "annotations": [{"image_id": 1, "caption": "A cup."}]}),
    "examples": (
        "a.jsonl",
        {
            **IMAGE,
            "boxes": [BOX],
            "labels": ["cup"],
            "crowd": [0],
            "captions": ["A cup."],
            "absent": ["dog"],
            "phrases": [["the cup", [0]]],
            "texts": ["TEA"],
            "turns": [["What?", "A cup."]],
        },
    ),
}


def changed(tree: Any) -> Iterator[Any]:
    """The tree with each part of it, itself too, exchanged for each of the others."""
    yield from (other for other in OTHERS if other != tree)
    for key in tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        for part in changed(tree[key]):
            copied = copy.copy(tree)
            copied[key] = part
            yield copied


def lay(folder: Path, name: str) -> Callable[[Any], Path]:
    file, _ = FILES[name]
    (folder / "instances.json").write_text(json.dumps(COCO), encoding="utf-8")
    for other in ("genome", "genome sizes"):
        (folder / FILES[other][0]).write_text(json.dumps(FILES[other][1]), encoding="utf-8")

    def put(content: Any) -> Path:
        (folder / file).write_text(json.dumps(content) + "\n", encoding="utf-8")
        return folder if name.startswith("genome") else folder / file

    return put


@pytest.mark.parametrize("form", [None, "xyxy"])
@pytest.mark.parametrize("name", FILES)
def test_what_is_wrong_is_said_in_words_of_the_data(tmp_path: Path, name: str, form: str | None) -> None:
    put, kind = lay(tmp_path, name), name.split()[0]
    told: dict[str, Any] = {}
    for content in changed(FILES[name][1]):
        boxes = form if kind != "captions" else None
        try:
            (report,) = check([SourceRecipe(put(content), format=kind, images=tmp_path, boxes=boxes)]).sources
            reasons = report.reasons
        except DataError as exc:
            reasons = [str(exc)]
        told |= {reason.replace(str(tmp_path), "").split(": ", 1)[-1]: content for reason in reasons}
    wrong = {reason: content for reason, content in told.items() if PYTHONS.search(reason)}
    assert wrong == {}, "\n".join(f"{a} <- {b}" for a, b in wrong.items())


def test_the_files_are_good_before_they_are_changed(tmp_path: Path) -> None:
    for name, (_, content) in FILES.items():
        path = lay(tmp_path, name)(content)
        (report,) = check([SourceRecipe(path, format=name.split()[0], images=tmp_path)]).sources
        assert (name, report.good, report.bad) == (name, 1, 0)
