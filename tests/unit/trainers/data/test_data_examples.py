"""Our own line format: everything comes back, bad lines are named and counted, nothing is half written."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from fo1agent.errors import DataError
from fo1agent.trainers.data.formats.examples import read_examples, write_examples
from fo1agent.trainers.data.formats.source import Tolerance
from fo1agent.trainers.data.records import Example, Reference, Turn


def assert_same(a: Example, b: Example) -> None:
    for f in fields(Example):
        if f.name != "source":
            np.testing.assert_array_equal(getattr(a, f.name), getattr(b, f.name), err_msg=f.name)


def full(folder: Path) -> Example:
    return Example(
        "a/1",
        folder / "images" / "ä.jpg",
        640,
        480,
        np.array([[0.1, 30, 200, 180.25], [1 / 3, 0, 640, 480]], np.float32),
        ("cup", ""),
        np.array([False, True]),
        ("A cup, “full”.",),
        ("dog", "cat"),
        (Reference("the red cup", (0,)), Reference("a dog")),
        ("TEA", None),
        (Turn("What is <region1>?", "<region0>"),),
    )


def bare(folder: Path) -> Example:
    return Example(7, folder / "b.jpg", 3, 2, np.zeros((0, 4), np.float32), (), np.zeros(0, bool))


def test_everything_comes_back(tmp_path: Path) -> None:
    examples = [full(tmp_path), bare(tmp_path)]
    assert write_examples(tmp_path / "e.jsonl", examples) == 2
    source = read_examples(tmp_path / "e.jsonl")
    for read in (list(source), [e for e in (source[0], source[1]) if e is not None]):
        for was, now in zip(examples, read, strict=True):
            assert_same(was, now)
        assert [e.source for e in read] == ["e.jsonl:1", "e.jsonl:2"]
    assert (source.problems.good, source.problems.bad) == (2, 0)


def test_pictures_elsewhere_are_named_by_their_whole_path(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    file = tmp_path / "lists" / "e.jsonl"
    write_examples(file, [bare(tmp_path)])
    assert json.loads(file.read_text())["file_name"] == str(tmp_path / "b.jpg")
    write_examples(file, [bare(tmp_path)], relative_to=tmp_path)
    assert json.loads(file.read_text())["file_name"] == "b.jpg"
    (read,) = read_examples(file, images=tmp_path)
    assert read.path == tmp_path / "b.jpg"


def test_exhaustive_names_stand_once_for_all_lines(tmp_path: Path) -> None:
    from dataclasses import replace

    names = tuple(f"name {k}" for k in range(80))
    boxes = np.array([[0, 0, 1, 1]], np.float32)
    one = replace(bare(tmp_path), boxes=boxes, labels=("name 3",), crowd=np.zeros(1, bool))
    one = replace(one, absent=tuple(n for n in names if n != "name 3"))
    other = replace(bare(tmp_path), absent=("name 5",))  # is not exhaustive, and says so
    write_examples(tmp_path / "e.jsonl", [one, other], vocabulary=names)
    first, second = (json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines())
    assert first["exhaustive"] is True
    assert "absent" not in first
    assert second["absent"] == ["name 5"]
    source = read_examples(tmp_path / "e.jsonl")
    assert source.vocabulary == names
    for was, now in zip([one, other], source, strict=True):
        assert_same(was, now)
    (tmp_path / "e.names.txt").unlink()
    with pytest.raises(DataError, match=r"e\.jsonl:1: says exhaustive, but the file with the names is not there"):
        list(read_examples(tmp_path / "e.jsonl", tolerance=Tolerance(0, 0)))


GOOD = {"id": 1, "file_name": "a.jpg", "width": 10, "height": 10}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not JSON: Expecting property name"),
        ("[1]", r"wanted a JSON object, got '\[1\]'"),
        ('{"id": 1}', "lacks 'width'"),
        ({"id": None}, "id is None"),
        ({"file_name": ""}, "the picture's name is ''"),
        ({"width": 0}, "the picture is 0 x 10 pixels"),
        ({"width": 9.5}, "width and height are 9.5 and 10; wanted whole pixels"),
        ({"boxes": [[0, 0, 5]]}, r"boxes\[0\] = \[0, 0, 5\]; wanted four numbers"),
        ({"boxes": [[0, 0, 5, "x"]]}, r"wanted four numbers"),
        ({"boxes": [[0, 0, 5, 5], [4, 4, 2, 8]]}, r"boxes\[1\] = \[4, 4, 2, 8\] is no x1, y1, x2, y2 box"),
        ({"boxes": [[0, 0, 5, 15]]}, "inside 10 x 10 pixels"),
        ({"boxes": [[0, 0, 5, float("nan")]]}, "is no x1, y1, x2, y2 box"),
        ({"boxes": [[0, 0, 5, 5]], "labels": []}, "0 labels for 1 boxes"),
        ({"labels": "cup"}, "labels is 'cup'; wanted a list of strings"),
        ({"boxes": [[0, 0, 5, 5]], "crowd": [1]}, "crowd names box 1; there are 1, from 0"),
        ({"boxes": [[0, 0, 5, 5]], "phrases": [["it", [0, 2]]]}, "phrase 'it' names box 2"),
        ({"boxes": [[0, 0, 5, 5]], "texts": []}, "texts is"),
        ({"turns": [["What is <region0>?", "A cup."]]}, "names <region0>, but there are 0 boxes"),
        ({"turns": [["What?"]]}, r"turns\[0\] is .*wanted a list of two"),
        ({"caption": "A cup."}, "unknown key 'caption'; known: absent, boxes, captions"),
    ],
)
def test_a_bad_line_is_skipped_and_named(tmp_path: Path, line: object, why: str) -> None:
    broken = line if isinstance(line, str) else json.dumps(GOOD | line)  # pyright: ignore[reportOperatorIssue]
    (tmp_path / "e.jsonl").write_text(f"{json.dumps(GOOD)}\n{broken}\n{json.dumps(GOOD)}\n")
    source = read_examples(tmp_path / "e.jsonl")
    assert [e.source for e in source] == ["e.jsonl:1", "e.jsonl:3"]
    assert (source.problems.good, source.problems.bad) == (2, 1)
    with pytest.raises(DataError, match=rf"e\.jsonl: e\.jsonl:2: .*{why}"):
        list(read_examples(tmp_path / "e.jsonl", tolerance=Tolerance(0, 0)))
    source = read_examples(tmp_path / "e.jsonl")
    assert [source[k] is None for k in (0, 1, 1, 2)] == [False, True, True, False]
    assert source.problems.bad == 1  # counted once, however often it is met


def test_too_many_bad_lines_are_fatal(tmp_path: Path) -> None:
    lines = [json.dumps(GOOD) if k % 10 else "{}" for k in range(1000)]
    (tmp_path / "e.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"23 of 221 records are bad, more than the 1\.0% plus 20 allowed: e.jsonl:1"):
        list(read_examples(tmp_path / "e.jsonl"))
    source = read_examples(tmp_path / "e.jsonl", tolerance=Tolerance(0.1))
    assert len(list(source)) == 900
    assert len(source) == 1000


def test_a_rounding_error_at_the_border_is_cut(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text(json.dumps(GOOD | {"boxes": [[-0.4, 0, 10.3, 5]]}))
    (example,) = read_examples(tmp_path / "e.jsonl")
    np.testing.assert_array_equal(example.boxes, [[0, 0, 10, 5]])


def test_nothing_is_left_of_a_failed_write(tmp_path: Path) -> None:
    write_examples(tmp_path / "e.jsonl", [bare(tmp_path)])
    before = (tmp_path / "e.jsonl").read_bytes()

    def broken():
        yield full(tmp_path)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_examples(tmp_path / "e.jsonl", broken())
    assert (tmp_path / "e.jsonl").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["e.jsonl"]


def test_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read .*e\.jsonl: there is no such file"):
        read_examples(tmp_path / "e.jsonl")
