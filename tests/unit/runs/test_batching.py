"""Whether passes that are asked for together are made together, and give what they give alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from fo1agent.errors import AgentError
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.regions.regions import Regions
from fo1agent.runs.batching import Batched
from tests.fakes import FakePredictor
from tests.serving import until

OBJECTS = [((30.0, 10.0, 60.0, 40.0), "bus", 0.9), ((5.0, 5.0, 20.0, 40.0), "person", 0.8)]


class Slow(FakePredictor):
    """Its first pass waits for `go`, so that others queue up behind it; it notes who ran what."""

    def __init__(self) -> None:
        super().__init__(OBJECTS, vocabulary=None)
        self.entered, self.go = threading.Event(), threading.Event()
        self.ran: list[tuple[str, int]] = []
        self.threads: set[str] = set()

    def _pass(self, kind: str, n: int) -> None:
        self.threads.add(threading.current_thread().name)
        self.ran.append((kind, n))
        self.go.wait(60)

    def recalled(self, encoding: Any, phrases: Sequence[str]) -> np.ndarray | None:
        return None

    def encode(self, image: LoadedImage, proposals: Regions | None = None) -> Any:
        self._pass("encode", 1)
        return super().encode(image, proposals)

    def match(self, encoding: Any, phrases: Sequence[str]) -> np.ndarray:
        self._pass("match", len(phrases))
        if "error" in phrases:
            raise ValueError("no such phrase")
        return super().match(encoding, phrases)

    def generate(self, about: Any, text: str, max_new_tokens: int = 256) -> str:
        self._pass("generate", 1)
        return f"said {text}"

    def match_many(self, encodings: Sequence[Any], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        self._pass("match", sum(map(len, phrases)))
        if any("error" in some for some in phrases):
            raise ValueError("no such phrase")
        return [FakePredictor.match(self, *pair) for pair in zip(encodings, phrases, strict=True)]

    def generate_many(self, about: Any, texts: Sequence[str], max_new_tokens: int = 256) -> list[str]:
        self._pass("generate", len(texts))
        return [f"said {text}" for text in texts]


def picture(color: str) -> LoadedImage:
    from PIL import Image

    return load_image(Image.new("RGB", (64, 48), color))


def encoded(color: str) -> Any:
    return FakePredictor(OBJECTS, vocabulary=None).encode(picture(color))


def together(model: Slow, batched: Batched, *asked: Callable[[], Any]) -> list[Any]:
    """What the calls give that queue up, in this order, behind a first pass."""
    with ThreadPoolExecutor(len(asked) + 1) as threads:
        first = threads.submit(batched.similar, encoded("black"), 0)
        assert model.entered.wait(60)  # or it would take some of the others along
        futures = []
        for one in asked:
            futures.append(threads.submit(one))
            until(lambda: batched._jobs.qsize() == len(futures))
        model.go.set()
        first.result(60)
        return [future.exception(60) or future.result() for future in futures]


class Blocking(Slow):
    def similar(self, encoding: Any, index: int) -> np.ndarray:
        self.entered.set()
        self.go.wait(60)
        return np.ones(len(encoding.boxes))


@pytest.fixture
def model() -> Slow:
    return Blocking()


@pytest.fixture
def batched(model: Slow):
    made = Batched(model, wait_s=0)
    yield made
    model.go.set()
    made.close()


def test_one_picture_opened_by_many_is_encoded_once(model: Slow, batched: Batched) -> None:
    red, blue = picture("red"), picture("blue")
    given = Regions(np.array([[1.0, 2.0, 30.0, 40.0]]), np.array([1.0]), (None,), ("x",))
    asked = [lambda: batched.encode(red)] * 3 + [lambda: batched.encode(blue), lambda: batched.encode(red, given)]
    *reds, bluish, boxed = together(model, batched, *asked)
    assert reds[0] is reds[1] is reds[2]
    assert model.ran == [("encode", 1)] * 3
    np.testing.assert_array_equal(boxed.boxes, given.boxes)
    assert len(bluish.boxes) == 2


def test_short_passes_go_before_long_ones_and_those_of_different_kinds_take_turns(
    model: Slow, batched: Batched
) -> None:
    red, blue = (encoded(color) for color in ("red", "blue"))
    asked = [
        *[lambda color=color: batched.encode(picture(color)) for color in ("white", "green", "yellow")],
        *[lambda about=about: batched.generate(about, "a") for about in (red, blue)],
        lambda: batched.match(red, ["bus"]),
        lambda: batched.match(blue, ["bus"]),
    ]
    together(model, batched, *asked)
    assert model.ran[0] == ("match", 2)
    kinds = [kind for kind, _ in model.ran[1:]]
    assert kinds in (["generate", "encode", "encode", "encode"], ["encode", "generate", "encode", "encode"])


def test_where_only_the_whole_counts_what_others_build_on_goes_first(model: Slow) -> None:
    batched = Batched(model, wait_s=0, in_turns=False)
    red, blue = (encoded(color) for color in ("red", "blue"))
    asked = [
        *[lambda about=about: batched.generate(about, "a") for about in (red, blue)],
        lambda: batched.match(red, ["bus"]),
        *[lambda color=color: batched.encode(picture(color)) for color in ("white", "green")],
    ]
    together(model, batched, *asked)
    assert model.ran == [("encode", 1), ("encode", 1), ("match", 1), ("generate", 2)]
    batched.close()


def test_many_asked_by_one_share_passes_with_what_others_ask(model: Slow, batched: Batched) -> None:
    red, blue = (encoded(color) for color in ("red", "blue"))
    asked = [
        lambda: batched.generate_many([red, blue, [red, blue]], ["a", "b", "c"]),
        lambda: batched.generate_many(red, ["a", "d"]),
        lambda: batched.match_many([red, blue], [["bus"], ["person"]]),
    ]
    several, of_one, rows = together(model, batched, *asked)
    assert several == ["said a", "said b", "said c"]
    assert of_one == ["said a", "said d"]
    assert [row.shape for row in rows] == [(1, 2), (1, 2)]
    assert model.ran == [("match", 2), ("generate", 4)]


def test_whoever_waits_is_told_how_long_its_pass_took(model: Slow) -> None:
    told: list[float] = []

    def wait(future: Future[Any], seconds: Callable[[], float]) -> Any:
        result = future.result(60)
        told.append(seconds())
        return result

    def refused() -> None:
        raise ValueError("called off")

    model.go.set()
    batched = Batched(model, wait_s=0, wait=wait)
    batched.match(encoded("red"), ["bus"])
    assert told[0] > 0
    batched._check = refused
    with pytest.raises(ValueError, match="called off"):
        batched.match(encoded("red"), ["bus"])
    batched.close()


def test_what_is_short_waits_for_one_long_pass(model: Slow, batched: Batched) -> None:
    red = encoded("red")

    matched: list[Any] = []
    encode, ran = model.encode, model.ran

    def encoding(image: LoadedImage, proposals: Regions | None = None) -> Any:
        made = encode(image, proposals)
        if not matched:
            matched.append(threads.submit(batched.match, red, ["bus"]))
            until(lambda: batched._jobs.qsize() == 1)
        return made

    model.encode = encoding
    with ThreadPoolExecutor(1) as threads:
        together(model, batched, *[lambda c=color: batched.encode(picture(c)) for color in ("white", "green", "blue")])
        matched[0].result(60)
    assert ran == [("encode", 1), ("match", 1), ("encode", 1), ("encode", 1)]


def test_phrases_share_a_pass_whatever_picture_they_are_about(model: Slow, batched: Batched) -> None:
    one, other = encoded("red"), encoded("blue")
    asked = [
        lambda: batched.match(one, ["bus", "person"]),
        lambda: batched.match(one, ["person"]),
        lambda: batched.match(other, ["bus"]),
    ]
    found = together(model, batched, *asked)
    assert model.ran == [("match", 4)]
    plain = FakePredictor(OBJECTS)
    np.testing.assert_array_equal(found[0], plain.match(one, ["bus", "person"]))
    np.testing.assert_array_equal(found[1], plain.match(one, ["person"]))


def test_questions_are_decoded_together_whatever_picture_they_are_about(model: Slow, batched: Batched) -> None:
    one, other = encoded("red"), encoded("blue")
    asked = [lambda about=about, text=text: batched.generate(about, text) for about in (one, other) for text in "abca"]
    assert together(model, batched, *asked) == [f"said {text}" for text in "abcaabca"]
    assert model.ran == [("generate", 6)]


def test_one_that_fails_does_not_spoil_the_others(model: Slow, batched: Batched) -> None:
    one = encoded("red")
    wrong, right = together(model, batched, lambda: batched.match(one, ["error"]), lambda: batched.match(one, ["bus"]))
    assert isinstance(wrong, ValueError)
    assert right.shape == (1, 2)


def test_the_model_runs_in_one_thread(model: Slow, batched: Batched) -> None:
    one = encoded("red")
    together(model, batched, *[lambda k=k: batched.match(one, [f"{k}"]) for k in range(8)])
    assert model.threads == {"fo1agent-model"}


def test_a_full_line_is_taken_in_pieces(model: Slow) -> None:
    batched = Batched(model, most=4, wait_s=0)
    one = encoded("red")
    together(model, batched, *[lambda k=k: batched.match(one, [f"{k}"]) for k in range(9)])
    assert [n for _, n in model.ran] == [4, 4, 1]
    batched.close()


def test_what_is_known_needs_no_pass(model: Slow, batched: Batched) -> None:
    model.recalled = lambda encoding, phrases: np.full((len(phrases), 2), 0.5)
    np.testing.assert_array_equal(batched.match(encoded("red"), ["bus"]), [[0.5, 0.5]])
    assert model.ran == []


def test_nobody_waits_for_requests_that_do_not_run(model: Slow) -> None:
    model.go.set()
    batched = Batched(model, wait_s=3600, running=lambda: 1)
    batched.match(encoded("red"), ["bus"])
    batched.close()


@pytest.mark.timeout(60)
def test_what_ends_the_model_s_thread_is_told_to_all_who_wait_and_to_all_who_ask_later(
    model: Slow, batched: Batched
) -> None:
    def ends() -> None:
        raise SystemExit("stop")

    one = encoded("red")
    asked = [lambda: batched.alone(ends), *[lambda t=t: batched.generate(one, t) for t in "ab"]]
    for told in [*together(model, batched, *asked)[:1], *map(told_of, asked[1:])]:
        assert isinstance(told, AgentError)
        assert str(told).startswith("The model's thread has ended by SystemExit('stop'), and")
        assert isinstance(told.__cause__, SystemExit)


@pytest.mark.timeout(60)
def test_those_in_line_behind_what_ends_the_thread_wait_no_longer(model: Slow) -> None:
    def ends(kind: str, jobs: int, different: int) -> None:
        if kind == "generate":
            raise ValueError("no such count")

    batched = Batched(model, wait_s=0, on_pass=ends)
    one = encoded("red")
    told = together(model, batched, *[lambda k=k: batched.generate(one, "a", k) for k in (1, 2, 3)])
    assert [type(error) for error in told] == [AgentError] * 3
    batched.close()


@pytest.mark.timeout(60)
def test_after_the_end_whoever_asks_computes_it(model: Slow) -> None:
    model.go.set()
    batched = Batched(model, wait_s=0)
    assert batched.free is batched
    batched.close()
    one = encoded("red")
    assert batched.generate_many([one, one], ["a", "b"]) == ["said a", "said b"]
    np.testing.assert_array_equal(batched.match(one, ["bus"]), FakePredictor(OBJECTS).match(one, ["bus"]))
    assert batched.alone(lambda: 7) == 7
    assert model.ran == [("generate", 2), ("match", 1)]
    assert "fo1agent-model" not in model.threads
    assert batched.free is model
    batched.close()


def told_of(ask: Callable[[], Any]) -> BaseException | None:
    try:
        ask()
    except Exception as exc:
        return exc
    return None
