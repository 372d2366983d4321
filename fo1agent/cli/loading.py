"""The options by which every command that loads a model says which one and how it runs: arguments of `load`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import click

from fo1agent.bearer import without_password
from fo1agent.cli import console
from fo1agent.engines import checked_engine, is_address
from fo1agent.errors import InputError
from fo1agent.presets import MODEL


class _Tiles(click.ParamType):
    """`auto`, or a whole number."""

    name = "tiles"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """What `load` takes."""
        if value == "auto":
            return value
        try:
            return click.IntRange(2, 64).convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is neither auto nor a whole number from 2 to 64.", param, ctx)


class _Engine(click.ParamType):
    """One of `load`'s engines, or the address of a vLLM server."""

    name = "engine"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """What `load` takes."""
        try:
            return checked_engine(value)
        except InputError as exc:
            self.fail(str(exc), param, ctx)


_OPTIONS = (
    click.option(
        "--model",
        "model_name",
        envvar=MODEL,
        show_envvar=True,
        metavar="NAME|FOLDER",
        help="A preset (fo1agent models), a folder or a Hugging Face name; without it, nano.",
    ),
    click.option("--proposer", metavar="NAME", help="What makes the boxes, e.g. rt-detr-r18, ultralytics:yolo11n.pt."),
    click.option(
        "--finder",
        multiple=True,
        metavar="NAME",
        help="A detector to ask beside the model; may be given several times.",
    ),
    click.option("--segmenter", metavar="NAME|FOLDER", help="What makes masks, e.g. sam2.1-tiny."),
    click.option("--device", default="cpu", show_default=True, help="Where the model runs: cpu, cuda, cuda:1, mps."),
    click.option(
        "--dtype",
        type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
        default="auto",
        show_default=True,
        help="In which numbers: auto takes the stored ones where the device has units for them.",
    ),
    click.option(
        "--attn",
        type=click.Choice(["sdpa", "eager", "flash_attention_2"]),
        help="How the base model attends; without it, as transformers chooses.",
    ),
    click.option(
        "--quantize",
        type=click.Choice(["int8", "int8-weights"]),
        help="Hold the base model in 8 bits, and with int8 compute in them too (oneDNN or torchao).",
    ),
    click.option(
        "--compile", is_flag=True, help="Let torch.compile make kernels when the model first runs: takes minutes."
    ),
    click.option(
        "--pack", is_flag=True, help="On a CPU in bfloat16: weights laid out in memory, to write twice as fast."
    ),
    click.option(
        "--engine",
        type=_Engine(),
        metavar="auto|torch|onnx|vllm|URL",
        default="auto",
        show_default=True,
        help="What computes: onnx is there at once, on a CPU; auto takes it for fo1-nano; URL: a vLLM server's.",
    ),
    click.option(
        "--tiles",
        type=_Tiles(),
        metavar="auto|N",
        help="Look by tiles as well: N (2 to 64) along the long side, or auto, of pictures twice what the model sees.",
    ),
)
NAMES = (
    "model_name",
    "proposer",
    "finder",
    "segmenter",
    "device",
    "dtype",
    "attn",
    "quantize",
    "compile",
    "pack",
    "engine",
    "tiles",
)


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`NAMES`, for a command that loads a model."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def ray_option(verb: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--ray [ADDRESS]`, for a command that does as `verb` says on Ray too."""
    return click.option(
        "--ray",
        "ray_address",
        is_flag=False,
        flag_value="local",
        metavar="[ADDRESS]",
        help=f"{verb} on Ray: a cluster's address, auto, or, if nothing follows, on this machine. Write it last.",
    )


def told(model_name: str | None, engine: str) -> str:
    """What is loaded, and from where if that is a server, as far as the options say."""
    if is_address(engine):
        return f"{model_name or 'the first model'} of the vLLM server at {without_password(engine)}"
    return model_name or "fo1-nano"


def with_boxes(options: Collection[str]) -> str:
    """What to do where nothing makes boxes, at a command with these options."""
    ways = [*(["--boxes FILE.json"] if "boxes" in options else []), "--proposer NAME, such as rt-detr-r18"]
    return f"Add {', or '.join(ways)}."


def tell_tiles(model: Any) -> None:
    """Let a model that looks by tiles say how far it is with a picture."""
    predictor: Any = getattr(model, "predictor", None)
    if hasattr(type(predictor), "on_progress"):
        predictor.on_progress = _tell


def _tell(done: int, count: int) -> None:
    if not console.interactive():
        console.note(f"Looking at {count} {'tile' if count == 1 else 'tiles'}." if done == 0 else "")
        return
    console.passing(f"{done} of {count} tiles")
    if done == count:
        console.passed()
