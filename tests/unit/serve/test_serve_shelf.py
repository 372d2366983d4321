"""Servers behind one address that share their pictures: what one has opened, the others find."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from fo1agent.scene import Model
from fo1agent.serve.app import App, create_app
from fo1agent.serve.settings import Settings
from fo1agent.serve.shelf import Pictures, Sent
from tests import forged
from tests.fakes import ComparingPredictor

OBJECTS = [((30.0, 10.0, 60.0, 40.0), "bus", 0.9), ((5.0, 5.0, 20.0, 40.0), "person", 0.8)]


class Shelf:
    """Pictures of the servers of this process."""

    def __init__(self) -> None:
        self.kept: dict[str, Sent] = {}
        self.apps: list[App] = []

    def put(self, key: str, sent: Sent) -> None:
        self.kept[key] = sent

    def get(self, key: str) -> Sent | None:
        return self.kept.get(key)

    def forget(self, key: str) -> bool:
        for app in self.apps:
            app.service.scenes.close(key)
        return self.kept.pop(key, None) is not None


def filed(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


PHOTO = filed(Image.new("RGB", (64, 48), "gray"))
URL = f"data:image/png;base64,{base64.b64encode(PHOTO).decode()}"


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def servers(shelf: Shelf, tmp_path: Path) -> AsyncIterator[list[httpx.AsyncClient]]:
    settings = Settings(batching=False, folders=(tmp_path,))
    shelf.apps += [create_app(Model(ComparingPredictor(OBJECTS)), settings, shelf) for _ in range(2)]
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver", timeout=60)
            )
            for app in shelf.apps
        ]
    for app in shelf.apps:
        app.service.close()


async def opened(http: httpx.AsyncClient, file: bytes = PHOTO, **fields: str) -> dict[str, Any]:
    response = await http.post("/v1/images", files={"file": file}, data=fields)
    assert response.status_code == 201
    return response.json()


async def test_a_picture_is_the_same_at_every_server(servers: list[httpx.AsyncClient]) -> None:
    first, second = servers
    sent = await opened(first)
    assert sent["image"] == sent["key"]
    assert (await second.get(f"/v1/images/{sent['image']}")).json() == sent
    counted = await second.post("/v1/tools/count", json={"image": sent["image"], "phrase": "bus"})
    assert counted.json()["result"]["value"] == 1


async def test_boxes_go_with_their_picture(servers: list[httpx.AsyncClient]) -> None:
    first, second = servers
    sent = await opened(first, boxes="[[30, 10, 60, 40]]")
    assert (await second.get(f"/v1/images/{sent['image']}")).json() == sent
    assert [region["box"] for region in sent["regions"]] == [[30.0, 10.0, 60.0, 40.0]]


async def test_so_do_examples_of_another_picture(servers: list[httpx.AsyncClient]) -> None:
    first, second = servers
    here = (await opened(first))["image"]
    there = (await opened(first, filed(Image.new("RGB", (64, 48), "white"))))["image"]
    found = await second.post("/v1/tools/ground", json={"image": here, "like": [f"{there}/r0"]})
    assert [one["id"] for one in found.json()["result"]["regions"]] == ["r0"]


@pytest.mark.parametrize("way", ["data", "file"])
async def test_so_does_a_picture_that_came_with_a_question(
    servers: list[httpx.AsyncClient], tmp_path: Path, way: str
) -> None:
    (tmp_path / "bus.png").write_bytes(PHOTO)
    first, second = servers
    meant = URL if way == "data" else str(tmp_path / "bus.png")
    answer = (await first.post("/v1/ask", json={"image": meant, "question": "Is there a bus?"})).json()
    again = await second.post("/v1/ask", json={"image": answer["image"], "question": "Is there a bus?"})
    assert again.status_code == 200
    assert again.json()["answer"]["text"] == answer["answer"]["text"]


async def test_a_picture_that_is_closed_is_closed_everywhere(servers: list[httpx.AsyncClient]) -> None:
    first, second = servers
    image = (await opened(first))["image"]
    assert (await second.get(f"/v1/images/{image}")).status_code == 200
    assert (await second.delete(f"/v1/images/{image}")).status_code == 204
    for http in servers:
        assert (await http.get(f"/v1/images/{image}")).status_code == 404
        assert (await http.delete(f"/v1/images/{image}")).status_code == 404


async def test_pictures_with_one_short_id_are_told_apart_whichever_server_has_them(
    servers: list[httpx.AsyncClient],
) -> None:
    first, second = servers
    red, blue = await opened(first, filed(forged.red())), await opened(second, filed(forged.blue()))
    assert red["image"] != blue["image"]
    for http in servers:
        assert (await http.get(f"/v1/images/{red['image']}")).json()["key"] == red["key"]
        assert (await http.get(f"/v1/images/{blue['image']}")).json()["key"] == blue["key"]


async def test_what_nobody_has_is_not_found(servers: list[httpx.AsyncClient]) -> None:
    assert (await servers[0].get(f"/v1/images/img_{'0' * 64}")).status_code == 404


def test_pictures_that_were_used_long_ago_make_place() -> None:
    pictures = Pictures(most_bytes=10)
    for key in ("a", "b"):
        pictures.put(key, (b"12345", None))
    assert pictures.get("a") == (b"12345", None)
    pictures.put("c", (b"12345", None))
    assert [pictures.get(key) is not None for key in ("a", "b", "c")] == [True, False, True]
    pictures.put("large", (b"12345678901", None))
    assert [pictures.get(key) is not None for key in ("a", "c", "large")] == [False, False, True]
    assert (pictures.forget("large"), pictures.forget("large"), pictures.get("large")) == (True, False, None)
