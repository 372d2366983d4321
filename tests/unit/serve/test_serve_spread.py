"""What the proxy does for the replicas behind it: one picture to one replica, and nothing lost with one that dies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import HTTP_PROTOCOLS, Config

from fo1agent.integrations.listening import Timed
from fo1agent.serve import spread
from fo1agent.serve.spread import SESSION, Spread

WHOLE, OTHER = "img_" + 64 * "a", "img_" + 64 * "b"


class Replica:
    """Answers with what it got; as often as it is told, it dies before that."""

    def __init__(self, dies: int = 0, answer: Any = None, kind: str = "application/json", status: int = 200) -> None:
        self.dies, self.answer, self.kind, self.status = dies, answer, kind, status
        self.sessions: list[str | None] = []
        self.bodies: list[bytes] = []
        self.headers: list[list[tuple[bytes, bytes]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.sessions.append(next((value.decode() for name, value in scope["headers"] if name == SESSION), None))
        self.headers.append([(name.lower(), value) for name, value in scope["headers"]])
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        if self.dies:
            self.dies -= 1
            return
        headers = [(b"content-type", self.kind.encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        told = (
            self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer, separators=(",", ":")).encode()
        )
        await send({"type": "http.response.body", "body": told, "more_body": self.kind == "text/event-stream"})


def before(app: ASGIApp) -> httpx.AsyncClient:
    """A client of what stands behind a proxy."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(Spread(app)), base_url="http://testserver")


def asked(image: str) -> dict[str, Any]:
    return {"json": {"image": image, "question": "Is there a bus?"}}


async def test_requests_about_one_picture_have_one_session_and_about_others_another() -> None:
    async with before(replica := Replica()) as http:
        await http.post("/v1/ask", **asked(WHOLE))
        await http.get(f"/v1/images/{WHOLE}/pixels")
        await http.post("/v1/tools/count", json={"phrase": "bus", "image": f"{WHOLE}/r1"})
        await http.post("/v1/ask", **asked(OTHER))
        await http.get("/v1/tools", headers={"X-Session-Id": "mine"})
    assert replica.sessions == [WHOLE, WHOLE, WHOLE, OTHER, None]


@pytest.mark.parametrize(
    ("kind", "again"),
    [
        ({"json": {"data": "data:image/png;base64,AAAA"}}, {"json": {"data": "data:image/png;base64,AAAA"}}),
        ({"files": {"file": ("a", b"picture")}}, {"files": {"file": ("a", b"picture")}}),
    ],
    ids=["JSON", "form"],
)
async def test_a_picture_is_looked_at_where_it_was_opened_and_the_same_one_goes_there_too(
    kind: dict[str, Any], again: dict[str, Any]
) -> None:
    async with before(replica := Replica(answer={"image": WHOLE, "width": 64})) as http:
        await http.post("/v1/images", **kind)
        await http.post("/v1/images", **again)
        await http.get(f"/v1/images/{WHOLE}")
        await http.post("/v1/images", files={"file": ("a", b"another")})
    first, second, looked, another = replica.sessions
    assert first
    assert first == second == looked != another


async def test_what_a_replica_was_at_that_died_is_given_to_another_with_all_its_body() -> None:
    body = b"x" * 300_000

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 50_000):
            yield body[at : at + 50_000]

    async with before(replica := Replica(dies=1, answer={"ok": True})) as http:
        response = await http.post("/v1/images", content=pieces())
    assert response.json() == {"ok": True}
    assert replica.bodies == [body, body]


@pytest.mark.parametrize("replica", [Replica(dies=2), Replica(status=503, kind="text/plain", answer=b"no replica")])
async def test_who_finds_no_replica_is_told_to_come_again(replica: Replica) -> None:
    async with before(replica) as http:
        response = await http.post("/v1/ask", **asked(WHOLE))
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert response.json()["error"]["code"] == "replica"


async def test_what_is_too_much_to_keep_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "_REPEATED", 100_000)
    async with before(replica := Replica(dies=1)) as http:
        response = await http.post("/v1/images", content=b"x" * 200_000)
        again = await http.post("/v1/ask", **asked(WHOLE))
    assert response.status_code == 503
    assert (len(replica.bodies[0]), again.status_code) == (200_000, 200)


async def test_events_that_break_off_end_with_an_error() -> None:
    async with before(Replica(answer=b"event: plan\ndata: {}\n\n", kind="text/event-stream")) as http:
        events = (await http.post("/v1/ask", **asked(WHOLE))).text.split("\n\n")
    assert events[0] == "event: plan\ndata: {}"
    assert events[1].startswith('event: error\ndata: {"type":"error","error":{"message":"No replica')


@pytest.mark.parametrize("path", ["/v1/tools", "/other"])
@pytest.mark.parametrize(
    ("name", "value", "goes_on"),
    [
        (b"X_Session_Id", b"mine", False),
        (b"x-session-id", b"\xff", False),
        (b"serve_multiplexed_model_id", b"mine", False),
        (b"X-Request-Timeout-Seconds", b"0.001", False),
        (b"X-Request-Disconnect-Disabled", b"?1", False),
        (b"X-Request-Id", b"\xff", False),
        (b"X-Request-Id", b"a" * 1000, False),
        (b"X-Request-Id", b"4bf92f35-77b3", True),
        (b"Authorization", b"Bearer a", True),
    ],
)
async def test_a_caller_cannot_steer_ray(path: str, name: bytes, value: bytes, goes_on: bool) -> None:
    async with before(replica := Replica()) as http:
        await http.get(path, headers=[(name, value)])
    assert ((name.lower(), value) in replica.headers[0]) == goes_on


def test_rays_proxies_read_http_as_the_server_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HTTP_PROTOCOLS, "auto", "")
    spread.middlewares()
    config = Config(Replica(), log_config=None)
    config.load()
    assert config.http_protocol_class is Timed


@pytest.mark.parametrize("path", ["/other/v1/ask", "/-/healthz", "/v1"])
async def test_what_is_not_ours_is_left_alone(path: str) -> None:
    async with before(replica := Replica(status=404, kind="text/plain", answer=b"not found")) as http:
        response = await http.post(path, **asked(WHOLE))
    assert (response.status_code, replica.sessions) == (404, [None])


async def test_failures_of_the_server_are_its_own_to_tell() -> None:
    async with before(Replica(status=404, answer={"error": {"code": "image"}})) as http:
        response = await http.post("/v1/ask", **asked(WHOLE))
    assert (response.status_code, response.json()) == (404, {"error": {"code": "image"}})


async def test_nobody_is_answered_who_has_left() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/v1/ask", "method": "POST", "headers": []}
    await Spread(Replica(dies=9))(scope, receive, send)
    assert sent == []
