"""Fetching pictures: the good path against a real server on loopback, and every address that must be refused."""

import contextlib
import gzip
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from fo1agent import exchange
from fo1agent.errors import ImageError
from fo1agent.pictures.image import ImageLimits, load_image

PIXELS = np.random.default_rng(3).integers(0, 256, (12, 20, 3), dtype=np.uint8)
_buffer = io.BytesIO()
Image.fromarray(PIXELS).save(_buffer, "PNG")
PNG = _buffer.getvalue()

LOCAL = ImageLimits(allow_private_hosts=True, timeout_s=10)
HASTY = ImageLimits(allow_private_hosts=True, timeout_s=0.5)


class Handler(BaseHTTPRequestHandler):
    """Serves what the test put into `server.pages`: path → function of the handler."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))  # pyright: ignore[reportAttributeAccessIssue]
        with contextlib.suppress(ConnectionError):
            self.server.pages[self.path.split("?")[0]](self)  # pyright: ignore[reportAttributeAccessIssue]

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server:
    """A server on loopback; `url("/x")` names it."""

    def __init__(self) -> None:
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.pages = {"/ok.png": lambda h: h.reply(200, PNG, Content_Type="image/png")}  # pyright: ignore
        self.http.seen = []  # pyright: ignore[reportAttributeAccessIssue]
        self.pages: dict[str, Callable[[Handler], None]] = self.http.pages  # pyright: ignore
        self.seen: list[tuple[str, dict[str, str]]] = self.http.seen  # pyright: ignore
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def resolve_to(monkeypatch: pytest.MonkeyPatch, **addresses: list[str]) -> list[str]:
    """Let names resolve to what the test says; everything else as usual. Returns the names asked for, in order."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def look_up(host, port, *args, **kwargs):
        asked.append(host)
        if host.replace(".", "_") not in addresses:
            return real(host, port, *args, **kwargs)
        found = []
        for address in addresses[host.replace(".", "_")]:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            found.append((family, socket.SOCK_STREAM, 6, "", (address, port)))
        return found

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_a_picture_is_fetched(server):
    image = load_image(server.url("/ok.png?key=secret#part"), LOCAL)
    assert np.array_equal(np.asarray(image.pixels), PIXELS)
    assert image.source == server.url("/ok.png")  # a query may hold a key
    path, headers = server.seen[0]
    assert path == "/ok.png?key=secret"
    assert headers["Host"] == f"127.0.0.1:{server.port}"
    assert headers["User-Agent"].startswith("fo1agent")


def test_the_scheme_may_be_in_capitals(server):
    assert load_image(server.url("/ok.png").replace("http", "HTTP"), LOCAL)


def test_the_content_decides_not_its_label(server):
    server.pages["/x"] = lambda h: h.reply(200, PNG, Content_Type="text/html")
    server.pages["/y"] = lambda h: h.reply(200, b"<html>login</html>", Content_Type="image/png")
    assert load_image(server.url("/x"), LOCAL).size_hw == (12, 20)
    with pytest.raises(ImageError, match=r"looks like a web page \(HTML\), no picture\. The address"):
        load_image(server.url("/y"), LOCAL)


def test_a_body_without_announced_length_is_read(server):
    def chunked(h: Handler) -> None:
        h.send_response(200)
        h.send_header("Transfer-Encoding", "chunked")
        h.end_headers()
        for part in (PNG[:50], PNG[50:]):
            h.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        h.wfile.write(b"0\r\n\r\n")

    server.pages["/x"] = chunked
    assert load_image(server.url("/x"), LOCAL).size_hw == (12, 20)


def test_redirects_are_followed_relative_ones_too(server):
    server.pages["/a"] = lambda h: h.reply(302, Location="/folder/b")
    server.pages["/folder/b"] = lambda h: h.reply(307, Location="../ok.png")
    assert load_image(server.url("/a"), LOCAL).size_hw == (12, 20)


def test_redirects_in_a_circle_end(server):
    server.pages["/a"] = lambda h: h.reply(301, Location="/a")
    with pytest.raises(ImageError, match="redirected more than 5 times"):
        load_image(server.url("/a"), LOCAL)
    assert len(server.seen) == 6


def test_redirects_may_be_forbidden(server):
    server.pages["/a"] = lambda h: h.reply(301, Location="/ok.png")
    with pytest.raises(ImageError, match="redirected more than 0 times"):
        load_image(server.url("/a"), ImageLimits(allow_private_hosts=True, max_redirects=0))


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("file:///etc/passwd", "only http and https addresses are fetched, not 'file'"),
        ("ftp://example.com/x", "not 'ftp'"),
        ("gopher://127.0.0.1:70/x", "not 'gopher'"),
        ("http://user:pass@example.com/", "a user name or password"),
        ("http://[broken/", "not a valid URL|was not found"),
    ],
)
def test_a_redirect_may_not_lead_elsewhere(server, location, message):
    server.pages["/a"] = lambda h: h.reply(302, Location=location)
    with pytest.raises(ImageError, match=message):
        load_image(server.url("/a"), LOCAL)


@pytest.mark.parametrize("allowed", ["127.0.0.1", "LOCALHOST", "bücher.example", "xn--bcher-kva.example"])
def test_only_hosts_that_were_named_are_asked(server, monkeypatch, allowed):
    asked = resolve_to(monkeypatch, **{"xn--bcher-kva_example": ["127.0.0.1"]})
    limits = ImageLimits(allow_private_hosts=True, hosts=("example.com", allowed))
    assert load_image(server.url("/ok.png", allowed.lower()), limits).size_hw == (12, 20)
    asked.clear()
    for other in ("127.0.0.2", f"{allowed}.other.example", f"x{allowed}", "0x7f000001"):
        with pytest.raises(ImageError, match="not one that pictures may be fetched from"):
            load_image(server.url("/ok.png", other), limits)
    assert asked == []
    with pytest.raises(ImageError, match="not one that pictures"):
        load_image(server.url("/ok.png"), ImageLimits(allow_private_hosts=True, hosts=()))


def test_a_redirect_to_a_host_that_was_not_named_is_refused(server):
    server.pages["/a"] = lambda h: h.reply(302, Location=server.url("/ok.png", "localhost"))
    with pytest.raises(ImageError, match="'localhost' is not one that pictures may be fetched from"):
        load_image(server.url("/a"), ImageLimits(allow_private_hosts=True, hosts=("127.0.0.1",)))
    assert [path for path, _ in server.seen] == ["/a"]


def test_a_redirect_to_nowhere_is_an_error(server):
    server.pages["/a"] = lambda h: h.reply(302)
    with pytest.raises(ImageError, match="without saying where to"):
        load_image(server.url("/a"), LOCAL)


@pytest.mark.parametrize("status", [204, 206, 304, 400, 401, 404, 500, 503])
def test_only_200_carries_a_picture(server, status):
    server.pages["/a"] = lambda h: h.reply(status)
    with pytest.raises(ImageError, match=f"answered {status}"):
        load_image(server.url("/a"), LOCAL)


def test_an_announced_size_above_the_limit_is_not_read(server):
    server.pages["/a"] = lambda h: h.reply(200, b"", Content_Length="999999999")
    with pytest.raises(ImageError, match=r"more than 50000000 bytes \(limit max_bytes\)"):
        load_image(server.url("/a"), LOCAL)


def test_a_stream_that_never_ends_is_cut(server):
    sent = []

    def endless(h: Handler) -> None:
        h.send_response(200)
        h.end_headers()
        while True:
            h.wfile.write(bytes(65536))
            sent.append(65536)

    server.pages["/a"] = endless
    with pytest.raises(ImageError, match="more than 1000000 bytes"):
        load_image(server.url("/a"), ImageLimits(allow_private_hosts=True, max_bytes=1_000_000))
    time.sleep(0.1)
    assert sum(sent) < 20_000_000  # what the sockets' buffers hold, and no more


def test_a_body_that_breaks_off_is_an_error(server):
    def broken(h: Handler) -> None:
        h.reply(200, PNG[:40], Content_Length=str(len(PNG)))
        h.close_connection = True

    server.pages["/a"] = broken
    with pytest.raises(ImageError, match="could not be fetched"):
        load_image(server.url("/a"), LOCAL)


def test_an_encoding_nobody_asked_for_is_refused(server):
    # 1 MB of zeros is 1 kB of gzip: the limit on bytes would count the wrong ones.
    server.pages["/a"] = lambda h: h.reply(200, gzip.compress(bytes(1_000_000)), Content_Encoding="gzip")
    with pytest.raises(ImageError, match="encoding that was not asked for"):
        load_image(server.url("/a"), LOCAL)
    assert server.seen[0][1]["Accept-Encoding"] == "identity"


# Time.


def raw_server(serve: Callable[[socket.socket], None]) -> contextlib.AbstractContextManager[str]:
    """A server that speaks whatever `serve` writes to its first connection."""

    @contextlib.contextmanager
    def running() -> Iterator[str]:
        listener = socket.create_server(("127.0.0.1", 0))

        def accept() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/x.png"
        finally:
            listener.close()
            thread.join(timeout=10)

    return running()


def drip(text: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        for byte in text:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    return serve


@pytest.mark.parametrize(
    "serve",
    [
        lambda connection: connection.recv(1 << 20) and time.sleep(1.5),  # never answers
        drip(b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 60),  # a byte of header now and then
        drip(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 60),  # a byte of body now and then
    ],
    ids=["silent", "dripping headers", "dripping body"],
)
def test_the_time_limit_covers_everything(serve):
    with raw_server(serve) as url:
        start = time.monotonic()
        with pytest.raises(ImageError, match=r"did not finish within 0\.5 s \(limit timeout_s\)"):
            load_image(url, HASTY)
        assert time.monotonic() - start < 1.2


def test_a_question_s_budget_is_a_time_limit_too():
    drips = drip(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 60)
    why = r"did not finish within 0\.\d+ s \(what the question's budget left\)"
    with raw_server(drips) as url, exchange.until(0.3), pytest.raises(ImageError, match=why):
        load_image(url, replace(HASTY, timeout_s=60.0))


def test_the_time_limit_covers_all_redirects_together(server):
    def slow(h: Handler) -> None:
        time.sleep(0.2)
        h.reply(302, Location="/a")

    server.pages["/a"] = slow
    with pytest.raises(ImageError, match=r"did not finish within 0\.5 s"):
        load_image(server.url("/a"), HASTY)


def test_the_time_limit_covers_a_slow_name_server(monkeypatch):
    def never(*args, **kwargs):
        time.sleep(1.5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    start = time.monotonic()
    with pytest.raises(ImageError, match=r"did not finish within 0\.5 s"):
        load_image("http://example.com/x.png", HASTY)
    assert time.monotonic() - start < 1.2


@pytest.mark.parametrize(
    "answer", [b"", b"hello\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000]
)
def test_what_is_not_http_is_an_error(answer):
    def serve(connection: socket.socket) -> None:
        connection.recv(1 << 20)
        with contextlib.suppress(OSError):
            connection.sendall(answer)

    with raw_server(serve) as url, pytest.raises(ImageError, match="could not be fetched"):
        load_image(url, LOCAL)


def test_nobody_listening_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ImageError, match="could not be fetched"):
        load_image(f"http://127.0.0.1:{port}/x.png", LOCAL)


def test_https_is_verified(server):
    # The server speaks no TLS; what matters is that the failure is ours and quick.
    with pytest.raises(ImageError, match="could not be fetched"):
        load_image(server.url("/ok.png").replace("http:", "https:"), LOCAL)


# Addresses.


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.8.8",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "127.1",
        "0.0.0.0",
        "0",
        "10.0.0.1",
        "172.16.5.4",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "198.18.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a00:1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001::1]",
        "[2001:db8::1]",
        "[fc00::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
    ],
)
def test_addresses_that_are_not_public_are_refused(host):
    with pytest.raises(ImageError, match="not a public address"):
        load_image(f"http://{host}:9/x.png")


def test_the_default_limits_refuse_loopback_before_connecting(server):
    with pytest.raises(ImageError, match="not a public address"):
        load_image(server.url("/ok.png"))
    assert server.seen == []


@pytest.mark.parametrize(
    "addresses", [["10.0.0.7"], ["::1"], ["::ffff:192.168.0.1"], ["93.184.215.14", "127.0.0.1"], ["169.254.169.254"]]
)
def test_a_name_of_a_private_address_is_refused(monkeypatch, addresses):
    resolve_to(monkeypatch, picture_example_com=addresses)
    with pytest.raises(ImageError, match=r"'picture\.example\.com' is at .* not a public address"):
        load_image("https://picture.example.com/x.png")


def test_a_redirect_to_a_private_address_is_refused(server, monkeypatch):
    # The first hop passes as public; its target does not.
    monkeypatch.setattr("fo1agent.pictures.fetch._check_public", refuse_only("metadata.internal"))
    resolve_to(monkeypatch, metadata_internal=["127.0.0.1"])
    server.pages["/a"] = lambda h: h.reply(302, Location=f"http://metadata.internal:{server.port}/ok.png")
    with pytest.raises(ImageError, match=r"refused metadata\.internal at 127\.0\.0\.1"):
        load_image(server.url("/a"))
    assert [path for path, _ in server.seen] == ["/a"]


def refuse_only(name: str) -> Callable[[str, str], None]:
    def check(host: str, address: str) -> None:
        if host == name:
            raise ImageError(f"refused {host} at {address}")

    return check


def test_a_name_is_resolved_once_and_that_address_is_used(server, monkeypatch):
    # The second answer, which a rebinding attack would use, would lead nowhere.
    answers = iter([["127.0.0.1"], ["203.0.113.1"]])
    asked = []

    def rebinding(host, port, *args, **kwargs):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(answers)]

    monkeypatch.setattr(socket, "getaddrinfo", only_for("rebind.example.com", rebinding))
    assert load_image(server.url("/ok.png", host="rebind.example.com"), LOCAL).size_hw == (12, 20)
    assert asked == ["rebind.example.com"]
    assert server.seen[0][1]["Host"] == f"rebind.example.com:{server.port}"


def only_for(name: str, resolver: Callable) -> Callable:
    real = socket.getaddrinfo
    return lambda host, *args, **kwargs: (resolver if host == name else real)(host, *args, **kwargs)


def test_the_next_address_is_tried_when_one_does_not_answer(server, monkeypatch):
    resolve_to(monkeypatch, two_example_com=["::1", "127.0.0.1"])
    assert load_image(server.url("/ok.png", host="two.example.com"), LOCAL).size_hw == (12, 20)


def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert load_image(server.url("/ok.png"), LOCAL)


def test_the_certificate_is_checked_against_the_name(monkeypatch):
    """TLS is asked for with the URL's host name although the connection goes to a numeric address."""
    hello: list[str] = []

    def serve(connection: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = lambda sock, name, ctx: hello.append(str(name))
        with contextlib.suppress(ssl.SSLError, OSError):
            context.wrap_socket(connection, server_side=True)

    resolve_to(monkeypatch, secure_example_com=["127.0.0.1"])
    with raw_server(serve) as url:
        port = url.split(":")[2].split("/")[0]
        with pytest.raises(ImageError, match="could not be fetched"):
            load_image(f"https://secure.example.com:{port}/x.png", LOCAL)
    assert hello == ["secure.example.com"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://example.com/x.png", "only http and https addresses are fetched, not 'ftp'"),
        ("file:///etc/passwd", "not 'file'"),
        ("javascript://x", "not 'javascript'"),
        ("http://", "names no host"),
        ("http:///x.png", "names no host"),
        ("http://user:pass@example.com/x.png", "a user name or password"),
        ("http://example.com@127.0.0.1/", "a user name or password"),
        ("http://[::1", "not a valid URL"),
        ("http://a b/", "not a valid URL|was not found"),
        ("http://exa\nmple.com/", "not a valid URL"),
        ("http://example.com:99999999/", "not a valid URL"),
        ("http://example.com:0/", "not a valid URL"),
        ("http://example.com:x/", "not a valid URL"),
        ("http://" + "a" * 300 + ".com/", "was not found|not a valid URL"),
        ("http://a..b/", "was not found|not a valid URL"),
        ("http://no-such-host.invalid/", "was not found"),
        ("http://example.com/" + "a" * 100_000, "not a valid URL"),
    ],
)
def test_malformed_urls_are_image_errors(url, message):
    with pytest.raises(ImageError, match=message) as caught:
        load_image(url)
    assert len(str(caught.value)) < 400
    assert "pass@" not in str(caught.value)
