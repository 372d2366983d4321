"""What callers are told where the model's words come from a vLLM, and what the log says."""

from __future__ import annotations

import base64
import io
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from PIL import Image

import fo1agent
from fo1agent.serve.app import create_app
from fo1agent.serve.settings import Settings
from tests.vllm_server import Server, listening, served

PNG = io.BytesIO()
Image.new("RGB", (64, 48)).save(PNG, "PNG")
PICTURE = f"data:image/png;base64,{base64.b64encode(PNG.getvalue()).decode()}"
BOXES = [[1, 1, 20, 20], [30, 10, 60, 40]]
AWAY = {"message": "The model's engine does not answer. Try again in 5 s.", "type": "overloaded", "code": "engine_away"}
FAILED = {
    "message": "The model's engine failed. The server's log says why.",
    "type": "server_error",
    "code": "engine_failed",
}
REFUSED = {
    "message": "The model's engine refuses the request with status 400. The server's log says why.",
    "type": "server_error",
    "code": "engine_refused",
}
TOO_LONG = {"error": {"message": "the prompt is too long for http://inner:9/v1 (key sk-1)."}}


server = listening


@asynccontextmanager
async def talking(engine: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(fo1agent.load(engine=engine), Settings(**settings))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver", timeout=60) as client:
        yield client
    app.service.close()


async def opened(http: httpx.AsyncClient) -> str:
    response = await http.post("/v1/images", json={"data": PICTURE, "boxes": BOXES})
    assert response.status_code == 201
    return response.json()["image"]


def chat(image: str, question: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": image}}]
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], **more}


async def asked(http: httpx.AsyncClient, image: str, word: str) -> list[httpx.Response]:
    """Everything that needs the model's words, asked about something new."""
    return [
        await http.post("/v1/ask", json={"image": image, "question": f"How many {word}s are there?"}),
        await http.post("/v1/tools/count", json={"image": image, "phrase": word}),
        await http.post("/v1/tools/describe", json={"image": image}),
        await http.post("/v1/tools/ask", json={"image": image, "question": f"Is there a {word}?"}),
        await http.post("/v1/chat/completions", json=chat(image, f"How many {word}s are there?")),
    ]


@pytest.mark.parametrize(
    ("said", "headers", "status", "told"),
    [
        ((400, TOO_LONG), {}, 502, REFUSED),
        ((500, {"error": "secret"}), {}, 502, FAILED),
        ((503, b""), {}, 503, AWAY),
        ((429, b""), {"Retry-After": "3600"}, 503, AWAY),
    ],
)
async def test_an_engine_that_gives_no_answer_is_a_bad_gateway(
    server: Server,
    said: Any,
    headers: dict[str, str],
    status: int,
    told: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with talking(server.url) as http:
        image = await opened(http)
        server.answer, server.headers = lambda path, body: said, headers
        with caplog.at_level(logging.ERROR):
            responses = await asked(http, image, "dog")
        server.answer, server.headers = server.vllm, {}
        assert (await asked(http, image, "dog"))[0].json()["answer"]["value"] == 2
    for response in responses:
        assert (response.status_code, response.json()["error"]) == (status, told)
        assert response.headers.get("Retry-After") == ("5" if status == 503 else None)
    lines = caplog.text.splitlines()
    assert len(lines) == len(responses)
    assert all(f"failed: vLLM at {server.url} " in line for line in lines)
    assert all("http://inner:9/v1" in line for line in lines) == (told is REFUSED)  # for who runs it alone


async def test_an_engine_that_is_gone_is_told_in_streams_and_by_the_health_and_may_come_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with served() as server:
        async with talking(server.url) as http:
            image = await opened(http)
            assert (await http.get("/healthz")).json() == {"status": "ok", "model": "tiny", "engine": "ok"}
            server.stop()
            with caplog.at_level(logging.ERROR):
                events = await http.post("/v1/ask", json={"image": image, "question": "Any dog?", "stream": True})
                chunks = await http.post("/v1/chat/completions", json=chat(image, "Any dog?", stream=True))
            health = await http.get("/healthz")
            assert (health.status_code, health.json()["engine"]) == (200, "away")
            with served(server.http.server_port):
                assert (await asked(http, image, "dog"))[1].json()["result"]["value"] == 2
                assert (await http.get("/healthz")).json()["engine"] == "ok"
    assert events.text.rpartition("event: error\n")[2].startswith(
        'data: {"error":{"message":"The model\'s engine does not'
    )
    assert '"code":"engine_away"' in chunks.text.rpartition("\n\ndata: ")[2]
    assert str(server.http.server_port) not in events.text + chunks.text
    assert len(caplog.text.splitlines()) == 2


async def test_an_engine_that_is_silent_holds_nobody_up_for_longer_than_the_deadline(server: Server) -> None:
    over = threading.Event()

    def silent(path: str, body: Any) -> Any:
        over.wait(60)
        return server.vllm(path, body)

    async with talking(server.url, deadline_s=1.0) as http:
        image = await opened(http)
        server.answer = silent
        late = await http.post("/v1/tools/count", json={"image": image, "phrase": "dog"})
        assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline")
        asked = {"image": image, "question": "How many cats are there?"}
        server.answer = server.vllm
        # Under load one second may be too short for an answer; behind the silent request, all of them would be.
        answered = [(await http.post("/v1/ask", json=asked)).status_code for _ in range(20)]
        over.set()
    assert 200 in answered


async def test_a_picture_without_boxes_is_refused_in_words_of_http(server: Server) -> None:
    async with talking(server.url) as http:
        for response in (
            await http.post("/v1/images", json={"data": PICTURE}),
            await http.post("/v1/ask", json={"image": PICTURE, "question": "Is there a dog?"}),
            await http.post("/v1/chat/completions", json=chat(PICTURE, "Is there a dog?")),
        ):
            assert response.status_code == 422
            assert response.json()["error"]["message"] == (
                "tiny makes no proposals of its own. Send the picture to /v1/images with `boxes`, "
                "[[x1, y1, x2, y2], …] in pixels, and go on with its id."
            )
