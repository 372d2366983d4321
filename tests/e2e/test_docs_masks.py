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


@pytest.fixture
def blocks(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """(code, what it prints) of each block, in a folder with the picture."""
    text = (repo / "docs" / "masks.md").read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(.*?)^```\n```text\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    shutil.copy(repo / "fo1agent" / "data" / "demo" / "cat.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    return found


def printed(code: str, names: dict[str, Any]) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "docs/masks.md", "exec"), names)
    return said.getvalue()


def test_the_blocks_run_and_print_what_the_page_says(blocks: list[tuple[str, str]], tmp_path: Path) -> None:
    assert len(blocks) == 2
    cv2.setRNGSeed(0)
    names: dict[str, Any] = {}
    for code, expected in blocks:
        assert printed(code, names) == expected
    with Image.open(tmp_path / "masks.png") as drawn:
        assert drawn.size == (640, 407)


def test_the_loop_goes_on_where_a_region_has_no_mask(
    blocks: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def blind_at_first(pixels: Any, labels: Any, rect: Any, *rest: Any) -> None:
        asked.append(labels)
        x, y, *_ = rect
        labels[y : y + 9, x : x + 9] = cv2.GC_BGD if len(asked) == 1 else cv2.GC_FGD

    monkeypatch.setattr(cv2, "grabCut", blind_at_first)
    names: dict[str, Any] = {}
    assert printed(blocks[0][0], names) == "r0 remote about 0 pixels\nr2 remote about 0 pixels\n"
    assert names["result"].note == "The segmenter has no mask for r1."
