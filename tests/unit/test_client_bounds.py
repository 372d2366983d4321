"""A server that is none of ours, used from Python: bounded in bytes, depth and time, and never a bare error."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

from fo1agent import client as module
from fo1agent.agent import Agent, Budget
from fo1agent.client import Client, RemoteScene
from fo1agent.errors import BudgetExceeded, FO1AgentError, InputError, ServerError, ToolFailed
from tests import hostile
from tests.hostile import HEAD, Hostile, whole
from tests.serving import until
from tests.vllm_server import served

QUESTION = "How many people are there?"
HEALTH = {"status": "ok", "model": "fake"}
REGION = {"id": "r0", "label": "person", "score": 0.9, "box": {"x1": 1, "y1": 2, "x2": 30, "y2": 40}, "sure": True}
KEY = f"img_{'0123abcd' * 8}"
OPENED = {"key": KEY, "image": KEY[:12], "width": 64, "height": 48, "note": "", "regions": [REGION]}
FOUND = {**REGION, "box": [1, 2, 30, 40]}
HEAD_OF = {"tool": "count", "image": KEY[:12], "ok": True}
COUNTED = {**HEAD_OF, "result": {"value": 1, "regions": [FOUND], "note": "", "not_judged": []}}

Answer = Callable[[], hostile.Bytes]


class Server:
    """A server that answers as it should, but for the requests of one path.

    Attributes:
        wrong: what those get.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.wrong: Answer = lambda: whole({})
        self.hostile = Hostile(self._answer)

    def _answer(self, line: str, body: bytes) -> hostile.Bytes:
        path = line.split()[1]
        if path == self.path:
            return self.wrong()
        return whole({"/healthz": HEALTH, "/v1/images": OPENED}.get(path, COUNTED))


@pytest.fixture
def counting() -> Iterator[Server]:
    """One whose `count` goes wrong."""
    server = Server("/v1/tools/count")
    with server.hostile.running():
        yield server


@pytest.fixture
def asking() -> Iterator[Server]:
    """One whose answers to questions go wrong."""
    server = Server("/v1/ask")
    with server.hostile.running():
        yield server


def opened(server: Server, **how: Any) -> RemoteScene:
    return Client(server.hostile.url, **how).open(Image.new("RGB", (64, 48)))


def events(*told: tuple[str, Any]) -> list[bytes]:
    lines = "".join(f"event: {kind}\ndata: {json.dumps(data)}\n\n" for kind, data in told)
    return [HEAD + b"\r\n", lines.encode()]


def test_one_that_answers_as_it_should_is_used(counting: Server) -> None:
    counting.wrong = lambda: whole(COUNTED)
    counted = opened(counting).count("person")
    assert (counted.value, counted.at_least, counted.at_most) == (1, 1, 1)
    assert counted.regions[0].box == (1, 2, 30, 40)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (hostile.endless, "longer than 8,000,000 bytes"),
        (hostile.chunked, "longer than 8,000,000 bytes"),
        (hostile.announced, "longer than 8,000,000 bytes"),
        (hostile.bomb, "compressed"),
        (lambda: whole(b"[" * 1_000_000), "nested deeper"),
        (lambda: whole(b'{"ok":' * 100 + b"1" + b"}" * 100), "nested deeper"),
        (lambda: whole(b"", "302 Found", "Location: http://127.0.0.1:9/"), "it sends on to http://127.0.0.1:9"),
        (lambda: whole({}, "503 Busy", "Retry-After: 99999999"), "left alone"),
        (lambda: whole({}, "503 Busy", "Retry-After: ²"), "503"),
        (lambda: whole(b"[" * 1_000_000, "500 Bug"), "status 500"),
        (lambda: whole({"error": {"message": "m" * 50_000}}, "500 Bug"), "mmm"),
        (lambda: whole(b"\xff\xfe"), "no UTF-8"),
    ],
)
@pytest.mark.parametrize("face", ["count", "ask"])
def test_an_answer_that_breaks_a_bound_is_a_server_error(face: str, answer: Any, why: str) -> None:
    before = hostile.open_sockets()
    server = Server("/v1/tools/count" if face == "count" else "/v1/ask")
    server.wrong = answer
    with server.hostile.running(), opened(server, patience_s=0).client as client:
        scene = client.open(Image.new("RGB", (64, 48)))
        with pytest.raises(ServerError) as error:
            scene.count("person") if face == "count" else scene.ask(QUESTION)
        if face == "count" or why not in ("nested deeper", "no UTF-8"):  # there it has no events
            assert why.replace("8,", "64," if face == "ask" else "8,") in str(error.value)
        assert len(str(error.value)) < 2500
    assert hostile.open_sockets() <= before


@pytest.mark.parametrize("head", [HEAD + b"\r\n", b"HTTP/1.1 200 OK\r\nX-Slow: "])
def test_an_answer_that_drips_is_given_up_in_time(counting: Server, asking: Server, head: bytes) -> None:
    before = hostile.exchanges()
    for server, ask in ((counting, lambda scene: scene.count("person")), (asking, lambda scene: scene.ask(QUESTION))):
        server.wrong = lambda server=server: hostile.dripping(server.hostile, head)
        scene = opened(server, timeout_s=2)
        with pytest.raises(ServerError, match=r"did not end within 2 s|does not answer"):
            ask(scene)
        server.hostile.wait_until_left()
        until(lambda: hostile.exchanges() <= before)


def test_the_eyes_of_a_server_are_waited_for_as_long_as_the_budget_has_seconds(counting: Server) -> None:
    wrong = "/v1/tools/ground"
    counting.path, counting.wrong = wrong, lambda: hostile.dripping(counting.hostile, HEAD + b"\r\n")
    with Client(counting.hostile.url) as client:
        found = Agent(client, budget=Budget(seconds=3)).ask(Image.new("RGB", (64, 48)), QUESTION)
        counting.hostile.wait_until_left()
    assert found.abstained
    assert "the budget of" in found.reason


def test_a_server_that_is_silent_is_waited_for_as_long_as_the_budget_has_seconds(asking: Server) -> None:
    over = threading.Event()

    def silent() -> hostile.Bytes:
        over.wait(60)
        return whole({})

    asking.path, asking.wrong = "/v1/tools/ground", silent
    with Client(asking.hostile.url) as client:
        try:
            found = Agent(client, budget=Budget(seconds=0.5)).ask(Image.new("RGB", (64, 48)), QUESTION)
        finally:
            over.set()
    assert found.abstained
    assert "the budget of seconds is used up, waiting for the server" in found.reason


def test_a_server_that_opens_no_picture_is_waited_for_as_long_as_the_budget_has_seconds(counting: Server) -> None:
    counting.path, counting.wrong = "/v1/images", lambda: hostile.dripping(counting.hostile, HEAD + b"\r\n")
    with Client(counting.hostile.url) as client, pytest.raises(BudgetExceeded, match="waiting for the server"):
        Agent(client, budget=Budget(seconds=3)).ask(Image.new("RGB", (64, 48)), QUESTION)


# ---- forms ----


@pytest.mark.parametrize(
    "told",
    [
        [],
        "ok",
        {},
        HEAD_OF,
        {**HEAD_OF, "result": None},
        {**HEAD_OF, "result": []},
        {**HEAD_OF, "result": {}},
        {**HEAD_OF, "ok": False},
        {**HEAD_OF, "ok": False, "error": {}},
        {**HEAD_OF, "result": {**COUNTED["result"], "value": "1"}},
        {**HEAD_OF, "result": {**COUNTED["result"], "value": 1e999}},
        {**HEAD_OF, "result": {**COUNTED["result"], "value": 10**400}},
        {**HEAD_OF, "result": {**COUNTED["result"], "regions": [1]}},
        {**HEAD_OF, "result": {**COUNTED["result"], "regions": [{**FOUND, "box": [1, 2, 3]}]}},
        {**HEAD_OF, "result": {**COUNTED["result"], "regions": [{**FOUND, "box": [1, 2, 10**400, 4]}]}},
        {**HEAD_OF, "result": {**COUNTED["result"], "regions": [{**FOUND, "box": [9, 2, 3, 4]}]}},
        {**HEAD_OF, "result": {**COUNTED["result"], "regions": [{**FOUND, "score": 7}]}},
        {**HEAD_OF, "result": {**COUNTED["result"], "regions": [{**FOUND, "label": ["x"]}]}},
        {**HEAD_OF, "result": {**COUNTED["result"], "not_judged": [1]}},
        {**HEAD_OF, "result": {**COUNTED["result"], "value": -5}},
        {**HEAD_OF, "result": {**COUNTED["result"], "value": 9, "at_least": 1, "at_most": 1}},
        {**HEAD_OF, "result": {**COUNTED["result"], "value": None, "at_least": 9, "at_most": 2}},
        {**HEAD_OF, "result": {**COUNTED["result"], "value": None, "at_least": -1, "at_most": 2}},
        {**HEAD_OF, "result": {**COUNTED["result"], "regions": [FOUND, FOUND]}},
        {**HEAD_OF, "result": {**COUNTED["result"], "regions": [{**FOUND, "id": "../../x"}]}},
        {**HEAD_OF, "result": {**COUNTED["result"], "regions": [{**FOUND, "id": "r9"}]}},
        {**HEAD_OF, "result": {**COUNTED["result"], "regions": [{**FOUND, "id": " r0"}]}},
        {**HEAD_OF, "result": {**COUNTED["result"], "regions": [{**FOUND, "id": "img_00000000/r0"}]}},
        {**HEAD_OF, "result": {**COUNTED["result"], "regions": [{**FOUND, "box": [-50, -50, 9999, 9999]}]}},
        {**HEAD_OF, "result": {**COUNTED["result"], "regions": [{**FOUND, "box": [1, 2, 30, 49]}]}},
        {**COUNTED, "image": "../x"},
        {**COUNTED, "tool": "look"},
        {**COUNTED, "ok": 1},
    ],
)
def test_a_result_of_another_form_is_a_server_error(counting: Server, told: Any) -> None:
    counting.wrong = lambda: whole(told)
    with pytest.raises(ServerError):
        opened(counting).count("person")


def test_what_a_tool_says_went_wrong_is_told(counting: Server) -> None:
    counting.wrong = lambda: whole({**HEAD_OF, "ok": False, "error": "x" * 9000})
    with pytest.raises(ToolFailed, match=r"^x{2000}$"):
        opened(counting).count("person")


def test_what_a_server_says_went_wrong_is_one_line_without_orders_to_the_terminal(counting: Server) -> None:
    words = "no\n\x1b[2Jsuch\u202e region"
    spelled = r"^no \\x1b\[2Jsuch\\u202e region$"
    counting.wrong = lambda: whole({"error": {"message": words}}, "422 Unprocessable")
    with pytest.raises(InputError, match=spelled):
        opened(counting).count("person")
    counting.wrong = lambda: whole({**HEAD_OF, "ok": False, "error": words})
    with pytest.raises(ToolFailed, match=spelled):
        opened(counting).count("person")


@pytest.mark.parametrize(
    "told",
    [
        [],
        {},
        {**OPENED, "regions": [{}]},
        {**OPENED, "key": 7},
        {**OPENED, "key": "img_1"},
        {**OPENED, "image": "../x"},
        {**OPENED, "width": 10**30},
        {**OPENED, "height": 47},
        {**OPENED, "regions": 1},
        {**OPENED, "regions": [REGION, REGION]},
        {**OPENED, "regions": [{**REGION, "id": "r1"}]},
        {**OPENED, "regions": [{**REGION, "id": "../../x"}]},
        {**OPENED, "regions": [{**REGION, "sure": "no"}]},
        {**OPENED, "regions": [{**REGION, "box": [-1, 2, 30, 40]}]},
    ],
)
def test_a_picture_of_another_form_is_a_server_error(told: Any) -> None:
    server = Server("/v1/images")
    server.wrong = lambda: whole(told)
    with server.hostile.running(), pytest.raises(ServerError):
        opened(server)


@pytest.mark.parametrize("told", [[], {}, "x", {"status": "fine"}])
def test_what_is_no_server_is_told_as_such(told: Any) -> None:
    with Hostile(lambda line, body: whole(told)).running() as server, pytest.raises(ServerError, match="no fo1agent"):
        Client(server.url)


ANSWER = {
    **{"question": QUESTION, "text": "1 person.", "value": 1, "abstained": False, "reason": "", "steps": []},
    **{"evidence": ["r0"], "regions": [FOUND], "bounds": None},
}


def test_an_answer_as_it_should_be_is_taken(asking: Server) -> None:
    asking.wrong = lambda: events(("answer", {"image": KEY[:12], "answer": ANSWER}))
    answer = opened(asking).ask(QUESTION)
    assert (answer.value, [region.name for region in answer.evidence]) == (1, ["r0"])


STEP = {"id": "s1", "tool": "find", "args": {}, "regions": [], "text": "", "seconds": 0.1}


@pytest.mark.parametrize(
    "told",
    [
        [],
        [("plan", {"steps": []})],
        [("plan", {"planner": "x", "revision": 0, "steps": [{"op": "fly"}]})],
        [("plan", [])],
        [("step_start", {"number": "1", "id": "s1", "tool": "find", "args": {}})],
        [("step_start", {"number": 1, "id": "s1", "tool": "find", "args": 7})],
        [("step_end", {"number": 1, "step": {**STEP, "seconds": 1e999}})],
        [("step_end", {"number": 1, "step": {**STEP, "text": []}})],
        [("step_end", {"number": 1, "step": {**STEP, "regions": [7]}})],
        [("answer", {"answer": {}})],
        [("answer", {})],
        [("answer", {"image": "../x", "answer": ANSWER})],
        *(
            [("answer", {"image": KEY[:12], "answer": {**ANSWER, **wrong}})]
            for wrong in (
                {"value": {}},
                {"value": [[1]]},
                {"value": 10**30},
                {"abstained": "no"},
                {"evidence": ["r1"]},
                {"regions": [FOUND, FOUND]},
                {"regions": [{**FOUND, "id": "../r0"}], "evidence": []},
                {"regions": [{**FOUND, "box": [1, 2, 65, 40]}]},
                {"bounds": {"at_least": 9, "at_most": 2}},
                {"steps": [{**STEP, "regions": ["../../x"]}]},
                {"steps": [{**STEP, "regions": ["b0_0_99_99"]}]},
                {"steps": [{**STEP, "value": {}}]},
            )
        ),
        [("error", {})],
        [("error", {"error": {"message": {}}})],
        [("surprise", {"a": 1})],
        [("partial", {"text": "so far"})],
    ],
)
def test_events_of_another_form_are_a_server_error(asking: Server, told: Any) -> None:
    asking.wrong = lambda: events(*told)
    before = hostile.exchanges()
    with pytest.raises(ServerError) as error:
        opened(asking).ask(QUESTION)
    for thread in hostile.exchanges() - before:
        thread.join(60)  # its time is 120 s; an error that is kept must keep nothing running
        assert not thread.is_alive()
    assert len(str(error.value)) < 2500


@pytest.mark.parametrize("data", ["{", "[" * 100_000, "7", '{"a": NaN}'])
def test_an_event_that_is_no_json_object_is_a_server_error(asking: Server, data: str) -> None:
    asking.wrong = lambda: [HEAD + b"\r\n", f"event: answer\ndata: {data}\n\n".encode()]
    with pytest.raises(ServerError):
        opened(asking).ask(QUESTION)


def test_one_event_is_no_longer_than_an_answer(asking: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REPLY_BYTES", 5000)
    asking.wrong = lambda: [HEAD + b"\r\nevent: answer\n", *[b"data: " + b"x" * 1000 + b"\n"] * 9]
    with pytest.raises(ServerError, match="an event is longer than"):
        opened(asking).ask(QUESTION)


def test_who_asks_wrongly_is_still_told_so(counting: Server) -> None:
    counting.wrong = lambda: whole({"error": {"message": "no such region"}}, "422 Unprocessable")
    with pytest.raises(InputError, match="no such region"):
        opened(counting).count("person")


def test_a_password_that_a_server_says_back_is_told_nowhere(counting: Server, asking: Server) -> None:
    for said in (
        whole({"error": {"message": "no: http://me:hush@a"}}, "422 Unprocessable"),
        whole({**HEAD_OF, "ok": False, "error": "no: me:hush"}),
    ):
        counting.wrong = lambda said=said: said
        scene = Client(counting.hostile.url.replace("://", "://me:hush@")).open(Image.new("RGB", (64, 48)))
        with pytest.raises(FO1AgentError) as why:
            scene.count("person")
        assert str(why.value).startswith(("no: http://***@a", "no: ***"))
    asking.wrong = lambda: events(("error", {"error": {"message": "Basic bWU6aHVzaA== is no key"}}))
    scene = Client(asking.hostile.url.replace("://", "://me:hush@")).open(Image.new("RGB", (64, 48)))
    with pytest.raises(ServerError, match=r"^Basic \*\*\* is no key$"):
        scene.ask(QUESTION)


def test_a_password_in_an_address_is_told_nowhere_and_a_scheme_that_is_not_spoken_is(counting: Server) -> None:
    there = counting.hostile.url.removeprefix("http://")
    assert Client(f"http://me:hush@{there}").url == f"http://{there}"
    with served() as other, pytest.raises(ServerError, match="It speaks no TLS there: write http:// for https://"):
        Client(other.url.replace("http://", "https://"))
    for address, told in {
        f"http://me:hu/sh@{there}": f"'http://{there}' is no address of a server: write the signs before its @",
        f"ftp://me:hush@{there}": f"begins with http:// or https://, got 'ftp://{there}'",
    }.items():
        with pytest.raises(InputError) as caught:
            Client(address)
        assert told in str(caught.value)
        assert "hu" not in str(caught.value)
