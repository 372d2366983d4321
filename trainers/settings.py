"""`TrainSettings`: how long, how fast, how carefully and how frugally to train."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fo1agent.errors import InputError


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
        precision: "bfloat16" runs the forward pass under autocast; weights and optimiser stay float32. "auto" is the
            faster one of the machine.
        accumulate: micro-batches that each process makes of its share of a batch; less memory, the same gradient.
        recompute: keep only the inputs of transformer blocks and run them again in the backward pass (activation
            checkpointing); less memory, about a third more work, the same gradient.
        split: several processes split weights, gradients and optimiser state (FSDP2) instead of copying the model
            (DDP). `accelerate launch --use_fsdp` asks for it as well. The model stays split after the run: load the
            run's weights into a new one.
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
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    accumulate: int = 1
    recompute: bool = False
    split: bool = False
    ema: float = 0.0
    save_every: int = 500
    keep_last: int = 2
    log_every: int = 20
    eval_every: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "save_every", "keep_last", "log_every", "accumulate"):
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
        if self.precision not in ("float32", "bfloat16", "auto"):
            raise InputError(f"TrainSettings.precision is float32, bfloat16 or auto, got {self.precision!r}.")
        if not 0 <= self.ema < 1:
            raise InputError(f"TrainSettings.ema must be in [0, 1), got {self.ema}.")

    def rate(self, step: int) -> float:
        """Share of the peak learning rate in step `step` (from 0).

        A function of the step alone: a scheduler of torch goes from the rate before, which no checkpoint holds.
        """
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.schedule == "constant":
            return 1.0
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        falling = 0.5 * (1 + math.cos(math.pi * done)) if self.schedule == "cosine" else 1 - done
        return self.final_lr + (1 - self.final_lr) * falling
