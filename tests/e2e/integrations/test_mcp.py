"""The MCP server as hosts meet it: the official client, over stdio and HTTP, against the real command."""

from __future__ import annotations

import base64
import contextlib
import gc
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
from PIL import Image

from fo1agent.pictures.image import load_image
from tests.tool_calls import CALLS, FAILS

pytest.importorskip("mcp", reason="the extra mcp is not installed")

import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

COMMAND = [sys.executable, "-m", "fo1agent", "mcp"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def folder(repo: Path, tmp_path: Path) -> Path:
    """A folder with the photograph of a cat and two remotes in it, as `cat.jpg`."""
    shutil.copy(repo / "fo1agent" / "data" / "demo" / "cat.jpg", tmp_path / "cat.jpg")
    return tmp_path


def over_stdio(folder: Path, *options: str, **client: Any) -> Client:
    """A client of the command, started in the folder."""
    server = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], *options], env=ENVIRONMENT, cwd=folder)
    return Client(stdio_client(server), **client)


@contextlib.contextmanager
def over_http(folder: Path, *options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command serving HTTP, and its address."""
    with subprocess.Popen(
        [*COMMAND, "--http", "--port", "0", *options],
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            match = re.fullmatch(r"Listening on (http://\S+/mcp)\n", said)
            assert match, said + process.stderr.read()
            yield process, match[1]
        finally:
            process.kill()


def in_loop(function: Callable[[], Awaitable[None]]) -> None:
    anyio.run(function)


def text_of(result: types.CallToolResult) -> str:
    first = result.content[0]
    assert isinstance(first, types.TextContent)
    return first.text


def picture_of(result: types.CallToolResult) -> Image.Image | None:
    """The picture in a result, which must be small."""
    found = [one for one in result.content if isinstance(one, types.ImageContent)]
    if not found:
        return None
    data = base64.b64decode(found[0].data)
    assert len(found) == 1
    assert len(data) <= 60_000
    assert found[0].mime_type == "image/jpeg"
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


async def check_every_tool(client: Client) -> None:
    """List and call all tools on cat.jpg. The client itself checks results against their output schemas."""
    listed = (await client.list_tools()).tools
    assert [tool.name for tool in listed] == list(CALLS)
    results = {}
    for name, arguments in CALLS.items():
        result = await client.call_tool(name, {"image": "cat.jpg", **arguments})
        if name in FAILS:
            assert result.is_error
            assert FAILS[name] in text_of(result)
            continue
        assert not result.is_error, text_of(result)
        assert json.loads(text_of(result)) == result.structured_content
        results[name] = result.structured_content
        if name != "read":
            assert picture_of(result) is not None
        link = result.content[-1]
        assert isinstance(link, types.ResourceLink)
        assert link.uri == f"fo1agent://{results[name]['image']}/full.png"
    assert {"cat", "remote"} <= {region["label"] for region in results["look"]["regions"]}
    assert len(results["ground"]["regions"][0]["box"]) == 4
    assert results["count"]["value"] == 2
    counted = (await client.call_tool("count", {"image": "cat.jpg", "phrase": "dead cat"})).structured_content
    assert counted is not None
    assert (counted["value"], counted["at_least"], counted["at_most"]) == (None, 0, 1)
    assert (counted["not_judged"], counted["regions"][0]["label"]) == (["dead"], "cat")
    assert len(results["relate"]["regions"]) == 2
    assert "png_base64" not in results["annotate"]
    assert (results["ask"]["value"], len(results["ask"]["evidence"])) == (2, 3)
    assert len({one["image"] for one in results.values()}) == 1


# ---- stdio ----


def test_a_host_lists_and_calls_every_tool_over_stdio(folder: Path) -> None:
    async def host() -> None:
        async with over_stdio(folder) as client:
            assert "untrusted" in (client.instructions or "")
            assert str(folder.resolve()) in (client.instructions or "")
            assert (await client.list_resources()).resources == []
            told: list[tuple[float, float | None, str | None]] = []

            async def heard(progress: float, total: float | None, message: str | None) -> None:
                told.append((progress, total, message))

            await client.call_tool("look", {"image": "cat.jpg"}, progress_callback=heard)
            assert told[0] == (0, 3, "loading the model")
            await check_every_tool(client)

            (picture,) = (await client.list_resources()).resources
            (template,) = (await client.list_resource_templates()).resource_templates
            assert template.uri_template.format(image=picture.name) == picture.uri
            (content,) = (await client.read_resource(picture.uri)).contents
            assert isinstance(content, types.BlobResourceContents)
            whole = load_image(base64.b64decode(content.blob))
            assert np.array_equal(np.asarray(whole.pixels), np.asarray(load_image(folder / "cat.jpg").pixels))
            assert whole.id == picture.name
            by_id = await client.call_tool("look", {"image": whole.id})
            assert by_id.structured_content["image"] == whole.id

    in_loop(host)


def test_a_host_of_the_old_protocol_is_served_as_well(folder: Path) -> None:
    async def host() -> None:
        async with over_stdio(folder, mode="legacy") as client:
            assert str(client.session.protocol_version) < "2026"
            for tool in (await client.list_tools()).tools:
                assert tool.title
                assert tool.input_schema["required"][0] == "image"
                assert tool.input_schema["additionalProperties"] is False
                assert tool.output_schema
                assert tool.annotations
                assert tool.annotations.read_only_hint
                assert tool.annotations.open_world_hint is False
            refused = await client.call_tool("ground", {"image": "cat.jpg", "phrase": "cat", "colour": 3})
            assert refused.is_error
            with pytest.raises(MCPError, match="no tool 'paint'"):
                await client.call_tool("paint", {"image": "cat.jpg"})

    in_loop(host)


def test_nothing_but_the_protocol_reaches_stdout(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "x.png")
    noisy = textwrap.dedent(
        """
        import os, pathlib, subprocess, sys
        import fo1agent
        from fo1agent.integrations.mcp import make_server, serve_stdio

        @fo1agent.tool
        def chatter(scene: fo1agent.Scene) -> int:
            '''Make noise.'''
            print("printed")
            os.write(1, b"written\\n")
            subprocess.run([sys.executable, "-c", "print('by a child')"], check=True)
            return 1

        limits = fo1agent.ImageLimits(folders=(pathlib.Path.cwd(),), hosts=())
        serve_stdio(make_server(fo1agent.load, limits, [chatter]))
        """
    )
    initialize = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    process = subprocess.Popen(
        [sys.executable, "-c", noisy],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        for message in (
            {"id": 1, "method": "initialize", "params": initialize},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/call", "params": {"name": "chatter", "arguments": {"image": "x.png"}}},
        ):
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert answers[1]["result"]["structuredContent"]["value"] == 1
        process.stdin.close()
        assert process.wait(60) == 0  # a host that closes stdin is done
        assert process.stdout.read() == ""
        assert {"printed", "written", "by a child"} <= set(process.stderr.read().split("\n"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send SIGTERM to a process")
@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_a_server_on_stdio_that_is_asked_to_stop_stops(folder: Path, asked: signal.Signals) -> None:
    process = subprocess.Popen(
        COMMAND, cwd=folder, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        process.stdin.write(json.dumps(ping).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(asked)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == b""
    assert b"Traceback" not in err


# ---- HTTP ----


def test_a_host_lists_and_calls_every_tool_over_http_and_many_hosts_at_once(folder: Path) -> None:
    with over_http(folder) as (process, url):

        async def host() -> None:
            async with Client(url) as client:
                await check_every_tool(client)

            async def another(number: int) -> None:
                async with Client(url, mode="legacy" if number % 2 else "auto") as client:
                    result = await client.call_tool("count", {"image": "cat.jpg", "phrase": "cat"})
                    assert result.structured_content["value"] == 1

            async with anyio.create_task_group() as hosts:
                for number in range(6):
                    hosts.start_soon(another, number)

        in_loop(host)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""


SLOW = """
import pathlib, sys, time
import fo1agent
from fo1agent.integrations.mcp import make_server, serve_http
from tests.fakes import FakePredictor

@fo1agent.tool
def slow(scene: fo1agent.Scene) -> int:
    '''Take a while.'''
    pathlib.Path("started").touch()
    time.sleep(1)
    return 1

limits = fo1agent.ImageLimits(folders=(pathlib.Path.cwd(),), hosts=())
server = make_server(lambda: fo1agent.Model(FakePredictor([])), limits, [slow])
serve_http(server, port=0, ready=lambda url: print(url, flush=True))
"""


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_call_in_the_making_is_answered_before_the_server_stops(repo: Path, folder: Path, mode: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW],
        cwd=folder,
        env={**ENVIRONMENT, "PYTHONPATH": str(repo)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()

        async def host() -> None:
            async with Client(url, mode=mode) as client:
                await client.list_tools()  # or the client would ask for them after the call

                async def stop() -> None:
                    with anyio.fail_after(60):
                        while not (folder / "started").exists():
                            await anyio.sleep(0.02)
                    process.send_signal(signal.SIGTERM)

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(stop)
                    result = await client.call_tool("slow", {"image": "cat.jpg"})
                    assert result.structured_content["value"] == 1

        in_loop(host)
        assert process.wait(30) == 0


def test_a_web_page_cannot_reach_the_server_nor_fill_its_memory(folder: Path) -> None:
    with over_http(folder) as (_, url):
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        accepted = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}

        def status(body: Any = ping, **headers: str) -> int:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            return httpx.post(url, content=content, headers={**accepted, **headers}, trust_env=False).status_code

        assert status() == 200
        assert status(Host="evil.example") == 421  # a name of theirs that leads to this machine
        own = url.removesuffix("/mcp")
        assert status(Origin=own) == 200
        port = own.rpartition(":")[2]
        for origin in (
            "https://evil.example",
            "null",
            "http://localhost:3000",  # another page of this machine
            "http://127.0.0.1:3000",
            f"http://localhost:{port}",  # not the host that is called
            f"http://127.0.0.1:{port}.evil.example",
            "http://127.0.0.1",
        ):
            assert status(Origin=origin) == 403, origin
        assert status(Host=f"localhost:{port}", Origin=f"http://localhost:{port}") == 200
        for host in ("127.0.0.1.evil.example", "evil.example/@127.0.0.1", "localhost.evil.example:80", ""):
            assert status(Host=host) == 421, host
        for site in ("cross-site", "same-site"):  # an <img> or a <script> of theirs, which has no origin
            assert status(**{"Sec-Fetch-Site": site}) == 403
        for site in ("same-origin", "none"):
            assert status(**{"Sec-Fetch-Site": site}) == 200
        assert status(**{"Content-Type": "text/plain"}) == 400  # what a form of theirs may send unasked
        assert status(b"[" * (17 * 1024 * 1024)) == 413
        assert status(b"no json") == 400


def test_a_token_is_asked_for_where_one_is_set(folder: Path) -> None:
    with over_http(folder, FO1AGENT_TOKEN="s3cret") as (_, url):
        assert httpx.post(url, json={}, trust_env=False).status_code == 401
        wrong = {"Authorization": "Bearer s3cre"}
        assert httpx.post(url, json={}, headers=wrong, trust_env=False).status_code == 401
        assert httpx.get(url, trust_env=False).status_code == 401
        accepted = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        for authorization, status in (
            ("Bearer s3cret", 200),
            ("bearer s3cret", 200),
            ("BEARER s3cret", 200),
            ("Basic s3cret", 401),
            ("s3cret", 401),
            ("Bearer", 401),
        ):
            headers = {**accepted, "Authorization": authorization}
            assert httpx.post(url, json=ping, headers=headers, trust_env=False).status_code == status, authorization
        headers = {**accepted, "Authorization": "Bearer s3cret", "Origin": "http://localhost:3000"}
        assert httpx.post(url, json=ping, headers=headers, trust_env=False).status_code == 403

        @contextlib.asynccontextmanager
        async def with_token() -> AsyncIterator[Any]:
            import httpx2

            async with (
                httpx2.AsyncClient(headers={"Authorization": "Bearer s3cret"}, trust_env=False) as http,
                streamable_http_client(url, http_client=http) as streams,
            ):
                yield streams

        async def host() -> None:
            async with Client(with_token()) as client:
                assert len((await client.list_tools()).tools) == len(CALLS)

        in_loop(host)


def test_others_are_let_in_only_with_a_token(folder: Path) -> None:
    environment = {key: value for key, value in ENVIRONMENT.items() if key != "FO1AGENT_TOKEN"}
    ended = subprocess.run(
        [*COMMAND, "--http", "--host", "0.0.0.0", "--port", "0"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert (
        ended.stderr
        == "error: Listening at 0.0.0.0 lets others in: set a token (FO1AGENT_TOKEN), or listen at 127.0.0.1.\n"
    )


def test_a_folder_that_is_not_there_is_wrong_usage(folder: Path) -> None:
    ended = subprocess.run([*COMMAND, "--allow", "nowhere"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "nowhere: no such folder" in ended.stderr


# ---- other clients ----


# fastmcp ends its loop before it has heard that the process has ended, which Python calls a leak.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_langchain_and_fastmcp_call_every_tool(folder: Path) -> None:
    pytest.importorskip("fastmcp", reason="fastmcp is not installed")
    from fastmcp.client.transports import StdioTransport
    from langchain_core._api import suppress_langchain_beta_warning

    with suppress_langchain_beta_warning():
        from langchain.mcp import MCPAdapter

    async def host() -> None:
        server = StdioTransport(COMMAND[0], COMMAND[1:], env=ENVIRONMENT, cwd=str(folder), keep_alive=False)
        async with MCPAdapter(server) as adapter:
            tools = {tool.name: tool for tool in await adapter.list_tools()}
            assert list(tools) == list(CALLS)
            for name, arguments in CALLS.items():
                call = {"type": "tool_call", "id": name, "name": name, "args": {"image": "cat.jpg", **arguments}}
                message = await tools[name].ainvoke(call)
                assert message.status == ("error" if name in FAILS else "success"), message.content
                if name in FAILS:
                    continue
                assert message.artifact["structured_content"]["image"].startswith("img_")

    in_loop(host)
    gc.collect()  # here, where that is known
