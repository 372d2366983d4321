"""A provider on 127.0.0.1 that plays a scripted model, in three dialects: what OpenAI's and Anthropic's SDKs talk to.

Chat Completions (`/v1/chat/completions`), the Responses API (`/v1/responses`), Anthropic's Messages (`/v1/messages`).
It keeps nothing between requests but what it was sent, and answers 400 where the real ones do: when a call has no
result, or a picture stands where that provider takes none.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Call = tuple[str, dict[str, Any]]
Reply = str | Call
Step = Reply | Callable[[list[dict[str, Any]]], Reply]
"""What the model says in one turn: a text, a tool call, or either made of the results so far, oldest first."""


class RefusedError(Exception):
    """A request that the real provider refuses."""


@contextlib.contextmanager
def served(server: ThreadingHTTPServer) -> Iterator[None]:
    """Let a server answer in a thread within the block, and close it after."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Provider:
    """The server.

    Attributes:
        url: base address for OpenAI's SDK; Anthropic's takes it without `/v1`.
        requests: the bodies that came, oldest first.
    """

    def __init__(self, script: Sequence[Step]) -> None:
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @contextlib.contextmanager
    def serving(self) -> Iterator[Provider]:
        """Serve within the block."""
        with served(self._server):
            yield self

    def environment(self) -> dict[str, str]:
        """The variables by which the SDKs find this server."""
        return {
            "OPENAI_BASE_URL": self.url,
            "OPENAI_API_KEY": "none",
            "ANTHROPIC_BASE_URL": self.url.removesuffix("/v1"),
            "ANTHROPIC_API_KEY": "none",
        }

    def reply(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What is answered to a request.

        Raises:
            RefusedError: the real provider would refuse it.
        """
        self.requests.append(body)
        read, said = _DIALECTS[path]
        turn, results = read(body)
        if turn >= len(self.script):
            raise RefusedError(f"the script has {len(self.script)} turns, this would be one more")
        step = self.script[turn]
        reply = step([json.loads(text) for text in results]) if callable(step) else step
        if isinstance(reply, str) and '"final_answer"' in json.dumps(body.get("tools", ())):
            reply = ("final_answer", {"answer": reply})  # how an agent of smolagents wants it
        return said(reply, f"call_{turn}")


# ---- Chat Completions ----


def _read_chat(body: dict[str, Any]) -> tuple[int, list[str]]:
    """(which turn of the model this is, the texts of all results so far).

    A framework may tell results as user messages that begin with "Observation:", as smolagents does.
    """
    turn, results, unanswered = 0, [], []
    for message in body["messages"]:
        if unanswered and message["role"] != "tool":
            raise RefusedError(f"the calls {unanswered} have no result")
        if message["role"] == "assistant":
            turn += 1
            unanswered = [call["id"] for call in message.get("tool_calls") or ()]
        elif message["role"] == "tool":
            unanswered.remove(message["tool_call_id"])
            results.append(_only_text(message["content"]))
        elif message["role"] == "user" and (seen := _only_text(message["content"], True)).startswith("Observation:\n"):
            results.append(seen.removeprefix("Observation:\n"))
    if unanswered:
        raise RefusedError(f"the calls {unanswered} have no result")
    return turn, results


def _say_chat(reply: Reply, call_id: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply}
    if not isinstance(reply, str):
        function = {"name": reply[0], "arguments": json.dumps(reply[1])}
        message |= {"content": None, "tool_calls": [{"id": call_id, "type": "function", "function": function}]}
    choice = {"index": 0, "message": message, "finish_reason": "stop" if isinstance(reply, str) else "tool_calls"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "scripted"}
    return {**head, "choices": [choice], "usage": usage}


# ---- Responses ----


def _read_responses(body: dict[str, Any]) -> tuple[int, list[str]]:
    called = [item["call_id"] for item in body["input"] if item.get("type") == "function_call"]
    outputs = [item for item in body["input"] if item.get("type") == "function_call_output"]
    if called != [item["call_id"] for item in outputs]:
        raise RefusedError(f"of the calls {called}, some have no output")
    return len(called), [_only_text(item["output"]) for item in outputs]


def _say_responses(reply: Reply, call_id: str) -> dict[str, Any]:
    if isinstance(reply, str):
        text = {"type": "output_text", "text": reply, "annotations": []}
        item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    else:
        called = {"call_id": call_id, "name": reply[0], "arguments": json.dumps(reply[1])}
        item = {"id": f"fc_{call_id}", "type": "function_call", "status": "completed", **called}
    head = {"id": "resp_1", "object": "response", "created_at": 1, "model": "scripted", "status": "completed"}
    return {**head, "output": [item], "parallel_tool_calls": False, "tool_choice": "auto", "tools": []}


# ---- Anthropic's Messages ----


def _read_messages(body: dict[str, Any]) -> tuple[int, list[str]]:
    turn, results, unanswered = 0, [], []
    for message in body["messages"]:
        blocks = message["content"] if isinstance(message["content"], list) else []
        told = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if told != unanswered:
            raise RefusedError(f"wanted tool_result for {unanswered}, got them for {told}")
        unanswered = [block["id"] for block in blocks if block["type"] == "tool_use"]
        turn += message["role"] == "assistant"
        for block in blocks:
            if block["type"] == "tool_result":
                results.append(_only_text([part for part in block["content"] if part["type"] != "image"]))
    return turn, results


def _say_messages(reply: Reply, call_id: str) -> dict[str, Any]:
    said: dict[str, Any] = {"type": "text", "text": reply}
    if not isinstance(reply, str):
        said = {"type": "tool_use", "id": call_id, "name": reply[0], "input": reply[1]}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "scripted"}
    stop = {"stop_reason": "end_turn" if isinstance(reply, str) else "tool_use", "stop_sequence": None}
    return {**head, "content": [said], **stop, "usage": {"input_tokens": 1, "output_tokens": 1}}


def _only_text(content: Any, other: bool = False) -> str:
    """The text of a message's content; `other` parts, such as pictures, are left out, or refused."""
    if isinstance(content, str):
        return content
    strangers = [part["type"] for part in content if part["type"] != "text"]
    if strangers and not other:
        raise RefusedError(f"a tool's message takes text only, got {strangers}")
    return "".join(part["text"] for part in content if part["type"] == "text")


_DIALECTS: dict[str, tuple[Callable[..., tuple[int, list[str]]], Callable[[Reply, str], dict[str, Any]]]] = {
    "/v1/chat/completions": (_read_chat, _say_chat),
    "/v1/responses": (_read_responses, _say_responses),
    "/v1/messages": (_read_messages, _say_messages),
}


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status, answer = 200, provider.reply(self.path, body)
            except RefusedError as exc:
                status, answer = 400, {"error": {"message": str(exc), "type": "invalid_request_error", "code": None}}
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Connection", "close")  # not every client of a framework is ever closed
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


COUNTS_REMOTES: Sequence[Step] = (
    ("count", {"phrase": "remote"}),
    lambda results: f"There are {results[0]['value']} remotes.",
)
"""A model that has the remotes counted, and says how many there are."""
