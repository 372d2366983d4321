"""Tools of others that misbehave fail in one line that names them, and stop nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from PIL import Image
from pydantic import BaseModel, BeforeValidator, Field

import fo1agent
from fo1agent.agent import Agent, Plan
from fo1agent.agent.asking import ask, asking
from fo1agent.client import connect
from fo1agent.errors import ToolFailed
from fo1agent.integrations.calls import call
from fo1agent.integrations.handles import Scenes
from fo1agent.pictures.attached import Attachment
from fo1agent.pictures.image import ImageLimits
from fo1agent.regions.regions import Region, RegionRef, Regions
from fo1agent.results import Picture, Result, Untrusted
from fo1agent.scene import Model, Scene
from fo1agent.serve.app import create_app
from fo1agent.serve.settings import Settings
from fo1agent.tools.base import Tool
from fo1agent.tools.telling import MOST_TEXT, told
from tests.fakes import FakePredictor
from tests.scripted_chat import ToolChat, steps
from tests.scripted_chat import call as tool_call
from tests.serving import in_thread

OBJECTS = [((30.0, 10.0, 60.0, 40.0), "bus", 0.9), ((5.0, 5.0, 20.0, 40.0), "bus", 0.8)]


class Odd(Result):
    """What a tool gives."""

    value: Any = None
    not_judged: Any = ()
    at_least: Any = None
    at_most: Any = None
    regions: Regions = Field(default_factory=Regions.empty)
    line: Any = "odd"
    resting: Any = Field(default=(), exclude=True)

    def as_line(self, regions: Any) -> Any:
        return self.line if isinstance(self.line, (str, int)) else {}[self.line]

    def rests_on(self) -> Any:
        return self.resting


class Places(BaseModel):
    """Places."""

    found: list[RegionRef]


def gives(result: Any, declared: Any) -> Tool:
    """A tool of others that gives this."""

    def odd(scene: fo1agent.Scene) -> Any:
        """Do something odd."""
        return result

    odd.__annotations__["return"] = declared
    return fo1agent.tool(odd)


def at(name: str, box: tuple[float, float, float, float] = (30.0, 10.0, 60.0, 40.0), score: float = 0.5) -> Region:
    return Region(name, box, score)


def model() -> Model:
    return Model(FakePredictor(OBJECTS))


@pytest.fixture
def scene() -> Scene:
    return model().open(Image.new("RGB", (64, 48), "gray"))


NO_REGION = "odd failed: it gave what is no region of this picture: "
FAULTS = {
    "other_picture": (gives([at("img_ffffffff/r0")], list[Region]), f"{NO_REGION}img_ffffffff/r0 is a region of anoth"),
    "no_such": (gives(Regions.from_list([at("r9999")]), Regions), f"{NO_REGION}No region r9999."),
    "no_id": (gives(Places(found=[RegionRef.of(at("banana"))]), Places), f"{NO_REGION}'banana' is no region id"),
    "outside": (gives([at("r0", (900, 900, 950, 950))], list[Region]), f"{NO_REGION}the box [900"),
    "unlikely": (gives([at("r0", score=7.0)], list[Region]), f"{NO_REGION}Region scores must lie in [0, 1]"),
    "rests": (gives(Odd(resting=Regions.from_list([at("img_ffffffff/r0")])), Odd), NO_REGION),
    "no_picture": (
        gives(Picture(png_base64=Attachment(b"junk", "image/png"), width=1, height=1), Picture),
        "odd failed: it gave a picture that is no PNG, JPEG or WebP file",
    ),
    "nan": (gives(float("nan"), float), "odd failed: it gave nan, which is no number of JSON"),
    "infinity": (gives({"a": [float("-inf")]}, dict[str, Any]), "odd failed: it gave -inf, which is no number"),
    "huge": (gives(10**5000, int), "odd failed: it gave a whole number that no float can hold"),
    "half": (gives("\ud800", str), "odd failed"),
    "half_inside": (gives({"a": "\ud800"}, dict[str, Any]), "odd failed: it gave half a character"),
    "twice": (gives({1: 1, "1": 1}, dict[Any, Any]), "odd failed with ValueError"),
    "object": (gives({"a": object()}, dict[str, Any]), "odd failed with PydanticSerializationError"),
    "dict": (gives({"value": 1}, Odd), "odd failed: it gave a dict, not the Odd that it declares"),
    "wrong_field": (gives(Odd.model_construct(regions=3), Odd), "odd failed with"),
    "words": (gives(Odd(not_judged=3), Odd), "odd failed: it gave a not_judged that is no list of words"),
    "bounds": (gives(Odd(at_least=5, at_most=3), Odd), "odd failed: it gave at_least 5 and at_most 3, which contr"),
    "line": (gives(Odd(line=3), Odd), "odd failed: it gave a int for its line of text"),
    "line_raises": (gives(Odd(line=None), Odd), "odd failed with KeyError: None"),
    "rests_on": (gives(Odd(resting=3), Odd), "odd failed with TypeError"),
}


@pytest.mark.parametrize(("tool", "why"), FAULTS.values(), ids=FAULTS)
def test_a_result_that_cannot_be_used_is_a_failure_of_the_tool(scene: Scene, tool: Tool, why: str) -> None:
    outcome = tool.call(scene)
    assert outcome.error.startswith(why)
    assert "\n" not in outcome.error
    assert not outcome.retry
    scenes = Scenes(scene.model)
    scenes.open(scene)
    assert json.loads(call("odd", {}, scenes, {"odd": tool}).text)["error"] == outcome.error


@pytest.mark.parametrize("name", ["other_picture", "nan", "huge", "half", "twice", "dict", "line_raises", "no_picture"])
def test_it_is_told_over_http_and_mcp(name: str, scene: Scene, tmp_path: Path) -> None:
    tool, why = FAULTS[name]
    app = create_app(model(), Settings(batching=False, tools=(tool,)))
    with in_thread(app) as url, connect(url) as client, pytest.raises(ToolFailed) as failed:
        client.open(scene.image).call("odd")
    assert str(failed.value).startswith(why)
    mcp, anyio = pytest.importorskip("mcp"), pytest.importorskip("anyio")
    front = pytest.importorskip("fo1agent.integrations.mcp")
    scene.image.save(tmp_path / "a.png")

    async def over_mcp() -> Any:
        server = front.make_server(model, ImageLimits(folders=(tmp_path,), hosts=()), [tool])
        async with mcp.Client(server) as client:
            return await client.call_tool("odd", {"image": "a.png"})

    answered = anyio.run(over_mcp)
    assert answered.is_error
    assert answered.content[0].text.startswith(why)


@pytest.mark.parametrize(
    "result",
    [
        gives([at("r1", (5.0, 5.0, 20.0, 40.0))], list[Region]),
        gives([], list[Region]),
        gives({"a": [1, True, None]}, dict[str, Any]),
        gives(Odd(at_least=3, at_most=3), Odd),
    ],
)
def test_a_sound_result_passes(scene: Scene, result: Tool) -> None:
    assert result.call(scene).ok


@fo1agent.tool
def leave(scene: fo1agent.Scene) -> int:
    """Leave."""
    print("gone")
    sys.exit("gone\nfor good")


@fo1agent.tool
def long_story(scene: fo1agent.Scene) -> int:
    """Tell why not."""
    raise ToolFailed("no\n" * 10_000)


def test_one_that_ends_the_process_or_tells_pages_fails_in_one_line(scene: Scene) -> None:
    assert leave.call(scene).error == "leave failed with SystemExit: gone for good"
    said = long_story.call(scene).error
    assert said.startswith("no no no")
    assert len(said) <= 1000


def looked_up(value: Any) -> Any:
    return {}[value]


def test_a_check_of_its_arguments_that_raises_is_its_failure(scene: Scene) -> None:
    @fo1agent.tool
    def odd(scene: fo1agent.Scene, key: Annotated[str, BeforeValidator(looked_up)]) -> int:
        """Do something odd."""
        return 1

    assert odd.call(scene, {"key": "a"}).error == "odd failed with KeyError: 'a'"


# ---- for language models and in plans ----


@pytest.mark.parametrize("kind", [str, Untrusted])
def test_long_text_is_cut_for_a_language_model_alone(scene: Scene, kind: Any) -> None:
    outcome = gives("ab" * 100_000, kind).call(scene)
    text, _ = told(outcome)
    assert len(text) < MOST_TEXT + 200
    assert "… (cut: 200,000 characters in all)" in text
    assert len(outcome.result.value) == 200_000


def planned(scene: Scene, tool: Tool, *ops: dict[str, Any], of: str) -> Any:
    chat = ToolChat(script=[tool_call("plan", steps=steps(*ops, of=[of]))])
    return Agent(planner=chat, tools=[tool]).ask(scene, "How many?")


def test_a_region_of_another_picture_is_no_evidence(scene: Scene) -> None:
    answer = planned(
        scene, FAULTS["other_picture"][0], {"op": "tool", "name": "odd"}, {"op": "count", "of": "s1"}, of="s2"
    )
    assert answer.abstained
    assert len(answer.evidence) == 0
    assert "img_ffffffff/r0 is a region of another picture" in answer.reason


class Planned:
    """A planner whose plan has one step of a tool, counted where it gives regions."""

    def __init__(self, name: str, gives: str, **args: Any) -> None:
        self.step = {"id": "s1", "op": "tool", "name": name, "gives": gives, "args": args}

    def plan(self, question: str) -> Plan:
        counted = [{"id": "s2", "op": "count", "of": "s1"}] if self.step["gives"] == "regions" else []
        last = {"id": f"s{2 + len(counted)}", "op": "answer", "of": [f"s{1 + len(counted)}"]}
        return Plan.parse({"question": question, "steps": [self.step, *counted, last]})


@pytest.mark.parametrize("result", [3, "three", True, {"a": 1}, ["a"], Odd.model_construct()], ids=repr)
def test_what_is_no_regions_is_not_counted(scene: Scene, result: Any) -> None:
    tool = gives(result, type(result))
    answer = Agent(planner=Planned("odd", "regions"), tools=[tool]).ask(scene, "How many?")
    if isinstance(result, Odd):
        assert answer.text == "There are no things."
    else:
        assert (answer.abstained, answer.reason) == (True, "odd gave no regions")


def test_regions_that_are_none_are_counted(scene: Scene) -> None:
    answer = Agent(planner=Planned("odd", "regions"), tools=[gives([], list[Region])]).ask(scene, "How many?")
    assert answer.value == 0


def test_an_abstention_of_the_tool_that_asks_is_no_text(scene: Scene) -> None:
    planner = Planned("ask", "text", question="Who won the world cup?")
    answer = Agent(planner=planner, tools=[ask]).ask(scene, "Who won?")
    assert answer.abstained
    assert answer.value is None
    assert answer.reason.startswith("ask: I")


def test_an_agent_that_asks_itself_comes_to_an_end(scene: Scene) -> None:
    agents: list[Agent] = []

    @fo1agent.tool
    def again(scene: fo1agent.Scene) -> str:
        """Ask again."""
        return agents[0].ask(scene, "And now?").text

    agents.append(Agent(planner=Planned("again", "text"), tools=[again]))
    assert "again calls itself again and again" in agents[0].ask(scene, "And now?").text
    own = asking(lambda scene, question, before: agents[0].ask(scene, question))
    agents[0] = Agent(planner=Planned("ask", "text", question="And now?"), tools=[own])
    answer = agents[0].ask(scene, "And now?")
    assert answer.abstained
    assert "ask calls itself again and again" in answer.reason
