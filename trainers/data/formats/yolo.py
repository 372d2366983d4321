"""YOLO folders: `data.yaml` with the names, a label file of normalised boxes for each picture.

    data.yaml              path, train, val, test (folders, or files that list pictures); names
    images/train/a.jpg
    labels/train/a.txt     class center_x center_y width height, from 0 to 1; or class x y x y x y … of an outline

Of an outline, and of the four corners of a turned box, the upright box around it is read. Where `data.yaml` has a
`kpt_shape`, the numbers behind the first five are keypoints; those, and a score as sixth number, are not used.

A picture without a label file is one without objects, as it is for YOLO's own trainers: boxes are exhaustive, so every
name without a box is absent. Without a `data.yaml`, the names are those of `classes.txt` or `obj.names`, one a line. Of
pictures, only the head is read, for their size.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fo1agent.errors import DataError
from fo1agent.evaluate.files import read_text
from fo1agent.trainers import yamls
from fo1agent.trainers.data.files import MAX_LIST, MAX_OF_PICTURE, is_twin
from fo1agent.trainers.data.formats.boxes import BoxReader
from fo1agent.trainers.data.formats.fields import PICTURE_SUFFIXES, absent_of, picture_path, picture_size
from fo1agent.trainers.data.formats.source import Source, SourceRecipe
from fo1agent.trainers.data.records import Example

_SLACK = 0.01  # a normalised coordinate may be outside 0 to 1 by this much and still be rounding
_MAX_SETTINGS = 4 << 20  # bytes of data.yaml
_NAME_FILES = ("classes.txt", "obj.names")
_SPLITS = ("train", "val", "valid", "validation", "test")

KEYPOINTS = "keypoints stand behind a box, and are not used"
SCORE = "a sixth number stands behind a box, as scores do in predictions, and is not used"
OUTLINE = "a box is the one around an outline"
CORNERS = "a box is the upright one around four points, of an outline or of a turned box"
TURNED = "a turned box is read as the upright one around it"


def looks_like(path: Path) -> bool:
    if path.is_file():
        return path.suffix in (".yaml", ".yml") and _has_names(path)
    return _settings_file(path) is not None or _names_file(path) is not None


def open_source(recipe: SourceRecipe) -> Source:
    """The pictures of `data.yaml`, or of the folder that it lies in: of a split, of `train`, or all if there are none.

    Raises:
        DataError: no names, or not as many as `nc` says, no such split, or no pictures.
    """
    path, split = recipe.path, recipe.split
    settings = path if path.is_file() else _settings_file(path)
    notes: list[str] = []
    extra, turned = 0, False
    if settings is not None:
        tree = _settings(settings)
        names, pictures = _names(settings, tree), _split(settings, tree, split)
        extra, turned = _keypoints(settings, tree.get("kpt_shape")), str(tree.get("task", "")).lower() == "obb"
        known = [name for name in _SPLITS if tree.get(name)]
        others = [name for name in known[1:] if _places(tree[name]) != _places(tree[known[0]])]
        if split is None and others:
            notes = [f"only {known[0]} is read; {settings.name} has {', '.join(others)} too, for --split"]
    else:
        names, pictures = _listed_names(path), _pictures(path / "images" / split if split else path)
    if not pictures:
        raise DataError(f"{path}: no pictures{f' of split {split}' if split else ''}.")
    reader = BoxReader("cxcywh-normalized", recipe.boxes, slack=_SLACK)
    shapes = _Shapes(extra, turned)
    parse = partial(_example, names=names, reader=reader, shapes=shapes)

    def where(position: int) -> str:
        return str(_labels_of(Path(pictures[position])))

    return recipe.source(pictures, parse, where, names, lambda: [*reader.doubts(), *shapes.doubts()], notes)


def _example(picture: str, source: str, names: Sequence[str], reader: BoxReader, shapes: _Shapes) -> Example:
    path = Path(picture)
    width, height = picture_size(path)
    rows: list[tuple[float, float, float, float]] = []
    classes: list[int] = []
    said: list[str | None] = []
    for number, line in enumerate(_label_lines(_labels_of(path)), start=1):
        words = line.split()
        if not words:
            continue
        try:
            classes.append(_class(words[0], len(names)))
            box, remark = shapes.read(words[1:])
            if isinstance(box, list):
                rows.append(reader.corners(box, width, height, "the box"))
            else:
                rows.append(_around(box, reader, width, height))
        except (DataError, ValueError) as exc:
            raise DataError(f"line {number}: {exc}") from exc
        said.append(remark)
    boxes = reader.cut(rows, width, height)
    labels = [names[classes[k]] for k in boxes.kept]
    absent, remarks = absent_of(names, labels), [remark for k in boxes.kept if (remark := said[k]) is not None]
    return boxes.example(path.stem, path, (width, height), source, labels, absent=absent, remarks=remarks)


def _class(word: str, count: int) -> int:
    # Tools that write tables of numbers make 1.0 or 1.000000e+00 of 1.
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not value.is_integer():
        raise DataError(f"class {word!r:.40}; wanted a whole number")
    if not 0 <= value < count:
        raise DataError(f"class {int(value)}, but there are {count} names, from 0")
    return int(value)


class _Shapes:
    """What the numbers behind a class are: a box, one with keypoints, or an outline.

    Args:
        extra: numbers of keypoints behind a box, by `kpt_shape`; 0 without it.
        turned: four points are a turned box.
    """

    def __init__(self, extra: int, turned: bool) -> None:
        self._extra, self._turned = extra, turned
        self._outlines = self._poses = 0

    def read(self, words: Sequence[str]) -> tuple[list[float] | tuple[float, ...], str | None]:
        """Four numbers of a box, or x, y, x, y, … to go around; and what to say of them.

        Raises:
            DataError, ValueError: they are none of these.
        """
        values, count = [float(word) for word in words], len(words)
        if count == 4:
            return values, None
        if self._extra and count == 4 + self._extra:
            if not all(map(math.isfinite, values)):
                raise DataError("a keypoint is not a finite number")
            return values[:4], KEYPOINTS
        if self._extra:
            raise DataError(
                f"{count + 1} numbers; wanted class, box and keypoints: 5, or {5 + self._extra} by kpt_shape"
            )
        if count == 5 and 0 <= values[4] <= 1:
            return values[:4], SCORE
        if count < 6 or count % 2:
            raise DataError(
                f"{count + 1} numbers; wanted class, center x, center y, width, height, or class and points"
                + ("; if there are keypoints, data.yaml needs kpt_shape" if count > 6 else "")
            )
        pose = not self._turned and _is_pose(values)
        if pose and not all(-_SLACK <= v <= 1 + _SLACK for v in values):
            raise DataError(f"{count + 1} numbers that look like a box with keypoints; say kpt_shape in data.yaml")
        self._outlines, self._poses = self._outlines + 1, self._poses + pose
        return tuple(values), (TURNED if self._turned else CORNERS) if count == 8 else OUTLINE

    def doubts(self) -> list[str]:
        """Whether most of what was read as outlines is likely none."""
        if self._poses <= self._outlines / 2:
            return []
        often = f"{self._poses} of {self._outlines} outlines"
        return [f"what is read as an outline looks like a box with keypoints ({often}); say kpt_shape in data.yaml"]


def _is_pose(values: Sequence[float]) -> bool:
    """Whether x, y, x, y, … are likelier a box, and x, y and 0, 1 or 2 (unlabelled, hidden, seen) of each keypoint."""
    x, y, width, height = values[:4]
    inside = x - width / 2 >= -_SLACK and x + width / 2 <= 1 + _SLACK
    inside = inside and y - height / 2 >= -_SLACK and y + height / 2 <= 1 + _SLACK
    count = len(values)
    return count % 3 == 1 and width > 0 and height > 0 and inside and all(v in (0, 1, 2) for v in values[6::3])


def _around(points: Sequence[float], reader: BoxReader, width: int, height: int) -> tuple[float, float, float, float]:
    # The box around points, in pixels.
    if reader.normalized and not all(-_SLACK <= v <= 1 + _SLACK for v in points):  # NaN is not, either
        raise DataError(f"{points!r:.60}: wanted numbers from 0 to 1, parts of the picture's size")
    if not all(math.isfinite(v) for v in points):
        raise DataError(f"{points!r:.60}: wanted finite numbers")
    x, y = reader.scale(width, height)
    return min(points[::2]) * x, min(points[1::2]) * y, max(points[::2]) * x, max(points[1::2]) * y


def _label_lines(file: Path) -> list[str]:
    # A link that leads nowhere is a fault, not a picture without objects.
    try:
        os.lstat(file)
    except FileNotFoundError:
        return []
    return read_text(file, MAX_OF_PICTURE).splitlines()


def _lines(file: Path) -> list[str]:
    return [line.strip() for line in read_text(file, MAX_LIST).splitlines() if line.strip()]


def _labels_of(picture: Path) -> Path:
    """Where a picture's boxes stand: `labels` for the last `images` of its path, or else beside it."""
    parts = list(picture.parts)
    for k in range(len(parts) - 2, -1, -1):
        if parts[k] == "images":
            parts[k] = "labels"
            return Path(*parts).with_suffix(".txt")
    return picture.with_suffix(".txt")


def _places(split: Any) -> list[str]:
    """The places of a split, written one way."""
    places = split if isinstance(split, list) else [split]
    return [str(Path(place.replace("\\", "/"))) if isinstance(place, str) else repr(place) for place in places]


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
            found += [str(picture_path(where.parent, line)) for line in _lines(where)]
    return found


def _pictures(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.")
    found = (p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    return sorted(str(p) for p in found if not is_twin(p.relative_to(folder)))


def _settings_file(folder: Path) -> Path | None:
    files = sorted(file for file in folder.glob("*.y*ml") if not is_twin(file.name))
    return next((file for file in files if _has_names(file)), None)


def _settings(file: Path) -> dict[str, Any]:
    try:
        # Classes may be called 010 or 1:30, which YAML takes for 8 and 90.
        tree = yamls.parse(read_text(file, _MAX_SETTINGS), most=1_000_000, as_written=True)
    except ValueError as exc:
        raise DataError(f"{file} {exc}.") from exc
    if not isinstance(tree, dict):
        raise DataError(f"{file}: wanted keys such as names and train, got {type(tree).__name__}.")
    return tree


def _keypoints(file: Path, shape: Any) -> int:
    """How many numbers of keypoints stand behind a box, by `kpt_shape`: [how many, 2 or 3 each]."""
    if shape is None:
        return 0
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(v) is int and 0 < v < 10_000 for v in shape):
        raise DataError(f"{file}: kpt_shape is {shape!r:.60}; wanted [how many keypoints, 2 or 3 numbers of each].")
    return shape[0] * shape[1]


def _names(file: Path, tree: dict[str, Any]) -> tuple[str, ...]:
    # A list, or a mapping of numbers from 0 to names.
    names, count = tree.get("names"), tree.get("nc")
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
    if count is not None and str(count).removesuffix(".0") != str(len(names)):
        raise DataError(f"{file}: nc is {count!r:.20}, but there are {len(names)} names; mend the one that is wrong.")
    return tuple(str(name).strip() for name in names)


def _listed_names(folder: Path) -> tuple[str, ...]:
    if (file := _names_file(folder)) is not None:
        return tuple(_lines(file))
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
