"""In which precision a machine multiplies fastest: what `precision: auto` of a recipe means.

bfloat16 is several times faster than float32 on GPUs and on processors with units for it, and up to eighty times slower
on others, where it is emulated. No list of processors says which is which for good, so it is tried.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]

_SIDE = 256  # of the matrices: large enough to be bound by arithmetic, and 30 ms where it is slowest
_TRIES = 3


def resolve(precision: Precision | Literal["auto"], device: torch.device) -> Precision:
    """The precision itself, or for "auto" the faster one of this device."""
    return fastest(device) if precision == "auto" else precision


@lru_cache
def fastest(device: torch.device) -> Precision:
    """float32 or bfloat16, whichever multiplies matrices faster there."""
    return "bfloat16" if _seconds(torch.bfloat16, device) < _seconds(torch.float32, device) else "float32"


def _seconds(dtype: torch.dtype, device: torch.device) -> float:
    matrix = torch.ones(_SIDE, _SIDE, dtype=dtype, device=device)
    float((matrix @ matrix)[0, 0])  # the first product pays for what is made once
    times = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        float((matrix @ matrix)[0, 0])  # reading a number waits for the device
        times.append(time.perf_counter() - start)
    return min(times)
