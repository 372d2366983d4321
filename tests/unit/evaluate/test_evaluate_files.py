"""Files of others, read whole within bounds."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from fo1agent.errors import DataError
from fo1agent.evaluate.files import read_bytes, read_json


def test_room_is_made_for_what_a_file_has_not_for_what_it_may_have(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_bytes(b'{"a": [1, 2]}')
    assert read_bytes(path, 1 << 60) == b'{"a": [1, 2]}'  # no memory has so much room
    assert read_json(path) == {"a": [1, 2]}
    path.write_bytes(b"")
    assert read_bytes(path, 1 << 60) == b""


def test_a_file_that_grows_while_it_is_read_is_read_to_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "growing"
    path.write_bytes(bytes(range(10)))
    fstat = os.fstat

    def earlier(descriptor: int) -> SimpleNamespace:
        return SimpleNamespace(st_size=3, st_mode=fstat(descriptor).st_mode)

    monkeypatch.setattr("fo1agent.evaluate.files.os.fstat", earlier)
    assert read_bytes(path, 10) == bytes(range(10))
    with pytest.raises(DataError, match="has more than 9 bytes; wanted at most so many"):
        read_bytes(path, 9)
