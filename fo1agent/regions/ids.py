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
HANDLE = rf"{PICTURE}(?:-[0-9a-f]{{8,64}})?"
"""The form of a handle: a picture's id or, with boxes of a caller's, that and theirs."""
_NUMBER = r"(?:0|[1-9][0-9]{0,5})"
NAME = rf"(?:r{_NUMBER}|b{_NUMBER}(?:_{_NUMBER}){{3}})"
"""The form of a region's id within a picture; each region has one, so r00 is none."""
_WHOLE = re.compile(rf"(?:(?P<picture>{HANDLE})/)?(?P<name>{NAME})")
_ALIKE = re.compile(
    rf"(?P<picture>{HANDLE}/)?(?P<letter>[rb])(?P<numbers>[0-9]{{1,9}}(?:_[0-9]{{1,9}}){{0,3}})", re.IGNORECASE
)
_MOST = 999_999  # a corner has six digits at most


@dataclass(frozen=True, slots=True)
class RegionId:
    """An id that was read.

    Attributes:
        name: `r7`, or `b10_20_110_220`.
        picture: a handle, `img_3fa9c1d2`, or None where the id does not say.
    """

    name: str
    picture: str | None = None

    @classmethod
    def read(cls, text: Any) -> RegionId | None:
        """The id that a text is, blanks around it aside; None for all else."""
        found = _WHOLE.fullmatch(text.strip()) if isinstance(text, str) else None
        return found and cls(found["name"], found["picture"])

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


def respelled(text: str) -> str | None:
    """The id that a text would be if it were written rightly, `r0` of `r00` or `R0`; None for all else."""
    found = None if is_region_id(text) else _ALIKE.fullmatch(text.strip())
    if found is None:
        return None
    numbers = "_".join(str(int(number)) for number in found["numbers"].split("_"))
    right = f"{found['picture'] or ''}{found['letter']}{numbers}".lower()
    return right if is_region_id(right) else None


def box_name(box: Sequence[float]) -> str:
    """The short id that holds a box (x1, y1, x2, y2) to whole pixels: `b10_20_110_220`."""
    return "b" + "_".join(str(min(max(round(v), 0), _MOST)) for v in box)


def numbered(picture: str, indexes: Iterable[int]) -> tuple[str, ...]:
    """Ids of a picture's proposals."""
    return tuple(f"{picture}/r{index}" for index in indexes)


def spells(picture: str, short: str, full: str, *, boxes: bool = True) -> bool:
    """Whether a picture's id is one of those from its short form to its full one, in each of its parts.

    Args:
        picture: the id.
        short: the short form.
        full: the full form.
        boxes: whether the part that tells of a caller's boxes has to be there and to be right as well.
    """
    parts = [one.split("-") if boxes else [one.partition("-")[0]] for one in (picture, short, full)]
    return len({len(one) for one in parts}) == 1 and all(
        given.startswith(least) and whole.startswith(given) for given, least, whole in zip(*parts, strict=True)
    )


def name_of(region_id: str) -> str:
    """An id of any form within its picture: `r7` of `img_3fa9c1d2/r7`."""
    return region_id.rpartition("/")[2]


def image_of(region_id: str) -> str:
    """The picture of an id of any form: what stands before the stroke."""
    return region_id.partition("/")[0]
