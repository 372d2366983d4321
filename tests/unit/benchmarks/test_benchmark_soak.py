"""Whether the soak of benchmarks/serve.py finds what is wrong with a server, and nothing with one that is sound."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fo1agent.scene import Model
from fo1agent.serve.app import create_app
from fo1agent.serve.settings import Settings
from tests.fakes import FakePredictor
from tests.serving import in_thread

OBJECTS = [((10.0 + 40 * k, 60.0, 45.0 + 40 * k, 300.0), ("person", "bus")[k % 2], 0.9) for k in range(8)]


@pytest.fixture
def soak(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(repo / "benchmarks"))
    module = importlib.import_module("soak")
    monkeypatch.setattr(module, "SAMPLE", 6)
    return module


def figures(soak: Any, predictor: FakePredictor, wrap: Callable[[Any], Any] = lambda app: app, **settings: Any) -> Any:
    """Of a soak of 100 answers, however long they take; every figure of memory aside, which is that of the tests."""
    app = create_app(Model(predictor, ocr=lambda image, min_score=0.5: []), Settings(batching=False, **settings))
    app.add_middleware(wrap)  # pyright: ignore[reportArgumentType]
    with in_thread(app) as url:
        run = soak.Soak(soak.Served(url, os.getpid()), 6)
        run.clock = lambda: (run.statuses.total() + run.lost) / 100
        asyncio.run(run.soak(1.0))
    told = run.figures(1.0) | {"exit": 0}
    told["memory, MB"] = {"most": 0, "bound": 0, "growth": 0.0}
    return told


def test_a_sound_server_holds_every_bar(soak: Any) -> None:
    told = figures(soak, FakePredictor(OBJECTS))
    assert (soak.missed(told), told["wrong"]) == ([], [])
    assert told["kinds"]["open"]["accepted"] > 0
    assert told["asked again"] > 0
    assert (told["shed"], told["lost"]) == (0, 0)


def test_what_is_refused_is_told_by_its_share_and_is_no_failure(soak: Any) -> None:
    told = figures(soak, FakePredictor(OBJECTS), running=1, waiting=0)
    assert soak.missed(told) == []
    assert told["shed"] > 0


def test_answers_that_change_are_found(soak: Any) -> None:
    app = create_app(Model(FakePredictor(OBJECTS), ocr=lambda image, min_score=0.5: []), Settings(batching=False))
    with in_thread(app) as url:
        run = soak.Soak(soak.Served(url, os.getpid()), 1)

        async def ask_again(*told: dict[str, Any]) -> None:
            async with httpx.AsyncClient(base_url=url, timeout=60) as http:
                for one in told:
                    asked = {"tool": "count", "phrase": "bus"}
                    await run._ask_again(http, soak.Sampled("find", 0, 1, asked, one))

        asyncio.run(ask_again({"value": 5}))
        now = json.loads(run.not_again[0].rpartition(", now ")[2])
        asyncio.run(ask_again(now, {**now, "value": now["value"] + 1}))
    assert (run.again, len(run.not_again)) == (3, 2)


class Failing:
    """Some requests are answered by an error, or with an answer about nothing."""

    def __init__(self, app: Any) -> None:
        self.app, self.n = app, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.n += scope["type"] == "http" and scope["path"].startswith("/v1/tools")
        if scope["type"] == "http" and scope["path"].startswith("/v1/tools") and self.n % 3 < 2:
            head = [(b"content-type", b"application/json"), (b"content-length", b"2")]
            status = 500 if self.n % 3 else 200
            await send({"type": "http.response.start", "status": status, "headers": head})
            await send({"type": "http.response.body", "body": b"{}"})
        else:
            await self.app(scope, receive, send)


def test_answers_that_fail_or_are_none_are_found(soak: Any) -> None:
    told = figures(soak, FakePredictor(OBJECTS), Failing)
    missed = soak.missed(told)
    assert {"answers are wrong", "requests failed", "the server counts otherwise"} <= set(missed)
    assert any(name.endswith(" 500") for name in told["failed"])


class Vanishing(Failing):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        tool = scope["type"] == "http" and scope["path"].startswith("/v1/tools")
        self.n += tool
        if tool and self.n % 3 == 0:
            head = [(b"content-length", b"1000")]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
            raise ConnectionAbortedError  # the connection is closed before the answer is whole
        await self.app(scope, receive, send)


def test_answers_that_are_lost_are_found(soak: Any) -> None:
    told = figures(soak, FakePredictor(OBJECTS), Vanishing)
    assert told["lost"] > 0
    assert "answers are lost" in soak.missed(told)


def test_numbers_may_differ_a_little_and_all_else_not_at_all(soak: Any) -> None:
    one = {"text": "2 cats", "regions": [{"score": 0.5, "box": [1.0, 2.0]}], "seconds": 3.0, "value": 2}
    assert soak.alike(one, {**one, "seconds": 9.0, "regions": [{"score": 0.51, "box": [1.0, 2.0]}]})
    for other in (
        {**one, "value": 3},
        {**one, "text": "3 cats"},
        {**one, "regions": []},
        {**one, "regions": [{"score": 0.6, "box": [1.0, 2.0]}]},
        {**one, "more": None},
    ):
        assert not soak.alike(one, other)
