"""`--like` and `--unlike`: examples of what to find, each a region or box of some picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from fo1agent.errors import BoxError


@dataclass(frozen=True)
class Named:
    """An example as it was typed.

    Attributes:
        text: as it was typed.
        picture: file or address; None for each picture that is looked at.
        place: id of a region, or a box in pixels.
    """

    text: str
    picture: str | None
    place: Any


class ExampleType(click.ParamType):
    """`OTHER.jpg:r3`, `OTHER.jpg:x1,y1,x2,y2`, or one of the two alone for the picture itself."""

    name = "example"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Named:
        """Raises click.UsageError: it is none."""
        if isinstance(value, Named):
            return value
        picture, colon, place = value.rpartition(":")
        found = _place(place)
        if found is None or picture == "-" or (colon and not picture.strip()):
            self.fail(f"{value!r} is no example. Write OTHER.jpg:r3 or OTHER.jpg:x1,y1,x2,y2 (pixels).", param, ctx)
        return Named(value, picture or None, found)


def example_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options `like` and `unlike`."""
    for option in (
        click.option(
            "--unlike", type=ExampleType(), multiple=True, metavar="EXAMPLE", help="With --like: what is not meant."
        ),
        click.option(
            "--like",
            type=ExampleType(),
            multiple=True,
            metavar="EXAMPLE",
            help="Instead of PHRASE, more of what OTHER.jpg:r3, or the box OTHER.jpg:x1,y1,x2,y2, shows. Repeatable.",
        ),
    ):
        command = option(command)
    return command


def opened(named: Sequence[Named], model: Any) -> list[Any]:
    """What `ground` takes as examples; other pictures are opened, each once.

    Raises:
        ImageError: a picture cannot be read.
        InputError: it has no such region.
        ToolFailed: the model cannot compare regions of several pictures.
    """
    scenes = {one.picture: model.open(one.picture) for one in named if one.picture is not None}
    return [one.place if one.picture is None else scenes[one.picture].example(one.place) for one in named]


def _place(text: str) -> Any:
    from fo1agent.regions.ids import is_region_id
    from fo1agent.regions.regions import read_box

    if is_region_id(text):
        return text.strip()
    try:
        return read_box(text.replace(",", " ").split())
    except BoxError:
        return None
