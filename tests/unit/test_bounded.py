"""JSON of others: read if it is of reasonable length, depth and numbers, and refused with the reason if not."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fo1agent.bounded import DEPTH, check, halved, parse, read_file, read_most, whole

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_ordinary_json_is_read_as_it_is(value: Any) -> None:
    text = json.dumps(value)
    assert parse(text, 10**6) == parse(text.encode(), 10**6) == value


class Growing(io.FileIO):
    """A file that has more bytes each time it is read, as one that somebody writes meanwhile."""

    asked = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.asked = max(self.asked, size or 0)
        data = super().read(size)
        with open(self.name, "ab") as more:
            more.write(b"x" * 5)
        return data


def test_a_file_is_read_to_its_end_and_no_room_is_made_for_more_than_it_has(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)
    with open(path, "rb") as file:
        assert read_most(file, 1 << 60) == b"x" * 10
    assert read_file(path, 10) == b"x" * 10
    with pytest.raises(ValueError, match="longer than 9 bytes"):
        read_file(path, 9)
    with Growing(path) as growing:
        assert read_most(growing, 23) == b"x" * 24  # one more than may be: it is told as too long
        assert growing.asked <= 14
    path.write_bytes(b"")
    assert read_file(path, 10) == b""


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x" * 101, "longer than 100 characters"),
        (b"x" * 101, "longer than 100 bytes"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        (b"\xff\xfe", "not JSON: it is no UTF-8"),
        ("NaN", "NaN is no number of JSON"),
        ("[-Infinity]", "-Infinity is no number"),
        ("1e999", "1e999 is too large"),
        ("-1e999", "too large"),
    ],
)
def test_what_is_none_is_refused_with_the_reason(text: str | bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(text, 100)


@pytest.mark.parametrize("depth", [DEPTH + 2, 1000, 100_000])
def test_what_is_too_deep_is_refused(depth: int) -> None:
    assert parse(nested(DEPTH), 10**6)
    for text in (nested(depth), '{"a":' * depth + "1" + "}" * depth):
        with pytest.raises(ValueError, match=f"nested deeper than {DEPTH} levels"):
            parse(text, 10**7)


def test_a_number_of_more_digits_than_python_reads_is_refused() -> None:
    with pytest.raises(ValueError, match="digits"):
        parse("9" * 5000, 10**6)


@pytest.mark.parametrize(
    "value",
    ["x" * 200, ["x" * 60] * 2, {"x" * 200: 1}, [0] * 200, {str(k): k for k in range(200)}, [[[]] * 40] * 3],
)
def test_the_size_of_a_value_is_that_of_all_its_parts(value: Any) -> None:
    with pytest.raises(ValueError, match="longer than 100 characters"):
        check(value, 100)
    check(value, 10_000)


@pytest.mark.parametrize("value", ["\ud800", ["a", ("\udfff",)], {"a": {"b\udc00": 1}}, "\udf00\ud83c"])
def test_half_a_character_is_found_wherever_it_stands(value: Any) -> None:
    assert halved(value)


def test_whole_characters_are_not_half_ones() -> None:
    round_about: list[Any] = ["\U0001f600", {"ü": "\ufffd"}, 1, None]
    round_about.append(round_about)
    assert not halved(round_about)
    assert whole("a\ud800b\U0001f600") == "a\ufffdb\U0001f600"


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    assert read_file(tmp_path / "file", 100) == b"x" * 100
    with pytest.raises(ValueError, match="longer than 99 bytes"):
        read_file(tmp_path / "file", 99)


def test_what_is_no_regular_file_is_neither_waited_for_nor_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, what in ((tmp_path / "pipe", "a pipe"), (tmp_path, "a folder"), (Path("/dev/zero"), "a device")):
        with pytest.raises(ValueError, match=f"{what}, not a regular file"):
            read_file(path, 100)
