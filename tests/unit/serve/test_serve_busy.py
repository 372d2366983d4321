"""A server with more to do than it can: what it refuses and when, what goes on meanwhile, and what it may hold."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from fo1agent.scene import Model
from fo1agent.serve.app import create_app
from fo1agent.serve.settings import Settings
from tests.fakes import FakePredictor
from tests.serving import in_thread, until

OBJECTS = [((30.0, 10.0, 60.0, 40.0), "bus", 0.9), ((5.0, 5.0, 20.0, 40.0), "person", 0.8)]
LONG_S = 0.3
JSON = {"content-type": "application/json"}


class Opening(FakePredictor):
    """Its first encoding takes a while, and all later ones as long as they are held."""

    def __init__(self) -> None:
        super().__init__(OBJECTS)
        self.go, self.encodes = threading.Event(), 0

    def encode(self, image: Any, proposals: Any = None) -> Any:
        self.encodes += 1
        if self.encodes == 1:
            time.sleep(LONG_S)
        else:
            self.go.wait(60)
        return super().encode(image, proposals)


@contextmanager
def serving(predictor: FakePredictor, **settings: Any) -> Iterator[httpx.Client]:
    model = Model(predictor, ocr=lambda image, min_score=0.5: [])
    app = create_app(model, Settings(**{"batching": False, **settings}))
    with in_thread(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def png(color: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), color).save(file, "PNG")
    return file.getvalue()


def data_url(color: str) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(color)).decode()}"


def figure(http: httpx.Client, name: str) -> float:
    """A figure of /metrics, by its name and labels."""
    lines = [line for line in http.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(lines[0].split()[-1]) if lines else 0.0


@pytest.fixture
def predictor() -> Iterator[Opening]:
    made = Opening()
    yield made
    made.go.set()


@pytest.fixture
def http(predictor: Opening) -> Iterator[httpx.Client]:
    """A server that has opened the red picture and knows how long that takes; one at a time may be opened."""
    with serving(predictor, opening=1, max_wait_s=LONG_S / 2) as client:
        assert client.post("/v1/images", json={"data": data_url("red")}).status_code == 201
        yield client


@pytest.fixture
def opening(predictor: Opening, http: httpx.Client) -> Iterator[Future[httpx.Response]]:
    """The blue picture, which is being opened for as long as it is held."""
    with ThreadPoolExecutor(1) as threads:
        made = threads.submit(httpx.post, f"{http.base_url}/v1/images", files={"file": png("blue")}, timeout=60)
        until(lambda: predictor.encodes == 2)
        yield made
        predictor.go.set()


def check_refusal(response: httpx.Response) -> None:
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("overloaded", "busy")
    assert f"Try again in {response.headers['retry-after']} s." in error["message"]


def test_a_picture_that_would_wait_too_long_is_refused_and_what_is_quick_goes_on(
    predictor: Opening, http: httpx.Client, opening: Future[httpx.Response]
) -> None:
    check_refusal(http.post("/v1/images", files={"file": png("green")}))
    image = http.post("/v1/images", json={"data": data_url("red")})
    check_refusal(image)  # what is sent is not known before it is read
    asked = {"image": data_url("red"), "phrase": "bus"}
    assert http.post("/v1/tools/count", json=asked).json()["result"]["value"] == 1  # what was sent before is known
    message = {
        "role": "user",
        "content": [
            {"type": "text", "text": "How many buses are there?"},
            {"type": "image_url", "image_url": {"url": data_url("red")}},
        ],
    }
    answer = http.post("/v1/chat/completions", json={"model": "fake", "messages": [message]})
    assert answer.json()["choices"][0]["message"]["content"] == "There is 1 bus."
    for path in ("ask", "tools/count", "tools/zoom"):  # a new picture waits with those that are opened
        body = {"image": data_url("green"), "question": "How many buses are there?", "phrase": "bus"}
        body = {name: body[name] for name in ("image", "question" if path == "ask" else "phrase")}
        check_refusal(http.post(f"/v1/{path}", json=body))
    stream = {"image": data_url("green"), "question": "How many buses are there?", "stream": True}
    check_refusal(http.post("/v1/ask", json=stream))

    assert figure(http, 'fo1agent_shed_total{kind="open",why="wait"}') == 6
    assert figure(http, 'fo1agent_requests_total{method="POST",route="/v1/images",status="503"}') == 2
    predictor.go.set()
    assert opening.result(60).status_code == 201
    assert http.post("/v1/images", files={"file": png("green")}).status_code == 201
    assert figure(http, 'fo1agent_wait_seconds_count{kind="open"}') == 3


def test_a_refusal_does_not_wait_for_the_body_and_keeps_the_connection(
    http: httpx.Client, opening: Future[httpx.Response]
) -> None:
    body = b"x" * 5_000_000
    with socket.create_connection(("127.0.0.1", http.base_url.port or 0)) as raw:
        raw.settimeout(60)
        raw.sendall(
            b"POST /v1/images HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: multipart/form-data; boundary=x\r\n"
            b"content-length: %d\r\n\r\n" % len(body)
        )
        assert told(raw).startswith(b"HTTP/1.1 503")
        raw.sendall(body)  # thrown away
        raw.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        assert told(raw).startswith(b"HTTP/1.1 200")


def told(raw: socket.socket) -> bytes:
    """The next answer on a connection."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = raw.recv(1)
        assert piece
        got += piece
    length = next(int(line.split(b":")[1]) for line in got.lower().split(b"\r\n") if line.startswith(b"content-length"))
    left = length
    while left:
        piece = raw.recv(left)
        assert piece
        left -= len(piece)
        got += piece
    return got


# ---- what a server holds ----


def half_sent(http: httpx.Client, size: int) -> socket.socket:
    """A connection with a request of so many bytes, of which the last is missing."""
    raw = socket.create_connection(("127.0.0.1", http.base_url.port or 0))
    head = f"POST /v1/ask HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {size}\r\n\r\n"
    raw.sendall(head.encode() + b" " * (size - 1))
    return raw


def test_bodies_that_are_here_have_one_bound_together() -> None:
    size = 600_000
    with serving(FakePredictor(OBJECTS), held_bytes=1_000_000, body_s=60) as http:
        body = json.dumps({"image": "img_00000000", "question": "x"}).ljust(size)
        with half_sent(http, size):
            until(lambda: figure(http, "fo1agent_held_bytes") == size - 1)
            response = http.post("/v1/ask", content=body, headers=JSON)
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")
            assert response.json()["error"]["code"] == "memory"
            assert figure(http, 'fo1agent_shed_total{kind="any",why="memory"}') == 1
        until(lambda: figure(http, "fo1agent_held_bytes") == 0)
        assert http.post("/v1/ask", content=body, headers=JSON).status_code == 404


def test_one_body_is_never_too_much_alone() -> None:
    with serving(FakePredictor(OBJECTS), held_bytes=1000) as http:
        body = json.dumps({"data": data_url("red")}).ljust(5000)
        assert http.post("/v1/images", content=body, headers=JSON).status_code == 201
        assert figure(http, "fo1agent_held_bytes") == 0


def test_answers_that_nobody_takes_let_no_more_be_made() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", quality=10)
    with serving(FakePredictor(OBJECTS), held_bytes=1_000_000, body_bytes=2_000_000) as http:
        image = http.post("/v1/images", files={"file": file.getvalue()}).json()["image"]
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect(("127.0.0.1", http.base_url.port or 0))
            raw.settimeout(60)
            raw.sendall(f"GET /v1/images/{image}/pixels HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
            until(lambda: figure(http, "fo1agent_held_bytes") > 5_000_000)
            response = http.get(f"/v1/images/{image}")
            assert (response.status_code, response.json()["error"]["code"]) == (503, "memory")
            assert http.get("/healthz").status_code == 200
            picture = told(raw).split(b"\r\n\r\n", 1)[1]
        with Image.open(io.BytesIO(picture)) as whole:
            assert whole.size == (2000, 1500)
            whole.load()
        until(lambda: figure(http, "fo1agent_held_bytes") == 0)
        assert http.get(f"/v1/images/{image}").status_code == 200


@pytest.mark.parametrize("announced", [True, False])
def test_who_sends_too_much_hears_of_it_and_may_go_on(announced: bool) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(200):
            yield b"x" * 100_000

    with serving(FakePredictor(OBJECTS), body_bytes=1_000_000) as http:
        for _ in range(5):  # a connection that is cut off is not always noticed
            content = b"x" * 20_000_000 if announced else pieces()
            response = http.post("/v1/ask", content=content, headers=JSON)
            assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
            assert http.get("/healthz").status_code == 200
        assert figure(http, "fo1agent_held_bytes") == 0
