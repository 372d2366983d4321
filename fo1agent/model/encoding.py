"""`SceneEncoding`, what is computed once for a picture and its boxes, and the cache that keeps the latest ones.

Everything a later question needs is here: tower output, region vectors and tokens, and the decoder's prefix. The cache
is bounded in bytes and drops what was used longest ago.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from fo1agent.model.frames import ImageSizes, PictureTokens, TowerFeatures

E = TypeVar("E", bound=Any)
Array = Any  # a tensor, or a numpy array: what the engine computes with


@dataclass
class ImageFeatures:
    """What the towers saw in one image; boxes come later.

    Attributes:
        picture: its tokens.
        sizes: the image's sizes in every frame.
        aux: maps of the auxiliary tower, with the size of its main view.
        primary: the primary tower's map [1, C, h, w]; None when regions do not look at that tower.
        candidates: what a detector inside the auxiliary tower saw, or None.
        pyramid: SimpleFP's levels of the auxiliary tower's last map; None when regions read the maps themselves.
    """

    picture: PictureTokens
    sizes: ImageSizes
    aux: TowerFeatures
    primary: TowerFeatures | None = None
    candidates: Any = field(default=None, repr=False)
    pyramid: TowerFeatures | None = None

    @property
    def image_tokens(self) -> Array:
        """[T, d], in the order in which they are read."""
        return self.picture.tokens

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Rows and columns that the image tokens are spread over."""
        return self.picture.grid_hw

    @property
    def primary_map(self) -> Array | None:
        """Map of the primary tower, or None."""
        return None if self.primary is None else self.primary.maps[0]

    @property
    def aux_maps(self) -> list[Array]:
        """Maps of the auxiliary tower, each [1, C, H, W]."""
        return self.aux.maps

    def tensors(self) -> list[Array]:
        """Every tensor held, for counting bytes."""
        held = [self.image_tokens, *self.picture.extras, *self.aux.maps]
        for made in (self.primary, self.pyramid):
            held += made.maps if made else ()
        if self.candidates is not None:
            held += [*self.candidates.boxes, *self.candidates.logits]
        return held


@dataclass
class SceneEncoding:
    """A picture with its boxes, as the model keeps it. Only the first four fields are for everyone.

    The language model has read the first R boxes; behind them stand those that lessons found. Without lessons R is N.
    Boxes that are more than one prompt holds are read in several, which are `chunks`; words about the whole picture,
    and what stands in `prefix` and `match_keys`, are then of the first, which holds the best.

    Attributes:
        boxes: [N, 4] float64 xyxy pixels of the original picture; region n is `<region n>`.
        objectness: [N] float64 in 0..1.
        note: what a person should be told, or "".
        source: who made the boxes.
        features: what the towers saw.
        region_vectors: [R, F].
        region_tokens: [R, d].
        prefix: the decoder's keys and values of picture and regions.
        match_keys: what the match head compares phrases with; None for a model without one.
        matched: phrase → [N] probabilities already computed.
        taught: name → [N] probabilities by the lessons; of each name that one teaches.
        chunks: the prompts of a picture that has several; else none.
    """

    boxes: np.ndarray
    objectness: np.ndarray
    note: str
    source: str
    features: ImageFeatures = field(repr=False)
    region_vectors: Array = field(repr=False)
    region_tokens: Array = field(repr=False)
    prefix: Any = field(repr=False)
    match_keys: Any = field(default=None, repr=False)
    matched: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    taught: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    chunks: tuple[Chunk, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def read(self) -> int:
        """R, how many boxes the language model has read."""
        return len(self.region_tokens)

    @property
    def prompts(self) -> tuple[Chunk, ...]:
        """The boxes that were read, by prompt: `chunks`, or this encoding itself."""
        return self.chunks or (Chunk(np.arange(self.read), self),)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors kept, and of the probabilities."""
        tensors = [*self.features.tensors(), self.region_vectors, self.region_tokens]
        for prompt in self.prompts:
            tensors += prompt.encoding.match_keys.tensors() if prompt.encoding.match_keys is not None else ()
        read = sum(prompt.encoding.prefix.nbytes for prompt in self.prompts)
        return sum(t.nbytes for t in tensors) + read + 8 * len(self.matched) * len(self)

    def lightened(self, again: Callable[[], SceneEncoding]) -> SceneEncoding:
        """Boxes and what was judged of them, without what new words need, for which `again` makes all of it anew."""
        return _Light(self, again)

    def thickened(self) -> SceneEncoding:
        """An encoding that takes new words, and keeps what is judged here."""
        return self


class _Light(SceneEncoding):
    """What is left of an encoding that is made anew for new words."""

    def __init__(self, kept: SceneEncoding, again: Callable[[], SceneEncoding]) -> None:
        self.boxes, self.objectness, self.note, self.source = kept.boxes, kept.objectness, kept.note, kept.source
        self.matched, self.taught, self._read, self._again = kept.matched, kept.taught, kept.read, again

    @property
    def read(self) -> int:
        return self._read

    @property
    def nbytes(self) -> int:
        return self.boxes.nbytes + self.objectness.nbytes + 8 * (len(self.matched) + len(self.taught)) * len(self)

    def thickened(self) -> SceneEncoding:
        return replace(self._again(), matched=self.matched, taught=self.taught)


@dataclass(frozen=True)
class Chunk:
    """Boxes of a picture that stand in one prompt.

    Attributes:
        places: [n] which of the picture's boxes they are, rising.
        encoding: of these boxes alone; of its tensors only `prefix` and `match_keys` are its own.
    """

    places: np.ndarray
    encoding: SceneEncoding


def encoding_key(sha256: str, boxes: np.ndarray | None, scores: np.ndarray | None, fingerprint: str) -> str:
    """Cache key of a picture's whole content hash, the boxes given (None: the model's own), and the weights."""
    digest = hashlib.sha256(f"{sha256} {fingerprint}".encode())
    for array in (boxes, scores):
        digest.update(b"own" if array is None else np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return digest.hexdigest()


class EncodingCache:
    """The latest encodings, at most `max_bytes` in all. Safe to share between threads."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get_or_make(self, key: str, make: Callable[[], E]) -> E:
        """The kept encoding, or a new one, which is then kept unless it alone is larger than the cache."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()  # outside the lock: two threads may make the same one, none waits for another picture's
        with self._lock:
            self._kept[key] = made
            while self._kept and self.nbytes > self.max_bytes:
                self._kept.popitem(last=False)
        return made

    def __iter__(self) -> Iterator[Any]:
        """The kept encodings, those used longest ago first."""
        with self._lock:
            return iter(list(self._kept.values()))

    @property
    def nbytes(self) -> int:
        """Bytes of all encodings kept."""
        return sum(encoding.nbytes for encoding in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)
