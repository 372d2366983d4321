"""`Example`: a region of some picture, taken along to find more of its kind in others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fo1agent.errors import InputError
from fo1agent.regions.regions import Box, number, shown


@dataclass(frozen=True, eq=False)
class Example:
    """What a model saw in one region, small enough to be kept and pickled: some 3 KB with fo1-nano.

    What comes out of a file may be anything; `check` is asked before one is used.

    Attributes:
        id: the region's, with its picture: `img_3fa9c1d2/r3`.
        box: xyxy pixels of that picture.
        label: what the region is called there; None for nothing.
        fingerprint: of the weights that made the vectors; no others can compare them.
        vectors: by name, as the model compares them.
    """

    id: str
    box: Box
    label: str | None
    fingerprint: str
    vectors: Mapping[str, np.ndarray] = field(repr=False)

    @property
    def picture(self) -> str:
        """The id of the picture that it is a region of."""
        return self.id.partition("/")[0]

    def check(self) -> None:
        """Refuse one that no scene has made, or that was changed since.

        Raises:
            InputError: a part is missing, of another type, or holds numbers that are none.
        """
        for name, (what, fits) in _PARTS.items():
            if not fits(part := vars(self).get(name)):
                told = shown(vars(self).get("id", "without an id"))
                raise InputError(
                    f"The example {told} is broken: its {name} must be {what}, got {shown(part)}. Make it anew: "
                    "scene.example(…)."
                )


def _is_vectors(part: Any) -> bool:
    return isinstance(part, Mapping) and all(
        isinstance(one, np.ndarray) and one.ndim == 1 and one.dtype.kind == "f" and bool(np.isfinite(one).all())
        for one in part.values()
    )


def _is_box(part: Any) -> bool:
    return isinstance(part, tuple) and len(part) == 4 and all(number(corner) is not None for corner in part)


_PARTS = {
    "id": ("a text", lambda part: isinstance(part, str)),
    "box": ("four finite numbers", _is_box),
    "label": ("a text or None", lambda part: part is None or isinstance(part, str)),
    "fingerprint": ("a text", lambda part: isinstance(part, str)),
    "vectors": ("arrays [d] of finite floats by name", _is_vectors),
}
