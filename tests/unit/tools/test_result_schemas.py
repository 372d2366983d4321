"""What tools give has the form that is declared of it, for programs and for language models."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from fo1agent.agent.asking import with_asking
from fo1agent.cli import main
from fo1agent.scene import Scene
from fo1agent.tools.base import Tool
from fo1agent.tools.registry import registry
from fo1agent.tools.schemas import of_result
from fo1agent.tools.telling import as_json
from tests.segmenting import CALLS, drawn, model

TOOLS = with_asking(registry())


@pytest.fixture(scope="module")
def scene() -> Scene:
    return model().open(drawn())


def given(scene: Scene, tool: Tool, fenced: bool) -> Any:
    outcome = tool.call(scene, CALLS[tool.name])
    assert outcome.ok, outcome.error
    return as_json(outcome.result, fenced=fenced)


@pytest.mark.parametrize("fenced", [False, True])
@pytest.mark.parametrize("name", [name for name in CALLS if name != "read"])
def test_every_result_has_the_form_that_is_declared(scene: Scene, name: str, fenced: bool) -> None:
    schema = of_result(TOOLS[name].result, fenced=fenced)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads(json.dumps(given(scene, TOOLS[name], fenced))))


def test_what_stands_apart_is_not_declared_and_the_rest_is(scene: Scene) -> None:
    assert set(of_result(TOOLS["annotate"].result)["properties"]) == {"media_type", "width", "height"}
    for fenced, told in ((False, True), (True, False)):
        declared = json.dumps(of_result(TOOLS["segment"].result, fenced=fenced))
        assert ("rle" in declared) == ("CocoRuns" in declared) == told
        assert "polygons" in declared
        assert ("rle" in given(scene, TOOLS["segment"], fenced)["masks"][0]) == told


def test_the_shell_declares_the_same() -> None:
    listed = json.loads(CliRunner().invoke(main, ["tools", "--json"]).stdout)
    assert {one["name"]: one["result"] for one in listed} == {
        name: of_result(tool.result) for name, tool in TOOLS.items()
    }
