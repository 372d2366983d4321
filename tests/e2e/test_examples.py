"""Each example runs from top to bottom and prints what its closing comment says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_prints_what_its_closing_comment_says(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example), run_name="__main__")
    _, _, comment = example.read_text(encoding="utf-8").partition("\n# prints:\n")
    expected = [line.removeprefix("#").removeprefix(" ").rstrip() for line in comment.splitlines()]
    assert expected
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == expected
