"""Exchanges with servers that do as they like, by clients of httpx and of httpx2."""

from __future__ import annotations

import functools
import math
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx2
import pytest
from pydantic import BaseModel, ConfigDict, PrivateAttr

from fo1agent import exchange
from fo1agent.exchange import HOOKS, Ended, Exchange
from tests import hostile
from tests.hostile import HEAD, Hostile, whole

LIBRARIES: dict[str, Any] = {"httpx": httpx, "httpx2": httpx2}


@pytest.fixture(params=LIBRARIES)
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    with LIBRARIES[request.param].Client(event_hooks=dict(HOOKS), timeout=60, follow_redirects=True) as client:
        yield client


def asked(client: Any, url: str, seconds: float = 60, most: int = 100_000) -> Exchange:
    """The exchange of one request, which is ended before the reply is there."""
    one = Exchange(seconds, most)
    with pytest.raises(Ended), one:
        client.post(url, content=b"{}")
    return one


def test_a_reply_within_the_bounds_comes_as_it_is(client: Any) -> None:
    with Hostile(lambda line, body: whole({"a": 1})).running() as server, Exchange(60, 100) as one:
        assert client.post(server.url, content=b"{}").json() == {"a": 1}
    assert (one.why, one.late) == ("", False)


@pytest.mark.parametrize("answer", [hostile.endless, hostile.chunked])
def test_what_does_not_end_is_ended(client: Any, answer: Callable[[], hostile.Bytes]) -> None:
    with Hostile(lambda line, body: answer()).running() as server:
        one = asked(client, server.url)
        server.wait_until_left()
        assert server.sent < 20_000_000  # what lies in the buffers between here and there
    assert one.why == "its reply is longer than 100,000 bytes"
    assert not one.late


def test_what_is_announced_too_long_is_not_read(client: Any) -> None:
    with Hostile(lambda line, body: hostile.announced()).running() as server:
        assert "longer than" in asked(client, server.url).why


def test_a_connection_that_is_there_only_when_all_is_over_is_closed(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[socket.socket] = []
    connect = socket.create_connection

    def late(*args: Any, **options: Any) -> socket.socket:
        made.append(connect(*args, **options))
        one.end("the caller has gone")
        return made[-1]

    with Hostile(lambda line, body: whole({})).running() as server, Exchange(60, 100) as one:
        monkeypatch.setattr(socket, "create_connection", late)
        with pytest.raises(Ended):
            client.post(server.url, content=b"{}")
    assert [connection.fileno() for connection in made] == [-1]


def test_the_bound_is_that_of_all_requests_together(client: Any) -> None:
    with Hostile(lambda line, body: whole(b"x" * 600)).running() as server:
        with Exchange(60, 1000):
            client.post(server.url)
            with pytest.raises(Ended):
                client.post(server.url)
        assert len(server.bodies) == 2


def test_what_is_compressed_is_refused(client: Any) -> None:
    with Hostile(lambda line, body: hostile.bomb()).running() as server:
        one = asked(client, server.url, most=10**9)
        assert "accept-encoding: identity" in server.heads[0].lower()
    assert "compressed (gzip)" in one.why


HEADS = [HEAD + b"Content-Length: 1000\r\n\r\n", HEAD + b"\r\n", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 20"]


@pytest.mark.parametrize("answer", [*HEADS, hostile.early_hints, hostile.silent])
def test_when_its_time_is_over_it_ends_whatever_the_server_does(client: Any, answer: Any) -> None:
    def pieces(line: str, body: bytes) -> hostile.Bytes:
        threading.Timer(0.1, one.expire).start()  # as its own clock does, once the request is there
        yield from hostile.dripping(server, answer) if isinstance(answer, bytes) else answer(server)

    before = hostile.open_sockets()
    with Hostile(pieces).running() as server:
        one = Exchange(60, 100_000)
        # Before the headers are there, the client may meet the end of its connection first.
        with pytest.raises((Ended, httpx.TransportError, httpx2.TransportError)), one:
            client.post(server.url)
        assert one.late
        if answer is not hostile.silent:
            server.wait_until_left()
    assert hostile.open_sockets() <= before


def test_its_own_clock_ends_it(client: Any) -> None:
    with Hostile(lambda line, body: hostile.dripping(server, HEAD + b"\r\n")).running() as server:
        one = Exchange(1, 100_000)
        with pytest.raises(Ended, match="it did not end within 1 s"), one:
            client.post(server.url)
        assert one.late


def test_another_thread_may_end_it(client: Any) -> None:
    with Hostile(lambda line, body: hostile.dripping(server, HEAD + b"\r\n")).running() as server:
        one = Exchange(60, 100_000)
        threading.Timer(0.2, one.end, ("nobody waits",)).start()
        with pytest.raises(Ended, match="nobody waits"), one:
            client.post(server.url)
        server.wait_until_left()
    assert (one.why, one.late) == ("nobody waits", False)


def test_after_its_end_nothing_is_sent(client: Any) -> None:
    with Hostile(lambda line, body: whole({})).running() as server:
        one = Exchange(60, 100_000)
        one.end("over")
        with pytest.raises(Ended), one:
            client.post(server.url)
        assert server.bodies == []


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:9/x", "https://{here}/x", "http://localhost:{port}/x", "http://[", "//a"]
)
def test_nobody_else_is_asked(client: Any, place: str) -> None:
    def answer(line: str, body: bytes) -> hostile.Bytes:
        here = server.url.removeprefix("http://")
        to = place.replace("{here}", here).replace("{port}", here.rpartition(":")[2])
        return whole(b"", "307 Temporary Redirect", f"Location: {to}")

    with Hostile(answer).running() as server:
        assert "it sends on to" in asked(client, server.url).why
        assert len(server.bodies) == 1


def test_who_was_asked_may_send_on_to_itself(client: Any) -> None:
    def answer(line: str, body: bytes) -> hostile.Bytes:
        return whole({"a": 1}) if "/there" in line else whole(b"", "307 Temporary Redirect", "Location: /there")

    with Hostile(answer).running() as server, Exchange(60, 1000):
        assert client.post(f"{server.url}/here", content=b"{}").json() == {"a": 1}


@pytest.mark.parametrize(("wait", "ends"), [("3600", True), ("9" * 4000, True), ("1", False), ("soon", False)])
def test_a_server_that_puts_off_until_after_the_end_is_not_waited_for(client: Any, wait: str, ends: bool) -> None:
    with Hostile(lambda line, body: whole({}, "429 Busy", f"Retry-After: {wait}")).running() as server:
        if ends:
            ended = asked(client, server.url)
            assert ("429" in ended.why, ended.put_off, ended.late) == (True, 429, False)
        else:
            with Exchange(60, 1000):
                assert client.post(server.url).status_code == 429


def test_outside_of_an_exchange_the_hooks_do_nothing(client: Any) -> None:
    def answer(line: str, body: bytes) -> hostile.Bytes:
        there = server.url.replace("127.0.0.1", "localhost")
        return whole(b"x" * 200) if "/there" in line else whole(b"", "307 Sent on", f"Location: {there}/there")

    with Hostile(answer).running() as server:
        with Exchange(60, 100):
            pass
        assert len(client.post(f"{server.url}/here").content) == 200
        assert "connection: close" not in server.heads[0].lower()
        client.close()


def test_timeouts_of_the_client_s_own_stay_where_they_are_shorter(client: Any) -> None:
    client.timeout = 0.2
    with Hostile(lambda line, body: hostile.silent(server)).running() as server:
        with pytest.raises((httpx.ReadTimeout, httpx2.ReadTimeout)), Exchange(60, 1000) as one:
            client.post(server.url)
        assert one.why == ""


# ---- time ----


def test_an_exchange_has_no_more_time_than_is_left() -> None:
    assert exchange.left() == math.inf
    with exchange.until(5), exchange.until(50):
        assert 0 < Exchange(60, 1).seconds <= 5
        assert 0 < exchange.left() <= 5
    assert Exchange(math.inf, 1).seconds == exchange.LONGEST_S
    with exchange.until(-1):
        assert exchange.left() == 0


def test_its_clock_stops_with_it() -> None:
    before = hostile.exchanges()
    with Exchange(600, 1):
        (clock,) = hostile.exchanges() - before
    clock.join(60)
    assert not clock.is_alive()


# ---- clients in what holds them ----


class Sdk:
    """As SDKs are built: a client in a client."""

    def __init__(self) -> None:
        self._client = httpx2.Client()


class Lazy(BaseModel):
    """A chat model that makes its client when it is asked for."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    @functools.cached_property
    def _client(self) -> Sdk:
        return Sdk()

    @functools.cached_property
    def _async_client(self) -> Sdk:
        raise AssertionError("nobody asks for it")


class Private(BaseModel):
    _own: Any = PrivateAttr(default_factory=Sdk)


class Keyless(BaseModel):
    @functools.cached_property
    def _client(self) -> Sdk:
        raise ValueError("no key")


def hooks_of(client: Any) -> list[Any]:
    return [*client.event_hooks["request"], *client.event_hooks["response"]]


def test_clients_are_found_wherever_they_are_kept() -> None:
    lazy, private, plain = Lazy(), Private(), httpx.Client()
    looped: dict[str, Any] = {"models": [lazy, (private,)], "more": {"client": plain}}
    looped["self"] = looped
    for _ in range(2):
        assert exchange.watch(looped)
    for client in (lazy._client._client, private._own._client, plain):
        assert hooks_of(client) == [*HOOKS["request"], *HOOKS["response"]]
        client.close()


def test_hooks_of_others_stay() -> None:
    seen: list[Any] = []
    with httpx.Client(event_hooks={"request": [seen.append]}) as client:
        exchange.watch(client)
        assert client.event_hooks["request"] == [seen.append, *HOOKS["request"]]


@pytest.mark.parametrize("holder", [None, "openai:x", 7, [], Keyless(), httpx, threading])
def test_where_there_is_none_nothing_happens(holder: Any) -> None:
    assert not exchange.watch(holder)


def test_a_large_object_is_not_looked_through() -> None:
    with httpx.Client() as client:
        assert not exchange.watch([[{"n": n} for n in range(5000)], [[client]]])
