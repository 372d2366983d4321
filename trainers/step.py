"""One training step on one screen (`train_step`), and the loop that repeats it (`train`).

    batch → forward → losses by name → weighted sum → backward → clip → step → log

Knows nothing of pictures, text or models: a `Stage` says what trains, makes batches and computes named losses, so the
differences between stages are data. Everything random in step k follows from (seed, k), so a run that was stopped and
resumed is, bit for bit in one process on one machine, the run that was never stopped. Micro-batches and processes
(`engine.py`) share the batch of a step and leave its gradient as it is.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fo1agent.errors import TrainingError
from fo1agent.trainers.checkpoint import RunFolder, trained_state
from fo1agent.trainers.curves import draw_curves
from fo1agent.trainers.engine import Engine
from fo1agent.trainers.parameters import Average, evaluating, make_optimizer, train_only
from fo1agent.trainers.precision import resolve
from fo1agent.trainers.processes import Processes, find_processes
from fo1agent.trainers.progress import Progress
from fo1agent.trainers.settings import TrainSettings
from fo1agent.trainers.signals import Stopped, exit_code, listening
from fo1agent.trainers.stage import KnowsItsData, NamesExamples, Stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What a finished run leaves: `weights` (safetensors) is the result, the rest says how it went.

    `losses` and `metrics` are those of the last step and the last evaluation; {} when nothing was left to do. `split`
    says that the stage's model is spread over processes for good: load `weights` into a new one.
    """

    steps: int
    resumed_from: int
    seconds: float
    losses: dict[str, float]
    metrics: dict[str, float]
    weights: Path
    split: bool = False


def train(
    stage: Stage,
    settings: TrainSettings,
    run_dir: str | Path,
    recipe: Any = None,
    on_log: Callable[[dict[str, Any]], None] | None = None,
) -> TrainResult:
    """Train `stage`, or go on with the run that `run_dir` holds.

    Args:
        stage: what trains. Its model is trained in place; what is not in `trainable()` is frozen and stays as it is.
        settings: see `TrainSettings`.
        run_dir: made if missing; `checkpoint.py` says what it holds. At the end `weights.safetensors` has the trained
            parameters and the buffers of `stage.model`.
        recipe: a dataclass or dict to record beside the weights; a run is only resumed with an equal one.
        on_log: receives every record that goes to `log.jsonl`.

    Started by `accelerate launch` or `torchrun`, every process calls this alike; the first one writes and logs.

    Raises:
        TrainingError: a loss or gradient is not finite, a file cannot be written, or `run_dir` holds a run with other
            settings, has no whole checkpoint among those it holds, or is trained into by another process.
        Stopped: SIGTERM or SIGINT came; the step was finished and a checkpoint written. It is a SystemExit.
    """
    started = time.perf_counter()
    processes = find_processes()
    parts = train_only(stage.model, stage.trainable())
    counts = {name: sum(p.numel() for p in parameters) for name, parameters in parts.items()}
    frozen = sum(p.numel() for p in stage.model.parameters() if not p.requires_grad)
    if processes.first:
        trained = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        log.info("%s: training %s; frozen %s", stage.name, trained, f"{frozen:,}")
    folder = RunFolder(run_dir, processes)
    with folder.held():
        data = stage.data_fingerprint() if isinstance(stage, KnowsItsData) else None
        folder.record_run(stage.name, asdict(settings), recipe, {**counts, "frozen": frozen}, data)
        if settings.precision == "auto":
            chosen = processes.from_first(resolve(settings.precision, processes.device))
            settings = replace(settings, precision=chosen)
            log.info("%s: in %s, the faster one here", stage.name, chosen)
        with Engine.placed(stage, processes, settings.split, settings.recompute) as engine:
            return _run(stage, settings, folder, engine, on_log, started)


def _run(
    stage: Stage,
    settings: TrainSettings,
    folder: RunFolder,
    engine: Engine,
    on_log: Callable[[dict[str, Any]], None] | None,
    started: float,
) -> TrainResult:
    """The loop of `train`, from the newest checkpoint on."""
    processes = engine.processes
    parts = stage.trainable()
    optimizer = make_optimizer(parts, settings)
    average = Average(parts, settings.ema)
    first, meter = folder.restore(stage.model, optimizer, average.tensors)
    losses: dict[str, float] = {}
    metrics: dict[str, float] = {}
    progress = Progress(stage.name, folder.path, first, settings.steps, shown=processes.first)

    def publish(record: dict[str, Any]) -> None:
        progress.record(record)
        if on_log:
            on_log(record)

    with progress, listening() as signals:
        for step in range(first, settings.steps):
            done = step + 1
            losses = train_step(stage, optimizer, settings, step, engine)
            average.update(step)

            meter.add(losses)
            progress.step(done, losses["loss"])
            last = done == settings.steps
            if done % settings.log_every == 0 or last:
                record = {"step": done, **meter.means(), "lr": settings.lr * settings.rate(step)}
                rate = (done - first) / (time.perf_counter() - started)
                folder.log({**record, "steps_per_second": round(rate, 3)}, publish)
                meter.reset()
            if settings.eval_every and (done % settings.eval_every == 0 or last):
                with average.in_place(), evaluating(stage.model):
                    metrics = engine.evaluate()
                folder.log({"step": done, "metrics": metrics}, publish)
            signal = "" if last else signals.agreed(processes)
            if done % settings.save_every == 0 or last or signal:
                folder.save(done, stage.model, optimizer, average.tensors, meter, settings.keep_last)
            if signal:
                if processes.first:
                    log.warning(
                        "%s: stopped by %s after step %d of %d; a checkpoint is in %s. "
                        "Start the same command again to go on.",
                        *(stage.name, signal, done, settings.steps, folder.path),
                    )
                raise Stopped(exit_code(signal))

    with average.in_place():
        weights = folder.write_weights(trained_state(stage.model))
    if processes.first:
        draw_curves(folder.records(), folder.path / "curves.png", stage.name)
    return TrainResult(settings.steps, first, time.perf_counter() - started, losses, metrics, weights, engine.split)


def train_step(
    stage: Stage, optimizer: torch.optim.Optimizer, settings: TrainSettings, step: int, engine: Engine
) -> dict[str, float]:
    """Step `step` (from 0); returns `loss` (the weighted sum), every loss by its name, and `grad_norm`.

    Raises:
        TrainingError: a loss or gradient is not finite (each term is printed), or a loss has no weight.
    """
    processes, weights = engine.processes, stage.loss_weights
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    own_parts = range(processes.rank * settings.accumulate, (processes.rank + 1) * settings.accumulate)
    batches = []
    for part in own_parts:
        seed_everything(settings.seed, step, part)
        batches.append(stage.batch(step, part, settings.accumulate * processes.size))
    own_counts = [stage.counts(batch) for batch in batches]
    counts = processes.total(add_up(own_counts, weights))
    scales = {name: weight / max(1, counts[name]) for name, weight in weights.items()}

    found = []
    for part, batch, own in zip(own_parts, batches, own_counts, strict=True):
        seed_everything(settings.seed, step, part)
        with engine.collecting(last=part == own_parts[-1]):
            with torch.autocast(processes.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
                total, losses = engine.losses(batch, own, scales)
            engine.backward(total)
        found.append(losses)
    norm = engine.clip(parameters, settings.clip_norm)

    sums, norm = read_numbers(found, norm)
    values = mean_values(sums, counts, weights, processes)
    if not all(map(math.isfinite, [*values.values(), norm])):
        spoilt = [batch for batch, own in zip(batches, sums, strict=True) if not all(map(math.isfinite, own.values()))]
        names = processes.lists(example_names(stage, batches if math.isfinite(values["loss"]) else spoilt))
        raise TrainingError(not_finite(step, values, norm, weights, names))
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * settings.rate(step)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {**values, "grad_norm": norm}


def share(batch_size: int, part: int, parts: int) -> range:
    """Places in a batch of `batch_size` examples that make up part `part` of `parts`; sizes differ by one at most.

    Raises:
        TrainingError: some part would be empty.
    """
    if parts > batch_size:
        raise TrainingError(
            f"A batch of {batch_size} cannot be cut into {parts} parts (processes x accumulate). "
            "Raise batch_size, or lower one of these."
        )
    return range(part * batch_size // parts, (part + 1) * batch_size // parts)


def seed_everything(seed: int, step: int, part: int = 0) -> None:
    """Make whatever is random in a part of a step (dropout, a stage's own draws) a function of (seed, step, part)."""
    value = (seed * 1_000_003 + step + part * 7_368_787) % 2**32
    _generator_seed()(value)
    random.seed(value)
    np.random.seed(value)


@cache
def _generator_seed() -> Callable[[int], Any]:
    # `torch.manual_seed` seeds every device, and for each kind that is absent formats a traceback: half a millisecond.
    return torch.manual_seed if torch.accelerator.is_available() else torch.default_generator.manual_seed


def add_up(several: Sequence[Mapping[str, float]], names: Iterable[str]) -> dict[str, float]:
    """Sums by name; 0 for a name that stands nowhere."""
    return {name: sum(own.get(name, 0) for own in several) for name in names}


def read_numbers(found: Sequence[Mapping[str, Tensor]], norm: Tensor) -> tuple[list[dict[str, float]], float]:
    """The losses of every micro-batch and the gradient norm as numbers: one transfer from the device for all."""
    losses = [loss.float() for own in found for loss in own.values()]
    *numbers, norm_value = torch.stack([*losses, norm.to(torch.float32)]).tolist()
    values = iter(numbers)
    return [{name: next(values) for name in own} for own in found], norm_value


def mean_values(
    sums: Sequence[Mapping[str, float]], counts: Mapping[str, float], weights: Mapping[str, float], processes: Processes
) -> dict[str, float]:
    """`loss` and every loss that occurred, over all micro-batches of all processes.

    Raises:
        TrainingError: there was no loss at all.
    """
    totals = processes.total(add_up(sums, weights))
    present = processes.total(add_up([dict.fromkeys(own, 1.0) for own in sums], weights))
    means = {name: totals[name] / max(1, counts[name]) for name in weights if present[name]}
    if not means:
        raise TrainingError("The stage returned no losses. Return at least one in every step.")
    return {"loss": sum(weights[name] * value for name, value in means.items()), **means}


def example_names(stage: Stage, batches: Sequence[Any]) -> list[str]:
    """What is in the batches, as far as the stage can say."""
    return (
        [name for batch in batches for name in stage.example_names(batch)] if isinstance(stage, NamesExamples) else []
    )


def not_finite(
    step: int, values: Mapping[str, float], norm: float, weights: Mapping[str, float], names: Sequence[str]
) -> str:
    """The message: what is not finite, every term, and the examples it came from."""
    what = f"the gradient norm is {norm}" if math.isfinite(values["loss"]) else "the loss is not finite"
    terms = [f"{name} = {value:g} (weight {weights[name]:g})" for name, value in values.items() if name != "loss"]
    shown = f"{', '.join(names[:8])}{f' and {len(names) - 8} more' if len(names) > 8 else ''}"
    return f"Step {step}: {what}; {', '.join(terms)}." + (f" It was learning from {shown}." if names else "")
