"""For smolagents: `ToolCallingAgent(get_tools(scenes), model, instructions=f"{NOT_JUDGED_NOTE} {UNTRUSTED_NOTE}")`.

Tools that return pictures (`annotate`) are left out: a smolagents tool returns text or a picture, not both.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json
from smolagents import Tool as SmolTool

from fo1agent.agent.asking import with_asking
from fo1agent.errors import InputError
from fo1agent.integrations.calls import NOT_JUDGED_NOTE, UNTRUSTED_NOTE, call
from fo1agent.integrations.handles import Scenes
from fo1agent.integrations.schemas import IMAGE, parameters
from fo1agent.regions.ids import HANDLE
from fo1agent.tools.base import Tool
from fo1agent.tools.registry import registry

__all__ = ["NOT_JUDGED_NOTE", "UNTRUSTED_NOTE", "VisionTool", "get_tools"]


def get_tools(scenes: Scenes, tools: Sequence[Tool] = ()) -> list[VisionTool]:
    """The tools over the pictures that are open in `scenes`, and `tools` of yours, made with `@fo1agent.tool`.

    Raises:
        InputError: two tools have one name.
    """
    known = with_asking(registry(*tools))
    return [VisionTool(tool, scenes, known) for tool in known.values() if not tool.draws]


class VisionTool(SmolTool):
    """One tool. What smolagents shows its language model is `name`, `description` and `inputs`.

    Arguments that do not fit, and pictures that cannot be opened, are answered with a text that says so, for the
    language model to try again.
    """

    output_type = "string"
    skip_forward_signature_validation = True  # forward takes whatever the tool's own schema names

    def __init__(self, tool: Tool, scenes: Scenes, known: dict[str, Tool]) -> None:
        super().__init__()
        self.name, self.description, self.inputs = tool.name, tool.description, {}
        self._scenes, self._known = scenes, known
        schema = parameters(tool)
        for name, one in schema["properties"].items():
            kinds = one["type"] if "type" in one else [choice["type"] for choice in one["anyOf"]]
            described = {"type": kinds, "description": one.get("description", "")}
            self.inputs[name] = described if name in schema["required"] else {**described, "nullable": True}

    def forward(self, *positional: Any, **arguments: Any) -> str:
        """The result, for a language model.

        Positional arguments are taken in the order of `inputs`, as code agents write them: `count("img_3fa9c1d2",
        "dog")`. Where one picture is open it may be left out of them: `count("dog")`.
        """
        try:
            given = self._by_name(positional, arguments)
        except InputError as exc:
            return to_json({"error": str(exc), "retry": True}).decode()
        return call(self.name, given, self._scenes, self._known).text

    def _by_name(self, positional: tuple[Any, ...], arguments: dict[str, Any]) -> dict[str, Any]:
        names = list(self.inputs)
        if positional and names[0] == IMAGE and (IMAGE in arguments or not self._is_picture(positional[0])):
            names = names[1:]
        if len(positional) > len(names):
            raise InputError(
                f"{self.name} takes at most {len(self.inputs)} arguments, {', '.join(self.inputs)}; got "
                f"{len(positional)} without names."
            )
        given = dict(zip(names, positional, strict=False))
        if twice := sorted(given.keys() & arguments.keys()):
            raise InputError(f"{self.name} got {', '.join(twice)} twice, by position and by name.")
        return {**given, **arguments}

    def _is_picture(self, value: Any) -> bool:
        """Whether a first positional argument says which picture is meant: all but what cannot be one, where one is
        open."""
        if value is None or isinstance(value, os.PathLike):
            return True
        if not isinstance(value, str):
            return False
        looks_so = re.fullmatch(HANDLE, value) or re.search(r"[/\\]|\.\w{1,5}$", value)
        return bool(looks_so) or len(self._scenes.handles) != 1 or self._scenes.known(value) is not None
