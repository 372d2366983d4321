"""Sixels: pictures in pixels, as DEC's terminals took them, and xterm, foot, Konsole, mlterm, tmux and others do now.

A terminal says whether it takes them when it is asked what it is. A picture is lines of six pixels' height, in each one
colour after the other; a letter is a column of six pixels, and tells which of them have the colour.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

CELL = (8, 16)
"""Width and height of a character in pixels, where a terminal does not tell: a small one, so that a picture fits."""

_ASKED = b"\x1b[16t\x1b[c"  # how large is a character; what are you, which every terminal answers, and answers last
_ANSWER = re.compile(rb"\x1b\[\?([\d;]*)c")
_CELL_ANSWER = re.compile(rb"\x1b\[6;([1-9]\d{0,2});([1-9]\d{0,2})t")
_SIXELS = b"4"  # among a terminal's attributes
_COLORS = 256
_RUN = re.compile(rb"([?-~])\1{3,}")


def ask(stdin: int = 0, stdout: int = 1, limit: float = 1.0) -> tuple[int, int] | None:
    """Width and height of a character in pixels, where a terminal takes sixels; else None.

    It is asked, and its answer comes as if it had been typed. So nothing is asked where something was typed already,
    where input or output is no terminal, or behind a shell's back.

    Args:
        stdin: where the answer comes.
        stdout: where it is asked.
        limit: seconds to wait for an answer. One that comes later stands in the line that is typed next.
    """
    try:
        import termios
        import tty
    except ImportError:  # as on Windows
        return None
    if not (os.isatty(stdin) and os.isatty(stdout)):
        return None
    try:
        if os.tcgetpgrp(stdin) != os.getpgrp():
            return None
        before = termios.tcgetattr(stdin)
        try:
            tty.setcbreak(stdin, termios.TCSADRAIN)  # no echo, and no waiting for the end of a line
            said = b"" if _typed(stdin, 0) else _said(stdin, stdout, limit)
        finally:
            termios.tcsetattr(stdin, termios.TCSADRAIN, before)
    except (OSError, termios.error):
        return None
    answer, cell = _ANSWER.search(said), _CELL_ANSWER.search(said)
    if not answer or _SIXELS not in answer[1].split(b";"):
        return None
    return (int(cell[2]), int(cell[1])) if cell else CELL


def _said(stdin: int, stdout: int, limit: float) -> bytes:
    """What comes until the terminal has answered, or the time is over."""
    os.write(stdout, _ASKED)
    said, end = b"", time.monotonic() + limit
    while not _ANSWER.search(said) and len(said) < 1000 and _typed(stdin, max(0.0, end - time.monotonic())):
        more = os.read(stdin, 100)
        if not more:
            break
        said += more
    return said


def _typed(stdin: int, seconds: float) -> bool:
    """Whether there is something to read, at once or after a while."""
    import select

    return bool(select.select([stdin], [], [], seconds)[0])


def encoded(image: Image) -> str:
    """The escape sequence that shows a picture, pixel for pixel, in at most 256 colours."""
    import numpy as np

    reduced = image.convert("RGB").quantize(_COLORS)
    palette = np.asarray(reduced.getpalette("RGB") or ()).reshape(-1, 3)
    percent = (palette * 100 + 127) // 255
    colors = "".join(f"#{k};2;{red};{green};{blue}" for k, (red, green, blue) in enumerate(percent))
    pixels, columns = np.asarray(reduced), np.arange(image.width)
    lines = []
    for top in range(0, image.height, 6):
        line = np.zeros((_COLORS, image.width), np.uint8)  # by colour and column, a bit for each of the six
        for bit, row in enumerate(pixels[top : top + 6]):
            line[row, columns] |= 1 << bit
        used = np.flatnonzero(line.any(1))
        letters = line[used] + 63
        # $ goes back to the line's beginning for the next colour; ?, which has no pixel, is needless at the end.
        parts = [b"#%d%b" % (k, row.tobytes().rstrip(b"?")) for k, row in zip(used, letters, strict=True)]
        lines.append(_RUN.sub(_run, b"$".join(parts)))
    # 1: what is not set stays as it is; the raster's attributes are square pixels, width and height.
    return f'\x1bP0;1q"1;1;{image.width};{image.height}{colors}{b"-".join(lines).decode("ascii")}\x1b\\'


def _run(match: re.Match[bytes]) -> bytes:
    """A letter that is there several times, with their number."""
    return b"!%d%b" % (match.end() - match.start(), match[1])
