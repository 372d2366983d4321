"""One thread owns the model; passes that are asked for at the same time are made together.

`Batched` is a predictor like any other. What threads ask of it waits; the model's thread makes of all that waits

- one encoding for all who opened the same picture;
- one pass for all phrases, whatever pictures they are asked about;
- one decoding for all questions, likewise.

In a server, passes that take long, such as encodings and decodings, have their turns, one of a kind after one of
another; between two of them all that is short is done. So nothing waits for all of what came before it: what is short
for one long pass, what is long for one of each other kind and those of its own. Where only the whole counts
(`in_turns=False`), what others build on goes first, and words are written last, for as many as possible. Different
pictures are encoded one after the other: on a CPU the nano's tower takes 1.2 to 1.5 times as long for each of four that
are passed through it together.

Results are those of asking one after the other. What was computed before is answered at once, without waiting. Nobody
waits for a thread that has ended: what is asked after `close` is computed by whoever asks, and what ends the thread
otherwise is told to all who wait and to all who ask later.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from fo1agent import exchange
from fo1agent.errors import AgentError, EngineError
from fo1agent.pictures.image import LoadedImage
from fo1agent.regions.regions import Regions, shown
from fo1agent.scene import Predictor

T = TypeVar("T")


class ManyPredictor(Predictor, Protocol):
    """A predictor that can do several things in one pass; `fo1agent.model.predictor.Predictor` is one.

    `recalled` gives what `match` would without a pass, or None if it needs one. `match_many` and `generate_many` give
    what `match` and `generate` would for each, in their order.
    """

    def recalled(self, encoding: Any, phrases: Sequence[str]) -> np.ndarray | None: ...
    def match_many(self, encodings: Sequence[Any], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]: ...
    def generate_many(self, about: Any, texts: Sequence[str], max_new_tokens: int = 256) -> list[str]: ...


@dataclass(eq=False)
class _Job:
    """Something to be computed. Jobs of one kind and group are computed in one pass, those of one key once.

    Attributes:
        seconds: that its pass took, once it is done.
        end: until when whoever asks waits for servers (`exchange.until`), by `time.monotonic`.
    """

    kind: str
    group: Hashable
    key: Hashable
    asked: Any
    future: Future[Any] = field(default_factory=Future)
    seconds: float = 0.0
    end: float = field(default_factory=lambda: time.monotonic() + exchange.left())


OnPass = Callable[[str, int, int], None]
"""Called as (kind of pass, jobs in it, different things computed)."""


class Batched:
    """A predictor whose passes are put together. Safe to share between threads; `close` ends its thread.

    Args:
        inner: the model's. Only this thread runs it until `close`.
        most: jobs in one pass.
        wait_s: most seconds that a job waits for others.
        running: how many requests run; when as many jobs are there, no other is waited for.
        on_pass: told of every pass.
        in_turns: whether kinds of long passes take turns; else what others build on goes first.
        check: called before anything is asked for; may raise.
        wait: gives the result of a future when it is there, and may raise before. It is told the seconds of the pass
            by a function, to be called then.
    """

    def __init__(
        self,
        inner: ManyPredictor,
        *,
        most: int = 32,
        wait_s: float = 0.002,
        running: Callable[[], int] = lambda: sys.maxsize,
        on_pass: OnPass = lambda kind, jobs, different: None,
        in_turns: bool = True,
        check: Callable[[], None] = lambda: None,
        wait: Callable[[Future[Any], Callable[[], float]], Any] = lambda future, seconds: future.result(),
    ) -> None:
        self._inner = inner
        self._most, self._wait_s, self._running, self._on_pass = most, wait_s, running, on_pass
        self._in_turns, self._check, self._wait = in_turns, check, wait
        self._jobs: queue.SimpleQueue[Sequence[_Job] | None] = queue.SimpleQueue()
        self._guard = threading.Lock()  # nothing is put in line behind the last
        self._closed = False
        self._ended_by: BaseException | None = None
        self._computed: Sequence[_Job] = ()
        self._thread = threading.Thread(target=self._work, name="fo1agent-model", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, after what waits. From then on this is as good as the model that it was made of."""
        with self._guard:
            self._closed = True
            self._jobs.put(None)
        self._thread.join()

    @property
    def free(self) -> ManyPredictor:
        """The model behind it once it is closed; itself until then."""
        return self._inner if self._closed else self

    def look_again(self) -> None:
        """Look again at how many run: one of those that were waited for has ended."""
        self._jobs.put(())

    # ---- what a scene asks of it ---------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def fingerprint(self) -> str:
        return self._inner.fingerprint

    @property
    def vocabulary(self) -> tuple[str, ...] | None:
        return self._inner.vocabulary

    @property
    def taught(self) -> Collection[str]:
        return self._inner.taught

    @property
    def max_regions(self) -> int:
        return self._inner.max_regions

    @property
    def thresholds(self) -> Mapping[str, float]:
        return self._inner.thresholds

    def __getattr__(self, name: str) -> Any:
        if name not in _SOMETIMES:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        inner = getattr(self._inner, name)
        own = {"ask": self._find, "beyond": self._ask_beyond, "vectors": self._vectors, "alike": self._alike}
        return own.get(name, inner)

    def _vectors(self, encoding: Any, index: int) -> Any:
        inner: Any = self._inner
        return self._compared(encoding, lambda: inner.vectors(encoding, index))

    def _alike(self, encoding: Any, likes: Any, unlikes: Any = ()) -> Any:
        inner: Any = self._inner
        return self._compared(encoding, lambda: inner.alike(encoding, likes, unlikes))

    def _compared(self, encoding: Any, work: Callable[[], T]) -> T:
        """What needs a pass for the model's names alone, and else reads what is known."""
        if hasattr(self._inner, "beyond"):
            return self.alone(work)
        if self._inner.vocabulary is not None:
            self.match(encoding, self._inner.vocabulary)
        return work()

    def _find(self, encoding: Any, phrases: Sequence[str], naming: bool = False) -> None:
        self._ask(_Job("find", id(encoding), (tuple(phrases), naming), (encoding, phrases, naming)))

    def _ask_beyond(self, encoding: Any, phrases: Sequence[str]) -> Any:
        return self._ask(_Job("beyond", id(encoding), tuple(phrases), (encoding, phrases)))

    def encode(self, image: LoadedImage, proposals: Regions | None = None) -> Any:
        given = None if proposals is None else (proposals.boxes.tobytes(), proposals.scores.tobytes())
        key = (image.sha256, given)
        return self._ask(_Job("encode", key, key, (image, proposals)))

    def with_boxes(self, encoding: Any, boxes: np.ndarray) -> Any:
        boxes = np.asarray(boxes, dtype=np.float64)
        return self._ask(_Job("boxes", id(encoding), boxes.tobytes(), (encoding, boxes)))

    def match(self, encoding: Any, phrases: Sequence[str]) -> np.ndarray:
        return self.match_many([encoding], [phrases])[0]

    def recalled(self, encoding: Any, phrases: Sequence[str]) -> np.ndarray | None:
        return self._inner.recalled(encoding, phrases)

    def match_many(self, encodings: Sequence[Any], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        asked = list(zip(encodings, map(tuple, phrases), strict=True))
        known = [self._inner.recalled(*pair) for pair in asked]
        new = [k for k, rows in enumerate(known) if rows is None]
        jobs = [_Job("match", None, (id(asked[k][0]), asked[k][1]), asked[k]) for k in new]
        found = dict(zip(new, self._ask_all(jobs), strict=True))
        return [found[k] if rows is None else rows for k, rows in enumerate(known)]

    def labels(self, encoding: Any) -> tuple[list[str | None], np.ndarray]:
        if hasattr(self._inner, "beyond"):  # not every finder is asked for names
            return self.alone(lambda: self._inner.labels(encoding))
        if self._inner.vocabulary is not None:
            self.match(encoding, self._inner.vocabulary)  # all that the next line needs a pass for
        return self._inner.labels(encoding)

    def similar(self, encoding: Any, index: int) -> np.ndarray:
        if self._inner.vocabulary is not None and not hasattr(self._inner, "beyond"):
            self.match(encoding, self._inner.vocabulary)
            return self._inner.similar(encoding, index)
        return self._ask(_Job("similar", None, (id(encoding), index), (encoding, index)))

    def generate(self, about: Any, text: str, max_new_tokens: int = 256) -> str:
        return self.generate_many([about], [text], max_new_tokens)[0]

    def generate_many(self, about: Any, texts: Sequence[str], max_new_tokens: int = 256) -> list[str]:
        abouts = about if isinstance(about, Sequence) else [about] * len(texts)
        jobs = [
            _Job("generate", max_new_tokens, (_of(one), text), (one, text, max_new_tokens))
            for one, text in zip(abouts, texts, strict=True)
        ]
        return self._ask_all(jobs)

    def alone(self, work: Callable[[], T]) -> T:
        """Do something else with the model, in its turn and by itself."""
        return self._ask(_Job("alone", object(), None, work))

    def _ask(self, job: _Job) -> Any:
        return self._ask_all([job])[0]

    def _ask_all(self, jobs: Sequence[_Job]) -> list[Any]:
        self._check()
        if not jobs:
            return []
        with self._guard:
            waits = not self._closed
            if waits and self._ended_by is not None:
                raise _ended(self._ended_by)
            if waits:
                self._jobs.put(jobs)
        if not waits:
            self._thread.join()
            return list(_PASSES[jobs[0].kind](self._inner, [job.asked for job in jobs]))
        return [self._wait(job.future, lambda job=job: job.seconds) for job in jobs]

    # ---- the model's thread --------------------------------------------------------------------------------------

    def _work(self) -> None:
        waiting: dict[str, deque[_Job]] = {kind: deque() for kind in _PASSES}
        try:
            self._compute(waiting)
        except BaseException as exc:  # it would leave all who wait waiting for ever
            with self._guard:
                self._ended_by = exc
                while not self._jobs.empty():
                    for job in self._jobs.get_nowait() or ():
                        waiting[job.kind].append(job)
            for jobs in (self._computed, *waiting.values()):
                for job in jobs:
                    with suppress(InvalidStateError):  # it is done, or nobody waits for it any more
                        job.future.set_exception(_ended(exc))

    def _compute(self, waiting: Mapping[str, deque[_Job]]) -> None:
        """Compute what is asked for, until the last."""
        turns = deque(kind for kind in _PASSES if kind not in _SHORT)
        open_ = True
        while open_ or any(waiting.values()):
            open_ = self._take(waiting, open_)
            for kind in _SHORT if self._in_turns else ():
                while waiting[kind]:
                    self._pass(kind, self._together(waiting[kind]))
            kind = next((kind for kind in (turns if self._in_turns else _PASSES) if waiting[kind]), None)
            if kind is not None:
                self._pass(kind, self._together(waiting[kind]))
                if self._in_turns:
                    turns.remove(kind)
                    turns.append(kind)

    def _take(self, waiting: Mapping[str, deque[_Job]], open_: bool) -> bool:
        """Take what was asked for since, and wait if there is nothing at all to do; whether more may come."""
        jobs, until = sum(map(len, waiting.values())), time.monotonic() + self._wait_s
        idle = not jobs or not self._in_turns
        while open_:
            try:
                if not jobs:
                    asked = self._jobs.get()
                    until = time.monotonic() + self._wait_s
                elif idle and jobs < min(self._most, self._running()) and (left := until - time.monotonic()) > 0:
                    asked = self._jobs.get(timeout=left)  # others will have been asked at the same time
                else:
                    asked = self._jobs.get_nowait()
            except queue.Empty:
                break
            if asked is None:
                return False
            for job in asked:
                waiting[job.kind].append(job)
            jobs += len(asked)
        return open_

    def _together(self, waiting: deque[_Job]) -> list[_Job]:
        """Take the first that waits, and what can be computed in the same pass."""
        jobs = [job for job in waiting if job.group == waiting[0].group][: self._most]
        self._computed = jobs
        for job in jobs:
            waiting.remove(job)
        return [job for job in jobs if job.future.set_running_or_notify_cancel()]

    def _pass(self, kind: str, jobs: Sequence[_Job]) -> None:
        different = {job.key: job.asked for job in jobs}
        if not different:
            return  # nobody waits for any of it any more
        self._on_pass(kind, len(jobs), len(different))
        start = time.monotonic()
        try:
            with exchange.until(max(job.end for job in jobs) - start):
                results = dict(zip(different, _PASSES[kind](self._inner, list(different.values())), strict=True))
        except Exception as exc:
            away = isinstance(exc, EngineError) and exc.fault == "away"  # for each of them
            if len(different) > 1 and not away:
                # One that cannot be computed must not spoil the others.
                for key in different:
                    self._pass(kind, [job for job in jobs if job.key == key])
                return
            for job in jobs:
                job.future.set_exception(exc)
            return
        seconds = time.monotonic() - start
        for job in jobs:
            job.seconds = seconds
            job.future.set_result(results[job.key])


def _ended(by: BaseException) -> AgentError:
    error = AgentError(f"The model's thread has ended by {shown(by)}, and computes nothing more. Load the model again.")
    error.__cause__ = by
    return error


def _of(about: Any) -> Hashable:
    """What a question is about, as a key."""
    return tuple(map(id, about)) if isinstance(about, Sequence) else id(about)


def _match(model: ManyPredictor, asked: list[Any]) -> list[np.ndarray]:
    if len(asked) == 1:
        return [model.match(*asked[0])]
    return model.match_many([encoding for encoding, _ in asked], [phrases for _, phrases in asked])


def _similar(model: Any, asked: list[Any]) -> list[np.ndarray]:
    if len(asked) == 1 or not hasattr(model, "similar_many"):
        return [model.similar(*one) for one in asked]
    return model.similar_many([encoding for encoding, _ in asked], [index for _, index in asked])


def _generate(model: ManyPredictor, asked: list[Any]) -> list[str]:
    if len(asked) == 1:
        return [model.generate(*asked[0])]
    return model.generate_many([about for about, _, _ in asked], [text for _, text, _ in asked], asked[0][2])


_PASSES: dict[str, Callable[[Any, list[Any]], Sequence[Any]]] = {
    "encode": lambda model, asked: [model.encode(*one) for one in asked],
    "boxes": lambda model, asked: [model.with_boxes(*one) for one in asked],
    "find": lambda model, asked: [model.ask(*one) for one in asked],
    "match": _match,
    "beyond": lambda model, asked: [model.beyond(*one) for one in asked],
    "similar": _similar,
    "generate": _generate,
    "alone": lambda model, asked: [work() for work in asked],
}
"""Kind of job → what makes one pass of different things asked. What others build on comes first."""

_SOMETIMES = (
    *("any_words", "own_names", "denies", "speakers", "unasked", "ask", "beyond"),
    *("compares", "vectors", "alike"),
)
"""What a predictor has only where finders are asked as well, or where it compares regions of several pictures."""

_SHORT = ("match",)
"""The kinds whose passes take a small part of what the others take."""
