"""The rule planner as a LangChain chat model: an agent's loop runs as with a language model, without one.

It keeps nothing. Each time it is called it runs the plan of the last question anew, on what the tools' messages since
then tell; the first thing that they do not tell, it asks for with a tool call. When nothing is missing it answers. Like
any model it knows the picture only through its tools.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Annotated, Any, Self

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_core import from_json

from fo1agent.agent.loop import Agent
from fo1agent.errors import InputError, ToolFailed
from fo1agent.integrations.chat_options import AUTO, NONE, REQUIRED, ChatOptions
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.regions.ids import HANDLE, RegionId
from fo1agent.regions.regions import Region, Regions, shown
from fo1agent.results import Probability
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


def _heard(messages: Sequence[BaseMessage]) -> dict[_Key, _Message]:
    """(tool, arguments) → what it gave, of every call of fo1agent's tools since the last question."""
    last = max((k for k, one in enumerate(messages) if isinstance(one, HumanMessage)), default=0)
    called: dict[str | None, _Key] = {}
    heard: dict[_Key, _Message] = {}
    for one in messages[last:]:
        if isinstance(one, AIMessage):
            called.update({made["id"]: _key(made["name"], made["args"]) for made in one.tool_calls})
        elif isinstance(one, ToolMessage) and (key := called.get(one.tool_call_id)) and key[0] in _FORMS:
            heard[key] = _said(key[0], one.text)
    return heard


_MOST_TEXT = 8_000_000  # characters of one message
_MOST_WORDS = 2000  # characters of a name, or of what went wrong
_MOST_THINGS = 4000  # regions, or lines of text, in one message
_MOST_PIXELS = 1_000_000  # of a side

_Text = Annotated[str, Field(min_length=1)]
_Words = Annotated[str, Field(max_length=_MOST_WORDS)]
_Side = Annotated[int, Field(ge=1, le=_MOST_PIXELS)]
_At = Annotated[float, Field(ge=-1, le=_MOST_PIXELS, allow_inf_nan=False)]
_Things = Field(max_length=_MOST_THINGS)


class _HeardRegion(BaseModel):
    """A region in a message."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    label: _Words | None
    score: Probability
    box: tuple[_At, _At, _At, _At]


class _Message(BaseModel):
    """As much as is used of what any tool's message holds. A tool's result alone, without the picture's id, will do."""

    image: _Words = ""


class _Failed(_Message):
    """What a tool gives that has no result."""

    error: _Text


class _RegionsMessage(_Message):
    """A message with regions, and what is said of them all."""

    regions: Annotated[list[_HeardRegion], _Things]
    none_score: Probability | None = None
    note: str = ""
    not_judged: Annotated[tuple[_Words, ...], _Things] = ()
    judged: _Words = ""
    by: Annotated[tuple[_Words, ...], _Things] = ()

    @model_validator(mode="after")
    def _are_regions(self) -> Self:
        if len({one.id for one in self.regions}) < len(self.regions):
            raise ValueError("regions: one is told twice")
        self.found("")  # refuses boxes that are none
        return self

    def found(self, picture: str) -> Regions:
        """Its regions, as those of a picture."""
        within = f"{self.image or picture}/".removeprefix("/")
        found = []
        for one in self.regions:
            label = None if one.label is None else _unfenced(one.label)
            found.append(Region(f"{within}{one.id}", one.box, one.score, label, "fo1"))
        regions = Regions.from_list(found, self.none_score, self.note, self.not_judged)
        return replace(regions, judged=self.judged, by=self.by)


class _Look(_RegionsMessage):
    """What `look` gives."""

    width: _Side
    height: _Side
    thresholds: dict[str, Probability]


class _Line(BaseModel):
    """A line of text."""

    text: str
    region: _Words


class _Read(_Message):
    """What `read` gives."""

    text: str
    lines: Annotated[list[_Line], _Things]


class _Describe(_RegionsMessage):
    """What `describe` gives."""

    text: str


class _Inspect(_Message):
    """What `inspect` gives."""

    text: str


class _Mask(BaseModel):
    """How large a mask is."""

    area: Annotated[int, Field(ge=0, le=_MOST_PIXELS**2)]
    share: Annotated[float, Field(ge=0, le=_MOST_PIXELS)]


class _Segment(_RegionsMessage):
    """What `segment` gives."""

    masks: Annotated[list[_Mask], _Things]


class _Point(BaseModel):
    """A point to click."""

    x: _At
    y: _At


class _Points(_RegionsMessage):
    """What `point` gives."""

    points: Annotated[list[_Point], _Things]

    @model_validator(mode="after")
    def _one_for_each(self) -> Self:
        if len(self.points) != len(self.regions):
            raise ValueError("points: there must be one for each region")
        return self


_FORMS: dict[str, type[_Message]] = {
    "look": _Look,
    "ground": _RegionsMessage,
    "read": _Read,
    "describe": _Describe,
    "inspect": _Inspect,
    "segment": _Segment,
    "point": _Points,
}


_JSON = re.compile(r"""\s*(?:\{|\[\s*[\[{"\d-])""")  # "[Errno 2] …" is none


def _said(name: str, text: str) -> _Message:
    """What a tool's message holds, which is anybody's: the tool's result, or why there is none that can be read."""
    unreadable = f"the tool {name!r} gave no result that can be read"
    if not text.strip() or len(text) > _MOST_TEXT:
        return _Failed(error=f"{unreadable}: a message of {len(text)} characters")
    try:
        told = from_json(text)
    except ValueError:
        if _JSON.match(text):
            return _Failed(error=f"{unreadable}: it begins as JSON and is none")
        return _Failed(error=text if len(text) <= _MOST_WORDS else f"{text[:_MOST_WORDS]}…")  # words, as of an error
    if not isinstance(told, dict):
        return _Failed(error=f"{unreadable}: it must be a JSON object, got {shown(told)}")
    with suppress(ValidationError):
        return _Failed.model_validate(told)
    try:
        return _FORMS[name].model_validate(told)
    except ValidationError as exc:
        return _Failed(error=f"{unreadable}: {complaint(exc)}")


class _HeardScene:
    """A picture as far as the tools' messages tell of it; what an `Agent` needs of a scene."""

    def __init__(self, handle: str | None, heard: Mapping[_Key, _Message], offered: set[str]) -> None:
        self._which = {"image": handle} if handle else {}
        self._told = heard
        self._offered = offered

    @property
    def image_id(self) -> str | None:
        """The picture's id; None where no tool has told of it."""
        return next((told.image for told in self._told.values() if told.image), None)

    @property
    def width(self) -> int:
        return self._look().width

    @property
    def height(self) -> int:
        return self._look().height

    @property
    def thresholds(self) -> Mapping[str, float]:
        return self._look().thresholds

    @property
    def regions(self) -> Regions:
        return self._found(self._look())

    def named(self) -> Regions:
        return self.regions

    def ground_many(self, phrases: list[str], *, threshold: float | None = None) -> dict[str, Regions]:
        """What each phrase names, as the tool itself takes it; or the best region alone that reaches a threshold: plans
        ask for that where a thing must be there."""
        least = {} if threshold is None else {"threshold": threshold, "limit": 1}
        asked = [("ground", {"phrase": phrase, **least}) for phrase in phrases]
        _, *found = self._ask(("look", {}), *asked)
        return {phrase: self._found(one) for phrase, one in zip(phrases, found, strict=True)}

    def read(self, target: Region | None = None) -> Any:
        (result,) = self._ask(("read", _where(target)))
        lines = [
            SimpleNamespace(text=_unfenced(line.text), box=known.box)
            for line in result.lines
            if (known := RegionId.read(line.region)) is not None and known.box is not None
        ]
        return SimpleNamespace(text=_unfenced(result.text), lines=lines)

    def describe(self, target: Region | None = None) -> Any:
        (result,) = self._ask(("describe", _where(target)))
        return SimpleNamespace(text=_unfenced(result.text), regions=self._found(result))

    def inspect(self, target: Region, question: str) -> Any:
        (result,) = self._ask(("inspect", {"question": question, **_where(target)}))
        return SimpleNamespace(text=_unfenced(result.text))

    def segment(self, targets: Regions) -> Any:
        (result,) = self._ask(("segment", {"regions": [region.name for region in targets]}))
        return SimpleNamespace(regions=self._found(result), masks=result.masks, note=result.note)

    def point(self, targets: Regions) -> Any:
        (result,) = self._ask(("point", {"regions": [region.name for region in targets]}))
        return SimpleNamespace(regions=self._found(result), points=result.points)

    def _found(self, result: _RegionsMessage) -> Regions:
        return result.found(self.image_id or "")

    def _look(self) -> _Look:
        return self._ask(("look", {}))[0]

    def _ask(self, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        """What these calls gave, each in its tool's form.

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
            if isinstance(result, _Failed):
                raise ToolFailed(f"{result.error}{self._how_to_open(result.error)}")
        return results

    def _how_to_open(self, error: str) -> str:
        """What to do where a message holds a picture that the tools do not know."""
        handle = self._which.get("image", "")
        if not re.fullmatch(r"img_[0-9a-f]{64}", handle) or handle not in error:
            return ""
        return " The message's picture must be open to the tools: FO1Toolkit(pictures=[…]) or toolkit.scenes.open(…)."


def _where(target: Region | None) -> dict[str, Any]:
    return {} if target is None else {"region": target.name}


def _unfenced(text: str) -> UntrustedText:
    match = re.fullmatch(r"<untrusted>\n(.*)\n</untrusted>", text, re.DOTALL)
    return UntrustedText(match[1] if match else text)
