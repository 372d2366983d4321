"""RefCOCO, RefCOCO+ and RefCOCOg: phrases that name one box of a COCO picture.

    instances.json         COCO's boxes of these pictures
    refs.json              [{"ref_id": 1, "ann_id": 1719310, "image_id": 581857, "split": "train",
                             "sentences": [{"sent": "navy blue shirt"}, …]}, …]

The data sets are handed out with a pickle, `refs(unc).p`, in place of `refs.json`. A pickle can run any program when it
is opened, so this reader opens none. Turn one that you trust into JSON yourself:

    python -c "import json, pickle; json.dump(pickle.load(open('refs(unc).p', 'rb')), open('refs.json', 'w'))"
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fo1agent.errors import DataError
from fo1agent.trainers.data.coco import CocoTree, read_tree
from fo1agent.trainers.data.files import ArrayFile, is_twin
from fo1agent.trainers.data.formats.boxes import BoxReader
from fo1agent.trainers.data.formats.fields import objects, text, twin
from fo1agent.trainers.data.formats.source import Source, SourceRecipe
from fo1agent.trainers.data.records import Example, Reference

INSTANCES = "instances.json"


def looks_like(path: Path) -> bool:
    root = path if path.is_dir() else path.parent
    if not (root / INSTANCES).is_file():
        return False
    if path.is_file():
        return path.name != INSTANCES and path.suffix == ".json" and _is_references(path)
    return any(_is_references(file) for file in path.glob("*.json")) or bool(list(path.glob("refs*.p")))


def open_source(recipe: SourceRecipe) -> Source:
    """The pictures that phrases were written for, with all their boxes: of a folder, or of the JSON of the references
    with `instances.json` beside it. The pictures lie in `images`.

    Raises:
        DataError: a file is missing, or is not what it should be; only a pickle is there.
    """
    path, split = recipe.path, recipe.split
    root = path if path.is_dir() else path.parent
    references = path if path.is_file() else _references(root)
    tree = read_tree(root / INSTANCES)
    of_picture: dict[Any, list[dict[str, Any]]] = {}
    for k, reference in enumerate(ArrayFile(references)):
        if split is None or reference.get("split") == split:
            identity = twin(reference.get("image_id"), tree.position)
            # One that names no picture is a bad record of its own.
            key = identity if isinstance(identity, int | str) else f"of reference {k}"
            of_picture.setdefault(key, []).append(reference)
    if not of_picture:
        raise DataError(f"{references}: no references of split {split!r}.")
    ids, folder = list(of_picture), recipe.images or root / "images"
    reader = BoxReader("xywh", recipe.boxes)
    parse = partial(_example, tree=tree, images=folder, references=of_picture, reader=reader)
    return recipe.source(ids, parse, lambda k: f"{references.name}, image {ids[k]}", tree.categories, reader.doubts)


def _example(
    identity: int,
    source: str,
    tree: CocoTree,
    images: Path,
    references: dict[Any, list[dict[str, Any]]],
    reader: BoxReader,
) -> Example:
    if identity not in tree.position:
        raise DataError(f"it is not in {INSTANCES}")
    example, annotations = tree.example(tree.position[identity], images, source, reader=reader)
    position = {annotation: k for k, annotation in enumerate(annotations)}
    named: dict[str, list[int]] = {}
    for reference in references[identity]:
        box = twin(reference["ann_id"], position)
        if box not in position:
            raise DataError(f"reference {reference.get('ref_id')}: no box has the id {reference['ann_id']!r}")
        for sentence in objects(reference["sentences"], "sentences"):
            boxes = named.setdefault(text(sentence["sent"], "sent"), [])
            if position[box] not in boxes:
                boxes.append(position[box])
    return replace(example, phrases=tuple(Reference(words, tuple(boxes)) for words, boxes in named.items()))


def _references(root: Path) -> Path:
    files = [file for file in sorted(root.glob("*.json")) if file.name != INSTANCES and not is_twin(file.name)]
    found = [file for file in files if _is_references(file)]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{root} holds several files of references ({', '.join(f.name for f in found)}); name one.")
    if pickles := sorted(root.glob("refs*.p")):
        raise DataError(
            f"{root} holds {pickles[0].name}, a pickle, which can run any program when it is opened; it is not read. "
            f"If you trust it, write {root / 'refs.json'} from it; how is said in docs/data.md."
        )
    raise DataError(f"{root}: no JSON of references beside {INSTANCES}.")


def _is_references(file: Path) -> bool:
    try:
        return {"ann_id", "sentences"} <= next(iter(ArrayFile(file)), {}).keys()
    except DataError:
        return False
