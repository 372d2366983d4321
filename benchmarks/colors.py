"""Whether the colour that is read from a box is one that people name in captions: "a red bus".

    .venv/bin/python benchmarks/colors.py INSTANCES.json IMAGES CAPTIONS.jsonl

Asked is of things that are the only ones of their name in a picture, and before whose name a caption says a colour.
Right is any colour that a caption says of it: of a red and white bus both. Beside it stands what is read when the box
is all that is seen of the picture, and how many of all colours that are named of a thing are said, and of all said,
named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image

from fo1agent.pictures.color import box_color_shares, colors_of, main_color
from fo1agent.trainers.data.coco import load_coco
from fo1agent.trainers.data.records import open_picture
from fo1agent.words.colors import COLORS, basic_color

_COLOR = rf"(?:{'|'.join([*COLORS, 'grey', 'silver'])})"


@click.command()
@click.argument("instances", type=click.Path(exists=True, path_type=Path))
@click.argument("images", type=click.Path(exists=True, path_type=Path))
@click.argument("captions", type=click.Path(exists=True, path_type=Path))
def main(instances: Path, images: Path, captions: Path) -> None:
    """Print one JSON object: how many things were asked of, and the percentages right."""
    seen, alone, named, wanted, both = [], [], 0, 0, 0
    for thing in named_things(instances, images, captions):
        shares, crop = box_color_shares(thing.picture, thing.box), thing.picture.crop(thing.box)
        seen.append(main_color(shares)[0] in thing.colors)
        alone.append(main_color(box_color_shares(crop, (0, 0, *crop.size)))[0] in thing.colors)
        colors = set(colors_of(shares))
        named, wanted, both = named + len(colors), wanted + len(thing.colors), both + len(colors & thing.colors)
    figures = {"with surroundings": np.mean(seen), "box alone": np.mean(alone)} if seen else {}
    if seen:
        figures |= {"of all named, said": both / named, "of all said, named": both / wanted}
    percent = {name: round(100 * float(share), 1) for name, share in figures.items()}
    click.echo(json.dumps({"things": len(seen), **percent}))


@dataclass(frozen=True, eq=False)
class Thing:
    """A thing whose colours captions say; `box` is x1, y1, x2, y2 in whole pixels, `id` its picture's."""

    id: int | str
    picture: Image.Image
    box: tuple[int, int, int, int]
    label: str
    colors: frozenset[str]


def named_things(instances: Path, images: Path, captions: Path) -> Iterator[Thing]:
    """The things that are the only ones of their name in a picture, and before whose name a caption says a colour."""
    for example in load_coco(instances, images, captions):
        said = " ".join(example.captions).lower()
        for box, label in zip(example.boxes, example.labels, strict=True):
            colors = named_colors(said, label) if example.labels.count(label) == 1 else frozenset()
            if colors:
                x1, y1 = np.floor(box[:2]).astype(int).tolist()
                x2, y2 = np.ceil(box[2:]).astype(int).tolist()
                yield Thing(example.id, open_picture(example), (x1, y1, x2, y2), label, colors)


def named_colors(said: str, label: str) -> frozenset[str]:
    """Basic colours said right before a name, up to one word between: "a black and red steam train"."""
    before = rf"\b({_COLOR}(?:(?:,|,? and| &)? {_COLOR})*) (?:\w+ )?{re.escape(label)}\b"
    words = [word for phrase in re.findall(before, said) for word in re.findall(rf"\b{_COLOR}\b", phrase)]
    return frozenset(color for word in words if (color := basic_color(word)))


if __name__ == "__main__":
    main()
