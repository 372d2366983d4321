"""A LangChain chat model that is asked to call functions, by the best means that its endpoint has.

    tools    its own tool calls
    schema   JSON that the endpoint holds to a schema
    text     JSON somewhere in its text

Which means an endpoint takes is found out once and remembered for the process. Nothing here knows pictures or plans;
what is told to the model is the callers', and so is what they do with calls that make no sense.

An endpoint may be anybody's, or broken. What it sends is bounded: a reply in bytes and in time (`exchange`), its calls
in number, length and depth, and what of it goes back to it. A model that reaches its endpoint by another library than
httpx is bounded in the time that is waited for it alone; its thread ends when the library gives up.
"""

from __future__ import annotations

import contextvars
import copy
import json
import logging
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, Self, get_args

from fo1agent import bounded, exchange
from fo1agent.errors import AgentError, BudgetExceeded, InputError, MissingExtraError
from fo1agent.pictures.attached import Drawn
from fo1agent.runs.budget import Meter
from fo1agent.runs.llm_calls import llm_call

Wait = Callable[[Future[Any], float], Any]
"""Called as (future, seconds): gives what the future does, or raises TimeoutError when the seconds are over."""

Means = Literal["tools", "schema", "text"]
MEANS: tuple[Means, ...] = get_args(Means)

PICTURES_KEPT = 3
"""So many of the newest pictures stay in a conversation; each costs a chat model as much as pages of text."""

REPLY_BYTES = 4_000_000
"""Bytes of one reply, what was sent for it before it was tried again included. A token takes about 4 of them, or 250
where the reply is streamed; a plan is a few thousand in all."""

CALL_CHARACTERS = 64_000
"""Length of the arguments of one call."""

CALL_DEPTH = 16
"""Lists and objects within each other in the arguments of one call."""

CALLS = 64
"""Calls of one reply that are read."""

PUT_BACK = 4000
"""Characters of a bad reply that stay in the conversation when it is asked for another."""

KEPT = 400_000
"""Characters of any other reply that do."""

# Answers of an endpoint that is there and would do the same for any request: another means is no help.
_UNAVAILABLE = frozenset({401, 402, 403, 408, 429, 502, 503, 504})
_log = logging.getLogger(__name__)
_taken: dict[tuple[str, str, str], Means] = {}
_taken_lock = threading.Lock()


class ChatUnavailable(AgentError):
    """The chat model gives no reply by any means; the message is a clause that says why."""


@dataclass(frozen=True)
class Function:
    """What a chat model may call; `parameters` is the JSON Schema of an object, without references."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A call that a chat model wants made. `error` says why its arguments cannot be read; then they are empty."""

    id: str
    name: str
    arguments: dict[str, Any]
    error: str = ""


@dataclass(frozen=True)
class Reply:
    """What a chat model wrote: calls, or else text."""

    calls: tuple[Call, ...]
    text: str


class ChatModel:
    """A LangChain chat model, with what must be known of it.

    Args:
        llm: a `BaseChatModel`, or a name for `init_chat_model` such as "openai:gpt-5".

    Attributes:
        name: the model's own, or its class's.
        provider: `openai`, `anthropic`, …
        takes_images: whether its profile says so (`llm.profile["image_inputs"]`); one without a profile gets none.
        wait: how its replies are waited for.

    Raises:
        InputError: no such model.
        MissingExtraError: its provider's package is not installed.
    """

    def __init__(self, llm: Any) -> None:
        self.llm = _named(llm) if isinstance(llm, str) else llm
        self._watched = False
        self.wait: Wait = Future.result
        settings = {key: getattr(self.llm, key, None) for key in ("model_name", "model", "model_id")}
        model = next((value for value in settings.values() if isinstance(value, str) and value), "")
        places = (getattr(self.llm, key, None) for key in ("openai_api_base", "base_url", "anthropic_api_url"))
        self.name = model or type(self.llm).__name__
        self.provider = str(getattr(self.llm, "_llm_type", "")).partition("-")[0]
        profile = getattr(self.llm, "profile", None) or {}
        self.takes_images = bool(profile.get("image_inputs"))
        kind = f"{type(self.llm).__module__}.{type(self.llm).__qualname__}"
        place = str(next((place for place in places if place), ""))
        # Models without a name are not told apart by their class, so what is learnt of one stays with it.
        self._taken = _taken if model else {}
        self._key = (kind, model, place)

    def waited_for(self, wait: Wait) -> Self:
        """The same model, whose replies are waited for in another way, such as one that can be called off."""
        other = copy.copy(self)
        other.wait = wait
        return other

    def watch(self) -> None:
        """Have its clients hold to an exchange. Some models make theirs only when they are first asked."""
        self._watched = self._watched or exchange.watch(self.llm)

    @property
    def means(self) -> Means:
        """How it is asked first: the best means, or the one that is known to work."""
        with _taken_lock:
            return self._taken.get(self._key, MEANS[0])

    def remember(self, means: Means) -> None:
        """Note what worked first, for all agents of this process that use the same endpoint."""
        with _taken_lock:
            self._taken.setdefault(self._key, means)


class Conversation:
    """One exchange with a chat model about a question.

    Args:
        chat: the model.
        system: what it is told to do; nothing that comes out of a picture belongs there.
        functions: what it may call.
        meter: pays for its replies.
    """

    def __init__(self, chat: ChatModel, system: str, functions: Sequence[Function], meter: Meter) -> None:
        self.chat = chat
        self.system = system
        self.functions = tuple(functions)
        self.meter = meter
        self._means: Means = chat.means
        self._turns: list[_Said | _Replied | _Result] = []

    def say(self, text: str, pictures: Sequence[Drawn] = ()) -> None:
        """Say something as the user."""
        self._turns.append(_Said(text, tuple(pictures)))

    def result(self, call: Call, text: str, pictures: Sequence[Drawn] = (), failed: bool = False) -> None:
        """Tell what came of a call. Every call of a reply needs one before the next `ask`."""
        self._turns.append(_Result(call, text, tuple(pictures), failed))

    def ask(self, words_will_do: bool = False) -> Reply:
        """Ask for a reply.

        Args:
            words_will_do: whether text without a call is an answer as well.

        Returns:
            The reply; without calls only where words will do, or where the last means gave nothing but words.

        Raises:
            ChatUnavailable: no means gives a reply.
            BudgetExceeded: there is no time, or there were too many replies.
        """
        reasons: list[str] = []
        for means in MEANS[MEANS.index(self._means) :]:
            try:
                message = self._invoke(means)
            except (BudgetExceeded, ChatUnavailable):
                raise
            except Exception as exc:  # what providers' classes raise has no common base
                reason = f"{type(exc).__name__}: {' '.join(str(exc)[:2000].split())[:200]}".rstrip(": ")
                if isinstance(exc, RecursionError):
                    reason = "its reply is nested too deeply to be read"
                _log.info("%s, asked by %s, failed: %s", self.chat.name, means, reason)
                reasons.append(reason)
                if _is_unavailable(exc):
                    break
                continue
            reply, meant = _read(message, means, self.functions)
            if not reply.calls and not words_will_do and means != MEANS[-1]:
                reasons.append(f"asked by {means} it calls nothing")
                continue
            if reply.calls:
                self.chat.remember(meant)
            self._means = meant
            own = _put_back(message, reply, KEPT) if meant == "tools" else None
            self._turns.append(_Replied(reply, own))
            return reply
        raise ChatUnavailable(f"{self.chat.name} gave no usable reply ({reasons[-1]})")

    def _invoke(self, means: Means) -> Any:
        messages = self._messages(means)
        runnable = self._bound(means)
        seconds = self.meter.chat_call()
        self.chat.watch()
        asked = exchange.Exchange(seconds, REPLY_BYTES)
        with llm_call(self.chat.name, self.chat.provider) as observed:
            try:
                message = _within(asked, runnable.invoke, messages, self.chat.wait)
            except exchange.Ended:
                if not asked.late:
                    raise ChatUnavailable(f"{self.chat.name} gave no usable reply ({asked.why})") from None
                raise BudgetExceeded(f"the budget of {self.meter.budget.seconds:g} seconds is used up") from None
            if isinstance(message, dict):
                message = message["raw"]
            usage = getattr(message, "usage_metadata", None) or {}
            told = {name: _tokens(usage.get(f"{name}_tokens")) for name in ("input", "output", "total")}
            observed.tokens(told["input"], told["output"])
        self.meter.chat_tokens += told["total"] or 0
        return message

    def _bound(self, means: Means) -> Any:
        if means == "tools":
            return self.chat.llm.bind_tools([{"type": "function", "function": vars(one)} for one in self.functions])
        if means == "schema":
            schema = {"title": "reply", "description": "The next call.", **_reply_schema(self.functions)}
            return self.chat.llm.with_structured_output(schema, method="json_schema", include_raw=True)
        return self.chat.llm

    # ---- messages ----

    def _messages(self, means: Means) -> list[Any]:
        """The conversation as this means writes it. Pictures stand in the user's messages alone."""
        from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

        shown = _newest(self._turns)
        system = self.system if means == "tools" else f"{self.system}\n\n{_by_hand(self.functions)}"
        messages: list[Any] = [SystemMessage(system)]
        said: list[dict[str, Any]] = []  # by the user, and not in a message yet

        def flush() -> None:
            if said:
                words_only = all(block["type"] == "text" for block in said)
                content: Any = "\n\n".join(block["text"] for block in said) if words_only else list(said)
                messages.append(HumanMessage(content))
                said.clear()

        bad = _bad(self._turns)
        for k, turn in enumerate(self._turns):
            if isinstance(turn, _Replied):
                flush()
                most = PUT_BACK if k in bad else KEPT
                if means != "tools" or turn.message is None:
                    messages.append(AIMessage(_cut(_written(turn.reply, self.functions), most)))
                else:
                    messages.append(_put_back(turn.message, turn.reply, most))
                continue
            if isinstance(turn, _Said):
                said.append({"type": "text", "text": turn.text})
            elif means == "tools":
                status = "error" if turn.failed else "success"
                messages.append(ToolMessage(turn.text, tool_call_id=turn.call.id, name=turn.call.name, status=status))
            else:
                said.append({"type": "text", "text": f"What {turn.call.name} gave:\n{turn.text}"})
            for j, picture in enumerate(turn.pictures):
                if isinstance(turn, _Result):
                    said.append({"type": "text", "text": f"The picture that {turn.call.name} gave:"})
                if (k, j) in shown:
                    said.append({"type": "image", "base64": picture.base64, "mime_type": picture.media_type})
                else:
                    said.append({"type": "text", "text": "(a picture that is no longer shown)"})
        flush()
        return messages


# ---- the turns of a conversation ----


@dataclass(frozen=True)
class _Said:
    text: str
    pictures: tuple[Drawn, ...]


@dataclass(frozen=True)
class _Replied:
    reply: Reply
    message: Any = field(repr=False)


@dataclass(frozen=True)
class _Result:
    call: Call
    text: str
    pictures: tuple[Drawn, ...]
    failed: bool


def _newest(turns: Sequence[Any]) -> set[tuple[int, int]]:
    """(turn, picture) of the pictures that are still shown."""
    every = [(k, j) for k, turn in enumerate(turns) for j in range(len(getattr(turn, "pictures", ())))]
    return set(every[-PICTURES_KEPT:])


def _bad(turns: Sequence[Any]) -> set[int]:
    """Which replies made no sense: those without a call, and those all of whose calls failed."""
    came = [k for k, turn in enumerate(turns) if isinstance(turn, _Replied)]
    bad: set[int] = set()
    for k, following in pairwise([*came, len(turns)]):
        results = [turn for turn in turns[k + 1 : following] if isinstance(turn, _Result)]
        if all(result.failed for result in results):
            bad.add(k)
    return bad


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "… (cut)"


def _put_back(message: Any, reply: Reply, most: int) -> Any:
    """A reply as the model wrote it, or, where that is longer than `most` characters, more than was read, or holds half
    a character, which cannot be sent, what was read of it, cut: each call keeps its name and id, by which its result
    finds it."""
    from langchain_core.messages import AIMessage, ToolCall

    written = [*getattr(message, "tool_calls", ()), *getattr(message, "invalid_tool_calls", ())]
    try:
        said = [message.content, message.additional_kwargs, written]
        bounded.check(said, most)
        if len(written) <= CALLS and not bounded.halved(said):
            return message
    except ValueError:
        pass
    calls: list[Any] = []
    for call in reply.calls:
        text = json.dumps(call.arguments, ensure_ascii=False)
        arguments = call.arguments if len(text) <= most else {"cut": _cut(text, most)}
        calls.append(ToolCall(name=call.name, args=arguments, id=call.id, type="tool_call"))
    return AIMessage(_cut(reply.text, most), tool_calls=calls)


def _by_hand(functions: Sequence[Function]) -> str:
    """How to call functions by writing JSON."""
    declared = json.dumps([vars(one) for one in functions], ensure_ascii=False)
    if len(functions) == 1:
        how = f"the arguments of {functions[0].name}, as one JSON object,"
    else:
        how = 'one JSON object {"call": {"tool": name, "arguments": {…}}}'
    return f"Functions:\n{declared}\n\nReply with {how} and with nothing else."


def _reply_schema(functions: Sequence[Function]) -> dict[str, Any]:
    """What `_by_hand` asks for, as JSON Schema: of one function its arguments, of several the name as well."""
    if len(functions) == 1:
        return functions[0].parameters
    calls = [
        {
            "type": "object",
            "properties": {"tool": {"type": "string", "enum": [one.name]}, "arguments": one.parameters},
            "required": ["tool", "arguments"],
            "additionalProperties": False,
        }
        for one in functions
    ]
    return {
        "type": "object",
        "properties": {"call": {"anyOf": calls}},
        "required": ["call"],
        "additionalProperties": False,
    }


def _written(reply: Reply, functions: Sequence[Function]) -> str:
    """A reply as `_by_hand` asks for it."""
    if not reply.calls:
        return reply.text
    call = reply.calls[0]
    if len(functions) == 1:
        return json.dumps(call.arguments, ensure_ascii=False)
    return json.dumps({"call": {"tool": call.name, "arguments": call.arguments}}, ensure_ascii=False)


# ---- reading replies ----

_THOUGHT = re.compile(r"<think>.*?(?:</think>|$)", re.DOTALL)
_MOST_BRACES = 64  # places where JSON is looked for in a text


def _read(message: Any, means: Means, functions: Sequence[Function]) -> tuple[Reply, Means]:
    """(what a message says, the means by which it says it). A model with tools may still write its calls as text."""
    text = bounded.whole(str(message.text))
    calls: list[Call] = []
    for k, one in enumerate(list(getattr(message, "tool_calls", ()))[:CALLS]):
        arguments = one.get("args") or {}
        calls.append(_call(str(one.get("id") or f"call_{k}"), str(one["name"]), arguments))
    for k, one in enumerate(list(getattr(message, "invalid_tool_calls", ()))[: CALLS - len(calls)]):
        error = f"the arguments are not JSON: {one.get('args')!r:.200}"
        calls.append(_call(str(one.get("id") or f"broken_{k}"), str(one.get("name")), {}, error))
    if calls:
        named = {one.name for one in functions}
        if means == "schema" and len(calls) == 1 and calls[0].name not in named:
            calls = _calls_of(calls[0].arguments, functions)
        return Reply(tuple(calls), text), means
    written = next((found for one in _objects(text) if (found := _calls_of(one, functions))), [])
    return Reply(tuple(written), text), "text" if written and means == "tools" else means


def _call(id: str, name: str, arguments: Any, error: str = "") -> Call:
    """A call of bounded parts; of arguments that are too long, too deep or hold half a character it says so, and holds
    none: they could not be put back into the conversation either."""
    try:
        bounded.check(arguments, CALL_CHARACTERS, CALL_DEPTH)
        arguments = dict(arguments)
        if bounded.halved(arguments):
            error, arguments = "a text in the arguments holds half a character", {}
    except (ValueError, TypeError) as exc:
        error, arguments = f"the arguments are {exc}", {}
    return Call(bounded.whole(id[:256]), bounded.whole(name[:256]), arguments, error)


def _tokens(told: Any) -> int | None:
    """A number of tokens as an endpoint reports it; None for what can be none."""
    return min(told, 10**9) if isinstance(told, int) and told >= 0 else None


def _calls_of(data: dict[str, Any], functions: Sequence[Function]) -> list[Call]:
    """The call that a JSON object spells, in our form or in one of those that models are trained on; else none."""
    if len(functions) == 1 and any(key in functions[0].parameters.get("properties", {}) for key in data):
        return [_call("call_0", functions[0].name, data)]
    data = data["call"] if isinstance(data.get("call"), dict) else data
    name = data.get("tool") or data.get("name")
    arguments = data.get("arguments", data.get("parameters", {}))
    if isinstance(name, str) and isinstance(arguments, dict) and name in {one.name for one in functions}:
        return [_call("call_0", name, arguments)]
    return []


def _objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text, outermost first."""
    text = _THOUGHT.sub("", text)
    decoder = json.JSONDecoder()
    found: list[dict[str, Any]] = []
    start = text.find("{")
    for _ in range(_MOST_BRACES):
        if start < 0:
            break
        try:
            value, end = decoder.raw_decode(text, start)
            found.append(value)
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)
    return found


# ---- providers ----


def _named(name: str) -> Any:
    from langchain.chat_models import init_chat_model

    try:
        return init_chat_model(name)
    except ImportError as exc:
        raise MissingExtraError(f"The planner {name!r} needs a package: {exc}") from exc
    except Exception as exc:  # providers' classes raise their own errors for a missing key and the like
        # Only its first paragraph: the rest lists every provider there is.
        why = str(exc).split("\n\n")[0].replace("\n", " ").rstrip(".")
        raise InputError(
            f'No planner {name!r}: {why}. There is "rules", "fo1", and what init_chat_model knows, '
            'such as "openai:gpt-5"; for another address or key pass a LangChain chat model.'
        ) from exc


def _is_unavailable(exc: Exception) -> bool:
    """Whether the endpoint cannot be reached or takes no request now, so that asking in another way is no help."""
    response = getattr(exc, "response", None)
    for status in (
        getattr(exc, "status_code", None),
        getattr(exc, "code", None),
        getattr(response, "status_code", None),
    ):
        if isinstance(status, int):
            return status in _UNAVAILABLE
    named = re.search(r"Connect|Timeout|Transport|Unreachable", type(exc).__name__)
    return named is not None or isinstance(exc, (ConnectionError, TimeoutError, OSError))


def _within(asked: exchange.Exchange, function: Callable[[Any], Any], argument: Any, wait: Wait) -> Any:
    """A function's result, if it comes while the exchange goes on; where it is waited for no longer, that is ended.

    Raises:
        Ended: the exchange was.
    """
    outcome: Future[tuple[bool, Any]] = Future()

    def work() -> None:
        try:
            with asked:
                came = True, function(argument)
        except BaseException as exc:
            came = False, exc
        if outcome.set_running_or_notify_cancel():
            outcome.set_result(came)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name="fo1agent-chat", daemon=True).start()
    try:
        ok, value = wait(outcome, asked.seconds)
    except TimeoutError:
        asked.expire()
        raise exchange.Ended(asked.why) from None
    except BaseException:
        asked.end("nobody waits for it any more")
        raise
    finally:
        outcome.cancel()
    if asked.why:  # whatever its client made of that
        raise exchange.Ended(asked.why)
    if not ok:
        raise value
    return value
