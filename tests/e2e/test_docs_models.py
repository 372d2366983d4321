"""docs/models.md shows what `fo1agent models` prints, where nothing was fetched and all fits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from huggingface_hub import constants

from fo1agent.cli import main
from fo1agent.cli import models as cli_models
from fo1agent.presets import choose
from fo1agent.presets.machine import Machine


@pytest.fixture
def page(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setattr(cli_models, "machine", lambda: Machine(64_000, None, True))
    return (repo / "docs" / "models.md").read_text(encoding="utf-8")


def test_the_page_shows_what_the_command_prints(page: str) -> None:
    _, listed, *_ = re.split(r"^\$ fo1agent models\n", page, flags=re.MULTILINE)
    assert CliRunner().invoke(main, ["models"]).stdout == listed.partition("```")[0]
    error = re.findall(r"^error: .*$", page, re.MULTILINE)
    assert CliRunner().invoke(main, ["models", "get", "owlv2-base"]).stderr.splitlines() == error


def test_every_name_on_the_page_is_one(page: str) -> None:
    names = re.findall(r"(?<![\w/])(?:nano|vlm-fo1-3b)(?:\+[\w.-]+\b)*", page)
    assert len(names) > 15
    assert {type(choose(name)).__name__ for name in names} == {"Choice"}
