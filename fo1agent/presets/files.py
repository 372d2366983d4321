"""The files of models: what is kept of them here, and how the rest is fetched from the Hugging Face hub."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Literal

from fo1agent.errors import CheckpointError
from fo1agent.presets import PARTS, Part

HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")
"""What is needed of a repository; the same weights in other formats are not."""
HUB_NAME = re.compile(r"(?!\.{1,2}/)[\w.-]{1,96}/[\w.-]{1,96}")
"""The form of a repository's name at the hub, owner/model."""
Kept = Literal["all", "part", "none"]
_kept_alone: ContextVar[bool] = ContextVar("kept_alone", default=False)


def kept(parts: Iterable[Part]) -> Kept:
    """How much of the parts' files is on this machine, by the names of files alone; what the package holds is no part
    of the question."""
    found = {_kept(part) for part in parts if part.source}
    return "all" if found <= {"all"} else "none" if found == {"none"} else "part"


def _kept(part: Part) -> Kept:
    if part.repository:
        return _of_hub(part.repository)
    folders = [Path(), *_ultralytics_folders()]
    return "all" if any((folder / (part.released or "")).is_file() for folder in folders) else "none"


def _of_hub(repository: str) -> Kept:
    """The cache's layout: refs/main holds the name of a folder below snapshots, in which whole files alone appear."""
    from huggingface_hub import constants  # what `try_to_load_from_cache` is in takes ten times as long to import

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    try:
        snapshot = folder / "snapshots" / (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return "part" if any(folder.glob("blobs/*")) else "none"
    index = snapshot / "model.safetensors.index.json"
    try:
        wanted = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()) if index.is_file() else set()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "part"
    wanted |= {"config.json"} if wanted else {"config.json", "model.safetensors"}
    return "all" if all((snapshot / name).is_file() for name in wanted) else "part"


def _ultralytics_folders() -> list[Path]:
    """Where ultralytics keeps weights, as its settings say."""
    home = Path.home()
    if given := os.environ.get("YOLO_CONFIG_DIR"):
        settings = Path(given).expanduser()
    elif sys.platform == "win32":
        settings = home / "AppData" / "Roaming"
    elif sys.platform == "darwin":
        settings = home / "Library" / "Application Support"
    else:
        settings = Path(os.environ.get("XDG_CONFIG_HOME", home / ".config"))
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return [Path(json.loads((settings / "Ultralytics" / "settings.json").read_text("utf-8"))["weights_dir"])]
    return []


@contextlib.contextmanager
def nothing_fetched() -> Iterator[None]:
    """A context in which `fetch` gives what is kept here, and asks no network."""
    before = _kept_alone.set(True)
    try:
        yield
    finally:
        _kept_alone.reset(before)


def folder_of(name_or_folder: str) -> Path:
    """The folder of a model that transformers reads: itself, or that of a hub's name, fetched as by `fetch`.

    Raises:
        CheckpointError: there is no such folder, or what has that name cannot be fetched, and is not kept here whole.
    """
    if os.path.isdir(name_or_folder):
        return Path(name_or_folder)
    if not HUB_NAME.fullmatch(name_or_folder):
        raise CheckpointError(
            f"there is no folder {name_or_folder[:200]!r}, and a name at the Hugging Face hub is owner/model."
        )
    folder = fetch(name_or_folder, nested=False)
    if any(folder.glob("*.safetensors")):
        return folder
    return fetch(name_or_folder, (*HUB_FILES, "*.bin"), nested=False)  # of old repositories


def fetch(repository: str, files: Sequence[str] = HUB_FILES, *, nested: bool = True) -> Path:
    """The folder of a repository's files, fetched where they are not kept already. A file is there whole or not at all.

    A connection that breaks is taken up where it broke, some times; after that, and after an end of the process, a file
    that was not there whole is fetched anew, and those that were are not.

    Args:
        repository: owner/model.
        files: patterns of their names.
        nested: whether those in folders of the repository are meant too.

    Raises:
        CheckpointError: it cannot be fetched, and is not kept here whole.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                repository,
                allow_patterns=list(files),
                ignore_patterns=None if nested else ["*/*"],
                local_files_only=_kept_alone.get(),
            )
        )
    except Exception as exc:  # of the hub, of its client's network library, whose name changes, or of the disk
        raise CheckpointError(
            f"{repository} is no folder here and could not be fetched from the Hugging Face hub: "
            f"{_why(repository, exc)}"
        ) from exc


def _why(repository: str, exc: Exception) -> str:
    """The reason in a line, and what to do about it."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    causes = [exc, exc.__cause__]
    name = next((part.name for part in PARTS.values() if part.repository == repository), repository)
    get = f"`fo1agent models get {name}`"
    if any(isinstance(one, OfflineModeIsEnabled) for one in causes):
        return (
            f"HF_HUB_OFFLINE keeps it from the network. Unset that for {get}, or copy the hub's cache from elsewhere."
        )
    if _kept_alone.get():
        return f"it is not kept here, or not whole. {get} fetches it."
    if any(isinstance(one, GatedRepoError) for one in causes):
        page = f"{constants.ENDPOINT}/{repository}"
        return f"its owners ask for consent first. Give it at {page}, then log in with `hf auth login` or HF_TOKEN."
    if any(isinstance(one, RepositoryNotFoundError) for one in causes):
        return "there is no such repository, or it is private. Check the name, or log in with `hf auth login`."
    said = " ".join(str(exc.__cause__ or exc).split())[:200]
    if isinstance(exc, LocalEntryNotFoundError | ConnectionError | TimeoutError):
        return f"{constants.ENDPOINT} cannot be reached ({said}). When there is a network, {get} fetches it."
    return said or type(exc).__name__
