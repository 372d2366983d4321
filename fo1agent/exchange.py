"""Exchanges with servers that a stranger may run: bounded in bytes and in time, by whichever HTTP client they go.

    with Exchange(seconds=20, most=4_000_000):
        reply = client.post(url, json=request)

An exchange holds for every request of the thread that is sent within it by a client of httpx, or of httpx2, that has
our hooks: `httpx.Client(event_hooks=HOOKS)`, or `watch(model)` for the clients that an object of somebody else's holds.
Outside of an exchange the hooks do nothing. Other HTTP libraries are not reached.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import math
import socket
import ssl
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

LONGEST_S = 1e6
"""Seconds that an exchange may be given; what is more, endless included, is taken for this."""

# How far clients are looked for in what holds them; OpenAI's stands three steps from its chat model.
_DEEPEST = 6
_MOST_LOOKED_AT = 2000

_current: contextvars.ContextVar[Exchange | None] = contextvars.ContextVar("exchange", default=None)
_end: contextvars.ContextVar[float] = contextvars.ContextVar("end", default=math.inf)
_hooking = threading.Lock()


class Ended(BaseException):
    """An exchange was ended. It passes through everything that handles failures or tries again, as a cancellation does;
    only who began the exchange catches it, and finds in `Exchange.why` why."""


class Exchange:
    """Requests and what they are answered with, together bounded. Enter it once; `end` may be called by any thread.

    A reply is also ended when it is compressed, which was not asked for and could make any length of it, when it sends
    on to another host or port, and when it puts off until after the end. Each request has a connection of its own,
    which is closed when the exchange ends: who reads from it finds its end, and who sends sees the caller go.

    Args:
        seconds: for all of it, from the moment it is entered; less where `until` leaves less.
        most: bytes of all bodies together.

    Attributes:
        why: a clause that says why it was ended; "" if it was not.
        late: whether time was over.
        put_off: the status with which a server wants to be left alone for longer than there is time; 0 if none does.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self.seconds = min(seconds, left(), LONGEST_S)
        self.why = ""
        self.late = False
        self.put_off = 0
        self._most = most
        self._received = 0
        self._over = math.inf
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        self.begin()
        self._token = _current.set(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _current.reset(self._token)
        self.close()

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block, the thread's requests belong to the exchange, whose time goes on after it.

        Raises:
            Ended: the block failed, and the exchange has ended.
        """
        token = _current.set(self)
        try:
            yield
        except Exception as exc:
            # What was shut down before anything came ends in an error of the client's, which does not know why.
            if self.why:
                raise Ended(self.why) from exc
            raise
        finally:
            _current.reset(token)

    def begin(self) -> None:
        """Start the time, for who does not enter it."""
        self._over = time.monotonic() + self.seconds
        self._timer = threading.Timer(max(self.seconds, 0), self.expire)
        self._timer.name, self._timer.daemon = "fo1agent-exchange", True
        self._timer.start()

    def close(self) -> None:
        """Stop the time."""
        if self._timer is not None:
            self._timer.cancel()

    def end(self, why: str) -> None:
        """Send and read no more: connections are closed, and whoever waits for one of them meets `Ended`."""
        with self._lock:
            self.why = self.why or why
            sockets, self._sockets = self._sockets, []
        for one in sockets:
            # Shut down, not closed: that wakes the thread that reads from it, and whose it is may close it. Not the
            # method of an SSLSocket, which would take its state away from under that thread.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)

    def expire(self) -> None:
        """End it because its time is over."""
        with self._lock:
            self.late = self.late or not self.why
        self.end(f"it did not end within {self.seconds:.3g} s")

    def check(self) -> None:
        """Go on only while it has not ended.

        Raises:
            Ended: it has.
        """
        if not self.why and time.monotonic() >= self._over:
            self.expire()
        if self.why:
            raise Ended(self.why)

    def _stop(self, why: str) -> None:
        self.end(why)
        raise Ended(why)

    # ---- what the hooks do ----

    def _sends(self, request: Any) -> None:
        self.check()
        remaining = self._over - time.monotonic()
        request.headers["Accept-Encoding"] = "identity"
        request.headers["Connection"] = "close"
        given: Mapping[str, float | None] = request.extensions.get("timeout") or {}
        # Until there is a connection that can be closed; TCP and TLS take `connect` each. The others are for a
        # connection that is not ours to know, from before the exchange; else its end comes first.
        bounds = {"connect": remaining / 2, "read": remaining + 1, "write": remaining + 1, "pool": remaining + 1}
        request.extensions["timeout"] = {
            name: bound if (wanted := given.get(name)) is None else min(wanted, bound) for name, bound in bounds.items()
        }
        request.extensions["trace"] = functools.partial(self._connects, request.extensions.get("trace"))

    def _connects(self, also: Callable[[str, Any], None] | None, event: str, told: Mapping[str, Any]) -> None:
        """Told by httpcore of all that happens to a connection; `also` is who else wants to know."""
        if event.endswith((".connect_tcp.complete", ".connect_unix_socket.complete", ".start_tls.complete")):
            self._keep(told["return_value"])
            try:
                self.check()
            except Ended:
                told["return_value"].close()  # nobody else has it yet
                raise
        if also is not None:
            also(event, told)

    def _keep(self, stream: Any) -> None:
        """Remember the socket of a connection, so that it can be closed."""
        one = stream.get_extra_info("socket") if stream is not None else None
        if isinstance(one, socket.socket):
            with self._lock:
                self._sockets.append(one)

    def _comes(self, response: Any) -> None:
        self._keep(response.extensions.get("network_stream"))
        self.check()
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            self._stop(f"its reply is compressed ({encoding:.40}), which was not asked for")
        if response.has_redirect_location:
            self._check_redirect(response)
        wait = response.headers.get("retry-after", "")
        if response.is_error and wait.isdecimal() and int(wait[:9]) > self._over - time.monotonic():
            self.put_off = response.status_code
            self._stop(f"it answers {response.status_code} and wants to be left alone for {wait[:9]} s")
        announced = response.headers.get("content-length", "")
        if announced.isdecimal():
            self._count(int(announced[:20]), 0)
        library = sys.modules[type(response).__module__.partition(".")[0]]
        response.stream = _counted(library.SyncByteStream)(response.stream, self)

    def _check_redirect(self, response: Any) -> None:
        here = response.request.url
        try:
            there = here.join(response.headers["location"])
        except Exception:  # httpx and httpx2 have each an InvalidURL of its own
            self._stop("it sends on to what is no address")
            return
        if (there.scheme, there.host, there.port) != (here.scheme, here.host, here.port):
            name = f"{there.scheme}://{there.host}" + ("" if there.port is None else f":{there.port}")
            self._stop(f"it sends on to {name:.100}, which is not who was asked")

    def _count(self, expected: int, received: int) -> None:
        self._received += received
        if self._received + expected > self._most:
            self._stop(f"its reply is longer than {self._most:,} bytes")


@functools.cache
def _counted(base: type) -> Any:
    """A byte stream of httpx or httpx2, that counts what it reads and does not outlive its exchange."""

    class Counted(base):
        def __init__(self, stream: Any, exchange: Exchange) -> None:
            self._stream, self._exchange = stream, exchange

        def __iter__(self) -> Iterator[bytes]:
            try:
                for chunk in self._stream:
                    self._exchange.check()
                    self._exchange._count(0, len(chunk))
                    yield chunk
            except Exception:
                self._exchange.check()  # what was shut down ends in whatever error
                raise
            self._exchange.check()  # or in none: a reply of no stated length is over when its connection is

        def close(self) -> None:
            self._stream.close()

    return Counted


def _before(request: Any) -> None:
    exchange = _current.get()
    if exchange is not None:
        exchange._sends(request)


def _after(response: Any) -> None:
    exchange = _current.get()
    if exchange is not None:
        exchange._comes(response)


HOOKS: Mapping[str, list[Callable[[Any], None]]] = {"request": [_before], "response": [_after]}
"""The `event_hooks` of a client whose requests are to be bounded."""


def watch(holder: Any) -> bool:
    """Add the hooks to every client that an object holds, at whatever depth; whether there is one.

    Args:
        holder: such as a chat model, whose class keeps its client where it likes.
    """
    found = False
    for client in _clients(holder):
        found = True
        with _hooking:
            there = client.event_hooks
            client.event_hooks = {
                name: [*there[name], *(hook for hook in hooks if hook not in there[name])]
                for name, hooks in HOOKS.items()
            }
    return found


@contextlib.contextmanager
def until(seconds: float) -> Iterator[None]:
    """Within the block, no exchange of the thread takes longer than this, whatever it is given."""
    token = _end.set(min(time.monotonic() + seconds, _end.get()))
    try:
        yield
    finally:
        _end.reset(token)


def left() -> float:
    """Seconds that `until` leaves, 0 or more; infinite outside of it."""
    return max(0.0, _end.get() - time.monotonic())


def other_scheme(url: str, exc: Exception) -> str:
    """What to write where TLS was spoken to a server that does not, or the other way round; "" where it is not that.

    Args:
        url: of the server.
        exc: the error of httpx with which the request ended.
    """
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLCertVerificationError):
            return "It speaks no TLS there: write http:// for https://."
        cause = cause.__cause__ or cause.__context__
    hung_up = type(exc).__name__ in ("RemoteProtocolError", "ReadError") and url.lower().startswith("http:")
    return "If it speaks TLS there, write https:// for http://." if hung_up else ""


# ---- clients in what holds them ----


def _clients(holder: Any) -> Iterator[Any]:
    """The synchronous clients, nearest first."""
    kinds = tuple(sys.modules[name].Client for name in ("httpx", "httpx2") if sys.modules.get(name))
    seen: set[int] = set()
    waiting = deque([(holder, 0)])
    while waiting and len(seen) < _MOST_LOOKED_AT:
        one, depth = waiting.popleft()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, kinds):
            yield one
        elif depth < _DEEPEST:
            waiting.extend((part, depth + 1) for part in _parts(one))


def _parts(one: Any) -> Iterator[Any]:
    """What an object holds that could hold a client."""
    if isinstance(one, (str, bytes, int, float, type, type(sys), type(_parts))) or one is None:
        return
    if isinstance(one, Mapping):
        yield from list(one.values())
        return
    if isinstance(one, (list, tuple, set, frozenset)):
        yield from list(one)
        return
    for name, value in _lazy(type(one)):
        # Made when it is asked for first. What cannot be made yet, for want of a key, fails then and says why.
        if name not in getattr(one, "__dict__", {}):
            with contextlib.suppress(Exception):
                value.__get__(one, type(one))
    for fields in (getattr(one, "__dict__", None), getattr(one, "__pydantic_private__", None)):
        if isinstance(fields, dict):
            yield from list(fields.values())


def _lazy(kind: type) -> Iterator[tuple[str, Any]]:
    """The clients that a class makes on demand."""
    for base in kind.__mro__:
        for name, value in list(vars(base).items()):
            if isinstance(value, functools.cached_property) and "client" in name and "async" not in name:
                yield name, value
