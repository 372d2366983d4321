"""The examples that a server of ours answers: `fo1agent serve` is started, and they print what they say."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TOKEN = "a long random one"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of the command, started as its page says but at a free port."""
    command = [sys.executable, "-m", "fo1agent", "serve", "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FO1AGENT_TOKEN": TOKEN}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == "Loading fo1-nano …\n"
            said = process.stderr.readline()
            listening = re.fullmatch(r"Listening on (http://\S+)\n", said)
            assert listening, said
            yield listening[1]
        finally:
            process.kill()


def printed(example: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    runpy.run_path(str(EXAMPLES / example), run_name="__main__")
    return capsys.readouterr().out.splitlines()


def test_a_model_on_another_machine(
    server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FO1AGENT_SERVER", server)
    monkeypatch.setenv("FO1AGENT_TOKEN", TOKEN)
    _, _, comment = (EXAMPLES / "remote.py").read_text(encoding="utf-8").partition("\n# prints:\n")
    assert printed("remote.py", capsys) == [line.removeprefix("# ") for line in comment.splitlines()]


def test_openai_s_sdk_needs_no_language_model(
    server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openai", reason="openai is not installed")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", TOKEN)
    monkeypatch.setenv("OPENAI_MODEL", "fo1-nano")
    *calls, answer = printed("openai_sdk.py", capsys)
    assert calls
    assert all(line.endswith(" gave a result") for line in calls)
    assert answer == "2 remotes are on the couch."
