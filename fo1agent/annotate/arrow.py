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
    return _of_scheme(scheme, rest.partition("/")[0]), rest


@lru_cache(maxsize=16)
def _of_scheme(scheme: str, host: str) -> Any:
    fs, name = arrow("fs"), f"{scheme}://{host}"
    try:
        if scheme in ("s3", "gs", "gcs", "hdfs"):
            return fs.FileSystem.from_uri(name)[0]
        import fsspec
    except ImportError as exc:
        raise MissingExtraError(f'{name} needs fsspec: pip install "fsspec"') from exc
    except (OSError, ValueError) as exc:
        raise InputError(f"{name} cannot be reached: {_first_line(exc)}") from exc
    try:
        return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))
    except ImportError as exc:
        raise MissingExtraError(f"{name} needs one more package: {_first_line(exc)}") from exc
    except (OSError, ValueError) as exc:
        raise InputError(f"There are no files at {name}: {_first_line(exc)}") from exc


def _first_line(exc: Exception) -> str:
    return str(exc).strip().partition("\n")[0]
