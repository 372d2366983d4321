"""What the frozen towers see in each training picture, computed once and kept on disk.

For every picture, and for its mirror image: the model's own proposals, the annotated boxes, and jittered copies of
those, each with its region vector; and the primary tower's patches. A stage then reads vectors instead of running
towers, so an epoch costs only the language model. A store lies in a folder named by its `fingerprint`, so that what
other weights saw, or of other examples, is never found; a file in it that is damaged is made anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import ImageOps
from torch.utils.data import ConcatDataset, Dataset

from fo1agent.errors import TrainingError
from fo1agent.model.fo1 import FO1
from fo1agent.model.processing import FO1Processor
from fo1agent.trainers.data.ahead import Ahead
from fo1agent.trainers.data.augment import without_sides
from fo1agent.trainers.data.coco import CocoData
from fo1agent.trainers.data.records import Example, open_picture
from fo1agent.trainers.kept import keep, read_kept

PROPOSAL, ANNOTATED, JITTERED = 0, 1, 2
_NAMES = ("entry", "boxes", "kind", "vectors", "pixels", "grid")
JITTER = 0.1  # standard deviation of each side's shift, in box sizes


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture's boxes as the towers saw them.

    Attributes:
        image: its annotations.
        boxes: [R, 4] float32 xyxy pixels of the picture: proposals best first, then annotated, then jittered ones.
        kind: [R] uint8: `PROPOSAL`, `ANNOTATED` or `JITTERED`.
        vectors: [R, F] float16.
        pixel_values: [h * w, 1176] float16 patches of the primary tower.
        grid_hw: patch grid.
    """

    image: Example
    boxes: np.ndarray
    kind: np.ndarray
    vectors: np.ndarray
    pixel_values: np.ndarray
    grid_hw: tuple[int, int]


class FeatureStore(Dataset[Picture]):
    """Features of all pictures of `data`; with mirror images, entry k + n shows picture k mirrored.

    Args:
        folder: where the files of `open_or_build` lie, one an entry.
        data: the pictures.
        fingerprint: what the features depend on.
        mirror: whether their mirror images are there too.
    """

    def __init__(self, folder: Path, data: CocoData, fingerprint: str, mirror: bool = True) -> None:
        self.data, self.fingerprint = data, fingerprint
        self._folder, self._count = folder / fingerprint, len(data.images) * (1 + mirror)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Picture:
        """An entry; each is read, and looked through for damage, when it is asked for.

        Raises:
            TrainingError: it is damaged, or no longer there.
        """
        image, mirrored = self.view(index)
        kept = self.kept(index)
        if kept is None:
            raise TrainingError(f"{self.file(index)} is damaged or gone. Start again: what is missing is made anew.")
        height, width = kept["grid"].tolist()
        boxes, kind, vectors, pixels = (kept[name].numpy() for name in ("boxes", "kind", "vectors", "pixels"))
        example = mirror_example(image) if mirrored else image
        return Picture(example, boxes, kind, vectors, pixels, (height, width))

    def kept(self, index: int) -> dict[str, torch.Tensor] | None:
        """What is kept of an entry; None if it is not there, damaged, or another's."""
        kept = read_kept(self.file(index), _NAMES)
        if kept is None or kept["entry"].tolist() != [index]:
            return None
        shapes, count = {name: list(kept[name].shape) for name in _NAMES}, len(kept["kind"])
        fit = shapes["boxes"] == [count, 4] and shapes["kind"] == [count] and shapes["grid"] == [2]
        fit = fit and [len(shape) for shape in (shapes["vectors"], shapes["pixels"])] == [2, 2]
        patches = int(kept["grid"].prod()) if fit else 0
        return kept if fit and (shapes["vectors"][0], shapes["pixels"][0]) == (count, patches) else None

    def view(self, index: int) -> tuple[Example, bool]:
        """The picture of an entry, and whether it is mirrored."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        mirrored, number = divmod(index, len(self.data.images))
        return self.data.images[number], bool(mirrored)

    def file(self, index: int) -> Path:
        """Where an entry lies."""
        return self._folder / f"{index:07d}.safetensors"


class PictureStore(Protocol):
    """What stages read pictures from; `fingerprint` tells one from others."""

    @property
    def fingerprint(self) -> str: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Picture: ...


class JoinedStores(ConcatDataset[Picture]):
    """Several stores, one after the other."""

    @property
    def fingerprint(self) -> str:
        """Those of all stores."""
        stores: Any = self.datasets
        return " ".join(store.fingerprint for store in stores)


def fingerprint(model: FO1, data: CocoData, mirror: bool = True) -> str:
    """Hash of what the features depend on: frozen weights, how a picture is read, pictures and boxes."""
    config = model.config
    told = [config.aux, config.region, config.processing, config.heads.get("proposal"), mirror]
    digest = hashlib.sha256(json.dumps(told).encode())
    for module in (model.aux, model.proposal_head):
        for name, tensor in sorted(module.state_dict().items()) if module is not None else ():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().float().numpy().tobytes())
    for image in data.images:
        digest.update(f"{image.id} {image.width} {image.height}".encode())
        digest.update(image.boxes.tobytes())
    return digest.hexdigest()[:16]


def open_or_build(
    folder: Path,
    model: FO1,
    processor: FO1Processor,
    data: CocoData,
    mirror: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """The store in `folder`; the towers look at every picture that is missing or damaged there.

    Pictures are seen side by side, each by one thread: on two cores 1.7 times faster than one picture by two threads.
    If it is interrupted, the next call goes on.

    Args:
        folder: made if missing.
        model, processor: whose towers look.
        data: the pictures.
        mirror: whether mirror images belong to it.
        on_progress: called as (pictures done, all of them).

    Raises:
        DataError: a picture cannot be read; names it.
        TrainingError: the towers see NaN in a picture, or the store cannot be written.
    """
    store = FeatureStore(folder, data, fingerprint(model, data, mirror), mirror)
    _make_room(store.file(0).parent)
    threads = torch.get_num_threads()
    look = Ahead(lambda k: _kept_or_made(store, k, model, processor), threads if threads > 1 else 0, end=len(store))
    try:
        for done in range(1, len(store) + 1):
            look(done - 1)
            if on_progress:
                on_progress(done, len(store))
    finally:
        look.close()
        torch.set_num_threads(threads)
    return store


def _make_room(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise TrainingError(f"Cannot keep features in {folder}: {exc}. Name another folder.") from exc


def _kept_or_made(store: FeatureStore, index: int, model: FO1, processor: FO1Processor) -> None:
    """See to it that an entry is there."""
    if store.kept(index) is None:
        seen = _look(model, processor, *store.view(index), np.random.default_rng((0, index)))
        keep(store.file(index), {"entry": torch.tensor([index]), **seen})


@torch.inference_mode()
def _look(
    model: FO1, processor: FO1Processor, image: Example, mirrored: bool, rng: np.random.Generator
) -> dict[str, torch.Tensor]:
    """What one thread sees in one picture."""
    torch.set_num_threads(1)  # of this thread's own products
    pixels, annotated = open_picture(image), image.boxes[~image.crowd]
    if mirrored:
        pixels = ImageOps.mirror(pixels)
        annotated = mirror_boxes(annotated, image.width)
    inputs = processor.image(pixels)
    features = model.encode_image(inputs)
    proposals, _ = model.propose(features, processor.settings.max_regions)
    if not bool(proposals.isfinite().all()):
        raise _unfit(image)
    parts = [proposals.numpy(), annotated, jitter(annotated, (image.width, image.height), rng)]
    boxes = np.concatenate(parts).astype(np.float32)
    kind = np.repeat(np.array([PROPOSAL, ANNOTATED, JITTERED], np.uint8), [len(part) for part in parts])
    vectors, _ = model.encode_regions(features, torch.from_numpy(boxes))
    if not bool(vectors.half().isfinite().all()):
        raise _unfit(image)
    return {
        "boxes": torch.from_numpy(boxes),
        "kind": torch.from_numpy(kind),
        "vectors": vectors.half(),
        "pixels": inputs.pixel_values.half(),
        "grid": torch.tensor(inputs.grid_hw),
    }


def _unfit(image: Example) -> TrainingError:
    return TrainingError(
        f"The towers see numbers in {image.name} that are not finite in float16; nothing learns from it."
    )


def mirror_boxes(boxes: np.ndarray, width: float) -> np.ndarray:
    """Boxes [N, 4] xyxy in the picture, `width` pixels wide, with left and right swapped."""
    x1, y1, x2, y2 = boxes.T
    return np.stack([width - x2, y1, width - x1, y2], axis=1)


def mirror_example(example: Example) -> Example:
    """What is true of the mirrored picture; words that may speak of a side are left out."""
    return replace(without_sides(example), boxes=mirror_boxes(example.boxes, example.width), turns=())


def jitter(boxes: np.ndarray, size_wh: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A shaken copy of each box [N, 4], inside the picture, as a person's or a detector's box would lie."""
    if not len(boxes):
        return boxes
    sizes = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    limit = np.array([*size_wh, *size_wh], dtype=np.float32)
    moved = np.clip(boxes + rng.normal(0, JITTER, boxes.shape) * sizes, 0, limit)
    low, high = np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])
    return np.concatenate([low, high], axis=1).astype(np.float32)
