"""What lies behind a scene's things, and shows none of them: pieces of photographs, or made-up patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fo1agent.errors import DataError, ImageError
from fo1agent.pictures.image import load_image
from fo1agent.regions.boxes import intersections
from fo1agent.trainers.data.coco import load_coco
from fo1agent.trainers.data.files import is_twin

_PHOTOS_TRIED, _SIDES_TRIED = 5, 8
_LEAST_PIECE = 90  # pixels of a photograph; enlarged more than that, edges blur away
_BLUR_TO = (8, 20)  # pixels across: nobody recognises a thing at that size
_NO_BOXES = np.zeros((0, 4), np.float32)


@dataclass(frozen=True)
class Backgrounds:
    """Makes backgrounds.

    Attributes:
        photos: files; none: patterns only.
        shown: per file name, size (width, height) and boxes [N, 4] xyxy pixels of the things that the photograph
            shows. A piece that shows none of them is cut; without one, a photograph is blurred until nothing in it can
            be told.
        patterns: share of scenes that have a pattern although there are photographs.
    """

    photos: Sequence[Path] = ()
    shown: Mapping[str, tuple[tuple[int, int], np.ndarray]] = field(default_factory=dict)
    patterns: float = 0.25

    def part(self, dev: bool) -> Backgrounds:
        """Every tenth photograph for dev, the others for training."""
        photos = [photo for k, photo in enumerate(self.photos) if (k % 10 == 9) == dev]
        return replace(self, photos=photos or self.photos)

    def make(self, size: int, rng: np.random.Generator) -> Image.Image:
        """A background, [size, size] RGB."""
        if self.photos and rng.random() >= self.patterns:
            return self._piece(size, rng)
        return _pattern(size, rng)

    def patch(self, size: int, rng: np.random.Generator) -> Image.Image:
        """A piece of some other background cut to a blob, RGBA: it has the edges of a thing, and is none."""
        picture = self.make(size, rng)
        mask = Image.new("L", (size, size), 0)
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(5, 14))))
        radii = rng.uniform(0.25, 0.5, len(angles)) * size
        points = [(size / 2 + r * np.cos(a), size / 2 + r * np.sin(a)) for a, r in zip(angles, radii, strict=True)]
        ImageDraw.Draw(mask).polygon(points, fill=255)
        picture.putalpha(mask)
        return picture

    def _piece(self, size: int, rng: np.random.Generator) -> Image.Image:
        path = self.photos[int(rng.integers(len(self.photos)))]
        for k in rng.integers(len(self.photos), size=_PHOTOS_TRIED):
            whole, boxes = self.shown.get(self.photos[k].name, ((0, 0), _NO_BOXES))
            most = max(min(whole), _LEAST_PIECE + 1)
            for side in np.sort(rng.uniform(_LEAST_PIECE, most, _SIDES_TRIED))[::-1]:
                if (corner := _empty_corner(whole, boxes, side, rng)) is not None:
                    piece = (*corner.tolist(), *(corner + side).tolist())
                    return _open(self.photos[k]).resize((size, size), Image.Resampling.BILINEAR, box=piece)
        across = int(rng.integers(*_BLUR_TO))
        blurred = _open(path).resize((across, across), Image.Resampling.BOX)
        return blurred.resize((size, size), Image.Resampling.BICUBIC)


def read_backgrounds(folder: Path | None, instances: Path | None = None) -> Backgrounds:
    """Backgrounds from a folder of photographs, with the boxes of a COCO instances file if there is one.

    Raises:
        DataError: the folder holds no pictures, or the file is no COCO instances file, or has a wrong record.
    """
    if folder is None:
        return Backgrounds()
    files = (p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    photos = sorted(p for p in files if not is_twin(p.relative_to(folder)))
    if not photos:
        raise DataError(f"--photos {folder}: no pictures (.jpg, .png, .webp).")
    known = () if instances is None else load_coco(instances, folder)
    return Backgrounds(photos, {Path(e.path or "").name: ((e.width, e.height), e.boxes) for e in known})


def _open(path: Path) -> Image.Image:
    try:
        return load_image(path).pixels
    except ImageError as exc:
        raise DataError(f"{path} cannot be read as a picture: {exc}") from exc


def _empty_corner(size: tuple[int, int], boxes: np.ndarray, side: float, rng: np.random.Generator) -> np.ndarray | None:
    """The upper left corner of a square of that side that touches no box, of a few tried; None if none was found."""
    room = np.array(size) - side
    if (room < 0).any():
        return None
    corners = rng.uniform(0, 1, (8, 2)) * room
    squares = np.concatenate([corners, corners + side], axis=1)
    touches = (intersections(squares, boxes) > 0).any(axis=1)
    free = np.flatnonzero(~touches)
    return corners[free[0]] if len(free) else None


def _pattern(size: int, rng: np.random.Generator) -> Image.Image:
    """Soft blots of a few colours, often with shapes on them, always with some grain."""
    cells = int(rng.integers(1, 9))
    base = rng.integers(30, 226, 3)
    play = rng.integers(5, 90)
    grid = np.clip(base + rng.integers(-play, play + 1, (cells, cells, 3)), 0, 255).astype(np.uint8)
    sharp = rng.random() < 0.2
    image = Image.fromarray(grid).resize((size, size), Image.Resampling.NEAREST if sharp else Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 7)) if rng.random() < 0.6 else 0):
        x, y = rng.uniform(-0.1, 1, 2) * size
        width, height = rng.uniform(0.03, 0.5, 2) * size
        fill = tuple(int(v) for v in rng.integers(0, 256, 3))
        shape = int(rng.integers(3))
        if shape == 0:
            draw.rectangle((x, y, x + width, y + height), fill=fill)
        elif shape == 1:
            draw.ellipse((x, y, x + width, y + height), fill=fill)
        else:
            draw.line((x, y, *(rng.uniform(0, 1, 2) * size)), fill=fill, width=int(rng.integers(1, 9)))
    return image
