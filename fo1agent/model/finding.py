"""Where a model's files are: its folder, the files of its weights, and what tells them from other weights."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, PlainValidator

from fo1agent.errors import CheckpointError
from fo1agent.model.folder import MAX_JSON, Stored, checked, names, read_bytes, read_json, shown, wanted, wrong
from fo1agent.model.likeness import FILE as LIKENESS
from fo1agent.presets import unknown, weights
from fo1agent.presets.files import HUB_FILES, HUB_NAME, fetch

CONFIG, INDEX = "config.json", "model.safetensors.index.json"
A = TypeVar("A")  # an array of whichever library


def find_folder(name_or_folder: str | Path | None, fetched: Sequence[str] = HUB_FILES) -> tuple[Path, str]:
    """A local folder with a model's files, and the model's name.

    Args:
        name_or_folder: a folder, which wins; a preset of a model alone, such as `vlm-fo1-3b`; or a Hugging Face name.
            None for fo1-nano.
        fetched: of a Hugging Face name, which files are fetched.

    Raises:
        CheckpointError: it is none of these, or cannot be fetched.
    """
    if isinstance(name_or_folder, str):
        name_or_folder = weights(name_or_folder)
    if name_or_folder is None:
        folder = Path(str(files("fo1agent") / "data" / "nano"))
        if not (folder / "config.json").exists():
            raise CheckpointError(f"This installation holds no fo1-nano ({folder} is missing). Reinstall fo1agent.")
        return folder, "fo1-nano"
    folder = Path(name_or_folder) if isinstance(name_or_folder, (str, os.PathLike)) else None
    if folder and os.path.isdir(folder):  # unlike Path's, it takes a name of any length
        return folder, folder.resolve().name
    if not folder or not HUB_NAME.fullmatch(str(name_or_folder)):
        given = shown(str(name_or_folder)).strip("'")
        meant = f" There is no preset {unknown(str(name_or_folder), ['model'])}" if _is_word(folder) else ""
        raise CheckpointError(f"{given} is neither a folder nor a Hugging Face name (owner/model).{meant}")
    return fetch(str(name_or_folder), fetched), str(name_or_folder).split("/")[-1]


def _is_word(name: Path | None) -> bool:
    """Whether it could be meant as the name of a preset."""
    return name is not None and re.fullmatch(r"[\w.+-]{1,96}", str(name)) is not None


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that a folder's weights are read from: those that its index names, or all.

    Raises:
        CheckpointError: there is none, or the index is malformed or names something else than files of the folder.
    """
    if os.path.lexists(folder / INDEX):
        return [folder / name for name in sorted(set(placed(folder).values()))]
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        others = [path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.gguf") for path in folder.glob(pattern)]
        beside = f", only {names(others)}" if others else ""
        raise CheckpointError(f"{folder} holds no safetensors file{beside}. fo1agent reads no other format.")
    return found


def read_all(
    folder: Path, read: Callable[[Path], dict[str, A]], check: Callable[[dict[str, A], Path], None] | None = None
) -> dict[str, A]:
    """Every array of the folder's safetensors files by name.

    Args:
        folder: with `weight_files`.
        read: gives the arrays of one file.
        check: refuses arrays of one file.

    Raises:
        CheckpointError: as for `weight_files`, `read` and `check`; a file is absent, lacks an array that the index
            seeks in it, or holds one that another file holds too.
    """
    sought_in = placed(folder)
    arrays: dict[str, A] = {}
    found_in: dict[str, str] = {}
    for path in weight_files(folder):
        sought = [key for key, name in sought_in.items() if name == path.name]
        if sought and not os.path.lexists(path):
            raise wrong(folder / INDEX, f"weight_map.{names(sought[:1])}", shown(path.name), "a file that is there")
        own = read(path)
        if lacking := [key for key in sought if key not in own]:
            raise CheckpointError(f"{path} lacks what {INDEX} seeks in it: missing {len(lacking)}: {names(lacking)}.")
        if twice := sorted(own.keys() & arrays.keys()):
            raise CheckpointError(f"{path} and {found_in[twice[0]]} both hold {names(twice)}, wanted in one of them.")
        if check is not None:
            check(own, path)
        arrays.update(own)
        found_in.update(dict.fromkeys(own, path.name))
    return arrays


def fingerprint(folder: Path) -> str:
    """Hash of a folder's configuration, weights and what else its scores hang on; of a large file of weights, of its
    head and of samples through it.

    Raises:
        CheckpointError: the folder is not one that `weights.load` reads.
    """
    digest = hashlib.sha256(read_bytes(folder / CONFIG, MAX_JSON))
    for path in weight_files(folder):
        size = path.stat().st_size
        with path.open("rb") as file:
            step = 2**20 if size <= 2**28 else 2**26
            for start in range(0, size, step):
                file.seek(start)
                digest.update(file.read(2**20))
        digest.update(str(size).encode())
    if os.path.lexists(folder / LIKENESS):
        digest.update(read_bytes(folder / LIKENESS, MAX_JSON))
    return digest.hexdigest()


def _file_names(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise wanted("an object")
    if not value:
        raise wanted("an object that names a file for each tensor")
    for key, name in value.items():
        if not isinstance(name, str) or not _plain(name):
            raise wanted("the name of a .safetensors file in the folder", names([key]), shown(name))
    return value


def _plain(name: str) -> bool:
    """Whether it is a file's name alone, and no way to anywhere else."""
    told = name.endswith(".safetensors") and name.isprintable() and len(name.encode()) < 256
    return told and not any(sign in name for sign in "/\\:")


class Index(Stored):
    """model.safetensors.index.json: the file that each tensor is in."""

    model_config = ConfigDict(extra="ignore")

    weight_map: Annotated[dict[str, str], PlainValidator(_file_names)]


def placed(folder: Path) -> dict[str, str]:
    """The file that a folder's index seeks each tensor in; nothing where there is no index."""
    path = folder / INDEX
    if not os.path.lexists(path):
        return {}
    return checked(Index, read_json(path), path).weight_map
