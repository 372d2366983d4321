"""What each route takes and gives, and how it fails."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from fo1agent.errors import ImageError
from fo1agent.scene import Model, Scene
from fo1agent.serve.app import App, create_app
from fo1agent.serve.gate import Refused
from fo1agent.serve.problems import problem_of
from fo1agent.serve.settings import Settings
from fo1agent.tools.base import tool
from tests import forged
from tests.fakes import ComparingPredictor, FakePredictor

OBJECTS = [((30.0, 10.0, 60.0, 40.0), "bus", 0.9), ((5.0, 5.0, 20.0, 40.0), "person", 0.8)]


def png(color: str = "gray", size: tuple[int, int] = (64, 48)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def data_url(color: str = "gray") -> str:
    return f"data:image/png;base64,{base64.b64encode(png(color)).decode()}"


def app_of(predictor: Any = None, **settings: Any) -> App:
    model = Model(predictor or FakePredictor(OBJECTS), ocr=lambda image, min_score=0.5: [])
    return create_app(model, Settings(**{"batching": False, **settings}))


@asynccontextmanager
async def talking(app: App) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver", timeout=60) as client:
        yield client
    app.service.close()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with talking(app_of()) as client:
        yield client


async def sent(http: httpx.AsyncClient, color: str = "gray") -> str:
    response = await http.post("/v1/images", files={"file": png(color)})
    assert response.status_code == 201
    return response.json()["image"]


def error_of(response: httpx.Response) -> dict[str, Any]:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "code"}
    assert error["message"]
    return error


# ---- pictures ----


async def test_a_picture_is_opened_described_and_forgotten(http: httpx.AsyncClient) -> None:
    opened = await http.post("/v1/images", files={"file": png()})
    body = opened.json()
    assert (body["width"], body["height"], body["model"], body["note"]) == (64, 48, "fake", "")
    assert body["regions"][0] == {
        "id": "r0",
        "label": "bus",
        "score": 0.9,
        "box": [30.0, 10.0, 60.0, 40.0],
        "sure": True,
    }
    image = body["image"]
    assert (await http.get(f"/v1/images/{image}")).json() == body
    pixels = await http.get(f"/v1/images/{image}/pixels")
    assert pixels.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(pixels.content)).size == (64, 48)
    assert (await http.delete(f"/v1/images/{image}")).status_code == 204
    for response in (await http.get(f"/v1/images/{image}"), await http.delete(f"/v1/images/{image}")):
        assert response.status_code == 404
        assert error_of(response)["code"] == "image"


async def test_one_picture_has_one_id_however_it_comes(http: httpx.AsyncClient) -> None:
    by_url = await http.post("/v1/images", json={"data": data_url()})
    assert by_url.json()["image"] == await sent(http)


class Seeing(FakePredictor):
    """Sees a bus in a red picture and a dog in any other."""

    def encode(self, image: Any, proposals: Any = None) -> Any:
        made = super().encode(image, proposals)
        made.source = "bus" if image.pixels.getpixel((0, 0)) == (200, 0, 0) else "dog"
        return made

    def recalled(self, encoding: Any, phrases: Any) -> Any:
        return None

    def match(self, encoding: Any, phrases: Any) -> Any:
        return np.array([[0.9 if phrase == encoding.source else 0.01] * len(encoding.boxes) for phrase in phrases])


def filed(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("batching", [True, False])
async def test_a_forged_id_gets_nobody_elses_picture(batching: bool) -> None:
    async with talking(app_of(Seeing(OBJECTS[:1]), batching=batching)) as http:

        async def opened(image: Image.Image) -> dict[str, Any]:
            return (await http.post("/v1/images", files={"file": filed(image)})).json()

        async def sees(image: str) -> list[int]:
            called = [
                await http.post("/v1/tools/count", json={"image": image, "phrase": phrase}) for phrase in ("bus", "dog")
            ]
            return [one.json()["result"]["value"] for one in called]

        together = await asyncio.gather(*(opened(one) for one in (forged.red(), forged.blue())))
        red, blue = together
        assert forged.SHORT_ID in (red["image"], blue["image"])
        assert red["image"] != blue["image"]
        for told, expected in ((red, [1, 0]), (blue, [0, 1])):
            assert await sees(told["image"]) == await sees(told["key"]) == expected
            assert (await http.post("/v1/tools/look", json={"image": told["image"]})).json()["image"] == told["image"]
            pixels = await http.get(f"/v1/images/{told['image']}/pixels")
            wanted = forged.red() if told is red else forged.blue()
            assert Image.open(io.BytesIO(pixels.content)).tobytes() == wanted.tobytes()

        # Whoever deletes a picture does not get its id for another.
        short, other = (red, forged.blue()) if red["image"] == forged.SHORT_ID else (blue, forged.red())
        await http.delete(f"/v1/images/{forged.SHORT_ID}")
        assert (await opened(other))["image"] != forged.SHORT_ID
        for gone in (short["image"], short["key"]):
            assert (await http.get(f"/v1/images/{gone}")).status_code == 404


async def test_a_picture_with_boxes_has_those_as_regions(http: httpx.AsyncClient) -> None:
    boxes = [[1.0, 2.0, 30.0, 40.0]]
    by_form = await http.post("/v1/images", files={"file": png()}, data={"boxes": json.dumps(boxes)})
    by_json = await http.post("/v1/images", json={"data": data_url(), "boxes": boxes})
    assert by_form.json() == by_json.json()
    image = by_form.json()["image"]
    assert image.startswith(await sent(http) + "-")
    assert [one["box"] for one in by_form.json()["regions"]] == [[1.0, 2.0, 30.0, 40.0]]
    found = await http.post("/v1/tools/look", json={"image": image})
    assert [one["box"] for one in found.json()["result"]["regions"]] in ([], [[1.0, 2.0, 30.0, 40.0]])


async def test_a_tool_answers_with_the_id_that_it_was_asked_by(http: httpx.AsyncClient) -> None:
    plain = (await http.post("/v1/images", json={"data": data_url()})).json()["image"]
    boxed = (await http.post("/v1/images", json={"data": data_url(), "boxes": [[1, 2, 30, 40]]})).json()["image"]
    assert boxed != plain
    for image in (plain, boxed):
        told = await http.post("/v1/tools/count", json={"image": image, "phrase": "bus"})
        assert told.json()["image"] == image


async def test_a_picture_with_boxes_is_told_by_the_handle_that_has_them(http: httpx.AsyncClient) -> None:
    opened = (await http.post("/v1/images", json={"data": data_url(), "boxes": [[1, 2, 30, 40]]})).json()
    for name in (opened["image"], opened["key"]):
        assert (await http.get(f"/v1/images/{name}")).json() == opened
        answer = await http.post("/v1/ask", json={"image": name, "question": "How many cats are there?"})
        assert answer.json()["image"] == opened["image"]


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        ({"files": {"file": b"no picture"}}, 422, "no picture"),
        ({"files": {"other": b"x"}}, 422, "field `file`"),
        ({"files": {"file": png()}, "data": {"boxes": "[[1]]"}}, 422, "boxes"),
        ({"files": {"file": png()}, "data": {"boxes": "[[9, 9, 1, 1]]"}}, 422, "x2 < x1"),
        ({"json": {"data": data_url(), "boxes": [[0.1, 0.1, 0.5, 0.5]]}}, 422, "give pixels: multiply by"),
        ({"json": {}}, 422, "one of the two"),
        ({"json": {"data": "x", "url": "y"}}, 422, "one of the two"),
        ({"json": {"data": "x"}}, 422, "data: URL"),
        ({"json": {"data": "data:image/png;base64,!!"}}, 422, "base64"),
        ({"json": {"url": "/etc/passwd"}}, 422, "http"),
        ({"json": {"url": "http://127.0.0.1/x.png"}}, 422, "fetches no"),
        ({"json": []}, 422, "body"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 422, "body"),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "multipart"),
        ({"content": png(), "headers": {"content-type": "image/png"}}, 415, "multipart"),
        ({"content": png(), "headers": {"content-type": "application/x-www-form-urlencoded"}}, 422, "-F file=@"),
        ({"content": png()}, 422, "-F file=@"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "boundary"),
    ],
)
async def test_what_is_no_picture_is_told(
    http: httpx.AsyncClient, request_: dict[str, Any], status: int, says: str
) -> None:
    response = await http.post("/v1/images", **request_)
    assert response.status_code == status
    assert says in error_of(response)["message"]


async def test_only_allowed_hosts_are_fetched_from() -> None:
    async with talking(app_of(hosts=("example.com",))) as http:
        response = await http.post("/v1/images", json={"url": "http://evil.example/x.png"})
        assert response.status_code == 422
        assert "not one that pictures may be fetched from" in error_of(response)["message"]


async def test_paths_are_opened_only_from_allowed_folders(tmp_path: Any) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png())
    (tmp_path / "b.png").write_bytes(png())
    asked = {"question": "How many buses are there?"}
    async with talking(app_of()) as http:
        response = await http.post("/v1/ask", json={**asked, "image": str(tmp_path / "in" / "a.png")})
        assert response.status_code == 422
    async with talking(app_of(folders=(tmp_path / "in",))) as http:
        inside = await http.post("/v1/ask", json={**asked, "image": str(tmp_path / "in" / "a.png")})
        assert inside.json()["answer"]["value"] == 1
        for path in (tmp_path / "b.png", tmp_path / "in" / ".." / "b.png"):
            assert (await http.post("/v1/ask", json={**asked, "image": str(path)})).status_code == 422


@pytest.mark.parametrize("hosts", [(), ("example.com",)])
async def test_nobody_hears_which_pictures_others_have_open(tmp_path: Any, hosts: tuple[str, ...]) -> None:
    app = app_of(folders=(tmp_path,), hosts=hosts)
    async with talking(app) as http:
        image = await sent(http)
        for name in ("ftp://x", "file:///x", "x://", "gopher:1", "http://", " ", "img_", "img_00000000", "x.png", "-"):
            for path, body in (
                ("ask", {"image": name, "question": "x"}),
                ("tools/count", {"image": name, "phrase": "bus"}),
                ("chat/completions", chat_about(name)),
                ("images", {"url": name}),
            ):
                response = await http.post(f"/v1/{path}", json=body)
                assert response.status_code in (404, 422), (path, name)
                assert image not in response.text
        assert "Open are" not in str(app.service.scenes._told())


@pytest.mark.parametrize("spoilt", [" {}", "{} ", "{}\n", "IMG_0123ABCD", "img_0123"])
async def test_a_misspelt_id_is_told_as_one_and_not_as_a_path(tmp_path: Any, spoilt: str) -> None:
    async with talking(app_of(folders=(tmp_path,))) as http:
        name = spoilt.format(await sent(http))
        response = await http.post("/v1/ask", json={"image": name, "question": "How many buses are there?"})
        assert response.status_code == 404
        assert error_of(response)["message"].startswith(f"No picture {name!r} is open. An id is img_")


async def test_pictures_stay_within_their_bytes() -> None:
    app = app_of(keep_bytes=4 * 64 * 48 * 2)
    async with talking(app) as http:
        images = [await sent(http, color) for color in ("red", "green", "blue")]
        assert list(app.service.scenes.handles) == images[1:]
        assert (await http.get(f"/v1/images/{images[0]}")).status_code == 404


async def test_a_wrong_method_is_told_the_right_ones(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/images/img_00000000")
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == {"GET", "DELETE"}
    error_of(response)
    assert (await http.post("/")).headers["allow"] == "GET"


# ---- tools ----


async def test_tools_are_listed_and_called(http: httpx.AsyncClient) -> None:
    listed = (await http.get("/v1/tools")).json()["tools"]
    assert {"ground", "count", "read"} <= {tool["name"] for tool in listed}
    assert all({"name", "description", "parameters", "result"} == set(tool) for tool in listed)
    for parameters in (one["parameters"] for one in listed):
        assert parameters["required"][0] == "image"
        assert "data: URL" in parameters["properties"]["image"]["description"]
        assert "Leave out" not in parameters["properties"]["image"]["description"]
    image = await sent(http)
    counted = (await http.post("/v1/tools/count", json={"image": image, "phrase": "bus"})).json()
    assert (counted["tool"], counted["image"], counted["ok"], counted["result"]["value"]) == ("count", image, True, 1)
    drawn = (await http.post("/v1/tools/annotate", json={"image": data_url()})).json()
    assert drawn["images"][0]["media_type"] == "image/png"


async def test_what_could_not_be_judged_is_told_by_tools_answers_and_chat(http: httpx.AsyncClient) -> None:
    listed = {tool["name"]: tool["result"] for tool in (await http.get("/v1/tools")).json()["tools"]}
    assert {"value", "at_least", "at_most", "not_judged"} <= listed["count"]["properties"].keys()
    assert listed["annotate"]["properties"].keys() == {"media_type", "width", "height"}  # its picture is in `images`
    image = await sent(http)
    result = (await http.post("/v1/tools/count", json={"image": image, "phrase": "stolen bus"})).json()["result"]
    assert (result["value"], result["at_least"], result["at_most"]) == (None, 0, 1)
    assert (result["not_judged"], result["regions"][0]["label"]) == (["stolen"], "bus")
    asked = {"image": image, "question": "How many stolen buses are there?"}
    answer = (await http.post("/v1/ask", json=asked)).json()["answer"]
    assert (answer["value"], answer["bounds"]) == (None, {"at_least": 0, "at_most": 1})
    assert answer["not_judged"] == ["stolen"]
    assert {region["label"] for region in answer["regions"]} == {"bus"}
    assert answer["steps"][0]["not_judged"] == ["stolen"]
    picture = {"type": "image_url", "image_url": {"url": image}}
    content = [{"type": "text", "text": asked["question"]}, picture]
    chat = {"model": "fake", "messages": [{"role": "user", "content": content}]}
    message = (await http.post("/v1/chat/completions", json=chat)).json()["choices"][0]["message"]
    assert message["fo1agent"]["not_judged"] == ["stolen"]
    assert message["fo1agent"]["bounds"] == {"at_least": 0, "at_most": 1}


@pytest.mark.parametrize(
    ("tool", "arguments", "status", "kind"),
    [
        ("nosuch", {}, 404, "not_found"),
        ("count", {"phrase": "bus", "image": None}, 422, "retry"),
        ("count", {"phrase": "bus", "image": "img_00000000"}, 404, "not_found"),
        ("count", {"phrase": 5}, 422, "retry"),
        ("count", {"phrase": "bus", "colour": "red"}, 422, "retry"),
        ("count", {"phrase": "\ud800"}, 422, "retry"),
        ("read", {"region": "r99"}, 422, "retry"),
    ],
)
async def test_a_call_that_does_not_fit_is_refused(
    http: httpx.AsyncClient, tool: str, arguments: dict[str, Any], status: int, kind: str
) -> None:
    body = {"image": await sent(http), **arguments}
    content = json.dumps(body).encode()
    response = await http.post(f"/v1/tools/{tool}", content=content, headers={"content-type": "application/json"})
    assert response.status_code == status
    assert error_of(response)["type"] == kind


async def test_a_tool_that_fails_says_so(http: httpx.AsyncClient) -> None:
    asked = {"image": await sent(http), "region": "r0", "question": "Who is driving?"}
    response = await http.post("/v1/tools/inspect", json=asked)
    assert (response.status_code, response.json()["ok"]) == (200, False)
    assert "larger model" in response.json()["error"]


async def test_examples_of_another_open_picture_are_found_and_of_none_refused() -> None:
    async with talking(app_of(ComparingPredictor(OBJECTS))) as http:
        here, there = await sent(http), await sent(http, "white")
        for example in (f"{there}/r0", {"image": there, "region": [30, 10, 60, 40]}):
            found = await http.post("/v1/tools/ground", json={"image": here, "like": [example]})
            assert [one["id"] for one in found.json()["result"]["regions"]] == ["r0"]
        absent = await http.post("/v1/tools/ground", json={"image": here, "like": ["img_00000000/r0"]})
        assert absent.status_code == 404
        assert error_of(absent)["code"] == "image"
        sneaked = {"image": data_url("blue"), "region": "r0"}
        refused = await http.post("/v1/tools/ground", json={"image": here, "like": [sneaked]})
        assert refused.status_code == 404
        unknown = await http.post("/v1/tools/ground", json={"image": here, "like": [f"{there}/r9"]})
        assert unknown.status_code == 422
        assert "No region r9" in error_of(unknown)["message"]


# ---- asking ----


async def test_a_question_is_answered(http: httpx.AsyncClient) -> None:
    image = await sent(http)
    asked = {"image": image, "question": "How many people are to the left of the bus?"}
    told = (await http.post("/v1/ask", json=asked)).json()
    assert (told["image"], told["model"], told["answer"]["value"]) == (image, "fake", 1)


async def test_a_question_is_streamed_and_ends_with_its_answer(http: httpx.AsyncClient) -> None:
    asked = {"image": await sent(http), "question": "How many people are to the left of the bus?"}
    response = await http.post("/v1/ask", json={**asked, "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block.split("\n") for block in response.text.strip().split("\n\n")]
    events = [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]
    assert all(name == data["type"] for name, data in events)
    assert [name for name, _ in events][:2] == ["plan", "step_start"]
    assert events[-1][0] == "answer"
    plain = (await http.post("/v1/ask", json=asked)).json()["answer"]
    assert events[-1][1]["answer"]["text"] == plain["text"]


async def test_a_question_goes_back_to_those_before(http: httpx.AsyncClient) -> None:
    image = await sent(http)

    async def told(question: str, *before: str) -> Any:
        asked = {"image": image, "question": question, "before": list(before)}
        plain = (await http.post("/v1/ask", json=asked)).json()["answer"]
        stream = (await http.post("/v1/ask", json={**asked, "stream": True})).text.strip().split("\n\n")[-1]
        assert json.loads(stream.partition("data: ")[2])["answer"]["text"] == plain["text"]
        return plain["value"]

    first, second = "How many people are there?", "How many of them are left of the bus?"
    assert (await told(first), await told(second, first)) == (1, 1)
    assert await told("Is it left of the bus?", first, second, "Where is the person?") is True
    assert await told("What about buses?", first) == 1
    assert await told("Is it left of the bus?") is None  # each request stands by itself


@pytest.mark.parametrize(
    "before", [["Is there a bus?"] * 65, ["x" * 4001], "Is there a bus?", [5], [None], [["Is there a bus?"]], None]
)
async def test_too_much_or_no_text_before_a_question_is_refused(http: httpx.AsyncClient, before: Any) -> None:
    asked = {"image": await sent(http), "question": "Where is it?", "before": before}
    response = await http.post("/v1/ask", json=asked)
    assert response.status_code == 422
    assert "before" in error_of(response)["message"]


async def test_as_much_as_may_be_before_a_question_is_taken(http: httpx.AsyncClient) -> None:
    before = ["x" * 4000] * 63 + ["Is there a bus?"]
    asked = {"image": await sent(http), "question": "Where is it?", "before": before}
    assert (await http.post("/v1/ask", json=asked)).json()["answer"]["value"]


def said(role: str, text: str, *pictures: str) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": picture}} for picture in pictures]
    return {"role": role, "content": [{"type": "text", "text": text}, *parts]}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_goes_back_to_the_users_earlier_messages(http: httpx.AsyncClient, stream: bool) -> None:
    async def answered(*messages: dict[str, Any]) -> str:
        response = await http.post(
            "/v1/chat/completions", json={"messages": messages, "model": "fake", "stream": stream}
        )
        if not stream:
            return response.json()["choices"][0]["message"]["content"]
        told = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: {")]
        deltas = [choice["delta"] for line in told for choice in json.loads(line)["choices"]]
        return "".join(delta.get("content") or "" for delta in deltas)

    image, other = await sent(http), await sent(http, "red")
    opening = [said("user", "Is there a bus?", image), said("assistant", "Yes. Is there a person? Where is it?")]
    assert await answered(*opening, said("user", "Where is it?")) == "The bus is at the right of the picture (r0)."
    assert "“it”" in await answered(said("assistant", "Is there a bus?"), said("user", "Where is it?", image))
    # What was said before another picture came is not about that one.
    assert "“it”" in await answered(*opening, said("user", "Where is it?", other))


async def test_a_stream_that_cannot_begin_is_a_plain_failure(http: httpx.AsyncClient) -> None:
    asked = {"image": "img_00000000", "question": "How many?", "stream": True}
    response = await http.post("/v1/ask", json=asked)
    assert response.status_code == 404
    error_of(response)


class Breaking(FakePredictor):
    def match(self, encoding: Any, phrases: Any) -> Any:
        raise RuntimeError("secret")


async def test_our_own_failures_are_told_without_their_words(caplog: pytest.LogCaptureFixture) -> None:
    async with talking(app_of(Breaking(OBJECTS))) as http:
        asked = {"image": await sent(http), "question": "How many buses are there?"}
        response = await http.post("/v1/ask", json=asked)
        assert response.status_code == 500
        assert "secret" not in response.text
        assert "secret" in caplog.text
        caplog.clear()
        streamed = await http.post("/v1/ask", json={**asked, "stream": True})
        assert "event: error" in streamed.text
        assert "secret" not in streamed.text
        assert "secret" in caplog.text


# ---- limits ----


class Held(FakePredictor):
    """Holds whoever asks it for words."""

    def __init__(self) -> None:
        super().__init__(OBJECTS)
        self.go, self.held = threading.Event(), 0

    def match(self, encoding: Any, phrases: Any) -> Any:
        self.held += 1
        self.go.wait(60)
        return super().match(encoding, phrases)


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.go.set()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"image": "x"', "The body is not JSON"),
        (b'{"question": ' + b"[" * 100_000, "its lists and objects are nested too deep"),
        (b'{"question": ' + b"9" * 5000 + b"}", "a number in it has thousands of digits"),
        (b'{"question": "\xff"}', "it is no UTF-8, at byte 14 (0xff)"),
    ],
)
@pytest.mark.parametrize("path", ["ask", "tools/count", "chat/completions"])
async def test_what_is_wrong_with_a_body_is_told(http: httpx.AsyncClient, path: str, body: bytes, said: str) -> None:
    response = await http.post(f"/v1/{path}", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert said in error_of(response)["message"]
    assert error_of(response)["code"] == "validation"


@pytest.mark.parametrize(
    ("body", "said"), [(b"{", "EOF while parsing"), (b"[" * 9999, "recursion limit exceeded"), (b'"\xff"', "unicode")]
)
async def test_what_is_wrong_with_a_picture_s_body_is_told(http: httpx.AsyncClient, body: bytes, said: str) -> None:
    response = await http.post("/v1/images", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert said in error_of(response)["message"]


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ([("file", ("a.png", png())), ("boxes", (None, "[[0,0,9,9]]")), ("boxes", (None, "[[0,0,5,5]]"))], "boxes"),
        ([("file", ("a.png", png())), ("file", ("b.png", png("red")))], "file"),
        ([("file", (None, "x")), ("file", ("b.png", png("red")))], "file"),
    ],
)
async def test_a_form_that_says_a_thing_twice_is_refused(http: httpx.AsyncClient, parts: Any, name: str) -> None:
    response = await http.post("/v1/images", files=parts)
    assert response.status_code == 422
    assert error_of(response)["message"] == f"The form holds {name!r} more than once. Send it once."


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("list.csv", b"a,b\n1,2\n", "list.csv: looks like text, no picture."),
        ("empty.jpg", b"", "empty.jpg: empty, 0 bytes. It was not written, or not sent, to its end: get it again."),
        ("cut.png", png()[:60], "cut.png: damaged or cut off"),
        ("../../a\x1b[2J\n.png", b"x", "a\\x1b[2J%0A.png: looks like text"),  # %0A is how the client sends it
        ("C:\\x\\" + "n" * 500, b"x", "n" * 80 + ": looks like text"),
    ],
)
async def test_a_picture_that_cannot_be_read_is_called_by_its_name(
    http: httpx.AsyncClient, name: str, content: bytes, said: str
) -> None:
    response = await http.post("/v1/images", files={"file": (name, content)})
    assert response.status_code == 422
    assert error_of(response)["message"].startswith(said)


async def test_a_phone_s_picture_is_asked_for_in_another_form() -> None:
    from fo1agent.pictures.filekinds import HEIC

    problem = problem_of(ImageError(f"IMG_1.HEIC: looks like HEIC, which is not read. {HEIC.advice} Formats read: …"))
    assert "which is not read. Send it as JPEG or PNG. Formats" in problem.message


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (Refused("wait", 3, 0.0, waited_s=2.0), "this has waited 2.0 s, as long as it may. Try again in 3 s."),
        (Refused("wait", 3, 0.04), "this would wait too long, about 0.1 s."),
        (Refused("wait", 3, 11.6), "this would wait too long, about 12 s."),
    ],
)
def test_a_wait_is_told_in_seconds_that_make_sense(refused: Refused, said: str) -> None:
    assert said in problem_of(refused).message


async def test_too_many_requests_are_sent_away(held: Held) -> None:
    async with talking(app_of(held, running=1, waiting=1)) as http:
        image = await sent(http)
        asked = {"image": image, "phrase": "bus"}
        first, second = (asyncio.ensure_future(http.post("/v1/tools/count", json=asked)) for _ in range(2))
        async with asyncio.timeout(60):
            while "fo1agent_waiting 1.0" not in (await http.get("/metrics")).text:
                await asyncio.sleep(0.01)
        response = await http.post("/v1/tools/count", json=asked)
        assert response.status_code == 429
        assert int(response.headers["retry-after"]) >= 1
        assert error_of(response)["code"] == "queue_full"
        held.go.set()
        assert [(await one).status_code for one in (first, second)] == [200, 200]


async def test_a_request_has_a_deadline(held: Held) -> None:
    async with talking(app_of(held, deadline_s=0.5)) as http:
        image = await sent(http)
        response = await http.post("/v1/tools/count", json={"image": image, "phrase": "bus"})
        assert response.status_code == 504
        error_of(response)
        asked = {"image": image, "question": "How many buses are there?", "stream": True}
        streamed = await http.post("/v1/ask", json=asked)
        assert "event: error" in streamed.text
        assert "deadline" in streamed.text


async def test_a_large_body_is_refused_announced_or_not() -> None:
    async with talking(app_of(body_bytes=1000)) as http:

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b"x" * 100

        json_type = {"content-type": "application/json"}
        for content in (b"x" * 2000, pieces()):
            for path in ("/v1/images", "/v1/ask", "/v1/chat/completions"):
                response = await http.post(path, content=content, headers=json_type)
                assert response.status_code == 413, path
                error_of(response)
                content = pieces()


async def test_a_slow_body_is_given_up() -> None:
    async with talking(app_of(body_s=0.2)) as http:

        async def drip() -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0.05)

        response = await http.post("/v1/ask", content=drip(), headers={"content-type": "application/json"})
        assert response.status_code == 408


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"image": ' * 10_000, b"\xff\xfe", b"null", b""])
async def test_json_that_is_none_is_refused(http: httpx.AsyncClient, content: bytes) -> None:
    for path in ("/v1/images", "/v1/ask", "/v1/tools/count", "/v1/chat/completions"):
        response = await http.post(path, content=content, headers={"content-type": "application/json"})
        assert response.status_code in (400, 422)
        error_of(response)


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "Application/JSON; charset=utf-8"])
async def test_json_is_taken_under_the_names_that_curl_gives_it(http: httpx.AsyncClient, kind: str | None) -> None:
    image = await sent(http)
    asked = {
        "/v1/images": {"data": data_url()},
        "/v1/ask": {"image": image, "question": "How many buses are there?"},
        "/v1/tools/count": {"image": image, "phrase": "bus"},
        "/v1/chat/completions": {"model": "fake", "messages": [said("user", "How many buses are there?", image)]},
    }
    headers = {} if kind is None else {"content-type": kind}
    for path, body in asked.items():
        response = await http.post(path, content=json.dumps(body), headers=headers)
        assert response.is_success, response.text
    for path in asked:
        for content in ("a=1&b=2", "[1, 2]", "{", "", "7"):
            response = await http.post(path, content=content, headers=headers)
            assert response.status_code == 422
            assert "JSON" in error_of(response)["message"] or "one of the two" in error_of(response)["message"]


async def test_a_body_of_another_type_is_told_the_right_one(http: httpx.AsyncClient) -> None:
    for path in ("/v1/ask", "/v1/tools/count", "/v1/chat/completions"):
        for kind in ("text/plain", "multipart/form-data; boundary=x", "application/xml"):
            response = await http.post(path, content="{}", headers={"content-type": kind})
            assert response.status_code == 415
            assert "Content-Type: application/json" in error_of(response)["message"]


# ---- who may call ----


async def test_a_token_is_needed_where_one_is_set() -> None:
    async with talking(app_of(token="s3cret")) as http:
        for path in ("/v1/tools", "/metrics", "/v1/models", "/v1/images/img_00000000", "/v1/nosuch"):
            for headers, said in (
                ({}, "A bearer token is needed"),
                ({"authorization": "Bearer wrong"}, "This is not the bearer token"),
                ({"authorization": "Basic s3cret"}, "A bearer token is needed"),
                ({"authorization": "Bearer "}, "A bearer token is needed"),
            ):
                response = await http.get(path, headers=headers)
                assert error_of(response)["message"].startswith(said)
                assert response.status_code == 401
                assert response.headers["www-authenticate"] == "Bearer"
                error_of(response)
        for scheme in ("Bearer", "bearer", "BEARER"):
            response = await http.get("/v1/tools", headers={"authorization": f"{scheme} s3cret"})
            assert response.status_code == 200
        for path in ("/healthz", "/", "/static/app.js"):
            assert (await http.get(path)).status_code == 200


async def test_pages_of_other_origins_may_not_call(http: httpx.AsyncClient) -> None:
    response = await http.get("/v1/tools", headers={"origin": "https://evil.example"})
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers
    assert (await http.get("/v1/tools", headers={"origin": "http://testserver"})).status_code == 200


@pytest.mark.parametrize("origin", ["null", "http://", "testserver", "file://testserver", "http://testserver:81"])
async def test_an_origin_that_only_looks_like_the_servers_own_may_not_call(
    http: httpx.AsyncClient, origin: str
) -> None:
    assert (await http.get("/v1/tools", headers={"origin": origin})).status_code == 403


async def test_pages_of_other_sites_get_no_picture_into_an_img(http: httpx.AsyncClient) -> None:
    image = await sent(http)
    private = (f"/v1/images/{image}/pixels", f"/v1/images/{image}", "/v1/tools", "/v1/models", "/metrics")
    for path in private:
        for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
            response = await http.get(path, headers={"sec-fetch-site": site, "sec-fetch-mode": "no-cors"})
            assert response.status_code == status, (path, site)
            # Where a browser does not say whose page it is, it still asks whether that may have the answer.
            assert response.headers["cross-origin-resource-policy"] == "same-origin"
    for path in ("/", "/static/app.js", "/static/demo/cat.jpg", "/healthz", "/nosuch"):  # a link may lead there
        response = await http.get(path, headers={"sec-fetch-site": "cross-site"})
        assert response.status_code in (200, 404)
        assert response.headers["cross-origin-resource-policy"] == "same-origin"


async def test_pages_of_named_origins_may_call() -> None:
    async with talking(app_of(origins=("https://app.example",), token="t")) as http:
        asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
        preflight = await http.options("/v1/ask", headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        # Refusals as well, so that the page can tell its reader.
        origin = {"origin": "https://app.example"}
        for headers in ({**origin, "authorization": "Bearer t"}, origin):
            response = await http.get("/v1/tools", headers=headers)
            assert response.headers["access-control-allow-origin"] == "https://app.example"
        # <img crossorigin> says where it is from.
        headers = {**origin, "authorization": "Bearer t", "sec-fetch-site": "cross-site"}
        assert (await http.get("/v1/tools", headers=headers)).status_code == 200


async def test_requests_for_another_host_are_refused() -> None:
    async with talking(app_of(names=("127.0.0.1", "localhost", "::1"))) as http:
        for host, status in [
            ("evil.example", 403),
            ("localhost:8080", 200),
            ("[::1]:80", 200),
            ("127.0.0.1.evil.example", 403),
            ("evil.example/@127.0.0.1", 403),
            ("[::1", 403),
        ]:
            assert (await http.get("/v1/tools", headers={"host": host})).status_code == status, host


# ---- upkeep ----


async def test_a_draining_server_takes_on_nothing_new() -> None:
    app = app_of()
    async with talking(app) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok", "model": "fake"}
        app.traffic.draining = True
        health = await http.get("/healthz")
        assert (health.status_code, health.json()["status"]) == (503, "draining")
        response = await http.get("/v1/tools")
        assert response.status_code == 503
        assert health.headers["retry-after"] == response.headers["retry-after"] == "5"
        assert error_of(response)["code"] == "draining"


async def test_figures_are_kept_by_route_and_status(http: httpx.AsyncClient) -> None:
    image = await sent(http)
    await http.get(f"/v1/images/{image}")
    await http.get("/v1/images/img_00000000")
    await http.get("/nosuch")
    figures = (await http.get("/metrics")).text
    route = "/v1/images/{image}"
    assert f'fo1agent_requests_total{{method="GET",route="{route}",status="200"}} 1.0' in figures
    assert f'fo1agent_requests_total{{method="GET",route="{route}",status="404"}} 1.0' in figures
    assert 'fo1agent_requests_total{method="GET",route="other",status="404"} 1.0' in figures
    assert 'fo1agent_request_seconds_bucket{le="0.005",route="/v1/images"}' in figures
    assert 'fo1agent_pictures_total{found="kept"} 1.0' in figures
    assert "fo1agent_pictures_open 1.0" in figures


async def test_two_servers_have_figures_of_their_own(http: httpx.AsyncClient) -> None:
    await sent(http)
    async with talking(app_of()) as other:
        assert 'route="/v1/images"' not in (await other.get("/metrics")).text


async def test_every_answer_is_told_to_be_taken_as_what_it_is(http: httpx.AsyncClient) -> None:
    for path in ("/", "/v1/tools", "/static/app.js", "/nosuch"):
        assert (await http.get(path)).headers["x-content-type-options"] == "nosniff"
    assert "script-src 'self'" in (await http.get("/")).headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd"])
async def test_only_the_pages_own_files_are_served(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 404


async def test_docs_are_served_only_when_asked_for(http: httpx.AsyncClient) -> None:
    assert (await http.get("/openapi.json")).status_code == 404
    async with talking(app_of(docs=True)) as open_:
        assert (await open_.get("/openapi.json")).status_code == 200


# ---- what is asked for is given or refused ----


def chat_about(image: str, **options: Any) -> dict[str, Any]:
    return {"model": "fake", "messages": [said("user", "Where is the bus?", image)], **options}


def offered(*names: str) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in names]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"logprobs": True}, "logprobs: answers have none"),
        ({"n": 2}, "n: there is one answer"),
        ({"temperature": 7}, "temperature: Input should be less than or equal to 2 (got 7)"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"response_format": {"type": "json_schema"}}, "response_format: answers are text"),
        ({"tool_choice": "required"}, "only fo1agent's own tools are called here"),
        ({"tool_choice": {"type": "function", "function": {"name": "ground"}}}, "not offered. Offered are: none"),
        ({"tools": offered("weather"), "tool_choice": "required"}, "only fo1agent's own tools"),
        (
            {"tools": offered("look"), "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "Offered are: look",
        ),
        ({"stream": False, "stream_options": {"include_usage": True}}, "stream_options: they are for stream: true"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls: no tools are offered"),
        ({"max_token": 5}, "no field 'max_token' (did you mean 'max_tokens'?)"),
        ({"messages": [{"role": "user", "content": "Hi", "picture": "x"}]}, "no field 'picture'"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, "input_audio"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}, "'file'"),
        (
            {"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "the user's",
        ),
        ({"messages": [{"role": "assistant", "content": "x", "audio": {"id": "a"}}]}, "audio"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_options_of_a_chat_that_cannot_be_kept_to_are_refused(
    http: httpx.AsyncClient, options: dict[str, Any], told: str, stream: bool
) -> None:
    body = {**chat_about(await sent(http), stream=stream), **options}
    response = await http.post("/v1/chat/completions", json=body)
    assert response.status_code == 422
    assert told in error_of(response)["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("options", "text", "reason"),
    [
        ({}, "The bus is at the right of the picture (r0).", "stop"),
        ({"temperature": 0.2, "seed": 1, "user": "me", "tool_choice": "none"}, None, "stop"),
        ({"stop": [" at"]}, "The bus is", "stop"),
        ({"max_tokens": 2}, "The bus", "length"),
    ],
)
async def test_a_chats_text_ends_where_it_was_asked_to(
    http: httpx.AsyncClient, options: dict[str, Any], text: str | None, reason: str, stream: bool
) -> None:
    image = await sent(http)
    whole = "The bus is at the right of the picture (r0)."
    response = await http.post("/v1/chat/completions", json=chat_about(image, stream=stream, **options))
    if stream:
        told = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: {")]
        choices = [choice for line in told for choice in json.loads(line)["choices"]]
        content = "".join(choice["delta"].get("content") or "" for choice in choices)
        (answer,) = (choice["delta"]["fo1agent"] for choice in choices if "fo1agent" in choice["delta"])
        ended = choices[-1]["finish_reason"]
    else:
        (choice,) = response.json()["choices"]
        content, ended, answer = choice["message"]["content"], choice["finish_reason"], choice["message"]["fo1agent"]
    assert (content, ended) == (text or whole, reason)
    assert (answer["text"], answer["image"], answer["evidence"]) == (whole, image, ["r0"])


async def test_tools_that_a_chat_must_call_are_called_or_it_is_refused(http: httpx.AsyncClient) -> None:
    image = await sent(http)

    async def calls(**options: Any) -> list[tuple[str, dict[str, Any]]]:
        body = chat_about(image, tools=offered("look", "ground"), **options)
        message = (await http.post("/v1/chat/completions", json=body)).json()["choices"][0]["message"]
        made = [one["function"] for one in message["tool_calls"]]
        return [(one["name"], json.loads(one["arguments"])) for one in made]

    both = [("look", {"image": image}), ("ground", {"image": image, "phrase": "bus"})]
    assert await calls() == both  # the picture is the one of the message
    assert await calls(tool_choice="required") == both
    assert await calls(parallel_tool_calls=False) == both[:1]
    assert await calls(tool_choice={"type": "function", "function": {"name": "ground"}}) == both[1:]
    body = chat_about(
        image, tools=offered("look", "read"), tool_choice={"type": "function", "function": {"name": "read"}}
    )
    response = await http.post("/v1/chat/completions", json=body)
    assert response.status_code == 422
    assert "asks for a call of the tool 'read'" in error_of(response)["message"]


BUS = {"id": "r0", "label": "bus", "score": 0.9, "box": [30, 10, 60, 40]}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"regions": [BUS]}, "The bus is at the right of the picture (r0)."),  # as a tool's own route gives its result
        ({}, "the tool 'ground' gave no result that can be read: regions is missing"),
        ({"regions": [{**BUS, "label": "\ud800"}]}, "the tool 'ground' gave no result that can be read"),
        ({"regions": [BUS], "by": 5}, "the tool 'ground' gave no result that can be read: by"),
        ("[" * 5000, "the tool 'ground' gave no result that can be read"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_bears_what_a_tools_message_holds(
    http: httpx.AsyncClient, content: Any, told: str, stream: bool
) -> None:
    image = await sent(http)
    body = chat_about(image, tools=offered("look", "ground"))
    asked = (await http.post("/v1/chat/completions", json=body)).json()["choices"][0]["message"]
    look = (await http.post("/v1/tools/look", json={"image": image})).json()["result"]
    texts = [json.dumps(look), content if isinstance(content, str) else json.dumps(content)]
    calls = zip(asked["tool_calls"], texts, strict=True)
    body["messages"] += [asked, *({"role": "tool", "tool_call_id": one["id"], "content": text} for one, text in calls)]
    response = await http.post("/v1/chat/completions", json={**body, "stream": stream})
    assert response.status_code == 200
    assert told in response.text


@pytest.mark.parametrize("depth", [400, 900, 5000])
async def test_arguments_of_a_call_that_are_nested_without_end_are_refused(http: httpx.AsyncClient, depth: int) -> None:
    body = chat_about(await sent(http), tools=offered("look", "ground"))
    arguments = '{"a":' + "[" * depth + "]" * depth + "}"
    call = {"id": "call_0", "type": "function", "function": {"name": "ground", "arguments": arguments}}
    body["messages"].append({"role": "assistant", "content": None, "tool_calls": [call]})
    response = await http.post("/v1/chat/completions", json=body)
    assert response.status_code == 422
    assert "The arguments of the tool call 'call_0' are not a JSON object" in error_of(response)["message"]


async def test_a_picture_that_comes_with_a_chat_of_tools_is_named_by_its_id(http: httpx.AsyncClient) -> None:
    image = await sent(http)
    body = chat_about(data_url(), tools=offered("look", "ground"))
    message = (await http.post("/v1/chat/completions", json=body)).json()["choices"][0]["message"]
    named = json.loads(message["tool_calls"][0]["function"]["arguments"])["image"]
    assert named.startswith(image)
    assert (await http.get(f"/v1/images/{named}")).json()["image"] == image


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/v1/ask", {"image": "x", "question": "Is there a bus?", "qestion": 1}, "did you mean 'question'?"),
        ("/v1/images", {"data": "data:,", "box": [[0, 0, 9, 9]]}, "no field 'box' (did you mean 'boxes'?)"),
        ("/v1/ask?stream=true", {"image": "x", "question": "Is there a bus?"}, "no query parameters here, got stream"),
        ("/v1/tools/count?phrase=bus", {"image": "x"}, "no query parameters here, got phrase"),
        ("/v1/chat/completions?api-version=1", {}, "no query parameters here"),
    ],
)
async def test_what_no_route_knows_is_refused(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], told: str
) -> None:
    response = await http.post(path, json=body)
    assert response.status_code == 422
    assert told in error_of(response)["message"]


async def test_a_form_with_a_field_that_is_not_known_is_refused(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/images", files={"file": png()}, data={"bboxes": "[]"})
    assert response.status_code == 422
    assert "no field 'bboxes' (did you mean 'boxes'?)" in error_of(response)["message"]


@pytest.mark.parametrize(
    "boxes", ['[{"x1": 1, "y1": 2, "x2": 30, "y2": 40}]', '[["1", "2", "30", "40"]]', "[[[1, 2], [30, 40]]]"]
)
async def test_boxes_of_a_picture_may_be_given_in_any_plain_form(http: httpx.AsyncClient, boxes: str) -> None:
    by_form = await http.post("/v1/images", files={"file": png()}, data={"boxes": boxes})
    by_json = await http.post("/v1/images", json={"data": data_url(), "boxes": json.loads(boxes)})
    for opened in (by_form, by_json):
        assert [one["box"] for one in opened.json()["regions"]] == [[1.0, 2.0, 30.0, 40.0]]


async def test_a_region_has_one_shape_on_every_route(http: httpx.AsyncClient) -> None:
    image = await sent(http)
    wanted = {"id": "r0", "label": "bus", "score": 0.9, "box": [30.0, 10.0, 60.0, 40.0]}
    opened = (await http.get(f"/v1/images/{image}")).json()["regions"][0]
    found = (await http.post("/v1/tools/ground", json={"image": image, "phrase": "bus"})).json()["result"]
    asked = {"image": image, "question": "Where is the bus?"}
    answer = (await http.post("/v1/ask", json=asked)).json()["answer"]
    chat = (await http.post("/v1/chat/completions", json=chat_about(image))).json()["choices"][0]["message"]
    assert opened == {**wanted, "sure": True}
    for regions in (found["regions"], answer["regions"], chat["fo1agent"]["regions"]):
        assert regions == [wanted]
    for one in (answer, chat["fo1agent"]):
        assert (one["evidence"], one["steps"][0]["regions"]) == (["r0"], ["r0"])
    for name in ("r0", f"{image}/r0"):
        again = await http.post("/v1/tools/describe", json={"image": image, "region": name})
        assert again.json()["result"]["regions"][0]["id"] == "r0"


async def test_a_tool_of_ones_own_is_listed_and_called() -> None:
    @tool
    def width_of(scene: Scene, region: str) -> int:
        """How many pixels wide a region is.

        Args:
            region: id of the region, such as r3.
        """
        x1, _, x2, _ = scene.region(region).box
        return round(x2 - x1)

    async with talking(app_of(tools=(width_of,))) as client:
        image = await sent(client)
        listed = (await client.get("/v1/tools")).json()["tools"]
        called = await client.post("/v1/tools/width_of", json={"image": image, "region": "b1_2_31_40"})
    assert "width_of" in [one["name"] for one in listed]
    assert called.json()["result"] == {"value": 30}
