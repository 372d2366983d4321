"""What a request to a route goes through before its body is read: whether there is room for it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from fo1agent.serve.service import Kind, Service

_TOOLS: dict[str, Kind] = {
    "zoom": "open",  # a part that is zoomed into is a picture of its own
    "read": "read",
    "annotate": "draw",
    "describe": "say",
    "inspect": "say",
}


def tool_kind(name: str) -> Kind:
    """The kind of work of a tool, about a picture that is open."""
    return _TOOLS.get(name, "look")


def admitting(service: Service) -> type[APIRoute]:
    """Routes of a server that refuse what it has no room for."""

    class Admitting(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            has_body = "POST" in (self.methods or ())

            async def admitted(request: Request) -> Response:
                if has_body:
                    service.admit(request, _kind(request))
                return await handle(request)

            return admitted

    return Admitting


def _kind(request: Request) -> Kind:
    """What a request is before its body is known; its picture may make it one that opens it."""
    path = request.scope["path"]
    if path == "/v1/images":
        return "open"
    return tool_kind(request.path_params["name"]) if "name" in request.path_params else "ask"
