"""The stream of a question tells how far the picture is opened that came with it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.unit.agent.test_opening import ByTiles
from tests.unit.serve.test_serve_app import OBJECTS, app_of, data_url, talking

QUESTION = "How many people are there?"


async def streamed(http: httpx.AsyncClient, image: str) -> tuple[int, list[dict[str, Any]]]:
    told = await http.post("/v1/ask", json={"image": image, "question": QUESTION, "stream": True})
    return told.status_code, [json.loads(line[6:]) for line in told.text.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("batching", [True, False])
async def test_a_picture_that_is_sent_along_is_told_of_tile_by_tile(batching: bool) -> None:
    async with talking(app_of(ByTiles(OBJECTS), batching=batching)) as http:
        status, events = await streamed(http, data_url())
        assert status == 200
        assert events[:4] == [{"type": "opening", "done": done, "count": 3} for done in range(4)]
        assert [one["type"] for one in events[4:]] == ["plan", *["step_start", "step_end"] * 2, "answer"]
        assert events[-1]["answer"]["value"] == 1
        _, again = await streamed(http, data_url())  # it is open
        assert again[0]["type"] == "plan"


async def test_what_fails_before_the_first_tile_has_a_status_and_later_an_event() -> None:
    predictor = ByTiles(OBJECTS)
    predictor.fails_at = 1
    async with talking(app_of(predictor)) as http:
        status, told = await streamed(http, "data:image/png;base64,AAAA")
        assert (status, told) == (422, [])
        status, events = await streamed(http, data_url())
        assert status == 200
        assert [one.get("type") for one in events] == ["opening", "opening", None]
        assert events[-1]["error"]["message"] == "it fails."


async def test_a_chat_hears_nothing_of_tiles() -> None:
    async with talking(app_of(ByTiles(OBJECTS))) as http:
        parts = [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": data_url()}}]
        asked = {"model": "fake", "messages": [{"role": "user", "content": parts}], "stream": True}
        told = (await http.post("/v1/chat/completions", json=asked)).text
        assert "opening" not in told
        assert "1 person" in told
