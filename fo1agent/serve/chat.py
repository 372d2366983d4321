"""OpenAI's Chat Completions, as far as a picture and a question go: the official SDKs talk to it.

The last user message is the question. Its picture comes with it, or with an earlier message, as an `image_url` part: a
data: URL, the id of an open picture, or an address if those are allowed. The message that answers it has the text as
content, and in a field of its own, `fo1agent`, all that an `Answer` holds.

Where a caller offers fo1agent's own tools, the rule planner calls them and leaves looking to the caller, as any
language model would; what comes back in tools' messages is what it goes by. A picture that comes
along it names by its id.

Each field of OpenAI's is used, changes nothing and is checked, or is refused: see `chat_options`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import from_json
from starlette.responses import Response

from fo1agent.errors import InputError
from fo1agent.integrations.chat_options import NONE, ChatOptions, Closed
from fo1agent.runs.budget import MAX_QUESTION
from fo1agent.serve.admission import admitting
from fo1agent.serve.gate import check
from fo1agent.serve.problems import Json, Problem
from fo1agent.serve.service import Service
from fo1agent.serve.streams import FAILURES, now, sse
from fo1agent.tools.registry import registry

_MOST_MESSAGES = 512

_Ignored = Annotated[Any, Field(None, description="Changes nothing.")]


class ImageUrl(Closed):
    """Where a picture is."""

    url: str = Field(description="A data: URL, the id of an open picture (img_…), or an address if those are allowed.")
    detail: Literal["auto", "low", "high", "original"] | None = Field(
        None, description="Changes nothing: a picture is always looked at whole."
    )


class TextPart(Closed):
    """A piece of text."""

    type: Literal["text"]
    text: str


class ImagePart(Closed):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageUrl


class CalledFunction(Closed):
    """What was called, and with what."""

    name: str
    arguments: str = Field(description="A JSON object.")


class ToolCallIn(Closed):
    """A tool call of an earlier answer."""

    id: str
    type: Literal["function"] = "function"
    index: _Ignored = None
    function: CalledFunction


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(Closed):
    """What was said so far. Only a user's message may hold pictures."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[ToolCallIn] | None = None
    tool_call_id: str | None = None
    name: _Ignored = None
    refusal: _Ignored = None
    annotations: _Ignored = None
    reasoning: _Ignored = None
    reasoning_content: _Ignored = None
    fo1agent: _Ignored = None
    audio: None = Field(None, description="Refused: sound is not heard.")
    function_call: None = Field(None, description="Refused: send tool_calls.")

    @model_validator(mode="after")
    def _pictures_are_the_users(self) -> Message:
        if self.role != "user" and self.pictures:
            raise ValueError(f"content: a message of {self.role!r} holds a picture; put it into the user's message")
        return self

    @property
    def text(self) -> str:
        """All text in it."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content or () if isinstance(part, TextPart))

    @property
    def pictures(self) -> list[str]:
        """The URLs of all pictures in it."""
        if isinstance(self.content, str):
            return []
        return [part.image_url.url for part in self.content or () if isinstance(part, ImagePart)]


class OfferedFunction(Closed):
    """A function that the caller runs. fo1agent's own are known by their names."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class OfferedTool(Closed):
    """A tool that may be called."""

    type: Literal["function"]
    function: OfferedFunction


class StreamOptions(Closed):
    """What a stream tells besides."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = Field(None, description="Changes nothing.")


class ChatIn(ChatOptions):
    """A chat to go on with. What is asked for and cannot be given is refused, and so is a field that is not named."""

    model: str = Field(description="As /v1/models names it.")
    messages: list[Message] = Field(min_length=1, max_length=_MOST_MESSAGES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[OfferedTool] | None = None

    @model_validator(mode="after")
    def _options_have_what_they_are_about(self) -> ChatIn:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: they are for stream: true; leave them out")
        if self.parallel_tool_calls is not None and not self.tools:
            raise ValueError("parallel_tool_calls: no tools are offered; leave it out")
        return self

    @property
    def offered(self) -> list[str]:
        """The names of the tools that the caller runs."""
        return [tool.function.name for tool in self.tools or ()]


class ChatOut(BaseModel):
    """An answer."""

    model_config = ConfigDict(extra="allow")
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]


class ModelOut(BaseModel):
    """A model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelsOut(BaseModel):
    """All models."""

    object: Literal["list"]
    data: list[ModelOut]


def router(service: Service) -> APIRouter:
    """The routes under /v1 that are OpenAI's."""
    routes = APIRouter(prefix="/v1", responses=FAILURES, tags=["openai"], route_class=admitting(service.admit))
    created = now()
    one = {"id": service.model.name, "object": "model", "created": created, "owned_by": "fo1agent"}

    @routes.get("/models", response_model=ModelsOut)
    async def list_models() -> Response:
        """The model that is served."""
        return Json({"object": "list", "data": [one]})

    @routes.get("/models/{model:path}", response_model=ModelOut)
    async def get_model(model: str) -> Response:
        """A model."""
        _check_model(service, model)
        return Json(one)

    @routes.post(
        "/chat/completions",
        response_model=ChatOut,
        responses={
            200: {
                "description": "The answer; with `stream` chunks of it, ended by [DONE].",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            }
        },
    )
    async def complete(request: Request, chat: ChatIn) -> Response:
        """Answer the last message."""
        _check_model(service, chat.model)
        chat.check_tools(chat.offered)
        asked = None if _is_planned(chat) else _asked(chat)
        picture = None if asked is None else asked.picture
        if chat.stream:
            stream = await service.stream(request, "ask", partial(_chunks, service, chat, asked), picture)
            return sse(stream, failure="")

        def work(*opened: Any) -> dict[str, Any]:
            message, reason = _message(service, chat, asked, *opened)
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
            return {**_head(service, "chat.completion"), "choices": [choice], "usage": _usage()}

        return Json(await service.run(request, "ask", work, picture))

    return routes


def _check_model(service: Service, name: str) -> None:
    if name != service.model.name:
        message = f"There is no model {name[:64]!r}; this server has {service.model.name!r}."
        raise Problem(404, message, code="model_not_found")


def _head(service: Service, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{secrets.token_hex(12)}", "object": kind, "created": now(), "model": service.model.name}


def _usage() -> dict[str, int]:
    """None are counted: most questions cost none, and those of a chat model that plans here are the server's."""
    return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


# ---- answering, in a thread ----


def _message(service: Service, chat: ChatIn, asked: _Asked | None, *opened: Any) -> tuple[dict[str, Any], str]:
    """The assistant's message, about the picture that was opened (its handle, itself) or who calls tools next; and why
    it ends."""
    if asked is None:
        return _planned(service, chat)
    handle, scene = opened
    answer = service.answer(scene, asked.question, asked.before)
    text, reason = chat.cut(answer["text"])
    message = {"role": "assistant", "content": text, "refusal": None, "fo1agent": {"image": handle, **answer}}
    return message, reason


def _chunks(service: Service, chat: ChatIn, asked: _Asked | None, *opened: Any) -> Iterator[tuple[str, Any]]:
    """The assistant's message in pieces, as they become known, each without a name; then what ends them."""
    head = _head(service, "chat.completion.chunk")
    wants_usage = bool(chat.stream_options and chat.stream_options.include_usage)

    def chunk(delta: dict[str, Any], reason: str | None = None) -> tuple[str, Any]:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]
        return "", {**head, "choices": choices, **({"usage": None} if wants_usage else {})}

    reason = "stop"
    if asked is None:
        message, reason = _planned(service, chat)
        if calls := message.get("tool_calls"):
            message["tool_calls"] = [{"index": k, **call} for k, call in enumerate(calls)]
        yield chunk(message)
    else:
        handle, scene = opened
        yield chunk({"role": "assistant", "content": ""})
        said = ""
        for event in service.agent().stream(scene, asked.question, before=asked.before):
            # Where the text may have to be cut, nothing is said before all of it is known.
            if event.type == "partial" and event.text.startswith(said) and not chat.shortens:
                said, new = event.text, event.text[len(said) :]
                if new:
                    yield chunk({"content": new})
            elif event.type == "answer":
                answer = {"image": handle, **event.answer.to_dict()}
                text, reason = chat.cut(answer["text"])
                # What was said cannot be taken back; an answer that is worded anew is said anew.
                rest = text[len(said) :] if text.startswith(said) else f"\n{text}"
                yield chunk({**({"content": rest} if rest else {}), "fo1agent": answer})
    yield chunk({}, reason)
    if wants_usage:
        yield "", {**head, "choices": [], "usage": _usage()}
    yield "", None


class _Asked(NamedTuple):
    """What a chat asks: a picture as its caller names it, the question, the questions about that picture before it."""

    picture: str
    question: str
    before: list[str]


def _asked(chat: ChatIn) -> _Asked:
    """The question that is to be answered.

    Raises:
        InputError: there is none, or no picture.
    """
    said = [message for message in chat.messages if message.role == "user"]
    if not said or not said[-1].text.strip():
        raise InputError("The last user message must hold a question as text.")
    question = said[-1].text
    if len(question) > MAX_QUESTION:
        raise InputError(f"A question is a text of at most {MAX_QUESTION} characters, got {len(question)}.")
    picture, before = "", list[str]()
    for message in said:
        if len(message.pictures) > 1:
            raise InputError(f"A question is about one picture; the message has {len(message.pictures)}.")
        if message.pictures and message.pictures[0] != picture:
            picture, before = message.pictures[0], []
        if message is not said[-1] and message.text.strip():
            before.append(message.text[:MAX_QUESTION])
    if picture:
        return _Asked(picture, question, before)
    raise InputError("No picture was sent. Send one as an image_url part of the user's message.")


# ---- tools that the caller runs ----


def _is_planned(chat: ChatIn) -> bool:
    """Whether tools of fo1agent are offered that may be called."""
    known = registry()
    return chat.chosen_tool() != NONE and any(name in known for name in chat.offered)


def _planned(service: Service, chat: ChatIn) -> tuple[dict[str, Any], str]:
    """What the rule planner says or calls next, and why it ends."""
    # LangChain takes as long to import as all else that a server needs, and few servers are ever asked this.
    from fo1agent.integrations.rule_chat import RulePlannerChatModel

    check()
    planner = RulePlannerChatModel(seconds=service.settings.deadline_s)
    tools = [
        {"type": "function", "function": {"name": name, "description": "", "parameters": {}}} for name in chat.offered
    ]
    options = chat.model_dump(include=set(ChatOptions.model_fields), exclude_none=True)
    said = planner.bind_tools(tools, **options).invoke(_as_langchain(chat.messages))
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None, "refusal": None}
    if said.tool_calls:
        message["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": json.dumps(call["args"])},
            }
            for call in said.tool_calls
        ]
    if "fo1agent" in said.additional_kwargs:
        message["fo1agent"] = said.additional_kwargs["fo1agent"]
    return message, str(said.response_metadata["finish_reason"])


def _as_langchain(messages: Sequence[Message]) -> list[Any]:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage

    made: list[Any] = []
    for message in messages:
        if message.role == "user":
            shown = [{"type": "image_url", "image_url": {"url": url}} for url in message.pictures]
            made.append(HumanMessage([{"type": "text", "text": message.text}, *shown] if shown else message.text))
        elif message.role == "tool":
            made.append(ToolMessage(message.text, tool_call_id=message.tool_call_id or ""))
        elif message.role == "assistant":
            calls = [
                ToolCall(name=one.function.name, args=_arguments(one), id=one.id, type="tool_call")
                for one in message.tool_calls or ()
            ]
            made.append(AIMessage(message.text, tool_calls=calls))
        else:
            made.append(SystemMessage(message.text))
    return made


def _arguments(one: ToolCallIn) -> dict[str, Any]:
    try:
        arguments = from_json(one.function.arguments or "{}")  # is no deeper than 200
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise InputError(f"The arguments of the tool call {one.id[:64]!r} are not a JSON object.")
    return arguments
