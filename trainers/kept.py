"""What frozen towers see of each picture, kept on disk to save time: read if it is whole, else made anew and said so.

A run that was killed, a full disk or a failing one may leave a broken file, and training must neither stop at it nor
learn from it. Whoever keeps names the folder by `weights_hash`, so that features of other weights are never found.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, uint8

from fo1agent.errors import CheckpointError, TrainingError
from fo1agent.model.folder import names
from fo1agent.model.tensors import not_finite, read_safetensors
from fo1agent.trainers.data.records import Example
from fo1agent.whole import whole

log = logging.getLogger(__name__)

_SUM = "crc32"


class KeptViews:
    """Tensors of pictures, in half precision.

    Args:
        folder: made if missing; a file in it belongs to one picture by its file's date and size. None keeps nothing.
        wanted: the names of all tensors of a picture.
        limit_bytes: nothing is added beyond it.
    """

    def __init__(self, folder: Path | None, wanted: Collection[str], limit_bytes: float = math.inf) -> None:
        self._folder, self._wanted, self._limit, self._used = folder, wanted, limit_bytes, 0
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._used = sum(file.lstat().st_size for file in folder.glob("*.safetensors"))

    def get(
        self, example: Example, make: Callable[[], Mapping[str, Tensor]], mirrored: bool = False
    ) -> dict[str, Tensor]:
        """What is kept of a picture, or of its mirror image; what `make` gives, if it is not there yet."""
        file = self._folder and self._folder / f"{picture_key(example)}{'m' * mirrored}.safetensors"
        kept = read_kept(file, self._wanted) if file else None
        if kept is None:
            # Rounded as the kept ones are, so that neither the epoch nor the cache makes a difference.
            kept = {name: t.half().contiguous() if t.is_floating_point() else t for name, t in make().items()}
            size = sum(tensor.nbytes for tensor in kept.values())
            if file and self._used + size <= self._limit:
                keep(file, kept)
                self._used += size
        return kept


def picture_key(example: Example) -> str:
    """The same for one picture as long as its file is not written anew."""
    told = example.data or b"" if example.path is None else file_mark(example.path).encode()
    return hashlib.sha256(told).hexdigest()[:20]


def file_mark(path: Path) -> str:
    """Where a file lies, its size and its date."""
    stat = path.stat()
    return f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"


def weights_hash(tensors: Iterable[tuple[str, Tensor]], told: str = "") -> str:
    """A hash of tensors by name, and of what else decides what is computed with them."""
    digest = hashlib.sha256(told.encode())
    for name, tensor in tensors:
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(uint8).numpy().data)
    return digest.hexdigest()[:16]


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
