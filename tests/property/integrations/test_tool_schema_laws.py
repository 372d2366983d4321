"""What a tool's schema allows its model accepts, and what the model holds its schema allows; for every tool."""

from __future__ import annotations

import json
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fo1agent.integrations.schemas import parameters, without_absent
from fo1agent.tools.base import RegionOrBox
from fo1agent.tools.registry import registry

TOOLS = list(registry().values())
laws = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def allowed_by(schema: dict[str, Any]) -> st.SearchStrategy:
    """JSON values that a schema allows, made from the schema and not from the model."""
    if "anyOf" in schema:
        return st.one_of([allowed_by(one) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([_of_kind(kind, schema) for kind in kinds])


def in_pixels(box: list[Any]) -> bool:
    """Whether it is not refused as one of parts of the picture's size, which no JSON schema can tell."""
    return any(abs(one) > 1 for one in box)


def _of_kind(kind: str, schema: dict[str, Any]) -> st.SearchStrategy:
    if kind == "object":
        known = {name: allowed_by(one) for name, one in schema["properties"].items()}
        required = {name: known.pop(name) for name in schema["required"]}
        return st.fixed_dictionaries(required, optional=known)
    if kind == "array":
        sizes = {"min_size": schema.get("minItems", 0), "max_size": schema.get("maxItems", 4)}
        lists = st.lists(allowed_by(schema["items"]), **sizes)
        return lists.filter(in_pixels) if schema["items"].get("type") == "number" else lists
    numbers = st.integers() | st.integers(-(10**400), 10**400)
    return {
        "string": st.text(max_size=9),
        "integer": numbers | st.integers(-1000, 1000).map(float),  # 3.0 is an integer to JSON Schema
        "number": st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False),
        "null": st.none(),
    }[kind]


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "plain"])
@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
@given(data=st.data())
@laws
def test_what_the_schema_allows_the_model_accepts(tool, strict: bool, data: st.DataObject) -> None:
    schema = parameters(tool, strict=strict)
    arguments = json.loads(json.dumps(data.draw(allowed_by(schema))))
    jsonschema.validate(arguments, schema)
    arguments.pop("image", None)
    tool.arguments.model_validate(without_absent(tool, arguments))


def held_by(annotation: Any) -> st.SearchStrategy:
    """Values of an argument's type, made from the type and not from the schema."""
    if annotation == RegionOrBox:
        return st.text(max_size=9) | st.lists(st.floats(-10, 5000), min_size=4, max_size=4).filter(in_pixels)
    if get_origin(annotation) is Annotated:
        return held_by(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return st.one_of([held_by(one) for one in get_args(annotation)])
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if get_origin(annotation) is list:
        return st.lists(held_by(get_args(annotation)[0]), max_size=3)
    simple: dict[Any, st.SearchStrategy] = {
        str: st.text(max_size=9),
        int: st.integers(-(10**9), 10**9),
        float: st.floats(-1e9, 1e9),
        type(None): st.none(),
        Any: st.text(max_size=9),  # an example: declared by its id, though a box is taken as well
    }
    return simple[annotation]


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
@given(data=st.data())
@laws
def test_what_the_model_accepts_the_schemas_allow(tool, data: st.DataObject) -> None:
    wanted = {
        name: held_by(Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation)
        for name, field in tool.arguments.model_fields.items()
    }
    required = {name: one for name, one in wanted.items() if tool.arguments.model_fields[name].is_required()}
    optional = {name: one for name, one in wanted.items() if name not in required}
    arguments = data.draw(st.fixed_dictionaries(required, optional=optional))
    held = tool.arguments.model_validate(arguments)

    for given_ in (arguments, held.model_dump(mode="json", exclude_unset=True)):
        jsonschema.validate(given_, parameters(tool))
        everything = {"image": None, **dict.fromkeys(tool.arguments.model_fields), **given_}
        jsonschema.validate(everything, parameters(tool, strict=True))
        assert tool.arguments.model_validate(without_absent(tool, {**given_})) == held
    whole = held.model_dump(mode="json")
    jsonschema.validate({"image": "img_00000000", **whole}, parameters(tool, strict=True))
