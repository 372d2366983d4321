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

from fo1agent.errors import DataError
from fo1agent.evaluate.files import read_text
from fo1agent.trainers.data.files import MAX_LIST, MAX_OF_PICTURE, is_twin
from fo1agent.trainers.data.formats.boxes import BoxReader
from fo1agent.trainers.data.formats.source import Source, SourceRecipe
from fo1agent.trainers.data.formats.voc import only, parse_xml, stated_size, voc_box
from fo1agent.trainers.data.records import Example, Reference

_PHRASE = re.compile(r"\[/EN#(\d+)/([^\s\]]+) ([^\]]+)\]")


def looks_like(path: Path) -> bool:
    return (path / "Sentences").is_dir() and (path / "Annotations").is_dir()


def open_source(recipe: SourceRecipe) -> Source:
    """The pictures of the folder with `Annotations` and `Sentences`: of a split, the ids of `train.txt`, …

    They lie in `flickr30k-images`, or in `images`.
    """
    root, split = recipe.path, recipe.split
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
    reader = BoxReader("xyxy", hint=None)
    parse = partial(_example, root=root, images=recipe.images or default, reader=reader)
    return recipe.source(ids, parse, lambda k: f"{root.name}/{ids[k]}", doubts=reader.doubts)


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
    boxes = reader.read(rows, width, height)
    chains = [chains[k] for k in boxes.kept]

    captions, named = [], {}
    for line in read_text(root / "Sentences" / f"{identity}.txt", MAX_OF_PICTURE).splitlines():
        for chain, _, words in _PHRASE.findall(line):
            of_chain = {k for k, ids in enumerate(chains) if chain in ids}
            if of_chain:
                named.setdefault(words.lower(), set()).update(of_chain)
        if sentence := _PHRASE.sub(r"\3", line).strip():
            captions.append(sentence)
    phrases = tuple(Reference(words, tuple(sorted(of))) for words, of in named.items())
    path = images / f"{identity}.jpg"
    return boxes.example(identity, path, (width, height), source, captions=tuple(captions), phrases=phrases)
