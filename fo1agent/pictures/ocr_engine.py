"""RapidOCR as `ocr` needs it: its settings and model files, and two things that it lacks.

Those are text lines of any length (a recogniser's memory grows with them) and the spaces between words that are set
tightly. Nothing is ever downloaded: a model that is not there ends in an error that says where to get it.
"""

from __future__ import annotations

import contextlib
import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent.errors import CheckpointError, FO1AgentError, InputError, MissingExtraError, ToolFailed
from fo1agent.regions.regions import number, shown

MAX_SIDE = 1600
"""Pixels: no side of a picture given to `Engine.detect` is longer."""

# Our names of languages → RapidOCR's, which names some after their script.
_ALIASES = {
    **dict.fromkeys(("be", "ru", "uk"), "eslav"),
    **dict.fromkeys(("bg", "kk", "ky", "mk", "mn", "sr", "tg", "tt"), "cyrillic"),
    **dict.fromkeys(("ar", "fa", "ps", "ug", "ur"), "arabic"),
    **dict.fromkeys(("hi", "mr", "ne", "sa"), "devanagari"),
    "ko": "korean",
    "kn": "ka",  # RapidOCR's ka is Kannada, the language that all others call kn
    "ka": "Georgian",  # and not this one, which it does not read
    **dict.fromkeys(("zh", "zh-cn", "zh_cn"), "ch"),
    **dict.fromkeys(("zh-tw", "zh_tw"), "chinese_cht"),
    **dict.fromkeys(("ja", "jp"), "japan"),
    "sr-latn": "rs_latin",
}
# RapidOCR's names of languages → ours, which are those of ISO 639; of a script, its first language.
_ISO = {"french": "fr", "german": "de", **{theirs: ours for ours, theirs in reversed(_ALIASES.items())}}
# Where models are looked for: version → size. The first is the one whose files come with RapidOCR.
_MODELS = {"PP-OCRv6": "small", "PP-OCRv5": "mobile", "PP-OCRv4": "mobile"}
_OURS = ("use_det", "use_cls", "use_rec", "text_score", "return_word_box", "return_single_char_box")

# A long line is read in windows of so many pixels at the recogniser's height, which overlap. Up to this width, 50 times
# the height, whole lines are read as well as short ones.
_WINDOW, _OVERLAP = 2400, 480
_CUT_HEIGHT = 96  # pixels; the recogniser sees 48
_APART = 48  # pixels at the recogniser's height: letters of two windows that stand farther apart are not the same one
_LEANS = 0.15  # of its height: what a line's box is higher than the line, from which on it does not stand upright
# The recogniser keeps wide spaces but not narrow ones: "PREPAYONLY". In the narrow ones it gives the space a few per
# cent, within a word nearly nothing. From this probability on a space is put, if that is also well above the line's
# median, as it is not where letters are set wide apart. Of 3,233 spaces in 1,478 rendered lines (58 fonts, spaces of
# 0.4 to 1.5 times the usual width) 7.6 % are missed without this and 3.7 % with it, and 15 instead of 5 of 14,889 pairs
# within words are parted; on street photographs (ICDAR 2015) 8 instead of 22 of 97 are missed, 3 instead of 1 of 2,272
# parted.
_SPACE, _ABOVE_MEDIAN = 0.03, 10.0


class Engine:
    """RapidOCR's detector and recogniser. Not to be called by two threads at once.

    Args:
        lang: a language as in `ocr.OCR`.
        settings: RapidOCR's, `"Rec.model_path": …`; they win over those made here.

    Raises:
        InputError: no such language or setting.
        CheckpointError: a model file is not there.
        MissingExtraError: RapidOCR, or what it needs for this language, is not installed.
    """

    def __init__(self, lang: str | None = None, settings: Mapping[str, Any] | None = None) -> None:
        try:
            from rapidocr import RapidOCR
        except ImportError as exc:
            raise MissingExtraError('Reading text needs: pip install "rapidocr>=3.10" "onnxruntime>=1.20"') from exc
        chosen = {**_models_for(lang), **_checked(settings or {})}
        params = {
            "Global.log_level": "critical",  # an empty picture is no news
            "Global.text_score": 0.0,  # `ocr` drops what is unsure, after the choice between two ways to read
            "Global.min_side_len": 1,
            "Global.max_side_len": 2 * MAX_SIDE,
            "Det.limit_type": "max",
            "Det.limit_side_len": MAX_SIDE,
            **chosen,
        }
        try:
            self._rapid = RapidOCR(params=params)
        except Exception as exc:  # OmegaConf's errors of a value of the wrong kind
            raise InputError(f"RapidOCR does not take these settings: {_cause(exc)}.") from exc
        if chosen:
            for part in ("Det", "Rec"):
                _need_file(self._rapid.cfg, part, lang)
        self._recogniser: _Recogniser | None = None

    def detect(self, pixels: np.ndarray) -> np.ndarray:
        """[N, 4, 2] corners (x, y) of lines of text, pixels: top left, top right, bottom right, bottom left.

        Args:
            pixels: [H, W, 3] uint8, RGB.
        """
        with _typed():
            bgr = np.ascontiguousarray(pixels[:, :, ::-1])
            found: Any = self._rapid(bgr, use_det=True, use_cls=False, use_rec=False)
            boxes = found.boxes
        if boxes is None or not len(boxes):
            return np.zeros((0, 4, 2))
        height, width = pixels.shape[:2]
        return np.clip(np.asarray(boxes, dtype=np.float64), 0, [width, height])

    def recognise(self, lines: Sequence[np.ndarray]) -> list[tuple[str, float]]:
        """The text of each line, "" if there is none, and the mean probability of its letters, 0 to 1.

        Args:
            lines: each [H, W, 3] uint8, RGB, upright, one line of text of any length.
        """
        if not lines:
            return []
        with _typed():
            if self._recogniser is None:
                self._recogniser = _Recogniser(self._rapid)
            return self._recogniser.read(lines)


def languages() -> list[str]:
    """The languages whose model comes with RapidOCR, by the names that `OCR` takes."""
    return sorted({_ISO.get(name, name) for name in _supported("PP-OCRv6")})


# ---- settings and models ----


def _models_for(lang: str | None) -> dict[str, Any]:
    """The settings that choose a language's recogniser; the detector finds text of any script."""
    if lang is None:
        return {}
    from rapidocr import ModelType, OCRVersion

    name = lang.strip().lower() if isinstance(lang, str) else ""
    name = _ALIASES.get(name, name)
    for version, size in _MODELS.items():
        if name in _supported(version):
            return {
                "Rec.lang_type": name,
                "Rec.ocr_version": OCRVersion(version),
                "Rec.model_type": ModelType(size),
            }
    others = [other for version in _MODELS for other in _supported(version)]
    close = difflib.get_close_matches(name, list(dict.fromkeys([*_ALIASES, *others])), 3)
    meant = dict.fromkeys(other if other in _ALIASES else _ISO.get(other, other) for other in close)
    hint = f" Did you mean {' or '.join(meant)}?" if meant else ""
    raise InputError(f"There is no model that reads the language {lang!r}.{hint} {_come_along()}")


def _supported(version: str) -> list[str]:
    from rapidocr import RapidOCR

    return RapidOCR.list_supported_langs("rec", version, _MODELS[version])


def _come_along() -> str:
    return f"With RapidOCR come {' '.join(languages())}."


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, those with a closed set of values as RapidOCR wants them.

    RapidOCR itself takes a misspelt name without a word.
    """
    from omegaconf import OmegaConf
    from rapidocr import EngineType, ModelType, OCRVersion
    from rapidocr.main import DEFAULT_CFG_PATH

    known: Any = OmegaConf.to_container(OmegaConf.load(DEFAULT_CFG_PATH))
    enums: dict[str, Any] = {"engine_type": EngineType, "model_type": ModelType, "ocr_version": OCRVersion}
    checked = {}
    for name, value in settings.items():
        place: Any = known
        for part in name.split("."):
            place = place.get(part, _ABSENT) if isinstance(place, Mapping) else _ABSENT
        section, _, last = name.rpartition(".")
        if place is _ABSENT or not section:
            close = difflib.get_close_matches(name, list(_names(known)), 3)
            hint = f" Did you mean {' or '.join(close)}?" if close else " Its config.yaml lists them."
            raise InputError(f"RapidOCR has no setting {name!r}.{hint}")
        if section == "Cls" or (section == "Global" and last in _OURS):
            raise InputError(f"The setting {name} has no effect here: lines are turned and dropped in another way.")
        if last in enums:
            try:
                value = enums[last](getattr(value, "value", value))
            except ValueError as exc:
                choice = ", ".join(one.value for one in enums[last])
                raise InputError(f"The setting {name} must be one of {choice}; got {value!r}.") from exc
        else:
            value = _of_kind(name, place, value)
        checked[name] = value
    return checked


def _of_kind(name: str, usual: Any, value: Any) -> Any:
    """A setting's value, which must be of the kind of the usual one; where that is None, anything but nonsense."""
    given = value
    if isinstance(usual, bool):
        wanted, good = "true or false", isinstance(value, bool)
    elif isinstance(usual, (int, float)):
        read = number(value)
        whole = isinstance(usual, int)
        wanted, good = "a whole number" if whole else "a number", read is not None and not (whole and read % 1)
        value = read if read is None or not whole else int(read)
    elif isinstance(usual, str):
        wanted, good = "a word", isinstance(value, str)
    elif isinstance(usual, list):
        several = isinstance(value, (list, tuple)) and len(value) == len(usual)
        wanted = f"a list of {len(usual)}"
        good = several and all(isinstance(one, str) or number(one) is not None for one in value)
    elif isinstance(usual, Mapping):
        wanted, good = "names with values", isinstance(value, Mapping)
    else:
        wanted, good = "a finite value", not isinstance(value, float) or math.isfinite(value)
    if not good:
        raise InputError(f"The setting {name} wants {wanted}, got {shown(given)}.")
    return value


_ABSENT = object()


def _names(tree: Mapping[Any, Any], before: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{before}{key}.")
        else:
            yield f"{before}{key}"


def _need_file(cfg: Any, part: str, lang: str | None) -> None:
    """Set the path of a model, so that nothing is downloaded; an error if it is not there."""
    if cfg[part].engine_type.value != "onnxruntime":
        return
    given = cfg[part].model_path
    if given is not None:
        if not Path(given).is_file():
            raise CheckpointError(f"There is no OCR model {str(given)!r} ({part}.model_path).")
        return
    from rapidocr.inference_engine.base import FileInfo, InferSession

    section = cfg[part]
    try:
        url = InferSession.get_model_url(
            FileInfo(section.engine_type, section.ocr_version, section.task_type, section.lang_type, section.model_type)
        )["model_dir"]
    except ValueError as exc:
        raise InputError(f"RapidOCR has no such model: {_cause(exc)}.") from exc
    path = Path(cfg.Global.model_root_dir) / Path(url).name
    if not path.is_file():
        wanted = f"that reads {lang!r}" if lang and part == "Rec" else "of these settings"
        raise CheckpointError(
            f"RapidOCR comes without the model {wanted}. Save {url} in the folder {path.parent}, or pass the file "
            f"as the setting {part}.model_path."
        )
    section.model_path = str(path)


@contextlib.contextmanager
def _typed() -> Iterator[None]:
    """Whatever RapidOCR, OpenCV or onnxruntime raise, as an error of ours."""
    try:
        yield
    except FO1AgentError:
        raise
    except ImportError as exc:
        raise MissingExtraError(f"The OCR engine needs more: {_cause(exc)}.") from exc
    except Exception as exc:
        raise ToolFailed(f"The OCR engine failed: {_cause(exc)}.") from exc


def _cause(exc: Exception) -> str:
    """The last line of an error, which is where onnxruntime's, a whole traceback, says what happened."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return (lines[-1] if lines else type(exc).__name__)[:200].rstrip(".")


# ---- from pixels to text ----


@dataclass(frozen=True, slots=True)
class _Letter:
    """A character that the recogniser sees.

    Attributes:
        character: it, which may be a space.
        at: where along the line, pixels at the recogniser's height.
        probability: how likely it is.
        space: how likely there is a space anywhere between it and the one before.
    """

    character: str
    at: float
    probability: float
    space: float


class _Recogniser:
    """The session and the characters of RapidOCR's recogniser. Its own loop would keep all classes of every step of a
    long line, 18,000 numbers each, and tells nothing of spaces."""

    def __init__(self, rapid: Any) -> None:
        loaded = rapid._load_rec_model()
        self._session = loaded.session
        self._characters: list[str] = loaded.postprocess_op.character
        self._space = len(self._characters) - 1 - self._characters[::-1].index(" ")
        _, self._height, self._least_width = loaded.rec_image_shape
        self._batch: int = loaded.rec_batch_num
        self._right_to_left = str(getattr(loaded.cfg.lang_type, "value", loaded.cfg.lang_type)) == "arabic"

    def read(self, lines: Sequence[np.ndarray]) -> list[tuple[str, float]]:
        """As `Engine.recognise`; lines of about one length are read together."""
        import cv2

        sizes = [(max(1, math.ceil(self._height * line.shape[1] / line.shape[0])), self._height) for line in lines]
        texts: dict[int, tuple[str, float]] = {}
        order = sorted(range(len(lines)), key=lambda k: sizes[k][0])
        short = [k for k in order if sizes[k][0] <= _WINDOW]
        for begin in range(0, len(short), self._batch):
            chosen = short[begin : begin + self._batch]
            seen = self._letters([cv2.resize(lines[k], sizes[k]) for k in chosen])
            texts.update(zip(chosen, map(self._text, seen), strict=True))
        for k in order[len(short) :]:
            texts[k] = self._text(self._in_windows(cv2.resize(lines[k], sizes[k])))
        return [texts[k] for k in range(len(lines))]

    def _letters(self, lines: Sequence[np.ndarray]) -> list[list[_Letter]]:
        """The letters of each line: a run of steps with one character is that character once, class 0 is none."""
        width = max(self._least_width, *(line.shape[1] for line in lines))
        batch = np.zeros((len(lines), 3, self._height, width), dtype=np.float32)
        for row, line in zip(batch, lines, strict=True):
            row[:, :, : line.shape[1]] = line[:, :, ::-1].transpose(2, 0, 1) / np.float32(127.5) - 1  # it reads BGR
        return [self._decoded(steps, width / len(steps)) for steps in self._session(batch)]

    def _decoded(self, steps: np.ndarray, stride: float) -> list[_Letter]:
        """[T, C] probabilities as letters; a step is `stride` pixels."""
        best, probability, space = steps.argmax(1), steps.max(1), steps[:, self._space]
        letters, before = [], -1
        for at in np.flatnonzero((best != 0) & np.insert(best[1:] != best[:-1], 0, True)).tolist():
            likely = float(space[before + 1 : at].max(initial=0))
            letters.append(_Letter(self._characters[best[at]], at * stride, float(probability[at]), likely))
            before = at
        return letters

    def _in_windows(self, line: np.ndarray) -> list[_Letter]:
        """The letters of a long line, read in windows that overlap."""
        letters: list[_Letter] = []
        for start in range(0, line.shape[1] - _OVERLAP, _WINDOW - _OVERLAP):
            (seen,) = self._letters([line[:, start : start + _WINDOW]])
            seen = [replace(letter, at=letter.at + start) for letter in seen]
            letters = _joined(letters, seen, start, start + _OVERLAP) if start else seen
        return letters

    def _text(self, letters: Sequence[_Letter]) -> tuple[str, float]:
        """The text and the mean probability of its letters."""
        if not letters:
            return "", 0.0
        text = " ".join("".join(_with_spaces(letters)).split())
        if self._right_to_left:
            from rapidocr.utils.utils import reorder_bidi_for_display

            text = str(reorder_bidi_for_display((text,))[0])
        return text, sum(letter.probability for letter in letters) / len(letters)


def _joined(left: Sequence[_Letter], right: Sequence[_Letter], first: float, last: float) -> list[_Letter]:
    """The letters of two windows that both show the pixels from `first` to `last`.

    One passes into the other in the middle of what both read there alike. A letter may stand a few pixels apart in
    them, so a cut at one place would lose some and double others.
    """
    a = [k for k, letter in enumerate(left) if letter.at >= first]
    b = [k for k, letter in enumerate(right) if letter.at < last]
    texts = [left[k].character for k in a], [right[k].character for k in b]
    match = difflib.SequenceMatcher(None, *texts, autojunk=False).find_longest_match()
    if match.size:
        cut = match.size // 2
        here, there = a[match.a + cut], b[match.b + cut]
        if abs(left[here].at - right[there].at) <= _APART:
            return [*left[:here], *right[there:]]
    middle = (first + last) / 2
    return [*(one for one in left if one.at < middle), *(one for one in right if one.at >= middle)]


def _with_spaces(letters: Sequence[_Letter]) -> Iterator[str]:
    """The characters, with a space before those that the recogniser, less than half sure of it, parts from the last."""
    pairs = list(pairwise(k for k, letter in enumerate(letters) if letter.character != " "))
    likely = [max(one.probability for one in letters[a + 1 : b]) if b > a + 1 else letters[b].space for a, b in pairs]
    least = max(_SPACE, _ABOVE_MEDIAN * float(np.median(likely))) if likely else 1.0
    put = {b for (a, b), one in zip(pairs, likely, strict=True) if b == a + 1 and one > least}
    for k, letter in enumerate(letters):
        parted = k in put and _may_part(letters[k - 1].character, letter.character)
        yield f" {letter.character}" if parted else letter.character


def _may_part(before: str, after: str) -> bool:
    """Whether a space may be put between two characters: not into numbers, nor where words are written without."""
    return (
        (before.isalnum() or before in ",.;:!?)&%")
        and (after.isalnum() or after in "(&")
        and not (after.isdigit() and not before.isalnum())
        and not any("\u0e00" <= one <= "\u0eff" or one >= "\u2e80" for one in (before, after))
    )


# ---- pixels ----


def cut_out(pixels: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """A line, set straight and at most `_CUT_HEIGHT` pixels high, or wide if it runs up or down.

    Args:
        pixels: [H, W, 3] uint8.
        quad: [4, 2] its corners, clockwise from the top left.
    """
    import cv2

    with _typed():
        # Only what stands around the line: OpenCV takes no more than 32766 pixels a side.
        low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int) + 1
        part = pixels[max(low[1], 0) : high[1], max(low[0], 0) : high[0]]
        corners = quad - np.maximum(low, 0)
        width, height = np.linalg.norm(quad[1] - quad[0]), np.linalg.norm(quad[3] - quad[0])
        shrink = min(1.0, _CUT_HEIGHT / max(min(width, height), 1))
        if shrink < 1:
            size = [max(1, round(side * shrink)) for side in (part.shape[1], part.shape[0])]
            corners = corners * [size[0] / part.shape[1], size[1] / part.shape[0]]
            part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        width, height = max(1, round(width * shrink)), max(1, round(height * shrink))
        straight = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
        transform = cv2.getPerspectiveTransform(corners.astype(np.float32), straight)
        return cv2.warpPerspective(
            part, transform, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )


def around(quads: np.ndarray, along: int) -> np.ndarray:
    """[4, 2] corners of the line whose pieces are [N, 4, 2], upright if they are.

    How high it is the longer pieces say: what a picture's edge cuts off is found with a loose box.

    Args:
        along: the axis along which they lie, 0 for x or 1 for y.
    """
    lengths = quads[..., along].max(1) - quads[..., along].min(1)
    long = quads[lengths >= 0.5 * lengths.max()]
    sides = np.linalg.norm(long - np.roll(long, 1, axis=1), axis=2)  # [N, 4]
    leaning = long.max(1) - long.min(1) - np.stack([sides[:, 1], sides[:, 0]], axis=1)
    if (leaning <= _LEANS * sides.min(1, keepdims=True)).all():
        low, high = long.min((0, 1)), long.max((0, 1))
        low[along], high[along] = quads[..., along].min(), quads[..., along].max()
        return np.array([low, (high[0], low[1]), high, (low[0], high[1])])
    import cv2

    corners = cv2.boxPoints(cv2.minAreaRect(quads.reshape(-1, 2).astype(np.float32))).astype(np.float64)
    left, right = np.split(corners[np.argsort(corners[:, 0], kind="stable")], 2)
    (top_left, bottom_left), (top_right, bottom_right) = (side[np.argsort(side[:, 1])] for side in (left, right))
    return np.array([top_left, top_right, bottom_right, bottom_left])
