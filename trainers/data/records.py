"""`Example`: one picture and what is known of it, whatever file it came from. Readers make them, stages learn from it.

Boxes are xyxy float pixels of the upright picture as it is stored. The picture itself is opened late, by
`open_picture`, so that a million examples cost no more than their words. This file knows no format and no model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from fo1agent.errors import DataError, ImageError
from fo1agent.pictures.image import load_image

_REGION = re.compile(r"<region(\d+)>")


@dataclass(frozen=True)
class Reference:
    """A free phrase and the boxes that it names, by their positions; no boxes: it names nothing in this picture."""

    text: str
    boxes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Turn:
    """A question and the reply to learn; `<regionK>` in either means box K of the example."""

    question: str
    reply: str

    @property
    def regions(self) -> set[int]:
        """The boxes that it names."""
        return set(regions_of(self.question + self.reply))

    def renumbered(self, number: Mapping[int, int]) -> Turn:
        """The same about boxes that have other numbers now, by their numbers of before."""
        words = (
            _REGION.sub(lambda found: f"<region{number[int(found[1])]}>", said) for said in (self.question, self.reply)
        )
        return Turn(*words)


def regions_of(sentence: str) -> list[int]:
    """The K of every `<regionK>` in a text, in order."""
    return [int(k) for k in _REGION.findall(sentence)]


@dataclass(frozen=True, eq=False)
class Example:
    """One picture and what is known of it.

    Attributes:
        id: the source's own name for it.
        path: where the picture lies, not opened; None when `data` holds it.
        width, height: pixels.
        boxes: [N, 4] float32 xyxy pixels, inside the picture; N may be 0.
        labels: N category names; "" for a box that has none.
        crowd: [N] bool: the box stands for a group of the category that is not boxed one by one.
        captions: sentences about the whole picture; () when there are none.
        absent: category names that the picture is known not to show.
        phrases: free phrases and the boxes that they name.
        texts: what is written in each box, None where nobody knows; () when the source has no such thing.
        turns: questions with their replies.
        data: the encoded picture (JPEG, PNG, …) of an example that comes out of an archive.
        source: "file:line" or the like, for messages.
        remarks: what was read otherwise than it stands there, or not at all, once for each time.
    """

    id: int | str
    path: Path | None
    width: int
    height: int
    boxes: np.ndarray
    labels: tuple[str, ...]
    crowd: np.ndarray
    captions: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    phrases: tuple[Reference, ...] = ()
    texts: tuple[str | None, ...] = ()
    turns: tuple[Turn, ...] = ()
    data: bytes | None = field(default=None, repr=False)
    source: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For messages: where the example stands, or else its picture."""
        picture = str(self.path or self.id)
        return f"{self.source} ({picture})" if self.source else picture


def open_picture(example: Example) -> Image.Image:
    """The picture, upright, RGB.

    Raises:
        DataError: it cannot be read, or is of another size than the example says.
    """
    source = example.data if example.data is not None else example.path
    if source is None:
        raise DataError(f"{example.name}: no picture. An example needs a path or the bytes of an encoded picture.")
    try:
        image = load_image(source).pixels
    except ImageError as exc:
        raise DataError(f"{example.name}: {exc}") from exc
    if image.size != (example.width, example.height):
        raise DataError(
            f"{example.name}: the picture is {image.size}, its record says {example.width, example.height}."
        )
    return image
