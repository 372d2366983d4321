"""`fo1agent serve`: the model over HTTP; and `--server`, by which other commands use one.

Who decides how questions are answered is chosen by the same options here and for `fo1agent ask`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click.core import ParameterSource

from fo1agent.cli import console
from fo1agent.cli import loading as cli_loading
from fo1agent.cli import ocr as cli_ocr
from fo1agent.cli import own_tools as cli_own_tools
from fo1agent.cli import trace as cli_trace

if TYPE_CHECKING:
    from fo1agent.client import Client
    from fo1agent.scene import Model
    from fo1agent.serve.settings import Settings


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options by which a command uses a server instead of a model of its own."""
    for option in (
        click.option("--token", envvar="FO1AGENT_TOKEN", metavar="TOKEN", help="With --server: its bearer token."),
        click.option("--server", metavar="URL", help="Use the `fo1agent serve` at this address."),
    ):
        command = option(command)
    return command


def deciding_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that answers questions: `planner`, `mode` and `verify` of an `Agent`."""
    for option in (
        click.option("--verify", is_flag=True, help="Check what an answer rests on, and name what fails."),
        click.option(
            "--mode",
            type=click.Choice(["plan", "steps"]),
            default="plan",
            show_default=True,
            help="With a chat model: plan first, or call tools step by step.",
        ),
        click.option(
            "--planner",
            default="rules",
            show_default=True,
            metavar="NAME",
            help="What plans: rules, fo1, or a chat model as provider:name, e.g. openai:gpt-5.",
        ),
    ):
        command = option(command)
    return command


def connected(url: str, token: str | None) -> Client:
    """The server, which has its own model, and its own ways of running it and of reading."""
    from fo1agent.client import connect

    given = click.get_current_context().get_parameter_source
    for names in (cli_loading.NAMES, ("ocr_lang", "ocr_set")):
        if any(given(name) is ParameterSource.COMMANDLINE for name in names):
            *first, last = (f"--{name.removesuffix('_name').replace('_', '-')}" for name in names)
            raise click.UsageError(f"{', '.join(first)} and {last} are the server's business; leave them out.")
    return connect(url, token)


@click.command(epilog="\b\nExample:\n  fo1agent serve --port 8080 --model runs/nano/model")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 for any free one.")
@click.option(
    "--allow",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    metavar="DIR",
    help="Callers may open pictures from here by path. Repeatable; without it, none.",
)
@click.option(
    "--allow-url",
    multiple=True,
    metavar="HOST",
    help="Callers may name pictures on this host. Repeatable; without it, none.",
)
@click.option(
    "--allow-origin",
    multiple=True,
    metavar="ORIGIN",
    help="Pages of this origin, https://…, may call (CORS). Repeatable; without it, none.",
)
@click.option("--running", type=click.IntRange(1), default=16, show_default=True, help="Requests that run at once.")
@click.option(
    "--opening", type=click.IntRange(1), default=2, show_default=True, help="Pictures that are opened at once."
)
@click.option(
    "--waiting", type=click.IntRange(0), default=64, show_default=True, help="Requests that wait; more get 429."
)
@click.option(
    "--max-wait",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="S",
    help="Seconds that a request may wait; one that would wait longer gets 503.",
)
@click.option(
    "--deadline", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, help="Seconds per request."
)
@click.option(
    "--max-body", type=click.IntRange(1), default=20, show_default=True, metavar="MB", help="Largest request."
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    metavar="MP",
    help="Largest picture, in megapixels.",
)
@click.option(
    "--keep", type=click.IntRange(1), default=512, show_default=True, metavar="MB", help="Memory for open pictures."
)
@click.option("--batching/--no-batching", default=True, show_default=True, help="Combine the passes of requests.")
@click.option("--docs", is_flag=True, help="Also serve /docs and /openapi.json.")
@click.option(
    "--replicas",
    metavar="N|N-M",
    callback=lambda ctx, param, value: None if value is None else _replicas(value),
    help="With --ray: how many hold the model; N-M for as many as there is to do for.",
)
@cli_loading.ray_option("Serve")
@cli_own_tools.own_tools
@deciding_options
@cli_loading.model_options
@cli_ocr.ocr_options
def serve(
    host: str,
    port: int,
    allow: Sequence[Path],
    allow_url: Sequence[str],
    allow_origin: Sequence[str],
    running: int,
    opening: int,
    waiting: int,
    max_wait: float,
    deadline: float,
    max_body: int,
    max_pixels: int,
    keep: int,
    batching: bool,
    docs: bool,
    replicas: tuple[int, int] | None,
    ray_address: str | None,
    tools: Sequence[str],
    planner: str,
    mode: Literal["plan", "steps"],
    verify: bool,
    **loading: Any,
) -> None:
    """Serve tools, questions and an OpenAI-compatible chat over HTTP, with a page to try it.

    Runs until it is stopped, then finishes what it has accepted. Callers must send the value of the variable
    FO1AGENT_TOKEN as bearer token; without that variable, the server listens only on loopback addresses. If the
    variable FO1AGENT_TRACES names a folder, every run is saved there.
    """
    if replicas and ray_address is None:
        raise click.UsageError("--replicas needs --ray: a server by itself is one.")
    # Whatever can be wrong is told before anything is said, or loaded.
    _check_packages()
    from fo1agent.integrations.listening import check_address
    from fo1agent.serve.service import check_deciding
    from fo1agent.serve.settings import Settings

    settings = Settings(
        token=os.environ.get("FO1AGENT_TOKEN"),
        origins=tuple(allow_origin),
        folders=tuple(folder.resolve() for folder in allow),
        hosts=tuple(allow_url),
        batching=batching,
        running=running,
        opening=opening,
        waiting=waiting,
        max_wait_s=max_wait,
        deadline_s=deadline,
        body_bytes=max_body * 1_000_000,
        max_pixels=max_pixels * 1_000_000,
        keep_bytes=keep * 2**20,
        docs=docs,
        planner=planner,
        mode=mode,
        verify=verify,
        traces=cli_trace.place(),
    )
    cli_own_tools.load_tools(tools)
    check_address(host, settings.token, port)
    check_deciding(settings)
    run = _way(ray_address, replicas, loading["device"])
    console.note(f"Loading {cli_loading.told(loading['model_name'], loading['engine'])} …")
    run(
        partial(_made, settings, tools, **loading),
        settings,
        host,
        port,
        lambda url: console.note(f"Listening on {url}"),
    )


def _way(ray_address: str | None, replicas: tuple[int, int] | None, device: str) -> Callable[..., None]:
    """What serves, in this process or on Ray: called with what makes model and settings, the settings, host, port, and
    who is told of the address."""
    if ray_address is None:
        from fo1agent.serve.run import serve as run

        return lambda make, settings, *where: run(*make(), *where)
    from fo1agent.integrations.cluster import ray_with

    ray_with("serve", "serve", "ray")
    from fo1agent.serve.ray import Scale
    from fo1agent.serve.ray import serve as run_on_ray

    scale = Scale(*replicas or (1, 1), gpus=int(device.startswith("cuda")))
    return partial(run_on_ray, address=ray_address, scale=scale, tell=console.note)


def _made(
    settings: Settings,
    tools: Sequence[str],
    device: str,
    proposer: str | None,
    model_name: str | None,
    ocr_lang: str | None,
    ocr_set: Sequence[str],
    **loading: Any,
) -> tuple[Model, Settings]:
    """The model, and what is allowed."""
    from fo1agent.loading import load
    from fo1agent.proposals import resolve_proposer

    ocr = cli_ocr.reader(ocr_lang, ocr_set)
    boxes = None if proposer is None else resolve_proposer(proposer, device=device)
    model = load(model_name, device=device, proposer=boxes, ocr=ocr, **loading)
    if model.proposer is None and not getattr(model.predictor, "proposes", True):
        console.note(
            f"{model.name} makes no boxes, and there is no --proposer: send pictures to /v1/images with boxes."
        )
    return model, replace(settings, tools=cli_own_tools.load_tools(tools))


def _replicas(told: str) -> tuple[int, int]:
    """At least and at most so many, of N or N-M.

    Raises:
        click.BadParameter: it is neither.
    """
    least, _, most = told.partition("-")
    if not (least.isdigit() and (most or least).isdigit() and 1 <= int(least) <= int(most or least)):
        raise click.BadParameter(f"{told!r} is no number from 1 on, and no two such as 1-4, the smaller first.")
    return int(least), int(most or least)


def _check_packages() -> None:
    try:
        import fo1agent.serve.run  # noqa: F401 - it imports all that serving needs
    except ImportError as exc:
        from fo1agent.errors import MissingExtraError
        from fo1agent.extras import install_line

        raise MissingExtraError(f"Serving needs more packages: {install_line('serve')}") from exc
