"""The packages that only some of fo1agent needs, and how to install them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fo1agent.errors import MissingExtraError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

TORCH = ("torch", "torchvision", "transformers")
"""What a light install is without: fo1-nano on a CPU needs none of them, training and other models need all."""


def install_line(*extras: str) -> str:
    """What installs extras, whether fo1agent came from a clone, a wheel or an index: `pip install "peft>=0.17" …`.

    Args:
        extras: as in `[project.optional-dependencies]` of pyproject.toml: `annotate`, `eval`, `export`,
            `hub`, `mcp`, `quantize`, `ray`, `serve`, `train`, `ultralytics`, `vllm`.
    """
    of_extras = [(one, one.marker) for one in _required() if one.marker and "extra" in str(one.marker)]
    wanted = [one for extra in extras for one, marker in of_extras if marker.evaluate({"extra": extra})]
    return _line(wanted) if wanted else f'pip install ".[{",".join(extras)}]" in a clone of fo1agent'


def torch_line() -> str:
    """What installs what a light install is without: `pip install "torch>=2.8" …`."""
    wanted = [one for one in _required() if one.name in TORCH and not one.marker]
    return _line(wanted) if wanted else f"pip install {' '.join(TORCH)}"


def check_torch(what: str) -> None:
    """Refuse to go on without torch, before it is imported, which takes seconds.

    Args:
        what: as for `torch_needed`.

    Raises:
        MissingExtraError: a package of `TORCH` is not installed.
    """
    with torch_needed(what):
        for package in reversed(TORCH):  # as they are imported
            if importlib.util.find_spec(package) is None:
                raise ModuleNotFoundError(name=package)


def check_vllm() -> None:
    """Refuse to go on where no vLLM runs FO1 in this process.

    Raises:
        MissingExtraError: vLLM is not installed, or fo1agent is not, so that vLLM does not find its plug-in.
    """
    from importlib.metadata import entry_points

    if importlib.util.find_spec("vllm") is None:
        raise MissingExtraError(
            f"Engine vllm needs vllm, which is not installed: {install_line('vllm')} in an environment of its own, "
            "see docs/vllm.md"
        )
    if not any(point.name == "fo1agent" for point in entry_points(group="vllm.general_plugins")):
        raise MissingExtraError(
            "vLLM finds no plug-in of fo1agent's, which is not installed where vLLM is: pip install --no-deps ."
        )


@contextmanager
def torch_needed(what: str) -> Iterator[None]:
    """Within the block, that torch is not installed is an error of ours.

    Args:
        what: what needs it, as the message's first words: "Engine torch".

    Raises:
        MissingExtraError: a package of `TORCH` is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        package = (exc.name or "").partition(".")[0]
        if package not in TORCH:
            raise
        raise MissingExtraError(f"{what} needs {package}, which is not installed: {torch_line()}") from exc


def _required() -> list[Requirement]:
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    try:
        return [Requirement(line) for line in requires("fo1agent") or ()]
    except PackageNotFoundError:  # run from a clone that was not installed
        return []


def _line(wanted: list[Requirement]) -> str:
    return "pip install " + " ".join(f'"{one.name}{_extras(one)}{one.specifier}"' for one in wanted)


def _extras(one: Requirement) -> str:
    return f"[{','.join(sorted(one.extras))}]" if one.extras else ""
