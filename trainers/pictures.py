"""Where a stage's pictures come from: kept features of frozen towers, or the pictures themselves, seen anew every step.

    Cached    a `FeatureStore`: region vectors of frozen towers, nothing is opened
    Live      examples are opened, augmented and given boxes in worker threads; the towers run in the step, with
              gradients where a part of them trains; what frozen towers see may be kept on disk

A feed opens the n-th picture of an endless row (any thread, a function of n and the generator alone) and later looks at
it (in the step). It knows nothing of questions or losses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fo1agent.errors import TrainingError
from fo1agent.model.fo1 import FO1, ImageFeatures
from fo1agent.model.frames import ImageInputs, PictureTokens
from fo1agent.model.processing import FO1Processor
from fo1agent.model.region_encoder import TowerFeatures
from fo1agent.pictures.image import load_image
from fo1agent.proposals import Proposer
from fo1agent.regions.boxes import clip
from fo1agent.trainers.data.augment import AugmentRecipe, augment
from fo1agent.trainers.data.features import ANNOTATED, JITTERED, PROPOSAL, Picture, PictureStore, jitter
from fo1agent.trainers.data.records import Example
from fo1agent.trainers.kept import KeptViews, weights_hash

MOST_KEPT = 50 << 30  # bytes of what frozen towers see
RANDOM_BOXES = 12  # that show nothing in particular, where no proposer gives such


class View(Protocol):
    """An opened picture: its annotations, and boxes [R, 4] with their kinds [R] (see `features.Picture`)."""

    @property
    def image(self) -> Example: ...
    @property
    def boxes(self) -> np.ndarray: ...
    @property
    def kind(self) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Seen:
    """What the towers saw of one picture and its chosen boxes.

    Attributes:
        picture: its tokens; None for words without a picture.
        vectors: [N, F] float32 region vectors.
    """

    picture: PictureTokens | None
    vectors: Tensor


class Feed(Protocol):
    """An endless row of pictures."""

    def example(self, number: int) -> Example:
        """The annotations of the `number`-th picture, which is not opened."""
        ...

    def open(self, number: int, rng: np.random.Generator) -> View:
        """The `number`-th picture with its boxes. Any thread may call it."""
        ...

    def look(self, view: Any, chosen: np.ndarray) -> Seen:
        """Run what is left to run of the towers; `chosen` holds positions of the view's boxes."""
        ...


def shuffled(count: int, seed: int) -> Callable[[int], int]:
    """The endless row that visits each of `count` positions once an epoch, in a new order every time."""
    kept: dict[int, np.ndarray] = {}

    def position(number: int) -> int:
        epoch, place = divmod(number, count)
        if epoch not in kept:
            if len(kept) > 1:
                kept.clear()
            kept[epoch] = np.random.default_rng((seed, 1, epoch)).permutation(count)
        return int(kept[epoch][place])

    return position


class Cached:
    """Pictures out of a feature store.

    Args:
        store: features of the frozen towers.
        model, processor: whose towers they were.
        pictures: positions in the store to train on.
        seed: decides the order.
    """

    def __init__(
        self,
        store: PictureStore,
        model: FO1,
        processor: FO1Processor,
        pictures: Sequence[int],
        seed: int,
    ) -> None:
        self.store, self.model, self.processor = store, model, processor
        self.pictures = tuple(pictures)
        self._order = shuffled(len(self.pictures), seed)

    def example(self, number: int) -> Example:
        return self.store[self.pictures[self._order(number)]].image

    def open(self, number: int, rng: np.random.Generator) -> Picture:
        return self.store[self.pictures[self._order(number)]]

    def look(self, view: Picture, chosen: np.ndarray) -> Seen:
        vectors = torch.from_numpy(view.vectors[chosen].astype(np.float32)).to(self.model.device)
        return Seen(see_patches(self.model, view), vectors)


def see_patches(model: FO1, picture: Picture) -> PictureTokens:
    """The tokens of kept patches."""
    pixels = torch.from_numpy(picture.pixel_values.astype(np.float32)).to(model.device)
    kept = model.adapter.kept_input(pixels, picture.grid_hw, model.config.base_config)
    seen = model.adapter.encode_image(model.base, kept, False)
    return PictureTokens(model.image_projector(seen.tokens), kept.merged_hw, extras=seen.extras)


# --- live --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LivePicture:
    """A picture that was opened; see `View`. Without a picture (words alone) `inputs` is None."""

    image: Example
    boxes: np.ndarray
    kind: np.ndarray
    inputs: ImageInputs | None


def pictured(view: View) -> bool:
    """Whether there is a picture at all, and not words alone."""
    return not isinstance(view, LivePicture) or view.inputs is not None


class Examples(Protocol):
    """An endless row of examples; a `Mixture` is one. Any thread may ask."""

    def __getitem__(self, position: int, /) -> Example: ...
    def open(self, position: int, /) -> tuple[Example, Image.Image]: ...


Boxes = Callable[[Example, Image.Image, ImageInputs, np.random.Generator], np.ndarray]
"""Makes a picture's proposals [N, 4], xyxy pixels, in the order of the prompt."""


class Live:
    """Pictures opened and seen every step.

    Args:
        model, processor: whose towers look.
        examples: what there is to see.
        boxes: makes the proposals.
        changes: how pictures are changed; None leaves them.
        cache: keeps what frozen towers see; only of unchanged pictures.
    """

    def __init__(
        self,
        model: FO1,
        processor: FO1Processor,
        examples: Examples,
        boxes: Boxes,
        changes: AugmentRecipe | None = None,
        cache: FrozenViews | None = None,
    ) -> None:
        self.model, self.processor, self.examples, self.cache = model, processor, examples, cache
        self._boxes, self._changes = boxes, changes

    def example(self, number: int) -> Example:
        return self.examples[number]

    def open(self, number: int, rng: np.random.Generator) -> LivePicture:
        example = self.examples[number]
        if example.path is None and example.data is None:
            return LivePicture(example, np.zeros((0, 4), np.float32), np.zeros(0, np.uint8), None)
        example, image = self.examples.open(number)
        if self._changes is not None:
            image, example = augment(image, example, self._changes, rng)
        inputs = self.processor.image(image)
        annotated = example.boxes[~example.crowd]
        parts = [
            self._boxes(example, image, inputs, rng)[: self.processor.settings.max_regions],
            annotated,
            jitter(annotated, image.size, rng),
        ]
        kind = np.repeat(np.array([PROPOSAL, ANNOTATED, JITTERED], np.uint8), [len(part) for part in parts])
        return LivePicture(example, np.concatenate(parts).astype(np.float32), kind, inputs)

    def look(self, view: LivePicture, chosen: np.ndarray) -> Seen:
        model = self.model
        if view.inputs is None:
            return Seen(None, torch.zeros(0, model.region_encoder.size, device=model.device))
        if self.cache is None:
            features = model.encode_image(view.inputs)
        else:
            features = self.cache.features(view.image, view.inputs)
        # Where a box reads from is arithmetic on pixels: half precision would move it.
        with torch.autocast(model.device.type, enabled=False):
            vectors = model.region_vectors(features, torch.from_numpy(view.boxes[chosen]))
        return Seen(features.picture, vectors)


class OwnBoxes:
    """The model's own proposals, by its tower as it was at the start, whatever trains later.

    Raises:
        TrainingError: the model proposes nothing.
    """

    def __init__(self, model: FO1, tower_trains: bool) -> None:
        if not model.proposes:
            raise TrainingError(
                "The model makes no boxes of its own. Set `boxes` to a proposer (nano, given, transformers:…) in the "
                "recipe, or train it a proposal head first (fo1agent train proposals)."
            )
        self._model = model
        if tower_trains:
            self._model = copy(model)
            self._model._modules = {**model._modules, "aux": deepcopy(model.aux).eval()}
            self._model._modules["proposal_head"] = deepcopy(model.proposal_head)

    @torch.no_grad()
    def __call__(
        self, example: Example, image: Image.Image, inputs: ImageInputs, rng: np.random.Generator
    ) -> np.ndarray:
        model = self._model
        model.aux.to(model.device)  # a copy does not move with the model
        dtype = next(model.aux.parameters()).dtype
        maps, candidates = model.aux({name: v.to(model.device, dtype) for name, v in inputs.aux_views.items()})
        sizes = inputs.sizes
        nothing = torch.zeros(0, model.config.hidden_size, device=model.device)
        seen = TowerFeatures(maps, sizes.aux_wh)
        features = ImageFeatures(PictureTokens(nothing, (0, 0)), sizes, seen, candidates=candidates)
        found, _ = model.propose(features, 100)
        return found.float().cpu().numpy()


class ProposerBoxes:
    """The boxes of any proposer."""

    def __init__(self, proposer: Proposer | Callable[[Any], Any]) -> None:
        self._proposer = proposer
        self._lock = threading.Lock()  # a detector is rarely made for several threads

    def __call__(
        self, example: Example, image: Image.Image, inputs: ImageInputs, rng: np.random.Generator
    ) -> np.ndarray:
        loaded = load_image(image)
        with self._lock:
            return self._proposer(loaded).boxes


def given_boxes(example: Example, image: Image.Image, inputs: ImageInputs, rng: np.random.Generator) -> np.ndarray:
    """The annotated boxes, shaken copies, and a few that show nothing in particular, in any order."""
    annotated = example.boxes[~example.crowd]
    corners = rng.random((RANDOM_BOXES, 2, 2)) * image.size
    anywhere = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    found = np.concatenate([annotated, jitter(annotated, image.size, rng), anywhere]).astype(np.float32)
    found = clip(found, (image.height, image.width)).astype(np.float32)
    return rng.permutation(found[((found[:, 2:] - found[:, :2]) >= 1).all(axis=1)])


class FrozenViews:
    """What frozen towers see of each picture, kept on disk in half precision as they are first seen.

    A sub-folder belongs to one set of weights and processing, so features of others are never found.

    Args:
        folder: made if missing; a picture of the 3B takes 20 MB and more.
        model: its towers must be frozen.
    """

    def __init__(self, folder: Path, model: FO1) -> None:
        self.model = model
        views = range(len(model.aux.views)) if model.aux.detects else ()
        names = ["tokens", *(f"extra{k}" for k in range(model.adapter.extras(model.config.base_config)))]
        names += [f"map{k}" for k in range(len(model.aux.levels))]
        names += ["primary"] if model.region_encoder.simple_fpn is not None else []
        names += [f"{what}{k}" for what in ("boxes", "logits") for k in views]
        self.folder = folder / towers_fingerprint(model)
        self._kept = KeptViews(self.folder, names, MOST_KEPT)

    def features(self, example: Example, inputs: ImageInputs) -> ImageFeatures:
        """As `FO1.encode_image` gives them."""
        kept = self._kept.get(example, lambda: self._see(inputs))
        return self._restore({name: t.to(self.model.device, self.model.dtype) for name, t in kept.items()}, inputs)

    @torch.no_grad()
    def _see(self, inputs: ImageInputs) -> dict[str, Tensor]:
        seen = self.model.encode_image(inputs)
        kept = {f"map{k}": m for k, m in enumerate(seen.aux.maps)} | {"tokens": seen.image_tokens}
        kept |= {f"extra{k}": extra for k, extra in enumerate(seen.picture.extras)}
        if seen.primary_map is not None:
            kept["primary"] = seen.primary_map
        if seen.candidates is not None:
            for k, (boxes, logits) in enumerate(zip(seen.candidates.boxes, seen.candidates.logits, strict=True)):
                kept |= {f"boxes{k}": boxes, f"logits{k}": logits}
        return kept

    def _restore(self, kept: dict[str, Tensor], inputs: ImageInputs) -> ImageFeatures:
        model, sizes = self.model, inputs.sizes
        count = sum(name.startswith("map") for name in kept)
        views = sum(name.startswith("boxes") for name in kept)
        candidates = None
        if views:
            from fo1agent.model.mobilenet import Candidates

            candidates = Candidates(
                tuple(kept[f"boxes{k}"] for k in range(views)), tuple(kept[f"logits{k}"] for k in range(views))
            )
        primary_map = kept.get("primary")
        primary = None if primary_map is None else TowerFeatures([primary_map], sizes.primary_wh)
        maps = [kept[f"map{k}"] for k in range(count)]
        extras = tuple(kept[f"extra{k}"] for k in range(model.adapter.extras(model.config.base_config)))
        picture = PictureTokens(kept["tokens"], inputs.merged_hw, inputs.ids, extras)
        pyramid = model.region_encoder.pyramid(maps, sizes.aux_wh)
        seen = TowerFeatures(maps, sizes.aux_wh)
        return ImageFeatures(picture, sizes, seen, primary, candidates, pyramid)


def towers_fingerprint(model: FO1) -> str:
    """Hash of all that decides what the towers see: their weights, the projector's, and the processing."""
    parts = {"aux": model.aux, "visual": model.adapter.vision_tower(model.base), "projector": model.image_projector}
    tensors = ((f"{name}.{key}", t) for name, part in parts.items() for key, t in sorted(part.state_dict().items()))
    return weights_hash(tensors, repr((model.config.aux, model.config.processing, str(model.dtype))))
