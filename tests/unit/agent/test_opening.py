"""While a picture is opened it is told how far that is, to who opens it and nobody else."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest
from PIL import Image

from fo1agent import progress
from fo1agent.agent import Agent
from fo1agent.agent.opening import Opened
from fo1agent.errors import ImageError, InputError
from fo1agent.runs.events import AnswerEvent, Opening, PlanEvent
from fo1agent.scene import Model
from tests.fakes import FakePredictor

QUESTION = "How many buses are there?"


class ByTiles(FakePredictor):
    """One that looks at three tiles; it fails at one of them, if that is said."""

    on_progress = None
    fails_at = 9

    def recalled(self, encoding: Any, phrases: Any) -> None:
        """As `Batched` asks for what is known: nothing."""

    def match_many(self, encodings: Any, phrases: Any) -> Any:
        return [self.match(*pair) for pair in zip(encodings, phrases, strict=True)]

    def encode(self, image: Any, proposals: Any = None) -> Any:
        for done in range(4):
            progress.tell(image.sha256, done, 3)
            if done == self.fails_at:
                raise InputError("it fails.")
        return super().encode(image, proposals)


def by_tiles(fails_at: int = 9) -> Model:
    predictor = ByTiles([((30.0, 10.0, 60.0, 40.0), "bus", 0.9)])
    predictor.fails_at = fails_at
    return Model(predictor)


def gray(side: int = 64) -> Image.Image:
    return Image.new("RGB", (side, 48), "gray")


def test_a_run_that_opens_a_picture_by_tiles_begins_with_them() -> None:
    agent = Agent(by_tiles())
    events = list(agent.stream(gray(), QUESTION))
    assert events[:4] == [Opening(done, 3) for done in range(4)]
    assert isinstance(events[4], PlanEvent)
    assert isinstance(events[-1], AnswerEvent)
    assert events[-1].answer.value == agent.ask(gray(), QUESTION).value == 1
    assert isinstance(next(agent.stream(agent.model.open(gray()), QUESTION)), PlanEvent)


async def test_the_same_holds_for_asyncio() -> None:
    events = [event async for event in Agent(by_tiles()).astream(gray(), QUESTION)]
    assert [event.type for event in events[:5]] == ["opening"] * 4 + ["plan"]


def test_a_picture_that_is_none_is_an_error_of_the_call() -> None:
    with pytest.raises(ImageError):
        Agent(by_tiles()).stream(b"no picture", QUESTION)


def test_what_fails_between_tiles_is_an_error_of_the_events() -> None:
    events = Agent(by_tiles(fails_at=1)).stream(gray(), QUESTION)
    assert [next(events), next(events)] == [Opening(0, 3), Opening(1, 3)]
    with pytest.raises(InputError, match="it fails"):
        next(events)


def test_who_takes_no_more_events_stops_the_opening() -> None:
    looked, ended, may_go_on = [], threading.Event(), threading.Event()

    def open_() -> None:
        try:
            with progress.opening("a"):
                for done in range(3):
                    looked.append(done)
                    progress.tell("a", done, 3)
                    may_go_on.wait(30)
        finally:
            ended.set()

    with contextlib.closing(Opened(open_).events()) as events:
        next(events)
    may_go_on.set()
    assert ended.wait(30)
    assert looked == [0, 1]


def test_who_waits_for_another_picture_hears_nothing() -> None:
    mine: list[tuple[int, int]] = []
    with progress.told(lambda *far: mine.append(far)), progress.opening("a"):
        progress.tell("b", 1, 2)
        threading.Thread(target=progress.tell, args=("a", 1, 2)).run()  # from wherever it is looked at
    progress.tell("a", 2, 2)
    with progress.opening("a"):
        progress.tell("a", 2, 2)
    assert mine == [(1, 2)]
