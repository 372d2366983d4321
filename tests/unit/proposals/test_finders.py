"""Finders of others: what is refused when one is named, and what is said of one that fails or gives what is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fo1agent
from fo1agent.agent import Agent
from fo1agent.errors import InputError, ProposalError
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.proposals import resolve_finder, resolve_proposer
from fo1agent.proposals.base import MOST_BOXES, found_by, propose_many, to_regions
from fo1agent.regions.regions import Regions
from fo1agent.scene import Model
from tests.fakes import FakePredictor

PICTURE = load_image(np.zeros((100, 200, 3), dtype=np.uint8))


class Toy:
    """A finder that gives what it is made with, or raises it."""

    def __init__(self, gives: Any = None, names: Any = None, name: Any = "toy") -> None:
        self.gives, self.names, self.name = gives, names, name

    def find(self, image: LoadedImage, phrases: Any) -> Any:
        if isinstance(self.gives, BaseException):
            raise self.gives
        return self.gives() if callable(self.gives) else self.gives


def at(*boxes: tuple[float, float, float, float]) -> Regions:
    """Regions as somebody makes them who does not use `to_regions`."""
    ids = tuple(f"x/{k}" for k in range(len(boxes)))
    return Regions(np.array(boxes), np.full(len(boxes), 0.5), (None,) * len(boxes), ids)


def plain(image: LoadedImage) -> Regions:
    return at((0, 0, 9, 9))


class Nameless:
    names = None

    def find(self, image: LoadedImage, phrases: Any) -> list[Regions]:
        return []


NO_FINDERS: list[tuple[Any, str]] = [
    (3, "3 is no finder: pass 'grounding-dino-tiny' or another short name"),
    (plain, "is no finder: it says where something is, not what. Pass it as proposer."),
    (Toy, "Toy is a class of finders. Pass one of them: Toy()."),
    (Nameless(), "The finder Nameless has no name"),
    (Toy(name=7), "The finder Toy has no name"),
    (
        Toy(names="cat"),
        "The finder toy needs names: a tuple of all that it finds, or None if it takes any words; got 'cat'",
    ),
    (Toy(names=(1, 2)), "The finder toy needs names"),
    (Toy(names=()), "The finder toy has names (), wanted one or more, none of them blank; or None"),
    (Toy(names=("cat", " ")), "The finder toy has names ('cat', ' '), wanted one or more"),
    (type("Mute", (), {"name": "mute", "find": None})(), "The finder mute needs names"),
    (
        type("Mute", (), {"name": "mute", "names": None, "find": 7})(),
        "The finder mute must have find(image, phrases), got 7",
    ),
]


@pytest.mark.parametrize(("given", "said"), NO_FINDERS)
def test_what_is_no_finder_is_told_before_anything_is_loaded(given: Any, said: str) -> None:
    for finders in (given, [given]):
        with pytest.raises(InputError) as raised:
            fo1agent.load(finder=finders)
        assert said in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_proposer_that_finds_as_well_is_held_to_the_same() -> None:
    class Both(Nameless):
        def __call__(self, image: LoadedImage) -> Regions:
            return plain(image)

    with pytest.raises(InputError, match="The finder Both has no name"):
        resolve_proposer(Both())
    finder = Toy()
    assert resolve_finder(finder) is finder


def test_a_finder_that_fails_is_told_by_name_with_its_cause() -> None:
    cause = KeyError("no\nsuch key")
    with pytest.raises(ProposalError, match=r"^toy failed: 'no\\nsuch key'$") as raised:
        found_by(Toy(cause), PICTURE, ["cat"])
    assert raised.value.__cause__ is cause
    with pytest.raises(ProposalError, match=r"^toy failed: ZeroDivisionError$"):
        found_by(Toy(ZeroDivisionError()), PICTURE, ["cat"])
    with pytest.raises(ProposalError, match=r"^toy failed: SystemExit\(3\)$"):
        found_by(Toy(SystemExit(3)), PICTURE, ["cat"])


def test_the_message_of_a_finder_s_failure_is_cut() -> None:
    for failure in (RuntimeError("no " * 9999), ProposalError("no " * 9999)):
        with pytest.raises(ProposalError, match=r"^toy failed: no no") as raised:
            found_by(Toy(failure), PICTURE, ["cat"])
        assert len(str(raised.value)) < 320
    with pytest.raises(ProposalError, match=r"^There is none\.$"):
        found_by(Toy(ProposalError("There is none.")), PICTURE, ["cat"])


def test_of_very_many_boxes_the_likeliest_are_looked_at() -> None:
    count = 100_000
    corners = np.random.default_rng(0).random((count, 2)) * [PICTURE.width - 2, PICTURE.height - 2]
    boxes = np.concatenate([corners, corners + 2], axis=1)
    scores = np.arange(count) / count
    found = to_regions(PICTURE, boxes, scores, [None] * count, "toy")
    assert found.scores[0] == scores[-1]
    assert found.note.startswith("more than ")
    assert found.note.endswith(" boxes proposed, best 100 kept")
    given = Regions(boxes, scores, (None,) * count, tuple(map(str, range(count))), "toy")
    (seen,) = found_by(Toy([given]), PICTURE, ["cat"])
    assert seen.scores.tolist() == scores[::-1][:MOST_BOXES].tolist()


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        (None, "toy was asked for 1 phrases; wanted Regions of each, as .*to_regions.*; got None"),
        ([], r"wanted Regions of each.*; got \[\]"),
        ([np.zeros((2, 4))], r"wanted Regions of each.*; got \[array"),
        (at((0, 0, 9, 9)), "wanted Regions of each"),
        ([[0, 0, 9, 9]], r"got \[\[0, 0, 9, 9\]\]"),
        (lambda: [at((0, 0, np.nan, 9))], r"toy failed: boxes\[0\] = .*every value must be finite"),
        (lambda: [at((9, 0, 0, 9))], r"toy failed: boxes\[0\] = .*x2 < x1"),
        (lambda: [Regions(np.zeros((1, 4)), np.array([7.0]), (None,), ("x",))], r"toy failed: .*must lie in \[0, 1\]"),
        (lambda: [Regions(np.zeros((1, 3)), np.ones(1), (None,), ("x",))], "toy failed: boxes must have shape"),
        (lambda: [to_regions(PICTURE, np.zeros((2, 4)), np.ones(1), [None], "toy")], "toy gave 2 boxes, 1 scores"),
    ],
)
def test_what_a_finder_gives_that_is_no_regions_is_told_in_one_line(gives: Any, said: str) -> None:
    with pytest.raises(ProposalError, match=said) as raised:
        found_by(Toy(gives), PICTURE, ["cat"])
    assert "\n" not in str(raised.value)


def test_boxes_are_cut_at_the_border_and_those_outside_are_left_out() -> None:
    inside = at((0, 0, 9, 9))
    beyond = at((-20, -5, 50, 300), (300, 0, 310, 9), (-9, -9, -1, -1), (10, 10, 20, 20))
    found = found_by(Toy([inside, beyond, at()]), PICTURE, ["a", "b", "c"])
    assert found[0] is inside
    assert found[1].boxes.tolist() == [[0, 0, 50, 100], [10, 10, 20, 20]]
    assert found[1].ids == ("x/0", "x/3")
    assert len(found[2]) == 0


def fail(image: LoadedImage) -> Regions:
    raise RuntimeError("no memory")


class Lists:
    """A proposer that gives what is no regions."""

    name = "lists"

    def __call__(self, image: LoadedImage) -> Any:
        return [[0, 0, 9, 9]]

    def propose_many(self, images: Any) -> Any:
        return [self(image) for image in images]


PROPOSERS: list[tuple[Callable[..., Any], str]] = [
    (resolve_proposer(fail), "fail failed: no memory"),
    (fail, "fail failed: no memory"),
    (resolve_proposer(lambda image: at((0, 0, np.inf, 9))), r"<lambda> failed: boxes\[0\]"),
    (Lists(), "The proposer lists gave list; wanted Regions"),
]


@pytest.mark.parametrize(("proposer", "said"), PROPOSERS)
def test_a_proposer_that_fails_is_told_by_name_wherever_a_picture_is_opened(proposer: Any, said: str) -> None:
    model = Model(FakePredictor([]), proposer)
    for opening in (
        lambda: model.open(PICTURE),
        lambda: model.open_many([PICTURE, PICTURE]),
        lambda: Agent(model).ask(PICTURE, "Is there a dog?"),
    ):
        with pytest.raises(ProposalError, match=said):
            opening()
    assert propose_many(plain, [PICTURE])[0].boxes.tolist() == [[0, 0, 9, 9]]
