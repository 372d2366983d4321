"""The configurations of docs/mcp.md are JSON, and the commands in them are servers."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client


def configurations(repo: Path) -> list[dict[str, Any]]:
    """The server entries of every JSON block."""
    text = (repo / "docs" / "mcp.md").read_text(encoding="utf-8")
    blocks = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    return [entry for block in blocks for servers in block.values() for entry in servers.values()]


def test_every_command_is_a_server_that_reads_where_it_says(repo: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "Pictures"
    pictures.mkdir()
    shutil.copy(repo / "fo1agent" / "data" / "demo" / "cat.jpg", pictures)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    started = [entry for entry in configurations(repo) if "command" in entry]

    async def host(entry: dict[str, Any]) -> None:
        server = StdioServerParameters(
            command=entry["command"], args=entry["args"], env={"HOME": str(tmp_path), "PATH": path}, cwd="/"
        )
        async with Client(stdio_client(server)) as client:
            assert {"look", "ground"} <= {tool.name for tool in (await client.list_tools()).tools}
            assert f"Paths may lead into {pictures.resolve()}." in (client.instructions or "")

    assert len(started) == 2
    for entry in started:
        anyio.run(host, entry)


def test_the_address_in_the_document_is_where_the_command_listens(repo: Path) -> None:
    from fo1agent.cli.command import mcp

    defaults = {option.name: option.default for option in mcp.params}
    (entry,) = (entry for entry in configurations(repo) if "url" in entry)
    assert entry["url"] == f"http://{defaults['host']}:{defaults['port']}/mcp"


def test_the_conformance_suite_may_only_fail_what_is_explained(repo: Path) -> None:
    lines = (repo / "tests" / "conformance" / "expected-failures.yaml").read_text(encoding="utf-8").splitlines()
    entries = lines[lines.index("server:") + 1 :]
    assert entries[0].lstrip().startswith("#")  # every entry stands under a reason
    assert all(re.fullmatch(r"  (#.*|- [\w-]+(  ?#.*)?)", line) for line in entries)
