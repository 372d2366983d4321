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
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from fo1agent.annotate.arrow import arrow, file_system, first_line, is_remote, shown
from fo1agent.errors import DataError, FO1AgentError, ImageError, InputError
from fo1agent.pictures.image import ImageLimits, LoadedImage, formats_read, load_image

_ENDINGS = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif"),
}

_PICTURE = ("image", "picture", "file_name", "path", "url", "bytes")  # names of the field that has a picture
_ID = ("image_id", "id")
# What Arrow calls a column of paths, and what one of pictures may be.
_TEXT = ("string", "large_string")
_NAMED = 20  # fields that a message names
_KINDS = (*_TEXT, "struct", "binary", "large_binary", "fixed_size_binary")


def endings() -> tuple[str, ...]:
    """Of the files that are pictures in a folder: of the formats that are read here."""
    return tuple(ending for name in formats_read() for ending in _ENDINGS[name])


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of a job, and the question about it if it has its own.

    Attributes:
        index: its position in the source, from 0.
        picture: its name in the source: a path below the folder, an address, what the source calls it, or
            `file.parquet#7`.
        place: the path or address of the picture, or of the Parquet file that holds it.
        row: its row in that file; None for a picture that is a file.
        image_id: what the source gives it: a number, or text; of one source all are of one kind.
        question: its own question.
        column: the column of that file that it is in; None for a picture that is a file.
        folder: the folder of the picture if that row has only its path; None for the folder of that file.
    """

    index: int
    picture: str
    place: str
    row: int | None = None
    image_id: int | str | None = None
    question: str | None = None
    column: str | None = None
    folder: str | None = None


@dataclass(frozen=True)
class Listing:
    """What a source holds.

    Attributes:
        items: in order.
        categories: name → id, of COCO JSON; empty for other sources.
        text_ids: whether every `image_id` is text, because one of the source is.
        fields: of lines of JSON and columns of Parquet, in the order in which they come; for messages.
    """

    items: tuple[Item, ...]
    categories: Mapping[str, int] = field(default_factory=dict)
    text_ids: bool = False
    fields: tuple[str, ...] = ()

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
            told = [one.index, one.picture, one.row, one.image_id, one.question, *([one.column] if one.column else [])]
            hashed.update(json.dumps(told).encode())
        return hashed.hexdigest()


def listing(
    source: str, images: str | None = None, column: str | None = None, question_column: str | None = None
) -> Listing:
    """What a source holds, without opening a picture.

    Args:
        source: a folder (all pictures below it, or the Parquet files if there are none), a pattern, a picture, `.json`
            (COCO instances), `.jsonl` (in each line an object with `image`, and `question` and `image_id` if it has
            them) or `.parquet` (the same columns; `image` holds paths, bytes, or both as Hugging Face writes them).
        images: the folder of the pictures that a file names; None for the folder of the file.
        column: the field or column that holds the pictures, in lines of JSON and Parquet; None for the first of
            `image`, `picture`, `file_name`, `path`, `url` and `bytes` that is there.
        question_column: that of the questions; None for `question`, which need not be there.

    Raises:
        InputError: it is not there, or holds no pictures, or none of them has a question in the column that is named.
        DataError: a file is not what its ending says, or an `image_id` is neither a whole number nor text.
    """
    columns = _Columns(_PICTURE if column is None else (column,), question_column or "question")
    ending = PurePosixPath(source).suffix.lower()
    folder = images or _beside(source)
    if ending == ".json":
        found = _of_coco(source, folder)
    elif ending in (".jsonl", ".ndjson"):
        found = Listing(tuple(_of_lines(source, folder, columns)), fields=tuple(columns.there))
    elif ending == ".parquet":
        several = glob.has_magic(source) and not (not is_remote(source) and os.path.exists(source))
        places = [(shown(one), one) for one in _matching(source)] if several else [(source.rpartition("/")[2], source)]
        found = Listing(tuple(_of_parquet(places, images, columns)), fields=tuple(columns.there))
    else:
        found = Listing(tuple(_of_files(source, images, columns)), fields=tuple(columns.there))
    if not found.items:
        if ending in (".json", ".jsonl", ".ndjson", ".parquet"):
            raise InputError(f"{shown(source)} names no pictures.")
        raise InputError(f"{shown(source)} holds no pictures ({', '.join(endings())}) and no .parquet files.")
    if question_column is not None and not any(one.question for one in found.items):
        lacks = "is empty" if question_column in found.fields else f"is not there, but {named(found.fields)}"
        raise InputError(f"{shown(source)} has no questions: {question_column} {lacks}. Check --question-column.")
    if not any(isinstance(one.image_id, str) for one in found.items):
        return found
    told = (one if one.image_id is None else replace(one, image_id=str(one.image_id)) for one in found.items)
    return replace(found, items=tuple(told), text_ids=True)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Names of fields of a record: that of the picture is the first that is there.

    Attributes:
        pictures: what that of the picture may be called.
        question: that of the question.
        there: all that records were found to have.
    """

    pictures: Sequence[str]
    question: str
    there: dict[str, None] = field(default_factory=dict)


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
            source = self._cell(item.place, item.row, item.column)
            if isinstance(source, str):
                return self(replace(item, place=_joined(item.folder or _beside(item.place), source), row=None))
            return load_image(source, self._limits, name=item.picture)
        if is_remote(item.place) and not item.place.startswith(("http://", "https://")):
            return load_image(_bytes(item.place, self._limits.max_bytes + 1), self._limits, name=shown(item.place))
        return load_image(item.place, self._limits)

    def _cell(self, place: str, row: int, column: str | None) -> Any:
        """The picture in a row of a Parquet file: bytes or a path. One group of rows is kept."""
        with self._lock:
            try:
                if self._file is None or self._file[0] != place:
                    self._file = (place, _parquet(place))
                file, group = self._file[1], 0
                while row >= (rows := file.metadata.row_group(group).num_rows):
                    row, group = row - rows, group + 1
                if self._group is None or self._group[0] != (place, group):
                    self._group = (place, group), file.read_row_group(group, columns=[column]).column(0)
                cell = self._group[1][row].as_py()
            except (OSError, ValueError) as exc:
                raise ImageError(f"{shown(place)}, row {row}: {first_line(exc)}") from exc
        if isinstance(cell, dict):
            cell = cell.get("bytes") or cell.get("path")
        if not cell:
            raise ImageError(f"{shown(place)}: row {row} has no picture.")
        return cell


def _of_files(source: str, images: str | None, columns: _Columns) -> Iterator[Item]:
    wanted = endings()
    if glob.has_magic(source) and not (not is_remote(source) and os.path.exists(source)):
        places = [(shown(one), one) for one in _matching(source)]
    elif os.path.isfile(source) or (PurePosixPath(source).suffix.lower() in wanted and not os.path.isdir(source)):
        places = [(shown(source), source)]
    else:
        places = _below(source)
    pictures = [one for one in places if PurePosixPath(one[0]).suffix.lower() in wanted]
    if not pictures:
        yield from _of_parquet([one for one in places if one[0].endswith(".parquet")], images, columns)
    for index, (name, place) in enumerate(pictures):
        yield Item(index, printable(name), place)


def _below(source: str) -> list[tuple[str, str]]:
    """All files below a folder, sorted, without hidden ones: the path of each below it, and its place."""
    if not is_remote(source):
        return [(name, os.path.join(source, name)) for name in sorted(_walked(source)) if "/." not in f"/{name}"]
    system, path = file_system(source)
    fs = arrow("fs")
    try:
        found = system.get_file_info(fs.FileSelector(path, recursive=True))
    except (OSError, ValueError) as exc:
        why = first_line(exc)
        advice = "" if why.endswith(".") else ". Pass a folder or a file."
        raise InputError(f"{shown(source)} cannot be listed: {why}{advice}") from exc
    # How a file system writes its paths is its own affair: what counts is what stands behind the folder.
    cut = len(path.strip("/"))
    names = sorted(one.path.strip("/")[cut:].lstrip("/") for one in found if one.type == fs.FileType.File)
    head = source if source.endswith("/") else f"{source}/"
    return [(name, f"{head}{name}") for name in names if "/." not in f"/{name}"]


def _walked(folder: str) -> Iterator[str]:
    """Paths of the files below a folder of this machine; links are followed, but no folder is entered twice."""

    def fail(exc: OSError) -> None:
        raise InputError(f"{exc.filename} cannot be listed: {exc.strerror}. Pass a folder or a file.") from exc

    entered: set[tuple[int, int]] = set()
    for path, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        about = os.stat(path)
        if (about.st_dev, about.st_ino) in entered:
            folders.clear()
            continue
        entered.add((about.st_dev, about.st_ino))
        folders.sort()
        below = os.path.relpath(path, folder).replace(os.sep, "/")
        yield from (name if below == "." else f"{below}/{name}" for name in files)


def _matching(pattern: str) -> list[str]:
    """The files that a pattern matches, sorted; at an address a `*` stands for `/` too."""
    if not is_remote(pattern):
        return sorted(glob.glob(pattern, recursive=True))
    scheme, _, rest = pattern.partition("://")
    folder = rest[: next(at for at, sign in enumerate(rest) if sign in "*?[")].rpartition("/")[0]
    return [place for _, place in _below(f"{scheme}://{folder}") if fnmatch.fnmatchcase(place, pattern)]


def _of_coco(source: str, folder: str) -> Listing:
    told = shown(source)
    tree = _parsed(_bytes(source).decode("utf-8", "replace"), told)
    records = tree.get("images") if isinstance(tree, dict) else None
    if not isinstance(records, list):
        raise DataError(f"{told}: no list 'images'. Pass COCO JSON, or lines of JSON as .jsonl.")
    items = []
    for index, one in enumerate(records):
        where = f"{told}: images[{index}]"
        name = one.get("file_name") if isinstance(one, dict) else None
        if not isinstance(name, str) or not name or one.get("id") is None:
            raise DataError(f"{where} has no file_name and id.")
        items.append(Item(index, shown(_sound(name, where)), _joined(folder, name), image_id=_number_of(one, where)))
    numbered = _categories_of(tree, told)
    _once(told, "images have the id", (one.image_id for one in items))
    _once(told, "categories have the id", (number for _, number in numbered))
    _once(told, "categories have the name", (name for name, _ in numbered))
    return Listing(tuple(items), dict(numbered))


def _categories_of(tree: Mapping[str, Any], told: str) -> list[tuple[str, int]]:
    """The name and the id of each category of COCO JSON; a name may be a number, as those of digits are."""
    categories = tree.get("categories") or []
    if not isinstance(categories, list):
        raise DataError(f"{told}: categories need name and id. Write a list of objects that have both.")
    numbered = []
    for index, one in enumerate(categories):
        where = f"{told}: categories[{index}]"
        if not isinstance(one, dict) or type(one.get("name")) not in (str, int) or one.get("id") is None:
            raise DataError(f"{where} has no name and id.")
        numbered.append((_sound(str(one["name"]), where), _number_of(one, where)))
    return numbered


def _number_of(record: Mapping[str, Any], where: str) -> int:
    """The id that COCO JSON gives a picture or a category."""
    number = _whole(record["id"])
    if number is None:
        raise DataError(f"{where}: the id {str(record['id'])[:40]!r} is no whole number of 64 bits. Write one.")
    return number


def _once(source: str, what: str, values: Iterable[Any]) -> None:
    """Refuse what stands for several: results would be of all of them."""
    value, often = next(iter(Counter(values).most_common(1)), (None, 0))
    if often > 1:
        raise DataError(f"{source}: {often} {what} {value!r:.60}. Give each one of its own.")


def _of_lines(source: str, folder: str, columns: _Columns) -> Iterator[Item]:
    index = 0
    for number, line in enumerate(_bytes(source).decode("utf-8", "replace").split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{shown(source)}, line {number}"
        record = _parsed(line, where)
        path = _path_of(record, columns, where)
        columns.there.update(dict.fromkeys(record))
        yield Item(
            index,
            shown(_sound(path, where)),
            _joined(folder, path),
            None,
            _id_of(record, where),
            _words(record, columns, where),
        )
        index += 1


def _path_of(record: Any, columns: _Columns, where: str) -> str:
    """The path of the picture that a line tells of."""
    record = record if isinstance(record, dict) else {}
    path = next((one for key in columns.pictures if isinstance(one := record.get(key), str) and one), None)
    if path is not None:
        return path
    others = [key for key in record if key not in columns.pictures]
    usual = f'{{"{columns.pictures[0]}": "photo.jpg"}}'
    if not others or len(others) < len(record):  # the field is there, but holds none
        raise DataError(f"{where}: no picture. Write {usual}.")
    raise DataError(f"{where}: no picture, but {named(others)}. Name its field with --column, or write {usual}.")


def named(fields: Sequence[str]) -> str:
    """Fields in a message, of very many the first."""
    more = [f"{len(fields) - _NAMED} more"] if len(fields) > _NAMED else []
    return ", ".join([*(printable(one)[:40] for one in fields[:_NAMED]), *more])


def _of_parquet(places: Iterable[tuple[str, str]], images: str | None, columns: _Columns) -> list[Item]:
    """The rows of Parquet files, given each file's name in the source and its place.

    A picture that is a path is called by it, and so is one of bytes where its path stands beside them, unless several
    are called so; the others by file and row.
    """
    items: list[Item] = []
    beside: list[tuple[int, str]] = []  # of bytes that have a path: where in items, and the path
    for name, place in places:
        column, records = _told_by_parquet(place, columns)
        for row, record in enumerate(records):
            cell = record.get(column)
            where = f"{shown(place)}, row {row}"
            about = (_id_of(record, where), _words(record, columns, where))
            if isinstance(cell, str) and cell:
                items.append(Item(len(items), shown(cell), _joined(images or _beside(place), cell), None, *about))
                continue
            if isinstance(cell, dict) and isinstance(cell.get("path"), str) and cell["path"]:
                beside.append((len(items), cell["path"]))
            items.append(Item(len(items), f"{name}#{row}", place, row, *about, column, images))
    often = Counter(path for _, path in beside)
    for at, path in beside:
        if often[path] == 1:
            items[at] = replace(items[at], picture=path)
    return items


def _told_by_parquet(place: str, columns: _Columns) -> tuple[str, list[Mapping[str, Any]]]:
    """The column of pictures, and what each row says: of its picture a path, {"path"}, or nothing."""
    try:
        file = _parquet(place)
        names = file.schema_arrow.names
        columns.there.update(dict.fromkeys(names))
        column = _column(names, columns.pictures, place)
        wanted = [one for one in (columns.question, *_ID) if one in names and one != column]
        often = next((one for one in (column, *wanted) if names.count(one) > 1), None)
        if often is not None:
            raise DataError(f"{shown(place)} has {names.count(often)} columns called {often}. Give each its own name.")
        kind, types = file.schema_arrow.field(column).type, arrow("types")
        kind = kind.value_type if types.is_dictionary(kind) else kind  # pandas' categories
        has_path = types.is_struct(kind) and any(one.name == "path" for one in kind)
        if not str(kind).startswith(_KINDS):
            raise DataError(
                f"{shown(place)}: {column} holds {kind}, no paths and no bytes. Name another with --column."
            )
        paths = [column] if str(kind).startswith(_TEXT) else []
        told = file.read(columns=[*wanted, *paths, *([f"{column}.path"] if has_path else [])])
        return column, told.to_pylist() if told.num_columns else [{}] * file.metadata.num_rows
    except FileNotFoundError as exc:
        raise InputError(f"There is no file {shown(place)!r}. Check the path.") from exc
    except OSError as exc:
        raise DataError(f"{shown(place)} cannot be read: {first_line(exc)}") from exc
    except ValueError as exc:
        raise DataError(f"{shown(place)} is no Parquet file that can be read: {first_line(exc)}") from exc


def _column(names: Sequence[str], wanted: Sequence[str], place: str) -> str:
    found = next((one for one in wanted if one in names), None)
    if found is None:
        raise DataError(f"{shown(place)} has no column with pictures, but {named(names)}. Name it with --column.")
    return found


def _id_of(record: Mapping[str, Any], where: str) -> int | str | None:
    """The id that a record gives its picture; text where it is no whole number that a column of numbers holds."""
    given = next((record[key] for key in _ID if record.get(key) is not None), None)
    if isinstance(given, str):
        return _sound(given, where)
    if given is None or given != given:  # as numpy says that there is none
        return None
    number = _whole(given)
    if number is not None:
        return number
    raise DataError(f"{where}: the image_id {str(given)[:40]} is neither a whole number of 64 bits nor text.")


def _whole(given: Any) -> int | None:
    """A whole number that a column of numbers holds; None if it is none."""
    if isinstance(given, float) and given.is_integer():
        given = int(given)  # of a table that has rows without one, pandas makes all of them floats
    return given if type(given) is int and abs(given) < 2**63 else None


def _words(record: Mapping[str, Any], columns: _Columns, where: str) -> str | None:
    question = record.get(columns.question)
    if question is None or isinstance(question, str):
        return None if question is None else _sound(question, where)
    raise DataError(f"{where}: the question {str(question)[:40]} is no text.")


def _sound(text: str, where: str) -> str:
    """A text as it is, if it can be written: JSON may hold halves of characters."""
    if text != printable(text):
        raise DataError(f"{where}: {printable(text)[:60]!r} holds half a character. Write it as UTF-8.")
    return text


def printable(text: str) -> str:
    r"""A text that any file takes: what is no character, as in names of files not in UTF-8, is told as `\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _beside(place: str) -> str:
    """The folder of a file."""
    return place.replace(os.sep, "/").rpartition("/")[0] or "."


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
        raise ImageError(f"There is no file {shown(place)!r}. Check the path.") from exc
    except (OSError, ValueError) as exc:
        raise ImageError(f"{shown(place)} cannot be read: {first_line(exc)}") from exc
