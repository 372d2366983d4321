"""The rule planner as a LangChain chat model: an agent's loop runs as with a language model, without one.

It keeps nothing. Each time it is called it runs the plan of the last question anew, on what the tools' messages since
then tell; the first thing that they do not tell, it asks for with a tool call. When nothing is missing it answers. Like
any model it knows the picture only through its tools.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from fo1agent.agent import Agent, Budget
from fo1agent.errors import InputError, ToolFailed
from fo1agent.ocr import UntrustedText
from fo1agent.types import Box, Region, Regions, read_box

NAME = "fo1agent-rules"


class RulePlannerChatModel(BaseChatModel):
    """Answers questions about pictures by fo1agent's grammar, step by step, with fo1agent's tools.

    The last user message is the question; it may go back to those before it ("and what colour are they?"). It may name
    its picture, by id, path or address ("In img_3fa9c1d2: how many cats are there?"); else an earlier message of the
    user may, or there is only one. Bind the tools of `FO1Toolkit`.

    The final message holds `Answer.to_dict()`, with evidence and steps, in `additional_kwargs["fo1agent"]`.
    """

    seconds: float = 60.0
    """Most seconds for working one message out; the tools' own time is not in it."""

    @property
    def _llm_type(self) -> str:
        return NAME

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": NAME}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "fo1agent"
        params["ls_model_name"] = kwargs.get("model") or NAME
        return params

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with these tools; it calls those of fo1agent that it needs, whatever `tool_choice` says."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        handle, question, before = _asked(messages)
        offered = {tool["function"]["name"] for tool in kwargs.get("tools", [])}
        scene = _HeardScene(handle, _heard(messages), offered)
        try:
            answer = Agent(budget=Budget(seconds=self.seconds)).ask(scene, question, before=before)
            message = AIMessage(answer.text, additional_kwargs={"fo1agent": answer.to_dict()})
        except _WantedError as wanted:
            made = sum(len(one.tool_calls) for one in messages if isinstance(one, AIMessage))
            calls = [
                ToolCall(name=name, args=arguments, id=f"call_{made + k}", type="tool_call")
                for k, (name, arguments) in enumerate(wanted.calls)
            ]
            message = AIMessage("", tool_calls=calls)
        except InputError as exc:
            message = AIMessage(str(exc))
        message.response_metadata = {"model_name": NAME}
        return ChatResult(generations=[ChatGeneration(message=message)])


# ---- the question ----

_PICTURE = (
    r"""(?:["“'](?P<quoted>[^"”'\n]+\.(?:jpe?g|png|webp|gif|bmp|tiff?))["”']"""
    r"""|(?P<plain>img_[0-9a-f]{8,64}|https?://[^\s"“”'<>]+[^\s"“”'<>.,:;?!)]"""
    r"""|[^\s"“”'()<>]+\.(?:jpe?g|png|webp|gif|bmp|tiff?)\b))"""
)
_NOUN = r"(?:(?:the |this )?(?:picture|image|photo|photograph|file) )?"
# Before the question, behind it, or in its midst, where it stands for "the picture".
_BEFORE = re.compile(rf"^\s*(?:(?:in|on|for|about|from|see|look at) )?{_NOUN}{_PICTURE}\s*[:,;.\n]?\s*", re.IGNORECASE)
_BEHIND = re.compile(rf"(?<=[?.!\n])\s*\(?{_NOUN}{_PICTURE}\)?\s*$", re.IGNORECASE)
_WITHIN = re.compile(rf"{_NOUN}{_PICTURE}", re.IGNORECASE)


def _asked(messages: Sequence[BaseMessage]) -> tuple[str | None, str, list[str]]:
    """(handle of the picture, or None; the question without it; the questions about that picture before it)."""
    asked: list[tuple[str | None, str]] = []  # (the picture that a question is about, the question)
    for one in messages:
        if isinstance(one, HumanMessage):
            named, question = _split(one.text)
            asked.append((named or (asked[-1][0] if asked else None), question))
    handle, question = asked[-1] if asked else (None, "")
    return handle, question, [earlier for about, earlier in asked[:-1] if about == handle]


def _split(text: str) -> tuple[str | None, str]:
    for pattern, instead in ((_BEFORE, ""), (_BEHIND, ""), (_WITHIN, "the picture")):
        if match := pattern.search(text):
            rest = text[: match.start()] + instead + text[match.end() :]
            return match["quoted"] or match["plain"], rest.strip()
    return None, text.strip()


# ---- what the tools have told ----

_Key = tuple[str, str]  # (tool, arguments as JSON with sorted keys)


class _WantedError(Exception):
    """The plan needs what these calls (tool, arguments) would tell. Never leaves this module."""

    def __init__(self, calls: Sequence[tuple[str, dict[str, Any]]]) -> None:
        super().__init__(calls)
        self.calls = calls


def _key(name: str, arguments: Mapping[str, Any]) -> _Key:
    return name, json.dumps(arguments, sort_keys=True)


def _heard(messages: Sequence[BaseMessage]) -> dict[_Key, dict[str, Any]]:
    """(tool, arguments) → what it gave, of every call since the last question."""
    last = max((k for k, one in enumerate(messages) if isinstance(one, HumanMessage)), default=0)
    called: dict[str | None, _Key] = {}
    heard: dict[_Key, dict[str, Any]] = {}
    for one in messages[last:]:
        if isinstance(one, AIMessage):
            called.update({made["id"]: _key(made["name"], made["args"]) for made in one.tool_calls})
        elif isinstance(one, ToolMessage) and one.tool_call_id in called:
            heard[called[one.tool_call_id]] = _result(one.text)
    return heard


def _result(text: str) -> dict[str, Any]:
    try:
        result = json.loads(text)
    except ValueError:
        result = None
    return result if isinstance(result, dict) else {"error": text}


class _HeardScene:
    """A picture as far as the tools' messages tell of it; what an `Agent` needs of a scene."""

    def __init__(self, handle: str | None, heard: Mapping[_Key, dict[str, Any]], offered: set[str]) -> None:
        self._which = {"image": handle} if handle else {}
        self._told = heard
        self._offered = offered

    @property
    def width(self) -> int:
        return self._look()["width"]

    @property
    def height(self) -> int:
        return self._look()["height"]

    @property
    def thresholds(self) -> Mapping[str, float]:
        return self._look()["thresholds"]

    @property
    def regions(self) -> Regions:
        return self._regions(self._look())

    def named(self) -> Regions:
        return self.regions

    def ground_many(self, phrases: list[str], *, threshold: float | None = None) -> dict[str, Regions]:
        """What each phrase names, as the tool itself takes it; or the best region alone that reaches a threshold: plans
        ask for that where a thing must be there."""
        least = {} if threshold is None else {"threshold": threshold, "limit": 1}
        asked = [("ground", {"phrase": phrase, **least}) for phrase in phrases]
        _, *found = self._ask(("look", {}), *asked)
        return {phrase: self._regions(one) for phrase, one in zip(phrases, found, strict=True)}

    def read(self, target: Region | None = None) -> Any:
        (result,) = self._ask(("read", _where(target)))
        lines = [
            SimpleNamespace(text=_unfenced(line["text"]), box=box)
            for line in result["lines"]
            if (box := _box_of(line["region"])) is not None
        ]
        return SimpleNamespace(text=_unfenced(result["text"]), lines=lines)

    def describe(self, target: Region | None = None) -> Any:
        (result,) = self._ask(("describe", _where(target)))
        return SimpleNamespace(text=_unfenced(result["text"]), regions=self._regions(result))

    def inspect(self, target: Region, question: str) -> Any:
        (result,) = self._ask(("inspect", {"question": question, **_where(target)}))
        return SimpleNamespace(text=_unfenced(result["text"]))

    def _look(self) -> dict[str, Any]:
        return self._ask(("look", {}))[0]

    def _ask(self, *calls: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """What these calls gave.

        Raises:
            _WantedError: some have not been made.
            ToolFailed: one is not offered, or failed.
        """
        calls = tuple((name, {**self._which, **arguments}) for name, arguments in calls)
        for name, _ in calls:
            if name not in self._offered:
                raise ToolFailed(f"the tool {name!r} of fo1agent is not among those that I may call")
        missing = [one for one in calls if _key(*one) not in self._told]
        if missing:
            raise _WantedError(missing)
        results = [self._told[_key(*one)] for one in calls]
        for result in results:
            if "error" in result:
                raise ToolFailed(str(result["error"]))
        return results

    def _regions(self, result: Mapping[str, Any]) -> Regions:
        found = []
        for one in result["regions"]:
            label = None if one["label"] is None else _unfenced(one["label"])
            found.append(Region(f"{result['image']}/{one['id']}", read_box(one["box"]), one["score"], label, "fo1"))
        not_judged = tuple(result.get("not_judged", ()))
        regions = Regions.from_list(found, result.get("none_score"), result.get("note", ""), not_judged)
        return replace(regions, judged=result.get("judged", ""))


def _where(target: Region | None) -> dict[str, Any]:
    return {} if target is None else {"region": target.name}


def _box_of(name: str) -> Box | None:
    """The box that an id such as b10_20_110_220 spells; None for another id."""
    match = re.fullmatch(r"b(\d+)_(\d+)_(\d+)_(\d+)", name)
    if match is None:
        return None
    x1, y1, x2, y2 = (float(side) for side in match.groups())
    return x1, y1, x2, y2


def _unfenced(text: str) -> UntrustedText:
    match = re.fullmatch(r"<untrusted>\n(.*)\n</untrusted>", text, re.DOTALL)
    return UntrustedText(match[1] if match else text)
