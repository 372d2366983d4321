"""The server on Ray Serve: replicas behind one address, each with a model, that find each other's pictures.

`app` is for Ray's own means, `serve run fo1agent.serve.ray:app` and the files of `serve deploy` and KubeRay; `serve` is
`fo1agent serve --ray`. What a replica answers is `app.create_app`; what Ray's proxies do before that is `spread`.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from fo1agent.errors import InputError, ToolFailed
from fo1agent.integrations.cluster import LOCAL, begun, ray_with
from fo1agent.integrations.listening import LOOPBACK, check_address, listening, url_of
from fo1agent.loading import load
from fo1agent.scene import Model
from fo1agent.serve import memory
from fo1agent.serve.app import create_app
from fo1agent.serve.settings import Settings
from fo1agent.serve.shelf import Sent

NAME = "fo1agent"
"""Of the application, at Ray Serve."""
REPLICAS = "Replicas"
"""Its deployment."""

CALLBACK, SPREAD = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", "fo1agent.serve.spread:middlewares"
"""The variable by which Ray's proxies learn what to do before the replicas, and its value."""

_ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
_SHELF_S = 10.0  # that a replica waits for the pictures of the others
_HEALTH_S = 2.0  # between two looks whether a replica lives

_log = logging.getLogger(__name__)

Make = Callable[[], tuple[Model, Settings]]
"""Gives a replica its model, and what it allows."""


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


class Options(BaseModel):
    """What `app` takes, as `args` of a file for Ray Serve.

    Attributes:
        model: as for `fo1agent.load`.
        load: its other arguments by name, such as `{device: cuda}`.
        settings: fields of `Settings` by name. The token is the variable FO1AGENT_TOKEN of the replicas.
    """

    model_config = ConfigDict(extra="forbid")
    model: str | None = None
    load: dict[str, Any] = {}
    settings: dict[str, Any] = {}

    @field_validator("settings")
    @classmethod
    def _known(cls, given: dict[str, Any]) -> dict[str, Any]:
        names = {field.name for field in fields(Settings)} - {"token"}
        if unknown := sorted(set(given) - names):
            raise ValueError(f"settings got {', '.join(unknown)}; there are {', '.join(sorted(names))}")
        return given

    @property
    def limits(self) -> Settings:
        """The settings, without a token."""
        lists: dict[str, Any] = {name: tuple(value) for name, value in self.settings.items() if isinstance(value, list)}
        return Settings(**{**self.settings, **lists})

    def made(self) -> tuple[Model, Settings]:
        """What a replica serves, as `Make` says."""
        return load(self.model, **self.load), replace(self.limits, token=os.environ.get("FO1AGENT_TOKEN"))


def app(args: Options) -> Any:
    """The application, for `import_path: fo1agent.serve.ray:app`; how many replicas there are the file says.

    Without a token only requests that are addressed to loopback are let in.

    Raises:
        MissingExtraError: Ray Serve is not installed.
    """
    return application(Named(args.made), args.limits)


def application(make: Make, settings: Settings, scale: Scale | None = None) -> Any:
    """An application of Ray Serve.

    Args:
        make: called once in each replica.
        settings: of those that `make` gives, `running`, `waiting` and `deadline_s` count here.
        scale: None for one replica.
    """
    serve, scale = ray_with("serve", "ray").serve, scale or Scale()
    many: dict[str, Any] = {"num_replicas": scale.least}
    if scale.most > scale.least:
        many = {
            "autoscaling_config": {
                "min_replicas": scale.least,
                "max_replicas": scale.most,
                "target_ongoing_requests": max(1, settings.running // 2),
            }
        }
    replicas = serve.deployment(
        serve.ingress()(_Replica),
        name=REPLICAS,
        **many,
        ray_actor_options={"num_cpus": scale.cpus, "num_gpus": scale.gpus},
        # One that has so much to do passes on what comes besides; where all have, requests wait at the proxy.
        max_ongoing_requests=2 * settings.running,
        max_queued_requests=settings.waiting,
        request_router_config=serve.config.RequestRouterConfig(request_router_class=_ROUTER),
        health_check_period_s=_HEALTH_S,
        logging_config={"enable_access_log": False},
        graceful_shutdown_wait_loop_s=1.0,
        graceful_shutdown_timeout_s=settings.deadline_s + 5,
    )
    return replicas.bind(make)


def serve(
    make: Make,
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 8080,
    ready: Callable[[str], None] = lambda url: None,
    *,
    address: str = LOCAL,
    scale: Scale | None = None,
) -> None:
    """Serve on Ray until SIGTERM or SIGINT; then let the replicas finish what they are at, and return.

    Args:
        make: gives a replica its model and settings; on a loopback address and without a token, the settings let only
            requests in that are addressed to that.
        settings: the same, as far as they concern all replicas.
        host: the address to listen at, on every machine of the cluster.
        port: 0 for any that is free here.
        ready: called with the server's address, once it answers.
        address: of a cluster (`auto` for the one that this machine is part of); `local` starts Ray here.
        scale: None for one replica.

    Raises:
        MissingExtraError: Ray Serve is not installed.
        InputError: an address other than loopback without a token, or no cluster at the address.
        OSError: the address cannot be listened at.
        ToolFailed: no replica can be started.
    """
    check_address(host, settings.token, port)
    ray = ray_with("serve", "ray")
    with listening(host, port) as free:
        url, port = url_of(host, free), free.getsockname()[1]
    os.environ.setdefault(CALLBACK, SPREAD)  # which processes of a Ray begun here inherit
    begins = begun(ray, address)
    try:
        ray.serve.start(http_options={"host": host, "port": port})
        try:
            ray.serve.run(application(Named(make), settings, scale), name=NAME)
        except RuntimeError as exc:
            raise ToolFailed(f"No replica could be started: {_last(exc)}") from exc
        ready(url)
        _wait_for_signal()
        ray.serve.delete(NAME)
        ray.kill(ray.get_actor(f"{NAME}-pictures", NAME))
    finally:
        if begins:
            ray.shutdown()


@dataclass(frozen=True)
class Named:
    """What a replica serves that lets only those in who address loopback, where nobody needs a token."""

    make: Make

    def __call__(self) -> tuple[Model, Settings]:
        model, settings = self.make()
        return model, settings if settings.token else replace(settings, names=settings.names or LOOPBACK)


class _Replica:
    """Answers as a server by itself does."""

    def __init__(self, make: Make) -> None:
        model, settings = make()
        self._app = create_app(model, settings, _Shelf(settings.keep_bytes))
        gc.collect()
        gc.freeze()
        self._memory = memory.given_back()
        self._memory.__enter__()  # as long as the process lasts

    def __serve_build_asgi_app__(self) -> Any:
        return self._app

    def close_picture(self, key: str) -> None:
        """A picture that was closed at another."""
        self._app.service.scenes.close(key)


class _Shelf:
    """A `Shelf` that is a process of its own. Where it cannot be reached, pictures are not shared.

    It belongs to no replica and no version of the application, so pictures stay when those go.

    Args:
        most_bytes: of all pictures.
    """

    def __init__(self, most_bytes: int) -> None:
        self._ray = ray_with("serve", "ray")
        self._app = self._ray.serve.get_replica_context().app_name
        self._pictures = (
            self._ray.remote(Pictures)
            .options(
                name=f"{self._app}-pictures",
                namespace=NAME,
                lifetime="detached",
                get_if_exists=True,
                max_restarts=-1,
                num_cpus=0,
            )
            .remote(most_bytes)
        )

    def put(self, key: str, sent: Sent) -> None:
        self._asked("put", key, sent)

    def get(self, key: str) -> Sent | None:
        return self._asked("get", key)

    def forget(self, key: str) -> bool:
        kept = bool(self._asked("forget", key))
        replicas = self._ray.serve.get_deployment_handle(REPLICAS, self._app)
        replicas.broadcast("close_picture", key).results(timeout_s=_SHELF_S, return_exceptions=True)
        return kept

    def _asked(self, method: str, *arguments: Any) -> Any:
        try:
            return self._ray.get(getattr(self._pictures, method).remote(*arguments), timeout=_SHELF_S)
        except self._ray.exceptions.RayError as exc:
            _log.warning("the pictures of all replicas cannot be reached: %s", exc)
            return None


class Pictures:
    """Keeps what was sent, those used long ago going first.

    Args:
        most_bytes: of all of it.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._kept: OrderedDict[str, Sent] = OrderedDict()

    def put(self, key: str, sent: Sent) -> None:
        """As `Shelf.put`."""
        self.forget(key)
        self._kept[key] = sent
        self._bytes += len(sent[0])
        while self._bytes > self._most_bytes and len(self._kept) > 1:
            self.forget(next(iter(self._kept)))

    def get(self, key: str) -> Sent | None:
        """As `Shelf.get`."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def forget(self, key: str) -> bool:
        """As `Shelf.forget`, here only."""
        sent = self._kept.pop(key, None)
        self._bytes -= len(sent[0]) if sent else 0
        return sent is not None


def _wait_for_signal() -> None:
    """Return at the first SIGTERM or SIGINT; a second one ends the process at once."""
    told = threading.Event()
    kinds = (signal.SIGTERM, signal.SIGINT)

    def handle(number: int, frame: Any) -> None:
        for kind in kinds:
            signal.signal(kind, signal.SIG_DFL)
        told.set()

    for kind in kinds:
        signal.signal(kind, handle)
    told.wait()


def _last(exc: BaseException) -> str:
    """What a failure says at its end, where Ray puts the cause."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[-1] if lines else type(exc).__name__
