"""docs/proposals.md and docs/huggingface.md: their Python blocks print what the pages say."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

import fo1agent
from fo1agent.errors import ProposalError

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "fo1agent" / "data" / "demo"


@pytest.mark.parametrize("name", ["proposals", "huggingface"])
def test_a_page_s_python_prints_what_the_page_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycocotools", reason="the extra eval is not installed")
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```\n```text\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    shutil.copytree(DEMO, tmp_path, dirs_exist_ok=True)
    write_sheets(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert len(blocks) == page.count("```python") > 0
    for code, expected in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, f"{name}.md", "exec"), {})
        assert printed.getvalue().strip() == expected.strip()


def write_sheets(folder: Path) -> None:
    """Three sheets of dark blots, in rows, two of three of them squares; and COCO's file of the squares."""
    (folder / "sheets").mkdir()
    images, squares = [], []
    for number in (1, 2, 3):
        sheet = Image.new("RGB", (320, 320), "white")
        for k in range(36):
            x, y, height = 50 * (k % 6) + 10, 50 * (k // 6) + 10, 30 if k % 3 else 8 + (k * number) % 17
            sheet.paste((0, 0, 0), (x, y, x + 30, y + height))
            if k % 3:
                squares.append({"id": len(squares) + 1, "image_id": number, "category_id": 1, "iscrowd": 0})
                squares[-1] |= {"bbox": [x, y, 30, 30], "area": 900}
        sheet.save(folder / "sheets" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 320, "height": 320})
    truth = {"images": images, "annotations": squares, "categories": [{"id": 1, "name": "square"}]}
    (folder / "instances.json").write_text(json.dumps(truth))


def test_a_function_that_gives_something_else_is_told_so() -> None:
    model = fo1agent.load(proposer=lambda image: [[0, 0, 10, 10]])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ProposalError, match=r"gave list; wanted Regions, as .*to_regions"):
        model.open(DEMO / "cat.jpg")
