"""HTTP/1.1 as strictly as RFC 9112 lets a server read it, so that a proxy before it takes no request for another.

Where two readers may see the end of a request at different bytes, the one behind can be made to answer a request that
the one before never saw. What h11 is lenient about is refused here: a length besides chunks, lines that end without a
carriage return, folded lines. It knows nothing of connections, nor of what is answered.
"""

from __future__ import annotations

import re
from typing import Any

import h11

HEAD_BYTES = 64 * 1024
"""Most bytes of a request's head, of a chunk's head, and of trailers."""
_BESIDES = 2**20  # bytes of a chunked body that are none of its content
_CHUNK = 7  # and for each byte of that: as many as one in a chunk of its own takes, with two more

_LOOSE = re.compile(rb"(?<!\r)\n")
_FOLDED = re.compile(rb"\n[ \t]")


class Strict(h11.Connection):
    """The server's side of a connection. What it refuses raises `h11.RemoteProtocolError`.

    Attributes:
        why: of the latest refusal, in words; "" before any.
        status: that it asks for.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
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
        before = self.trailing_data[0] if self.their_state is h11.IDLE else b""
        event = super().next_event()
        if isinstance(event, h11.Request):
            after = self.trailing_data[0]
            _check_head(before[: len(before) - len(after)], {name for name, _ in event.headers})
            self._came, self._content = len(after), 0
        elif isinstance(event, h11.Data):
            self._content += len(event.data)
            if self._came - self._content > _BESIDES + _CHUNK * self._content:
                raise h11.RemoteProtocolError("its chunks say more about themselves than they hold")
        return event


def _check_head(head: bytes, names: set[bytes]) -> None:
    """Refuse a head that others may read otherwise.

    Args:
        head: its bytes, with the empty line that ends it.
        names: of its fields, in lower case.

    Raises:
        h11.RemoteProtocolError: as above.
    """
    if {b"content-length", b"transfer-encoding"} <= names:
        raise h11.RemoteProtocolError("it has both Content-Length and Transfer-Encoding, of which one is to be sent")
    if _LOOSE.search(head):
        raise h11.RemoteProtocolError("a line of its head ends in a line feed without a carriage return")
    if _FOLDED.search(head):
        raise h11.RemoteProtocolError("a line of its head begins with a blank")
