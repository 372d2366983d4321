"""A server's model, used as if it were here: `connect(url)` opens pictures and asks questions as a `Model` does.

    server = connect("http://127.0.0.1:8080")
    scene = server.open("street.jpg")
    scene.count("person", within=scene.ground("bus")[0])

The picture is read here, with the usual checks, and sent once; if the server has closed it, it is sent again. Results
have the same types as those of a `Scene`. Neither torch nor a model is needed.

The server may be hostile, or something other than fo1agent. Its answers are limited in bytes, depth and time. An answer
of another form, a compressed one, and a redirect to another address are a `ServerError`.
"""

from __future__ import annotations

import contextlib
import contextvars
import io
import json
import math
import os
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import httpx
import numpy as np
from pydantic import BaseModel, ValidationError

from fo1agent import bounded, exchange
from fo1agent.bearer import checked_token, hiding, without_password
from fo1agent.errors import BudgetExceeded, FO1AgentError, InputError, PlanError, ServerError, ToolFailed
from fo1agent.foreign import one_line
from fo1agent.pictured import Pictured, Target, id_within, listed, pairs, phrases_of, several
from fo1agent.pictures.attached import attached_fields
from fo1agent.pictures.image import ImageLimits, ImageSource, LoadedImage, load_image
from fo1agent.plans.language import LARGEST, Plan
from fo1agent.regions.examples import Example
from fo1agent.regions.ids import HANDLE, RegionId, box_name, is_region_id
from fo1agent.regions.regions import (
    Box,
    Region,
    RegionRef,
    Regions,
    check_boxes,
    number,
    read_box,
    read_pixels,
    shown,
)
from fo1agent.results import (
    AskResult,
    CountResult,
    DescribeResult,
    Grounding,
    InspectResult,
    PointRef,
    PointResult,
    ReadResult,
    RelateResult,
    Result,
    SegmentResult,
    View,
)
from fo1agent.runs.answer import Answer
from fo1agent.runs.events import AnswerEvent, Event, OnStep, Opening, Partial, PlanEvent, answer_of
from fo1agent.runs.record import load
from fo1agent.runs.step import StepEnd, StepStart
from fo1agent.tools.base import complaint

if TYPE_CHECKING:
    from PIL.Image import Image

_REPLY_BYTES = 8_000_000  # of an answer, and of one event
_STREAM_BYTES = 64_000_000  # of all events of a question
_MOST_TOLD = 2000  # characters of what it says went wrong
_ERROR_BYTES = 100_000  # of an answer that tells of a failure; what is longer is not read

# What comes of reading an answer that has not the form it should have.
_MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, PlanError)

_HANDLE = re.compile(HANDLE)
_MOST_PIXELS_OFF = 0.01  # that a box may lie outside of the picture: boxes are told in hundredths

_ADDRESS = re.compile(r"(data:|[A-Za-z][A-Za-z0-9+.-]+://)")

AResult = TypeVar("AResult", bound=BaseModel)
Answered = TypeVar("Answered")
Given = TypeVar("Given")

_AT_ONCE = 8  # requests of one caller


def connect(url: str, token: str | None = None, *, timeout_s: float = 120.0, patience_s: float = 30.0) -> Client:
    """Use the model of a `fo1agent serve`.

    Args:
        url: the server's address, `http://127.0.0.1:8080`.
        token: its bearer token, if it needs one.
        timeout_s: seconds until an answer must be complete; less if the budget of a question leaves less.
        patience_s: seconds during which a request is repeated while the server is busy.

    Raises:
        InputError: the address is not valid, or no header can hold the token.
        ServerError: nothing answers there, or something other than fo1agent.
    """
    return Client(url, token, timeout_s=timeout_s, patience_s=patience_s)


class Client:
    """A server, by `connect`. Close it, or use it in a `with`. Safe to share between threads.

    Attributes:
        url: the server's address, without a password.
        name: what its model is called.
    """

    def __init__(
        self, url: str, token: str | None = None, *, timeout_s: float = 120.0, patience_s: float = 30.0
    ) -> None:
        address = url if "://" in url else f"http://{url}"
        self.url = without_password(address.rstrip("/"))
        if not address.startswith(("http://", "https://")):
            raise InputError(f"A server's address begins with http:// or https://, got {self.url!r:.80}.")
        self._patience_s, self._timeout_s = patience_s, timeout_s
        token = checked_token(token)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._hidden = hiding(address, token)
        try:
            self._http = httpx.Client(
                base_url=address.rstrip("/"), headers=headers, timeout=timeout_s, event_hooks=dict(exchange.HOOKS)
            )
        except (httpx.InvalidURL, ValueError) as exc:
            # What is wrong may be a part of a password.
            why = str(exc) if "@" not in address else "write the signs before its @ as %2F and so on"
            raise InputError(f"{self.url!r:.80} is no address of a server: {why}.") from None
        health = self._send("GET", "/healthz", unready=True)
        if health.get("status") not in ("ok", "draining"):
            raise ServerError(f"What answers at {self.url} is no fo1agent server.")
        with self._understanding():
            self.name = _text(health.get("model", ""))

    def __repr__(self) -> str:
        return f"<Client {self.url}, {self.name}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. What is asked of the server later is a `ServerError`."""
        self._http.close()

    def open(self, source: ImageSource, boxes: Any = None, limits: ImageLimits | None = None) -> RemoteScene:
        """Open a picture at the server; arguments as for `Model.open`. The picture is read here.

        Raises:
            ImageError: the picture cannot be read or breaks a limit, here or there.
            BoxError: a box is malformed or lies outside the picture, or all are parts of its size instead of pixels.
            ServerError: the server does not answer as it should.
        """
        if hasattr(source, "read") and not isinstance(source, (str, bytes, os.PathLike)):
            source = source.read()
        image = load_image(source, limits)
        given = None if boxes is None else boxes.boxes if isinstance(boxes, Regions) else check_boxes(boxes)
        return RemoteScene(self, image, _file(source, image), given)

    def tools(self) -> list[dict[str, Any]]:
        """The server's tools, for `RemoteScene.call`: name, description, parameters and result as JSON Schema."""
        told = self._send("GET", "/v1/tools")
        with self._understanding():
            return [{**one, "name": _text(one["name"]), "parameters": dict(one["parameters"])} for one in told["tools"]]

    def ask(self, source: Any, question: str, on_step: OnStep | None = None, *, before: Sequence[str] = ()) -> Answer:
        """Answer a question about a picture, as `Agent.ask` does.

        Args:
            source: a scene from `open`, or anything that `open` takes.
            question: one question in English, or several.
            on_step: called as (number from 1, the step as `Answer.to_dict` gives it) when a step has finished.
            before: earlier questions about the picture that this one may go back to, oldest first.
        """
        answer = answer_of(self.stream(source, question, before=before), on_step)
        if answer is None:
            raise ServerError("The server ended the stream without an answer.")
        return answer

    def stream(self, source: Any, question: str, *, before: Sequence[str] = ()) -> Iterator[Event]:
        """Answer a question and yield each event as it happens, as `Agent.stream` does; the answer comes last."""
        scene = source if isinstance(source, RemoteScene) else self.open(source)
        return scene.stream(question, before=before)

    # ---- HTTP ----------------------------------------------------------------------------------------------------

    def _send(self, method: str, path: str, *, unready: bool = False, **request: Any) -> Any:
        """The JSON of an answer, for which a busy server is asked again.

        Args:
            unready: 503 is an answer as well.
        """
        until = time.monotonic() + min(self._patience_s, exchange.left())
        while True:
            with exchange.Exchange(self._timeout_s, _REPLY_BYTES) as asked, self._asking(asked):
                response = self._http.request(method, path, **request)
            if response.status_code not in (429, 503) or unready:
                break
            wait = _seconds(response)
            if time.monotonic() + wait > until:
                break
            time.sleep(wait)
        if response.is_success or (unready and response.status_code == 503):
            with self._understanding():
                return _object(response.content)
        raise _failure(response, self._hidden)

    def _events(self, body: dict[str, Any]) -> Generator[tuple[str, dict[str, Any]], None, None]:
        """The events (type, data) that answer a question."""
        until = time.monotonic() + min(self._patience_s, exchange.left())
        while True:
            asked = exchange.Exchange(self._timeout_s, _STREAM_BYTES)
            asked.begin()
            # Between two events the caller's own requests are none of this exchange, whose time goes on.
            with contextlib.closing(asked), contextlib.ExitStack() as stack:
                with self._asking(asked):
                    request = self._http.build_request("POST", "/v1/ask", json=body)
                    response = stack.enter_context(contextlib.closing(self._http.send(request, stream=True)))
                    if not response.is_success:
                        response.read()
                if response.is_success:
                    yield from self._told(asked, response)
                    return
            wait = _seconds(response)
            if response.status_code not in (429, 503) or time.monotonic() + wait > until:
                raise _failure(response, self._hidden)
            time.sleep(wait)

    def _told(self, asked: exchange.Exchange, response: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
        events = _parsed_events(response.iter_lines())
        while True:
            with self._asking(asked), self._understanding():
                event = next(events, None)
            if event is None:
                return
            yield event

    @contextlib.contextmanager
    def _asking(self, asked: exchange.Exchange) -> Iterator[None]:
        """Within the block, requests belong to the exchange; raises what it means that the server does not answer."""
        try:
            with asked.applied():
                yield
        except exchange.Ended:
            if asked.late and exchange.left() <= 0:
                raise BudgetExceeded(
                    f"the budget of seconds is used up, waiting for the server at {self.url}"
                ) from None
            why = one_line(asked.why, _MOST_TOLD)
            raise ServerError(f"The server at {self.url} gave no usable answer: {why}.") from None
        except httpx.HTTPError as exc:
            raise self._unreachable(exc) from exc
        except RuntimeError as exc:
            if not self._http.is_closed:
                raise
            raise ServerError(
                f"This client of {self.url} is closed and asks nothing more. Connect again and open the picture there."
            ) from exc

    @contextlib.contextmanager
    def _understanding(self) -> Iterator[None]:
        """Within the block something is read that the server told; what cannot be is its fault."""
        try:
            yield
        except _MALFORMED as exc:
            why = f"{type(exc).__name__}: {one_line(str(exc), 200)}"
            raise ServerError(
                f"What answers at {self.url} is no fo1agent server, or one of another version ({why})."
            ) from exc

    def _unreachable(self, exc: httpx.HTTPError) -> ServerError:
        why = one_line(str(exc), _MOST_TOLD).rstrip(".") or type(exc).__name__
        advice = exchange.other_scheme(self.url, exc) or "Is `fo1agent serve` running there?"
        return ServerError(f"The server at {self.url} does not answer: {why}. {advice}")


class RemoteScene(Pictured):
    """A picture that is open at a server, with the methods and results of a `Scene`.

    Attributes:
        client: the server.
        handle: the id by which the server knows this picture and no other.
        note: what a person should be told about the regions; else "".
    """

    def __init__(self, client: Client, image: LoadedImage, file: bytes, boxes: np.ndarray | None) -> None:
        self.client = client
        self.loaded = image
        self._file, self._given = file, boxes
        self.handle, self.note = "", ""
        self._send_picture()

    def __repr__(self) -> str:
        return f"<RemoteScene {self.id} {self.width}x{self.height}, {len(self.regions)} regions, {self.client.name}>"

    @property
    def regions(self) -> Regions:
        """Every proposal, in the model's order, as in `Scene.regions`."""
        return self._regions

    @property
    def thresholds(self) -> Mapping[str, float]:
        """From which probability on a region counts as found, by purpose: `ground`, `count`, `exists`."""
        return self._result(View, "look").thresholds

    def named(self) -> Regions:
        """What the model can name and is sure of, each thing once, best first."""
        sure = [region for region, kept in zip(self._regions, self._sure, strict=True) if kept]
        return Regions.from_list(sorted(sure, key=lambda region: -region.score))

    def ground(
        self,
        phrase: str | None = None,
        *,
        like: Any = None,
        unlike: Any = None,
        within: Target = None,
        threshold: float | None = None,
        limit: int | None = None,
    ) -> Regions:
        """Find what a phrase names, or more of the same kind as examples; see `Scene.ground`."""
        where = {
            "like": self._examples(like, "like"),
            "unlike": self._examples(unlike, "unlike"),
            "within": self._target(within),
        }
        found = self._result(Grounding, "ground", phrase=phrase, threshold=threshold, limit=limit, **where)
        return found.regions

    def example(self, target: Target) -> RemoteExample:
        """A region to find more of in other pictures at this server: `other.ground(like=scene.example("r3"))`.

        Raises:
            InputError: an unknown region.
        """
        return RemoteExample(self, self._region_of(target))

    def _examples(self, given: Any, argument: str) -> list[Any] | None:
        """Examples as `_call` takes them."""
        if given is None:
            return None
        return [
            one if isinstance(one, RemoteExample) else self._target(self._own(one)) for one in listed(given, argument)
        ]

    def ground_many(
        self,
        phrases: Iterable[str],
        *,
        within: Target = None,
        threshold: float | None = None,
        limit: int | None = None,
    ) -> dict[str, Regions]:
        """Find the regions of several phrases; see `Scene.ground_many`."""
        each = list(dict.fromkeys(phrases_of(phrases)))
        found = _at_once(lambda one: self.ground(one, within=within, threshold=threshold, limit=limit), each)
        return dict(zip(each, found, strict=True))

    def count(self, phrase: str, *, within: Target = None, threshold: float | None = None) -> CountResult:
        """Count the regions that a phrase names; see `Scene.count`."""
        counted = self._result(CountResult, "count", phrase=phrase, within=self._target(within), threshold=threshold)
        return counted.model_copy(update={"phrase": phrase})

    def relate(self, a: Any, relation: str, b: Any = None, and_b: Any = None) -> RelateResult:
        """Which regions of `a` stand in a relation to any of `b`, each a phrase or one region; see `Scene.relate`."""
        sides = {"a": a, "b": b, "and_b": and_b}
        named = {side: one if isinstance(one, str) else self._target(one) for side, one in sides.items()}
        related = self._result(RelateResult, "relate", relation=relation, **named)
        return related.model_copy(update={"relation": relation})

    def read(self, target: Target = None, *, source: Literal["ocr", "model"] = "ocr") -> ReadResult:
        """Read the text in the picture or a part of it; see `Scene.read`."""
        read = self._result(ReadResult, "read", region=self._target(target), source=source)
        regions = [Region(self._full(box_name(one.box)), one.box, one.score, one.text, "ocr") for one in read.lines]
        found = Regions.from_list([self._region_of(target)] if source == "model" else regions)
        return read.model_copy(update={"regions": found, "source": source})

    def describe(self, target: Target = None) -> DescribeResult:
        """Say what the picture, or a part of it, shows; see `Scene.describe`."""
        return self._result(DescribeResult, "describe", region=self._target(target))

    def describe_many(self, targets: Iterable[Target]) -> list[DescribeResult]:
        """Describe several regions, asked at once: a server puts their passes together; see `Scene.describe_many`."""
        return _at_once(self.describe, several(targets, "describe_many", "targets"))

    def inspect_many(self, asked: Iterable[tuple[Target, str]]) -> list[InspectResult]:
        """Ask several questions at once; see `Scene.inspect_many`."""
        return _at_once(lambda pair: self.inspect(*pair), pairs(asked))

    def inspect(self, target: Target, question: str) -> InspectResult:
        """Ask the model a question about a region, or with target None about the picture; see `Scene.inspect`."""
        return self._result(InspectResult, "inspect", question=question, region=self._target(target))

    def segment(self, what: Any = None) -> SegmentResult:
        """Find which pixels of regions are the things', a phrase's or those given; see `Scene.segment`.

        Raises:
            ToolFailed: the server has no segmenter.
        """
        return self._result(SegmentResult, "segment", **self._meant(what))

    def point(self, what: Any = None) -> PointResult:
        """Where to click, one point a region; see `Scene.point`."""
        return self._result(PointResult, "point", **self._meant(what))

    def _meant(self, what: Any) -> dict[str, Any]:
        """A phrase, a target or several, as the tools take them."""
        if isinstance(what, str) and not is_region_id(what):
            return {"phrase": what}
        if what is None:
            return {}
        many = isinstance(what, (list, tuple, Regions)) and not _is_box(what)
        each: list[Any] = list(what) if many else [what]
        return {"regions": [self._target(one) for one in each]}

    def call(self, tool: str, /, **arguments: Any) -> Any:
        """Run a tool of the server's, ours or another: `scene.call("sharpness", region=scene.ground("bus")[0])`.

        Args:
            tool: its name; `Client.tools` lists them.
            **arguments: by the tool's own names; a region or several are passed as their ids.

        Returns:
            The tool's typed result, bound to this picture, where the tool is known here: one of ours, or published by a
            package that is installed here too. Else its JSON, bounded in size and depth, and held to nothing more.

        Raises:
            InputError: there is no such tool, or the arguments do not fit.
            ToolFailed: the tool has no result.
        """
        if not re.fullmatch(r"[A-Za-z_]\w{0,63}", tool, re.ASCII):
            raise InputError(f"{shown(tool)} is no name of a tool.")
        given = {name: self._passed(value) for name, value in arguments.items()}
        from fo1agent.tools.registry import registry  # brings all tools; only this needs them

        kinds = {"ask": AskResult, **{name: one.result for name, one in registry().items()}}
        if tool not in kinds:
            return self._call(tool, given)["result"]
        return self._result(kinds[tool], tool, **given)

    def zoom(self, target: Target, margin: float = 0.1) -> RemoteScene:
        """Open a part of the picture at the server as a scene of its own; see `Scene.zoom`. It is cut out here."""
        image, offset_xy = self._part(target, margin)
        part = RemoteScene(self.client, image, _file(None, image), None)
        part.parent, part.offset_xy = self, offset_xy
        return part

    def annotate(
        self,
        evidence: Iterable[Region] | None = None,
        candidates: Iterable[Region] = (),
        size: int | None = None,
        points: Iterable[PointRef] = (),
    ) -> Image:
        """Draw regions on a copy of the picture; see `Scene.annotate`. It is drawn here."""
        from fo1agent.pictures.drawing import draw

        clicks = {point.region: (point.x, point.y) for point in points}
        return draw(self.image, self.named() if evidence is None else evidence, candidates, size, clicks)

    def ask(self, question: str, on_step: OnStep | None = None, *, before: Sequence[str] = ()) -> Answer:
        """Answer a question about this picture; see `Client.ask`."""
        return self.client.ask(self, question, on_step, before=before)

    def ask_many(self, questions: Iterable[str]) -> list[Answer]:
        """Answer several questions about this picture at once; see `Client.ask` and `Agent.ask_many`."""
        asked = several(questions, "ask_many", "questions")
        for question in asked:
            if not isinstance(question, str):
                raise InputError(f"A question is a text, got {shown(question)}.")
        return _at_once(self.ask, asked)

    def stream(self, question: str, *, before: Sequence[str] = ()) -> Iterator[Event]:
        """Answer a question about this picture, event by event; see `Client.stream`."""
        body = {"question": question, "before": list(before), "stream": True}

        def begun() -> tuple[Generator[tuple[str, dict[str, Any]]], tuple[str, dict[str, Any]] | None]:
            events = self.client._events({**body, "image": self.handle})
            return events, next(events, None)

        events, first = self._with_picture(begun)
        if first is None:
            raise ServerError("The server ended the stream without an answer.")
        heard = _Heard(self, question)
        # An error's traceback would keep the events, and with them the connection, for as long as the error is kept.
        with contextlib.closing(events):
            yield heard.event(*first)
            for event in events:
                yield heard.event(*event)

    # ---- at the server -------------------------------------------------------------------------------------------

    def _send_picture(self) -> None:
        fields = {} if self._given is None else {"boxes": json.dumps(self._given.tolist())}
        told = self.client._send("POST", "/v1/images", files={"file": ("picture", self._file)}, data=fields)
        source = "given" if self._given is not None else "fo1"
        with self.client._understanding():
            self.handle, self.note = _handle(told["key"]), _text(told["note"])
            self._short = _handle(told["image"])
            if (told["width"], told["height"]) != (self.width, self.height):
                raise ValueError("it tells of a picture of another size")
            self._regions = Regions.empty(source)  # none is known yet by its number
            regions = [self._received(one, source) for one in told["regions"]]
            if [region.index for region in regions] != list(range(len(regions))):
                raise ValueError("the regions of a picture are r0, r1, …")
            self._regions = Regions.from_list(regions, note=self.note)
            self._sure = [_flag(one["sure"]) for one in told["regions"]]

    def _result(self, kind: type[AResult], tool: str, **arguments: Any) -> AResult:
        """A tool's result, bound to this picture.

        Raises:
            InputError: the arguments do not fit.
            ToolFailed: the tool has no result.
        """
        answered = self._call(tool, arguments)
        with self.client._understanding():
            told, images = dict(answered["result"]), list(answered.get("images", ()))
            apart = dict(zip([name for name in attached_fields(kind) if name not in told], images, strict=False))
            told |= {name: _text(image["base64"]) for name, image in apart.items()}
            told = kind.completed(told) if issubclass(kind, Result) else told
            try:
                result = kind.model_validate_json(json.dumps(told), strict=True, context={"picture": self})
            except ValidationError as exc:
                raise ValueError(complaint(exc)) from exc
            for name, image in apart.items():
                getattr(result, name).media_type = _text(image["media_type"])
            return result

    def _sent(self, value: Any) -> Any:
        """An argument as JSON, in which an example is its picture's handle and its id there.

        Raises:
            InputError: an example of another server.
        """
        if isinstance(value, list):
            return [self._sent(one) for one in value]
        if not isinstance(value, RemoteExample):
            return value
        if value.scene.client.url != self.client.url:
            raise InputError(
                f"{value.id} is of a picture at {value.scene.client.url}; this one is at {self.client.url}."
            )
        return value.name if value.scene is self else {"image": value.scene.handle, "region": value.name}

    def _with_picture(self, ask: Callable[[], Answered], beside: Sequence[RemoteScene] = ()) -> Answered:
        """What the server answers; one that has forgotten the picture, or those beside it, is sent them again, once."""
        try:
            return ask()
        except _ForgottenError:
            for scene in (self, *beside):
                scene._send_picture()
        try:
            return ask()
        except _ForgottenError as exc:
            raise ServerError(f"The server at {self.client.url} forgets the picture at once: {exc}") from exc

    def _call(self, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What the server answers to a tool's call, with a result; raises as `_result`."""
        given = {name: value for name, value in arguments.items() if value is not None}
        examples = [one for value in given.values() for one in (value if isinstance(value, list) else [value])]
        beside = {id(one.scene): one.scene for one in examples if isinstance(one, RemoteExample)}

        def asked() -> Any:
            sent = {name: self._sent(value) for name, value in given.items()}
            return self.client._send("POST", f"/v1/tools/{tool}", json={**sent, "image": self.handle})

        told = self._with_picture(asked, tuple(beside.values()))
        with self.client._understanding():
            _one_of(told["tool"], tool)
            _handle(told["image"])
            ok = _flag(told["ok"])
            failed = "" if ok else one_line(self.client._hidden(_text(told["error"])), _MOST_TOLD)
            result = told.get("result")
            if not isinstance(result, dict) and ok:
                raise TypeError("a result is an object")
            _check_sizes(result)
        if not ok:
            raise ToolFailed(failed)
        return told

    def _passed(self, value: Any) -> Any:
        """An argument as a tool takes it."""
        named = RegionId.read(value)
        if isinstance(value, Region) or (named and self._has(named)):
            return self._target(value)
        return [self._passed(one) for one in value] if isinstance(value, (list, tuple, Regions)) else value

    def _target(self, target: Target) -> str | None:
        """A target as the id by which tools take it."""
        if target is None:
            return None
        target = id_within(target) or target
        named = RegionId.read(target)
        if named is not None:
            if not self._has(named):
                raise InputError(f"{named} is a region of another picture; this one is {self.id}.")
            return named.name
        if isinstance(target, Region):
            return self._region_of(target).name  # its number may be another region's, if it has other boxes here
        if isinstance(target, Example):
            raise InputError(
                f"The example {target.id} was made by a model here; make it at the server: scene.example(…)."
            )
        box = check_boxes([read_pixels(target)])[0]
        return box_name(box.tolist())

    def _spelled(self) -> tuple[tuple[str, str], ...]:
        return (*super()._spelled(), (self._short, self.handle))

    def _name(self, told: Any) -> str:
        """The short id, `r7` or the box form, by which the server names a region of this picture.

        Raises:
            ValueError: it is none, or one of another picture.
        """
        meant = RegionId.read(_text(told))
        if meant is None or str(meant) != told or not self._has(meant):
            raise ValueError(f"{shown(told)} is no id of a region of this picture")
        return meant.name

    def bound(self, form: RegionRef) -> Region:
        """The region that the server tells of in a result.

        Raises:
            ValueError: this picture has none of its number, or its box lies outside.
        """
        region = self._received(form.model_dump(), self._regions.source)
        self.told(region.name)
        return region

    def told(self, region_id: Any) -> Region:
        """The region that the server means by an id, `r7` or the box form; the box is taken as it is."""
        name = self._name(region_id)
        box = RegionId(name).box
        return self.region(name) if box is None else Region(self._full(name), self._within(read_box(box)), 1.0)

    def _received(self, told: Mapping[str, Any], source: str) -> Region:
        """A region as the server tells of it: its box lies in the picture."""
        box, label = self._within(read_box(told["box"])), _text(told["label"], may_lack=True)
        return Region(self._full(self._name(told["id"])), box, _probability(told["score"]), label, source)

    def _within(self, box: Box) -> Box:
        x1, y1, x2, y2 = box
        for low, high, side in ((x1, x2, self.width), (y1, y2, self.height)):
            if not -_MOST_PIXELS_OFF <= low <= high <= side + _MOST_PIXELS_OFF:
                raise ValueError(f"the box {shown(box)} lies outside the {self.width}x{self.height} picture")
        return box

    def _full(self, name: str) -> str:
        return f"{self.id}/{name}"


@dataclass(frozen=True, eq=False)
class RemoteExample:
    """A region of a picture at a server, to find more of in others there: what `Scene.example` is for a model here.

    Attributes:
        scene: the picture.
        region: the region.
    """

    scene: RemoteScene
    region: Region

    @property
    def id(self) -> str:
        """The region's, with its picture."""
        return self.region.id

    @property
    def name(self) -> str:
        """The region's within its picture."""
        return self.region.name


_EVENTS = {kind.type: kind for kind in (Opening, StepStart, StepEnd, Partial)}


class _Heard:
    """Turns what a stream tells into events; as a `Reader` it knows the regions of the picture."""

    def __init__(self, scene: RemoteScene, question: str) -> None:
        self._scene, self._question = scene, question
        self._start = time.perf_counter()
        self._plan: Plan | None = None
        self._known: dict[str, Region] = {}

    def event(self, kind: str, told: Mapping[str, Any]) -> Event:
        """Raises what the server says went wrong."""
        try:
            if kind == "plan":
                self._plan = Plan.parse({"question": self._question, "steps": told["steps"]})
                return PlanEvent(_text(told["planner"]), self._plan, _int(told["revision"]))
            if kind == "answer":
                _handle(told["image"])
                return AnswerEvent(self._answer(told["answer"]))
            if kind in _EVENTS:
                return load(_EVENTS[kind], told, self)
            message = one_line(self._scene.client._hidden(_text(told["error"]["message"])), _MOST_TOLD)
        except _MALFORMED as exc:
            why = f"{type(exc).__name__}: {one_line(str(exc), 200)}"
            raise ServerError(f"The server tells {kind!r:.40} in a form that is not known here: {why}.") from exc
        raise ServerError(message)

    def _answer(self, told: Any) -> Answer:
        answer = load(Answer, told, self)
        seconds = time.perf_counter() - self._start
        return replace(answer, plan=self._plan, seconds=seconds, image=self._scene.image)

    def received(self, told: Mapping[str, Any]) -> Region:
        """As `Reader.received`; the steps of an answer mean its regions."""
        region = self._scene._received(told, "fo1")
        self._known[_text(told["id"])] = region
        return region

    def called(self, region_id: Any) -> Region:
        """As `Reader.called`."""
        return self._known.get(region_id) or self._scene.told(region_id)


class _ForgottenError(InputError):
    """The server does not know the picture any more."""


def _is_box(value: Any) -> bool:
    return len(value) == 4 and all(number(corner) is not None for corner in value)


def _at_once(ask: Callable[[Given], Answered], each: Sequence[Given]) -> list[Answered]:
    """What the server answers to each, asked a few at a time, in order; the first failure in order is raised."""
    if len(each) < 2:
        return [ask(one) for one in each]
    from concurrent.futures import ThreadPoolExecutor

    contexts = [contextvars.copy_context() for _ in each]  # the time that is left is the caller's
    with ThreadPoolExecutor(min(len(each), _AT_ONCE)) as threads:
        return list(threads.map(lambda context, one: context.run(ask, one), contexts, each))


def _file(source: Any, image: LoadedImage) -> bytes:
    """The picture as a file: as it came, if it came as one."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, os.PathLike) or (isinstance(source, str) and not _ADDRESS.match(source)):
        return Path(source).read_bytes()
    file = io.BytesIO()
    image.pixels.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _object(text: str | bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError, TypeError: it is none, or longer or deeper than any that is meant.
    """
    found = bounded.parse(text, _REPLY_BYTES)
    if not isinstance(found, dict):
        raise TypeError("no JSON object")
    return found


def _parsed_events(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(type, data) of each server-sent event; comments are left out."""
    kind, data, size = "message", [], 0
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            kind = value
        elif field == "data":
            data.append(value)
            size += len(value)
            if size > _REPLY_BYTES:
                raise ValueError(f"an event is longer than {_REPLY_BYTES:,} characters")
        elif not line and size:
            yield kind, _object("".join(data))
            kind, data, size = "message", [], 0


def _seconds(response: httpx.Response) -> float:
    """How long to stay away, as the server says."""
    told = response.headers.get("retry-after", "")
    return float(told) if re.fullmatch("[0-9]{1,9}", told) else 1.0


def _failure(response: httpx.Response, hidden: Callable[[str], str]) -> FO1AgentError:
    """What an answer that is a failure means here; `hidden` takes out what its server was told in confidence."""
    message, code = f"The server answered with status {response.status_code}.", None
    with contextlib.suppress(*_MALFORMED):
        told = bounded.parse(response.content, _ERROR_BYTES)["error"]
        message, code = one_line(hidden(_text(told["message"])), _MOST_TOLD), told.get("code")
    status = response.status_code
    if status == 404 and code == "image":
        return _ForgottenError(message)
    if status in (400, 404, 413, 422):
        return InputError(message)
    if status == 401:
        another = "another one" if "authorization" in response.request.headers else "one"
        message += f" Pass {another} as token, at a shell as --token or in FO1AGENT_TOKEN."
    return ServerError(message, status)


# ---- what a server told: TypeError, or another of _MALFORMED, for what it should not have --------------------------


def _text(value: Any, may_lack: bool = False) -> Any:
    if isinstance(value, str) or (value is None and may_lack):
        return value
    raise TypeError(f"text was expected, got {type(value).__name__}")


def _finite(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise TypeError(f"a number was expected, got {type(value).__name__}")


def _int(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST:
        return value
    raise TypeError(f"a whole number was expected, got {type(value).__name__}")


def _probability(value: Any) -> float:
    if 0 <= (number := _finite(value)) <= 1:
        return number
    raise ValueError(f"a probability was expected, got {shown(value)}")


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError(f"true or false was expected, got {type(value).__name__}")


def _one_of(value: Any, *known: str) -> Any:
    if value in known:
        return value
    raise ValueError(f"{' or '.join(known)} was expected, got {shown(value)}")


def _handle(value: Any) -> str:
    if _HANDLE.fullmatch(_text(value)):
        return value
    raise ValueError(f"a picture's id was expected, got {shown(value)}")


def _check_sizes(value: Any) -> None:
    """Refuse JSON with a whole number that nothing has."""
    if isinstance(value, (dict, list)):
        for one in value.values() if isinstance(value, dict) else value:
            _check_sizes(one)
    elif isinstance(value, int):
        _int(int(value))


def _check_unique(regions: Sequence[Region]) -> None:
    if len({region.id for region in regions}) < len(regions):
        raise ValueError("a region is told twice")
