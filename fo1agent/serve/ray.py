"""The server on Ray Serve: replicas behind one address, each with a model, that find each other's pictures.

`app` is for Ray's own means, `serve run fo1agent.serve.ray:app` and the files of `serve deploy` and KubeRay;
`fo1agent serve --ray` is `ray_run`. What a replica answers is `app.create_app`; what Ray's proxies do before that is
`spread`.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from inspect import signature
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model, field_validator

from fo1agent.errors import InputError
from fo1agent.integrations.cluster import LOCAL, ray_with
from fo1agent.integrations.listening import LOOPBACK
from fo1agent.loading import load
from fo1agent.scene import Model
from fo1agent.serve import memory
from fo1agent.serve.app import create_app
from fo1agent.serve.ray_run import NAME, REPLICAS, Scale, run
from fo1agent.serve.settings import Settings
from fo1agent.serve.shelf import Pictures, Sent
from fo1agent.tools.base import complaint

_ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
_SHELF_S = 10.0  # that a replica waits for the pictures of the others
_HEALTH_S = 2.0  # between two looks of Ray's whether a replica lives

_log = logging.getLogger(__name__)

Make = Callable[[], tuple[Model, Settings]]
"""Gives a replica its model, and what it allows."""


_TYPES = get_type_hints(Settings) | {"planner": str, "traces": str | None}
_TOLD: dict[str, Any] = {
    one.name: (_TYPES[one.name], one.default) for one in fields(Settings) if one.name not in ("token", "tools")
}
_SETTINGS = create_model("settings", **_TOLD)
"""What of `Settings` can be said in a file, with its types."""


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

    @field_validator("load")
    @classmethod
    def _loads(cls, given: dict[str, Any]) -> dict[str, Any]:
        return _among("load", given, list(signature(load).parameters)[1:])

    @field_validator("settings")
    @classmethod
    def _known(cls, given: dict[str, Any]) -> dict[str, Any]:
        told = _SETTINGS.model_validate(_among("settings", given, list(_SETTINGS.model_fields)))
        return {name: getattr(told, name) for name in given}

    @property
    def limits(self) -> Settings:
        """The settings, without a token.

        Raises:
            InputError: they make no sense.
        """
        return Settings(**self.settings)

    def made(self) -> tuple[Model, Settings]:
        """What a replica serves, as `Make` says."""
        return load(self.model, **self.load), replace(self.limits, token=os.environ.get("FO1AGENT_TOKEN"))


def _among(what: str, given: dict[str, Any], known: list[str]) -> dict[str, Any]:
    """What is given, if all of it is known; else a ValueError."""
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"{what} got {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return given


def app(args: dict[str, Any]) -> Any:
    """The application, for `import_path: fo1agent.serve.ray:app`; how many replicas there are the file says.

    Without a token only requests that are addressed to loopback are let in.

    Args:
        args: as `Options`. Ray itself makes no model of them where annotations are postponed, as here.

    Raises:
        InputError: they are none that there are, or make no sense; said before any replica is started.
        MissingExtraError: Ray Serve is not installed.
    """
    try:
        options = Options.model_validate(args)
    except ValidationError as exc:
        raise InputError(f"args of fo1agent.serve.ray:app: {complaint(exc)}.") from exc
    # The planner, too, is a matter of the replicas: keys may be only where they are.
    return application(Named(options.made), options.limits)


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
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Serve on Ray until SIGTERM or SIGINT; then take on nothing new, finish what the replicas are at, and return.

    A second signal ends it at once. One that comes before it is served ends the process, as it ends others.

    Args:
        make: gives a replica its model and settings; on a loopback address and without a token, the settings let only
            requests in that are addressed to that.
        settings: the same, as far as they concern all replicas.
        host: the address to listen at, on every machine of the cluster.
        port: 0 for any that is free here.
        ready: called with the server's address, once it answers.
        address: of a cluster (`auto` for the one that this machine is part of); `local` starts Ray here.
        scale: None for one replica.
        tell: called with a line when a replica is lost, when all are there again, and when there is no room for some.

    Raises:
        MissingExtraError: Ray Serve is not installed.
        InputError: an address other than loopback without a token, no cluster at the address, more replicas than there
            is room for, or a cluster that serves fo1agent already, or at another address.
        OSError: the address cannot be listened at.
        ToolFailed: no replica can be started.
    """
    run(lambda: application(Named(make), settings, scale), settings, host, port, ready, address, scale or Scale(), tell)


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

    async def drain(self) -> int:
        """Take on nothing new from now on; how many requests are still at work."""
        self._app.traffic.draining = True
        return self._app.traffic.working

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
