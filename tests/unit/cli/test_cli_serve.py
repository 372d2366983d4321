"""What `fo1agent serve` says before it serves."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fo1agent.cli import main
from fo1agent.cli.trace import FOLDER

TOLD = """
import sys
from fo1agent.cli import console
from fo1agent.cli import main

def note(text):
    print(text, sorted({"torch", "langchain_core", "onnxruntime"} & set(sys.modules)))
    raise SystemExit

console.note = note
main(["serve", "--port", "0"])
"""


def test_that_it_loads_is_said_before_what_takes_long_is_imported() -> None:
    told = subprocess.run([sys.executable, "-c", TOLD], capture_output=True, text=True, timeout=120)
    assert told.stdout == "Loading fo1-nano … []\n"


def failed(*options: str) -> list[str]:
    """What a server says that ends before it listens, and before it has looked whether its model is there."""
    ended = CliRunner().invoke(main, ["serve", "--port", "0", "--model", "/nosuch", *options])
    assert ended.exit_code == 1
    return ended.stderr.splitlines()


def refused(*options: str) -> str:
    """The same of one that ends before it says that it loads."""
    (said,) = failed(*options)
    return said


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FO1AGENT_TOKEN", FOLDER):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--planner", "nosuch:model"], "error: No planner 'nosuch:model'"),
        (["--mode", "steps"], 'error: mode "steps" needs a chat model as planner'),
        (["--mode", "steps", "--planner", "fo1"], 'error: mode "steps" needs a chat model as planner, got "fo1".'),
        (["--allow-url", "https://example.com"], "error: ImageLimits.hosts got 'https://example.com'."),
        (["--allow-origin", "example.com"], "error: An origin is http:// or https:// and a host"),
        (["--allow-origin", "https://example.com/"], "error: An origin is http:// or https:// and a host"),
        (["--host", "192.0.2.1"], "error: Listening at 192.0.2.1 lets others in"),
    ],
)
def test_what_is_wrong_with_the_options_is_told_before_the_model_is_loaded(options: list[str], says: str) -> None:
    assert refused(*options).startswith(says)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--proposer", "nosuch"], "error: No proposer 'nosuch'."),
        ([], "error: /nosuch is neither a folder nor a Hugging Face name"),
    ],
)
def test_what_is_wrong_with_the_model_is_told_when_it_is_loaded(options: list[str], says: str) -> None:
    loading, said = failed(*options)
    assert loading == "Loading /nosuch …"
    assert said.startswith(says)


def test_a_port_that_is_taken_is_told_before_the_model_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused("--port", str(port))
    assert said == f"error: Cannot listen at 127.0.0.1, port {port}: Address already in use."


def test_traces_that_cannot_be_written_are_told_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(FOLDER, str(tmp_path / "file"))
    assert str(tmp_path / "file") in refused()


def test_limits_that_make_no_sense_are_wrong_usage() -> None:
    for option in ("--opening", "--max-wait", "--max-pixels"):
        ended = CliRunner().invoke(main, ["serve", option, "0"])
        assert ended.exit_code == 2
        assert option in ended.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--replicas", "2"], "--replicas needs --ray"),
        (["--replicas", "0", "--ray"], "'0' is no number from 1 on"),
        (["--replicas", "4-2", "--ray"], "'4-2' is no number from 1 on"),
        (["--replicas", "two", "--ray"], "'two' is no number from 1 on"),
    ],
)
def test_replicas_that_cannot_be_are_wrong_usage(options: list[str], says: str) -> None:
    ended = CliRunner().invoke(main, ["serve", *options])
    assert ended.exit_code == 2
    assert says in ended.stderr
    assert "Loading" not in ended.stderr


def test_what_is_wrong_is_told_before_ray_is_begun_and_so_is_that_ray_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert refused("--mode", "steps", "--ray").startswith('error: mode "steps" needs a chat model')
    said = refused("--ray")
    assert said.startswith("error: --ray needs Ray: pip install ")
    # What serving needs besides stands in the same line.
    assert ("ray[data" in said and "fastapi" in said) or '".[serve,ray]"' in said
