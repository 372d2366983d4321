"""Runs a provider's tool call: `call`, and the messages that carry its result.

Mistakes of the caller come back as a result that a model can read; our own bugs are raised. Text from pictures is
between marks in what a model gets. Pictures are kept apart from the text: each provider takes them in another place,
and most take none in a tool's message.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fo1agent.errors import InputError
from fo1agent.integrations.handles import Scenes
from fo1agent.integrations.schemas import IMAGE, without_absent
from fo1agent.pictures.attached import Drawn
from fo1agent.regions.regions import shown
from fo1agent.tools.base import Outcome, Tool, unknown_names
from fo1agent.tools.registry import registry
from fo1agent.tools.telling import NOT_JUDGED_NOTE, UNTRUSTED_NOTE, as_json, drawn, told

__all__ = [
    "NOT_JUDGED_NOTE",
    "UNTRUSTED_NOTE",
    "CallResult",
    "Drawn",
    "anthropic_block",
    "call",
    "openai_messages",
    "responses_items",
]


@dataclass(frozen=True)
class CallResult:
    """The result of a call.

    Attributes:
        tool: the name that was called.
        image: id of the picture; "" if none was opened.
        outcome: the typed result, or the error.
        text: JSON for a model: the result with untrusted text between marks, or `{error, retry}`.
        images: the pictures and files in the result; they are not in the text.
    """

    tool: str
    image: str
    outcome: Outcome
    text: str
    images: tuple[Drawn, ...] = ()

    @property
    def pictures(self) -> tuple[Drawn, ...]:
        """Those that a model can be shown."""
        return tuple(one for one in self.images if one.is_picture)

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return self.outcome.ok

    def to_dict(self) -> dict[str, Any]:
        """`tool, image, ok`, then `result` as the tool gave it and `images`, or `error` and `retry`; ready for JSON."""
        head = {"tool": self.tool, IMAGE: self.image, "ok": self.ok}
        if not self.ok:
            return {**head, "error": self.outcome.error, "retry": self.outcome.retry}
        result = as_json(self.outcome.result)
        images = [{"media_type": one.media_type, "base64": one.base64} for one in self.images]
        return {**head, "result": result, "images": images}


def call(
    name: str,
    arguments: str | bytes | Mapping[str, Any],
    scenes: Scenes,
    tools: Mapping[str, Tool] | None = None,
    elsewhere: Callable[[str], Any] | None = None,
) -> CallResult:
    """Run a tool call in the form of any provider.

    Args:
        name: of the tool.
        arguments: as JSON text or as a mapping, by the schemas of `schemas.render`, `image` included.
        scenes: the pictures that may be looked at.
        tools: name → tool; None for all that come with fo1agent.
        elsewhere: gives the scene of another picture whose regions arguments name; None for `scenes.get`.

    Returns:
        The result, or what is wrong: an unknown tool, arguments that do not fit, a picture that may not be opened, a
        tool that failed.
    """
    known = registry() if tools is None else tools
    if name not in known:
        return _refused(name, f"There is no tool {name[:64]!r}. There are: {', '.join(known)}.")
    tool = known[name]
    try:
        given = json.loads(arguments or "{}") if isinstance(arguments, (str, bytes)) else arguments
    except (ValueError, RecursionError) as exc:
        return _refused(name, f"The arguments are not JSON: {str(exc)[:200]}.")
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        return _refused(name, f"The arguments must be a JSON object, got {shown(given)}.")
    given = dict(given)
    if said := unknown_names(given, [IMAGE, *tool.arguments.model_fields]):
        return _refused(name, f"{tool.name}: {said}.")
    handle = given.pop(IMAGE, None)
    if isinstance(handle, os.PathLike):
        handle = os.fspath(handle)
    if handle is not None and not isinstance(handle, str):
        return _refused(name, f"{IMAGE} must be a picture's id, path or address, got {shown(handle)}.")
    with scenes.lock:
        try:
            scene = scenes.get(handle)
        except InputError as exc:
            return _refused(name, str(exc))
        outcome = tool.call(scene, without_absent(tool, given), elsewhere or scenes.get)
        return _told(tool.name, scene.id, outcome)


# ---- messages, by provider ----


def openai_messages(call_id: str, result: CallResult) -> list[dict[str, Any]]:
    """The messages that answer a Chat Completions tool call: the tool's own, and one of the user's for its pictures.

    A tool's message takes no picture there. If a model called several tools, send the messages of all tools first.
    """
    messages: list[dict[str, Any]] = [{"role": "tool", "tool_call_id": call_id, "content": result.text}]
    if result.pictures:
        parts = [{"type": "image_url", "image_url": {"url": one.url}} for one in result.pictures]
        messages.append({"role": "user", "content": [{"type": "text", "text": _shown(result)}, *parts]})
    return messages


def responses_items(call_id: str, result: CallResult) -> list[dict[str, Any]]:
    """The input items that answer a Responses API function call."""
    items: list[dict[str, Any]] = [{"type": "function_call_output", "call_id": call_id, "output": result.text}]
    if result.pictures:
        parts = [{"type": "input_image", "image_url": one.url} for one in result.pictures]
        items.append({"role": "user", "content": [{"type": "input_text", "text": _shown(result)}, *parts]})
    return items


def anthropic_block(call_id: str, result: CallResult) -> dict[str, Any]:
    """The `tool_result` block that answers an Anthropic `tool_use` block; pictures stand in it."""
    content: list[dict[str, Any]] = [{"type": "text", "text": result.text}]
    for one in result.pictures:
        source = {"type": "base64", "media_type": one.media_type, "data": one.base64}
        content.append({"type": "image", "source": source})
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": call_id, "content": content}
    return block if result.ok else {**block, "is_error": True}


def _shown(result: CallResult) -> str:
    return f"The picture that {result.tool} gave."


# ---- what a model reads ----


def _refused(name: str, error: str) -> CallResult:
    return _told(name, "", Outcome(tool=name, error=error, retry=True))


def _told(name: str, image: str, outcome: Outcome) -> CallResult:
    text, _ = told(outcome, **({IMAGE: image} if outcome.ok else {}))
    return CallResult(name, image, outcome, text, drawn(outcome.result))
