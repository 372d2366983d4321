"""What a module inside a base gives, for towers that do not return what regions look at."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def recorded(module: nn.Module) -> Iterator[list[Any]]:
    """Collect the module's outputs during the block; calls from other threads are not collected."""
    seen: list[Any] = []
    thread = threading.get_ident()

    def keep(_module: nn.Module, _args: object, output: Any) -> None:
        if threading.get_ident() == thread:
            seen.append(output)

    handle = module.register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()
