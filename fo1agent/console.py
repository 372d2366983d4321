"""How results look at a shell: regions and steps as coloured lines, files written whole or not at all. Thin, no torch.

Results go to stdout; steps, notes and errors to stderr. A region has the colour here that it has in the picture. Click
strips colours where the stream is no terminal; NO_COLOR turns them off everywhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fo1agent.types import Region, Regions


def result(text: str) -> None:
    """Print a line of the result itself."""
    click.echo(text, color=_color())


def result_json(value: Any) -> None:
    """Print one JSON value as the whole result."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def note(text: str) -> None:
    """Print what a person should know beside the result; nothing when there is nothing to say."""
    if text:
        click.echo(text, err=True, color=_color())


def regions(found: Regions) -> None:
    """Print one line per region: name, probability, label, box."""
    for region in found:
        box = " ".join(f"{value:.0f}" for value in region.box)
        result(f"{tag(region)}  {region.score:.2f}  {region.label or '-'}  [{box}]")


def bounds(at_least: float | None, at_most: float | None) -> str:
    """What is known of a number that is not: "0 to 6", "2 or more"."""
    if at_most is None:
        return f"{at_least or 0:g} or more"
    return f"{at_least or 0:g} to {at_most:g}"


def not_judged(words: Iterable[str], known: Any = None) -> list[str]:
    """What to say of words that could not be judged, in parts: "not judged: dead", "0 to 1".

    Args:
        words: those words; where there are none, nothing is said.
        known: the bounds of the number that hangs on them, as in `Answer.bounds`.
    """
    words = list(words)
    numbers = [one for one in (known if isinstance(known, list) else [known]) if one]
    return [f"not judged: {', '.join(words)}", *(bounds(**one) for one in numbers)] if words else []


def tag(region: Region | str) -> str:
    """A region's short name in its own colour; accepts a region id as well."""
    from fo1agent.drawing import region_color

    name = (region if isinstance(region, str) else region.id).rsplit("/", 1)[-1]
    red, green, blue = (int(region_color(name)[i : i + 2], 16) for i in (1, 3, 5))
    return click.style(name, fg=(red, green, blue), bold=True)


def step(number: int, fields: Mapping[str, Any]) -> None:
    """Print one step of an answer as it happens: number, what was done, what came of it.

    Args:
        number: from 1.
        fields: a step as in `Answer.to_dict()["steps"]`; in its text, two blanks part what was asked from what was
            found.
    """
    text = str(fields["text"])
    asked, _, found = text.partition("  ") if "  " in text else ("", "", text)
    note(f"{number:>3}  {fields['tool']:<6} {_colored(asked.ljust(18))} {_colored(found)}")


def check(name: str, ok: bool, needed: bool, detail: str) -> None:
    """Print one line of `fo1agent doctor`; what can be done without is no failure."""
    mark = click.style("ok", fg="green") if ok else click.style("FAILED", fg="red") if needed else "absent"
    result(f"{name:<12} {mark:<6} {detail}")


def _colored(text: str) -> str:
    """The text with each region's name in its colour."""
    return re.sub(r"\br\d+\b", lambda match: tag(match[0]), text)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` (same suffix) and put it in its place when the block ends well.

    Raises:
        click.FileError: the folder is missing or may not be written; the message names the path.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    except OSError as exc:
        raise click.FileError(str(path), hint=exc.strerror) from exc
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; give this one the mode that an ordinary new file would have.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line."""
    with whole_file(path) as temporary:
        temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def one_line(text: str) -> str:
    """The text on a single line, for error messages."""
    return " ".join(text.split())


def _color() -> bool | None:
    return False if os.environ.get("NO_COLOR") else None


def figures(figures: dict[str, Any], json_output: bool) -> None:
    """Print measured figures, one a line, or as one JSON object."""
    if json_output:
        result_json(figures)
        return
    for name, value in figures.items():
        if isinstance(value, dict):
            value = "  ".join(f"{key} {part}" for key, part in value.items())
        result(f"{name:<14} {'-' if value is None else value}")
