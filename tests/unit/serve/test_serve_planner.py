"""Who decides how a server answers, what it keeps of it, and that requests stay independent of each other."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fo1agent.errors import AgentError, FO1AgentError, InputError
from fo1agent.serve.app import App
from fo1agent.traces import store as traces
from tests.scripted_chat import ScriptedChat, ToolChat, call, count_plan
from tests.serving import in_thread, until
from tests.unit.serve.test_serve_app import OBJECTS, FakePredictor, app_of, error_of, sent, talking

QUESTION = "How many people are there?"
PLANS = call("plan", steps=count_plan("person"))
STEPS = [call("count", phrase="person"), call("answer", text="There is one.", value=1, claims=[])]


async def asked(http: httpx.AsyncClient, image: str, **more: Any) -> httpx.Response:
    return await http.post("/v1/ask", json={"image": image, "question": QUESTION, **more})


async def chatted(http: httpx.AsyncClient, image: str, **more: Any) -> httpx.Response:
    content = [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": image}}]
    body = {"model": "fake", "messages": [{"role": "user", "content": content}], **more}
    return await http.post("/v1/chat/completions", json=body)


async def test_the_rules_decide_where_nobody_is_named() -> None:
    async with talking(app_of()) as http:
        assert (await asked(http, await sent(http))).json()["answer"]["planner"] == "rules"


async def test_a_chat_model_plans_by_every_route() -> None:
    chat = ToolChat(script=[PLANS])
    async with talking(app_of(planner=chat)) as http:
        image = await sent(http)
        answer = (await asked(http, image)).json()["answer"]
        assert (answer["value"], answer["planner"], answer["notes"]) == (1, "ToolChat", [])
        assert '"planner":"ToolChat"' in (await asked(http, image, stream=True)).text
        message = (await chatted(http, image)).json()["choices"][0]["message"]
        assert (message["content"], message["fo1agent"]["planner"]) == (answer["text"], "ToolChat")
        assert '"planner":"ToolChat"' in (await chatted(http, image, stream=True)).text
    assert len(chat.sent) == 4


async def test_a_chat_model_may_call_the_tools_step_by_step() -> None:
    async with talking(app_of(planner=ToolChat(script=STEPS), mode="steps")) as http:
        answer = (await asked(http, await sent(http))).json()["answer"]
    assert (answer["value"], [step["tool"] for step in answer["steps"]]) == (1, ["count"])


async def test_what_is_not_borne_out_is_taken_back() -> None:
    claims = [{"what": "dog", "regions": ["r0"]}]  # r0 is a bus
    script = [call("ground", phrase="bus"), call("answer", text="A dog.", value="dog", claims=claims)]
    for verify, abstained in ((False, False), (True, True)):
        async with talking(app_of(planner=ToolChat(script=script), mode="steps", verify=verify)) as http:
            assert (await asked(http, await sent(http))).json()["answer"]["abstained"] is abstained


async def test_the_rules_answer_and_say_so_where_the_chat_model_does_not() -> None:
    for mode in ("plan", "steps"):
        async with talking(app_of(planner=ScriptedChat(script=[ConnectionError("down")]), mode=mode)) as http:
            answer = (await asked(http, await sent(http))).json()["answer"]
        assert (answer["value"], answer["planner"]) == (1, "rules")
        assert "down" in answer["notes"][0]


# ---- requests beside each other ----


async def test_requests_wait_for_a_chat_model_side_by_side() -> None:
    meeting = threading.Barrier(2, timeout=60)

    def say(messages: Any) -> Any:
        meeting.wait()
        return PLANS

    async with talking(app_of(planner=ToolChat(script=[say]))) as http:
        image = await sent(http)
        answers = await asyncio.gather(asked(http, image), asked(http, image))
    assert [one.json()["answer"]["planner"] for one in answers] == ["ToolChat"] * 2


@pytest.mark.parametrize("mode", ["plan", "steps"])
async def test_requests_look_side_by_side_so_that_their_passes_can_be_put_together(mode: str) -> None:
    meeting = threading.Barrier(2, timeout=60)

    class Meeting(FakePredictor):
        def match(self, encoding: Any, phrases: Any) -> Any:
            meeting.wait()
            return super().match(encoding, phrases)

    def say(messages: Any) -> Any:
        return PLANS if mode == "plan" else STEPS[any(one.type == "tool" for one in messages)]

    async with talking(app_of(Meeting(OBJECTS), planner=ToolChat(script=[say]), mode=mode)) as http:
        image = await sent(http)
        answers = await asyncio.gather(asked(http, image), asked(http, image))
    assert [one.json()["answer"]["value"] for one in answers] == [1, 1]


# ---- deadlines and clients that leave ----


class Silent(ToolChat):
    """Says nothing until it is let go."""

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        self.sent.append([])
        GO.wait(60)
        raise ConnectionError("let go")


GO = threading.Event()


@pytest.fixture
def silent() -> Iterator[Silent]:
    GO.clear()
    yield Silent(script=[])
    GO.set()


@pytest.mark.parametrize("mode", ["plan", "steps"])
async def test_waiting_for_a_chat_model_counts_against_the_deadline(silent: Silent, mode: str) -> None:
    async with talking(app_of(planner=silent, mode=mode, deadline_s=1.0)) as http:
        image = await sent(http)
        start = time.monotonic()
        answer = (await asked(http, image)).json()["answer"]
        assert time.monotonic() - start < 30
    assert answer["abstained"]
    assert "seconds is used up" in answer["reason"]


def running(app: App) -> int:
    return app.service.gate.running


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_is_answered_by_no_chat_model_any_more(silent: Silent, stream: bool) -> None:
    app = app_of(planner=silent)
    with in_thread(app) as url:
        with httpx.Client(base_url=url, timeout=60) as http:
            picture = http.post("/v1/images", json={"data": PICTURE}).json()["image"]
        body = {"image": picture, "question": QUESTION, "stream": stream}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/ask", json=body, timeout=httpx.Timeout(60, read=0.5))
        until(lambda: running(app) == 0)  # although the chat model has not said a word
        assert len(silent.sent) == 1


PICTURE = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


# ---- at the start ----


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"planner": "nosuch:model"}, "No planner"),
        ({"planner": 5}, "is no planner"),
        ({"planner": "fo1"}, "model of ours"),  # the model of these tests has no words
        ({"mode": "steps"}, "needs a chat model"),
        ({"mode": "leaps"}, '"plan" or "steps"'),
        ({"mode": "steps", "planner": "fo1"}, "model of ours"),
    ],
)
def test_a_planner_that_cannot_be_is_told_before_anybody_asks(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        app_of(**wrong)


def test_a_place_where_no_trace_can_be_written_is_told_before_anybody_asks(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AgentError, match="cannot be written"):
        app_of(traces=tmp_path / "file" / "traces")


# ---- traces ----


async def test_every_run_is_saved(tmp_path: Path) -> None:
    async with talking(app_of(planner=ToolChat(script=[PLANS]), traces=tmp_path / "traces")) as http:
        image = await sent(http)
        for send in (asked, chatted):
            assert (await send(http, image)).status_code == 200
            assert "ToolChat" in (await send(http, image, stream=True)).text
        assert (await asked(http, "img_00000000")).status_code == 404  # nothing ran
    read = [traces.read(path) for path in sorted((tmp_path / "traces").iterdir())]
    assert [(one.run.image.id, one.run.planner.llm, one.answer.value) for one in read] == [(image, "ToolChat", 1)] * 4
    assert read[0].costs is not None
    assert read[0].costs.calls["llm"] == 1


async def test_nothing_is_saved_unless_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with talking(app_of()) as http:
        await asked(http, await sent(http))
    assert not list(tmp_path.iterdir())


async def test_a_run_that_fails_is_saved_with_its_failure(tmp_path: Path) -> None:
    class Failing(FakePredictor):
        def match(self, encoding: Any, phrases: Any) -> Any:
            raise FO1AgentError("no such luck")

    async with talking(app_of(Failing(OBJECTS), traces=tmp_path)) as http:
        response = await asked(http, await sent(http))
        assert error_of(response)["message"]
    (path,) = tmp_path.iterdir()
    assert traces.read(path).complete
