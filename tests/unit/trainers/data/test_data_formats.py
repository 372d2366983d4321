"""Readers of other people's formats, each on the smallest files that have everything the format has."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fo1agent.errors import DataError, InputError
from fo1agent.trainers.data.formats import Source, SourceRecipe, Tolerance, guess_format, open_source
from fo1agent.trainers.data.formats.shards import write_shards
from fo1agent.trainers.data.records import Example, Reference, Turn, open_picture


def picture(path: Path, size: tuple[int, int] = (100, 50), turned: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if turned:
        exif[0x0112] = 6
    Image.new("RGB", size, "gray").save(path, exif=exif)
    return path


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def lines(path: Path, *records: object) -> Path:
    return write(path, "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))


def read(path: Path, wanted: str, **fields: object) -> tuple[Source, list[Example]]:
    """All examples of a source whose format is guessed, and is the wanted one; by position it holds the same."""
    assert guess_format(path) == wanted
    source = open_source(SourceRecipe(path, **fields))  # pyright: ignore[reportArgumentType]
    examples = list(source)
    again = [example for k in range(len(source)) if (example := source[k]) is not None]
    assert [e.id for e in again] == [e.id for e in examples]
    assert all(e.source for e in examples)
    assert all(len(e.boxes) == len(e.labels) == len(e.crowd) for e in examples)
    return source, examples


def rows(example: Example) -> list[list[float]]:
    return example.boxes.tolist()


# ---- COCO ------------------------------------------------------------------------------------------------------------


def coco(folder: Path) -> Path:
    tree = {
        "images": [{"id": k, "file_name": f"{k}.jpg", "width": 100, "height": 50} for k in (1, 2, 3)],
        "annotations": [
            {"id": 10, "image_id": 1, "category_id": 2, "bbox": [10, 5, 20, 30], "segmentation": [[1, 2, 3]]},
            {"id": 11, "image_id": 1, "category_id": 2, "bbox": [50, 5, 20, 30]},
            {"id": 12, "image_id": 2, "category_id": 1, "bbox": [0, 0, 100, 50], "iscrowd": 1},
        ],
        "categories": [{"id": 2, "name": "cup"}, {"id": 1, "name": "person"}],
    }
    return write(folder / "instances.json", tree)


def test_coco_counts_bad_pictures_instead_of_failing(tmp_path: Path) -> None:
    tree = json.loads(coco(tmp_path).read_text())
    tree["annotations"][2]["category_id"] = 7
    tree["annotations"].append({"id": 13, "image_id": 99, "category_id": 1, "bbox": [0, 0, 1, 1]})
    tree["images"].append({"id": 3, "file_name": "again.jpg", "width": 1, "height": 1})
    source, examples = read(write(tmp_path / "instances.json", tree), "coco")
    assert [e.id for e in examples] == [1, 3]
    assert examples[0].absent == ("person",)
    assert source.vocabulary == ("person", "cup")
    assert source.problems.first == [
        "instances.json#2: annotations[2] has category 7, which is not in the file",
        "instances.json#3: images[3] has the id of images[2]",
        "instances.json: annotations[3] belongs to image 99, which is not in the file",
    ]


@pytest.mark.parametrize(
    ("images", "annotation", "categories"),
    [
        ({"id": 1.0, "width": 100.0}, {"image_id": 1.0, "category_id": 3.0}, [3.0, 4.0]),
        ({"id": "x"}, {"image_id": "x", "category_id": "7"}, ["7", 3]),
        ({"file_name": "images\\a.jpg"}, {}, [3]),
        ({"width": None, "height": None}, {}, [3]),
    ],
)
def test_coco_as_other_tools_write_it(tmp_path: Path, images: dict, annotation: dict, categories: list) -> None:
    picture(tmp_path / "images" / "a.jpg")
    tree = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 50} | images],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [10, 5, 20, 30]} | annotation],
        "categories": [{"id": k, "name": f"name {k}"} for k in categories],
    }
    file = tmp_path / "i.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(tree, indent=1).replace("\n", "\r\n").encode())
    source, (example,) = read(file, "coco")
    assert (source.problems.bad, rows(example)) == (0, [[10, 5, 30, 35]])
    assert example.labels == (f"name {categories[0]}",)
    assert open_picture(example).size == (100, 50)


@pytest.mark.parametrize(
    ("categories", "why"),
    [
        ([{"id": 1, "name": "cup"}, {"id": 1, "name": "dog"}], r"categories\[1\] 'dog' has the id 1; wanted its own"),
        ([{"id": 1, "name": None}], r"categories\[0\] lacks id or name \(name is None; wanted text\)"),
        ([{"id": 1, "name": " "}], r"categories\[0\] lacks id or name \(name is empty\)"),
        ([{"id": 1, "name": "\ud800"}], "a category's name holds half a character"),
    ],
)
def test_coco_categories_have_an_id_and_a_name_each(tmp_path: Path, categories: list, why: str) -> None:
    with pytest.raises(DataError, match=why):
        open_source(
            SourceRecipe(write(tmp_path / "i.json", {"images": [], "annotations": [], "categories": categories}))
        )


@pytest.mark.parametrize(
    ("file", "pictures"),
    [
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/instances_default.json", "images"),
        ("train/_annotations.coco.json", "train"),
    ],
)
def test_coco_folders_of_other_tools_are_known(tmp_path: Path, file: str, pictures: str) -> None:
    picture(tmp_path / pictures / "a.jpg")
    tree = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 50}],
        "annotations": [],
        "categories": [],
    }
    _, (example,) = read(write(tmp_path / file, tree), "coco")
    assert open_picture(example).size == (100, 50)
    for given in (None, "coco"):  # the only file in the folder is taken
        (again,) = open_source(SourceRecipe(tmp_path, format=given))
        assert again.path is not None
        assert again.path.samefile(example.path or "")


def test_coco_pictures_are_looked_for(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "train" / "1.jpg")
    file = coco(tmp_path).rename(tmp_path / "instances_train.json")
    assert open_source(SourceRecipe(file))[0].path == tmp_path / "images" / "train" / "1.jpg"  # pyright: ignore


# ---- YOLO ------------------------------------------------------------------------------------------------------------


def yolo(folder: Path, names: str = "[cup, person]") -> Path:
    write(folder / "data.yaml", f"path: /nowhere\ntrain: images/train\nval: ../images/val\nnames: {names}\n")
    for name in ("train/a", "train/b", "train/c", "val/d"):
        picture(folder / "images" / f"{name}.jpg")
    write(folder / "labels" / "train" / "a.txt", "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.2 0.3 0.2 0.3 0.8\n0 0.98 0.5 0.1 0.1\n")
    write(folder / "labels" / "train" / "b.txt", "")
    return folder


@pytest.mark.parametrize("names", ["[cup, person]", "{0: cup, 1: person}"])
def test_yolo_boxes_outlines_and_backgrounds(tmp_path: Path, names: str) -> None:
    source, (a, b, c) = read(yolo(tmp_path, names), "yolo")
    assert source.vocabulary == ("cup", "person")
    np.testing.assert_allclose(a.boxes, [[40, 15, 60, 35], [10, 10, 30, 40], [93, 22.5, 100, 27.5]], atol=1e-4)
    assert a.labels == ("person", "cup", "cup")
    assert (a.absent, b.absent, c.absent) == ((), ("cup", "person"), ("cup", "person"))
    assert (a.width, a.height, a.path) == (100, 50, tmp_path / "images" / "train" / "a.jpg")
    _, (d,) = read(tmp_path / "data.yaml", "yolo", split="val")
    assert d.id == "d"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("2 0.5 0.5 0.2 0.4", "class 2, but there are 2 names"),
        ("0 50 25 20 10", "wanted numbers from 0 to 1"),
        ("0 0.5 0.5 nan 0.4", "the box is [0.5, 0.5, nan, 0.4]: not finite"),
        ("0 0.5 0.5 0.2", "4 numbers; wanted class, center x"),
        ("cup 0.5 0.5 0.2 0.4", "class 'cup'; wanted a whole number"),
    ],
)
def test_a_bad_yolo_line_is_named(tmp_path: Path, line: str, why: str) -> None:
    write(yolo(tmp_path) / "labels" / "train" / "b.txt", f"0 0.5 0.5 0.1 0.1\n{line}\n")
    source, examples = read(tmp_path, "yolo")
    assert [e.id for e in examples] == ["a", "c"]
    assert re.search(rf"labels/train/b\.txt: line 2: .*{re.escape(why)}", source.problems.first[0])


def test_yolo_without_yaml_takes_its_names_from_classes_txt(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", "1 0.5 0.5 0.2 0.4")
    write(tmp_path / "classes.txt", "cup\nperson\n")
    _, (a,) = read(tmp_path, "yolo")
    assert a.labels == ("person",)


def test_yolo_as_other_tools_write_it(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    write(tmp_path / "labels" / "a.txt", "\ufeff1.0 0.5 0.5 0.2 0.4\r\n")
    names = write(tmp_path / "labels" / "classes.txt", "\ufeffcup\r\ndog\r\n")
    assert read(tmp_path, "yolo")[1][0].labels == ("dog",)
    names.unlink()
    write(tmp_path / "data.yaml", "\ufefftrain: .\\images\nnames: {'0': cup, '1': dog}\n")
    assert read(tmp_path, "yolo")[1][0].labels == ("dog",)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("train: [images\nnames: {", "data.yaml is not YAML: while parsing"),
        ("train: images\nnames: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("train: images\nnames: [yes, no]", "name 0 is no text but bool; put it into quotes"),
        ("train: {a: b}\nnames: [cup]", "train holds dict; wanted folders"),
        # A thousand million names of a few hundred bytes.
        (
            "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{b}: &{b} [{', '.join(10 * [f'*{a}'])}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
            + "train: images\nnames: *i\n",
            "data.yaml holds more than 1000000 values",
        ),
    ],
)
def test_wrong_yolo_settings_are_one_clear_error(tmp_path: Path, settings: str, why: str) -> None:
    picture(tmp_path / "images" / "a.jpg")
    write(tmp_path / "data.yaml", settings)
    with pytest.raises(DataError, match=why):
        open_source(SourceRecipe(tmp_path))


def test_yolo_says_which_splits_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no split 'test'; it has train, val\."):
        open_source(SourceRecipe(yolo(tmp_path), split="test"))


# ---- XML -------------------------------------------------------------------------------------------------------------


def voc_xml(size: str = "<size><width>100</width><height>50</height></size>", name: str = "a.jpg") -> str:
    box = "<xmin>11</xmin><ymin>6</ymin><xmax>30</xmax><ymax>35</ymax>"
    return (
        f"<annotation><filename>C:\\x\\{name}</filename>{size}"
        f"<object><name>cup</name><bndbox>{box}</bndbox></object></annotation>"
    )


def voc(folder: Path) -> Path:
    for name in ("a", "b"):
        picture(folder / "JPEGImages" / f"{name}.jpg")
        write(folder / "Annotations" / f"{name}.xml", voc_xml(name=f"{name}.jpg"))
    write(folder / "ImageSets" / "Main" / "train.txt", "b 1\n")
    return folder


def test_voc_counts_pixels_from_one(tmp_path: Path) -> None:
    _, (a, b) = read(voc(tmp_path), "voc")
    assert rows(a) == [[10, 5, 30, 35]]
    assert (a.labels, a.absent, a.path) == (("cup",), (), tmp_path / "JPEGImages" / "a.jpg")
    assert b.id == "b"
    _, (b,) = read(tmp_path, "voc", split="train", names=("cup", "dog"))
    assert (b.id, b.absent) == ("b", ("dog",))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_entities_are_not_expanded_whatever_the_encoding(tmp_path: Path, encoding: str) -> None:
    entities = "".join(f'<!ENTITY e{k} "{10 * f"&e{k - 1};"}">' for k in range(1, 10))
    head = f'<?xml version="1.0" encoding="{encoding}"?>'
    attack = f'{head}<!DOCTYPE a [<!ENTITY e0 "ha">{entities}]><annotation><filename>&e9;</filename></annotation>'
    (voc(tmp_path) / "Annotations" / "b.xml").write_bytes(attack.encode(encoding))
    (tmp_path / "Annotations" / "c.xml").write_bytes((head + voc_xml()).encode(encoding))
    source = open_source(SourceRecipe(tmp_path))
    assert [e.id for e in source] == ["a", "c"]
    assert "has a DOCTYPE" in source.problems.first[0]


def test_voc_pictures_without_objects_and_sizes_with_a_point(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages" / "a.jpg")
    size = "<size><width>100.0</width><height>50.0</height></size>"
    write(tmp_path / "Annotations" / "a.xml", f"<annotation><filename>a.jpg</filename>{size}</annotation>")
    _, (example,) = read(tmp_path, "voc")
    assert (example.width, example.height, len(example.boxes)) == (100, 50, 0)


def test_voc_without_a_size_reads_the_upright_picture(tmp_path: Path) -> None:
    picture(voc(tmp_path) / "JPEGImages" / "a.jpg", (50, 100), turned=True)
    write(tmp_path / "Annotations" / "a.xml", voc_xml(size=""))
    _, (a, _) = read(tmp_path, "voc")
    assert (a.width, a.height) == (100, 50)
    assert open_picture(a).size == (100, 50)


@pytest.mark.parametrize(
    ("xml", "why"),
    [
        ("<annotation>", "not XML"),
        (voc_xml().replace("<xmax>30", "<xmax>3"), "turned around"),
        (voc_xml().replace("<ymin>6</ymin>", ""), "<bndbox> lacks <ymin>"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><annotation/>", "has a DOCTYPE"),
        (voc_xml().replace("annotation>", "annotations>"), "root is annotations, wanted annotation"),
        ("<a/>", "root is a, wanted annotation"),
        (voc_xml().replace("<annotation>", "<annotation xmlns='urn:x'>"), "root is {urn:x}annotation, wanted"),
        (voc_xml().replace("<name>", "<name>dog</name><name>"), "<object> has 2 <name>; wanted one"),
        (voc_xml().replace("<xmin>", "<xmin>1</xmin><xmin>"), "<bndbox> has 2 <xmin>; wanted one"),
        (voc_xml().replace("<bndbox>", "<bndbox/><bndbox>"), "<object> has 2 <bndbox>; wanted one"),
        (voc_xml().replace("<size>", "<size/><size>"), "<annotation> has 2 <size>; wanted one"),
        (voc_xml().replace("<width>", "<width>9</width><width>"), "<size> has 2 <width>; wanted one"),
        (voc_xml().replace("<filename>", "<filename/><filename>"), "<annotation> has 2 <filename>; wanted one"),
    ],
)
def test_a_bad_voc_file_is_named(tmp_path: Path, xml: str, why: str) -> None:
    write(voc(tmp_path) / "Annotations" / "b.xml", xml)
    source = open_source(SourceRecipe(tmp_path, format="voc"))
    assert [e.id for e in source] == ["a"]
    assert why in source.problems.first[0]
    assert source.problems.first[0].startswith(str(tmp_path / "Annotations" / "b.xml"))


def flickr(folder: Path) -> Path:
    box = "<xmin>{}</xmin><ymin>1</ymin><xmax>{}</xmax><ymax>50</ymax>"
    objects = "".join(
        f"<object>{''.join(f'<name>{n}</name>' for n in names)}<bndbox>{box.format(*x)}</bndbox></object>"
        for names, x in (((1,), (1, 20)), ((1, 2), (31, 60)))
    )
    objects += "<object><name>3</name><scene>1</scene><nobndbox>0</nobndbox></object>"
    size = "<size><width>100</width><height>50</height></size>"
    write(folder / "Annotations" / "7.xml", f"<annotation><filename>7.jpg</filename>{size}{objects}</annotation>")
    write(
        folder / "Sentences" / "7.txt",
        "[/EN#1/people Two men] play [/EN#2/other cards] in [/EN#3/scene the park] .\n"
        "[/EN#1/people A group] laughs at [/EN#2/other/vehicle Cards] .\n",
    )
    return folder


def test_flickr_phrases_name_the_boxes_of_their_chain(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "7.jpg")
    _, (example,) = read(flickr(tmp_path), "flickr")
    assert rows(example) == [[0, 0, 20, 50], [30, 0, 60, 50]]
    assert example.captions == ("Two men play cards in the park .", "A group laughs at Cards .")
    assert example.phrases == (
        Reference("two men", (0, 1)),
        Reference("cards", (1,)),
        Reference("a group", (0, 1)),
    )
    write(tmp_path / "val.txt", "7\n")
    assert [e.id for e in read(tmp_path, "flickr", split="val")[1]] == ["7"]


# ---- phrases ---------------------------------------------------------------------------------------------------------


def refs() -> list[dict]:
    return [
        {
            "ref_id": 1,
            "ann_id": 11,
            "image_id": 1,
            "split": "train",
            "sentences": [{"sent": "right cup"}, {"sent": "it"}],
        },
        {"ref_id": 2, "ann_id": 10, "image_id": 1, "split": "train", "sentences": [{"sent": "it"}]},
        {"ref_id": 3, "ann_id": 12, "image_id": 2, "split": "val", "sentences": [{"sent": "all of them"}]},
    ]


def test_refcoco_phrases_name_boxes_of_the_picture(tmp_path: Path) -> None:
    coco(tmp_path)
    write(tmp_path / "refs.json", refs())
    source, (one, two) = read(tmp_path, "refcoco")
    assert rows(one) == [[10, 5, 30, 35], [50, 5, 70, 35]]
    assert one.phrases == (Reference("right cup", (1,)), Reference("it", (1, 0)))
    assert two.phrases == (Reference("all of them", (0,)),)
    assert (one.absent, source.vocabulary) == (("person",), ("person", "cup"))
    assert [e.id for e in read(tmp_path / "refs.json", "refcoco", split="val")[1]] == [2]


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    coco(tmp_path)
    (tmp_path / "refs(unc).p").write_bytes(b"cos\nsystem\n(S'touch opened'\ntR.")
    with pytest.raises(DataError, match=r"refs\(unc\)\.p, a pickle, .* is not read\. If you trust it, write"):
        open_source(SourceRecipe(tmp_path))


def test_a_reference_to_a_box_that_is_not_there_is_named(tmp_path: Path) -> None:
    coco(tmp_path)
    broken = refs()
    broken[0]["ann_id"] = 99
    broken += [refs()[0] | {"image_id": 77}, refs()[0] | {"image_id": [1]}]
    write(tmp_path / "refs.json", broken)
    source, examples = read(tmp_path, "refcoco")
    assert [e.id for e in examples] == [2]
    assert source.problems.first == [
        "refs.json, image 1: reference 1: no box has the id 99",
        "refs.json, image 77: it is not in instances.json",
        "refs.json, image of reference 4: it is not in instances.json",
    ]


def genome(folder: Path) -> Path:
    write(
        folder / "image_data.json",
        [
            {"image_id": 1, "width": 100, "height": 50, "url": "https://x/images/VG_100K_2/1.jpg"},
            {"image_id": 2, "width": 100, "height": 50, "url": "https://x/images/VG_100K/2.jpg"},
        ],
    )
    region = {"region_id": 5, "image_id": 1, "x": 10, "y": 5, "width": 20, "height": 30}
    return write(
        folder / "region_descriptions.json",
        [
            {"id": 1, "regions": [
                region | {"phrase": "a red cup"},
                region | {"x": 500, "phrase": "gone"},
                region | {"x": 40, "phrase": "a red cup"},
            ]},
            {"id": 2, "regions": [region | {"phrase": " "}]},
        ],
    )  # fmt: skip


def test_genome_phrases_keep_their_boxes_when_others_are_dropped(tmp_path: Path) -> None:
    picture(tmp_path / "VG_100K_2" / "1.jpg")
    source, (one,) = read(genome(tmp_path).parent, "genome")
    assert rows(one) == [[10, 5, 30, 35], [40, 5, 60, 35]]
    assert one.phrases == (Reference("a red cup", (0, 1)),)
    assert one.path == tmp_path / "VG_100K_2" / "1.jpg"
    assert source.problems.first == ["region_descriptions.json[1]: phrase is empty"]
    write(tmp_path / "image_data.json", [{"image_id": 1, "width": 100}])
    source, _ = read(tmp_path, "genome")
    assert source.problems.first[0] == "region_descriptions.json[0]: picture 1 has no size in image_data.json"


# ---- written words ---------------------------------------------------------------------------------------------------


def coco_text(folder: Path) -> Path:
    word = {"image_id": 7, "bbox": [10, 5, 20, 30], "mask": [1, 2], "legibility": "legible"}
    tree = {
        "cats": {},
        "anns": {"1": word | {"utf8_string": "New "}, "2": word | {"legibility": "illegible", "utf8_string": ""}},
        "imgs": {"7": {"id": 7, "file_name": "a.jpg", "width": 100, "height": 50, "set": "train"}},
    }
    return write(folder / "cocotext.v2.json", tree)


def test_coco_text_words_and_illegible_ones(tmp_path: Path) -> None:
    _, (example,) = read(coco_text(tmp_path), "scene_text", split="train")
    assert example.texts == ("New", None)
    assert example.labels == ("text", "text")
    assert rows(example) == [[10, 5, 30, 35]] * 2


def icdar(folder: Path) -> Path:
    picture(folder / "images" / "img_1.jpg")
    write(folder / "gt_img_1.txt", "\ufeff10,5,30,6,30,20,11,20,A, B\n40,5,50,5,50,20,40,20,###\n")
    return folder


def test_icdar_text_may_hold_commas(tmp_path: Path) -> None:
    _, (example,) = read(icdar(tmp_path), "scene_text")
    assert example.texts == ("A, B", None)
    assert rows(example)[0] == [10, 5, 30, 20]
    assert (example.width, example.height) == (100, 50)


def test_lines_of_words_and_of_crops(tmp_path: Path) -> None:
    word = {"bbox": [10, 5, 20, 30], "text": "JOINT", "legible": True}
    file = lines(
        tmp_path / "words_dev.jsonl",
        {"file_name": "a.jpg", "width": 100, "height": 50, "words": [word, word | {"text": None, "legible": False}]},
        {"file_name": "b.jpg", "width": 30, "height": 10, "text": "[06]"},
    )
    _, (frame, crop) = read(file, "scene_text")
    assert frame.texts == ("JOINT", None)
    assert (rows(crop), crop.texts) == ([[0, 0, 30, 10]], ("[06]",))


# ---- lines -----------------------------------------------------------------------------------------------------------


def test_questions_of_every_kind(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    picture_of = {"file_name": "a.jpg", "image_id": 7}
    file = lines(
        tmp_path / "q.jsonl",
        picture_of | {"question": "Is there a dog?", "answer": "yes"},
        picture_of | {"question": "What color?", "answers": [{"answer": a} for a in ("red", "blue", "red")]},
        picture_of | {"question": "What tells the time?", "bbox": [10, 5, 20, 30]},
        picture_of | {"category": "dog", "answer": 1, "boxes": [[10, 5, 20, 30]]},
        picture_of | {"category": "cup", "answer": 0, "boxes": []},
        picture_of | {"text": "The dog is left of the cat.", "label": False},
        picture_of | {"positive": "A white dog.", "negative": "A black dog."},
        picture_of | {"category": "cup", "answer": 2, "boxes": [[10, 5, 20, 30]]},
    )
    source, (yes, color, place, one, none, false, pair) = read(file, "questions")
    assert yes.turns == (Turn("Is there a dog?", "yes"),)
    assert color.turns == (Turn("What color?", "red"),)
    assert (place.phrases, rows(place)) == ((Reference("What tells the time?", (0,)),), [[10, 5, 30, 35]])
    assert (one.turns, one.labels) == ((Turn("How many dogs are there?", "1"),), ("dog",))
    assert (none.turns[0].reply, none.absent) == ("0", ("cup",))
    assert false.turns == (Turn("True or false? The dog is left of the cat.", "False."),)
    assert pair.turns[0].reply == "A white dog."
    assert {"A white dog.", "A black dog."} <= {line[3:] for line in pair.turns[0].question.splitlines()}
    assert source.problems.first == ["q.jsonl:8: the answer is 2, with 1 boxes; wanted their number"]


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "tsv"])
def test_captions_from_lines_json_and_tables(tmp_path: Path, kind: str) -> None:
    picture(tmp_path / "a.jpg")
    if kind == "jsonl":
        file = lines(tmp_path / "c.jsonl", {"image": "a.jpg", "caption": "A cup, red."})
    elif kind == "json":
        tree = {"images": [{"id": 7, "file_name": "a.jpg"}], "annotations": [{"image_id": 7, "caption": "A cup, red."}]}
        file = write(tmp_path / "c.json", tree)
    else:
        sign = "," if kind == "csv" else "\t"
        file = write(tmp_path / f"c.{kind}", f'image{sign}caption\na.jpg{sign}"A cup, red."\n')
    _, (example,) = read(file, "captions")
    assert example.captions == ("A cup, red.",)
    assert (example.width, example.height, example.boxes.shape) == (100, 50, (0, 4))


SAID = [
    {"from": "human", "value": "<image>\nWhat is <region1>?"},
    {"from": "gpt", "value": "A cup, as <region0>."},
]


@pytest.mark.parametrize("layout", ["lines", "array", "messages"])
def test_conversations_keep_regions_and_lose_the_image_sign(tmp_path: Path, layout: str) -> None:
    picture(tmp_path / "a.jpg")
    record = {"id": "x", "image": "a.jpg", "bbox_list": [[10, 5, 30, 35], [0, 0, 101, 50]], "conversations": SAID}
    if layout == "messages":
        said = [{"role": "system", "content": "Be brief."}]
        said += [{"role": r, "content": m["value"]} for r, m in zip(("user", "assistant"), SAID, strict=True)]
        record["messages"] = said
        del record["conversations"]
    words_only = {"id": "y", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}
    records = [record, words_only]
    file = write(tmp_path / "c.json", records) if layout == "array" else lines(tmp_path / "c.jsonl", *records)
    source, (example,) = read(file, "conversations")
    assert example.turns == (Turn("What is <region1>?", "A cup, as <region0>."),)
    assert rows(example) == [[10, 5, 30, 35], [0, 0, 100, 50]]
    assert (source.problems.passed, source.problems.bad) == (1, 0)
    _, (_, alone) = read(file, "conversations", words_alone=True)
    assert (alone.turns, alone.path, alone.width) == ((Turn("Hi", "Hello"),), None, 0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"bbox_list": [[10, 5, 30, 35]]}, "names <region1>, but there are 1 boxes"),
        ({"bbox_list": [[10, 5, 30, 35], [200, 0, 300, 9]]}, r"bbox_list\[1\] .* has no area inside 100 x 50"),
        ({"conversations": SAID[:1]}, "1 messages; wanted a reply"),
        ({"conversations": SAID[::-1]}, "message 0 is from 'gpt'"),
        ({"image": ["a.jpg", "b.jpg"]}, "has 2 pictures; wanted one"),
        ({"image": "none.jpg"}, "there is no picture"),
    ],
)
def test_a_bad_conversation_is_named(tmp_path: Path, change: dict, why: str) -> None:
    picture(tmp_path / "a.jpg")
    record = {"id": "x", "image": "a.jpg", "bbox_list": [[10, 5, 30, 35], [0, 0, 9, 9]], "conversations": SAID}
    file = lines(tmp_path / "c.jsonl", record | change)
    with pytest.raises(DataError, match=rf"c\.jsonl:1: .*{why}"):
        list(open_source(SourceRecipe(file, format="conversations", tolerance=Tolerance(0, 0))))


# ---- JSON arrays -----------------------------------------------------------------------------------------------------


def test_an_array_larger_than_what_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fo1agent.trainers.data import files

    monkeypatch.setattr(files, "_BLOCK", 37)
    records = [{"k": k, "text": "äöü “x” 漢字 " * k, "in": [{"}": "]"}]} for k in range(40)]
    file = write(tmp_path / "a.json", "\ufeff " + json.dumps(records, ensure_ascii=False, indent=1))
    array = files.ArrayFile(file)
    assert list(array) == records
    assert len(array) == 40
    assert [json.loads(array[k]) for k in (39, 0, 17)] == [records[k] for k in (39, 0, 17)]


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"a": 1}', '[{"a": 1} {"b"', "[{]"])
def test_what_is_no_array_of_objects_is_one_clear_error(tmp_path: Path, content: str) -> None:
    from fo1agent.trainers.data.files import ArrayFile

    with pytest.raises(DataError, match=r"a\.json"):
        list(ArrayFile(write(tmp_path / "a.json", content)))


# ---- archives --------------------------------------------------------------------------------------------------------


def example_of(path: Path, k: int) -> Example:
    boxes = np.array([[1, 2, 30.5, 40]], np.float32)
    return Example(k, path, 100, 50, boxes, ("cup",), np.zeros(1, bool), absent=("person",))


def test_shards_hold_pictures_and_all_that_is_known(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg")
    folder = tmp_path / "shards"
    assert write_shards(folder, [example_of(path, k) for k in range(5)], 2, vocabulary=("cup", "person")) == 5
    assert [p.name for p in sorted(folder.iterdir())] == [f"shard-00000{k}.tar" for k in range(3)]
    source, examples = read(folder, "shards")
    assert [e.id for e in examples] == [0, 1, 2, 3, 4]
    assert source.vocabulary == ("cup", "person")
    assert examples[3].absent == ("person",)
    assert rows(examples[3]) == [[1, 2, 30.5, 40]]
    assert examples[3].path is None
    assert open_picture(examples[3]).size == (100, 50)
    assert examples[3].source == "shard-000001.tar, picture 1"


def test_strangers_shards_give_captions(tmp_path: Path) -> None:
    data = picture(tmp_path / "a.jpg").read_bytes()
    members = {
        "0.jpg": data, "0.txt": b"A cup.", "0.json": b'{"url": "x", "caption": "A cup.", "sha256": "0"}',
        "1.json": b'{"url": "x"}', "2.png": b"no picture", "2.txt": b"A dog.", "3.jpg": data,
    }  # fmt: skip
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    source, (example,) = read(tmp_path / "x.tar", "shards")
    assert (example.captions, example.width) == (("A cup.",), 100)
    assert [reason.partition(": ")[2] for reason in source.problems.first][:1] == [
        "there is no picture beside the record"
    ]
    assert source.problems.bad == 3


def test_a_compressed_tar_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w:gz"):
        pass
    with pytest.raises(DataError, match="Wanted a tar file that is not compressed"):
        open_source(SourceRecipe(tmp_path / "x.tar"))


def test_shards_as_webdataset_writes_them(tmp_path: Path) -> None:
    data = picture(tmp_path / "a.jpg").read_bytes()
    for shard in "xy":
        members = {
            f"{shard}/7.JPG": data, f"{shard}/7.TXT": b"A cup.",
            f"{shard}/8.jpg": data, f"{shard}/8.json": b'{"__key__": "%b8", "caption": "A dog."}' % shard.encode(),
        }  # fmt: skip
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as tar:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    _, examples = read(tmp_path, "shards")
    assert [e.id for e in examples] == [0, "x8", 2, "y8"]
    assert [e.captions[0] for e in examples] == ["A cup.", "A dog."] * 2


def test_links_in_tar_files_are_not_followed(tmp_path: Path) -> None:
    secret = picture(tmp_path / "secret.jpg")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            info = tarfile.TarInfo(f"{kind.decode()}.jpg")
            info.type, info.linkname = kind, str(secret)
            tar.addfile(info)
            info = tarfile.TarInfo(f"{kind.decode()}.txt")
            info.size = 6
            tar.addfile(info, io.BytesIO(b"A cup."))
    source, examples = read(tmp_path / "x.tar", "shards")
    assert (examples, source.problems.bad) == ([], 2)


def test_a_tar_that_leads_back_to_itself_ends(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("0.jpg", "1.jpg"):
            tar.addfile(tarfile.TarInfo(name))
    raw = bytearray((tmp_path / "x.tar").read_bytes())
    raw[512 + 124 : 512 + 136] = b"\xff" + (-512 & (1 << 88) - 1).to_bytes(11, "big")  # the size of the second
    raw[512 + 148 : 512 + 156] = b" " * 8
    raw[512 + 148 : 512 + 156] = b"%06o\0 " % sum(raw[512:1024])
    (tmp_path / "x.tar").write_bytes(raw)
    with pytest.raises(DataError, match=r"Cannot read .*x\.tar"):
        open_source(SourceRecipe(tmp_path / "x.tar"))


@pytest.mark.parametrize("layout", ["parquet", "disk"])
def test_hub_columns_are_mapped(tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the hub extra")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    data = picture(tmp_path / "a.jpg").read_bytes()
    names = datasets.ClassLabel(names=["cup", "person"])
    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "objects": datasets.Sequence({"bbox": datasets.Sequence(datasets.Value("float32")), "category": names}),
            "said": datasets.Value("string"),
        }
    )
    rows_ = {
        "picture": [{"bytes": data, "path": None}] * 2,
        "objects": [{"bbox": [[10, 5, 20, 30], [0, 0, 9, 9]], "category": [1, 0]}, {"bbox": [], "category": []}],
        "said": ["A cup.", "Nothing."],
    }
    made = datasets.Dataset.from_dict(rows_, features=features)
    path = tmp_path / "set" / "train-0.parquet"
    if layout == "parquet":
        path.parent.mkdir()
        made.to_parquet(str(path))
    else:
        made.save_to_disk(str(path.parent))
    columns = {"image": "picture", "boxes_xywh": "objects.bbox", "labels": "objects.category", "caption": "said"}
    source, (one, two) = read(path.parent, "hub", columns=columns)
    assert (rows(one), one.labels) == ([[10, 5, 30, 35], [0, 0, 9, 9]], ("person", "cup"))
    assert (one.captions, source.vocabulary) == (("A cup.",), ("cup", "person"))
    assert two.boxes.shape == (0, 4)
    assert open_picture(one).size == (100, 50)
    with pytest.raises(InputError, match="there is no column 'boxes'; it has picture, objects, said"):
        open_source(SourceRecipe(path.parent, columns={"image": "boxes"}))
    for column in ("objects.name", "said.name", "picture.name"):
        with pytest.raises(InputError, match=rf"column '{column}' leads to nothing"):
            open_source(SourceRecipe(path.parent, columns={"image": "picture", "labels": column}))


# ---- recipes and guesses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [coco, yolo, voc, flickr, genome, coco_text, icdar], ids=lambda make: getattr(make, "__name__", "")
)
def test_a_limit_ends_a_source_early(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    source = open_source(SourceRecipe(path, limit=1, tolerance=Tolerance(1)))
    assert len(source) == 1
    with pytest.raises(IndexError):
        source[1]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("cut.json", '{"images": [', "not readable as coco: .*cut.json is not JSON: Expecting value: line 1 column 13"),
        ("a.json", {"x": 1}, "not readable as coco: no list 'images'"),
        ("a.json", [1], r"not readable as conversations: wanted a JSON array of objects, got '1\]'"),
        ("a.jsonl", {"x": 1}, "not readable as examples: a.jsonl:1: unknown key 'x'"),
        ("a.csv", "a,b", "not readable as captions: the first line names the columns"),
        ("a.yaml", "x: 1", "not readable as yolo: no names"),
        ("a.txt", "x", "a .txt file is no data set by itself; name the folder"),
        ("a.png", "x", "a picture is no data set"),
        ("a.foo", "x", "no format known has files that end in '.foo'"),
        ("a", "x", "no format known fits"),
    ],
)
def test_a_file_of_no_format_says_why_it_is_not_of_the_likeliest(
    tmp_path: Path, name: str, content: object, why: str
) -> None:
    with pytest.raises(DataError, match=why) as error:
        guess_format(write(tmp_path / name, content))
    assert str(error.value).endswith(". See `fo1agent data check --help` for formats.")
    assert len(str(error.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([], "it is an empty folder"),
        (["labels/a.txt", "images/a.jpg"], "not readable as yolo: no data.yaml, classes.txt or obj.names"),
        (["train/labels/a.txt", "train/images/a.jpg"], "not readable as yolo: no data.yaml"),
        (["a.xml"], "not readable as voc: .*a.xml: not XML"),
        (["cut.json", "images/a.jpg"], "cut.json: not readable as coco: .*cut.json is not JSON"),
        (["images/a.jpg"], "there are pictures, and nothing that says what is in them"),
        (["notes/a.md"], "nothing in it is of a format known"),
    ],
)
def test_a_folder_of_no_format_says_why_it_is_not_of_the_likeliest(tmp_path: Path, files: list[str], why: str) -> None:
    for file in files:
        write(tmp_path / file, "x")
    with pytest.raises(DataError, match=why) as error:
        guess_format(tmp_path)
    assert str(error.value).endswith(". See `fo1agent data check --help` for formats.")


def test_a_folder_without_a_file_of_the_format_is_told(tmp_path: Path) -> None:
    lines(tmp_path / "q.jsonl", {"file_name": "a.jpg", "question": "Is it?", "answer": "yes"})
    with pytest.raises(DataError, match="no file in it is of the format coco"):
        open_source(SourceRecipe(tmp_path, format="coco"))
    assert guess_format(tmp_path) == "questions"


def test_an_empty_or_missing_path_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty"):
        guess_format(write(tmp_path / "b.jsonl", ""))
    with pytest.raises(DataError, match="There is no"):
        guess_format(tmp_path / "c")


def test_a_recipe_field_that_a_format_does_not_use_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="columns is for hub; this is coco"):
        open_source(SourceRecipe(coco(tmp_path), columns={"image": "x"}))
    with pytest.raises(InputError, match=r"unknown format 'coc'\. Known: examples, coco"):
        open_source(SourceRecipe(coco(tmp_path), format="coc"))


@pytest.mark.parametrize(
    ("file", "format", "count"),
    [
        ("coco-natural/instances_dev.json", "coco", 296),
        ("coco-natural/counts_dev.jsonl", "questions", 1250),
        ("coco-natural/existence_dev.jsonl", "questions", 126),
        ("coco-natural/statements_dev.jsonl", "questions", 19),
        ("coco-natural/question_box_dev.jsonl", "questions", 9),
        ("coco-natural/caption_pairs_dev.jsonl", "questions", 444),
        ("coco-natural/captions_dev.jsonl", "captions", 284),
        ("scene-text-icdar15/words_dev.jsonl", "scene_text", 62),
        ("scene-text-icdar15/crops_dev.jsonl", "scene_text", 188),
    ],
)
def test_real_files_are_read_whole(shared_dir: Path, file: str, format: str, count: int) -> None:
    source, examples = read(shared_dir / "data" / file, format)
    assert (len(examples), source.problems.bad) == (count, 0)
    assert open_picture(examples[0]).size == (examples[0].width, examples[0].height)


def test_a_folder_of_several_files_lists_them(tmp_path: Path) -> None:
    coco(tmp_path)
    lines(tmp_path / "q.jsonl", {"file_name": "a.jpg", "question": "Is it?", "answer": "yes"})
    write(tmp_path / "other.json", {"x": 1})
    with pytest.raises(DataError, match=r"name one of them: instances\.json \(coco\), q\.jsonl \(questions\)\."):
        guess_format(tmp_path)


def test_an_id_that_names_nothing_is_a_bad_record(tmp_path: Path) -> None:
    file = lines(tmp_path / "c.jsonl", {"id": [1], "image": "a.jpg", "caption": "x", "width": 9, "height": 9})
    source, examples = read(file, "captions")
    assert examples == []
    assert source.problems.first == ["c.jsonl:1: the id is [1]; wanted a number or text"]


@pytest.mark.parametrize(("name", "head", "sign", "tail"), [("c.json", "", "\n", ""), ("c.jsonl", "[", ",\n", "]\n")])
def test_lines_and_arrays_are_told_apart_by_what_stands_there(
    tmp_path: Path, name: str, head: str, sign: str, tail: str
) -> None:
    picture(tmp_path / "images" / "a.jpg")
    said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}]
    said.append({"role": "assistant", "content": "A cup."})
    records = [
        {"messages": said},
        {"image": ["a.jpg", "b.jpg"], "messages": said},
        {"images": ["a.jpg"], "messages": said},
    ]
    file = write(tmp_path / name, head + sign.join(map(json.dumps, records)) + tail)
    source, (example,) = read(file, "conversations")
    assert example.turns == (Turn("What is it?", "A cup."),)
    assert open_picture(example).size == (100, 50)  # in images, though the first two records do not tell
    assert (source.problems.passed, source.problems.bad) == (1, 1)


def test_empty_lines_are_no_records(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    file = lines(tmp_path / "c.jsonl", {"image": "a.jpg", "caption": "A cup."}, "", " \r")
    source, (_,) = read(file, "captions")
    assert (source.problems.passed, source.problems.bad) == (2, 0)


@pytest.mark.parametrize("cell", ['"two', "x" * 140_000])
def test_a_cell_that_is_none_is_a_bad_row(tmp_path: Path, cell: str) -> None:
    picture(tmp_path / "a.jpg")
    source, examples = read(write(tmp_path / "c.csv", f"image,caption\na.jpg,{cell}\na.jpg,ok\n"), "captions")
    assert [e.captions for e in examples] == [("ok",)]
    assert source.problems.first[0].startswith("c.csv:2: no row of a table (")


def test_half_a_character_makes_a_record_bad(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    source, examples = read(lines(tmp_path / "c.jsonl", {"image": "a.jpg", "caption": "\ud800"}), "captions")
    assert examples == []
    assert source.problems.first == ["c.jsonl:1: holds half a character: '\\ud800'"]


def test_pictures_may_lie_anywhere_but_are_files(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg")
    (tmp_path / "in").mkdir()
    where = ["../a.jpg", str(path), "..\\a.jpg", str(tmp_path), os.devnull]
    source, examples = read(
        lines(tmp_path / "in" / "c.jsonl", *({"image": name, "caption": "x"} for name in where)), "captions"
    )
    assert [open_picture(e).size for e in examples] == [(100, 50)] * 3
    assert [reason.endswith("is no picture, but a folder or device") for reason in source.problems.first] == [True] * 2
