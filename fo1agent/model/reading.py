"""What a model folder holds: its configuration and its tensors, strictly, and their way into a model.

What a folder is, it says in its config.json (`model_type`), never in its name: our own, or the public checkpoint's
layout (`public.py`). Every tensor must find its place and every place its tensor; otherwise the error names the keys.
Only safetensors are read. Tensors are mapped from disk and take the place of the model's own, so a large checkpoint is
not held twice. A folder may come from anybody: whatever is read from it is bounded, see `folder.py`, and nothing in it
is run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import ConfigDict, PlainValidator
from torch import Tensor
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from fo1agent.errors import CheckpointError
from fo1agent.model.config import FO1Config
from fo1agent.model.folder import (
    Stored,
    check_weights,
    checked,
    dtype_name,
    misfits,
    names,
    not_finite,
    one_line,
    read_json,
    read_safetensors,
    shown,
    wanted,
    wrong,
)
from fo1agent.model.public import PUBLIC_TYPE, public_config, rename_all
from fo1agent.model.stored import OwnConfig

CONFIG, INDEX = "config.json", "model.safetensors.index.json"
_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
M = TypeVar("M", bound=PreTrainedModel)


def find_folder(name_or_folder: str | Path | None) -> tuple[Path, str]:
    """A local folder with the model's files, and the model's name."""
    if name_or_folder is None:
        folder = Path(str(files("fo1agent") / "data" / "nano"))
        if not (folder / "config.json").exists():
            raise CheckpointError(f"This installation holds no fo1-nano ({folder} is missing). Reinstall fo1agent.")
        return folder, "fo1-nano"
    folder = Path(name_or_folder)
    if os.path.isdir(folder):  # unlike Path's, it takes a name of any length
        return folder, folder.resolve().name
    if not re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", str(name_or_folder)):
        given = shown(str(name_or_folder)).strip("'")
        raise CheckpointError(f"{given} is neither a folder nor a Hugging Face name (owner/model).")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        found = snapshot_download(str(name_or_folder), allow_patterns=_HUB_FILES)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as exc:
        raise CheckpointError(
            f"{name_or_folder} is no folder here and could not be fetched from the Hugging Face hub: {exc}"
        ) from exc
    return Path(found), str(name_or_folder).split("/")[-1]


def read_config(folder: Path) -> FO1Config:
    """The configuration of a folder; of the public layout, what the names of its tensors say too.

    Raises:
        CheckpointError: a file is missing, is no regular file, is damaged or says what cannot be. Names file, key, what
            was got and what was wanted.
    """
    path = folder / CONFIG
    raw = read_json(path)
    if _is_public(raw, path):
        return public_config(raw, read_tensors(folder, check=False), path)
    return FO1Config(**checked(OwnConfig, raw, path).model_dump(exclude={"model_type"}, exclude_unset=True))


def read(folder: Path) -> tuple[FO1Config, dict[str, Tensor]]:
    """Configuration and tensors of a folder, both under our names.

    Raises:
        CheckpointError: as for `read_config` and `read_tensors`.
    """
    config, tensors = read_config(folder), read_tensors(folder)
    return config, rename_all(tensors) if _is_public(read_json(folder / CONFIG), folder / CONFIG) else tensors


def _is_public(raw: Mapping[str, Any], path: Path) -> bool:
    kind = raw.get("model_type")
    if kind not in (FO1Config.model_type, PUBLIC_TYPE):
        both = f"{FO1Config.model_type!r} (a folder saved by fo1agent) or {PUBLIC_TYPE!r} (the public layout)"
        raise wrong(path, "model_type", shown(kind) if "model_type" in raw else "missing", both)
    return kind == PUBLIC_TYPE


# --- tensors -----------------------------------------------------------------------------------------------------


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that a folder's weights are read from: those that its index names, or all.

    Raises:
        CheckpointError: there is none, or the index is malformed or names something else than files of the folder.
    """
    if os.path.lexists(folder / INDEX):
        return [folder / name for name in sorted(set(_placed(folder / INDEX).values()))]
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        others = [path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.gguf") for path in folder.glob(pattern)]
        beside = f", only {names(others)}" if others else ""
        raise CheckpointError(f"{folder} holds no safetensors file{beside}. fo1agent reads no other format.")
    return found


def read_tensors(folder: Path, check: bool = True) -> dict[str, Tensor]:
    """Every tensor of the folder's safetensors files by name, mapped from disk; without `check` no number is read.

    Raises:
        CheckpointError: as for `weight_files`; a file is absent or broken, lacks a tensor that the index seeks in it,
            or holds one that another file holds too; a tensor is not of finite floating-point numbers.
    """
    placed = _placed(folder / INDEX) if os.path.lexists(folder / INDEX) else {}
    tensors: dict[str, Tensor] = {}
    found_in: dict[str, str] = {}
    for path in weight_files(folder):
        sought = [key for key, name in placed.items() if name == path.name]
        if sought and not os.path.lexists(path):
            raise wrong(folder / INDEX, f"weight_map.{names(sought[:1])}", shown(path.name), "a file that is there")
        own = read_safetensors(path)
        if lacking := [key for key in sought if key not in own]:
            raise CheckpointError(f"{path} lacks what {INDEX} seeks in it: missing {len(lacking)}: {names(lacking)}.")
        if twice := sorted(own.keys() & tensors.keys()):
            raise CheckpointError(f"{path} and {found_in[twice[0]]} both hold {names(twice)}, wanted in one of them.")
        if check:
            check_weights(own, path)
        tensors.update(own)
        found_in.update(dict.fromkeys(own, path.name))
    return tensors


def build(make: Callable[[FO1Config], M], config: FO1Config, tensors: Mapping[str, Tensor], folder: Path) -> M:
    """The model that the configuration describes, by `make`, with arbitrary weights.

    Raises:
        CheckpointError: there is none, or one that does not fit into memory and whose weights these are not.
    """
    try:
        with no_init_weights():
            return make(config)
    except Exception as exc:  # sizes that no bound forbids may still be too much for torch, or for each other
        with torch.device("meta"):  # which takes no memory
            try:
                described = make(config)
            except Exception as why:
                raise CheckpointError(f"{folder / CONFIG} describes no model: {one_line(why)}.") from exc
        check_fit(described, tensors, folder)
        raise CheckpointError(f"The model that {folder / CONFIG} describes cannot be made: {one_line(exc)}.") from exc


def check_fit(model: PreTrainedModel, tensors: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """The tensors that are the model's own weights; tied weights may be absent, and are left out.

    Raises:
        CheckpointError: missing or unexpected keys, a shape that does not fit, or tied weights that differ.
    """
    own = model.state_dict()
    tied = {key: source for key, source in model.all_tied_weights_keys.items() if key != source}
    for key, source in tied.items():
        if key in tensors and source in tensors and not torch.equal(tensors[key], tensors[source]):
            raise CheckpointError(f"{folder / CONFIG} ties {key} to {source}, but the weights hold different values.")
    given = {key: value for key, value in tensors.items() if key not in tied}
    if told := misfits(given, own, tied):
        files = names(path.name for path in weight_files(folder))
        raise CheckpointError(f"{folder}: {files} and {CONFIG} do not fit each other: {told}.")
    return given


def put_tensors(model: PreTrainedModel, tensors: Mapping[str, Tensor], dtype: torch.dtype | None, folder: Path) -> None:
    """Make `tensors` the model's weights; tied weights may be absent.

    Raises:
        CheckpointError: as for `check_fit`, or a number is too large for `dtype`.
    """
    given = check_fit(model, tensors, folder)
    placed = {key: value.to(dtype or value.dtype) for key, value in given.items()}
    for key, value in placed.items():
        narrowed = torch.finfo(value.dtype).max < torch.finfo(given[key].dtype).max
        if narrowed and not_finite(value) is not None:
            raise CheckpointError(
                f"The weights in {folder}: {key} holds numbers beyond {dtype_name(value.dtype)}; "
                f"load it as {dtype_name(given[key].dtype)}."
            )
    model.load_state_dict(placed, strict=False, assign=True)
    for parameter in model.parameters():
        # Tensors mapped from disk come without it.
        parameter.requires_grad_(True)
    model.tie_weights()


# --- the index ---------------------------------------------------------------------------------------------------


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


def _placed(path: Path) -> dict[str, str]:
    return checked(Index, read_json(path), path).weight_map
