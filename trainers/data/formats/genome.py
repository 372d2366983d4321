"""Visual Genome's regions: boxes, each with the phrase that a person wrote of it.

    region_descriptions.json     [{"id": 1, "regions": [{"phrase": "the clock is green", "x": 421, "y": 57,
                                   "width": 82, "height": 139}]}, …]
    image_data.json              [{"image_id": 1, "width": 800, "height": 600, "url": "…/VG_100K_2/1.jpg"}, …]

Pictures lie in `VG_100K` and `VG_100K_2` as they are handed out, or all in one folder. What two people wrote in the
same words is one phrase of two boxes.
"""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent.errors import DataError
from fo1agent.trainers.data.files import ArrayFile
from fo1agent.trainers.data.formats.boxes import BoxReader
from fo1agent.trainers.data.formats.fields import identity, objects, size, text, twin
from fo1agent.trainers.data.formats.source import Source, SourceRecipe, Tolerance, object_source
from fo1agent.trainers.data.records import Example, Reference

REGIONS, PICTURES = "region_descriptions.json", "image_data.json"


def read_genome(
    path: str | Path,
    images: str | Path | None = None,
    tolerance: Tolerance | None = None,
    boxes: str | None = None,
) -> Source:
    """The pictures of Visual Genome, with their regions' phrases.

    Args:
        path: the folder with `region_descriptions.json` and `image_data.json`, or the former.
        images: folder that holds the pictures or the folders of them; that of the files if None.
        tolerance: how many pictures may be bad.
        boxes: the form of x, y, width and height, of `boxes.FORMS`; None for pixels.

    Raises:
        DataError: a file is missing, or is not what it should be.
    """
    path = Path(path)
    root = path if path.is_dir() else path.parent
    known: dict[int | str, tuple[int, int, str]] = {}
    for record in ArrayFile(root / PICTURES):
        with contextlib.suppress(DataError, KeyError, TypeError):  # its regions are the bad record
            known[identity(record["image_id"])] = (*size(record["width"], record["height"]), str(record.get("url", "")))
    reader = BoxReader("xywh", boxes)
    parse = partial(_example, known=known, images=Path(images) if images else root, reader=reader)
    return object_source(root / REGIONS, parse, tolerance=tolerance, doubts=reader.doubts)


def looks_like(path: Path) -> bool:
    root = path if path.is_dir() else path.parent
    return (path.is_dir() or path.name == REGIONS) and (root / REGIONS).is_file() and (root / PICTURES).is_file()


def open_source(recipe: SourceRecipe) -> Source:
    return read_genome(recipe.path, recipe.images, recipe.tolerance, recipe.boxes)


def _example(
    record: dict[str, Any], source: str, known: dict[Any, tuple[int, int, str]], images: Path, reader: BoxReader
) -> Example:
    key = twin(identity(record["id"] if "id" in record else record["image_id"]), known)
    if key not in known:
        raise DataError(f"picture {key!r} has no size in {PICTURES}")
    width, height, url = known[key]
    rows, sentences = [], []
    for region in objects(record["regions"], "regions"):
        rows.append((region["x"], region["y"], region["width"], region["height"]))
        sentences.append(text(region["phrase"], "phrase"))
    boxes, kept, remarks = reader.read(rows, width, height, "regions[{}]".format)
    named: dict[str, list[int]] = {}
    for position, k in enumerate(kept):
        named.setdefault(sentences[k], []).append(position)
    folder, _, name = "/".join(url.split("/")[-2:]).rpartition("/")
    name = name or f"{key}.jpg"
    path = images / folder / name if folder and (images / folder).is_dir() else images / name
    return Example(
        key,
        path,
        width,
        height,
        boxes,
        ("",) * len(boxes),
        np.zeros(len(boxes), dtype=bool),
        phrases=tuple(Reference(words, tuple(of)) for words, of in named.items()),
        source=source,
        remarks=remarks,
    )
