"""The ONNX graphs beside a model's weights: whether there are any, and how they are loaded. No torch here."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open

from fo1agent.errors import CheckpointError
from fo1agent.model.bases.qwen2_5_vl_stored import Base
from fo1agent.model.finding import CONFIG, read_all
from fo1agent.model.folder import Stored, checked, names, one_line, opened, read_bytes, read_json, shown, wrong
from fo1agent.model.stored import OwnConfig
from fo1agent.model.stored_towers import MobileNet

FOLDER, MANIFEST, FORMAT = "onnx", "graphs.json", 1
PREFIX = "model."  # of weights in graphs, which are traced with the model around them
_LARGEST = 64 << 20  # bytes of a graph without weights
# Optimising the others takes longer at every start than it saves in ten pictures.
_OPTIMISED = {"tower", "proposals", "decoder"}
# These hold maps of tens of megabytes; to be given new memory for each, cleared, would cost a fifth of the work.
_KEEPING = {"tower"}
_PARTS = {"base_config", "aux", "region", "image_projector", "region_projector", "first_mention", "heads"}


class Manifest(Stored):
    """graphs.json: of which layout the graphs are, and the weights that each takes."""

    format: Literal[1]
    layout: str
    weights: dict[str, list[str]]


def read_own(folder: Path) -> OwnConfig:
    """The configuration of a folder saved by fo1agent.

    Raises:
        CheckpointError: it is another, or none.
    """
    raw, path = read_json(folder / CONFIG), folder / CONFIG
    if raw.get("model_type") != "fo1":
        raise wrong(path, "model_type", shown(raw.get("model_type")), "'fo1', for there are graphs of no other layout")
    return checked(OwnConfig, raw, path)


def layout(config: OwnConfig) -> str:
    """What tells models from each other whose graphs differ; weights, names and thresholds do not."""
    parts = config.model_dump(include=_PARTS, exclude_unset=True)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def why_not(config: OwnConfig) -> str:
    """What of a model has no graphs; "" if all has."""
    told = {
        "its base is not of the family qwen2_5_vl": not isinstance(config.base_config, Base),
        "its auxiliary tower is not a mobilenet_v2_ssd": not isinstance(config.aux, MobileNet),
        "its regions look at the base's vision tower": config.region is None or config.region.primary_channels,
        "its regions have no pools": config.region is None or not config.region.pools,
        "its regions take no evidence of the detector": config.region is None or not config.region.evidence_size,
        "it has no match head over the detector's classes": not (
            config.heads and config.heads.match and config.heads.match.classes
        ),
        "it has an open vocabulary": config.vocabulary is None,
        "it has lessons": config.lessons,
    }
    return next((reason for reason, holds in told.items() if holds), "")


def has_graphs(folder: Path) -> bool:
    """Whether a folder holds graphs that fit its configuration."""
    try:
        config = read_own(folder)
        return not why_not(config) and _manifest(folder).layout == layout(config)
    except CheckpointError:
        return False


def _manifest(folder: Path) -> Manifest:
    path = folder / FOLDER / MANIFEST
    return checked(Manifest, read_json(path), path)


# --- weights -----------------------------------------------------------------------------------------------------


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """The weights of a folder by name, float32.

    Raises:
        CheckpointError: as for `finding.read_all`; a file is broken, or holds numbers that are not finite.
    """
    return read_all(folder, _read_file)


def _read_file(path: Path) -> dict[str, np.ndarray]:
    with opened(path):
        pass
    try:
        with safe_open(path, framework="np") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError) as exc:
        raise CheckpointError(f"{path} is not a whole safetensors file that numpy reads: {one_line(exc)}.") from exc
    for name, array in arrays.items():
        if array.dtype not in (np.float16, np.float32, np.float64):
            raise wrong(path, name, f"of type {array.dtype}", "one of float16, float32, float64")
        arrays[name] = array = array.astype(np.float32)
        # Its extremes are not finite if any number is not.
        if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
            raise wrong(path, f"an element of {name}", "not finite", "finite numbers")
    return arrays


# --- graphs ------------------------------------------------------------------------------------------------------


def load_graphs(folder: Path, config: OwnConfig, arrays: dict[str, np.ndarray], threads: int) -> dict[str, Any]:
    """A session for each graph, by its name.

    Args:
        folder: the model's.
        config: the model's.
        arrays: its weights.
        threads: that each computes with.

    Raises:
        CheckpointError: there are no graphs, they are of another layout, or do not take the weights.
    """
    import onnxruntime

    folder_of_graphs, manifest = folder / FOLDER, _manifest(folder)
    if manifest.layout != layout(config):
        raise CheckpointError(
            f"{folder_of_graphs} was exported from another configuration than {folder / CONFIG}. "
            f"Run: fo1agent export {folder} --to onnx"
        )
    sessions = {}
    for name, taken in manifest.weights.items():
        if lacking := [one for one in taken if one.removeprefix(PREFIX) not in arrays]:
            raise CheckpointError(f"{folder} lacks weights that its graph {name} takes: {names(lacking)}.")
        options = _options(name, threads)
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(arrays[one.removeprefix(PREFIX)]) for one in taken]
        options.add_external_initializers(taken, values)
        graph = read_bytes(folder_of_graphs / f"{name}.onnx", _LARGEST)
        try:
            sessions[name] = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as exc:  # ONNX Runtime's errors have no base but this
            raise CheckpointError(
                f"{folder_of_graphs / name}.onnx does not load with these weights: {one_line(exc)} "
                f"Run: fo1agent export {folder} --to onnx"
            ) from exc
    return sessions


def _options(name: str, threads: int) -> Any:
    """How the graph of this name runs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what goes wrong is raised
    options.enable_cpu_mem_arena = name in _KEEPING
    options.enable_mem_pattern = False  # planned for each size of picture, and kept
    # Threads that wait leave the cores to others: spinning, they take 2.5 times the work, and as much longer where
    # another process computes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if name not in _OPTIMISED:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def own_threads() -> int:
    """Threads for one session: what OMP_NUM_THREADS says, or as many as there are cores for this process."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told):
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
