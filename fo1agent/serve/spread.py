"""What stands before the replicas of a server, in the proxies of Ray Serve, as ASGI: they are told of `middlewares`.

- Who looks at one picture comes to one replica, so that it is encoded once: requests get the header by which Ray's
  consistent hashing chooses.
- What a replica was at that died is given to another; all that a server does may be done twice.
- What Ray says for itself is said as the server says it.
- Headers by which a caller would steer Ray go no further.
- The proxies read HTTP as the server does, as strictly, and cut off who is slow.

Of answers only those for paths of our server are touched. Without this, every replica still finds every picture, and
encodes it anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import HTTP_PROTOCOLS

from fo1agent.serve.problems import Problem, response
from fo1agent.serve.streams import sse_event

SESSION = b"x-session-id"
"""The header by whose value Ray's `ConsistentHashRouter` chooses."""

_HTTP = "fo1agent.integrations.listening:Timed"
"""What reads HTTP in a server of ours."""

# By these, Ray lets a caller choose the replica, cut its request short, or have it go on when nobody waits any more.
# It takes "_" for "-", and fails at what is no UTF-8.
_STEERING = frozenset(
    {SESSION, b"serve-multiplexed-model-id", b"x-request-timeout-seconds", b"x-request-disconnect-disabled"}
)
_REQUEST_ID = re.compile(rb"[!-~]{1,128}")

_OURS = re.compile(r"/(v1/.*|static/.*|healthz|metrics|docs|openapi\.json)?")
_TRIES = 2  # a picture that kills whoever opens it shall not kill them all
_PEEKED, _PEEKED_S = 64 * 1024, 5.0  # of a body, before it is given on
_REPEATED = 256 * 2**20  # bytes of bodies that are here to be given to another, all together
_REMEMBERED = 65_536  # pictures of which it is known with what they came

_ID = re.compile(rb"img_[0-9a-f]{8,64}(?:-[0-9a-f]{8,64})?")
_TOLD = re.compile(rb'\{"image":"(%s)"' % _ID.pattern)
_URL = re.compile(rb'data:[^"]*')


def middlewares() -> list[Middleware]:
    """For Ray's proxies, each of which asks for them before it listens."""
    HTTP_PROTOCOLS["auto"] = _HTTP  # Ray's server is made with no other choice
    return [Middleware(Spread)]


class Spread:
    """Gives requests about one picture the same session, and lost ones to another replica."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._came_with: OrderedDict[str, str] = OrderedDict()  # picture → session of the request that brought it
        self._room = _Room()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [one for one in scope["headers"] if _goes_on(*one)]}
        if scope["type"] != "http" or not _OURS.fullmatch(scope["path"]):
            await self.app(scope, receive, send)
            return
        body, answer = _Body(receive, self._room), _Answer(send)
        try:
            session = self._session(scope, await body.head())
            if session:
                scope["headers"].append((SESSION, session.encode()))
            for _ in range(_TRIES):
                await self.app(scope, body.again(), answer.send)
                if answer.heard or body.gone or not body.kept:
                    break
        finally:
            body.close()
        if session and answer.picture:
            self._remember(answer.picture, session)
        if not body.gone:
            await self._finish(scope, receive, answer)

    async def _finish(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        """Tell of an answer that did not come, or broke off."""
        problem = Problem(
            503,
            "No replica could take this, or the one that did was lost. Try again in 2 s.",
            "unavailable",
            "replica",
            {"Retry-After": "2"},
        )
        if not answer.begun:
            await response(problem)(scope, receive, answer.raw)
        elif answer.streams and not answer.ended:
            line = sse_event("error", {"type": "error", **problem.body}).encode()
            await answer.raw({"type": "http.response.body", "body": line})

    def _session(self, scope: Scope, head: bytes) -> str:
        """What all requests about a request's picture have in common; "" if it has none."""
        in_path = scope["path"].encode() if scope["path"].startswith("/v1/images/") else b""
        is_form = Headers(scope=scope).get("content-type", "").lower().startswith("multipart/form-data")
        if known := _ID.search(in_path or (b"" if is_form else head)):
            picture = known[0].decode()
            return self._came_with.get(picture, picture)
        # The boundary of a form is another with every request.
        sent = head.replace(head.partition(b"\r\n")[0], b"") if is_form else b"".join(_URL.findall(head))
        return hashlib.blake2b(sent, digest_size=16).hexdigest() if sent else ""

    def _remember(self, picture: str, session: str) -> None:
        self._came_with[picture] = session
        self._came_with.move_to_end(picture)
        while len(self._came_with) > _REMEMBERED:
            self._came_with.popitem(last=False)


def _goes_on(name: bytes, value: bytes) -> bool:
    """Whether a header of a caller's goes on to Ray."""
    name = name.lower().replace(b"_", b"-")
    return name not in _STEERING and (name != b"x-request-id" or bool(_REQUEST_ID.fullmatch(value)))


@dataclass
class _Room:
    """For bodies that may have to be given again."""

    held: int = 0


class _Body:
    """A request's body, whose messages may be given more than once. `close` it when it is of no use any more.

    Attributes:
        gone: whether the client has left.
        kept: whether all of it that has come is still here.
    """

    def __init__(self, receive: Receive, room: _Room) -> None:
        self._receive, self._room = receive, room
        self._messages: list[Message] = []
        self._bytes, self._whole = 0, False
        self.gone, self.kept = False, True

    async def head(self) -> bytes:
        """As much of it as is looked at, or as has come in time."""
        with contextlib.suppress(TimeoutError):  # the replica has its own patience
            async with asyncio.timeout(_PEEKED_S):
                while not self._whole and self._bytes < _PEEKED:
                    await self._next()
        return b"".join(message.get("body", b"") for message in self._messages)[:_PEEKED]

    def again(self) -> Receive:
        """From its beginning."""
        given = 0

        async def receive() -> Message:
            nonlocal given
            given += 1
            return self._messages[given - 1] if given <= len(self._messages) else await self._next()

        return receive

    def close(self) -> None:
        """It is not here any more."""
        self._room.held -= self._bytes
        self._bytes = 0

    async def _next(self) -> Message:
        message = await self._receive()
        self.gone = self.gone or message["type"] == "http.disconnect"
        if self._whole:  # nothing comes any more but that
            return message
        size = len(message.get("body", b""))
        self.kept = self.kept and self._room.held + size <= _REPEATED
        if self.kept or self._bytes < _PEEKED:
            self._messages.append(message)
            self._room.held += size
            self._bytes += size
        self._whole = self.gone or not message.get("more_body", False)
        return message


class _Answer:
    """An answer on its way.

    Attributes:
        raw: what takes it.
        heard: whether anything was answered, be it by Ray itself.
        begun: whether anything of it has been sent.
        ended: whether all of it has.
        streams: whether it is of events.
        picture: the id of the picture that was opened for it, as far as its first bytes tell.
    """

    def __init__(self, send: Send) -> None:
        self.raw = send
        self.heard = self.begun = self.ended = self.streams = False
        self.picture = ""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.heard = True
            kind = Headers(raw=message["headers"]).get("content-type", "")
            # The server itself tells every failure in JSON.
            self.begun = message["status"] < 400 or not kind.startswith("text/plain")
            self.streams = kind.startswith("text/event-stream")
        if not self.begun:
            return
        if message["type"] == "http.response.body":
            self.ended = not message.get("more_body", False)
            if not self.picture and (told := _TOLD.match(message.get("body", b""))):
                self.picture = told[1].decode()
        await self.raw(message)
