"""The list of tools: ours, those that installed packages publish, and those that a user passes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from fo1agent.errors import InputError
from fo1agent.foreign import one_line, stdout_to_stderr
from fo1agent.tools import counting, describing, grounding, imaging, looking, pointing, reading, relating, segmenting
from fo1agent.tools.base import Tool

GROUP = "fo1agent.tools"
"""The entry points of packages that publish tools; each names a `Tool`."""


ASKING = "ask"
"""The name of the tool that asks, which stands above this list: see `agent.asking`."""


class ToolWarning(UserWarning):
    """A tool that an installed package publishes cannot be used."""


def registry(*extra: Tool) -> dict[str, Tool]:
    """Name → tool: all that come with fo1agent, those passed, and those that installed packages publish.

    A published tool that cannot be loaded, or has the name of another or of the tool that asks, is left out with a
    `ToolWarning`, given once, at the line outside of fo1agent that led here.

    Raises:
        InputError: two of ours and those passed have one name.
    """
    known: dict[str, Tool] = {}
    for one in (
        looking.look,
        grounding.ground,
        counting.count,
        reading.read,
        describing.describe,
        describing.inspect,
        relating.relate,
        segmenting.segment,
        pointing.point,
        imaging.zoom,
        imaging.annotate,
        *extra,
    ):
        if one.name in known:
            raise InputError(f'Two tools are called {one.name!r}. Name yours with @tool(name="…").')
        known[one.name] = one
    for package, one in _published(tuple(sys.path)):
        if one.name == ASKING and one.name not in known:
            _warn(
                f"the package {package} publishes a tool {one.name}, a name that fo1agent has already; it is left out"
            )
            continue
        other = known.setdefault(one.name, one)
        if other is not one and other.home != one.home:
            _warn(
                f"the package {package} publishes a tool {one.name}, a name that {_whose(other)} has already; "
                "it is left out"
            )
    return known


@lru_cache(maxsize=1)
def _published(path: tuple[str, ...]) -> tuple[tuple[str, Tool], ...]:
    """(package, its tool) for each that can be loaded, by name.

    Args:
        path: where packages are looked for, so that others are found when it changes.
    """
    points = sorted(entry_points(group=GROUP), key=lambda point: (_package(point), point.name))
    return tuple(found for point in points for found in _loaded(point))


def _loaded(point: EntryPoint) -> Iterator[tuple[str, Tool]]:
    package = _package(point)
    try:
        with stdout_to_stderr():
            found = point.load()
    except (Exception, SystemExit, KeyboardInterrupt) as exc:  # their code, whatever it does
        why = one_line(f"{type(exc).__name__}: {exc}", 300)
        _warn(f"the package {package} publishes {point.value}, which cannot be loaded ({why}); it is left out")
        return
    if isinstance(found, Tool):
        yield package, found
        return
    kind = type(found).__name__
    _warn(f"the package {package} publishes {point.value}, a {kind} and no tool: make it one with @fo1agent.tool")


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.module


def _whose(one: Tool) -> str:
    """Where a tool comes from, for people: a file if it has one, as the module of `--tool FILE.py` has no name."""
    if one.ours:
        return "fo1agent"
    module = one.home[0] if one.home else ""
    file = getattr(sys.modules.get(module), "__file__", None)
    return f"the file {file}" if file else f"the module {module}" if module else "another package"


_warned: set[tuple[tuple[str, ...], str]] = set()


def _warn(text: str) -> None:
    said = (tuple(sys.path), text)
    if said in _warned:
        return
    _warned.add(said)
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "fo1agent":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, ToolWarning, stacklevel=level)
