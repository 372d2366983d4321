"""Every block of docs/tutorial.md runs, in its order; with fewer pictures and steps than a reader would take."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from fo1agent.cli import main

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python|console)\n(.*?)```", TEXT, re.DOTALL)
SHORTER = {"PICTURES = 30": "PICTURES = 5", "--steps 40": "--steps 5"}


def test_the_tutorial_runs_from_drawing_to_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycocotools")
    monkeypatch.chdir(tmp_path)
    held_out = re.search(r"signs/images/(\d\d)\.jpg", TEXT)
    assert held_out is not None
    printed = {}
    for language, content in BLOCKS:
        for long, short in SHORTER.items():
            content = content.replace(long, short)
        if language == "python":
            exec(compile(content, "tutorial.md", "exec"), {})
            continue
        for command in re.findall(r"^\$ (.*)$", content, re.MULTILINE):
            # Of so few pictures, others are held out.
            words = shlex.split(command.replace(f"{held_out[1]}.jpg", "00.jpg"))
            done = CliRunner().invoke(main, words[1:], catch_exceptions=False)
            assert done.exit_code == 0, done.output
            printed[words[1]] = done.stdout
    rows = [line.split() for line in printed["finetune"].splitlines()]
    assert [row[0] for row in rows[:4]] == ["before", "AP", "AP50", "recall@100"]
    assert float(rows[2][2]) > float(rows[2][1])
    (old,) = (row for row in rows if row[0] == "all")  # what it knew before, found before and after
    assert int(old[1]) == int(old[2]) > 10
    assert (tmp_path / "after.png").exists()


def test_the_tutorial_shows_what_it_links(repo: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert "tutorial.jpg" in targets
    assert [target for target in targets if not (repo / "docs" / target).exists()] == []
