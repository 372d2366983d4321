"""The rule planner as a LangChain chat model: an agent's loop runs as with a language model, without one.

It keeps nothing. Each time it is called it runs the plan of the last question anew, on what the tools' messages since
then tell; the first thing that they do not tell, it asks for with a tool call. When nothing is missing it answers. Like
any model it knows the picture only through its tools.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from pydantic import ConfigDict, Field, SecretStr, ValidationError

from fo1agent.agent.loop import Agent
from fo1agent.errors import InputError, ToolFailed
from fo1agent.integrations.chat_options import AUTO, NONE, REQUIRED, ChatOptions
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.regions.ids import HANDLE
from fo1agent.regions.regions import Box, Region, Regions, read_box, shown
from fo1agent.runs.budget import Budget
from fo1agent.tools.base import complaint
from fo1agent.untrusted import UntrustedText

NAME = "fo1agent-rules"


class RulePlannerChatModel(BaseChatModel):
    """Answers questions about pictures by fo1agent's grammar, step by step, with fo1agent's tools.

    The last user message is the question; it may go back to those before it ("and what colour are they?"). It may name
    its picture, by id, path or address ("In img_3fa9c1d2: how many cats are there?"), or hold it; else an earlier
    message of the user may, or there is only one. Bind the tools of `FO1Toolkit`; a picture that a message holds must
    be open to them, which `create_visual_agent` sees to.

    The final message holds `Answer.to_dict()` and the picture's id, `image`, in `additional_kwargs["fo1agent"]`.
    """

    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(default=60.0, gt=0)
    """Most seconds for working one message out; the tools' own time is not in it."""

    # What LangChain gives every chat model. Where a call has such an option of its own, that one holds.
    timeout: float | None = Field(default=None, gt=0)
    """The same as `seconds`, by LangChain's name; it holds where both are given."""
    stop: list[str] | str | None = None
    """Texts before the first of which an answer ends."""
    max_tokens: int | None = Field(default=None, ge=1)
    """After so many pieces (words of up to eight letters, three digits, two signs) an answer is cut."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Changes nothing: nothing is drawn at random."""
    max_retries: int | None = Field(default=None, ge=0)
    """Changes nothing: nobody else is asked, who might fail."""
    api_key: SecretStr | None = None
    """Changes nothing: nobody else is asked."""
    streaming: bool = False
    """Changes nothing: a message is made whole, and streamed as one piece."""

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
        """The model with these tools; it calls those of fo1agent that it needs.

        Args:
            tools: those of `FO1Toolkit`; others may be among them.
            tool_choice: "auto"; "none"; "any", "required" or a tool's name, for which a message is refused that needs
                no such call.
            **kwargs: options of `ChatOptions`, and `strict`.

        Raises:
            InputError: an option that is not known, or cannot be kept to. A tool that must be called and cannot be is
                refused when the model is asked.
        """
        declared = [convert_to_openai_tool(tool, strict=kwargs.get("strict")) for tool in tools]
        given = {**kwargs, **({} if tool_choice is None else {"tool_choice": tool_choice})}
        _options(given)
        return self.bind(tools=declared, **given)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        own = {"stop": self.stop or None, "temperature": self.temperature}
        if "max_completion_tokens" not in kwargs:
            own["max_tokens"] = self.max_tokens
        options = _options({**own, **kwargs, **({} if stop is None else {"stop": stop})})
        offered = _names(kwargs.get("tools") or ())
        options.check_tools(offered)
        choice = options.chosen_tool()
        handle, question, before = _asked(messages)
        if choice == NONE:
            offered = set()
        finish = "stop"
        scene = _HeardScene(handle, _heard(messages), offered)
        try:
            answer = Agent(budget=Budget(seconds=self.timeout or self.seconds)).ask(scene, question, before=before)
            text, finish = options.cut(answer.text)
            message = AIMessage(text, additional_kwargs={"fo1agent": {"image": scene.image_id, **answer.to_dict()}})
        except _WantedError as wanted:
            made = sum(len(one.tool_calls) for one in messages if isinstance(one, AIMessage))
            calls = [
                ToolCall(name=name, args=arguments, id=f"call_{made + k}", type="tool_call")
                for k, (name, arguments) in enumerate(wanted.calls)
                if choice in (AUTO, REQUIRED, name)
            ]
            message = AIMessage("", tool_calls=calls[:1] if options.parallel_tool_calls is False else calls)
            finish = "tool_calls"
        except InputError as exc:
            text, finish = options.cut(str(exc))
            message = AIMessage(text)
        if choice not in (AUTO, NONE) and not message.tool_calls:
            which = "a tool" if choice == REQUIRED else f"the tool {choice[:64]!r}"
            raise InputError(f'tool_choice asks for a call of {which}; the question needs none now. Send "auto".')
        message.response_metadata = {"model_name": NAME, "finish_reason": finish}
        return ChatResult(generations=[ChatGeneration(message=message)])


def _options(given: Mapping[str, Any]) -> ChatOptions:
    """The options of a call.

    Raises:
        InputError: one is not known, or cannot be kept to.
    """
    here = {name: value for name, value in given.items() if name not in ("tools", "strict", "model")}
    if given.get("model") not in (None, NAME):
        raise InputError(f"This model is {NAME!r}, not {shown(given['model'])}.")
    try:
        return ChatOptions.model_validate(here)
    except ValidationError as exc:
        raise InputError(f"{NAME}: {complaint(exc)}.") from exc


def _names(declared: Iterable[Any]) -> set[str]:
    """The names of declared tools."""
    return {tool["function"]["name"] for tool in declared}


# ---- the question ----

_PICTURE = (
    r"""(?:["“'](?P<quoted>[^"”'\n]+\.(?:jpe?g|png|webp|gif|bmp|tiff?))["”']"""
    r"""|(?P<plain>""" + HANDLE + r"""|https?://[^\s"“”'<>]+[^\s"“”'<>.,:;?!)]"""
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
        held = [] if isinstance(one, (AIMessage, ToolMessage)) else _pictures(one)
        if held and not isinstance(one, HumanMessage):
            raise InputError(f"A message of {one.type!r} holds a picture. Put it into the user's message.")
        if isinstance(one, HumanMessage):
            named, question = _split(one.text)
            if len({*held, *([named] if named else [])}) > 1:
                others = f" and names {shown(named)}" if named else ""
                raise InputError(
                    f"A question is about one picture; the message holds {len(held)}{others}. Send one in each message."
                )
            named = held[0] if held else named
            asked.append((named or (asked[-1][0] if asked else None), question))
    handle, question = asked[-1] if asked else (None, "")
    return handle, question, [earlier for about, earlier in asked[:-1] if about == handle]


def sent_pictures(message: BaseMessage) -> list[LoadedImage]:
    """The pictures that a message brings along; those that it names by address or id are not among them.

    Raises:
        ImageError: one is no picture, or breaks a limit.
    """
    return [load_image(url) for url in _picture_urls(message) if _is_data(url)]


def _pictures(message: BaseMessage) -> list[str]:
    """Handles of the pictures in a message: the id in full of one that comes along, else its address or id."""
    handles = (f"img_{load_image(url).sha256}" if _is_data(url) else url for url in _picture_urls(message))
    return list(dict.fromkeys(handles))


def _is_data(url: str) -> bool:
    return url[:5].lower() == "data:"


def _picture_urls(message: BaseMessage) -> list[str]:
    """Where the pictures in a message are, those that come along as data: URLs.

    Raises:
        InputError: it holds something that is neither text nor a picture, or a picture in a form that is not known.
    """
    if isinstance(message.content, str):
        return []
    urls = []
    for block in message.content_blocks:  # in LangChain's own words, whatever provider's they were
        told: dict[str, Any] = dict(block)
        kind = told.get("type")
        if kind == "image" and (data := told.get("base64")):
            urls.append(f"data:{told.get('mime_type') or 'image/png'};base64,{data}")
        elif kind == "image" and isinstance(url := told.get("url"), str):
            urls.append(url)
        elif kind not in ("text", "text-plain"):
            inner = told.get("value") if kind == "non_standard" else told
            raise InputError(
                f"A message holds a part that nothing is made of: {shown(inner)}. Send text, and a picture as "
                '{"type": "image_url", "image_url": {"url": …}} with a data: URL, an address, or the id of an open one.'
            )
    return urls


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
    def image_id(self) -> str | None:
        """The picture's id; None where no tool has told of it."""
        return next((told["image"] for told in self._told.values() if isinstance(told.get("image"), str)), None)

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

    def segment(self, targets: Regions) -> Any:
        (result,) = self._ask(("segment", {"regions": [region.name for region in targets]}))
        masks = [SimpleNamespace(area=one["area"], share=one["share"]) for one in result["masks"]]
        return SimpleNamespace(regions=self._regions(result), masks=masks, note=result.get("note", ""))

    def point(self, targets: Regions) -> Any:
        (result,) = self._ask(("point", {"regions": [region.name for region in targets]}))
        points = [SimpleNamespace(x=one["x"], y=one["y"]) for one in result["points"]]
        return SimpleNamespace(regions=self._regions(result), points=points)

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
                raise ToolFailed(f"{result['error']}{self._how_to_open(str(result['error']))}")
        return results

    def _how_to_open(self, error: str) -> str:
        """What to do where a message holds a picture that the tools do not know."""
        handle = self._which.get("image", "")
        if not re.fullmatch(r"img_[0-9a-f]{64}", handle) or handle not in error:
            return ""
        return " The message's picture must be open to the tools: FO1Toolkit(pictures=[…]) or toolkit.scenes.open(…)."

    def _regions(self, result: Mapping[str, Any]) -> Regions:
        found = []
        for one in result["regions"]:
            label = None if one["label"] is None else _unfenced(one["label"])
            found.append(Region(f"{result['image']}/{one['id']}", read_box(one["box"]), one["score"], label, "fo1"))
        not_judged = tuple(result.get("not_judged", ()))
        regions = Regions.from_list(found, result.get("none_score"), result.get("note", ""), not_judged)
        return replace(regions, judged=result.get("judged", ""), by=tuple(result.get("by", ())))


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
