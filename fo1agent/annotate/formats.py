"""What a finished job found, in files that other programs read: COCO, YOLO and Label Studio.

FiftyOne and CVAT read COCO instances. Rows are read a few at a time and written as they come, so that a file may be
larger than memory; each is written whole or not at all. A region is called by the phrase that it was found for, else by
its label. What was not judged is not written: no region of a "dead cat" where only "cat" could be judged, and no
category whose words nobody knows, as it would make every picture an example of what it is not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import IO, Any
from xml.sax.saxutils import quoteattr

import numpy as np

from fo1agent.annotate.arrow import is_remote
from fo1agent.annotate.job import Job, alone
from fo1agent.annotate.outlines import brush, ring
from fo1agent.annotate.shards import written
from fo1agent.annotate.tasks import Row
from fo1agent.errors import DataError, InputError
from fo1agent.evaluate.coco import result
from fo1agent.regions.masks import Mask
from fo1agent.whole import whole

_COLUMNS = ("index", "picture", "image_id", "width", "height", "regions", "result", "error")
_CLASSES = "data.yaml"  # in YOLO's folder


@dataclass(frozen=True)
class LeftOut:
    """What a job did not judge, so that no format has it.

    Attributes:
        categories: phrases that were left open in some pictures, and found in none.
        regions: how many regions were found for words of which some were not judged.
    """

    categories: tuple[str, ...]
    regions: int


def check(job: Job, formats: Iterable[str]) -> None:
    """Refuse formats that a job cannot be written in, before it begins.

    Raises:
        InputError: the task finds no regions.
        DataError: two pictures would be one file, or one a file where another needs a folder.
    """
    formats = tuple(formats)
    if formats and job.task.kind == "read":
        raise InputError("read finds no regions, so there is nothing to write as boxes. Its text is in the shards.")
    if "yolo" in formats:
        _check_yolo(job)


def _check_yolo(job: Job) -> None:
    files = {PurePosixPath(_CLASSES): "the classes"}  # of whom each is
    folders: dict[PurePosixPath, str] = {PurePosixPath(): ""}  # who needs each
    place = _yolo_places(job)
    for item in job.listing.items:
        name = place(item.picture, item.index)
        if name in files:
            raise DataError(f"{files[name]} and {item.picture} would both be {name} in YOLO. Rename one of them.")
        files[name] = item.picture
        for folder in takewhile(lambda one: one not in folders, name.parents):
            folders[folder] = item.picture
    both = next((name for name in folders if name in files), None)
    if both is not None:
        raise DataError(
            f"{folders[both]} needs a folder {both} in YOLO, where that is the file of {files[both]}. "
            "Rename it, or choose another format."
        )


def left_out(job: Job) -> LeftOut:
    """What a finished job did not judge."""
    asked = _phrases(job)
    judged, unjudged, regions = set[str](), set[str](), 0
    for row in _opened(job):
        here = _unjudged(row, job)
        unjudged |= here
        found = [region["phrase"] for region in row["regions"] or ()]
        judged.update(phrase for phrase in found if phrase not in here)
        regions += sum(phrase in here for phrase in found)
    return LeftOut(tuple(one for one in asked if one in unjudged - judged), regions)


def write(job: Job, formats: Iterable[str]) -> list[Path]:
    """Write what a finished job found, beside its shards.

    Args:
        job: whose shards are all there.
        formats: names of `FORMATS`.

    Returns:
        The files and folders that were written.

    Raises:
        InputError: the task finds no regions.
        DataError: names of pictures do not go with a format, another process works in the folder, or a file cannot be
            written.
    """
    formats = tuple(formats)
    check(job, formats)
    with alone(job), written(job.folder):
        categories = _categories(job)
        return [path for name in formats for path in FORMATS[name](job, categories)]


def _coco(job: Job, categories: Mapping[str, int]) -> list[Path]:
    instances, results = job.folder / "coco_instances.json", job.folder / "coco_results.json"
    told = [{"id": number, "name": name} for name, number in categories.items()]
    with whole(instances) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"images": ')
        _write_list(file, (_coco_image(row) for row in _rows(job)))
        file.write(',\n"annotations": ')
        _write_list(file, _coco_annotations(job, categories))
        file.write(f',\n"categories": {json.dumps(told, ensure_ascii=False)}}}\n')
    with whole(results) as temporary, temporary.open("w", encoding="utf-8") as file:
        _write_list(file, (_coco_result(row, one, categories) for row in _rows(job) for one in _named(row, categories)))
    return [instances, results]


def _coco_image(row: Row) -> dict[str, Any]:
    return {"id": row["image_id"], "file_name": row["picture"], "width": row["width"], "height": row["height"]}


def _coco_annotations(job: Job, categories: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    number = 0
    for row in _rows(job):
        for one in _named(row, categories):
            number += 1
            told = _coco_result(row, one, categories)
            mask = told.get("segmentation")
            area = Mask.from_coco(mask).area if mask else told["bbox"][2] * told["bbox"][3]
            yield {"id": number, "segmentation": [], **told, "area": area, "iscrowd": 0}  # CVAT refuses a lack of it


def _coco_result(row: Row, region: Row, categories: Mapping[str, int]) -> dict[str, Any]:
    told = result(row["image_id"], categories[_name(region)], region["box"], region["score"])
    return {**told, "segmentation": _coco_mask(row, region)} if region.get("mask") else told


def _coco_mask(row: Row, region: Row) -> dict[str, Any]:
    return {"size": [row["height"], row["width"]], "counts": region["mask"]}


def _yolo(job: Job, categories: Mapping[str, int]) -> list[Path]:
    """One text file a picture, where readers look for it; `data.yaml` names the folders of pictures and the classes."""
    folder, number = job.folder / "yolo", {name: k for k, name in enumerate(categories)}
    place, pictures = _yolo_places(job), set[str]()
    with whole(folder, replace=True) as temporary:
        (temporary / "labels").mkdir(parents=True)
        for row in _rows(job):
            name = place(row["picture"], row["index"])
            at = _last(name.parts, "labels")
            pictures.add("/".join([*name.parts[:at], "images"]))
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            line = _yolo_outline if job.task.masks else _yolo_box
            lines = (f"{number[_name(one)]} {line(row, one)}\n" for one in _named(row, number))
            path.write_text("".join(lines), encoding="utf-8")
        names = "".join(f"  {k}: {json.dumps(name, ensure_ascii=False)}\n" for name, k in number.items())
        told = f"names:\n{names}" if names else "names: {}\n"
        where = "images" if pictures <= {"images"} else json.dumps(sorted(pictures), ensure_ascii=False)
        head = (
            f"# Put the pictures, or a link to their folder, beside labels/ as images/.\ntrain: {where}\nval: {where}\n"
        )
        (temporary / _CLASSES).write_text(f"{head}{told}", encoding="utf-8")
    return [folder]


def _yolo_box(row: Row, region: Row) -> str:
    (x1, y1, x2, y2), width, height = region["box"], row["width"], row["height"]
    parts = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return " ".join(f"{part:.6f}" for part in parts)


def _yolo_outline(row: Row, region: Row) -> str:
    """The outline of a mask; where there is none that of the box, for among outlines a box would be read as one."""
    if region["mask"]:
        points = ring(Mask.from_coco(_coco_mask(row, region)))
    else:
        x1, y1, x2, y2 = region["box"]
        points = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
    return " ".join(f"{part:.6f}" for part in (points / [row["width"], row["height"]]).ravel().tolist())


def _yolo_places(job: Job) -> Callable[[str, int], PurePosixPath]:
    """Gives the text file of a picture, by its name and its position in the source.

    It is called as the picture is; absolute names and addresses as below the deepest folder that all of them have in
    common; by the position where a name would leave the folder. Readers look for the text of `…/images/a.jpg` at
    `…/labels/a.txt`, the last folder `images` in a path: so where a name has one, the text stands beside that.
    """
    rooted = (one.picture.replace("\\", "/").split("/")[:-1] for one in job.listing.items if _is_rooted(one.picture))
    root = len(reduce(_shared, rooted, next(rooted, [])))

    def place(picture: str, index: int) -> PurePosixPath:
        parts = picture.replace("\\", "/").split("/")[root if _is_rooted(picture) else 0 :]
        name = PurePosixPath(*parts)
        if name.is_absolute() or not name.name or ".." in parts or any(sign in one for one in parts for sign in ":#"):
            name = PurePosixPath(f"{index:09d}")
        at = _last(name.parts[:-1], "images")
        folders = ("labels", *name.parts[:-1]) if at < 0 else (*name.parts[:at], "labels", *name.parts[at + 1 : -1])
        return PurePosixPath(*folders, name.name).with_suffix(".txt")

    return place


def _shared(one: list[str], other: list[str]) -> list[str]:
    """The first parts of two paths, as far as they are the same."""
    return [part for part, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))]


def _is_rooted(picture: str) -> bool:
    return is_remote(picture) or PurePosixPath(picture.replace("\\", "/")).is_absolute()


def _last(parts: Sequence[str], name: str) -> int:
    """Where a name stands last; -1 if nowhere."""
    return max((at for at, one in enumerate(parts) if one == name), default=-1)


def _label_studio(job: Job, categories: Mapping[str, int]) -> list[Path]:
    """Tasks with predictions, to be imported into a project, and the labels of that project."""
    tasks, labels = job.folder / "label_studio.json", job.folder / "label_studio.xml"
    with whole(tasks) as temporary, temporary.open("w", encoding="utf-8") as file:
        _write_list(file, (_studio_task(row, categories) for row in _rows(job)))
    named = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in categories)
    kinds = [("RectangleLabels", "label"), *([("BrushLabels", "mask")] if job.task.masks else [])]
    sets = "".join(f'  <{kind} name="{name}" toName="image">\n{named}  </{kind}>\n' for kind, name in kinds)
    with whole(labels) as temporary:
        text = f'<View>\n  <Image name="image" value="$image"/>\n{sets}</View>\n'
        temporary.write_text(text, encoding="utf-8")
    return [tasks, labels]


def _studio_task(row: Row, categories: Mapping[str, int]) -> dict[str, Any]:
    found = [_studio_region(row, one, number) for number, one in enumerate(_named(row, categories))]
    least = min((one["score"] for one in found), default=0.0)
    prediction = {"model_version": "fo1agent", "score": least, "result": found}
    return {"data": {"image": row["picture"]}, "predictions": [prediction]}


def _studio_region(row: Row, region: Row, number: int) -> dict[str, Any]:
    """A region as a brush has painted it; as a rectangle where it has no mask."""
    kind, tag, value = "rectanglelabels", "label", _studio_box
    if region.get("mask"):
        kind, tag, value = "brushlabels", "mask", _studio_brush
    return {
        "id": f"{row['index']}-{number}",
        "type": kind,
        "from_name": tag,
        "to_name": "image",
        "original_width": row["width"],
        "original_height": row["height"],
        "image_rotation": 0,
        "score": region["score"],
        "value": {**value(row, region), kind: [_name(region)]},
    }


def _studio_box(row: Row, region: Row) -> dict[str, Any]:
    (x1, y1, x2, y2), width, height = region["box"], row["width"], row["height"]
    sides = {"x": x1 / width, "y": y1 / height, "width": (x2 - x1) / width, "height": (y2 - y1) / height}
    return {**{name: 100 * part for name, part in sides.items()}, "rotation": 0}


def _studio_brush(row: Row, region: Row) -> dict[str, Any]:
    return {"format": "rle", "rle": brush(Mask.from_coco(_coco_mask(row, region)))}


FORMATS: dict[str, Callable[[Job, Mapping[str, int]], list[Path]]] = {
    "coco": _coco,
    "yolo": _yolo,
    "label-studio": _label_studio,
}
"""Name → what writes it, and says which files."""


def _opened(job: Job) -> Iterator[Row]:
    """The rows of pictures that could be opened."""
    return (row for row in job.shards.rows(_COLUMNS) if row["width"] is not None)


def _rows(job: Job) -> Iterator[Row]:
    """The same rows, without the regions that were found for words of which some were not judged.

    Their `image_id` is the number that COCO has for a picture: that of the source if each there has one of its own,
    else its position from 1.
    """
    ids = [one.image_id for one in job.listing.items]
    own = all(isinstance(one, int) for one in ids) and len(set(ids)) == len(ids)
    for row in _opened(job):
        unjudged = _unjudged(row, job)
        kept = [one for one in row["regions"] or () if one["phrase"] not in unjudged]
        yield {**row, "image_id": row["image_id"] if own else row["index"] + 1, "regions": kept}


def _phrases(job: Job) -> tuple[str, ...]:
    return job.task.words if job.task.kind in ("detect", "count") else ()


def _unjudged(row: Row, job: Job) -> set[str]:
    """The phrases that a picture leaves open: what was found may be called so or not, or nobody knows the word."""
    told = json.loads(row["result"]) if row["result"] and _phrases(job) else {}
    if job.task.kind == "count":
        told = {job.task.words[0]: told}
    found = {region["phrase"] for region in row["regions"] or ()}
    return {phrase for phrase, said in told.items() if (_partly if phrase in found else _unknown)(said)}


def _partly(said: Row) -> bool:
    return bool(said.get("not_judged"))


def _unknown(said: Row) -> bool:
    """Of a word that the model does not know there is a note, and certainly nothing in the picture."""
    return bool(said.get("note")) and said.get("none_score", 1) == 1


def _name(region: Row) -> str:
    return region["phrase"] or region["label"] or ""


def _named(row: Row, categories: Mapping[str, int]) -> list[Row]:
    return [region for region in row["regions"] if _name(region) in categories]


def _categories(job: Job) -> dict[str, int]:
    """Name → number: those of the source if it has all phrases, else the phrases from 1, else the labels found."""
    words, unjudged = _phrases(job), set(left_out(job).categories)
    if words and set(words) <= set(job.listing.categories):
        return {name: number for name, number in job.listing.categories.items() if name not in unjudged}
    labels = {_name(region) for row in _rows(job) for region in row["regions"]} - {""} if not words else set[str]()
    names = [word for word in words if word not in unjudged] or sorted(labels)
    return {name: number for number, name in enumerate(names, start=1)}


def _write_list(file: IO[str], values: Iterable[Any]) -> None:
    """A JSON list, a value in each line."""
    mark = "["
    for value in values:
        file.write(f"{mark}\n{json.dumps(value, ensure_ascii=False)}")
        mark = ","
    file.write("[]" if mark == "[" else "\n]")
