"""Sloppy data URLs and spent files, through every door that takes them."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import types
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from fo1agent.errors import ImageError, InputError
from fo1agent.integrations.handles import Scenes
from fo1agent.pictures.image import is_data_url, load_image
from fo1agent.scene import Model
from tests.fakes import FakePredictor
from tests.small_picture import encode, is_read

PNG = encode()
HEIC = b"\0\0\0\x18ftypheix" + bytes(40)


# ---- data URLs ----

PLAIN = base64.b64encode(PNG).decode()
URL_SAFE = base64.urlsafe_b64encode(PNG).decode()
DATA_URLS = {
    "blanks around": f"  data:image/png;base64,{PLAIN} \n",
    "a blank after the comma": f"data:image/png;base64, {PLAIN}",
    "in lines": f"data:image/png;base64,{PLAIN[:60]}\r\n\t{PLAIN[60:]}",
    "in lines, escaped": f"data:image/png;base64,{PLAIN[:60]}%0A%20{PLAIN[60:]}",
    "escaped": f"data:image/png;base64,{urllib.parse.quote(PLAIN, safe='')}",
    "not padded": f"data:image/png;base64,{PLAIN.rstrip('=')}",
    "padded too much": f"data:image/png;base64,{PLAIN.rstrip('=')}====",
    "the alphabet of URLs": f"data:image/png;base64,{URL_SAFE}",
    "the alphabet of URLs, not padded": f"data:image/png;base64,{URL_SAFE.rstrip('=')}",
    "a blank before the mark": f"data:image/png; base64,{PLAIN}",
    "a blank after the mark": f"data:image/png;base64 ,{PLAIN}",
    "a parameter before the mark": f"data:image/png;charset=utf-8;base64,{PLAIN}",
    "a parameter after the mark": f"data:image/png;base64;charset=utf-8,{PLAIN}",
    "the mark forgotten": f"data:image/png,{PLAIN}",
    "no type": f"data:;base64,{PLAIN}",
    "a wrong type": f"data:text/html;base64,{PLAIN}",
    "in capitals": f"DATA:IMAGE/PNG;BASE64,{PLAIN}",
    "a fragment": f"data:image/png;base64,{PLAIN}#top",
    "not base64": f"data:image/png,{urllib.parse.quote(PNG)}",
}


@pytest.mark.parametrize("url", DATA_URLS.values(), ids=DATA_URLS)
def test_a_sloppy_data_url_is_read(url: str) -> None:
    assert is_data_url(url)
    assert is_read(url)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_base64_of_any_length_is_padded(cut: int) -> None:
    data = PNG + bytes(cut)
    assert is_read("data:;base64," + base64.b64encode(data).decode().rstrip("="))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("data:image/png;base64,iVBOR", "not valid base64: 5 letters, so it is cut off"),
        ("data:image/png;base64,iVBO R", "so it is cut off. Blanks stand in it: were they"),
        ("data:image/png;base64,iV*BOR", r"the character '\*' at 2"),
        ("data:image/png;base64,iV=BORw0", "the character '=' at 2"),
        (f"data:image/png;base64,data:image/png;base64,{PLAIN}", "the character ':' at 4"),
        ("data:image/png,hello", "looks like text"),
        ("data:image/svg+xml;utf8,<svg xmlns='x'/>", "looks like SVG"),
        ("data:,%00%01", "no picture that can be recognised"),
        (f'"data:image/png;base64,{PLAIN}"', "begin it with data:"),
        (PLAIN, "If it is base64, put data:image/png;base64, before it"),
    ],
)
def test_a_broken_data_url_says_where(url: str, says: str) -> None:
    with pytest.raises(ImageError, match=says) as caught:
        load_image(url)
    assert len(str(caught.value)) < 400


def test_blanks_are_no_way_around_what_callers_may_open(tmp_path: Path) -> None:
    scenes = Scenes(Model(FakePredictor([])), folders=[tmp_path])
    for address in (" http://127.0.0.1:9/x.png", "\nhttps://127.0.0.1:9/x.png", " data:image/png;base64,iVBO"):
        with pytest.raises(InputError, match="it may not be opened"):
            scenes.get(address)


async def test_a_server_takes_the_same_data_urls() -> None:
    from fo1agent.serve.app import create_app
    from fo1agent.serve.settings import Settings

    app = create_app(Model(FakePredictor([((10, 5, 40, 25), "bus", 0.9)])), Settings(batching=False))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
        usual = (await http.post("/v1/images", files={"file": PNG})).json()["image"]
        for url in (DATA_URLS["blanks around"], DATA_URLS["in capitals"], DATA_URLS["the mark forgotten"]):
            assert (await http.post("/v1/images", json={"data": url})).json()["image"] == usual
            called = await http.post("/v1/tools/count", json={"image": url, "phrase": "bus"})
            assert called.json()["result"]["value"] == 1
        asked = {"role": "user", "content": [{"type": "text", "text": "How many buses are there?"}]}
        asked["content"].append({"type": "image_url", "image_url": {"url": DATA_URLS["blanks around"]}})  # pyright: ignore
        answer = await http.post("/v1/chat/completions", json={"model": "fake", "messages": [asked]})
        assert answer.json()["choices"][0]["message"]["content"].startswith("There is 1 bus")
        refused = await http.post("/v1/images", files={"file": HEIC})
        assert (refused.status_code, "looks like HEIC" in refused.json()["error"]["message"]) == (422, True)
    app.service.close()


# ---- file objects ----


def test_a_file_that_was_read_before_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(PNG)
    spent = io.BytesIO(PNG)
    spent.read()
    assert is_read(spent)
    assert is_read(spent)
    with path.open("rb") as file:
        assert is_read(file)
        assert is_read(file)
        file.seek(1000)  # not at its end: read from where it stands
        with pytest.raises(ImageError, match="no picture"):
            load_image(file)


def closed() -> Any:
    file = io.BytesIO(PNG)
    file.close()
    return file


def pipe(data: bytes) -> Any:
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    return os.fdopen(read, "rb")


def spent_pipe() -> Any:
    file = pipe(PNG)
    file.read()
    return file


def reader(give: Callable[[], Any]) -> Any:
    return types.SimpleNamespace(read=lambda size: give())


def fail() -> Any:
    raise RuntimeError("the line is dead")


async def coroutine() -> bytes:
    return PNG


def closed_picture() -> Image.Image:
    image = Image.open(io.BytesIO(PNG))
    image.close()
    return image


def picture_of_closed_file() -> Image.Image:
    file = io.BytesIO(PNG)
    image = Image.open(file)
    file.close()
    return image


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (closed, "file: it is closed. Open it again, or pass its path"),
        (spent_pipe, "nothing is left to read. It is empty, or was read before"),
        (lambda: io.BytesIO(b""), "file: empty, 0 bytes"),
        (lambda: io.StringIO("x"), "binary mode"),
        (lambda: io.BufferedWriter(io.BytesIO()), "not open for reading"),  # pyright: ignore[reportArgumentType]
        (lambda: reader(lambda: 10**12), "gave a int, not bytes"),
        (lambda: reader(lambda: None), "has no bytes yet"),
        (lambda: reader(coroutine), "has to be awaited"),
        (lambda: reader(fail), "cannot be read .the line is dead"),
        (lambda: types.SimpleNamespace(read=lambda: PNG), "cannot be read"),
        (closed_picture, "PIL image: it, or its file, was closed before it was loaded"),
        (picture_of_closed_file, "PIL image: it, or its file, was closed before it was loaded"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(make: Callable[[], Any], says: str) -> None:
    source = make()
    with pytest.raises(ImageError, match=says):
        load_image(source)
    with contextlib.suppress(Exception):
        source.close()


def test_a_pipe_is_read_once() -> None:
    with pipe(PNG) as file:
        assert is_read(file)
