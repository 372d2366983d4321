"""pyarrow, where it is installed, and its file systems: disks, `s3://`, `gs://`, and all that fsspec has."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

from fo1agent.errors import InputError, MissingExtraError
from fo1agent.extras import install_line


def arrow(module: str = "") -> Any:
    """pyarrow, or a module of it.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(f"pyarrow.{module}" if module else "pyarrow")
    except ImportError as exc:
        raise MissingExtraError(f"annotate needs pyarrow: {install_line('annotate')}") from exc


def is_remote(place: str) -> bool:
    """Whether a place is an address such as `s3://bucket/photos`."""
    return "://" in place


def file_system(place: str) -> tuple[Any, str]:
    """A file system of pyarrow, and the path of a place in it.

    Raises:
        InputError: there is none for such an address, or it cannot be reached.
        MissingExtraError: the package that fsspec takes for it is not installed.
    """
    if not is_remote(place):
        return arrow("fs").LocalFileSystem(), place
    scheme, _, rest = place.partition("://")
    if scheme not in _OF_ARROW:
        return _of_fsspec(place)
    host, _, path = rest.partition("/")
    system, root = _of_arrow(scheme, host)
    return system, f"{root.rstrip('/')}/{path}"


# Schemes of pyarrow itself, and what follows an address. It tries Google's storage again for a quarter of an hour
# unless told otherwise; the others give up in seconds.
_OF_ARROW = {"s3": "", "gs": "?retry_limit_seconds=20", "gcs": "?retry_limit_seconds=20", "hdfs": ""}


@lru_cache(maxsize=16)
def _of_arrow(scheme: str, host: str) -> tuple[Any, str]:
    try:
        return arrow("fs").FileSystem.from_uri(f"{scheme}://{host}{_OF_ARROW[scheme]}")
    except (OSError, ValueError) as exc:
        raise InputError(f"{scheme}://{host} cannot be reached: {first_line(exc)}") from exc


def _of_fsspec(place: str) -> tuple[Any, str]:
    fs = arrow("fs")
    try:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(place)  # of one place it makes one file system, however often it is asked
        return fs.PyFileSystem(fs.FSSpecHandler(system)), path
    except ImportError as exc:
        raise MissingExtraError(f"{place} needs one more package: {first_line(exc)}") from exc
    except (OSError, ValueError) as exc:
        raise InputError(f"There are no files at {place}: {first_line(exc)}") from exc


def first_line(exc: Exception) -> str:
    """What an error says, without the lines and details that its libraries add."""
    return str(exc).strip().partition("\n")[0].partition(" error_info=")[0]
