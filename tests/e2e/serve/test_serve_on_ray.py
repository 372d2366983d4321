"""`fo1agent serve --ray`: the command, with replicas of fo1-nano behind its address."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import fo1agent
from tests.serving import PATIENCE_S, process

pytest.importorskip("ray", reason="the extra ray is not installed")
pytest.importorskip("ray.serve", reason="the extra ray is not installed", exc_type=ImportError)

DEMO = Path(fo1agent.__file__).parent / "data" / "demo"


def test_the_command_serves_on_ray_and_ends_when_it_is_told() -> None:
    variables = {"RAY_AUTH_MODE": "disabled", "FO1AGENT_TOKEN": "secret"}
    with process("--replicas", "2", "--ray", variables=variables) as server:
        with fo1agent.connect(server.url, token="secret") as there:
            for name, question, value in (
                ("cat.jpg", "How many remotes are to the right of the cat?", 2),
                ("bus.jpg", "How many buses are there?", 1),
            ):
                assert there.ask(DEMO / name, question).value == value
        with pytest.raises(fo1agent.errors.FO1AgentError, match="token"):
            fo1agent.connect(server.url, token="wrong").open(DEMO / "cat.jpg")
        server.popen.send_signal(signal.SIGTERM)
        assert server.popen.wait(PATIENCE_S) == 0
        assert server.popen.stderr is not None
        assert server.popen.stderr.read() == ""
