"""docs/data.md is true: its commands and its Python run here, on its own file, and print what it says."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image, ImageChops

from fo1agent.cli import main
from fo1agent.trainers.data.augment import AugmentRecipe
from fo1agent.trainers.data.formats import FORMATS, SourceRecipe, open_source
from fo1agent.trainers.data.preview import preview
from fo1agent.trainers.recipe import build


@pytest.fixture(scope="module")
def page(repo: Path) -> str:
    return (repo / "docs" / "data.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(repo: Path, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The two photographs, and the file that the page shows."""
    for photo in (repo / "fo1agent" / "data" / "demo").glob("*.jpg"):
        shutil.copy(photo, tmp_path)
    (content,) = _blocks(page, "json")
    (tmp_path / "photos.jsonl").write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def test_commands_print_what_the_page_says(page: str, folder: Path) -> None:
    for block in _blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            program, *arguments = shlex.split(command)
            assert program == "fo1agent"
            result = CliRunner().invoke(main, arguments, prog_name="fo1agent")
            assert result.exit_code == 0, result.output
            if "--json" in arguments:
                assert result.output.startswith(printed)  # the page shows the first lines
            else:
                assert result.output == printed


def test_python_prints_what_the_page_says(page: str, folder: Path) -> None:
    (code,), (expected,) = _blocks(page, "python"), _blocks(page, "text")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "data.md", "exec"), {})
    assert printed.getvalue() == expected


def test_the_picture_is_what_preview_draws(repo: Path, folder: Path) -> None:
    preview(open_source(SourceRecipe(folder / "photos.jsonl")), folder / "sheet.png")
    with Image.open(folder / "sheet.png") as now, Image.open(repo / "docs" / "data-preview.jpg") as shown:
        assert now.size == shown.size
        difference = ImageChops.difference(now.convert("L"), shown.convert("L")).resize((40, 20))
        assert np.asarray(difference).max() < 24  # but for its compression


@dataclass(frozen=True)
class _Recipe:
    sources: tuple[SourceRecipe, ...]
    augment: AugmentRecipe


def test_the_recipe_is_one(page: str) -> None:
    (text,) = _blocks(page, "yaml")
    recipe = build(_Recipe, yaml.safe_load(text))
    assert [source.weight for source in recipe.sources] == [4, 2, 1, 0.5]


def test_the_table_has_every_format(page: str) -> None:
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(FORMATS)
