"""YOLO folders: `data.yaml` with the names, a label file of normalised boxes for each picture.

    data.yaml              path, train, val, test (folders, or files that list pictures); names
    images/train/a.jpg
    labels/train/a.txt     class center_x center_y width height, from 0 to 1; or class x y x y x y … of an outline

A picture without a label file is one without objects, as it is for YOLO's own trainers: boxes are exhaustive, so every
name without a box is absent. Without a `data.yaml`, the names are those of `classes.txt` or `obj.names`, one a line. Of
pictures, only the head is read, for their size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fo1agent.errors import DataError
from fo1agent.trainers.data.formats.fields import PICTURE_SUFFIXES, absent_of, cut_boxes, picture_path, picture_size
from fo1agent.trainers.data.formats.source import Source, SourceRecipe, Tolerance
from fo1agent.trainers.data.records import Example

_SLACK = 0.01  # a normalised coordinate may be outside 0 to 1 by this much and still be rounding
_NAME_FILES = ("classes.txt", "obj.names")
_SPLITS = ("train", "val", "valid", "test")


def read_yolo(path: str | Path, split: str | None = None, tolerance: Tolerance | None = None) -> Source:
    """The pictures of a YOLO data set, with their boxes.

    Args:
        path: `data.yaml`, or the folder that it lies in.
        split: `train`, `val` or `test`; None for `train`, or everything where there are no splits.
        tolerance: how many pictures may be bad.

    Raises:
        DataError: no names, no such split, or no pictures.
    """
    path = Path(path)
    settings = path if path.is_file() else next(iter(sorted(path.glob("*.y*ml"))), None)
    if settings is not None:
        tree = _settings(settings)
        names, pictures = _names(settings, tree.get("names")), _split(settings, tree, split)
    else:
        names, pictures = _listed_names(path), _pictures(path / "images" / split if split else path)
    if not pictures:
        raise DataError(f"{path}: no pictures{f' of split {split}' if split else ''}.")
    return Source(
        str(path),
        pictures,
        partial(_example, names=names),
        lambda position: str(_labels_of(Path(pictures[position]))),
        names,
        tolerance,
    )


def looks_like(path: Path) -> bool:
    if path.is_file():
        return path.suffix in (".yaml", ".yml") and _has_names(path)
    return any(_has_names(file) for file in path.glob("*.y*ml")) or _names_file(path) is not None


def open_source(recipe: SourceRecipe) -> Source:
    return read_yolo(recipe.path, recipe.split, recipe.tolerance)


def _example(picture: str, source: str, names: Sequence[str]) -> Example:
    path = Path(picture)
    width, height = picture_size(path)
    labels_file = _labels_of(path)
    rows: list[tuple[float, float, float, float]] = []
    classes: list[int] = []
    for number, line in enumerate(_lines(labels_file), start=1):
        if not line.strip():
            continue
        try:
            kind, box = _row(line.split(), len(names))
        except (DataError, ValueError) as exc:
            raise DataError(f"line {number}: {exc}") from exc
        classes.append(kind)
        rows.append((box[0] * width, box[1] * height, box[2] * width, box[3] * height))
    boxes, kept = cut_boxes(rows, width, height)
    labels = tuple(names[classes[k]] for k in kept)
    crowd = np.zeros(len(boxes), dtype=bool)
    return Example(path.stem, path, width, height, boxes, labels, crowd, absent=absent_of(names, labels), source=source)


def _row(words: Sequence[str], count: int) -> tuple[int, tuple[float, float, float, float]]:
    # Class and normalised xyxy box of one line.
    if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
        raise DataError(f"{len(words)} numbers; wanted class, center x, center y, width, height")
    kind = int(words[0].removesuffix(".0"))
    if not 0 <= kind < count:
        raise DataError(f"class {kind}, but there are {count} names, from 0")
    values = [float(word) for word in words[1:]]
    if not all(math.isfinite(v) and -_SLACK <= v <= 1 + _SLACK for v in values):
        raise DataError(f"{' '.join(words[1:])[:60]}: wanted numbers from 0 to 1, parts of the picture's size")
    if len(values) == 4:
        x, y, w, h = values
        return kind, (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    return kind, (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return []


def _labels_of(picture: Path) -> Path:
    """Where a picture's boxes stand: `labels` for the last `images` of its path, or else beside it."""
    parts = list(picture.parts)
    for k in range(len(parts) - 2, -1, -1):
        if parts[k] == "images":
            parts[k] = "labels"
            return Path(*parts).with_suffix(".txt")
    return picture.with_suffix(".txt")


def _split(settings: Path, tree: dict[str, Any], split: str | None) -> list[str]:
    known = [name for name in _SPLITS if tree.get(name)]
    wanted = split or next(iter(known), None)
    if wanted is None or not tree.get(wanted):
        raise DataError(f"{settings}: no split {wanted or 'train'!r}; it has {', '.join(known) or 'none'}.")
    root = settings.parent
    if tree.get("path"):
        # Such a file may name a folder of the machine it was written on.
        given = Path(str(tree["path"])).expanduser()
        root = next((r for r in (root / given, given) if r.is_dir()), root)
    places = tree[wanted] if isinstance(tree[wanted], list) else [tree[wanted]]
    found: list[str] = []
    for place in places:
        if not isinstance(place, str):
            raise DataError(f"{settings}: {wanted} holds {type(place).__name__}; wanted folders, or files of names.")
        # Exports often say ../train/images and mean train/images.
        choices = [picture_path(root, place), picture_path(settings.parent, place.removeprefix("../"))]
        where = next((p for p in choices if p.exists()), None)
        if where is None:
            raise DataError(f"{settings}: {wanted} is {place!r}, but there is no {choices[0]}.")
        if where.is_dir():
            found += _pictures(where)
        else:
            found += [str(picture_path(where.parent, line.strip())) for line in _lines(where) if line.strip()]
    return found


def _pictures(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.")
    return sorted(str(p) for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)


def _settings(file: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise DataError(f"Cannot read {file}: {' '.join(str(exc).split())}.") from exc
    if not isinstance(tree, dict):
        raise DataError(f"{file}: wanted keys such as names and train, got {type(tree).__name__}.")
    return tree


def _names(file: Path, names: Any) -> tuple[str, ...]:
    # A list, or a mapping of numbers from 0 to names.
    if isinstance(names, dict):
        numbered = {str(k): name for k, name in names.items()}
        if numbered.keys() != {str(k) for k in range(len(names))}:
            raise DataError(f"{file}: names are numbered {', '.join(numbered):.60}; wanted 0 to {len(names) - 1}.")
        names = [numbered[str(k)] for k in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{file}: no names; wanted a list of class names.")
    for k, name in enumerate(names):
        # A name that is a list may be a thousand million others, by YAML's aliases; and YAML's yes is no text.
        if isinstance(name, bool) or not isinstance(name, str | int | float) or not str(name).strip():
            raise DataError(f"{file}: name {k} is no text but {type(name).__name__}; put it into quotes.")
    return tuple(str(name).strip() for name in names)


def _listed_names(folder: Path) -> tuple[str, ...]:
    if (file := _names_file(folder)) is not None:
        return tuple(line.strip() for line in _lines(file) if line.strip())
    raise DataError(f"{folder}: no data.yaml, {' or '.join(_NAME_FILES)}, so nobody knows what the classes are called.")


def _names_file(folder: Path) -> Path | None:
    files = (place / name for name in _NAME_FILES for place in (folder, folder / "labels"))
    return next((file for file in files if file.is_file()), None)


def _has_names(file: Path) -> bool:
    if file.name in ("data.yaml", "dataset.yaml"):
        return True  # and if something is wrong with it, reading says what
    try:
        return "names" in _settings(file)
    except DataError:
        return False
