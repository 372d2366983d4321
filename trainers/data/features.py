"""What the frozen towers see in each training picture, computed once and kept on disk.

For every picture, and for its mirror image: the model's own proposals, the annotated boxes, and jittered copies of
those, each with its region vector; and the primary tower's patches. A stage then reads vectors instead of running
towers, so an epoch costs only the language model. A store belongs to one set of frozen weights and one set of examples:
`build` writes to a temporary folder and renames it, and `FeatureStore` refuses one that was made from others.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import torch
from PIL import ImageOps
from pydantic import Field, PlainValidator
from torch.utils.data import ConcatDataset, Dataset

from fo1agent.errors import CheckpointError, TrainingError
from fo1agent.model.fo1 import FO1
from fo1agent.model.folder import Stored, checked, one_line, opened, read_json, shown, wanted, wrong
from fo1agent.model.processing import FO1Processor
from fo1agent.trainers.checkpoint_files import FileSum, checksum
from fo1agent.trainers.data.ahead import Ahead
from fo1agent.trainers.data.augment import without_sides
from fo1agent.trainers.data.coco import CocoData
from fo1agent.trainers.data.records import Example, open_picture
from fo1agent.whole import whole

PROPOSAL, ANNOTATED, JITTERED = 0, 1, 2
MAX_META = 256 << 20  # bytes of meta.json: some millions of pictures
_BLOCK = 64 << 20  # bytes looked at together
_NOT_FINITE = 0x7C00  # from here on, without its sign, a float16 is infinite or NaN
JITTER = 0.1  # standard deviation of each side's shift, in box sizes


def _numbers(value: Any) -> list[int]:
    if not isinstance(value, list) or not all(type(one) is int and 0 <= one < 2**48 for one in value):
        raise wanted("a list of integers from 0 on")
    return value


def _two_numbers(value: Any) -> list[int]:
    if len(_numbers(value)) != 2:
        raise wanted("two integers")
    return value


Numbers = Annotated[list[int], PlainValidator(_numbers)]


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture's boxes as the towers saw them.

    Attributes:
        image: its annotations.
        boxes: [R, 4] float32 xyxy pixels of the picture: proposals best first, then annotated, then jittered ones.
        kind: [R] uint8: `PROPOSAL`, `ANNOTATED` or `JITTERED`.
        vectors: [R, F] float16, a view of the store's file.
        pixel_values: [h * w, 1176] float16 patches of the primary tower, a view of the store's file.
        grid_hw: patch grid.
    """

    image: Example
    boxes: np.ndarray
    kind: np.ndarray
    vectors: np.ndarray
    pixel_values: np.ndarray
    grid_hw: tuple[int, int]


class Meta(Stored):
    """meta.json.

    Attributes:
        fingerprint: see `fingerprint`.
        rows, patches: where each picture's begin in the files, and last, where they end.
        grids: patch grid, height and width, of each picture.
        widths: numbers in a region vector and in a patch; stores of earlier versions do not say.
        files: size and checksum of each other file, and
        crc32: of all else that stands here; stores of earlier versions have neither, and are read unchecked.
    """

    fingerprint: str
    rows: Numbers
    patches: Numbers
    grids: list[Annotated[list[int], PlainValidator(_two_numbers)]]
    widths: Annotated[list[int], PlainValidator(_two_numbers)] | None = None
    files: dict[Literal["boxes.npy", "kind.npy", "vectors.f16", "pixels.f16"], FileSum] | None = None
    crc32: Annotated[str, Field(pattern="^[0-9a-f]{8}$")] | None = None


class FeatureStore(Dataset[Picture]):
    """Features of all pictures of `data`; with mirror images, entry k + n shows picture k mirrored.

    Opening reads all of it once, to see that it is what was written and that no number in it is NaN or infinite.

    Raises:
        TrainingError: no store there, one of other weights or annotations, or one that is damaged.
    """

    def __init__(self, folder: Path, data: CocoData, fingerprint: str) -> None:
        path = folder / "meta.json"
        if not os.path.lexists(path):
            raise TrainingError(f"No feature store in {folder}: there is no {path.name}. Make one with features.build.")
        self.data, self.fingerprint = data, fingerprint
        try:
            tree = read_json(path, MAX_META)
            meta = checked(Meta, tree, path)
            if meta.fingerprint != fingerprint:
                raise TrainingError(
                    f"{folder} holds features of other weights or annotations; delete it to make it anew."
                )
            self._rows, self._patches, self._grids = _layout(meta, len(data.images), path)
            sums: Mapping[Any, FileSum] = meta.files or {}
            self._boxes = _array(folder / "boxes.npy", (self._rows[-1], 4), np.dtype(np.float32), sums)
            self._kind = _array(folder / "kind.npy", (self._rows[-1],), np.dtype(np.uint8), sums)
            vector, patch = meta.widths or (None, None)
            self._vectors = _halves(folder / "vectors.f16", int(self._rows[-1]), vector, sums)
            self._pixels = _halves(folder / "pixels.f16", int(self._patches[-1]), patch, sums)
            if meta.crc32 is not None and (found := _sum_of(tree)) != meta.crc32:
                raise wrong(path, "", f"CRC-32 {found}", f"{meta.crc32}, as it says")
        except CheckpointError as exc:
            raise TrainingError(f"{exc} The feature store is damaged; delete {folder} to make it anew.") from exc

    def __len__(self) -> int:
        return len(self._grids)

    def __getitem__(self, index: int) -> Picture:
        rows = slice(self._rows[index], self._rows[index + 1])
        patches = slice(self._patches[index], self._patches[index + 1])
        h, w = self._grids[index]
        mirrored, number = divmod(index, len(self.data.images))
        image = self.data.images[number]
        return Picture(
            mirror_example(image) if mirrored else image,
            self._boxes[rows],
            self._kind[rows],
            self._vectors[rows],
            self._pixels[patches],
            (h, w),
        )


def _layout(meta: Meta, pictures: int, path: Path) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """Rows and patches [n + 1] int64, and grids, if they are those of so many pictures."""
    count = len(meta.grids)
    if count not in (pictures, 2 * pictures):
        raise wrong(path, "grids", f"of {count} pictures", f"{pictures}, or {2 * pictures} with mirror images")
    rows, patches = (np.array(numbers, dtype=np.int64) for numbers in (meta.rows, meta.patches))
    for name, places in {"rows": rows, "patches": patches}.items():
        if len(places) != count + 1 or places[0] or (np.diff(places) < 0).any():
            raise wrong(path, name, shown(places.tolist()), f"{count + 1} rising numbers from 0 on")
    grids = [(height, width) for height, width in meta.grids]
    if (np.diff(patches) != [height * width for height, width in grids]).any():
        raise wrong(path, "grids", "not what patches says", "height and width of each picture's patches")
    return rows, patches, grids


def _sum_of(meta: Mapping[str, Any]) -> str:
    """CRC-32 of a meta.json without its own."""
    text = json.dumps({key: value for key, value in meta.items() if key != "crc32"}, sort_keys=True)
    return f"{zlib.crc32(text.encode()):08x}"


def _check_sum(path: Path, found: str, sums: Mapping[Any, FileSum]) -> None:
    if path.name in sums and found != sums[path.name].crc32:
        raise wrong(path, "", f"CRC-32 {found}", f"{sums[path.name].crc32}, as meta.json says")


def _array(path: Path, shape: tuple[int, ...], dtype: np.dtype, sums: Mapping[Any, FileSum]) -> np.ndarray:
    with opened(path):
        pass
    try:
        # Mapped first: a header may promise more than there is.
        array = (
            np.array(np.load(path, mmap_mode="r", allow_pickle=False)) if math.prod(shape) else np.zeros(shape, dtype)
        )
    except (OSError, ValueError, EOFError) as exc:
        raise CheckpointError(f"{path} is not a whole array: {one_line(exc)}.") from exc
    if array.shape != shape or array.dtype != dtype:
        raise wrong(path, "", f"{array.dtype} {list(array.shape)}", f"{dtype} {list(shape)}")
    if not np.isfinite(array).all():
        raise wrong(path, "", "NaN or infinity", "finite numbers")
    _check_sum(path, checksum(path), sums)
    return array


def _halves(path: Path, rows: int, width: int | None, sums: Mapping[Any, FileSum]) -> np.ndarray:
    """float16 [rows, width], a view of the file; the width follows from its size if it is not known."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
    if size != rows * 2 * (width or size // max(1, rows * 2)) or (rows and not size):
        told = f"{rows} x {width} float16 numbers" if width else f"a multiple of {rows} float16 numbers"
        raise wrong(path, "", f"{size} bytes", told)
    if not rows:  # nothing can be mapped
        return np.zeros((0, width or 0), np.float16)
    numbers = np.memmap(path, np.float16, "r").reshape(rows, -1)
    step, value = max(1, _BLOCK // numbers[0].nbytes), 0
    for start in range(0, rows, step):
        # As integers: numpy looks at half-precision numbers one by one, ten times slower than a disk is.
        if int((numbers[start : start + step].view(np.uint16) & 0x7FFF).max()) >= _NOT_FINITE:
            raise wrong(path, "", f"NaN or infinity in rows {start} to {min(rows, start + step) - 1}", "finite numbers")
        value = zlib.crc32(numbers[start : start + step].data, value)
    _check_sum(path, f"{value:08x}", sums)
    return numbers


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
    """The store in `folder`, made now if it is not there; `mirror`: with mirror images."""
    mark = fingerprint(model, data, mirror)
    if not os.path.lexists(folder / "meta.json"):
        build(folder, model, processor, data, mark, mirror, on_progress)
    return FeatureStore(folder, data, mark)


def build(
    folder: Path,
    model: FO1,
    processor: FO1Processor,
    data: CocoData,
    mark: str,
    mirror: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Run the towers over every picture, then over their mirror images, and write the store.

    Pictures are seen side by side, each by one thread: on two cores 1.7 times faster than one picture by two threads.
    Nothing is left behind if it is interrupted. If another process makes the same store meanwhile, the first one done
    is kept.

    Raises:
        DataError: a picture cannot be read; names it.
        TrainingError: the towers see NaN in a picture, the store cannot be written, or something else is in its place.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise TrainingError(f"{folder} holds something, but no feature store. Delete it, or name another folder.")
    try:
        with whole(folder) as partial:
            partial.mkdir(parents=True)
            _write(partial, model, processor, data, mark, mirror, on_progress)
    except OSError as exc:
        if os.path.lexists(folder / "meta.json"):
            return
        raise TrainingError(f"Cannot write the feature store {folder}: {exc}. Make room, and start again.") from exc


def _write(
    folder: Path,
    model: FO1,
    processor: FO1Processor,
    data: CocoData,
    mark: str,
    mirror: bool,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """The files of a store."""
    rows, patches = [0], [0]
    grids: list[tuple[int, int]] = []
    boxes: list[np.ndarray] = [np.zeros((0, 4), np.float32)]
    kinds: list[np.ndarray] = [np.zeros(0, np.uint8)]
    widths = [0, 0]
    views = [(image, mirrored) for mirrored in (False, True)[: 1 + mirror] for image in data.images]
    threads = torch.get_num_threads()
    workers = threads if threads > 1 else 0
    look = Ahead(lambda k: _look(model, processor, *views[k], np.random.default_rng((0, k))), workers, end=len(views))
    try:
        with open(folder / "vectors.f16", "wb") as vectors_file, open(folder / "pixels.f16", "wb") as pixels_file:
            for done in range(1, len(views) + 1):
                seen = look(done - 1)
                vectors_file.write(seen.vectors.tobytes())
                pixels_file.write(seen.pixel_values.tobytes())
                widths = [seen.vectors.shape[1], seen.pixel_values.shape[1]]
                boxes.append(seen.boxes)
                kinds.append(seen.kind)
                rows.append(rows[-1] + len(seen.boxes))
                patches.append(patches[-1] + len(seen.pixel_values))
                grids.append(seen.grid_hw)
                if on_progress:
                    on_progress(done, len(views))
        np.save(folder / "boxes.npy", np.concatenate(boxes))
        np.save(folder / "kind.npy", np.concatenate(kinds))
        files = {
            file.name: {"bytes": file.stat().st_size, "crc32": checksum(file)} for file in sorted(folder.iterdir())
        }
        meta = {"fingerprint": mark, "rows": rows, "patches": patches, "grids": grids, "widths": widths, "files": files}
        meta["crc32"] = _sum_of(meta)
        (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    finally:
        look.close()
        torch.set_num_threads(threads)


@torch.inference_mode()
def _look(model: FO1, processor: FO1Processor, image: Example, mirrored: bool, rng: np.random.Generator) -> Picture:
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
    pixel_values = inputs.pixel_values.half().numpy()
    if not np.isfinite(vectors.half().numpy()).all():
        raise _unfit(image)
    return Picture(image, boxes, kind, vectors.half().numpy(), pixel_values, inputs.grid_hw)


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
