"""Connections that hold a server up are cut; those that do not are left alone. And who may listen where."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn

from fo1agent.errors import InputError
from fo1agent.integrations import listening as shell
from fo1agent.serve.settings import Settings
from tests.serving import until

LARGE = 64 * 2**20


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """`ok`, or at /large more than any buffer on the way takes; at /read once the body is there."""
    body = b"x" * LARGE if scope["path"] == "/large" else b"ok"
    while scope["path"] == "/read" and (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    for start in range(0, len(body), 2**20):
        await send({"type": "http.response.body", "body": body[start : start + 2**20], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(shell, "HEADERS_S", 0.5)
    monkeypatch.setattr(shell, "BODY_S", 0.5)
    monkeypatch.setattr(shell, "READS_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            answer, http=shell.Timed, log_config=None, ws="none", lifespan="off", timeout_keep_alive=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        until(lambda: server.started)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(60)


def told(connection: socket.socket) -> bytes:
    """What the server sends until it closes the connection."""
    connection.settimeout(60)
    all_of_it = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(2**16):
            all_of_it += piece
    return all_of_it


def ends(connection: socket.socket) -> bool:
    """Whether the server closes the connection, after what it has sent."""
    told(connection)
    return True


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port))


def test_who_says_nothing_is_shown_out(port: int) -> None:
    with connected(port) as silent:
        assert ends(silent)


@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"], ids=["first", "second"])
def test_a_head_that_drips_in_is_not_waited_for(port: int, before: bytes) -> None:
    with connected(port) as slow:
        slow.sendall(before + b"GET / HTTP/1.1\r\nhost: a\r\n")
        start = time.monotonic()
        with suppress(OSError):
            while time.monotonic() - start < 60:
                slow.sendall(b"x: 1\r\n")
                time.sleep(0.1)
        assert time.monotonic() - start < 60
        with suppress(OSError):
            assert ends(slow)


def test_a_body_that_was_refused_is_not_thrown_away_forever(port: int) -> None:
    with connected(port) as talkative:
        talkative.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000000\r\n\r\n")
        talkative.settimeout(60)
        told = b""
        while not told.endswith(b"ok"):  # without a byte of the body
            told += talkative.recv(1000)
        start = time.monotonic()
        with suppress(OSError):
            while time.monotonic() - start < 60:
                talkative.sendall(b"x" * 1000)
                time.sleep(0.05)
        assert time.monotonic() - start < 60


def test_a_body_that_drips_in_is_not_waited_for(port: int) -> None:
    with connected(port) as slow:
        slow.sendall(b"POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n")
        start = time.monotonic()
        with suppress(OSError):
            while time.monotonic() - start < 60:
                slow.sendall(b"x")
                time.sleep(0.1)
        assert time.monotonic() - start < 60


def test_a_whole_body_is_answered_however_long_that_takes(port: int) -> None:
    with connected(port) as calm:
        for _ in range(2):
            calm.sendall(b"POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx")
            calm.settimeout(60)
            answer = b""
            while not answer.endswith(b"ok"):
                answer += calm.recv(1000)
            time.sleep(0.7)


def test_who_does_not_take_the_answer_is_cut_off(port: int) -> None:
    with connected(port) as greedy:
        greedy.sendall(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
        time.sleep(2)
        taken = 0
        greedy.settimeout(60)
        with suppress(ConnectionResetError):
            while piece := greedy.recv(2**20):
                taken += len(piece)
        assert taken < LARGE


def test_what_is_no_request_is_told_so_and_logged_nowhere(port: int, caplog: pytest.LogCaptureFixture) -> None:
    two_ways = b"POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"
    for request in (
        two_ways + b"0\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /read HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\nhost: a\n\n",
        b"hello\r\n\r\n",
    ):
        with connected(port) as smuggler:
            smuggler.sendall(request)
            head, _, body = told(smuggler).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"connection: close" in head.lower()
        assert json.loads(body)["error"]["message"].startswith(
            "This is no request in HTTP/1.1: "
        )  # and nothing after it
    assert not caplog.records


def test_a_body_that_breaks_off_midway_ends_what_reads_it(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with connected(port) as broken:
        broken.sendall(b"POST /read HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\nno length\r\n")
        assert told(broken).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    with connected(port) as late:  # who has been answered is told nothing any more
        late.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
        answer = b""
        while not answer.endswith(b"ok"):
            answer += late.recv(1000)
        late.sendall(b"no length\r\n")
        assert told(late) == b""
    assert not caplog.records


def test_others_are_left_alone(port: int) -> None:
    with connected(port) as calm:
        for _ in range(3):
            calm.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            told = b""
            while not told.endswith(b"ok"):  # head and body may come apart
                told += calm.recv(1000)
            assert told.startswith(b"HTTP/1.1 200")
            time.sleep(0.3)


def test_answers_do_not_wait_for_their_heads_to_be_acknowledged() -> None:
    with shell.listening("127.0.0.1", 0) as listens, connected(listens.getsockname()[1]), listens.accept()[0] as made:
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_strangers_need_a_token() -> None:
    shell.check_address("127.0.0.1", None)
    shell.check_address("0.0.0.0", "t")
    with pytest.raises(InputError, match="FO1AGENT_TOKEN"):
        shell.check_address("0.0.0.0", None)


@pytest.mark.parametrize(
    "wrong", [{"token": " "}, {"running": 0}, {"deadline_s": -1}, {"waiting": -1}, {"body_bytes": 0}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Settings(**wrong)
