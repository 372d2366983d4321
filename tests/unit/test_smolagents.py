"""What an agent of smolagents is given: our tools, by its own rules, and texts it can go on with."""

from __future__ import annotations

import json

import pytest
from PIL import Image

import fo1agent
from fo1agent.errors import InputError
from fo1agent.integrations.handles import Scenes
from fo1agent.scene import Model, Scene
from tests.fakes import FakePredictor

pytest.importorskip("smolagents", reason="smolagents is not installed")

from fo1agent.integrations.smolagents import NOT_JUDGED_NOTE, get_tools


@pytest.fixture
def scenes() -> Scenes:
    made = Scenes(
        Model(FakePredictor([((30.0, 10.0, 60.0, 40.0), "bus", 0.9), ((5.0, 5.0, 20.0, 40.0), "person", 0.8)]))
    )
    made.open(Image.new("RGB", (64, 48), "gray"))
    return made


def test_a_call_answers_with_what_a_language_model_reads(scenes: Scenes) -> None:
    tools = {tool.name: tool for tool in get_tools(scenes)}
    assert set(tools) == set(fo1agent.registry()) - {"annotate"}
    counted = json.loads(tools["count"](phrase="bus"))
    assert counted["value"] == 1


def test_what_could_not_be_judged_is_told(scenes: Scenes) -> None:
    tools = {tool.name: tool for tool in get_tools(scenes)}
    counted = json.loads(tools["count"](phrase="stolen bus"))
    assert (counted["value"], counted["at_least"], counted["at_most"]) == (None, 0, 1)
    assert counted["not_judged"] == ["stolen"]
    assert counted["regions"][0]["label"] == "bus"
    assert "bounds" in tools["count"].description
    assert "not_judged" in NOT_JUDGED_NOTE


def test_what_a_model_did_wrong_is_told_and_not_raised(scenes: Scenes) -> None:
    tools = {tool.name: tool for tool in get_tools(scenes)}
    assert "r77" in tools["describe"](region="r77")
    assert "may not be opened" in tools["count"](phrase="bus", image="/etc/passwd")


def test_inputs_say_which_may_be_left_out(scenes: Scenes) -> None:
    inputs = {tool.name: tool.inputs for tool in get_tools(scenes)}["count"]
    assert "nullable" not in inputs["phrase"]
    assert inputs["within"]["nullable"]
    assert inputs["phrase"]["description"]


def test_a_tool_of_ones_own_comes_along(scenes: Scenes) -> None:
    @fo1agent.tool
    def width_of(scene: Scene, region: str) -> int:
        """How many pixels wide a region is.

        Args:
            region: its id.
        """
        return round(scene.region(region).box[2] - scene.region(region).box[0])

    tools = {tool.name: tool for tool in get_tools(scenes, tools=[width_of])}
    assert json.loads(tools["width_of"](region="b10_10_30_20"))["value"] == 20
    with pytest.raises(InputError, match="width_of"):
        get_tools(scenes, tools=[width_of, width_of])
