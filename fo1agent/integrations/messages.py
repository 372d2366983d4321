"""What is sent to an MCP server, read within bounds: a message of the protocol, or what is wrong with it.

The SDK passes over what is none, and over a request whose id is none, while the sender waits for an answer. A line of
stdin and the body of an HTTP request are read alike; what messages mean is the SDK's.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import anyio
import anyio.to_thread
import mcp_types as types
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from fo1agent.bounded import halved
from fo1agent.regions.regions import shown

MOST = 16 * 1024 * 1024
"""Bytes of a message, at most; pictures are named in messages, and not sent."""

_log = logging.getLogger(__name__)
_PART = 1024 * 1024  # bytes of what is passed over at once
_CALL = "tools/call"


@dataclass(frozen=True)
class Fault:
    """What is wrong with something that was sent.

    Attributes:
        code: JSON-RPC's.
        why: in a sentence without its full stop.
        sent: the value, as far as it is JSON.
    """

    code: int
    why: str
    sent: Any = None

    @property
    def asks(self) -> bool:
        """Whether the sender may wait for an answer: it sent no notification."""
        return self.code != types.INVALID_PARAMS or "id" in self.sent

    def error(self) -> types.JSONRPCError:
        """The answer of JSON-RPC: with the id of the request, or null where that is none."""
        # The id of an answer is that of a request of ours.
        asks = isinstance(self.sent, dict) and ("method" in self.sent or not self.sent.keys() & {"result", "error"})
        asked = self.sent.get("id") if asks else None
        error = types.ErrorData(code=self.code, message=f"{self.why}.")
        return types.JSONRPCError(jsonrpc="2.0", id=asked if _is_id(asked) else None, error=error)

    def answer(self) -> types.JSONRPCResponse | types.JSONRPCError:
        """The same, but for a tool's call a result, so that the model, not only the host, hears of it."""
        error = self.error()
        call = self.code == types.INVALID_PARAMS and self.sent["method"] == _CALL
        if error.id is None or not call or not isinstance(self.sent["params"], dict):
            return error
        result = {"content": [{"type": "text", "text": error.error.message}], "isError": True}
        return types.JSONRPCResponse(jsonrpc="2.0", id=error.id, result=result)


TOO_LONG = Fault(types.INVALID_REQUEST, f"A message may have {MOST:,} bytes, got more")


def read_message(data: bytes) -> types.JSONRPCMessage | Fault:
    """The message that bytes are, or what is wrong with them."""
    if len(data) > MOST:
        return TOO_LONG
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as exc:
        why = f"The message is no JSON: byte {exc.start + 1} is none of UTF-8"
        return Fault(types.PARSE_ERROR, why, _value(data.decode("utf-8", "replace")))
    try:
        message = types.jsonrpc_message_adapter.validate_json(data, by_name=False)
    except Exception as exc:  # of whatever the SDK does with what a stranger sent
        return _unreadable(exc, data)
    if isinstance(message, types.JSONRPCNotification):
        sent = _value(data.decode("utf-8"))
        if isinstance(sent, dict) and "id" in sent:  # which the SDK takes for a notification that has something more
            return Fault(*_fault(sent, ""), sent)
    return message


async def lines_of(file: BinaryIO) -> AsyncIterator[bytes]:
    """The lines of a file, read in a thread; of one that is too long a part, which is too long as well."""
    read = partial(anyio.to_thread.run_sync, abandon_on_cancel=True)
    while line := await read(file.readline, MOST + 2):
        rest = line
        while len(line) > MOST + 1 and rest and not rest.endswith(b"\n"):
            rest = await read(file.readline, _PART)
        yield line


async def pass_on(lines: AsyncIterator[bytes], put: Any, outgoing: Any) -> None:
    """Pass on the messages that lines are, and answer the lines that are none."""
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async with put:
            async for line in lines:
                if not (line := line.strip()):
                    continue
                message = read_message(line)
                if not isinstance(message, Fault):
                    await put.send(SessionMessage(message))
                elif message.asks:
                    await outgoing.send(SessionMessage(message.answer()))
                else:
                    _log.warning("passed over what waits for no answer: %s.", message.why)


def checking_bodies(app: Callable[..., Any]) -> Callable[..., Any]:
    """The ASGI app, behind one that answers the POSTs whose body is no message with status 400."""

    async def checked(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await app(scope, receive, send)
            return
        body, more = bytearray(), True
        while more and len(body) <= MOST:  # what is longer the SDK refuses
            event = await receive()
            if event["type"] != "http.request":
                return  # the client has gone
            body += event.get("body", b"")
            more = event.get("more_body", False)
        message = None if more else read_message(bytes(body))
        if isinstance(message, Fault) and message is not TOO_LONG:
            told = message.error().model_dump_json(by_alias=True, exclude_unset=True).encode()
            head = [(b"content-type", b"application/json"), (b"content-length", str(len(told)).encode())]
            await send({"type": "http.response.start", "status": 400, "headers": head})
            await send({"type": "http.response.body", "body": told})
            return

        events = [{"type": "http.request", "body": bytes(body), "more_body": more}]
        body.clear()

        async def again() -> Any:
            return events.pop() if events else await receive()

        await app(scope, again, send)

    return checked


def _value(text: str) -> Any:
    """The value of a JSON text, with infinity for numbers of very many digits; None for what is no JSON."""
    with suppress(ValueError, RecursionError):
        return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 1000 else math.inf)
    return None


def _unreadable(exc: Exception, data: bytes) -> Fault:
    errors = exc.errors(include_url=False) if isinstance(exc, ValidationError) else []
    if not errors:
        return Fault(types.PARSE_ERROR, "The message cannot be read")
    if errors[0]["type"] == "json_invalid":
        why = str(errors[0].get("ctx", {}).get("error", errors[0]["msg"]))[:200]
        sent = _value(data.decode("utf-8"))
        if sent is None:
            return Fault(types.PARSE_ERROR, f"The message is no JSON: {why}")
        why = "a text in it holds half a character (\\ud800 to \\udfff); send it whole" if halved(sent) else why
        return Fault(*_fault(sent, f"The request cannot be read: {why}"), sent)
    # Each form that a message may have was tried; a request lacks the fields of an answer, and that tells of the whole.
    whole = [one["input"] for one in errors if len(one["loc"]) == 1 or one["type"] == "missing"]
    sent = whole[0] if whole else None
    return Fault(*_fault(sent, "The message is none of JSON-RPC"), sent)


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool) and not halved(value)


def _fault(sent: Any, why: str) -> tuple[int, str]:
    """(the code of JSON-RPC, the first thing that is wrong) of a value that is no message; `why` for no other."""
    if not isinstance(sent, dict):
        return types.INVALID_REQUEST, f"A message is one JSON object, got {shown(sent)}"
    if sent.get("jsonrpc") != "2.0":
        return types.INVALID_REQUEST, f'jsonrpc must be "2.0", got {shown(sent.get("jsonrpc"))}'
    if not isinstance(sent.get("method"), str):
        return types.INVALID_REQUEST, f"method must be a text, got {shown(sent.get('method'))}"
    if "id" in sent and not _is_id(sent["id"]):
        return types.INVALID_REQUEST, f"id must be a text or a whole number, got {shown(sent['id'])}"
    if not isinstance(sent.setdefault("params", {}), dict):
        return types.INVALID_PARAMS, f"params must be an object, got {shown(sent['params'])}"
    return types.INVALID_PARAMS, why
