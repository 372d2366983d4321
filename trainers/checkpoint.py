"""The folder of a training run: what it was, how it went, and checkpoints that a power cut cannot tear.

    run.json                          stage, settings, recipe, data, versions, parameter counts; when it was resumed
    log.jsonl                         one record per line
    tensorboard/                      the same for TensorBoard, if that is installed
    checkpoints/step_00000500/        weights.safetensors, average.safetensors (with an EMA), state.pt (optimiser)
    weights.safetensors, curves.png   the result and how it came about, written at the end

Every file and checkpoint folder is written under a temporary name, flushed to disk and renamed: it is there whole or
not at all. `state.pt` is our own and is still read with `weights_only=True`; weights are safetensors.

Of several processes the first one writes and reads; tensors that are split over them are put together before and dealt
out after. So a checkpoint is the same file however many processes wrote it, and any other number may go on with it.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fo1agent.errors import CheckpointError, TrainingError
from fo1agent.trainers.processes import ONE, Processes

# These may change between the halves of a resumed run: they do not touch what is learned, or only by the rounding of
# sums that are taken in another order.
BOOKKEEPING = (
    *("save_every", "keep_last", "log_every", "eval_every", "root", "cache", "run"),
    *("accumulate", "recompute", "split"),
)


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
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    state: dict[str, Tensor] = {}
    seen: set[tuple[int, torch.Size]] = set()
    for name, tensor in model.state_dict().items():
        if name not in parameters and tensor.numel():  # a buffer, which may be another one's too
            key = (tensor.data_ptr(), tensor.shape)
            if key in seen:
                continue
            seen.add(key)
        if name in trained or name not in parameters:
            state[name] = tensor
    return state


def load_trained_state(model: nn.Module, state: Mapping[str, Tensor] | None, processes: Processes = ONE) -> None:
    """Put `state` back into `model`; only the first process passes it.

    Raises:
        CheckpointError: the tensors are not those that `trained_state(model)` would save; names the keys.
    """
    wanted = trained_state(model)
    if state is not None:
        missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
        shapes = [k for k in wanted.keys() & state.keys() if wanted[k].shape != state[k].shape]
        if missing or extra or shapes:
            raise CheckpointError(
                f"Checkpoint and model differ: missing {missing}, unknown {extra}, other shape {shapes}."
            )
    for name, tensor in wanted.items():
        processes.spread(state[name] if state is not None else None, tensor)


class RunFolder:
    """One run's folder; see the module's docstring for what it holds."""

    def __init__(self, path: str | Path, processes: Processes = ONE) -> None:
        self.path, self._processes = Path(path), processes
        self.checkpoints = self.path / "checkpoints"
        if not processes.first:
            return
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise TrainingError(f"Cannot make the run folder {self.path}: {exc}. Choose another one.") from exc
        for leftover in [*self.path.glob(".tmp-*"), *self.checkpoints.glob(".tmp-*")]:  # of a killed run
            _remove(leftover)

    def record_run(
        self,
        stage: str,
        settings: dict[str, Any],
        recipe: Any,
        counts: Mapping[str, int],
        data: str | None = None,
    ) -> None:
        """Write `run.json`; if there is one already, check that it is the same run, and note the resumption.

        Args:
            stage, settings, recipe: what is run.
            counts: parameters by part.
            data: a hash of what is learned from, if the stage gives one.

        Raises:
            TrainingError: the folder holds another run; names the keys that differ.
        """
        if not self._processes.first:
            return
        recipe = asdict(recipe) if is_dataclass(recipe) and not isinstance(recipe, type) else recipe
        what = {"stage": stage, "settings": settings, "recipe": recipe, **({"data": data} if data else {})}
        what = json.loads(json.dumps(what, default=str))
        file = self.path / "run.json"
        where = {
            "versions": versions(),
            "processes": self._processes.size,
            "device": str(self._processes.device.type),
            "threads": torch.get_num_threads(),
        }
        if not file.exists():
            record = {**what, "parameters": dict(counts), **where, "resumed": []}
        else:
            record = json.loads(file.read_text(encoding="utf-8"))
            before, now = _flatten({k: record.get(k) for k in what}), _flatten(what)
            differing = [
                f"{key}: {before.get(key)!r} before, {now.get(key)!r} now"
                for key in sorted(before.keys() | now.keys())
                if before.get(key) != now.get(key) and key.rsplit(".", 1)[-1] not in BOOKKEEPING
            ]
            if differing:
                raise TrainingError(f"{self.path} holds another run ({'; '.join(differing)}). Choose another folder.")
            found = self.all_checkpoints()
            resumed = {"step": _step(found[-1]) if found else 0, **where}
            if resumed in record.setdefault("resumed", []):
                return
            record["resumed"].append(resumed)
        text = json.dumps(record, indent=1) + "\n"
        with self._writing(file, len(text)):
            write_atomic(file, lambda tmp: tmp.write_text(text, encoding="utf-8"))

    def log(self, record: dict[str, Any], on_log: Callable[[dict[str, Any]], None] | None) -> None:
        """Append one line to `log.jsonl` and hand the record on."""
        if not self._processes.first:
            return
        line = json.dumps(record) + "\n"
        file = self.path / "log.jsonl"
        with self._writing(file, len(line)), open(file, "a", encoding="utf-8") as opened:
            opened.write(line)
        if on_log:
            on_log(record)

    def records(self) -> list[dict[str, Any]]:
        """What was logged so far; half a line of a killed run ends it."""
        file = self.path / "log.jsonl"
        found: list[dict[str, Any]] = []
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return found

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: list[Tensor],
        meter: Meter,
        keep_last: int,
    ) -> Path:
        """Write the checkpoint after `step` steps; then remove all but the newest `keep_last`.

        Raises:
            TrainingError: it cannot be written, as on a full disk; says what it takes. Older ones are untouched.
        """
        target = self.checkpoints / f"step_{step:08d}"
        whole = self._processes.whole
        weights = {name: whole(tensor) for name, tensor in trained_state(model).items()}
        averages = {str(i): whole(tensor) for i, tensor in enumerate(average)}
        state = optimizer.state_dict()
        state["state"] = {i: {key: whole(t) for key, t in own.items()} for i, own in state["state"].items()}
        if self._processes.first:
            self._write_checkpoint(
                target, weights, averages, {"step": step, "optimizer": state, "meter": asdict(meter)}
            )
            for old in self.all_checkpoints()[:-keep_last]:
                # Renamed first, so that what is left of an interrupted removal is not taken for a checkpoint.
                doomed = old.with_name(f".tmp-{old.name}")
                old.rename(doomed)
                shutil.rmtree(doomed)
        self._processes.wait()
        return target

    def _write_checkpoint(self, target: Path, weights: Any, averages: Any, state: dict[str, Any]) -> None:
        def write(folder: Path) -> None:
            folder.mkdir()
            _save_tensors(weights, folder / "weights.safetensors")
            if averages:
                _save_tensors(averages, folder / "average.safetensors")
            torch.save(state, folder / "state.pt")

        held = [*weights.values(), *averages.values()]
        held += [tensor for own in state["optimizer"]["state"].values() for tensor in own.values()]
        if not target.exists():
            with self._writing(target, sum(tensor.nbytes for tensor in held)):
                write_atomic(target, write)

    def all_checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(self.checkpoints.glob("step_*"))

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer, average: list[Tensor]) -> tuple[int, Meter]:
        """Load the newest checkpoint, if any, in place, and cut `log.jsonl` back to it.

        Returns:
            Steps already done (0 for a new run), and the meter as it was.
        """
        processes = self._processes
        found = self.all_checkpoints()[-1:] if processes.first else []
        step, meter = 0, Meter()
        if processes.from_first(bool(found)):
            weights = averages = state = None
            if found:
                weights = load_file(found[0] / "weights.safetensors")
                averages = load_file(found[0] / "average.safetensors") if average else {}
                state = torch.load(found[0] / "state.pt", map_location="cpu", weights_only=True)
            load_trained_state(model, weights, processes)
            for i, tensor in enumerate(average):
                processes.spread(averages[str(i)] if averages is not None else None, tensor)
            self._restore_optimizer(optimizer, state and state["optimizer"])
            step, counted = processes.from_first((state["step"], state["meter"]) if state else None)
            meter = Meter(**counted)
        if processes.first:
            self._cut_log(step)
        return step, meter

    def _restore_optimizer(self, optimizer: torch.optim.Optimizer, saved: dict[str, Any] | None) -> None:
        if self._processes.size > 1:
            # Every process needs a place of the right kind for what the first one deals out.
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            layout = (
                {i: {k: (t.shape, t.dtype) for k, t in own.items()} for i, own in saved["state"].items()}
                if saved
                else {}
            )
            dealt: dict[int, dict[str, Tensor]] = {}
            for i, own in self._processes.from_first(layout).items():
                dealt[i] = {}
                for key, (shape, dtype) in own.items():
                    like = parameters[i] if shape == parameters[i].shape else torch.empty(shape)
                    place = torch.zeros_like(like, dtype=dtype, device=self._processes.device, requires_grad=False)
                    self._processes.spread(saved["state"][i][key] if saved else None, place)
                    dealt[i][key] = place
            groups = self._processes.from_first(saved["param_groups"] if saved else None)
            saved = {"state": dealt, "param_groups": groups}
        assert saved is not None
        optimizer.load_state_dict(saved)

    def _cut_log(self, step: int) -> None:
        # A killed run may have logged steps that it never saved, and half a line.
        file = self.path / "log.jsonl"
        if file.exists():
            text = "".join(json.dumps(record) + "\n" for record in self.records() if record["step"] <= step)
            with self._writing(file, len(text)):
                write_atomic(file, lambda tmp: tmp.write_text(text, encoding="utf-8"))

    def write_weights(self, state: Mapping[str, Tensor]) -> Path:
        """Write the run's result, `weights.safetensors`."""
        target = self.path / "weights.safetensors"
        whole: Any = {name: self._processes.whole(tensor) for name, tensor in state.items()}
        if self._processes.first:
            with self._writing(target, sum(tensor.nbytes for tensor in whole.values())):
                write_atomic(target, lambda tmp: _save_tensors(whole, tmp))
        self._processes.wait()
        return target

    @contextmanager
    def _writing(self, target: Path, size: int) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, SafetensorError) as exc:  # safetensors and torch.save raise their own
            free = shutil.disk_usage(target.parent).free
            raise TrainingError(
                f"Cannot write {target}: {exc}. It takes {_megabytes(size)} and {_megabytes(free)} are free there. "
                "All that was written before is whole: make room, and start the same command again to go on."
            ) from exc


def versions() -> dict[str, str]:
    """What the run was made with; the commit only if fo1agent runs from a checkout."""
    found = {"python": platform.python_version(), "platform": platform.platform(), "torch": torch.__version__}
    for name in ("fo1agent", "transformers", "accelerate", "safetensors"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / ".git").exists():
        command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        with suppress(OSError, subprocess.CalledProcessError):
            found["commit"] = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return found


def write_atomic(target: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make a file or folder under a temporary name beside `target`, flush it to disk, rename it."""
    temporary = target.with_name(f".tmp-{target.name}")
    try:
        write(temporary)
        files = [f for f in temporary.rglob("*") if f.is_file()] if temporary.is_dir() else [temporary]
        for path in [*files, *([temporary] if temporary.is_dir() else [])]:
            _flush(path)
        os.replace(temporary, target)
    except BaseException:
        _remove(temporary)
        raise
    _flush(target.parent)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    # safetensors makes files that only their owner may read; a result has the rights of any other new file.
    path.touch()
    mode = path.stat().st_mode
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
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


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step_"))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
