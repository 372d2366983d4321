"""Models by their short names where people name them: at a shell, to a server, to an MCP host, from the hub."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
import torch
from click.testing import CliRunner
from huggingface_hub import constants
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

import fo1agent
from fo1agent.cli import main
from fo1agent.errors import ProposalError
from tests.hub import playing_hub
from tests.serving import process
from tests.tiny_detectors import YOLOS_PROCESSOR, untrained_yolos

DEMO = Path(fo1agent.__file__).parent / "data" / "demo"
OF_RT_DETR = "PekingU/rtdetr_v2_r18vd"


def test_a_server_starts_with_the_model_that_the_variable_names() -> None:
    with process(variables={"FO1AGENT_MODEL": "nano"}) as server:
        answer = fo1agent.connect(server.url).ask(DEMO / "cat.jpg", "How many remotes are there?")
    assert answer.text == "There are 2 remotes."


def test_an_mcp_server_takes_a_preset_and_refuses_what_is_none(tmp_path: Path) -> None:
    shutil.copy(DEMO / "cat.jpg", tmp_path)
    command = [sys.executable, "-m", "fo1agent", "mcp", "--model"]
    wrong = subprocess.run([*command, "nano+rt-detr"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert "Did you mean 'rt-detr-r50'?" in wrong.stderr

    async def counted() -> int:
        parameters = StdioServerParameters(
            command=command[0], args=[*command[1:], "nano"], cwd=tmp_path, env=dict(os.environ)
        )
        async with Client(stdio_client(parameters)) as client:
            result = await client.call_tool("count", {"image": "cat.jpg", "phrase": "remote"})
            assert not result.is_error, result
            return (result.structured_content or {})["value"]

    assert anyio.run(counted) == 2


def test_the_hub_may_be_another_one_and_what_it_gave_then_works_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    untrained_yolos({0: "cat", 1: "remote"}).save_pretrained(tmp_path / "tiny")
    YOLOS_PROCESSOR.save_pretrained(tmp_path / "tiny")
    files = {path.name: path.read_bytes() for path in (tmp_path / "tiny").iterdir()}
    command = [sys.executable, "-m", "fo1agent", "models", "get", "nano+rt-detr-r18"]
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ProposalError, match=OF_RT_DETR):  # the tests have no network
        fo1agent.load("nano+rt-detr-r18")
    with playing_hub({OF_RT_DETR: files}) as hub:
        told = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0"}
        got = subprocess.run(command, env={**os.environ, **told}, capture_output=True, text=True, timeout=120)
    assert (got.returncode, got.stdout.splitlines()[-1].split()[0]) == (0, "rt-detr-r18"), got.stderr
    model = fo1agent.load("nano+rt-detr-r18")
    scene = model.open(DEMO / "cat.jpg")
    assert {region.source for region in scene.regions} == {f"transformers:{OF_RT_DETR}"}


def test_a_folder_without_a_model_is_not_told_to_be_one(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["models", "get", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr == f"error: {tmp_path} holds no model: it has no config.json.\n"
