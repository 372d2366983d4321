"""What a model folder holds: its configuration and its tensors, strictly, and their way into a model.

What a folder is, it says in its config.json (`model_type`), never in its name: our own, or one of the public layouts
(`public.py`, `vlx_seek.py`). Every tensor must find its place and every place its tensor; otherwise the error names the
keys. Only safetensors are read. Tensors are mapped from disk and take the place of the model's own, so a large
checkpoint is not held twice. A folder may come from anybody: whatever is read from it is bounded, see `folder.py`, and
nothing in it is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from fo1agent.errors import CheckpointError
from fo1agent.model import bases
from fo1agent.model.config import FO1Config
from fo1agent.model.finding import CONFIG, read_all, weight_files
from fo1agent.model.folder import (
    checked,
    names,
    one_line,
    read_json,
    shown,
    wrong,
)
from fo1agent.model.outline import outline
from fo1agent.model.prompting import ProcessingConfig
from fo1agent.model.public import public_config, rename_all
from fo1agent.model.stored import PUBLIC_TYPES, OwnConfig
from fo1agent.model.tensors import (
    check_weights,
    dtype_name,
    misfits,
    not_finite,
    read_safetensors,
)
from fo1agent.model.vlx_seek import kept, own_tensors, vlx_config

M = TypeVar("M", bound=PreTrainedModel)


class Layout(NamedTuple):
    """A layout that is not our own.

    Attributes:
        config: config.json, the tensors and its path → the configuration.
        tensors: the tensors → the same weights under our names.
        kept: whether a tensor of this name is a weight.
    """

    config: Callable[[Mapping[str, Any], Mapping[str, Tensor], Path], FO1Config]
    tensors: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    kept: Callable[[str], bool] = lambda _: True


LAYOUTS: Mapping[str, Layout] = dict(
    zip(PUBLIC_TYPES, (Layout(public_config, rename_all), Layout(vlx_config, own_tensors, kept)), strict=True)
)


def read_config(folder: Path) -> FO1Config:
    """The configuration of a folder; of a public layout, what its tensors say too.

    Raises:
        CheckpointError: a file is missing, is no regular file, is damaged or says what cannot be. Names file, key, what
            was got and what was wanted.
    """
    path = folder / CONFIG
    raw = read_json(path)
    if layout := _layout(raw, path):
        return _readable(layout.config(raw, read_tensors(folder, check=False), path), path)
    said = checked(OwnConfig, raw, path).model_dump(exclude={"model_type"}, exclude_unset=True)
    try:
        config = FO1Config(**said)
    except Exception as exc:  # of families without a schema of ours transformers is the judge, with errors of its own
        raise CheckpointError(f"{path}: base_config describes no model of transformers: {one_line(exc)}.") from exc
    return _readable(config, path)


def _readable(config: FO1Config, path: Path) -> FO1Config:
    """The configuration again, of a base that can read pictures.

    Raises:
        CheckpointError: it cannot.
    """
    base = config.base_config
    try:
        adapter = bases.adapter(base.model_type)
        adapter.check(base)
        adapter.image_processor(base, ProcessingConfig(**config.processing))
    except CheckpointError as exc:
        raise CheckpointError(f"{path}: {exc}") from exc
    except Exception as exc:  # sizes that are missing, or of a kind that nobody expects
        raise CheckpointError(f"{path}: base_config describes no {base.model_type}: {one_line(exc)}.") from exc
    return config


def read(folder: Path) -> tuple[FO1Config, dict[str, Tensor]]:
    """Configuration and tensors of a folder, both under our names.

    Raises:
        CheckpointError: as for `read_config` and `read_tensors`.
    """
    config, layout = read_config(folder), _layout(read_json(folder / CONFIG), folder / CONFIG)
    if layout is None:
        return config, read_tensors(folder)
    return config, layout.tensors(read_tensors(folder, kept=layout.kept))


def _layout(raw: Mapping[str, Any], path: Path) -> Layout | None:
    """The layout of a config.json; None for our own."""
    kind = raw.get("model_type")
    if kind not in (FO1Config.model_type, *LAYOUTS):
        known = (
            f"{FO1Config.model_type!r} (a folder saved by fo1agent), {' or '.join(map(repr, LAYOUTS))} (public layouts)"
        )
        raise wrong(path, "model_type", shown(kind) if "model_type" in raw else "missing", known)
    return LAYOUTS.get(str(kind))


# --- tensors -----------------------------------------------------------------------------------------------------


def read_tensors(folder: Path, check: bool = True, kept: Callable[[str], bool] = lambda _: True) -> dict[str, Tensor]:
    """Every tensor of the folder's safetensors files by name, mapped from disk.

    Args:
        folder: of the model.
        check: hold those against what models compute with; otherwise no number is read.
        kept: whether a tensor is a weight, and so one of those.

    Raises:
        CheckpointError: as for `finding.read_all`.
    """

    def weights_of(found: dict[str, Tensor], path: Path) -> None:
        check_weights({name: one for name, one in found.items() if kept(name)}, path)

    return read_all(folder, read_safetensors, weights_of if check else None)


def build(make: Callable[[FO1Config], M], config: FO1Config, tensors: Mapping[str, Tensor], folder: Path) -> M:
    """The model that the configuration describes, by `make`, with arbitrary weights.

    It is built once without memory first, and held against the tensors: what a configuration makes up is never taken.

    Raises:
        CheckpointError: there is none, these are not its weights, or it does not fit into memory.
    """
    try:
        described = outline(lambda: make(config))
    except Exception as exc:  # sizes that no bound forbids may still be too much for torch, or for each other
        raise CheckpointError(f"{folder / CONFIG} describes no model: {one_line(exc)}.") from exc
    _check_shapes(described, tensors, folder)
    try:
        with no_init_weights():
            return make(config)
    except Exception as exc:
        raise CheckpointError(f"The model that {folder / CONFIG} describes cannot be made: {one_line(exc)}.") from exc


def check_fit(model: PreTrainedModel, tensors: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """The tensors that are the model's own weights; tied weights may be absent, and are left out.

    Raises:
        CheckpointError: missing or unexpected keys, a shape that does not fit, or tied weights that differ.
    """
    for key, source in _tied(model).items():
        if key in tensors and source in tensors and not torch.equal(tensors[key], tensors[source]):
            raise CheckpointError(f"{folder / CONFIG} ties {key} to {source}, but the weights hold different values.")
    return _check_shapes(model, tensors, folder)


def _check_shapes(model: PreTrainedModel, tensors: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """`check_fit` by names and shapes alone, without reading a number."""
    tied = _tied(model)
    given = {key: value for key, value in tensors.items() if key not in tied}
    if told := misfits(given, model.state_dict(), tied):
        files = names(path.name for path in weight_files(folder))
        raise CheckpointError(f"{folder}: {files} and {CONFIG} do not fit each other: {told}.")
    return given


def _tied(model: PreTrainedModel) -> dict[str, str]:
    """Tied weights by the name of the one that they are."""
    return {key: source for key, source in model.all_tied_weights_keys.items() if key != source}


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
