"""The notebook runs from top to bottom, and what it shows is what it gives."""

from __future__ import annotations

import base64
import io
import re
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "tour.ipynb"
AGAIN = "run: python -m tests.notebooks examples/tour.ipynb"
_SCORE = re.compile(r"\b[01]\.\d\d\b")


def text_of(cell: Any) -> str:
    """What the cell printed."""
    return "".join(output["text"] for output in cell.outputs if output["output_type"] == "stream")


def kinds_of(cell: Any) -> list[str]:
    """The kinds of output in their order. A busy kernel sends what is printed in several pieces: they are one."""
    return [kind for kind, _ in groupby(output["output_type"] for output in cell.outputs)]


def pictures_of(cell: Any) -> list[bytes]:
    """The JPEG files that the cell shows."""
    return [base64.b64decode(output["data"]["image/jpeg"]) for output in cell.outputs if "data" in output]


def cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_shows_what_it_gives(tmp_path: Path) -> None:
    pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    from tests.notebooks import executed

    shown = nbformat.read(NOTEBOOK, as_version=4)
    given = executed(NOTEBOOK, tmp_path)
    assert (tmp_path / "answer.png").exists()
    for before, after in zip(cells(shown), cells(given), strict=True):
        # The last digit of a probability differs between processors.
        texts = [_SCORE.sub("0.00", text_of(cell)) for cell in (before, after)]
        assert texts[0] == texts[1], AGAIN
        scores = [[float(score) for score in _SCORE.findall(text_of(cell))] for cell in (before, after)]
        assert scores[0] == pytest.approx(scores[1], abs=0.02), AGAIN
        assert kinds_of(before) == kinds_of(after), AGAIN
        for one, other in zip(pictures_of(before), pictures_of(after), strict=True):
            pixels = [np.asarray(Image.open(io.BytesIO(data)), dtype=np.float64) for data in (one, other)]
            assert pixels[0].shape == pixels[1].shape, AGAIN
            assert np.abs(pixels[0] - pixels[1]).mean() < 4, AGAIN


def test_the_notebook_is_small_and_whole() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    pictures = [picture for cell in cells(notebook) for picture in pictures_of(cell)]
    assert len(pictures) >= 3
    assert NOTEBOOK.stat().st_size < 150_000
    assert [cell.execution_count for cell in cells(notebook)] == list(range(1, len(cells(notebook)) + 1))
    outputs = [output for cell in cells(notebook) for output in cell.outputs]
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result", "display_data"}
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
