"""A light install, with what requirements-light.txt names and the extras `mcp` and `serve`, does what a full one does.

It is a fresh process in which every other package of this environment is not to be found. What does need one of those
ends in one line with what to install.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tool_calls import CALLS, FAILS

# argv[1]: the modules that are not there.
LIGHT = """
import json, sys
from importlib.machinery import PathFinder
gone = frozenset(json.loads(sys.argv.pop(1)))
class Light(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in gone else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Light
"""
COMMAND = LIGHT + "from fo1agent.cli import main; main()"
# Prints the error of each tool, if it has one, and what an agent of LangChain, a server and torch's names said.
IN_PYTHON = (
    LIGHT
    + """
import fo1agent as fo
from fastapi.testclient import TestClient
from fo1agent.agent.asking import with_asking
from fo1agent.cli.doctor import examine
from fo1agent.integrations.langchain import create_visual_agent
from fo1agent.serve.app import create_app

calls, found = json.loads(sys.argv.pop(1)), {}
model = fo.load()
scene = model.open("cat.jpg")
for name, tool in with_asking(fo.registry()).items():
    found[name] = tool.call(scene, calls[name]).error
agent = create_visual_agent("rules", ["cat.jpg"])
found["langchain"] = agent.invoke({"messages": [("user", "How many remotes are there?")]})["messages"][-1].text
with TestClient(create_app(model), base_url="http://127.0.0.1") as client, open("cat.jpg", "rb") as picture:
    image = client.post("/v1/images", files={"file": picture}).json()["image"]
    asked = client.post("/v1/ask", json={"image": image, "question": "How many remotes are there?"})
    found["served"] = asked.json()["answer"]["text"]
found["doctor"] = [(one.name, one.ok) for _, one in zip(range(3), examine())]
for name in ("FO1", "FO1Processor"):
    try:
        getattr(fo, name)
    except fo.MissingExtraError as exc:
        found[name] = str(exc)
print(json.dumps(found))
"""
)


@pytest.fixture(scope="module")
def gone(repo: Path) -> str:
    """The modules here that a light install has not, as JSON."""
    lines = (repo / "requirements-light.txt").read_text(encoding="utf-8").splitlines()
    extras = tomllib.loads((repo / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    wanted = [line for line in lines if not line.startswith("#")] + extras["mcp"] + extras["serve"]
    there = {"fo1agent", *_led_to(wanted)}
    modules = packages_distributions().items()
    return json.dumps(sorted(module for module, of in modules if not there & set(map(canonicalize_name, of))))


def _led_to(wanted: Sequence[str]) -> set[str]:
    """The distributions that pip would install for these requirements."""
    found: set[str] = set()
    left = [(Requirement(line), "") for line in wanted]
    while left:
        one, extra = left.pop()
        if one.marker and not one.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(one.name)
        if name in found and not one.extras:
            continue
        found.add(name)
        try:
            needs = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:  # of another platform
            continue
        left += [(need, with_extra) for with_extra in ("", *one.extras) for need in needs]
    return found


@pytest.fixture
def folder(repo: Path, tmp_path: Path) -> Path:
    """A folder with the photograph of a cat and two remotes in it, as `cat.jpg`."""
    shutil.copy(repo / "fo1agent" / "data" / "demo" / "cat.jpg", tmp_path / "cat.jpg")
    return tmp_path


def light(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python code, run in the folder by a process without those modules."""
    words = [sys.executable, "-c", code, *arguments]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)


def test_what_is_gone_is_what_is_large(gone: str) -> None:
    assert {"torch", "torchvision", "transformers", "accelerate"} <= set(json.loads(gone))
    assert not {"onnxruntime", "numpy", "rapidocr", "cv2", "langchain", "mcp", "fastapi"} & set(json.loads(gone))


def test_the_demo_question_is_answered(folder: Path, gone: str) -> None:
    run = light(folder, COMMAND, gone, "ask", "cat.jpg", "How many remotes are there?", "--html", "answer.html")
    assert (run.stdout, run.returncode) == ("There are 2 remotes.\n", 0), run.stderr
    assert (folder / "answer.html").is_file()


def test_tools_an_agent_and_a_server_work(folder: Path, gone: str) -> None:
    run = light(folder, IN_PYTHON, gone, json.dumps(CALLS))
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    torch = {name: found.pop(name) for name in ("FO1", "FO1Processor")}
    assert torch["FO1"].startswith("fo1agent.FO1 needs torch, which is not installed: pip install ")
    assert torch["FO1Processor"].startswith("fo1agent.FO1Processor needs torch, which is not installed: pip install ")
    assert (found.pop("langchain"), found.pop("served")) == ("There are 2 remotes.", "There are 2 remotes.")
    assert found.pop("doctor") == [["python", True], ["packages", True], ["torch", False]]
    assert found == {name: FAILS.get(name, "") for name in CALLS}


def test_mcp_counts_over_stdio(folder: Path, gone: str) -> None:
    anyio = pytest.importorskip("anyio")
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client

    arguments = ["-c", COMMAND, gone, "mcp"]
    server = StdioServerParameters(command=sys.executable, args=arguments, env={**os.environ}, cwd=folder)

    async def count() -> Any:
        async with Client(stdio_client(server)) as client:
            return await client.call_tool("count", {"image": "cat.jpg", "phrase": "remote"})

    assert anyio.run(count).structured_content["value"] == 2


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("ask", "cat.jpg", "Is there a cat?", "--engine", "torch"), "Engine torch needs torch"),
        (
            ("count", "cat.jpg", "cat", "--proposer", "transformers:detr"),
            "A proposer of transformers needs transformers",
        ),
        (("train", "align"), "This command needs transformers"),
    ],
)
def test_what_needs_torch_says_so_in_a_line(folder: Path, gone: str, arguments: Sequence[str], what: str) -> None:
    run = light(folder, COMMAND, gone, *arguments)
    assert (run.stdout, run.returncode) == ("", 1)
    assert run.stderr.startswith(f"error: {what}, which is not installed: pip install ")
    assert [word in run.stderr for word in ("torch", "torchvision", "transformers")] == [True] * 3
    assert run.stderr.count("\n") == 1
