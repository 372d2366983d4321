"""`fo1agent models`: which presets there are, what is here of them, what fits; and `get`, which fetches one."""

from __future__ import annotations

import importlib.util
from typing import Any

import click

from fo1agent.cli import console
from fo1agent.errors import CheckpointError
from fo1agent.presets import PARTS, PRESETS, Choice, Part, Preset, choose
from fo1agent.presets.files import HUB_FILES, fetch, kept
from fo1agent.presets.machine import Machine, fits, gigabytes, machine, memory_mb

as_json = click.option("--json", "json_output", is_flag=True, help="Print one JSON object instead of text.")


@click.group(
    invoke_without_command=True,
    epilog="\b\nExample:\n  fo1agent models --json",
)
@as_json
@click.pass_context
def models(ctx: click.Context, json_output: bool) -> None:
    """List the models that --model knows by name, and what each needs.

    A detector finds what the model alone does not know: MODEL+DETECTOR is one model. The variable FO1AGENT_MODEL names
    the one to use where --model is left out.
    """
    if ctx.invoked_subcommand:
        return
    here = machine()
    if json_output:
        told = {part.name: _part_fields(part) for part in PARTS.values()}
        presets = [_fields(preset, here) for preset in PRESETS]
        console.result_json({"machine": vars(here), "presets": presets, "parts": told})
        return
    for preset in PRESETS:
        _print(preset, here)
    console.note(f"Models: {_listed('model')}. Behind one, with +, detectors: {_listed('detector')}.")
    console.note(f"And at most one segmenter: {_listed('segmenter')}.")
    memory = gigabytes(here.memory_mb) if here.memory_mb else "an unknown amount"
    console.note(f"This machine has {memory} of memory. All sizes are about; memory is estimated from parameters.")


@models.command(epilog="\b\nExample:\n  fo1agent models get nano+grounding-dino-tiny")
@click.argument("name", metavar="NAME")
def get(name: str) -> None:
    """Fetch what NAME needs, so that it then works without a network.

    NAME is a model, with detectors or without, or a detector alone. Only files that are needed are fetched, and only
    those that are not here. Stopped, the same command goes on with those that
    are missing.
    """
    if name in PARTS and PARTS[name].kind != "model":
        _get(PARTS[name])
        return
    choice = choose(name)
    parts = [*choice.detectors, *([choice.segmenter] if choice.segmenter else [])]
    for part in [part for part in parts if part.released]:  # first, what a missing package would stop
        _get(part)
    _get_model(choice)
    for part in [part for part in parts if part.repository]:
        _get(part)


def _listed(kind: str) -> str:
    return ", ".join(name for name, part in PARTS.items() if part.kind == kind)


def _get_model(choice: Choice) -> None:
    from fo1agent.model.finding import CONFIG, find_folder

    folder, name = find_folder(choice.model)
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder} holds no model: it has no {CONFIG}.")
    console.result(f"{name}  {folder}")


def _get(part: Part) -> None:
    if part.released:
        from fo1agent.proposals.ultralytics import fetch as fetch_released

        folder = fetch_released(part.released)
    else:
        folder = fetch(part.repository or "", HUB_FILES, nested=False)
    console.result(f"{part.name}  {folder}")


def _fields(preset: Preset, here: Machine) -> dict[str, Any]:
    """What is told of a preset; memory in MB."""
    parts = preset.parts
    return {
        "name": preset.name,
        "good_at": preset.why,
        "licences": list(dict.fromkeys(part.licence for part in parts)),
        "download_mb": sum(part.download_mb for part in parts),
        "memory_mb": memory_mb(parts),
        "memory_is": "estimated from parameters",
        "needs": _needs(parts),
        "here": kept(parts),
        "fits_memory": fits(parts, here.memory_mb),
        "fits_gpu": fits(parts, here.gpu_mb),
        "parts": [part.name for part in parts],
    }


def _part_fields(part: Part) -> dict[str, Any]:
    told = {"kind": part.kind, "source": part.source, "good_at": part.why, "licence": part.licence}
    return {**told, "download_mb": part.download_mb, "memory_mb": memory_mb([part]), "here": kept([part])}


def _needs(parts: tuple[Part, ...]) -> list[str]:
    """Packages beyond a light install: torch, and extras by their names in pyproject.toml."""
    torch = ["torch"] if any(part.source for part in parts) else []
    return torch + list(dict.fromkeys(part.extra for part in parts if part.extra))


def _print(preset: Preset, here: Machine) -> None:
    told = _fields(preset, here)
    size = gigabytes(told["download_mb"])
    state = (
        "in the package"
        if not told["download_mb"]
        else {"all": "here", "part": f"in part here, {size}"}.get(told["here"], f"{size} to fetch")
    )
    room = {True: "fits", False: "too large for this machine", None: ""}[told["fits_memory"]]
    needs = f"needs {' and '.join(told['needs'])}" if told["needs"] else ""
    lacking = [package for package in told["needs"] if importlib.util.find_spec(package) is None]
    needs += f" (not installed: {', '.join(lacking)})" if lacking else ""
    facts = (state, f"weights {gigabytes(told['memory_mb'])} in memory", room, needs, ", ".join(told["licences"]))
    console.result(console.Styled(preset.name, bold=True))
    console.result(f"    {preset.why}")
    console.result(f"    {' · '.join(fact for fact in facts if fact)}")
