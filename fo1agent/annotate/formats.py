"""What a finished job found, in files that other programs read: COCO, YOLO and Label Studio.

FiftyOne and CVAT read COCO instances. Rows are read a few at a time and written as they come, so that a file may be
larger than memory; each is written whole or not at all. A region is called by the phrase that it was found for, else by
its label. What was not judged is not written: no region of a "dead cat" where only "cat" could be judged, and no
category whose words nobody knows, as it would make every picture an example of what it is not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any
from xml.sax.saxutils import quoteattr

from fo1agent.annotate.job import Job
from fo1agent.annotate.tasks import Row
from fo1agent.errors import DataError, InputError
from fo1agent.evaluate.coco import result
from fo1agent.regions.masks import Mask
from fo1agent.whole import whole

_COLUMNS = ("index", "picture", "image_id", "width", "height", "regions", "result", "error")


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
        DataError: two pictures would be one file.
    """
    formats = tuple(formats)
    if formats and job.task.kind == "read":
        raise InputError("read finds no regions, so there is nothing to write as boxes. Its text is in the shards.")
    if "yolo" in formats:
        seen: dict[PurePosixPath, str] = {}
        for item in job.listing.items:
            name = _relative(item.picture, item.index)
            if name in seen:
                raise DataError(f"{seen[name]} and {item.picture} would both be {name} in YOLO. Rename one of them.")
            seen[name] = item.picture


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
        DataError: names of pictures do not go with a format.
    """
    formats = tuple(formats)
    check(job, formats)
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
            mask = told.get("segmentation")
            area = Mask.from_coco(mask).area if mask else told["bbox"][2] * told["bbox"][3]
            yield {"id": number, **told, "area": area, "iscrowd": 0}


def _coco_result(row: Row, region: Row, categories: Mapping[str, int]) -> dict[str, Any]:
    told = result(_id(row), categories[_name(region)], region["box"], region["score"])
    if region.get("mask"):
        told["segmentation"] = {"size": [row["height"], row["width"]], "counts": region["mask"]}
    return told


def _id(row: Row) -> int:
    """What COCO calls a picture: a number, so one whose id is text is numbered by its position."""
    return row["image_id"] if isinstance(row["image_id"], int) else row["index"] + 1


def _yolo(job: Job, categories: Mapping[str, int]) -> list[Path]:
    """One text file a picture, named as it is: `labels/deep/c.txt`; `data.yaml` names the classes, from 0."""
    folder, place = job.folder / "yolo", {name: k for k, name in enumerate(categories)}
    with whole(folder, replace=True) as temporary:
        for row in _rows(job):
            path = temporary / "labels" / _relative(row["picture"], row["index"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(_yolo_line(row, one, place) for one in _named(row, place)), encoding="utf-8")
        names = "".join(f"  {k}: {json.dumps(name, ensure_ascii=False)}\n" for name, k in place.items())
        head = "# Put the pictures, or a link to their folder, beside labels/ as images/.\ntrain: images\nval: images\n"
        told = f"names:\n{names}" if names else "names: {}\n"
        (temporary / "data.yaml").write_text(f"{head}{told}", encoding="utf-8")
    return [folder]


def _yolo_line(row: Row, region: Row, place: Mapping[str, int]) -> str:
    (x1, y1, x2, y2), width, height = region["box"], row["width"], row["height"]
    parts = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return f"{place[_name(region)]} {' '.join(f'{part:.6f}' for part in parts)}\n"


def _relative(picture: str, index: int) -> PurePosixPath:
    """The name of a picture's text file; a number where its own does not stay in the folder."""
    name = PurePosixPath(picture.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or ":" in picture or "#" in picture:
        name = PurePosixPath(f"{index:09d}")
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


def _opened(job: Job) -> Iterator[Row]:
    """The rows of pictures that could be opened."""
    return (row for row in job.shards.rows(_COLUMNS) if row["width"] is not None)


def _rows(job: Job) -> Iterator[Row]:
    """The same rows, without the regions that were found for words of which some were not judged."""
    for row in _opened(job):
        unjudged = _unjudged(row, job)
        yield {**row, "regions": [one for one in row["regions"] or () if one["phrase"] not in unjudged]}


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
