"""Sentences about whole pictures: lines, COCO's captions JSON, or a table.

    {"file_name": "a.jpg", "captions": ["A cup.", "A cup on a table."]}             or "caption": "A cup."
    {"images": [{"id": 7, "file_name": "a.jpg"}], "annotations": [{"image_id": 7, "caption": "A cup."}]}
    image,caption                                                                   (.csv, or .tsv with tabs)

To join captions with the boxes of the same pictures, name the file as `captions` of a COCO source instead.
"""

from __future__ import annotations

import contextlib
import csv
import io
from functools import partial
from pathlib import Path
from typing import Any

from fo1agent.errors import DataError
from fo1agent.evaluate.files import read_bytes, read_json
from fo1agent.trainers.data.files import LineFile, first_sign
from fo1agent.trainers.data.formats import fields
from fo1agent.trainers.data.formats.boxes import NO_BOXES, BoxReader
from fo1agent.trainers.data.formats.source import Source, SourceRecipe, first_record, reason, record_source
from fo1agent.trainers.data.records import Example

_TABLES = {".csv": ",", ".tsv": "\t"}


def looks_like(path: Path) -> bool:
    if not path.is_file():
        return False
    if path.suffix in _TABLES:
        head = next(iter(LineFile(path)), b"").decode("utf-8-sig", errors="replace").lower()
        columns = [c.strip().strip('"') for c in head.split(_TABLES[path.suffix])]
        return "caption" in columns and any(c in columns for c in ("image", "file_name", "filename"))
    if path.suffix not in (".json", ".jsonl"):
        return False
    record = first_record(path)
    if path.suffix == ".json" and not fields.picture_of(record) and first_sign(path) == b"{":
        content = read_bytes(path)
        return all(f'"{key}"'.encode() in content for key in ("images", "caption")) and b'"bbox"' not in content
    own = "captions" in record or ("caption" in record and not record.keys() & {"bbox", "question"})
    return own and fields.picture_of(record) is not None and not record.keys() & {"boxes", "turns"}


def open_source(recipe: SourceRecipe) -> Source:
    """Captioned pictures of a `.jsonl`, `.json`, `.csv` or `.tsv` file."""
    path = recipe.path
    if path.suffix in _TABLES:
        return _table(recipe)
    if path.suffix == ".json" and first_sign(path) == b"{" and fields.picture_of(first_record(path)) is None:
        return _coco(recipe)
    return record_source(recipe, _example, "xyxy")


def _example(record: dict[str, Any], source: str, images: Path, reader: BoxReader | None = None) -> Example:
    path = fields.picture_path(images, fields.picture_name(record))
    sentences = record["captions"] if "captions" in record else [record["caption"]]
    if not isinstance(sentences, list) or not sentences:
        raise DataError(f"captions is {sentences!r:.60}; wanted a list of sentences")
    captions = tuple(fields.text(sentence, "caption") for sentence in sentences)
    name = fields.identity(record.get("image_id", record.get("id", path.name)))
    return NO_BOXES.example(name, path, fields.size_of(record, path), source, captions=captions)


def _coco(recipe: SourceRecipe) -> Source:
    path = recipe.path
    tree = read_json(path)
    sentences: dict[Any, list[str]] = {}
    try:
        annotations, listed = (
            fields.objects(fields.mapping(tree, "it")[key], key) for key in ("annotations", "images")
        )
        for annotation in annotations:
            sentences.setdefault(fields.identity(annotation["image_id"]), []).append(annotation["caption"])
        records = [{**image, "captions": sentences.get(fields.identity(image["id"]), [])} for image in listed]
    except (KeyError, DataError) as exc:
        raise DataError(f"{path} is no COCO captions file: wanted images and annotations; {reason(exc)}.") from exc
    folder = fields.images_folder(path, recipe.images, fields.picture_of(records[0]) if records else None)
    parse = partial(_example, images=folder)
    return recipe.source(records, parse, lambda k: f"{path.name}#{records[k].get('id')}")


def _table(recipe: SourceRecipe) -> Source:
    path = recipe.path
    lines, sign = LineFile(path), _TABLES[path.suffix]
    columns = [name.strip().lower() for name in _cells(next(iter(lines), b""), sign)]
    if "caption" not in columns:
        raise DataError(f"{path}: the first line names the columns {columns}; wanted image and caption among them.")

    def record(line: bytes) -> dict[str, Any]:
        cells = _cells(line, sign)
        if len(cells) != len(columns):
            raise DataError(f"{len(cells)} columns; the first line has {len(columns)}")
        return {k: v for k, v in zip(columns, cells, strict=True) if k not in ("width", "height")}

    first = None
    for number, line in enumerate(lines):
        if number == 1:
            with contextlib.suppress(DataError):  # that row is bad
                first = fields.picture_of(dict(zip(columns, _cells(line, sign), strict=False)))
            break
    folder = fields.images_folder(path, recipe.images, first)

    def parse(line: bytes, source: str) -> Example | None:
        if source.endswith(":1"):
            return None  # the columns' names
        return _example(record(line), source, folder)

    return recipe.source(lines, parse, lambda k: f"{path.name}:{k + 1}")


def _cells(line: bytes, sign: str) -> list[str]:
    words = line.decode("utf-8-sig")
    try:
        return next(csv.reader(io.StringIO(words), delimiter=sign, strict=True), [])
    except csv.Error as exc:
        raise DataError(f"no row of a table ({exc}); a row is one line of at most 131072 letters a cell") from exc
