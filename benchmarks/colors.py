"""Whether the colour that is read from a box is one that people name in captions: "a red bus".

    .venv/bin/python benchmarks/colors.py INSTANCES.json IMAGES CAPTIONS.jsonl

Asked is of things that are the only ones of their name in a picture, and before whose name a caption says a colour.
Right is any colour that a caption says of it: of a red and white bus both. Beside it stands what is read when the box
is all that is seen of the picture.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import numpy as np

from fo1agent.color import COLORS, basic_color, box_color_shares, main_color
from fo1agent.trainers.data.coco import load_coco
from fo1agent.trainers.data.records import open_picture

_COLOR = rf"(?:{'|'.join([*COLORS, 'grey', 'silver'])})"


@click.command()
@click.argument("instances", type=click.Path(exists=True, path_type=Path))
@click.argument("images", type=click.Path(exists=True, path_type=Path))
@click.argument("captions", type=click.Path(exists=True, path_type=Path))
def main(instances: Path, images: Path, captions: Path) -> None:
    """Print one JSON object: how many things were asked of, and the percentages right."""
    seen, alone = [], []
    for example in load_coco(instances, images, captions):
        said = " ".join(example.captions).lower()
        for box, label in zip(example.boxes, example.labels, strict=True):
            colors = named_colors(said, label) if example.labels.count(label) == 1 else set()
            if colors:
                picture = open_picture(example)
                corners = (*np.floor(box[:2]).astype(int).tolist(), *np.ceil(box[2:]).astype(int).tolist())
                crop = picture.crop(corners)
                seen.append(main_color(box_color_shares(picture, corners))[0] in colors)
                alone.append(main_color(box_color_shares(crop, (0, 0, *crop.size)))[0] in colors)
    figures = {"with surroundings": 100 * np.mean(seen), "box alone": 100 * np.mean(alone)} if seen else {}
    click.echo(json.dumps({"things": len(seen), **{name: round(float(share), 1) for name, share in figures.items()}}))


def named_colors(said: str, label: str) -> set[str | None]:
    """Basic colours said right before a name, up to one word between: "a black and red steam train"."""
    before = rf"\b({_COLOR}(?:(?:,|,? and| &)? {_COLOR})*) (?:\w+ )?{re.escape(label)}\b"
    return {basic_color(word) for phrase in re.findall(before, said) for word in re.findall(rf"\b{_COLOR}\b", phrase)}


if __name__ == "__main__":
    main()
