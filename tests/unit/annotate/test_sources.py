"""Every source becomes a list of pictures, and each of them can be opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fo1agent.annotate.sources import Item, Listing, Reader, listing
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
    assert names(listing(str(photos / "deep"))) == ["both.parquet#0", "both.parquet#1", "photos/a.png", "photos/b.png"]


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
        assert names(listing("memory://bucket/photos/*.png"))[0] == "memory://bucket/photos/a.png"
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
        ("bad.jsonl", '{"image": "a.png"}\n{"question": "?"}', DataError, "line 2: no picture"),
        ("bad.parquet", "PAR", DataError, "is no Parquet file"),
        ("none.jsonl", "", InputError, "holds no pictures"),
    ],
)
def test_what_is_no_source_is_said_in_a_line(
    name: str, text: str | None, error: type[Exception], message: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(error, match=message):
        listing(str(tmp_path / name))
