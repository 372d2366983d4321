"""Chat models behind a real HTTP endpoint that speaks Chat Completions, through `init_chat_model` and at a shell."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner
from langchain.chat_models import init_chat_model
from PIL import Image

from fo1agent.agent import Agent
from fo1agent.cli import main
from fo1agent.scene import Model
from tests.fakes import FakePredictor
from tests.scenes import street
from tests.scripted_chat import count_plan
from tests.scripted_provider import served

PEOPLE = {"steps": count_plan("person")}
QUESTION = "How many people are there?"


class Endpoint:
    """A server that keeps requests and answers with what a function makes of them: (status, message or error)."""

    def __init__(self, answer: Callable[[dict[str, Any]], tuple[int, Any]]) -> None:
        self.requests: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(request)
                status, said = answer(request)
                choice = {"index": 0, "message": said, "finish_reason": "tool_calls" if _calls(said) else "stop"}
                usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
                whole = {"id": "x", "object": "chat.completion", "created": 0, "model": request["model"]}
                body = {**whole, "choices": [choice], "usage": usage} if status == 200 else {"error": said}
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @contextlib.contextmanager
    def running(self) -> Iterator[Endpoint]:
        with served(self._server):
            yield self


def _calls(said: Any) -> bool:
    return isinstance(said, dict) and bool(said.get("tool_calls"))


def words(text: str) -> tuple[int, dict[str, Any]]:
    return 200, {"role": "assistant", "content": text}


def tool_call(name: str, arguments: dict[str, Any], id: str = "call_1") -> tuple[int, dict[str, Any]]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return 200, {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": id, "type": "function", "function": function}],
    }


def model_at(url: str, **options: Any) -> Any:
    return init_chat_model("openai:some-model", base_url=url, api_key="none", max_retries=0, **options)


def test_an_endpoint_with_tools():
    def answer(request: dict[str, Any]) -> tuple[int, Any]:
        assert request["tools"][0]["function"]["name"] == "plan"
        return tool_call("plan", PEOPLE)

    with Endpoint(answer).running() as endpoint:
        found = Agent(planner=model_at(endpoint.url)).ask(street(), QUESTION)
    assert (found.value, found.planner, found.notes) == (4, "some-model", ())
    assert [message["role"] for message in endpoint.requests[0]["messages"]] == ["system", "user"]


def test_an_endpoint_that_refuses_tools_and_holds_to_a_schema():
    def answer(request: dict[str, Any]) -> tuple[int, Any]:
        if "tools" in request:
            return 400, {"message": "does not support tools", "type": "invalid_request_error"}
        assert request["response_format"]["json_schema"]["schema"]["properties"]["steps"]
        return words(json.dumps(PEOPLE))

    with Endpoint(answer).running() as endpoint:
        agent = Agent(planner=model_at(endpoint.url))
        assert [agent.ask(street(), QUESTION).value for _ in range(2)] == [4, 4]
        # Another agent asks the same endpoint as it is known to take it.
        assert Agent(planner=model_at(endpoint.url)).ask(street(), QUESTION).value == 4
    assert ["tools" in request for request in endpoint.requests] == [True, False, False, False]


def test_an_endpoint_that_knows_neither():
    def answer(request: dict[str, Any]) -> tuple[int, Any]:
        if "tools" in request or "response_format" in request:
            return 500, {"message": "tools param requires --jinja flag", "type": "server_error"}
        return words(f"Sure:\n```json\n{json.dumps(PEOPLE)}\n```")

    with Endpoint(answer).running() as endpoint:
        assert Agent(planner=model_at(endpoint.url)).ask(street(), QUESTION).value == 4
    assert len(endpoint.requests) == 3


@pytest.mark.parametrize("status", [401, 503])
def test_an_endpoint_that_turns_everybody_away_leaves_it_to_the_rules(status):
    with Endpoint(lambda request: (status, {"message": "no"})).running() as endpoint:
        found = Agent(planner=model_at(endpoint.url)).ask(street(), QUESTION)
    assert (found.value, found.planner) == (4, "rules")
    assert len(endpoint.requests) == 1


def test_nobody_there_leaves_it_to_the_rules():
    found = Agent(planner=model_at("http://127.0.0.1:9/v1")).ask(street(), QUESTION)
    assert (found.value, found.planner) == (4, "rules")
    assert "ConnectionError" in found.notes[0]


def test_step_by_step_with_pictures():
    scene = Model(FakePredictor([((20.0, 200.0, 60.0, 330.0), "person", 0.91)])).open(Image.new("RGB", (640, 480)))
    claim = {"what": "person", "regions": ["r0"], "count": 1}
    turns = [
        tool_call("annotate", {"regions": ["r0"]}, "a"),
        tool_call("answer", {"text": "One person, r0.", "value": 1, "claims": [claim]}, "b"),
    ]
    with Endpoint(lambda request: turns.pop(0)).running() as endpoint:
        llm = model_at(endpoint.url, profile={"image_inputs": True})
        found = Agent(planner=llm, mode="steps", verify=True).ask(scene, QUESTION)
    assert (found.value, found.evidence.ids) == (1, (f"{scene.id}/r0",))
    first, second = (request["messages"] for request in endpoint.requests)
    assert [part["type"] for part in first[1]["content"]] == ["text", "image_url"]
    assert first[1]["content"][1]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert [message["role"] for message in second] == ["system", "user", "assistant", "tool", "user"]
    assert isinstance(second[3]["content"], str)
    assert second[4]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")


@pytest.mark.parametrize("verify", [False, True])
def test_a_shell_names_what_no_tool_bears_out(repo, monkeypatch, verify):
    turns = [
        tool_call("count", {"phrase": "dead cat"}, "a"),
        tool_call("answer", {"text": "There is 1 dead cat.", "value": 1, "claims": []}, "b"),
    ]
    with Endpoint(lambda request: turns.pop(0)).running() as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        asked = ["ask", str(repo / "fo1agent/data/demo/cat.jpg"), "How many dead cats are there?", "--json"]
        how = ["--planner", "openai:some-model", "--mode", "steps", *(["--verify"] if verify else [])]
        shown = CliRunner().invoke(main, [*asked, *how])
    assert shown.exit_code == 0, shown.output
    said = json.loads(shown.stdout)
    assert said["unsupported"] == ["“dead” could not be judged", "1: no result says so"]
    assert said["not_judged"] == said["steps"][0]["not_judged"] == ["dead"]
    assert said["steps"][0]["text"] == "“dead cat”  0 to 1  not judged: dead"
    assert (said["abstained"], said["value"]) == (verify, None if verify else 1)
    assert "could not be judged" in said["text"]


def test_at_a_shell(repo, monkeypatch):
    with Endpoint(lambda request: tool_call("plan", {"steps": count_plan("remote")})).running() as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        asked = [
            "ask",
            str(repo / "fo1agent/data/demo/cat.jpg"),
            "How many?",
            "--planner",
            "openai:some-model",
            "--json",
        ]
        shown = CliRunner().invoke(main, asked)
    assert shown.exit_code == 0, shown.output
    said = json.loads(shown.stdout)
    assert (said["value"], said["planner"]) == (2, "some-model")


def test_a_shell_names_what_is_wrong_with_a_planner(repo):
    shown = CliRunner().invoke(
        main, ["ask", str(repo / "fo1agent/data/demo/cat.jpg"), "How many?", "--planner", "nonsense"]
    )
    assert shown.exit_code == 1
    assert "No planner 'nonsense'" in shown.stderr
