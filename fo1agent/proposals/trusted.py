"""Where fitted `Trust` of finders lies: one small JSON file for each model and finder.

`fo1agent calibrate` writes them and `fo1agent.load` finds them, in the folder that `folder()` names.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fo1agent.bounded import read_file
from fo1agent.errors import DataError, InputError
from fo1agent.proposals.trust import Trust

FORMAT = "fo1agent-trust-1"
WHERE = "FO1AGENT_TRUST"
"""Environment variable: another folder, or one file for its finder alone."""
_MOST = 100_000  # bytes of a file


def folder() -> Path:
    """The folder of the user: what `WHERE` names, else one for application data."""
    import click

    return Path(os.environ.get(WHERE) or Path(click.get_app_dir("fo1agent")) / "trust")


def place(finder: Any, fingerprint: str) -> Path:
    """The file of a finder beside the model with these weights."""
    who = hashlib.sha256(f"{finder.name}\n{_identity(finder)}\n{fingerprint}".encode()).hexdigest()[:12]
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", finder.name).strip("-.")[-60:]
    return folder() / f"{plain}-{who}.json"


def write(path: Path, finder: Any, fingerprint: str, trust: Trust, measured: Mapping[str, Any]) -> None:
    """Save a fitted trust with the figures that it was measured to have.

    Raises:
        OSError: the file cannot be written.
    """
    said = {
        "format": FORMAT,
        "finder": finder.name,
        "identity": _identity(finder),
        "model": fingerprint,
        "trust": asdict(trust),
        "measured": dict(measured),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


def read(path: Path, finder: Any, fingerprint: str) -> Trust:
    """The trust in a file that was written for this finder and these weights.

    Raises:
        DataError: the file cannot be read, is damaged, or is of another finder or model.
    """
    try:
        said = json.loads(read_file(path, _MOST))
    except (OSError, ValueError, RecursionError) as exc:
        raise DataError(f"{path}: cannot be read as a calibration ({exc}). {_AGAIN}") from exc
    if not isinstance(said, dict) or said.get("format") != FORMAT or not isinstance(said.get("trust"), dict):
        raise DataError(f"{path}: is no calibration of fo1agent ({FORMAT}). {_AGAIN}")
    wanted = {"finder": finder.name, "identity": _identity(finder), "model": fingerprint}
    for name, value in wanted.items():
        if said.get(name) != value:
            raise DataError(
                f"{path}: was made for the {name} {str(said.get(name))[:60]!r}, not {value[:60]!r}. {_AGAIN}"
            )
    try:
        return Trust(**said["trust"])
    except (TypeError, InputError) as exc:
        raise DataError(f"{path}: is damaged ({exc}). {_AGAIN}") from exc


def kept(finder: Any, fingerprint: str) -> Trust | None:
    """The trust that was fitted to a finder beside a model; None if it never was.

    Raises:
        DataError: there is one, but damaged, or `WHERE` names a file of another finder or model.
    """
    named = folder()
    if named.is_file():
        return read(named, finder, fingerprint)
    path = place(finder, fingerprint)
    return read(path, finder, fingerprint) if path.is_file() else None


_AGAIN = "Run `fo1agent calibrate` again, or remove it."


def _identity(finder: Any) -> str:
    """What tells a finder from another of the same name: a hash of its weights, where it has one."""
    return str(getattr(finder, "identity", ""))
