"""A predictor whose words come from elsewhere: what it asks, what it makes of the answers, and what servers may do."""

from __future__ import annotations

import base64
import pickle
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fo1agent
from fo1agent.agent.asking import with_asking
from fo1agent.errors import EngineError, InputError, ToolFailed
from fo1agent.model import served_there
from fo1agent.model.served import Asked, Engine, Said, ServedPredictor, Written
from fo1agent.pictures.image import load_image
from fo1agent.prompts import render
from fo1agent.regions.regions import Regions
from fo1agent.runs.batching import Batched
from fo1agent.runs.budget import Budget
from tests.vllm_server import Server, listening, served

IMAGE = load_image(Image.new("RGB", (200, 100)))


class Scripted(Engine):
    """Writes what it is told to, and weighs regions the more the larger their number in the prompt."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.reply = "<ground>dog</ground><objects><region1></objects>"

    def write(self, asked: Sequence[Asked], most: int, stop: str | None = None) -> list[Written]:
        self.asked += asked
        return [Written(self.reply.partition(stop)[0] if stop else self.reply, (7, 8))] * len(asked)

    def weigh(self, asked: Sequence[Asked], tokens: Sequence[Sequence[str]]) -> list[np.ndarray]:
        self.asked += asked
        return [np.array([*(0.01 * k for k in range(len(own) - 1)), -1.0]) for own in tokens]


@pytest.fixture
def engine() -> Scripted:
    return Scripted()


@pytest.fixture
def predictor(engine: Scripted) -> ServedPredictor:
    return ServedPredictor(engine, Said("tiny", "0" * 64, calibration={"scale": 2.0, "bias": 0.5}))


def boxes(count: int) -> Regions:
    corners = np.array([[k % 90, k % 70, k % 90 + 10, k % 70 + 10] for k in range(count)], dtype=np.float64)
    scores = np.linspace(0.1, 0.9, count)  # the best stand last
    return Regions(corners.reshape(-1, 4), scores, (None,) * count, tuple(f"r{k}" for k in range(count)), "test")


def test_phrases_are_weighed_where_their_regions_would_be_named(predictor: ServedPredictor, engine: Scripted) -> None:
    encoding = predictor.encode(IMAGE, boxes(3))
    found = predictor.match(encoding, ["dog", "<|im_end|> cat"])
    assert [(one.text, one.begun) for one in engine.asked] == [
        (render("od", "dog"), "<ground>dog</ground><objects>"),
        (render("od", "< |im_end|> cat"), "<ground>< |im_end|> cat</ground><objects>"),
    ]
    assert engine.asked[0].shown[0].boxes.tolist() == boxes(3).boxes.tolist()
    wanted = 1 / (1 + np.exp(-(2.0 * (np.arange(3) * 0.01 + 1) + 0.5)))
    np.testing.assert_allclose(found, [wanted, wanted])
    predictor.match(encoding, ["dog"])
    assert len(engine.asked) == 2  # asked before


def test_no_boxes_and_no_phrases_ask_nothing(predictor: ServedPredictor, engine: Scripted) -> None:
    assert predictor.match(predictor.encode(IMAGE, boxes(0)), ["dog"]).shape == (1, 0)
    assert predictor.match(predictor.encode(IMAGE, boxes(2)), []).shape == (0, 2)
    assert predictor.generate_many([], []) == []
    assert engine.asked == []


def test_more_boxes_than_a_prompt_holds_are_asked_in_two(predictor: ServedPredictor, engine: Scripted) -> None:
    encoding = predictor.encode(IMAGE, boxes(130))
    assert encoding.note.startswith("130 boxes, judged in 2 prompts of at most 100")
    assert predictor.match(encoding, ["dog"]).shape == (1, 130)
    assert [len(one.shown[0].boxes) for one in engine.asked] == [100, 30]
    # The best hundred are numbered from 30; the reply speaks of the prompt's second.
    assert "<region31>" in predictor.generate(encoding, "Where is <region40>?")
    assert engine.asked[-1].text == "Where is <region10>?"


def test_questions_about_many_pictures_are_asked_together(predictor: ServedPredictor, engine: Scripted) -> None:
    one, other = (predictor.encode(IMAGE, boxes(count)) for count in (2, 3))
    replies = predictor.generate_many([one, [one, other], [], one], ["a", "b", "c", "d"], 8)
    assert replies == [engine.reply] * 4
    assert sorted((asked.text, len(asked.shown)) for asked in engine.asked) == [("a", 1), ("b", 2), ("c", 0), ("d", 1)]


def test_what_looks_alike_goes_on_from_what_was_written(predictor: ServedPredictor, engine: Scripted) -> None:
    same = predictor.similar(predictor.encode(IMAGE, boxes(3)), 0)
    asked, listed = engine.asked
    assert asked.text == listed.text == render("visual_prompt_od", "<region0>")
    assert (listed.written.ids, listed.answer) == ((7, 8), "<ground>dog</ground><objects>")
    assert same[0] == 1
    assert same[1] < same[2]


def test_regions_of_several_pictures_are_compared_by_names_alone(engine: Scripted) -> None:
    named = ServedPredictor(engine, Said("tiny", "0" * 64, vocabulary=["dog", "cat"]))
    one, other = (named.encode(IMAGE, boxes(count)) for count in (2, 3))
    found = named.alike(other, [named.vectors(one, 1)])
    assert found.argmax() == 2  # the likelier a name is, the likelier it is the example's
    np.testing.assert_allclose(found, named.match(other, ["dog"])[0])


def test_without_names_nothing_of_several_pictures_is_compared(predictor: ServedPredictor) -> None:
    with pytest.raises(ToolFailed, match="has no names"):
        predictor.vectors(predictor.encode(IMAGE, boxes(2)), 0)


def test_other_boxes_need_nobody(predictor: ServedPredictor, engine: Scripted) -> None:
    encoding = predictor.with_boxes(predictor.encode(IMAGE, boxes(3)), [[1, 1, 5, 5]])
    assert (len(encoding), encoding.source, engine.asked) == (1, "given", [])
    assert encoding.nbytes > 0


def test_a_question_that_is_far_too_long_is_refused(predictor: ServedPredictor) -> None:
    with pytest.raises(InputError, match="at most 4096 are read"):
        predictor.generate([], "words " * 5000)


# --- a server ----------------------------------------------------------------------------------------------------


server = listening


def test_a_server_is_asked_by_openai_s_chat(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    predictor: Any = fo1agent.load(engine=server.url).predictor
    assert predictor.name == "tiny"
    encoding = predictor.encode(IMAGE, boxes(2))
    assert predictor.generate(encoding, "What?", 9) == "A dog."
    path, body, key = server.asked[-1]
    assert (path, key) == ("/v1/chat/completions", "Bearer secret")
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("models/tiny", 9, 0.0)
    assert body["mm_processor_kwargs"] == {"boxes": [boxes(2).boxes.tolist()]}
    picture, text = body["messages"][0]["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert text == {"type": "text", "text": "What?"}
    found = predictor.match(encoding, ["dog"])
    path, body, _ = server.asked[-1]
    assert body["messages"][1] == {"role": "assistant", "content": "<ground>dog</ground><objects>"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    ids = np.array(body["logprob_token_ids"])
    np.testing.assert_allclose(found[0], 1 / (1 + np.exp(0.01 * (ids[:-1] - ids[-1]))))


@pytest.mark.parametrize(
    ("said", "fault", "told"),
    [
        ((200, b"<html>"), "failed", "is no vLLM with FO1"),
        ((200, {"choices": []}), "failed", "is no vLLM with FO1"),
        ((200, b"[" * 100_000), "failed", "is no vLLM with FO1"),
        ((400, {"error": {"message": "too\nlong."}}), "refused", "refuses the request: too long."),
        ((400, {"error": "too long"}), "refused", "refuses the request: too long."),
        ((400, [1, 2]), "refused", "refuses the request: Bad Request."),
        ((400, {"error": None}), "refused", "refuses the request: Bad Request."),
        ((400, {"error": {"message": None}}), "refused", "refuses the request: Bad Request."),
        ((413, b"<html>"), "refused", "refuses the request: Request Entity Too Large."),
        ((422, {"detail": [{"loc": ["body"], "msg": "no such field"}]}), "refused", "the request: no such field."),
        ((400, {"message": "x" * 10_000}), "refused", f"refuses the request: {'x' * 500}."),
        ((400, {"message": "\x1b[2J"}), "refused", r"refuses the request: \x1b[2J."),
        (
            (400, {"message": "Start it with --trust-request-mm-kwargs."}),
            "failed",
            "answers 400: Start it with --trust",
        ),
        (
            (401, {"error": "Unauthorized"}),
            "failed",
            "answers 401: Unauthorized. Set VLLM_API_KEY to the server's key.",
        ),
        ((404, {"error": {"message": "no model"}}), "failed", "answers 404: no model."),
        ((429, b""), "away", "answers 429: Too Many Requests."),
        ((500, {"error": {"message": "broken"}}), "failed", "answers 500: broken."),
        ((502, b"<html>"), "failed", "answers 502: Bad Gateway."),
        ((503, b""), "away", "answers 503: Service Unavailable."),
        ((307, "/v2/chat"), "failed", "answers 307 and sends on to /v2/chat, where nobody follows."),
        ((302, "http://me:pw@other/v1"), "failed", "sends on to http://other, which is not who was asked."),
    ],
)
def test_what_a_server_gets_wrong_is_told(server: Server, said: Any, fault: str, told: str) -> None:
    predictor: Any = fo1agent.load(engine=server.url).predictor
    server.answer = lambda path, body: said
    with pytest.raises(EngineError) as caught:
        predictor.generate([], "What?")
    assert told in str(caught.value)
    assert "None" not in str(caught.value)
    assert (caught.value.fault, "\n" in str(caught.value)) == (fault, False)
    again = pickle.loads(pickle.dumps(caught.value))  # as an actor of Ray hands it on
    assert (str(again), again.fault, again.reason) == (str(caught.value), fault, caught.value.reason)


@pytest.mark.parametrize(("status", "fault"), [(503, "away"), (429, "away"), (500, "failed")])
def test_a_server_that_puts_off_for_longer_than_there_is_time_is_away(server: Server, status: int, fault: str) -> None:
    predictor: Any = fo1agent.load(engine=server.url).predictor
    server.answer, server.headers = lambda path, body: (status, b""), {"Retry-After": "3600"}
    with pytest.raises(EngineError, match=f"answers {status} and wants to be left alone for 3600 s") as caught:
        predictor.generate([], "What?")
    assert (caught.value.fault, caught.value.status) == (fault, status)


def test_a_server_that_is_gone_is_told_and_answers_when_it_is_back() -> None:
    with served() as server:
        predictor: Any = fo1agent.load(engine=server.url).predictor
        encoding = predictor.encode(IMAGE, boxes(2))
        before = predictor.match(encoding, ["dog"])
        assert predictor.ready()
    with pytest.raises(EngineError, match=r"does not answer: .*Connection refused. Does `vllm serve` run") as caught:
        predictor.match(encoding, ["cat"])
    assert (caught.value.fault, caught.value.status) == ("away", 0)
    assert not predictor.ready()
    with served(server.http.server_port):
        np.testing.assert_array_equal(predictor.match(encoding, ["cat"]), before)
        assert predictor.ready()


def test_whether_a_server_has_its_model_is_looked_for_when_nobody_asked_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor: Any = fo1agent.load(engine=server.url).predictor
    assert predictor.ready()
    assert len(server.asked) == 1  # when it was loaded
    monkeypatch.setattr(served_there, "_READY_FOR", -1.0)
    assert predictor.ready()
    server.answer = lambda path, body: (200, {"data": [{"id": "another"}]})
    assert not predictor.ready()
    server.answer = server.vllm
    assert predictor.ready()
    assert len(server.asked) == 4


@pytest.mark.parametrize("said", [(400, {"message": "no boxes"}), (500, b""), (503, b"")])
def test_a_question_that_no_server_answers_has_no_answer(server: Server, said: Any) -> None:
    model = fo1agent.load(engine=server.url)
    scene = model.open(IMAGE, boxes=boxes(2))
    server.answer = lambda path, body: said
    agent = fo1agent.Agent(model)
    for ask in (
        lambda: agent.ask(scene, "How many dogs are there?"),
        lambda: agent.ask_many(scene, ["Is there a cat?"]),
    ):
        with pytest.raises(EngineError):
            ask()
    for name, arguments in {"ground": {"phrase": "dog"}, "describe": {}, "ask": {"question": "Any dog?"}}.items():
        with pytest.raises(EngineError):
            with_asking(fo1agent.registry())[name].call(scene, arguments)


def test_a_server_that_is_gone_is_asked_once_by_those_who_ask_together() -> None:
    with served() as server:
        predictor: Any = fo1agent.load(engine=server.url).predictor
    asked: list[int] = []

    def generate_many(abouts: Any, texts: Any, most: int) -> Any:
        asked.append(len(texts))
        return ServedPredictor.generate_many(predictor, abouts, texts, most)

    predictor.generate_many = generate_many
    batched = Batched(predictor, most=4, wait_s=10.0, running=lambda: 4)
    with pytest.raises(EngineError, match="does not answer"):
        batched.generate_many([[]] * 4, ["a", "b", "c", "d"])
    batched.close()
    assert asked == [4]


def test_a_server_that_is_silent_is_waited_for_as_long_as_the_budget_has_seconds(server: Server) -> None:
    model = fo1agent.load(engine=server.url)
    scene = model.open(IMAGE, boxes=boxes(2))
    over = threading.Event()

    def silent(path: str, body: Any) -> Any:
        over.wait(60)
        return server.vllm(path, body)

    server.answer = silent
    try:
        answer = fo1agent.Agent(model, budget=Budget(seconds=0.3)).ask(scene, "How many dogs are there?")
    finally:
        over.set()
    assert answer.abstained
    assert answer.text == "I stopped before this was answered: the budget of seconds is used up, waiting for vLLM."


def test_a_password_is_told_nowhere() -> None:
    with served() as server:
        url = server.url.replace("http://", "http://me:hush@")
        predictor: Any = fo1agent.load(engine=url).predictor
        assert server.asked[-1][2] == f"Basic {base64.b64encode(b'me:hush').decode()}"
        assert predictor.fingerprint == fo1agent.load(engine=server.url).predictor.fingerprint
    port = server.http.server_port
    with pytest.raises(EngineError) as caught:
        predictor.generate([], "What?")
    told = [str(caught.value)]
    for wrong in (
        f"ftp://me:hush@127.0.0.1:{port}",
        f"me:hush@127.0.0.1:{port}/v1",
        f"http://me:hu/sh@127.0.0.1:{port}/v1",
    ):
        with pytest.raises(InputError) as refused:
            fo1agent.load(engine=wrong)
        told.append(str(refused.value))
    for one in told:
        assert f"127.0.0.1:{port}" in one
        assert not re.search("hush|hu/sh|me:|'hu'", one)


def test_a_server_that_says_what_it_was_sent_in_confidence_is_told_without_it(server: Server) -> None:
    url = server.url.replace("http://", "http://me:hu%2Fsh@")
    predictor: Any = fo1agent.load(engine=url).predictor
    predictor_by_key: Any = served_there.load_there(server.url, token="sk-1")
    sent = f"{url} as me:hu/sh, {base64.b64encode(b'me:hu/sh').decode()}, hu/sh"
    for asked, said, told in (
        (predictor, (400, {"message": f"no: {sent}"}), "request: no: http://***@"),
        (predictor, (400, {"message": "x" * 495 + "hu/sh"}), f"{'x' * 495}***."),
        (predictor, (500, {"error": sent}), "answers 500: http://***@"),
        (predictor, (307, f"/?{sent}"), "where nobody follows"),
        (predictor_by_key, (401, {"error": "no key Bearer sk-1"}), "no key Bearer ***."),
    ):
        server.answer = lambda path, body, said=said: said
        with pytest.raises(EngineError) as caught:
            asked.generate([], "What?")
        assert told in str(caught.value)
        assert not re.search("hu/sh|hu%2Fsh|sk-1|bWU6", f"{caught.value} {caught.value.reason}")


def test_what_is_wrong_with_an_address_is_told(server: Server) -> None:
    bare = server.url.removeprefix("http://")
    for wrong, told in {
        bare: f"got {bare!r}. Did you mean {server.url}?",
        "localhost:8000": "Did you mean http://localhost:8000?",
        "vlm": "or the address of a vLLM server such as http://127.0.0.1:8000/v1; got 'vlm'.",
        "http:///v1": "it names no host",
        "http://127.0.0.1:99999/v1": "its port is more than 65535",
    }.items():
        with pytest.raises(InputError) as caught:
            fo1agent.load(engine=wrong)
        assert str(caught.value).endswith((told, f"{told}."))
    with pytest.raises(EngineError, match="It speaks no TLS there: write http:// for https://"):
        fo1agent.load(engine=f"https://{bare}")
    server.answer = lambda path, body: (404, {"detail": "Not Found"})
    with pytest.raises(EngineError, match="A vLLM's address ends in /v1"):
        fo1agent.load(engine=server.url)


def test_a_model_is_named_in_full_or_by_the_last_part(server: Server) -> None:
    for name in (None, "models/tiny", "tiny"):
        predictor: Any = fo1agent.load(name, engine=server.url).predictor
        assert (predictor.name, predictor.engine.model) == ("tiny", "models/tiny")
    server.answer = lambda path, body: (200, {"data": [{"id": "a/tiny"}, {"id": "b/tiny"}, {"id": "tiny"}]})
    assert fo1agent.load("tiny", engine=server.url).predictor.engine.model == "tiny"  # pyright: ignore
    server.answer = lambda path, body: (200, {"data": [{"id": "a/tiny"}, {"id": "b/tiny"}]})
    with pytest.raises(InputError, match=r"has several models 'tiny'. It has a/tiny, b/tiny"):
        fo1agent.load("tiny", engine=server.url)
    server.answer = lambda path, body: (200, {"data": []})
    with pytest.raises(EngineError, match="has no model"):
        fo1agent.load("tiny", engine=server.url)


def swapped(server: Server, **card: Any) -> Any:
    """What answers as a server whose model has been exchanged for one with other ids."""

    def vllm(path: str, body: Any) -> tuple[int, Any]:
        status, said = server.vllm(path, body)
        if path == "/tokenize":
            said["tokens"] = [k + 1000 for k in said["tokens"]]
        elif path == "/v1/models":
            said["data"][0] |= card
        else:
            told = said["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            known = [one for one in told if int(one["token"].removeprefix("token_id:")) >= 1000]
            said["choices"][0]["logprobs"]["content"][0]["top_logprobs"] = known
        return status, said

    return vllm


def weighed_ids(server: Server) -> list[int]:
    return server.asked[-1][1]["logprob_token_ids"]


def test_an_answer_without_the_tokens_has_their_ids_asked_anew_once(server: Server) -> None:
    predictor: Any = fo1agent.load(engine=server.url).predictor
    encoding = predictor.encode(IMAGE, boxes(2))
    predictor.match(encoding, ["dog"])
    before = weighed_ids(server)
    server.answer = swapped(server)
    predictor.match(encoding, ["cat"])
    assert weighed_ids(server) == [k + 1000 for k in before]
    usual = server.answer
    server.answer = lambda path, body: usual(path, body if path == "/tokenize" else {})
    asked = len(server.asked)
    with pytest.raises(EngineError, match="its answer lacks tokens that were asked for"):
        predictor.match(encoding, ["cow"])
    assert [path for path, *_ in server.asked[asked:]] == ["/v1/chat/completions", "/tokenize"]  # and not once more


@pytest.mark.parametrize("card", [{"root": "/other"}, {"max_model_len": 512}])
def test_another_model_of_the_same_name_has_its_ids_asked(
    server: Server, card: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_there, "_READY_FOR", -1.0)
    predictor: Any = fo1agent.load(engine=server.url).predictor
    encoding = predictor.encode(IMAGE, boxes(2))
    predictor.match(encoding, ["dog"])
    server.answer = swapped(server, created=5)
    assert predictor.ready()
    assert predictor.engine._ids  # the time alone says nothing
    server.answer = swapped(server, **card)
    assert predictor.ready()
    asked = len(server.asked)
    predictor.match(encoding, ["cat"])
    assert [path for path, *_ in server.asked[asked:]] == ["/tokenize", "/v1/chat/completions"]
    assert min(weighed_ids(server)) >= 1000


def test_a_server_that_was_gone_has_ids_asked_anew() -> None:
    with served() as server:
        predictor: Any = fo1agent.load(engine=server.url).predictor
        encoding = predictor.encode(IMAGE, boxes(2))
        predictor.match(encoding, ["dog"])
    with pytest.raises(EngineError, match="does not answer"):
        predictor.match(encoding, ["cat"])
    with served(server.http.server_port) as other:
        predictor.match(encoding, ["cat"])
        assert [path for path, *_ in other.asked] == ["/tokenize", "/v1/chat/completions"]


def test_a_model_without_tokens_of_regions_is_told(server: Server) -> None:
    predictor: Any = fo1agent.load(engine=server.url).predictor
    usual = server.answer
    server.answer = lambda path, body: (200, {"tokens": [1]}) if path == "/tokenize" else usual(path, body)
    with pytest.raises(EngineError, match="it is no FO1"):
        predictor.match(predictor.encode(IMAGE, boxes(2)), ["dog"])


def test_what_is_asked_of_a_server_in_vain_is_told(server: Server) -> None:
    with pytest.raises(InputError, match="has no model 'other'"):
        fo1agent.load("other", engine=server.url)
    with pytest.raises(InputError, match="takes no dtype bfloat16 and no compile"):
        fo1agent.load(engine=server.url, dtype="bfloat16", compile=True)
    with pytest.raises(InputError, match="makes no proposals"):
        fo1agent.load(engine=server.url, needs_boxes=True)
    assert [path for path, _, _ in server.asked] == ["/v1/models"]


@pytest.mark.parametrize("given", [float("nan"), "nan", "-1.0", True, 500.0, -1e308, None, [0]])
def test_what_is_no_logarithm_of_a_probability_is_no_answer(given: Any) -> None:
    with pytest.raises(ValueError, match="logarithm of a probability"):
        served_there._log_probability(given)


@pytest.mark.parametrize("given", [None, 5, "", "a\n", "a" * 501, "\ud800x", {"a": 1}])
def test_what_no_model_is_called_is_no_name(given: Any) -> None:
    with pytest.raises(ValueError, match="no name"):
        served_there._name(given)


# --- in this process ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        "Available memory on node 0 (3.02/15.61 GiB) on kv cache allocation is less than requested memory for kv "
        "(4.0 GiB). Decrease --kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE, or reduce CPU memory used by other "
        "processes.",
        "Free memory on device cuda:0 (2.9/79.2 GiB) on startup is less than desired GPU memory utilization (0.92, "
        "72.8 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
    ],
)
def test_a_vllm_without_memory_says_what_to_set(said: str) -> None:
    from fo1agent.model.served_here import _start_failed

    told = str(_start_failed(Path("tiny"), ValueError(said)))
    assert told.startswith(f"vLLM cannot run tiny: {said[:100]}")
    assert "VLLM_CPU_KVCACHE_SPACE to the GB that its cache may take" in told
    assert "VLLM_CPU_OMP_THREADS_BIND=nobind" in told
    assert "--gpu-memory-utilization" in told
    assert "VLLM_CPU" not in str(_start_failed(Path("tiny"), ValueError("no such architecture")))


def test_a_vllm_that_breaks_in_this_process_says_so_to_all_who_ask_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fo1agent.model import served_here

    class Core:
        @property
        def llm_engine(self) -> Core:
            return self

        def step(self) -> Any:
            raise RuntimeError("the core is dead.")

    def refuse(*_: Any) -> None:
        raise ValueError("too long.")

    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(eos_token_id=None))
    ids = SimpleNamespace(token_id=lambda token: 0, stop_id=1, config=config, prompt_ids=lambda *_: np.zeros(2, int))
    monkeypatch.setattr(served_here, "_start", lambda *_: Core())
    monkeypatch.setattr(served_here.Here, "_add", refuse)
    here = served_here.Here(Path("tiny"), ids, "float32")  # pyright: ignore[reportArgumentType]
    with pytest.raises(EngineError, match=r"vLLM refuses the prompt: too long.$") as caught:
        here.write([Asked((), "What?")], 4)
    assert (caught.value.fault, here.ready()) == ("refused", True)
    monkeypatch.setattr(served_here.Here, "_add", lambda *_: None)
    with pytest.raises(EngineError, match=r"has failed: the core is dead. Load the model again.$") as caught:
        here.write([Asked((), "What?")], 4)
    assert (caught.value.fault, here.ready()) == ("failed", False)
    monkeypatch.setattr(served_here.Here, "_add", refuse)
    with pytest.raises(EngineError, match="has failed") as caught:
        here.write([Asked((), "What?")], 4)
    assert caught.value.fault == "failed"
