"""The outline of a model: its modules and the shapes of its weights, before any memory is taken for their numbers.

A configuration that anybody may have written is tried here first. What it describes is then held against the weights
that came with it, and only a model that they fit is built.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers.initialization import no_init_weights

MOST_CALLS = 50_000  # of torch while a model is made; Qwen3-VL with 80 layers makes 3,000
MOST_UNSAVED = 2**27  # numbers of buffers that are no weights, such as indices of windows

M = TypeVar("M", bound=nn.Module)


class OutlineError(ValueError):
    """What is described has more parts than any model."""


class _Counted(TorchFunctionMode):
    """Counts what its own thread asks of torch: every weight is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._calls += 1
        if self._calls > MOST_CALLS:
            raise OutlineError("it has more parts than any model")
        return func(*args, **(kwargs or {}))


def outline(make: Callable[[], M]) -> M:
    """The module that `make` builds, on torch's meta device.

    Raises:
        OutlineError: making it takes more than `MOST_CALLS` of torch, or it has more than `MOST_UNSAVED` numbers in
            buffers that are no weights.
        Exception: whatever `make` raises.
    """
    with no_init_weights(), torch.device("meta"), _Counted():
        made = make()
    saved = made.state_dict()
    unsaved = sum(buffer.numel() for name, buffer in made.named_buffers() if name not in saved)
    if unsaved > MOST_UNSAVED:
        raise OutlineError(f"{unsaved} numbers beside its weights, wanted at most {MOST_UNSAVED}")
    return made
