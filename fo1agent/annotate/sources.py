"""Where the pictures of a job come from: every source becomes a list of `Item`, and `Reader` opens one.

A source is a folder, a pattern, a picture, COCO JSON, lines of JSON, or Parquet, here or at an address. An item is
small, so that a million can be listed; no picture is opened before its turn. What is asked about pictures is unknown
here.
"""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import json
import os
import random
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from fo1agent.annotate.arrow import arrow, file_system, is_remote
from fo1agent.errors import DataError, FO1AgentError, ImageError, InputError
from fo1agent.pictures.image import ImageLimits, LoadedImage, load_image

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif")
"""Of the files that are pictures in a folder."""

_PICTURE = ("image", "picture", "file_name", "path", "url", "bytes")  # names of the field that has a picture
_ID = ("image_id", "id")


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of a job, and the question about it if it has its own.

    Attributes:
        index: its position in the source, from 0.
        picture: its name in the source: a path below the folder, an address, or `file.parquet#7`.
        place: the path or address of the picture, or of the Parquet file that holds it.
        row: its row in that file; None for a picture that is a file.
        image_id: its number where the source gives one.
        question: its own question.
    """

    index: int
    picture: str
    place: str
    row: int | None = None
    image_id: int | None = None
    question: str | None = None


@dataclass(frozen=True)
class Listing:
    """What a source holds.

    Attributes:
        items: in order.
        categories: name → id, of COCO JSON; empty for other sources.
    """

    items: tuple[Item, ...]
    categories: Mapping[str, int] = field(default_factory=dict)

    def chosen(self, limit: int | None, sample: int | None, seed: int) -> Listing:
        """The first `limit` items, and of those `sample` drawn by `seed`, in the order of the source."""
        items = self.items[:limit]
        if sample is not None and sample < len(items):
            items = tuple(items[k] for k in sorted(random.Random(seed).sample(range(len(items)), sample)))
        return replace(self, items=items)

    def digest(self) -> str:
        """A hash of what is in it, not of where it lies."""
        hashed = hashlib.sha256()
        for one in self.items:
            hashed.update(json.dumps([one.index, one.picture, one.row, one.image_id, one.question]).encode())
        return hashed.hexdigest()


def listing(source: str, images: str | None = None) -> Listing:
    """What a source holds, without opening a picture.

    Args:
        source: a folder (all pictures below it, or the Parquet files if there are none), a pattern, a picture, `.json`
            (COCO instances), `.jsonl` (in each line an object with `image`, and `question` and `image_id` if it has
            them) or `.parquet` (the same columns; `image` holds paths, bytes, or both as Hugging Face writes them).
        images: the folder of the pictures that a file names; None for the folder of the file.

    Raises:
        InputError: it is not there, or holds no pictures.
        DataError: a file is not what its ending says.
    """
    ending = PurePosixPath(source).suffix.lower()
    folder = images or source.replace(os.sep, "/").rpartition("/")[0] or "."
    if ending == ".json":
        found = _of_coco(source, folder)
    elif ending in (".jsonl", ".ndjson"):
        found = Listing(tuple(_of_lines(source, folder)))
    elif ending == ".parquet":
        found = Listing(tuple(_of_parquet(_matching(source) if glob.has_magic(source) else [source], folder)))
    else:
        found = Listing(tuple(_of_files(source, images)))
    if not found.items:
        raise InputError(f"{source} holds no pictures ({', '.join(ENDINGS)}) and no .parquet files.")
    return found


class Reader:
    """Opens the picture of an item: `reader(item)`. May be called from several threads."""

    def __init__(self, limits: ImageLimits | None = None) -> None:
        self._limits = limits or ImageLimits()
        self._lock = threading.Lock()
        self._group: tuple[tuple[str, int], Any] | None = None
        self._file: tuple[str, Any] | None = None

    def __call__(self, item: Item) -> LoadedImage:
        """The picture.

        Raises:
            ImageError: it cannot be read.
        """
        if item.row is not None:
            source = self._cell(item.place, item.row)
            if isinstance(source, str):
                return self(replace(item, place=_joined(item.place.rpartition("/")[0], source), row=None))
            return load_image(source, self._limits, name=item.picture)
        if is_remote(item.place) and not item.place.startswith(("http://", "https://")):
            return load_image(_bytes(item.place, self._limits.max_bytes + 1), self._limits, name=item.place)
        return load_image(item.place, self._limits)

    def _cell(self, place: str, row: int) -> Any:
        """The picture in a row of a Parquet file: bytes or a path. One group of rows is kept."""
        with self._lock:
            try:
                if self._file is None or self._file[0] != place:
                    self._file = (place, _parquet(place))
                file, group = self._file[1], 0
                while row >= (rows := file.metadata.row_group(group).num_rows):
                    row, group = row - rows, group + 1
                if self._group is None or self._group[0] != (place, group):
                    column = _column(file.schema_arrow.names, _PICTURE, place)
                    self._group = (place, group), file.read_row_group(group, columns=[column]).column(0)
                cell = self._group[1][row].as_py()
            except (OSError, ValueError) as exc:
                raise ImageError(f"{place}, row {row}: {exc}") from exc
        if isinstance(cell, dict):
            cell = cell.get("bytes") or cell.get("path")
        if not cell:
            raise ImageError(f"{place}: row {row} has no picture.")
        return cell


def _of_files(source: str, images: str | None) -> Iterator[Item]:
    if glob.has_magic(source) and not (not is_remote(source) and os.path.exists(source)):
        places, base = _matching(source), ""
    elif PurePosixPath(source).suffix.lower() in ENDINGS and not os.path.isdir(source):
        places, base = [source], ""
    else:
        places, base = _below(source), source.rstrip("/") + "/"
    pictures = [one for one in places if PurePosixPath(one).suffix.lower() in ENDINGS]
    if not pictures:
        yield from _of_parquet([one for one in places if one.endswith(".parquet")], images or source)
    for index, place in enumerate(pictures):
        yield Item(index, place.removeprefix(base), place)


def _below(source: str) -> list[str]:
    """All files below a folder, sorted, without hidden ones."""
    system, path = file_system(source)
    fs = arrow("fs")
    try:
        found = system.get_file_info(fs.FileSelector(path, recursive=True))
    except (OSError, ValueError) as exc:
        raise InputError(f"{source} cannot be listed: {str(exc).partition('.')[0]}. Pass a folder or a file.") from exc
    head = source.partition("://")[0] + "://" if is_remote(source) else ""
    cut = len(path.strip("/")) if head else len(path.rstrip("/"))
    names = (one.path.strip("/") if head else one.path for one in found if one.type == fs.FileType.File)
    return sorted(head + name for name in names if "/." not in name[cut:])


def _matching(pattern: str) -> list[str]:
    """The files that a pattern matches, sorted; at an address a `*` stands for `/` too."""
    if not is_remote(pattern):
        return sorted(glob.glob(pattern, recursive=True))
    folder = pattern[: pattern.index(next(sign for sign in pattern if sign in "*?["))].rpartition("/")[0]
    return [one for one in _below(folder) if fnmatch.fnmatchcase(one, pattern)]


def _of_coco(source: str, folder: str) -> Listing:
    tree = _parsed(_bytes(source).decode("utf-8", "replace"), source)
    records = tree.get("images") if isinstance(tree, dict) else None
    if not isinstance(records, list):
        raise DataError(f"{source}: no list 'images'. Pass COCO JSON, or lines of JSON as .jsonl.")
    items = []
    for index, one in enumerate(records):
        if not isinstance(one, dict) or not isinstance(one.get("file_name"), str) or not isinstance(one.get("id"), int):
            raise DataError(f"{source}: images[{index}] has no file_name and id.")
        items.append(Item(index, one["file_name"], _joined(folder, one["file_name"]), image_id=one["id"]))
    categories = tree.get("categories") or []
    try:
        return Listing(tuple(items), {one["name"]: int(one["id"]) for one in categories})
    except (TypeError, KeyError, ValueError) as exc:
        raise DataError(f"{source}: categories need name and id.") from exc


def _of_lines(source: str, folder: str) -> Iterator[Item]:
    index = 0
    for number, line in enumerate(_bytes(source).decode("utf-8", "replace").split("\n"), start=1):
        if not line.strip():
            continue
        record = _parsed(line, f"{source}, line {number}")
        named = (
            [record[key] for key in _PICTURE if isinstance(record.get(key), str)] if isinstance(record, dict) else []
        )
        if not named:
            raise DataError(f'{source}, line {number}: no picture. Write {{"image": "photo.jpg"}}.')
        yield Item(index, named[0], _joined(folder, named[0]), None, _number(record), _words(record))
        index += 1


def _of_parquet(places: Iterable[str], folder: str) -> Iterator[Item]:
    index = 0
    for place in places:
        try:
            file = _parquet(place)
            names = file.schema_arrow.names
            pictures = _column(names, _PICTURE, place)
            wanted = [one for one in ("question", *_ID) if one in names]
            is_path = arrow("types").is_string(file.schema_arrow.field(pictures).type)
            told = file.read(columns=[*wanted, *([pictures] if is_path else [])]).to_pylist()
        except (OSError, ValueError) as exc:
            raise DataError(f"{place} is no Parquet file that can be read: {exc}") from exc
        name = place.rpartition("/")[2]
        for row in range(file.metadata.num_rows):
            record = told[row] if told else {}
            about = (_number(record), _words(record))
            if is_path and record[pictures]:
                yield Item(index, record[pictures], _joined(folder, record[pictures]), None, *about)
            else:
                yield Item(index, f"{name}#{row}", place, row, *about)
            index += 1


def _column(names: Sequence[str], wanted: Sequence[str], place: str) -> str:
    found = next((one for one in wanted if one in names), None)
    if found is None:
        raise DataError(f"{place} has no column with pictures: {', '.join(names)}. Name it 'image'.")
    return found


def _number(record: Mapping[str, Any]) -> int | None:
    return next((record[key] for key in _ID if type(record.get(key)) is int), None)


def _words(record: Mapping[str, Any]) -> str | None:
    question = record.get("question")
    return question if isinstance(question, str) else None


def _joined(folder: str, name: str) -> str:
    """A name beside others; one that is an address or an absolute path stays as it is."""
    return name if is_remote(name) or os.path.isabs(name) or not folder else f"{folder.rstrip('/')}/{name}"


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as exc:
        raise DataError(f"{where} is not JSON: {exc}.") from exc


def _parquet(place: str) -> Any:
    system, path = file_system(place)
    return arrow("parquet").ParquetFile(path, filesystem=system)


def _bytes(place: str, most: int = -1) -> bytes:
    """The bytes of a file, at most so many."""
    try:
        if not is_remote(place):
            return Path(place).read_bytes()
        system, path = file_system(place)
        with system.open_input_stream(path) as file:
            return file.read() if most < 0 else file.read(most)
    except FO1AgentError:
        raise
    except FileNotFoundError as exc:
        raise ImageError(f"There is no file {place!r}. Check the path.") from exc
    except (OSError, ValueError) as exc:
        raise ImageError(f"{place} cannot be read: {str(exc).strip().partition(chr(10))[0]}") from exc
