"""A user's folder of pictures as finetuning wants it: what trains, what measures, what calibrates, and which names.

Files are found by their names, or one is split; then every part is written as a COCO file of its own, with the names
that are to be taught.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fo1agent.errors import DataError
from fo1agent.evaluate.files import read_json
from fo1agent.trainers.data.coco import CocoData, load_coco, read_tree
from fo1agent.trainers.data.formats.fields import images_folder
from fo1agent.trainers.data.records import Example, open_picture
from fo1agent.whole import whole
from fo1agent.words import lexicon

HELD_OUT = 0.2  # share of a single file's pictures that measure
HELD_BACK, ENOUGH = 8, 80  # every so manieth training picture only calibrates, where there are enough


@dataclass(frozen=True)
class Split:
    """One part of a user's data: the annotation file, the folder of its pictures, and which of them (None: all)."""

    file: Path
    images: Path
    keep: frozenset[int | str] | None = None


@dataclass(frozen=True)
class Part:
    """Pictures for one purpose: their COCO file, their folder, and what the file says."""

    file: Path
    images: Path
    data: CocoData


@dataclass(frozen=True)
class Parts:
    """A user's pictures by purpose.

    Attributes:
        names: to be taught, in the order of the file's categories.
        training: pictures to train on.
        held_out: pictures to measure on.
        held_back: of the pictures to train on, those that only calibrate; () where there are too few.
    """

    names: tuple[str, ...]
    training: Part
    held_out: Part
    held_back: tuple[Example, ...]


def open_parts(coco: Path, work: Path, limit: int | None, known: Sequence[str], say: Callable[[str], None]) -> Parts:
    """Find, check and divide a user's pictures.

    Args:
        coco: folder or file; see `find_splits`.
        work: folder that the parts are written to.
        limit: only the first so many pictures to train on.
        known: names that the model has; a category that is one of them but for its case or number is that name.
        say: is told what was found.

    Raises:
        DataError: no annotations or pictures where COCO has them, or none to train on.
    """
    training, held_out = find_splits(coco)
    data, held = read_split(training, limit), read_split(held_out, None)
    back = range(0, len(data), HELD_BACK) if len(data) >= ENOUGH else range(0)
    held_back = replace(data, images=tuple(data.images[k] for k in back))
    trained = replace(data, images=tuple(image for k, image in enumerate(data.images) if k not in back))
    shown = {label for image in trained for label, crowd in zip(image.labels, image.crowd, strict=True) if not crowd}
    names = {category: known_name(category, known) for category in data.categories if category in shown}
    other = [category for category in data.categories if category not in shown]
    if other:
        say(f"not taught, as no training picture shows one: {', '.join(other)}")
    renamed = [f"{category} ({name})" for category, name in names.items() if category != name]
    if renamed:
        say(f"taken for names that the model has: {', '.join(renamed)}")
    parts = []
    for what, split, part in (
        ("training", training, trained), ("held out", held_out, held), ("calibrating", training, held_back)
    ):  # fmt: skip
        if not len(part):
            continue
        file = work / f"{what.replace(' ', '_')}.json"
        write_part(split, part, names, file)
        parts.append(Part(file, split.images, load_coco(file, split.images)))
        boxes = sum(len(image.boxes) for image in parts[-1].data)
        say(f"{what}: {len(part)} pictures, {boxes} boxes of {len(set(names.values()))} names")
    first, second, *rest = parts
    if data.dropped:
        say(f"left out: {data.dropped} boxes without area")
    return Parts(tuple(dict.fromkeys(names.values())), first, second, rest[0].data.images if rest else ())


def known_name(category: str, known: Sequence[str]) -> str:
    """The name of the model that a category is but for case, number and what stands for blanks; else the category."""
    plain = " ".join(category.lower().replace("_", " ").replace("-", " ").split())
    return next((name for name in (category, plain, lexicon.singular(plain)) if name in known), category)


def find_splits(coco: Path) -> tuple[Split, Split]:
    """The training and the held-out part of a COCO folder.

    Two files whose names say `train` and `val` (or valid, dev, test), in the folder or in folders in it, which may say
    so themselves; or a single file, of which a fifth is held out, the same pictures every time. `coco` may be that
    file.

    Raises:
        DataError: there is no such file, or no pictures; says where it was looked.
    """
    if coco.is_file():
        return _divided(coco, coco.parent)
    if not coco.is_dir():
        raise DataError(f"There is no folder {coco}.")
    reasons: list[str] = []
    found = sorted(file for pattern in ("*.json", "*/*.json") for file in coco.glob(pattern))
    files = [file for file in found if _is_instances(file, reasons)]
    if not files:
        told = f" {reasons[0]}" if reasons else ""
        raise DataError(f"{coco} holds no COCO file (images, annotations, categories), nor do the folders in it.{told}")
    training = [file for file in files if _says(coco, file, ("train",))]
    held_out = [file for file in files if _says(coco, file, ("val", "valid", "dev"))] or [
        file for file in files if _says(coco, file, ("test",))
    ]
    if training and held_out:
        first, second = training[0], held_out[0]
        return Split(first, pictures_of(coco, first)), Split(second, pictures_of(coco, second))
    if len(files) > 1 and not training:
        names = ", ".join(str(file.relative_to(coco)) for file in files)
        raise DataError(f"{coco} holds {names}. Name one after train and one after val, or leave only one.")
    return _divided(training[0] if training else files[0], coco)


def _divided(file: Path, coco: Path) -> tuple[Split, Split]:
    """A file whose pictures are around it, or in `coco`, in two: some to train on, and some held out."""
    ids = sorted((identity for identity in read_tree(file).position if identity is not None), key=_order)
    if len(ids) < 2:
        raise DataError(f"{file} lists {len(ids)} pictures; it takes at least two, one of them held out.")
    cut = max(1, round(HELD_OUT * len(ids)))
    images = pictures_of(coco, file)
    return Split(file, images, frozenset(ids[cut:])), Split(file, images, frozenset(ids[:cut]))


def read_split(split: Split, limit: int | None) -> CocoData:
    """Its examples, each picture looked at once.

    Raises:
        DataError: the file is wrong, more than a hundredth of the pictures cannot be read, or nothing has a box.
    """
    data = load_coco(split.file, split.images)
    images = [image for image in data.images if split.keep is None or image.id in split.keep][:limit]
    good, problems = [], []
    for image in images:
        try:
            open_picture(image)
            good.append(image)
        except DataError as exc:
            problems.append(str(exc))
    if len(problems) > max(1, len(images) // 100):
        raise DataError(f"{split.file}: {len(problems)} of {len(images)} pictures cannot be used: {problems[0]}")
    if not any(len(image.boxes) for image in good):
        raise DataError(f"{split.file}: no picture with a box among the {len(good)} that can be read.")
    return replace(data, images=tuple(good))


def write_part(split: Split, data: CocoData, names: Mapping[str, str], target: Path) -> None:
    """The pictures of `data` as a COCO file of their own, with the categories in `names`, called what stands there."""
    tree, ids = read_json(split.file), {image.id for image in data.images}
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names.values()))}
    called = {row["id"]: names.get(row["name"].strip()) for row in tree["categories"]}
    number = {category: numbers[name] for category, name in called.items() if name is not None}
    images = [record for record in tree["images"] if record["id"] in ids]
    annotations = [
        {"iscrowd": 0, **row, "category_id": number[row["category_id"]]}
        for row in tree["annotations"]
        if row["image_id"] in ids and row["category_id"] in number
    ]
    categories = [{"id": k, "name": name} for name, k in numbers.items()]
    part = {"images": images, "annotations": annotations, "categories": categories}
    with whole(target) as file:
        file.write_text(json.dumps(part), encoding="utf-8")


def _is_instances(file: Path, reasons: list[str]) -> bool:
    """Whether a file is COCO's; why another one cannot be read is added to `reasons`."""
    try:
        tree = read_json(file)
    except DataError as exc:
        reasons.append(str(exc))
        return False
    return isinstance(tree, dict) and {"images", "annotations", "categories"} <= tree.keys()


def _says(coco: Path, file: Path, words: Sequence[str]) -> bool:
    text = str(file.relative_to(coco)).lower()
    return any(word in text for word in words)


def pictures_of(coco: Path, file: Path) -> Path:
    """The folder that the file's first picture lies in."""
    record = next(iter(read_tree(file).records), None)
    name = str(record.get("file_name", "")) if isinstance(record, dict) else ""
    split = next((word for word in ("train", "valid", "val", "dev", "test") if _says(coco, file, (word,))), "")
    around = [file.parent, coco, coco / "images", file.parent / "images"]
    folders = [*around, *(base / f"{split}{year}" for base in around for year in ("", "2017") if split)]
    folders += [folder for pattern in ("*/", "*/*/") for folder in sorted(coco.glob(pattern))]
    for folder in folders:
        if name and (folder / name).is_file():
            return folder
    beside = images_folder(file, None, name)  # of a file in annotations/, the pictures may be in ../images
    if name and (beside / name).is_file():
        return beside
    looked = ", ".join(dict.fromkeys(map(str, folders)))
    raise DataError(f"{file} lists {name!r}, which is in none of {looked}.")


def _order(image_id: Any) -> str:
    return hashlib.sha256(str(image_id).encode()).hexdigest()
