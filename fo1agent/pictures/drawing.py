"""Draws regions on a picture: thin boxes, masks as a film of colour, points to click as ringed dots, and small tags
that cover neither each other nor what they name.

A region's colour comes from its name alone, so it is the same in the picture, the terminal and the report. The palette
is Okabe and Ito's, made to be told apart by people with any kind of colour vision, with two lighter colours added. The
font is the one Pillow carries; it has basic Latin only: accents are left out, other scripts become middle dots.
"""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fo1agent.errors import InputError
from fo1agent.regions.boxes import areas, intersections
from fo1agent.regions.ids import RegionId, name_of
from fo1agent.regions.regions import Region

Color = tuple[int, int, int]

_PALETTE = (
    "#e69f00",  # orange
    "#56b4e9",  # sky blue
    "#d55e00",  # vermilion
    "#f0e442",  # yellow
    "#009e73",  # green
    "#cc79a7",  # purple
    "#0072b2",  # blue
    "#a6e3b0",  # light green
    "#c9b6ff",  # lilac
)
# The palette itself, then paler, then darker, so that 27 regions differ.
_TIERS = ((0, 0.0), (255, 0.5), (0, 0.35))
_LABEL_LETTERS = 24
_FILM = 110  # of 255: how much of its colour lies on what a mask covers
_MAX_HIDDEN = 0.22  # share of the picture that tags may hide before they say less
_INK, _PAPER = (17, 17, 17), (255, 255, 255)


def region_color(name: str) -> str:
    """The colour of a region, `#rrggbb`, from its short name (`r7`) or its id: 27 in all, so that r0 to r26 differ."""
    name = name_of(name)
    known = RegionId.read(name)
    number = zlib.crc32(name.encode()) if known is None or known.index is None else known.index
    toward, share = _TIERS[number // len(_PALETTE) % len(_TIERS)]
    color = _PALETTE[number % len(_PALETTE)]
    mixed = (int(int(color[at : at + 2], 16) * (1 - share) + toward * share) for at in (1, 3, 5))
    return "#" + "".join(f"{value:02x}" for value in mixed)


def tag_text(region: Region, detail: Literal[0, 1, 2] = 2) -> str:
    """What a tag says: `r3 bus .94` (detail 2), `r3 bus` (1) or `r3` (0); for a box without a number just the label."""
    label = " ".join("".join(map(_shown, region.label or "")).split())
    if len(label) > _LABEL_LETTERS:
        label = label[: _LABEL_LETTERS - 1] + "…"
    if region.index is None:
        return label or "box"
    score = f"{region.score:.2f}".removeprefix("0")
    return " ".join(part for part in (region.name, label, score)[: detail + 1] if part)


def draw(
    image: Image.Image,
    evidence: Iterable[Region],
    candidates: Iterable[Region] = (),
    max_side: int | None = None,
    points: Mapping[str, tuple[float, float]] | None = None,
) -> Image.Image:
    """Draw regions on a copy of a picture. Line width and text grow with the picture.

    Args:
        image: any mode; it is not changed.
        evidence: drawn strong, each with a tag: id, label, probability; its mask, where it has one, as a film.
        candidates: drawn faint, with their id where there is room; those that are evidence too are left out.
        max_side: longer side of the result, pixels, smaller or larger than the picture's; None for the picture's own.
        points: region id → (x, y) in pixels of the picture, a point to click: for each one of `evidence` a dot of its
            colour, ringed so that it is seen on any ground.

    Returns:
        A new RGB picture.

    Raises:
        InputError: `max_side` is not from 1 to 16384.
    """
    if max_side is not None and not 1 <= max_side <= 16_384:
        raise InputError(f"max_side must be from 1 to 16384 pixels, got {max_side!r}.")
    scale = 1.0 if max_side is None else max_side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    canvas = image.convert("RGB")
    canvas = canvas.copy() if size == image.size else canvas.resize(size, Image.Resampling.LANCZOS)

    strong = list({region.id: region for region in evidence}.values())
    faint = [r for r in {r.id: r for r in candidates}.values() if r.id not in {s.id for s in strong}]
    style = Style.of(size, len(strong))
    for region in sorted((r for r in strong if r.mask is not None), key=lambda r: -r.area):
        _film(canvas, region)
    pen = ImageDraw.Draw(canvas, "RGBA")
    for region in sorted(faint, key=lambda r: -r.area):
        _outline(pen, _scaled(region, scale), _rgb(region.name), max(1, style.line // 2), 110, size)
    for region in sorted(strong, key=lambda r: -r.area):
        _outline(pen, _scaled(region, scale), _rgb(region.name), style.line, 255, size)

    tags = place_tags(strong, faint, scale, style, size)
    for tag in tags:
        if tag.leader is not None:
            pen.line(tag.leader, fill=(*_INK, 160), width=style.line + 2)
            pen.line(tag.leader, fill=(*tag.color, 255), width=max(1, style.line // 2))
    for tag in tags:
        _draw_tag(pen, tag, style)
    for region in strong:
        if points and region.id in points:
            _dot(canvas, np.array(points[region.id]) * scale, _rgb(region.name), style.dot)
    return canvas


@dataclass(frozen=True)
class Style:
    """Width of lines, height of text and the room around it, and the radius of a dot, in pixels of the result."""

    line: int
    text: int
    pad: int
    dot: int

    @classmethod
    def of(cls, size: tuple[int, int], regions: int) -> Style:
        # A little less than in proportion: a large picture is also looked at in parts. A crowd gets smaller tags.
        growth = (max(size) / 640) ** 0.9
        text = 13 * growth * (0.85 if regions > 16 else 1.0)
        text = max(9, min(round(text), max(9, min(size) // 8)))
        dot = max(5, round(7 * growth))
        return cls(line=max(2, round(1.6 * growth)), text=text, pad=max(2, round(text * 0.25)), dot=dot)


@dataclass(frozen=True)
class Tag:
    """A tag at its place: xyxy pixels of the result. `leader` is a line from it to the box it was moved away from."""

    region_id: str
    text: str
    box: tuple[int, int, int, int]
    color: Color
    alpha: int
    leader: tuple[tuple[int, int], tuple[int, int]] | None


def _scaled(region: Region, scale: float) -> np.ndarray:
    return np.array(region.box) * scale


def _outline(
    pen: ImageDraw.ImageDraw, box: np.ndarray, color: Color, width: int, alpha: int, size: tuple[int, int]
) -> None:
    """A frame just outside the box, so that it hides nothing of a small thing, on a thin dark seam."""
    x1, y1, x2, y2 = np.floor(box[0]), np.floor(box[1]), np.ceil(box[2]), np.ceil(box[3])
    seam = _seam(width)
    for out, thick, edge, fill in (
        (width + 2 * seam, width + 2 * seam, 0, (*_INK, alpha // 2)),
        (width + seam, width, seam, (*color, alpha)),
    ):
        # At the picture's border the frame moves inside, where it can be seen.
        frame = (
            max(x1 - out, edge),
            max(y1 - out, edge),
            min(x2 + out, size[0] - edge) - 1,
            min(y2 + out, size[1] - edge) - 1,
        )
        if frame[2] >= frame[0] and frame[3] >= frame[1]:
            pen.rectangle(frame, outline=fill, width=thick)


def _film(canvas: Image.Image, region: Region) -> None:
    """A region's colour over the pixels of its mask, through which the picture shows."""
    assert region.mask is not None
    where = Image.fromarray(region.mask.pixels().astype(np.uint8) * _FILM)
    where = where if where.size == canvas.size else where.resize(canvas.size, Image.Resampling.BILINEAR)
    canvas.paste(_rgb(region.name), mask=where)


def _dot(canvas: Image.Image, at: np.ndarray, color: Color, radius: int) -> None:
    """A disc of the colour in a white ring and a dark one, of which one stands out from whatever is below."""
    x, y = (int(v) for v in np.clip(np.floor(at), 0, np.array(canvas.size) - 1))
    for share, fill in ((1.0, _INK), (0.8, _PAPER), (0.5, color)):
        disc = _disc(max(2, round(radius * share)))
        canvas.paste(fill, (x - disc.width // 2, y - disc.height // 2), disc)


@lru_cache(maxsize=64)
def _disc(radius: int) -> Image.Image:
    """A smooth disc, as a mask of an odd number of pixels on each side: its middle is a pixel."""
    side, fine = 2 * radius + 1, 8
    large = Image.new("L", (side * fine, side * fine))
    ImageDraw.Draw(large).ellipse((0, 0, side * fine - 1, side * fine - 1), fill=255)
    return large.resize((side, side), Image.Resampling.BOX)


def _seam(width: int) -> int:
    return max(1, width // 4)


def _draw_tag(pen: ImageDraw.ImageDraw, tag: Tag, style: Style) -> None:
    x1, y1, x2, y2 = tag.box
    pen.rounded_rectangle(
        (x1, y1, x2 - 1, y2 - 1),
        radius=max(2, style.pad),
        fill=(*tag.color, tag.alpha),
        outline=(*_INK, tag.alpha // 2),
    )
    ink = (*text_color(tag.color), min(255, tag.alpha + 40))
    x, middle = x1 + style.pad, (y1 + y2) / 2
    for word in tag.text.split():
        pen.text((x, middle), word, fill=ink, font=_font(style.text), anchor="lm")
        x += _font(style.text).getlength(word) + _gap(style)


# ---- where the tags go -----------------------------------------------------------------------------------------------


def place_tags(
    strong: list[Region], faint: list[Region], scale: float, style: Style, size: tuple[int, int]
) -> list[Tag]:
    """A place for every tag of `strong`, and for those of `faint` that find one beside their box."""
    boxes = np.array([_scaled(r, scale) for r in strong]).reshape(-1, 4)
    detail = _detail(strong, style, size)
    taken = np.zeros((0, 4))
    tags: list[Tag] = []
    # Small boxes have the fewest places to choose from.
    for k in sorted(range(len(strong)), key=lambda k: strong[k].area):
        region = strong[k]
        for text in dict.fromkeys((tag_text(region, detail), tag_text(region, 0))):
            place = _best_place(boxes[k], _tag_size(text, style), taken, boxes, size, style)
            if place is not None:
                break
        else:
            continue  # more tags than the picture has room for
        taken = np.vstack([taken, place])
        tags.append(_tag(region, text, place, 235, boxes[k], style))
    for region in sorted(faint, key=lambda r: (-r.score, r.id)):
        if region.index is not None:
            box = _scaled(region, scale)
            place = _beside(box, _tag_size(region.name, style), taken, boxes, size, style)
            if place is not None:
                taken = np.vstack([taken, place])
                tags.append(_tag(region, region.name, place, 120, box, style))
    return tags


def _detail(regions: list[Region], style: Style, size: tuple[int, int]) -> Literal[0, 1, 2]:
    """How much the tags may say so that they leave most of the picture to be seen."""
    for detail in (2, 1):
        hidden = sum(w * h for w, h in (_tag_size(tag_text(region, detail), style) for region in regions))
        if hidden <= _MAX_HIDDEN * size[0] * size[1]:
            return detail
    return 0


def _tag(region: Region, text: str, place: np.ndarray, alpha: int, box: np.ndarray, style: Style) -> Tag:
    """A tag at its place; moved away from its box it gets a line that leads there."""
    x1, y1, x2, y2 = (int(v) for v in place)
    middle = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    goal = np.clip(middle, box[:2], box[2:])  # the point of the box that is nearest to the tag
    start = np.clip(goal, [x1, y1], [x2, y2])
    far = np.abs(goal - start).max() > 4 * style.line + style.pad
    leader = ((round(start[0]), round(start[1])), (round(goal[0]), round(goal[1]))) if far else None
    return Tag(region.id, text, (x1, y1, x2, y2), _rgb(region.name), alpha, leader)


def _best_place(
    box: np.ndarray, tag_wh: tuple[int, int], taken: np.ndarray, boxes: np.ndarray, size: tuple[int, int], style: Style
) -> np.ndarray | None:
    """Where the tag of `box` goes, xyxy; None if there is no room left at all.

    In this order: beside the box; further off, with a leader; anywhere; on the box itself, if it fills the picture.
    """
    for distance in (0, 1, 2, 4, 7, 11):
        places = _around(box, tag_wh, distance * tag_wh[1], style, size)
        costs, free = _costs(places, box, taken, boxes)
        # Rather a little further away than on top of another thing.
        if free.any() and (costs[free].min() < 0.4 or distance == 11):
            return places[free][int(costs[free].argmin())]
    places = _everywhere(tag_wh, size)
    costs, free = _costs(places, box, taken, boxes)
    if free.any():
        away = np.abs((places[:, :2] + places[:, 2:] - box[:2] - box[2:]) / 2).max(axis=1)
        return places[free][int((away[free] / max(size) + 0.3 * costs[free]).argmin())]
    places = np.vstack([_inside_corners(box, tag_wh, style, size), places])
    free = ~(intersections(places, taken) > 0).any(axis=1) & _fits(places, size)
    return places[int(free.argmax())] if free.any() else None


def _beside(
    box: np.ndarray, tag_wh: tuple[int, int], taken: np.ndarray, boxes: np.ndarray, size: tuple[int, int], style: Style
) -> np.ndarray | None:
    """A place for a faint tag: right beside its box, on nothing else; or None."""
    places = _around(box, tag_wh, 0, style, size)
    costs, free = _costs(places, box, taken, boxes)
    free &= costs < 0.05
    return places[free][int(costs[free].argmin())] if free.any() else None


def _costs(places: np.ndarray, box: np.ndarray, taken: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(how much of other things each place hides [P], whether it is clear of the box itself and of other tags [P])."""
    own = intersections(places, box[None])[:, 0] > 0
    clear = ~own & ~(intersections(places, taken) > 0).any(axis=1)
    if not len(places):
        return np.zeros(0), clear
    tag_area = areas(places)[0]
    # Hiding a piece of something large hurts less than hiding most of something small.
    weight = np.minimum(1.0, np.sqrt(tag_area / np.maximum(areas(boxes), 1.0)))
    hidden = (intersections(places, boxes) / tag_area * weight).sum(axis=1)
    order = np.linspace(0, 0.02, len(places))  # among equals the first: above the box, from its left edge
    return hidden + order, clear


def _around(box: np.ndarray, tag_wh: tuple[int, int], gap: float, style: Style, size: tuple[int, int]) -> np.ndarray:
    """Places along the four sides of a box, [P, 4], within the picture; above from the left edge comes first."""
    width, height = tag_wh
    off = gap + style.line + 2 * _seam(style.line)  # clear of the frame
    x1, y1, x2, y2 = np.floor(box[0]), np.floor(box[1]), np.ceil(box[2]), np.ceil(box[3])
    # Slid along each side, from one corner to the other and a little beyond.
    xs = np.unique(np.round(np.linspace(x1 - style.line, max(x2 + style.line - width, x1), 7)))
    xs = np.concatenate([xs, [x1 - width / 2, x1 - width, x2 - width / 2, x2]])
    ys = np.unique(np.round(np.linspace(y1 - style.line, max(y2 + style.line - height, y1), 7)))
    above = [(x, y1 - off - height) for x in xs]
    below = [(x, y2 + off) for x in xs]
    beside = [(x, y) for y in ys for x in (x2 + off, x1 - off - width)]
    corners = np.array([*above, *below, *beside])
    # A place that sticks out of the picture is pushed back in; one that then covers the box is sorted out later.
    if width > size[0] or height > size[1]:
        return np.zeros((0, 4))
    corners = np.clip(np.round(corners), 0, [size[0] - width, size[1] - height])
    return np.hstack([corners, corners + np.array(tag_wh)])


def _everywhere(tag_wh: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    width, height = tag_wh
    xs, ys = np.arange(0, size[0] - width + 1, max(1, width // 2)), np.arange(0, size[1] - height + 1, height)
    corners = np.array([(x, y) for y in ys for x in xs], dtype=np.float64).reshape(-1, 2)
    return np.hstack([corners, corners + np.array(tag_wh)])


def _inside_corners(box: np.ndarray, tag_wh: tuple[int, int], style: Style, size: tuple[int, int]) -> np.ndarray:
    width, height = tag_wh
    x1, y1 = np.maximum(box[:2], 0) + 2 * style.line
    x2, y2 = np.minimum(box[2:], size) - 2 * style.line
    corners = np.array([(x1, y1), (x2 - width, y1), (x1, y2 - height), (x2 - width, y2 - height)]).round()
    return np.hstack([corners, corners + np.array(tag_wh)])


def _fits(places: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.all((places[:, :2] >= 0) & (places[:, 2:] <= np.array(size)), axis=1)


# ---- text and colours ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


@lru_cache(maxsize=4096)
def _shown(letter: str) -> str:
    """The letter, without its accent if the font has only that, or a middle dot if it has neither."""
    if letter.isspace():
        return " "
    for form in (letter, unicodedata.normalize("NFKD", letter)[0]):
        if form.isprintable() and _picture_of(form) != _picture_of("\uffff"):
            return form
    return "·"


def _picture_of(letter: str) -> bytes:
    picture = Image.new("L", (40, 40))
    ImageDraw.Draw(picture).text((8, 8), letter, fill=255, font=_font(16))
    return picture.tobytes()


def _tag_size(text: str, style: Style) -> tuple[int, int]:
    """(width, height) of a tag in pixels."""
    words = text.split()
    width = sum(_font(style.text).getlength(word) for word in words) + (len(words) - 1) * _gap(style)
    return int(np.ceil(width)) + 2 * style.pad, style.text + 2 * style.pad


def _gap(style: Style) -> float:
    """Pixels between words; the font's own space is hardly to be seen in small sizes."""
    return 0.32 * style.text


def _rgb(name: str) -> Color:
    color = region_color(name)
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def text_color(color: Color) -> Color:
    """Dark or white, whichever reads better on `color`."""
    linear = [(v / 255 / 12.92) if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in color]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return _INK if luminance > 0.2 else _PAPER
