"""Pictures that several servers behind one address share: as they were sent, under their whole ids.

A server that is asked about a picture which another one opened takes it from the shelf and opens it too. What a server
makes of a picture is not shared.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import Protocol

import numpy as np

from fo1agent.pictures.image import LoadedImage

WHOLE = 64
"""Digits of the ids that servers with a shelf give out: no two pictures have them in common, whoever opened them."""

Sent = tuple[bytes | str, "np.ndarray | None"]
"""A picture's file or `data:` URL, and its boxes, [N, 4] xyxy pixels; None for proposals."""


class Shelf(Protocol):
    """Keeps what was sent, as far as there is room. Safe to share between threads."""

    def put(self, key: str, sent: Sent) -> None:
        """Keep a picture."""
        ...

    def get(self, key: str) -> Sent | None:
        """A picture that is kept; None where it is not."""
        ...

    def forget(self, key: str) -> bool:
        """Keep it no longer, and let every server close it; whether it was kept."""
        ...


class Pictures:
    """A shelf for one process, those used long ago going first.

    Args:
        most_bytes: of all of it.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._kept: OrderedDict[str, Sent] = OrderedDict()

    def put(self, key: str, sent: Sent) -> None:
        """As `Shelf.put`."""
        self.forget(key)
        self._kept[key] = sent
        self._bytes += len(sent[0])
        while self._bytes > self._most_bytes and len(self._kept) > 1:
            self.forget(next(iter(self._kept)))

    def get(self, key: str) -> Sent | None:
        """As `Shelf.get`."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def forget(self, key: str) -> bool:
        """As `Shelf.forget`, here only."""
        sent = self._kept.pop(key, None)
        self._bytes -= len(sent[0]) if sent else 0
        return sent is not None


def file_of(image: LoadedImage) -> bytes:
    """The upright picture as a PNG, which has the same id."""
    file = io.BytesIO()
    image.pixels.save(file, "PNG", compress_level=1)  # twenty times as fast as the default, a tenth larger
    return file.getvalue()
