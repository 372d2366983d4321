"""One training step on one screen (`train_step`), and the loop that repeats it (`train`).

    batch → forward → losses by name → weighted sum → backward → clip → step → log

Knows nothing of pictures, text or models: a `Stage` says what trains, makes batches and computes named losses, so the
differences between stages are data. Everything random in step k follows from (seed, k), so a run that was stopped and
resumed is, bit for bit on one machine, the run that was never stopped.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fo1agent.errors import InputError, TrainingError
from fo1agent.trainers.checkpoint import RunFolder, trained_state

log = logging.getLogger(__name__)


class Stage(Protocol):
    """What trains, on what, by which losses."""

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> nn.Module: ...

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """Weight of every loss that `losses` may return."""
        ...

    def trainable(self) -> Mapping[str, list[nn.Parameter]]:
        """The parameters that train, by part; all others of `model` are frozen."""
        ...

    def batch(self, step: int, part: int = 0, parts: int = 1) -> Any:
        """Part `part` of `parts` of the batch of step `step` (both from 0); see `share`.

        A function of the stage's seed and `step` alone, or resuming would lie: the parts together are the same
        examples, asked the same, however many parts there are.
        """
        ...

    def counts(self, batch: Any) -> Mapping[str, int]:
        """What each loss is a mean over, as far as `batch` holds it: tokens, pictures, cells. Known before `losses`."""
        ...

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Scalar losses by name, each a sum over what `counts` counts and not divided by it.

        One that has nothing to learn from in this batch may be left out. The step divides by the count of the whole
        batch, so a batch in parts, on one machine or many, has the gradient of the batch in one piece.
        """
        ...

    def evaluate(self) -> dict[str, float]:
        """Figures on held-back data, called every `eval_every` steps; {} when there are none to take."""
        ...


@dataclass(frozen=True)
class TrainSettings:
    """How long, how fast and how carefully to train; checked when made.

    Attributes:
        steps: optimiser steps of the whole run.
        lr: peak learning rate.
        part_lr: peak learning rate of the parts that need another one, by the part names of `Stage.trainable`.
        warmup: steps over which the rate rises linearly from 0.
        schedule: how the rate falls to `final_lr` x peak after the warm-up.
        weight_decay: AdamW's, for matrices and kernels; vectors (biases, norms) never decay.
        clip_norm: largest gradient norm over all trained parameters.
        precision: "bfloat16" runs the forward pass under autocast; weights and optimiser stay float32.
        ema: decay of an exponential moving average of the weights, which is then what is evaluated and saved as
            the result; 0 for none.
        save_every, keep_last: a checkpoint every so many steps (and at the end), the newest few kept.
        log_every: a line in `log.jsonl` every so many steps, with means since the last line.
        eval_every: `Stage.evaluate` every so many steps and at the end; 0 for never.
    """

    steps: int
    lr: float
    part_lr: Mapping[str, float] = field(default_factory=dict)
    warmup: int = 0
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    final_lr: float = 0.0
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    ema: float = 0.0
    save_every: int = 500
    keep_last: int = 2
    log_every: int = 20
    eval_every: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "save_every", "keep_last", "log_every"):
            if getattr(self, name) < 1:
                raise InputError(f"TrainSettings.{name} must be at least 1, got {getattr(self, name)}.")
        rates = {f"part_lr.{part}": rate for part, rate in self.part_lr.items()}
        for name, value in {"lr": self.lr, "clip_norm": self.clip_norm, **rates}.items():
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"TrainSettings.{name} must be positive and finite, got {value}.")
        for name in ("warmup", "weight_decay", "final_lr", "eval_every", "seed"):
            if not getattr(self, name) >= 0:
                raise InputError(f"TrainSettings.{name} must not be negative, got {getattr(self, name)}.")
        if self.schedule not in ("cosine", "linear", "constant"):
            raise InputError(f"TrainSettings.schedule is cosine, linear or constant, got {self.schedule!r}.")
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"TrainSettings.precision is float32 or bfloat16, got {self.precision!r}.")
        if not 0 <= self.ema < 1:
            raise InputError(f"TrainSettings.ema must be in [0, 1), got {self.ema}.")

    def rate(self, step: int) -> float:
        """Share of the peak learning rate in step `step` (from 0)."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.schedule == "constant":
            return 1.0
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        falling = 0.5 * (1 + math.cos(math.pi * done)) if self.schedule == "cosine" else 1 - done
        return self.final_lr + (1 - self.final_lr) * falling


@dataclass(frozen=True)
class TrainResult:
    """What a finished run leaves: `weights` (safetensors) is the result, the rest says how it went.

    `losses` and `metrics` are those of the last step and the last evaluation; {} when nothing was left to do.
    """

    steps: int
    resumed_from: int
    seconds: float
    losses: dict[str, float]
    metrics: dict[str, float]
    weights: Path


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
        run_dir: made if missing; holds `run.json` (recipe, settings, versions, counts), `log.jsonl`, `checkpoints/`
            and, at the end, `weights.safetensors` with the trained parameters and the buffers of `stage.model`.
        recipe: a dataclass or dict to record beside the weights; a run is only resumed with an equal one.
        on_log: receives every record that goes to `log.jsonl`.

    Raises:
        TrainingError: a loss or gradient is not finite, or `run_dir` holds a run with other settings.
    """
    started = time.perf_counter()
    parts = train_only(stage.model, stage.trainable())
    counts = {name: sum(p.numel() for p in parameters) for name, parameters in parts.items()}
    frozen = sum(p.numel() for p in stage.model.parameters() if not p.requires_grad)
    log.info(
        "%s: training %s; frozen %s", stage.name, ", ".join(f"{n} {c:,}" for n, c in counts.items()), f"{frozen:,}"
    )

    optimizer = make_optimizer(parts, settings)
    average = Average(parts, settings.ema)
    folder = RunFolder(run_dir)
    folder.record_run(stage.name, asdict(settings), recipe, {**counts, "frozen": frozen})
    first, meter = folder.restore(stage.model, optimizer, average.tensors)

    losses: dict[str, float] = {}
    metrics: dict[str, float] = {}
    for step in range(first, settings.steps):
        done = step + 1
        losses = train_step(stage, optimizer, settings, step)
        average.update(step)

        meter.add(losses)
        last = done == settings.steps
        if done % settings.log_every == 0 or last:
            record = {"step": done, **meter.means(), "lr": settings.lr * settings.rate(step)}
            rate = (done - first) / (time.perf_counter() - started)
            folder.log({**record, "steps_per_second": round(rate, 3)}, on_log)
            meter.reset()
        if settings.eval_every and (done % settings.eval_every == 0 or last):
            with average.in_place(), evaluating(stage.model):
                metrics = stage.evaluate()
            folder.log({"step": done, "metrics": metrics}, on_log)
        if done % settings.save_every == 0 or last:
            folder.save(done, stage.model, optimizer, average.tensors, meter, settings.keep_last)

    with average.in_place():
        weights = folder.write_weights(trained_state(stage.model))
    return TrainResult(settings.steps, first, time.perf_counter() - started, losses, metrics, weights)


def train_step(stage: Stage, optimizer: torch.optim.Optimizer, settings: TrainSettings, step: int) -> dict[str, float]:
    """Step `step` (from 0); returns `loss` (the weighted sum), every loss by its name, and `grad_norm`.

    Raises:
        TrainingError: a loss or gradient is not finite (each term is printed), or a loss has no weight.
    """
    seed_everything(settings.seed, step)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    batch = stage.batch(step)
    counts = stage.counts(batch)
    with torch.autocast(parameters[0].device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        losses = {name: value.float() / max(1, counts[name]) for name, value in stage.losses(batch).items()}
    total = weighted_sum(losses, stage.loss_weights)
    values = read_losses(total, losses, stage.loss_weights, step)

    total.backward()
    norm = nn.utils.clip_grad_norm_(parameters, settings.clip_norm).item()
    if not math.isfinite(norm):
        raise TrainingError(f"Step {step}: the gradient norm is {norm}; {_terms(values, stage.loss_weights)}.")
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


def seed_everything(seed: int, step: int) -> None:
    """Make whatever is random in step `step` (dropout, a stage's own draws) a function of (seed, step)."""
    value = (seed * 1_000_003 + step) % 2**32
    torch.manual_seed(value)  # seeds every device
    random.seed(value)
    np.random.seed(value)


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    unknown = sorted(set(losses) - set(weights))
    if unknown or not losses:
        raise TrainingError(
            f"The stage returned losses {sorted(losses)} but has weights for {sorted(weights)}. "
            "Return at least one loss, and only weighted ones."
        )
    return torch.stack([weights[name] * loss.float() for name, loss in losses.items()]).sum()


def read_losses(
    total: Tensor, losses: Mapping[str, Tensor], weights: Mapping[str, float], step: int
) -> dict[str, float]:
    # One transfer from the device for all of them.
    numbers = torch.stack([total.detach(), *(loss.detach().float() for loss in losses.values())]).tolist()
    values = dict(zip(["loss", *losses], numbers, strict=True))
    if not all(math.isfinite(v) for v in numbers):
        raise TrainingError(f"Step {step}: the loss is not finite; {_terms(values, weights)}.")
    return values


def _terms(values: Mapping[str, float], weights: Mapping[str, float]) -> str:
    terms = [f"{name} = {value:g} (weight {weights[name]:g})" for name, value in values.items() if name != "loss"]
    return ", ".join(terms)


def train_only(model: nn.Module, trainable: Mapping[str, list[nn.Parameter]]) -> dict[str, list[nn.Parameter]]:
    """Freeze all of `model` but `trainable`, and put modules with nothing to train into evaluation mode.

    Frozen dropout stays off and frozen batch norms keep their statistics, so a frozen part computes what it will
    compute afterwards.

    Raises:
        TrainingError: nothing trains, or a parameter stands in two parts or in no module of `model`.
    """
    parts = {name: list(parameters) for name, parameters in trainable.items()}
    everything = [p for parameters in parts.values() for p in parameters]
    ids = {id(p) for p in everything}
    if not everything or not all(parts.values()):
        raise TrainingError(f"Nothing to train in part(s) {[n for n, p in parts.items() if not p] or 'at all'}.")
    if len(ids) != len(everything):
        raise TrainingError(f"A parameter stands twice in the parts {list(parts)}.")
    if not ids <= {id(p) for p in model.parameters()}:
        raise TrainingError("A trainable parameter is not part of the stage's model.")
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in ids)
    _set_modes(model, ids, inherited=False)
    return parts


def _set_modes(module: nn.Module, ids: set[int], inherited: bool) -> None:
    # A module without parameters (dropout) goes with the module it is in.
    parameters = list(module.parameters())
    module.training = any(id(p) in ids for p in parameters) if parameters else inherited
    for child in module.children():
        _set_modes(child, ids, module.training)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """All of `model` in evaluation mode without gradients; afterwards every module is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def make_optimizer(parts: Mapping[str, list[nn.Parameter]], settings: TrainSettings) -> torch.optim.Optimizer:
    """Fused AdamW; one group per part for what decays (matrices, kernels) and one for what does not (vectors).

    Raises:
        TrainingError: `part_lr` names a part that does not train.
    """
    unknown = sorted(set(settings.part_lr) - set(parts))
    if unknown:
        raise TrainingError(f"part_lr names {unknown}; the parts that train are {list(parts)}.")
    groups: list[dict[str, Any]] = []
    for name, parameters in parts.items():
        lr = settings.part_lr.get(name, settings.lr)
        matrices = [p for p in parameters if p.ndim >= 2]
        vectors = [p for p in parameters if p.ndim < 2]
        for members, decay in ((matrices, settings.weight_decay), (vectors, 0.0)):
            if members:
                groups.append({"params": members, "lr": lr, "peak_lr": lr, "weight_decay": decay})
    return torch.optim.AdamW(groups, lr=settings.lr, fused=True)


class Average:
    """Exponential moving average of the trained parameters; does nothing when its decay is 0."""

    def __init__(self, parts: Mapping[str, list[nn.Parameter]], decay: float) -> None:
        self._decay = decay
        self._parameters = [p for parameters in parts.values() for p in parameters] if decay else []
        self.tensors = [p.detach().clone() for p in self._parameters]

    def update(self, step: int) -> None:
        if self._parameters:
            # A young average must forget the initial weights sooner than its full decay would.
            share = 1 - min(self._decay, (1 + step) / (10 + step))
            for averaged, parameter in zip(self.tensors, self._parameters, strict=True):
                averaged.lerp_(parameter.detach(), share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model holds the averaged weights inside the block, its own again afterwards."""
        own = [p.detach().clone() for p in self._parameters]
        with torch.no_grad():
            for parameter, averaged in zip(self._parameters, self.tensors, strict=True):
                parameter.copy_(averaged)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self._parameters, own, strict=True):
                    parameter.copy_(value)
