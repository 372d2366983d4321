"""`JoinedPredictor`: a model together with finders, so that what detectors say of a picture counts.

A finder (`proposals.base.Finder`) tells where a phrase is in a picture. What it says of a region that FO1 has is one
more opinion: opinions are joined in log-odds, each with its weight, and whoever does not know a word has none, which
costs nothing. Boxes that only a finder sees are judged in the same way and told apart from the scene's own (`beyond`).
A finder is asked once about a phrase and a picture. Numpy only: a finder brings whatever it computes with.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from fo1agent.model.encoding import EncodingCache, encoding_key
from fo1agent.model.likeness import Vectors
from fo1agent.model.predicting import About
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.proposals.base import Finder, found_by, one_at_a_time
from fo1agent.proposals.trust import Trust, log_odds
from fo1agent.regions.boxes import iou, nms
from fo1agent.regions.regions import Regions
from fo1agent.words import lexicon

# A finder's box speaks for the regions that it overlaps by more than this, in proportion to the overlap, as the nano's
# own detector does.
SPEAKS_FOR_IOU = 0.45
# What overlaps none of the scene's regions by more than this is a thing that only the finder sees.
NEW_BOX_IOU = 0.5
# The same for a word that the model does not know: its regions were not made for such things, and the finder's box is
# better than a region that half covers it. Of the two a scene shows the likelier one, which is the finder's.
UNKNOWN_BOX_IOU = 0.8
_SAME_IOU = 0.7  # of one finder's boxes for one phrase
_BEYOND = 100  # boxes of a phrase
_SUREST = 500.0  # log-odds; exp of more overflows
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

    def lightened(self, again: Callable[[], JoinedEncoding]) -> JoinedEncoding:
        """See `SceneEncoding.lightened`; what finders said stays as well."""
        return _Light(self, again)

    def thickened(self) -> JoinedEncoding:
        """See `SceneEncoding.thickened`."""
        return self


class _Light(JoinedEncoding):
    """What is left of an encoding that is made anew for new words, the picture included."""

    def __init__(self, kept: JoinedEncoding, again: Callable[[], JoinedEncoding]) -> None:
        self.own, self.said, self.judged = kept.own.lightened(lambda: again().own), kept.said, kept.judged
        self._again = again

    @property
    def nbytes(self) -> int:
        return self.own.nbytes + sum(one.boxes.nbytes + 100 for one in self.said.values())

    def thickened(self) -> JoinedEncoding:
        return JoinedEncoding(self.own.thickened(), self._again().image, self.said, self.judged)


@dataclass(frozen=True, eq=False)
class Beyond:
    """Boxes that only finders see, of one phrase.

    Attributes:
        boxes: [M, 4] xyxy pixels of the picture, best first.
        scores: [M] probabilities.
    """

    boxes: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True, eq=False)
class Opinions:
    """What is said of a phrase.

    Attributes:
        boxes: [M, 4], the scene's regions, then what only finders see.
        own: [M] the model's probabilities; None where it has no word.
        by: finder's number → its scores [M], 0 where it says nothing.
    """

    boxes: np.ndarray
    own: np.ndarray | None
    by: dict[int, np.ndarray]


class JoinedPredictor:
    """A predictor that asks finders as well, each in one thread at a time. Safe to share between threads.

    Args:
        model: the predictor that it is made of, whose methods it has.
        finders: asked beside it, in this order; those whose trust has a scale of 0 are not.
        trust: how each finder's scores are taken; of those that are not named, as their makers advise.
    """

    def __init__(self, model: Any, finders: Sequence[Finder], trust: Mapping[str, Trust] | None = None) -> None:
        self.model, self.finders = model, tuple(finders)
        self.trust = tuple((trust or {}).get(one.name) or Trust.of(one) for one in self.finders)
        self._heard = tuple(number for number, one in enumerate(self.trust) if one.scale > 0)
        self.name: str = model.name
        self.fingerprint: str = model.fingerprint
        self.taught: Collection[str] = model.taught
        self.max_regions: int = model.max_regions
        self.thresholds: Mapping[str, float] = model.thresholds
        self.cache: Any = EncodingCache(model.cache_bytes)
        closed = [name for number in self._heard for name in self.finders[number].names or ()]
        self.vocabulary = self._with_names(closed)
        self._classes: list[dict[str, tuple[str, ...]]] = [{} for _ in self.finders]
        self._locks = tuple(one_at_a_time(one) for one in self.finders)

    def __getattr__(self, name: str) -> Any:
        if name == "model":
            raise AttributeError(name)
        return getattr(self.model, name)

    def _with_names(self, more: Sequence[str]) -> tuple[str, ...] | None:
        """The model's names, and those of finders that mean none of them."""
        own = self.model.vocabulary
        if own is None:
            return None
        meant = {name: lexicon.resolve(name, own) for name in more}
        # A name that says more than the model's is none of those: not every car is a taxi.
        return (*own, *(name for name, one in meant.items() if not one.exact or one.special or one.wide))

    @property
    def own_names(self) -> tuple[str, ...] | None:
        """The names that the model itself knows; None where it takes any words."""
        return self.model.vocabulary

    @property
    def any_words(self) -> bool:
        """Whether one of the finders takes any words, so that no phrase is unknown."""
        return any(self.finders[number].names is None for number in self._heard)

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
            self.ask(encoding, asked, naming)
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
        self.ask(encoding, phrases)
        self._judge(encoding, [one for one in dict.fromkeys(phrases) if one not in encoding.judged])
        found = []
        for phrase in phrases:
            boxes, own = encoding.judged[phrase]
            scores = self._joined(encoding, phrase, boxes, own)
            order = np.argsort(-scores, kind="stable")
            found.append(Beyond(boxes[order], scores[order]))
        return found

    def unasked(self, encoding: JoinedEncoding, phrases: Collection[str], naming: bool = False) -> tuple[str, ...]:
        """The names of the finders that `ask` would ask."""
        return tuple(self.finders[number].name for number in self._unasked(encoding, phrases, naming))

    def ask(self, encoding: JoinedEncoding, phrases: Collection[str], naming: bool = False) -> None:
        """Let finders say what they have not said of these phrases yet, so that nothing else has to wait for them.

        Args:
            encoding: the picture.
            phrases: what to ask for.
            naming: that regions are to be named by the phrases; finders of any words, which would have to be asked for
                every name, are not.
        """
        for number in self._unasked(encoding, phrases, naming):
            with self._locks[number]:  # another thread may have asked meanwhile
                if still := self._unasked(encoding, phrases, naming).get(number):
                    self._asked(encoding, number, list(still))

    def opinions(self, encoding: JoinedEncoding, phrase: str) -> Opinions:
        """What each says of a phrase, before it is joined."""
        own = self.model.match(encoding.own, [phrase])[0] if self._knows(phrase) else None
        self.ask(encoding, [phrase])
        self._judge(encoding, [] if phrase in encoding.judged else [phrase])
        beyond, of_beyond = encoding.judged[phrase]
        boxes = np.concatenate([encoding.own.boxes, beyond])
        if own is not None:
            own = np.concatenate([own, np.zeros(len(beyond)) if of_beyond is None else of_beyond])
        return Opinions(boxes, own, self._said(encoding, self._keys(phrase), boxes))

    def speakers(self, phrase: str) -> tuple[str, ...]:
        """Who is asked about a phrase, by name: the model, finders."""
        own = [self.model.name] if self._knows(phrase) else []
        return (*own, *(self.finders[k].name for k, _ in self._keys(phrase)))

    def denies(self, phrase: str) -> bool:
        """Whether one of those who are asked about a phrase may say that there is no such thing: the model, or a finder
        that may lower what others say."""
        return self._knows(phrase) or any(self.trust[number].lowers for number, _ in self._keys(phrase))

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

    def named_many(self, encodings: Sequence[JoinedEncoding]) -> list[np.ndarray]:
        """See `BasePredictor.named_many`; by the model alone."""
        return self.model.named_many([encoding.own for encoding in encodings])

    def vectors(self, encoding: JoinedEncoding, index: int) -> dict[str, np.ndarray]:
        """See `BasePredictor.vectors`; by the model alone."""
        return self.model.vectors(encoding.own, index)

    def alike(self, encoding: JoinedEncoding, likes: Vectors, unlikes: Vectors = ()) -> np.ndarray:
        """See `BasePredictor.alike`; by the model alone."""
        return self.model.alike(encoding.own, likes, unlikes)

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
        known = self._knows(phrase)
        for number in self._heard:
            finder = self.finders[number]
            if known and not self.trust[number].weight:
                continue  # it would not count
            if finder.names is None:
                keys += [] if naming else [(number, phrase)]
                continue
            if phrase not in self._classes[number]:
                meant = lexicon.resolve(phrase, finder.names)
                self._classes[number][phrase] = () if meant.modifiers or meant.special else meant.names
            keys += [(number, name) for name in self._classes[number][phrase]]
        return keys

    def _unasked(
        self, encoding: JoinedEncoding, phrases: Collection[str], naming: bool = False
    ) -> dict[int, dict[str, None]]:
        """Finder's number → what it has not said of these phrases yet."""
        wanted: dict[int, dict[str, None]] = {}
        for number, phrase in (key for one in phrases for key in self._keys(one, naming)):
            if (number, phrase) not in encoding.said:
                wanted.setdefault(number, {})[phrase] = None
        return wanted

    def _asked(self, encoding: JoinedEncoding, number: int, phrases: Sequence[str]) -> None:
        found = found_by(self.finders[number], encoding.image, phrases)
        if len(encoding.said) > _KEPT_PHRASES:
            encoding.said.clear()
        encoding.said.update({(number, phrase): _apart(one) for phrase, one in zip(phrases, found, strict=True)})

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
        near = NEW_BOX_IOU if self._knows(phrase) else UNKNOWN_BOX_IOU
        alone = ~(iou(boxes, encoding.own.boxes) > near).any(axis=1)
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
        said = self._said(encoding, self._keys(phrase, naming), boxes)
        if not said:
            return np.zeros(len(boxes)) if own is None else own
        weight = {number: 1.0 if own is None else self.trust[number].weight for number in said}
        # Nobody has calibrated the others; but where nobody else knows the word, there is nothing for them to lower.
        everywhere = [number for number in said if self.trust[number].lowers] or (list(said) if own is None else [])
        total, whole = (np.zeros(len(boxes)), 0.0) if own is None else (log_odds(own), 1.0)
        for number in everywhere:
            total = total + weight[number] * self.trust[number].log_odds(said[number])
            whole += weight[number]
        mean = total / whole
        if own is not None and everywhere:
            shares = [weight[number] for number in everywhere]
            fits = [(self.trust[number].sure, self.trust[number].shift) for number in everywhere]
            sure, shift = np.average(fits, axis=0, weights=shares)
            mean = sure * mean + shift
        others = [number for number in said if number not in everywhere]
        spoken = [_spoken(self.trust[number], said[number]) for number in others]
        more = np.reshape(spoken, (len(others), len(boxes)))
        raised = _raised(mean, whole, more, np.array([weight[number] for number in others]))
        joined = 1 / (1 + np.exp(-np.clip(raised, -_SUREST, _SUREST)))
        if own is not None and not everywhere:  # who says nothing changes nothing, not even a rounding
            joined = np.where(raised > mean, joined, own)
        # Silence says something beside an opinion; of what nobody spoke of, it says that it is not there.
        return joined if own is not None else np.where(np.any(list(said.values()), axis=0), joined, 0.0)

    def _said(
        self, encoding: JoinedEncoding, keys: Sequence[tuple[int, str]], boxes: np.ndarray
    ) -> dict[int, np.ndarray]:
        """Finder's number → what it says of each box [M]; 0 where nothing."""
        said: dict[int, list[np.ndarray]] = {}
        for key in keys:
            said.setdefault(key[0], []).append(_of(encoding.said[key], boxes))
        return {number: np.max(scores, axis=0) for number, scores in said.items()}


def _own(about: Any) -> About:
    return about.own if isinstance(about, JoinedEncoding) else [one.own for one in about]


def _spoken(trust: Trust, scores: np.ndarray) -> np.ndarray:
    """Log-odds of a finder's scores [M]; -inf where they say no more than its silence."""
    return np.where(scores > trust.silent, trust.log_odds(scores), -np.inf)


def _raised(mean: np.ndarray, weight: float, more: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A mean [M] of opinions, together with those of others [K, M] that raise it: the highest that any of them make.

    Those are the surest, and as many of them as are surer than what comes out with them. So one more never lowers it.

    Args:
        mean: log-odds of each box.
        weight: of the mean.
        more: log-odds by each of the others; -inf where it says nothing.
        weights: [K] of the others.
    """
    order = np.argsort(-more, axis=0)
    weights = weights[order]
    totals = weight * mean + np.cumsum(weights * np.take_along_axis(more, order, axis=0), axis=0)
    return np.max([mean, *(totals / (weight + np.cumsum(weights, axis=0)))], axis=0)


def _apart(found: Regions) -> Regions:
    """A finder's boxes without repeats, best first."""
    return found[nms(found.boxes, found.scores, _SAME_IOU)]


def _of(said: Regions, boxes: np.ndarray) -> np.ndarray:
    """What a finder's boxes [K] say of others [M]: the best of score times overlap; 0 where none is near."""
    overlap = iou(boxes, said.boxes)  # [M, K]
    return (np.where(overlap > SPEAKS_FOR_IOU, overlap, 0.0) * said.scores).max(axis=1, initial=0.0)
