"""What docs/serving.md shows runs, and prints what stands there; what it says of options and limits is so."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import fo1agent
from fo1agent.cli import main
from fo1agent.cli.serve import serve as command
from fo1agent.integrations import listening
from fo1agent.scene import Model
from fo1agent.serve import memory
from fo1agent.serve.admission import Kind, tool_kind
from fo1agent.serve.app import create_app
from fo1agent.serve.settings import Settings
from fo1agent.tools.registry import registry
from tests.fakes import FakePredictor
from tests.serving import in_thread

ADDRESS = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
def text(repo: Path) -> str:
    return (repo / "docs" / "serving.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with in_thread(create_app(fo1agent.load(), Settings(docs=True))) as address:
        yield address


def test_the_code_prints_what_stands_below_it(
    text: str, url: str, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(repo / "fo1agent" / "data" / "demo" / "cat.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    shown = re.findall(r"^```python\n(.*?)^```\n```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(shown) == 2
    for code, expected in shown:
        printed = io.StringIO()
        names: dict[str, object] = {}
        with contextlib.redirect_stdout(printed):
            exec(compile(code.replace(ADDRESS, url), "docs/serving.md", "exec"), names)
        assert printed.getvalue() == expected
        for name in ("client", "server"):
            if name in names:
                names[name].close()  # pyright: ignore[reportAttributeAccessIssue]


def test_every_route_is_told(text: str, url: str) -> None:
    import httpx

    paths = httpx.get(f"{url}/openapi.json", timeout=60).json()["paths"]
    told = set(re.findall(r"`(GET|POST|DELETE) (/[^`]*)`", text))
    there = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert told - there == {("GET", "/docs"), ("GET", "/openapi.json")}
    assert there - told == {("GET", "/v1/models/{model}")}


def test_options_and_limits_are_as_told(text: str) -> None:
    options = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    named = set(re.findall(r"`(--[a-z-]+)`", text)) - {"--server"}
    assert named <= options
    defaults = {option.name: option.default for option in command.params}
    assert f"http://{defaults['host']}:{defaults['port']}" == ADDRESS
    for seconds, what in (
        (listening.HEADERS_S, "head after"),
        (Settings().body_s, "there after"),
        (listening.READS_S, "answer for"),
    ):
        assert re.search(rf"{what} {seconds:.0f} s", " ".join(text.split()))
    settings = Settings()
    assert f"`--max-wait`, {settings.max_wait_s:.0f} s" in text
    assert (defaults["max_wait"], defaults["opening"]) == (settings.max_wait_s, settings.opening)
    assert f"`--keep`, {settings.keep_bytes // 2**20} MB" in text
    assert f"not taken yet, {settings.held_bytes // 2**20} MB together" in text
    assert f"its default of {settings.max_pixels // 10**6} megapixels" in " ".join(text.split())
    assert f"grown by {memory.GROWTH_BYTES // 2**20} MB" in " ".join(text.split())


def test_the_kinds_of_work_and_their_places_are_as_told(text: str) -> None:
    service = create_app(Model(FakePredictor([])), Settings()).service
    rows = {row[0]: row for row in re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", text, re.MULTILINE)}
    places = {kind: line.most for kind, line in service.gate._lines.items()}
    service.close()
    assert set(places) == set(rows) == set(get_args(Kind))
    running = Settings().running
    for kind, most in places.items():
        told = {2: "2", running: "`--running`", running * 3 // 4: "three quarters of `--running`"}[most]
        assert told in rows[kind][2]
    for name in registry():
        kind = tool_kind(name)
        assert kind == "look" or f"`{name}`" in rows[kind][1]


def test_every_line_that_starts_the_server_is_one_that_it_takes(text: str) -> None:
    lines = re.findall(r"^\$ (.*fo1agent serve(?:[^\n\\]|\\\n)*)$", text, re.MULTILINE)
    assert len(lines) == 7
    for line in lines:
        words = shlex.split(line.replace("\\\n", " "))
        command.make_context("serve", words[words.index("serve") + 1 :]).close()


def test_the_commands_that_are_said_to_take_a_server_are_those_that_do(text: str) -> None:
    said = re.search(r"^(`ask`.+) take `--server`;", text, re.MULTILINE)
    takers = [name for name, one in main.commands.items() if any(option.name == "server" for option in one.params)]
    assert said is not None
    assert re.findall(r"`(\w+)`", said[1]) == takers
