"""The FastAPI application: routes, guards, page."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from pathlib import Path

from fastapi import Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from fo1agent.scene import Model
from fo1agent.serve import chat, problems, routes, streams
from fo1agent.serve.guards import DRAINING, Count, Guard, Traffic
from fo1agent.serve.metrics import CONTENT_TYPE
from fo1agent.serve.problems import Json
from fo1agent.serve.service import Service
from fo1agent.serve.settings import Settings
from fo1agent.serve.shelf import Shelf
from fo1agent.tools.registry import registry
from fo1agent.version import __version__

WEB = Path(str(files("fo1agent.serve") / "web"))
"""The folder of the page."""
DEMO = Path(str(files("fo1agent") / "data" / "demo"))
"""The folder of the photographs that the page offers to begin with."""


class App(FastAPI):
    """The application.

    Attributes:
        service: what its routes share; `service.close()` ends its threads.
        traffic: counts its requests, and turns new work away while `draining` is set.
    """

    service: Service
    traffic: Traffic


def create_app(model: Model, settings: Settings | None = None, shelf: Shelf | None = None) -> App:
    """The application of a server.

    Args:
        model: what looks at pictures; its passes belong to this application from now on.
        settings: None for the defaults.
        shelf: of the servers behind one address; None for a server by itself.
    """
    settings = settings or Settings()
    service = Service(model, settings, shelf)

    app = App(
        title="fo1agent",
        version=__version__,
        summary="Ask photographs questions; get the answer, and the regions that it rests on.",
        docs_url="/docs" if settings.docs else None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs else None,
    )
    app.service = service
    problems.install(app)
    app.include_router(routes.router(service, registry(*settings.tools)), dependencies=[Depends(routes.no_query)])
    app.include_router(chat.router(service), dependencies=[Depends(routes.no_query)])
    _add_upkeep(app)
    _add_page(app)
    app.traffic = service.traffic
    app.add_middleware(Guard, settings=settings, traffic=app.traffic)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After"],
        )
    app.add_middleware(Count, traffic=app.traffic)
    return app


def _add_upkeep(app: App) -> None:
    """What watches the server."""

    @app.get("/healthz", response_model=routes.HealthOut, tags=["upkeep"], responses={503: {"model": routes.HealthOut}})
    async def healthz() -> Response:
        """Whether the server takes on work; 503 while it shuts down."""
        draining = app.traffic.draining
        status = {"status": "draining" if draining else "ok", "model": app.service.model.name}
        if (ready := app.service.engine_ready) is not None:
            status["engine"] = "ok" if await asyncio.to_thread(ready) else "away"
        return Json(status, 503, DRAINING) if draining else Json(status)

    @app.get(
        "/metrics",
        response_class=Response,
        tags=["upkeep"],
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, 401: streams.FAILURES[401]},
    )
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(app.service.metrics.text(), media_type=CONTENT_TYPE)


def _add_page(app: App) -> None:
    """The page at /, and its files under /static."""

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})

    app.mount("/static/demo", StaticFiles(directory=DEMO), name="demo")
    app.mount("/static", StaticFiles(directory=WEB), name="static")
