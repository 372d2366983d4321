"""Several pictures in one command: patterns, names told from phrases, and one line or one JSON object a picture.

One picture is printed as each command prints it; several are a line each, `name: …`. One that cannot be opened or
answered says so in its place, `name: error: …`, and the others go on. What is asked of several is asked together, and
printed as soon as a batch of them has its answers.
"""

from __future__ import annotations

import glob
import mimetypes
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from fo1agent.cli import console
from fo1agent.errors import FO1AgentError, InputError

T = TypeVar("T")

images_argument = click.argument("images", nargs=-1, metavar="IMAGE…")
"""The pictures of a command, for `named`; whatever else it takes comes after them."""


@dataclass(frozen=True)
class Looked:
    """What a command has to say of one picture.

    Attributes:
        fields: with `--json`.
        line: where it is one of several pictures, behind its name.
        text: prints it where it is the only one.
        save: writes the files that were asked for; called last, so that no answer is lost with a file.
    """

    fields: Mapping[str, Any]
    line: Sequence[console.Part]
    text: Callable[[], None]
    save: Callable[[], None]


def named(
    arguments: Iterable[str], outputs: Mapping[str, Path | None], last: tuple[str, str | None] | None = None
) -> list[str]:
    """The pictures that arguments name; the files that a pattern such as `photos/*.jpg` matches, in its place, sorted.

    Args:
        arguments: as they were typed.
        outputs: option → the one file that it is to write, which several pictures cannot share.
        last: (name, value) of the argument behind the pictures.

    Raises:
        click.UsageError: no picture is named, a picture stands where the last argument should, or words of the last
            argument stand where pictures should.
    """
    arguments = list(arguments)
    names = [name for argument in arguments for name in matches(argument)]
    # The arguments behind are filled first: of `ask photo.jpg` the picture would be the question.
    if last and (last[1] is None or not names or (_has_picture_ending(last[1]) and os.path.isfile(last[1]))):
        raise click.UsageError(f"Missing argument '{last[0]}', which comes after the pictures.")
    if not names:
        raise click.UsageError("Missing argument 'IMAGE…'.")
    word = next((one for one in arguments[1:] if not _looks_like_a_picture(one) and not os.path.exists(one)), None)
    if last and word is not None:
        raise click.UsageError(f'There is no picture {word!r}. If it is a word of the {last[0]}, quote all of it: "…".')
    if len(names) > 1 and (given := [option for option, path in outputs.items() if path]):
        raise click.UsageError(f"{given[0]} writes one file; name one picture, not {len(names)}.")
    return names


def parted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Pictures and phrases, told apart: the first is a picture, and so is what follows it and looks like one.

    That is an address, `-`, a pattern with `*`, a name with the ending of a picture format, and a path through a folder
    that is there.
    """
    count = next((k for k, one in enumerate(arguments) if k and not _looks_like_a_picture(one)), len(arguments))
    return list(arguments[:count]), list(arguments[count:])


def matches(argument: str) -> list[str]:
    """The files that a pattern matches, sorted; anything else, and a pattern that matches none, as it is."""
    pattern = glob.has_magic(argument) and "://" not in argument and "\0" not in argument
    return (sorted(glob.glob(argument, recursive=True)) if pattern and not os.path.exists(argument) else []) or [
        argument
    ]


def check_no_folder(name: str) -> None:
    """Raise an error for the name of a folder.

    Raises:
        InputError: it is one.
    """
    if os.path.isdir(name):
        pattern = os.path.join(name, "*.jpg")
        raise InputError(
            f"{name} is a folder. Write {pattern} for its pictures, or use `fo1agent annotate` on all of it."
        )


def each(
    names: Sequence[str],
    opened: Callable[[str], Any],
    ask: Callable[[Sequence[Any]], Sequence[T | FO1AgentError]],
    looked: Callable[[Any, T], Looked],
    json_output: bool,
) -> None:
    """Look at each picture and print what is found; with several, exit 1 if one failed.

    Args:
        names: of the pictures.
        opened: opens one.
        ask: of several open pictures, what is found in each, or why nothing is.
        looked: what there is to say of an open picture and what was found in it.
        json_output: one JSON object a picture.

    Raises:
        FO1AgentError: the only picture failed.
    """
    if len(names) == 1:
        scene = opened(names[0])
        only = looked(scene, _right(ask([scene])[0]))
        if json_output:
            console.result_json(only.fields)
        else:
            only.text()
        only.save()
        return
    from fo1agent.scene import batches

    failed = False
    for batch in batches(names, opened):
        found = iter(ask([scene for _, scene in batch if not isinstance(scene, FO1AgentError)]))
        for name, scene in batch:
            try:
                one = looked(_right(scene), _right(next(found)))
                _tell(name, one.fields, one.line, json_output)
                one.save()
            except FO1AgentError as exc:
                failed = True
                why = console.one_line(str(exc)).removeprefix(f"{name}: ")
                _tell(name, {"error": why}, [f"error: {why}"], json_output)
    if failed:
        click.get_current_context().exit(1)


def _right(found: T | FO1AgentError) -> T:
    """What was found.

    Raises:
        FO1AgentError: that is an error.
    """
    if isinstance(found, FO1AgentError):
        raise found
    return found


def _tell(name: str, fields: Mapping[str, Any], line: Sequence[console.Part], json_output: bool) -> None:
    if json_output:
        console.result_json({"picture": name, **fields}, indent=None)
    else:
        console.result(f"{name}: ", *line)


def _looks_like_a_picture(text: str) -> bool:
    return (
        text == "-"
        or "://" in text
        or "*" in text
        or _has_picture_ending(text)
        or (os.sep in text and os.path.exists(text))
    )


def _has_picture_ending(text: str) -> bool:
    return (mimetypes.guess_type(text)[0] or "").startswith("image/")
