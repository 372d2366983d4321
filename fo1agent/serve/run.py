"""The server's process: it listens, and drains before it ends."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import replace
from socket import socket
from types import FrameType

import uvicorn

from fo1agent.integrations.listening import LOOPBACK, Timed, check_address, listening, url_of
from fo1agent.scene import Model
from fo1agent.serve import memory
from fo1agent.serve.app import App, create_app
from fo1agent.serve.settings import Settings

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
    check_address(host, settings.token)
    if settings.token is None:
        settings = replace(settings, names=settings.names or LOOPBACK)
    with listening(host, port) as listens:
        app = create_app(model, settings)
        # What is loaded stays: not to look through it again and again keeps pauses short, and the end quick.
        gc.collect()
        gc.freeze()
        config = uvicorn.Config(
            app,
            http=Timed,
            ws="none",
            loop="asyncio",
            log_config=None,
            access_log=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=5,
        )
        with memory.given_back():
            _Server(config, app, lambda: ready(url_of(host, listens))).run(sockets=[listens])
        app.service.close()


class _Server(uvicorn.Server):
    """Drains on a signal: it goes on listening and tells that it drains, until nothing is at work any more."""

    def __init__(self, config: uvicorn.Config, app: App, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._app, self._ready = app, ready
        self._drained_by = 0.0

    async def startup(self, sockets: list[socket] | None = None) -> None:
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
