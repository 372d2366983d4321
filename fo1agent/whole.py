"""Write a file or a folder whole or not at all: under a temporary name beside it, flushed to disk, then renamed."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path


@contextmanager
def whole(target: Path, replace: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `target`, for a file or a folder; it takes its place when the block ends well.

    A file that is there is replaced, its mode kept; a folder only if it is empty. A link stays, and what it leads to
    is replaced. When the block fails nothing is left behind.

    Args:
        target: where it goes, in a folder that is there. The temporary name starts with `.tmp-` and ends like it.
        replace: replace a folder, whatever it holds. For one writer at a time: what a killed one left is removed.

    Raises:
        OSError: it cannot be written, as on a full disk, or a folder that holds something is in the way.
    """
    target = Path(os.path.realpath(target))
    mark = "" if replace else f"{secrets.token_hex(4)}-"
    temporary, old = (target.with_name(f".{word}-{mark}{target.name}") for word in ("tmp", "old"))
    if replace:
        if old.exists() and not target.exists():  # killed between the two renames
            os.replace(old, target)
        remove(temporary)
        remove(old)
    try:
        yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            _flush(path)
        if replace and target.is_dir():
            os.replace(target, old)
        if target.is_file() and temporary.is_file():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
        with suppress(OSError):
            remove(old)
    finally:
        with suppress(OSError):
            remove(temporary)
    _flush(target.parent)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all it holds; one that is not there is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    folder = path.is_dir()
    with suppress(OSError) if folder else nullcontext():  # not every system, nor every disk, can flush a folder
        descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)  # Windows flushes only what may be written
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
