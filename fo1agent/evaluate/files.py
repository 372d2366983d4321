"""Files of data that somebody else wrote: regular ones only, bounded, and what is wrong with them in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from fo1agent import bounded
from fo1agent.errors import DataError

MAX_WHOLE = 16 << 30  # bytes of a file that is read at once; the largest annotations that are known have 6 GB


def open_regular(path: str | Path, most: int | None = None) -> int:
    """A descriptor of a regular file, open for reading.

    Raises:
        DataError: there is none, it is something else (a pipe would wait for its writer, a device may never end), may
            not be read, or has more than `most` bytes.
    """
    try:
        descriptor = bounded.open_regular(path)
    except FileNotFoundError as exc:
        raise DataError(f"Cannot read {path}: there is no such file.") from exc
    except bounded.NotRegularError as exc:
        raise DataError(f"{path} is {exc}.") from exc
    except (OSError, ValueError) as exc:
        raise DataError(f"Cannot read {path}: {getattr(exc, 'strerror', None) or exc}.") from exc
    size = os.fstat(descriptor).st_size
    if most is not None and size > most:
        os.close(descriptor)
        raise DataError(f"{path} has {size:,} bytes; wanted at most {most:,}.")
    return descriptor


def opened(path: str | Path, most: int | None = None, buffering: int = -1) -> IO[bytes]:
    """The same as a file of bytes, to be closed."""
    return os.fdopen(open_regular(path, most), "rb", buffering)


def check_regular(path: str | Path) -> None:
    """Refuse what `open_regular` refuses."""
    os.close(open_regular(path))


def read_bytes(path: str | Path, most: int = MAX_WHOLE) -> bytes:
    """All of a regular file.

    Raises:
        DataError: as for `open_regular`.
    """
    try:
        with opened(path, most) as file:
            data = bounded.read_most(file, most)
    except OSError as exc:
        raise DataError(f"Cannot read {path}: {exc.strerror or exc}.") from exc
    if len(data) > most:  # it has grown since it was opened
        raise DataError(f"{path} has more than {most:,} bytes; wanted at most so many.")
    return data


def read_text(path: str | Path, most: int = MAX_WHOLE) -> str:
    """The text of a regular file in UTF-8, without a byte order mark; ends of lines become `\n`.

    Raises:
        DataError: as for `open_regular`, or it is not UTF-8.
    """
    try:
        text = read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DataError(f"{path} is not UTF-8: {exc.reason} at byte {exc.start}.") from exc
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def read_json(path: str | Path, hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """What a JSON file holds.

    Args:
        path: the file.
        hook: makes what an object becomes of its pairs; None for dictionaries.

    Raises:
        DataError: as for `read_text`, or it is not JSON, or nested deeper than can be read.
    """
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=hook)
    except RecursionError as exc:
        raise DataError(f"{path} is nested too deep for JSON of data.") from exc
    except ValueError as exc:  # a number of thousands of digits is one, too
        raise DataError(f"{path} is not JSON: {exc}.") from exc


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """The lines of a text that are not blank, with their numbers from 1.

    Raises:
        DataError: as for `read_text`.
    """
    # splitlines would split within JSON, too.
    return ((number, line) for number, line in enumerate(read_text(path).split("\n"), start=1) if line.strip())
