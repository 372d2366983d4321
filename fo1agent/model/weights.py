"""Folders of weights → `FO1`, strictly: our own folders, and the public checkpoint's layout (`public.py`).

What a folder is, it says in its config.json (`model_type`), never in its name. Every tensor must find its place and
every place its tensor; otherwise the error names the keys. Only safetensors are read. Tensors are mapped from disk and
take the place of the model's own, so a large checkpoint is not held twice. A folder may come from anybody: whatever is
read from it is bounded, see `folder.py`, and nothing in it is run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, PlainValidator
from torch import Tensor
from transformers.initialization import no_init_weights

from fo1agent.errors import CheckpointError
from fo1agent.model.config import FO1Config
from fo1agent.model.fo1 import FO1
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
from fo1agent.model.processing import Processor
from fo1agent.model.public import PUBLIC_TYPE, public_config, rename_all
from fo1agent.model.stored import OwnConfig
from fo1agent.model.tokenizer_files import load_tokenizer

CONFIG, INDEX = "config.json", "model.safetensors.index.json"


def load(folder: str | Path, dtype: torch.dtype | None = None) -> tuple[FO1, Processor]:
    """Model (in eval mode, on the CPU) and processor of a local folder.

    Args:
        folder: holds config.json, safetensors and tokenizer files.
        dtype: of all weights; None keeps what is stored.

    Raises:
        CheckpointError: a file is missing, is no regular file, is damaged or says what cannot be; weights and
            configuration do not fit; or a weight is not finite. Names file, key, what was got and what was wanted.
    """
    folder = Path(folder)
    path = folder / CONFIG
    raw = read_json(path)
    kind = raw.get("model_type")
    if kind not in (FO1Config.model_type, PUBLIC_TYPE):
        both = f"{FO1Config.model_type!r} (a folder saved by fo1agent) or {PUBLIC_TYPE!r} (the public layout)"
        raise wrong(path, "model_type", shown(kind) if "model_type" in raw else "missing", both)
    if kind == PUBLIC_TYPE:
        tensors = read_tensors(folder)
        config = public_config(raw, tensors, path)
        tensors = rename_all(tensors)
        processor = load_processor(folder, config)
    else:
        config = FO1Config(**checked(OwnConfig, raw, path).model_dump(exclude={"model_type"}, exclude_unset=True))
        processor = load_processor(folder, config)
        tensors = read_tensors(folder)
    model = build(config, tensors, folder)
    put_tensors(model, tensors, dtype, folder)
    return model.eval(), processor


def load_processor(folder: str | Path, config: FO1Config) -> Processor:
    """The processor of a folder, with the folder's tokenizer.

    Raises:
        CheckpointError: see `load_tokenizer`.
    """
    return Processor(load_tokenizer(Path(folder), config), config)


def save(model: FO1, processor: Processor, folder: str | Path) -> None:
    """Write a folder that `load` reads: config.json, model.safetensors, tokenizer files."""
    model.save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)


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


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the folder's safetensors files by name, mapped from disk.

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
        check_weights(own, path)
        tensors.update(own)
        found_in.update(dict.fromkeys(own, path.name))
    return tensors


def build(config: FO1Config, tensors: Mapping[str, Tensor], folder: Path) -> FO1:
    """The model that the configuration describes, with arbitrary weights.

    Raises:
        CheckpointError: there is none, or one that does not fit into memory and whose weights these are not.
    """
    try:
        with no_init_weights():
            return FO1(config)
    except Exception as exc:  # sizes that no bound forbids may still be too much for torch, or for each other
        with torch.device("meta"):  # which takes no memory
            try:
                described = FO1(config)
            except Exception as why:
                raise CheckpointError(f"{folder / CONFIG} describes no model: {one_line(why)}.") from exc
        check_fit(described, tensors, folder)
        raise CheckpointError(f"The model that {folder / CONFIG} describes cannot be made: {one_line(exc)}.") from exc


def check_fit(model: FO1, tensors: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
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


def put_tensors(model: FO1, tensors: Mapping[str, Tensor], dtype: torch.dtype | None, folder: Path) -> None:
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
