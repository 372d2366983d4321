"""What the routes share: the model, the open pictures, the gate, the figures."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import re
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar, cast

from fastapi import Request

from fo1agent import exchange
from fo1agent.agent.loop import Agent
from fo1agent.errors import InputError
from fo1agent.integrations.handles import Scenes, looks_like_handle
from fo1agent.pictures.image import DIGITS, LoadedImage, is_data_url, load_image
from fo1agent.pictures.text import TextLine
from fo1agent.planners.base import Planner
from fo1agent.planners.chat import ChatPlanner
from fo1agent.planners.own import OwnPlanner
from fo1agent.regions.ids import HANDLE
from fo1agent.regions.regions import check_boxes
from fo1agent.runs.answer import Answer
from fo1agent.runs.batching import Batched, ManyPredictor
from fo1agent.runs.budget import Budget
from fo1agent.scene import Model, Predictor, Scene
from fo1agent.serve.admission import Kind
from fo1agent.serve.gate import Gate, Refused, Stream, Ticket, check, current
from fo1agent.serve.guards import Traffic
from fo1agent.serve.metrics import Metrics
from fo1agent.serve.problems import Problem
from fo1agent.serve.settings import Settings
from fo1agent.serve.shelf import WHOLE, Shelf, file_of
from fo1agent.serve.telling import Telling
from fo1agent.traces.store import Folder, Place, as_place

T = TypeVar("T")


_FEW = 2  # one reads and one gets ready, for there is one reader; and no more pictures than that are put out at once
_SENT = 4096  # data: URLs whose pictures are known again


class Service:
    """One server's parts. `close` ends its threads.

    Args:
        shelf: of the servers behind one address; None for a server by itself.

    Attributes:
        model: what opens pictures; its passes are put together unless the settings say otherwise.
        engine_ready: tells whether the engine would answer that the model's words come from; None without one.
        scenes: the pictures that are open.
        traffic: what is on its way.

    Raises:
        InputError: no such planner or mode, or they do not fit each other or the model.
        MissingExtraError: the chat model needs a package that is not installed.
        AgentError: no traces can be written where they should go.
    """

    def __init__(self, model: Model, settings: Settings, shelf: Shelf | None = None) -> None:
        self.settings = settings
        self._shelf = shelf
        self._planner = self._deciding(model)
        self._traces = _place(settings)
        self._sent: OrderedDict[bytes, str] = OrderedDict()  # digest of a data: URL → key of its picture
        self._guard = threading.Lock()
        self.metrics = Metrics()
        self.traffic = Traffic(self.metrics)
        many = settings.running - settings.running // 4  # what is quick always finds a place
        most = {
            "open": settings.opening,
            "read": _FEW,
            "draw": _FEW,
            "say": many,
            "ask": many,
            "look": settings.running,
        }
        self.gate = Gate(
            settings.running,
            settings.waiting,
            most=most,
            max_wait_s=settings.max_wait_s,
            on_turn=self.metrics.waited,
            on_refused=self.metrics.refused,
        )
        self._batched: Batched | None = None
        if settings.batching:
            self._batched = Batched(
                cast(ManyPredictor, model.predictor),
                most=settings.batch,
                wait_s=settings.batch_wait_s,
                running=lambda: self.gate.running,
                on_pass=self.metrics.passed,
                check=check,
                wait=lambda result, seconds: _while_wanted(result),
            )
        predictor = self._batched or cast(Predictor, _Alone(model.predictor))
        self.engine_ready: Callable[[], bool] | None = getattr(model.predictor, "ready", None)
        self.model = replace(model, predictor=predictor, ocr=_until_stopped(model.ocr))
        self.scenes = Scenes(
            self.model,
            folders=settings.folders,
            urls=bool(settings.hosts),
            limits=settings.limits,
            keep=settings.keep,
            keep_bytes=settings.keep_bytes,
            together=True,
            telling=False,
            digits=WHOLE if shelf else DIGITS,
        )
        for name, help, read in (
            ("running", "Requests that run.", lambda: self.gate.running),
            ("waiting", "Requests that wait for their turn.", lambda: self.gate.waiting),
            ("held_bytes", "Bodies that are here and answers that were not taken yet.", lambda: self.traffic.held),
            ("pictures_open", "Pictures that are open.", lambda: len(self.scenes.handles)),
            ("pictures_open_bytes", "Memory of the open pictures.", lambda: self.scenes.nbytes),
        ):
            self.metrics.watch(name, help, read)

    def close(self) -> None:
        """End the threads, when their work is done."""
        self.gate.close()
        if self._batched is not None:
            self._batched.close()

    # ---- work, from a route --------------------------------------------------------------------------------------

    def admit(self, request: Request, kind: Kind) -> None:
        """Refuse a request whose body has not been read, if it would not be let in.

        Raises:
            Refused: too many wait already, or it would wait too long.
        """
        self.gate.check(kind, _caller(request))

    async def run(self, request: Request, kind: Kind, work: Callable[..., T], picture: str | None = None) -> T:
        """Do work in its turn, as long as the client is there and the deadline has not passed.

        Args:
            request: whose work it is.
            kind: of the work.
            work: called with the picture's handle and itself; without arguments where none is named.
            picture: as a caller names it. It is opened before, which is work of its own kind.
        """
        ticket = self._ticket(request)
        async with _watched(request) as gone:
            found = await self._found(ticket, picture, gone)

            def timed() -> T:
                with exchange.until(ticket.left):
                    return work(*found())

            return await self.gate.run(ticket, timed, gone, kind)

    async def stream(
        self,
        request: Request,
        kind: Kind,
        work: Callable[..., Iterator[T]],
        picture: str | None = None,
        told: Callable[[int, int], T] | None = None,
    ) -> Stream[T]:
        """As `run`, item by item; returns once the first is there. Whoever iterates stops it when the client goes.

        Args:
            request: as for `run`, as are `kind`, `work` and `picture`.
            told: makes an item of how far the picture is opened; left out where nobody wants to know.
        """
        nobody: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def left(_: Any) -> None:
            if not nobody.done():
                nobody.set_result(None)

        ticket = self._ticket(request)
        async with _watched(request) as gone:
            gone.add_done_callback(left)

            async def begun() -> Stream[T]:
                found = await self._found(ticket, picture, nobody)
                return await self.gate.stream(ticket, lambda: work(*found()), nobody, kind)

            if told is None:
                stream = await begun()
            else:
                stream = Telling(begun, told, ticket)
                await stream.begin()
            gone.remove_done_callback(left)
        return stream

    async def _found(
        self, ticket: Ticket, picture: str | None, gone: asyncio.Future[Any]
    ) -> Callable[[], tuple[()] | tuple[str, Scene]]:
        """What gives work the picture that it is about, and its handle; it is opened before, if it is not open."""
        if picture is None:
            return self._room
        if re.fullmatch(HANDLE, picture[:200].partition("/")[0]) or self._open_already(picture):
            return lambda: self._room() or self.opened(picture)
        opened = await self.gate.run(ticket, lambda: self._room() or self.opened(picture), gone, "open")
        return lambda: opened

    def _ticket(self, request: Request) -> Ticket:
        return Ticket(self.settings.deadline_s, _caller(request))

    def _room(self) -> tuple[()]:
        """Begin nothing while so many answers lie here untaken.

        Raises:
            Refused: they do.
        """
        if self.traffic.held > max(self.settings.held_bytes, self.settings.body_bytes):
            self.metrics.refused("any", "memory")
            raise Refused("memory", 1)
        return ()

    def agent(self) -> Agent:
        """Who answers the question of the request that this thread works for: in parts, where the time is too short."""
        ticket = current()
        left = self.settings.deadline_s if ticket is None else ticket.left
        return Agent(
            self.model,
            self._planner,
            Budget(seconds=max(0.9 * left, 0.1)),
            self._traces,
            mode=self.settings.mode,
            verify=self.settings.verify,
            tools=self.settings.tools if isinstance(self._planner, (ChatPlanner, OwnPlanner)) else (),
        )

    def answered(self, scene: Scene, question: str, before: Sequence[str] = ()) -> Answer:
        """The answer; between its steps it is looked whether anybody still waits."""
        return self.agent().ask(scene, question, on_step=lambda number, step: check(), before=before)

    def answer(self, scene: Scene, question: str, before: Sequence[str] = ()) -> dict[str, Any]:
        """The same as JSON values."""
        return self.answered(scene, question, before).to_dict()

    def _deciding(self, model: Model) -> Planner:
        """The planner of all requests, which stops where its request does."""
        rules = self.settings.planner == "rules"
        tools = () if rules else self.settings.tools
        planner = Agent(model, self.settings.planner, mode=self.settings.mode, tools=tools).planner
        if isinstance(planner, OwnPlanner):
            return OwnPlanner.of(model, self._in_turn, planner.tools)
        if isinstance(planner, ChatPlanner):
            return ChatPlanner(planner.chat.waited_for(_while_wanted), planner.tools)
        return planner

    def _in_turn(self, work: Callable[[], T]) -> T:
        """Something that the model does besides its passes."""
        if self._batched is not None:
            return self._batched.alone(work)
        check()
        return work()

    # ---- pictures, in a thread -----------------------------------------------------------------------------------

    def opened(self, meant: str) -> tuple[str, Scene]:
        """The picture that a caller means by an id, or sends along as a data: URL; its handle and itself.

        Raises:
            Problem: no picture of this id is open, or it may not be opened.
            ImageError: it is no picture, or breaks a limit.
        """
        if is_data_url(meant):
            key = self._open_already(meant)
            scene = self.scenes.known(key) if key else None
            if scene is not None:
                self.metrics.picture(kept=True)
                return self.scenes.handle(key), scene
            handle, scene = self.received(meant)
            self._remember(meant, self.scenes.key(handle))
            return handle, scene
        scene = self._shared(meant)
        self.metrics.picture(kept=scene is not None)
        if scene is not None:
            return self.scenes.handle(meant), scene
        if re.fullmatch(HANDLE, meant):
            raise Problem(404, f"No picture {meant} is open. Send it to /v1/images first.", "not_found", "image")
        if looks_like_handle(meant):
            message = f"No picture {meant!r} is open. An id is img_ and at least 8 hex digits in lower case, no blanks."
            raise Problem(404, message, "not_found", "image")
        if address := re.match(r"\s*([a-z][a-z0-9+.-]+):", meant, re.IGNORECASE):
            if address[1].lower() not in ("http", "https"):
                raise Problem(
                    422, f"No address of {address[1][:20]!r} is opened here. Send the picture.", code="address"
                )
            if not self.settings.hosts:
                raise Problem(422, "This server fetches no pictures from addresses. Send the picture.", code="address")
        elif not self.settings.folders:
            raise Problem(
                422, "image must be the id of an open picture (img_…) or a data: URL of one; no paths.", code="image"
            )
        scene = self.scenes.get(meant)
        if self._shelf:
            self._shelf.put(scene.id, (file_of(scene.loaded), None))
        return scene.id, scene

    def beside(self, meant: str) -> Scene:
        """Another open picture, in work on one: none that is new is opened there, which is work of its own kind.

        Raises:
            Problem: no picture of this id is open.
        """
        scene = self._shared(meant)
        if scene is None:
            raise Problem(
                404, f"No picture {meant[:100]!r} is open. Send it to /v1/images first.", "not_found", "image"
            )
        return scene

    def received(self, picture: bytes | str | LoadedImage, boxes: Any = None, name: str = "") -> tuple[str, Scene]:
        """Open a picture that was sent, a file's bytes or a data: URL, perhaps with boxes; its handle and itself.

        `name` is the file's, for messages.
        """
        self.metrics.picture(kept=False)
        loaded = load_image(picture, self.settings.limits, name=name) if name else picture
        handle, scene = self.scenes.receive(loaded, boxes)
        if self._shelf:
            sent = file_of(picture) if isinstance(picture, LoadedImage) else picture
            self._shelf.put(handle, (sent, None if boxes is None else check_boxes(boxes)))
        return handle, scene

    def close_picture(self, handle: str) -> None:
        """Close a picture, at every server that shares it.

        Raises:
            Problem: it is not open.
        """
        here, key = self.scenes.known(handle) is not None, self.scenes.key(handle)
        self.scenes.close(handle)
        if not (self._shelf and self._shelf.forget(key)) and not here:
            raise Problem(404, f"No picture {handle} is open.", "not_found", "image")

    def _shared(self, meant: str) -> Scene | None:
        """The open picture of an id or of a region's id; one that another server has opened is opened here too."""
        scene, key = self.scenes.known(meant), meant[:200].partition("/")[0]
        if scene is None and self._shelf and re.fullmatch(HANDLE, key) and (kept := self._shelf.get(key)):
            return self.scenes.receive(*kept)[1]
        return scene

    def _open_already(self, url: str) -> str:
        """The key of the open picture that was sent as this same data: URL before; "" if there is none.

        Chats send their picture with every question; it needs not be decoded again to be known again.
        """
        with self._guard:
            key = self._sent.get(_digest(url), "")
        return key if key and self.scenes.known(key) else ""

    def _remember(self, url: str, key: str) -> None:
        with self._guard:
            self._sent[_digest(url)] = key
            while len(self._sent) > _SENT:
                self._sent.popitem(last=False)


def check_deciding(settings: Settings) -> None:
    """Refuse what a `Service` would refuse, before there is a model.

    Raises:
        InputError, MissingExtraError, AgentError: as `Service`.
    """
    if settings.planner != "fo1":
        Agent(None, settings.planner, mode=settings.mode)
    elif settings.mode == "steps":
        raise InputError('mode "steps" needs a chat model as planner, got "fo1".')
    _place(settings)


def _place(settings: Settings) -> Place | None:
    """Where runs are saved; a folder is made now, so that one that cannot be is told of."""
    place = as_place(settings.traces)
    if isinstance(place, Folder):
        place.make()
    return place


_PASSES = ("encode", "with_boxes", "match", "match_many", "labels", "similar", "alike", "generate", "generate_many")


class _Alone:
    """A predictor whose every pass is one request's own; it looks whether the request still wants it."""

    def __init__(self, inner: Predictor) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name in _PASSES:
            check()
        return getattr(self._inner, name)


def _while_wanted(reply: Future[T], seconds: float = math.inf) -> T:
    """Wait for a reply for so long, and only while its request wants it."""
    ticket = current()
    if ticket is None:
        return reply.result(None if seconds == math.inf else seconds)
    return ticket.wait(reply, seconds)


def _until_stopped(read: Callable[..., list[TextLine]]) -> Callable[..., list[TextLine]]:
    """A reader that does not begin for a request that nobody waits for."""

    def reading(image: Any, **options: Any) -> list[TextLine]:
        check()
        return read(image, **options)

    return reading


def _digest(url: str) -> bytes:
    return hashlib.blake2b(url.encode("utf-8", "surrogatepass"), digest_size=32).digest()


def _caller(request: Request) -> str:
    """Who sent a request, as far as its address tells."""
    return request.client.host if request.client else ""


@asynccontextmanager
async def _watched(request: Request) -> AsyncIterator[asyncio.Future[None]]:
    """Done when the client has gone. The request's body must have been read."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    watch = asyncio.ensure_future(gone())
    try:
        yield watch
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


def image_body(service: Service, handle: str, scene: Scene) -> dict[str, Any]:
    """An open picture as JSON values: its handle, size and regions, and the handle in full."""
    named = set(scene.named().ids)
    return {
        "image": handle,
        "width": scene.width,
        "height": scene.height,
        "model": service.model.name,
        "regions": [{**region.to_dict(), "sure": region.id in named} for region in scene.regions],
        "note": scene.note,
        "key": service.scenes.key(handle),
    }
