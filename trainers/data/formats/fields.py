"""What the formats share when they check a record: sizes, boxes, text, region numbers, where a picture lies.

Each of these raises `DataError` where a value is something else; it says what was got, where, and what was wanted.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fo1agent.errors import DataError, ImageError
from fo1agent.pictures.image import ImageLimits, load_image
from fo1agent.trainers.data.records import regions_of

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
_EDGE = 1.0  # pixels that a box may stand out by and still be rounding
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
_NUMBER = re.compile(r"0|-?[1-9]\d{0,17}")  # as Python and JSON write it: "007" is another id than 7
_NO_BOXES = np.zeros((0, 4), np.float32)


def size(width: Any, height: Any) -> tuple[int, int]:
    """Width and height as whole pixels, at least 1 each."""
    if type(width) is not int or type(height) is not int:
        try:
            whole = int(width), int(height)
        except (TypeError, ValueError, OverflowError) as exc:
            raise DataError(f"width and height are {width!r} and {height!r}; wanted whole pixels") from exc
        if isinstance(width, bool) or isinstance(height, bool) or whole != (float(width), float(height)):
            raise DataError(f"width and height are {width!r} and {height!r}; wanted whole pixels")
        width, height = whole
    if width < 1 or height < 1:
        raise DataError(f"the picture is {width} x {height} pixels")
    return width, height


def identity(value: Any) -> int | str:
    """A record's id: a whole number or text."""
    if type(value) is not int and type(value) is not str:
        raise DataError(f"the id is {value!r:.60}; wanted a number or text")
    return value


def exact_boxes(rows: Any, width: int, height: int) -> np.ndarray:
    """[N, 4] float32 of xyxy rows that lie in the picture; what stands out by rounding is cut."""
    if not rows:
        return _NO_BOXES.copy()
    inside = True
    for k, row in enumerate(rows):
        try:
            x1, y1, x2, y2 = row
            if not isinstance(row, list | tuple | np.ndarray) or bool in map(type, row):
                raise TypeError  # an object, or a text, can be taken apart too
            if 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height:
                continue
            near = -_EDGE <= x1 < x2 <= width + _EDGE and -_EDGE <= y1 < y2 <= height + _EDGE
        except (TypeError, ValueError) as exc:
            raise DataError(f"boxes[{k}] = {row!r:.60}; wanted four numbers x1, y1, x2, y2") from exc
        if not near or not (x1 < width and y1 < height and x2 > 0 and y2 > 0):
            raise DataError(f"boxes[{k}] = {row!r:.60} is no x1, y1, x2, y2 box inside {width} x {height} pixels")
        inside = False
    boxes = np.array(rows, dtype=np.float32)
    flat = np.flatnonzero((boxes[:, 2:] <= boxes[:, :2]).any(axis=1))
    if len(flat):
        raise DataError(f"boxes[{flat[0]}] = {rows[flat[0]]!r:.60} has no area that float32 can tell")
    return boxes if inside else np.clip(boxes, 0, np.array([width, height, width, height], np.float32))


def flag(value: Any, what: str) -> bool:
    """Yes or no, as files write it: true, 1, 1.0, "1", "true", and their opposites; null is no."""
    if value is None:
        return False
    known = _FLAGS.get(value.strip().lower() if isinstance(value, str) else str(value).lower())
    if known is None:
        raise DataError(f"{what} is {value!r:.60}; wanted 0 or 1")
    return known


def twin(identity: Any, known: Any) -> Any:
    """The key of `known` that an id means: itself, or the same number where one is text and the other is not."""
    if isinstance(identity, int | str) and identity not in known:
        other: int | str = str(identity) if isinstance(identity, int) else identity
        if isinstance(identity, str) and _NUMBER.fullmatch(identity):
            other = int(identity)
        if other in known:
            return other
    return identity


def text(value: Any, what: str) -> str:
    """`value`, cut of surrounding white space; no text is one of nothing but that."""
    if not isinstance(value, str):
        raise DataError(f"{what} is {value!r:.60}; wanted text")
    if not (value := value.strip()):
        raise DataError(f"{what} is empty")
    return value


def strings(value: Any, what: str) -> tuple[str, ...]:
    """A tuple of a list of strings."""
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise DataError(f"{what} is {value!r:.60}; wanted a list of strings")
    return tuple(value)


def items(value: Any, what: str) -> list[Any]:
    """A list, of anything."""
    if not isinstance(value, list):
        raise DataError(f"{what} is {value!r:.60}; wanted a list")
    return value


def mapping(value: Any, what: str) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise DataError(f"{what} is {value!r:.60}; wanted an object")
    return value


def objects(value: Any, what: str) -> list[dict[str, Any]]:
    """A list of JSON objects; an error names the first that is none."""
    return [mapping(one, f"{what}[{k}]") for k, one in enumerate(items(value, what))]


def pairs(value: Any, what: str) -> list[list[Any]]:
    """A list of lists of two; an error names the first that is none."""
    for k, one in enumerate(items(value, what)):
        if not isinstance(one, list | tuple) or len(one) != 2:
            raise DataError(f"{what}[{k}] is {one!r:.60}; wanted a list of two")
    return value


def positions(value: Iterable[Any], count: int, what: str) -> tuple[int, ...]:
    """Positions of boxes, whole numbers from 0 to `count` - 1."""
    if not isinstance(value, list | tuple):
        raise DataError(f"{what} is {value!r:.60}; wanted a list of positions")
    for k in value:
        if type(k) is not int or not 0 <= k < count:
            raise DataError(f"{what} names box {k!r}; there are {count}, from 0")
    return tuple(value)


def check_regions(sentence: str, count: int) -> None:
    """Check that a text names only regions that there are."""
    for k in regions_of(sentence):
        if k >= count:
            raise DataError(f"names <region{k}>, but there are {count} boxes")


def absent_of(vocabulary: Sequence[str], labels: Iterable[str]) -> tuple[str, ...]:
    """The names of an exhaustive vocabulary that no box carries."""
    shown = set(labels)
    return tuple(name for name in vocabulary if name not in shown)


def picture_size(path: Path | BytesIO) -> tuple[int, int]:
    """Width and height of the upright picture, from the head of its file (or of its bytes)."""
    if isinstance(path, Path) and path.exists() and not path.is_file():  # a pipe would be waited for
        raise DataError(f"{path} is no picture, but a folder or device")
    try:
        # The decoders that `open_picture` allows, and no others: a head is parsed as well.
        with Image.open(path, formats=ImageLimits().formats) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(0x0112) in _SIDEWAYS else (width, height)
    except FileNotFoundError as exc:
        raise DataError(f"there is no picture {path}") from exc
    except (OSError, ValueError, SyntaxError, ImportError, Image.DecompressionBombError):
        # ImportError: ultralytics, once imported, makes Pillow look for a plugin where it knows no such picture.
        # The head alone did not do. What opens pictures passes over damaged metadata, and names what is no picture.
        try:
            return load_image(path if isinstance(path, Path) else path.getvalue()).pixels.size
        except ImageError as exc:
            what = path if isinstance(path, Path) else "what stands there"
            raise DataError(f"{what} is no picture that can be read: {exc}") from exc


def picture_path(images: Path, file_name: Any) -> Path:
    """Where a picture lies that a record names: in `images`, or wherever an absolute name or `..` leads.

    Names written on Windows are understood.
    """
    if type(file_name) is not str or not file_name or "\0" in file_name:
        raise DataError(f"the picture's name is {file_name!r:.60}; wanted a file name")
    if "\\" in file_name and not (images / file_name).is_file():
        file_name = file_name.replace("\\", "/")
    return images / file_name


def picture_of(record: dict[str, Any]) -> str | None:
    """The file name of a record's picture, whatever the key is called; None if it names none, or several."""
    for key in ("file_name", "image", "image_path", "filename", "images"):
        name = record.get(key)
        if isinstance(name, list) and len(name) == 1:
            name = name[0]
        if isinstance(name, str) and name:
            return name
    return None


def picture_name(record: dict[str, Any]) -> str:
    """The same for a record that must have a picture."""
    if (name := picture_of(record)) is None:
        raise DataError("names no picture: lacks 'file_name' (or 'image')")
    return name


def size_of(record: dict[str, Any], path: Path) -> tuple[int, int]:
    """Width and height: the record's own, or else the picture's."""
    if record.get("width") is not None and record.get("height") is not None:
        return size(record["width"], record["height"])
    return picture_size(path)


def images_folder(file: Path, images: Path | None, first: str | None) -> Path:
    """The folder that a file's pictures are named from.

    `images` if given. Otherwise, of `images/train` (for a file that is called `….train.json` or `…_train.jsonl`),
    `images`, `train` and the file's own folder, or the same beside that folder, the one that holds the picture `first`;
    or, if none does, the file's own.
    """
    if images is not None:
        return images
    split = re.split(r"[_.]", file.stem)[-1]
    if first is not None:
        with contextlib.suppress(DataError, OSError, ValueError):  # it is no name that a file can have
            for root in (file.parent, file.parent / ".."):
                for folder in (root / "images" / split, root / "images", root / split, root):
                    if picture_path(folder, first).is_file():
                        return folder
    return file.parent
