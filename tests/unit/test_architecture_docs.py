"""docs/architecture.md names files that are there, each once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path


def test_each_file_on_the_walks_is_there_and_is_named_once(repo: Path) -> None:
    text = (repo / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = Counter(re.findall(r"`((?:fo1agent|tools|trainers)/[\w/]+\.py)`", text))
    assert len(named) > 40
    assert [path for path in named if not (repo / path).is_file()] == []
    assert [path for path, times in named.items() if times > 1] == []


def test_the_rooms_that_are_drawn_are_there(repo: Path) -> None:
    text = (repo / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawing = text.split("```")[1]
    rooms = set(re.findall(r"\b([a-z]+)/", drawing))
    assert rooms >= {"pictures", "proposals", "model", "tools", "plans", "planners", "runs", "cli", "serve"}
    assert [room for room in rooms if not ((repo / "fo1agent" / room).is_dir() or (repo / room).is_dir())] == []
