"""Cut-outs: pictures of one thing each with an alpha channel, read from a folder or from a package that `packages` put
there. What a name means, `names` says; here are files and pixels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from fo1agent.errors import DataError
from fo1agent.evaluate.files import opened
from fo1agent.trainers.data.composites.names import classify
from fo1agent.trainers.data.files import is_twin

MOST_PIXELS = 256  # long side; larger ones are shrunk when read
_LEAST_PIXELS = 64  # long side
_LEAST_CLEAR = 0.04  # share of pixels that must be transparent: a picture without is no cut-out

_TUXPAINT_DROPPED = re.compile(
    r"symbols|cartoon|seasonal|roadsigns|naturalforces|monuments|ammunition|/space/|body_parts"
)
_EMOJI_GROUPS = ("Animals & Nature", "Food & Drink", "Travel & Places", "Activities", "Objects")


@dataclass(frozen=True, eq=False)
class Sprite:
    """A cut-out.

    Attributes:
        label: category, as COCO words it where COCO has one.
        name: its own name, the label or something more special.
        pixels: [h, w, 4] uint8 RGBA, cropped to what is not transparent.
        file: where it was read, for messages.
    """

    label: str
    name: str
    pixels: np.ndarray
    file: str

    def image(self, side: float) -> Image.Image:
        """The picture, its long side at least `side` pixels if it has them."""
        return self._half if side <= max(self._half.size) else Image.fromarray(self.pixels)

    @cached_property
    def _half(self) -> Image.Image:
        """At half the size, where most scenes want it."""
        return Image.fromarray(self.pixels).reduce(2)


def read_folder(folder: Path) -> list[Sprite]:
    """RGBA pictures (PNG, WebP) of the user's own, called by their label: `red_apple.png`, `apple-2.png`, `cup/1.png`.

    A colour word and a number in the file name are no part of the label.

    Raises:
        DataError: the folder holds no picture with a transparent part.
    """
    sprites = []
    files = (p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".webp"))
    for file in sorted(p for p in files if not is_twin(p.relative_to(folder))):
        within = file.relative_to(folder)
        word = within.parts[0] if len(within.parts) > 1 else re.sub(r"[-_ ]?\d+$", "", file.stem)
        label = " ".join(re.sub(r"[_-]", " ", word).lower().split())
        found = classify(label) or (label, label)
        sprites += _read(file, found)
    if not sprites:
        raise DataError(f"{folder}: no PNG or WebP with a transparent part. A cut-out is one thing on nothing.")
    return sprites


def read_tuxpaint(folder: Path) -> list[Sprite]:
    """The photographic stamps of an unpacked `tuxpaint-stamps-default`; a text beside each begins with its name."""
    sprites = []
    for file in sorted(folder.rglob("stamps/**/*.png")):
        text = file.with_suffix(".txt")
        if _TUXPAINT_DROPPED.search(file.as_posix()) or not text.is_file():
            continue
        title = text.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
        if found := classify(title):
            sprites += _read(file, found)
    return sprites


def read_emoji(folder: Path) -> list[Sprite]:
    """The pictures of an unpacked `@lobehub/fluent-emoji-3d`, named by `unicode-emoji-json` beside it."""
    names = json.loads(next(folder.rglob("data-by-emoji.json")).read_text(encoding="utf-8"))
    files = {file.stem.replace("-fe0f", ""): file for file in sorted(folder.rglob("assets/*.webp"))}
    sprites = []
    for emoji, fields in names.items():
        file = files.get("-".join(f"{ord(c):04x}" for c in emoji if c != "\ufe0f"))
        found = classify(fields["name"]) if fields["group"] in _EMOJI_GROUPS else None
        if file and found:
            sprites += _read(file, found)
    return sprites


def _read(file: Path, found: tuple[str, str]) -> Iterator[Sprite]:
    """The picture of a file as a sprite, none when it is too small or no cut-out."""
    try:
        with opened(file) as data, Image.open(data) as picture:
            image = picture.convert("RGBA")
    except OSError as exc:
        raise DataError(f"{file} cannot be read as a picture: {exc}") from exc
    clear = float((np.asarray(image)[..., 3] < 128).mean())
    box = image.getchannel("A").point([0] * 32 + [255] * 224).getbbox()
    if box is None or clear < _LEAST_CLEAR:
        return
    image = image.crop(box)
    if max(image.size) < _LEAST_PIXELS or min(image.size) < 8:
        return
    image.thumbnail((MOST_PIXELS, MOST_PIXELS), Image.Resampling.BOX)
    yield Sprite(*found, np.asarray(image), str(file))
