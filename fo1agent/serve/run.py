"""The server's process: it listens, keeps slow clients from holding it up, and drains before it ends."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from fo1agent.errors import InputError
from fo1agent.scene import Model
from fo1agent.serve import memory
from fo1agent.serve.app import App, create_app
from fo1agent.serve.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADERS_S = 10.0
"""Seconds in which a request's head must have come, once its connection is there."""
READS_S = 30.0
"""Seconds for which a client may leave an answer lying before its connection is cut."""
CONNECTIONS = 1024
"""Connections at once; more are answered with 503."""


def serve(
    model: Model,
    settings: Settings | None = None,
    host: str = "127.0.0.1",
    port: int = 8080,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until SIGTERM or SIGINT; then take on nothing new, finish what runs and waits, and return.

    A second signal ends it at once.

    Args:
        model: what looks at pictures.
        settings: None for the defaults. On a loopback address and without a token, only requests addressed to that are
            let in.
        host: the address to listen at.
        port: 0 for any that is free.
        ready: called with the server's address, once it is listened at.

    Raises:
        InputError: an address other than loopback without a token.
        OSError: the address cannot be listened at.
    """
    settings = settings or Settings()
    check_address(host, settings)
    if settings.token is None:
        settings = replace(settings, names=settings.names or LOOPBACK)
    with _listening(host, port) as listening:
        app = create_app(model, settings)
        # What is loaded stays: not to look through it again and again keeps pauses short, and the end quick.
        gc.collect()
        gc.freeze()
        config = uvicorn.Config(
            app,
            http=_Timed,
            ws="none",
            loop="asyncio",
            log_config=None,
            access_log=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=5,
        )
        name = f"[{host}]" if ":" in host else host
        url = f"http://{name}:{listening.getsockname()[1]}"
        with memory.given_back():
            _Server(config, app, lambda: ready(url)).run(sockets=[listening])
        app.service.close()


def check_address(host: str, settings: Settings, port: int = 0) -> None:
    """Refuse an address where strangers would get in, or that cannot be listened at now.

    Raises:
        InputError: it is none of loopback, and there is no token.
        OSError: it is no address of this machine, or another process listens there.
    """
    if settings.token is None and host not in LOOPBACK:
        raise InputError(f"Listening at {host} lets others in: set a token (FO1AGENT_TOKEN), or listen at 127.0.0.1.")
    with _listening(host, port):
        pass


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as exc:
        why = str(exc.strerror).partition(" (while")[0]  # the address is told here
        raise OSError(f"Cannot listen at {host}, port {port}: {why}.") from exc


class _Server(uvicorn.Server):
    """Drains on a signal: it goes on listening and tells that it drains, until nothing is at work any more."""

    def __init__(self, config: uvicorn.Config, app: App, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._app, self._ready = app, ready
        self._drained_by = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._app.traffic.draining:
            self.should_exit = self.force_exit = True
            return
        self._app.traffic.draining = True
        # Everything at work has a deadline, so this is longer than any of it takes.
        self._drained_by = time.monotonic() + self._app.service.settings.deadline_s + 5

    async def on_tick(self, counter: int) -> bool:
        traffic = self._app.traffic
        if traffic.draining and (not traffic.working or time.monotonic() > self._drained_by):
            self.should_exit = True
        return await super().on_tick(counter)


class _Timed(H11Protocol):
    """HTTP/1.1 whose clients must send a request's head in time, and take their answers."""

    _head: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._head = self.loop.call_later(HEADERS_S, self._late)

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._unset()

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
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def _unset(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _late(self) -> None:
        self._head = None
        if not self.transport.is_closing():
            self.transport.close()
