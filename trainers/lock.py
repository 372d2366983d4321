"""One training per folder: a lock that names its holder, and that no dead process holds.

The lock is the kernel's (`flock`) on a file in the folder, so it ends with its process, however that ends; what stands
in the file only tells people whose it is; filelock, before its version 4, empties it on the way. Where there is no such
lock (Windows, some network disks), nothing keeps a second training out.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from fo1agent.errors import TrainingError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

log = logging.getLogger(__name__)

LOCK = "run.lock"


@contextmanager
def locked(folder: Path, does: str = "trains") -> Iterator[None]:
    """Keep every other process, and every other call in this one, from writing into `folder`.

    Args:
        folder: where.
        does: what its holder does there, for messages.

    Raises:
        TrainingError: another one does already, and it is named; or the lock's file cannot be made or written.
    """
    path = folder / LOCK
    try:
        # A pipe in its place would wait for its other end.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o666)
    except OSError as exc:
        raise TrainingError(f"Cannot lock {folder}: {path.name}: {exc.strerror}. Choose another folder.") from exc
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise TrainingError(f"Cannot lock {folder}: {path.name} is no regular file. Remove it.")
        _lock(descriptor, folder, does)
        _still_there(descriptor, path)
        _name_holder(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, does: str) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise TrainingError(
            f"{folder} is in use: {_holder(descriptor, does)}. Wait until it has ended, or choose another folder."
        ) from exc
    except OSError as exc:
        log.warning("%s cannot be locked (%s): start nothing else that writes there.", folder, exc.strerror)


def _still_there(descriptor: int, path: Path) -> None:
    """Refuse a lock on a file that its last holder took away meanwhile: the next to come makes another."""
    try:
        same = os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        same = False
    if not same:
        raise TrainingError(f"{path.parent} is in use: who worked in it has just ended. Run it again.")


def _name_holder(descriptor: int, folder: Path) -> None:
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now()}
    try:
        # Over the line of the one before, and then the rest of that: who reads meanwhile finds a whole line.
        os.ftruncate(descriptor, os.write(descriptor, (json.dumps(holder) + "\n").encode()))
    except OSError as exc:  # a full disk
        raise TrainingError(
            f"Cannot lock {folder}: {LOCK}: {exc.strerror}. Make room, or choose another folder."
        ) from exc


def _holder(descriptor: int, does: str) -> str:
    try:
        said = json.loads(os.read(descriptor, 4096).split(b"\n", 1)[0])
        return f"process {int(said['pid'])} on {said['host']!s:.80} {does} into it since {said['since']!s:.40}"
    except (OSError, ValueError, LookupError, TypeError):  # it has not written yet
        return f"another process {does} into it"


def _now() -> str:
    return datetime.now().astimezone().isoformat(" ", timespec="seconds")
