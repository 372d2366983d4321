"""Pictures, tools and questions over HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from fo1agent.agent.asking import with_asking
from fo1agent.foreign import one_line
from fo1agent.integrations.calls import call
from fo1agent.integrations.chat_options import Closed
from fo1agent.integrations.handles import Scenes
from fo1agent.integrations.schemas import IMAGE, parameters
from fo1agent.pictures.image import is_data_url
from fo1agent.regions.ids import HANDLE
from fo1agent.regions.regions import check_boxes, shown
from fo1agent.runs.budget import MAX_QUESTION
from fo1agent.runs.events import Opening
from fo1agent.scene import Scene
from fo1agent.serve.admission import admitting, tool_kind
from fo1agent.serve.problems import Json, Problem
from fo1agent.serve.service import Service, image_body
from fo1agent.serve.shelf import file_of
from fo1agent.serve.streams import FAILURES, sse
from fo1agent.tools.base import Tool, complaint
from fo1agent.tools.registry import registry
from fo1agent.tools.schemas import of_result

PICTURE = "The picture: the id of an open one (img_…), or the picture itself as a data: URL."


Handle = Annotated[str, Path(pattern=f"^{HANDLE}$", description="A picture's id.")]


class RegionOut(BaseModel):
    """A region of a picture."""

    id: str = Field(description="Short id, the same wherever this picture is opened.")
    label: str | None
    score: float = Field(description="Probability of the label, 0 to 1.")
    box: tuple[float, float, float, float] = Field(description="[x1, y1, x2, y2] in pixels; y points down.")
    sure: bool = Field(description="Whether the model is sure of the label, and this is its best region for the thing.")


class ImageOut(BaseModel):
    """An open picture."""

    image: str = Field(description="Its id: the same wherever the same picture is opened.")
    width: int
    height: int
    model: str
    regions: list[RegionOut] = Field(description="Every region that was proposed, r0 first.")
    note: str = Field(description="Something to know about the regions; usually empty.")
    key: str = Field(description="The id in full. It may be given as image as well, and is no other picture's, ever.")


class ToolsOut(BaseModel):
    """The tools."""

    tools: list[dict[str, Any]] = Field(description="name, description, parameters and result as JSON Schema.")


class CallOut(BaseModel):
    """What came of a tool: a result, or why there is none."""

    model_config = ConfigDict(extra="allow")
    tool: str
    image: str
    ok: bool


class AskIn(Closed):
    """A question."""

    image: str = Field(description=PICTURE, min_length=1)
    question: str = Field(description="One question in English, or several.", max_length=MAX_QUESTION)
    before: list[Annotated[str, Field(max_length=MAX_QUESTION)]] = Field(
        default=[],
        description="Earlier questions about this picture, oldest first: “it” and “they” may go back to them.",
        max_length=64,
    )
    stream: bool = Field(False, description="Tell each step as a server-sent event when it happens.")


class AskOut(BaseModel):
    """An answer, and what it rests on."""

    image: str
    model: str
    answer: dict[str, Any] = Field(
        description="text, value, abstained, reason, evidence, regions, steps; not_judged, words of the question that "
        "could not be judged, and bounds, {at_least, at_most} of a number that hangs on them."
    )


class HealthOut(BaseModel):
    """Whether the server takes on work."""

    status: Literal["ok", "draining"]
    model: str
    engine: Literal["ok", "away"] | None = Field(
        None, description="Whether the vLLM that the model's words come from would answer; left out without one."
    )


def router(service: Service, tools: dict[str, Tool] | None = None) -> APIRouter:
    """The routes under /v1 that are fo1agent's own."""
    routes = APIRouter(prefix="/v1", responses=FAILURES, route_class=admitting(service.admit))
    _add_images(routes, service)
    _add_tools(routes, service, with_asking(registry() if tools is None else tools, service.answered))
    _add_asking(routes, service)
    return routes


def _add_images(routes: APIRouter, service: Service) -> None:
    @routes.post(
        "/images",
        status_code=201,
        response_model=ImageOut,
        tags=["images"],
        openapi_extra={"requestBody": _PICTURE_BODY},
    )
    async def open_image(request: Request) -> Response:
        """Open a picture: the file as multipart form data, its address, or itself as a data: URL.

        With `boxes`, [[x1, y1, x2, y2], …] in pixels of the upright picture, those are its regions.
        """
        sent, boxes, name = await _sent(request)

        def work() -> dict[str, Any]:
            if isinstance(sent, str) and (boxes is None or not is_data_url(sent)):
                handle, scene = service.opened(sent)
                if boxes is not None:
                    handle, scene = service.received(scene.loaded, boxes)
            else:
                handle, scene = service.received(sent, boxes, name)
            return image_body(service, handle, scene)

        return Json(await service.run(request, "open", work), 201)

    @routes.get("/images/{image}", response_model=ImageOut, tags=["images"])
    async def get_image(request: Request, image: Handle) -> Response:
        """An open picture's size and regions."""
        return Json(await service.run(request, "look", partial(image_body, service), image))

    @routes.get(
        "/images/{image}/pixels",
        response_class=Response,
        responses={200: {"content": {"image/png": {}}, "description": "The upright picture."}},
        tags=["images"],
    )
    async def get_pixels(request: Request, image: Handle) -> Response:
        """The picture itself, upright, as PNG."""
        png = await service.run(request, "draw", lambda _, scene: file_of(scene.loaded), image)
        return Response(png, media_type="image/png")

    @routes.delete("/images/{image}", status_code=204, response_class=Response, tags=["images"])
    async def close_image(image: Handle) -> Response:
        """Forget a picture."""
        await asyncio.to_thread(service.close_picture, image)
        return Response(status_code=204)


def _add_tools(routes: APIRouter, service: Service, known: dict[str, Tool]) -> None:
    @routes.get("/tools", response_model=ToolsOut, tags=["tools"])
    async def list_tools() -> Response:
        """The tools, as JSON Schema."""
        return Json(
            {
                "tools": [
                    {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": parameters(tool, image=PICTURE),
                        "result": of_result(tool.result),
                    }
                    for tool in known.values()
                ]
            }
        )

    @routes.post("/tools/{name}", response_model=CallOut, tags=["tools"])
    async def call_tool(request: Request, name: str, arguments: dict[str, Any]) -> Response:
        """Call a tool with its arguments and `image`, the picture."""
        if name not in known:
            raise Problem(404, f"There is no tool {name[:64]!r}. There are: {', '.join(known)}.", "not_found", "tool")
        meant = arguments.get(IMAGE)
        if not isinstance(meant, str) or not meant:
            raise Problem(422, f"image must be given. {PICTURE}", "retry", "image")

        def work(handle: str, scene: Scene) -> dict[str, Any]:
            result = call(name, {**arguments, IMAGE: scene.id}, _only(scene), known, service.beside)
            if not result.ok and result.outcome.retry:
                raise Problem(422, result.outcome.error, "retry", "arguments")
            return {**result.to_dict(), IMAGE: handle}  # the longer id, where two open pictures have the short one

        return Json(await service.run(request, tool_kind(name), work, meant))


def _add_asking(routes: APIRouter, service: Service) -> None:
    @routes.post(
        "/ask",
        response_model=AskOut,
        responses={
            200: {
                "description": "The answer; with `stream` the events opening, plan, step_start, step_end, partial, "
                "answer.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            }
        },
        tags=["ask"],
    )
    async def ask(request: Request, asked: AskIn) -> Response:
        """Answer a question about a picture, with the regions that prove it."""
        if asked.stream:

            def events(handle: str, scene: Scene) -> Iterator[tuple[str, Any]]:
                for event in service.agent().stream(scene, asked.question, before=asked.before):
                    head = {"image": handle} if event.type == "answer" else {}
                    yield event.type, {**head, **event.to_dict()}

            return sse(await service.stream(request, "ask", events, asked.image, _opening))

        def work(handle: str, scene: Scene) -> dict[str, Any]:
            answer = service.answer(scene, asked.question, asked.before)
            return {"image": handle, "model": service.model.name, "answer": answer}

        return Json(await service.run(request, "ask", work, asked.image))


def _opening(done: int, count: int) -> tuple[str, Any]:
    """How far a picture is opened, as an event."""
    return Opening.type, Opening(done, count).to_dict()


_Boxes = Annotated[Any, AfterValidator(lambda given: None if given is None else check_boxes(given))]


class _Sent(Closed):
    """A picture in JSON."""

    url: str | None = None
    data: str | None = None
    boxes: _Boxes = None


class _SentBoxes(Closed):
    """What a form holds."""

    file: Any
    boxes: _Boxes = None


def _one_of(name: str, description: str) -> dict[str, Any]:
    told = {"type": "string", "description": description}
    return {"type": "object", "properties": {name: told, "boxes": _BOXES}, "required": [name]}


_BOXES = {
    "type": "array",
    "items": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
    "description": "Use these boxes as regions: x1, y1, x2, y2 in pixels of the upright picture.",
}
_FORM = {
    "type": "object",
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "The picture's file."},
        "boxes": {"type": "string", "description": "JSON: [[x1, y1, x2, y2], …], to use as regions."},
    },
    "required": ["file"],
}
_PICTURE_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": _FORM},
        "application/json": {
            "schema": {
                "oneOf": [
                    _one_of("data", "The picture as data:image/…;base64,…"),
                    _one_of("url", "Its address, at a host that is allowed."),
                ]
            }
        },
    },
}


async def _sent(request: Request) -> tuple[bytes | str, Any, str]:
    """(The file's bytes, a data: URL, or an address; boxes; what the file is called, for messages)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            async with request.form(max_files=8, max_fields=8) as form:
                for name in form:
                    if len(form.getlist(name)) > 1:
                        raise Problem(422, f"The form holds {shown(name)} more than once. Send it once.", code="file")
                file = form.get("file")
                if file is None or isinstance(file, str):
                    raise Problem(422, "The form must hold the picture as a file in the field `file`.", code="file")
                boxes = _SentBoxes.model_validate(dict(form)).boxes
                return await file.read(), boxes, _file_name(file.filename)
        sent = _Sent.model_validate_json(await request.body())
        return _given(sent), sent.boxes, ""
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        if first["type"] in ("json_invalid", "model_type") and kind != "multipart/form-data":
            why = str(first.get("ctx", {}).get("error", ""))[:200]
            message = (
                f"The body is no JSON object{f' ({why})' if why else ''}. Send one with `data` or `url`, or a form: "
                "curl -F file=@cat.jpg …"
            )
            raise Problem(422, message, code="validation") from None
        raise Problem(422, f"The body does not fit: {complaint(exc)}.", code="validation") from exc


def _file_name(told: str | None) -> str:
    """What a file that was sent is called in messages: the last part of its name, cut, on one line."""
    return one_line(re.split(r"[/\\]", told or "")[-1], 80) or "the file"


def _given(sent: _Sent) -> str:
    if (sent.data is None) == (sent.url is None):
        raise Problem(422, "The body must hold `data` or `url`, one of the two.", code="image")
    if sent.data is not None:
        if not is_data_url(sent.data):
            raise Problem(422, "data must be a data: URL, such as data:image/png;base64,….", code="image")
        return sent.data
    if not sent.url or not sent.url.strip().lower().startswith(("http://", "https://")):
        raise Problem(422, "url must be an http(s) address.", code="address")
    return sent.url


async def no_query(request: Request) -> None:
    """Refuse query parameters: no route has any, and what is sent so would be passed over."""
    if request.query_params:
        names = ", ".join(name[:64] for name in list(request.query_params)[:5])
        raise Problem(422, f"There are no query parameters here, got {names}. Send JSON in the body.", code="query")


def _only(scene: Scene) -> Scenes:
    """This one picture, for a tool call."""
    scenes = Scenes(scene.model, together=True)
    scenes.open(scene)
    return scenes
