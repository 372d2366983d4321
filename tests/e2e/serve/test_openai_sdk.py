"""OpenAI's own SDK talks to the server, with the nano behind it: plain, streaming, and with tools."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import fo1agent
from fo1agent.integrations.calls import call, openai_messages
from fo1agent.integrations.handles import Scenes
from fo1agent.integrations.schemas import render
from fo1agent.serve.app import create_app
from fo1agent.serve.settings import Settings
from tests.serving import in_thread

openai = pytest.importorskip("openai")

CAT = Path(fo1agent.__file__).parent / "data" / "demo" / "cat.jpg"
PICTURE = f"data:image/jpeg;base64,{base64.b64encode(CAT.read_bytes()).decode()}"
QUESTION = "How many remotes are to the right of the cat?"
ANSWER = "2 remotes are to the right of the cat."
TOKEN = "s3cret"


@pytest.fixture(scope="module")
def model() -> fo1agent.Model:
    return fo1agent.load()


@pytest.fixture(scope="module")
def url(model: fo1agent.Model) -> Iterator[str]:
    with in_thread(create_app(model, Settings(token=TOKEN))) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=TOKEN, timeout=120, max_retries=0) as made:
        yield made


def asked(question: str = QUESTION, picture: str = PICTURE) -> list[Any]:
    parts = [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": picture}}]
    return [{"role": "user", "content": parts}]


def test_the_model_is_listed(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["fo1-nano"]
    assert client.models.retrieve("fo1-nano").owned_by == "fo1agent"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-5")


def test_a_chat_answers_with_text_and_regions(client: Any) -> None:
    told = client.chat.completions.create(model="fo1-nano", messages=asked())
    (choice,) = told.choices
    assert (choice.message.content, choice.finish_reason) == (ANSWER, "stop")
    answer = choice.message.model_extra["fo1agent"]
    assert answer["value"] == 2
    boxes = {region["id"]: region["box"] for region in answer["regions"]}
    assert all(len(boxes[one]) == 4 for one in answer["evidence"])


def test_a_chat_goes_on_about_its_picture(client: Any, url: str) -> None:
    said = [*asked(), {"role": "assistant", "content": ANSWER}, {"role": "user", "content": "Is there a dog?"}]
    assert client.chat.completions.create(model="fo1-nano", messages=said).choices[0].message.content.startswith("No")
    headers = {"authorization": f"Bearer {TOKEN}"}
    image = httpx.post(f"{url}/v1/images", files={"file": CAT.read_bytes()}, headers=headers, timeout=120).json()[
        "image"
    ]
    told = client.chat.completions.create(model="fo1-nano", messages=asked(picture=image))
    assert told.choices[0].message.content == ANSWER


def test_a_chat_is_streamed(client: Any) -> None:
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(model="fo1-nano", messages=asked(), stream=True, stream_options=options)
    )
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == ANSWER
    (answer,) = (delta.model_extra["fo1agent"] for delta in deltas if delta.model_extra)
    assert answer["value"] == 2
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens == 0


def test_the_sdks_own_accumulator_reads_the_stream(client: Any) -> None:
    with client.chat.completions.stream(model="fo1-nano", messages=asked()) as stream:
        assert stream.get_final_completion().choices[0].message.content == ANSWER


async def test_the_asynchronous_client_works_as_well(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=TOKEN, timeout=120) as client:
        told = await client.chat.completions.create(model="fo1-nano", messages=asked())
        assert told.choices[0].message.content == ANSWER


@pytest.mark.parametrize("stream", [False, True])
def test_fo1agents_tools_are_called_by_the_rule_planner(client: Any, model: fo1agent.Model, stream: bool) -> None:
    scenes = Scenes(model)
    scenes.open(CAT)
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    called: list[str] = []
    while (message := spoken(client, messages, stream)).get("tool_calls"):
        assert len(called) < 8
        messages.append(message)
        for one in message["tool_calls"]:
            function = one["function"]
            called.append(function["name"])
            messages += openai_messages(one["id"], call(function["name"], function["arguments"], scenes))
    assert messages[-1]["role"] == "tool"
    assert (message["content"], message["fo1agent"]["value"]) == (ANSWER, 2)
    assert set(called) == {"look", "ground"}


def spoken(client: Any, messages: list[Any], stream: bool) -> dict[str, Any]:
    """The next message of the assistant, streamed or whole."""
    request = {"model": "fo1-nano", "messages": messages, "tools": render("openai")}
    if not stream:
        return client.chat.completions.create(**request).choices[0].message.model_dump(exclude_none=True)
    message: dict[str, Any] = {"role": "assistant"}
    for chunk in client.chat.completions.create(**request, stream=True):
        delta = chunk.choices[0].delta.model_dump(exclude_none=True)
        for one in delta.get("tool_calls", []):
            one.pop("index")
        message.update(delta)
    return message


def test_tools_that_may_not_be_called_are_not(client: Any) -> None:
    told = client.chat.completions.create(
        model="fo1-nano", messages=asked(), tools=render("openai"), tool_choice="none"
    )
    assert told.choices[0].message.content == ANSWER


def test_failures_are_the_sdks_errors(client: Any, url: str) -> None:
    ask = client.chat.completions.create
    with pytest.raises(openai.NotFoundError, match="fo1-nano"):
        ask(model="gpt-5", messages=asked())
    for messages in (asked(picture="https://example.com/x.jpg"), asked(picture="data:image/png;base64,AAAA")):
        for stream in (False, True):
            with pytest.raises(openai.UnprocessableEntityError):
                ask(model="fo1-nano", messages=messages, stream=stream)
    with pytest.raises(openai.UnprocessableEntityError, match="No picture"):
        ask(model="fo1-nano", messages=[{"role": "user", "content": "How many cats are there?"}])
    with pytest.raises(openai.UnprocessableEntityError, match="text"):
        ask(model="fo1-nano", messages=asked(), response_format={"type": "json_object"})
    stranger = openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError):
        stranger.chat.completions.create(model="fo1-nano", messages=asked())
