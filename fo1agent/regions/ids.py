"""The ids of regions, one grammar: `r7` or `b10_20_110_220` within a picture, `img_3fa9c1d2/r7` anywhere.

`r` and a number is a proposal of the scene, `b` and four corners in whole pixels a box that is none of them. What a
user's own detector or test calls its regions may be something else; `name_of` and `image_of` take any id apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

PICTURE = r"img_[0-9a-f]{8,64}"
"""The form of a picture's id, as a regular expression."""
HANDLE = rf"{PICTURE}(-[0-9a-f]{{8,64}})?"
"""The form of a handle: a picture's id or, with boxes of a caller's, that and theirs."""
NAME = r"(?:r\d{1,6}|b\d{1,6}_\d{1,6}_\d{1,6}_\d{1,6})"
"""The form of a region's id within a picture."""
_WHOLE = re.compile(rf"(?:({PICTURE})/)?({NAME})")
_MOST = 999_999  # a corner has six digits at most


@dataclass(frozen=True, slots=True)
class RegionId:
    """An id that was read.

    Attributes:
        name: `r7`, or `b10_20_110_220`.
        picture: `img_3fa9c1d2`, or None where the id does not say.
    """

    name: str
    picture: str | None = None

    @classmethod
    def read(cls, text: Any) -> RegionId | None:
        """The id that a text is, blanks around it aside; None for all else."""
        found = _WHOLE.fullmatch(text.strip()) if isinstance(text, str) else None
        return found and cls(found[2], found[1])

    @property
    def index(self) -> int | None:
        """The number of a proposal; None for a box."""
        return int(self.name[1:]) if self.name[0] == "r" else None

    @property
    def box(self) -> tuple[float, ...] | None:
        """The four corners that the id spells, pixels; None for a proposal."""
        return tuple(map(float, self.name[1:].split("_"))) if self.name[0] == "b" else None

    def __str__(self) -> str:
        return self.name if self.picture is None else f"{self.picture}/{self.name}"


def is_region_id(text: str) -> bool:
    """Whether a text has the form of a region's id, `r7`, `img_3fa9c1d2/r7` or `b10_20_110_220`."""
    return RegionId.read(text) is not None


def box_name(box: Sequence[float]) -> str:
    """The short id that holds a box (x1, y1, x2, y2) to whole pixels: `b10_20_110_220`."""
    return "b" + "_".join(str(min(max(round(v), 0), _MOST)) for v in box)


def numbered(picture: str, indexes: Iterable[int]) -> tuple[str, ...]:
    """Ids of a picture's proposals."""
    return tuple(f"{picture}/r{index}" for index in indexes)


def name_of(region_id: str) -> str:
    """An id of any form within its picture: `r7` of `img_3fa9c1d2/r7`."""
    return region_id.rpartition("/")[2]


def image_of(region_id: str) -> str:
    """The picture of an id of any form: what stands before the stroke."""
    return region_id.partition("/")[0]
