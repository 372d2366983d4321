"""What an agent of smolagents is given: our tools, by its own rules, and texts it can go on with."""

from __future__ import annotations

import copy
import json
import pickle

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
    assert set(tools) == {*fo1agent.registry(), "ask"} - {"annotate"}
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


def test_code_agents_may_call_with_positional_arguments(scenes: Scenes) -> None:
    tools = {tool.name: tool for tool in get_tools(scenes)}
    image = scenes.get().id
    wanted = tools["count"](phrase="bus", within=[0, 0, 64, 48], image=image)
    assert json.loads(wanted)["value"] == 1
    assert tools["count"](image, "bus", [0, 0, 64, 48]) == wanted
    assert tools["count"]("bus", [0, 0, 64, 48]) == wanted
    assert tools["count"]("bus", "[0, 0, 64, 48]", image=image) == wanted
    assert tools["count"](None, "bus", within=(0, 0, 64, 48)) == wanted
    assert tools["ground"]("bus") == tools["ground"](phrase="bus")
    assert tools["look"](image) == tools["look"]()
    assert "may not be opened" in tools["count"]("/etc/passwd", "bus")
    assert "takes at most 4 arguments, image, phrase" in tools["count"](image, "bus", None, 0.5, 1)
    assert "got phrase twice" in tools["count"](image, "bus", phrase="bus")


def test_where_two_pictures_are_open_the_first_argument_is_the_picture(scenes: Scenes) -> None:
    other = scenes.open(Image.new("RGB", (64, 48), "white"))
    count = next(tool for tool in get_tools(scenes) if tool.name == "count")
    assert json.loads(count(other.id, "bus"))["image"] == other.id
    assert "Say which picture" in count("bus") or "may not be opened" in count("bus")


def test_a_tool_can_be_copied_deeply(scenes: Scenes) -> None:
    for tool in get_tools(scenes):
        again = copy.deepcopy(tool)
        assert (again.name, again.inputs) == (tool.name, tool.inputs)
    count = next(tool for tool in get_tools(scenes) if tool.name == "count")
    assert copy.deepcopy(count)("bus") == count("bus")


def test_a_tool_over_a_model_that_was_passed_says_that_it_cannot_be_pickled(scenes: Scenes) -> None:
    with pytest.raises(InputError, match="cannot be pickled with the model"):
        pickle.dumps(get_tools(scenes))


def test_a_tool_without_a_model_of_its_own_is_pickled_with_its_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(FakePredictor([((30.0, 10.0, 60.0, 40.0), "bus", 0.9)]))
    monkeypatch.setattr("fo1agent.integrations.handles.load", lambda: model)
    lazy = Scenes()
    opened = lazy.open(Image.new("RGB", (64, 48), "gray"))
    (count,) = (tool for tool in get_tools(lazy) if tool.name == "count")
    again = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(count))))
    assert again("bus") == count("bus") == count(opened.id, "bus")
    assert again(opened.id, "bus") == count("bus")
