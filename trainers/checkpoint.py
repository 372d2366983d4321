"""The folder of a training run: what it was, how it went, and checkpoints that a power cut cannot tear.

    run.json                          stage, settings, recipe, data, versions, parameter counts; when it was resumed
    log.jsonl                         one record per line
    tensorboard/                      the same for TensorBoard, if that is installed
    checkpoints/step_00000500/        weights.safetensors, average.safetensors (with an EMA), state.pt (optimiser), and
                                      manifest.json with size and checksum of each
    weights.safetensors, curves.png   the result and how it came about, written at the end
    run.lock                          who trains into it (`lock.py`)

Every file and checkpoint folder is written under a temporary name, flushed to disk and renamed: it is there whole or
not at all. Disks fail and folders are copied halfway, though: a checkpoint is only gone on from if it is what was
written; otherwise the newest one before it that is. `state.pt` is our own and is still read with `weights_only=True`;
weights are safetensors. Checkpoints of format 1, which had no manifest, are read as well, without a checksum.

Of several processes the first one writes and reads; tensors that are split over them are put together before and dealt
out after. So a checkpoint is the same file however many processes wrote it, and any other number may go on with it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ConfigDict, Field
from safetensors import SafetensorError
from torch import Tensor, nn

from fo1agent.errors import CheckpointError, TrainingError
from fo1agent.model.folder import Stored, checked, kind_of, opened, read_json
from fo1agent.trainers.checkpoint_files import (
    Checkpoint,
    check_state,
    read_checkpoint,
    save_tensors,
    trained_state,
    write_checkpoint,
)
from fo1agent.trainers.lock import locked
from fo1agent.trainers.processes import ONE, Processes
from fo1agent.whole import remove, whole

log = logging.getLogger(__name__)

T = TypeVar("T")
_DAMAGED = "damaged-"  # stands before the name of a checkpoint that cannot be gone on from
_NAME = re.compile(r"step_\d{8,15}")
_MAX_LINE = 1 << 20  # bytes of a line of log.jsonl

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


class RunRecord(Stored):
    """run.json, as far as it is read again."""

    model_config = ConfigDict(extra="allow")

    stage: str
    settings: dict[str, Any]
    resumed: list[Any] = Field(default_factory=list)


class RunFolder:
    """One run's folder; see the module's docstring for what it holds.

    Everybody may read it at any time. Whoever writes holds it (`held`), so that no two do.
    """

    def __init__(self, path: str | Path, processes: Processes = ONE) -> None:
        self.path, self._processes = Path(path), processes
        self.checkpoints = self.path / "checkpoints"
        self._newest: Checkpoint | None = None
        if not processes.first:
            return
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise TrainingError(f"Cannot make the run folder {self.path}: {exc}. Choose another one.") from exc

    @contextmanager
    def held(self) -> Iterator[None]:
        """Train into this folder, alone; what a killed run left half-written is swept away first.

        Of several processes the first one holds it for all.

        Raises:
            TrainingError: another training does; names its process, its machine and since when. On all processes.
        """
        with ExitStack() as stack:

            def hold() -> None:
                stack.enter_context(locked(self.path))
                for leftover in [*self.path.glob(".tmp-*"), *self.checkpoints.glob(".tmp-*")]:
                    with self._writing(leftover, 0):
                        remove(leftover)

            self._by_first(hold)
            yield

    def _by_first(self, act: Callable[[], T]) -> T | None:
        """What the first process gets by `act`, there; None elsewhere. Its error is raised on all of them."""
        found, problem = None, None
        if self._processes.first:
            try:
                found = act()
            except (TrainingError, CheckpointError) as exc:
                problem = exc
        problem = self._processes.from_first(problem)
        if problem is not None:
            raise problem
        return found

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
            TrainingError: the folder holds another run (names the keys that differ), its record is damaged, or none of
                its checkpoints is whole.
        """
        recipe = asdict(recipe) if is_dataclass(recipe) and not isinstance(recipe, type) else recipe
        what = {"stage": stage, "settings": settings, "recipe": recipe, **({"data": data} if data else {})}
        self._by_first(lambda: self._record(json.loads(json.dumps(what, default=str)), counts))

    def _record(self, what: dict[str, Any], counts: Mapping[str, int]) -> None:
        file = self.path / "run.json"
        where = {
            "versions": versions(),
            "processes": self._processes.size,
            "device": str(self._processes.device.type),
            "threads": torch.get_num_threads(),
        }
        if not os.path.lexists(file):
            record = {**what, "parameters": dict(counts), **where, "resumed": []}
        else:
            record = self._recorded(file)
            before, now = _flatten({k: record.get(k) for k in what}), _flatten(what)
            differing = [
                f"{key}: {before.get(key)!r} before, {now.get(key)!r} now"
                for key in sorted(before.keys() | now.keys())
                if before.get(key) != now.get(key) and key.rsplit(".", 1)[-1] not in BOOKKEEPING
            ]
            if differing:
                raise TrainingError(f"{self.path} holds another run ({'; '.join(differing)}). Choose another folder.")
            self._newest = self._newest_whole()
            resumed = {"step": self._newest.step if self._newest else 0, **where}
            if resumed in record.setdefault("resumed", []):
                return
            record["resumed"].append(resumed)
        text = json.dumps(record, indent=1) + "\n"
        with self._writing(file, len(text)), whole(file) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _recorded(self, file: Path) -> dict[str, Any]:
        try:
            record = read_json(file)
            checked(RunRecord, record, file)
            _flatten(record)  # as deep as it will be looked at
        except (CheckpointError, RecursionError) as exc:
            told = str(exc) if isinstance(exc, CheckpointError) else f"{file} is nested too deep."
            raise TrainingError(
                f"{told} The record of the run is damaged. Choose another folder, or, if the run was started by this "
                "same command, delete that file and start it again."
            ) from exc
        return record

    def log(self, record: dict[str, Any], on_log: Callable[[dict[str, Any]], None] | None) -> None:
        """Append one line to `log.jsonl` and hand the record on."""
        if not self._processes.first:
            return
        line = json.dumps(record) + "\n"
        file = self.path / "log.jsonl"
        with self._writing(file, len(line)):
            if kind := kind_of(file):  # a pipe would wait for its reader
                raise OSError(f"it is {kind}, no regular file")
            with open(file, "a", encoding="utf-8") as opened_file:
                opened_file.write(line)
        if on_log:
            on_log(record)

    def records(self) -> list[dict[str, Any]]:
        """What was logged so far, without lines that are none: half a line of a killed run, or a damaged one.

        Raises:
            CheckpointError: `log.jsonl` is no regular file, or cannot be read.
        """
        file = self.path / "log.jsonl"
        if not os.path.lexists(file):
            return []
        with opened(file) as lines:
            found = [_logged(line) for line in iter(lambda: lines.readline(_MAX_LINE), b"")]
        return [record for record in found if record is not None]

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
        gathered = self._processes.whole
        weights = {name: gathered(tensor) for name, tensor in trained_state(model).items()}
        averages = {str(i): gathered(tensor) for i, tensor in enumerate(average)}
        state = optimizer.state_dict()
        state["state"] = {i: {key: gathered(t) for key, t in own.items()} for i, own in state["state"].items()}
        if self._processes.first:
            self._write_checkpoint(
                target, weights, averages, {"step": step, "optimizer": state, "meter": asdict(meter)}
            )
            superseded = [path for path, at in self._set_aside() if at <= step]
            for old in [*self.all_checkpoints()[:-keep_last], *superseded]:
                # Renamed first, so that what is left of an interrupted removal is not taken for a checkpoint.
                doomed = old.with_name(f".tmp-{old.name}")
                with self._writing(doomed, 0):
                    old.rename(doomed)
                    remove(doomed)
        self._processes.wait()
        return target

    def _write_checkpoint(self, target: Path, weights: Any, averages: Any, state: dict[str, Any]) -> None:
        held = [*weights.values(), *averages.values()]
        held += [tensor for own in state["optimizer"]["state"].values() for tensor in own.values()]
        with self._writing(target, sum(tensor.nbytes for tensor in held)):
            if os.path.lexists(target):
                self._put_aside(target)
            with whole(target) as folder:
                write_checkpoint(folder, weights, averages, state)

    def all_checkpoints(self) -> list[Path]:
        """What has the name of a checkpoint, oldest first."""
        return sorted((path for path in self.checkpoints.glob("step_*") if _NAME.fullmatch(path.name)), key=_step)

    def _set_aside(self) -> list[tuple[Path, int]]:
        """Damaged checkpoints, and their steps."""
        found = self.checkpoints.glob(f"{_DAMAGED}step_*")
        return [(path, _step(path)) for path in found if _NAME.fullmatch(path.name.removeprefix(_DAMAGED))]

    def _put_aside(self, checkpoint: Path) -> Path:
        aside = checkpoint.with_name(f"{_DAMAGED}{checkpoint.name}")
        remove(aside)
        return checkpoint.rename(aside)

    def _newest_whole(self) -> Checkpoint | None:
        """The newest checkpoint that is what was written; None if there are none. Newer ones are put aside.

        Raises:
            TrainingError: there are checkpoints, and none is whole; or a later version of fo1agent wrote it.
        """
        newest = None
        problems: dict[Path, str] = {}
        for path in reversed(self.all_checkpoints()):
            try:
                newest = read_checkpoint(path)
                break
            except CheckpointError as exc:
                problems[path] = str(exc)
        if problems and newest is None:
            raise TrainingError(
                f"No checkpoint in {self.checkpoints} is whole: {' '.join(problems.values())} Restore one, or delete "
                "that folder to begin the run anew."
            )
        start = "the beginning" if newest is None else f"{newest.path.name}, which is whole"
        for stray in self.checkpoints.glob("step_*"):
            if not _NAME.fullmatch(stray.name):
                log.warning("%s is left alone: it is not named step_ and 8 digits. Going on from %s.", stray, start)
        for path, problem in problems.items():
            with self._writing(path, 0):
                aside = self._put_aside(path)
            log.warning("%s Kept as %s. Going on from %s.", problem, aside.name, start)
        return newest

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer, average: list[Tensor]) -> tuple[int, Meter]:
        """Load the newest whole checkpoint, if any, in place, and cut `log.jsonl` back to it.

        Returns:
            Steps already done (0 for a new run), and the meter as it was.

        Raises:
            TrainingError: there are checkpoints, and none is whole. On all processes.
            CheckpointError: it is of another model. On all processes.
        """
        processes = self._processes

        def read() -> Checkpoint | None:
            newest = self._newest or self._newest_whole()  # `record_run` has looked already
            if newest is not None:
                check_state(model, newest.weights, average, newest.averages)
            return newest

        found = self._by_first(read)
        self._newest = None
        step, meter = 0, Meter()
        if processes.from_first(found is not None):
            for name, tensor in trained_state(model).items():
                processes.spread(found and found.weights[name], tensor)
            for i, tensor in enumerate(average):
                processes.spread(found and found.averages[str(i)], tensor)
            self._restore_optimizer(optimizer, found and found.state["optimizer"])
            step, counted = processes.from_first((found.step, found.state["meter"]) if found else None)
            meter = Meter(**counted)
        self._by_first(lambda: self._cut_log(step))
        return step, meter

    def _restore_optimizer(self, optimizer: torch.optim.Optimizer, saved: dict[str, Any] | None) -> None:
        if self._processes.size > 1:
            # Every process needs a place of the right kind for what the first one deals out.
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            state = saved["state"] if saved else {}
            layout = {i: {key: tensor.to("meta") for key, tensor in own.items()} for i, own in state.items()}
            dealt = self._processes.from_first(saved and {**saved, "state": layout})
            for i, own in dealt["state"].items():
                for key, bare in own.items():
                    like = parameters[i] if bare.shape == parameters[i].shape else bare
                    own[key] = torch.zeros_like(like, dtype=bare.dtype, device=self._processes.device)
                    self._processes.spread(state[i][key] if saved else None, own[key])
            saved = dealt
        assert saved is not None
        try:
            optimizer.load_state_dict(saved)
        except (ValueError, KeyError, TypeError) as exc:
            raise CheckpointError(f"The optimiser's state in the checkpoint is of another model: {exc}.") from exc

    def _cut_log(self, step: int) -> None:
        # A killed run may have logged steps that it never saved, and half a line.
        file = self.path / "log.jsonl"
        if file.exists():
            text = "".join(json.dumps(record) + "\n" for record in self.records() if record["step"] <= step)
            with self._writing(file, len(text)), whole(file) as temporary:
                temporary.write_text(text, encoding="utf-8")

    def write_weights(self, state: Mapping[str, Tensor]) -> Path:
        """Write the run's result, `weights.safetensors`."""
        target = self.path / "weights.safetensors"
        tensors: Any = {name: self._processes.whole(tensor) for name, tensor in state.items()}
        if self._processes.first:
            with self._writing(target, sum(t.nbytes for t in tensors.values())), whole(target) as temporary:
                save_tensors(tensors, temporary)
        self._processes.wait()
        return target

    @contextmanager
    def _writing(self, target: Path, size: int) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, SafetensorError) as exc:  # safetensors and torch.save raise their own
            raise TrainingError(f"Cannot write {target}: {exc}. {_advice(exc, target, size)}") from exc


def _advice(exc: Exception, target: Path, size: int) -> str:
    try:
        free = shutil.disk_usage(target.parent).free
    except OSError:
        return f"{target.parent} is gone: somebody removed or renamed it while this run wrote into it."
    if getattr(exc, "errno", None) in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Nothing may be written there. All that was written before is whole."
    return (
        f"It takes {_megabytes(size)} and {_megabytes(free)} are free there. "
        "All that was written before is whole: make room, and start the same command again to go on."
    )


def _logged(line: bytes) -> dict[str, Any] | None:
    """A line of `log.jsonl`, if it is one."""
    try:
        record = json.loads(line)
        fits = type(record["step"]) is int and isinstance(record.get("metrics", {}), dict)
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return None
    return record if fits else None


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


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {k: v for name, sub in tree.items() for k, v in _flatten(sub, f"{prefix}{name}.").items()}
    return {prefix.removesuffix("."): tree}


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix(_DAMAGED).removeprefix("step_"))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
