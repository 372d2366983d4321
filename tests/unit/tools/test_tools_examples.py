"""Examples of other pictures as an argument of a tool: the forms in which they are given, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from PIL import Image

from fo1agent.errors import InputError
from fo1agent.integrations.calls import call
from fo1agent.integrations.handles import Scenes
from fo1agent.scene import Model, Scene
from fo1agent.tools.base import Outcome
from fo1agent.tools.registry import registry
from tests.fakes import ComparingPredictor, FakePredictor

OBJECTS = [
    ((300.0, 100.0, 500.0, 300.0), "bus", 0.94),
    ((50.0, 150.0, 90.0, 280.0), "person", 0.9),
    ((560.0, 150.0, 600.0, 280.0), "person", 0.8),
]
GROUND = registry()["ground"]


@pytest.fixture(scope="module")
def pair() -> tuple[Scene, Scene]:
    """Two pictures that show the same."""
    model = Model(ComparingPredictor(OBJECTS))
    return model.open(Image.new("RGB", (640, 400), "gray")), model.open(Image.new("RGB", (640, 400), "white"))


def ids(outcome: Outcome) -> list[str]:
    assert outcome.ok, outcome.error
    return [one["id"] for one in json.loads(outcome.model_dump_json())["result"]["regions"]]


def test_an_example_of_another_picture_is_told_in_each_form_that_results_and_people_write(
    pair: tuple[Scene, Scene],
) -> None:
    here, there = pair
    opened = {there.id: there, "there.jpg": there, here.id: here, "here.jpg": here}.__getitem__
    person = [50, 150, 90, 280]
    forms: list[Any] = [
        f"{there.id}/r1",
        f"{there.id}/b50_150_90_280",
        {"image": there.id, "region": "r1"},
        {"image": "there.jpg", "region": person},
        {"image": there.id, "id": "r1", "label": "person", "score": 0.9, "box": person},
    ]
    for form in forms:
        for given in (form, [form], json.dumps([form])):
            assert ids(GROUND.call(here, {"like": given}, opened)) == ["r1", "r2"], given
    # Of this picture they are found themselves no more.
    for form in ("r1", person, [person], f"{here.id}/r1", {"image": "here.jpg", "region": "r1"}):
        assert ids(GROUND.call(here, {"like": form}, opened)) == ["r2"], form


def test_several_examples_and_what_is_not_meant(pair: tuple[Scene, Scene]) -> None:
    here, there = pair
    both = [f"{there.id}/r0", {"image": there.id, "region": "r1"}]
    assert ids(GROUND.call(here, {"like": both}, lambda _: there)) == ["r0", "r1", "r2"]
    assert ids(GROUND.call(here, {"like": both, "unlike": "r1"}, lambda _: there)) == ["r0"]
    limited = {"like": both, "unlike": [f"{there.id}/r0"], "limit": 1}
    assert ids(GROUND.call(here, limited, lambda _: there)) == ["r1"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"like": "img_00000000/r1"}, "img_00000000 is another picture, and only this one is open"),
        ({"like": {"image": 7, "region": "r1"}}, "one of another picture"),
        ({"like": {"image": "a.jpg", "region": "r1", "box": [0, 0, 9, 9]}}, "one of another picture"),
        ({"like": {"image": "a.jpg", "region": [1, 2]}}, "must be a region's id such as r3"),
        ({"like": {"image": "a.jpg", "region": "r1"}}, "a.jpg is another picture"),
        ({"like": []}, "like holds no example"),
        ({"unlike": "r1"}, "one of the two"),
        ({"phrase": "bus", "unlike": "r1"}, "a phrase takes none"),
        ({"phrase": "bus", "like": "r1"}, "one of the two"),
        ({"like": "r99"}, "No region r99"),
    ],
)
def test_what_is_wrong_can_be_mended(pair: tuple[Scene, Scene], arguments: dict[str, Any], told: str) -> None:
    outcome = GROUND.call(pair[0], arguments)
    assert outcome.retry
    assert told in outcome.error


def test_a_call_finds_the_picture_of_an_example_among_those_that_are_open() -> None:
    scenes = Scenes(Model(ComparingPredictor(OBJECTS)))
    here, there = (scenes.open(Image.new("RGB", (640, 400), color)) for color in ("gray", "white"))
    found = call("ground", {"image": here.id, "like": [f"{there.id}/r1"]}, scenes)
    assert found.ok
    assert (found.image, len(found.outcome.result.regions)) == (here.id, 2)
    for like, told in (
        (f"{there.id}/r9", "No region r9"),
        ({"image": "img_00000000", "region": "r0"}, "No picture 'img_00000000' is open"),
        ({"image": "/etc/passwd", "region": "r0"}, "may not be opened"),
    ):
        refused = call("ground", {"image": here.id, "like": like}, scenes)
        assert refused.outcome.retry
        assert told in refused.outcome.error


def test_a_model_that_compares_nothing_says_so() -> None:
    scenes = Scenes(Model(FakePredictor(OBJECTS)))
    here, there = (scenes.open(Image.new("RGB", (640, 400), color)) for color in ("gray", "white"))
    refused = call("ground", {"image": here.id, "like": f"{there.id}/r1"}, scenes)
    assert not refused.outcome.retry
    assert "fake cannot compare regions of several pictures" in refused.outcome.error
    assert call("ground", {"image": here.id, "like": "r1"}, scenes).ok


def test_a_region_of_another_picture_is_no_example_until_its_scene_makes_one_of_it(pair: tuple[Scene, Scene]) -> None:
    here, there = pair
    for region in (there.regions[1], there.regions[1].id):
        with pytest.raises(InputError, match=r"like=other\.example\('r1'\)"):
            here.ground(like=region)
    assert here.ground(like=there.example(there.regions[1])).ids == (here.regions[1].id, here.regions[2].id)
