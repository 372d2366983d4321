"""What stands for a vLLM at an address: a real HTTP server that answers as vLLM does, or as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Answer = Callable[[str, Any], tuple[int, Any]]
"""(path, body) → (status, body); of a status from 300 to 399 the body is where it sends on to."""


class Server:
    """Answers as `answer` says, with `headers`, and keeps what it was asked.

    Args:
        port: 0 for any that is free.
    """

    def __init__(self, port: int = 0) -> None:
        self.asked: list[tuple[str, Any, str | None]] = []
        self.answer: Answer = self.vllm
        self.headers: dict[str, str] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(None)

            def do_POST(self) -> None:
                self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _reply(self, body: Any) -> None:
                outer.asked.append((self.path, body, self.headers.get("Authorization")))
                status, said = outer.answer(self.path, body)
                data = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", str(said))
                for name, value in {**outer.headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                with suppress(ConnectionError):  # who asked may wait no longer
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self._thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        if self._thread.is_alive():
            self.http.shutdown()
            self._thread.join()
            self.http.server_close()

    def vllm(self, path: str, body: Any) -> tuple[int, Any]:
        if path == "/v1/models":
            return 200, {"data": [{"id": "models/tiny"}]}
        if path == "/tokenize":
            return 200, {"tokens": [100 + k for k in range(body["prompt"].count("<"))]}
        ids = body.get("logprob_token_ids", ())
        told = [{"token": f"token_id:{k}", "logprob": -0.01 * k} for k in [5, *ids]]
        message = {"content": " A dog.<|im_end|>"}
        return 200, {"choices": [{"message": message, "logprobs": {"content": [{"top_logprobs": told}]}}]}


@contextmanager
def served(port: int = 0) -> Iterator[Server]:
    """A server, until the block ends or it is stopped; then nobody listens at its port."""
    one = Server(port)
    try:
        yield one
    finally:
        one.stop()


@pytest.fixture
def listening() -> Iterator[Server]:
    """A server for one test; a module takes it by `server = listening`."""
    with served() as one:
        yield one
