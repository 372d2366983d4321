"""Files that only save time, one per picture: read if they are whole, else made anew and said so.

A run that was killed, a full disk or a failing one may leave a broken file, and training must neither stop at it nor
learn from it.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, uint8

from fo1agent.errors import CheckpointError, TrainingError
from fo1agent.model.folder import names, not_finite, read_safetensors
from fo1agent.whole import whole

log = logging.getLogger(__name__)

_SUM = "crc32"


def read_kept(file: Path, wanted: Collection[str]) -> dict[str, Tensor] | None:
    """The tensors of a file that `keep` wrote; None if there is none that is whole.

    Args:
        file: may be missing.
        wanted: the names of all its tensors.
    """
    if not os.path.lexists(file):
        return None
    try:
        kept = read_safetensors(file)
        if kept.keys() != set(wanted):
            raise CheckpointError(f"{file} holds {names(kept)}, wanted {names(wanted)}.")
        spoilt = [name for name, t in kept.items() if t.is_floating_point() and not_finite(t) is not None]
        if spoilt:
            raise CheckpointError(f"{file} holds numbers that are not finite in {names(spoilt)}.")
        with safe_open(file, framework="pt") as opened:
            told = (opened.metadata() or {}).get(_SUM)  # files of earlier versions have none
        if told is not None and told != (found := _sum_of(kept)):
            raise CheckpointError(f"{file} has the CRC-32 {found}, wanted {told}, as it says.")
    except CheckpointError as exc:
        log.warning("%s It is made anew.", exc)
        return None
    return kept


def keep(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write `file`, whole or not at all.

    Raises:
        TrainingError: it cannot be written, as on a full disk.
    """
    try:
        tensors = {name: tensor.cpu() for name, tensor in tensors.items()}
        with whole(file) as temporary:
            save_file(tensors, temporary, metadata={_SUM: _sum_of(tensors)})
    except (OSError, SafetensorError) as exc:
        raise TrainingError(f"Cannot keep {file}: {exc}. Make room there, or leave the cache out.") from exc


def _sum_of(tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of all numbers, in the order of their names."""
    value = 0
    for _, tensor in sorted(tensors.items()):
        value = zlib.crc32(tensor.contiguous().flatten().view(uint8).numpy().data, value)
    return f"{value:08x}"
