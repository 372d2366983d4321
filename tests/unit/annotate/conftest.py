"""Pictures in a folder, and a model that sees the same in each."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from fo1agent.scene import Model
from tests.fakes import FakePredictor

pytest.importorskip("pyarrow", reason="the extra annotate is not installed")

OBJECTS = [((10, 10, 60, 60), "bus", 0.9), ((70, 10, 110, 50), "person", 0.8), ((70, 55, 110, 95), "person", 0.7)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of five pictures: one deeper, one that is none, and files that are no pictures."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for number, name in enumerate(("a.png", "b.png", "deep/c.png", "d.png", ".hidden/x.png")):
        Image.new("RGB", (120, 100), (40 * number, 90, 10)).save(folder / name)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def model() -> Model:
    """Sees a bus and two people in every picture."""
    return Model(FakePredictor(OBJECTS))
