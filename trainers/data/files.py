"""Files as training data needs them: lines by number in flat memory, outputs that are there whole or not at all.

Hugging Face's `datasets` is no replacement for the lines: it copies a file into a cache of its own before the first one
is read, wants one type for a field in all of them, and a line that is no JSON ends it without a word on which.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import json
import os
import re
import threading
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from fo1agent.errors import DataError
from fo1agent.evaluate.files import check_regular, open_regular, opened
from fo1agent.whole import whole as written_whole

MAX_LINE = 64 << 20  # bytes; a longer line is no record but a file without lines
MAX_LIST = 256 << 20  # bytes of a list of names or pictures
MAX_OF_PICTURE = 8 << 20  # bytes of a file about one picture
_BLOCK = 4 << 20
_OPENING = threading.Lock()
_SYSTEMS = frozenset({"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "Thumbs.db", "ehthumbs.db", "desktop.ini"})
_GAP = re.compile(r"[\s,]*")


class _Indexed(Sequence[Any]):
    """Pieces of a file, read by position; safe in threads and forked workers, and 16 bytes a piece or fewer."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._descriptor = -1
        check_regular(self.path)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_descriptor": -1}

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            os.close(self._descriptor)

    def _read(self, start: int, size: int) -> bytes:
        with self._errors():
            with _OPENING:
                if self._descriptor < 0:
                    self._descriptor = open_regular(self.path)
            return read_at(self._descriptor, size, start)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise DataError(f"Cannot read {self.path}: {exc.strerror or exc}.") from exc
        except UnicodeDecodeError as exc:
            raise DataError(f"{self.path} is not UTF-8: {exc.reason} at byte {exc.start}.") from exc


class LineFile(_Indexed):
    """The lines of a file, in order or by position, without their ends; neither keeps the file in memory.

    Iterating reads ahead and needs nothing more. The first access by position or by `len` scans the file once and then
    holds 8 bytes a line.

    Raises:
        DataError: the file cannot be read, or a line is longer than 64 MiB.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._starts: array[int] | None = None

    def __iter__(self) -> Iterator[bytes]:
        with self._errors(), opened(self.path, buffering=1 << 18) as file:
            for number in range(1, 1 << 62):
                line = file.readline(MAX_LINE)
                if not line:
                    return
                if len(line) == MAX_LINE:
                    raise self._too_long(number)
                yield line.rstrip(b"\r\n")

    def __len__(self) -> int:
        return len(self._index()) - 1

    def __getitem__(self, position: int) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride] - no slices
        starts = self._index()
        if not 0 <= position < len(starts) - 1:
            raise IndexError(position)
        start, size = starts[position], starts[position + 1] - starts[position]
        if size >= MAX_LINE:
            raise self._too_long(position + 1)
        return self._read(start, size).rstrip(b"\r\n")

    def _index(self) -> array[int]:
        """Where each line starts, and, last, where the file ends."""
        if self._starts is None:
            starts, offset = array("q", [0]), 0
            with self._errors(), opened(self.path) as file:
                while block := file.read(_BLOCK):
                    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10).astype(np.int64) + (offset + 1)
                    starts.frombytes(ends.tobytes())
                    offset += len(block)
            if starts[-1] != offset:  # the last line has no end
                starts.append(offset)
            self._starts = starts
        return self._starts

    def _too_long(self, number: int) -> DataError:
        return DataError(f"{self.path}:{number}: the line is longer than {MAX_LINE >> 20} MiB; it is no record.")


class ArrayFile(_Indexed):
    """The objects of a file that holds one JSON array of them, in order or by position; 16 bytes an object are held.

    Iterating gives parsed objects; by position come their bytes.

    Raises:
        DataError: the file cannot be read, or is no array of objects; names the place.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._spans: array[int] | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (record for record, _, _ in self._scan())

    def __len__(self) -> int:
        return len(self._index()) // 2

    def __getitem__(self, position: int) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride] - no slices
        spans = self._index()
        if not 0 <= position < len(spans) // 2:
            raise IndexError(position)
        start, end = spans[2 * position], spans[2 * position + 1]
        return self._read(start, end - start)

    def _index(self) -> array[int]:
        if self._spans is None:
            self._spans = array("q", (place for _, start, end in self._scan() for place in (start, end)))
        return self._spans

    def _scan(self) -> Iterator[tuple[dict[str, Any], int, int]]:
        """Each object with the bytes it takes: from start to before end."""
        parse = json.JSONDecoder().raw_decode
        decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        with self._errors(), opened(self.path) as file:
            buffer, at, count, begun = decode(file.read(_BLOCK)), 0, 0, False
            byte = 3 if _has_mark(self.path) else 0  # where buffer[at] stands in the file
            while True:
                gap = _GAP.match(buffer, at)
                assert gap is not None  # it matches nothing, too
                byte, at = byte + gap.end() - at, gap.end()
                if at < len(buffer):
                    if not begun and buffer[at] == "[":
                        begun, byte, at = True, byte + 1, at + 1
                        continue
                    if begun and buffer[at] == "]":
                        return
                    if not begun or buffer[at] != "{":
                        raise DataError(f"{self.path}: wanted a JSON array of objects, got {buffer[at : at + 30]!r}.")
                    try:
                        record, end = parse(buffer, at)
                    except (json.JSONDecodeError, RecursionError) as exc:
                        problem: Exception | None = exc
                    else:
                        size = len(buffer[at:end].encode())
                        yield record, byte, byte + size
                        byte, at, count = byte + size, end, count + 1
                        continue
                else:
                    problem = None
                # The object may go on beyond the buffer: read as much again.
                more = file.read(max(_BLOCK, len(buffer) - at))
                if not more or len(buffer) - at > MAX_LINE:
                    raise DataError(f"{self.path}: element {count} is no JSON object: {problem or 'the file ends'}.")
                buffer, at = buffer[at:] + decode(more), 0


def is_twin(path: str | PurePath) -> bool:
    """Whether a file is what systems put beside a person's files: `._a.jpg`, `__MACOSX/…`, `@eaDir/…`, `Thumbs.db`,
    and all else that is hidden.

    Args:
        path: from the folder that the person named, which may well be a hidden one.
    """
    return any(part.startswith(".") or part in _SYSTEMS for part in PurePath(path).parts if part != "..")


def first_sign(path: Path) -> bytes:
    """The first byte of a file that is neither white space nor a byte order mark: `[` of an array, `{` of objects."""
    with opened(path) as file:
        return file.read(1 << 12).removeprefix(codecs.BOM_UTF8).lstrip()[:1]


def _has_mark(path: Path) -> bool:
    with opened(path) as file:
        return file.read(3) == codecs.BOM_UTF8


def read_at(descriptor: int, size: int, start: int) -> bytes:
    """Bytes of an open file, from `start`; any number of threads may read one file."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, start)
    with _OPENING:  # Windows has one place per descriptor
        os.lseek(descriptor, start, os.SEEK_SET)
        return os.read(descriptor, size)


@contextlib.contextmanager
def whole(target: str | Path) -> Iterator[Path]:
    """A temporary path beside `target`, for a file or a folder; put in its place when the block ends well.

    A file that is there is replaced; a folder only if it is empty.

    Raises:
        DataError: the folder that it goes to is missing or may not be written, the disk is full, or something is in
            the way.
    """
    target = Path(target)
    if target.is_dir() and any(target.iterdir()):
        raise DataError(f"{target} is a folder that is not empty; name another one, or remove it first.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(target) as temporary:
            yield temporary
    except OSError as exc:
        raise DataError(f"Cannot write {target}: {exc}.") from exc


def fingerprint(path: str | Path) -> str:
    """What a run's record says of its data: a hash of a file's bytes, or of a folder's names and sizes.

    Raises:
        DataError: it cannot be read.
    """
    path, digest = Path(path), hashlib.sha256()
    try:
        if path.is_dir():
            for file in sorted(p for p in path.rglob("*") if p.is_file()):
                digest.update(f"{file.relative_to(path).as_posix()} {file.stat().st_size}\n".encode())
        else:
            with opened(path) as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
    except OSError as exc:
        raise DataError(f"Cannot read {path}: {exc.strerror or exc}.") from exc
    return digest.hexdigest()[:16]
