"""Pictures of training examples as a person checks them: boxes with labels, and below, all that is said of them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fo1agent.errors import DataError
from fo1agent.evaluate.plots import stack
from fo1agent.pictures import drawing
from fo1agent.regions.regions import Region
from fo1agent.trainers.data.files import whole
from fo1agent.trainers.data.formats.scene_text import TEXT
from fo1agent.trainers.data.formats.source import Source
from fo1agent.trainers.data.records import Example, open_picture

SIDE = 480  # longer side of a picture in a preview, pixels
_LINES = 9
_PAPER, _INK, _FAINT = (255, 255, 255), (24, 24, 24), (120, 120, 120)
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def preview(source: Source, out: str | Path, count: int = 12, seed: int = 0) -> list[str]:
    """Draw some examples of a source, chosen at random.

    Args:
        source: where they come from.
        out: a picture to write (`.png`, `.jpg`, `.webp`), which holds all of them; or a folder to make, which gets one
            picture for each.
        count: how many; fewer if there are not as many.
        seed: of the choice.

    Returns:
        What could not be drawn, and why.

    Raises:
        DataError: nothing can be drawn, too many records are bad, or the file cannot be written.
    """
    out = Path(out)
    drawn: list[tuple[int, Image.Image]] = []
    failed: list[str] = []
    for position in np.random.default_rng(seed).permutation(len(source)).tolist():
        if len(drawn) == count:
            break
        example = source[position]
        if example is None:
            continue
        try:
            drawn.append((position, card(example)))
        except DataError as exc:
            failed.append(str(exc))
            if len(failed) > 2 * count + 20:
                break
    if not drawn:
        raise DataError(f"{source.name}: nothing to draw. {(failed or source.problems.first or ['It is empty.'])[0]}")
    drawn.sort(key=lambda pair: pair[0])
    with whole(out) as temporary:
        if out.suffix.lower() in _PICTURES:
            sheet([image for _, image in drawn]).save(
                temporary, format=Image.registered_extensions()[out.suffix.lower()]
            )
        else:
            temporary.mkdir()
            for position, image in drawn:
                image.save(temporary / f"{position:06d}.png")
    return failed


def card(example: Example, side: int = SIDE) -> Image.Image:
    """One example: its picture with numbered, labelled boxes, and under it what is said of it.

    Raises:
        DataError: its picture cannot be opened.
    """
    picture = open_picture(example)
    named = {k for phrase in example.phrases for k in phrase.boxes}
    told = [not example.crowd[k] and bool(_label(example, k) or k in named) for k in range(len(example.boxes))]
    # Crowds, and what nothing is said of, are drawn faint; where nothing is said of anything, everything is drawn.
    strong = [k for k, yes in enumerate(told) if yes or not any(told)]
    faint = [k for k in range(len(told)) if k not in strong]
    boxes = [tuple(row) for row in np.asarray(example.boxes, np.float64).tolist()]
    canvas = drawing.draw(
        picture,
        # A number of their own in the label, for these boxes have no score to show.
        [Region(f"box{k}", boxes[k], 1.0, f"r{k} {_label(example, k) or ''}", "data") for k in strong],
        [Region(f"r{k}", boxes[k], 1.0, None, "data") for k in faint],
        max_side=side,
    )
    font = ImageFont.load_default(13)
    lines = _lines(example, max(30, canvas.width // 7))
    made = Image.new("RGB", (max(canvas.width, 240), canvas.height + 18 * len(lines) + 12), _PAPER)
    made.paste(canvas, (0, 0))
    pen = ImageDraw.Draw(made)
    for number, line in enumerate(lines):
        ink = _FAINT if number == 0 else _INK
        pen.text((4, canvas.height + 6 + 18 * number), line, fill=ink, font=font)
    return made


def sheet(cards: Sequence[Image.Image], gap: int = 12) -> Image.Image:
    """All cards on one picture, in rows."""
    return stack(cards, max(1, round(math.sqrt(len(cards) * 1.3))), gap)


def _label(example: Example, k: int) -> str | None:
    label, written = example.labels[k], example.texts[k] if example.texts else None
    if not written:
        return label or None
    return f"“{written}”" if label in ("", TEXT) else f"{label} “{written}”"


def _lines(example: Example, width: int) -> list[str]:
    """The words under a picture, wrapped, the first of them says which picture it is."""
    said = [f"“{caption}”" for caption in example.captions]
    for phrase in example.phrases:
        named = " ".join(f"r{k}" for k in phrase.boxes) or "nothing here"
        said.append(f"{phrase.text}: {named}")
    for turn in example.turns:
        said += [f"? {turn.question}", f"> {turn.reply}"]
    size = f"{example.width} x {example.height}"
    lines = [textwrap.shorten(f"{example.source or example.id} · {size}", width)]
    for sentence in said:
        lines += textwrap.wrap(sentence, width)[:3]
        if len(lines) > _LINES:
            return [*lines[: _LINES - 1], f"… {len(said)} sentences in all"]
    return lines
