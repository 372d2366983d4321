"""What a proposer is, and how a detector's raw boxes become proposals.

A proposer looks at a picture and says where something could be. A finder says where a phrase is: it is asked beside
FO1, and what it says counts (`fo1agent.model.joined`). No detector is known here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from fo1agent.errors import ProposalError
from fo1agent.pictures.image import LoadedImage
from fo1agent.regions import boxes as box_math
from fo1agent.regions.ids import numbered
from fo1agent.regions.regions import LIMIT, Regions

PICTURES_AT_ONCE = 8
"""Pictures that a proposer is given together: bounds memory."""
PIXELS_AT_ONCE = 2**22
"""Pixels of pictures that go through a detector together, as it sees them: eight of 640 x 640, three of 800 x 1333."""
SAME_BOX_IOU = 0.9
"""Two boxes closer than this are one box under two names, as detectors give that score each class by itself."""


@runtime_checkable
class Proposer(Protocol):
    """Anything that turns a picture into boxes; `Function` makes a plain function one.

    Returns regions in pixels of the original picture, best score first, scores from 0 to 1; there may be none.

    It may also have `propose_many(images)`, which gives of at most `PICTURES_AT_ONCE` pictures what a call gives of
    each, in their order.
    """

    @property
    def name(self) -> str:
        """What makes the boxes, as in `Region.source`: `ultralytics:yolo11n`."""
        ...

    def __call__(self, image: LoadedImage, /) -> Regions: ...


@runtime_checkable
class Finder(Protocol):
    """Anything that finds phrases in a picture: a detector that reads text, or one with names of its own.

    It may also have `trust`, a `Trust` that says what its scores are worth.
    """

    @property
    def name(self) -> str:
        """What finds: `transformers:IDEA-Research/grounding-dino-tiny`."""
        ...

    @property
    def names(self) -> tuple[str, ...] | None:
        """All that it finds, singular; None if it takes any words."""
        ...

    def find(self, image: LoadedImage, phrases: Sequence[str], /) -> Sequence[Regions]:
        """The boxes of each phrase, in their order, with scores from 0 to 1; there may be none.

        What is found of one phrase must not depend on the others. A finder with `names` is asked for those alone.
        """
        ...


class Function:
    """A proposer made of a plain function from `LoadedImage` to `Regions`, named as the function is."""

    def __init__(self, propose: Callable[[LoadedImage], Regions]) -> None:
        self.propose = propose
        self.name = str(getattr(propose, "__name__", type(propose).__name__))

    def __call__(self, image: LoadedImage, /) -> Regions:
        """The function's boxes.

        Raises:
            ProposalError: it did not give `Regions`.
        """
        found = self.propose(image)
        if not isinstance(found, Regions):
            raise ProposalError(
                f"The proposer {self.name} gave {type(found).__name__}; wanted Regions, as "
                "fo1agent.proposals.base.to_regions makes of boxes, scores and labels."
            )
        return found


def propose_many(propose: Callable[[LoadedImage], Regions], images: Sequence[LoadedImage]) -> list[Regions]:
    """What a proposer gives of each picture, of several at once if it can.

    Raises:
        ProposalError: the proposer failed, or gave regions of more or fewer pictures than it was asked about.
    """
    together: Any = getattr(propose, "propose_many", None)
    if together is None or len(images) < 2:
        return [propose(image) for image in images]
    found: list[Regions] = []
    for first in range(0, len(images), PICTURES_AT_ONCE):
        some = images[first : first + PICTURES_AT_ONCE]
        of_each = list(together(some))
        if len(of_each) != len(some):
            name = getattr(propose, "name", type(propose).__name__)
            raise ProposalError(f"{name} was asked about {len(some)} pictures and gave regions of {len(of_each)}.")
        found += of_each
    return found


def alike(kinds: Sequence[Hashable], pixels: Sequence[int]) -> list[list[int]]:
    """Which pictures go through a detector together: those of one kind, at most `PIXELS_AT_ONCE` if they are several.

    Args:
        kinds: of each picture, what must be the same for all of a batch.
        pixels: of each, as the detector sees it; the same for all of a kind.

    Returns:
        The pictures' positions by batch, rising in each.
    """
    batches: dict[Hashable, list[list[int]]] = {}
    for k, (kind, size) in enumerate(zip(kinds, pixels, strict=True)):
        of_kind = batches.setdefault(kind, [[]])
        if of_kind[-1] and (len(of_kind[-1]) + 1) * size > PIXELS_AT_ONCE:
            of_kind.append([])
        of_kind[-1].append(k)
    return [batch for of_kind in batches.values() for batch in of_kind]


def to_regions(
    image: LoadedImage,
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: Sequence[str | None],
    source: str,
    limit: int = LIMIT,
) -> Regions:
    """A detector's raw output as proposals: cut at the border, without repeats, best first, at most `limit`.

    Args:
        image: the picture that the boxes are of.
        boxes: [N, 4] xyxy pixels of the picture; parts outside are cut off, and a box that is then not at least one
            pixel wide and high is dropped.
        scores: [N], 0 to 1.
        labels: N names, or None where there is none.
        source: the proposer's name.
        limit: how many are kept; the note says so if there were more.

    Raises:
        ProposalError: lengths differ, a value is not finite, a box is inside out, or a score is not a probability.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    scores = np.asarray(scores, dtype=np.float64).reshape(-1)
    if not len(boxes) == len(scores) == len(labels):
        raise ProposalError(f"{source} gave {len(boxes)} boxes, {len(scores)} scores and {len(labels)} labels.")
    bad = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    bad |= ~((scores >= 0) & (scores <= 1))  # so that NaN is bad
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise ProposalError(
            f"{source} gave boxes[{i}] = {[round(float(v), 2) for v in boxes[i]]} with score {scores[i]:g}; "
            "wanted finite xyxy pixels and a score from 0 to 1."
        )
    boxes = box_math.clip(boxes, image.size_hw)
    large = np.flatnonzero(((boxes[:, 2:] - boxes[:, :2]) >= 1).all(axis=1))
    kept = large[box_math.nms(boxes[large], scores[large], SAME_BOX_IOU)]
    best = kept[:limit]
    return Regions(
        boxes[best],
        scores[best],
        tuple(labels[i] for i in best),
        numbered(image.id, range(len(best))),
        source,
        note=f"{len(kept)} boxes proposed, best {limit} kept" if len(kept) > limit else "",
    )
