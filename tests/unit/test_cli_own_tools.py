"""Tools of one's own at the command line are found, or it is said why not."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from fo1agent.cli_own_tools import load_tools

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
    tools = load_tools([name])
    assert tools is not None
    assert {"width_of", "count", "ground"} <= set(tools)


def test_without_names_there_are_only_ours() -> None:
    assert load_tools([]) is None


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
