"""Written words in pictures: COCO-Text's JSON (and TextOCR's), ICDAR 2015's text files, and lines of words.

    {"imgs": {"7": {"id": 7, "file_name": "a.jpg", "width": 640, "height": 480}},
     "anns": {"1": {"image_id": 7, "bbox": [x, y, width, height], "utf8_string": "New", "legibility": "legible"}}}

    gt_img_1.txt                 377,117,463,117,465,130,378,130,Genaxis Theatre        (### where it is illegible)

    {"file_name": "a.jpg", "words": [{"bbox": [x, y, width, height], "text": "JOINT"}]}
    {"file_name": "word_2.jpg", "text": "[06]"}                                    (a picture that is one word)

Every word is a box labelled `text`; what is written in it is its text, None where nobody can read it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent.errors import DataError, InputError
from fo1agent.trainers.data.files import MAX_OF_PICTURE, first_sign, opened, read_json, read_text
from fo1agent.trainers.data.formats.boxes import BoxReader
from fo1agent.trainers.data.formats.fields import (
    PICTURE_SUFFIXES,
    flag,
    identity,
    images_folder,
    mapping,
    objects,
    picture_name,
    picture_path,
    picture_size,
    size,
    size_of,
    text,
)
from fo1agent.trainers.data.formats.source import (
    Source,
    SourceRecipe,
    Tolerance,
    first_picture,
    first_record,
    object_source,
    reason,
)
from fo1agent.trainers.data.records import Example

TEXT = "text"
_ILLEGIBLE = ("###", ".", "")  # ICDAR's sign, TextOCR's, COCO-Text's


def read_scene_text(
    path: str | Path,
    images: str | Path | None = None,
    split: str | None = None,
    tolerance: Tolerance | None = None,
    boxes: str | None = None,
) -> Source:
    """Pictures with the words in them.

    Args:
        path: a `.json` of COCO-Text or TextOCR, a `.jsonl` of words, or a folder of ICDAR's `gt_*.txt`.
        images: folder of the pictures; None to look for it.
        split: COCO-Text's `set` of a picture, as `train`; None for all.
        tolerance: how many pictures may be bad.
        boxes: the form of each `bbox`, of `boxes.FORMS`; None for x, y, width, height in pixels. ICDAR has no choice.

    Raises:
        DataError: none of these.
        InputError: `boxes` is given for ICDAR's files, which hold corners in pixels.
    """
    path = Path(path)
    reader = BoxReader("xywh", boxes)
    folder = Path(images) if images else None
    if path.is_dir():
        if boxes is not None:
            raise InputError(f"{path}: boxes is for .json and .jsonl; ICDAR's files hold corners in pixels.")
        return _icdar(path, folder, tolerance)
    if path.suffix == ".jsonl":
        first = first_picture(path)
        where = images_folder(path, folder, first)
        if folder is None and first is not None and not (where / first).is_file():
            where = path.parent / "crops" / path.stem.rsplit("_", 1)[-1]
        parse = partial(_words, images=where, reader=reader)
        return object_source(path, parse, tolerance=tolerance, doubts=reader.doubts)
    return _coco_text(path, folder or path.parent, split, tolerance, reader)


def looks_like(path: Path) -> bool:
    if path.is_dir():
        return next(path.glob("gt_*.txt"), None) is not None
    if path.suffix == ".jsonl":
        record = first_record(path)
        words = record.get("words")
        listed = isinstance(words, list) and (not words or (isinstance(words[0], dict) and "bbox" in words[0]))
        return listed or ("text" in record and not record.keys() & {"label", "question", "boxes", "bbox"})
    if path.suffix == ".json":
        with opened(path) as file:
            head = file.read(1 << 16)
        return first_sign(path) == b"{" and (b'"anns"' in head or b'"imgs"' in head)
    return False


def open_source(recipe: SourceRecipe) -> Source:
    return read_scene_text(recipe.path, recipe.images, recipe.split, recipe.tolerance, recipe.boxes)


def _coco_text(path: Path, images: Path, split: str | None, tolerance: Tolerance | None, reader: BoxReader) -> Source:
    tree = read_json(path, _without_outlines)
    words: dict[str, list[Any]] = {}
    try:
        pictures, annotations = (mapping(mapping(tree, "it")[key], key) for key in ("imgs", "anns"))
        pictures = {k: p for k, p in pictures.items() if split is None or mapping(p, f"imgs.{k}").get("set") == split}
        for key, word in annotations.items():
            words.setdefault(str(mapping(word, f"anns.{key}")["image_id"]), []).append(word)
    except (KeyError, DataError) as exc:
        raise DataError(
            f"{path} is no COCO-Text file: wanted imgs and anns, with an image_id each; {reason(exc)}."
        ) from exc
    if not pictures:
        raise DataError(f"{path}: no pictures of split {split!r}.")

    def parse(picture: Any, source: str) -> Example:
        picture = mapping(picture, "the picture")
        found = words.get(str(picture["id"]), [])
        texts = [word.get("utf8_string") if word.get("legibility", "legible") == "legible" else None for word in found]
        width, height = size(picture["width"], picture["height"])
        file = picture_path(images, picture["file_name"])
        rows = [reader.corners(word["bbox"], width, height, f"bbox {k}") for k, word in enumerate(found)]
        return _example(picture["id"], file, (width, height), rows, texts, source, reader)

    keys = list(pictures)
    return Source(
        str(path),
        list(pictures.values()),
        parse,
        lambda k: f"{path.name}#{keys[k]}",
        (TEXT,),
        tolerance,
        reader.doubts,
    )


def _icdar(path: Path, images: Path | None, tolerance: Tolerance | None) -> Source:
    files = sorted(path.glob("gt_*.txt"))
    if not files:
        raise DataError(f"{path}: no gt_*.txt files.")
    reader = BoxReader("xyxy", hint=None)

    def parse(file: Path, source: str) -> Example:
        stem = file.stem.removeprefix("gt_")
        places = [images] if images else [path, path / "images", path.parent / "images"]
        choices = [folder / (stem + suffix) for folder in places for suffix in sorted(PICTURE_SUFFIXES)]
        picture = next((p for p in choices if p.is_file()), None)
        if picture is None:
            raise DataError(f"no picture {stem} in {', '.join(map(str, places))}")
        rows, texts = [], []
        for number, line in enumerate(read_text(file, MAX_OF_PICTURE).splitlines(), start=1):
            if not line.strip():
                continue
            *corners, written = line.split(",", 8)
            if len(corners) != 8:
                raise DataError(f"line {number}: wanted eight numbers and the text, parted by commas")
            values = [float(v) for v in corners]
            if not all(map(math.isfinite, values)):
                raise DataError(f"line {number}: a word's corner is not a finite number")
            rows.append((min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])))
            texts.append(written)
        width, height = picture_size(picture)
        rows = [reader.corners(row, width, height) for row in rows]
        return _example(stem, picture, (width, height), rows, texts, source, reader)

    return Source(str(path), files, parse, lambda k: files[k].name, (TEXT,), tolerance, reader.doubts)


def _words(record: dict[str, Any], source: str, images: Path, reader: BoxReader) -> Example:
    name = picture_name(record)
    path = picture_path(images, name)
    width, height = size_of(record, path)
    if "words" in record:
        words = objects(record["words"], "words")
        rows = [reader.corners(word["bbox"], width, height, f"bbox {k}") for k, word in enumerate(words)]
        texts = [word["text"] if flag(word.get("legible", True), "legible") else None for word in words]
    else:
        rows, texts = [(0.0, 0.0, float(width), float(height))], [text(record["text"], "text")]
    return _example(record.get("id", name), path, (width, height), rows, texts, source, reader)


def _example(
    key: Any,
    path: Path,
    size_wh: tuple[int, int],
    rows: Sequence[tuple[float, float, float, float]],
    texts: Sequence[Any],
    source: str,
    reader: BoxReader,
) -> Example:
    if not all(v is None or isinstance(v, str) for v in texts):
        raise DataError("a word's text is neither text nor null")
    boxes, kept, remarks = reader.cut(rows, *size_wh)
    written = tuple(None if texts[k] is None or texts[k].strip() in _ILLEGIBLE else texts[k].strip() for k in kept)
    crowd = np.zeros(len(boxes), dtype=bool)
    return Example(
        identity(key),
        path,
        *size_wh,
        boxes,
        (TEXT,) * len(boxes),
        crowd,
        texts=written,
        source=source,
        remarks=remarks,
    )


def _without_outlines(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Outlines are most of such a file and are not looked at.
    return {key: value for key, value in pairs if key not in ("mask", "points")}
