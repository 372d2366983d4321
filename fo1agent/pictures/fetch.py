"""Fetch the bytes of a picture from an http(s) address that a stranger may have written.

The name is resolved once, every address it has is checked, and the connection goes to an address that was checked, so
a name cannot mean one thing when it is looked at and another when it is used. This happens inside the network layer,
hence again for each redirect. One deadline covers names, connections, headers and body. The request carries the real
host name, so certificates and virtual hosts work. Proxies from the environment are not used: they would resolve the
name again. What the bytes are is none of this module's business; nor is the file system.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Collection, Iterable
from typing import Any

import httpcore
import httpx

from fo1agent import exchange
from fo1agent.errors import ImageError

_USER_AGENT = b"fo1agent (+https://pypi.org/project/fo1agent)"
_REDIRECTS = (301, 302, 303, 307, 308)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def fetch(
    url: str,
    *,
    max_bytes: int,
    timeout_s: float,
    max_redirects: int,
    allow_private_hosts: bool,
    hosts: Collection[str] | None = None,
) -> bytes:
    """The body that `url` answers with.

    Args:
        url: http or https; any other scheme is refused, also as the target of a redirect.
        max_bytes: the transfer is cut off as soon as it is longer than this.
        timeout_s: seconds for everything together, redirects included; less where a question's budget leaves less.
        max_redirects: how many redirects are followed.
        allow_private_hosts: also connect to private, loopback, link-local and other addresses that are not public.
        hosts: the only hosts that are asked, on any port, also after a redirect; None for all.

    Raises:
        ImageError: the address is refused, does not answer in time, answers with an error, or sends too much.
    """
    deadline = _Deadline(timeout_s, url)
    network = _CheckedNetwork(deadline, allow_private_hosts)
    # httpx's own context: its certificates, or those that SSL_CERT_FILE names.
    with httpcore.ConnectionPool(ssl_context=httpx.create_ssl_context(), network_backend=network) as pool:
        target = _parse(url)
        for _ in range(max_redirects + 1):
            _check_host(target, hosts)
            status, headers, body = _get(pool, target, max_bytes, deadline)
            if status not in _REDIRECTS:
                break
            if "location" not in headers:
                raise ImageError(f"{_short(target)} answered {status} (a redirect) without saying where to.")
            target = _parse(headers["location"], base=target)
        else:
            raise ImageError(
                f"{_short(url)} was redirected more than {max_redirects} times (limit max_redirects). "
                "Pass the final address."
            )
    if status != 200:
        raise ImageError(f"{_short(target)} answered {status}; a picture comes with 200. Check the address.")
    return body


def _parse(url: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        parsed = base.join(url) if base else httpx.URL(url)
    except (httpx.InvalidURL, ValueError, TypeError) as exc:
        raise ImageError(f"{_short(url)} is not a valid URL: {exc}.") from exc
    if parsed.scheme not in ("http", "https"):
        raise ImageError(f"{_short(url)}: only http and https addresses are fetched, not {parsed.scheme!r}.")
    if not parsed.host:
        raise ImageError(f"{_short(url)}: the URL names no host.")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise ImageError(f"{_short(url)} is not a valid URL: a port is a number from 1 to 65535.")
    if parsed.userinfo:
        raise ImageError(f"{_short(parsed)}: a user name or password in the URL is refused. Fetch it yourself.")
    return parsed


def _check_host(url: httpx.URL, hosts: Collection[str] | None) -> None:
    """Refuse a host that is not among those allowed; `URL` gives both in the same lower-case ASCII form."""
    if hosts is not None and url.raw_host not in {_parse(f"http://{host}").raw_host for host in hosts}:
        raise ImageError(f"{_short(url)}: the host {url.host[:80]!r} is not one that pictures may be fetched from.")


def _get(
    pool: httpcore.ConnectionPool, url: httpx.URL, max_bytes: int, deadline: _Deadline
) -> tuple[int, httpx.Headers, bytes]:
    """Status, headers and, for 200, the body of one GET."""
    request = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    asked = [
        (b"Host", url.netloc),
        (b"User-Agent", _USER_AGENT),
        (b"Accept", b"image/*"),
        (b"Accept-Encoding", b"identity"),
    ]
    try:
        with pool.stream("GET", request, headers=asked) as response:
            headers = httpx.Headers(response.headers)
            if response.status != 200:
                return response.status, headers, b""
            if headers.get("content-encoding", "identity").lower() != "identity":
                raise ImageError(f"{_short(url)} answered in an encoding that was not asked for. Fetch it yourself.")
            return 200, headers, _read(response.iter_stream(), headers, url, max_bytes)
    except (httpcore.TimeoutException, TimeoutError) as exc:
        raise deadline.passed() from exc
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError, ssl.SSLError) as exc:
        raise ImageError(f"{_short(url)} could not be fetched: {str(exc) or type(exc).__name__}.") from exc


def _read(chunks: Iterable[bytes], headers: httpx.Headers, url: httpx.URL, max_bytes: int) -> bytes:
    too_long = ImageError(f"{_short(url)} sends more than {max_bytes} bytes (limit max_bytes).")
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise too_long
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise too_long
    return bytes(body)


class _Deadline:
    """One point in time that every step of a fetch must be done by."""

    def __init__(self, seconds: float, url: str) -> None:
        self.seconds = min(seconds, exchange.left())
        self.limit = "limit timeout_s" if self.seconds == seconds else "what the question's budget left"
        self.url = url
        self.end = time.monotonic() + self.seconds

    def left(self) -> float:
        """Seconds left, more than 0; raises `ImageError` when there are none."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def passed(self) -> ImageError:
        return ImageError(f"{_short(self.url)} did not finish within {self.seconds:.3g} s ({self.limit}).")


class _CheckedNetwork(httpcore.NetworkBackend):
    """Connects only to addresses that were checked, with timeouts that end at the deadline."""

    def __init__(self, deadline: _Deadline, allow_private_hosts: bool) -> None:
        self._deadline = deadline
        self._allow_private_hosts = allow_private_hosts
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        addresses = _resolve(host, port, self._deadline)
        if not self._allow_private_hosts:
            for address in addresses:
                _check_public(host, address)
        for i, address in enumerate(addresses):
            try:
                stream = self._sockets.connect_tcp(address, port, timeout=self._deadline.left())
            except httpcore.ConnectError:
                # A machine without IPv6 still has names with both kinds of address: try the next one.
                if i + 1 == len(addresses):
                    raise
            else:
                return _DeadlineStream(stream, self._deadline)
        raise ImageError(f"The host {host!r} has no address.")


class _DeadlineStream(httpcore.NetworkStream):
    """A connection whose every wait ends at the deadline, so a server that drips headers or bytes cannot hold us."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left())
        return _DeadlineStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _resolve(host: str, port: int, deadline: _Deadline) -> list[str]:
    """The numeric addresses of a name, without repeats, in the system's order of preference.

    The system's resolver takes no timeout, so it runs in a thread that is left behind when the time is over.
    """
    answer: queue.SimpleQueue[list[Any] | OSError | UnicodeError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answer.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as exc:
            answer.put(exc)

    threading.Thread(target=look_up, daemon=True).start()
    try:
        found = answer.get(timeout=deadline.left())
    except queue.Empty:
        raise deadline.passed() from None
    if isinstance(found, Exception):
        raise ImageError(f"The host {host[:80]!r} was not found: {found}.") from found
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _check_public(host: str, address: str) -> None:
    """Refuse an address that is not on the public internet."""
    ip = ipaddress.ip_address(address)
    meant = _embedded_v4(ip) or ip
    # Python calls some unassigned and site-local IPv6 space global; only 2000::/3 is routed.
    routed = isinstance(meant, ipaddress.IPv4Address) or int(meant) >> 125 == 1
    if not (routed and meant.is_global and not meant.is_multicast):
        raise ImageError(
            f"The host {host[:80]!r} is at {address}, which is not a public address. Private, loopback, link-local, "
            "multicast and reserved addresses are refused. Get the picture yourself and pass the file."
        )


def _embedded_v4(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address of a transition scheme leads to."""
    if isinstance(ip, ipaddress.IPv4Address):
        return None
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


def _short(url: str | httpx.URL) -> str:
    """The URL for a message: no query, which may hold a key, no password, and not too long."""
    text = str(url)
    if isinstance(url, httpx.URL):
        text = str(url.copy_with(query=None, fragment=None, username=None, password=None))
    else:
        text = text.split("?", 1)[0].split("#", 1)[0]
        scheme, mark, rest = text.partition("://")
        text = scheme + mark + rest.rsplit("@", 1)[-1]
    return text if len(text) <= 120 else text[:117] + "…"
