"""A cluster of Ray, for those parts that compute or serve on one: found, or started on this machine."""

from __future__ import annotations

import importlib
import logging
from typing import Any

from fo1agent.errors import InputError, MissingExtraError
from fo1agent.extras import install_line

LOCAL = "local"
"""The address of none: Ray is started here."""


def ray_with(part: str, extra: str) -> Any:
    """Ray, with a part of it, `data` or `serve`, imported.

    Args:
        part: a module of Ray.
        extra: ours that installs it.

    Raises:
        MissingExtraError: Ray, or what the part needs, is not installed.
    """
    try:
        ray = importlib.import_module("ray")
        importlib.import_module(f"ray.{part}")
    except ImportError as exc:
        raise MissingExtraError(f"--ray needs Ray: {install_line(extra)}") from exc
    return ray


def begun(ray: Any, address: str) -> bool:
    """Connect to a cluster or start one, unless that was done; whether it was done now, and `ray.shutdown` ends it.

    Raises:
        InputError: there is no cluster at the address.
    """
    if ray.is_initialized():
        return False
    for name in ("ray.data", "ray.serve"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        ray.init(
            address,
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError) as exc:
        raise InputError(f"There is no Ray at {address}: {str(exc).strip().partition('.')[0]}.") from exc
    return True
