"""What all servers over HTTP share: the address that they listen at, a pace for clients that are slow, and what is said
to those that speak no HTTP."""

from __future__ import annotations

import asyncio
import http
import json
import logging
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from fo1agent.errors import InputError
from fo1agent.integrations.framing import Strict

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADERS_S = 10.0
"""Seconds in which a request's head must have come, once its connection is there."""
BODY_S = 30.0
"""Seconds in which its body must have come, where an application asks for no less."""
READS_S = 30.0
"""Seconds for which a client may leave an answer lying before its connection is cut."""

# What clients do wrong is told to them. A line for each of it would let them fill the log.
_log = logging.getLogger("uvicorn.error.failures")
_log.setLevel(logging.ERROR)


def check_address(host: str, token: str | None, port: int = 0) -> None:
    """Refuse an address where strangers would get in, or that cannot be listened at now.

    Raises:
        InputError: it is none of loopback, and there is no token.
        OSError: it is no address of this machine, or another process listens there.
    """
    if not token and host not in LOOPBACK:
        raise InputError(f"Listening at {host} lets others in: set a token (FO1AGENT_TOKEN), or listen at 127.0.0.1.")
    with listening(host, port):
        pass


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is any that is free.

    Raises:
        OSError: the address cannot be listened at; the message says which and why.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listens = socket.create_server((host, port), family=family, backlog=512)
    except OSError as exc:
        why = str(exc.strerror).partition(" (while")[0]  # the address is told here
        raise OSError(f"Cannot listen at {host}, port {port}: {why}.") from exc
    # Connections inherit it. Without it, the body of an answer waits until the head is acknowledged, for 40 ms; asyncio
    # sets it only on sockets that name their protocol, which this one does not.
    listens.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listens


def url_of(host: str, listens: socket.socket) -> str:
    """The address of a server that listens."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listens.getsockname()[1]}"


class Timed(H11Protocol):
    """HTTP/1.1, strictly, whose clients must send a request's head and body in time, and take their answers."""

    _head: asyncio.TimerHandle | None = None
    _body: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = self._strict = Strict()
        self.logger = _log

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._head = self.loop.call_later(HEADERS_S, self._late)

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._unset()
            self._body = self.loop.call_later(BODY_S, self._late)
        if self._body is not None and not self.cycle.more_body:
            self._body.cancel()
            self._body = None

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong with a request, unless it is being answered already, and close the connection."""
        if self.cycle is not None:
            self.cycle.disconnected = True  # what has begun to read it hears no more of it, and is not heard
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            message = f"This is no request in HTTP/1.1: {self._strict.why}."
            told = {"error": {"message": message, "type": "invalid_request_error", "code": "http"}}
            body = json.dumps(told, separators=(",", ":")).encode()
            headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
            reason = http.HTTPStatus(self._strict.status).phrase.encode()
            head = h11.Response(status_code=self._strict.status, headers=list(headers.items()), reason=reason)
            for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # Of the next request some bytes may already be there, and the rest must follow.
        if not self.transport.is_closing() and self.cycle.response_complete:
            self._unset()
            self._head = self.loop.call_later(HEADERS_S + self.timeout_keep_alive, self._late)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(READS_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset()
        for timer in (self._body, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def _unset(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _late(self) -> None:
        self._head = self._body = None
        if not self.transport.is_closing():
            self.transport.close()
