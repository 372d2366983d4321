"""What a machine has, and which presets fit it. torch is asked only if somebody else has imported it."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fo1agent.presets import PRESETS, Part, Preset

# Beside weights: Python with its packages, a picture, and what is computed of it.
_ROOM_MB, _SHARE = 1000, 1.5
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True)
class Machine:
    """What models run on.

    Attributes:
        memory_mb: of the machine, or what its container may use; None if that cannot be told.
        gpu_mb: memory of the largest GPU that torch sees; None where torch is not imported or sees none.
        torch: whether torch is installed.
    """

    memory_mb: int | None
    gpu_mb: int | None
    torch: bool


def machine() -> Machine:
    """This machine."""
    return Machine(_memory_mb(), _gpu_mb(), importlib.util.find_spec("torch") is not None)


def memory_mb(parts: Iterable[Part]) -> int:
    """What the weights of parts take, estimated from their parameters."""
    return round(sum(part.parameters * part.bytes_each for part in parts))


def fits(parts: Iterable[Part], memory: int | None) -> bool | None:
    """Whether so much memory is enough to work with: an estimate. None if the memory is not known."""
    return None if memory is None else memory_mb(parts) * _SHARE + _ROOM_MB <= memory


def advice(here: Machine) -> tuple[Preset, str]:
    """The preset for a machine, and why."""
    by_name = {preset.name: preset for preset in PRESETS}
    large, middle = by_name["vlm-fo1-3b+grounding-dino-tiny"], by_name["nano+grounding-dino-tiny"]
    if not here.torch:
        return by_name["nano"], "torch is not installed, and the others need it"
    if fits(large.parts, here.gpu_mb) and here.gpu_mb:
        return large, f"a GPU with {gigabytes(here.gpu_mb)} holds it"
    if fits(middle.parts, here.memory_mb):
        lacks = "the GPU is too small for the 3B" if here.gpu_mb else "there is no GPU for the 3B"
        return middle, f"{lacks}, and {gigabytes(here.memory_mb or 0)} of memory hold a detector that knows any words"
    return by_name["nano"], "there is too little memory, or none that can be told, for the others"


def gigabytes(megabytes: float) -> str:
    """`0.7 GB`, or `24 MB`."""
    return f"{megabytes:.0f} MB" if megabytes < 100 else f"{megabytes / 1000:.1f} GB"


def _memory_mb() -> int | None:
    total = _windows_bytes() if sys.platform == "win32" else _posix_bytes()
    if total is None:
        return None
    for path in _LIMITS:  # of a container
        try:
            total = min(total, int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):  # there is none: no such file, or "max"
            continue
    return round(total / 1e6)


def _posix_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _windows_bytes() -> int | None:
    import ctypes

    kilobytes = ctypes.c_ulonglong()
    asked = getattr(ctypes, "windll").kernel32.GetPhysicallyInstalledSystemMemory  # noqa: B009 - absent elsewhere
    return kilobytes.value * 1024 if asked(ctypes.byref(kilobytes)) else None


def _gpu_mb() -> int | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    sizes = [torch.cuda.get_device_properties(k).total_memory for k in range(torch.cuda.device_count())]
    return round(max(sizes) / 1e6)
