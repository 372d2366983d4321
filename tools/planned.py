"""Tools as plans may use them: what kind of thing each gives, and which of its arguments take regions."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from fo1agent.plans.language import Kind, Offered
from fo1agent.regions.regions import Region, RegionRef, Regions
from fo1agent.tools.base import Tool, takes_place
from fo1agent.tools.schemas import plain


def offered(tools: Iterable[Tool]) -> dict[str, Offered]:
    """Name → what a planner is told of it, for the tools that are none of ours, whose work plans have words for; and
    that give regions, a number, a truth value or text."""
    return {one.name: made for one in tools if not one.ours and (made := _offered(one)) is not None}


def _offered(tool: Tool) -> Offered | None:
    gives = kind_of(tool)
    if gives is None:
        return None
    schema = plain(tool.arguments, f"The tool {tool.name}")
    places = tuple(name for name, field in tool.arguments.model_fields.items() if takes_place(name, field))
    arguments, required = schema.get("properties", {}), tuple(schema.get("required", ()))
    return Offered(tool.name, tool.description, gives, arguments, required, places)


def kind_of(tool: Tool) -> Kind | None:
    """What a tool gives in a plan, by the first of its result's fields `value`, `regions` and `text` that it has."""
    fields = tool.result.model_fields
    field = next((fields[name] for name in ("value", "regions", "text") if name in fields), None)
    return None if field is None else _kind(field.annotation)


def _kind(hint: Any) -> Kind | None:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _kind(inner[0])
    if origin in (Union, types.UnionType):
        found: set[Kind | None] = {_kind(one) for one in inner if one is not type(None)}
        return found.pop() if len(found) == 1 else None
    if origin is Literal:
        return "text" if all(isinstance(one, str) for one in inner) else None
    if origin in (list, tuple):
        return "regions" if inner and inner[0] in (Region, RegionRef) else None
    kinds: dict[type, Kind] = {Regions: "regions", bool: "bool", int: "number", float: "number", str: "text"}
    return next((kind for of, kind in kinds.items() if isinstance(hint, type) and issubclass(hint, of)), None)
