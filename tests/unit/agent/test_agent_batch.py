"""Questions that run at once share the model's passes, and end as each does alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fo1agent.agent.loop import Agent
from fo1agent.agent.sharing import Sharing, Turns
from fo1agent.errors import AgentError, ImageError, InputError
from fo1agent.runs.answer import Answer
from fo1agent.runs.budget import Budget
from fo1agent.scene import Model
from fo1agent.traces import store as traces
from fo1agent.traces.store import Memory
from tests.fakes import FakePredictor

OBJECTS = [((30.0, 10.0, 60.0, 40.0), "bus", 0.9), ((5.0, 5.0, 20.0, 40.0), "person", 0.8)]
PICTURE, OTHER = Image.new("RGB", (64, 48), "red"), Image.new("RGB", (80, 48), "blue")
QUESTIONS = ["How many buses are there?", "Describe the picture.", "Is there a dog?", "Describe the bus."]
TOGETHER = ("match_many", "generate_many")


class Many(FakePredictor):
    """One that can do several things in one pass; it notes how many, and in which thread."""

    def __init__(self) -> None:
        super().__init__(
            OBJECTS, replies={"Briefly": "<ground>bus</ground><objects><region0></objects>", "<region0>": "a bus"}
        )
        self.made: list[tuple[str, int]] = []
        self.threads: set[str] = set()

    def _pass(self, kind: str, several: int) -> None:
        self.made.append((kind, several))
        self.threads.add(threading.current_thread().name)

    def recalled(self, encoding: Any, phrases: Sequence[str]) -> np.ndarray | None:
        return None

    def generate(self, about: Any, text: str, max_new_tokens: int = 256) -> str:
        self._pass("generate", 1)
        return super().generate(about, text, max_new_tokens)

    def match_many(self, encodings: Sequence[Any], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        self._pass("match", len(encodings))
        return [FakePredictor.match(self, *pair) for pair in zip(encodings, phrases, strict=True)]

    def generate_many(self, about: Sequence[Any], texts: Sequence[str], max_new_tokens: int = 256) -> list[str]:
        self._pass("generate", len(texts))
        return [FakePredictor.generate(self, *pair) for pair in zip(about, texts, strict=True)]


def told(answer: Any) -> Any:
    assert isinstance(answer, Answer)
    steps = [(step.tool, step.args, step.asked, step.gave, step.error) for step in answer.trace]
    return answer.text, answer.value, answer.abstained, answer.evidence.ids, steps


def test_a_batch_gives_what_each_question_gives_alone_in_fewer_passes() -> None:
    model = Many()
    agent = Agent(Model(model))
    pairs = [(picture, question) for question in QUESTIONS for picture in (PICTURE, OTHER)]
    alone = [told(agent.ask(*pair)) for pair in pairs]
    assert {kind for kind, _ in model.made} == {"generate"}
    singles, model.made, model.threads = len(model.made), [], set()
    assert [told(answer) for answer in agent.batch(pairs)] == alone
    assert sum(several for kind, several in model.made if kind == "generate") <= singles
    assert max(several for _, several in model.made) > 1
    assert model.threads == {"fo1agent-model"}
    assert "fo1agent-model" not in {one.name for one in threading.enumerate()}


def test_questions_about_one_picture_need_it_opened_once() -> None:
    model = Many()
    agent = Agent(Model(model))
    answers = agent.ask_many(PICTURE, QUESTIONS)
    assert [told(answer) for answer in answers] == [told(agent.ask(PICTURE, question)) for question in QUESTIONS]
    scene = Model(model).open(PICTURE)
    model.passes["towers"] = 0
    assert len(agent.ask_many(scene, QUESTIONS, workers=2)) == 4
    assert model.passes["towers"] == 0
    assert scene.model.predictor is model
    assert agent.ask_many(scene, []) == []


def test_what_cannot_be_asked_is_told_of() -> None:
    agent = Agent(Model(Many()))
    with pytest.raises(InputError, match=r"ask_many needs a list of questions, got 'How many\?'"):
        agent.ask_many(PICTURE, "How many?")
    with pytest.raises(InputError, match="A question is a text"):
        agent.ask_many(PICTURE, [QUESTIONS[0], 7])  # pyright: ignore[reportArgumentType]
    first, wrong = agent.batch([(PICTURE, QUESTIONS[0]), ("absent.jpg", QUESTIONS[0])])
    assert isinstance(first, Answer)
    assert isinstance(wrong, ImageError)


def test_a_trace_counts_the_passes_of_its_own_question(tmp_path: Path) -> None:
    pairs = [(PICTURE, question) for question in QUESTIONS]
    Agent(Model(Many()), traces=tmp_path / "together").batch(pairs)
    alone = Agent(Model(Many()), traces=tmp_path / "alone")
    for pair in pairs:
        alone.ask(*pair)
    counted = []
    for folder in ("together", "alone"):
        runs = [traces.read(path) for path in sorted((tmp_path / folder).iterdir())]
        counted.append({one.run.question: one.costs.calls for one in runs if one.costs})
    assert len(counted[0]) == 4
    assert counted[0] == counted[1]


def test_whoever_waits_lets_others_compute_and_is_not_charged_for_it() -> None:
    turns, future, entered = Turns(), Future(), threading.Event()
    meter = turns.meter(Budget())

    def other() -> None:
        with turns:
            entered.set()
            future.set_result("done")

    with turns, turns:
        thread = threading.Thread(target=other)
        thread.start()
        assert turns.wait(future, lambda: 0.0) == "done"
        assert entered.is_set()
    thread.join()
    before = meter.seconds
    meter.wait(5.0)
    assert meter.seconds < before


@pytest.mark.timeout(60)
@pytest.mark.parametrize("workers", [0, -1, 2.5, 2.0, float("nan"), True, "2", [2]])
def test_workers_are_a_whole_number(workers: Any) -> None:
    model = Many()
    agent = Agent(Model(model))
    for ask in (
        lambda: agent.batch([(PICTURE, QUESTIONS[0])] * 4, workers),
        lambda: agent.ask_many(PICTURE, QUESTIONS, workers),
    ):
        with pytest.raises(InputError, match=r"^workers must be 1 or more, a whole number, got "):
            ask()
    assert model.passes["towers"] == 0


def test_any_whole_number_of_workers_will_do() -> None:
    assert len(Agent(Model(Many())).ask_many(PICTURE, QUESTIONS, np.int64(2))) == 4  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("pairs", [None, "abc", 5, [1], ["ab"], [(PICTURE,)], [(PICTURE, "q"), (PICTURE, "q", "x")]])
def test_what_is_no_pairs_is_refused_before_anything_runs(pairs: Any) -> None:
    model = Many()
    with pytest.raises(InputError, match=r"^batch needs (a list of )?\(source, question\) pairs, got [^\n]*$"):
        Agent(Model(model)).batch(pairs)
    assert model.passes["towers"] == 0


@pytest.mark.parametrize(
    ("asked", "told"), [(None, "needs a list"), (5, "needs a list"), ([QUESTIONS[0], 7], "a text")]
)
def test_what_is_no_questions_is_refused_before_the_picture_is_opened(asked: Any, told: str) -> None:
    model = Many()
    with pytest.raises(InputError, match=told):
        Agent(Model(model)).ask_many(PICTURE, asked)
    assert model.passes["towers"] == 0


def test_an_error_that_is_not_ours_takes_the_place_of_one_answer() -> None:
    class Breaks(Many):
        def generate_many(self, about: Sequence[Any], texts: Sequence[str], max_new_tokens: int = 256) -> list[str]:
            raise ZeroDivisionError("by none")

        def generate(self, about: Any, text: str, max_new_tokens: int = 256) -> str:
            raise ZeroDivisionError("by none")

    agent = Agent(Model(Breaks()))
    wrong, right = agent.batch([(PICTURE, "Describe the picture."), (PICTURE, "How many buses are there?")])
    assert isinstance(right, Answer)
    assert isinstance(wrong, AgentError)
    assert str(wrong) == "The question 'Describe the picture.' could not be answered: ZeroDivisionError('by none')."
    assert isinstance(wrong.__cause__, ZeroDivisionError)
    with pytest.raises(AgentError, match="could not be answered"):
        agent.ask_many(PICTURE, ["Describe the picture."])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("traced", [False, True])
def test_a_scene_that_was_kept_lives_on_after_the_batch_and_in_the_next(traced: bool) -> None:
    class Keeps(Model):
        def open(self, source: Any, boxes: Any = None, limits: Any = None) -> Any:
            kept.append(super().open(source, boxes, limits))
            return kept[-1]

    kept: list[Any] = []
    model = Many()
    agent = Agent(Keeps(model), traces=Memory() if traced else None)
    agent.batch([(PICTURE, QUESTIONS[0])])
    assert kept[0].count("person").value == 1
    assert kept[0].count("zebra").value is None
    assert isinstance(kept[0].describe("r0").text, str)
    again = Sharing(2)
    with again.lasting():
        assert again.model(kept[0].model).predictor is again.model(agent.model).predictor
    answers = agent.batch([(kept[0], question) for question in QUESTIONS])
    assert [told(answer) for answer in answers] == [told(agent.ask(PICTURE, question)) for question in QUESTIONS]
    assert "fo1agent-model" not in {one.name for one in threading.enumerate()}
