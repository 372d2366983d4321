"""`Scene`: one opened picture, encoded once; every question after that only costs its own words. And `Model`, which
opens scenes.

    model = load()
    scene = model.open("street.jpg")
    scene.count("person", within=scene.ground("bus")[0])

Boxes in and out are xyxy pixels of the original, upright picture. The model is only known as a `Predictor`: numpy in,
numpy out. Plans, agents and JSON are above this module.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeVar, overload

import numpy as np

from fo1agent import progress, prompts
from fo1agent.errors import FO1AgentError, InputError, ToolFailed
from fo1agent.pictured import Examples, Pictured, Target, listed, pairs, phrases_of, several
from fo1agent.pictures.color import SEVERAL, box_color_shares, colors_of, is_color, is_plain
from fo1agent.pictures.image import ImageLimits, ImageSource, LoadedImage, load_image
from fo1agent.pictures.ocr import TextLine, read_lines, rows
from fo1agent.proposals.base import propose_many
from fo1agent.proposals.given import Given
from fo1agent.regions.boxes import coverage, iou, nms, once, parts
from fo1agent.regions.examples import Example
from fo1agent.regions.ids import RegionId, is_region_id, numbered, spells
from fo1agent.regions.masks import Mask
from fo1agent.regions.points import point_at
from fo1agent.regions.regions import Box, Region, Regions, check_boxes, number, read_box, shown
from fo1agent.regions.relations import between, stand
from fo1agent.results import (
    CountResult,
    DescribeResult,
    InspectResult,
    PointRef,
    PointResult,
    ReadResult,
    RelateResult,
    SegmentResult,
    unjudged,
)
from fo1agent.segmenters.base import NO_SEGMENTER, segmented
from fo1agent.together import Asking, Beyond, Boxes, Find, Match, Names, Words, alone, together
from fo1agent.words import lexicon
from fo1agent.words.colors import asks_for_color
from fo1agent.words.phrases import Meaning, meanings, mentions

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")

# Two regions with one phrase that overlap by more than this are most likely the same thing, proposed twice. Chosen for
# fo1-nano on coco-natural dev: at 0.3 counts are exactly right for 52 % of the classes shown, at 0.55 for 38 %.
SAME_THING_IOU = 0.3
# Above this they surely are, and only the better one is kept. Between the two the worse one keeps a small share of its
# probability: never enough to be counted, but of more use in a ranking than nothing (AP 25.5 against 24.9).
REPEATED_IOU = 0.5
SECOND_THING = 0.15
# As likely as this, what overlaps such a worse one alone is a thing of its own. Chosen on coco-natural train, where
# counts of things that overlap are then right for 1.9 % more of them (docs/tiles.md); at 0.25 AP falls by 0.1.
FIRM = 0.4
# Two regions with different names that overlap by more than this are one thing that was called by both. A person on a
# skateboard overlaps it by less.
SAME_BOX_IOU = 0.8
MAX_EXAMPLES = 100
# A region is within a box if at least this share of its area is: half of a person behind a bus is at the bus.
WITHIN_SHARE = 0.5
# Under this score the best name of a closed vocabulary is said of nothing. fo1-nano names whatever it is shown: of 48
# boxes of background all lie under it, of 118 right names of things 2.5 %, of 13 wrong ones 31 %.
LEAST_NAME = 0.01
# So many of the likeliest regions are looked at for their colour.
_LOOKED_AT = 24
# The masks of so many of the latest regions are kept; a mask is a few kB.
_KEPT_MASKS = 1000
# The probabilities of so many of the latest queries are kept, [N] each.
_KEPT_ROWS = 256
# Characters; more is a mistake or an attack, and looking up its words alone would take minutes.
MAX_PHRASE = 1000
# Pictures that are open together.
_AT_ONCE = 16
_NOTHING_GIVEN = "No phrase, region or box was given."


class Encoding(Protocol):
    """What a scene reads of a `SceneEncoding`: boxes [N, 4] in picture pixels, objectness [N], a note, their source."""

    boxes: np.ndarray
    objectness: np.ndarray
    note: str
    source: str


class Predictor(Protocol):
    """What a scene needs of a model: `fo1agent.model.predictor.Predictor` is one. Probabilities are in 0..1.

    `vocabulary` holds the names that a closed-vocabulary model knows; None for an open one. `taught` are the names that
    it can score but not use in its sentences. `match` gives [P, N], `similar` and the second value of
    `labels` [N]; `generate` gives the raw reply to a question whose text may hold region tokens such as `<region3>`.

    A predictor may also have `match_many(encodings, phrases)` and `generate_many(encodings, texts, max_new_tokens)`,
    which give in one pass what these give for each encoding; see `fo1agent.together`. One that asks finders as well has
    `any_words`, `own_names`, `unasked`, `ask`, `beyond`, `denies` and `speakers`; see `fo1agent.model.joined`. One that
    compares regions of several pictures has `compares`, `vectors` and `alike`; see `fo1agent.model.predicting`. One
    whose weights a server has is `elsewhere`; see `fo1agent.model.served`.
    """

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def vocabulary(self) -> tuple[str, ...] | None: ...
    @property
    def taught(self) -> Collection[str]: ...
    @property
    def max_regions(self) -> int: ...
    @property
    def thresholds(self) -> Mapping[str, float]: ...
    def encode(self, image: LoadedImage, proposals: Regions | None = None) -> Any: ...
    def with_boxes(self, encoding: Any, boxes: np.ndarray) -> Any: ...
    def match(self, encoding: Any, phrases: Sequence[str]) -> np.ndarray: ...
    def similar(self, encoding: Any, index: int) -> np.ndarray: ...
    def labels(self, encoding: Any) -> tuple[list[str | None], np.ndarray]: ...
    def generate(self, about: Any, text: str, max_new_tokens: int = 256) -> str: ...


Reader = Callable[..., list[TextLine]]
"""`read_lines(image, min_score=…)` → text lines in the pixels of that image."""


@dataclass(frozen=True)
class Model:
    """A model, what makes its boxes, and what reads text: everything that is needed to open pictures.

    Attributes:
        predictor: the model itself.
        proposer: makes the boxes, called with a `LoadedImage`; None for the model's own proposal head.
        ocr: reads text.
        segmenter: makes masks of boxes, as `segmenters.Segmenter` says; None for no masks.
    """

    predictor: Predictor
    proposer: Callable[[LoadedImage], Regions] | None = None
    ocr: Reader = field(default=read_lines, repr=False)
    segmenter: Callable[..., Any] | None = None

    @property
    def name(self) -> str:
        """What the model is called: `fo1-nano`."""
        return self.predictor.name

    def open(self, source: ImageSource, boxes: Any = None, limits: ImageLimits | None = None) -> Scene:
        """Open a picture: find its regions and encode it, once.

        Args:
            source: a path, URL, bytes, PIL image, array or `LoadedImage`; see `load_image`.
            boxes: [N, 4] xyxy pixels of the upright picture, or `Regions`, to use instead of proposals; N may be 0.
                Region k of the scene is then boxes[k], unless there are more than the model takes.
            limits: what a picture may cost.

        Raises:
            ImageError: the picture cannot be read or breaks a limit.
            BoxError: a box is malformed or lies outside the picture, or all are parts of its size instead of pixels.
        """
        return self._opened([load_image(source, limits)], boxes)[0]

    def open_many(self, sources: Iterable[ImageSource], boxes: Any = None, limits: ImageLimits | None = None) -> Album:
        """Open several pictures, to be asked together: `model.open_many(paths).describe()`.

        A proposer looks at several of them at once if it can. All of them stay open, and hold what the model knows of
        them: `scene.encoding.nbytes`, a few MB with fo1-nano, hundreds with a large model. Of very many pictures open
        some at a time.

        Args:
            sources: each as for `open`.
            boxes: as for `open`; they hold for every picture.
            limits: what each may cost.

        Raises:
            ImageError: a picture cannot be read or breaks a limit.
            BoxError: as for `open`.
            InputError: one source where several are meant.
        """
        images = [load_image(source, limits) for source in several(sources, "open_many", "pictures")]
        return Album(self._opened(images, boxes))

    def _opened(self, images: Sequence[LoadedImage], boxes: Any) -> list[Scene]:
        """Scenes of pictures that are read; arguments as for `open_many`."""
        propose = self.proposer if boxes is None else _given(boxes)
        proposals = [None] * len(images) if propose is None else propose_many(propose, images)
        scenes = []
        for image, found in zip(images, proposals, strict=True):
            image = image if boxes is not None or not image.boxes else replace(image, boxes="")
            with progress.opening(image.sha256):
                encoding = self.predictor.encode(image, found)
            notes = dict.fromkeys(note for note in (found.note if found else "", encoding.note) if note)
            scenes.append(Scene(self, image, encoding, note=" ".join(notes)))
        return scenes


@dataclass(frozen=True, eq=False)
class _Looked:
    """Boxes [N + M, 4] to find things among, those to look at [N + M], and the scores [M] of the last ones, which are
    none of the scene's regions."""

    boxes: np.ndarray
    candidates: np.ndarray
    more: np.ndarray = field(default_factory=lambda: np.zeros(0))


class Scene(Pictured):
    """One opened picture. All tools are its methods; its ids are the same wherever the same picture is opened.

    Attributes:
        model: what opened it.
        encoding: what the model computed for it; opaque.
        note: what a person should be told about the regions, such as that there were too many; else "".
    """

    def __init__(
        self,
        model: Model,
        image: LoadedImage,
        encoding: Encoding,
        *,
        note: str = "",
        parent: Self | None = None,
        offset_xy: tuple[int, int] = (0, 0),
    ) -> None:
        self.model = model
        self.loaded = image
        self.encoding = encoding
        self.note = note
        self.parent = parent
        self.offset_xy = offset_xy
        self._reads: dict[Any, tuple[TextLine, ...]] = {}
        self._colors: dict[Box, dict[str, float]] = {}
        self._masks: dict[Box, Mask | None] = {}
        self._rows: dict[str, np.ndarray] = {}
        self._regions: Regions | None = None

    def __repr__(self) -> str:
        return f"<Scene {self.id} {self.width}x{self.height}, {len(self.encoding.boxes)} regions, {self.model.name}>"

    @property
    def thresholds(self) -> Mapping[str, float]:
        """The least probability with which a region counts as found, by purpose: `ground`, `count`, `exists`.

        A phrase names one set of regions for every purpose: those that reach `count`, or, if none does, the best one if
        it reaches `exists`.
        """
        return self.model.predictor.thresholds

    @property
    def regions(self) -> Regions:
        """Every proposal, in the model's order, with its name and the probability of that; for a model without names,
        with its objectness. Those that were segmented have their masks, here and wherever they are found."""
        return self._masked(alone(self._naming()))

    def _naming(self) -> Asking[Regions]:
        """`regions`, if they are not known yet."""
        if self._regions is not None:
            return self._regions
        labels, scores = yield from self._labels(self.encoding)
        names = [label is not None for label in labels]
        # Kept without a lock: whoever holds one while it waits for the model may keep out who computes meanwhile.
        self._regions = Regions(
            self.encoding.boxes,
            np.where(names, scores, self.encoding.objectness),
            tuple(labels),
            numbered(self.id, range(len(labels))),
            self.encoding.source,
            note=self.note,
        )
        return self._regions

    # ---- finding -------------------------------------------------------------------------------------------------

    def ground(
        self,
        phrase: str | None = None,
        *,
        like: Examples = None,
        unlike: Examples = None,
        within: Target = None,
        threshold: float | None = None,
        limit: int | None = None,
    ) -> Regions:
        """Find the regions that a phrase names, or that show the same kind of thing as examples do.

        By examples, scores are probabilities for kinds that the model has names for, and too low for others, and counts
        come out too low more often than by a name; `docs/likeness.md` has the figures.

        Args:
            phrase: what to look for: "bus", "red car", "people"; of a region's id ("r3"), that region.
            like: a region, region id or box to find more of, instead of a phrase, an `example` of another picture, or
                several of all these; those of this picture are not among the result themselves.
            unlike: with `like`, the same of what is not meant.
            within: only regions of which at least half lies in this region or box; a region is not within itself.
            threshold: the least probability, 0 to 1; None for the model's own, without regions that are parts of others
                (`boxes.parts`), which is also what `count` counts.
            limit: the most regions to return, the best ones.

        Returns:
            Regions with probabilities as scores, best first, each thing once; their label is what was judged of the
            phrase ("cat" of "dead cat"), and `not_judged` holds the rest. If nothing reaches the threshold they are
            empty. `none_score` is the probability that the picture shows no such thing; `note` says so if the model
            does not know the word. A phrase may name several things ("cats and remotes"). With finders, `by` says who
            judged, and a thing that only they see has its corners as its id (`b10_20_110_220`).

        Raises:
            InputError: neither or both of phrase and like, an unknown region, a threshold outside 0..1.
        """
        if (phrase is None) == (like is None):
            raise InputError("ground needs a phrase, or like=region to find more of the same: one of the two.")
        if phrase is not None:
            if unlike is not None:
                raise InputError("unlike says what is not meant of what like shows; a phrase takes none.")
            if not isinstance(phrase, str):
                raise InputError(f'A phrase must say what to look for, such as "bus"; got {shown(phrase)}.')
            return self.ground_many([phrase], within=within, threshold=threshold, limit=limit)[phrase]
        scores, shown_here, label = self._likened(listed(like, "like"), listed(unlike, "unlike"))
        candidates = self._candidates(within) & ~(iou(self.encoding.boxes, shown_here) > SAME_THING_IOU).any(axis=1)
        least = _least(self.thresholds["ground"] if threshold is None else threshold)
        return self._found(label, scores, _Looked(self.encoding.boxes, candidates), least, _most(limit))

    def example(self, target: Target) -> Example:
        """A region to find more of in other pictures: `other.ground(like=scene.example("r3"))`; it can be pickled.

        Args:
            target: a region, region id or box.

        Raises:
            InputError: an unknown region.
            ToolFailed: the model cannot compare regions of several pictures.
        """
        encoding, index, region = alone(self._locating(target))
        compared: Any = self.model.predictor
        self._check_compares()
        return Example(region.id, region.box, region.label, compared.fingerprint, compared.vectors(encoding, index))

    def _check_compares(self) -> None:
        if not getattr(self.model.predictor, "compares", False):
            raise ToolFailed(f"{self.model.name} cannot compare regions of several pictures. Pass one of the same one.")

    def _likened(self, likes: list[Any], unlikes: list[Any]) -> tuple[np.ndarray, np.ndarray, str | None]:
        """Of examples, probabilities [N], the boxes [M, 4] of those of this picture, and what they are called."""
        if not likes:
            raise InputError("like holds no example. Pass a region, a box, or an example of another picture.")
        if (many := len(likes) + len(unlikes)) > MAX_EXAMPLES:
            raise InputError(f"like and unlike hold {many} examples together; {MAX_EXAMPLES} may be given.")
        predictor: Any = self.model.predictor
        if not (getattr(predictor, "compares", False) or unlikes or likes[1:] or isinstance(likes[0], Example)):
            return self._similar_to(likes[0])
        self._check_compares()
        examples = [one if isinstance(one, Example) else self.example(self._own(one)) for one in (*likes, *unlikes)]
        for one in examples:
            one.check()
            if one.fingerprint != predictor.fingerprint:
                raise InputError(
                    f"The example {one.id} was made by other weights ({one.fingerprint[:8]}) than those of "
                    f"{self.model.name} ({predictor.fingerprint[:8]}). Make it anew: scene.example(…)."
                )
        wanted, unwanted = ([one.vectors for one in some] for some in (examples[: len(likes)], examples[len(likes) :]))
        here = np.array([one.box for one in examples if self._is_seen_in(one)]).reshape(-1, 4)
        labels = {one.label for one in examples[: len(likes)]}
        label = labels.pop() if len(labels) == 1 else None
        if not len(self.encoding.boxes):
            return np.zeros(0), here, label
        return predictor.alike(self.encoding, wanted, unwanted), here, label

    def _is_seen_in(self, example: Example) -> bool:
        """Whether it is of this picture, whatever boxes it was opened with."""
        return spells(example.picture, "img_", self.loaded.key, boxes=False)

    def _similar_to(self, target: Target) -> tuple[np.ndarray, np.ndarray, str | None]:
        """`_likened` of one region of this picture, as the model itself says what is similar."""
        encoding, index, reference = alone(self._locating(target, among_all=True))
        scores = np.zeros(len(self.encoding.boxes))
        # A box drawn by hand stands behind the scene's own; if there was no room, in the place of the last one.
        shared = len(scores) if encoding is self.encoding else index
        scores[:shared] = self.model.predictor.similar(encoding, index)[:shared]
        return scores, np.array([reference.box]), reference.label

    def ground_many(
        self,
        phrases: Iterable[str],
        *,
        within: Target = None,
        threshold: float | None = None,
        limit: int | None = None,
    ) -> dict[str, Regions]:
        """Find the regions of several phrases in one pass of the model; otherwise as `ground`.

        Raises:
            InputError: a phrase is empty, `phrases` is one thing where several are meant, or as for `ground`.
        """
        return alone(self._grounding(_phrases(phrases), within, _least(threshold), _most(limit)))

    def _grounding(
        self, phrases: Sequence[str], within: Target, least: float | None, limit: int | None
    ) -> Asking[dict[str, Regions]]:
        """`ground_many`, of arguments that are known to be right."""
        candidates = self._candidates(within)
        meant_by_id = {phrase: self.region(phrase) for phrase in phrases if is_region_id(phrase)}
        meant, scores, beyond = yield from self._judging([one for one in phrases if one not in meant_by_id], least)
        found = {
            phrase: _together(
                [
                    self._named_by(meaning, scores, self._looked(meaning, beyond, candidates, within), least, limit)
                    for meaning in meanings
                ],
                limit,
            )
            for phrase, meanings in meant.items()
        }
        for phrase, region in meant_by_id.items():
            one = Regions.from_list([region])
            found[phrase] = one[self._inside(one.boxes, within)]
        return {phrase: found[phrase] for phrase in phrases}

    def count(self, phrase: str, *, within: Target = None, threshold: float | None = None) -> CountResult:
        """Count the regions that a phrase names; arguments as for `ground`, whose regions are counted.

        Returns:
            The number and the regions counted; bounds where words of the phrase could not be judged. For a word that
            the model does not know there is neither, and `regions.note` says so.
        """
        return _counted(phrase, self.ground(phrase, within=within, threshold=threshold))

    def relate(self, a: Any, relation: str, b: Any = None, and_b: Any = None) -> RelateResult:
        """Which regions of `a` stand in a relation to any of `b`.

        Args:
            a: a phrase to ground, a region, region id, box, or several regions.
            relation: `left_of`, `right_of`, `above`, `below`, `inside`, `contains`, `overlaps`, `near`, `on`,
                `next_to`, `in_front_of`, `behind`; see `geometry.relations` for what each means. `has_on` is `on`, seen
                from what carries; `between` lies between any of b and any of and_b.
            b: like `a`; None for the picture itself, so that `left_of` means its left half.
            and_b: like `a`; for `between`, and only for it.

        Raises:
            InputError: no such relation or region, or `between` without both b and and_b.
        """
        if (relation == "between") != (and_b is not None) or (b is None and and_b is not None):
            raise InputError('"between" takes b and and_b, two others; no other relation takes and_b.')
        mine = self._regions_of(a)
        theirs = Regions.from_list([self._whole()]) if b is None else self._regions_of(b)
        sides = [mine, theirs]
        if and_b is None:
            holds = stand(relation, mine, theirs)  # [A, B]
        else:
            sides.append(self._regions_of(and_b))
            holds = between(*sides)
        pairs = tuple((mine.ids[i], theirs.ids[k]) for i, k in np.argwhere(holds))
        notes = dict.fromkeys(one.note for one in sides if one.note)
        open_words = tuple(dict.fromkeys(word for one in sides for word in one.not_judged))
        return RelateResult(
            relation=relation,
            regions=mine[np.any(holds, axis=1)],
            pairs=pairs,
            note=" ".join(notes),
            not_judged=open_words,
        )

    # ---- masks and points ----------------------------------------------------------------------------------------

    @property
    def segments(self) -> bool:
        """Whether there is a segmenter, so that `segment` can make masks."""
        return self.model.segmenter is not None

    def segment(self, what: Any = None) -> SegmentResult:
        """Find which pixels of regions are the things': one pass of the segmenter for all that have no mask yet.

        From then on these regions have their masks in this scene, and relations, areas and colours go by them.

        Args:
            what: a phrase to ground, a region, region id or box, or several of these; None for everything that the
                model can name.

        Returns:
            The regions with their masks, in COCO's form and as polygons. A region of which the segmenter found no mask
            has none, and `note` says so.

        Raises:
            InputError: an unknown region.
            ToolFailed: there is no segmenter; the message says how to have one.
            SegmentationError: it failed.
        """
        return alone(self._segmenting(what))

    def _segmenting(self, what: Any) -> Asking[SegmentResult]:
        """`segment`, whose phrases may be looked for together with those of others."""
        if self.model.segmenter is None:
            raise ToolFailed(NO_SEGMENTER)
        found = yield from self._meant(what)
        return SegmentResult.of(self._segmented(found), _phrase(what))

    def point(self, what: Any = None) -> PointResult:
        """Where to click: one point a region, that hits it and nothing that hides it.

        With a segmenter the regions are segmented first, as by `segment`. Of a region with a mask it is the point
        inside that is farthest from its edge; else the middle of the box, or, where something hides that which the
        model names, a point next to it that nothing hides; see `regions.points`.

        Args:
            what: as for `segment`.

        Raises:
            InputError: an unknown region.
            SegmentationError: the segmenter failed.
        """
        return alone(self._pointing(what))

    def _pointing(self, what: Any) -> Asking[PointResult]:
        """`point`, likewise."""
        found = self._segmented((yield from self._meant(what)))
        if len(found):
            yield from self._naming()
        named = self.named() if len(found) else found
        points = [PointRef.of(region, *point_at(region, named), self.loaded.size_hw) for region in found]
        return PointResult.of(found, points, _phrase(what))

    def _meant(self, what: Any) -> Asking[Regions]:
        """Phrases, targets or regions, one or several, as regions, each once."""
        if what is None:
            yield from self._naming()
            return self.named()
        asked, phrases = _apart(what)
        found = (yield from self._grounding(phrases, None, None, None)) if phrases else {}
        each = [self._regions_of(one) if _phrase(one) is None else unjudged(found[one], one) for one in asked]
        if not each:
            return Regions.empty(note=_NOTHING_GIVEN)
        return each[0] if len(each) == 1 else _together_once(each)

    def _segmented(self, found: Regions) -> Regions:
        """The same regions with their masks, which are made now where they are not known and there is a segmenter."""
        if self.model.segmenter is not None:
            new = {box: found[k] for k, box in enumerate(map(tuple, found.boxes.tolist())) if box not in self._masks}
            made = segmented(self.model.segmenter, self.loaded, np.array(list(new)))
            for (box, region), mask in zip(new.items(), made, strict=True):
                self._keep_mask(box, region, mask)
        return self._masked(found)

    def _keep_mask(self, box: Box, region: Region, mask: Mask | None) -> None:
        spelled = RegionId(region.name).box if region.index is None else None  # a box's id holds it to whole pixels
        for key in (box, box if spelled is None else read_box(spelled)):
            self._masks[key] = mask
            self._colors.pop(key, None)  # of all of its box
        while len(self._masks) > _KEPT_MASKS:
            self._masks.pop(next(iter(self._masks)))

    def _masked(self, regions: Regions) -> Regions:
        """The same regions, with the masks that are known of them."""
        masks = [self._masks.get(box) for box in map(tuple, regions.boxes.tolist())] if self._masks else []
        return replace(regions, masks=tuple(masks)) if any(mask is not None for mask in masks) else regions

    def _region_of(self, target: Target) -> Region:
        return self._with_mask(super()._region_of(target))

    def _box_region(self, box: Any) -> Region:
        return self._with_mask(super()._box_region(box))

    def _with_mask(self, region: Region) -> Region:
        mask = self._masks.get(region.box)
        return region if mask is None else replace(region, mask=mask)

    # ---- reading and describing ----------------------------------------------------------------------------------

    def read(
        self, target: Target = None, *, source: Literal["ocr", "model"] = "ocr", min_score: float = 0.5
    ) -> ReadResult:
        """Read the text in the picture or a part of it.

        Args:
            target: a region, region id or box; None for the whole picture.
            source: "ocr", or "model" for FO1's own reading, which models with a closed vocabulary cannot do.
            min_score: the least score of a line, 0 to 1.

        Raises:
            InputError: an unknown region or source.
            ToolFailed: the model has a closed vocabulary: names, but no words to read with.
        """
        region = self._region_of(target)
        if source == "ocr":
            lines = self._lines(region.box, min_score)
            text = "\n".join(" ".join(line.text for line in row) for row in rows(lines))
            regions = [Region(self._box_id(line.box), line.box, line.score, line.text, "ocr") for line in lines]
            return ReadResult(text=text, lines=lines, regions=Regions.from_list(regions), source=source)
        if source != "model":
            raise InputError(f'read got source={source!r}. Pass "ocr" or "model".')
        if self.model.predictor.vocabulary is not None:
            raise ToolFailed(
                f'{self.model.name} can name things but not read; the source "ocr" can, or a larger model.'
            )
        reply, _ = alone(self._asking(region, lambda token: prompts.render("region_ocr", token)))
        return ReadResult(text=reply.text, lines=(), regions=Regions.from_list([region]), source=source)

    def describe(self, target: Target = None) -> DescribeResult:
        """Say what the picture, or a part of it, shows.

        Args:
            target: a region, region id or box; None for the whole picture, whose description is linked to regions.

        Raises:
            InputError: an unknown region.
        """
        return alone(self._describing(target))

    def describe_many(self, targets: Iterable[Target]) -> list[DescribeResult]:
        """`describe` for several regions, whose words the model writes together: sixteen take a fraction of the time of
        sixteen calls.

        Args:
            targets: each as for `describe`: `scene.describe_many(scene.ground("car"))`.

        Returns:
            A description for each, in order.

        Raises:
            InputError: an unknown region, or one target where several are meant.
        """
        return together([self._describing(target) for target in several(targets, "describe_many", "targets")])

    def inspect(self, target: Target, question: str) -> InspectResult:
        """Ask the model a question about a region, or, without a target, about the picture.

        A model with a closed vocabulary has no words but names, so it can only be asked about colours, which are read
        from the pixels; and not of people, as the pixels are of clothes, skin and hair.

        Raises:
            InputError: an unknown region or an empty question.
            ToolFailed: the model's reply holds no words, it was not trained to answer questions, or the color of a
                person was asked for.
        """
        return alone(self._inspecting(target, question))

    def inspect_many(self, asked: Iterable[tuple[Target, str]]) -> list[InspectResult]:
        """`inspect` for several questions, which the model answers together.

        Args:
            asked: (target, question) pairs, each as for `inspect`.

        Returns:
            A result for each, in order.

        Raises:
            InputError, ToolFailed: as for `inspect`, of the first pair that has no result.
        """
        return together([self._inspecting(*pair) for pair in pairs(asked)])

    # ---- pictures ------------------------------------------------------------------------------------------------

    def zoom(self, target: Target, margin: float = 0.1) -> Scene:
        """Open a part of the picture as a scene of its own, in which small things are larger.

        Args:
            target: a region, region id or box.
            margin: how much to add on each side, as a share of the box's side.

        Returns:
            A scene whose boxes are in the pixels of the part; `to_parent` brings them back.
        """
        part, offset_xy = self._part(target, margin)
        made = self.model.open(part)
        return Scene(self.model, part, made.encoding, note=made.note, parent=self, offset_xy=offset_xy)

    def _boxes(self) -> np.ndarray:
        return self.encoding.boxes

    def annotate(
        self,
        evidence: Iterable[Region] | None = None,
        candidates: Iterable[Region] = (),
        size: int | None = None,
        points: Iterable[PointRef] = (),
    ) -> Image:
        """Draw regions on a copy of the picture.

        Args:
            evidence: drawn strong; None for everything that the model is sure of.
            candidates: drawn faint.
            size: longer side of the result in pixels; None for the picture's own.
            points: of `point`: each is drawn as a dot on its region, which must be among the evidence.
        """
        from fo1agent.pictures.drawing import draw

        clicks = {point.region: (point.x, point.y) for point in points}
        return draw(self.image, self.named() if evidence is None else evidence, candidates, size, clicks)

    def named(self) -> Regions:
        """Everything that the model names and is sure of, each thing once, best first; empty for a model without names.

        The regions of a name are separated as in `count`, among those that have no likelier name.
        """
        regions, least = self.regions, self.thresholds["count"]
        labels = np.array(regions.labels, dtype=object)
        things = np.zeros(len(regions), dtype=bool)
        for label in dict.fromkeys(labels[regions.scores >= least]):
            if label is not None:
                found = self._found(label, regions.scores, _Looked(regions.boxes, labels == label), least, None)
                things |= np.isin(regions.ids, found[~parts(found.boxes)].ids)
        named = regions[things]
        return named[nms(named.boxes, named.scores, SAME_BOX_IOU)]

    def _regions_of(self, what: Any) -> Regions:
        """A phrase, a target, or several regions, as regions."""
        if isinstance(what, str) and not is_region_id(what):
            return self.ground(what)
        if isinstance(what, Regions):
            return what
        if isinstance(what, (list, tuple)) and (not what or isinstance(what[0], (Region, str))):
            return Regions.from_list([self._region_of(one) for one in what])
        return Regions.from_list([self._region_of(what)])

    def _locating(self, target: Target, among_all: bool = False) -> Asking[tuple[Any, int, Region]]:
        """(encoding that holds the target, its index there, the target).

        Args:
            target: a box drawn by hand is read anew, in one prompt with the first regions.
            among_all: read all regions with it where they stand in several prompts, to compare it with each.
        """
        region = self._region_of(target)
        if region.index is not None:
            return self.encoding, region.index, region
        # One region more; with no room for more, the last proposal, the least likely one, makes place.
        kept, room = self.encoding.boxes, self.model.predictor.max_regions - 1
        kept = kept if among_all and len(kept) > room + 1 else kept[:room]
        boxes = np.concatenate([kept, np.array([region.box])])
        encoding = yield Boxes(self.model.predictor, self.encoding, boxes)
        return encoding, len(kept), region

    # ---- asking the model ----------------------------------------------------------------------------------------

    def _labels(self, encoding: Any) -> Asking[tuple[list[str | None], np.ndarray]]:
        if not len(encoding.boxes):
            return [], np.zeros(0)
        yield from self._hearing(encoding, self.model.predictor.vocabulary or (), naming=True)
        labels, scores = yield Names(self.model.predictor, encoding)
        return list(labels), np.asarray(scores, dtype=np.float64)

    def _meanings(self, phrase: str) -> tuple[Meaning, ...]:
        predictor = self.model.predictor
        any_words, own = getattr(predictor, "any_words", False), getattr(predictor, "own_names", None)
        return meanings(phrase, predictor.vocabulary, predictor.name, any_words=any_words, own=own)

    def _judging(
        self, phrases: Sequence[str], least: float | None
    ) -> Asking[tuple[dict[str, tuple[Meaning, ...]], dict[str, np.ndarray], dict[str, Any]]]:
        """(what each phrase means, name → probabilities [N], name → boxes that only finders see).

        Of a word that only finders have, and that they do not see, the wider one is judged that the model has, if none
        of them may say that there is no such thing.
        """
        meant = {phrase: self._meanings(phrase) for phrase in phrases}
        names = [name for meanings in meant.values() for meaning in meanings for name in meaning.names]
        rows = yield from self._matching(names)
        beyond = yield from self._beyond(names)

        def settled(meaning: Meaning) -> Meaning:
            if meaning.wider is None or self._is_settled(meaning, rows, beyond, least):
                return meaning
            return meaning.wider

        chosen = {phrase: tuple(settled(one) for one in meanings) for phrase, meanings in meant.items()}
        more = [name for meanings in chosen.values() for one in meanings for name in one.names if name not in rows]
        if more:
            rows |= yield from self._matching(more)
            beyond |= yield from self._beyond(more)
        return chosen, rows, beyond

    def _is_settled(
        self, meaning: Meaning, rows: Mapping[str, np.ndarray], beyond: Mapping[str, Any], least: float | None
    ) -> bool:
        """Whether finders can say of a word whether there is such a thing: one may deny it, or they see some."""
        predictor: Any = self.model.predictor
        if any(predictor.denies(name) for name in meaning.names):
            return True
        seen = [scores for name in meaning.names for scores in (rows[name], beyond[name].scores)]
        scores = np.sort(np.concatenate([np.zeros(0), *seen]))[::-1]
        return bool(self._sure(scores)) if least is None else bool((scores[scores > 0] >= least).any())

    def _matching(self, queries: Sequence[str]) -> Asking[dict[str, np.ndarray]]:
        """Query → probabilities [N], kept for the next time; with at most one call of the model."""
        n = len(self.encoding.boxes)
        new = [query for query in dict.fromkeys(queries) if query not in self._rows]
        yield from self._hearing(self.encoding, new)
        if new and n:
            rows = yield Match(self.model.predictor, self.encoding, new)
            known = {**self._rows, **dict(zip(new, np.asarray(rows, dtype=np.float64), strict=True))}
            self._rows = dict(list(known.items())[-_KEPT_ROWS:])
            return {query: known[query] for query in queries}
        return {query: self._rows.get(query, np.zeros(n)) for query in queries}

    def _hearing(self, encoding: Any, phrases: Sequence[str], naming: bool = False) -> Asking[None]:
        """Have finders asked for what they have not said yet."""
        predictor: Any = self.model.predictor
        if hasattr(predictor, "unasked") and predictor.unasked(encoding, phrases, naming):
            yield Find(predictor, encoding, phrases, naming)

    def _beyond(self, queries: Sequence[str]) -> Asking[dict[str, Any]]:
        """Query → boxes that only finders see; nothing where there are no finders."""
        if not queries or not hasattr(self.model.predictor, "beyond"):
            return {}
        queries = list(dict.fromkeys(queries))
        return dict(zip(queries, (yield Beyond(self.model.predictor, self.encoding, queries)), strict=True))

    def _looked(self, meaning: Meaning, beyond: Mapping[str, Any], candidates: np.ndarray, within: Target) -> _Looked:
        """Where a thing is looked for: the scene's regions, then the boxes that finders add."""
        more = [beyond[name] for name in meaning.names if name in beyond and len(beyond[name].boxes)]
        if not more:
            return _Looked(self.encoding.boxes, candidates)
        boxes = np.concatenate([one.boxes for one in more])
        return _Looked(
            np.concatenate([self.encoding.boxes, boxes]),
            np.concatenate([candidates, self._inside(boxes, within)]),
            np.concatenate([one.scores for one in more]),
        )

    def _named_by(
        self,
        meaning: Meaning,
        rows: Mapping[str, np.ndarray],
        looked: _Looked,
        threshold: float | None,
        limit: int | None,
    ) -> Regions:
        """The regions of one thing that a phrase names."""
        if not meaning.names:
            return Regions.empty(self.encoding.source, none_score=1.0, note=meaning.note)
        # A word that means several names ("vehicle") is as likely as the likeliest of them.
        scores = np.concatenate([np.max([rows[name] for name in meaning.names], axis=0), looked.more])
        found = self._found(meaning.judged, scores, looked, threshold, limit, meaning.qualities)
        found = replace(found, by=self._speakers(meaning.names), note="" if len(found) else meaning.absent)
        if meaning.qualities and not all(is_plain(self._color_shares(region.box)) for region in found):
            # What shows many colours may be called by any of them, or by none.
            found = replace(found, labels=(meaning.noun,) * len(found))
            return replace(found, not_judged=(*meaning.qualities, *meaning.not_judged), judged=meaning.noun)
        return replace(found, not_judged=meaning.not_judged, judged=meaning.judged)

    def _speakers(self, names: Sequence[str]) -> tuple[str, ...]:
        """Who judged these names, if that is not the model alone."""
        predictor: Any = self.model.predictor
        if not hasattr(predictor, "speakers"):
            return ()
        who = tuple(dict.fromkeys(one for name in names for one in predictor.speakers(name)))
        return () if who == (predictor.name,) else who

    def _is_color(self, colors: Sequence[str], boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """How far each region is of all these colours, 0 to 1, [N]; 0 for regions that are not among the likeliest."""
        fits = np.zeros(len(scores))
        for k in np.argsort(-scores, kind="stable")[:_LOOKED_AT]:
            shares = self._color_shares(tuple(boxes[k].tolist()))
            fits[k] = min(is_color(shares, color) for color in colors)
        return fits

    def _color_shares(self, box: Box) -> dict[str, float]:
        """Colour shares of a box's pixels, or of its mask's if it has one; computed once."""
        if box not in self._colors:
            left, top, right, bottom = self._pixels(box)
            mask = self._masks.get(box)
            thing = None if mask is None else mask.pixels()[top:bottom, left:right]
            thing = thing if thing is not None and thing.any() else None
            self._colors[box] = box_color_shares(self.image, (left, top, right, bottom), thing)
        return self._colors[box]

    def _asking(self, target: Target, question: Callable[[str], str]) -> Asking[tuple[prompts.Reply, Regions]]:
        """The model's parsed reply to a question about a region, given as its token, and the regions it names."""
        located = yield from self._locating(target)
        return (yield from self._asking_about(located, question))

    def _asking_about(
        self, located: tuple[Any, int, Region], question: Callable[[str], str]
    ) -> Asking[tuple[prompts.Reply, Regions]]:
        encoding, index, region = located
        raw = yield Words(self.model.predictor, encoding, question(f"<region{index}>"))
        reply = prompts.parse(raw, len(encoding.boxes))
        return reply, Regions.from_list([region if k == index else self.regions[k] for k in reply.regions])

    def _describing(self, target: Target) -> Asking[DescribeResult]:
        if target is None:
            return (yield from self._describing_all())
        located = yield from self._locating(target)
        encoding, index, region = located
        labels, scores = yield from self._labels(encoding)
        label, score = (labels[index], float(scores[index])) if labels[index] is not None else (None, None)
        named = Region(region.id, region.box, region.score if score is None else score, label, region.source)
        text, source = label or "", "labels"
        if self.model.predictor.vocabulary is not None and score is not None and score < LEAST_NAME:
            text = ""
        elif label not in self.model.predictor.taught:
            reply, _ = yield from self._asking_about(
                located, lambda token: prompts.render("brief_region_caption", token)
            )
            if _is_words(reply.text) and (yield from self._bearing_out(reply.text, encoding, [index])):
                text, source = reply.text, "model"
        return DescribeResult(text=text, label=label, score=score, source=source, regions=Regions.from_list([named]))

    def _describing_all(self) -> Asking[DescribeResult]:
        yield from self._naming()
        raw = yield Words(self.model.predictor, self.encoding, prompts.render("grounding"))
        reply = prompts.parse(raw, len(self.encoding.boxes))
        said = [(reply.text, range(len(self.encoding.boxes))), *((one.label, one.regions) for one in reply.groups)]
        borne_out = bool(reply.groups) and _is_words(reply.text)
        for text, indexes in said:
            borne_out = borne_out and (yield from self._bearing_out(text, self.encoding, indexes))
        if not borne_out:
            named = self.named()
            text = _inventory([str(label) for label in named.labels])
            return DescribeResult(text=text, label=None, score=_mean(named.scores), source="labels", regions=named)
        labels = [group.label for group in reply.groups if group.label]
        meant, rows, _ = yield from self._judging(labels, None)
        asked = {label: [name for one in meant[label] for name in one.names] for label in labels}
        probabilities = {
            label: np.max([rows[name] for name in names], axis=0) for label, names in asked.items() if names
        }
        linked: dict[int, Region] = {}
        for group in reply.groups:
            for k in group.regions:
                region = self.regions[k]
                score = float(probabilities[group.label][k]) if group.label in probabilities else region.score
                linked.setdefault(k, Region(region.id, region.box, score, group.label or region.label, region.source))
        regions = Regions.from_list(list(linked.values()))
        return DescribeResult(text=reply.text, label=None, score=_mean(regions.scores), source="model", regions=regions)

    def _inspecting(self, target: Target, question: str) -> Asking[InspectResult]:
        _check_question(question)
        if self.model.predictor.vocabulary is not None:
            region = self._region_of(target)
            if not asks_for_color(question):
                raise ToolFailed(f"{self.model.name} can name things but not answer {question!r}; a larger model can.")
            if lexicon.resolve(region.label or "", self.model.predictor.vocabulary).names == ("person",):
                why = "the pixels are of clothes, skin and hair"
                raise ToolFailed(f"{region.name} is a person, and a person's color can't be told: {why}.")
            *others, color = colors_of(self._color_shares(region.box))
            text = f"{', '.join(others)} and {color}" if others else color  # "red, white and blue"
            return InspectResult(text=text, regions=Regions.from_list([region]))

        def asked(token: str) -> str:
            about = question if target is None else f"Regarding {token}: {question}"
            return prompts.render("visual_region_reasoning", about)

        reply, mentioned = yield from self._asking(target, asked)
        if not _is_words(reply.text) and reply.number is None:
            raise ToolFailed(f"{self.model.name} has no answer to {question!r}.")
        return InspectResult(text=reply.text, thought=reply.thought, regions=mentioned)

    def _bearing_out(self, text: str, encoding: Any, indexes: Sequence[int]) -> Asking[bool]:
        """Whether the model's own scores agree with its words: each known thing that the text names must be likely
        enough to exist somewhere in the picture, and one of them in these regions; none may be named twice. An open
        model has no such list and passes.

        A small model writes fluent captions of things that are not there; its scores know better. Where it has nothing
        to say it repeats itself: "a bus is standing on a bus".
        """
        predictor = self.model.predictor
        if predictor.vocabulary is None:
            return True
        mentioned = mentions(text, tuple(name for name in predictor.vocabulary if name not in predictor.taught))
        if not mentioned or not len(indexes) or len(set(mentioned)) < len(mentioned):
            return False
        probability = np.asarray((yield Match(predictor, encoding, mentioned)))  # [mentioned, N]
        likely = probability >= self.thresholds["exists"]
        return bool(likely.any(axis=1).all() and likely[:, list(indexes)].any())

    # ---- the parts of finding and reading ------------------------------------------------------------------------

    def _candidates(self, within: Target) -> np.ndarray:
        """[N]: the regions to look among."""
        n = len(self.encoding.boxes)
        inside = self._inside(self.encoding.boxes, within)
        if n and isinstance(within, (Region, str)):
            place = self._region_of(within)
            inside &= np.array([one != place.id for one in numbered(self.id, range(n))], dtype=bool)
        return inside

    def _inside(self, boxes: np.ndarray, within: Target) -> np.ndarray:
        """[N]: whether each box lies in a place."""
        if within is None or not len(boxes):
            return np.ones(len(boxes), dtype=bool)
        return coverage(boxes, np.array([self._region_of(within).box]))[:, 0] >= WITHIN_SHARE

    def _found(
        self,
        label: str | None,
        scores: np.ndarray,
        looked: _Looked,
        threshold: float | None,
        limit: int | None,
        colors: Sequence[str] = (),
    ) -> Regions:
        """What was looked at with these scores [N], each thing once, best first, cut at the threshold.

        Colours choose among the things that are there without them, so that red cars are some of the cars.
        """
        boxes = looked.boxes
        index = np.flatnonzero(looked.candidates)
        kept, left = once(boxes[index], scores[index], SAME_THING_IOU, REPEATED_IOU, SECOND_THING, FIRM)
        index, scores = index[kept], scores.copy()
        scores[index] = left
        # A closed vocabulary has names and no colours; those the pixels tell.
        fits = self._is_color(colors, boxes, scores) if colors else np.ones(len(scores))
        sure = index[: self._sure(scores[index])]
        scores = scores * fits
        none_score = float(np.prod(1 - np.clip(scores[index], 0, 1)))
        if threshold is None:
            sure = sure[~parts(boxes[sure])]
            plain = [not colors or is_plain(self._color_shares(tuple(boxes[k].tolist()))) for k in sure]
            index = sure[(fits[sure] >= SEVERAL) | ~np.array(plain, dtype=bool)]
        index = index[np.argsort(-scores[index], kind="stable")]
        index = index[:limit] if threshold is None else index[scores[index] >= threshold][:limit]
        found = Regions(
            boxes[index],
            np.clip(scores[index], 0, 1),
            (label,) * len(index),
            self._ids(boxes, index),
            self.encoding.source,
            none_score,
        )
        return self._masked(found)

    def _ids(self, boxes: np.ndarray, index: np.ndarray) -> tuple[str, ...]:
        """Ids of some of the boxes, of which those behind the scene's own are told by their corners."""
        n = len(self.encoding.boxes)
        return tuple(numbered(self.id, [k])[0] if k < n else self._box_id(boxes[k].tolist()) for k in index.tolist())

    def _sure(self, ordered: np.ndarray) -> int:
        """How many of the scores, best first, count as found: see `thresholds`."""
        surely = int((ordered >= self.thresholds["count"]).sum())
        return surely or int(len(ordered) > 0 and ordered[0] >= self.thresholds["exists"])

    def _lines(self, box: Box, min_score: float) -> tuple[TextLine, ...]:
        """Text lines whose centre lies in the box, in picture pixels; read once per box."""
        key = (box, min_score)
        if key not in self._reads:
            left, top, right, bottom = self._pixels(box)
            lines = self.model.ocr(self.image.crop((left, top, right, bottom)), min_score=min_score)
            self._reads[key] = tuple(
                replace(line, box=(x1 + left, y1 + top, x2 + left, y2 + top))
                for line in lines
                for x1, y1, x2, y2 in (line.box,)
            )
        return self._reads[key]


class Album:
    """Open pictures in a row, asked together; each question gives a list with the result of each, in their order.

    Results are those of asking one scene after the other. What the model writes or judges for all of them takes one
    pass, which costs little more than that for one.

    Args:
        scenes: in the order of the results.
    """

    def __init__(self, scenes: Iterable[Scene]) -> None:
        self._scenes = tuple(scenes)

    def __repr__(self) -> str:
        return f"<Album of {len(self)} scenes>"

    def __len__(self) -> int:
        return len(self._scenes)

    def __iter__(self) -> Iterator[Scene]:
        return iter(self._scenes)

    @overload
    def __getitem__(self, which: int) -> Scene: ...
    @overload
    def __getitem__(self, which: slice) -> Album: ...
    def __getitem__(self, which: int | slice) -> Scene | Album:
        return Album(self._scenes[which]) if isinstance(which, slice) else self._scenes[which]

    def ground(
        self,
        phrase: str | None = None,
        *,
        like: Examples = None,
        unlike: Examples = None,
        threshold: float | None = None,
        limit: int | None = None,
    ) -> list[Regions]:
        """`Scene.ground` of a phrase, or of examples, in each picture."""
        if like is not None or unlike is not None:
            asked: dict[str, Any] = {"like": like, "unlike": unlike, "threshold": threshold, "limit": limit}
            return [scene.ground(phrase, **asked) for scene in self]
        one: Any = phrase  # refused below if it is none
        return [found[one] for found in self.ground_many([one], threshold=threshold, limit=limit)]

    def ground_many(
        self, phrases: Iterable[str], *, threshold: float | None = None, limit: int | None = None
    ) -> list[dict[str, Regions]]:
        """`Scene.ground_many` in each picture."""
        asked = _phrases(phrases), None, _least(threshold), _most(limit)
        return together([scene._grounding(*asked) for scene in self])

    def count(self, phrase: str, *, threshold: float | None = None) -> list[CountResult]:
        """`Scene.count` in each picture."""
        return [_counted(phrase, found) for found in self.ground(phrase, threshold=threshold)]

    def describe(self) -> list[DescribeResult]:
        """`Scene.describe` of each picture."""
        return together([scene._describing(None) for scene in self])

    def segment(self, what: Any = None) -> list[SegmentResult]:
        """`Scene.segment` in each picture: phrases are looked for in one pass, and the segmenter takes one a picture.

        Args:
            what: as for `Scene.segment`; an id or a box holds for every picture.
        """
        _apart(what)
        return together([scene._segmenting(what) for scene in self])

    def point(self, what: Any = None) -> list[PointResult]:
        """`Scene.point` in each picture; arguments as for `segment`."""
        _apart(what)
        return together([scene._pointing(what) for scene in self])

    def inspect(self, question: str) -> list[InspectResult]:
        """`Scene.inspect` of each picture as a whole."""
        _check_question(question)
        return together([scene._inspecting(None, question) for scene in self])


def batches(items: Iterable[T], opened: Callable[[T], Any]) -> Iterator[list[tuple[T, Any]]]:
    """Pictures that are opened one after the other, in batches that may be asked together.

    A batch has at most `_AT_ONCE`, and no more than the model would keep by itself: what it knows of a picture takes
    hundreds of MB where it is large. A picture of which nothing can be asked together with others is one of its own.

    Args:
        items: what to open.
        opened: opens one.

    Yields:
        Pairs of an item and its `Scene`, or the error of ours that it could not be opened with.
    """
    batch: list[tuple[T, Any]] = []
    left = math.inf
    for item in items:
        try:
            scene = opened(item)
            predictor: Any = getattr(getattr(scene, "model", None), "predictor", None)
            together = hasattr(predictor, "match_many")
            kept = getattr(predictor, "cache_bytes", math.inf)
            left = min(left, kept) - getattr(scene.encoding, "nbytes", 0) if together else 0
        except FO1AgentError as exc:
            scene = exc
        batch.append((item, scene))
        del scene
        if len(batch) == _AT_ONCE or left <= 0:
            yield batch
            batch, left = [], math.inf
    if batch:
        yield batch


def _phrase(what: Any) -> str | None:
    """What is looked for, if it is a phrase; None for a region's id and all else."""
    return what if isinstance(what, str) and not is_region_id(what) else None


def _apart(what: Any) -> tuple[list[Any], list[str]]:
    """One thing or several as a list, and the phrases among them."""
    several_ = isinstance(what, (list, tuple))
    one_box = several_ and len(what) == 4 and all(number(corner) is not None for corner in what)
    asked = list(what) if several_ and not one_box else [what]
    if several_ and any(one is None for one in asked):
        raise InputError(f"{shown(what)} holds None, and no phrase, region or box.")
    return asked, _phrases([phrase for one in asked if (phrase := _phrase(one)) is not None])


def _phrases(given: Iterable[str]) -> list[str]:
    phrases = phrases_of(given)
    for phrase in phrases:
        if len(phrase) > MAX_PHRASE:
            raise InputError(f"A phrase may have {MAX_PHRASE} characters, got {len(phrase)}.")
    return phrases


def _least(given: float | None) -> float | None:
    """A threshold."""
    least = None if given is None else number(given)
    if given is not None and (least is None or not 0 <= least <= 1):
        raise InputError(f"threshold must be a probability from 0 to 1, got {shown(given)}.")
    return least


def _most(given: Any) -> int | None:
    """A limit."""
    most = None if given is None else number(given)
    if given is not None and (most is None or most < 1 or most != int(most)):
        raise InputError(f"limit must be 1 or more, a whole number, got {shown(given)}.")
    return None if most is None else int(most)


def _check_question(given: Any) -> None:
    if not isinstance(given, str) or not given.strip():
        raise InputError("inspect needs a question." + ("" if isinstance(given, str) else f" Got {shown(given)}."))


def _given(boxes: Any) -> Callable[[LoadedImage], Regions]:
    """A proposer of boxes from outside. All of them: how many a model takes, it decides and says itself."""
    if not isinstance(boxes, Regions):
        boxes = check_boxes(boxes)
        return Given(boxes, limit=len(boxes))
    return Given(boxes.boxes, boxes.scores, boxes.labels, limit=len(boxes))


def _counted(phrase: str, found: Regions) -> CountResult:
    """The regions that a phrase names, counted."""
    found = found[~parts(found.boxes)]
    sure = not found.not_judged or not len(found)
    # With a note it has no word for the thing, or for one of several.
    return CountResult.of(found, phrase, len(found) if sure else 0, None if found.note else len(found))


def _is_words(text: str) -> bool:
    """Whether a reply can be shown: it holds a word, and is not one word over and over."""
    words = re.findall(r"[^\W\d_]{2,}", text.lower())
    return bool(words) and not (len(words) > 3 and len(set(words)) == 1)


def _together(found: Sequence[Regions], limit: int | None) -> Regions:
    """The regions of several things, best first, a region that is two of them once, with what is to be said of all."""
    if len(found) == 1:
        return found[0]
    best: dict[str, Region] = {}
    for region in sorted((region for one in found for region in one), key=lambda region: -region.score):
        best.setdefault(region.id, region)
    notes = dict.fromkeys(one.note for one in found if one.note)
    open_words = tuple(dict.fromkeys(word for one in found for word in one.not_judged))
    none_score = math.prod(1.0 if one.none_score is None else one.none_score for one in found)
    together = Regions.from_list(list(best.values())[:limit], none_score, " ".join(notes), open_words)
    speakers = tuple(dict.fromkeys(name for one in found for name in one.by))
    return replace(together, judged=" and ".join(one.judged for one in found if one.judged), by=speakers)


def _together_once(each: Sequence[Regions]) -> Regions:
    """The regions of several in their order, one that is in two of them once, with what is to be said of all."""
    regions = {region.id: region for one in each for region in one}
    notes = dict.fromkeys(one.note for one in each if one.note)
    open_words = tuple(dict.fromkeys(word for one in each for word in one.not_judged))
    return Regions.from_list(list(regions.values()), note=" ".join(notes), not_judged=open_words)


def _inventory(labels: Sequence[str]) -> str:
    """ "2 people, 1 bus", most first."""
    counts = {label: labels.count(label) for label in dict.fromkeys(labels)}
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{n} {lexicon.plural(label) if n > 1 else label}" for label, n in ordered)


def _mean(scores: np.ndarray) -> float | None:
    return float(scores.mean()) if len(scores) else None
