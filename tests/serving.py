"""Servers for tests: in a thread of this process, or as a process of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from fo1agent.serve.app import App

PATIENCE_S = 180.0
"""A busy machine may need so long to start a process with a model."""


def until(true: Callable[[], bool]) -> None:
    """Wait for what other threads or processes bring about."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def in_thread(app: App) -> Iterator[str]:
    """Serve an application on loopback; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until(lambda: server.started)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)
            app.service.close()


@dataclass
class Process:
    """A server's process, and where it listens."""

    popen: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[-1])


@contextmanager
def process(*options: str, variables: Mapping[str, str] | None = None) -> Iterator[Process]:
    """`fo1agent serve` on a free port of loopback, with these variables of its environment."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FO1AGENT_")}
    command = [sys.executable, "-m", "fo1agent", "serve", "--port", "0", *options]
    popen = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**env, **(variables or {})})
    try:
        assert popen.stderr is not None
        # Before its address it says that it loads, and may print a warning of a library.
        line = next((line for line in popen.stderr if "Listening on" in line), "")
        assert line, "the server ended before it listened"
        yield Process(popen, line.split()[-1])
    finally:
        if popen.poll() is None:
            popen.send_signal(signal.SIGKILL)
        popen.wait(PATIENCE_S)
        if popen.stderr is not None:
            popen.stderr.close()
