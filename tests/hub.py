"""A server that plays the Hugging Face hub: repositories of files, some of which fail as a hub's do."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the server has, and what it was asked.

    Attributes:
        repositories: name → its files.
        gated: names that nobody may read.
        broken_after: bytes of an answer after which the connection ends, as if a network failed.
        breaks: how often it does.
        asked: (method, path, Range header) of each request.
    """

    repositories: dict[str, Mapping[str, bytes]]
    gated: set[str] = field(default_factory=set)
    broken_after: int = 0
    breaks: int = 0
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""

    def fetched(self) -> list[str]:
        """The files whose content was asked for."""
        return [path.rsplit("/", 1)[-1] for method, path, _ in self.asked if method == "GET" and "/resolve/" in path]


@contextmanager
def playing_hub(repositories: dict[str, Mapping[str, bytes]]) -> Iterator[Hub]:
    """Serve repositories on loopback."""
    hub = Hub(repositories)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        hub, path = self.hub, self.path.partition("?")[0]
        hub.asked.append((self.command, path, self.headers.get("Range")))
        parts = path.removeprefix("/api/models").strip("/").split("/")
        name, rest = "/".join(parts[:2]), parts[2:]
        if name not in hub.repositories:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif name in hub.gated:
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."})
        elif path.startswith("/api/") and rest[:1] == ["tree"]:
            self._send(200, json.dumps(self._tree(hub.repositories[name])).encode(), {})
        elif path.startswith("/api/"):
            files = [{"rfilename": file} for file in hub.repositories[name]]
            self._send(200, json.dumps({"id": name, "sha": COMMIT, "siblings": files}).encode(), {})
        else:
            self._file(hub.repositories[name]["/".join(rest[2:])])

    @staticmethod
    def _tree(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for name, content in files.items()
        ]

    def _file(self, content: bytes) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        about = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(content).hexdigest()}"', "Accept-Ranges": "bytes"}
        if start:
            about["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(206 if start else 200, content[start:], about)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.breaks and len(body) > self.hub.broken_after:
            self.hub.breaks -= 1
            body, self.close_connection = body[: self.hub.broken_after], True
        self.wfile.write(body)
