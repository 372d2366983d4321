"""What a finished job found, in files that other programs read: COCO, YOLO and Label Studio.

FiftyOne and CVAT read COCO instances. Rows are read a few at a time and written as they come, so that a file may be
larger than memory; each is written whole or not at all. A region is called by the phrase that it was found for, else by
its label.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any
from xml.sax.saxutils import quoteattr

from fo1agent.annotate.job import Job
from fo1agent.annotate.tasks import Row
from fo1agent.errors import DataError, InputError
from fo1agent.evaluate.coco import result
from fo1agent.whole import whole

_COLUMNS = ("index", "picture", "image_id", "width", "height", "regions", "error")


def write(job: Job, formats: Iterable[str]) -> list[Path]:
    """Write what a finished job found, beside its shards.

    Args:
        job: whose shards are all there.
        formats: names of `FORMATS`.

    Returns:
        The files and folders that were written.

    Raises:
        InputError: the task finds no regions.
        DataError: names of pictures do not go with a format.
    """
    if job.task.kind == "read":
        raise InputError("read finds no regions, so there is nothing to write as boxes. Its text is in the shards.")
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
    return {"id": _id(row), "file_name": row["picture"], "width": row["width"], "height": row["height"]}


def _coco_annotations(job: Job, categories: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    number = 0
    for row in _rows(job):
        for one in _named(row, categories):
            number += 1
            told = _coco_result(row, one, categories)
            yield {"id": number, **told, "area": told["bbox"][2] * told["bbox"][3], "iscrowd": 0}


def _coco_result(row: Row, region: Row, categories: Mapping[str, int]) -> dict[str, Any]:
    return result(_id(row), categories[_name(region)], region["box"], region["score"])


def _id(row: Row) -> int:
    return row["index"] + 1 if row["image_id"] is None else row["image_id"]


def _yolo(job: Job, categories: Mapping[str, int]) -> list[Path]:
    """One text file a picture, named as it is: `labels/deep/c.txt`; `data.yaml` names the classes, from 0."""
    folder, place = job.folder / "yolo", {name: k for k, name in enumerate(categories)}
    seen: dict[PurePosixPath, str] = {}
    with whole(folder, replace=True) as temporary:
        for row in _rows(job):
            name = _relative(row)
            if name in seen:
                raise DataError(f"{seen[name]} and {row['picture']} would both be {name} in YOLO. Rename one of them.")
            seen[name] = row["picture"]
            path = temporary / "labels" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(_yolo_line(row, one, place) for one in _named(row, place)), encoding="utf-8")
        names = "".join(f"  {k}: {json.dumps(name, ensure_ascii=False)}\n" for name, k in place.items())
        head = "# Put the pictures, or a link to their folder, beside labels/ as images/.\ntrain: images\nval: images\n"
        (temporary / "data.yaml").write_text(f"{head}names:\n{names}", encoding="utf-8")
    return [folder]


def _yolo_line(row: Row, region: Row, place: Mapping[str, int]) -> str:
    (x1, y1, x2, y2), width, height = region["box"], row["width"], row["height"]
    parts = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return f"{place[_name(region)]} {' '.join(f'{part:.6f}' for part in parts)}\n"


def _relative(row: Row) -> PurePosixPath:
    """The name of a picture's text file; a number where the name does not stay in the folder."""
    name = PurePosixPath(row["picture"].replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or ":" in row["picture"] or "#" in row["picture"]:
        name = PurePosixPath(f"{row['index']:09d}")
    return name.with_suffix(".txt")


def _label_studio(job: Job, categories: Mapping[str, int]) -> list[Path]:
    """Tasks with predictions, to be imported into a project, and the labels of that project."""
    tasks, labels = job.folder / "label_studio.json", job.folder / "label_studio.xml"
    with whole(tasks) as temporary, temporary.open("w", encoding="utf-8") as file:
        _write_list(file, (_studio_task(row, categories) for row in _rows(job)))
    named = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in categories)
    head = '<View>\n  <Image name="image" value="$image"/>\n  <RectangleLabels name="label" toName="image">\n'
    with whole(labels) as temporary:
        temporary.write_text(f"{head}{named}  </RectangleLabels>\n</View>\n", encoding="utf-8")
    return [tasks, labels]


def _studio_task(row: Row, categories: Mapping[str, int]) -> dict[str, Any]:
    found = [_studio_box(row, one, number) for number, one in enumerate(_named(row, categories))]
    least = min((one["score"] for one in found), default=0.0)
    prediction = {"model_version": "fo1agent", "score": least, "result": found}
    return {"data": {"image": row["picture"]}, "predictions": [prediction]}


def _studio_box(row: Row, region: Row, number: int) -> dict[str, Any]:
    (x1, y1, x2, y2), width, height = region["box"], row["width"], row["height"]
    sides = {"x": x1 / width, "y": y1 / height, "width": (x2 - x1) / width, "height": (y2 - y1) / height}
    return {
        "id": f"{row['index']}-{number}",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": region["score"],
        "value": {
            **{name: 100 * value for name, value in sides.items()},
            "rotation": 0,
            "rectanglelabels": [_name(region)],
        },
    }


FORMATS: dict[str, Callable[[Job, Mapping[str, int]], list[Path]]] = {
    "coco": _coco,
    "yolo": _yolo,
    "label-studio": _label_studio,
}
"""Name → what writes it, and says which files."""


def _rows(job: Job) -> Iterator[Row]:
    """The rows of pictures that could be opened."""
    return (row for row in job.shards.rows(_COLUMNS) if row["width"] is not None)


def _name(region: Row) -> str:
    return region["phrase"] or region["label"] or ""


def _named(row: Row, categories: Mapping[str, int]) -> list[Row]:
    return [region for region in row["regions"] or () if _name(region) in categories]


def _categories(job: Job) -> dict[str, int]:
    """Name → number: those of the source if it has all phrases, else the phrases from 1, else the labels found."""
    words = job.task.words if job.task.kind in ("detect", "count") else ()
    if words and set(words) <= set(job.listing.categories):
        return dict(job.listing.categories)
    names = words or sorted({_name(region) for row in _rows(job) for region in row["regions"] or ()} - {""})
    return {name: number for number, name in enumerate(names, start=1)}


def _write_list(file: IO[str], values: Iterable[Any]) -> None:
    """A JSON list, a value in each line."""
    mark = "["
    for value in values:
        file.write(f"{mark}\n{json.dumps(value, ensure_ascii=False)}")
        mark = ","
    file.write("[]" if mark == "[" else "\n]")
