"""What a scene has of its picture and says of places in it, wherever the model that looks at it is.

Regions and boxes from outside become regions of this picture, and parts of it are cut out and laid back. No model is
known here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from PIL import Image

from fo1agent.errors import BoxError, InputError
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.regions.boxes import clip, enlarge, iou, visible
from fo1agent.regions.examples import Example
from fo1agent.regions.ids import RegionId, box_name, image_of, is_region_id, respelled, spells
from fo1agent.regions.regions import Box, Region, Regions, check_boxes, number, read_box, read_pixels, shown

# A box this close to a proposal is that proposal.
_SAME_BOX_IOU = 0.98

Target = Region | str | Box | Sequence[float] | Mapping[str, Any] | None
"""What a tool looks at: a region, its id (`r7`, `img_3fa9c1d2/r7`, `b10_20_110_220`), a box in pixels in any form that
`types.read_box` takes, or None for the whole picture."""

Examples = Target | Example | Sequence[Target | Example]
"""What to find more of: a target, an example of another picture, or several of them."""


def listed(given: Any, argument: str) -> list[Any]:
    """Examples as a list: one alone, several, or, of None, none.

    Raises:
        InputError: one of several is None.
    """
    if given is None:
        return []
    if isinstance(given, (str, Region, Example, Mapping)) or not isinstance(given, Iterable) or _is_box(given):
        return [given]
    found = list(given)
    if any(each is None for each in found):
        raise InputError(f"{argument} holds None, and no region, box or example.")
    return found


def _is_box(given: Any) -> bool:
    return hasattr(given, "__len__") and len(given) == 4 and all(number(corner) is not None for corner in given)


def id_within(target: Any) -> str | None:
    """The region's id in a dict that tells of a region, as results have them; None for all else.

    Where the dict names the region's picture, so does the id.
    """
    told = target.get("id") if isinstance(target, Mapping) else None
    if not isinstance(told, str) or not is_region_id(told):
        return None
    region, picture = told.strip(), target.get("image")
    # What is no id, or another one than the region's own, makes an id that no picture has: it is refused as such.
    return region if picture is None or region.startswith(f"{picture}/") else f"{str(picture)[:200]}/{region}"


def several(given: Any, method: str, what: str) -> list[Any]:
    """Several of something.

    Raises:
        InputError: it is one.
    """
    if given is None or isinstance(given, (str, Region, Mapping)) or not isinstance(given, Iterable):
        raise InputError(f"{method} needs a list of {what}, got {shown(given)}. Pass [{shown(given)}].")
    return list(given)


def phrases_of(given: Any) -> list[str]:
    """Phrases, each of which says something.

    Raises:
        InputError: they are none, or one of them is empty or no text.
    """
    phrases = several(given, "ground_many", "phrases")
    for phrase in phrases:
        if not isinstance(phrase, str) or not phrase.strip():
            raise InputError(f'A phrase must say what to look for, such as "bus"; got {shown(phrase)}.')
        _check_spelling(phrase)  # a detector that takes any words would look for it
    return phrases


def _check_spelling(text: str) -> None:
    if right := respelled(text):
        raise InputError(f"{text.strip()!r} is no region's id; it is written {right}.")


def pairs(asked: Any) -> list[tuple[Target, str]]:
    """(target, question) pairs.

    Raises:
        InputError: they are none.
    """
    given = several(asked, "inspect_many", "(target, question) pairs")
    for pair in given:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[1], str):
            raise InputError(f"inspect_many needs (target, question) pairs, got {shown(pair)}.")
    return [(target, question) for target, question in given]


class Pictured(ABC):
    """A picture with regions.

    Attributes:
        loaded: the picture with its content id.
        parent: the scene of which this one is a part; None unless made by `zoom`.
        offset_xy: the corner of this picture in the parent, in pixels.
    """

    loaded: LoadedImage
    parent: Self | None = None
    offset_xy: tuple[int, int] = (0, 0)

    @property
    def id(self) -> str:
        """`img_` and hex digits of the picture's content; see `LoadedImage.id`."""
        return self.loaded.id

    @property
    def image(self) -> Image.Image:
        """The upright RGB picture. Do not draw on it; `annotate` gives a copy."""
        return self.loaded.pixels

    @property
    def width(self) -> int:
        """Pixels."""
        return self.loaded.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self.loaded.height

    @property
    @abstractmethod
    def regions(self) -> Regions:
        """Every proposal, in the model's order."""

    def region(self, region_id: str) -> Region:
        """The region of an id: `r7`, `img_3fa9c1d2/r7`, or the box form `b10_20_110_220`.

        Raises:
            InputError: no such region, or one of another picture; the message says which there are.
        """
        meant = RegionId.read(region_id)
        if meant is None:
            if isinstance(region_id, str):
                _check_spelling(region_id)
            raise InputError(
                f"{shown(region_id)} is no region id, such as r3, nor a box, [x1, y1, x2, y2]. {self._known()}"
            )
        if not self._has(meant):
            raise InputError(f"{region_id} is a region of another picture; this one is {self.id}. {self._known()}")
        if meant.index is None:
            return self._box_region(meant.box)
        if meant.index >= len(self.regions):
            raise InputError(f"No region {meant.name}. {self._known()}")
        return self.regions[meant.index]

    def to_parent(self, regions: Regions) -> Regions:
        """Regions of this part as regions of the scene it was cut from, with its boxes and ids.

        Raises:
            InputError: this one was not made by `zoom`.
        """
        if self.parent is None:
            raise InputError("This scene is a whole picture, not a part made by zoom.")
        shift = np.array([*self.offset_xy, *self.offset_xy], dtype=np.float64)
        boxes = regions.boxes + shift
        ids = tuple(self.parent._box_id(box) for box in boxes.tolist())
        return replace(regions, boxes=boxes, ids=ids, masks=())  # which are of the part

    # ---- places in it -------------------------------------------------------------------------------------------

    def _spelled(self) -> tuple[tuple[str, str], ...]:
        """The ids of this picture, each in its short and its full form."""
        return ((self.id, self.loaded.key),)

    def _has(self, meant: RegionId) -> bool:
        """Whether an id is that of one of this picture's regions, be there such a one or not.

        The picture's id may be given in full; a shorter one than its own is another picture's. A number counts the
        boxes that the picture was opened with, and a box is one of its pixels, whatever those are.
        """
        picture, numbered_ = meant.picture, meant.index is not None
        return picture is None or any(spells(picture, *one, boxes=numbered_) for one in self._spelled())

    def _boxes(self) -> np.ndarray:
        """[N, 4] of the proposals, pixels."""
        return self.regions.boxes

    def _known(self) -> str:
        n = len(self._boxes())
        return f"There are r0 to r{n - 1}." if n > 1 else "There is r0." if n else "The picture has no regions."

    def _whole(self) -> Region:
        box = (0.0, 0.0, float(self.width), float(self.height))
        return Region(self._box_id(box), box, 1.0)

    def _box_id(self, box: Sequence[float]) -> str:
        return f"{self.id}/{box_name(box)}"

    def _box_region(self, box: Any) -> Region:
        """A box from outside as a region: the proposal it equals, or one of its own."""
        boxes = check_boxes([read_box(box)])
        if not visible(boxes, self.loaded.size_hw)[0]:
            corners = ", ".join(f"{v:g}" for v in boxes[0])
            raise InputError(f"The box ({corners}) shows nothing of the {self.width}x{self.height} picture.")
        boxes = clip(boxes, self.loaded.size_hw)
        proposals = self._boxes()
        if len(proposals):
            overlap = iou(proposals, boxes)[:, 0]
            best = int(overlap.argmax())
            if overlap[best] >= _SAME_BOX_IOU:
                return self.regions[best]
        x1, y1, x2, y2 = boxes[0].tolist()
        return Region(self._box_id((x1, y1, x2, y2)), (x1, y1, x2, y2), 1.0)

    def _named_or_box(self, text: str) -> Region:
        """A region by its id, or by a box written as text."""
        if is_region_id(text):
            return self.region(text)
        try:
            box = read_box(text)
        except BoxError:
            return self.region(text)  # which says what there is
        return self._box_region(read_pixels(box))

    def _region_of(self, target: Target) -> Region:
        """A target as a region of this scene; None gives the whole picture."""
        if target is None:
            return self._whole()
        target = id_within(target) or target
        if isinstance(target, str):
            return self._named_or_box(target)
        if isinstance(target, Region):
            if image_of(target.id).partition("-")[0] != self.id.partition("-")[0]:
                raise InputError(f"{target.id} is a region of another picture; this one is {self.id}. {self._known()}")
            if target.id in self.regions.ids and self.regions.by_id(target.id).box == target.box:
                return target
            # The picture was opened elsewhere with other boxes: the box itself is what was meant.
            return self._box_region(target.box)
        return self._box_region(read_pixels(target))

    def _own(self, target: Target) -> Target:
        """A target that is to be an example.

        Raises:
            InputError: it is a region of another picture, and not the example that its scene makes of it.
        """
        told = id_within(target) or target
        named = told.id if isinstance(told, Region) else told
        meant = RegionId.read(named)
        if meant and not self._has(meant):
            raise InputError(
                f"{named} is a region of another picture; this one is {self.id}. Pass what that picture's scene makes "
                f"of it: like=other.example({meant.name!r})."
            )
        return target

    def _part(self, target: Target, margin: float) -> tuple[LoadedImage, tuple[int, int]]:
        """(the part of the picture that a target covers with a margin around it, where its corner lies); see `zoom`.

        Boxes are taken to a hundredth of a pixel, as they are told, so that a part has the same pixels wherever its
        region was found.
        """
        around = number(margin)
        if around is None or around < 0:
            raise InputError(f"zoom got margin={shown(margin)}. Pass 0 or more.")
        box = [round(v, 2) for v in self._region_of(target).box]
        left, top, right, bottom = self._pixels(enlarge(np.array([box]), 1 + 2 * around, self.loaded.size_hw)[0])
        return load_image(self.image.crop((left, top, right, bottom))), (left, top)

    def _pixels(self, box: Sequence[float] | np.ndarray) -> tuple[int, int, int, int]:
        """The whole pixels that a box touches, at least one."""
        x1, y1, x2, y2 = (float(v) for v in box)
        left, top = min(int(x1), self.width - 1), min(int(y1), self.height - 1)
        return left, top, max(left + 1, int(np.ceil(x2))), max(top + 1, int(np.ceil(y2)))
