"""Failures as HTTP answers: a status and `{"error": {"message", "type", "code"}}`, as OpenAI's clients read them."""

from __future__ import annotations

import http
import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from fo1agent.errors import BudgetExceeded, EngineError, FO1AgentError, InputError
from fo1agent.pictures.filekinds import INSTALL_HEIF
from fo1agent.presets import WITH_BOXES
from fo1agent.regions.regions import shown
from fo1agent.serve.gate import Gone, Late, Refused

_log = logging.getLogger(__name__)

# What messages advise who has this machine, and what those can do who call from another.
_HERE = {
    INSTALL_HEIF: "Send it as JPEG or PNG.",
    WITH_BOXES: "Send the picture to /v1/images with `boxes`, [[x1, y1, x2, y2], …] in pixels, and go on with its id.",
}
_ENGINE_BACK_S = 5  # after which an engine that is away may be there again


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str = Field(description="In words: what was got, what was wanted, what to do.")
    type: str = Field(description="The kind of failure, such as invalid_request_error, retry, not_found, overloaded.")
    code: str | None = Field(None, description="A short name of this very failure, where it has one.")


class ErrorBody(BaseModel):
    """The body of every answer that is a failure."""

    error: ErrorDetail


class Problem(Exception):
    """A failure to be told with this status."""

    def __init__(
        self,
        status: int,
        message: str,
        type: str = "invalid_request_error",
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.type, self.code = status, message, type, code
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """As JSON values."""
        return {"error": {"message": self.message, "type": self.type, "code": self.code}}


class Json(Response):
    """JSON in ASCII, which takes every text, also what UTF-8 does not."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return dumps(content).encode("ascii")


def dumps(content: Any) -> str:
    """JSON on one line, ASCII."""
    return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def response(problem: Problem) -> Response:
    """The answer that tells a problem."""
    return Json(problem.body, problem.status, problem.headers)


def problem_of(error: Exception) -> Problem:
    """How a failure is told; our own bugs as 500, without their words."""
    match error:
        case Problem():
            return error
        case Refused():
            return _refusal(error)
        case Late() | BudgetExceeded():
            return Problem(504, "The deadline of the request has passed.", "timeout", "deadline")
        case Gone():
            return Problem(499, "The client has gone.", "client_closed_request")
        case InputError():
            message = str(error)
            for advice, instead in _HERE.items():
                message = message.replace(advice, instead)
            return Problem(422, message)
        case EngineError():
            return _of_engine(error)
        case FO1AgentError():
            return Problem(500, str(error), "server_error")
        case RequestValidationError():
            return Problem(422, _complaint(error), code="validation")
        case HTTPException() if error.status_code == 400 and (why := _unread(error.__cause__)):
            return Problem(422, f"The body is no JSON that can be read: {why}. Send a JSON object.", code="validation")
        case HTTPException():
            phrase = error.detail or http.HTTPStatus(error.status_code).phrase
            kind = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request_error")
            return Problem(error.status_code, str(phrase), kind, headers=error.headers)
    return Problem(500, "The server failed. Its log says why.", "server_error")


def recorded(what: str, error: Exception) -> Problem:
    """How a failure is told; where it is this server's or its engine's, the log says what failed, and why.

    Args:
        what: failed: a request, or part of one.
        error: why.
    """
    problem = problem_of(error)
    if isinstance(error, EngineError):
        _log.error("%s failed: %s", what, error)
    elif problem.status == 500:
        _log.error("%s failed", what, exc_info=error)
    return problem


def _of_engine(error: EngineError) -> Problem:
    """Where the engine is, and what is wrong with it there, is not for callers."""
    match error.fault:
        case "away":
            message = f"The model's engine does not answer. Try again in {_ENGINE_BACK_S} s."
            headers = {"Retry-After": str(_ENGINE_BACK_S)}
            return Problem(503, message, "overloaded", "engine_away", headers)
        case "refused":
            status = f" with status {error.status}" if error.status else ""
            message = f"The model's engine refuses the request{status}. The server's log says why."
            return Problem(502, message, "server_error", "engine_refused")
        case "failed":
            return Problem(
                502, "The model's engine failed. The server's log says why.", "server_error", "engine_failed"
            )


def _unread(cause: BaseException | None) -> str:
    """Why a body could not be read as JSON, where FastAPI says only that it could not; "" for another failure."""
    match cause:
        case RecursionError():
            return "its lists and objects are nested too deep"
        case UnicodeDecodeError():
            return f"it is no UTF-8, at byte {cause.start} (0x{cause.object[cause.start]:02x})"
        case ValueError() if "integer string conversion" in str(cause):
            return "a number in it has thousands of digits"
    return ""


def _refusal(error: Refused) -> Problem:
    again = f"Try again in {error.retry_after_s} s."
    headers = {"Retry-After": str(error.retry_after_s)}
    match error.why:
        case "full":
            return Problem(429, f"Too many requests wait already. {again}", "overloaded", "queue_full", headers)
        case "wait":
            waited, expected = _seconds(error.waited_s), _seconds(error.expected_s)
            long = (
                f"has waited {waited}, as long as it may"
                if error.waited_s
                else f"would wait too long, about {expected}"
            )
            message = f"There is so much to do that this {long}. {again}"
            return Problem(503, message, "overloaded", "busy", headers)
        case "memory":
            message = f"The server holds as much of other requests and answers as it may. {again}"
            return Problem(503, message, "overloaded", "memory", headers)


def _seconds(seconds: float) -> str:
    return f"{max(seconds, 0.1):.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def install(app: FastAPI) -> None:
    """Let an app tell its failures so."""

    async def told(request: Request, error: Exception) -> Response:
        problem = recorded(f"{request.method} {request.url.path}", error)
        if problem.status == 405 and (allowed := _methods(request)):
            problem.headers["Allow"] = ", ".join(allowed)
        return response(problem)

    for kind in (Problem, Refused, Late, Gone, FO1AgentError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, told)


def _methods(request: Request) -> list[str]:
    """All methods of the address; Starlette names those of the first route that has it."""
    path = getattr(request.scope.get("route"), "path", "")
    return [method.upper() for method in request.app.openapi()["paths"].get(path, {})]


def _complaint(error: RequestValidationError) -> str:
    """A validation error in one line."""
    parts = []
    for one in error.errors():
        if one["type"] == "json_invalid":
            return f"The body is not JSON: {one.get('ctx', {}).get('error', one['msg'])}. Send a JSON object."
        if tuple(one["loc"]) == ("body",) and one["type"] != "value_error":
            return "The body must be a JSON object, such as {…}."
        where = ".".join(str(part) for part in one["loc"][1:]) or str(one["loc"][0] if one["loc"] else "request")
        got = "" if one["type"] in ("missing", "value_error") else f" (got {shown(one.get('input'))})"
        parts.append(f"{where}: {one['msg'].removeprefix('Value error, ')}{got}")
    return "; ".join(parts)[:2000]
