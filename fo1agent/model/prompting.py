"""Prompts as ids, and the size at which pictures are seen: what processors of every engine have in common.

No tensor library here: an engine says how text becomes ids, and as what it takes them.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from fo1agent.errors import CheckpointError, ImageError, InputError
from fo1agent.model.bases.chat import Chat
from fo1agent.regions.regions import shown

IMAGE_SLOT, REGION_SLOT = -200, -300
LONGEST_ASPECT = 200
MOST_REGIONS = 1000  # of one picture, read in several prompts: bounds what boxes from outside may cost


@dataclass(frozen=True)
class ProcessingConfig:
    """How a picture becomes tower input; the defaults are the public checkpoint's.

    Attributes:
        min_side: sides shorter than this are stretched to it (the boxes are not: the reference's way).
        max_side: pictures with a longer side are shrunk to it.
        min_pixels, max_pixels: limits of the primary tower's input, pixels.
        aux_aspect: size of the DaViT input: `dynamic` (as is), `squash` (768 x 768) or `dynamic_square`.
        max_regions: boxes that one prompt holds at most; those of a picture with more are read in several.
        box_order: how proposals are numbered: as they come (`given`), by rows and in them from the left by their upper
            left corners (`raster`), or by size (`area_asc`, `area_desc`). Boxes that a caller numbers stay as they are.
        closing: the text behind the user's words; None: the base's own.
    """

    min_side: int = 28
    max_side: int = 2048
    min_pixels: int = 56 * 56
    max_pixels: int = 2048 * 2048
    aux_aspect: str = "dynamic"
    max_regions: int = 100
    box_order: str = "given"
    closing: str | None = None

    def __post_init__(self) -> None:
        if self.aux_aspect not in ("dynamic", "squash", "dynamic_square"):
            raise CheckpointError(f"aux_aspect is dynamic, squash or dynamic_square, got {self.aux_aspect!r}.")
        if self.box_order not in ("given", "raster", "area_asc", "area_desc"):
            raise CheckpointError(f"box_order is given, raster, area_asc or area_desc, got {self.box_order!r}.")


class Prompting(ABC):
    """Words, slots and sizes of a model's prompts.

    Attributes:
        chat: the base's text around a turn.
        settings: of pictures and regions.
    """

    chat: Chat
    settings: ProcessingConfig

    @abstractmethod
    def _id_of(self, token: str) -> int | None:
        """Id of a token, an added one or not; None if the tokenizer does not know it."""

    @abstractmethod
    def _text_ids(self, text: str) -> list[int]:
        """Ids of trusted text, nothing added."""

    @abstractmethod
    def _array(self, ids: Sequence[int]) -> Any:
        """Ids as the engine takes them, [.] int64."""

    # --- pictures and boxes ------------------------------------------------------------------------------------

    def _seen(self, image: Image.Image) -> tuple[Image.Image, tuple[float, float]]:
        """The picture that the towers are given, RGB, and the factors by which boxes follow it.

        Raises:
            ImageError: the picture is more than 200 times as long as it is wide, or the reverse.
        """
        seen, scale = self._limit_sides(image.convert("RGB"))
        if max(seen.size) > LONGEST_ASPECT * min(seen.size):
            raise ImageError(f"The picture is {image.width} x {image.height}: sides may differ {LONGEST_ASPECT} times.")
        return seen, scale

    def _limit_sides(self, image: Image.Image) -> tuple[Image.Image, tuple[float, float]]:
        """Stretch short sides, cut the long one; and the factors by which boxes follow the cut (not the stretch)."""
        low, high = self.settings.min_side, self.settings.max_side
        if min(image.size) < low:
            image = image.resize((max(image.width, low), max(image.height, low)), Image.Resampling.BICUBIC)
        longest = max(image.size)
        if longest <= high:
            return image, (1.0, 1.0)
        factor = high / longest
        width, height = (max(int(side * factor), low) for side in image.size)
        scale = (width / image.width, height / image.height)
        return image.resize((width, height), Image.Resampling.BICUBIC), scale

    def keep_best(self, scores: Sequence[float] | np.ndarray, limit: int | None = None) -> tuple[np.ndarray, str]:
        """Which boxes are kept, as positions in their given order, and a note for a person if some are not.

        Args:
            scores: of the boxes.
            limit: how many are kept at most; None: as many as one prompt holds.
        """
        limit = self.settings.max_regions if limit is None else limit
        best = _best_first(scores)[:limit]
        return np.sort(best), f"{len(scores)} boxes given, best {limit} kept" if len(scores) > limit else ""

    def chunks(self, scores: np.ndarray) -> tuple[list[np.ndarray], str]:
        """Positions of boxes by the prompt that holds them, rising in each: the best in the first one, and so on; and a
        note for a person if there is more than one prompt."""
        limit = self.settings.max_regions
        if len(scores) <= limit:
            return [np.arange(len(scores))], ""
        order = _best_first(scores)
        parts = [np.sort(order[first : first + limit]) for first in range(0, len(order), limit)]
        note = f"{len(order)} boxes, judged in {len(parts)} prompts of at most {limit}"
        return parts, f"{note}; words about the whole picture are of the best {limit}"

    def reading_order(self, boxes: np.ndarray) -> np.ndarray:
        """Positions of boxes [N, 4] in the order in which the model is used to read them; see `box_order`."""
        order = self.settings.box_order
        if order == "given":
            return np.arange(len(boxes))
        if order == "raster":
            return np.lexsort((boxes[:, 0], boxes[:, 1]))
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        return np.argsort(areas if order == "area_asc" else -areas, kind="stable")

    # --- words -------------------------------------------------------------------------------------------------

    def prompt_ids(self, regions: Sequence[int], text: str) -> Any:
        """Ids [P] of one user turn with slots; `regions` holds the number of boxes of each picture, in order."""
        parts, between = self._prompt_parts(regions)
        return self._tokenize([*parts, between + self.plain(text) + self.chat.closing])

    def prefix_ids(self, regions: Sequence[int]) -> Any:
        """Ids of what all questions share: everything up to the last picture's last region."""
        return self._tokenize(self._prompt_parts(regions)[0])

    def question_ids(self, regions: Sequence[int], text: str) -> Any:
        """Ids of the rest of the turn: the words, and the opening of the answer."""
        return self._tokenize([self._prompt_parts(regions)[1] + self.plain(text) + self.chat.closing])

    def phrase_ids(self, phrase: str) -> Any:
        """Ids of a phrase whose last state is matched with regions: `<ground>phrase</ground>`."""
        return self._tokenize([f"<ground>{self.plain(phrase)}</ground>"])

    def plain(self, text: str) -> str:
        """The user's words with chat markers broken, so that text read in a picture cannot end the turn.

        Raises:
            InputError: see `check_text`.
        """
        return self.chat.plain(check_text(text))

    def text_ids(self, text: str) -> Any:
        """Ids [.] int64 of trusted text: special tokens in it count as such."""
        return self._tokenize([text])

    def region_ids(self, count: int) -> list[int]:
        """Ids of `<region0>` … `<region{count-1}>`."""
        return [self.token_id(f"<region{i}>") for i in range(count)]

    def token_id(self, token: str) -> int:
        """Id of an added token.

        Raises:
            CheckpointError: the tokenizer does not know it.
        """
        index = self._id_of(token)
        if index is None:
            raise CheckpointError(f"The tokenizer has no token {token!r}; FO1 needs it.")
        return index

    def _prompt_parts(self, regions: Sequence[int]) -> tuple[list[str | int], str]:
        """The shared part as text and slots, and the text between its last slot (or picture) and the user's words."""
        parts: list[str | int] = []
        pending, first = self.chat.opening, 0
        for count in regions:
            parts += [pending + self.chat.image_opening, IMAGE_SLOT]
            pending = self.chat.image_closing
            for index in range(first, first + count):
                parts += [f"{pending}<region{index}>", REGION_SLOT]
                pending = ""
            pending += "\n" * (count > 0)
            first += count
        if parts and parts[-1] == IMAGE_SLOT:
            # With no region the prefix ends behind the picture; the newline stays with the words.
            closing = self.chat.image_closing.rstrip("\n")
            return [*parts, closing], pending.removeprefix(closing)
        return parts, pending

    def _tokenize(self, parts: Sequence[str | int]) -> Any:
        """Pieces of text are cut beside added tokens, so this equals tokenising the whole."""
        ids: list[int] = []
        for part in parts:
            ids += [part] if isinstance(part, int) else self._text_ids(part)
        return self._array(ids)

    def _spoken(self, text: str) -> str:
        """A reply up to its end."""
        return text.partition(self.chat.stop)[0].strip()


def _best_first(scores: Sequence[float] | np.ndarray) -> np.ndarray:
    return np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")


def check_text(text: Any) -> str:
    """Text as it came.

    Raises:
        InputError: it is no string, or holds half a character, which no tokenizer reads.
    """
    if not isinstance(text, str):
        raise InputError(f"Text must be a string, got {shown(text)}.")
    if half := re.search(r"[\ud800-\udfff]", text):
        raise InputError(f"Text must be Unicode, got {half[0]!r} at {half.start()}, half of a character: leave it out.")
    return text
