"""Planners whose endpoint does as it likes: no memory, no thread and no connection is lost to it, and no time but the
budget's; what it says that makes no sense is asked again, cut, and then left to the rules."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import anthropic
import httpx
import pytest
from langchain.chat_models import init_chat_model
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from PIL import Image

from fo1agent.agent import Agent, Answer, Budget
from fo1agent.planners.conversation import KEPT, PUT_BACK
from fo1agent.scene import Model, Scene
from tests import hostile
from tests.fakes import FakePredictor
from tests.hostile import HEAD, Hostile, whole
from tests.scripted_chat import count_plan
from tests.serving import in_thread, until
from tests.unit.serve.test_serve_app import app_of, data_url

QUESTION = "How many people are there?"
MODES = ["plan", "steps"]


def model_at(server: Hostile, **options: Any) -> Any:
    return init_chat_model("openai:some-model", base_url=f"{server.url}/v1", api_key="none", **options)


def people() -> Scene:
    """Four people, as tools can look at them."""
    boxes = [(10.0 + 60 * k, 20.0, 50.0 + 60 * k, 90.0) for k in range(4)]
    return Model(FakePredictor([(box, "person", 0.9) for box in boxes])).open(Image.new("RGB", (640, 480)))


def asked(llm: Any, mode: Any = "plan", **limits: Any) -> Answer:
    return Agent(planner=llm, budget=Budget(**limits), mode=mode).ask(people(), QUESTION)


def message(content: str | None = None, *calls: dict[str, Any]) -> list[bytes]:
    """A reply of Chat Completions; each call is {name, arguments}."""
    called = [{"id": f"c{k}", "type": "function", "function": one} for k, one in enumerate(calls)]
    said = {"role": "assistant", "content": content, **({"tool_calls": called} if calls else {})}
    choice = {"index": 0, "message": said, "finish_reason": "tool_calls" if calls else "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    head = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
    return whole({**head, "choices": [choice], "usage": usage})


def call(name: str, arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments)}


def in_turn(*replies: list[bytes]) -> Callable[[str, bytes], hostile.Bytes]:
    """Answers with one reply after the other, the last over and over."""
    waiting = list(replies)
    return lambda line, body: waiting.pop(0) if len(waiting) > 1 else waiting[0]


# ---- bytes and time ----


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (hostile.endless, "longer than 4,000,000 bytes"),
        (hostile.chunked, "longer than 4,000,000 bytes"),
        (hostile.announced, "longer than 4,000,000 bytes"),
        (hostile.bomb, "compressed"),
        (lambda: whole(b'{"choices":' + b"[" * 1_000_000), "nested too deeply"),
        (lambda: whole(b"", "307 Sent on", "Location: http://127.0.0.1:9/v1"), "it sends on to http://127.0.0.1:9"),
        (lambda: whole({}, "429 Busy", "Retry-After: 3600"), "left alone for 3600 s"),
    ],
)
def test_a_reply_that_breaks_a_bound_is_left_to_the_rules(answer: Any, why: str, mode: str) -> None:
    before, waiting = hostile.open_sockets(), hostile.exchanges()
    with Hostile(lambda line, body: answer()).running() as server:
        found = asked(model_at(server), mode)
        until(lambda: hostile.exchanges() <= waiting)
        assert server.sent < 40_000_000
    assert (found.value, found.planner) == (4, "rules")
    assert why in found.notes[0]
    assert hostile.open_sockets() <= before


@pytest.mark.parametrize(
    ("mode", "head"), [("plan", HEAD + b"Content-Length: 1000\r\n\r\n"), ("steps", b"HTTP/1.1 200 OK\r\nX-Slow: ")]
)
def test_a_reply_that_drips_ends_with_the_budget_and_so_do_its_thread_and_connection(head: bytes, mode: str) -> None:
    before, waiting = hostile.open_sockets(), hostile.exchanges()
    with Hostile(lambda line, body: hostile.dripping(server, head)).running() as server:
        found = asked(model_at(server), mode, seconds=3)
        server.wait_until_left()
        until(lambda: hostile.exchanges() <= waiting)
    assert (found.abstained, found.reason) == (True, "the budget of 3 seconds is used up")
    assert found.seconds < 30
    assert hostile.open_sockets() <= before


def test_a_streamed_reply_is_bounded_too() -> None:
    delta = {"index": 0, "delta": {"content": "x" * 20_000}}
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [delta]}
    event = b"data: " + json.dumps(chunk).encode() + b"\n\n"

    def answer(line: str, body: bytes) -> hostile.Bytes:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        while True:
            yield event

    with Hostile(answer).running() as server:
        found = asked(model_at(server, streaming=True))
        server.wait_until_left()
    assert (found.value, found.planner) == (4, "rules")
    assert "longer than" in found.notes[0]


class Anthropic(BaseChatModel):
    """A chat model over Anthropic's SDK, whose client is made when it is first asked for, as in LangChain's own."""

    url: str

    @property
    def _llm_type(self) -> str:
        return "anthropic-chat"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(**kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        said = self._client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "?"}])
        return ChatResult(generations=[ChatGeneration(message=AIMessage(str(said)))])

    @functools.cached_property
    def _client(self) -> anthropic.Anthropic:
        return anthropic.Anthropic(base_url=self.url, api_key="none")


def test_another_sdk_whose_client_is_made_late_is_bounded_too() -> None:
    with Hostile(lambda line, body: hostile.endless()).running() as server:
        found = asked(Anthropic(url=server.url))
        server.wait_until_left()
    assert (found.planner, "longer than" in found.notes[0]) == ("rules", True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("leaves", [False, True])
def test_a_server_lets_go_of_the_endpoint_with_its_caller(leaves: bool, mode: str) -> None:
    before, waiting = hostile.open_sockets(), hostile.exchanges()
    with Hostile(lambda line, body: hostile.dripping(endpoint, HEAD + b"\r\n")).running() as endpoint:
        app = app_of(planner=model_at(endpoint), mode=mode, deadline_s=60.0 if leaves else 3.0)
        with in_thread(app) as url, httpx.Client(base_url=url) as http:
            body = {"image": data_url(), "question": QUESTION}
            if leaves:
                with pytest.raises(httpx.ReadTimeout):
                    http.post("/v1/ask", json=body, timeout=httpx.Timeout(60, read=0.3))
            else:
                answer = http.post("/v1/ask", json=body, timeout=60).json()["answer"]
                assert "seconds is used up" in answer["reason"]
            endpoint.wait_until_left()
            until(lambda: hostile.exchanges() <= waiting)
    until(lambda: hostile.open_sockets() <= before)


# ---- what is said ----

PEOPLE = call("plan", {"steps": count_plan("person")})
DEEP = "[" * 100_000 + "]" * 100_000


def test_a_call_of_no_function_is_told_which_there_is_and_may_be_mended() -> None:
    with Hostile(in_turn(message(None, call("fly", {"steps": []})), message(None, PEOPLE))).running() as server:
        found = asked(model_at(server))
    assert (found.value, found.planner) == (4, "some-model")
    told = json.loads(server.bodies[1])["messages"][-1]
    assert (told["role"], told["tool_call_id"]) == ("tool", "c0")
    assert told["content"] == "There is no function 'fly'. The only one is plan: call it with the steps."


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (call("fly", {}), "There is no function 'fly'"),
        (call("plan", {}), "steps is missing, got nothing"),
        (call("plan", {"plan": count_plan("person")}), "steps is missing, got plan"),
        (call("plan", {"steps": [{"op": "fly"}]}), "expected tags: 'find', 'keep'"),
        (call("plan", {"steps": "[" * 10_000 + "]" * 10_000}), "steps is no JSON list (nested deeper than"),
        (call("plan", {"steps": DEEP}), "the arguments are longer than 64,000 characters"),
        (call("plan", f'{{"steps": {DEEP}}}'), "the arguments are not JSON"),
        (call("plan", f'{{"steps": {"[" * 200}{"]" * 200}}}'), "the arguments are nested deeper than 16 levels"),
        (call("plan", f'{{"steps": [{"{}," * 500_000}{{}}]}}'), "the arguments are longer than 64,000 characters"),
        (call("plan", f'{{"steps": [{"{}," * 9_000}{{}}]}}'), "and 8"),
        (call("plan", f'{{"steps": {"9" * 100_000}}}'), "the arguments are not JSON"),
        (call("plan", {"steps": [{"op": "x" * 30_000}]}), "expected tags: 'find', 'keep'"),
    ],
)
def test_what_is_no_plan_is_asked_again_twice_and_then_left_to_the_rules(wrong: dict[str, Any], why: str) -> None:
    with Hostile(lambda line, body: message(None, wrong)).running() as server:
        found = asked(model_at(server))
    assert (found.value, found.planner) == (4, "rules")
    assert len(server.bodies) == 3
    told = json.loads(server.bodies[2])["messages"]
    assert [one["role"] for one in told[2:]] == ["assistant", "tool"] * 2
    assert why in told[-1]["content"]
    assert len(told[-1]["content"]) < 4000
    # A bad reply is put back cut.
    assert len(server.bodies[2]) - len(server.bodies[0]) < 2 * (2 * PUT_BACK + 4000)


def test_text_that_is_no_plan_is_put_back_cut() -> None:
    with Hostile(lambda line, body: message("word " * 100_000)).running() as server:
        found = asked(model_at(server))
    assert (found.value, found.planner) == (4, "rules")
    assert max(map(len, server.bodies)) < 40_000


def test_a_good_reply_is_put_back_whole_unless_it_is_beyond_all_reason() -> None:
    zebras = call("plan", {"steps": count_plan("zebra")})
    for length, kept in ((1000, 1000), (KEPT + 1000, KEPT)):
        replies = message("x" * length, zebras), message(None, PEOPLE)
        with Hostile(in_turn(*replies)).running() as server:
            assert asked(model_at(server)).value == 4
        said = json.loads(server.bodies[1])["messages"][2]
        assert said["content"].count("x") == kept
        assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == json.loads(zebras["arguments"])


def test_of_a_reply_of_many_calls_few_are_read() -> None:
    with Hostile(in_turn(message(None, *[call("fly", {})] * 1000), message(None, PEOPLE))).running() as server:
        assert asked(model_at(server)).value == 4
    told = json.loads(server.bodies[1])["messages"]
    assert len(told[2]["tool_calls"]) == len(told) - 3 == 64


@pytest.mark.parametrize(
    "wrong",
    [
        call("fly", {}),
        call("count", {"phrase": DEEP}),
        call("count", f'{{"phrase": {DEEP}}}'),
        call("answer", {"text": "x", "claims": [{"what": "x"}] * 3000}),
    ],
)
def test_step_by_step_what_cannot_be_run_is_asked_again_twice(wrong: dict[str, Any]) -> None:
    with Hostile(lambda line, body: message(None, wrong)).running() as server:
        found = asked(model_at(server), "steps")
    assert (found.value, found.planner) == (4, "rules")
    assert len(server.bodies) == 3
    assert len(server.bodies[2]) - len(server.bodies[0]) < 2 * (2 * PUT_BACK + 4000)


def test_of_all_that_is_wrong_with_a_call_the_first_few_things_are_told() -> None:
    wrong = call("answer", {"text": "x", "claims": [{}] * 60})
    with Hostile(lambda line, body: message(None, wrong)).running() as server:
        asked(model_at(server), "steps", chat_calls=2)
    told = json.loads(server.bodies[1])["messages"][-1]["content"]
    assert told.startswith("claims.0.what is missing; ")
    assert told.endswith("; and 52 more")
    assert len(told) < 1000


@pytest.mark.parametrize("value", ["1e999", "-1e999", "NaN", "9" * 400, "9" * 5000])
def test_a_number_that_is_none_is_no_answer(value: str) -> None:
    counted = message(None, call("count", {"phrase": "person"}))
    replies = counted, message(None, call("answer", f'{{"text": "So many.", "value": {value}, "claims": []}}'))
    with Hostile(in_turn(*replies)).running() as server:
        found = asked(model_at(server), "steps")
    assert (found.value, found.planner) == (4, "rules")
    json.dumps(found.to_dict(), allow_nan=False)


def test_an_answer_in_words_of_any_length_is_cut() -> None:
    words = "r0 r3 " * 100_000 + "9" * 5000
    replies = message(None, call("count", {"phrase": "person"})), message(words)
    with Hostile(in_turn(*replies)).running() as server:
        found = asked(model_at(server), "steps")
    assert found.planner == "some-model"
    assert len(found.text) < 20_000


@pytest.mark.parametrize("tokens", [-(10**9), 10**400, 1.5, "many", None, True, {}])
def test_tokens_are_counted_where_they_are_a_number(tokens: Any) -> None:
    said = json.loads(message(None, call("plan", {"steps": [{"op": "fly"}]}))[1])
    said["usage"] = {"prompt_tokens": tokens, "completion_tokens": tokens, "total_tokens": tokens}
    with Hostile(lambda line, body: whole(said)).running() as server:
        found = asked(model_at(server))
    assert found.planner in ("rules", "")
    assert found.value in (4, None)
