"""Requests whose end a proxy may see elsewhere are refused, and those of ordinary clients are not."""

from __future__ import annotations

import h11
import pytest

from fo1agent.integrations.framing import Strict

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"
TRAILED = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
NEXT = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def read(*pieces: bytes) -> bytes:
    """The body of a request that comes in pieces; what follows it stays.

    Raises:
        h11.RemoteProtocolError: it is refused.
    """
    connection, body = Strict(), b""
    for piece in pieces:
        connection.receive_data(piece)
        while (event := connection.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.EndOfMessage):
                return body
            body += bytes(event.data) if isinstance(event, h11.Data) else b""
    raise AssertionError("it has not ended")


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"Content-Length: 3\r\n\r\nabc",
        HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
        HEAD + b"Transfer-Encoding: Chunked\r\n\r\n3;name=value\r\nabc\r\n0\r\nx: y\r\n\r\n",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_what_clients_send_is_read_in_whatever_pieces_it_comes(request_: bytes, size: int) -> None:
    request_ += b"GET / HTTP/1.1\nnot: looked at\n\n"
    assert read(*(request_[at : at + size] for at in range(0, len(request_), size))) == b"abc"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS, "both Content-Length and Transfer"),
        (b"transfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n" + CHUNKS, "both Content-Length and Transfer"),
        (b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "conflicting Content-Length"),
        (b"Content-Length: +3\r\n\r\nabc", "bad Content-Length"),
        (b"Content-Length : 3\r\n\r\nabc", "illegal header line"),
        (b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS, "Only Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + CHUNKS, "multiple Transfer-Encoding"),
        (b"X: a\nContent-Length: 3\r\n\r\nabc", "line feed without"),
        (b"Content-Length: 3\n\nabc", "line feed without"),
        (b"X: a\r\n b\r\nContent-Length: 3\r\n\r\nabc", "begins with a blank"),
        (b"Transfer-Encoding:\r\n\tchunked\r\n\r\n" + CHUNKS, "begins with a blank"),
        (b" Content-Length: 3\r\n\r\nabc", "begins with a blank"),
        (b"Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", "illegal chunk header"),
        (b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", "illegal chunk header"),
        (b"Transfer-Encoding: chunked\r\n\r\n3;" + b"a" * 100_000, "too long"),
        (b"Transfer-Encoding: chunked\r\n\r\n3;" + b"a" * 70_000 + b"\r\nabc\r\n0\r\n\r\n", "too long"),
        (b"Transfer-Encoding: chunked\r\n\r\n3;a\rb\r\nabc\r\n0\r\n\r\n", "carriage return without"),
        (b"X: " + b"a" * 70_000 + b"\r\nContent-Length: 3\r\n\r\nabc", "too long"),
        (TRAILED + b"\n" + NEXT, "line feed without"),
        (TRAILED + b"x: y\n\n" + NEXT, "line feed without"),
        (TRAILED + b"x: y\n\r\n" + NEXT, "line feed without"),
        (TRAILED + b"x: y\r\n\n" + NEXT, "line feed without"),
        (TRAILED + b"x: y\r\n z\r\n\r\n" + NEXT, "begins with a blank"),
        (TRAILED + b" x: y\r\n\r\n" + NEXT, "begins with a blank"),
        (TRAILED + b"x: " + b"a" * 70_000 + b"\r\n\r\n" + NEXT, "too long"),
    ],
)
@pytest.mark.parametrize("size", [1000, 10**6])
def test_what_two_may_read_in_two_ways_is_refused(fields: bytes, why: str, size: int) -> None:
    request_ = HEAD + fields
    with pytest.raises(h11.RemoteProtocolError, match=why):
        read(*(request_[at : at + size] for at in range(0, len(request_), size)))


def test_a_second_request_is_looked_at_as_well() -> None:
    connection = Strict()
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\n\n")
    assert isinstance(connection.next_event(), h11.Request)
    assert isinstance(connection.next_event(), h11.EndOfMessage)
    connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    connection.start_next_cycle()
    with pytest.raises(h11.RemoteProtocolError):
        connection.next_event()
    assert (connection.why, connection.status) == (
        "a line of its head or trailers ends in a line feed without a carriage return",
        400,
    )


def test_chunks_that_are_mostly_about_themselves_are_refused() -> None:
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    one = b"1\r\nx\r\n"
    assert read(head, *[one * 1000] * 300, b"0\r\n\r\n") == b"x" * 300_000  # small ones are not
    with pytest.raises(h11.RemoteProtocolError, match="about themselves"):
        read(head, *[b"1;" + b"a" * 10_000 + b"\r\nx\r\n"] * 200)
