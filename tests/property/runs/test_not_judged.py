"""Words that nothing can judge, at every face: no count has a value that rests on them, and each is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from fo1agent.integrations.handles import Scenes
from fo1agent.pictures.image import ImageLimits
from fo1agent.scene import Model
from fo1agent.tools.registry import registry
from fo1agent.words import lexicon
from fo1agent.words.colors import COLORS, basic_color
from fo1agent.words.phrases import meanings
from tests.fakes import FakePredictor

# Two people, a bus and a car are there; no dog and no truck.
OBJECTS = [
    ((300.0, 100.0, 500.0, 300.0), "bus", 0.94),
    ((50.0, 150.0, 90.0, 280.0), "person", 0.9),
    ((560.0, 150.0, 600.0, 280.0), "person", 0.8),
    ((100.0, 150.0, 200.0, 250.0), "car", 0.7),
]
NOUNS = {
    "bus": 1,
    "person": 2,
    "people": 2,
    "car": 1,
    "cars": 1,
    "dog": 0,
    "dogs": 0,
    "truck": 0,
    "woman": 2,
    "taxi": 1,
}
VOCABULARY = ("person", "bus", "car", "dog", "truck")
MADE_UP = st.text("bcdfghjklmnpqrstvwz", min_size=4, max_size=9)
REAL = st.sampled_from(
    [
        "dead",
        "stolen",
        "sleepy",
        "happy",
        "wooden",
        "broken",
        "expensive",
        "angry",
        "famous",
        "empty",
        "wet",
        "second-hand",
    ]
)

Call = Callable[[str, dict[str, Any]], dict[str, Any]]

laws = settings(
    max_examples=int(os.environ.get("FO1AGENT_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def picture() -> Image.Image:
    return Image.new("RGB", (640, 400), "gray")


def model() -> Model:
    return Model(FakePredictor(OBJECTS), ocr=lambda image, min_score=0.5: [])


@contextmanager
def by_python() -> Iterator[Call]:
    scene = model().open(picture())

    def call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        outcome = registry()[tool].call(scene, arguments)
        assert outcome.ok, outcome.error
        return json.loads(outcome.model_dump_json())["result"]

    yield call


@contextmanager
def by_a_language_model() -> Iterator[Call]:
    """What a provider's tool call is answered with, for all chat APIs and smolagents."""
    from fo1agent.integrations.calls import call as called

    scenes = Scenes(model())
    scenes.open(picture())
    yield lambda tool, arguments: json.loads(called(tool, arguments, scenes).text)


@contextmanager
def by_mcp(folder: Any) -> Iterator[Call]:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    from mcp import Client

    from fo1agent.integrations.mcp import make_server

    picture().save(folder / "street.png")
    server = make_server(model, ImageLimits(folders=(folder,), hosts=()))

    def call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        async def asked() -> Any:
            async with Client(server) as client:  # which holds results to the tools' output schemas
                return await client.call_tool(tool, {"image": "street.png", **arguments})

        result = anyio.run(asked)
        assert not result.is_error, result
        return result.structured_content

    yield call


@contextmanager
def by_http() -> Iterator[Call]:
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    import io

    from starlette.testclient import TestClient

    from fo1agent.serve.app import create_app
    from fo1agent.serve.settings import Settings

    file = io.BytesIO()
    picture().save(file, "PNG")
    app = create_app(model(), Settings(batching=False))
    with TestClient(app, base_url="http://127.0.0.1") as http:
        image = http.post("/v1/images", files={"file": file.getvalue()}).json()["image"]

        def call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
            told = http.post(f"/v1/tools/{tool}", json={"image": image, **arguments}).json()
            assert told["ok"], told
            return told["result"]

        yield call


FACES = ("python", "language model", "mcp", "http")


@pytest.fixture(scope="module", params=FACES)
def call(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """A tool, called at one of the faces."""
    made = {
        "python": by_python,
        "language model": by_a_language_model,
        "mcp": lambda: by_mcp(tmp_path_factory.mktemp("pictures")),
        "http": by_http,
    }
    with made[request.param]() as ready:
        yield ready


def is_unknown(modifier: str, noun: str) -> bool:
    """Whether it is no colour, no part of the name of a thing, and does not change what the noun names."""
    alone, both = (meanings(phrase, VOCABULARY, "fake") for phrase in (noun, f"{modifier} {noun}"))
    if basic_color(modifier) in COLORS or len(both) != 1 or lexicon.is_noun(f"{modifier} {noun}"):
        return False
    return both[0].names == alone[0].names


def is_named(modifier: str, told: dict[str, Any]) -> bool:
    """Whether a result names a word as not judged, if need be in its parts."""
    return set(modifier.split("-")) <= {
        word for words in told["not_judged"] for word in words.replace("-", " ").split()
    }


@given(modifier=REAL | MADE_UP, noun=st.sampled_from(sorted(NOUNS)))
@laws
def test_a_count_has_no_value_that_rests_on_a_word_nobody_judged(call: Call, modifier: str, noun: str) -> None:
    assume(is_unknown(modifier, noun))
    there = NOUNS[noun]
    counted = call("count", {"phrase": f"{modifier} {noun}"})
    assert is_named(modifier, counted)
    assert counted["value"] == (None if there else 0)
    assert (counted["at_least"], counted["at_most"]) == (0, there)
    assert len(counted["regions"]) == there
    for region in counted["regions"]:
        assert region["label"] in VOCABULARY, "a label holds what was judged alone"


@given(modifier=REAL | MADE_UP, noun=st.sampled_from(sorted(NOUNS)))
@laws
def test_what_is_found_is_what_was_judged(call: Call, modifier: str, noun: str) -> None:
    assume(is_unknown(modifier, noun))
    found = call("ground", {"phrase": f"{modifier} {noun}"})
    assert is_named(modifier, found)
    assert len(found["regions"]) == NOUNS[noun]
    for region in found["regions"]:
        assert modifier not in region["label"]
    related = call("relate", {"a": f"{modifier} {noun}", "relation": "near", "b": "bus"})
    assert is_named(modifier, related)


@pytest.mark.parametrize(("phrase", "value"), [("people", 2), ("bus", 1), ("dog", 0), ("cars and buses", 2)])
def test_where_every_word_is_judged_the_count_has_its_value(call: Call, phrase: str, value: int) -> None:
    counted = call("count", {"phrase": phrase})
    assert (counted["value"], counted["at_least"], counted["at_most"]) == (value, value, value)
    assert not counted.get("not_judged")


def test_of_a_thing_nobody_has_a_word_for_there_is_no_telling(call: Call) -> None:
    counted = call("count", {"phrase": "ostrich"})
    assert (counted["value"], counted["at_least"], counted["at_most"]) == (None, 0, None)
    assert counted["not_judged"] == ["ostrich"]
    assert call("ground", {"phrase": "ostrich"})["none_score"] is None
