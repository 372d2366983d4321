"""What a proposer is, and how a detector's raw boxes become proposals.

A proposer looks at a picture and says where something could be. A finder says where a phrase is: it is asked beside
FO1, and what it says counts (`fo1agent.model.joined`). No detector is known here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar, runtime_checkable
from weakref import WeakValueDictionary

import numpy as np

from fo1agent.errors import FO1AgentError, InputError, ProposalError
from fo1agent.foreign import one_line
from fo1agent.pictures.image import LoadedImage
from fo1agent.regions import boxes as box_math
from fo1agent.regions.ids import numbered
from fo1agent.regions.regions import LIMIT, Regions, shown

T = TypeVar("T")
_MADE = "as fo1agent.proposals.base.to_regions makes of boxes, scores and labels"

PICTURES_AT_ONCE = 8
"""Pictures that a proposer is given together: bounds memory."""
PIXELS_AT_ONCE = 2**22
"""Pixels of pictures that go through a detector together, as it sees them: eight of 640 x 640, three of 800 x 1333."""
MOST_BOXES = 4000
"""Boxes of a detector that are looked at, the likeliest: comparing each with each of more takes minutes."""
_LONGEST = 300  # characters of what is told of a failure
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


def check_finder(finder: Any) -> Any:
    """A finder, as it is.

    Raises:
        InputError: it lacks something that a finder has.
    """
    kind = finder.__name__ if isinstance(finder, type) else type(finder).__name__
    if isinstance(finder, type):
        raise InputError(f"{kind} is a class of finders. Pass one of them: {kind}().")
    if not isinstance(getattr(finder, "name", None), str) or not finder.name:
        raise InputError(f"The finder {kind} has no name. Give it one, as its attribute name.")
    names = getattr(finder, "names", "")
    listed = isinstance(names, Collection) and not isinstance(names, str) and all(isinstance(one, str) for one in names)
    if names is not None and not listed:
        raise InputError(
            f"The finder {finder.name} needs names: a tuple of all that it finds, or None if it takes any words; got "
            f"{one_line(shown(names), 80)}."
        )
    if names is not None and not (names and all(one.strip() for one in names)):
        raise InputError(
            f"The finder {finder.name} has names {one_line(shown(tuple(names)), 80)}, wanted one or more, none of them "
            "blank; or None if it takes any words."
        )
    if not callable(finder.find):
        raise InputError(f"The finder {finder.name} must have find(image, phrases), got {shown(finder.find)}.")
    return finder


def found_by(finder: Finder, image: LoadedImage, phrases: Sequence[str]) -> list[Regions]:
    """What a finder finds of each phrase, cut at the picture's border.

    Raises:
        ProposalError: it failed, or gave something else than regions of each phrase.
        InputError: a phrase is longer than one of ours can read.
    """
    given = _ran(finder, finder.find, image, phrases)
    found = list(given) if isinstance(given, Sequence) else []
    if len(found) != len(phrases) or not all(isinstance(one, Regions) for one in found):
        raise ProposalError(
            f"{finder.name} was asked for {len(phrases)} phrases; wanted Regions of each, {_MADE}; "
            f"got {one_line(shown(given), 80)}."
        )
    return [_likeliest(_cut(one, image)) for one in found]


def _likeliest(found: Regions) -> Regions:
    return found if len(found) <= MOST_BOXES else found[np.argsort(-found.scores, kind="stable")[:MOST_BOXES]]


_LOCKS: WeakValueDictionary[int, threading.Lock] = WeakValueDictionary()
_LOCKING = threading.Lock()


def one_at_a_time(finder: Finder) -> threading.Lock:
    """The lock of a finder, the same for all who ask it. Who keeps it keeps the finder as well."""
    with _LOCKING:
        # By its identity, as it need not be hashable, nor let itself be referred to weakly.
        return _LOCKS.setdefault(id(finder), threading.Lock())


def _ran(detector: Any, work: Callable[..., T], *given: Any) -> T:
    """What a detector gives.

    Raises:
        ProposalError: it failed.
    """
    try:
        return work(*given)
    except (Exception, SystemExit) as exc:  # a detector's failure, whatever it is, is one for the caller
        ours = str(getattr(detector, "__module__", "")).startswith("fo1agent.")
        # What ours do not take was the caller's; others make regions that are refused.
        told = not isinstance(exc, InputError) and one_line(str(exc), _LONGEST) == str(exc)
        if isinstance(exc, FO1AgentError) and (ours or told):
            raise
        said = repr(exc) if isinstance(exc, SystemExit) else str(exc)
        raise ProposalError(f"{name_of(detector)} failed: {one_line(said, _LONGEST) or type(exc).__name__}") from exc


def _cut(found: Regions, image: LoadedImage) -> Regions:
    """Regions cut at a picture's border; those of which nothing is left are left out."""
    inside = box_math.clip(found.boxes, image.size_hw)
    if np.array_equal(inside, found.boxes):
        return found
    return replace(found, boxes=inside)[box_math.visible(found.boxes, image.size_hw)]


def name_of(detector: Any) -> str:
    """What a detector is called; a function as it is."""
    return str(getattr(detector, "name", None) or getattr(detector, "__name__", type(detector).__name__))


class Function:
    """A proposer made of a plain function from `LoadedImage` to `Regions`, named as the function is."""

    def __init__(self, propose: Callable[[LoadedImage], Regions]) -> None:
        self.propose = propose
        self.name = name_of(propose)

    def __call__(self, image: LoadedImage, /) -> Regions:
        """The function's boxes.

        Raises:
            ProposalError: it failed, or did not give `Regions`.
        """
        return proposed(self.propose, image)


def proposed(propose: Callable[[LoadedImage], Regions], image: LoadedImage) -> Regions:
    """What a proposer gives of a picture.

    Raises:
        ProposalError: it failed, or did not give `Regions`.
    """
    return _regions(propose, _ran(propose, propose, image))


def _regions(propose: Any, found: Any) -> Regions:
    if not isinstance(found, Regions):
        raise ProposalError(f"The proposer {name_of(propose)} gave {type(found).__name__}; wanted Regions, {_MADE}.")
    return found


def propose_many(propose: Callable[[LoadedImage], Regions], images: Sequence[LoadedImage]) -> list[Regions]:
    """What a proposer gives of each picture, of several at once if it can.

    Raises:
        ProposalError: the proposer failed, or gave regions of more or fewer pictures than it was asked about.
    """
    together: Any = getattr(propose, "propose_many", None)
    if together is None or len(images) < 2:
        return [proposed(propose, image) for image in images]
    found: list[Regions] = []
    for first in range(0, len(images), PICTURES_AT_ONCE):
        some = images[first : first + PICTURES_AT_ONCE]
        of_each = list(_ran(propose, together, some))
        if len(of_each) != len(some):
            raise ProposalError(
                f"{name_of(propose)} was asked about {len(some)} pictures and gave regions of {len(of_each)}."
            )
        found += [_regions(propose, one) for one in of_each]
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
    most = max(MOST_BOXES, 4 * limit)
    looked_at = large if len(large) <= most else large[np.argsort(-scores[large], kind="stable")[:most]]
    kept = looked_at[box_math.nms(boxes[looked_at], scores[looked_at], SAME_BOX_IOU)]
    best = kept[:limit]
    number = f"{len(kept)}" if looked_at is large else f"more than {len(kept)}"
    return Regions(
        boxes[best],
        scores[best],
        tuple(labels[i] for i in best),
        numbered(image.id, range(len(best))),
        source,
        note=f"{number} boxes proposed, best {limit} kept" if len(kept) > limit else "",
    )
