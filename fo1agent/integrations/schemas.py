"""Declarations of the tools for each provider, all made from the tools' own pydantic models.

    openai      Chat Completions, strict: every argument is listed as required, and null means "left out"
    responses   the same for the Responses API, which has no inner `function` object
    anthropic   `input_schema`, where arguments may be left out
    json        name, description and parameters as plain JSON Schema

Everything is inline, without `$defs`. Every tool has one more argument than its model: `image`, the picture.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

from fo1agent.errors import InputError
from fo1agent.tools.base import IMAGE, Tool
from fo1agent.tools.registry import registry
from fo1agent.tools.schemas import either, plain, without_absent

__all__ = ["FORMATS", "IMAGE", "IMAGE_SCHEMA", "Format", "parameters", "render", "rough_tokens", "without_absent"]

Format = Literal["openai", "responses", "anthropic", "json"]
FORMATS: tuple[str, ...] = get_args(Format)

IMAGE_SCHEMA = {
    "type": "string",
    "description": "The picture: its id (img_…), path or address. Leave out when only one is open.",
}
# What strict declarations may hold. A tool that needs more is declared as not strict.
_STRICT = frozenset({
    "type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "description",
    "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems",
    "maxItems", "default",
})  # fmt: skip


def render(format: str, tools: Iterable[Tool] | None = None) -> list[dict[str, Any]]:
    """Declare tools.

    Args:
        format: one of `FORMATS`.
        tools: None for all that come with fo1agent.

    Raises:
        InputError: an unknown format, a tool with an argument called `image`, or arguments that contain themselves.
    """
    if format not in FORMATS:
        raise InputError(f"No tool format {format!r}. There are: {', '.join(FORMATS)}.")
    return [_RENDER[format](tool) for tool in (registry().values() if tools is None else tools)]


def parameters(tool: Tool, *, strict: bool = False, image: str = "") -> dict[str, Any]:
    """A tool's arguments, with the picture's handle, as JSON Schema without references.

    Args:
        tool: the tool.
        strict: list every argument as required and let null stand for those that may be left out.
        image: what the handle is, where it must be given; "" where it may be left out, as `IMAGE_SCHEMA` says.
    """
    schema = plain(tool.arguments, f"The tool {tool.name}")
    if IMAGE in schema.get("properties", {}):
        raise InputError(f"The tool {tool.name} has an argument {IMAGE!r}, which names the picture. Rename it.")
    schema = {
        "type": "object",
        "properties": {
            IMAGE: {**IMAGE_SCHEMA, **({"description": image} if image else {})},
            **schema.get("properties", {}),
        },
        "required": [*([IMAGE] if image else []), *schema.get("required", [])],
        "additionalProperties": False,
    }
    return _strict(schema) if strict else schema


def rough_tokens(declared: Any) -> int:
    """About how many tokens a declaration costs: JSON without blanks, a token per word of up to eight letters, per
    three digits and per two signs.

    A rule that needs no vocabulary to download. Providers rewrite declarations before they count, mostly to less.
    """
    text = json.dumps(declared, ensure_ascii=False, separators=(",", ":"))
    pieces = re.findall(r"[^\W\d_]+|\d+|(?:[^\w\s]|_)+", text)
    return sum(-(-len(piece) // (8 if piece[0].isalpha() else 3 if piece[0].isdigit() else 2)) for piece in pieces)


def _openai(tool: Tool) -> dict[str, Any]:
    return {"type": "function", "function": _function(tool)}


def _responses(tool: Tool) -> dict[str, Any]:
    return {"type": "function", **_function(tool)}


def _function(tool: Tool) -> dict[str, Any]:
    strict = _can_be_strict(parameters(tool))
    return {
        "name": tool.name,
        "description": tool.description,
        "strict": strict,
        "parameters": parameters(tool, strict=strict),
    }


def _anthropic(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "input_schema": parameters(tool)}


def _json(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": parameters(tool)}


_RENDER: dict[str, Callable[[Tool], dict[str, Any]]] = {
    "openai": _openai,
    "responses": _responses,
    "anthropic": _anthropic,
    "json": _json,
}


# ---- strict schemas ----


def _can_be_strict(schema: Any, inner: bool = False) -> bool:
    """Whether strict mode has words for all of it: objects that can be closed, and no keyword that it does not know.

    `inner`: below the arguments themselves, where null does not mean "left out" unless the type takes it.
    """
    if not isinstance(schema, dict) or not schema or schema.keys() - _STRICT:
        return False
    properties = schema.get("properties", {})
    # A model inside the arguments may be open, and can be closed; a free dict has nothing to close.
    open_ended = schema.get("additionalProperties", False) is not False or (inner and not properties)
    if "object" in _types(schema) and open_ended:
        return False
    left_out = [one for name, one in properties.items() if name not in schema.get("required", [])]
    if inner and not all(_takes_null(one) for one in left_out):
        return False
    below = [*properties.values(), *schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]
    return all(_can_be_strict(one, inner=True) for one in below)


def _types(schema: dict[str, Any]) -> list[str]:
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds


def _takes_null(schema: dict[str, Any]) -> bool:
    return "null" in _types(schema) or any(_takes_null(one) for one in schema.get("anyOf", []))


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Closed objects all of whose properties are required, null where one could be left out."""
    schema = copy.deepcopy(schema)
    if "properties" in schema:
        required = schema.get("required", [])
        schema["properties"] = {
            name: _strict(one if name in required else _or_null(one)) for name, one in schema["properties"].items()
        }
        schema["required"] = list(schema["properties"])
        schema["additionalProperties"] = False
    if isinstance(schema.get("items"), dict):
        schema["items"] = _strict(schema["items"])
    if "anyOf" in schema:
        schema["anyOf"] = [_strict(one) for one in schema["anyOf"]]
    schema.pop("default", None)
    return schema


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an argument that may be left out, with null for doing so, and its description saying so."""
    schema = dict(schema)
    said = re.sub(r"\bLeave out\b", "null", schema.get("description", ""))
    if "default" in schema:
        said = f"{said} null for {json.dumps(schema.pop('default'), ensure_ascii=False)}.".strip()
    if "anyOf" in schema:
        alternatives = [*schema.pop("anyOf"), {"type": "null"}]
        unique = [one for i, one in enumerate(alternatives) if one not in alternatives[:i]]
        schema = {"anyOf": unique, **schema}
    elif isinstance(schema.get("type"), str):
        schema = either(
            [{key: schema.pop(key) for key in list(schema) if key != "description"}, {"type": "null"}], schema
        )
    return {**schema, "description": said} if said else schema
