"""What a caller may not make us read: the same hostile pictures through every front, and docs/security.md.

Python itself is listened to while a front is asked: it opens no file that it may not, and connects to nothing.
"""

from __future__ import annotations

import ast
import base64
import json
import os
import re
import socket
import struct
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

from fo1agent.integrations.calls import call
from fo1agent.integrations.handles import Scenes
from fo1agent.integrations.langchain import FO1Toolkit
from fo1agent.pictures.image import ImageLimits
from fo1agent.scene import Model
from tests.fakes import FakePredictor

Look = Callable[[str], Awaitable[str]]
"""Asks a front to look at a picture: what it says went wrong, "" if it looked."""

LOOPBACK = (
    "127.0.0.1",
    "127.1",
    "0x7f000001",
    "2130706433",
    "localhost",
    "rebound.example",  # resolves to loopback
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
)
PRIVATE = (
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "[fc00::1]",
    "[fe80::1]",
    "0.0.0.0",
)
HOSTS = (*LOOPBACK, *PRIVATE)
"""Allowed by name to every front, the worst that an operator could do."""


# ---- the world ----


@dataclass
class World:
    """A folder to read, `inside`, with `street.png` in it, a secret beside it, and a server not to be asked."""

    inside: Path
    port: int

    @property
    def secret(self) -> Path:
        return self.inside.parent / "secret.png"

    @property
    def street(self) -> Path:
        return self.inside / "street.png"

    def out_of_the_folder(self) -> list[str]:
        """Names of pictures that may not be read."""
        return [
            str(self.secret),
            "../secret.png",
            "./../inside/../secret.png",
            f"{self.inside}/../secret.png",
            f"{self.inside}/link.png",
            "link.png",
            "away/secret.png",
            f"{self.inside}/away/secret.png",
            "/etc/passwd",
            "/proc/self/environ",
            "/dev/zero",
            self.secret.as_uri(),
            f"FILE://{self.secret}",
            "~/secret.png",
        ]

    def addresses(self) -> list[str]:
        """Addresses that may not be asked."""
        return [
            *(f"http://{host}:{self.port}/x.png" for host in HOSTS),
            f"HTTP://127.0.0.1:{self.port}/x.png",
            f"http://example.com@127.0.0.1:{self.port}/x.png",
            f"http://127.0.0.1:{self.port}#@example.com/x.png",
            f"ftp://127.0.0.1:{self.port}/x.png",
            f"gopher://127.0.0.1:{self.port}/x",
            "http:///x.png",
        ]

    def too_much(self) -> list[str]:
        """Files in the folder that are no pictures, or cost too much."""
        return [
            str(self.inside / name)
            for name in ("bomb.png", "long.png", "text.png", "pipe.png", "folder.png", "missing.png", "street.png\0")
        ] + ["x" * 100_000, "data:image/png;base64,AAAA", "img_00000000"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    inside = tmp_path / "inside"
    inside.mkdir()
    Image.new("RGB", (64, 48), "white").save(inside / "street.png")
    Image.new("RGB", (64, 48), "red").save(tmp_path / "secret.png")
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    (inside / "away").symlink_to(tmp_path)
    (inside / "bomb.png").write_bytes(bomb())
    with (inside / "long.png").open("wb") as file:
        file.truncate(60_000_000)
    (inside / "text.png").write_text("no picture")
    (inside / "folder.png").mkdir()
    os.mkfifo(inside / "pipe.png")
    monkeypatch.chdir(inside)  # so that relative paths would lead where they say
    monkeypatch.setenv("HOME", str(tmp_path))
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        return real("127.0.0.1" if host == "rebound.example" else host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield World(inside, listening.getsockname()[1])


def as_url(picture: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"


def bomb() -> bytes:
    """A small PNG that says it has 256 megapixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 16_000, 16_000, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 4096))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


# ---- the fronts ----


@asynccontextmanager
async def through_calls(model: Model, inside: Path) -> AsyncIterator[Look]:
    scenes = Scenes(model, folders=[inside], urls=True)

    async def look(image: str) -> str:
        return call("look", {"image": image}, scenes).outcome.error

    yield look


@asynccontextmanager
async def through_langchain(model: Model, inside: Path) -> AsyncIterator[Look]:
    toolkit = FO1Toolkit(model, folders=[inside], urls=True)
    (tool,) = (tool for tool in toolkit.get_tools() if tool.name == "look")

    async def look(image: str) -> str:
        message = tool.invoke({"type": "tool_call", "id": "c1", "name": "look", "args": {"image": image}})
        return json.loads(message.text)["error"] if message.status == "error" else ""

    yield look


@asynccontextmanager
async def through_mcp(model: Model, inside: Path) -> AsyncIterator[Look]:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    from mcp import Client
    from mcp_types import TextContent

    from fo1agent.integrations.mcp import make_server

    async with Client(make_server(lambda: model, ImageLimits(folders=(inside,), hosts=HOSTS))) as client:

        async def look(image: str) -> str:
            result = await client.call_tool("look", {"image": image})
            first = result.content[0]
            assert isinstance(first, TextContent)
            return first.text if result.is_error else ""

        yield look


def through_http(path: str, body: Callable[[str], Any]) -> Callable[[Model, Path], AbstractAsyncContextManager[Look]]:
    """The front of one route of the HTTP server."""

    @asynccontextmanager
    async def front(model: Model, inside: Path) -> AsyncIterator[Look]:
        pytest.importorskip("fastapi", reason="the extra serve is not installed")
        import httpx

        from fo1agent.serve.app import create_app
        from fo1agent.serve.settings import Settings

        app = create_app(model, Settings(folders=(inside,), hosts=HOSTS, batching=False))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as client:

            async def look(image: str) -> str:
                answer = await client.post(path, json=body(image))
                assert answer.status_code < 500, answer.text
                if answer.is_success:
                    return answer.json().get("error", "")  # of a tool that failed
                return answer.json()["error"]["message"]

            yield look
        app.service.close()

    return front


FRONTS = {
    "calls.call": through_calls,
    "LangChain": through_langchain,
    "MCP": through_mcp,
    "POST /v1/tools/look": through_http("/v1/tools/look", lambda image: {"image": image}),
    "POST /v1/ask": through_http("/v1/ask", lambda image: {"image": image, "question": "Is there a bus?"}),
    "POST /v1/images": through_http(
        "/v1/images", lambda image: {"data" if image.startswith("data:") else "url": image}
    ),
    "POST /v1/chat/completions": through_http(
        "/v1/chat/completions",
        lambda image: {
            "model": "fake",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Is there a bus?"},
                        {"type": "image_url", "image_url": {"url": image}},
                    ],
                }
            ],
        },
    ),
}


# ---- what Python is asked to do ----


@dataclass
class Heard:
    """Files opened and addresses connected to."""

    on: bool = False
    opened: list[str] = field(default_factory=list)
    connected: list[Any] = field(default_factory=list)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event == "open" and isinstance(arguments[0], (str, bytes)):
            self.opened.append(os.fsdecode(arguments[0]))
        elif self.on and event == "socket.connect":
            self.connected.append(arguments[1])


@pytest.fixture(scope="module")
def ears() -> Heard:
    ears = Heard()
    sys.addaudithook(ears)  # it cannot be taken away again, only be told not to listen
    return ears


@pytest.mark.parametrize("front", FRONTS)
def test_hostile_pictures_are_refused_through_every_front_and_nothing_is_read(
    front: str, world: World, ears: Heard
) -> None:
    model = Model(FakePredictor([((10.0, 10.0, 40.0, 40.0), "bus", 0.9)]))

    async def test() -> None:
        async with FRONTS[front](model, world.inside) as look:
            # That the front looks at what it may is needed for anything that follows to prove something.
            assert "" in [await look(one) for one in (str(world.street), as_url(world.street))]
            ears.opened.clear()
            ears.connected.clear()
            ears.on = True
            for image in (*world.out_of_the_folder(), *world.addresses()):
                said = await look(image)
                assert said, f"{image} was read"
                assert len(said) < 1000
            ears.on = False
            read = [
                Path(path).resolve() for path in ears.opened if path.endswith((".png", "passwd", "environ", "zero"))
            ]
            assert [path for path in read if world.inside not in path.parents] == []
            assert ears.connected == []
            for image in world.too_much():
                with anyio.fail_after(60):
                    assert await look(image), f"{image[:80]} was read"

    try:
        anyio.run(test)
    finally:
        ears.on = False


def test_the_ears_hear(world: World, ears: Heard) -> None:
    ears.on = True
    try:
        world.secret.read_bytes()
        with socket.create_connection(("127.0.0.1", world.port)):
            pass
    finally:
        ears.on = False
    assert str(world.secret) in ears.opened
    assert ("127.0.0.1", world.port) in ears.connected


# ---- the page ----

_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows(repo: Path) -> list[list[str]]:
    """The cells of the page's tables, without their heads."""
    text = (repo / "docs" / "security.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| threat ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_row_says_what_stops_it_and_which_test_tries_it(repo: Path) -> None:
    table = rows(repo)
    assert len(table) >= 20
    assert len({row[0] for row in table}) == len(table)
    for row in table:
        assert len(row) == 3, row
        assert all(row)
        assert _TEST.findall(row[2]), row


def test_every_test_of_the_page_exists(repo: Path) -> None:
    named = {found for row in rows(repo) for found in _TEST.findall(row[2])}
    for file in {file for file, _ in named}:
        tree = ast.parse((repo / file).read_text(encoding="utf-8"))
        defined = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
        assert {name for where, name in named if where == file} - defined == set()
