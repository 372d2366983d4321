"""Every block of the README is true: what it shows being run is run here, and prints what it says.

Python blocks run in order in one namespace, in a folder with the bundled photographs; a `text` block right after one
is what it prints. In `console` blocks, lines after `$ ` are commands and the rest is what they print: `fo1agent` is
run; `make` targets and `pip` extras are looked up, not run, for the tests themselves run under `make test`. Times
differ from run to run, so `0.9 s` stands for any number of seconds.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fo1agent.cli import main

README = Path(__file__).resolve().parents[2] / "README.md"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its content, and the `text` block that follows it at once, if one does."""

    language: str
    content: str
    printed: str | None


def _blocks(text: str) -> list[Block]:
    fences = [
        (m[1], m[2], m.start(), m.end()) for m in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    ]
    blocks = []
    for i, (language, content, _, end) in enumerate(fences):
        following = fences[i + 1] if i + 1 < len(fences) else None
        joined = following is not None and following[0] == "text" and text[end : following[2]].strip() == ""
        blocks.append(Block(language, content, following[1] if following and joined else None))
    return blocks


BLOCKS = _blocks(README.read_text(encoding="utf-8"))


@pytest.fixture
def folder(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for photo in (repo / "fo1agent" / "data" / "demo").glob("*.jpg"):
        shutil.copy(photo, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme_knows_only_these_kinds_of_block() -> None:
    assert {block.language for block in BLOCKS} == {"python", "text", "console"}


def test_python_blocks_print_what_the_readme_says(folder: Path) -> None:
    namespace: dict[str, Any] = {}
    for block in (block for block in BLOCKS if block.language == "python"):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(block.content, "README.md", "exec"), namespace)
        _assert_same(printed.getvalue(), block.printed or "")


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "console"], ids=lambda b: b.content[:40]
)
def test_console_blocks_print_what_the_readme_says(block: Block, folder: Path, repo: Path) -> None:
    for command, expected in _commands(block.content):
        program, *arguments = shlex.split(command, comments=True)
        if program == "make":
            makefile = (repo / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{arguments[0]}:", makefile, re.MULTILINE), command
        elif program == "pip":
            extras = tomllib.loads((repo / "pyproject.toml").read_text(encoding="utf-8"))["project"][
                "optional-dependencies"
            ]
            named = re.findall(r"\[([\w,]+)\]", command)
            assert set(",".join(named).split(",")) - {""} <= set(extras), command
        else:
            assert program == "fo1agent", f"no way to check {command!r}"
            result = CliRunner().invoke(main, arguments, prog_name="fo1agent")
            assert result.exit_code == 0, result.output
            if expected.strip():
                _assert_same(result.output, expected)


def test_links_into_the_repository_lead_somewhere(repo: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README.read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not (repo / target).exists()] == []


def test_the_photographs_lie_where_it_says(repo: Path) -> None:
    text = README.read_text(encoding="utf-8")
    place = repo / re.search(r"lie in `(\S+)`", text)[1]  # pyright: ignore[reportOptionalSubscript]
    shown = set(re.findall(r"\b(?:cat|bus)\.jpg\b", text))
    assert {path.name for path in place.glob("*.jpg")} >= shown == {"cat.jpg", "bus.jpg"}


def _commands(content: str) -> list[tuple[str, str]]:
    """(command, what it prints) for each `$ ` line."""
    parts = re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]
    return [(command, printed) for command, _, printed in (part.partition("\n") for part in parts)]


def _assert_same(printed: str, expected: str) -> None:
    """Equal but for times, trailing blanks and the last digit of probabilities, which differs between processors."""
    score = re.compile(r"\b[01]\.\d\d\b")
    texts = [
        [score.sub("0.00", re.sub(r"\d+\.\d s\b", "0.0 s", line)).rstrip() for line in text.strip().splitlines()]
        for text in (printed, expected)
    ]
    assert texts[0] == texts[1]
    scores = [[float(value) for value in score.findall(text)] for text in (printed, expected)]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)
