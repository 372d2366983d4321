"""The packages that only some of fo1agent needs, and how to install them."""

from __future__ import annotations

import importlib.metadata


def install_line(extra: str) -> str:
    """What installs an extra, whether fo1agent came from a clone, a wheel or an index: `pip install "peft>=0.17" …`.

    Args:
        extra: as in `[project.optional-dependencies]` of pyproject.toml: `eval`, `export`, `hub`, `mcp`, `serve`,
            `train`, `ultralytics`.
    """
    from packaging.requirements import Requirement

    try:
        required = [Requirement(line) for line in importlib.metadata.requires("fo1agent") or ()]
    except importlib.metadata.PackageNotFoundError:  # run from a clone that was not installed
        required = []
    of_extras = [(one, one.marker) for one in required if one.marker and "extra" in str(one.marker)]
    wanted = [one for one, marker in of_extras if marker.evaluate({"extra": extra})]
    if not wanted:
        return f'pip install ".[{extra}]" in a clone of fo1agent'
    return "pip install " + " ".join(f'"{one.name}{one.specifier}"' for one in wanted)
