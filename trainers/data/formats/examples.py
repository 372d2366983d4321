"""Our own line format: one JSON object a picture, everything that an `Example` holds, nothing lost.

    {"id": 7, "file_name": "images/a.jpg", "width": 640, "height": 480,
     "boxes": [[12.5, 30, 200, 180.25]], "labels": ["cup"], "crowd": [0], "captions": ["A cup."],
     "absent": ["dog"], "phrases": [["the red cup", [0]], ["a dog", []]], "texts": ["TEA"],
     "turns": [["What is <region0>?", "A cup."]], "meta": {}}

`file_name` is taken from the folder of the file, or from `images`. Boxes are x1, y1, x2, y2 in pixels; `crowd` lists
the positions of crowd boxes, as phrases list those of the boxes that they name. Empty fields are left out; `meta` is
anybody's and is not read; any other key is an error, for it is likely a slip.

Where boxes are exhaustive, a line does not repeat the names of all that is not there: it says `"exhaustive": true`, and
the names stand one a line in `NAME.names.txt` beside `NAME.jsonl`. Each of them that no box carries is then absent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent.errors import DataError
from fo1agent.evaluate.files import read_text
from fo1agent.trainers.data.files import MAX_LIST, whole
from fo1agent.trainers.data.formats import fields
from fo1agent.trainers.data.formats.boxes import BoxReader, Cut
from fo1agent.trainers.data.formats.source import Source, SourceRecipe, Tolerance, first_record, object_source
from fo1agent.trainers.data.records import Example, Reference, Turn

KEYS = {
    *("id", "file_name", "width", "height", "boxes", "labels", "crowd", "captions"),
    *("absent", "exhaustive", "phrases", "texts", "turns", "meta"),
}


def read_examples(
    path: str | Path,
    images: str | Path | None = None,
    tolerance: Tolerance | None = None,
    boxes: str | None = None,
) -> Source:
    """The examples of a file that `write_examples` wrote: iterate to stream them, or take them by position.

    Args:
        path: the `.jsonl` file.
        images: folder that `file_name` starts from; the file's own if None.
        tolerance: how many lines may be bad; see `Tolerance`.
        boxes: the form of `boxes`, of `boxes.FORMS`; None for x1, y1, x2, y2 in pixels.

    Raises:
        DataError: no such file; while reading, more bad lines than the tolerance allows.
    """
    path = Path(path)
    folder = path.parent if images is None else Path(images)
    vocabulary = read_names(names_file(path)) if os.path.lexists(names_file(path)) else ()
    reader = BoxReader("xyxy", boxes)
    parse = partial(from_record, images=folder, reader=reader, vocabulary=vocabulary)
    return object_source(path, parse, vocabulary, tolerance, reader.doubts)


def write_examples(
    path: str | Path,
    examples: Iterable[Example],
    relative_to: str | Path | None = None,
    vocabulary: Sequence[str] = (),
) -> int:
    """Write examples as lines, streaming; the file is there whole or not at all.

    Args:
        path: the `.jsonl` file to write.
        examples: their pictures are files; those in archives go into shards.
        relative_to: folder that `file_name` starts from (give the same to `read_examples` as `images`, unless it is
            the file's own folder, the default). Pictures outside it are named by their whole path.
        vocabulary: names for which boxes are exhaustive: a line whose absent names are just those that no box carries
            says so in one word.

    Returns:
        How many were written.

    Raises:
        DataError: an example has no picture file, or the file cannot be written.
    """
    path = Path(path)
    root = path.parent if relative_to is None else Path(relative_to)
    vocabulary = tuple(vocabulary)
    count = 0
    with whole(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for example in examples:
            if example.path is None:
                raise DataError(
                    f"{example.name}: its picture is no file, so a line cannot name it. Write shards instead."
                )
            name = _relative(example.path, root)
            file.write(json.dumps(to_record(example, name, vocabulary), ensure_ascii=False, separators=(",", ":")))
            file.write("\n")
            count += 1
        if vocabulary:  # before the lines that need it
            with whole(names_file(path)) as names:
                names.write_text("".join(f"{name}\n" for name in vocabulary), encoding="utf-8")
    return count


def looks_like(path: Path) -> bool:
    record = first_record(path) if path.is_file() and path.suffix == ".jsonl" else {}
    return record.keys() >= {"id", "file_name", "width", "height"} and record.keys() <= KEYS


def open_source(recipe: SourceRecipe) -> Source:
    return read_examples(recipe.path, recipe.images, recipe.tolerance, recipe.boxes)


def from_record(
    record: dict[str, Any], source: str, images: Path, reader: BoxReader, vocabulary: Sequence[str] = ()
) -> Example:
    """An example of one line's object; what is wrong with it is raised as DataError, LookupError or TypeError."""
    if not record.keys() <= KEYS:
        raise DataError(f"unknown key {min(record.keys() - KEYS)!r}; known: {', '.join(sorted(KEYS))}")
    name = fields.identity(record["id"])
    width, height = fields.size(record["width"], record["height"])
    rows = fields.items(record.get("boxes") or [], "boxes")
    if reader.told:
        rows = [reader.corners(row, width, height, f"boxes[{k}]") for k, row in enumerate(rows)]
    else:
        reader.look(rows, width, height)
    boxes = fields.exact_boxes(rows, width, height)
    reader.check_tiny(boxes.tolist(), width, height)
    count = len(boxes)
    labels = fields.strings(record["labels"], "labels") if "labels" in record else ("",) * count
    if len(labels) != count:
        raise DataError(f"{len(labels)} labels for {count} boxes")
    crowd = np.zeros(count, dtype=bool)
    if "crowd" in record:
        crowd[list(fields.positions(record["crowd"], count, "crowd"))] = True
    absent = fields.strings(record["absent"], "absent") if "absent" in record else ()
    if record.get("exhaustive"):
        if not vocabulary:
            raise DataError("says exhaustive, but the file with the names is not there")
        absent = fields.absent_of(vocabulary, labels)
    known: dict[str, Any] = {"absent": absent}
    if "captions" in record:
        known["captions"] = fields.strings(record["captions"], "captions")
    for key, read in {"phrases": _phrases, "texts": _texts, "turns": _turns}.items():
        if key in record:
            known[key] = read(record[key], count)
    path = fields.picture_path(images, record["file_name"])
    return Cut(boxes, [], ()).example(name, path, (width, height), source, labels, crowd, **known)


def to_record(example: Example, file_name: str, vocabulary: Sequence[str] = ()) -> dict[str, Any]:
    """The object of one line, empty fields left out."""
    record: dict[str, Any] = {
        "id": example.id,
        "file_name": file_name,
        "width": example.width,
        "height": example.height,
    }
    if len(example.boxes):
        # The shortest digits that give the same float32 again.
        record["boxes"] = [[_number(v) for v in row] for row in np.asarray(example.boxes, np.float32)]
    if any(example.labels):
        record["labels"] = list(example.labels)
    if example.crowd.any():
        record["crowd"] = np.flatnonzero(example.crowd).tolist()
    if example.captions:
        record["captions"] = list(example.captions)
    if vocabulary and example.absent == fields.absent_of(vocabulary, example.labels):
        record["exhaustive"] = True
    elif example.absent:
        record["absent"] = list(example.absent)
    if example.phrases:
        record["phrases"] = [[phrase.text, list(phrase.boxes)] for phrase in example.phrases]
    if example.texts:
        record["texts"] = list(example.texts)
    if example.turns:
        record["turns"] = [[turn.question, turn.reply] for turn in example.turns]
    return record


def names_file(path: Path) -> Path:
    """Where the vocabulary of an examples file stands."""
    return path.with_suffix(".names.txt")


def read_names(path: Path) -> tuple[str, ...]:
    """Names, one a line.

    Raises:
        DataError: the file cannot be read, or names one twice.
    """
    names = tuple(line for line in read_text(path, MAX_LIST).splitlines() if line.strip())
    if len(set(names)) != len(names):
        raise DataError(f"{path} names {next(n for n in names if names.count(n) > 1)!r} twice.")
    return names


def _phrases(rows: Any, count: int) -> tuple[Reference, ...]:
    made = []
    for phrase, named in fields.pairs(rows, "phrases"):
        if not isinstance(phrase, str):
            raise DataError(f"phrases holds {phrase!r:.60}; wanted [text, [positions of boxes]]")
        made.append(Reference(phrase, fields.positions(named, count, f"phrase {phrase!r:.40}")))
    return tuple(made)


def _texts(values: Any, count: int) -> tuple[str | None, ...]:
    if not isinstance(values, list) or len(values) != count:
        raise DataError(f"texts is {values!r:.60}; wanted one text or null for each of the {count} boxes")
    for value in values:
        if value is not None and not isinstance(value, str):
            raise DataError(f"texts holds {value!r:.60}; wanted text or null")
    return tuple(values)


def _turns(rows: Any, count: int) -> tuple[Turn, ...]:
    made = []
    for question, reply in fields.pairs(rows, "turns"):
        if not isinstance(question, str) or not isinstance(reply, str):
            raise DataError(f"turns holds {[question, reply]!r:.60}; wanted [question, reply]")
        fields.check_regions(question, count)
        fields.check_regions(reply, count)
        made.append(Turn(question, reply))
    return tuple(made)


def _number(value: np.float32) -> float | int:
    shortest = float(str(value))
    return int(shortest) if shortest.is_integer() else shortest


def _relative(path: Path, root: Path) -> str:
    path, root = path.absolute(), root.absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
