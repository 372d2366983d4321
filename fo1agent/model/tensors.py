"""The tensors of safetensors files that anybody may have made, held against what a model wants of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fo1agent.errors import CheckpointError
from fo1agent.model.folder import names, one_line, opened, word, wrong

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, mapped from disk.

    Raises:
        CheckpointError: as for `opened`, or it is cut off, damaged, or of another format.
    """
    with opened(path):
        pass
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError) as exc:
        # Its own error for what it finds wrong in the header; others for types that torch has not.
        raise CheckpointError(f"{path} is not a whole safetensors file: {one_line(exc)}.") from exc


def check_weights(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that no model computes with; two milliseconds for 12 million numbers.

    Raises:
        CheckpointError: a tensor does not hold floating-point numbers, or holds one that is not finite; names it.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOATS:
            known = ", ".join(map(dtype_name, FLOATS))
            raise wrong(path, word(name), f"of type {dtype_name(tensor.dtype)}", f"one of {known}")
        if (worst := not_finite(tensor)) is not None:
            raise wrong(path, f"an element of {word(name)}", f"{worst}", "finite numbers")


def misfits(given: Mapping[str, Tensor], own: Mapping[str, Tensor], optional: Collection[str] = ()) -> str:
    """In what tensors differ from those of a model, by name and shape; "" if they are the same.

    Args:
        given: what was read.
        own: the model's.
        optional: names that need not be given.
    """
    missing, unexpected = own.keys() - given.keys() - set(optional), given.keys() - own.keys()
    shapes = [
        f"{key} is {list(given[key].shape)}, wanted {list(own[key].shape)}"
        for key in sorted(own.keys() & given.keys())
        if given[key].shape != own[key].shape
    ]
    told = [
        f"missing {len(missing)}: {names(missing)}" * bool(missing),
        f"unexpected {len(unexpected)}: {names(unexpected)}" * bool(unexpected),
        f"wrong shape {len(shapes)}: {'; '.join(shapes[:3])}{' …' * (len(shapes) > 3)}" * bool(shapes),
    ]
    return "; ".join(one for one in told if one)


def not_finite(tensor: Tensor) -> float | None:
    """NaN or an infinity that a tensor of floating-point numbers holds, or None."""
    if not tensor.numel():
        return None
    # One pass without a copy; `isfinite` takes forty times as long.
    low, high = (float(bound) for bound in torch.aminmax(tensor))
    return next((bound for bound in (low, high) if not math.isfinite(bound)), None)


def dtype_name(dtype: torch.dtype) -> str:
    """As configurations write it: "float16"."""
    return str(dtype).removeprefix("torch.")
