"""Data sets of Hugging Face `datasets`, from a folder on this machine: parquet files, or what `save_to_disk` wrote.

Which column holds what, the recipe says:

    {path: cppe5/, format: hub, columns: {image: image, boxes_xywh: objects.bbox, labels: objects.category}}

Fields are `image`, `id`, `width`, `height`; `boxes_xyxy`, `boxes_xywh` or `boxes_cxcywh` (pixels), or one of these with
`_normalized` (from 0 to 1) or `_1000` (from 0 to 1000) behind it; `labels` (text, or numbers whose names the data set
knows), `texts`, `caption`, `captions`, `question` with `answer`, and `conversations`. A point leads into a column:
`objects.bbox`. Pictures are decoded when they are used. The network is not asked for anything.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fo1agent.errors import DataError, InputError, MissingExtraError
from fo1agent.evaluate.files import check_regular
from fo1agent.extras import install_line
from fo1agent.trainers.data.files import is_twin
from fo1agent.trainers.data.formats.boxes import FORMS, BoxReader
from fo1agent.trainers.data.formats.conversations import turns_of
from fo1agent.trainers.data.formats.fields import identity, picture_size, size, text
from fo1agent.trainers.data.formats.source import Source, SourceRecipe
from fo1agent.trainers.data.records import Example, Turn

BOXES = {f"boxes_{form.replace('-', '_')}": form for form in FORMS}
FIELDS = (
    *("image", "id", "width", "height", *BOXES, "labels", "texts"),
    *("caption", "captions", "question", "answer", "conversations"),
)


def looks_like(path: Path) -> bool:
    if path.is_file():
        return path.suffix == ".parquet"
    return any((path / name).is_file() for name in ("dataset_info.json", "dataset_dict.json", "state.json")) or any(
        not is_twin(p.relative_to(path)) for p in path.rglob("*.parquet")
    )


def open_source(recipe: SourceRecipe) -> Source:
    """The rows of a `.parquet` file, a folder of them, or a folder that `save_to_disk` wrote.

    Of a folder with several splits, one; in a folder of parquet files, that is what their names start with.

    Raises:
        MissingExtraError: `datasets` is not installed.
        InputError: no or unknown fields, or a column that is not there.
        DataError: no such data set.
    """
    path, columns = recipe.path, recipe.columns
    unknown = sorted(set(columns) - set(FIELDS))
    if unknown or "image" not in columns:
        what = f"unknown field(s) {', '.join(unknown)}" if unknown else "no column for image"
        raise InputError(f"{path}: {what}. Say in columns which column holds which of: {', '.join(FIELDS)}.")
    told = [field for field in columns if field in BOXES]
    if len(told) > 1:
        raise InputError(f"{path}: {' and '.join(told)} are one too many; boxes have one form.")
    data = _open(path, recipe.split)
    for name in columns.values():
        if name.split(".")[0] not in data.column_names:
            raise InputError(f"{path}: there is no column {name!r}; it has {', '.join(data.column_names)}.")
    try:
        names = _label_names(data.features, columns["labels"]) if "labels" in columns else ()
    except (LookupError, TypeError) as exc:
        raise InputError(f"{path}: column {columns['labels']!r} leads to nothing in {data.features}.") from exc
    form = BOXES[told[0]] if told else "xyxy"
    reader = BoxReader(
        form, hint=lambda other: f"say boxes_{other.replace('-', '_')}={columns[told[0]]}" if told else other
    )
    parse = partial(_example, columns=dict(columns), names=names, reader=reader)
    return recipe.source(data, parse, lambda k: f"{path.name}, row {k}", names, reader.doubts)


def _open(path: Path, split: str | None) -> Any:
    try:
        import datasets
    except ImportError as exc:
        raise MissingExtraError(f"Hugging Face data sets need one more package: {install_line('hub')}") from exc
    try:
        tables = sorted(p for p in path.rglob("*.parquet") if not is_twin(p.relative_to(path)))
        if path.is_dir() and not tables:
            data = datasets.load_from_disk(str(path))
            if isinstance(data, datasets.DatasetDict):
                wanted = split or next(iter(data), None)
                if wanted not in data:
                    raise DataError(f"{path}: no split {wanted!r}; it has {', '.join(map(str, data))}.")
                data = data[wanted]
        else:
            files = [path] if path.is_file() else tables
            chosen: list[Any] = [str(f) for f in files if split is None or f.name.startswith(split)]
            if not chosen:
                raise DataError(f"{path}: no parquet files whose names start with {split!r}.")
            for file in chosen:
                check_regular(file)
            data = datasets.Dataset.from_parquet(chosen, keep_in_memory=False)
    except (OSError, ValueError) as exc:
        raise DataError(
            f"{path} is no data set that can be read: {' '.join(str(exc).split()).removesuffix('.')}."
        ) from exc
    for name, feature in data.features.items():
        if isinstance(feature, datasets.Image):
            data = data.cast_column(name, datasets.Image(decode=False))
    return data


def _label_names(features: Mapping[str, Any], column: str) -> tuple[str, ...]:
    """Names of a column of class numbers; () if it holds text."""
    feature: Any = features
    for part in column.split("."):
        feature = getattr(feature, "feature", feature)
        feature = feature[0] if isinstance(feature, list) else feature
        feature = feature[part]
    feature = feature[0] if isinstance(feature, list) else getattr(feature, "feature", feature)
    return tuple(getattr(feature, "names", ()))


def _example(
    row: Mapping[str, Any], source: str, columns: Mapping[str, str], names: tuple[str, ...], reader: BoxReader
) -> Example:
    have = {name: _value(row, column) for name, column in columns.items()}
    path, data = _picture(have["image"])
    if "width" in have and "height" in have:
        width, height = size(have["width"], have["height"])
    else:
        width, height = picture_size(io.BytesIO(data) if data is not None else path or Path())
    rows = next((list(have[field] or ()) for field in BOXES if field in have), [])
    boxes = reader.read(rows, width, height, "box {}".format)
    labels = _per_box([_name(v, names) for v in have.get("labels") or ()], rows, boxes.kept, "labels", "")
    texts = _per_box(list(have.get("texts") or ()), rows, boxes.kept, "texts", None) if "texts" in have else ()
    captions = have.get("captions") or ([have["caption"]] if have.get("caption") else [])
    turns = turns_of(have["conversations"], len(boxes.kept)) if "conversations" in have else ()
    if turns and len(boxes.kept) < len(rows):
        raise DataError("a box lies outside the picture")
    if "question" in have:
        turns = (*turns, Turn(text(have["question"], "question"), text(str(have.get("answer") or ""), "answer")))
    name, said = identity(have.get("id", source)), tuple(text(sentence, "caption") for sentence in captions)
    return boxes.example(
        name, path, (width, height), source, labels, captions=said, texts=texts, turns=turns, data=data
    )


def _value(row: Mapping[str, Any], column: str) -> Any:
    value: Any = row
    for part in column.split("."):
        value = [item[part] for item in value] if isinstance(value, list) else value[part]
    return value


def _picture(value: Any) -> tuple[Path | None, bytes | None]:
    if isinstance(value, dict) and value.get("bytes"):
        return None, value["bytes"]
    if isinstance(value, bytes):
        return None, value
    name = value.get("path") if isinstance(value, dict) else value
    if not isinstance(name, str) or not name:
        raise DataError("has no picture")
    return Path(name), None


def _name(value: Any, names: tuple[str, ...]) -> str:
    if isinstance(value, int) and names:
        if not 0 <= value < len(names):
            raise DataError(f"label {value}, but there are {len(names)} names")
        return names[value]
    return str(value)


def _per_box(values: list[Any], rows: list[Any], kept: list[int], what: str, filler: Any) -> tuple[Any, ...]:
    if not values and filler is not None:
        return (filler,) * len(kept)
    if len(values) != len(rows):
        raise DataError(f"{len(values)} {what} for {len(rows)} boxes")
    return tuple(values[k] for k in kept)
