"""What is sent to an MCP server is read within bounds, and what is no message is told as such."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from fo1agent.integrations.messages import MOST, Fault, checking_bodies, lines_of, read_message

PING = {"jsonrpc": "2.0", "id": 7, "method": "ping"}


def told(data: bytes) -> tuple[int, Any, bool]:
    """(code, id of the error, whether it is answered at all) of what is no message."""
    fault = read_message(data)
    assert isinstance(fault, Fault)
    return fault.code, fault.error().id, fault.asks


@pytest.mark.parametrize("id", [7, 0, -1, "", "a", 10**30])
def test_a_request_has_an_id_that_is_a_text_or_a_whole_number(id: Any) -> None:
    message: Any = read_message(json.dumps({**PING, "id": id}).encode())
    assert (message.id, message.method) == (id, "ping")


@pytest.mark.parametrize("id", [1.5, 1.0, None, True, [1], {"a": 1}, float("nan"), "\ud800"])
def test_another_id_is_refused_with_none(id: Any) -> None:
    assert told(json.dumps({**PING, "id": id}).encode()) == (-32600, None, True)


@pytest.mark.parametrize(
    ("data", "code", "id", "asks"),
    [
        (b'{"jsonrpc": "2.0", "id": 7, "method": "ping", "params": []}', -32602, 7, True),
        (b'{"jsonrpc": "2.0", "method": "ping", "params": []}', -32602, None, False),
        (b'{"jsonrpc": "2.0", "id": 7, "result": 1}', -32600, None, True),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "ping", "x": "\xff"}', -32700, 7, True),
        (b'{"jsonrpc": "2.0", "id": 7', -32700, None, True),
        (b"\xff" * 1000, -32700, None, True),
        (b"[" * 100_000, -32700, None, True),
        (b'{"a":' * 100_000, -32700, None, True),
        (b"9" * 100_000, -32600, None, True),
        (b"", -32700, None, True),
        (b"[]", -32600, None, True),
        (b'"' + b"x" * MOST + b'"', -32600, None, True),
    ],
)
def test_what_is_no_message_has_a_code_and_an_id_as_far_as_there_is_one(
    data: bytes, code: int, id: Any, asks: bool
) -> None:
    assert told(data) == (code, id, asks)


def test_notifications_and_answers_pass() -> None:
    for one in (
        {"method": "notifications/x"},
        {"id": 7, "result": {}},
        {"id": None, "error": {"code": 1, "message": ""}},
    ):
        assert not isinstance(read_message(json.dumps({"jsonrpc": "2.0", **one}).encode()), Fault)


def test_lines_of_any_length_are_read_within_bounds_and_the_next_is_whole() -> None:
    class Counting(io.BytesIO):
        longest = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            line = super().readline(size)
            self.longest = max(self.longest, len(line))
            return line

    file = Counting(b"a" * MOST + b"\nb\n" + b"c" * (3 * MOST) + b"\n" + b"d" * (MOST + 1) + b"\ne")

    async def run() -> list[bytes]:
        return [line.strip() async for line in lines_of(file)]

    lines = anyio.run(run)
    assert [line[:1] for line in lines] == [b"a", b"b", b"c", b"d", b"e"]
    assert [len(line) > MOST for line in lines] == [False, False, True, True, False]
    assert file.longest <= MOST + 2


async def test_a_body_that_is_no_message_is_answered_and_all_else_is_left_to_the_app() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body[:1000] + str(len(body)).encode()})

    async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
        for k in range(0, len(body), 10):
            yield body[k : k + 10]

    async with httpx.AsyncClient(transport=httpx.ASGITransport(checking_bodies(app)), base_url="http://x") as http:
        right = json.dumps(PING).encode()
        assert (await http.post("/", content=right)).content == right + str(len(right)).encode()
        assert (await http.post("/", content=in_pieces(right))).content == right + str(len(right)).encode()
        assert (await http.get("/")).content == b"0"
        long = b"[" * (MOST + 100)
        assert (await http.post("/", content=long)).content[1000:] == str(len(long)).encode()  # the SDK refuses it
        refused = await http.post("/", content=in_pieces(b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}'))
        error = {"code": -32600, "message": "id must be a text or a whole number, got 1.5."}
        assert (refused.status_code, refused.json()) == (400, {"jsonrpc": "2.0", "id": None, "error": error})
