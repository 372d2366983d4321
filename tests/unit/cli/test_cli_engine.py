"""What commands say where `--engine` names a vLLM."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from fo1agent.cli import main


@pytest.fixture
def picture(tmp_path: Path) -> str:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    (tmp_path / "boxes.json").write_text(json.dumps([[1, 1, 20, 20], [30, 10, 60, 40]]), encoding="utf-8")
    return str(tmp_path / "a.png")


def test_an_address_without_a_scheme_is_wrong_usage_that_says_which_is_meant(picture: str) -> None:
    ended = CliRunner().invoke(main, ["ask", picture, "Is there a dog?", "--engine", "me:hush@127.0.0.1:8000/v1"])
    assert ended.exit_code == 2
    assert "Did you mean http://127.0.0.1:8000/v1?" in ended.stderr
    assert "hush" not in ended.stderr


def test_what_vllm_can_never_run_is_refused_before_anything_else_is_asked_for(picture: str) -> None:
    for more in ((), ("--device", "cuda"), ("--quantize", "int8")):
        ended = CliRunner().invoke(main, ["ask", picture, "Is there a dog?", "--engine", "vllm", *more])
        assert ended.exit_code == 1
        assert ended.stderr.startswith("error: fo1-nano judges regions by a match head, of which vLLM knows nothing.")


def test_that_vllm_is_not_installed_is_told_before_boxes_are_asked_for(
    picture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "omchat_qwen2_5_vl"}', encoding="utf-8")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for model in (str(tmp_path), "omlab/VLM-FO1_Qwen2.5-VL-3B-v01"):
        ended = CliRunner().invoke(main, ["ask", picture, "Any dog?", "--engine", "vllm", "--model", model])
        assert ended.exit_code == 1
        assert ended.stderr.startswith("error: Engine vllm needs vllm, which is not installed: pip install ")
