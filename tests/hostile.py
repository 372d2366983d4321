"""Servers that do as they like: the far side of a network, byte by byte. And text that would steer a terminal."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import socket
import threading
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Bytes = Iterable[bytes]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Hostile:
    """A server on 127.0.0.1 that answers each request with pieces of bytes, sent one after the other.

    Args:
        answer: called as (request's first line, its body); gives the pieces. It may wait between them with `pause`.

    Attributes:
        url: its address.
        bodies: of the requests, oldest first.
        heads: of the requests, oldest first.
        sent: bytes that were sent.
    """

    def __init__(self, answer: Callable[[str, bytes], Bytes]) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.bodies: list[bytes] = []
        self.heads: list[str] = []
        self.sent = 0
        self.left = threading.Semaphore(0)
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[Hostile]:
        """Serve within the block."""
        accepting = threading.Thread(target=self._accept)
        accepting.start()
        try:
            yield self
        finally:
            self._over.set()
            for one in (self._listening, *self._connections):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            for thread in (accepting, *self._threads):
                thread.join(60)
                assert not thread.is_alive()

    def pause(self, seconds: float) -> bool:
        """Wait; whether the server goes on."""
        return not self._over.wait(seconds)

    def wait_until_left(self) -> None:
        """Return when a caller has closed its connection before all was sent."""
        assert self.left.acquire(timeout=60)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file:
            while True:
                head = b""
                while (line := file.readline()).strip():
                    head += line
                if not head:
                    return
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                body = file.read(int(length[1])) if length else b""
                self.heads.append(head.decode("latin-1"))
                self.bodies.append(body)
                try:
                    for piece in self._answer(head.split(b"\r\n")[0].decode("latin-1"), body):
                        connection.sendall(piece)
                        self.sent += len(piece)
                        if self._over.is_set():
                            return
                except OSError:
                    self.left.release()
                    return
                if re.search(rb"(?i)connection: *close", head):
                    return


def whole(body: bytes | Any, status: str = "200 OK", *headers: str) -> list[bytes]:
    """An answer of a known length; of a value that is not bytes, its JSON."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = "".join(f"{line}\r\n" for line in (*headers, f"Content-Length: {len(body)}"))
    return [f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{lines}\r\n".encode("latin-1"), body]


def endless() -> Bytes:
    """An answer that does not end, as fast as it is taken."""
    return itertools.chain([HEAD + b'\r\n{"choices": "'], itertools.repeat(b"x" * 65536))


def chunked() -> Bytes:
    """The same in chunks."""
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    return itertools.chain([head], itertools.repeat(b"10000\r\n" + b"x" * 65536 + b"\r\n"))


def announced() -> Bytes:
    """An answer that says that it has 100 MB, and does not send them."""
    return [HEAD + b"Content-Length: 100000000\r\n\r\n{"]


def bomb() -> Bytes:
    """100 MB of JSON, in 100 kB of gzip."""
    packed = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [packed.compress(b'{"choices": "'), *(packed.compress(b"x" * 1_000_000) for _ in range(100))]
    return whole(b"".join([*pieces, packed.flush()]), "200 OK", "Content-Encoding: gzip")


def dripping(server: Hostile, head: bytes) -> Bytes:
    """A head, and then a byte every 50 ms."""
    yield head
    while server.pause(0.05):
        yield b" "


def early_hints(server: Hostile) -> Bytes:
    """One interim answer after the other."""
    while server.pause(0.01):
        yield b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def silent(server: Hostile) -> Bytes:
    """Nothing."""
    server.pause(600)
    yield b""


def open_sockets() -> set[str]:
    """Sockets of this process, by what the system calls them."""
    found: set[str] = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{name}"))
    return {one for one in found if one.startswith("socket:")}


def exchanges() -> set[threading.Thread]:
    """Threads that wait for a server or a chat model, or hold the time of who does."""
    return {one for one in threading.enumerate() if one.name in ("fo1agent-chat", "fo1agent-exchange")}


# ---- text ----

EVIL = (
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\x9b1A\x08\x7f\u202egpj.exe\u202c\u2066x\u2069\u200b\u2028\U000e0041\r!"
)
"""Sets a window's title, clears the screen, colours, goes up, deletes, turns letters around, hides, begins anew."""

_OWN_COLORS = re.compile(r"\x1b\[(?:0|1|3\d|38;2;\d+;\d+;\d+)m")


def steering(printed: str) -> list[str]:
    """The characters of what was printed that steer a terminal or hide, but for the colours that the command sets."""
    printed = _OWN_COLORS.sub("", printed)
    return [one for one in printed if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") and one not in "\n\t"]
