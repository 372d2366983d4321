"""Visual Genome's regions: boxes, each with the phrase that a person wrote of it.

    region_descriptions.json     [{"id": 1, "regions": [{"phrase": "the clock is green", "x": 421, "y": 57,
                                   "width": 82, "height": 139}]}, …]
    image_data.json              [{"image_id": 1, "width": 800, "height": 600, "url": "…/VG_100K_2/1.jpg"}, …]

Pictures lie in `VG_100K` and `VG_100K_2` as they are handed out, or all in one folder. What two people wrote in the
same words is one phrase of two boxes.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fo1agent.errors import DataError
from fo1agent.trainers.data.files import ArrayFile
from fo1agent.trainers.data.formats.boxes import BoxReader
from fo1agent.trainers.data.formats.fields import identity, objects, size, text, twin
from fo1agent.trainers.data.formats.source import Source, SourceRecipe, record_source
from fo1agent.trainers.data.records import Example, Reference

REGIONS, PICTURES = "region_descriptions.json", "image_data.json"


def looks_like(path: Path) -> bool:
    root = path if path.is_dir() else path.parent
    return (path.is_dir() or path.name == REGIONS) and (root / REGIONS).is_file() and (root / PICTURES).is_file()


def open_source(recipe: SourceRecipe) -> Source:
    """The pictures of the folder with both files, or of the former; `images` may hold folders of pictures."""
    root = recipe.path if recipe.path.is_dir() else recipe.path.parent
    known: dict[int | str, tuple[int, int, str]] = {}
    for record in ArrayFile(root / PICTURES):
        with contextlib.suppress(DataError, KeyError, TypeError):  # its regions are the bad record
            known[identity(record["image_id"])] = (*size(record["width"], record["height"]), str(record.get("url", "")))
    regions = replace(recipe, path=root / REGIONS)
    return record_source(regions, partial(_example, known=known), "xywh", recipe.images or root)


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
    boxes = reader.read(rows, width, height, "regions[{}]".format)
    named: dict[str, list[int]] = {}
    for position, k in enumerate(boxes.kept):
        named.setdefault(sentences[k], []).append(position)
    folder, _, name = "/".join(url.split("/")[-2:]).rpartition("/")
    name = name or f"{key}.jpg"
    path = images / folder / name if folder and (images / folder).is_dir() else images / name
    phrases = tuple(Reference(words, tuple(of)) for words, of in named.items())
    return boxes.example(key, path, (width, height), source, phrases=phrases)
