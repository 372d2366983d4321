"""Questions that run at once and share the model: what they ask of it at the same time is computed in one pass.

Each runs in a thread of its own. One computes at a time, and while it waits for the model another does; the model is
asked when nobody else computes. A question pays for its own time and for the passes that it has a part in, not for
waiting for others, so that it ends as it does alone. Nothing is known here of plans and answers.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from fo1agent.errors import FO1AgentError, of_one
from fo1agent.runs.batching import Batched
from fo1agent.runs.budget import Budget, Meter
from fo1agent.scene import Model, Scene, batches

A = TypeVar("A")
T = TypeVar("T")

# A pass waits no longer for a question that computes or talks to a chat model.
_WAIT_S = 0.2


class Turns:
    """A lock, held by whoever computes and laid down by whoever waits for the model. May be taken again by its holder.

    The meters of those who wait stand still.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._own = threading.local()

    def __enter__(self) -> None:
        start = time.perf_counter()
        self._lock.acquire()
        self._own.depth = self._depth + 1
        self._waited(time.perf_counter() - start)

    def __exit__(self, *exc: object) -> None:
        self._own.depth = self._depth - 1
        self._lock.release()

    @property
    def _depth(self) -> int:
        return getattr(self._own, "depth", 0)

    def meter(self, budget: Budget) -> Meter:
        """The meter of the question that this thread begins."""
        self._own.meter = Meter(budget)
        return self._own.meter

    def wait(self, future: Future[T], seconds: Callable[[], float]) -> T:
        """What a future gives, while others compute.

        Args:
            future: of a pass.
            seconds: that the pass took, once the future is done.
        """
        start, depth = time.perf_counter(), self._depth
        for _ in range(depth):
            self._lock.release()
        try:
            return future.result()
        finally:
            for _ in range(depth):
                self._lock.acquire()
            self._waited(time.perf_counter() - start - seconds())

    def _waited(self, seconds: float) -> None:
        meter = getattr(self._own, "meter", None)
        if meter is not None:
            meter.wait(max(0.0, seconds))


class Sharing:
    """Models that questions share, as long as the context lasts.

    Args:
        workers: how many questions run at once.
    """

    def __init__(self, workers: int) -> None:
        self.turns = Turns()
        self._workers = workers
        self._running = 0
        self._guard = threading.Lock()
        self._batched: dict[int, Batched] = {}

    @contextmanager
    def lasting(self) -> Iterator[None]:
        """A context at whose end the models are free again."""
        try:
            yield
        finally:
            for one in self._batched.values():
                one.close()

    def model(self, model: Any) -> Any:
        """A model like this one, shared; what is no `Model`, or can do one thing at a time, is returned as it is."""
        if not isinstance(model, Model) or not hasattr(model.predictor, "recalled"):
            return model
        predictor: Any = model.predictor
        # Of a scene that was kept when another sharing ended; a run that was traced has wrapped it.
        predictor = getattr(predictor, "free", predictor)
        with self._guard:
            if id(predictor) not in self._batched:
                self._batched[id(predictor)] = Batched(
                    predictor,
                    most=self._workers,
                    wait_s=_WAIT_S,
                    running=lambda: self._running,
                    in_turns=False,
                    wait=self.turns.wait,
                )
            return replace(model, predictor=self._batched[id(predictor)])

    def source(self, source: Any) -> Any:
        """What a question is about, on the shared model where it is open already."""
        if not isinstance(source, Scene):
            return source
        shared = copy.copy(source)
        shared.model = self.model(source.model)
        return shared

    def each(self, work: Callable[[A], T], items: Sequence[A]) -> list[T]:
        """The work done of each item, so many at once as there are workers; in order."""

        def counted(item: A) -> T:
            with self._guard:
                self._running += 1
            try:
                return work(item)
            finally:
                with self._guard:
                    self._running -= 1
                    for one in self._batched.values():
                        one.look_again()

        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(counted, items))


def of_each(look: Callable[[Any], T], scenes: Sequence[Any]) -> list[T | FO1AgentError]:
    """What a look at each of several open pictures gives, or the error of ours that it ends with.

    Results are those of one after the other; what the looks ask of the model at the same time takes one pass.
    """
    sharing = Sharing(len(scenes) or 1)
    shared = len(scenes) > 1 and isinstance(scenes[0], Scene)

    def looked(scene: Any) -> T | FO1AgentError:
        try:
            if not shared:
                return look(scene)
            with sharing.turns:
                return look(sharing.source(scene))
        except FO1AgentError as exc:
            return exc

    if not shared:
        return [looked(scene) for scene in scenes]
    with sharing.lasting():
        return sharing.each(looked, scenes)


def looks(
    items: Iterable[A], opened: Callable[[A], Any], look: Callable[[Any], T]
) -> Iterator[tuple[A, Any, T | FO1AgentError]]:
    """A look at each of many pictures, batch by batch (`batches`), in order.

    Args:
        items: what to open.
        opened: opens one.
        look: at an open picture.

    Yields:
        The item; its `Scene`, or None where it cannot be opened; and what the look gives, or the error of ours with
        which either ends.

    Raises:
        EngineError: as `of_one`.
    """
    for batch in batches(items, opened):
        found = iter(of_each(look, [scene for _, scene in batch if not isinstance(scene, FO1AgentError)]))
        for item, scene in batch:
            if isinstance(scene, FO1AgentError):
                yield item, None, of_one(scene)
            else:
                got = next(found)
                yield item, scene, of_one(got) if isinstance(got, FO1AgentError) else got
