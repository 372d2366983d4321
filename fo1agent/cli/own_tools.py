"""`--tool MODULE:NAME`: tools of your own, for the commands that hand tools on; and any tool called from a shell."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fo1agent.foreign import one_line, stdout_to_stderr

if TYPE_CHECKING:
    from fo1agent.tools.base import Tool

_WANTED = "Wanted MODULE:NAME or FILE.py:NAME of a function with @fo1agent.tool."


def own_tools(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `--tool`; the command gets the texts as `tools`, for `load_tools`."""
    return click.option(
        "--tool",
        "tools",
        multiple=True,
        metavar="MODULE:NAME",
        help="Add a tool of your own, made with @fo1agent.tool. Its module is run. Repeatable.",
    )(function)


def load_tools(names: Sequence[str]) -> tuple[Tool, ...]:
    """The tools of these names.

    Raises:
        click.BadParameter: a name is no MODULE:NAME, its module cannot be run, or what it names is no tool.
        InputError: two tools, ours among them, have one name.
    """
    found = tuple(map(_load, names))
    if found:
        from fo1agent.tools.registry import registry

        registry(*found)  # refuses a name that is taken
    return found


def arguments(name: str, pairs: Sequence[str], known: Tool | None) -> dict[str, Any]:
    """The arguments of a tool, as NAME=VALUE texts tell them.

    Args:
        name: the tool's.
        pairs: the texts. A value is JSON where the tool takes no text for it: `limit=3`, `regions=["r1", "r2"]`.
        known: the tool; None for one that only a server knows.

    Raises:
        click.UsageError: a text is no NAME=VALUE, or the tool has no argument of that name.
    """
    from fo1agent.tools.base import unknown_names
    from fo1agent.tools.schemas import plain

    given: dict[str, Any] = {}
    fields = plain(known.arguments, f"The tool {name}").get("properties", {}) if known else {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key or key in given:
            wrong = "stands twice" if key in given else "is no NAME=VALUE"
            raise click.UsageError(f"{pair!r} {wrong}. Pass the arguments of {name} as in phrase=bus limit=3.")
        given[key] = text if _takes_text(fields.get(key)) else _parsed(text)
    if known and (said := unknown_names(given, list(fields))):
        raise click.UsageError(f"{name}: {said}.")
    return given


def called(scene: Any, name: str, given: dict[str, Any], known: dict[str, Tool]) -> Any:
    """The result of a tool: one of those `known` here, or of the server whose scene it is; JSON of one that only the
    server knows.

    Raises:
        InputError: the arguments do not fit.
        ToolFailed: the tool has no result.
    """
    from fo1agent.errors import InputError, ToolFailed

    if name not in known:
        return scene.call(name, **given)
    with stdout_to_stderr():
        outcome = known[name].call(scene, given)
    if not outcome.ok:
        raise (InputError if outcome.retry else ToolFailed)(outcome.blamed)
    return outcome.result


def _takes_text(schema: dict[str, Any] | None) -> bool:
    kinds = [one.get("type") for one in (schema or {}).get("anyOf", [schema or {}])]
    return any("string" in ([kind] if isinstance(kind, str) else kind or ()) for kind in kinds)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _load(text: str) -> Tool:
    from fo1agent.tools.base import Tool

    module, _, name = text.rpartition(":")
    if not module or not name:
        raise click.BadParameter(f"{text!r} names no tool. {_WANTED}", param_hint="--tool")
    try:
        with stdout_to_stderr():
            found = getattr(_module(module), name, None)
    except (Exception, SystemExit) as exc:  # their code, whatever it does
        why = one_line(f"{type(exc).__name__}: {exc}", 300)
        raise click.BadParameter(f"{module} cannot be run: {why}", param_hint="--tool") from exc
    if not isinstance(found, Tool):
        got = "has no such name" if found is None else f"holds a {type(found).__name__} under that name"
        raise click.BadParameter(f"{text!r} is no tool: {module} {got}. {_WANTED}", param_hint="--tool")
    return found


def _module(name: str) -> Any:
    if not name.endswith(".py"):
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove(str(Path.cwd()))
    # Under a name that no import asks for: a json.py must not become everybody's json.
    path = Path(name)
    spec = importlib.util.spec_from_file_location(f"{__name__}.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # so that its annotations can be looked up
    spec.loader.exec_module(module)
    return module
