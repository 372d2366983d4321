"""Somebody whom permissions of files bind: root is not, and tests may run as root."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def as_nobody() -> Iterator[Path]:
    """A folder to work in as somebody whom permissions bind."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        if os.geteuid():
            yield Path(folder)
            return
        os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)
