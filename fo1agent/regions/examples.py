"""`Example`: a region of some picture, taken along to find more of its kind in others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fo1agent.regions.regions import Box


@dataclass(frozen=True, eq=False)
class Example:
    """What a model saw in one region, small enough to be kept and pickled: some 3 KB with fo1-nano.

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
