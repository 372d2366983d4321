"""`BasePredictor`: what a predictor does whichever engine computes. Nothing here imports a tensor library.

An engine encodes, scores phrases and writes; the cache of pictures, phrases asked before, the names of a closed
vocabulary, lessons' names and the numbering of regions in questions are the same for all.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from fo1agent.errors import InputError, ToolFailed
from fo1agent.model import likeness
from fo1agent.model.encoding import Chunk, EncodingCache, SceneEncoding, encoding_key
from fo1agent.model.prompting import MOST_REGIONS
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.presets import WITH_BOXES
from fo1agent.regions.regions import Regions, check_boxes

B = TypeVar("B", bound=Any)  # ids as an engine takes them
About = SceneEncoding | Sequence[SceneEncoding]
"""What one question is about: a picture, several, or none."""
CACHE_BYTES = 256 * 2**20
THRESHOLDS = {"ground": 0.25, "count": 0.25, "exists": 0.15}
_TOKENS_AT_ONCE = 2048  # of phrases and questions in one pass: bounds the mask
LONGEST_PHRASE, LONGEST_QUESTION = 256, 4096  # tokens
_PHRASES_KEPT = 4096  # per picture
_MENTION = re.compile(r"<region(\d+)>")


@dataclass(frozen=True)
class Calibration:
    """What makes a probability of a raw score: sigmoid(scale * score + bias)."""

    scale: float = 1.0
    bias: float = 0.0


class BasePredictor(ABC):
    """One model, ready for pictures. Safe to share between threads.

    Attributes:
        processor: makes prompts.
        name: for people: `fo1-nano`, the hub name's last part, or the folder's name.
        fingerprint: hash of the weights, part of every cache key.
        cache_bytes: bound on kept encodings.
        likeness: by what regions of several pictures are compared beside their names; None for nothing.
        vocabulary: names that the model knows, taught ones last; None for an open one.
        taught: those of them that lessons alone know: regions are named by them, in scores but not in sentences.
    """

    processor: Any
    name: str
    fingerprint: str
    cache_bytes: int
    likeness: likeness.Likeness | None = None
    vocabulary: tuple[str, ...] | None
    _prefixes_at_once = 8192  # tokens of several pictures in one pass, whose keys and values it copies: bounds memory
    _tokens_of_several = _TOKENS_AT_ONCE  # of phrases and questions in one pass over several pictures

    def _know(
        self,
        vocabulary: Sequence[str] | None,
        taught: Sequence[str],
        calibration: Mapping[str, float],
        thresholds: Mapping[str, float],
        eos: int | Sequence[int] | None,
    ) -> None:
        """Set what a configuration says of names, scores and ends, and what lessons teach."""
        self.cache = EncodingCache(self.cache_bytes)
        self.calibration = Calibration(**calibration)
        self.vocabulary = None if vocabulary is None else tuple(dict.fromkeys([*vocabulary, *taught]))
        self.taught: frozenset[str] = frozenset(taught).difference(vocabulary or ())
        self.thresholds: dict[str, float] = {**THRESHOLDS, **thresholds}
        self.max_regions: int = self.processor.settings.max_regions
        others = [] if eos is None else [eos] if isinstance(eos, int) else eos
        self.stop_ids = frozenset([self.processor.stop_id, *others])

    # --- what an engine does -----------------------------------------------------------------------------------

    @property
    @abstractmethod
    def proposes(self) -> bool:
        """Whether the model finds boxes by itself."""

    @abstractmethod
    def _encode(self, image: LoadedImage, proposals: Regions | None) -> SceneEncoding: ...
    @abstractmethod
    def _given(self, encoding: SceneEncoding, boxes: np.ndarray) -> SceneEncoding:
        """The same picture with other boxes, whose objectness is 1."""

    @abstractmethod
    def _match(self, encodings: Sequence[SceneEncoding], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """What the model itself says of each picture's phrases, at least one and one region, [P, R]."""

    @abstractmethod
    def _prefix(self, encodings: Sequence[SceneEncoding]) -> Any:
        """The beginning of a prompt about several pictures, or about none."""

    @abstractmethod
    def _write(self, prefixes: Sequence[Any], questions: Sequence[Sequence[Any]], max_new_tokens: int) -> list[Any]:
        """Ids that continue each question [Q] behind its prefix, in one pass a token."""

    @abstractmethod
    def reader(self) -> Callable[[list[int]], Any]:
        """What reads one text without pictures as it grows: new ids → logits [V] of the id that follows."""

    @abstractmethod
    def _match_without(
        self, encoding: SceneEncoding, phrases: Sequence[str], silenced: Sequence[Collection[str]]
    ) -> list[np.ndarray]:
        """What the model itself says [P, R] of the regions of one prompt, for each of `silenced`."""

    @abstractmethod
    def _looks(self, encoding: SceneEncoding) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """States [n, d] and tokens [n, d] of the regions of one prompt, and logits [n] of how well their boxes fit."""

    # --- pictures ----------------------------------------------------------------------------------------------

    def encode(self, image: LoadedImage | Image.Image, proposals: Regions | None = None) -> SceneEncoding:
        """Run the towers once, and read picture and regions.

        Args:
            image: the picture.
            proposals: boxes to look at; None: the model proposes its own. Of more than `MOST_REGIONS` the best are
                kept; those that are more than `max_regions` are read in several prompts. The encoding's note says so.

        Raises:
            InputError: no proposals are given and the model cannot make any.
        """
        loaded = image if isinstance(image, LoadedImage) else load_image(image)
        if proposals is None and not self.proposes:
            raise no_proposals(self.name)
        boxes, scores = (None, None) if proposals is None else (proposals.boxes, proposals.scores)
        key = encoding_key(loaded.sha256, boxes, scores, self.fingerprint)
        return self.cache.get_or_make(key, lambda: self._encode(loaded, proposals))

    def with_boxes(self, encoding: SceneEncoding, boxes: Any) -> SceneEncoding:
        """The same picture with other boxes [M, 4], drawn by hand: no tower runs again. Their objectness is 1."""
        return self._given(encoding, check_boxes(boxes))

    def encode_many(
        self, images: Sequence[LoadedImage | Image.Image], proposals: Sequence[Regions | None] | None = None
    ) -> list[SceneEncoding]:
        """`encode` for several pictures; proposals are of each, or None for the model's own.

        One after the other: towers are bound by arithmetic, which is no cheaper for several pictures together.
        """
        given = [None] * len(images) if proposals is None else proposals
        return [self.encode(*pair) for pair in zip(images, given, strict=True)]

    def _kept(self, boxes: np.ndarray, scores: np.ndarray, source: str) -> tuple[np.ndarray, np.ndarray, str]:
        """The boxes [N, 4] and scores [N] that are looked at, numbered as they will be, and a note if some are not."""
        kept, note = self.processor.keep_best(scores, max(MOST_REGIONS, self.max_regions))
        if source != "given":  # whoever gave the boxes has numbered them
            kept = kept[self.processor.reading_order(boxes[kept])]
        return boxes[kept], scores[kept], note

    def _by_prompts(self, encoding: SceneEncoding, read: Callable[[np.ndarray, Any], tuple[Any, Any]]) -> SceneEncoding:
        """An encoding whose boxes the language model has read, in one prompt if it holds them.

        Args:
            encoding: what was made of all boxes; `prefix` is what was read of another prompt about the same picture,
                or None.
            read: positions of boxes, and such a prefix → the prefix of their prompt, and the match head's keys.
        """
        chunks, note = self.processor.chunks(encoding.objectness)
        made, known = [], encoding.prefix
        for places in chunks:
            made.append(read(places, known))
            known = made[0][0]
        whole = replace(encoding, prefix=made[0][0], match_keys=made[0][1])
        if len(chunks) == 1:
            return whole
        parts = [
            Chunk(
                places,
                replace(
                    whole,
                    boxes=encoding.boxes[places],
                    objectness=encoding.objectness[places],
                    region_vectors=encoding.region_vectors[places],
                    region_tokens=encoding.region_tokens[places],
                    prefix=prefix,
                    match_keys=keys,
                    matched={},
                ),
            )
            for places, (prefix, keys) in zip(chunks, made, strict=True)
        ]
        notes = [one for one in (encoding.note, note) if one]
        return replace(whole, note="; ".join(notes), chunks=tuple(parts))

    # --- phrases and regions -----------------------------------------------------------------------------------

    def match(self, encoding: SceneEncoding, phrases: Sequence[str]) -> np.ndarray:
        """Probability that region n is what phrase p says, [P, N] float64; phrases asked before cost nothing.

        Raises:
            InputError: a phrase is longer than any phrase is.
        """
        return self.match_many([encoding], [phrases])[0]

    def match_many(self, encodings: Sequence[SceneEncoding], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """`match` for several pictures, each with phrases of its own, in one pass.

        Args:
            encodings: the pictures; one may be there several times.
            phrases: a list of phrases for each.

        Raises:
            InputError: a phrase is longer than any phrase is.
        """
        new: dict[int, tuple[SceneEncoding, dict[str, None]]] = {}
        rows: list[dict[str, np.ndarray]] = []
        for encoding, asked in zip(encodings, phrases, strict=True):
            rows.append({one: row for one in asked if (row := self._recalled(encoding, one)) is not None})
            _, wanted = new.setdefault(id(encoding), (encoding, {}))
            wanted.update({one: None for one in asked if one not in rows[-1]} if len(encoding) else {})
        pairs = [(encoding, list(wanted)) for encoding, wanted in new.values() if wanted]
        found = {id(pair[0]): made for pair, made in zip(pairs, self._learned(pairs), strict=True)}
        return [
            np.stack([{**known, **found.get(id(encoding), {})}[one] for one in asked])
            if len(encoding) and len(asked)
            else np.zeros((len(asked), len(encoding)))
            for encoding, asked, known in zip(encodings, phrases, rows, strict=True)
        ]

    def _learned(self, pairs: Sequence[tuple[SceneEncoding, list[str]]]) -> list[dict[str, np.ndarray]]:
        """New phrases of each picture and their rows [N], which are kept."""
        read = [(prompt.encoding, phrases) for one, phrases in pairs if one.read for prompt in one.prompts]
        said = iter(self._match([one for one, _ in read], [phrases for _, phrases in read]) if read else [])
        made = []
        for encoding, phrases in pairs:
            own = np.zeros((len(phrases), encoding.read))
            for prompt in encoding.prompts if encoding.read else ():
                own[:, prompt.places] = next(said)
            made.append(dict(zip(phrases, self._with_taught(encoding, phrases, own), strict=True)))
            if len(encoding.matched) > _PHRASES_KEPT:
                encoding.matched.clear()
            encoding.matched.update(made[-1])
        return made

    def match_without(
        self, encoding: SceneEncoding, phrases: Sequence[str], silenced: Sequence[Collection[str]]
    ) -> list[np.ndarray]:
        """`match` by some of the match head's terms alone, to measure what the others add.

        Args:
            encoding, phrases: as for `match`; the phrases are read once.
            silenced: for each result the terms (`MatchHead.TERMS`) whose weight is taken for zero. What lessons say has
                no such terms, and stays.

        Raises:
            InputError: the model has no match head.
        """
        rows = [np.zeros((len(phrases), encoding.read)) for _ in silenced]
        for prompt in encoding.prompts if encoding.read and phrases else ():
            found = self._match_without(prompt.encoding, phrases, silenced)
            for row, own in zip(rows, found, strict=True):
                row[:, prompt.places] = own
        return [self._with_taught(encoding, phrases, row) for row in rows]

    def recalled(self, encoding: SceneEncoding, phrases: Sequence[str]) -> np.ndarray | None:
        """What `match` gives, if that needs no pass of the model; else None."""
        if not len(encoding) or not phrases:
            return np.zeros((len(phrases), len(encoding)))
        rows = [self._recalled(encoding, phrase) for phrase in phrases]
        known = [row for row in rows if row is not None]
        return np.stack(known) if len(known) == len(rows) else None

    def _recalled(self, encoding: SceneEncoding, phrase: str) -> np.ndarray | None:
        # What only lessons know never goes through the model, not even beside other phrases: in a batch of another
        # shape their last bits would be others.
        return (encoding.taught if phrase in self.taught else encoding.matched).get(phrase)

    def labels(self, encoding: SceneEncoding) -> tuple[list[str | None], np.ndarray]:
        """Best name of each region and its probability [N]; for an open model no names, and the objectness."""
        if self.vocabulary is None or not len(encoding):
            return [None] * len(encoding), encoding.objectness.copy()
        probability = self.match(encoding, self.vocabulary)
        return [self.vocabulary[k] for k in probability.argmax(axis=0)], probability.max(axis=0)

    def similar(self, encoding: SceneEncoding, index: int) -> np.ndarray:
        """Probability that each region is of the same category as region `index`, [N].

        Raises:
            InputError: there is no such region.
        """
        return self.similar_many([encoding], [index])[0]

    def similar_many(self, encodings: Sequence[SceneEncoding], indexes: Sequence[int]) -> list[np.ndarray]:
        """`similar` for a region of each of several pictures, in one pass; a picture may be there several times.

        Raises:
            InputError: there is no such region.
        """
        for encoding, index in zip(encodings, indexes, strict=True):
            if not 0 <= index < len(encoding):
                raise InputError(f"No region {index}; the picture has {len(encoding)}.")
        same = self._same_kinds(encodings, indexes)
        for row, index in zip(same, indexes, strict=True):
            row[index] = 1.0
        return same

    def _same_kinds(self, encodings: Sequence[SceneEncoding], indexes: Sequence[int]) -> list[np.ndarray]:
        """`similar_many` by the names that the model knows."""
        known = self.named_many(encodings)
        return [like(rows, rows[:, index]) for rows, index in zip(known, indexes, strict=True)]

    def named_many(self, encodings: Sequence[SceneEncoding]) -> list[np.ndarray]:
        """What `match_many` gives of each picture for every name that the model knows, [V, N]."""
        return self.match_many(encodings, [self.vocabulary or ()] * len(encodings))

    # --- regions of several pictures -----------------------------------------------------------------------------

    @property
    def compares(self) -> bool:
        """Whether regions of several pictures can be compared: by names, or by numbers that were fitted."""
        return self.vocabulary is not None or self.likeness is not None

    def vectors(self, encoding: SceneEncoding, index: int) -> dict[str, np.ndarray]:
        """What is compared of a region, float32 by name, for `alike`.

        Raises:
            ToolFailed: nothing is.
        """
        return self.seen(encoding).vectors(index)

    def alike(self, encoding: SceneEncoding, likes: likeness.Vectors, unlikes: likeness.Vectors = ()) -> np.ndarray:
        """Probability [N] that each region is of the kind of examples, which may be of other pictures.

        Args:
            encoding: the picture.
            likes: `vectors` of regions of this kind, at least one.
            unlikes: `vectors` of regions that are not.

        Raises:
            ToolFailed: the model compares nothing.
            InputError: the examples know other names, or hold vectors that are none of this model's.
        """
        seen = self.seen(encoding)
        if lengths := {len(one.get("names", ())) for one in (*likes, *unlikes)} - {seen.names.shape[1]}:
            raise InputError(
                f"An example knows {min(lengths)} names, {self.name} here {seen.names.shape[1]}. Make it anew, with "
                "the model and the detectors that it is to be compared by."
            )
        for one in (*likes, *unlikes):
            if fault := seen.fault(one):
                raise InputError(f"An example {fault}. Make it anew, with the model that it is to be compared by.")
        return likeness.alike(seen, likes, unlikes, self.likeness)

    def seen(self, encoding: SceneEncoding) -> likeness.Seen:
        """What is compared of a picture's regions.

        Raises:
            ToolFailed: nothing is.
        """
        if not self.compares:
            raise ToolFailed(
                f"{self.name} has no names, and nothing was fitted by which it could compare regions of several "
                "pictures. Pass one region of the same picture, or a phrase."
            )
        names = self.match(encoding, self.vocabulary or ()).T
        n, width = encoding.read, encoding.region_tokens.shape[-1]
        states, tokens, fit = np.zeros((n, width)), np.zeros((n, width)), np.zeros(n)
        for prompt in encoding.prompts if n else ():
            states[prompt.places], tokens[prompt.places], fit[prompt.places] = self._looks(prompt.encoding)
        return likeness.Seen(names, states, tokens, fit)

    def _with_taught(self, encoding: SceneEncoding, phrases: Sequence[str], rows: np.ndarray) -> np.ndarray:
        """What the model itself says [P, R] together with what lessons say of taught names, [P, N].

        A name that the model had before is found where either finds it; phrases that are not taught name none of the
        boxes that only lessons found.
        """
        if not encoding.taught:
            return rows
        whole = np.zeros((len(phrases), len(encoding)))
        for row, phrase, own in zip(whole, phrases, rows, strict=True):
            if phrase not in self.taught:
                row[: encoding.read] = own
            if phrase in encoding.taught:
                row[:] = either(row, encoding.taught[phrase])
        return whole

    # --- words -------------------------------------------------------------------------------------------------

    def generate(self, about: About, text: str, max_new_tokens: int = 256) -> str:
        """The model's raw reply to a question, for `prompts.parse`.

        Args:
            about: one picture, whose prefix is reused; several, whose regions are numbered through in their order; or
                none (`[]`), for words alone.
            text: the question; `<regionN>` in it refers to regions. Of a picture that is read in several prompts it is
                asked in the one that holds the regions it speaks of, else in the first.
            max_new_tokens: of the reply.

        Raises:
            InputError: the question is too long, or speaks of more regions than a prompt holds.
        """
        return self.generate_many([about], [text], max_new_tokens)[0]

    def generate_many(
        self, about: SceneEncoding | Sequence[About], texts: Sequence[str], max_new_tokens: int = 256
    ) -> list[str]:
        """`generate` for many questions, about one picture or many, decoded together.

        Args:
            about: the picture that all questions are about; or, for each of them, what `generate` takes.
            texts: the questions.
            max_new_tokens: of each reply.

        Raises:
            InputError: as for `generate`, or there are not as many of `about` as questions.
        """
        abouts: Sequence[About] = [about] * len(texts) if isinstance(about, SceneEncoding) else about
        if len(abouts) != len(texts):
            raise InputError(
                f"generate_many got {len(texts)} questions about {len(abouts)} pictures. Pass one of each."
            )
        groups: dict[tuple[int, ...], _Group] = {}
        numberings: list[Numbering | None] = []
        for place, (one, text) in enumerate(zip(abouts, texts, strict=True)):
            seen, text, numbering = self._about(one, text)
            question = self.processor.question_ids([encoding.read for encoding in seen], text)
            group = groups.setdefault(tuple(map(id, seen)), _Group(seen, [], []))
            group.questions.append(at_most(LONGEST_QUESTION, question, text))
            group.places.append(place)
            numberings.append(numbering)
        replies = [""] * len(texts)
        asked = list(groups.values())
        for parts in self._passes([group.length for group in asked], [group.questions for group in asked]):
            prefixes = [self._begun(asked[number].seen) for number, _ in parts]
            questions = [asked[number].questions[part] for number, part in parts]
            places = [place for number, part in parts for place in asked[number].places[part]]
            for place, ids in zip(places, self._write(prefixes, questions, max_new_tokens), strict=True):
                reply, numbering = self.processor.decode(ids), numberings[place]
                replies[place] = reply if numbering is None else numbering.heard(reply)
        return replies

    def _passes(self, lengths: Sequence[int], branches: Sequence[Sequence[B]]) -> Iterator[list[tuple[int, slice]]]:
        """Which branches are read in one pass, so many together that it keeps a small mask and copies few prefixes.

        Args:
            lengths: tokens of each prefix.
            branches: those of each prefix.

        Yields:
            For one pass the numbers of prefixes, rising, and which of their branches are read, all in order.
        """
        parts: list[tuple[int, slice]] = []
        tokens = before = 0
        for number, (length, own) in enumerate(zip(lengths, branches, strict=True)):
            many = tokens + sum(map(len, own)) > self._tokens_of_several
            for k, branch in enumerate(own):
                on = bool(parts) and parts[-1][0] == number
                apart = not on and (many or before + length > self._prefixes_at_once)
                if parts and (apart or tokens + len(branch) > _TOKENS_AT_ONCE):
                    yield parts
                    parts, tokens, before, on = [], 0, 0, False
                first = parts.pop()[1].start if on else k
                parts.append((number, slice(first, k + 1)))
                tokens, before = tokens + len(branch), before + (0 if on else length)
        if parts:
            yield parts

    def _begun(self, encodings: Sequence[SceneEncoding]) -> Any:
        """The beginning of a prompt about pictures; that of one is there already."""
        return encodings[0].prefix if len(encodings) == 1 else self._prefix(encodings)

    def _about(self, about: About, text: str) -> tuple[list[SceneEncoding], str, Numbering | None]:
        """What a question is asked about, its text there, and how regions are numbered there, if not as for the caller.

        Of each of several pictures the first prompt is taken.
        """
        seen = [about] if isinstance(about, SceneEncoding) else list(about)
        if len(seen) == 1:
            one, text, numbering = self._readable(seen[0], text)
            return [one], text, numbering
        if not any(one.chunks for one in seen):
            return seen, text, None
        first = np.cumsum([0, *(one.read for one in seen)])
        prompts = [one.prompts[0] for one in seen]
        numbers = np.concatenate([start + prompt.places for start, prompt in zip(first, prompts, strict=False)])
        numbering = Numbering(numbers, int(first[-1]))
        if lost := [k for k in mentioned(text, numbering.total) if k not in numbers]:
            raise InputError(
                f"The question about {len(seen)} pictures speaks of region {lost[0]}, which is not among the best "
                f"{self.max_regions} of its picture, all that is read then. Ask about its picture alone."
            )
        return [prompt.encoding for prompt in prompts], numbering.said(text), numbering

    def _readable(self, encoding: SceneEncoding, text: str) -> tuple[SceneEncoding, str, Numbering | None]:
        """As `_about`, of one picture: its prompt that holds all regions which the question speaks of.

        If none does, because they stand in several or lessons found them, a prompt is made in which they take the
        places of the last of the best.
        """
        asked = mentioned(text, len(encoding))
        for prompt in encoding.prompts:
            if set(asked) <= set(prompt.places.tolist()):
                numbering = Numbering(prompt.places, len(encoding)) if encoding.chunks else None
                return prompt.encoding, text if numbering is None else numbering.said(text), numbering
        kept = self.max_regions - len(asked)
        if kept < 0:
            raise InputError(f"The question speaks of {len(asked)} regions; {self.name} reads {self.max_regions}.")
        best = encoding.prompts[0].places
        numbers = np.concatenate([best[~np.isin(best, asked)][:kept], asked])
        numbering = Numbering(numbers, len(encoding))
        return self.with_boxes(encoding, encoding.boxes[numbers]), numbering.said(text), numbering


@dataclass(frozen=True)
class Numbering:
    """Regions of a prompt that are numbered otherwise than for the caller.

    Attributes:
        numbers: [n] the caller's number of each region of the prompt.
        total: how many regions the caller knows.
    """

    numbers: np.ndarray
    total: int

    def said(self, text: str) -> str:
        """A question as the prompt says it."""
        places = {number: place for place, number in enumerate(self.numbers.tolist())}
        return _renumbered(text, lambda number: places.get(number, number))

    def heard(self, text: str) -> str:
        """A reply as the caller reads it; a region that the prompt does not have is none for the caller either."""
        numbers = self.numbers.tolist()
        return _renumbered(text, lambda place: numbers[place] if place < len(numbers) else place + self.total)


@dataclass
class _Group:
    """Questions [Q] about the same pictures, and their places among all that were asked."""

    seen: list[SceneEncoding]
    questions: list[Any]
    places: list[int]

    @property
    def length(self) -> int:
        """About how many tokens the pictures take."""
        return sum(encoding.prefix.length for encoding in self.seen)


def mentioned(text: str, count: int) -> list[int]:
    """The regions, of so many, that a text mentions, each once, in order."""
    return sorted({k for number in _MENTION.findall(text) if (k := int(number)) < count})


def _renumbered(text: str, number: Callable[[int], int]) -> str:
    return _MENTION.sub(lambda found: f"<region{number(int(found[1]))}>", text)


def no_proposals(name: str) -> InputError:
    """The error of a model, so called, that is to find boxes and cannot."""
    return InputError(f"{name} makes no proposals of its own. {WITH_BOXES}")


def at_most(limit: int, ids: B, text: str) -> B:
    """The ids, if they are no more than `limit`."""
    if len(ids) > limit:
        raise InputError(f"“{text[:40]}…” is {len(ids)} tokens long; at most {limit} are read.")
    return ids


def like(rows: np.ndarray, example: np.ndarray) -> np.ndarray:
    """Probability [N] that regions are of the same category as an example.

    Args:
        rows: [V, N] of every name.
        example: [V], of the example.
    """
    # Squared, the likely names of the example count, the many unlikely ones do not.
    belief = example**2
    return belief @ rows / max(float(belief.sum()), 1e-12)


def either(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Probability that one of two things holds which know nothing of each other."""
    return 1 - (1 - p) * (1 - q)
