"""What a segmenter is, how what it gives is checked, and how masks that a model found by itself come to regions.

A segmenter is shown a picture and boxes, and says for each box which pixels are the thing's. No model is known here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from fo1agent.errors import FO1AgentError, SegmentationError
from fo1agent.pictures.image import LoadedImage
from fo1agent.regions.boxes import iou
from fo1agent.regions.masks import Mask

SUGGESTED = "sam2.1-tiny"
"""The segmenter that messages name, by its short name (`fo1agent.presets`)."""

NO_SEGMENTER = (
    f"No segmenter is loaded, and a box is no mask. Load the model with --segmenter {SUGGESTED} (at a shell), or "
    f'fo1agent.load(segmenter="{SUGGESTED}").'
)
"""What is said where masks are asked for and nothing makes them."""

SAME_THING_IOU = 0.5
"""A mask that a model found by itself is a region's from this IoU of its box with the region's on."""

_ROUNDING = 1e-3  # by which a probability may lie outside of 0 to 1, as of one that was computed in half precision

_WANTED = "wanted truth values, or probabilities from 0 to 1 (of logits: 1 / (1 + exp(-logits)))"

_MADE_AT_ONCE = 64_000_000
"""Pixels of the masks that are made at once; they take some bytes each until they are runs."""


@runtime_checkable
class Segmenter(Protocol):
    """Anything that turns a picture and boxes into masks; a plain function is one, `name` it may do without.

    Called with a `LoadedImage` and boxes [N, 4], xyxy pixels of the upright picture, N at least 1. Gives N masks, each
    a `Mask`, an array [height, width] of truth values (or 0 and 1, or 0 and 255) or of probabilities, of which at least
    0.5 is the thing, or None for a box of which it has none; or an array [N, height, width]; or (these, N predicted
    IoUs from 0 to 1). A mask that lies wholly outside its box is none of it.
    """

    @property
    def name(self) -> str:
        """What makes the masks: `transformers:facebook/sam2.1-hiera-tiny`."""
        ...

    def __call__(self, image: LoadedImage, boxes: np.ndarray, /) -> Any: ...


def name_of(segmenter: Any) -> str:
    """What a segmenter is called; a function as it is."""
    return str(getattr(segmenter, "name", None) or getattr(segmenter, "__name__", type(segmenter).__name__))


def segmented(segmenter: Callable[..., Any], image: LoadedImage, boxes: np.ndarray) -> list[Mask | None]:
    """The masks of boxes [N, 4], checked; None for a box of which there is no mask, or one without pixels in it.

    Raises:
        SegmentationError: the segmenter failed, or gave what are no masks of this picture.
    """
    if not len(boxes):
        return []
    name = name_of(segmenter)
    try:
        given = segmenter(image, np.array(boxes, dtype=np.float64))
    except FO1AgentError:
        raise
    except (Exception, SystemExit) as exc:  # a segmenter's failure, whatever it is, is one for the caller
        raise SegmentationError(f"{name} failed: {one_line(exc)}") from exc
    masks, qualities = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    try:
        found = list(masks)
        rated = [None] * len(found) if qualities is None else [float(one) for one in qualities]
        if not len(found) == len(rated) == len(boxes):
            raise SegmentationError(
                f"{name} gave {len(found)} masks for {len(boxes)} boxes; wanted one each, or None where there is none."
            )
        checked = [_mask(one, quality, image) for one, quality in zip(found, rated, strict=True)]
        return [
            mask if mask is not None and mask.meets(box) else None for mask, box in zip(checked, boxes, strict=True)
        ]
    except (TypeError, ValueError, RuntimeError) as exc:  # the last of a tensor that is still being trained
        raise SegmentationError(f"{name} gave a {type(given).__name__} that holds no masks: {one_line(exc)}") from exc


def _mask(given: Any, quality: float | None, image: LoadedImage) -> Mask | None:
    if given is None:
        return None
    mask = given if isinstance(given, Mask) else Mask.of(_truth(np.asarray(given)), quality)
    if mask.size_hw != image.size_hw:
        raise ValueError(
            f"one has {mask.size_hw[1]}x{mask.size_hw[0]} pixels, the picture {image.width}x{image.height}"
        )
    return mask if mask.area else None


def _truth(pixels: np.ndarray) -> np.ndarray:
    """Truth values of what a segmenter says of each pixel.

    Raises:
        ValueError: it says something else than truth values or probabilities, such as logits.
    """
    if pixels.dtype.kind not in "bfiu":
        raise ValueError(f"its values are of the type {pixels.dtype}, {_WANTED}")
    if not pixels.size or pixels.dtype.kind == "b":
        return pixels.astype(bool)
    least, most = pixels.min(), pixels.max()
    if pixels.dtype.kind == "f":
        right = least >= -_ROUNDING and most <= 1 + _ROUNDING  # so that NaN is none either
    else:  # pictures of masks have 255 for what is set
        right = most in (0, 1, 255) and bool(((pixels == 0) | (pixels == most)).all())
    if not right:
        raise ValueError(f"its values go from {least:g} to {most:g}, {_WANTED}")
    return pixels >= 0.5


def matched(boxes: np.ndarray, found: Sequence[Mask]) -> list[Mask | None]:
    """For each box [N, 4] the mask whose own box overlaps it most, if by `SAME_THING_IOU` or more."""
    if not found:
        return [None] * len(boxes)
    overlap = iou(boxes, np.array([mask.box for mask in found]))
    best = overlap.argmax(axis=1)
    return [found[k] if overlap[n, k] >= SAME_THING_IOU else None for n, k in enumerate(best)]


def at_once(size_hw: tuple[int, int]) -> int:
    """How many masks of a picture are made at once."""
    return max(1, _MADE_AT_ONCE // max(size_hw[0] * size_hw[1], 2**20))


def one_line(exc: BaseException) -> str:
    """What an error says."""
    said = repr(exc) if isinstance(exc, SystemExit) else str(exc)
    return (" ".join(said.split()) or type(exc).__name__)[:300]


Kept = TypeVar("Kept")


class Latest(Generic[Kept]):
    """What was computed of the latest pictures, so that it is computed once while a picture is looked at."""

    def __init__(self, most: int) -> None:
        self._most, self._kept = most, OrderedDict[str, Kept]()

    def of(self, image: LoadedImage, compute: Callable[[LoadedImage], Kept]) -> Kept:
        """What is known of a picture, computed if it is not kept any more."""
        known = self._kept.pop(image.sha256, None)
        found = compute(image) if known is None else known
        self._kept[image.sha256] = found
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found
