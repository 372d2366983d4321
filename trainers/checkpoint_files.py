"""The files of one checkpoint: written with a checksum of each, and read only if they are what was written.

    weights.safetensors    what trains, and buffers
    average.safetensors    its average, with an EMA
    state.pt               the optimiser's state and the meter; read with `weights_only=True`
    manifest.json          size and checksum of each

Not torch.distributed.checkpoint: its .metadata is a pickle, and to read one is to run what its writer put there. The
checksums are ours because torch.load does not see a spoilt byte in what torch.save wrote.

Format 2. Checkpoints of format 1 had no manifest, and are read as well, without a checksum.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field
from safetensors.torch import save_file
from torch import Tensor, nn

from fo1agent.errors import CheckpointError, TrainingError
from fo1agent.model.folder import (
    Stored,
    checked,
    integer,
    kind_of,
    one_line,
    opened,
    read_json,
    wrong,
)
from fo1agent.model.tensors import misfits, read_safetensors

FORMAT = 2
WEIGHTS, AVERAGE, STATE, MANIFEST = "weights.safetensors", "average.safetensors", "state.pt", "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read; tensors are mapped from its files."""

    path: Path
    step: int
    weights: dict[str, Tensor]
    averages: dict[str, Tensor]
    state: dict[str, Any]


class FileSum(Stored):
    """What a file is known by: its size, and CRC-32 as eight hexadecimal digits.

    It is to find what a disk or a copy has spoilt, not what somebody forged, and takes a third of SHA-256's time.
    """

    bytes: Annotated[int, integer(0, 2**60)]
    crc32: Annotated[str, Field(pattern="^[0-9a-f]{8}$")]


class Manifest(Stored):
    """manifest.json."""

    model_config = ConfigDict(extra="ignore")

    format: Annotated[int, integer(2, 2)]
    step: Annotated[int, integer(0, 2**53)]
    files: dict[Literal["weights.safetensors", "average.safetensors", "state.pt"], FileSum]


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """What training may have changed: the state dict without frozen parameters; tied tensors once, under one name."""
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    state: dict[str, Tensor] = {}
    seen: set[tuple[int, torch.Size]] = set()
    for name, tensor in model.state_dict().items():
        if name not in parameters and tensor.numel():  # a buffer, which may be another one's too
            key = (tensor.data_ptr(), tensor.shape)
            if key in seen:
                continue
            seen.add(key)
        if name in trained or name not in parameters:
            state[name] = tensor
    return state


def check_state(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    average: Sequence[Tensor] = (),
    averages: Mapping[str, Tensor] | None = None,
) -> None:
    """Refuse the tensors of a checkpoint that are not those that `trained_state(model)` would save.

    Raises:
        CheckpointError: they are not; names the keys.
    """
    if told := misfits(weights, trained_state(model)):
        raise CheckpointError(f"Checkpoint and model differ: {told}.")
    if average and (told := misfits(averages or {}, {str(i): tensor for i, tensor in enumerate(average)})):
        raise CheckpointError(f"The checkpoint's averages and the model differ: {told}.")


def write_checkpoint(folder: Path, weights: Any, averages: Any, state: dict[str, Any]) -> None:
    """Make `folder` and its files.

    Args:
        weights, averages: tensors by name; no averages without an EMA.
        state: `step`, `optimizer` and `meter`.
    """
    folder.mkdir()
    save_tensors(weights, folder / WEIGHTS)
    if averages:
        save_tensors(averages, folder / AVERAGE)
    torch.save({"format": FORMAT, **state}, folder / STATE)
    files = {file.name: {"bytes": file.stat().st_size, "crc32": checksum(file)} for file in sorted(folder.iterdir())}
    manifest = {"format": FORMAT, "step": state["step"], "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    # safetensors makes files that only their owner may read; a result has the rights of any other new file.
    path.touch()
    mode = path.stat().st_mode
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    path.chmod(mode)


# --- reading -----------------------------------------------------------------------------------------------------


def read_checkpoint(folder: Path) -> Checkpoint:
    """What a checkpoint holds, if it is what was written.

    Args:
        folder: named `step_` and the number of steps.

    Raises:
        CheckpointError: it is not; one line that names the file.
        TrainingError: a later version of fo1agent wrote it.
    """
    if (kind := kind_of(folder)) != "a folder":
        raise wrong(folder, "", kind or "a file", "the folder of a checkpoint")
    step = int(folder.name.removeprefix("step_"))
    manifest = _read_manifest(folder / MANIFEST) if os.path.lexists(folder / MANIFEST) else None
    if manifest is not None:
        if manifest.step != step:
            raise wrong(folder / MANIFEST, "step", str(manifest.step), f"{step}, as its folder is named")
        if os.path.lexists(folder / AVERAGE) and AVERAGE not in manifest.files:
            raise wrong(folder / MANIFEST, f"files.{AVERAGE}", "missing", "size and crc32 of each file")
        for name, known in manifest.files.items():
            _check_sum(folder / name, known)
    weights = read_safetensors(folder / WEIGHTS)
    averages = read_safetensors(folder / AVERAGE) if os.path.lexists(folder / AVERAGE) else {}
    state = _read_state(folder / STATE)
    if state["step"] != step:
        raise wrong(folder / STATE, "step", str(state["step"]), f"{step}, as its folder is named")
    if manifest is None and "format" in state:
        raise CheckpointError(f"There is no {MANIFEST} in {folder}.")
    return Checkpoint(folder, step, weights, averages, state)


def _read_manifest(path: Path) -> Manifest:
    tree = read_json(path)
    if type(tree.get("format")) is int and tree["format"] > FORMAT:
        raise TrainingError(
            f"{path} is of format {tree['format']}, and this fo1agent reads {FORMAT}. Go on with the later version."
        )
    manifest = checked(Manifest, tree, path)
    for name in (WEIGHTS, STATE):
        if name not in manifest.files:
            raise wrong(path, f"files.{name}", "missing", "size and crc32 of each file")
    return manifest


def checksum(file: Path) -> str:
    """CRC-32 of a regular file, eight hexadecimal digits."""
    value = 0
    with opened(file) as data:
        while block := data.read(1 << 22):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


def _check_sum(file: Path, known: FileSum) -> None:
    with opened(file) as data:
        size = os.fstat(data.fileno()).st_size
    if size != known.bytes:
        raise wrong(file, "", f"{size} bytes", f"{known.bytes}, as {MANIFEST} says")
    if (found := checksum(file)) != known.crc32:
        raise wrong(file, "", f"CRC-32 {found}", f"{known.crc32}, as {MANIFEST} says")


def _read_state(file: Path) -> dict[str, Any]:
    with opened(file):
        pass
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as exc:  # zip, pickle and torch each raise their own
        raise CheckpointError(f"{file} is not a whole state: {one_line(exc)}.") from exc
    if not isinstance(state, dict) or type(state.get("step")) is not int:
        raise wrong(file, "step", "missing", "the number of steps that were done")
    optimizer, meter = state.get("optimizer"), state.get("meter")
    if not isinstance(optimizer, dict) or not {"state", "param_groups"} <= optimizer.keys():
        raise wrong(file, "optimizer", "missing", "state and param_groups")
    if not isinstance(meter, dict) or meter.keys() != {"sums", "counts"}:
        raise wrong(file, "meter", "missing", "sums and counts")
    return state
