"""Other people's formats, and our own lines, read into `Example`s; one module a format.

A format's module has `looks_like(path)`, which looks at a file or folder as briefly as it can, and
`open_source(recipe)`. They are imported when they are asked.
"""

from __future__ import annotations

import importlib
from itertools import islice
from pathlib import Path
from typing import Any

from fo1agent.errors import DataError, InputError
from fo1agent.trainers.data.files import is_twin, kind_of
from fo1agent.trainers.data.formats.source import Problems, Source, SourceRecipe, Tolerance

# In the order in which a path is tried: what is easily told apart first.
FORMATS = {
    "examples": "lines of our own: everything, lossless (.jsonl)",
    "coco": "COCO or LVIS instances (.json)",
    "yolo": "YOLO folder (data.yaml, images/, labels/)",
    "voc": "Pascal VOC (Annotations/*.xml)",
    "refcoco": "RefCOCO, RefCOCO+, RefCOCOg (instances.json, refs.json)",
    "flickr": "Flickr30k Entities (Annotations/, Sentences/)",
    "genome": "Visual Genome regions (region_descriptions.json, image_data.json)",
    "scene_text": "written words: COCO-Text (.json), ICDAR (gt_*.txt), lines of words (.jsonl)",
    "conversations": "VLM-FO1 or LLaVA conversations (.jsonl, .json)",
    "questions": "questions, counts, statements, caption pairs (.jsonl)",
    "captions": "captions (.jsonl, .json, .csv)",
    "shards": "WebDataset shards (.tar)",
    "hub": "Hugging Face datasets (folder, .parquet)",
}

__all__ = ["FORMATS", "Problems", "Source", "SourceRecipe", "Tolerance", "guess_format", "open_source"]


def open_source(recipe: SourceRecipe) -> Source:
    """Open a source by its recipe; iterate it, or take examples by position.

    Raises:
        InputError: an unknown format, or a field of the recipe that its format does not use.
        DataError: there is nothing at its path, or nothing of its format.
    """
    name = recipe.format or guess_format(recipe.path)
    if name not in FORMATS:
        raise InputError(f"{recipe.path}: unknown format {name!r}. Known: {', '.join(FORMATS)}.")
    _check_there(recipe.path)
    for field, formats in _ONLY.items():
        if getattr(recipe, field) and name not in formats:
            raise InputError(f"{recipe.path}: {field} is for {', '.join(formats)}; this is {name}.")
    try:
        source = _module(name).open_source(recipe)
    except OSError as exc:
        raise DataError(f"Cannot read {recipe.path} as {name}: {exc}.") from exc
    except RecursionError as exc:  # a message shows what is nested, too
        raise DataError(f"{recipe.path} is nested too deep for {name}.") from exc
    source.limit = recipe.limit
    return source


# Fields of a recipe that only some formats use: given to another one, they are a slip.
_ONLY = {
    "images": ("examples", "coco", "voc", "refcoco", "flickr", "genome", "scene_text", "conversations", "questions",
               "captions"),
    "split": ("yolo", "voc", "refcoco", "flickr", "scene_text", "hub"),
    "captions": ("coco",),
    "names": ("voc",),
    "boxes": ("examples", "coco", "yolo", "refcoco", "genome", "scene_text", "conversations", "questions", "shards"),
    "columns": ("hub",),
    "words_alone": ("conversations",),
}  # fmt: skip


def guess_format(path: Path) -> str:
    """The format of what lies at `path`.

    Raises:
        DataError: nothing is there, or no format knows it; lists what was tried.
    """
    path = Path(path)
    _check_there(path)
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{path} is empty.")
    for name in FORMATS:
        try:
            if _module(name).looks_like(path):
                return name
        except (OSError, DataError, UnicodeDecodeError):
            continue
    if path.is_dir() and (inside := _files_inside(path)):
        raise DataError(f"{path} is a folder of files; name one of them: {', '.join(inside)}.")
    if path.suffix in (".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"):
        raise DataError(f"{path} is packed; unpack it, and name the folder or file that comes out of it.")
    tried = "; ".join(f"{name}: {what}" for name, what in FORMATS.items())
    raise DataError(f"{path} looks like none of the formats known ({tried}). Name its format if it is one of them.")


def _check_there(path: Path) -> None:
    """Refuse what is neither a file nor a folder; opening a pipe would wait for its other end."""
    if not path.exists():
        raise DataError(f"There is no {path}.")
    if not path.is_dir() and (kind := kind_of(path)):
        raise DataError(f"{path} is {kind}, not a regular file or folder.")


def _files_inside(folder: Path, most: int = 12) -> list[str]:
    """The files of a folder, and of the folders in it, that are sources by themselves."""
    found = []
    inside = (p for pattern in ("*", "*/*") for p in sorted(folder.glob(pattern)) if not is_twin(p.relative_to(folder)))
    for file in islice((p for p in inside if p.suffix in (".json", ".jsonl", ".csv", ".tsv") and p.is_file()), most):
        try:
            found.append(f"{file.relative_to(folder)} ({guess_format(file)})")
        except DataError:
            continue
    return found


def _module(name: str) -> Any:
    package = "fo1agent.trainers.data" if name == "coco" else __name__
    return importlib.import_module(f"{package}.{name}")
