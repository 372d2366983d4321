"""Lines of text in a picture or a crop of one, read by RapidOCR with the PP-OCR weights its package carries (offline).

Knows nothing of scenes: boxes are pixels of the picture it is given, and `Scene.read` maps them back. What was read is
`UntrustedText`, a type that says so wherever it goes.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

from fo1agent.pictures.ocr_engine import MAX_SIDE, Engine, around, cut_out
from fo1agent.pictures.text import TextLine
from fo1agent.regions.regions import Box
from fo1agent.untrusted import UntrustedText

# Chosen on 231 legible words in 62 street photographs (ICDAR 2015) of 720 pixels: read at 1280, 53 % of the words of
# whole photographs are right, at 960 45 %, at 1600 no more but twice as slow. Crops of single words are enlarged until
# their short side has 64 pixels: 73 % right.
_UPSCALE, _UPSCALED_SIDE = 2.0, 1280
_MIN_SHORT_SIDE, _MAX_UPSCALE = 64, 8.0
_MIN_SIDE = 4  # pixels: nothing is read in less
# A picture so many times as long as wide is a strip: letters would be too small to be found if it were shrunk to
# `MAX_SIDE`. Its short side keeps up to so many pixels, and it is looked at in tiles, which overlap, at most so many.
_STRIP, _STRIP_SIDE, _TILE_OVERLAP, _MAX_TILES = 8.0, 640, 240, 16
# When the detector sees no line the whole crop is read as one. The recogniser always answers something, often a lone
# letter, so it must be surer there.
_MIN_GUESS, _MIN_LONE_LETTER = 0.7, 0.97
# A line of which the recogniser is less sure is read upside down as well, and then the surer reading counts; words that
# are some word either way, such as NO, go by the other lines of the picture. RapidOCR's own classifier of upside-down
# lines is not used: of 500 single words in street photographs it turns 18 that stand upright and leaves 298 of those
# that do not; this turns one, and reads 388 of the 405 that can be read upright.
_SURE, _FAVOUR = 0.95, 0.05
_TELLING = 3  # letters; fewer are read upside down only where most of the text is so
_VOTES = 0.8  # from this score on, a line's letters tell how the picture is turned
_LONGEST_LINE = 50  # times its height; a longer strip in which nothing was found is no tight crop of a line
_TALL = 1.5  # a piece so many times as high as wide is a line that runs up or down


@dataclass(frozen=True, eq=False)
class OCR:
    """A reader of text in one language: `load(ocr=OCR("ru"))`.

    Attributes:
        lang: "ru", "ko", "de", …; None for the model that comes with RapidOCR, which reads Chinese, Japanese, English
            and other languages in Latin script. Models of other languages must be there already.
        settings: of RapidOCR, by the names in its `config.yaml`: `{"Rec.model_path": "mine.onnx"}`.

    Raises:
        InputError: no such language or setting.
        CheckpointError: the model's file is not there; the message says how to get it.
        MissingExtraError: RapidOCR, or what it needs for this language, is not installed.
    """

    lang: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.lang is not None or self.settings:
            self._engine  # noqa: B018 - what was asked for is checked now

    @property
    def name(self) -> str:
        """What traces call it: `rapidocr:ru`."""
        return f"rapidocr:{self.lang}" if self.lang else "rapidocr"

    def __call__(self, image: Image.Image, *, min_score: float = 0.5) -> list[TextLine]:
        """Read a picture; as `read_lines`."""
        image = image.convert("RGB")
        if min(image.size) < _MIN_SIDE:
            return []
        # One at a time: the engine's calls set options on themselves.
        with self._lock:
            lines = _read(self._engine, image)
        return reading_order([line for line in lines if line.score >= min_score])

    @cached_property
    def _engine(self) -> Engine:
        return Engine(self.lang, self.settings)

    @cached_property
    def _lock(self) -> threading.Lock:
        return threading.Lock()


_default = OCR()


def read_lines(image: Image.Image, *, min_score: float = 0.5) -> list[TextLine]:
    """Read a picture, or a crop of one that may be as tight as a single word.

    Args:
        image: any mode and size; crops of a few pixels are enlarged before reading, long strips are looked at in tiles.
        min_score: lines the recogniser is less sure of are dropped.

    Returns:
        Lines in reading order (rows from the top, each from the left, as seen with the text upright); empty if there is
        no text. Text may be turned by 90, 180 or 270 degrees.

    Raises:
        MissingExtraError: RapidOCR or onnxruntime is not installed.
        ToolFailed: the engine failed.
    """
    return _default(image, min_score=min_score)


# ---- order ----


def reading_order(lines: Sequence[TextLine]) -> list[TextLine]:
    """Sort lines into rows from the top, each row from the left."""
    return [line for row in rows(lines) for line in row]


def rows(lines: Sequence[TextLine]) -> list[list[TextLine]]:
    """Group lines into rows: pieces that share at least half of the lower one's height stand in one row.

    Rows are those that a reader sees who turns the picture so that most of the text is upright.
    """
    turn = _usual_turn(lines)
    seen = [(_upright(line.box, turn), line) for line in lines]
    grouped: list[list[tuple[Box, TextLine]]] = []
    for one in sorted(seen, key=lambda one: (one[0][1] + one[0][3], one[0][0])):
        row = grouped[-1] if grouped else []
        if row and all(_share_a_row(one[0], other[0]) for other in row):
            row.append(one)
        else:
            grouped.append([one])
    return [[line for _, line in sorted(row, key=lambda one: (one[0][0], one[0][1]))] for row in grouped]


def _usual_turn(lines: Sequence[TextLine]) -> int:
    """The turn of most letters; 0 if there are none."""
    letters: Counter[int] = Counter()
    for line in lines:
        letters[line.turn] += len(line.text)
    return max((0, 180, 90, 270), key=lambda turn: letters[turn])


def _upright(box: Box, turn: int) -> Box:
    """A box in the picture turned back by `turn` about its origin."""
    x1, y1, x2, y2 = box
    return {0: box, 90: (y1, -x2, y2, -x1), 180: (-x2, -y2, -x1, -y1), 270: (-y2, x1, -y1, x2)}[turn]


def _share_a_row(a: Box, b: Box) -> bool:
    shared = min(a[3], b[3]) - max(a[1], b[1])
    return shared > 0 and shared >= 0.5 * min(a[3] - a[1], b[3] - b[1])


# ---- reading ----


@dataclass(slots=True)
class _Piece:
    """A line that was found, and what it says each way that it was read: turn → (text, score).

    `pixels` is turned back by `cut` degrees: 0, or 90 for a piece that is higher than wide.
    """

    pixels: np.ndarray
    box: Box
    cut: int
    readings: dict[int, tuple[str, float]] = field(default_factory=dict)

    def may_be(self, turn: int) -> bool:
        """Whether its text may be turned so: a line is longer than high, unless it is of a letter or two."""
        height, width = self.pixels.shape[:2]
        return (turn - self.cut) % 180 == 0 or width < _TALL * height

    def best(self, favoured: int) -> TextLine:
        """The surest reading, with some favour for one turn."""
        turn = max(self.readings, key=lambda turn: self.readings[turn][1] + _FAVOUR * (turn == favoured))
        text, score = self.readings[turn]
        return TextLine(UntrustedText(text), self.box, score, turn)


def _read(engine: Engine, image: Image.Image) -> list[TextLine]:
    scale, tiles = _tiles(image.size)
    source = np.asarray(image if scale <= 1 else image.resize(_scaled(image.size, scale), Image.Resampling.BICUBIC))
    wide = image.width >= image.height
    found = _joined([_detected(engine, source, tile, wide, min(scale, 1.0)) for tile in tiles], wide)
    to_image = np.array([image.width / source.shape[1], image.height / source.shape[0]])
    pieces = [_piece(source, quad, _box(quad * to_image)) for quad in found]
    lines = _recognised(engine, pieces)
    # A detector needs some ground around a word, so on a tight crop it misses letters or sees nothing.
    if len(lines) <= 1:
        guess = _as_one_line(engine, image)
        if guess and guess.score > max((line.score for line in lines), default=0.0):
            lines = [guess]
    return lines


def _tiles(size: tuple[int, int]) -> tuple[float, list[tuple[int, int]]]:
    """What a picture is scaled by for the detector, and the tiles that it is looked at in.

    A tile is the first and the last pixel along the longer side, of the picture if that is made smaller, else of the
    enlarged one.
    """
    short, long = min(size), max(size)
    scale = min(_UPSCALE, max(1.0, _UPSCALED_SIDE / long), MAX_SIDE / long)
    scale = max(scale, min(_MIN_SHORT_SIDE / short, _MAX_UPSCALE, MAX_SIDE / long))
    step = MAX_SIDE - _TILE_OVERLAP
    if long > _STRIP * short:
        wanted = max(min(_MIN_SHORT_SIDE / short, _MAX_UPSCALE), min(1.0, _STRIP_SIDE / short))
        scale = max(scale, min(wanted, (_MAX_TILES * step + _TILE_OVERLAP) / long))
    length, shrunk = round(long * scale), min(scale, 1.0)
    starts = [k * step for k in range(max(1, math.ceil((length - _TILE_OVERLAP) / step)))]
    return scale, [(round(start / shrunk), round(min(start + MAX_SIDE, length) / shrunk)) for start in starts]


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _detected(engine: Engine, source: np.ndarray, tile: tuple[int, int], wide: bool, scale: float) -> np.ndarray:
    """[N, 4, 2] corners of the lines in one tile, pixels of `source`."""
    start, end = tile
    part = source[:, start:end] if wide else source[start:end]
    size = part.shape[1], part.shape[0]
    if part.min() == part.max():
        return np.zeros((0, 4, 2))
    if scale < 1:
        part = np.asarray(Image.fromarray(part).resize(_scaled(size, scale), Image.Resampling.BICUBIC))
    back = np.array([size[0] / part.shape[1], size[1] / part.shape[0]])
    return engine.detect(part) * back + np.array([start, 0] if wide else [0, start])


def _joined(tiles: list[np.ndarray], wide: bool) -> list[np.ndarray]:
    """The [4, 2] corners of the lines of all tiles; pieces of one line, of which neighbours show some each, as one."""
    quads = np.concatenate(tiles)
    leader = list(range(len(quads)))

    def first(k: int) -> int:
        while leader[k] != k:
            k = leader[k]
        return k

    begin = 0
    for here, after in pairwise(tiles):
        for a, b in zip(*np.nonzero(_same_line(here, after, wide)), strict=True):
            leader[first(begin + len(here) + int(b))] = first(begin + int(a))
        begin += len(here)
    together: dict[int, list[np.ndarray]] = {}
    for k, quad in enumerate(quads):
        together.setdefault(first(k), []).append(quad)
    return [group[0] if len(group) == 1 else around(np.stack(group), 0 if wide else 1) for group in together.values()]


def _same_line(a: np.ndarray, b: np.ndarray, wide: bool) -> np.ndarray:
    """[A, B]: whether two pieces show one line. They overlap almost wholly, or lie along the strip in one row."""
    a_low, a_high = a.min(1)[:, None], a.max(1)[:, None]  # [A, 1, 2]
    b_low, b_high = b.min(1)[None], b.max(1)[None]  # [1, B, 2]
    shared = np.minimum(a_high, b_high) - np.maximum(a_low, b_low)  # [A, B, 2]
    a_size, b_size = a_high - a_low, b_high - b_low
    share = shared / np.maximum(np.minimum(a_size, b_size), 1.0)
    along, across = (0, 1) if wide else (1, 0)
    in_a_row = (a_size[..., along] >= a_size[..., across]) & (b_size[..., along] >= b_size[..., across])
    return (share[..., across] > 0.5) & (share[..., along] > np.where(in_a_row, 0.0, 0.5))


def _box(quad: np.ndarray) -> Box:
    (x1, y1), (x2, y2) = quad.min(axis=0).tolist(), quad.max(axis=0).tolist()
    return x1, y1, x2, y2


def _piece(source: np.ndarray, quad: np.ndarray, box: Box) -> _Piece:
    pixels = cut_out(source, quad)
    tall = pixels.shape[0] >= _TALL * pixels.shape[1]
    return _Piece(np.rot90(pixels) if tall else pixels, box, 90 if tall else 0)


def _recognised(engine: Engine, pieces: Sequence[_Piece]) -> list[TextLine]:
    """What the pieces say, each turned as its letters tell, or where they do not, as most of the others are."""
    _recognise(engine, [(piece, piece.cut) for piece in pieces])
    unsure = [piece for piece in pieces if piece.readings[piece.cut][1] < _SURE]
    _recognise(engine, [(piece, piece.cut + 180) for piece in unsure])
    for piece in unsure:
        if len(piece.readings[piece.cut + 180][0]) < _TELLING:
            del piece.readings[piece.cut + 180]
    usual = _usual_turn([line for line in (piece.best(piece.cut) for piece in pieces) if line.score >= _VOTES])
    others = [piece for piece in pieces if usual not in piece.readings and piece.may_be(usual)]
    _recognise(engine, [(piece, usual) for piece in others])
    lines = [piece.best(usual if usual in piece.readings else piece.cut) for piece in pieces]
    return [line for line in lines if line.text]


def _recognise(engine: Engine, wanted: Sequence[tuple[_Piece, int]]) -> None:
    """Read pieces as if they were turned so."""
    read = engine.recognise([np.rot90(piece.pixels, (turn - piece.cut) // 90 % 4) for piece, turn in wanted])
    for (piece, turn), reading in zip(wanted, read, strict=True):
        piece.readings[turn] = reading


def _as_one_line(engine: Engine, image: Image.Image) -> TextLine | None:
    """The whole picture read as one line, a tall one also as one that runs up or down; None if the reader is unsure."""
    pixels = np.asarray(image)
    if pixels.min() == pixels.max() or max(image.size) > _LONGEST_LINE * min(image.size):
        return None
    box = (0.0, 0.0, float(image.width), float(image.height))
    pieces = [_Piece(pixels, box, 0)]
    if image.height > _TALL * image.width:
        pieces.append(_Piece(np.rot90(pixels), box, 90))
    guesses = [guess for piece in pieces for guess in _recognised(engine, [piece])]
    sure = [guess for guess in guesses if guess.score >= (_MIN_LONE_LETTER if len(guess.text) == 1 else _MIN_GUESS)]
    return max(sure, key=lambda guess: guess.score, default=None)
