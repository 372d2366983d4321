"""The process of `fo1agent serve --ray`: it begins Ray or joins a cluster, watches the replicas, and drains them.

What the replicas are is not known here: that is `ray.application`.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fo1agent.errors import InputError, ToolFailed
from fo1agent.integrations.cluster import connected, ray_with
from fo1agent.integrations.listening import check_address, listening, url_of
from fo1agent.serve.settings import Settings

NAME = "fo1agent"
"""Of the application, at Ray Serve."""
REPLICAS = "Replicas"
"""Its deployment."""

CALLBACK, SPREAD = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", "fo1agent.serve.spread:middlewares"
"""The variable by which Ray's proxies learn what to do before the replicas, and its value."""

_LOOK_S = 1.0  # between two looks at what Ray has found of its replicas
_DRAIN_S = 1.0  # that a replica may take to say what it is at, and a proxy to pass on an answer
_SILENT_S = 10.0  # without a word of any, after which they are taken for lost


@dataclass(frozen=True)
class Scale:
    """How many replicas there are, and what each takes.

    Attributes:
        least: replicas that there always are.
        most: replicas that there may be when there is much to do.
        cpus: of a cluster's, that each takes; it also computes with so many threads.
        gpus: that each takes.
    """

    least: int = 1
    most: int = 1
    cpus: float = 1
    gpus: float = 0

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise InputError(f"Replicas are 1 or more, and no fewer at most than at least: {self.least}-{self.most}.")


def run(
    application: Callable[[], Any],
    settings: Settings,
    host: str,
    port: int,
    ready: Callable[[str], None],
    address: str,
    scale: Scale,
    tell: Callable[[str], None],
) -> None:
    """Serve an application of Ray Serve; the rest is as for `ray.serve`.

    Args:
        application: gives it, once there is a cluster.
    """
    check_address(host, settings.token, port)
    ray = ray_with("serve", "serve", "ray")
    with listening(host, port) as free:
        url, port = url_of(host, free), free.getsockname()[1]
    os.environ.setdefault(CALLBACK, SPREAD)  # which processes of a Ray begun here inherit
    with Signals() as signals, connected(ray, address) as begins:
        signals.take()  # Ray has taken them for itself
        check_room(ray.cluster_resources(), scale, begins, tell)
        before = ray.serve.status()  # what serves there already
        if NAME in before.applications:
            raise InputError(
                f"An application {NAME} is served on that cluster already. End it (`serve delete {NAME}`), or give it "
                "another version by `serve deploy`."
            )
        ray.serve.start(http_options={"host": host, "port": port})
        if before.proxies and not _listens(host, port):
            raise InputError(
                f"Ray Serve runs on that cluster already, and does not listen at {url}. Give its --host and --port, or "
                "end it (`serve shutdown`)."
            )
        try:
            ray.serve.run(application(), name=NAME)
        except RuntimeError as exc:
            raise ToolFailed(f"No replica could be started: {_why(ray, exc)}") from exc
        ready(url)
        signals.expect()
        watch = Watch(ray, NAME, tell)
        while not signals.wait(_LOOK_S):
            watch.look()
        drain(ray, NAME, settings.deadline_s + 5)  # longer than any of it takes
        if begins:
            return  # all of it ends
        if before.proxies:
            ray.serve.delete(NAME)
        else:
            ray.serve.shutdown()
        with contextlib.suppress(ValueError):  # it is lost
            ray.kill(ray.get_actor(f"{NAME}-pictures", NAME))


def check_room(there: Mapping[str, float], scale: Scale, begun: bool, tell: Callable[[str], None]) -> None:
    """Refuse replicas for which there is no room here, and that would be waited for in vain.

    Args:
        there: the CPUs and GPUs of the cluster.
        begun: whether it was begun here. To another some may yet be added, so there it is only told.

    Raises:
        InputError: as above.
    """
    for name, each in (("CPU", scale.cpus), ("GPU", scale.gpus)):
        room = int(there.get(name, 0))
        fits = int(room / each) if each else scale.least
        if fits >= scale.least:
            continue
        lacking = (
            f"Of {scale.least} replicas there is room for {fits}: each takes {each:g} {name}, and there are {room}"
        )
        if begun:
            raise InputError(f"{lacking}. Ask for no more, or serve on a cluster: --ray ADDRESS.")
        tell(f"{lacking}. The others wait until the cluster has more.")


def _listens(host: str, port: int) -> bool:
    """Whether anybody listens at an address."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        socket.create_connection((here, port), 5).close()
    except OSError:
        return False
    return True


def drain(ray: Any, app: str, seconds: float) -> None:
    """Let an application's replicas take on nothing new, and wait for so long until they have finished all else.

    A cluster that is ended by the same signal, as by a service manager that tells every process, is not waited for.
    """
    done, heard = threading.Event(), time.monotonic()

    def ask() -> None:
        nonlocal heard
        with contextlib.suppress(ray.exceptions.RayError, RuntimeError):  # nobody is there
            replicas = ray.serve.get_deployment_handle(REPLICAS, app)
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    # Every time anew, for others may have been started since.
                    told = replicas.broadcast("drain").results(timeout_s=_DRAIN_S, return_exceptions=True)
                    heard = time.monotonic()
                    if not any(isinstance(one, int) and one for one in told):
                        break
                done.wait(_DRAIN_S / 10)
        done.set()

    threading.Thread(target=ask, daemon=True).start()  # of a cluster that is lost, nothing comes back
    end = time.monotonic() + seconds
    while not done.wait(_DRAIN_S / 10) and time.monotonic() < min(end, heard + _SILENT_S):
        pass
    done.set()
    time.sleep(_DRAIN_S)  # in which the proxies pass the last answers on


class Watch:
    """Tells when replicas of an application are lost, and when all are there again.

    Args:
        tell: called with a line.
    """

    def __init__(self, ray: Any, app: str, tell: Callable[[str], None]) -> None:
        self._ray, self._app, self._tell = ray, app, tell
        self._there, self._lost = 0, False

    def look(self) -> None:
        """Look what there is now."""
        try:
            replicas = self._ray.serve.status().applications[self._app].deployments[REPLICAS]
        except (KeyError, self._ray.exceptions.RayError, TimeoutError):  # whoever knows is lost as well, or busy
            return
        there = replicas.replica_states.get("RUNNING", 0)
        lost = replicas.status == "UNHEALTHY"
        if lost and (there < self._there or not self._lost):
            self._tell(f"A replica was lost and is started again. Replicas that answer meanwhile: {there}.")
        elif self._lost and not lost:
            self._tell(f"No replica is missing any more. Replicas that answer: {there}.")
        self._there, self._lost = there, lost


class Signals:
    """SIGTERM and SIGINT within the block. They end the process, after what the block has to clean up, until one is
    `expect`ed: then of the first is only heard, and a second ends the block at once.
    """

    _KINDS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self._told = threading.Event()
        self._expected = False
        self._before: list[Any] = []

    def __enter__(self) -> Signals:
        self._before = [signal.getsignal(kind) for kind in self._KINDS]
        self.take()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: Any) -> bool:
        for number, before in zip(self._KINDS, self._before, strict=True):
            signal.signal(number, before)
        return kind is _Second

    def take(self) -> None:
        """Hear of them, if somebody else does meanwhile."""
        for kind in self._KINDS:
            signal.signal(kind, self._handle)

    def expect(self) -> None:
        """From now on, only hear of the first; see `wait`."""
        self._expected = True

    def wait(self, seconds: float) -> bool:
        """Wait for a signal for so long; whether there was one."""
        return self._told.wait(seconds)

    def _handle(self, number: int, frame: Any) -> None:
        if self._expected and not self._told.is_set():
            self._told.set()
            return
        for kind in self._KINDS:
            signal.signal(kind, signal.SIG_IGN)  # it takes a moment to clean up
        if self._expected:
            raise _Second
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


class _Second(BaseException):
    """A second signal."""


def _why(ray: Any, exc: RuntimeError) -> str:
    """Why an application could not be started: what its replicas failed with, without Ray's words around it."""
    try:
        told = ray.serve.status().applications[NAME].deployments[REPLICAS].message
    except (KeyError, ray.exceptions.RayError):
        told = ""
    return last_words(told or str(exc))


def last_words(traceback: str) -> str:
    """What a traceback ends with, in one line; of an error of ours its message alone."""
    lines = [line.strip() for line in traceback.splitlines() if line.strip()]
    ours = [line for line in lines if re.match(r"fo1agent\.errors\.\w+: ", line)]
    return ours[-1].partition(": ")[2] if ours else (lines or ["it is not known why."])[-1]
