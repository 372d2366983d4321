"""What hosts of tools are told where the model's words come from a vLLM that gives none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from PIL import Image

import fo1agent
from fo1agent.errors import EngineError
from fo1agent.integrations.calls import call
from fo1agent.integrations.handles import Scenes
from fo1agent.pictures.image import ImageLimits
from fo1agent.regions.regions import Regions
from tests.vllm_server import Server, listening

server = listening


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    return tmp_path


def model_of(server: Server, boxes: bool = True) -> Any:
    found = Regions(np.array([[1.0, 1, 20, 20], [30, 10, 60, 40]]), np.ones(2), (None,) * 2, ("r0", "r1"), "test")
    return fo1agent.load(engine=server.url, proposer=(lambda image: found) if boxes else None)


def test_a_provider_s_call_raises_what_no_arguments_can_mend(server: Server, folder: Path) -> None:
    scenes = Scenes(model_of(server), folders=[folder])
    given = {"image": str(folder / "a.png"), "phrase": "dog"}
    assert call("count", given, scenes).to_dict()["result"]["value"] == 2
    server.answer = lambda path, body: (400, {"message": "no boxes"})
    with pytest.raises(EngineError, match="refuses the request: no boxes"):
        call("count", {**given, "phrase": "cat"}, scenes)


def test_a_tool_of_langchain_raises_it_and_answers_when_vllm_is_back(server: Server, folder: Path) -> None:
    langchain = pytest.importorskip("fo1agent.integrations.langchain")
    toolkit = langchain.FO1Toolkit(model_of(server), [folder / "a.png"])
    agent = langchain.create_visual_agent("rules", toolkit=toolkit)
    question = {"messages": [("user", "How many dogs are there?")]}
    server.answer = lambda path, body: (503, b"")
    with pytest.raises(EngineError, match="answers 503"):
        agent.invoke(question)
    server.answer = server.vllm
    assert agent.invoke(question)["messages"][-1].text == "There are 2 dogs."


def test_a_host_of_mcp_is_told_in_a_line_and_in_words_of_its_own(server: Server, folder: Path) -> None:
    mcp = pytest.importorskip("mcp", reason="the extra mcp is not installed")
    from fo1agent.integrations.mcp import make_server

    async def said(boxes: bool) -> str:
        made = make_server(lambda: model_of(server, boxes), ImageLimits(folders=(folder,), hosts=()))
        async with mcp.Client(made) as client:
            server.answer = lambda path, body: server.vllm(path, body) if path == "/v1/models" else (500, b"")
            result = await client.call_tool("count", {"image": "a.png", "phrase": "dog"})
        assert result.is_error
        return result.content[0].text

    assert anyio.run(said, True) == f"vLLM at {server.url} answers 500: Internal Server Error."
    assert anyio.run(said, False).startswith(
        "tiny makes no proposals of its own. Start fo1agent mcp with --proposer NAME, such as rt-detr-r18. Paths may"
    )
