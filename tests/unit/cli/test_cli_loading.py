"""The options by which commands say what to load: what they take, and what they say of anything else."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from fo1agent import loading
from fo1agent.cli import main
from fo1agent.errors import InputError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The tiles of each `load`, which then fails."""
    tiles: list[Any] = []

    def load(*_: Any, **options: Any) -> Any:
        tiles.append(options["tiles"])
        raise InputError("no model here")

    monkeypatch.setattr(loading, "load", load)
    return tiles


def count(*options: str) -> Any:
    return CliRunner().invoke(main, ["count", "a.jpg", "dog", *options])


def test_tiles_are_auto_or_a_number(asked: list[Any]) -> None:
    for given in (("--tiles", "auto"), ("--tiles", "2"), ("--tiles", "64"), ()):
        assert count(*given).stderr == "error: no model here\n"
    assert asked == ["auto", 2, 64, None]


@pytest.mark.parametrize("given", ["many", "1", "65", "2.5", ""])
def test_anything_else_is_told_what_there_is(asked: list[Any], given: str) -> None:
    ended = count("--tiles", given)
    assert ended.exit_code == 2
    assert f"{given!r} is neither auto nor a whole number from 2 to 64." in ended.stderr
    assert asked == []
    assert "N (2 to 64) along the" in CliRunner().invoke(main, ["count", "--help"]).stdout
