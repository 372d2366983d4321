"""docs/shell.md: what its commands print, and that it lists the commands of a chat."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from fo1agent.cli import main
from fo1agent.cli.chat import COMMANDS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "shell.md").read_text(encoding="utf-8")
SHOWN = [
    (command, printed)
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    for command, printed in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
]


@pytest.mark.parametrize(("command", "printed"), SHOWN, ids=[command for command, _ in SHOWN])
def test_commands_print_what_the_page_says(
    command: str, printed: str, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for photo in (repo / "fo1agent" / "data" / "demo").glob("*.jpg"):
        shutil.copy(photo, tmp_path)
    monkeypatch.chdir(tmp_path)
    typed, pipe, fo1agent = command.rpartition(" | ")
    lines = shlex.split(typed)[1].replace(r"\n", "\n") if pipe else None
    arguments = [file for word in shlex.split(fo1agent)[1:] for file in matched(word)]
    result = CliRunner().invoke(main, arguments, input=lines)
    assert result.exit_code == int("error: " in printed), result.output
    last = re.compile(r"(?<=0\.\d)\d\b")  # digit of a score, which differs between processors
    assert last.sub("_", result.stdout) == last.sub("_", printed)


def matched(word: str) -> list[str]:
    """What a shell makes of a word."""
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


def test_the_page_lists_the_commands_of_a_chat() -> None:
    listed = re.findall(r"^\| `(/\w+) ?([^`]*)` \| (.*) \|$", PAGE, re.MULTILINE)
    assert {name: (wanted, what.replace("`", "")) for name, wanted, what in listed} == {
        name: (wanted, what.replace("`", "")) for name, (wanted, what) in COMMANDS.items()
    }
