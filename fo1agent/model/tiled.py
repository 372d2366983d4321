"""`TiledPredictor`: a model that looks at a large picture by overlapping tiles as well as at the whole.

A model sees a picture at some size, whatever the picture's own is: in a large one, small things are too small for it.
So the picture is encoded as a whole, and again tile by tile (`regions.tiles`), each like a picture of its own. The
regions of all are the picture's: r0 and on are those of the whole picture, as without tiles; behind them stand those
of tiles, the largest tiles first. Each is judged, described and asked about where it was found. A region that a border
cuts is left out, as some other tile shows the thing whole. Numpy only: the model brings whatever it computes with.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from fo1agent import progress, prompts
from fo1agent.errors import InputError
from fo1agent.model.encoding import EncodingCache, encoding_key
from fo1agent.model.joined import NEW_BOX_IOU, Beyond
from fo1agent.model.likeness import Vectors
from fo1agent.model.predicting import Numbering, like, mentioned
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.progress import OnProgress
from fo1agent.proposals.base import PICTURES_AT_ONCE, PIXELS_AT_ONCE, propose_many
from fo1agent.proposals.given import Given
from fo1agent.regions.boxes import iou, nms
from fo1agent.regions.regions import Regions, check_boxes, shown
from fo1agent.regions.tiles import Tile, best_tile, fitting, most_along, tiles_of, whole_in

MOST_TILES = 64
"""Along a picture's long side."""
# A region of a tile whose best name is less likely shows nothing that the model knows.
LEAST_NAME = 0.02
# Of two regions of tiles that overlap by more than this, one is enough.
REPEATED_IOU = 0.85
# Regions that tiles add at most: bounds what comparing each with each costs.
MOST_ADDED = 4000
# Of what may be kept of pictures, so much is for the tiles of one.
_KEPT_SHARE = 0.5

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Part:
    """A tile as the model keeps it.

    Attributes:
        tile: where it lies.
        encoding: the model's, in whose frame boxes are pixels of the tile.
    """

    tile: Tile
    encoding: Any


@dataclass(eq=False)
class TiledEncoding:
    """A picture as a whole and by tiles.

    Attributes:
        boxes: [N, 4] float64 xyxy pixels of the picture.
        objectness: [N] float64 in 0..1.
        note: what a person should be told, or "".
        source: who made the boxes.
        parts: the picture itself and its tiles; behind them tiles whose boxes were drawn by hand.
        own: how many of the parts are not of the last kind.
        where: [N, 2] number of the part that has read a region, and its number there.
    """

    boxes: np.ndarray
    objectness: np.ndarray
    note: str
    source: str
    parts: tuple[Part, ...] = field(repr=False)
    own: int
    where: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def nbytes(self) -> int:
        """Bytes of all parts."""
        return self.boxes.nbytes + sum(part.encoding.nbytes for part in self.parts)

    def held(self) -> Iterator[tuple[Part, np.ndarray, np.ndarray]]:
        """Of each part that has read regions: the part, their numbers in the picture and their numbers there."""
        for number, part in enumerate(self.parts):
            mine = np.flatnonzero(self.where[:, 0] == number)
            if len(mine):
                yield part, mine, self.where[mine, 1]

    def numbering(self, number: int) -> Numbering:
        """How a part's regions are numbered in the picture; those that it does not have come after all others."""
        count = len(self.parts[number].encoding)
        numbers, mine = len(self) + np.arange(count), self.where[:, 0] == number
        numbers[self.where[mine, 1]] = np.flatnonzero(mine)
        return Numbering(numbers, len(self) + count)


class TiledPredictor:
    """A predictor that looks at large pictures by tiles. Safe to share between threads, if the proposer is.

    Args:
        model: the predictor that it is made of, whose methods it has; it may ask finders (`model.joined`).
        count: of the smallest tiles along a picture's long side; None: as many as show the picture pixel by pixel, if
            its long side is at least twice what the model sees of it; else the picture is opened as without tiles. No
            more than leave a tile `LEAST_SIDE` pixels.
        proposer: makes the boxes in tiles too; None for the model's own.
        on_progress: told of each tile.
    """

    on_progress: OnProgress | None = None

    def __init__(
        self,
        model: Any,
        count: int | None = None,
        proposer: Callable[[LoadedImage], Regions] | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.model, self.count, self.proposer, self.on_progress = model, count, proposer, on_progress
        self.cache = EncodingCache(model.cache_bytes)

    def __getattr__(self, name: str) -> Any:
        if name == "model":  # while it is copied
            raise AttributeError(name)
        return getattr(self.model, name)

    # --- pictures ----------------------------------------------------------------------------------------------

    def encode(self, image: LoadedImage | Image.Image, proposals: Regions | None = None) -> Any:
        """See `BasePredictor.encode`; a picture that needs no tiles has the model's own encoding."""
        loaded = image if isinstance(image, LoadedImage) else load_image(image)
        whole = self.model.encode(loaded, proposals)
        tiles = self._tiles(loaded, whole)
        if not tiles:
            return whole
        boxes, scores = (None, None) if proposals is None else (proposals.boxes, proposals.scores)
        key = encoding_key(loaded.sha256, boxes, scores, f"{self.model.fingerprint} {len(tiles)} tiles")
        if proposals is not None and (self.proposer is None or proposals.source == "given"):
            return self.cache.get_or_make(key, lambda: self._given(loaded, whole, tiles))
        return self.cache.get_or_make(key, lambda: self._found(loaded, whole, tiles))

    def encode_many(
        self, images: Sequence[LoadedImage | Image.Image], proposals: Sequence[Regions | None] | None = None
    ) -> list[Any]:
        """See `BasePredictor.encode_many`."""
        given = [None] * len(images) if proposals is None else proposals
        return [self.encode(*pair) for pair in zip(images, given, strict=True)]

    def _tiles(self, image: LoadedImage, whole: Any) -> list[Tile]:
        """The tiles that a picture is looked at by; none if it is small."""
        size_wh = image.width, image.height
        long = max(size_wh)
        count = self.count or fitting(long, max(whole.features.sizes.aux_wh))
        count = min(count, MOST_TILES, most_along(long))
        return tiles_of(size_wh, count) if count > 1 else []

    def _found(self, image: LoadedImage, whole: Any, tiles: Sequence[Tile]) -> TiledEncoding:
        """The picture with the regions that are found in the whole of it and in tiles."""
        first = Tile((0, 0, image.width, image.height), 0)
        parts = [Part(first, whole)]
        boxes, objectness, likely, where = [], [], [], []
        for tile, crop, proposals in self._looked(image, tiles):
            encoding = self.model.encode(crop, proposals)
            placed = encoding.boxes + tile.corner
            value = self.model.labels(encoding)[1]  # the probability of its name, or its objectness
            kept = whole_in(tile, placed, first.box[2:])
            kept &= (value >= LEAST_NAME) | (self.model.vocabulary is None)
            index = np.flatnonzero(kept)
            if not len(index) and not hasattr(self.model, "beyond"):  # finders may see more than the model does
                continue
            boxes.append(placed[index])
            objectness.append(encoding.objectness[index])
            likely.append(value[index])
            where.append(np.stack([np.full(len(index), len(parts)), index], axis=1))
            parts.append(self._part(image, tile, encoding, proposals, parts))
        return _together(whole, parts, boxes, objectness, likely, where)

    def _looked(self, image: LoadedImage, tiles: Sequence[Tile]) -> Iterator[tuple[Tile, LoadedImage, Regions | None]]:
        """Each tile with its pixels and what the proposer finds in it; told of before and after."""
        self._tell(image, 0, len(tiles))
        done = 0
        for some in _in_batches(tiles):
            crops = [_cut(image, tile) for tile in some]
            found = [None] * len(some) if self.proposer is None else propose_many(self.proposer, crops)
            for three in zip(some, crops, found, strict=True):
                yield three
                done += 1
                self._tell(image, done, len(tiles))

    def _tell(self, image: LoadedImage, done: int, count: int) -> None:
        log.debug("%d of %d tiles", done, count)
        if self.on_progress is not None:
            self.on_progress(done, count)
        progress.tell(image.sha256, done, count)

    def _part(
        self, image: LoadedImage, tile: Tile, encoding: Any, proposals: Regions | None, before: Sequence[Part]
    ) -> Part:
        """A tile behind others. Where there is no room to keep all that is known of it, what was judged is kept."""
        kept = encoding.nbytes + sum(part.encoding.nbytes for part in before)
        if kept > _KEPT_SHARE * self.model.cache_bytes:
            if self.model.vocabulary is not None:
                self.model.labels(encoding)  # so that no name has to be judged again
            encoding = encoding.lightened(lambda: self.model.encode(_cut(image, tile), proposals))
        return Part(tile, encoding)

    def _given(self, image: LoadedImage, whole: Any, tiles: Sequence[Tile]) -> TiledEncoding:
        """The picture with a caller's boxes, each read in the tile that shows it best."""
        first = Tile((0, 0, image.width, image.height), 0)
        every = [first, *tiles]
        best, boxes = best_tile(every, whole.boxes), whole.boxes
        where = np.stack([np.zeros(len(boxes), dtype=np.int64), np.arange(len(boxes))], axis=1)
        parts, used = [Part(first, whole)], np.unique(best[best > 0]).tolist()
        self._tell(image, 0, len(used))
        for done, number in enumerate(used, start=1):
            tile, mine = every[number], np.flatnonzero(best == number)
            crop = _cut(image, tile)
            given = Given(boxes[mine] - tile.corner, whole.objectness[mine], limit=len(mine))(crop)
            where[mine] = np.stack([np.full(len(mine), len(parts)), np.arange(len(mine))], axis=1)
            parts.append(self._part(image, tile, self.model.encode(crop, given), given, parts))
            self._tell(image, done, len(used))
        return TiledEncoding(boxes, whole.objectness, whole.note, whole.source, tuple(parts), len(parts), where)

    def with_boxes(self, encoding: Any, boxes: Any) -> Any:
        """See `BasePredictor.with_boxes`; each box is read in the tile that shows it best, beside what that has."""
        if not isinstance(encoding, TiledEncoding):
            return self.model.with_boxes(encoding, boxes)
        boxes = check_boxes(boxes)
        both = min(len(boxes), len(encoding))
        known = int(np.logical_and.accumulate((boxes[:both] == encoding.boxes[:both]).all(axis=1)).sum())
        new = boxes[known:]
        best = best_tile([part.tile for part in encoding.parts[: encoding.own]], new)
        parts, where = list(encoding.parts), np.zeros((len(new), 2), dtype=np.int64)
        for number in np.unique(best).tolist():
            part, mine = parts[number], np.flatnonzero(best == number)
            whole = part.encoding.thickened()
            beside = whole.boxes[: max(self.model.max_regions - len(mine), 0)]
            read = self.model.with_boxes(whole, np.concatenate([beside, new[mine] - part.tile.corner]))
            where[mine] = np.stack([np.full(len(mine), len(parts)), len(beside) + np.arange(len(mine))], axis=1)
            parts.append(Part(part.tile, read))
        where = np.concatenate([encoding.where[:known], where])
        return TiledEncoding(boxes, np.ones(len(boxes)), "", "given", tuple(parts), encoding.own, where)

    # --- phrases and regions -----------------------------------------------------------------------------------

    def match(self, encoding: Any, phrases: Sequence[str]) -> np.ndarray:
        """See `BasePredictor.match`."""
        return self.match_many([encoding], [phrases])[0]

    def match_many(self, encodings: Sequence[Any], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """See `BasePredictor.match_many`."""
        small = [k for k, one in enumerate(encodings) if not isinstance(one, TiledEncoding)]
        rows = self.model.match_many([encodings[k] for k in small], [phrases[k] for k in small]) if small else []
        found = dict(zip(small, rows, strict=True))
        return [
            found[k] if k in found else self._over(one, len(asked), lambda own, asked=asked: self._judged(own, asked))
            for k, (one, asked) in enumerate(zip(encodings, phrases, strict=True))
        ]

    def _judged(self, own: Any, phrases: Sequence[str]) -> np.ndarray:
        """What the model says of one tile."""
        known = self.model.recalled(own, phrases)
        return self.model.match(own.thickened(), phrases) if known is None else known

    def _over(self, encoding: TiledEncoding, count: int, judge: Callable[[Any], np.ndarray]) -> np.ndarray:
        """What is judged of each part, [count, n], as of the picture's regions, [count, N]."""
        rows = np.zeros((count, len(encoding)))
        for part, mine, there in encoding.held() if count else ():
            rows[:, mine] = judge(part.encoding)[:, there]
        return rows

    def recalled(self, encoding: Any, phrases: Sequence[str]) -> np.ndarray | None:
        """See `BasePredictor.recalled`."""
        if not isinstance(encoding, TiledEncoding):
            return self.model.recalled(encoding, phrases)
        if any(self.model.recalled(part.encoding, phrases) is None for part, _, _ in encoding.held()):
            return None
        return self.match(encoding, phrases)

    def match_without(self, encoding: Any, phrases: Sequence[str], silenced: Sequence[Any]) -> list[np.ndarray]:
        """See `BasePredictor.match_without`."""
        if not isinstance(encoding, TiledEncoding):
            return self.model.match_without(encoding, phrases, silenced)

        def judge(own: Any) -> np.ndarray:
            return np.concatenate(self.model.match_without(own.thickened(), phrases, silenced))

        return np.split(self._over(encoding, len(phrases) * len(silenced), judge), len(silenced))

    def labels(self, encoding: Any) -> tuple[list[str | None], np.ndarray]:
        """See `BasePredictor.labels`."""
        if not isinstance(encoding, TiledEncoding):
            return self.model.labels(encoding)
        if self.model.vocabulary is None:
            return [None] * len(encoding), encoding.objectness.copy()
        names, scores = np.full(len(encoding), None, dtype=object), np.zeros(len(encoding))
        for part, mine, there in encoding.held():
            own, likely = self.model.labels(part.encoding)
            names[mine], scores[mine] = np.array(own, dtype=object)[there], likely[there]
        return names.tolist(), scores

    def named_many(self, encodings: Sequence[Any]) -> list[np.ndarray]:
        """See `BasePredictor.named_many`."""

        def judge(own: Any) -> np.ndarray:
            return self.model.named_many([own])[0]

        count = len(self.model.vocabulary or ())
        return [self._over(one, count, judge) if isinstance(one, TiledEncoding) else judge(one) for one in encodings]

    def similar(self, encoding: Any, index: int) -> np.ndarray:
        """See `BasePredictor.similar`. Without names, regions of other tiles are compared by what the model calls the
        example.
        """
        if not isinstance(encoding, TiledEncoding):
            return self.model.similar(encoding, index)
        if not 0 <= index < len(encoding):
            raise InputError(f"No region {index}; the picture has {len(encoding)}.")
        if self.model.vocabulary is None:
            return self._like_in_words(encoding, index)
        (rows,) = self.named_many([encoding])
        same = like(rows, rows[:, index])
        same[index] = 1.0
        return same

    def _like_in_words(self, encoding: TiledEncoding, index: int) -> np.ndarray:
        number, place = encoding.where[index].tolist()
        own = encoding.parts[number].encoding.thickened()
        reply = self.model.generate(own, prompts.render("visual_prompt_od", f"<region{place}>"))
        said = [group.label for group in prompts.parse(reply, len(own)).groups if group.label]
        same = self.match(encoding, said[:1])[0] if said else np.zeros(len(encoding))
        mine = encoding.where[:, 0] == number
        same[mine] = self.model.similar(own, place)[encoding.where[mine, 1]]
        return same

    def similar_many(self, encodings: Sequence[Any], indexes: Sequence[int]) -> list[np.ndarray]:
        """See `BasePredictor.similar_many`."""
        return [self.similar(*pair) for pair in zip(encodings, indexes, strict=True)]

    def vectors(self, encoding: Any, index: int) -> dict[str, np.ndarray]:
        """See `BasePredictor.vectors`; of a region as the tile shows it that found it."""
        if not isinstance(encoding, TiledEncoding):
            return self.model.vectors(encoding, index)
        number, place = encoding.where[index].tolist()
        return self.model.vectors(encoding.parts[number].encoding.thickened(), place)

    def alike(self, encoding: Any, likes: Vectors, unlikes: Vectors = ()) -> np.ndarray:
        """See `BasePredictor.alike`."""
        if not isinstance(encoding, TiledEncoding):
            return self.model.alike(encoding, likes, unlikes)
        return self._over(encoding, 1, lambda own: self.model.alike(own.thickened(), likes, unlikes)[None])[0]

    # --- words -------------------------------------------------------------------------------------------------

    def generate(self, about: Any, text: str, max_new_tokens: int = 256) -> str:
        """See `BasePredictor.generate`. Of a picture with tiles the tile is asked in which the regions are that the
        question speaks of; where they are in several, or none, the whole picture.
        """
        return self.generate_many([about], [text], max_new_tokens)[0]

    def generate_many(self, about: Any, texts: Sequence[str], max_new_tokens: int = 256) -> list[str]:
        """See `BasePredictor.generate_many`."""
        if not isinstance(about, Sequence):
            about = [about] * len(texts)
        asked = [self._about(*pair) for pair in zip(about, texts, strict=True)]
        replies = self.model.generate_many([one for one, _, _ in asked], [text for _, text, _ in asked], max_new_tokens)
        return [
            reply if numbering is None else numbering.heard(reply)
            for reply, (_, _, numbering) in zip(replies, asked, strict=True)
        ]

    def _about(self, about: Any, text: str) -> tuple[Any, str, Numbering | None]:
        """What the model is asked about, its question there, and how regions are numbered there, if not as here."""
        if isinstance(about, TiledEncoding):
            return self._in_a_part(about, text)
        if not isinstance(about, Sequence) or not any(isinstance(one, TiledEncoding) for one in about):
            return about, text, None
        seen, numbers, total = [], [], 0
        for one in about:
            tiled = isinstance(one, TiledEncoding)
            seen.append(one.parts[0].encoding if tiled else one)
            numbers.append(total + (one.numbering(0).numbers if tiled else np.arange(len(one))))
            total += len(one)
        known = np.concatenate(numbers)
        if lost := [k for k in mentioned(text, total) if k not in known]:
            raise InputError(
                f"The question about {len(about)} pictures speaks of region {lost[0]}, which only a tile of its "
                "picture shows. Ask about its picture alone."
            )
        numbering = Numbering(known, total)
        return seen, numbering.said(text), numbering

    def _in_a_part(self, encoding: TiledEncoding, text: str) -> tuple[Any, str, Numbering]:
        asked = mentioned(text, len(encoding))
        places = np.unique(encoding.where[asked, 0]).tolist() or [0]
        if len(places) == 1:
            numbering = encoding.numbering(places[0])
            return encoding.parts[places[0]].encoding.thickened(), numbering.said(text), numbering
        kept = self.model.max_regions - len(asked)
        if kept < 0:
            raise InputError(
                f"The question speaks of {len(asked)} regions; {self.name} reads {self.model.max_regions}."
            )
        whole = encoding.parts[0].encoding
        mine = np.flatnonzero(encoding.where[:, 0] == 0)
        best = mine[np.argsort(-encoding.objectness[mine], kind="stable")]
        numbers = np.concatenate([best[~np.isin(best, asked)][:kept], asked]).astype(np.int64)
        numbering = Numbering(numbers, len(encoding))
        return self.model.with_boxes(whole, encoding.boxes[numbers]), numbering.said(text), numbering


class TiledFinders(TiledPredictor):
    """A `TiledPredictor` of a model that asks finders, who look at tiles as well."""

    def unasked(self, encoding: Any, phrases: Sequence[str], naming: bool = False) -> tuple[str, ...]:
        """See `JoinedPredictor.unasked`."""
        said = (self.model.unasked(own, phrases, naming) for own in _pieces(encoding))
        return tuple(dict.fromkeys(name for names in said for name in names))

    def ask(self, encoding: Any, phrases: Sequence[str], naming: bool = False) -> None:
        """See `JoinedPredictor.ask`; of each tile."""
        for own in _pieces(encoding):
            if self.model.unasked(own, phrases, naming):
                self.model.ask(own.thickened(), phrases, naming)

    def beyond(self, encoding: Any, phrases: Sequence[str]) -> list[Beyond]:
        """See `JoinedPredictor.beyond`; boxes that a tile's border cuts are left out."""
        if not isinstance(encoding, TiledEncoding):
            return self.model.beyond(encoding, phrases)
        size_wh = encoding.parts[0].tile.box[2:]
        boxes: list[list[np.ndarray]] = [[] for _ in phrases]
        scores: list[list[np.ndarray]] = [[] for _ in phrases]
        for part in encoding.parts[: encoding.own]:
            judged = all(phrase in part.encoding.judged for phrase in phrases)
            own = part.encoding if judged else part.encoding.thickened()
            for k, one in enumerate(self.model.beyond(own, phrases)):
                placed = one.boxes + part.tile.corner
                whole = whole_in(part.tile, placed, size_wh)
                boxes[k].append(placed[whole])
                scores[k].append(one.scores[whole])
        return [self._apart(np.concatenate(b), np.concatenate(s), encoding) for b, s in zip(boxes, scores, strict=True)]

    @staticmethod
    def _apart(boxes: np.ndarray, scores: np.ndarray, encoding: TiledEncoding) -> Beyond:
        """Each box once, and none that is one of the picture's regions."""
        new = ~(iou(boxes, encoding.boxes) > NEW_BOX_IOU).any(axis=1)
        boxes, scores = boxes[new], scores[new]
        best = nms(boxes, scores, NEW_BOX_IOU)
        return Beyond(boxes[best], scores[best])


def _pieces(encoding: Any) -> list[Any]:
    """What a model keeps of each tile; of a picture without tiles, of that."""
    return [part.encoding for part in encoding.parts] if isinstance(encoding, TiledEncoding) else [encoding]


def tiled(model: Any, tiles: int | str, proposer: Callable[[LoadedImage], Regions] | None = None) -> TiledPredictor:
    """A model that looks at large pictures by tiles.

    Args:
        model, proposer: as for `TiledPredictor`.
        tiles: how many of the smallest tiles lie along a picture's long side, 2 to `MOST_TILES`; or "auto".

    Raises:
        InputError: `tiles` is neither.
    """
    whole = isinstance(tiles, int) and not isinstance(tiles, bool)
    if tiles != "auto" and not (whole and 2 <= int(tiles) <= MOST_TILES):
        raise InputError(f'tiles must be "auto" or a whole number from 2 to {MOST_TILES}, got {shown(tiles)}.')
    kind = TiledFinders if hasattr(model, "beyond") else TiledPredictor
    return kind(model, None if tiles == "auto" else int(tiles), proposer)


def _in_batches(tiles: Sequence[Tile]) -> Iterator[list[Tile]]:
    """Tiles that are cut out together: of large ones each by itself."""
    batch: list[Tile] = []
    for tile in tiles:
        if batch and (len(batch) == PICTURES_AT_ONCE or sum(one.pixels for one in [*batch, tile]) > PIXELS_AT_ONCE):
            yield batch
            batch = []
        batch.append(tile)
    if batch:
        yield batch


def _cut(image: LoadedImage, tile: Tile) -> LoadedImage:
    """A tile's pixels."""
    return load_image(image.pixels.crop(tile.box))


def _together(
    whole: Any,
    parts: Sequence[Part],
    boxes: Sequence[np.ndarray],
    objectness: Sequence[np.ndarray],
    likely: Sequence[np.ndarray],
    where: Sequence[np.ndarray],
) -> TiledEncoding:
    """The regions of the whole picture, and behind them those of tiles, each list of which is of the parts in order."""
    own = np.stack([np.zeros(len(whole), dtype=np.int64), np.arange(len(whole))], axis=1)
    note = whole.note
    if not boxes:
        return TiledEncoding(whole.boxes, whole.objectness, note, whole.source, tuple(parts), len(parts), own)
    more, value = np.concatenate(boxes), np.concatenate(likely)
    best = nms(more, value, REPEATED_IOU)
    if len(best) > MOST_ADDED:
        notes = [one for one in (note, f"{len(best)} regions found by tiles, best {MOST_ADDED} kept") if one]
        note = "; ".join(notes)
    best = np.sort(best[:MOST_ADDED])
    return TiledEncoding(
        np.concatenate([whole.boxes, more[best]]),
        np.concatenate([whole.objectness, np.concatenate(objectness)[best]]),
        note,
        whole.source,
        tuple(parts),
        len(parts),
        np.concatenate([own, np.concatenate(where)[best]]),
    )
