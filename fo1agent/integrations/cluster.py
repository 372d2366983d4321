"""A cluster of Ray, for those parts that compute or serve on one: found, or started on this machine."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from fo1agent.errors import InputError, MissingExtraError
from fo1agent.extras import install_line

LOCAL = "local"
"""The address of none: Ray is started here."""


def ray_with(part: str, *extras: str) -> Any:
    """Ray, with a part of it, `data` or `serve`, imported.

    Args:
        part: a module of Ray.
        extras: ours that install it and what it is used for.

    Raises:
        MissingExtraError: Ray, or what the part needs, is not installed.
    """
    try:
        with _said_before(_OWN_SIGNALS):
            ray = importlib.import_module("ray")
        importlib.import_module(f"ray.{part}")
    except ImportError as exc:
        raise MissingExtraError(f"--ray needs Ray: {install_line(*extras)}") from exc
    return ray


# Ray reads these once, when it is imported. A signal is this process's own to answer: Ray would print a trace of its
# libraries, abort, or wait for half a minute. Processes that it starts are not told, and keep their traces of crashes.
_OWN_SIGNALS = {"RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}


@contextlib.contextmanager
def _said_before(variables: Mapping[str, str]) -> Iterator[None]:
    """Within the block, these stand in the environment, unless others of their names do."""
    new = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]


@contextlib.contextmanager
def connected(ray: Any, address: str) -> Iterator[bool]:
    """Within the block, this process is part of a cluster; whether it began that one, which ends with the block then.

    What Ray has to say stands in its log files, in `/tmp/ray/session_latest/logs` of each machine.

    Raises:
        InputError: there is no cluster at the address.
    """
    if ray.is_initialized():
        yield False
        return
    for name in ("ray.data", "ray.serve"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with _without_ray():
        try:
            try:
                ray.init(
                    address,
                    include_dashboard=False if address == LOCAL else None,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            except (ConnectionError, RuntimeError, ValueError) as exc:
                raise InputError(f"There is no Ray at {address}: {str(exc).strip().partition('.')[0]}.") from exc
            yield address == LOCAL
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _without_ray() -> Iterator[None]:
    """Within the block, what threads of Ray print goes nowhere: it stands in a file. There is no setting for it."""
    whole = sys.stdout
    sys.stdout = _Others(whole)
    try:
        yield
    finally:
        sys.stdout = whole


class _Others:
    """A stream that takes nothing of Ray's threads."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return len(text) if threading.current_thread().name.startswith("ray_") else self._stream.write(text)
