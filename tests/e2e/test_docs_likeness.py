"""The blocks of docs/likeness.md run, and print what they say."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fo1agent.cli import main
from fo1agent.trainers.likeness import LikenessRecipe
from fo1agent.trainers.recipe import load_recipe


def test_the_blocks_run_and_print_what_the_page_says(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (repo / "docs" / "likeness.md").read_text(encoding="utf-8")
    pairs = re.findall(r"^```python\n(.*?)^```\n```text\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(pairs) == 1
    for name in ("cat.jpg", "bus.jpg"):
        shutil.copy(repo / "fo1agent" / "data" / "demo" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code, expected in pairs:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(code, "docs/likeness.md", "exec"), names)
        assert said.getvalue() == expected


def test_the_commands_are_ones_that_are_understood(repo: Path) -> None:
    text = (repo / "docs" / "likeness.md").read_text(encoding="utf-8")
    commands = [shlex.split(line) for line in re.findall(r"^\$ fo1agent (.*)$", text, re.MULTILINE)]
    assert {command[0] for command in commands} == {"ground", "train", "eval"}
    for command in commands:
        if command[0] == "train":
            recipe = load_recipe(LikenessRecipe, command[1], command[2:])
            assert (recipe.data.every, recipe.examples) == (12, (1, 2, 3))
        else:  # the files are not there, and all else is right
            said = CliRunner().invoke(main, command, prog_name="fo1agent")
            assert "does not exist" in said.output or "There is no file" in said.output
