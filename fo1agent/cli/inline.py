"""Pictures in the terminal: as pixels where it takes them (kitty, Ghostty, iTerm2, WezTerm, sixels), else half blocks.

A terminal says which it is in its environment; whether it takes sixels, it is asked. tmux and screen pass no pixels on,
but a tmux may take sixels itself.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from fo1agent.cli import sixel

if TYPE_CHECKING:
    from PIL.Image import Image

    from fo1agent.regions.regions import Region

_KITTY_BYTES = 4096  # of base64 in one escape sequence, as the protocol has it
_PIXELS = 800  # of the longer side that is sent


def sixel_cell(environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """Pixels of a character, width and height, of a terminal that takes sixels and nothing better; else None.

    The terminal is asked: call it once, before anything is typed, and only where pictures may be shown.
    """
    return sixel.ask() if kind(environment) == "blocks" else None


def kind(
    environment: Mapping[str, str] = os.environ, cell: tuple[int, int] | None = None
) -> Literal["kitty", "iterm", "sixel", "blocks"]:
    """How the terminal shows pictures; `cell` as `sixel_cell` gives it."""
    program, term = environment.get("TERM_PROGRAM", ""), environment.get("TERM", "")
    if cell:
        return "sixel"
    if environment.get("TMUX") or term.startswith(("screen", "tmux")):
        return "blocks"
    if "KITTY_WINDOW_ID" in environment or term in ("xterm-kitty", "xterm-ghostty") or program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm"
    return "blocks"


def drawn(
    image: Image,
    regions: Iterable[Region],
    columns: int,
    rows: int,
    environment: Mapping[str, str] = os.environ,
    cell: tuple[int, int] | None = None,
    points: Mapping[str, tuple[float, float]] | None = None,
) -> str:
    """What makes the terminal show a picture with its regions: escape sequences of ours alone, and a line's end.

    Args:
        image: any size.
        regions: drawn in their colours; with their tags where there are pixels for them.
        columns: the most that it may take, in cells of the terminal.
        rows: so too; a cell is taken to be twice as high as wide, unless it is given.
        environment: tells which terminal it is.
        cell: as `sixel_cell` gives it; then the picture is sixels.
        points: as in `Answer.points`: drawn where there are pixels for them.
    """
    from fo1agent.pictures.drawing import draw

    if cell:
        scale = min(columns * cell[0] / image.width, rows * cell[1] / image.height)
        longest = min(_PIXELS, max(1, round(scale * max(image.size))))
        return sixel.encoded(draw(image, regions, max_side=longest, points=points)) + "\n"
    scale = min(columns / image.width, 2 * rows / image.height)
    size = max(1, round(image.width * scale)), max(2, round(image.height * scale / 2) * 2)
    how = kind(environment)
    if how == "blocks":
        exact = environment.get("COLORTERM") in ("truecolor", "24bit")
        return "".join(f"{line}\x1b[0m\n" for line in _half_blocks(_outlined(image, regions, size), exact))
    buffer = io.BytesIO()
    draw(image, regions, max_side=_PIXELS, points=points).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    if how == "iterm":
        length = len(buffer.getvalue())
        return f"\x1b]1337;File=inline=1;size={length};width={size[0]};preserveAspectRatio=1:{data}\x07\n"
    # f=100: a PNG; q=2: no reply; c: columns, of which the terminal makes the rows; m=1: more of it follows.
    said, sent = f"a=T,f=100,q=2,c={size[0]},", []
    for at in range(0, len(data), _KITTY_BYTES):
        more = int(at + _KITTY_BYTES < len(data))
        sent.append(f"\x1b_G{said}m={more};{data[at : at + _KITTY_BYTES]}\x1b\\")
        said = ""
    return "".join(sent) + "\n"


def _outlined(image: Image, regions: Iterable[Region], size: tuple[int, int]) -> Image:
    """The picture, so small that a tag would hide it, with a line around each region."""
    from PIL import ImageDraw
    from PIL.Image import Resampling

    from fo1agent.pictures.drawing import region_color

    small = image.convert("RGB").resize(size, Resampling.LANCZOS)
    pen = ImageDraw.Draw(small)
    across, down = size[0] / image.width, size[1] / image.height
    for region in sorted(regions, key=lambda region: -region.area):
        x1, y1, x2, y2 = (round(v * by) for v, by in zip(region.box, (across, down) * 2, strict=True))
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=region_color(region.name))
    return small


def _half_blocks(small: Image, exact: bool) -> Iterator[str]:
    """A line of the terminal for two lines of pixels: the upper one is the sign's colour, the lower its background."""
    import numpy as np

    pixels = np.asarray(small).astype(int)
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        line, last = "", ""
        for above, below in zip(upper, lower, strict=True):
            colors = f"\x1b[38;{_color(above, exact)};48;{_color(below, exact)}m"
            line += ("" if colors == last else colors) + "▀"
            last = colors
        yield line


def _color(pixel: Iterable[int], exact: bool) -> str:
    """A colour as terminals take it: in 24 bits, or of the 6 × 6 × 6 that those of 256 colours have."""
    red, green, blue = pixel
    if exact:
        return f"2;{red};{green};{blue}"
    return f"5;{16 + 36 * round(red / 51) + 6 * round(green / 51) + round(blue / 51)}"
