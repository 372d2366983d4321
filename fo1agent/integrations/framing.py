"""HTTP/1.1 as strictly as RFC 9112 lets a server read it, so that a proxy before it takes no request for another.

Where two readers may see the end of a request at different bytes, the one behind can be made to answer a request that
the one before never saw. What h11 is lenient about is refused here: a length besides chunks and, in heads as in
trailers, lines that end without a carriage return, folded lines. It knows nothing of connections, nor of what is
answered.
"""

from __future__ import annotations

import re
from typing import Any

import h11
from h11._receivebuffer import ReceiveBuffer

HEAD_BYTES = 64 * 1024
"""Most bytes of a request's head, of a chunk's head, and of trailers."""
_BESIDES = 2**20  # bytes of a chunked body that are none of its content
_CHUNK = 7  # and for each byte of that: as many as one in a chunk of its own takes, with two more

_LOOSE = re.compile(rb"(?<!\r)\n")
_FOLDED = re.compile(rb"^[ \t]", re.MULTILINE)


class _Lines(ReceiveBuffer):
    """What came and is not read yet, of which lines are taken only as they have to be.

    What h11 tells of them is without what ends them, and h11 bounds only what has not come as a whole.
    """

    _taken: bytes | bytearray = b""

    def _extract(self, count: int) -> bytearray:
        self._taken = found = super()._extract(count)
        return found

    def maybe_extract_next_line(self) -> bytearray | None:
        line = super().maybe_extract_next_line()
        if line is not None:
            _check_length(line)
            if line.count(b"\r") > 1:
                raise h11.RemoteProtocolError("the head of a chunk holds a carriage return without a line feed")
        return line

    def maybe_extract_lines(self) -> list[bytearray] | None:
        lines = super().maybe_extract_lines()
        if lines is not None:
            _check_length(self._taken)
            if _LOOSE.search(self._taken):
                raise h11.RemoteProtocolError(
                    "a line of its head or trailers ends in a line feed without a carriage return"
                )
            if _FOLDED.search(self._taken):
                raise h11.RemoteProtocolError("a line of its head or trailers begins with a blank")
        return lines


def _check_length(taken: bytes | bytearray) -> None:
    if len(taken) > HEAD_BYTES:
        raise h11.RemoteProtocolError(
            f"its head, trailers, or the head of a chunk are too long, more than {HEAD_BYTES:,} bytes",
            error_status_hint=431,
        )


class Strict(h11.Connection):
    """The server's side of a connection. What it refuses raises `h11.RemoteProtocolError`.

    Attributes:
        why: of the latest refusal, in words; "" before any.
        status: that it asks for.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._receive_buffer = _Lines()
        self.why, self.status = "", 400
        self._came = self._content = 0  # bytes since the head, and those that are the body

    def receive_data(self, data: bytes) -> None:
        self._came += len(data)
        super().receive_data(data)

    def next_event(self) -> Any:
        try:
            return self._next()
        except h11.RemoteProtocolError as exc:
            self.why, self.status = str(exc).partition(": bytearray")[0], exc.error_status_hint
            raise

    def _next(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
                raise h11.RemoteProtocolError(
                    "it has both Content-Length and Transfer-Encoding, of which one is to be sent"
                )
            self._came, self._content = len(self._receive_buffer), 0
        elif isinstance(event, h11.Data):
            self._content += len(event.data)
            if self._came - self._content > _BESIDES + _CHUNK * self._content:
                raise h11.RemoteProtocolError("its chunks say more about themselves than they hold")
        return event
