"""WebDataset shards: tar files with a picture and what is known of it under one key.

    000123.jpg     the picture
    000123.json    a line of ours (see examples.py) without `file_name`; or, if that is not there or has other keys,
    000123.txt     a caption
    names.txt      once, first: the vocabulary of lines that say `"exhaustive": true`

Tar files are not unpacked: where each picture lies is read once (56 bytes a picture are held), so that shards can be
shuffled like everything else. Compressed tars cannot be read so; decompress them. The webdataset package reads shards
from front to back and shuffles within a buffer, so a run could not go on at the example that it had reached.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from fo1agent.errors import DataError
from fo1agent.evaluate.files import open_regular, opened, read_bytes
from fo1agent.trainers.data.files import MAX_LINE, is_twin, read_at, whole
from fo1agent.trainers.data.formats.boxes import NO_BOXES, BoxReader
from fo1agent.trainers.data.formats.examples import KEYS, from_record, to_record
from fo1agent.trainers.data.formats.fields import PICTURE_SUFFIXES, identity, picture_size
from fo1agent.trainers.data.formats.source import Source, SourceRecipe, json_object
from fo1agent.trainers.data.records import Example

NAMES = "names.txt"
_MAX_PICTURE = 256 << 20


def write_shards(
    folder: str | Path, examples: Iterable[Example], per_shard: int, vocabulary: Sequence[str] = ()
) -> int:
    """Write `shard-000000.tar`, … with the pictures as they are stored; returns how many pictures.

    Raises:
        DataError: a picture cannot be read, or the folder cannot be written.
    """
    vocabulary, count = tuple(vocabulary), 0
    with whole(folder) as temporary:
        temporary.mkdir()
        tar: tarfile.TarFile | None = None
        try:
            for example in examples:
                if count % per_shard == 0:
                    if tar is not None:
                        tar.close()
                    tar = tarfile.open(temporary / f"shard-{count // per_shard:06d}.tar", "w")  # noqa: SIM115
                    if vocabulary:
                        _add(tar, NAMES, "".join(f"{name}\n" for name in vocabulary).encode())
                assert tar is not None
                record = to_record(example, "", vocabulary)
                del record["file_name"]
                data = encoded(example)
                _add(tar, f"{count:09d}{suffix_of(data)}", data)
                _add(tar, f"{count:09d}.json", json.dumps(record, ensure_ascii=False).encode())
                count += 1
        finally:
            if tar is not None:
                tar.close()
    return count


def encoded(example: Example) -> bytes:
    """The bytes of the picture's file, as it is stored.

    Raises:
        DataError: there is no such file, or it is no picture: a record may name any file of this machine, and a
            copy may go to other people.
    """
    data = example.data
    try:
        if data is None:
            assert example.path is not None, "an example has a path or data"
            picture_size(example.path)  # before all of it is read, for it may be anything
            data = read_bytes(example.path, _MAX_PICTURE)
        else:
            picture_size(io.BytesIO(data))
    except OSError as exc:
        raise DataError(f"{example.name}: cannot read the picture: {exc.strerror}.") from exc
    except DataError as exc:
        raise DataError(f"{example.name}: {str(exc).removesuffix('.')}.") from exc
    return data


def suffix_of(data: bytes) -> str:
    """The usual ending of a picture's file, from its first bytes."""
    if data[:4] == b"RIFF":
        return ".webp"
    heads = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"GI": ".gif", b"BM": ".bmp"}
    return heads.get(data[:2], ".tif")


def looks_like(path: Path) -> bool:
    return path.suffix == ".tar" if path.is_file() else any(not is_twin(p.name) for p in path.glob("*.tar"))


def open_source(recipe: SourceRecipe) -> Source:
    """The pictures of one `.tar` file, or of all in a folder.

    Raises:
        DataError: no tar files, or one that cannot be read.
    """
    path = recipe.path
    files = sorted(p for p in path.glob("*.tar") if not is_twin(p.name)) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: no .tar files.")
    index = _Index(files)
    vocabulary, reader = index.names(), BoxReader("xyxy", recipe.boxes)

    def parse(position: int, source: str) -> Example:
        return _example(*index.read(position), position, source, vocabulary, reader)

    return recipe.source(range(len(index)), parse, index.where, vocabulary, reader.doubts, index.notes())


class _Index:
    """Where the pictures, records and captions of tar files lie: per picture the file's number, then three pairs of
    start and size, 0 and -1 for what is not there."""

    WIDTH = 7

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files
        self._rows = array("q")
        self._names: tuple[int, int, int] | None = None
        self._twice: list[str] = []
        self._first: list[int] = []
        self._descriptors: dict[int, int] = {}
        self._opening = threading.Lock()
        for number, file in enumerate(files):
            self._first.append(len(self))
            key, row = "", [number, 0, -1, 0, -1, 0, -1]
            for name, start, size in _members(file):
                if name == NAMES:
                    self._names = self._names or (number, start, size)
                    continue
                stem, dot, suffix = name.rpartition("/")[2].partition(".")
                this = name[: len(name) - len(dot) - len(suffix)]
                suffix = suffix.lower()
                place = 1 if f".{suffix}" in PICTURE_SUFFIXES else {"json": 3, "txt": 5}.get(suffix)
                if place is None or not stem or is_twin(name):
                    continue
                if this != key:
                    self._keep(key, row)
                    key, row = this, [number, 0, -1, 0, -1, 0, -1]
                if row[place + 1] >= 0:
                    self._twice.append(f"{file.name}: {name}")
                row[place : place + 2] = start, size
            self._keep(key, row)

    def __len__(self) -> int:
        return len(self._rows) // self.WIDTH

    def __del__(self) -> None:
        for descriptor in getattr(self, "_descriptors", {}).values():
            os.close(descriptor)

    def notes(self) -> list[str]:
        if not self._twice:
            return []
        return [
            f"{len(self._twice)} file(s) stand where the key has one of the kind already, as {self._twice[0]}; "
            "the last one is taken"
        ]

    def where(self, position: int) -> str:
        number = self._row(position)[0]
        return f"{self.files[number].name}, picture {position - self._first[number]}"

    def names(self) -> tuple[str, ...]:
        if self._names is None:
            return ()
        return tuple(line for line in self._bytes(*self._names, MAX_LINE).decode("utf-8").splitlines() if line.strip())

    def read(self, position: int) -> tuple[bytes, bytes | None, bytes | None]:
        """The picture's file, its record and its caption."""
        row = self._row(position)
        if row[2] < 0:
            raise DataError("there is no picture beside the record")
        record = self._bytes(row[0], row[3], row[4], MAX_LINE) if row[4] >= 0 else None
        caption = self._bytes(row[0], row[5], row[6], MAX_LINE) if row[6] >= 0 else None
        return self._bytes(row[0], row[1], row[2], _MAX_PICTURE), record, caption

    def _row(self, position: int) -> array[int]:
        return self._rows[position * self.WIDTH : (position + 1) * self.WIDTH]

    def _keep(self, key: str, row: list[int]) -> None:
        if key:
            self._rows.extend(row)

    def _bytes(self, number: int, start: int, size: int, most: int) -> bytes:
        if size > most:
            raise DataError(f"a member is {size >> 20} MiB large")
        with self._opening:
            if number not in self._descriptors:
                self._descriptors[number] = open_regular(self.files[number])
        return read_at(self._descriptors[number], size, start)


def _members(file: Path) -> Iterator[tuple[str, int, int]]:
    """Name, start and size of every plain file in a tar."""
    try:
        end = 0
        with opened(file) as data, tarfile.open(fileobj=data, mode="r:") as tar:
            for member in tar:
                if member.offset < end:  # a header with a size below 0 leads back to itself, for ever
                    raise DataError(f"Cannot read {file}: a member overlaps the one before.")
                end = member.offset_data
                if member.isreg() and not member.issparse():
                    yield member.name, member.offset_data, member.size
                tar.members = []  # pyright: ignore[reportAttributeAccessIssue] - it would keep them all
    except (OSError, tarfile.TarError) as exc:
        raise DataError(f"Cannot read {file}: {exc}. Wanted a tar file that is not compressed.") from exc


def _example(
    picture: bytes,
    record: bytes | None,
    caption: bytes | None,
    position: int,
    source: str,
    vocabulary: Sequence[str],
    reader: BoxReader,
) -> Example:
    known = json_object(record) if record is not None else {}
    if known and known.keys() <= KEYS and "width" in known:
        example = from_record({**known, "file_name": "-"}, source, Path(), reader, vocabulary)
        return replace(example, path=None, data=picture)
    sentence = caption.decode("utf-8").strip() if caption is not None else known.get("caption")
    if not isinstance(sentence, str) or not sentence.strip():
        raise DataError("has neither a record of ours nor a caption")
    name = identity(next((known[k] for k in ("__key__", "key", "id") if k in known), position))
    size_wh = picture_size(io.BytesIO(picture))
    return NO_BOXES.example(name, None, size_wh, source, captions=(sentence.strip(),), data=picture)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
