"""The pages for builders are true: their Python runs, in order, and prints what they say."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from fo1agent.cli import main

_BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:```text\n(?P<printed>.*?)^```$)?", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["langchain.md", "tool-schemas.md"])
def test_python_prints_what_the_page_says(
    repo: Path, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(repo / "fo1agent" / "data" / "demo" / "cat.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = list(_BLOCK.finditer((repo / "docs" / page).read_text(encoding="utf-8")))
    assert blocks
    for block in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block["code"], page, "exec"), names)
        assert printed.getvalue() == (block["printed"] or "")


def test_every_command_of_the_schemas_page_runs(repo: Path) -> None:
    commands = re.findall(
        r"^\$ fo1agent (tools .*?)\s+#", (repo / "docs" / "tool-schemas.md").read_text(), re.MULTILINE
    )
    assert len(commands) == 4
    for command in commands:
        assert CliRunner().invoke(main, command.split()).exit_code == 0
