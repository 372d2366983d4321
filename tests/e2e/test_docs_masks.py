"""The blocks of docs/masks.md run, and print what they say."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

cv2: Any = pytest.importorskip("cv2")


def test_the_blocks_run_and_print_what_the_page_says(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (repo / "docs" / "masks.md").read_text(encoding="utf-8")
    pairs = re.findall(r"^```python\n(.*?)^```\n```text\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(pairs) == 2
    shutil.copy(repo / "fo1agent" / "data" / "demo" / "cat.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    cv2.setRNGSeed(0)
    names: dict[str, Any] = {}
    for code, expected in pairs:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(code, "docs/masks.md", "exec"), names)
        assert said.getvalue() == expected
    with Image.open(tmp_path / "masks.png") as drawn:
        assert drawn.size == (640, 407)
