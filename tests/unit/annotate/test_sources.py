"""Every source becomes a list of pictures, and each of them can be opened."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from fo1agent.annotate import arrow as arrow_module
from fo1agent.annotate import sources
from fo1agent.annotate.sources import Item, Listing, Reader, endings, listing, printable
from fo1agent.errors import DataError, ImageError, InputError

pa: Any = pytest.importorskip("pyarrow")
pq: Any = pytest.importorskip("pyarrow.parquet")
NAMES = ["a.png", "b.png", "broken.png", "d.png", "deep/c.png"]


def names(found: Listing) -> list[str]:
    return [one.picture for one in found.items]


def sizes(found: Listing) -> list[Any]:
    read = Reader()
    return [(read(one).width, read(one).height) for one in found.items]


def test_a_folder_gives_all_pictures_below_it_sorted_without_hidden_ones(photos: Path) -> None:
    found = listing(str(photos))
    assert names(found) == NAMES
    assert [one.index for one in found.items] == [0, 1, 2, 3, 4]
    assert Reader()(found.items[4]).size_hw == (100, 120)


def test_what_is_listed_is_what_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "formats_read", lambda: ("JPEG", "TIFF"))
    assert endings() == (".jpg", ".jpeg", ".tif", ".tiff")
    monkeypatch.setattr(sources, "formats_read", lambda: ("PNG", "HEIF"))
    assert endings() == (".png", ".heic", ".heif")


def test_a_pattern_and_a_single_picture(photos: Path) -> None:
    assert names(listing(f"{photos}/[ab].png")) == [f"{photos}/a.png", f"{photos}/b.png"]
    assert names(listing(f"{photos}/a.png")) == [f"{photos}/a.png"]


def test_coco_json_gives_ids_and_categories(photos: Path) -> None:
    images = [{"id": 7, "file_name": "b.png"}, {"id": 3, "file_name": "deep/c.png"}]
    told = {"images": images, "annotations": [], "categories": [{"id": 6, "name": "bus"}]}
    (photos / "instances.json").write_text(json.dumps(told))
    found = listing(str(photos / "instances.json"))
    assert [(one.picture, one.image_id) for one in found.items] == [("b.png", 7), ("deep/c.png", 3)]
    assert found.categories == {"bus": 6}
    assert sizes(found) == [(120, 100)] * 2


def test_lines_of_json_give_questions_and_the_folder_of_pictures_may_be_another(photos: Path, tmp_path: Path) -> None:
    lines = tmp_path / "asked.jsonl"
    lines.write_text('{"image": "a.png", "question": "How many?"}\n\n{"file_name": "b.png", "image_id": 4}\n')
    first, second = listing(str(lines), str(photos)).items
    assert first == Item(0, "a.png", f"{photos}/a.png", question="How many?")
    assert (second.index, second.image_id, second.question) == (1, 4, None)


def test_parquet_holds_paths_bytes_or_both(photos: Path, tmp_path: Path) -> None:
    data = (photos / "a.png").read_bytes()
    columns = {
        "paths": pa.table({"image": ["photos/a.png", "photos/b.png"], "question": ["How?", None], "id": [5, 6]}),
        "bytes": pa.table({"image": [data, data]}),
        "both": pa.table({"image": [{"bytes": data, "path": None}, {"bytes": None, "path": "photos/b.png"}]}),
    }
    for name, table in columns.items():
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=1)
        assert sizes(listing(str(tmp_path / f"{name}.parquet"))) == [(120, 100)] * 2
    told = listing(str(tmp_path / "paths.parquet")).items
    assert [(one.picture, one.image_id, one.question) for one in told] == [
        ("photos/a.png", 5, "How?"),
        ("photos/b.png", 6, None),
    ]
    # A folder without pictures gives its tables, in order.
    for name in ("paths", "both"):
        (tmp_path / f"{name}.parquet").rename(tmp_path / "photos" / "deep" / f"{name}.parquet")
    (photos / "deep" / "c.png").unlink()
    assert names(listing(str(photos / "deep"))) == [
        "both.parquet#0",
        "photos/b.png",
        "photos/a.png",
        "photos/b.png",
    ]


def test_pictures_of_parquet_that_are_paths_lie_beside_each_file_or_in_the_folder_that_is_named(
    photos: Path, tmp_path: Path
) -> None:
    columns = {"path": ["a.png"], "struct": [{"bytes": None, "path": "a.png"}]}
    for name, cells in columns.items():
        for part, size in (("test", (30, 20)), ("train", (50, 40))):
            folder = tmp_path / name / part
            folder.mkdir(parents=True)
            Image.new("RGB", size).save(folder / "a.png")
            pq.write_table(pa.table({"image": cells}), folder / "told.parquet")
        pattern = f"{tmp_path}/{name}/*/told.parquet"
        assert sizes(listing(pattern)) == [(30, 20), (50, 40)]
        for source in (pattern, f"{tmp_path}/{name}/test/told.parquet"):
            found = listing(source, str(photos))
            assert sizes(found) == [(120, 100)] * len(found.items)
        for picture in (tmp_path / name).rglob("a.png"):  # a folder without pictures gives its tables
            picture.rename(picture.with_name("a.png.away"))
        assert sizes(listing(str(tmp_path / name), str(photos))) == [(120, 100)] * 2
        assert listing(str(tmp_path / name)).digest() == listing(str(tmp_path / name), str(photos)).digest()


def test_every_kind_of_column_that_holds_paths_or_bytes_is_read_and_others_are_refused(
    photos: Path, tmp_path: Path
) -> None:
    data, path = (photos / "a.png").read_bytes(), str(photos / "a.png")
    paths = [
        pa.array([path, None]).dictionary_encode(),
        pa.array([path, ""], pa.string_view()),
        pa.array([path, None], pa.large_string()),
    ]
    for column in paths:
        pq.write_table(pa.table({"image": column, "id": [float("nan"), 3.0]}), tmp_path / "told.parquet")
        first, second = listing(str(tmp_path / "told.parquet")).items
        assert ((first.picture, first.image_id), (second.picture, second.image_id)) == (
            (path, None),
            ("told.parquet#1", 3),
        )
        with pytest.raises(ImageError, match="row 1 has no picture"):
            Reader()(second)
    for kind in (pa.binary_view(), pa.large_binary(), pa.binary(len(data))):
        pq.write_table(pa.table({"image": pa.array([data], kind)}), tmp_path / "told.parquet")
        assert sizes(listing(str(tmp_path / "told.parquet"))) == [(120, 100)]
    for column, message in (
        (pa.array([1]), "image holds int64, no paths and no bytes"),
        (pa.array([[{"bytes": data}]]), "image holds list<"),
    ):
        pq.write_table(pa.table({"image": column}), tmp_path / "told.parquet")
        with pytest.raises(DataError, match=message):
            listing(str(tmp_path / "told.parquet"))


@pytest.mark.parametrize("name", ["image", "question", "query", "id", "image_id"])
def test_two_columns_of_one_name_are_refused_if_they_are_read(tmp_path: Path, name: str) -> None:
    place = tmp_path / "told.parquet"
    columns = [pa.array(["a.png"]), *[pa.array(["one"]), pa.array(["two"])] * 2]
    pq.write_table(pa.Table.from_arrays(columns, ["image", name, name, "note", "note"]), place)
    with pytest.raises(DataError, match=rf"told\.parquet has . columns called {name}\. Give each its own name\."):
        listing(str(place), question_column="query" if name == "query" else None)
    pq.write_table(pa.Table.from_arrays(columns[:1] + columns[3:], ["image", "note", "note"]), place)
    assert names(listing(str(place))) == ["a.png"]


def test_tables_of_one_name_give_pictures_of_different_names(photos: Path, tmp_path: Path) -> None:
    data = (photos / "a.png").read_bytes()
    cells = [("shared.jpg", 0), (None, 1), ("{}/own.jpg", 2)]
    for part in ("test", "train"):
        (tmp_path / "set" / part).mkdir(parents=True)
        told = [{"bytes": data, "path": path and path.format(part)} for path, _ in cells]
        pq.write_table(pa.table({"image": told}), tmp_path / "set" / part / "0000.parquet")
    found = listing(str(tmp_path / "set"))
    assert names(found) == [
        name
        for part in ("test", "train")
        for name in (f"{part}/0000.parquet#0", f"{part}/0000.parquet#1", f"{part}/own.jpg")
    ]
    assert sizes(found) == [(120, 100)] * 6
    # Of one of them alone no two pictures share a name.
    alone = names(listing(str(tmp_path / "set" / "train" / "0000.parquet")))
    assert alone == ["shared.jpg", "0000.parquet#1", "train/own.jpg"]


def test_another_column_may_hold_the_pictures(photos: Path, tmp_path: Path) -> None:
    small, large = (photos / name for name in ("a.png", "large.png"))
    Image.new("RGB", (300, 200)).save(large)
    pq.write_table(pa.table({"image": [small.read_bytes()], "scan": [large.read_bytes()]}), tmp_path / "two.parquet")
    (tmp_path / "two.jsonl").write_text('{"image": "a.png", "scan": "large.png"}\n')
    for name in ("two.parquet", "two.jsonl"):
        place = str(tmp_path / name)
        usual, other = (listing(place, str(photos), column) for column in (None, "scan"))
        assert (sizes(usual), sizes(other)) == ([(120, 100)], [(300, 200)])
        assert usual.digest() != other.digest()
    with pytest.raises(DataError, match=r"no column with pictures, but image, scan\. Name it with --column"):
        listing(str(tmp_path / "two.parquet"), None, "photo")


def test_another_column_may_hold_the_questions(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "told.jsonl").write_text('{"image": "a.png", "query": "How many?", "question": "Why?"}\n')
    pq.write_table(
        pa.table({"image": ["a.png"], "query": ["How many?"], "question": ["Why?"]}), tmp_path / "told.parquet"
    )
    for name in ("told.parquet", "told.jsonl"):
        told = [listing(str(tmp_path / name), str(photos), question_column=one).items for one in (None, "query")]
        assert [one.question for (one,) in told] == ["Why?", "How many?"]
        with pytest.raises(
            InputError, match=rf"{name} has no questions: prompt is not there, but image, query, question\."
        ):
            listing(str(tmp_path / name), str(photos), question_column="prompt")


@pytest.mark.parametrize(
    ("ids", "kept"),
    [([7, 8], [7, 8]), ([7.0, None], [7, None]), (["a", "b"], ["a", "b"]), (["a", 8, None], ["a", "8", None])],
)
def test_ids_are_numbers_or_else_all_of_them_text(photos: Path, ids: list[Any], kept: list[Any]) -> None:
    lines = [json.dumps({"image": "a.png", "image_id": one}) for one in ids]
    (photos / "ids.jsonl").write_text("\n".join(lines))
    found = listing(str(photos / "ids.jsonl"))
    assert [one.image_id for one in found.items] == kept
    assert found.text_ids == isinstance(kept[0], str)
    if not any(type(one) is not type(ids[0]) for one in ids):
        pq.write_table(pa.table({"image": ["a.png"] * len(ids), "image_id": ids}), photos / "ids.parquet")
        assert [one.image_id for one in listing(str(photos / "ids.parquet")).items] == kept


@pytest.mark.parametrize("address", ["file://{}", "file://{}/"])
def test_a_disk_as_an_address_is_that_disk(photos: Path, address: str) -> None:
    Image.new("RGB", (120, 100)).save(photos / "deep" / "50 %20.png")
    place = address.format(photos)
    found = listing(place)
    assert names(found) == ["a.png", "b.png", "broken.png", "d.png", "deep/50 %20.png", "deep/c.png"]
    assert Reader()(found.items[4]).size_hw == (100, 120)
    matched = listing(f"{place.rstrip('/')}/deep/*.png")
    assert names(matched) == [f"file://{photos}/deep/{name}.png" for name in ("50 %20", "c")]
    assert sizes(matched) == [(120, 100)] * 2


@pytest.mark.parametrize(
    ("address", "path"), [("gs://anonymous@bucket/a b/c%20.png", "bucket/a b/c%20.png"), ("gcs://anonymous@b", "b/")]
)
def test_googles_storage_is_not_tried_for_a_quarter_of_an_hour(
    address: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs: Any = pytest.importorskip("pyarrow.fs")
    asked = []

    def asked_for(uri: str) -> Any:
        asked.append(uri)
        return fs.FileSystem.from_uri(uri)

    monkeypatch.setattr(
        arrow_module, "arrow", lambda module: SimpleNamespace(FileSystem=SimpleNamespace(from_uri=asked_for))
    )
    arrow_module._of_arrow.cache_clear()
    found, place = arrow_module.file_system(address)
    arrow_module._of_arrow.cache_clear()
    assert (found.type_name, place) == ("gcs", path)
    assert asked[0].endswith("?retry_limit_seconds=20")


def test_an_address_is_listed_and_read_like_a_folder(photos: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in ("a.png", "deep/c.png", "broken.png"):
        memory.pipe(f"/bucket/photos/{name}", (photos / name).read_bytes())
    memory.pipe("/bucket/asked.jsonl", b'{"image": "photos/a.png"}\n')
    memory.pipe("/bucket/told.parquet", _table((photos / "a.png").read_bytes()))
    try:
        found = listing("memory://bucket/photos")
        assert names(found) == ["a.png", "broken.png", "deep/c.png"]
        assert Reader()(found.items[2]).size_hw == (100, 120)
        with pytest.raises(ImageError, match=r"memory://bucket/photos/broken\.png"):
            Reader()(found.items[1])
        assert names(listing("memory:///bucket/photos/")) == names(found)
        assert names(listing("memory://bucket/photos/*.png"))[0] == "memory://bucket/photos/a.png"
        assert names(listing("memory://*/a.png")) == ["memory://bucket/photos/a.png"]
        assert sizes(listing("memory://bucket/asked.jsonl")) == [(120, 100)]
        assert sizes(listing("memory://bucket/told.parquet")) == [(120, 100)]
    finally:
        memory.rm("/bucket", recursive=True)


def _table(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"image": [data]}), sink)
    return sink.getvalue().to_pybytes()


def test_a_sample_is_drawn_by_its_seed_and_keeps_the_order(photos: Path) -> None:
    found = listing(str(photos))
    drawn = found.chosen(None, 3, 1)
    assert len(drawn.items) == 3
    assert list(drawn.items) == sorted(drawn.items, key=lambda one: one.index)
    assert drawn == found.chosen(None, 3, 1)
    assert len({found.chosen(None, 3, seed).digest() for seed in range(9)}) > 1
    assert names(found.chosen(2, 5, 0)) == NAMES[:2]


@pytest.mark.parametrize(
    ("name", "text", "error", "message"),
    [
        ("absent", None, InputError, "cannot be listed"),
        ("empty.json", "{}", DataError, "no list 'images'"),
        ("bad.json", "{", DataError, "is not JSON"),
        ("idless.json", '{"images": [{"file_name": "a.png"}]}', DataError, r"images\[0\] has no file_name and id"),
        (
            "bad.jsonl",
            '{"image": "a.png"}\n{"question": "?", "scan": "b.png"}',
            DataError,
            r'line 2: no picture, but question, scan\. Name its field with --column, or write {"image": "photo\.jpg"}',
        ),
        ("list.jsonl", '["a.png"]', DataError, r"line 1: no picture\. Write"),
        ("unnamed.jsonl", '{"image": ""}', DataError, r"line 1: no picture\. Write"),
        ("bad.parquet", "PAR", DataError, "is no Parquet file"),
        ("none.jsonl", "", InputError, "names no pictures"),
        ("notes.txt", "no picture", InputError, r"notes\.txt holds no pictures \(\.jpg, "),
        ("id.jsonl", '{"image": "a.png", "image_id": 1.5}', DataError, "line 1: the image_id 1.5 is neither a whole"),
    ],
)
def test_what_is_no_source_is_said_in_a_line(
    name: str, text: str | None, error: type[Exception], message: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(error, match=message):
        listing(str(tmp_path / name))


def test_a_folder_that_links_to_itself_is_entered_once(tmp_path: Path) -> None:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    (tmp_path / "more").mkdir()
    for name in ("photos/a.jpg", "photos/deep/b.jpg", "more/c.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "photos" / "deep" / "up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "more")
    (tmp_path / "photos" / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    found = listing(str(tmp_path / "photos")).items
    assert [one.picture for one in found] == ["a.jpg", "deep/b.jpg", "gone.jpg", "linked/c.jpg"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names of files that are no UTF-8")
def test_a_name_that_is_not_utf8_is_told_in_signs_that_any_file_takes(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/bad\xff.png"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", path)
    (item,) = listing(str(tmp_path)).items
    assert item.picture == "bad\\udcff.png"
    assert Reader()(item).width == 8
    Path(os.fsdecode(path)).write_bytes(b"no picture")
    with pytest.raises(ImageError) as told:
        Reader()(item)
    assert printable(str(told.value)).encode("utf-8")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"image": "a.jpg", "question": "a \ud800 cat"}, r"line 1: 'a \\\\ud800 cat' holds half a character"),
        ({"image": "a\udfff.jpg"}, "half a character"),
        ({"image": "a.jpg", "question": 5}, "the question 5 is no text"),
    ],
)
def test_a_line_that_no_shard_could_hold_is_refused(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        listing(str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": [{"id": 1, "file_name": "a.jpg"}] * 2}, "2 images have the id 1"),
        ({"categories": [{"id": 5, "name": "cat"}, {"id": 5, "name": "dog"}]}, "2 categories have the id 5"),
        ({"categories": [{"id": 5, "name": "cat"}, {"id": 6, "name": "cat"}]}, "2 categories have the name 'cat'"),
    ],
)
def test_what_stands_for_several_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    told = {"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [], **change}
    (tmp_path / "a.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        listing(str(tmp_path / "a.json"))


def test_a_column_of_questions_that_is_empty_is_told_from_one_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"image": "a.png", "query": ""}\n')
    with pytest.raises(InputError, match=r"a\.jsonl has no questions: query is empty\. Check --question-column\."):
        listing(str(tmp_path / "a.jsonl"), question_column="query")


def test_of_very_many_fields_a_message_names_the_first(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({f"f{k}\ud800": k for k in range(200)}) + "\n")
    with pytest.raises(DataError, match=r"no picture, but f0\\ud800, .*f19\\ud800, 180 more\. Name"):
        listing(str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"id": 2**70}, r"images\[1\]: the id '1180591620717411303424' is no whole number of 64 bits"),
        ({"id": True}, r"images\[1\]: the id 'True' is no whole number"),
        ({"id": 1.5}, r"images\[1\]: the id '1\.5' is no whole number"),
        ({"id": "5"}, r"images\[1\]: the id '5' is no whole number"),
        ({"id": None}, r"images\[1\] has no file_name and id"),
        ({"file_name": ""}, r"images\[1\] has no file_name and id"),
        ({"file_name": "\ud800.jpg"}, r"images\[1\]: '\\\\ud800\.jpg' holds half a character"),
    ],
)
def test_a_picture_of_coco_json_that_no_shard_could_hold_is_refused(
    tmp_path: Path, image: dict[str, Any], message: str
) -> None:
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg", **image}]
    (tmp_path / "a.json").write_text(json.dumps({"images": images}), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        listing(str(tmp_path / "a.json"))


@pytest.mark.parametrize(
    ("category", "message"),
    [
        ({"id": float("inf")}, r"categories\[1\]: the id 'inf' is no whole number of 64 bits"),
        ({"id": 2**80}, r"categories\[1\]: the id '12089"),
        ({"id": 1.7}, r"categories\[1\]: the id '1\.7' is no whole number"),
        ({"id": False}, r"categories\[1\]: the id 'False' is no whole number"),
        ({"id": None}, r"categories\[1\] has no name and id"),
        ({"name": None}, r"categories\[1\] has no name and id"),
        ({"name": "\ud800"}, r"categories\[1\]: '\\\\ud800' holds half a character"),
    ],
)
def test_a_category_that_no_file_could_hold_is_refused(tmp_path: Path, category: dict[str, Any], message: str) -> None:
    told = {
        "images": [{"id": 1.0, "file_name": "a.jpg"}],
        "categories": [{"id": 3, "name": 7}, {"id": 0.0, "name": "cat", **category}],
    }
    (tmp_path / "a.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        listing(str(tmp_path / "a.json"))
    del told["categories"][1]
    (tmp_path / "a.json").write_text(json.dumps(told), encoding="utf-8")
    found = listing(str(tmp_path / "a.json"))
    assert (found.items[0].image_id, found.categories) == (1, {"7": 3})
    (tmp_path / "a.json").write_text(json.dumps({**told, "categories": {"id": 1}}), encoding="utf-8")
    with pytest.raises(DataError, match="categories need name and id"):
        listing(str(tmp_path / "a.json"))
