"""What detectors keep of pictures, and by what they are told apart from others of their name."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

PICTURES = 3
"""Of so many, the latest, features are kept."""
LOOKS = 64
"""Of so many what was found, which is small."""
_SAMPLE = 2**20  # bytes


class Kept:
    """What was computed of the latest few pictures. Whoever uses it holds a lock."""

    def __init__(self, most: int = PICTURES) -> None:
        self._most = most
        self._kept: OrderedDict[Any, Any] = OrderedDict()

    def get_or_make(self, key: Any, make: Callable[[], Any]) -> Any:
        """What is kept of a picture, or what `make` gives, which is then kept."""
        return self.get_or_make_many([key], lambda new: [make()])[0]

    def get_or_make_many(self, keys: Sequence[Any], make: Callable[[list[int]], Sequence[Any]]) -> list[Any]:
        """The same of several pictures; `make` is told the positions of those of which nothing is kept."""
        new = {key: k for k, key in enumerate(keys) if key not in self._kept}
        made = dict(zip(new, make(list(new.values())), strict=True)) if new else {}
        found = {**{key: self._kept[key] for key in keys if key not in made}, **made}
        for key, one in found.items():
            self._kept[key] = one
            self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return [found[key] for key in keys]


def identity(files: Iterable[Path]) -> str:
    """Hash of a detector's files: of each its size, its first megabyte and its last."""
    digest = hashlib.sha256()
    for path in sorted(files):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            for start in dict.fromkeys((0, max(0, size - _SAMPLE))):
                file.seek(start)
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()
