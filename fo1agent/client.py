"""A server's model, used as if it were here: `connect(url)` opens pictures and asks questions as a `Model` does.

    server = connect("http://127.0.0.1:8080")
    scene = server.open("street.jpg")
    scene.count("person", within=scene.ground("bus")[0])

The picture is read here, by the same intake as ever, and sent once; a server that has forgotten it is sent it again.
Results are of the same types as a `Scene` gives. Neither torch nor a model is needed.
"""

from __future__ import annotations

import io
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import httpx
import numpy as np

from fo1agent.agent.answer import Answer
from fo1agent.agent.events import AnswerEvent, Event, Partial, PlanEvent, StepEnd, StepStart
from fo1agent.agent.plan import Plan
from fo1agent.agent.trace import StepRecord
from fo1agent.errors import FO1AgentError, InputError, ServerError, ToolFailed
from fo1agent.image import ImageLimits, ImageSource, LoadedImage, load_image
from fo1agent.ocr import TextLine, UntrustedText
from fo1agent.pictured import Pictured, Target, id_within, is_region_id
from fo1agent.scene import CountResult, DescribeResult, InspectResult, ReadResult, RelateResult
from fo1agent.types import Region, Regions, check_boxes, read_box

if TYPE_CHECKING:
    from PIL.Image import Image

_ADDRESS = re.compile(r"(data:|[A-Za-z][A-Za-z0-9+.-]+://)")

OnStep = Callable[[int, dict[str, Any]], None]


def connect(url: str, token: str | None = None, *, timeout_s: float = 120.0, patience_s: float = 30.0) -> Client:
    """Use the model of a `fo1agent serve`.

    Args:
        url: the server's address, `http://127.0.0.1:8080`.
        token: its bearer token, if it wants one.
        timeout_s: seconds to wait for an answer.
        patience_s: seconds for which a request is tried again while the server is too busy.

    Raises:
        InputError: that is no address.
        ServerError: nothing answers there, or something else than fo1agent.
    """
    return Client(url, token, timeout_s=timeout_s, patience_s=patience_s)


class Client:
    """A server, by `connect`. Close it, or use it in a `with`. Safe to share between threads.

    Attributes:
        url: the server's address.
        name: what its model is called.
    """

    def __init__(
        self, url: str, token: str | None = None, *, timeout_s: float = 120.0, patience_s: float = 30.0
    ) -> None:
        address = url if "://" in url else f"http://{url}"
        if not address.startswith(("http://", "https://")):
            raise InputError(f"A server's address begins with http:// or https://, got {url!r:.80}.")
        self.url = address.rstrip("/")
        self._patience_s = patience_s
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s)
        except (httpx.InvalidURL, ValueError) as exc:
            raise InputError(f"{url!r:.80} is no address of a server: {exc}.") from exc
        health = self._send("GET", "/healthz", unready=True)
        if health.get("status") not in ("ok", "draining"):
            raise ServerError(f"What answers at {self.url} is no fo1agent server.")
        self.name = str(health["model"])

    def __repr__(self) -> str:
        return f"<Client {self.url}, {self.name}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def open(self, source: ImageSource, boxes: Any = None, limits: ImageLimits | None = None) -> RemoteScene:
        """Open a picture at the server; arguments as for `Model.open`. The picture is read here.

        Raises:
            ImageError: the picture cannot be read or breaks a limit, here or there.
            BoxError: a box is malformed or lies outside the picture.
            ServerError: the server does not answer as it should.
        """
        if hasattr(source, "read") and not isinstance(source, (str, bytes, os.PathLike)):
            source = source.read()
        image = load_image(source, limits)
        given = None if boxes is None else boxes.boxes if isinstance(boxes, Regions) else check_boxes(boxes)
        return RemoteScene(self, image, _file(source, image), given)

    def ask(self, source: Any, question: str, on_step: OnStep | None = None, *, before: Sequence[str] = ()) -> Answer:
        """Answer a question about a picture, as `Agent.ask` does.

        Args:
            source: a scene that `open` gave, or anything that it takes.
            question: one question in English, or several.
            on_step: called as (number from 1, the step as `Answer.to_dict` gives it) when a step has finished.
            before: earlier questions about the picture that this one may go back to, oldest first.
        """
        for event in self.stream(source, question, before=before):
            if isinstance(event, StepEnd) and on_step is not None:
                on_step(event.number, event.record.to_dict())
            if isinstance(event, AnswerEvent):
                return event.answer
        raise ServerError("The server ended the stream without an answer.")

    def stream(self, source: Any, question: str, *, before: Sequence[str] = ()) -> Iterator[Event]:
        """Answer a question and tell each event as it happens, as `Agent.stream` does; the answer comes last."""
        scene = source if isinstance(source, RemoteScene) else self.open(source)
        return scene.stream(question, before=before)

    # ---- HTTP ----------------------------------------------------------------------------------------------------

    def _send(self, method: str, path: str, *, unready: bool = False, **request: Any) -> Any:
        """The JSON of an answer, for which a busy server is asked again.

        Args:
            unready: 503 is an answer as well.
        """
        until = time.monotonic() + self._patience_s
        while True:
            try:
                response = self._http.request(method, path, **request)
            except httpx.HTTPError as exc:
                raise self._unreachable(exc) from exc
            if response.status_code not in (429, 503) or unready:
                break
            wait = _seconds(response)
            if time.monotonic() + wait > until:
                break
            time.sleep(wait)
        if response.is_success or (unready and response.status_code == 503):
            return self._parsed(response.content)
        raise _failure(response)

    def _events(self, body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The events (type, data) that answer a question."""
        until = time.monotonic() + self._patience_s
        try:
            while True:
                with self._http.stream("POST", "/v1/ask", json=body) as response:
                    if response.is_success:
                        yield from _parsed_events(response.iter_lines())
                        return
                    response.read()
                wait = _seconds(response)
                if response.status_code not in (429, 503) or time.monotonic() + wait > until:
                    raise _failure(response)
                time.sleep(wait)
        except httpx.HTTPError as exc:
            raise self._unreachable(exc) from exc

    def _parsed(self, content: bytes) -> Any:
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ServerError(f"What answers at {self.url} is no fo1agent server.")
        return found

    def _unreachable(self, exc: httpx.HTTPError) -> ServerError:
        why = str(exc) or type(exc).__name__
        return ServerError(f"The server at {self.url} does not answer: {why}. Is `fo1agent serve` running there?")


class RemoteScene(Pictured):
    """A picture that is open at a server; its methods are those of a `Scene`, and give what those give.

    Attributes:
        client: the server.
        handle: what the server knows it by, and no other picture.
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
        """Every proposal, in the model's order, as `Scene.regions`."""
        return self._regions

    @property
    def thresholds(self) -> Mapping[str, float]:
        """From which probability on a region counts as found, by purpose: `ground`, `count`, `exists`."""
        return self._call("look")["thresholds"]

    def named(self) -> Regions:
        """What the model can name and is sure of, each thing once, best first."""
        sure = [region for region, kept in zip(self._regions, self._sure, strict=True) if kept]
        return Regions.from_list(sorted(sure, key=lambda region: -region.score))

    def ground(
        self,
        phrase: str | None = None,
        *,
        like: Target = None,
        within: Target = None,
        threshold: float | None = None,
        limit: int | None = None,
    ) -> Regions:
        """Find what a phrase names, or more of the same kind as a region; see `Scene.ground`."""
        where = {"like": self._target(like), "within": self._target(within)}
        found = self._call("ground", phrase=phrase, threshold=threshold, limit=limit, **where)
        return self._found(found)

    def ground_many(
        self,
        phrases: Sequence[str],
        *,
        within: Target = None,
        threshold: float | None = None,
        limit: int | None = None,
    ) -> dict[str, Regions]:
        """Find the regions of several phrases; see `Scene.ground_many`."""
        if isinstance(phrases, str):
            raise InputError(f"ground_many needs a list of phrases, got the string {phrases!r}. Pass [{phrases!r}].")
        return {phrase: self.ground(phrase, within=within, threshold=threshold, limit=limit) for phrase in phrases}

    def count(self, phrase: str, *, within: Target = None, threshold: float | None = None) -> CountResult:
        """Count the regions that a phrase names; see `Scene.count`."""
        counted = self._call("count", phrase=phrase, within=self._target(within), threshold=threshold)
        value, found = counted["value"], self._found(counted)
        return CountResult(value, phrase, found, counted.get("at_least", value), counted.get("at_most", value))

    def relate(self, a: Any, relation: str, b: Any = None) -> RelateResult:
        """Which regions of `a` stand in a relation to any of `b`, each a phrase or one region; see `Scene.relate`."""
        named = {side: one if isinstance(one, str) else self._target(one) for side, one in (("a", a), ("b", b))}
        related = self._call("relate", relation=relation, **named)
        pairs = tuple((self._full(one), self._full(other)) for one, other in related["pairs"])
        found = self._found(related)
        return RelateResult(relation, found, pairs, related["note"], found.not_judged)

    def read(self, target: Target = None, *, source: Literal["ocr", "model"] = "ocr") -> ReadResult:
        """Read the text in the picture or a part of it; see `Scene.read`."""
        told = self._call("read", region=self._target(target), source=source)
        lines, regions = [], []
        for line in told["lines"]:
            text, box = UntrustedText(line["text"]), self._told(line["region"]).box
            lines.append(TextLine(text, box, line["score"]))
            regions.append(Region(self._full(line["region"]), box, line["score"], text, "ocr"))
        if source == "model":
            regions = [self._region_of(target)]
        return ReadResult(UntrustedText(told["text"]), tuple(lines), Regions.from_list(regions), source)

    def describe(self, target: Target = None) -> DescribeResult:
        """Say what the picture, or a part of it, shows; see `Scene.describe`."""
        told = self._call("describe", region=self._target(target))
        text = UntrustedText(told["text"])
        return DescribeResult(text, told["label"], told["score"], self._found(told), told["source"])

    def inspect(self, target: Target, question: str) -> InspectResult:
        """Ask the model a question about a region, or with target None about the picture; see `Scene.inspect`."""
        told = self._call("inspect", question=question, region=self._target(target))
        return InspectResult(UntrustedText(told["text"]), UntrustedText(""), self._found(told))

    def zoom(self, target: Target, margin: float = 0.1) -> RemoteScene:
        """Open a part of the picture at the server as a scene of its own; see `Scene.zoom`. It is cut out here."""
        image, offset_xy = self._part(target, margin)
        part = RemoteScene(self.client, image, _file(None, image), None)
        part.parent, part.offset_xy = self, offset_xy
        return part

    def annotate(
        self, evidence: Iterable[Region] | None = None, candidates: Iterable[Region] = (), size: int | None = None
    ) -> Image:
        """Draw regions on a copy of the picture; see `Scene.annotate`. It is drawn here."""
        from fo1agent.drawing import draw

        return draw(self.image, self.named() if evidence is None else evidence, candidates, size)

    def ask(self, question: str, on_step: OnStep | None = None, *, before: Sequence[str] = ()) -> Answer:
        """Answer a question about this picture; see `Client.ask`."""
        return self.client.ask(self, question, on_step, before=before)

    def stream(self, question: str, *, before: Sequence[str] = ()) -> Iterator[Event]:
        """Answer a question about this picture, event by event; see `Client.stream`."""
        body = {"question": question, "before": list(before), "stream": True}
        try:
            events = self.client._events({**body, "image": self.handle})
            kind, told = next(events)
        except _ForgottenError:
            self._send_picture()
            events = self.client._events({**body, "image": self.handle})
            kind, told = next(events)
        heard = _Heard(self, question)
        yield heard.event(kind, told)
        for kind, told in events:
            yield heard.event(kind, told)

    # ---- at the server -------------------------------------------------------------------------------------------

    def _send_picture(self) -> None:
        fields = {} if self._given is None else {"boxes": json.dumps(self._given.tolist())}
        told = self.client._send("POST", "/v1/images", files={"file": ("picture", self._file)}, data=fields)
        self.handle, self.note = told["key"], told["note"]
        source = "given" if self._given is not None else "fo1"
        self._regions = Regions.from_list(
            [
                Region(self._full(one["id"]), read_box(one["box"]), one["score"], one["label"], source)
                for one in told["regions"]
            ],
            note=self.note,
        )
        self._sure = [bool(one["sure"]) for one in told["regions"]]

    def _call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """A tool's result.

        Raises:
            InputError: the arguments do not fit.
            ToolFailed: the tool has no result.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        path = f"/v1/tools/{tool}"
        try:
            told = self.client._send("POST", path, json={**given, "image": self.handle})
        except _ForgottenError:
            self._send_picture()
            told = self.client._send("POST", path, json={**given, "image": self.handle})
        if not told["ok"]:
            raise ToolFailed(told["error"])
        return told["result"]

    def _target(self, target: Target) -> str | None:
        """A target as the id by which tools take it."""
        if target is None:
            return None
        target = id_within(target) or target
        if isinstance(target, str) and is_region_id(target):
            return target
        if isinstance(target, Region):
            if target.id.partition("/")[0] != self.id:
                raise InputError(f"{target.id} is a region of another picture; this one is {self.id}.")
            return target.name
        box = check_boxes([read_box(target)])[0]
        return "b" + "_".join(str(max(0, round(v))) for v in box.tolist())

    def _told(self, region_id: str) -> Region:
        """The region that the server means by an id, `r7` or the box form; the box is taken as it is."""
        name = region_id.rpartition("/")[2]
        box = _spelled(name)
        return self.region(name) if box is None else Region(self._full(name), box, 1.0)

    def _full(self, name: str) -> str:
        return f"{self.id}/{name}"

    def _found(self, told: Mapping[str, Any]) -> Regions:
        """The regions of a tool's result."""
        source = self._regions.source
        regions = [
            Region(self._full(one["id"]), read_box(one["box"]), one["score"], one["label"], source)
            for one in told["regions"]
        ]
        not_judged = tuple(told.get("not_judged", ()))
        found = Regions.from_list(regions, told.get("none_score"), told.get("note", ""), not_judged)
        return replace(found, judged=told.get("judged", ""))


class _Heard:
    """Turns what a stream tells into events."""

    def __init__(self, scene: RemoteScene, question: str) -> None:
        self._scene, self._question = scene, question
        self._start = time.perf_counter()
        self._plan: Plan | None = None

    def event(self, kind: str, told: Mapping[str, Any]) -> Event:
        """Raises what the server says went wrong."""
        try:
            match kind:
                case "plan":
                    self._plan = Plan.model_validate({"question": self._question, "steps": told["steps"]})
                    return PlanEvent(told["planner"], self._plan, told["revision"])
                case "step_start":
                    return StepStart(told["number"], told["id"], told["tool"], told["args"])
                case "step_end":
                    return StepEnd(told["number"], self._record(told["step"], {}))
                case "partial":
                    return Partial(told["text"])
                case "answer":
                    return AnswerEvent(self._answer(told["answer"]))
        except (KeyError, TypeError, ValueError) as exc:
            raise ServerError(f"The server tells {kind!r} in a form that is not known here: {exc}.") from exc
        message = told.get("error", {}).get("message", f"The server tells of {kind!r:.40}, which is not known here.")
        raise ServerError(message)

    def _answer(self, told: Mapping[str, Any]) -> Answer:
        named = self._scene._full
        known = {  # by the server's ids, which are longer where it has two pictures of one short id
            one["id"]: Region(
                named(one["id"].rpartition("/")[2]), read_box(one["box"]), one["score"], one["label"], "fo1"
            )
            for one in told["regions"]
        }
        evidence = set(told["evidence"])
        return Answer(
            question=told["question"],
            text=told["text"],
            value=told["value"],
            abstained=told["abstained"],
            reason=told["reason"],
            evidence=Regions.from_list([known[one] for one in told["evidence"]]),
            candidates=Regions.from_list([region for one, region in known.items() if one not in evidence]),
            plan=self._plan,
            trace=tuple(self._record(step, known) for step in told["steps"]),
            seconds=time.perf_counter() - self._start,
            image=self._scene.image,
            planner=told.get("planner", "rules"),
            notes=tuple(told.get("notes", ())),
            unsupported=tuple(told.get("unsupported", ())),
            not_judged=tuple(told.get("not_judged", ())),
            bounds=told.get("bounds"),
        )

    def _record(self, told: Mapping[str, Any], known: Mapping[str, Region]) -> StepRecord:
        regions = [known.get(one) or self._scene._told(one) for one in told["regions"]]
        return StepRecord(
            id=told["id"],
            tool=told["tool"],
            args=told["args"],
            regions=Regions.from_list(regions),
            value=told.get("value"),
            text=told["text"],
            seconds=told["seconds"],
            error=told.get("error", ""),
            not_judged=tuple(told.get("not_judged", ())),
        )


class _ForgottenError(InputError):
    """The server does not know the picture any more."""


def _file(source: Any, image: LoadedImage) -> bytes:
    """The picture as a file: as it came, if it came as one."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, os.PathLike) or (isinstance(source, str) and not _ADDRESS.match(source)):
        return Path(source).read_bytes()
    file = io.BytesIO()
    image.pixels.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _parsed_events(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(type, data) of each server-sent event; comments are left out."""
    kind, data = "message", ""
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            kind = value
        elif field == "data":
            data += value
        elif not line and data:
            yield kind, json.loads(data)
            kind, data = "message", ""


def _seconds(response: httpx.Response) -> float:
    """How long to stay away, as the server says."""
    told = response.headers.get("retry-after", "")
    return float(told) if told.isdigit() else 1.0


def _failure(response: httpx.Response) -> FO1AgentError:
    """What an answer that is a failure means here."""
    try:
        told = response.json()["error"]
        message, code = str(told["message"]), told.get("code")
    except (ValueError, KeyError, TypeError, AttributeError):
        message, code = f"The server answered with status {response.status_code}.", None
    status = response.status_code
    if status == 404 and code == "image":
        return _ForgottenError(message)
    if status in (400, 404, 413, 422):
        return InputError(message)
    return ServerError(message, status)


def _spelled(name: str) -> tuple[float, float, float, float] | None:
    """The box that an id such as b10_20_110_220 spells; None for another id."""
    parts = name[1:].split("_")
    if not name.startswith("b") or len(parts) != 4 or not all(part.isdigit() for part in parts):
        return None
    return read_box(parts)
