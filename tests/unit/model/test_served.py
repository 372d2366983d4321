"""A predictor whose words come from elsewhere: what it asks, what it makes of the answers, and what servers may do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fo1agent
from fo1agent.errors import InputError, ServerError, ToolFailed
from fo1agent.model import served_there
from fo1agent.model.served import Asked, Engine, Said, ServedPredictor, Written
from fo1agent.pictures.image import load_image
from fo1agent.prompts import render
from fo1agent.regions.regions import Regions

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

Answer = Callable[[str, Any], tuple[int, Any]]


class Server:
    """Answers as `answer` says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any, str | None]] = []
        self.answer: Answer = self.vllm
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(None)

            def do_POST(self) -> None:
                self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _reply(self, body: Any) -> None:
                outer.asked.append((self.path, body, self.headers.get("Authorization")))
                status, said = outer.answer(self.path, body)
                data = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def vllm(self, path: str, body: Any) -> tuple[int, Any]:
        if path == "/v1/models":
            return 200, {"data": [{"id": "models/tiny"}]}
        if path == "/tokenize":
            return 200, {"tokens": [100 + k for k in range(body["prompt"].count("<"))]}
        ids = body.get("logprob_token_ids", ())
        told = [{"token": f"token_id:{k}", "logprob": -0.01 * k} for k in [5, *ids]]
        message = {"content": " A dog.<|im_end|>"}
        return 200, {"choices": [{"message": message, "logprobs": {"content": [{"top_logprobs": told}]}}]}


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    thread = threading.Thread(target=one.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield one
    one.http.shutdown()
    thread.join()
    one.http.server_close()


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
    ("said", "error", "told"),
    [
        ((200, b"<html>"), ServerError, "is no vLLM with FO1"),
        ((200, {"choices": []}), ServerError, "is no vLLM with FO1"),
        ((200, b"[" * 100_000), ServerError, "is no vLLM with FO1"),
        ((400, {"error": {"message": "too\nlong"}}), InputError, "refuses the request: too long"),
        ((500, {"error": {"message": "broken"}}), ServerError, "answers 500: broken"),
    ],
)
def test_what_a_server_gets_wrong_is_told(server: Server, said: Any, error: type[Exception], told: str) -> None:
    predictor: Any = fo1agent.load(engine=server.url).predictor
    server.answer = lambda path, body: said
    with pytest.raises(error, match=told):
        predictor.generate([], "What?")


def test_a_model_without_tokens_of_regions_is_told(server: Server) -> None:
    predictor: Any = fo1agent.load(engine=server.url).predictor
    usual = server.answer
    server.answer = lambda path, body: (200, {"tokens": [1]}) if path == "/tokenize" else usual(path, body)
    with pytest.raises(ServerError, match="it is no FO1"):
        predictor.match(predictor.encode(IMAGE, boxes(2)), ["dog"])


def test_what_is_asked_of_a_server_in_vain_is_told(server: Server) -> None:
    with pytest.raises(InputError, match="has no model 'other'"):
        fo1agent.load("other", engine=server.url)
    with pytest.raises(InputError, match="takes no dtype bfloat16 and no compile"):
        fo1agent.load(engine=server.url, dtype="bfloat16", compile=True)
    with pytest.raises(InputError, match="makes no proposals"):
        fo1agent.load(engine=server.url, needs_boxes=True)
    with pytest.raises(InputError, match="or the address of a vLLM server"):
        fo1agent.load(engine="vlm")
    assert [path for path, _, _ in server.asked] == ["/v1/models"]


@pytest.mark.parametrize("given", [float("nan"), "nan", "-1.0", True, 500.0, -1e308, None, [0]])
def test_what_is_no_logarithm_of_a_probability_is_no_answer(given: Any) -> None:
    with pytest.raises(ValueError, match="logarithm of a probability"):
        served_there._log_probability(given)


@pytest.mark.parametrize("given", [None, 5, "", "a\n", "a" * 501, "\ud800x", {"a": 1}])
def test_what_no_model_is_called_is_no_name(given: Any) -> None:
    with pytest.raises(ValueError, match="no name"):
        served_there._name(given)
