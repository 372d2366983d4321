"""LangChain: the tools as `BaseTool`s, an agent with them, and the rules as its chat model.

    agent = create_visual_agent("rules", ["cat.jpg"])
    agent.invoke({"messages": [("user", "How many remotes are to the right of the cat?")]})["messages"][-1].text

A tool's content is JSON for the model, its artifact a dict for the program: the typed result, and pictures as base64.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.tools import BaseTool, BaseToolkit, ToolException
from pydantic import BaseModel, Field, PrivateAttr, create_model, model_validator
from pydantic_core import to_json

from fo1agent.agent.asking import with_asking
from fo1agent.errors import InputError
from fo1agent.integrations.calls import NOT_JUDGED_NOTE, UNTRUSTED_NOTE, call
from fo1agent.integrations.handles import Scenes
from fo1agent.integrations.rule_chat import RulePlannerChatModel, sent_pictures
from fo1agent.integrations.schemas import IMAGE, IMAGE_SCHEMA, parameters, without_absent
from fo1agent.pictures.image import ImageLimits
from fo1agent.planners.conversation import ChatModel
from fo1agent.scene import Model
from fo1agent.tools.base import Tool, complaint
from fo1agent.tools.registry import registry
from fo1agent.untrusted import UntrustedText

__all__ = ["FO1Tool", "FO1Toolkit", "RulePlannerChatModel", "create_visual_agent"]

SYSTEM_PROMPT = (
    "You answer questions about pictures with tools that find, count, read and compare what is in them. Call them; do "
    "not guess. Regions have ids such as r3: pass them on to further tools, and name those that your answer rests on. "
    f"Where the tools find nothing, say so. {NOT_JUDGED_NOTE} {UNTRUSTED_NOTE}"
)


class FO1Toolkit(BaseToolkit):
    """The tools of fo1agent over a set of pictures.

    Args:
        model: what opens pictures (`fo1agent.load(…)`); None for `load()`'s, when first needed.
        pictures: opened now, each anything that `model.open` takes, or an open `Scene`; a single one needs no list.
        folders: folders from which the language model may open pictures by path; none if empty.
        urls: whether it may open pictures from public http(s) addresses.
        limits: what a picture may cost.
        tools: further tools, made with `@fo1agent.tool`.

    Raises:
        ImageError: a picture cannot be opened.
        InputError: two tools have one name.
    """

    _scenes: Scenes = PrivateAttr()
    _tools: dict[str, Tool] = PrivateAttr()

    def __init__(
        self,
        model: Model | None = None,
        pictures: Any = (),
        *,
        folders: Sequence[str | os.PathLike[str]] = (),
        urls: bool = False,
        limits: ImageLimits | None = None,
        tools: Sequence[Tool] = (),
    ) -> None:
        super().__init__()
        self._scenes = Scenes(model, folders=folders, urls=urls, limits=limits)
        self._tools = with_asking(registry(*tools))
        for picture in pictures if isinstance(pictures, (list, tuple)) else [pictures]:
            self._scenes.open(picture)

    @property
    def scenes(self) -> Scenes:
        """The pictures; `scenes.open` adds one, `scenes.close` takes one away."""
        return self._scenes

    def get_tools(self) -> list[BaseTool]:
        """One LangChain tool for each tool."""
        return [FO1Tool.of(tool, self._scenes) for tool in self._tools.values()]


class FO1Tool(BaseTool):
    """One tool for LangChain. What the caller did wrong becomes a `ToolMessage` with status "error"."""

    _tool: Tool = PrivateAttr()
    _scenes: Scenes = PrivateAttr()

    @classmethod
    def of(cls, tool: Tool, scenes: Scenes) -> FO1Tool:
        """A tool over these pictures."""
        made = cls(
            name=tool.name,
            description=tool.description,
            args_schema=_arguments(tool),
            response_format="content_and_artifact",
            handle_tool_error=str,
            handle_validation_error=partial(_mend, tool),
        )
        made._tool, made._scenes = tool, scenes
        return made

    @property
    def tool_call_schema(self) -> Any:
        """What language models are shown: the same schema as everywhere, without references."""
        return {"title": self.name, "description": self.description, **parameters(self._tool)}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as the tool and its pictures, with what was set besides: its classes are made on the spot."""
        made = type(self).of(self._tool, self._scenes)
        kept = {name: value for name, value in self.__dict__.items() if value != getattr(made, name, None)}
        kept.pop("args_schema", None)
        return _remade, (type(self), self._tool, self._scenes, kept)

    def _run(self, *text: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
        if text:  # `tool.invoke("remote")`: the first argument alone
            first = next(name for name in (*self._tool.arguments.model_fields, IMAGE))
            arguments = {first: text[0], **arguments}
        result = call(self.name, arguments, self._scenes, {self.name: self._tool})
        if not result.ok:
            raise ToolException(result.text)
        return result.text, result.to_dict()

    async def _arun(self, *text: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
        return await asyncio.to_thread(self._run, *text, **arguments)


def _remade(kind: type[FO1Tool], tool: Tool, scenes: Scenes, kept: dict[str, Any]) -> FO1Tool:
    made = kind.of(tool, scenes)
    for name, value in kept.items():
        setattr(made, name, value)
    return made


def create_visual_agent(
    llm: str | BaseChatModel = "rules",
    pictures: Any = (),
    *,
    toolkit: FO1Toolkit | None = None,
    tools: Sequence[BaseTool] = (),
    system_prompt: str = "",
    **options: Any,
) -> Any:
    """An agent that answers questions about pictures: `langchain.agents.create_agent` with our tools and prompt.

    Args:
        llm: `"rules"`, which needs no language model; a LangChain chat model that calls tools; or a name for
            `init_chat_model`, such as "openai:gpt-5".
        pictures: as for `FO1Toolkit`. Those that come in a user's message are opened as well; an address in one is
            opened only if the toolkit allows addresses.
        toolkit: instead of `pictures`, for all other settings.
        tools: LangChain tools of your own beside ours.
        system_prompt: added after ours.
        **options: for `create_agent`: `checkpointer`, `middleware`, `response_format`, …

    Returns:
        A compiled LangGraph graph: `invoke`, `stream`, `ainvoke`, `batch`.

    Raises:
        InputError: both pictures and a toolkit, or no such chat model.
        MissingExtraError: the chat model's provider needs a package that is not installed.
    """
    if llm == "fo1":
        raise InputError('fo1 plans and calls no tools: pass "rules" or a chat model, or use fo1agent.Agent.')
    if isinstance(llm, str):
        llm = RulePlannerChatModel() if llm == "rules" else ChatModel(llm).llm
    given = len(pictures) > 0 if isinstance(pictures, (list, tuple)) else True
    if toolkit is not None and given:
        raise InputError("Pass pictures or a toolkit, not both; toolkit.scenes.open(picture) opens one in it.")
    toolkit = toolkit or FO1Toolkit(pictures=pictures)
    middleware = [_SentPictures(toolkit.scenes), *options.pop("middleware", ())]
    parts = [SYSTEM_PROMPT, _open_pictures(toolkit.scenes), system_prompt]
    return create_agent(
        llm,
        [*toolkit.get_tools(), *tools],
        system_prompt="\n\n".join(part for part in parts if part),
        middleware=middleware,
        **options,
    )


class _SentPictures(AgentMiddleware):
    """Opens the pictures that the user's messages bring along, so that the tools can look at them."""

    def __init__(self, scenes: Scenes) -> None:
        super().__init__()
        self._scenes = scenes

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        self._open(request.messages)
        return handler(request)

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        await asyncio.to_thread(self._open, request.messages)
        return await handler(request)

    def _open(self, messages: Sequence[BaseMessage]) -> None:
        for message in messages:
            if isinstance(message, HumanMessage):
                for picture in sent_pictures(message):
                    self._scenes.receive(picture)


def _open_pictures(scenes: Scenes) -> str:
    """Which pictures are open; what they came from may hold a file name that somebody else chose."""
    lines = [f"{handle}, from {UntrustedText(source).fenced()}" for handle, source in scenes.handles.items()]
    return "Open pictures:\n" + "\n".join(lines) if lines else ""


def _arguments(tool: Tool) -> type[BaseModel]:
    """A tool's arguments and which picture; null stands for "left out", as models in strict mode write it."""

    def left_out(given: Any) -> Any:
        return without_absent(tool, given) if isinstance(given, dict) else given

    validators: dict[str, Any] = {"left_out": model_validator(mode="before")(left_out)}
    image: dict[str, Any] = {IMAGE: (str | None, Field(None, description=IMAGE_SCHEMA["description"]))}
    return create_model(
        tool.arguments.__name__,
        __base__=tool.arguments,
        __doc__=tool.description,
        __validators__=validators,
        **image,
    )


def _mend(tool: Tool, exc: Any) -> str:
    """What a model is told of arguments that do not fit."""
    return to_json({"error": complaint(exc, tool.arguments.model_fields), "retry": True}).decode()
