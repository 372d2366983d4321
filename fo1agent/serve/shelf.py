"""Pictures that several servers behind one address share: as they were sent, under their whole ids.

A server that is asked about a picture which another one opened takes it from the shelf and opens it too. What a server
makes of a picture is not shared.
"""

from __future__ import annotations

import io
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


def file_of(image: LoadedImage) -> bytes:
    """The upright picture as a PNG, which has the same id."""
    file = io.BytesIO()
    image.pixels.save(file, "PNG", compress_level=1)  # twenty times as fast as the default, a tenth larger
    return file.getvalue()
