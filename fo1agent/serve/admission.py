"""What a request to a route goes through before its body is read: whether there is room, and how its body is meant."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from fo1agent.serve.problems import Problem

Kind = Literal["open", "read", "draw", "say", "ask", "look"]
"""A kind of work: to open a picture, to read text, to give a picture, to let the model speak, to answer a question; and
to look at a picture for anything else."""

_TOOLS: dict[str, Kind] = {
    "zoom": "open",  # a part that is zoomed into is a picture of its own
    "read": "read",
    "annotate": "draw",
    "describe": "say",
    "inspect": "say",
    "ask": "ask",
}


def tool_kind(name: str) -> Kind:
    """The kind of work of a tool, about a picture that is open."""
    return _TOOLS.get(name, "look")


def admitting(admit: Callable[[Request, Kind], None]) -> type[APIRoute]:
    """Routes that ask `admit`, which refuses what there is no room for, and take a JSON body that is not called so."""

    class Admitting(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            has_body = "POST" in (self.methods or ())
            forms = self.path == "/v1/images"

            async def admitted(request: Request) -> Response:
                if has_body:
                    admit(request, _kind(request))
                    _name_json(request, forms)
                return await handle(request)

            return admitted

    return Admitting


def _kind(request: Request) -> Kind:
    """What a request is before its body is known; its picture may make it one that opens it."""
    path = request.scope["path"]
    if path == "/v1/images":
        return "open"
    return tool_kind(request.path_params["name"]) if "name" in request.path_params else "ask"


def _name_json(request: Request, forms: bool) -> None:
    """Take a body without a type as JSON, and what `curl -d` says of any body; a type that is read by nobody is told.

    Raises:
        Problem: as above.
    """
    headers: list[tuple[bytes, bytes]] = request.scope["headers"]
    told = next((value for name, value in headers if name == b"content-type"), b"").decode("latin-1")
    kind = told.partition(";")[0].strip().lower()
    if kind in ("", "application/x-www-form-urlencoded"):
        others = [(name, value) for name, value in headers if name != b"content-type"]
        request.scope["headers"] = [*others, (b"content-type", b"application/json")]
    elif kind != "application/json" and not (forms and kind == "multipart/form-data"):
        wanted = "multipart/form-data with `file`, or JSON with `data` or `url`" if forms else "a JSON object"
        raise Problem(
            415, f"Send {wanted}, not {kind[:80]!r}. JSON has Content-Type: application/json.", code="content_type"
        )
