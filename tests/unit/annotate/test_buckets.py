"""A bucket is a folder; and what goes wrong there is said in a line, the same each time and without secrets.

Here a few lines stand in for S3. `make test-readers` tries more with moto, which is all of S3 in a server, and with an
emulator of Google's storage.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from fo1agent.annotate import arrow as arrow_module
from fo1agent.annotate.arrow import first_line, shown
from fo1agent.annotate.sources import Reader, listing
from fo1agent.errors import FO1AgentError, InputError

fs: Any = pytest.importorskip("pyarrow.fs", reason="the extra annotate is not installed")
if not hasattr(fs, "S3FileSystem"):
    pytest.skip("this pyarrow has no S3", allow_module_level=True)


class _Bucket(BaseHTTPRequestHandler):
    """What pyarrow asks of S3 to list and to read: one bucket, `pics`; another, `closed`, is not ours."""

    files: dict[str, bytes]
    asked: list[str]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path, query = unquote(urlsplit(self.path).path), parse_qs(urlsplit(self.path).query)
        bucket, _, key = path.lstrip("/").partition("/")
        if bucket != "pics":
            code, name = (403, "AccessDenied") if bucket == "closed" else (404, "NoSuchBucket")
            self._send(code, f"<Error><Code>{name}</Code><Message>so it is</Message></Error>".encode())
        elif not key:
            prefix = query.get("prefix", [""])[0]
            found = "".join(
                f"<Contents><Key>{name}</Key><Size>{len(data)}</Size></Contents>"
                for name, data in sorted(self.files.items())
                if name.startswith(prefix)
            )
            self._send(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode())
        elif key not in self.files:
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            data, part = self.files[key], self.headers.get("Range", "")
            first, _, last = part.removeprefix("bytes=").partition("-")
            self._send(206 if part else 200, data[int(first) : int(last) + 1] if part else data)

    do_HEAD = do_GET

    def _send(self, code: int, data: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def bucket(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Bucket]]:
    """Serves the photos as `s3://pics/photos`."""

    class Served(_Bucket):
        files = {  # noqa: RUF012
            f"photos/{path.relative_to(photos).as_posix()}": path.read_bytes() for path in photos.rglob("*.png")
        }
        asked: list[str] = []  # noqa: RUF012

    with ThreadingHTTPServer(("127.0.0.1", 0), Served) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        _point_to(f"http://127.0.0.1:{server.server_port}", monkeypatch)
        yield Served
        server.shutdown()
    arrow_module._of_arrow.cache_clear()


def _point_to(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "s3cret"}
    for name, value in {**told, "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    arrow_module._of_arrow.cache_clear()


NAMES = ["a.png", "b.png", "broken.png", "d.png", "deep/c.png"]


def test_a_bucket_is_listed_and_read_like_a_folder(bucket: type[_Bucket]) -> None:
    bucket.files |= {"asked.jsonl": b'{"image": "photos/a.png"}\n', "photos/50 %20+ü.png": bucket.files["photos/a.png"]}
    found = listing("s3://pics/photos")
    assert [one.picture for one in found.items] == ["50 %20+ü.png", *NAMES]
    assert [Reader()(found.items[k]).size_hw for k in (0, 5)] == [(100, 120)] * 2
    matched = listing("s3://pics/photos/[ab].png").items
    assert [one.picture for one in matched] == ["s3://pics/photos/a.png", "s3://pics/photos/b.png"]
    (asked,) = listing("s3://pics/asked.jsonl").items
    assert Reader()(asked).size_hw == (100, 120)


def test_a_key_in_an_address_opens_it_and_is_told_nowhere(bucket: type[_Bucket]) -> None:
    bucket.files["told.jsonl"] = b'{"image": "s3://me:s3cret@pics/photos/b.png"}\n'
    told = [
        *(one.picture for one in listing("s3://me:s3cret@pics/photos/*.png").items),
        listing("s3://me:s3cret@pics/photos/a.png").items[0].picture,
        listing("s3://me:s3cret@pics/told.jsonl").items[0].picture,
    ]
    assert told == [f"s3://pics/photos/{name}" for name in [*NAMES, "a.png", "b.png"]]
    for source in ("photos/broken.png", "none.png"):
        with pytest.raises(FO1AgentError, match=rf"s3://pics/{source}") as raised:
            Reader()(listing(f"s3://me:s3cret@pics/{source}").items[0])
        assert "s3cret" not in str(raised.value)
    for source in ("none/", "none.json", "none.parquet", "asked.json?"):
        with pytest.raises(FO1AgentError, match=r"s3://pics/") as raised:
            listing(f"s3://me:s3cret@pics/{source}")
        assert "s3cret" not in str(raised.value)
    with pytest.raises(InputError, match=r"s3://…: a secret in the address is not percent-encoded\. Write / as %2F"):
        listing("s3://me:s3/cret@pics/photos")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("s3://nowhere/photos", "cannot be listed: AWS Error NO_SUCH_BUCKET: so it is. Check its name."),
        ("s3://closed/a.json", "cannot be read: AWS Error ACCESS_DENIED. Check the key, and what it may do."),
        ("s3://pics/none", "cannot be listed: Path does not exist 'pics/none/'. Pass a folder or a file."),
        ("s3://pics/none.jsonl", None),
        ("s3://pics/none.parquet", None),
    ],
)
def test_what_is_not_there_or_not_ours_is_said_in_a_line(
    bucket: type[_Bucket], source: str, message: str | None
) -> None:
    with pytest.raises(FO1AgentError) as told:
        listing(source)
    assert str(told.value) == (f"{source} {message}" if message else f"There is no file {source!r}. Check the path.")
    assert len(bucket.asked) <= 2  # there is nothing to try again


def test_a_server_that_is_gone_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        _point_to(f"http://127.0.0.1:{free.getsockname()[1]}", monkeypatch)
        monkeypatch.setattr(arrow_module, "_ATTEMPTS", 1)
        with pytest.raises(FO1AgentError, match=r"NETWORK_CONNECTION: .* Check the network, and AWS_ENDPOINT_URL if"):
            listing("s3://pics/photos")
    arrow_module._of_arrow.cache_clear()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "When reading information for key 'a.jpg' in bucket 'b': AWS Error NETWORK_CONNECTION during HeadObject "
            "operation: curlCode: 7, Could not connect to server; Details: Failed to connect to b after 3 ms",
            "AWS Error NETWORK_CONNECTION: Could not connect to server. Check the network, and AWS_ENDPOINT_URL if it "
            "is set.",
        ),
        (
            "AWS Error SLOW_DOWN (HTTP status 503) during GetObject operation: Later. (Request ID: 0Q8x)",
            "AWS Error SLOW_DOWN: Later",
        ),
        (
            "[Errno 2] google::cloud::Status(NOT_FOUND: Permanent error, with a last message of Received HTTP status "
            "code: 404 error_info={reason=, domain=}). Detail: [errno 2] No such file or directory",
            "NOT_FOUND: Received HTTP status code: 404. Check the names of bucket and file.",
        ),
        (
            "google::cloud::Status(UNAVAILABLE: Retry policy exhausted, with a last message of Could not create a "
            "OAuth2 access token to authenticate the request. The request was not sent, as such a token is required",
            "UNAVAILABLE: Could not create a OAuth2 access token to authenticate the request. Set "
            "GOOGLE_APPLICATION_CREDENTIALS, or write gs://anonymous@ before the name of a public bucket.",
        ),
        ("no such thing\nand a second line", "no such thing"),
    ],
)
def test_what_libraries_say_is_told_without_numbers_that_change(said: str, told: str) -> None:
    assert first_line(OSError(said)) == told


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("s3://key:secret%2Fmore@bucket/a:b@2x.jpg", "s3://bucket/a:b@2x.jpg"),
        ("gs://anonymous@bucket/a.jpg", "gs://anonymous@bucket/a.jpg"),
        ("http://host:8080/a@2x.jpg", "http://host:8080/a@2x.jpg"),
        ("sftp://me:pw@host:22/a.jpg", "sftp://host:22/a.jpg"),
        ("photos/a:b@c.jpg", "photos/a:b@c.jpg"),
    ],
)
def test_a_place_is_shown_without_its_secret(place: str, told: str) -> None:
    assert shown(place) == told


@contextmanager
def _served(package: str, *command: str, **environment: str) -> Iterator[str]:
    """The address of a server that a package has, whose command ends in its port."""
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed: see make test-readers")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = f"http://127.0.0.1:{port}"
    arguments = [sys.executable, "-m", *command, str(port)]
    server = subprocess.Popen(
        arguments, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _until_it_answers(place)
        yield place
    finally:
        server.terminate()
        server.wait()
        arrow_module._of_arrow.cache_clear()


def _until_it_answers(place: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(place).close()
            return
        except urllib.error.HTTPError as answer:
            answer.close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{place} does not answer")


@pytest.fixture
def moto(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of S3 by moto, with the photos in `s3://pictures/photos`, where every key opens everything."""
    # Who asks is looked at only after so many calls.
    with _served("moto", "moto.server", "-p", INITIAL_NO_AUTH_ACTION_COUNT="1000") as place:
        _point_to(place, monkeypatch)
        disk = fs.S3FileSystem(endpoint_override=place, allow_bucket_creation=True)
        disk.create_dir("pictures")
        for path in photos.rglob("*.png"):
            with disk.open_output_stream(f"pictures/photos/{path.relative_to(photos).as_posix()}") as file:
                file.write(path.read_bytes())
        yield place


def test_googles_storage_is_read_like_a_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = ("gcp_storage_emulator", "start", "--in-memory", "--default-bucket=pictures", "--port")
    with _served("gcp_storage_emulator", *start) as place:
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", place)
        for path in photos.rglob("*.png"):
            name = quote(f"photos/{path.relative_to(photos).as_posix()}", safe="")
            asked = f"{place}/upload/storage/v1/b/pictures/o?uploadType=media&name={name}"
            urllib.request.urlopen(urllib.request.Request(asked, path.read_bytes(), method="POST")).close()
        found = listing("gs://anonymous@pictures/photos")
        assert [one.picture for one in found.items] == NAMES
        assert Reader()(found.items[4]).size_hw == (100, 120)
        with pytest.raises(FO1AgentError, match=r"There is no file 'gs://anonymous@pictures/none\.png'"):
            Reader()(listing("gs://anonymous@pictures/none.png").items[0])
        with pytest.raises(InputError, match=r"NOT_FOUND: .* Check the names of bucket and file\."):
            listing("gs://anonymous@nowhere/photos")


def test_all_of_s3_is_read_and_a_key_that_opens_nothing_is_said(moto: str) -> None:
    found = listing("s3://pictures/photos")
    assert [one.picture for one in found.items] == NAMES
    assert Reader()(found.items[4]).size_hw == (100, 120)
    with pytest.raises(InputError, match=r"NO_SUCH_BUCKET: The specified bucket does not exist\. Check its name\."):
        listing("s3://no-such-bucket/photos")
    asked = urllib.request.Request(f"{moto}/moto-api/reset-auth", b"0", {"Content-Type": "application/octet-stream"})
    urllib.request.urlopen(asked).close()
    with pytest.raises(InputError, match=r"INVALID_ACCESS_KEY_ID: .*\. Check the key\."):
        listing("s3://pictures/photos")
    with pytest.raises(FO1AgentError, match=r"ACCESS_DENIED\. Check the key, and what it may do\."):
        Reader()(found.items[0])
