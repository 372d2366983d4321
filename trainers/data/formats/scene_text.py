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
from pathlib import Path
from typing import Any

from fo1agent.errors import DataError, InputError
from fo1agent.evaluate.files import opened, read_json, read_text
from fo1agent.trainers.data.files import MAX_OF_PICTURE, first_sign
from fo1agent.trainers.data.formats import fields
from fo1agent.trainers.data.formats.boxes import BoxReader
from fo1agent.trainers.data.formats.source import (
    Source,
    SourceRecipe,
    first_picture,
    first_record,
    reason,
    record_source,
)
from fo1agent.trainers.data.records import Example

TEXT = "text"
_ILLEGIBLE = ("###", ".", "")  # ICDAR's sign, TextOCR's, COCO-Text's


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
    """The words of a `.json` of COCO-Text or TextOCR, a `.jsonl` of words, or a folder of ICDAR's `gt_*.txt`.

    A split is COCO-Text's `set` of a picture.

    Raises:
        DataError: none of these.
        InputError: `boxes` is given for ICDAR's files, which hold corners in pixels.
    """
    path = recipe.path
    if path.is_dir():
        if recipe.boxes is not None:
            raise InputError(f"{path}: boxes is for .json and .jsonl; ICDAR's files hold corners in pixels.")
        return _icdar(recipe)
    if path.suffix != ".jsonl":
        return _coco_text(recipe)
    first = first_picture(path)
    folder = fields.images_folder(path, recipe.images, first)
    if recipe.images is None and first is not None and not (folder / first).is_file():
        folder = path.parent / "crops" / path.stem.rsplit("_", 1)[-1]
    return record_source(recipe, _words, "xywh", folder)


def _coco_text(recipe: SourceRecipe) -> Source:
    path, split, images = recipe.path, recipe.split, recipe.images or recipe.path.parent
    reader = BoxReader("xywh", recipe.boxes)
    tree = read_json(path, _without_outlines)
    words: dict[str, list[Any]] = {}
    try:
        pictures, annotations = (fields.mapping(fields.mapping(tree, "it")[key], key) for key in ("imgs", "anns"))
        pictures = {
            k: p for k, p in pictures.items() if split is None or fields.mapping(p, f"imgs.{k}").get("set") == split
        }
        for key, word in annotations.items():
            words.setdefault(str(fields.mapping(word, f"anns.{key}")["image_id"]), []).append(word)
    except (KeyError, DataError) as exc:
        raise DataError(
            f"{path} is no COCO-Text file: wanted imgs and anns, with an image_id each; {reason(exc)}."
        ) from exc
    if not pictures:
        raise DataError(f"{path}: no pictures of split {split!r}.")

    def parse(picture: Any, source: str) -> Example:
        picture = fields.mapping(picture, "the picture")
        found = words.get(str(picture["id"]), [])
        texts = [word.get("utf8_string") if word.get("legibility", "legible") == "legible" else None for word in found]
        width, height = fields.size(picture["width"], picture["height"])
        file = fields.picture_path(images, picture["file_name"])
        rows = [reader.corners(word["bbox"], width, height, f"bbox {k}") for k, word in enumerate(found)]
        return _example(picture["id"], file, (width, height), rows, texts, source, reader)

    keys = list(pictures)
    items = list(pictures.values())
    return recipe.source(items, parse, lambda k: f"{path.name}#{keys[k]}", (TEXT,), reader.doubts)


def _icdar(recipe: SourceRecipe) -> Source:
    path, images = recipe.path, recipe.images
    files = sorted(path.glob("gt_*.txt"))
    if not files:
        raise DataError(f"{path}: no gt_*.txt files.")
    reader = BoxReader("xyxy", hint=None)

    def parse(file: Path, source: str) -> Example:
        stem = file.stem.removeprefix("gt_")
        places = [images] if images else [path, path / "images", path.parent / "images"]
        choices = [folder / (stem + suffix) for folder in places for suffix in sorted(fields.PICTURE_SUFFIXES)]
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
        width, height = fields.picture_size(picture)
        rows = [reader.corners(row, width, height) for row in rows]
        return _example(stem, picture, (width, height), rows, texts, source, reader)

    return recipe.source(files, parse, lambda k: files[k].name, (TEXT,), reader.doubts)


def _words(record: dict[str, Any], source: str, images: Path, reader: BoxReader) -> Example:
    name = fields.picture_name(record)
    path = fields.picture_path(images, name)
    width, height = fields.size_of(record, path)
    if "words" in record:
        words = fields.objects(record["words"], "words")
        rows = [reader.corners(word["bbox"], width, height, f"bbox {k}") for k, word in enumerate(words)]
        texts = [word["text"] if fields.flag(word.get("legible", True), "legible") else None for word in words]
    else:
        rows, texts = [(0.0, 0.0, float(width), float(height))], [fields.text(record["text"], "text")]
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
    boxes = reader.cut(rows, *size_wh)
    words = [(texts[k] or "").strip() for k in boxes.kept]
    written = tuple(None if word in _ILLEGIBLE else word for word in words)
    return boxes.example(fields.identity(key), path, size_wh, source, [TEXT] * len(words), texts=written)


def _without_outlines(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Outlines are most of such a file and are not looked at.
    return {key: value for key, value in pairs if key not in ("mask", "points")}
