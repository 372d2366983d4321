"""What all routes answer with: how they may fail, and a stream of events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from fo1agent.serve.gate import Stream
from fo1agent.serve.problems import ErrorBody, dumps, recorded

PING_S = 10.0
"""Seconds of silence after which a stream sends a comment, so that nobody on the way takes it for dead."""

FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The request is not what its content type says."},
    401: {"model": ErrorBody, "description": "No bearer token, or a wrong one."},
    403: {"model": ErrorBody, "description": "Addressed to another host, or from a page that may not call."},
    404: {"model": ErrorBody, "description": "There is no such picture, tool or model."},
    408: {"model": ErrorBody, "description": "The body did not come in time."},
    415: {"model": ErrorBody, "description": "The content type is not one that is read."},
    413: {"model": ErrorBody, "description": "The request is too large."},
    422: {"model": ErrorBody, "description": "What was sent does not fit; the message says what and why."},
    429: {"model": ErrorBody, "description": "Too many requests wait; Retry-After says for how long to stay away."},
    500: {"model": ErrorBody, "description": "The server failed."},
    502: {"model": ErrorBody, "description": "The model's engine, another server, refuses this or failed."},
    503: {
        "model": ErrorBody,
        "description": "The request would wait too long, the model's engine does not answer, or the server is shutting "
        "down; Retry-After says for how long to stay away.",
    },
    504: {"model": ErrorBody, "description": "The deadline has passed."},
}
"""How every route may fail."""


def sse(events: Stream[tuple[str, Any]], failure: str = "error") -> StreamingResponse:
    """A response of server-sent events, each (name, data for JSON); a failure is one of the name `failure`."""

    async def lines() -> AsyncIterator[str]:
        coming = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                done, _ = await asyncio.wait({coming}, timeout=PING_S)
                if not done:
                    yield ": ping\n\n"
                    continue
                item = coming.result()
                if item is None:
                    return
                yield sse_event(*item)
                coming = asyncio.ensure_future(anext(events, None))
        except Exception as exc:
            yield sse_event(failure, recorded("a stream of events", exc).body)
        finally:  # also when the client has gone
            coming.cancel()
            events.stop()

    async def stop() -> None:
        events.stop()

    return StreamingResponse(
        lines(),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
        background=BackgroundTask(stop),  # for a client that was gone before its first line
    )


def sse_event(name: str, data: Any) -> str:
    """One server-sent event. Without a name it is one of OpenAI's, which end with `[DONE]`, here None."""
    if name:
        return f"event: {name}\ndata: {dumps(data)}\n\n"
    return f"data: {'[DONE]' if data is None else dumps(data)}\n\n"


def now() -> int:
    """Seconds since 1970, as OpenAI's objects are dated."""
    return int(time.time())
