"""Pascal VOC: one XML file a picture, with its objects.

    Annotations/a.xml            filename, size, object: name, bndbox (xmin, ymin, xmax, ymax; the first pixel is 1)
    JPEGImages/a.jpg
    ImageSets/Main/train.txt     a split: names of pictures, one a line

The pictures may also lie beside the XML files, or in `images`. Whether boxes are exhaustive, the files do not say: give
`names` in the recipe if they are, and each of these without a box counts as absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from fo1agent.errors import DataError
from fo1agent.evaluate.files import opened, read_bytes, read_text
from fo1agent.trainers.data.files import MAX_LIST, MAX_OF_PICTURE, is_twin
from fo1agent.trainers.data.formats.boxes import BoxReader
from fo1agent.trainers.data.formats.fields import PICTURE_SUFFIXES, absent_of, flag, picture_size, size, text
from fo1agent.trainers.data.formats.source import Source, SourceRecipe
from fo1agent.trainers.data.records import Example

DIFFICULT = "a box is marked difficult, and is read as any other"


def looks_like(path: Path) -> bool:
    folder = path / "Annotations" if (path / "Annotations").is_dir() else path
    if not folder.is_dir() or (path / "Sentences").is_dir():
        return False
    first = next((p for p in folder.glob("*.xml") if not is_twin(p.name)), None)
    if first is None:
        return False
    if folder.name == "Annotations":
        return True
    with opened(first) as file:
        return b"<annotation" in file.read(1 << 12)


def open_source(recipe: SourceRecipe) -> Source:
    """The pictures of the folder that holds `Annotations`, or of that of the XML files; a split is a file of
    `ImageSets/Main`.

    Raises:
        DataError: no XML files, or no such split.
    """
    root, split, names = recipe.path, recipe.split, recipe.names
    folder = root / "Annotations" if (root / "Annotations").is_dir() else root
    if split is None:
        files = sorted(str(p) for p in folder.glob("*.xml") if not is_twin(p.name))
    else:
        listing = root / "ImageSets" / "Main" / f"{split}.txt"
        try:
            lines = read_text(listing, MAX_LIST).splitlines()
        except DataError as exc:
            raise DataError(f"No pictures of split {split!r}: {exc}") from exc
        files = [str(folder / f"{line.split()[0]}.xml") for line in lines if line.strip()]
    if not files:
        raise DataError(f"{folder}: no XML files.")
    reader = BoxReader("xyxy", hint=None)
    places = [recipe.images] if recipe.images else [root / "JPEGImages", root / "images", folder]
    parse = partial(_example, places=places, names=names, reader=reader)
    return recipe.source(files, parse, files.__getitem__, names, reader.doubts)


def parse_xml(file: Path) -> ElementTree.Element:
    """The `annotation` of a stranger's small XML file.

    Raises:
        DataError: the root is another element, it is no regular file, too large, or defines entities, which
            annotations need not and attacks do.
    """
    root = ElementTree.fromstring(read_bytes(file, MAX_OF_PICTURE), ElementTree.XMLParser(target=_PlainTree()))
    if root.tag != "annotation":
        raise DataError(f"root is {root.tag:.60}, wanted annotation")
    return root


class _PlainTree(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        # Called before anything that it defines is read, whatever the file's encoding.
        raise DataError("the file has a DOCTYPE; annotations need none")


def stated_size(element: ElementTree.Element) -> tuple[int, int]:
    """Width and height of a `size`.

    Raises:
        DataError: one is missing, or is no whole number.
    """
    width, height = (float(child(element, side)) for side in ("width", "height"))
    return size(width, height)


def child(element: ElementTree.Element, name: str) -> str:
    """The text of a child element.

    Raises:
        DataError: there is none.
    """
    found = only(element, name)
    value = "" if found is None else (found.text or "").strip()
    if not value:
        raise DataError(f"<{element.tag}> lacks <{name}>")
    return value


def only(element: ElementTree.Element, name: str) -> ElementTree.Element | None:
    """The one child of that name; None if there is none.

    Raises:
        DataError: there are several.
    """
    found = element.findall(name)
    if len(found) > 1:
        raise DataError(f"<{element.tag}> has {len(found)} <{name}>; wanted one")
    return found[0] if found else None


def voc_box(bndbox: ElementTree.Element) -> tuple[float, float, float, float]:
    """xyxy pixels of a `bndbox`, whose first pixel is number 1 and whose last belongs to it."""
    x1, y1, x2, y2 = (float(child(bndbox, name)) for name in ("xmin", "ymin", "xmax", "ymax"))
    return x1 - 1, y1 - 1, x2, y2


def _example(file: str, source: str, places: Sequence[Path], names: Sequence[str], reader: BoxReader) -> Example:
    path = Path(file)
    tree = parse_xml(path)
    name = only(tree, "filename")
    picture = _picture(path, None if name is None else name.text, places)
    stated = only(tree, "size")
    if stated is not None and (stated.findtext("width") or "0").strip() not in ("", "0"):
        width, height = stated_size(stated)
    else:
        width, height = picture_size(picture)
    rows, found, difficult = [], [], []
    for element in tree.iter("object"):
        bndbox = only(element, "bndbox")
        if bndbox is None:
            raise DataError(f"object {len(found)} has no <bndbox>")
        rows.append(voc_box(bndbox))
        found.append(text(child(element, "name"), "name"))
        marked = only(element, "difficult")
        difficult.append(flag((None if marked is None else marked.text) or None, "difficult"))
    boxes = reader.read(rows, width, height, "object {}".format)
    labels = [found[k] for k in boxes.kept]
    absent, remarks = absent_of(names, labels), [DIFFICULT for k in boxes.kept if difficult[k]]
    return boxes.example(path.stem, picture, (width, height), source, labels, absent=absent, remarks=remarks)


def _picture(file: Path, name: str | None, places: Sequence[Path]) -> Path:
    # What <filename> says, without the folders of the machine it was written on; or the picture of the same name.
    wanted = (name or "").strip().replace("\\", "/").rsplit("/", 1)[-1]
    for folder in places:
        if wanted and (folder / wanted).is_file():
            return folder / wanted
    for folder in places:
        for suffix in sorted(PICTURE_SUFFIXES):
            if (folder / (file.stem + suffix)).is_file():
                return folder / (file.stem + suffix)
    if wanted and len(places) == 1:
        return places[0] / wanted  # it may be fetched later; reading the boxes needs no pictures
    raise DataError(f"no picture {wanted or file.stem} in {', '.join(map(str, places))}")
