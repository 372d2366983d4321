"""Other people's formats, and our own lines, read into `Example`s; one module a format.

A format's module has `looks_like(path)`, which looks at a file or folder as briefly as it can, and
`open_source(recipe)`. It is imported when it is asked, so whoever trains on one format loads no other.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from fo1agent.bounded import kind_of
from fo1agent.errors import DataError, InputError
from fo1agent.trainers.data.files import first_sign, is_twin
from fo1agent.trainers.data.formats.fields import PICTURE_SUFFIXES
from fo1agent.trainers.data.formats.source import Problems, Source, SourceRecipe, Tolerance


@dataclass(frozen=True)
class Format:
    """A format as a path is looked at.

    Attributes:
        what: in a person's words.
        takes: fields of a recipe that not every format uses; given to another one, they are a slip.
        likely: endings of files that are likely meant to be of it, where no format knows them.
        file: it is read from one file.
    """

    what: str
    takes: tuple[str, ...] = ()
    likely: tuple[str, ...] = ()
    file: bool = False


# In the order in which a path is tried: what is easily told apart first.
FORMATS = {
    "examples": Format(
        "lines of our own: everything, lossless (.jsonl)", ("images", "boxes"), likely=(".jsonl",), file=True
    ),
    "coco": Format("COCO or LVIS instances (.json)", ("images", "captions", "boxes"), likely=(".json",), file=True),
    "yolo": Format("YOLO folder (data.yaml, images/, labels/)", ("split", "boxes"), likely=(".yaml", ".yml")),
    "voc": Format("Pascal VOC (Annotations/*.xml)", ("images", "split", "names")),
    "refcoco": Format("RefCOCO, RefCOCO+, RefCOCOg (instances.json, refs.json)", ("images", "split", "boxes")),
    "flickr": Format("Flickr30k Entities (Annotations/, Sentences/)", ("images", "split")),
    "genome": Format("Visual Genome regions (region_descriptions.json, image_data.json)", ("images", "boxes")),
    "scene_text": Format(
        "written words: COCO-Text (.json), ICDAR (gt_*.txt), lines of words (.jsonl)", ("images", "split", "boxes")
    ),
    "conversations": Format(
        "VLM-FO1 or LLaVA conversations (.jsonl, .json)", ("images", "boxes", "words_alone"), file=True
    ),
    "questions": Format("questions, counts, statements, caption pairs (.jsonl)", ("images", "boxes"), file=True),
    "captions": Format("captions (.jsonl, .json, .csv)", ("images",), likely=(".csv", ".tsv"), file=True),
    "shards": Format("WebDataset shards (.tar)", ("boxes",), likely=(".tar",)),
    "hub": Format("Hugging Face datasets (folder, .parquet)", ("split", "columns")),
}
_TAKEN = ("images", "split", "captions", "names", "boxes", "columns", "words_alone")
_LIKELIEST = {suffix: name for name, one in FORMATS.items() for suffix in one.likely}
_MOST_FILES, _LOOKED_AT = 12, 10_000
_SEE = "See `fo1agent data check --help` for formats."

__all__ = ["FORMATS", "Problems", "Source", "SourceRecipe", "Tolerance", "guess_format", "open_source"]


def open_source(recipe: SourceRecipe) -> Source:
    """Open a source by its recipe; iterate it, or take examples by position.

    Raises:
        InputError: an unknown format, or a field of the recipe that its format does not use.
        DataError: there is nothing at its path, or nothing of its format.
    """
    if recipe.format is not None and recipe.format not in FORMATS:
        raise InputError(f"{recipe.path}: unknown format {recipe.format!r}. Known: {', '.join(FORMATS)}.")
    path, name = _find(recipe.path, recipe.format)
    for field in _TAKEN:
        if getattr(recipe, field) and field not in FORMATS[name].takes:
            formats = ", ".join(other for other, one in FORMATS.items() if field in one.takes)
            raise InputError(f"{path}: {field} is for {formats}; this is {name}.")
    try:
        source = _module(name).open_source(replace(recipe, path=path, format=name))
    except OSError as exc:
        raise DataError(f"Cannot read {path} as {name}: {exc}.") from exc
    except RecursionError as exc:  # a message shows what is nested, too
        raise DataError(f"{path} is nested too deep for {name}.") from exc
    source.limit = recipe.limit
    return source


def guess_format(path: Path) -> str:
    """The format of what lies at `path`; of a folder that is none itself, that of the only source in it.

    Raises:
        DataError: nothing is there, or no format knows it; says what is wrong with it in the likeliest one.
    """
    return _find(Path(path), None)[1]


def _find(path: Path, name: str | None) -> tuple[Path, str]:
    """A source's path and format: those given, the format that knows what lies there, or the only file in the folder.

    Raises:
        DataError: see `guess_format`.
    """
    _check_there(path)
    if name is not None and not (path.is_dir() and FORMATS[name].file):
        return path, name
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{path} is empty.")
    if name is None and (known := _known(path)) is not None:
        return path, known
    if not path.is_dir():
        raise DataError(f"{path}: {_why_no_file(path)}")
    inside = {file: kind for file, kind in _files_inside(path).items() if name in (None, kind)}
    if len(inside) == 1:
        return next(iter(inside.items()))
    if inside:
        listed = ", ".join(f"{file.relative_to(path)} ({kind})" for file, kind in inside.items())
        raise DataError(f"{path} is a folder of files; name one of them: {listed}.")
    if name is not None:
        raise DataError(f"{path} is a folder, and no file in it is of the format {name}. Name the file.")
    raise DataError(f"{path}: {_why_no_folder(path)}")


def _known(path: Path) -> str | None:
    """The first format that knows what lies there."""
    for name in FORMATS:
        try:
            if _module(name).looks_like(path):
                return name
        except (OSError, DataError, UnicodeDecodeError):
            continue
    return None


def _why_no_file(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix in (".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"):
        return "it is packed; unpack it, and name the folder or file that comes out of it."
    if suffix in PICTURE_SUFFIXES:
        return f"a picture is no data set; name what says what is in it. {_SEE}"
    if suffix in (".txt", ".xml"):
        return f"a {suffix} file is no data set by itself; name the folder that it belongs to. {_SEE}"
    if suffix == ".json" and first_sign(file) == b"[":
        return _why(file, "conversations")
    if suffix in _LIKELIEST:
        return _why(file, _LIKELIEST[suffix])
    return f"no format known has files that end in {suffix!r}. {_SEE}" if suffix else f"no format known fits. {_SEE}"


def _why_no_folder(folder: Path) -> str:
    inside = [p for p in sorted(islice(folder.iterdir(), _LOOKED_AT)) if not is_twin(p.name)]
    if not inside:
        return f"it is an empty folder. {_SEE}"
    names = {p.name for p in inside}
    if "labels" in names or any((p / "labels").is_dir() for p in inside):
        return _why(folder, "yolo")
    if "Annotations" in names or any(p.suffix == ".xml" for p in inside):
        return _why(folder, "voc")
    file = next((p for p in inside if p.suffix in _LIKELIEST and p.is_file()), None)
    if file is not None:
        return f"{file.name}: {_why_no_file(file)}"
    if "images" in names or any(p.suffix.lower() in PICTURE_SUFFIXES for p in inside):
        return f"there are pictures, and nothing that says what is in them. {_SEE}"
    return f"nothing in it is of a format known. {_SEE}"


def _why(path: Path, name: str) -> str:
    """What is wrong with a source in a format that it is likely meant to be of."""
    try:
        source = _module(name).open_source(SourceRecipe(path, format=name, tolerance=Tolerance(share=1)))
        source.limit = 1
        list(source)
        reason = next(iter(source.problems.first), "")
    except (DataError, InputError, OSError, RecursionError) as exc:
        reason = str(exc) or "nested too deep"
    reason = reason.removeprefix(f"{path}: ").removesuffix(".")
    told = f"not readable as {name}: {reason}" if reason else f"not readable as {name}"
    return f"{told if len(told) <= 400 else told[:399] + '…'}. {_SEE}"


def _check_there(path: Path) -> None:
    """Refuse what is neither a file nor a folder; opening a pipe would wait for its other end."""
    if not path.exists():
        raise DataError(f"There is no {path}.")
    if not path.is_dir() and (kind := kind_of(path)):
        raise DataError(f"{path} is {kind}, not a regular file or folder.")


def _files_inside(folder: Path) -> dict[Path, str]:
    """The files of a folder, and of the folders in it, that are sources by themselves, with their formats."""
    inside = (p for pattern in ("*", "*/*") for p in sorted(folder.glob(pattern)) if not is_twin(p.relative_to(folder)))
    files = islice((p for p in inside if p.suffix in (".json", ".jsonl", ".csv", ".tsv") and p.is_file()), _MOST_FILES)
    return {file: kind for file in files if (kind := _known(file)) is not None}


def _module(name: str) -> Any:
    package = "fo1agent.trainers.data" if name == "coco" else __name__
    return importlib.import_module(f"{package}.{name}")
