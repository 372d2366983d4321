"""What things are on, in, at or beside, as "Where is …?" is answered with it."""

from __future__ import annotations

import pytest

from fo1agent.agent import Agent
from fo1agent.regions.regions import Box, Region, Regions
from fo1agent.runs.whereabouts import landmark, places
from tests.labelled_scene import LabelledScene, Thing


def _regions(**boxes: tuple[float, float, float, float]) -> Regions:
    return Regions.from_list([Region(f"r{i}", box, 0.9, name) for i, (name, box) in enumerate(boxes.items())])


@pytest.mark.parametrize(
    ("thing", "box", "other", "at", "words"),
    [
        ("cat", (250, 300, 350, 398), "couch", (100, 150, 500, 400), "on"),
        ("apple", (250, 300, 300, 350), "bowl", (200, 280, 400, 400), "in"),
        ("person", (250, 100, 350, 320), "dining table", (200, 280, 500, 470), "at"),
        ("person", (250, 50, 350, 300), "horse", (200, 150, 500, 400), "on"),
        ("dog", (100, 300, 200, 400), "bench", (210, 250, 400, 400), "next to"),
        # Of these boxes alone would say in, on or at; what they are called does not bear it out.
        ("tie", (280, 150, 300, 220), "person", (230, 80, 350, 460), None),
        ("dog", (250, 300, 300, 350), "bus", (100, 100, 500, 400), None),
        ("chair", (250, 200, 350, 470), "dining table", (200, 280, 500, 470), "next to"),
        ("couch", (100, 150, 500, 400), "cat", (250, 300, 350, 398), None),
        ("bench", (210, 250, 400, 400), "dog", (100, 300, 200, 400), None),  # beside it, but the smaller one
        ("skateboard", (215, 370, 290, 395), "person", (200, 100, 300, 400), None),  # who stands on it
        ("cat", (0, 0, 50, 50), "couch", (300, 300, 600, 470), None),
    ],
)
def test_one_thing_and_another(thing: str, box: Box, other: str, at: Box, words: str | None) -> None:
    named = Regions.from_list([Region("r0", box, 0.9, thing), Region("r1", at, 0.9, other)])

    near = landmark(named[:1], named)

    assert (near and (near.words, near.region.id)) == (words and (words, "r1"))


def test_what_carries_goes_before_what_is_near_and_of_two_the_nearer_then_the_smaller() -> None:
    cat = {"cat": (250.0, 300.0, 350.0, 398.0)}
    couch, dog, lamp = (100.0, 150.0, 500.0, 400.0), (352.0, 250.0, 470.0, 398.0), (120.0, 200.0, 240.0, 398.0)

    on = landmark(_regions(**cat), _regions(**cat, dog=dog, couch=couch))
    beside = landmark(_regions(**cat), _regions(**cat, lamp=lamp, dog=dog))

    assert on is not None
    assert (on.words, on.region.label) == ("on", "couch")
    assert beside is not None
    assert (beside.words, beside.region.label) == ("next to", "dog")


def test_things_of_one_name_have_a_landmark_only_if_they_share_it() -> None:
    couch = Thing("couch", (100, 150, 500, 400), 0.9)
    two = [Thing("cat", (250, 300, 350, 398), 0.9), Thing("cat", (360, 300, 440, 396), 0.8)]
    far = Thing("cat", (560, 20, 620, 60), 0.8)

    shared = Agent().ask(LabelledScene([couch, *two]), "Where are the cats?")
    apart = Agent().ask(LabelledScene([couch, two[0], far]), "Where are the cats?")

    assert shared.text == "The cats are on the couch (r0), at the bottom of the picture (r1 and r2)."
    assert shared.value == "bottom"
    assert [region.id.partition("/")[2] for region in shared.evidence] == ["r1", "r2"]
    assert [region.id.partition("/")[2] for region in shared.candidates] == ["r0"]
    assert apart.text == "The cats are at the bottom and top right of the picture (r1 and r2)."


def test_a_place_is_told_once() -> None:
    regions = _regions(a=(0, 0, 10, 10), b=(5, 5, 20, 20), c=(300, 200, 340, 280))

    assert places(regions, 640, 480) == ["top left", "middle"]
