"""Flickr30k Entities: sentences whose phrases are linked to boxes.

    Annotations/36979.xml     size; object: name (ids, several allowed), bndbox, or nobndbox / scene
    Sentences/36979.txt       [/EN#137644/people A group of friends] playing [/EN#137645/other cards] .
    images/36979.jpg

Sentences become captions, linked phrases become phrases. A phrase that names the scene, or something that has no box,
is left out: that nobody drew a box does not mean that nothing is there.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from fo1agent.errors import DataError
from fo1agent.trainers.data.files import MAX_LIST, MAX_OF_PICTURE, is_twin, read_text
from fo1agent.trainers.data.formats.boxes import BoxReader
from fo1agent.trainers.data.formats.source import Source, SourceRecipe, Tolerance
from fo1agent.trainers.data.formats.voc import only, parse_xml, stated_size, voc_box
from fo1agent.trainers.data.records import Example, Reference

_PHRASE = re.compile(r"\[/EN#(\d+)/([^\s\]]+) ([^\]]+)\]")


def read_flickr(
    path: str | Path,
    images: str | Path | None = None,
    split: str | None = None,
    tolerance: Tolerance | None = None,
) -> Source:
    """The pictures of Flickr30k Entities, with captions, boxes and phrases.

    Args:
        path: the folder with `Annotations` and `Sentences`.
        images: folder of the pictures; `images`, or `flickr30k-images`, in `path` if None.
        split: `train`, `val` or `test`: the ids of `train.txt`, …; None for all.
        tolerance: how many pictures may be bad.

    Raises:
        DataError: no such files.
    """
    root = Path(path)
    if split is None:
        ids = sorted(p.stem for p in (root / "Sentences").glob("*.txt") if not is_twin(p.name))
    else:
        try:
            ids = read_text(root / f"{split}.txt", MAX_LIST).split()
        except DataError as exc:
            raise DataError(f"No ids of split {split!r}: {exc}") from exc
    if not ids:
        raise DataError(f"{root / 'Sentences'}: no sentences.")
    default = root / "flickr30k-images" if (root / "flickr30k-images").is_dir() else root / "images"
    folder = Path(images) if images else default
    reader = BoxReader("xyxy", hint=None)
    return Source(
        str(path),
        ids,
        partial(_example, root=root, images=folder, reader=reader),
        lambda position: f"{root.name}/{ids[position]}",
        tolerance=tolerance,
        doubts=reader.doubts,
    )


def looks_like(path: Path) -> bool:
    return (path / "Sentences").is_dir() and (path / "Annotations").is_dir()


def open_source(recipe: SourceRecipe) -> Source:
    return read_flickr(recipe.path, recipe.images, recipe.split, recipe.tolerance)


def _example(identity: str, source: str, root: Path, images: Path, reader: BoxReader) -> Example:
    tree = parse_xml(root / "Annotations" / f"{identity}.xml")
    stated = only(tree, "size")
    if stated is None:
        raise DataError("Annotations lack <size>")
    width, height = stated_size(stated)
    rows, chains = [], []
    for element in tree.iter("object"):
        bndbox = only(element, "bndbox")
        if bndbox is not None:
            rows.append(voc_box(bndbox))
            chains.append({(name.text or "").strip() for name in element.findall("name")})
    boxes, kept, remarks = reader.read(rows, width, height)
    chains = [chains[k] for k in kept]

    captions, named = [], {}
    for line in read_text(root / "Sentences" / f"{identity}.txt", MAX_OF_PICTURE).splitlines():
        for chain, _, words in _PHRASE.findall(line):
            of_chain = {k for k, ids in enumerate(chains) if chain in ids}
            if of_chain:
                named.setdefault(words.lower(), set()).update(of_chain)
        if sentence := _PHRASE.sub(r"\3", line).strip():
            captions.append(sentence)
    phrases = tuple(Reference(words, tuple(sorted(of))) for words, of in named.items())
    return Example(
        identity,
        images / f"{identity}.jpg",
        width,
        height,
        boxes,
        ("",) * len(boxes),
        np.zeros(len(boxes), dtype=bool),
        tuple(captions),
        phrases=phrases,
        source=source,
        remarks=remarks,
    )
