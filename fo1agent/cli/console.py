"""How results look at a shell: regions and steps as coloured lines, files written whole or not at all. Thin, no torch.

Results go to stdout; steps, notes and errors to stderr. Everything that the command prints goes through here, as parts
of a line: text, of which no character reaches the terminal, a pipe or a file that it could steer (see `foreign`), and
`Styled` text, which alone has colours. A region has the colour here that it has in the picture. Click strips colours
where the stream is no terminal; NO_COLOR turns them off everywhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fo1agent.bounded import kind
from fo1agent.errors import InputError
from fo1agent.foreign import visible, visible_json
from fo1agent.regions.ids import name_of
from fo1agent.whole import whole

if TYPE_CHECKING:
    from fo1agent.regions.regions import Region, Regions


_EVIDENCE = 8  # regions that stand behind an answer, as behind a step


@dataclass(frozen=True)
class Styled:
    """Text with a look; `color` is a name that click knows, or red, green and blue from 0 to 255."""

    text: str
    color: str | tuple[int, int, int] | None = None
    bold: bool = False

    def __str__(self) -> str:
        return self.text


Part = str | Styled
"""What a line is made of."""


def result(*parts: Part) -> None:
    """Print a line of the result itself; that it is one, text with line breaks does not change."""
    _print(parts)


def result_text(text: str) -> None:
    """Print a text that is the result, line by line."""
    for line in text.split("\n"):
        result(line)


def result_json(value: Any, indent: int | None = 2) -> None:
    """Print one JSON value as the whole result; without `indent` as one line of it."""
    _echo(visible_json(json.dumps(value, ensure_ascii=False, indent=indent)))


def note(*parts: Part) -> None:
    """Print in a line what a person should know beside the result; nothing when there is nothing to say."""
    if any(map(str, parts)):
        _print(parts, err=True)


def error(text: str) -> None:
    """Print why a command failed, in one line."""
    note(f"error: {one_line(text)}")


def printable(exc: click.UsageError) -> click.UsageError:
    """An error that click can print as it is: it quotes arguments, which may be names of others' files."""
    message = exc.format_message()
    return exc if visible(message) == message else click.UsageError(visible(message), exc.ctx)


def passing(text: str) -> None:
    """Print how far something is, over what was printed so before."""
    _echo(f"\r{_visible(text)}", nl=False, err=True)


def passed() -> None:
    """Go on below what was printed so."""
    _echo("", err=True)


@contextlib.contextmanager
def ctrl_c() -> Iterator[None]:
    """Within the block, Ctrl-C is a KeyboardInterrupt always.

    A compiled package that is stopped while it is imported, as ONNX Runtime may be, raises an ImportError of its own.
    """
    try:
        yield
    except ImportError as exc:
        if isinstance(exc.__cause__, KeyboardInterrupt):
            raise exc.__cause__ from None
        raise


@contextlib.contextmanager
def logs() -> Iterator[None]:
    """Within the block, warnings and log records that nobody else takes are printed as notes.

    Python itself would print them as they are, and what a library warns of may be what it was sent.
    """
    import logging
    import warnings

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            for line in self.format(record).split("\n"):
                note(line)

    def show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
        if file is not None:
            shown(message, category, filename, lineno, file, line)
        elif category.__module__.startswith("fo1agent."):
            note(f"warning: {one_line(str(message))}")
        else:
            for one in warnings.formatwarning(message, category, filename, lineno, line).split("\n"):
                note(one)

    shown, last = warnings.showwarning, logging.lastResort
    warnings.showwarning, logging.lastResort = show, Notes(logging.WARNING)
    try:
        yield
    finally:
        warnings.showwarning, logging.lastResort = shown, last


def regions(found: Regions) -> None:
    """Print one line per region: name, probability, label, box."""
    for region in found:
        box = " ".join(f"{value:.0f}" for value in region.box)
        result(tag(region), f"  {region.score:.2f}  {one_line(region.label or '-')}  [{box}]")


def tags(found: Iterable[Region]) -> list[Part]:
    """The regions' short names, with a blank between."""
    parts = [part for region in found for part in (" ", tag(region))]
    return parts[1:]


def evidence(found: Sequence[Region]) -> list[Part]:
    """What an answer rests on: "evidence r0 r2"; of very many the first, and how many there are. [] for nothing."""
    if not len(found):
        return []
    more = [f"  … {len(found)} in all"] if len(found) > _EVIDENCE else []
    return ["evidence ", *tags(found[:_EVIDENCE]), *more]


def scored(found: Iterable[Region]) -> list[Part]:
    """The regions' short names with their scores, with a blank between."""
    parts = [part for region in found for part in (" ", tag(region), f" {region.score:.2f}")]
    return parts[1:]


def aside(*notes: str) -> list[str]:
    """What else is known, behind the result in its line."""
    return [f" · {one_line(text)}" for text in notes if text]


def bounds(at_least: float | None, at_most: float | None) -> str:
    """What is known of a number that is not: "0 to 6", "2 or more"."""
    if at_most is None:
        return f"{at_least or 0:g} or more"
    return f"{at_least or 0:g} to {at_most:g}"


def judged_by(names: Sequence[str]) -> list[str]:
    """What to say of who judged, where finders were asked: "judged by fo1-nano and transformers:detr"."""
    from fo1agent.words.english import listed

    return [f"judged by {one_line(listed(list(names)))}"] if names else []


def not_judged(words: Iterable[str], known: Any = None) -> list[str]:
    """What to say of words that could not be judged, in parts: "not judged: dead", "0 to 1".

    Args:
        words: those words; where there are none, nothing is said.
        known: the bounds of the number that hangs on them, as in `Answer.bounds`.
    """
    words = list(words)
    numbers = [one for one in (known if isinstance(known, list) else [known]) if one]
    return [f"not judged: {', '.join(words)}", *(bounds(**one) for one in numbers)] if words else []


def tag(region: Region | str) -> Styled:
    """A region's short name in its own colour; accepts a region id as well."""
    from fo1agent.pictures.drawing import region_color

    name = name_of(region if isinstance(region, str) else region.id)
    red, green, blue = (int(region_color(name)[i : i + 2], 16) for i in (1, 3, 5))
    return Styled(one_line(name), (red, green, blue), bold=True)


def step(number: int, fields: Mapping[str, Any]) -> None:
    """Print one step of an answer as it happens: number, what was done, what came of it.

    Args:
        number: from 1.
        fields: a step as in `Answer.to_dict()["steps"]`.
    """
    # Two blanks part one region from the next.
    gave = "  ".join(map(one_line, str(fields["gave"]).split("  ")))
    asked = f"{one_line(str(fields['asked'])):<18}"
    note(f"{number:>3}  {fields['tool']:<6} ", *_colored(asked), " ", *_colored(gave))


def check(name: str, ok: bool, needed: bool, detail: str) -> None:
    """Print one line of `fo1agent doctor`; what can be done without is no failure."""
    mark = Styled("ok", "green") if ok else Styled("FAILED", "red") if needed else "absent"
    result(f"{name:<12} ", mark, f" {detail}")


def _colored(text: str) -> list[Part]:
    """The text with each region's name in its colour."""
    return [tag(part) if k % 2 else part for k, part in enumerate(re.split(r"\b(r\d+)\b", text))]


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` (same suffix) and put it in its place when the block ends well.

    Raises:
        InputError: the folder is missing or may not be written, or the disk is full; the message names the path.
    """
    try:
        with whole(path) as temporary:
            yield temporary
    except OSError as exc:
        raise InputError(f"{path} cannot be written: {exc.strerror or exc}.") from exc


class FileOut(click.Path):
    """A file to write; its ending says in which format."""

    def __init__(self, *endings: str) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self._endings = endings

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if Path(value).suffix.lower() not in self._endings:
            *others, last = self._endings
            wanted = f"{', '.join(others)} or {last}"
            self.fail(f"{value!r} should end in {wanted}.", param, ctx)
        return super().convert(value, param, ctx)


PICTURE_OUT = FileOut(".png", ".jpg", ".jpeg", ".webp")
PAGE_OUT = FileOut(".html", ".htm")


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[str | Path | None]) -> None:
    """Refuse files that cannot or should not be written, before the work that would be lost is done.

    Args:
        outputs: option → the file that it names, if it is given.
        inputs: what is read: files, or what else names a picture.

    Raises:
        click.UsageError: a file is read as well, or two options name it.
        InputError: there is no folder for it, or what is in its place is no regular file.
    """
    seen: dict[str, Path] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        if any(_same_file(path, one) for one in inputs if one is not None):
            raise click.UsageError(f"{option} {path}: that is a file to be read; name another one.")
        for other, taken in seen.items():
            if _same_file(path, taken):
                raise click.UsageError(f"{other} and {option} both name {path}; name two files.")
        if not path.parent.is_dir():
            raise InputError(f"{option} {path} cannot be written: there is no folder {path.parent}.")
        if path.exists() and not path.is_file():
            raise InputError(f"{option} {path} cannot be written: {kind(path.stat().st_mode)}, not a regular file.")
        seen[option] = path


def _same_file(a: str | Path, b: str | Path) -> bool:
    """Whether two names are of one file, which need not be there yet."""
    try:
        return os.path.realpath(a) == os.path.realpath(b) or os.path.samefile(a, b)
    except (OSError, ValueError):  # one is not there, or is no name of a file at all
        return False


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line."""
    with whole_file(path) as temporary:
        temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def one_line(text: str) -> str:
    """The text on a single line, for error messages."""
    return " ".join(text.split())


def _print(parts: Sequence[Part], err: bool = False) -> None:
    _echo("".join(map(_shown, parts)), err=err)


def _echo(text: str, err: bool = False, nl: bool = True) -> None:
    """Print; what goes to stderr only if that can be written, since the result does not hang on it.

    Raises:
        InputError: stdout cannot be written, but for a pipe that nobody reads any more.
    """
    try:
        click.echo(text, nl=nl, err=err, color=_color())
    except OSError as exc:
        if err:
            sys.stderr = None  # its buffer still holds the text, and Python would fail at it when it ends
        elif isinstance(exc, BrokenPipeError):
            raise
        else:
            sys.stdout = None
            raise InputError(f"The result cannot be written to stdout: {exc.strerror or exc}.") from exc


def keep_streams_apart() -> None:
    """Open the null device in place of a standard stream that is closed: the next file that is opened would take its
    number, and what libraries print there would be written into that file."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def stdin_bytes(most: int) -> bytes:
    """The first `most` bytes of stdin.

    Raises:
        InputError: it is closed.
    """
    if sys.stdin is None:
        raise InputError("stdin is closed, so no picture can be read from it.")
    return sys.stdin.buffer.read(most)


def interactive() -> bool:
    """Whether somebody may be watching stderr as it is written."""
    return sys.stderr is not None and sys.stderr.isatty()


def on_a_terminal() -> bool:
    """Whether the result is read at a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def shows_pictures() -> bool:
    """Whether the terminal may be given pictures: there is one, and it may have colours."""
    return on_a_terminal() and _color() is None and os.environ.get("TERM") != "dumb"


def picture(escapes: str) -> None:
    """Show a picture; `escapes` are of `inline.drawn`, the one source of characters that may steer the terminal."""
    _echo(escapes, nl=False)


def _shown(part: Part) -> str:
    if isinstance(part, Styled):
        return click.style(_visible(part.text), fg=part.color, bold=part.bold or None)
    return _visible(part)


def _visible(text: str) -> str:
    """Text that stays in its line: another's line break could make more of it look like ours."""
    return visible(text).replace("\n", "\\n")


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
