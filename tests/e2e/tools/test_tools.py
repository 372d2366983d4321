"""Every tool on real models: two tiny random ones (an open one in the public layout, a closed one shaped like the nano)
and the one that the package ships, on its own photograph."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fo1agent
from fo1agent.errors import InputError
from fo1agent.model.fo1 import FO1
from fo1agent.model.predictor import Predictor
from fo1agent.regions.boxes import iou
from fo1agent.scene import Model, Scene
from fo1agent.tools.registry import registry
from tests.tiny_models import nano, reference

PACKAGED = Path(str(files("fo1agent") / "data"))
BOXES = [[24.0, 4.0, 91.0, 48.0], [32.0, 17.0, 45.0, 61.0], [11.0, 25.0, 66.0, 64.0]]
PICTURE = Image.effect_noise((97, 65), 80).convert("RGB")


@pytest.fixture(params=["open", "closed"])
def random_scene(request: pytest.FixtureRequest) -> Scene:
    made = reference() if request.param == "open" else nano()
    return Model(Predictor(*made, name=request.param, fingerprint=request.param)).open(PICTURE, boxes=BOXES)


@pytest.fixture(scope="module")
def model() -> Model:
    if not (PACKAGED / "nano" / "config.json").exists():
        pytest.skip("this checkout holds no fo1-nano weights")
    return fo1agent.load()


@pytest.fixture(scope="module")
def street(model: Model) -> Scene:
    return model.open(PACKAGED / "demo" / "bus.jpg")


CALLS = [
    ("look", {}),
    ("ground", {"phrase": "person", "threshold": 0}),
    ("ground", {"like": "r1", "threshold": 0}),
    ("ground", {"like": "b10_10_40_40", "threshold": 0, "limit": 1}),
    ("count", {"phrase": "person", "within": "r0"}),
    ("read", {}),
    ("read", {"region": "r0"}),
    ("describe", {}),
    ("describe", {"region": "r2"}),
    ("describe", {"region": "b10_10_40_40"}),
    ("relate", {"a": "r0", "relation": "right_of", "b": "r2"}),
    ("relate", {"a": "person", "relation": "near"}),
    ("annotate", {"size": 128}),
    ("annotate", {"regions": ["r0", "b10_10_40_40"], "size": 128}),
]


@pytest.mark.parametrize(("name", "arguments"), CALLS)
def test_every_tool_runs_on_a_random_model(random_scene: Scene, name: str, arguments: dict) -> None:
    outcome = registry()[name].call(random_scene, json.dumps(arguments))
    assert outcome.ok, outcome.error
    assert json.loads(outcome.model_dump_json())["result"] is not None


def test_a_random_model_answers_or_says_that_it_cannot(random_scene: Scene) -> None:
    outcome = registry()["inspect"].call(random_scene, {"region": "r0", "question": "What is it?"})
    assert outcome.ok or "answer" in outcome.error  # "has no answer", or "can name things but not answer"


@pytest.mark.parametrize("region", ["r0", "b10_10_40_40"])
def test_a_random_model_reads_unless_it_only_has_names(random_scene: Scene, region: str) -> None:
    outcome = registry()["read"].call(random_scene, {"region": region, "source": "model"})
    if random_scene.model.predictor.vocabulary is None:
        assert outcome.ok, outcome.error
    else:
        assert (outcome.retry, "can name things but not read" in outcome.error) == (False, True)


def test_tools_never_run_the_towers_again(random_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def again(*_: object) -> None:
        raise AssertionError("the towers ran a second time")

    monkeypatch.setattr(FO1, "encode_image", again)
    for name, arguments in CALLS:
        assert registry()[name].call(random_scene, arguments).ok


def test_a_picture_without_regions_is_ordinary(random_scene: Scene) -> None:
    scene = random_scene.model.open(PICTURE, boxes=np.zeros((0, 4)))
    assert scene.ground("person").none_score == 1.0
    assert scene.count("person").value == 0
    assert len(scene.describe().regions) == 0
    assert isinstance(scene.describe((10, 10, 40, 40)).text, str)


# ---- the shipped model on its photograph ----


def test_the_bus_and_the_cars_are_found(street: Scene) -> None:
    found = street.ground_many(["bus", "car", "ostrich", "zebra"])
    bus = found["bus"][0]
    assert iou(np.array([bus.box]), np.array([[139.0, 135.0, 415.0, 311.0]]))[0, 0] > 0.6
    assert bus.score > 0.5
    assert len(found["car"]) >= 1
    assert len(found["ostrich"]) == len(found["zebra"]) == 0
    assert "ostrich" in found["ostrich"].note
    assert (found["zebra"].none_score or 0) > 0.5


def test_the_sign_is_read_where_it_stands(street: Scene) -> None:
    bus = street.ground("bus")[0]
    read = street.read(bus)
    assert "20" in read.text
    assert "PREPAY" in read.text
    for line in read.lines:
        assert bus.box[0] - 1 <= line.box[0]
        assert line.box[2] <= bus.box[2] + 1


def test_what_is_said_is_borne_out(street: Scene) -> None:
    bus = street.ground("bus")[0]
    said = street.describe(bus)
    assert said.label == "bus"
    assert "bus" in said.text
    assert "surfboard" not in street.describe().text


def test_the_same_picture_has_the_same_ids_wherever_it_is_opened(model: Model, street: Scene) -> None:
    again = model.open(street.image)
    assert again.regions.ids == street.regions.ids
    np.testing.assert_allclose(again.regions.boxes, street.regions.boxes, atol=1e-3)


def test_a_closer_look_gives_regions_of_the_whole_picture(street: Scene) -> None:
    bus = street.ground("bus")[0]
    part = street.zoom(bus)
    back = part.to_parent(part.ground("bus"))
    assert len(back) >= 1
    assert iou(np.array([bus.box]), back.boxes).max() > 0.4


def test_load_refuses_what_is_not_there() -> None:
    with pytest.raises(InputError, match="dtype"):
        fo1agent.load(dtype="int3")
    with pytest.raises(InputError, match="device"):
        fo1agent.load(device="nonsense")
