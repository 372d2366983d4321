"""A pydantic model's JSON Schema as language models can read it: everything inline, no titles, nulls in short form."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from fo1agent.errors import InputError
from fo1agent.pictures.attached import ENCODED, FOR_PROGRAMS
from fo1agent.tools.base import Tool


def plain(model: type[BaseModel], name: str) -> dict[str, Any]:
    """The schema of a model, without `$defs`.

    Args:
        model: such as a tool's arguments.
        name: what the error calls it.

    Raises:
        InputError: the model contains itself.
    """
    return _without_titles(_inlined(model.model_json_schema(), name))


def of_result(result: type[BaseModel], *, fenced: bool = False) -> dict[str, Any]:
    """The JSON schema of a tool's result as `telling.as_json` tells it: without attachments, which stand apart.

    Args:
        result: its model.
        fenced: as for `as_json`: for a language model, which is told nothing that is for programs, and no empty notes.
    """
    schema = result.model_json_schema(mode="validation" if fenced else "serialization")
    schema = _without_apart(schema, {FOR_PROGRAMS} if fenced else set())
    used = json.dumps(schema)
    if "$defs" in schema:
        schema["$defs"] = {name: one for name, one in schema["$defs"].items() if f'"#/$defs/{name}"' in used}
    return schema


def without_absent(tool: Tool, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments without the nulls that mean "left out", as strict declarations need them."""
    fields = tool.arguments.model_fields
    return {
        name: value
        for name, value in arguments.items()
        if value is not None or name not in fields or fields[name].is_required()
    }


def _inlined(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """The schema with each `$ref` replaced by what it names."""
    definitions = schema.get("$defs", {})

    def replaced(node: Any, within: tuple[str, ...]) -> Any:
        if isinstance(node, list):
            return [replaced(one, within) for one in node]
        if not isinstance(node, dict):
            return node
        rest = {key: replaced(value, within) for key, value in node.items() if key not in ("$ref", "$defs")}
        if "$ref" not in node:
            return rest
        target = node["$ref"].rsplit("/", 1)[-1]
        if target in within:
            raise InputError(f"{name}: its argument type {target} contains itself; no provider takes that.")
        return {**replaced(definitions[target], (*within, target)), **rest}

    return replaced(schema, ())


def _without_apart(node: Any, marks: set[str]) -> Any:
    """A schema without the properties of attachments, and of what bears one of these marks."""
    if isinstance(node, list):
        return [_without_apart(one, marks) for one in node]
    if not isinstance(node, dict):
        return node
    made = {key: _without_apart(value, marks) for key, value in node.items()}
    properties = made.get("properties")
    if isinstance(properties, dict):
        made["properties"] = {name: one for name, one in properties.items() if not _is_apart(one, marks)}
        if "required" in made:
            made["required"] = [name for name in made["required"] if name in made["properties"]]
    return made


def _is_apart(schema: Any, marks: set[str]) -> bool:
    if not isinstance(schema, dict):
        return False
    marked = ENCODED in schema or any(schema.get(mark) is True for mark in marks)
    return marked or any(_is_apart(one, marks) for one in schema.get("anyOf", []))


def _without_titles(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without titles and null defaults, and with `anyOf` of an alternative and null as short as can be.

    Only schemas are walked, not the names of properties: an argument may be called `title`.
    """
    schema = {key: value for key, value in schema.items() if key != "title" and (key, value) != ("default", None)}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = _without_titles(schema[key])
    if "properties" in schema:
        schema["properties"] = {name: _without_titles(one) for name, one in schema["properties"].items()}
    if "anyOf" in schema:
        alternatives = [
            part
            for one in schema.pop("anyOf")
            for part in (one["anyOf"] if one.keys() == {"anyOf"} else [one])  # a choice in a choice
        ]
        schema = either([_without_titles(one) for one in alternatives], schema)
    return schema


def either(alternatives: list[dict[str, Any]], rest: dict[str, Any]) -> dict[str, Any]:
    """Any of the alternatives; of one and null, the one with null as a further type."""
    others = [one for one in alternatives if one != {"type": "null"}]
    one_and_null = len(others) == len(alternatives) - 1 == 1
    if one_and_null and isinstance(others[0].get("type"), str) and "const" not in others[0]:
        one = {**others[0], "type": [others[0]["type"], "null"]}
        if "enum" in one:
            one["enum"] = [*one["enum"], None]
        return {**one, **rest}
    return {"anyOf": alternatives, **rest}
