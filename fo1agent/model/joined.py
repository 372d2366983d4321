"""`JoinedPredictor`: a model together with finders, so that what detectors say of a picture counts.

A finder (`proposals.base.Finder`) tells where a phrase is in a picture. What it says of a region that FO1 has is one
more opinion: opinions are joined in log-odds, each with its weight, and whoever does not know a word has none, which
costs nothing. Boxes that only a finder sees are judged in the same way and told apart from the scene's own (`beyond`).
A finder is asked once about a phrase and a picture. Numpy only: a finder brings whatever it computes with.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from fo1agent.errors import ProposalError
from fo1agent.model.encoding import EncodingCache, encoding_key
from fo1agent.model.predicting import About
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.proposals.base import Finder
from fo1agent.proposals.trust import Trust, log_odds
from fo1agent.regions.boxes import iou, nms
from fo1agent.regions.regions import Regions
from fo1agent.words import lexicon

# A finder's box speaks for the regions that it overlaps by more than this, in proportion to the overlap, as the nano's
# own detector does.
SPEAKS_FOR_IOU = 0.45
# What overlaps none of the scene's regions by more than this is a thing that only the finder sees.
NEW_BOX_IOU = 0.5
_SAME_IOU = 0.7  # of one finder's boxes for one phrase
_BEYOND = 100  # boxes of a phrase
_KEPT_PHRASES = 4096  # per picture


@dataclass
class JoinedEncoding:
    """A picture as the model keeps it, and what finders have said of it.

    Attributes:
        own: the model's encoding.
        image: the picture.
        said: (finder's number, phrase) → boxes with scores.
        judged: phrase → boxes [M, 4] that only finders see, and the model's own logit of each, or None.
    """

    own: Any
    image: LoadedImage = field(repr=False)
    said: dict[tuple[int, str], Regions] = field(default_factory=dict, repr=False)
    judged: dict[str, tuple[np.ndarray, np.ndarray | None]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.own)

    def __getattr__(self, name: str) -> Any:
        if name == "own":  # while it is copied
            raise AttributeError(name)
        return getattr(self.own, name)  # boxes, objectness, note, source, and what else a model's own has

    @property
    def nbytes(self) -> int:
        """Bytes of the model's encoding, the picture and what was said."""
        width, height = self.image.width, self.image.height
        return self.own.nbytes + 3 * width * height + sum(one.boxes.nbytes + 100 for one in self.said.values())


@dataclass(frozen=True, eq=False)
class Beyond:
    """Boxes that only finders see, of one phrase.

    Attributes:
        boxes: [M, 4] xyxy pixels of the picture, best first.
        scores: [M] probabilities.
    """

    boxes: np.ndarray
    scores: np.ndarray


class JoinedPredictor:
    """A predictor that asks finders as well. Safe to share between threads, if its finders are.

    Args:
        model: the predictor that it is made of, whose methods it has.
        finders: asked beside it, in this order.
        trust: how each finder's scores are taken; of those that are not named, as their makers advise.
    """

    def __init__(self, model: Any, finders: Sequence[Finder], trust: Mapping[str, Trust] | None = None) -> None:
        self.model, self.finders = model, tuple(finders)
        self.trust = tuple((trust or {}).get(one.name) or Trust.of(one) for one in self.finders)
        self.cache = EncodingCache(model.cache_bytes)
        closed = [name for one in self.finders for name in one.names or ()]
        self.vocabulary = self._with_names(closed)
        self._classes: list[dict[str, tuple[str, ...]]] = [{} for _ in self.finders]

    def __getattr__(self, name: str) -> Any:
        if name == "model":
            raise AttributeError(name)
        return getattr(self.model, name)

    def _with_names(self, more: Sequence[str]) -> tuple[str, ...] | None:
        """The model's names, and those of finders that mean none of them."""
        own = self.model.vocabulary
        if own is None:
            return None
        new = [name for name in dict.fromkeys(more) if not lexicon.resolve(name, own).exact]
        return (*own, *new)

    @property
    def any_words(self) -> bool:
        """Whether one of the finders takes any words, so that no phrase is unknown."""
        return any(one.names is None for one in self.finders)

    # --- pictures ----------------------------------------------------------------------------------------------

    def encode(self, image: LoadedImage | Image.Image, proposals: Regions | None = None) -> JoinedEncoding:
        """See `BasePredictor.encode`."""
        return self.encode_many([image], [proposals])[0]

    def encode_many(
        self, images: Sequence[LoadedImage | Image.Image], proposals: Sequence[Regions | None] | None = None
    ) -> list[JoinedEncoding]:
        """See `BasePredictor.encode_many`."""
        loaded = [image if isinstance(image, LoadedImage) else load_image(image) for image in images]
        own = self.model.encode_many(loaded, proposals)
        given = [None] * len(loaded) if proposals is None else proposals
        return [self._kept(*three) for three in zip(loaded, own, given, strict=True)]

    def _kept(self, image: LoadedImage, own: Any, proposals: Regions | None) -> JoinedEncoding:
        boxes, scores = (None, None) if proposals is None else (proposals.boxes, proposals.scores)
        key = encoding_key(image.sha256, boxes, scores, self.model.fingerprint)
        return self.cache.get_or_make(key, lambda: JoinedEncoding(own, image))

    def with_boxes(self, encoding: JoinedEncoding, boxes: Any) -> JoinedEncoding:
        """See `BasePredictor.with_boxes`; finders are not asked again."""
        return JoinedEncoding(self.model.with_boxes(encoding.own, boxes), encoding.image, encoding.said)

    # --- phrases and regions -----------------------------------------------------------------------------------

    def match(self, encoding: JoinedEncoding, phrases: Sequence[str]) -> np.ndarray:
        """See `BasePredictor.match`."""
        return self.match_many([encoding], [phrases])[0]

    def match_many(self, encodings: Sequence[JoinedEncoding], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """See `BasePredictor.match_many`."""
        return self._match(encodings, phrases, naming=False)

    def _match(
        self, encodings: Sequence[JoinedEncoding], phrases: Sequence[Sequence[str]], naming: bool
    ) -> list[np.ndarray]:
        for encoding, asked in zip(encodings, phrases, strict=True):
            self._ask(encoding, asked, naming)
        known = [[one for one in own if self._knows(one)] for own in phrases]
        rows = self.model.match_many([encoding.own for encoding in encodings], known)
        found = []
        for encoding, asked, own, row in zip(encodings, phrases, known, rows, strict=True):
            by_name = dict(zip(own, row, strict=True))
            boxes = encoding.own.boxes
            joined = [self._joined(encoding, one, boxes, by_name.get(one), naming) for one in asked]
            found.append(np.stack(joined) if joined else np.zeros((0, len(encoding))))
        return found

    def recalled(self, encoding: JoinedEncoding, phrases: Sequence[str]) -> np.ndarray | None:
        """What `match` gives, if that needs no pass of the model and no finder; else None."""
        if any(key not in encoding.said for one in phrases for key in self._keys(one)):
            return None
        if self.model.recalled(encoding.own, [one for one in phrases if self._knows(one)]) is None:
            return None
        return self.match(encoding, phrases)

    def beyond(self, encoding: JoinedEncoding, phrases: Sequence[str]) -> list[Beyond]:
        """Of each phrase the boxes that only finders see. What the model itself says of them counts as well."""
        self._ask(encoding, phrases)
        self._judge(encoding, [one for one in dict.fromkeys(phrases) if one not in encoding.judged])
        found = []
        for phrase in phrases:
            boxes, own = encoding.judged[phrase]
            scores = self._joined(encoding, phrase, boxes, own)
            order = np.argsort(-scores, kind="stable")
            found.append(Beyond(boxes[order], scores[order]))
        return found

    def speakers(self, phrase: str) -> tuple[str, ...]:
        """Who is asked about a phrase, by name: the model, finders."""
        own = [self.model.name] if self._knows(phrase) else []
        return (*own, *(self.finders[k].name for k, _ in self._keys(phrase)))

    def labels(self, encoding: JoinedEncoding) -> tuple[list[str | None], np.ndarray]:
        """See `BasePredictor.labels`; without finders of any words, which would have to be asked for every name."""
        if self.vocabulary is None or not len(encoding):
            return self.model.labels(encoding.own)
        (probability,) = self._match([encoding], [self.vocabulary], naming=True)
        return [self.vocabulary[k] for k in probability.argmax(axis=0)], probability.max(axis=0)

    def similar(self, encoding: JoinedEncoding, index: int) -> np.ndarray:
        """See `BasePredictor.similar`; by the model alone."""
        return self.similar_many([encoding], [index])[0]

    def similar_many(self, encodings: Sequence[JoinedEncoding], indexes: Sequence[int]) -> list[np.ndarray]:
        """See `BasePredictor.similar_many`; by the model alone."""
        return self.model.similar_many([encoding.own for encoding in encodings], indexes)

    # --- words -------------------------------------------------------------------------------------------------

    def generate(self, about: Any, text: str, max_new_tokens: int = 256) -> str:
        """See `BasePredictor.generate`."""
        return self.model.generate(_own(about), text, max_new_tokens)

    def generate_many(self, about: Any, texts: Sequence[str], max_new_tokens: int = 256) -> list[str]:
        """See `BasePredictor.generate_many`."""
        one = isinstance(about, JoinedEncoding)
        return self.model.generate_many(about.own if one else [_own(each) for each in about], texts, max_new_tokens)

    # --- what finders say --------------------------------------------------------------------------------------

    def _knows(self, phrase: str) -> bool:
        """Whether the model itself has a word for it."""
        return self.model.vocabulary is None or phrase in self.model.vocabulary

    def _keys(self, phrase: str, naming: bool = False) -> list[tuple[int, str]]:
        """What is asked of which finder about a phrase; a closed one is asked for those of its names that it means.

        Where regions are named, only closed ones are asked.
        """
        keys: list[tuple[int, str]] = []
        for number, finder in enumerate(self.finders):
            if finder.names is None:
                keys += [] if naming else [(number, phrase)]
                continue
            if phrase not in self._classes[number]:
                meant = lexicon.resolve(phrase, finder.names)
                self._classes[number][phrase] = () if meant.modifiers or meant.special else meant.names
            keys += [(number, name) for name in self._classes[number][phrase]]
        return keys

    def _ask(self, encoding: JoinedEncoding, phrases: Collection[str], naming: bool = False) -> None:
        """Let finders say what they have not said of these phrases yet."""
        wanted: dict[int, dict[str, None]] = {}
        for number, phrase in (key for one in phrases for key in self._keys(one, naming)):
            if (number, phrase) not in encoding.said:
                wanted.setdefault(number, {})[phrase] = None
        for number, asked in wanted.items():
            finder, one_by_one = self.finders[number], list(asked)
            found = finder.find(encoding.image, one_by_one)
            if len(found) != len(one_by_one) or not all(isinstance(one, Regions) for one in found):
                raise ProposalError(f"{finder.name} was asked for {len(one_by_one)} phrases; wanted Regions of each.")
            if len(encoding.said) > _KEPT_PHRASES:
                encoding.said.clear()
            encoding.said.update({(number, phrase): _apart(one) for phrase, one in zip(one_by_one, found, strict=True)})

    def _judge(self, encoding: JoinedEncoding, phrases: Sequence[str]) -> None:
        """Keep, of each phrase, the boxes that only finders see and what the model says of them."""
        new = {phrase: self._new_boxes(encoding, phrase) for phrase in phrases}
        known = [phrase for phrase in phrases if len(new[phrase]) and self._knows(phrase)]
        rows: dict[str, np.ndarray] = {}
        if known:
            # All in as few readings of boxes as the model's limit allows.
            boxes = np.concatenate([new[phrase] for phrase in known])
            parts = [
                self.model.match(self.model.with_boxes(encoding.own, part), known)
                for part in np.split(boxes, range(self.model.max_regions, len(boxes), self.model.max_regions))
            ]
            said, ends = np.concatenate(parts, axis=1), np.cumsum([len(new[phrase]) for phrase in known])
            rows = {
                phrase: said[k, end - len(new[phrase]) : end]
                for k, (phrase, end) in enumerate(zip(known, ends, strict=True))
            }
        encoding.judged.update({phrase: (new[phrase], rows.get(phrase)) for phrase in phrases})

    def _new_boxes(self, encoding: JoinedEncoding, phrase: str) -> np.ndarray:
        said = [encoding.said[key] for key in self._keys(phrase)]
        boxes, scores = (
            np.concatenate([getattr(one, name) for one in said] or [np.zeros(shape)])
            for name, shape in (("boxes", (0, 4)), ("scores", 0))
        )
        alone = ~(iou(boxes, encoding.own.boxes) > NEW_BOX_IOU).any(axis=1)
        boxes, scores = boxes[alone], scores[alone]
        return boxes[nms(boxes, scores, NEW_BOX_IOU)[:_BEYOND]]

    def _joined(
        self,
        encoding: JoinedEncoding,
        phrase: str,
        boxes: np.ndarray,
        own: np.ndarray | None,
        naming: bool = False,
    ) -> np.ndarray:
        """Probability [M] that each box is what a phrase says, by all who know it; own: [M] the model's, or None."""
        total, weights = np.zeros(len(boxes)), 0.0
        if own is not None:
            total, weights = total + log_odds(own), weights + 1.0
        keys = self._keys(phrase, naming)
        for number in dict.fromkeys(number for number, _ in keys):
            said = [encoding.said[key] for key in keys if key[0] == number]
            score, trust = np.max([_of(one, boxes) for one in said], axis=0), self.trust[number]
            weight = trust.weight if own is not None else 1.0
            total, weights = total + weight * trust.log_odds(score), weights + weight
        return 1 / (1 + np.exp(-total / weights)) if weights else np.zeros(len(boxes))


def _own(about: Any) -> About:
    return about.own if isinstance(about, JoinedEncoding) else [one.own for one in about]


def _apart(found: Regions) -> Regions:
    """A finder's boxes without repeats, best first."""
    return found[nms(found.boxes, found.scores, _SAME_IOU)]


def _of(said: Regions, boxes: np.ndarray) -> np.ndarray:
    """What a finder's boxes [K] say of others [M]: the best of score times overlap; 0 where none is near."""
    overlap = iou(boxes, said.boxes)  # [M, K]
    return (np.where(overlap > SPEAKS_FOR_IOU, overlap, 0.0) * said.scores).max(axis=1, initial=0.0)
