"""JSON and files that somebody else wrote, bounded in length, depth and numbers before anything is made of them."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Mapping
from typing import IO, Any, NoReturn

DEPTH = 64
"""Lists and objects within each other, at most; what Python can read of them hangs on how deep it is itself."""


_PIECE = 1 << 20  # bytes of what a file has grown by that are read at once


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    """All bytes of a regular file; a pipe, whose writer would have to be waited for, and a device without end are none.

    Args:
        path: the file.
        most: its length in bytes at most.

    Raises:
        OSError: it cannot be opened or read.
        ValueError: it is longer, or something else; the message is a clause.
    """
    descriptor = open_regular(path)
    with os.fdopen(descriptor, "rb") as file:
        data = read_most(file, most)
    if len(data) > most:
        raise ValueError(f"longer than {most:,} bytes")
    return data


def read_most(file: IO[bytes], most: int) -> bytes:
    """All bytes of an open file, or more than `most`, where it has more, or has grown since.

    Room is made for as much as it has, not for as much as it may have: a limit may be larger than the memory.
    """
    pieces = [file.read(min(os.fstat(file.fileno()).st_size, most) + 1)]
    while pieces[-1] and (room := most + 1 - sum(map(len, pieces))) > 0:
        pieces.append(file.read(min(_PIECE, room)))
    return pieces[0] if not any(pieces[1:]) else b"".join(pieces)


class NotRegularError(ValueError):
    """What stands there is no regular file but of the kind "a pipe"; the message is a clause."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"{kind}, not a regular file")
        self.kind = kind


def open_regular(path: str | os.PathLike[str]) -> int:
    """A descriptor of a regular file, open for reading; whoever asks closes it.

    Raises:
        OSError: it cannot be opened.
        NotRegularError: it is a folder, a pipe, whose writer would have to be waited for, or a device without end.
    """
    # Without O_NONBLOCK (absent on Windows) opening a pipe waits. What was opened is looked at, so that it cannot be
    # exchanged in between.
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError:
        if told := kind_of(path):  # a socket cannot even be opened
            raise NotRegularError(told) from None
        raise
    if told := kind(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularError(told)
    return descriptor


def kind_of(path: str | os.PathLike[str]) -> str:
    """What stands there that is no regular file ("a pipe"); "" for a regular file and for nothing."""
    try:
        return kind(os.stat(path).st_mode)
    except (OSError, ValueError):
        return ""


def kind(mode: int) -> str:
    """What an `st_mode` tells of that is no regular file: "a pipe"; "" for a regular file."""
    kinds = {stat.S_ISREG: "", stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}
    return next((name for is_one, name in kinds.items() if is_one(mode)), "a device")


def parse(text: str | bytes, most: int) -> Any:
    """The value of a JSON text.

    Args:
        text: the text; bytes are UTF-8.
        most: its length at most.

    Raises:
        ValueError: it is longer, no JSON, deeper than `DEPTH`, or holds a number that JSON does not have or no float
            can hold; the message is a clause.
    """
    if len(text) > most:
        raise ValueError(f"longer than {most:,} {'bytes' if isinstance(text, bytes) else 'characters'}")
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(text, parse_constant=_no_number, parse_float=_number)
    except RecursionError:
        raise ValueError(f"nested deeper than {DEPTH} levels") from None
    except UnicodeDecodeError:
        raise ValueError("not JSON: it is no UTF-8") from None
    check(value, most)
    return value


def check(value: Any, most: int, depth: int = DEPTH) -> None:
    """Refuse a value of JSON that is deeper than `depth`, or longer than about `most` characters.

    Raises:
        ValueError: it is; the message is a clause.
    """
    size = 0
    waiting = [(value, 0)]
    while waiting:
        one, level = waiting.pop()
        if level > depth:
            raise ValueError(f"nested deeper than {depth} levels")
        parts = one.values() if isinstance(one, dict) else one if isinstance(one, (list, tuple)) else ()
        size += len(one) if isinstance(one, str) else 1
        if size + len(waiting) + len(parts) > most:
            raise ValueError(f"longer than {most:,} characters")
        if isinstance(one, dict):
            size += sum(len(str(key)) for key in one)
        waiting.extend((part, level + 1) for part in parts)


_HALF = re.compile("[\ud800-\udfff]")


def halved(value: Any) -> bool:
    """Whether a text in a value of JSON holds half a character, which JSON can spell (`"\\ud800"`) and UTF-8 cannot."""
    waiting, seen = [value], set[int]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if _HALF.search(one):
                return True
        elif isinstance(one, (Mapping, list, tuple)) and id(one) not in seen:
            seen.add(id(one))
            waiting.extend([*one, *one.values()] if isinstance(one, Mapping) else one)
    return False


def unfit(value: Any) -> str:
    """What a value of JSON holds that JSON cannot carry everywhere, as a clause; "" for nothing: half a character, or a
    number that JSON does not have or no float can hold."""
    if halved(value):
        return "half a character (\\ud800 to \\udfff)"
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, float) and not math.isfinite(one):
            return f"{one}, which is no number of JSON"
        if isinstance(one, int) and one.bit_length() > 1023:
            return "a whole number that no float can hold"
        if isinstance(one, (Mapping, list, tuple)):
            waiting.extend(one.values() if isinstance(one, Mapping) else one)
    return ""


def whole(text: str) -> str:
    """The text with a replacement character for each half character in it."""
    return _HALF.sub("\ufffd", text)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.40} is too large a number")
    return number


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
