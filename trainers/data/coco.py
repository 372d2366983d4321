"""COCO's JSON, read once into plain records: boxes, names, crowds, captions, and which names a picture does not show.

Reads what COCO, LVIS and everything that copies their layout has in common; segmentations are not looked at, pictures
are not opened. Boxes become xyxy float pixels of the stored picture.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent.errors import DataError
from fo1agent.trainers.data.records import Example


@dataclass(frozen=True, eq=False)
class CocoData:
    """All pictures of one JSON file, in its order; `categories` in order of their ids.

    `dropped` counts boxes without area, which some files hold and which teach nothing.
    """

    images: tuple[Example, ...]
    categories: tuple[str, ...]
    dropped: int = field(default=0)

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Example]:
        return iter(self.images)


def load_coco(instances: str | Path, images: str | Path, captions: str | Path | None = None) -> CocoData:
    """Read an instances file.

    Args:
        instances: COCO or LVIS JSON: `images`, `annotations` (xywh `bbox`, `category_id`, optional `iscrowd`),
            `categories`. If a picture lists `neg_category_ids` (LVIS), those are its absent names; if none does, boxes
            are taken to be exhaustive and every name without a box is absent.
        images: folder of the pictures.
        captions: see `load_captions`.

    Raises:
        DataError: not such a file, or a record in it is wrong; names file, record and reason.
    """
    file = Path(instances)
    tree = _read_json(file)
    for key in ("images", "annotations", "categories"):
        if not isinstance(tree, dict) or not isinstance(tree.get(key), list):
            raise DataError(f"{file}: no list {key!r}; this is not a COCO instances file.")
    try:
        names = {int(c["id"]): str(c["name"]) for c in sorted(tree["categories"], key=lambda c: c["id"])}
    except (KeyError, TypeError, ValueError) as exc:
        raise DataError(f"{file}: a category lacks id or name ({exc!r}).") from exc
    rows: dict[int, list[tuple[list[float], str, bool]]] = {}
    sizes = {record["id"]: _size(file, k, record) for k, record in enumerate(tree["images"])}
    dropped = 0
    for k, annotation in enumerate(tree["annotations"]):
        image_id, box, name, crowd = _annotation(file, k, annotation, names, sizes)
        if box is None:
            dropped += 1
        else:
            rows.setdefault(image_id, []).append((box, name, crowd))

    sentences = load_captions(captions) if captions else {}
    exhaustive = not any("neg_category_ids" in record for record in tree["images"])
    found = []
    for record in tree["images"]:
        image_id = record["id"]
        boxes, labels, crowd = zip(*rows.get(image_id, []), strict=True) if image_id in rows else ((), (), ())
        if exhaustive:
            absent = tuple(n for n in names.values() if n not in labels)
        else:
            absent = tuple(names[c] for c in record.get("neg_category_ids", ()) if c in names)
        found.append(
            Example(
                image_id,
                Path(images) / _file_name(record),
                *sizes[image_id],
                np.array(boxes, dtype=np.float32).reshape(-1, 4),
                labels,
                np.array(crowd, dtype=bool),
                sentences.get(image_id, ()),
                absent,
                source=f"{file.name}#{image_id}",
            )
        )
    return CocoData(tuple(found), tuple(names.values()), dropped)


def load_captions(file: str | Path) -> dict[int, tuple[str, ...]]:
    """Captions by image id, from COCO's captions JSON (`annotations`: `image_id`, `caption`) or a `.jsonl` of
    `{"image_id", "captions": [...]}` lines; cut of surrounding white space, empty ones left out.

    Raises:
        DataError: neither of these; names file and line.
    """
    file = Path(file)
    pairs: list[tuple[Any, Any]] = []
    if file.suffix == ".jsonl":
        for number, line in enumerate(_read_text(file).splitlines(), start=1):
            try:
                record = json.loads(line)
                pairs += [(record["image_id"], sentence) for sentence in record["captions"]]
            except (json.JSONDecodeError, KeyError, TypeError) as exc:
                raise DataError(f"{file}:{number}: not a record with image_id and captions ({exc!r}).") from exc
    else:
        try:
            pairs = [(a["image_id"], a["caption"]) for a in _read_json(file)["annotations"]]
        except (KeyError, TypeError) as exc:
            raise DataError(f"{file}: not a COCO captions file ({exc!r}).") from exc
    captions: dict[int, tuple[str, ...]] = {}
    for image_id, sentence in pairs:
        if not isinstance(image_id, int) or not isinstance(sentence, str):
            raise DataError(f"{file}: caption {sentence!r:.60} of image {image_id!r} is not text of a numbered image.")
        if sentence.strip():
            captions[image_id] = (*captions.get(image_id, ()), sentence.strip())
    return captions


def _annotation(
    file: Path, k: int, annotation: Any, names: Mapping[int, str], sizes: Mapping[int, tuple[int, int]]
) -> tuple[int, list[float] | None, str, bool]:
    # Image id, box cut at the border (None if nothing is left of it), category name, crowd.
    where = f"{file}: annotations[{k}]"
    try:
        image_id, category, box = annotation["image_id"], annotation["category_id"], annotation["bbox"]
        x, y, w, h = (float(v) for v in box)
    except (KeyError, TypeError, ValueError) as exc:
        raise DataError(f"{where} lacks image_id, category_id or a bbox of four numbers ({exc!r}).") from exc
    if image_id not in sizes:
        raise DataError(f"{where} belongs to image {image_id!r}, which is not in the file.")
    if category not in names:
        raise DataError(f"{where} has category {category!r}, which is not in the file.")
    if not all(math.isfinite(v) for v in (x, y, w, h)) or w < 0 or h < 0:
        raise DataError(f"{where} has bbox {box}; wanted finite [x, y, width, height] with sides of at least 0.")
    width, height = sizes[image_id]
    x1, x2 = (min(max(v, 0.0), float(width)) for v in (x, x + w))
    y1, y2 = (min(max(v, 0.0), float(height)) for v in (y, y + h))
    cut = [x1, y1, x2, y2] if x2 > x1 and y2 > y1 else None
    return image_id, cut, names[category], bool(annotation.get("iscrowd", 0))


def _size(file: Path, k: int, record: Any) -> tuple[int, int]:
    try:
        width, height = int(record["width"]), int(record["height"])
        _file_name(record)
    except (KeyError, TypeError, ValueError) as exc:
        raise DataError(f"{file}: images[{k}] lacks id, file_name, width or height ({exc!r}).") from exc
    if width < 1 or height < 1:
        raise DataError(f"{file}: images[{k}] is {width} x {height} pixels.")
    return width, height


def _file_name(record: Mapping[str, Any]) -> str:
    # LVIS has no file_name but COCO's URL.
    return record["file_name"] if "file_name" in record else "/".join(record["coco_url"].split("/")[-1:])


def _read_json(file: Path) -> Any:
    try:
        return json.loads(_read_text(file))
    except json.JSONDecodeError as exc:
        raise DataError(f"{file} is not JSON: {exc}.") from exc


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"Cannot read {file}: {exc}.") from exc
