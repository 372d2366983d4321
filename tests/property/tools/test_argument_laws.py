"""Whatever a caller sends as an argument, there is a result, or a typed error that names what was wrong."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fo1agent.errors import BoxError, FO1AgentError
from fo1agent.integrations.calls import call
from fo1agent.integrations.handles import Scenes
from fo1agent.integrations.langchain import FO1Tool
from fo1agent.regions.regions import Region, check_boxes, read_box
from fo1agent.scene import Model
from fo1agent.tools.base import RegionRef
from fo1agent.tools.registry import registry
from tests.fakes import FakePredictor

laws = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)

MODEL = Model(
    FakePredictor([((30.0, 10.0, 60.0, 40.0), "bus", 0.9), ((5.0, 5.0, 20.0, 40.0), "person", 0.8)]),
    ocr=lambda image, min_score=0.5: [],
)
PICTURE = Image.new("RGB", (64, 48), "gray")
SCENE = MODEL.open(PICTURE)
SCENES = Scenes(MODEL)
SCENES.open(SCENE)
_file = io.BytesIO()
PICTURE.save(_file, "PNG")
PNG = _file.getvalue()

numbers = (
    st.integers(-100, 1000)
    | st.floats()
    | st.booleans()
    | st.just(10**400)
    | st.sampled_from(["1", " 2.5 ", "1e2", "x", "", "NaN", "٣"])
)
fours = st.lists(numbers, min_size=3, max_size=5)
names = st.sampled_from([
    ("x1", "y1", "x2", "y2"), ("left", "top", "width", "height"), ("x", "y", "width", "height"), ("x1", "y1"),
])  # fmt: skip
named = st.tuples(names, fours).map(lambda both: dict(zip(*both, strict=False)))
as_json = (fours | named).map(lambda value: str(value) if 10**400 in list(value) else json.dumps(value))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
anything = (
    fours
    | named
    | as_json
    | json_values
    | st.sampled_from(
        ["r0", "r1", "r99", f"{SCENE.id}/r0", "img_00000000/r0", "b1_1_30_30", "bus", "[", "{}", "0,0,9,9"]
    )
)
python_values = (
    anything
    | st.binary(max_size=6)
    | st.sampled_from([object(), np.zeros((0, 4)), np.zeros(4), np.array([[1, 1, 9, 9]]), np.array(["a"]), 1j, {1, 2}])
    | fours.map(tuple)
    | st.just(SCENE.regions[0])
)
TOOLS = [tool for tool in registry().values() if tool.name != "annotate"]


def tried(ask: Callable[[], Any], refusal: type[Exception]) -> tuple[Any, str]:
    """(what it gave, "") or (None, what it was refused with)."""
    try:
        return ask(), ""
    except refusal as exc:
        return None, str(exc)


@given(value=python_values)
@laws
def test_a_box_is_four_finite_numbers_or_a_box_error(value: Any) -> None:
    box, said = tried(lambda: read_box(value), BoxError)
    if box is None:
        assert said.startswith("A box is [x1, y1, x2, y2], four numbers in pixels; got ")
    else:
        assert len(box) == 4
        assert np.isfinite(box).all()
    boxes, said = tried(lambda: check_boxes([value]), BoxError)
    if boxes is None:
        assert said.startswith("boxes")
    else:
        assert (boxes.dtype, boxes.shape[1]) == (np.float64, 4)
        assert np.isfinite(boxes).all()


@given(box=st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(41, 64)] * 2))
@laws
def test_every_form_of_a_box_is_the_same_box(box: tuple[int, int, int, int]) -> None:
    x1, y1, x2, y2 = box
    forms: list[Any] = [
        list(box),
        [str(v) for v in box],
        [[x1, y1], [x2, y2]],
        json.dumps(box),
        str(box),
        dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)),
        json.dumps({"left": x1, "top": y1, "width": x2 - x1, "height": y2 - y1}),
        np.array(box),
        np.array([box], dtype=np.float32),
        Region("img_0/r0", box, 1.0),
    ]
    assert {read_box(form) for form in forms} == {tuple(map(float, box))}
    assert check_boxes(forms).tolist() == [list(map(float, box))] * len(forms)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
@given(data=st.data())
@laws
def test_a_tool_gives_a_result_or_says_which_argument_is_wrong(tool: Any, data: st.DataObject) -> None:
    fields = list(tool.arguments.model_fields)
    known = st.sampled_from(fields) if fields else st.nothing()
    arguments = data.draw(st.dictionaries(known | st.sampled_from(["phrases", "box"]), python_values, max_size=3))
    for outcome in (tool.call(SCENE, arguments), call(tool.name, arguments, SCENES).outcome):
        assert outcome.ok or outcome.error
        unknown = [name for name in arguments if name not in fields]
        assert not (unknown and outcome.ok)
        if unknown:
            assert repr(unknown[0]) in outcome.error
    told = FO1Tool.of(tool, SCENES).invoke({"type": "tool_call", "id": "1", "name": tool.name, "args": arguments})
    assert told.status == ("success" if outcome.ok else "error"), told


@given(target=python_values, threshold=python_values, limit=python_values)
@laws
def test_a_scene_gives_a_result_or_a_typed_error(target: Any, threshold: Any, limit: Any) -> None:
    for ask in (
        lambda: SCENE.ground("bus", within=target),
        lambda: SCENE.ground(like=target),
        lambda: SCENE.ground("bus", threshold=threshold),
        lambda: SCENE.ground("bus", limit=limit),
        lambda: SCENE.ground(target),
        lambda: SCENE.count(target),
        lambda: SCENE.describe(target),
        lambda: SCENE.relate(target, "left_of", "bus"),
        lambda: SCENE.relate("bus", target),
        lambda: SCENE.zoom(target, 0.1),
        lambda: SCENE.zoom("r0", limit),
    ):
        result, said = tried(ask, FO1AgentError)
        assert result is not None or said


def test_one_region_has_one_shape_on_every_route() -> None:
    (region,) = SCENE.ground("bus")
    wanted = {"id": "r0", "label": "bus", "score": 0.9, "box": [30.0, 10.0, 60.0, 40.0]}
    assert region.to_dict() == wanted
    assert RegionRef.of(region).model_dump(mode="json") == wanted
    called = call("ground", {"phrase": "bus"}, SCENES)
    assert json.loads(called.text)["regions"] == [wanted]
    assert called.to_dict()["result"]["regions"] == [wanted]
    told = FO1Tool.of(registry()["ground"], SCENES).invoke(
        {"type": "tool_call", "id": "1", "name": "ground", "args": {"phrase": "bus"}}
    )
    assert json.loads(told.content)["regions"] == [wanted]


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from fo1agent.serve.app import create_app
    from fo1agent.serve.settings import Settings
    from tests.serving import in_thread

    with in_thread(create_app(MODEL, Settings(batching=False))) as url, httpx.Client(base_url=url) as client:
        yield client


@given(data=st.data())
@laws
def test_over_http_an_argument_gives_a_result_or_a_422_that_says_why(http: httpx.Client, data: st.DataObject) -> None:
    opened = http.post(
        "/v1/images", files={"file": PNG}, data={"boxes": json.dumps([[30, 10, 60, 40], [5, 5, 20, 40]])}
    )
    tool = data.draw(st.sampled_from(TOOLS))
    names = st.sampled_from([*tool.arguments.model_fields, "phrases"])
    arguments = data.draw(st.dictionaries(names, anything, max_size=3))
    body = json.dumps({**arguments, "image": opened.json()["image"]})
    response = http.post(f"/v1/tools/{tool.name}", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (200, 422), response.text
    if response.status_code == 422:
        assert response.json()["error"]["message"]


@given(boxes=st.lists(anything, max_size=3) | anything)
@laws
def test_over_http_boxes_become_regions_or_a_422_that_says_why(http: httpx.Client, boxes: Any) -> None:
    for response in (
        http.post("/v1/images", files={"file": PNG}, data={"boxes": json.dumps(boxes)}),
        http.post(
            "/v1/images",
            content=json.dumps({"data": f"data:image/png;base64,{base64.b64encode(PNG).decode()}", "boxes": boxes}),
            headers={"Content-Type": "application/json"},
        ),
    ):
        assert response.status_code in (201, 422), response.text
        if response.status_code == 422:
            assert "box" in response.json()["error"]["message"]
        else:
            assert all(len(one["box"]) == 4 for one in response.json()["regions"])
