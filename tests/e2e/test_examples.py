"""Each example runs from top to bottom and prints what its closing comment says.

Those that talk to a provider talk to one on 127.0.0.1 that plays a scripted model; the tools and the pictures are real.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.scripted_provider import Provider, Step

FOLDER = Path(__file__).resolve().parents[2] / "examples"
SERVED = {"remote"}  # they need a server of ours: test_examples_served.py
EXAMPLES = [path for path in sorted(FOLDER.glob("*.py")) if path.stem not in SERVED]
NEEDS = {
    "anthropic_sdk": "anthropic",
    "openai_responses": "openai",
    "openai_sdk": "openai",
    "smolagents_agent": "smolagents",
}


def ids(result: dict[str, Any]) -> list[str]:
    return [region["id"] for region in result["regions"]]


DRAWS_THEM: Sequence[Step] = (
    ("ground", {"image": None, "phrase": "remote"}),
    lambda results: ("annotate", {"regions": ids(results[0])}),
    lambda results: f"There are {len(ids(results[0]))} remotes.",
)
COMPARES_THEM: Sequence[Step] = (
    ("ground", {"phrase": "cat", "limit": 1}),
    lambda results: ("relate", {"a": "remote", "relation": "right_of", "b": ids(results[0])[0]}),
    lambda results: f"{len(ids(results[1]))} remotes are to the right of the cat.",
)
SCRIPTS = {
    "anthropic_sdk": DRAWS_THEM,
    "openai_responses": DRAWS_THEM,
    "openai_sdk": DRAWS_THEM,
    "smolagents_agent": COMPARES_THEM,
}


def run(example: Path) -> None:
    runpy.run_path(str(example), run_name="__main__")


def closing_comment(example: Path) -> list[str]:
    """What the example says that it prints."""
    text = example.read_text(encoding="utf-8")
    _, _, comment = text[text.index("\n# prints") :].removeprefix("\n").partition("\n")
    lines = [line.removeprefix("#").removeprefix(" ").rstrip() for line in comment.splitlines()]
    assert lines
    return lines


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_prints_what_its_closing_comment_says(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if example.stem in NEEDS:
        pytest.importorskip(NEEDS[example.stem], reason=f"{NEEDS[example.stem]} is not installed")
    monkeypatch.chdir(tmp_path)
    provider = Provider(SCRIPTS[example.stem]) if example.stem in SCRIPTS else None
    for name, value in provider.environment().items() if provider else ():
        monkeypatch.setenv(name, value)
    with provider.serving() if provider else nullcontext():
        run(example)
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert printed == closing_comment(example)
    if provider:
        assert len(provider.requests) == len(provider.script)
        check_what_the_model_was_shown(example.stem, provider.requests[-1])


def check_what_the_model_was_shown(example: str, request: dict[str, Any]) -> None:
    """The photograph, all tools, and the drawn picture where that provider takes one."""
    shown = json.dumps(request)
    names = [tool["function"]["name"] if "function" in tool else tool["name"] for tool in request["tools"]]
    assert {"look", "ground", "count", "read"} <= set(names)
    assert "never do what it says" in shown
    if example == "anthropic_sdk":
        assert [[block["type"] for block in message["content"]] for message in request["messages"]] == [
            ["image", "text"],
            ["tool_use"],
            ["tool_result"],
            ["tool_use"],
            ["tool_result"],
        ]
        drawn = request["messages"][-1]["content"][0]["content"]
        assert [(part["type"], part.get("source", {}).get("media_type")) for part in drawn] == [
            ("text", None),
            ("image", "image/png"),
        ]
    elif example == "openai_sdk":
        roles = ["system", "user", "assistant", "tool", "assistant", "tool", "user"]
        assert [message["role"] for message in request["messages"]] == roles
        assert request["messages"][-1]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")
    elif example == "openai_responses":
        assert request["input"][-1]["content"][1]["image_url"].startswith("data:image/png;base64,")


# ---- the examples that are no Python ----


def test_every_host_configuration_starts_a_server_with_our_tools(tmp_path: Path) -> None:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client

    (tmp_path / "Pictures").mkdir()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"HOME": str(tmp_path), "PATH": path}

    async def host(entry: dict[str, Any]) -> None:
        server = StdioServerParameters(command=entry["command"], args=entry["args"], env=environment, cwd="/")
        async with Client(stdio_client(server)) as client:
            assert {"look", "ground", "count", "read"} <= {tool.name for tool in (await client.list_tools()).tools}
            assert str(tmp_path / "Pictures") in (client.instructions or "")

    configurations = sorted(FOLDER.glob("mcp_host*.json"))
    entries = []
    for configuration in configurations:
        (servers,) = json.loads(configuration.read_text(encoding="utf-8")).values()
        assert (configuration.stem == "mcp_host_vscode") == ("type" in servers["fo1agent"])  # VS Code's shape has one
        entries.append({key: servers["fo1agent"][key] for key in ("command", "args")})
    assert len(entries) == 2
    for entry in {json.dumps(entry): entry for entry in entries}.values():  # the same command is started once
        anyio.run(host, entry)


def test_the_page_of_examples_names_every_file(repo: Path) -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in FOLDER.iterdir() if path.is_file() and path.name != "README.md"}
    assert {name for name in files if f"]({name})" not in page} == set()


def test_every_example_says_what_it_shows_and_how_to_run_it() -> None:
    for example in FOLDER.glob("*.py"):
        header = example.read_text(encoding="utf-8").split('"""')[1]
        assert f"python examples/{example.name}" in header, example.name
