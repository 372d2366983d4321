"""What commands say where `--engine` names a vLLM, and what of a vLLM that gives no answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fo1agent.cli import main
from tests.vllm_server import Server, listening, served

server = listening


@pytest.fixture
def picture(tmp_path: Path) -> str:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    (tmp_path / "boxes.json").write_text(json.dumps([[1, 1, 20, 20], [30, 10, 60, 40]]), encoding="utf-8")
    return str(tmp_path / "a.png")


def run(picture: str, server: Server, *words: str) -> Result:
    boxes = str(Path(picture).with_name("boxes.json"))
    return CliRunner().invoke(main, [*words, "--engine", server.url, "--boxes", boxes])


COMMANDS = [
    ("ask", "How many dogs are there?"),
    ("ground", "dog"),
    ("count", "dog"),
    ("describe",),
    ("point", "dog"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_vllm_that_refuses_or_fails_is_one_line_and_exit_1(server: Server, picture: str, command: Any) -> None:
    name, *words = command
    assert run(picture, server, name, picture, *words).exit_code == 0
    for said, told in {
        (400, b'{"error": {"message": "no boxes"}}'): "refuses the request: no boxes.",
        (500, b""): "answers 500: Internal Server Error.",
    }.items():
        server.answer = lambda path, body, said=said: server.vllm(path, body) if path == "/v1/models" else said
        ended = run(picture, server, name, picture, *words)
        assert (ended.exit_code, ended.stdout) == (1, "")
        assert ended.stderr == f"error: vLLM at {server.url} {told}\n"


def test_of_several_pictures_each_says_so(server: Server, picture: str) -> None:
    server.answer = lambda path, body: server.vllm(path, body) if path == "/v1/models" else (400, {"message": "no"})
    ended = run(picture, server, "ask", picture, picture, "Is there a dog?")
    assert ended.exit_code == 1
    assert ended.stdout.count(f"a.png: error: vLLM at {server.url} refuses the request: no.") == 2


@pytest.mark.parametrize("command", [("ask", "Is there a dog?"), ("chat",), ("annotate", "count", "dog")])
def test_a_command_names_the_ways_to_boxes_that_it_has(server: Server, picture: str, command: Any) -> None:
    name, *words = command
    words += ["--out", f"{picture}.out"] if name == "annotate" else []
    ended = CliRunner().invoke(main, [name, picture, *words, "--engine", server.url])
    ways = "--boxes FILE.json, or --proposer NAME" if name == "ask" else "--proposer NAME"
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr.endswith(
        f"error: A model in vLLM makes no proposals of its own. Add {ways}, such as rt-detr-r18.\n"
    )


def test_nobody_at_the_address_is_one_line_and_exit_1(picture: str) -> None:
    with served() as server:
        pass
    ended = run(picture, server, "ask", picture, "Is there a dog?")
    assert (ended.exit_code, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert ended.stderr.startswith(f"error: vLLM at {server.url} does not answer: ")


def test_an_address_without_a_scheme_is_wrong_usage_that_says_which_is_meant(picture: str) -> None:
    ended = CliRunner().invoke(main, ["ask", picture, "Is there a dog?", "--engine", "me:hush@127.0.0.1:8000/v1"])
    assert ended.exit_code == 2
    assert "Did you mean http://127.0.0.1:8000/v1?" in ended.stderr
    assert "hush" not in ended.stderr


def test_what_vllm_can_never_run_is_refused_before_anything_else_is_asked_for(picture: str) -> None:
    for more in ((), ("--device", "cuda"), ("--quantize", "int8")):
        ended = CliRunner().invoke(main, ["ask", picture, "Is there a dog?", "--engine", "vllm", *more])
        assert ended.exit_code == 1
        assert ended.stderr.startswith("error: fo1-nano judges regions by a match head, of which vLLM knows nothing.")


def test_that_vllm_is_not_installed_is_told_before_boxes_are_asked_for(
    picture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "omchat_qwen2_5_vl"}', encoding="utf-8")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for model in (str(tmp_path), "omlab/VLM-FO1_Qwen2.5-VL-3B-v01"):
        ended = CliRunner().invoke(main, ["ask", picture, "Any dog?", "--engine", "vllm", "--model", model])
        assert ended.exit_code == 1
        assert ended.stderr.startswith("error: Engine vllm needs vllm, which is not installed: pip install ")


def test_a_server_says_what_it_loads_from_where_and_that_pictures_need_boxes(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FO1AGENT_TOKEN", raising=False)
    monkeypatch.setattr("fo1agent.serve.run.serve", lambda *_: None)
    url = server.url.replace("http://", "http://me:hush@")
    lacks = "tiny makes no boxes, and there is no --proposer: send pictures to /v1/images with boxes.\n"
    for options, what in (((), "the first model"), (("--model", "tiny"), "tiny")):
        ended = CliRunner().invoke(main, ["serve", "--port", "0", "--engine", url, *options])
        assert ended.stderr == f"Loading {what} of the vLLM server at {server.url} …\n{lacks}"
        assert ended.exit_code == 0
    ended = CliRunner().invoke(main, ["serve", "--port", "0"])
    assert ended.stderr == "Loading fo1-nano …\n"
