"""Draw a scene: choose things and colours, place them so that enough of each stays visible, and say what can be seen.

A thing's box is that of its visible pixels. Edges, shadows, grain and patches that are no things are there so that a
model cannot find things by how they were pasted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from fo1agent.errors import InputError
from fo1agent.pictures.color import color_shares
from fo1agent.trainers.data.composites.backgrounds import Backgrounds
from fo1agent.trainers.data.composites.recolor import recolor
from fo1agent.trainers.data.composites.sprites import Sprite
from fo1agent.trainers.data.composites.stock import Pair, Stock

_SAMPLE = 600  # pixels of a thing that are looked at to judge its colours
_TRIES = 10  # places tried for a thing before it is left out


@dataclass(frozen=True)
class SceneSettings:
    """How scenes look.

    Attributes:
        size: side of the picture, pixels.
        most: things in a scene, at most.
        visible: share of a thing that must stay visible.
        theme: share of scenes in which one category appears several times in different colours.
        paint: share of the other things that get another colour, where that works.
    """

    size: int = 384
    most: int = 15
    visible: float = 0.4
    theme: float = 0.75
    paint: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 64 or self.most < 1:
            raise InputError(f"A scene has at least 64 pixels and one thing; got size={self.size}, most={self.most}.")


@dataclass(frozen=True, eq=False)
class Thing:
    """A thing in a scene.

    Attributes:
        label, name: of its category, and its own; see `sprites.Sprite`.
        color: what it was painted, or has by nature; None where no single colour is clear.
        box: xyxy pixels of its visible part.
        visible: share of it that can be seen.
        shares: share of each colour among its visible pixels.
    """

    label: str
    name: str
    color: str | None
    box: tuple[float, float, float, float]
    visible: float
    shares: dict[str, float]


@dataclass(frozen=True, eq=False)
class Composite:
    """A picture, [size, size] RGB, and its things, those further behind first."""

    image: Image.Image
    things: tuple[Thing, ...]


def draw_scene(
    stock: Stock,
    backgrounds: Backgrounds,
    settings: SceneSettings,
    rng: np.random.Generator,
    held_out: bool,
) -> Composite:
    """One scene.

    Args:
        stock: what may appear.
        backgrounds: what lies behind.
        settings: how it looks.
        rng: all that is random.
        held_out: whether pairs that are held out appear, and are sought, or never appear.
    """
    size = settings.size
    canvas = backgrounds.make(size, rng)
    for _ in range(int(rng.integers(1, 5)) if rng.random() < 0.5 else 0):
        patch = backgrounds.patch(int(size * rng.uniform(0.08, 0.35)), rng)
        left, top = rng.uniform(-0.1, 0.95, 2) * size
        canvas.paste(patch, (int(left), int(top)), patch)

    owner = np.full((size, size), -1, dtype=np.int16)  # which thing a pixel shows
    areas: list[int] = []
    placed: list[tuple[Sprite, str | None]] = []
    plan = _plan(stock, settings, rng, held_out)
    largest = size * float(np.clip(1.15 / np.sqrt(len(plan)), 0.24, 0.55))
    shadows = rng.random() < 0.6
    for label, color in plan:
        sprite, color, paint = stock.pick(label, color, rng)
        side = max(18.0, largest * float(np.exp(rng.uniform(np.log(0.38), 0))))
        cutout, painted = _prepare(sprite, color if paint else None, side, rng)
        place = _place(owner, areas, np.asarray(cutout.getchannel("A")), settings.visible, rng)
        if place is None:
            continue
        if shadows and rng.random() < 0.8:
            _cast_shadow(canvas, cutout, place, rng)
        canvas.paste(cutout, place, cutout)
        areas.append(_claim(owner, np.asarray(cutout.getchannel("A")), place, len(placed)))
        placed.append((sprite, color if painted or not paint else None))

    canvas = _light(canvas, rng)
    things = _look(np.asarray(canvas), owner, areas, placed)
    return Composite(_wear(canvas, rng), things)


def _plan(
    stock: Stock, settings: SceneSettings, rng: np.random.Generator, held_out: bool
) -> list[tuple[str, str | None]]:
    """(label, colour or None for its own) of each thing to draw, in random order."""
    count = _count(settings.most, rng)
    wanted: list[tuple[str, str | None]] = []
    themed = [label for label in stock.labels if label in stock.colors]
    favourite: str | None = None
    if themed and count > 1 and rng.random() < settings.theme:
        target = _held_out_pair(stock, rng) if held_out and rng.random() < 0.6 else None
        weights = np.array([stock.weights[stock.labels.index(label)] for label in themed])
        label = target[0] if target else themed[int(rng.choice(len(themed), p=weights / weights.sum()))]
        colors = _allowed(stock, label, held_out)
        if colors:
            several = int(rng.integers(2, min(5, count) + 1)) if count > 2 else 2
            picked = rng.choice(colors, size=min(several, len(colors)), replace=False).tolist()
            if target and target[1] not in picked:
                picked[0] = target[1]
            # Now and then two of a colour, so that a phrase does not always name one box.
            picked += rng.choice(picked, size=several - len(picked)).tolist()
            if several > 2 and rng.random() < 0.3:
                picked[-1] = picked[0]
            wanted += [(label, color) for color in picked]
            favourite = picked[0]
    while len(wanted) < count:
        label = stock.labels[int(rng.choice(len(stock.labels), p=stock.weights))]
        colors = _allowed(stock, label, held_out)
        color: str | None = None
        if colors and rng.random() < settings.paint:
            # The same colour on another thing: a model that knows only the colour must fail.
            same = favourite in colors and rng.random() < 0.4
            color = favourite if same else colors[int(rng.integers(len(colors)))]
        wanted.append((label, color))
    return [wanted[k] for k in rng.permutation(len(wanted))]


def _count(most: int, rng: np.random.Generator) -> int:
    """How many things: mostly many, for a crowded scene teaches more in the same time."""
    low, high = ((1, 3), (3, 8), (8, 15))[int(rng.choice(3, p=(0.12, 0.38, 0.5)))]
    return int(rng.integers(min(low, most), min(high, most) + 1))


def _allowed(stock: Stock, label: str, held_out: bool) -> list[str]:
    colors = stock.colors.get(label, ())
    return [color for color in colors if held_out or (label, color) not in stock.held_out]


def _held_out_pair(stock: Stock, rng: np.random.Generator) -> Pair | None:
    pairs = sorted(stock.held_out)
    if not pairs:
        return None
    weights = np.array([stock.weights[stock.labels.index(label)] for label, _ in pairs])
    return pairs[int(rng.choice(len(pairs), p=weights / weights.sum()))]


def _prepare(sprite: Sprite, paint: str | None, side: float, rng: np.random.Generator) -> tuple[Image.Image, bool]:
    """(the cut-out at its size in the scene, painted, turned, lit; RGBA, whether it could be painted at that size)."""
    image = sprite.image(side)
    scale = side / max(image.size)
    stretch = rng.uniform(0.88, 1.12)
    width, height = max(6, round(image.width * scale * stretch)), max(6, round(image.height * scale))
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    painted = None if paint is None else recolor(np.asarray(image), paint, rng)
    if painted is not None:
        image = Image.fromarray(painted)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.45:
        image = image.rotate(float(rng.uniform(-25, 25)), Image.Resampling.BILINEAR, expand=True)
    if rng.random() < 0.5:
        alpha = image.getchannel("A")
        image = ImageEnhance.Brightness(image.convert("RGB")).enhance(float(rng.uniform(0.86, 1.08)))
        image.putalpha(alpha)
    if rng.random() < 0.3:
        image.putalpha(image.getchannel("A").filter(ImageFilter.BoxBlur(float(rng.uniform(0.3, 1.0)))))
    return image, painted is not None


def _place(
    owner: np.ndarray, areas: list[int], alpha: np.ndarray, visible: float, rng: np.random.Generator
) -> tuple[int, int] | None:
    """Where a cut-out [h, w] may go so that every thing before it, and itself, stay visible; None if nowhere tried."""
    size = len(owner)
    solid = alpha > 127
    total = int(solid.sum())
    if total < 40:
        return None
    seen = np.bincount(owner[owner >= 0], minlength=len(areas))
    height, width = alpha.shape
    for _ in range(_TRIES):
        left = int(rng.integers(-width // 4, max(size - width * 3 // 4, -width // 4 + 1)))
        top = int(rng.integers(-height // 4, max(size - height * 3 // 4, -height // 4 + 1)))
        under, part = _window(owner, left, top, solid)
        if part.sum() < max(visible, 0.55) * total:
            continue
        hidden = np.bincount(under[part & (under >= 0)], minlength=len(areas))
        if ((seen - hidden) >= visible * np.array(areas)).all():
            return left, top
    return None


def _window(canvas: np.ndarray, left: int, top: int, cutout: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The parts of canvas and cut-out that lie on each other; views."""
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + cutout.shape[1], canvas.shape[1]), min(top + cutout.shape[0], canvas.shape[0])
    return canvas[y1:y2, x1:x2], cutout[y1 - top : y2 - top, x1 - left : x2 - left]


def _claim(owner: np.ndarray, alpha: np.ndarray, place: tuple[int, int], index: int) -> int:
    """Mark the pixels that a cut-out covers, in place; how many it has, those outside the picture included."""
    under, part = _window(owner, *place, alpha > 127)
    under[part] = index
    return int((alpha > 127).sum())


def _cast_shadow(canvas: Image.Image, cutout: Image.Image, place: tuple[int, int], rng: np.random.Generator) -> None:
    """Darken what lies beside a cut-out, in place."""
    soft = max(1, round(max(cutout.size) * 0.05))
    strength = float(rng.uniform(0.2, 0.55))
    mask = (
        cutout.getchannel("A").filter(ImageFilter.BoxBlur(soft)).point([int(alpha * strength) for alpha in range(256)])
    )
    dx, dy = (int(v) for v in rng.integers(-soft, 2 * soft + 1, 2))
    canvas.paste((0, 0, 0), (place[0] + dx, place[1] + dy), mask)


def _light(canvas: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The light of the whole scene: a little brighter, darker, flatter."""
    if rng.random() < 0.5:
        canvas = ImageEnhance.Brightness(canvas).enhance(float(rng.uniform(0.88, 1.08)))
    if rng.random() < 0.5:
        canvas = ImageEnhance.Contrast(canvas).enhance(float(rng.uniform(0.85, 1.1)))
    return canvas


def _look(
    pixels: np.ndarray, owner: np.ndarray, areas: list[int], placed: list[tuple[Sprite, str | None]]
) -> tuple[Thing, ...]:
    """What can be seen of each thing."""
    flat = pixels.reshape(-1, 3)
    size = owner.shape[1]
    order = np.argsort(owner, axis=None, kind="stable")
    starts = np.searchsorted(owner.reshape(-1)[order], np.arange(len(placed) + 1))
    things = []
    for k, (sprite, color) in enumerate(placed):
        index = order[starts[k] : starts[k + 1]]
        rows, columns = index // size, index % size
        box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
        shares = color_shares(flat[index[:: max(1, len(index) // _SAMPLE)]])
        things.append(Thing(sprite.label, sprite.name, color, box, len(index) / areas[k], shares))
    return tuple(things)


def _wear(canvas: Image.Image, rng: np.random.Generator) -> Image.Image:
    """What a camera does to a picture: blur and grain. They come over edges and backgrounds alike."""
    if rng.random() < 0.4:
        canvas = canvas.filter(ImageFilter.BoxBlur(float(rng.uniform(0.2, 0.8))))
    if rng.random() < 0.6:
        # A small tile of grain, repeated: nobody sees it, and it costs a twentieth.
        grain = rng.normal(0, rng.uniform(1, 7), (96, 96, 3)).astype(np.int16)
        times = -(-canvas.width // 96)
        noisy = np.asarray(canvas).astype(np.int16) + np.tile(grain, (times, times, 1))[: canvas.width, : canvas.width]
        canvas = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    return canvas
