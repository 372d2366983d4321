"""Tools of one's own at the command line are found, or it is said why not."""

from __future__ import annotations

import contextlib
import importlib
import json
from pathlib import Path

import click
import pytest

from fo1agent.cli.own_tools import load_tools
from fo1agent.errors import InputError

TOOL = '''
import fo1agent

@fo1agent.tool
def width_of(scene: fo1agent.Scene, region: str) -> int:
    """How many pixels wide a region is.

    Args:
        region: id of the region, such as r3.
    """
    x1, _, x2, _ = scene.region(region).box
    return round(x2 - x1)

number = 3
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine_for_a_test.py").write_text(TOOL)
    (tmp_path / "broken_for_a_test.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["mine_for_a_test:width_of", "mine_for_a_test.py:width_of"])
def test_a_tool_stands_beside_ours(mine: Path, name: str) -> None:
    assert [tool.name for tool in load_tools([name])] == ["width_of"]


def test_a_name_that_is_taken_is_refused(mine: Path) -> None:
    (mine / "taken_for_a_test.py").write_text(TOOL.replace("width_of", "count"))
    with pytest.raises(InputError, match="Two tools are called 'count'"):
        load_tools(["taken_for_a_test.py:count"])


@pytest.mark.parametrize("body", [TOOL, "1 / 0"])
def test_a_file_takes_no_modules_name(mine: Path, body: str) -> None:
    (mine / "json.py").write_text(body)
    with contextlib.suppress(click.BadParameter):
        load_tools(["json.py:width_of"])
    assert importlib.import_module("json") is json
    with pytest.raises(click.BadParameter, match="json has no such name"):
        load_tools(["json:width_of"])


def test_without_names_there_are_none() -> None:
    assert load_tools([]) == ()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("width_of", "names no tool. Wanted MODULE:NAME"),
        ("mine_for_a_test:height_of", "has no such name"),
        ("mine_for_a_test:number", "holds a int under that name"),
        ("broken_for_a_test:width_of", "cannot be run: ZeroDivisionError"),
        ("missing_for_a_test:width_of", "cannot be run: ModuleNotFoundError"),
        ("missing_for_a_test.py:width_of", "cannot be run: FileNotFoundError"),
    ],
)
def test_what_is_no_tool_is_told(mine: Path, name: str, said: str) -> None:
    with pytest.raises(click.BadParameter, match=said):
        load_tools([name])
