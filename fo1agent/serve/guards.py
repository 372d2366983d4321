"""What stands before every request, as ASGI: its size and pace, who may call, and the count of what runs.

Bodies are counted while they come, so that one without a length cannot grow past the limit either. All bodies that are
here, and all answers that have not been taken, have one bound together.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fo1agent.integrations.callers import refusal
from fo1agent.serve.gate import Refused
from fo1agent.serve.metrics import Metrics
from fo1agent.serve.problems import Problem, problem_of, response
from fo1agent.serve.settings import Settings

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# The page may do what it needs and nothing that a text out of a picture could talk it into.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self' blob:; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


DRAINING = {"Retry-After": "5"}
"""Headers of the answers of a server that is shutting down."""

_WANTED = {"WWW-Authenticate": "Bearer"}
_PIECE = 256 * 1024  # bytes of an answer that are given to a client at once


class Traffic:
    """What runs on a server.

    Attributes:
        draining: no new work is taken on.
        working: requests that are being answered, health checks aside.
        held: bytes of bodies that are here and of answers that were not taken yet.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.draining = False
        self.working = 0
        self.held = 0


class Count:
    """Counts requests, in the figures and at work, and turns new ones away while the server drains."""

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self.app, self.traffic = app, traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        counted = scope["path"] != "/healthz"
        self.traffic.working += counted
        try:
            if self.traffic.draining and scope["path"].startswith("/v1/"):
                problem = Problem(503, "The server is shutting down.", "unavailable", "draining", DRAINING)
                await response(problem)(scope, receive, sending)
            else:
                await self.app(scope, receive, sending)
        finally:
            self.traffic.working -= counted
            route = getattr(scope.get("route"), "path", "") or "other"
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.traffic.metrics.request(route, method, status, time.perf_counter() - start)


class Guard:
    """Lets a request in only if it may come: token, addressed host, origin, size and pace of its body."""

    def __init__(self, app: ASGIApp, settings: Settings, traffic: Traffic) -> None:
        self.app, self.settings, self.traffic = app, settings, traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        problem = self._refusal(scope, headers)
        if problem is not None:
            await response(problem)(scope, receive, _marking(send, scope["path"]))
            return
        body = _Body(receive, self.settings, self.traffic)
        answer = _Answer(_marking(send, scope["path"]), self.traffic)

        async def sending(message: Message) -> None:
            if body.problem is None or answer.begun:  # or it is what the application makes of a body that was cut off
                await answer.send(message)

        try:
            await self.app(scope, body.receive, sending)
        except Exception:
            if body.problem is None:
                raise
        finally:
            body.close()
            answer.close()
        if body.problem is not None and not answer.begun:
            await response(body.problem)(scope, receive, _marking(send, scope["path"]))

    def _refusal(self, scope: Scope, headers: Headers) -> Problem | None:
        settings, path, method = self.settings, scope["path"], scope["method"]
        private = path.startswith("/v1/") or path == "/metrics"
        wants_token = (private or path in ("/docs", "/openapi.json")) and method != "OPTIONS"
        token = settings.token if wants_token else None
        if refused := refusal(headers, settings.names, settings.origins, private, token):
            kind, head = ("authentication_error", _WANTED) if refused.status == 401 else ("forbidden", None)
            return Problem(refused.status, refused.message, kind, refused.code, head)
        announced = headers.get("content-length", "")
        if re.fullmatch("[0-9]+", announced) and (len(announced) > 15 or int(announced) > settings.body_bytes):
            return _too_large(settings.body_bytes)
        return None


class _Body:
    """A request's body, counted and timed until it is all there. `close` it when it is of no use any more.

    Attributes:
        problem: the limit that it broke, which the application heard of as a client that has gone; None if none.
    """

    def __init__(self, receive: Receive, settings: Settings, traffic: Traffic) -> None:
        self._receive, self._settings, self._traffic = receive, settings, traffic
        self._end = time.monotonic() + settings.body_s
        self._bytes, self._whole = 0, False
        self.problem: Problem | None = None

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._end - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            # Who is so slow would not hear of it before the rest has come, so the connection is closed.
            headers = {"Connection": "close"}
            return self._cut(Problem(408, "The body did not come in time.", "timeout", "body", headers))
        size = len(message.get("body", b""))
        self._bytes += size
        self._traffic.held += size
        self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        if self._bytes > self._settings.body_bytes:
            return self._cut(_too_large(self._settings.body_bytes))
        others = self._traffic.held - self._bytes
        if size and others and self._traffic.held > self._settings.held_bytes:
            self._traffic.metrics.refused("any", "memory")
            return self._cut(problem_of(Refused("memory", 1)))
        return message

    def close(self) -> None:
        """It is not held any more."""
        self._traffic.held -= self._bytes
        self._bytes = 0

    def _cut(self, problem: Problem) -> Message:
        # The rest is thrown away as it comes, for as long as a head may take: if the connection were closed, the client
        # would be told of that, and not of the problem.
        self.problem, self._whole = problem, True
        return {"type": "http.disconnect"}


class _Answer:
    """An answer, given in pieces as its client takes them, and counted meanwhile. `close` it at its end.

    Attributes:
        begun: whether its head has been sent.
    """

    def __init__(self, send: Send, traffic: Traffic) -> None:
        self._send, self._traffic = send, traffic
        self._bytes = 0
        self.begun = False

    async def send(self, message: Message) -> None:
        self.begun = True
        body = message.get("body", b"")
        if len(body) <= _PIECE:
            await self._send(message)
            return
        self._bytes += len(body)
        self._traffic.held += len(body)
        view = memoryview(body)
        for start in range(0, len(body), _PIECE):
            more = message.get("more_body", False) or start + _PIECE < len(body)
            await self._send({**message, "body": bytes(view[start : start + _PIECE]), "more_body": more})

    def close(self) -> None:
        """It is not held any more."""
        self._traffic.held -= self._bytes
        self._bytes = 0


def _too_large(most: int) -> Problem:
    return Problem(413, f"The request is larger than {most} bytes.", code="too_large")


def _marking(send: Send, path: str) -> Send:
    """`send`, with headers that tell browsers what they may do with the answer."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *_safe(path)]
        await send(message)

    return sending


def _safe(path: str) -> list[tuple[bytes, bytes]]:
    headers: list[tuple[bytes, Any]] = [
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
    ]
    if path == "/" or path.startswith("/static/"):
        headers.append((b"content-security-policy", _PAGE_POLICY.encode()))
    if path.startswith("/v1/"):
        headers.append((b"cache-control", b"no-store"))
    return headers
