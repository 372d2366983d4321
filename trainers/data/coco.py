"""COCO's JSON, read once into plain records: boxes, names, crowds, captions, and which names a picture does not show.

Reads what COCO, LVIS and everything that copies their layout has in common; a segmentation is looked at only where
there is no box. Of a picture, only the head is read, and only where its record lacks a size. Boxes become xyxy float
pixels of the stored picture.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fo1agent.errors import DataError
from fo1agent.evaluate.coco import read_lists
from fo1agent.evaluate.files import read_bytes, read_json, read_lines
from fo1agent.trainers.data.files import first_sign
from fo1agent.trainers.data.formats import fields
from fo1agent.trainers.data.formats.boxes import BoxReader
from fo1agent.trainers.data.formats.source import Source, SourceRecipe, Tolerance, reason
from fo1agent.trainers.data.outlines import outline
from fo1agent.trainers.data.records import Example

log = logging.getLogger(__name__)
_said: set[str] = set()

FROM_OUTLINE = "a box is the one around its segmentation, for it has no bbox"
IGNORED = "a box is marked ignore, and is read as a crowd"


@dataclass(frozen=True, eq=False)
class CocoData:
    """All pictures of one JSON file, in its order; `categories` in order of their ids.

    `dropped` counts boxes without area, which some files hold and which teach nothing.
    """

    images: tuple[Example, ...]
    categories: tuple[str, ...]
    dropped: int = field(default=0)

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Example]:
        return iter(self.images)


def load_coco(instances: str | Path, images: str | Path, captions: str | Path | None = None) -> CocoData:
    """Read a whole instances file, in which nothing may be wrong; `open_source` counts what is.

    What was read otherwise than it stands there, and what is doubtful about all boxes together, is logged as a warning,
    once a file.

    Args:
        instances: COCO or LVIS JSON: `images`, `annotations` (xywh `bbox`, `category_id`, optional `iscrowd`),
            `categories`. If a picture lists `neg_category_ids` (LVIS), those are its absent names; if none does, boxes
            are taken to be exhaustive and every name without a box is absent.
        images: folder of the pictures.
        captions: see `load_captions`.

    Raises:
        DataError: not such a file, or a record in it is wrong; names file, record and reason.
    """
    tree = read_tree(instances)
    reader = BoxReader("xywh", hint=lambda form: f"write it anew with fo1agent data convert --to coco --boxes {form}")
    source = _source(tree, Path(images), captions, Tolerance(share=0, least=0), reader)
    found = tuple(source)
    for warning in source.warnings():
        if warning not in _said:
            _said.add(warning)
            log.warning("%s", warning)
    return CocoData(found, tree.categories, tree.count - sum(len(example.boxes) for example in found))


def looks_like(path: Path) -> bool:
    if not path.is_file() or path.suffix != ".json":
        return False
    content = read_bytes(path) if first_sign(path) == b"{" else b""
    return all(f'"{key}"'.encode() in content for key in _LISTS)


def open_source(recipe: SourceRecipe) -> Source:
    """The pictures of an instances file; one with a wrong annotation is bad as a whole, for it lacks a box.

    Raises:
        DataError: not such a file.
    """
    tree = read_tree(recipe.path)
    first = None
    if tree.records:
        with contextlib.suppress(*_WRONG, DataError):  # that record is bad
            first = _file_name(tree.records[0])
    folder = fields.images_folder(tree.file, recipe.images, first)
    return _source(tree, folder, recipe.captions, recipe.tolerance, BoxReader("xywh", recipe.boxes))


def _source(
    tree: CocoTree, images: Path, captions: str | Path | None, tolerance: Tolerance | None, reader: BoxReader
) -> Source:
    sentences = _of_pictures(tree, captions) if captions else {}
    count = len(tree.records)

    def parse(k: int, source: str) -> Example:
        if k >= count:
            number, annotation = tree.strangers[k - count]
            identity = annotation.get("image_id") if isinstance(annotation, dict) else None
            raise DataError(f"annotations[{number}] belongs to image {identity!r}, which is not in the file")
        return tree.example(k, images, source, sentences, reader)[0]

    def where(k: int) -> str:
        record = tree.records[k] if k < count else None
        return f"{tree.file.name}#{record['id']}" if isinstance(record, dict) and "id" in record else tree.file.name

    # A box that belongs to no picture is a bad record of its own.
    items = range(count + len(tree.strangers))
    return Source(str(tree.file), items, parse, where, tree.categories, tolerance, reader.doubts)


def _of_pictures(tree: CocoTree, captions: str | Path) -> dict[int | str, tuple[str, ...]]:
    """The captions of the file's pictures, by its own ids.

    Raises:
        DataError: none of them is of one of the pictures.
    """
    found: dict[int | str, tuple[str, ...]] = {}
    for identity, sentences in load_captions(captions).items():
        key = fields.twin(identity, tree.position)
        if key in tree.position:
            found[key] = (*found.get(key, ()), *sentences)
    if not found and tree.position:
        raise DataError(f"{captions}: no caption is of a picture in {tree.file}.")
    return found


@dataclass(frozen=True, eq=False)
class CocoTree:
    """An instances file as it was read: its records, not yet looked at.

    Attributes:
        file: where it was read from.
        names: category names by id, in order of the ids.
        records: the pictures' records.
        position: of a picture's record, by the picture's id.
        annotations: (position in the file, record) of each box, by the picture's id.
        strangers: the same of boxes whose picture is not in the file.
        exhaustive: boxes are all there are of every name; not so in LVIS.
        count: annotations, all told.
    """

    file: Path
    names: Mapping[int | str, str]
    records: Sequence[Any]
    position: Mapping[Any, int]
    annotations: Mapping[Any, Sequence[tuple[int, Any]]]
    strangers: Sequence[tuple[int, Any]]
    exhaustive: bool
    count: int

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(self.names.values())

    def example(
        self,
        k: int,
        images: Path,
        source: str,
        captions: Mapping[int | str, tuple[str, ...]] | None = None,
        reader: BoxReader | None = None,
    ) -> tuple[Example, tuple[Any, ...]]:
        """The picture of record `k`, and the ids of the annotations that its boxes are.

        Raises:
            DataError: the record or one of its annotations is wrong; names which one and why.
        """
        record = self.records[k]
        identity, picture, width, height = _picture(k, record, images)
        if self.position[identity] != k:
            raise DataError(f"images[{k}] has the id of images[{self.position[identity]}]")
        reader = reader or BoxReader("xywh")
        found = [
            _annotation(number, annotation, self.names, width, height, reader)
            for number, annotation in self.annotations.get(identity, ())
        ]
        try:
            cut = reader.cut([one.corners for one in found], width, height)
        except DataError as exc:
            raise DataError(f"annotations[{found[0].number}]: {exc}") from exc
        kept = [found[k] for k in cut.kept]
        labels = tuple(one.name for one in kept)
        if self.exhaustive:
            absent = fields.absent_of(self.categories, labels)
        else:
            listed = fields.items(record.get("neg_category_ids") or [], "neg_category_ids")
            negative = (fields.twin(_number_or_text(c), self.names) for c in listed)
            absent = tuple(self.names[c] for c in negative if c in self.names)
        example = cut.example(
            identity,
            picture,
            (width, height),
            source,
            labels,
            [one.crowd for one in kept],
            captions=(captions or {}).get(identity, ()),
            absent=absent,
            remarks=[remark for one in kept for remark in one.remarks],
        )
        return example, tuple(one.id for one in kept)


_LISTS = ("images", "annotations", "categories")
_WRONG = (AttributeError, LookupError, TypeError, ValueError)  # what a record of another shape raises


def read_tree(instances: str | Path) -> CocoTree:
    """Read an instances file without judging its records.

    Raises:
        DataError: it is not such a file.
    """
    file = Path(instances)
    tree = read_lists(file, _without_outlines)
    names = _names(file, tree["categories"])
    position: dict[Any, int] = {}
    for k, record in enumerate(tree["images"]):
        position.setdefault(_id(record, "id"), k)
    annotations: dict[Any, list[tuple[int, Any]]] = {}
    strangers = []
    for k, annotation in enumerate(tree["annotations"]):
        identity = fields.twin(_id(annotation, "image_id"), position)
        if identity in position:
            annotations.setdefault(identity, []).append((k, annotation))
        else:
            strangers.append((k, annotation))
    exhaustive = not any(isinstance(record, dict) and "neg_category_ids" in record for record in tree["images"])
    return CocoTree(file, names, tree["images"], position, annotations, strangers, exhaustive, len(tree["annotations"]))


def _names(file: Path, categories: Sequence[Any]) -> dict[int | str, str]:
    # By id, in order of the ids: numbers before texts.
    names: dict[int | str, str] = {}
    for k, category in enumerate(categories):
        try:
            fields.mapping(category, f"categories[{k}]")
            identity, name = _id(category, "id"), fields.text(category["name"], "name")
        except (*_WRONG, DataError) as exc:
            raise DataError(f"{file}: categories[{k}] lacks id or name ({reason(exc)}).") from exc
        if identity is None or identity in names:
            raise DataError(f"{file}: categories[{k}] {name!r} has the id {category.get('id')!r}; wanted its own.")
        names[identity] = name
    return dict(sorted(names.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def load_captions(file: str | Path) -> dict[int | str, tuple[str, ...]]:
    """Captions by image id, from COCO's captions JSON (`annotations`: `image_id`, `caption`) or a `.jsonl` of
    `{"image_id", "captions": [...]}` lines; cut of surrounding white space, empty ones left out.

    Raises:
        DataError: neither of these; names file and line.
    """
    file = Path(file)
    pairs: list[tuple[Any, Any]] = []
    if file.suffix == ".jsonl":
        for number, line in read_lines(file):
            try:
                record = json.loads(line)
                pairs += [(record["image_id"], sentence) for sentence in record["captions"]]
            except (ValueError, KeyError, TypeError, RecursionError) as exc:
                raise DataError(f"{file}:{number}: not a record with image_id and captions ({exc!r}).") from exc
    else:
        try:
            pairs = [(a["image_id"], a["caption"]) for a in read_json(file)["annotations"]]
        except (KeyError, TypeError) as exc:
            raise DataError(f"{file}: not a COCO captions file ({exc!r}).") from exc
    captions: dict[int | str, tuple[str, ...]] = {}
    for image_id, sentence in pairs:
        identity = _number_or_text(image_id)
        if identity is None or not isinstance(sentence, str):
            raise DataError(f"{file}: caption {sentence!r:.60} of image {image_id!r:.60} is not text of an image.")
        if sentence.strip():
            captions[identity] = (*captions.get(identity, ()), sentence.strip())
    return captions


@dataclass(frozen=True)
class _Found:
    """An annotation as it was read: its place in the file, id, corners (not cut), name, flag, and what to say."""

    number: int
    id: Any
    corners: tuple[float, float, float, float]
    name: str
    crowd: bool
    remarks: tuple[str, ...]


def _annotation(
    k: int, annotation: Any, names: Mapping[int | str, str], width: int, height: int, reader: BoxReader
) -> _Found:
    if not isinstance(annotation, dict):
        raise DataError(f"annotations[{k}] is {annotation!r:.60}; wanted an object")
    if "category_id" not in annotation:
        raise DataError(f"annotations[{k}] lacks category_id")
    category = fields.twin(_id(annotation, "category_id"), names)
    if category not in names:
        raise DataError(f"annotations[{k}] has category {annotation['category_id']!r:.60}, which is not in the file")
    crowd, ignored = (fields.flag(annotation.get(key), f"annotations[{k}]: {key}") for key in ("iscrowd", "ignore"))
    remarks = (IGNORED,) if ignored and not crowd else ()
    if "segmentation" in annotation:  # there is no box; see `_without_outlines`
        corners = _outlined(k, annotation["segmentation"], width, height, reader)
        remarks = (*remarks, FROM_OUTLINE)
    elif "bbox" not in annotation:
        raise DataError(f"annotations[{k}] lacks bbox, and has no segmentation to take one from")
    else:
        corners = reader.corners(annotation["bbox"], width, height, f"annotations[{k}]: bbox")
    return _Found(k, annotation.get("id"), corners, names[category], crowd or ignored, remarks)


def _outlined(
    k: int, segmentation: Any, width: int, height: int, reader: BoxReader
) -> tuple[float, float, float, float]:
    try:
        if isinstance(segmentation, DataError):
            raise segmentation
        (x, y, w, h), size = segmentation
        if size is not None and size != (height, width):
            raise DataError(f"segmentation is of {size[1]} x {size[0]} pixels, the picture has {width} x {height}")
    except DataError as exc:
        raise DataError(f"annotations[{k}] lacks bbox, and its {exc}") from exc
    across, down = (1.0, 1.0) if size is not None else reader.scale(width, height)
    return x * across, y * down, (x + w) * across, (y + h) * down


def _picture(k: int, record: Any, images: Path) -> tuple[int | str, Path, int, int]:
    # Id, path, width, height.
    fields.mapping(record, f"images[{k}]")
    try:
        identity, path = _id(record, "id"), fields.picture_path(images, _file_name(record))
    except _WRONG as exc:
        raise DataError(f"images[{k}] lacks file_name ({reason(exc)})") from exc
    if identity is None:
        raise DataError(f"images[{k}] has the id {record.get('id')!r:.60}; wanted a number or text")
    try:
        return identity, path, *fields.size_of(record, path)
    except DataError as exc:
        raise DataError(f"images[{k}]: {exc}") from exc


def _file_name(record: Mapping[str, Any]) -> str:
    # LVIS has no file_name but COCO's URL.
    fields.mapping(record, "the picture")
    return (
        record["file_name"] if "file_name" in record else fields.text(record["coco_url"], "coco_url").rpartition("/")[2]
    )


def _id(record: Any, key: str) -> int | str | None:
    return _number_or_text(record.get(key)) if isinstance(record, dict) else None


def _number_or_text(identity: Any) -> int | str | None:
    # Tables that numbers went through make 7.0 of 7.
    if isinstance(identity, float) and identity.is_integer():
        return int(identity)
    return identity if isinstance(identity, int | str) and not isinstance(identity, bool) else None


def _without_outlines(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Outlines are most of such a file. One that stands for a box becomes that, at once; the others are not kept.
    record = dict(pairs)
    if "segmentation" in record:
        segmentation = record.pop("segmentation")
        box = record.get("bbox")
        missing = not box or (isinstance(box, list) and all(v == 0 for v in box[2:]))
        if missing and segmentation:
            try:
                record["segmentation"] = outline(segmentation)
            except DataError as exc:
                if not box:  # one without area is left out like any other
                    record["segmentation"] = exc
    return record
