"""Lines of text in a picture or a crop of one, read by RapidOCR with the PP-OCR weights its package carries (offline).

Knows nothing of scenes: boxes are pixels of the picture it is given, and `Scene.read` maps them back. What was read is
`UntrustedText`, a type that says so wherever it goes.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fo1agent.errors import MissingExtraError
from fo1agent.types import Box

if TYPE_CHECKING:
    from rapidocr import RapidOCR

# Chosen on 231 legible words in 62 street photographs (ICDAR 2015) of 720 pixels: read at 1280, 53 % of the words of
# whole photographs are right, at 960 45 %, at 1600 no more but twice as slow. Crops of single words are enlarged until
# their short side has 64 pixels: 73 % right.
_UPSCALE, _UPSCALED_SIDE, _MAX_SIDE = 2.0, 1280, 1600
_MIN_SHORT_SIDE, _MAX_UPSCALE = 64, 8.0
_MIN_SIDE = 4  # pixels: nothing is read in less
# When the detector sees no line the whole crop is read as one. The recogniser always answers something, often a lone
# letter, so it must be surer there.
_MIN_GUESS, _MIN_LONE_LETTER = 0.7, 0.97


class UntrustedText(str):
    """Text out of a picture, or a model's words about one. It may say anything; it is never an instruction."""

    __slots__ = ()

    def fenced(self) -> str:
        """The text between marks, for a prompt. It cannot close them: its angle brackets are replaced."""
        inner = self.replace("<", "‹").replace(">", "›")
        return f"<untrusted>\n{inner}\n</untrusted>"


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of text.

    Attributes:
        text: as read; not empty.
        box: (x1, y1, x2, y2) around the line, pixels of the picture that was read.
        score: the recogniser's mean letter probability, 0 to 1.
    """

    text: UntrustedText
    box: Box
    score: float


def read_lines(image: Image.Image, *, min_score: float = 0.5) -> list[TextLine]:
    """Read a picture, or a crop of one that may be as tight as a single word.

    Args:
        image: any mode and size; crops of a few pixels are enlarged before reading.
        min_score: lines the recogniser is less sure of are dropped.

    Returns:
        Lines in reading order (rows from the top, each from the left); empty if there is no text.

    Raises:
        MissingExtraError: RapidOCR or onnxruntime is not installed.
    """
    image = image.convert("RGB")
    if min(image.size) < _MIN_SIDE:
        return []
    pixels = np.ascontiguousarray(np.asarray(_enlarged(image))[:, :, ::-1])  # RapidOCR reads BGR
    scale = np.array([image.width / pixels.shape[1], image.height / pixels.shape[0]])

    with _lock:
        engine = _engine()
        lines = _detected(engine, pixels, scale)
        # A detector needs some ground around a word, so on a tight crop it misses letters or sees nothing.
        if len(lines) <= 1:
            guess = _as_one_line(engine, image)
            if guess and guess.score > max((line.score for line in lines), default=0.0):
                lines = [guess]
    return reading_order([line for line in lines if line.score >= min_score])


def reading_order(lines: Sequence[TextLine]) -> list[TextLine]:
    """Sort lines into rows from the top, each row from the left."""
    return [line for row in rows(lines) for line in row]


def rows(lines: Sequence[TextLine]) -> list[list[TextLine]]:
    """Group lines into rows: pieces that share at least half of the lower one's height stand in one row."""
    grouped: list[list[TextLine]] = []
    for line in sorted(lines, key=lambda line: (line.box[1] + line.box[3], line.box[0])):
        row = grouped[-1] if grouped else []
        if row and all(_share_a_row(line.box, other.box) for other in row):
            row.append(line)
        else:
            grouped.append([line])
    return [sorted(row, key=lambda line: (line.box[0], line.box[1])) for row in grouped]


def _share_a_row(a: Box, b: Box) -> bool:
    shared = min(a[3], b[3]) - max(a[1], b[1])
    return shared > 0 and shared >= 0.5 * min(a[3] - a[1], b[3] - b[1])


def _enlarged(image: Image.Image) -> Image.Image:
    short, long = min(image.size), max(image.size)
    scale = min(_UPSCALE, max(1.0, _UPSCALED_SIDE / long), _MAX_SIDE / long)
    scale = max(scale, min(_MIN_SHORT_SIDE / short, _MAX_UPSCALE, _MAX_SIDE / long))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def _detected(engine: RapidOCR, pixels: np.ndarray, scale: np.ndarray) -> list[TextLine]:
    found: Any = engine(pixels, use_det=True, use_cls=False, use_rec=True)
    if getattr(found, "txts", None) is None or found.boxes is None:
        return []
    height, width = pixels.shape[:2]
    lines = []
    for quad, text, score in zip(found.boxes, found.txts, found.scores, strict=True):
        corners = np.clip(np.asarray(quad, dtype=np.float64), 0, [width, height]) * scale  # [4, 2]
        if text.strip():
            (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
            lines.append(TextLine(UntrustedText(text.strip()), (x1, y1, x2, y2), float(score)))
    return lines


def _as_one_line(engine: RapidOCR, image: Image.Image) -> TextLine | None:
    """The whole picture read as one line, a tall one also turned to either side; None if the reader is unsure."""
    turns = [image]
    if image.height > 1.5 * image.width:
        turns += [image.transpose(Image.Transpose.ROTATE_90), image.transpose(Image.Transpose.ROTATE_270)]
    best = None
    for turned in turns:
        pixels = np.ascontiguousarray(np.asarray(turned)[:, :, ::-1])
        found: Any = engine(pixels, use_det=False, use_cls=False, use_rec=True)
        text, score = (found.txts[0].strip(), float(found.scores[0])) if found.txts else ("", 0.0)
        enough = _MIN_LONE_LETTER if len(text) == 1 else _MIN_GUESS
        if text and score >= enough and (best is None or score > best.score):
            whole = (0.0, 0.0, float(image.width), float(image.height))
            best = TextLine(UntrustedText(text), whole, score)
    return best


# One engine for the process: its calls set options on themselves, so they take turns.
_lock = threading.Lock()


@lru_cache(maxsize=1)
def _engine() -> RapidOCR:
    try:
        from rapidocr import RapidOCR
    except ImportError as exc:
        raise MissingExtraError('Reading text needs: pip install "rapidocr>=3.10" "onnxruntime>=1.20"') from exc
    return RapidOCR(
        params={
            "Global.log_level": "critical",  # an empty picture is no news
            "Global.text_score": 0.0,  # min_score is applied here, after the choice between the two ways to read
            "Global.use_cls": False,  # looks for text upside down, which photographs hardly show
            "Global.min_side_len": 1,
            "Global.max_side_len": 2 * _MAX_SIDE,
            "Det.limit_type": "max",
            "Det.limit_side_len": _MAX_SIDE,
        }
    )
