"""The folder of a training run: what it was, how it went, and checkpoints that a power cut cannot tear.

    run.json                          stage, settings, recipe, versions, parameter counts
    log.jsonl                         one record per line
    checkpoints/step_00000500/        weights.safetensors, average.safetensors (with an EMA), state.pt (optimiser)
    weights.safetensors               the result, written at the end

Every file and checkpoint folder is written under a temporary name, flushed to disk and renamed: it is there whole or
not at all. `state.pt` is our own and is still read with `weights_only=True`; weights are safetensors.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fo1agent.errors import CheckpointError, TrainingError

# These may change between the halves of a resumed run: they do not touch what is learned.
BOOKKEEPING = ("save_every", "keep_last", "log_every", "eval_every", "root", "cache", "run")


@dataclass
class Meter:
    """Running sums of named values since the last log line."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        return {name: self.sums[name] / self.counts[name] for name in self.sums}

    def reset(self) -> None:
        self.sums.clear()
        self.counts.clear()


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """What training may have changed: the state dict without frozen parameters; tied tensors once, under one name."""
    frozen = {name for name, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
    state: dict[str, Tensor] = {}
    seen: set[tuple[int, torch.Size]] = set()
    for name, tensor in model.state_dict().items():
        key = (tensor.data_ptr(), tensor.shape)
        if name in frozen or (tensor.numel() and key in seen):
            continue
        seen.add(key)
        state[name] = tensor.contiguous()
    return state


def load_trained_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put `state` back into `model`.

    Raises:
        CheckpointError: the tensors are not those that `trained_state(model)` would save; names the keys.
    """
    wanted = trained_state(model)
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    shapes = [k for k in wanted.keys() & state.keys() if wanted[k].shape != state[k].shape]
    if missing or extra or shapes:
        raise CheckpointError(f"Checkpoint and model differ: missing {missing}, unknown {extra}, other shape {shapes}.")
    model.load_state_dict(dict(state), strict=False)


class RunFolder:
    """One run's folder; see the module's docstring for what it holds."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise TrainingError(f"Cannot make the run folder {self.path}: {exc}. Choose another one.") from exc
        for leftover in [*self.path.glob(".tmp-*"), *self.checkpoints.glob(".tmp-*")]:  # of a killed run
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    def record_run(self, stage: str, settings: dict[str, Any], recipe: Any, counts: Mapping[str, int]) -> None:
        """Write `run.json`; if there is one already, check that it is the same run.

        Raises:
            TrainingError: the folder holds another run; names the keys that differ.
        """
        recipe = asdict(recipe) if is_dataclass(recipe) and not isinstance(recipe, type) else recipe
        what = json.loads(json.dumps({"stage": stage, "settings": settings, "recipe": recipe}, default=str))
        file = self.path / "run.json"
        if file.exists():
            known = json.loads(file.read_text(encoding="utf-8"))
            before, now = _flatten({k: known.get(k) for k in what}), _flatten(what)
            differing = [
                f"{key}: {before.get(key)!r} before, {now.get(key)!r} now"
                for key in sorted(before.keys() | now.keys())
                if before.get(key) != now.get(key) and key.rsplit(".", 1)[-1] not in BOOKKEEPING
            ]
            if differing:
                raise TrainingError(f"{self.path} holds another run ({'; '.join(differing)}). Choose another folder.")
            return
        versions = {"python": platform.python_version(), "torch": torch.__version__, "platform": platform.platform()}
        record = {**what, "parameters": dict(counts), "versions": versions, "threads": torch.get_num_threads()}
        write_atomic(file, lambda tmp: tmp.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8"))

    def log(self, record: dict[str, Any], on_log: Callable[[dict[str, Any]], None] | None) -> None:
        """Append one line to `log.jsonl` and hand the record on."""
        with open(self.path / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if on_log:
            on_log(record)

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: list[Tensor],
        meter: Meter,
        keep_last: int,
    ) -> Path:
        """Write the checkpoint after `step` steps; then remove all but the newest `keep_last`."""
        target = self.checkpoints / f"step_{step:08d}"
        state = {"step": step, "optimizer": optimizer.state_dict(), "meter": asdict(meter)}

        def write(folder: Path) -> None:
            folder.mkdir()
            _save_tensors(trained_state(model), folder / "weights.safetensors")
            if average:
                _save_tensors({str(i): t.contiguous() for i, t in enumerate(average)}, folder / "average.safetensors")
            torch.save(state, folder / "state.pt")

        if not target.exists():
            write_atomic(target, write)
        for old in self.all_checkpoints()[:-keep_last]:
            # Renamed first, so that what is left of an interrupted removal is not taken for a checkpoint.
            doomed = old.with_name(f".tmp-{old.name}")
            old.rename(doomed)
            shutil.rmtree(doomed)
        return target

    def all_checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(self.checkpoints.glob("step_*"))

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer, average: list[Tensor]) -> tuple[int, Meter]:
        """Load the newest checkpoint, if any, in place, and cut `log.jsonl` back to it.

        Returns:
            Steps already done (0 for a new run), and the meter as it was.
        """
        found = self.all_checkpoints()
        step, meter = 0, Meter()
        if found:
            folder = found[-1]
            load_trained_state(model, load_file(folder / "weights.safetensors"))
            if average:
                saved = load_file(folder / "average.safetensors")
                for i, tensor in enumerate(average):
                    tensor.copy_(saved[str(i)])
            state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
            optimizer.load_state_dict(state["optimizer"])
            step, meter = state["step"], Meter(**state["meter"])
        self._cut_log(step)
        return step, meter

    def _cut_log(self, step: int) -> None:
        # A killed run may have logged steps that it never saved, and half a line.
        file = self.path / "log.jsonl"
        if not file.exists():
            return
        kept = []
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                break
            if record["step"] <= step:
                kept.append(line + "\n")
        write_atomic(file, lambda tmp: tmp.write_text("".join(kept), encoding="utf-8"))

    def write_weights(self, state: Mapping[str, Tensor]) -> Path:
        """Write the run's result, `weights.safetensors`."""
        target = self.path / "weights.safetensors"
        write_atomic(target, lambda tmp: _save_tensors(state, tmp))
        return target


def write_atomic(target: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make a file or folder under a temporary name beside `target`, flush it to disk, rename it."""
    temporary = target.with_name(f".tmp-{target.name}")
    write(temporary)
    files = [f for f in temporary.rglob("*") if f.is_file()] if temporary.is_dir() else [temporary]
    for path in [*files, *([temporary] if temporary.is_dir() else [])]:
        _flush(path)
    os.replace(temporary, target)
    _flush(target.parent)


def _save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    # safetensors makes files that only their owner may read; a result has the rights of any other new file.
    path.touch()
    mode = path.stat().st_mode
    save_file(dict(tensors), path)
    path.chmod(mode)


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {k: v for name, sub in tree.items() for k, v in _flatten(sub, f"{prefix}{name}.").items()}
    return {prefix.removesuffix("."): tree}
