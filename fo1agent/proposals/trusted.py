"""Where fitted `Trust` of finders lies: one small JSON file for each model and finder, or one of several finders.

`fo1agent calibrate` writes them and `fo1agent.load` finds them, in the folder that `folder()` names, or reads a file
that is named. A file holds one calibration, or a list of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fo1agent.bounded import read_file
from fo1agent.errors import DataError, InputError
from fo1agent.proposals.trust import Trust

FORMAT = "fo1agent-trust-1"
WHERE = "FO1AGENT_TRUST"
"""Environment variable: another folder, or one file for the finders that it holds."""
_MOST = 100_000  # bytes of a file


@dataclass(frozen=True)
class Calibration:
    """What was fitted to a finder, and the figures that it was measured to have."""

    finder: Any
    trust: Trust
    measured: Mapping[str, Any]


def folder() -> Path:
    """The folder of the user: what `WHERE` names, else one for application data."""
    import click

    return Path(os.environ.get(WHERE) or Path(click.get_app_dir("fo1agent")) / "trust")


def place(finder: Any, fingerprint: str) -> Path:
    """The file of a finder beside the model with these weights."""
    who = hashlib.sha256(f"{finder.name}\n{_identity(finder)}\n{fingerprint}".encode()).hexdigest()[:12]
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", finder.name).strip("-.")[-60:]
    return folder() / f"{plain}-{who}.json"


def write(path: Path, calibrations: Sequence[Calibration], fingerprint: str) -> None:
    """Save what was fitted to one finder, or to several, beside the model with these weights.

    Raises:
        OSError: the file cannot be written.
    """
    said = [
        {
            "format": FORMAT,
            "finder": one.finder.name,
            "identity": _identity(one.finder),
            "model": fingerprint,
            "trust": asdict(one.trust),
            "measured": dict(one.measured),
        }
        for one in calibrations
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(said[0] if len(said) == 1 else said, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


def read(path: Path, finders: Sequence[Any], fingerprint: str) -> dict[str, Trust]:
    """By name, the trust in those finders that a file was written for, beside the model with these weights.

    Raises:
        DataError: the file cannot be read, is damaged, or is of other finders or another model.
    """
    try:
        said = json.loads(read_file(path, _MOST))
    except (OSError, ValueError, RecursionError) as exc:
        raise DataError(f"{path}: cannot be read as a calibration ({exc}). {_AGAIN}") from exc
    each = said if isinstance(said, list) else [said]
    if not each or not all(_is_calibration(one) for one in each):
        raise DataError(f"{path}: is no calibration of fo1agent ({FORMAT}). {_AGAIN}")
    by_name = {one["finder"]: one for one in each}
    mine = [finder for finder in finders if finder.name in by_name]
    if not mine:
        raise _other(path, "finder", list(by_name), [finder.name for finder in finders])
    return {finder.name: _trust(path, by_name[finder.name], finder, fingerprint) for finder in mine}


def kept(finders: Sequence[Any], fingerprint: str) -> dict[str, Trust]:
    """By name, the trust in those finders to which one was ever fitted beside a model.

    Raises:
        DataError: there is one, but damaged, or `WHERE` names a file of other finders or another model.
    """
    named = folder()
    if named.is_file():
        return read(named, finders, fingerprint)
    places = [(finder, place(finder, fingerprint)) for finder in finders]
    found = [read(path, [finder], fingerprint) for finder, path in places if path.is_file()]
    return {name: trust for one in found for name, trust in one.items()}


def _is_calibration(said: Any) -> bool:
    wanted = {"finder": str, "trust": dict}
    return (
        isinstance(said, dict)
        and said.get("format") == FORMAT
        and all(isinstance(said.get(name), kind) for name, kind in wanted.items())
    )


def _trust(path: Path, said: Mapping[str, Any], finder: Any, fingerprint: str) -> Trust:
    for name, value in {"identity": _identity(finder), "model": fingerprint}.items():
        if said.get(name) != value:
            raise _other(path, name, [str(said.get(name))], [value])
    try:
        return Trust(**said["trust"])
    except (TypeError, InputError) as exc:
        raise DataError(f"{path}: is damaged ({exc}). {_AGAIN}") from exc


def _other(path: Path, what: str, made_for: Sequence[str], wanted: Sequence[str]) -> DataError:
    made, not_these = (" or ".join(repr(one[:60]) for one in some) for some in (made_for, wanted))
    return DataError(f"{path}: was made for the {what} {made}, not {not_these}. {_AGAIN}")


_AGAIN = "Run `fo1agent calibrate` again, or remove it."


def _identity(finder: Any) -> str:
    """What tells a finder from another of the same name: a hash of its weights, where it has one."""
    return str(getattr(finder, "identity", ""))
