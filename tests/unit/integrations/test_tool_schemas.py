"""Tools as each provider wants them declared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from fo1agent.cli import main
from fo1agent.errors import InputError
from fo1agent.integrations.schemas import FORMATS, parameters, render, rough_tokens
from fo1agent.scene import Scene
from fo1agent.tools.base import tool
from fo1agent.tools.registry import registry

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "tool-schemas"


def schema_of(declared: dict[str, Any]) -> dict[str, Any]:
    """The arguments' schema in a declaration of any format."""
    function = declared.get("function", declared)
    return function.get("input_schema") or function["parameters"]


def every_node(schema: Any) -> list[dict[str, Any]]:
    """Each schema in a schema."""
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    inner += [schema["items"]] if "items" in schema else []
    return [schema, *(node for one in inner for node in every_node(one))]


# ---- what is declared ----


@pytest.mark.parametrize("format", FORMATS)
def test_declarations_equal_the_golden_files(format: str) -> None:
    """Where the change is meant: fo1agent tools --format FORMAT > tests/data/tool-schemas/FORMAT.json"""
    assert render(format) == json.loads((GOLDEN / f"{format}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("format", FORMATS)
def test_all_tools_together_cost_less_than_3000_tokens(format: str) -> None:
    # The rule is on the dear side: o200k_base counts about a fifth fewer.
    assert rough_tokens(render(format)) < 3000


@pytest.mark.parametrize("format", FORMATS)
def test_every_tool_is_declared_without_references(format: str) -> None:
    declared = render(format)
    assert [one.get("function", one)["name"] for one in declared] == list(registry())
    text = json.dumps(declared)
    assert "$ref" not in text
    assert "$defs" not in text
    for one in declared:
        assert one.get("function", one)["description"]
        jsonschema.Draft202012Validator.check_schema(schema_of(one))


@pytest.mark.parametrize("format", ["openai", "responses"])
def test_strict_declarations_keep_the_rules_of_strict_mode(format: str) -> None:
    for declared in render(format):
        assert declared["type"] == "function"
        assert declared.get("function", declared)["strict"] is True
        for node in every_node(schema_of(declared)):
            assert "default" not in node
            if "properties" in node:
                assert node["additionalProperties"] is False
                assert node["required"] == list(node["properties"])


def test_what_may_be_left_out_is_null_in_strict_mode_and_absent_in_the_others() -> None:
    strict = parameters(registry()["read"], strict=True)["properties"]
    assert strict["source"]["enum"] == ["ocr", "model", None]
    assert strict["source"]["type"] == ["string", "null"]
    assert 'null for "ocr"' in strict["source"]["description"]
    assert {"type": "null"} in strict["region"]["anyOf"]
    assert "Leave out" not in json.dumps(strict)
    assert parameters(registry()["read"])["required"] == []
    assert parameters(registry()["count"])["required"] == ["phrase"]


def test_places_are_ids_or_boxes() -> None:
    string, box = parameters(registry()["zoom"])["properties"]["region"]["anyOf"]
    assert string == {"type": "string"}
    assert box == {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}


def test_an_unknown_format_names_those_there_are() -> None:
    with pytest.raises(InputError, match="openai, responses, anthropic, json"):
        render("xml")


def test_the_command_prints_what_render_gives() -> None:
    run = CliRunner().invoke(main, ["tools", "--format", "responses"])
    assert run.exit_code == 0
    assert json.loads(run.stdout) == render("responses")
    assert "11 tools, about" in run.stderr


# ---- tools of one's own ----


class Size(BaseModel):
    width: int
    unit: Literal["px"] | None = None


class Tree(BaseModel):
    children: list[Tree] = []


def test_nested_models_stand_inline_and_are_closed_in_strict_mode() -> None:
    @tool
    def fits(scene: Scene, sizes: list[Size], title: str = "none") -> bool:
        """Whether it fits."""
        return True

    (declared,) = render("openai", [fits])
    schema = schema_of(declared)
    assert declared["function"]["strict"] is True
    assert schema["properties"]["sizes"]["items"]["additionalProperties"] is False
    assert schema["properties"]["sizes"]["items"]["required"] == ["width", "unit"]
    assert schema["properties"]["title"]["description"] == 'null for "none".'
    jsonschema.validate({"image": None, "sizes": [{"width": 3, "unit": None}], "title": None}, schema)


def test_what_strict_mode_has_no_words_for_is_declared_as_not_strict() -> None:
    @tool
    def weigh(scene: Scene, weights: dict[str, float], first: tuple[int, str] = (0, "")) -> float:
        """Add weights."""
        return 0.0

    (declared,) = render("responses", [weigh])
    assert declared["strict"] is False
    assert declared["parameters"] == parameters(weigh)


def test_arguments_that_contain_themselves_or_are_called_image_are_refused() -> None:
    @tool
    def prune(scene: Scene, tree: Tree) -> bool:
        """Cut a tree."""
        return True

    @tool
    def paste(scene: Scene, image: str) -> bool:
        """Put a picture into the picture."""
        return True

    with pytest.raises(InputError, match="contains itself"):
        render("json", [prune])
    with pytest.raises(InputError, match="Rename"):
        render("json", [paste])
