"""For smolagents: `ToolCallingAgent(get_tools(scenes), model, instructions=f"{NOT_JUDGED_NOTE} {UNTRUSTED_NOTE}")`.

`annotate` is left out: a tool of theirs gives its agent text or a picture, not both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from smolagents import Tool as SmolTool

from fo1agent.integrations.calls import NOT_JUDGED_NOTE, UNTRUSTED_NOTE, call
from fo1agent.integrations.handles import Scenes
from fo1agent.integrations.schemas import parameters
from fo1agent.tools.base import Tool, registry

__all__ = ["NOT_JUDGED_NOTE", "UNTRUSTED_NOTE", "VisionTool", "get_tools"]


def get_tools(scenes: Scenes, tools: Sequence[Tool] = ()) -> list[VisionTool]:
    """The tools over the pictures that are open in `scenes`, and `tools` of yours, made with `@fo1agent.tool`.

    Raises:
        InputError: two tools have one name.
    """
    known = registry(*tools)
    return [VisionTool(tool, scenes, known) for tool in known.values() if tool.name != "annotate"]


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

    def forward(self, **arguments: Any) -> str:
        """What came of it, for a language model."""
        return call(self.name, arguments, self._scenes, self._known).text
