"""What each process of test_distributed.py does: gradients and short runs of a tiny language stage.

    python distributed_child.py FEATURES OUT JOB…

A job is `gradients:NAME:key=value,…` (writes OUT/NAME.safetensors) or `train:NAME:key=value,…` (runs in OUT/NAME).
"""

import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from fo1agent.trainers import base
from fo1agent.trainers.data.tasks import TaskMaker
from fo1agent.trainers.engine import Engine
from fo1agent.trainers.language import Asked, LanguageStage
from fo1agent.trainers.parameters import train_only
from fo1agent.trainers.processes import find_processes
from fo1agent.trainers.recipe import apply_override, build
from fo1agent.trainers.stage import Stage
from fo1agent.trainers.step import TrainSettings, add_up, share, train
from tests.tiny_stages import NAMES, tiny_model, tiny_store

# With an average of the weights, and figures taken with it in the middle of the run.
RUN = {
    "eval_every": 2,
    "steps": 4,
    "lr": 1e-3,
    "ema": 0.5,
    "log_every": 1,
    "save_every": 2,
    "keep_last": 9,
    "weight_decay": 0.1,
}


class PatchyStage(LanguageStage):
    """In step 1 only the first two pictures can be read: then the second of two processes has none."""

    def batch(self, step: int, part: int = 0, parts: int = 1) -> list[Asked]:
        places = share(self.batch_size, part, parts)
        asked = super().batch(step, part, parts)
        return [one for place, one in zip(places, asked, strict=True) if step != 1 or place < 2]

    def evaluate(self) -> dict[str, float]:
        batch = super().batch(77)
        counts = self.counts(batch)
        return {f"held back {n}": loss.item() / max(1, counts[n]) for n, loss in self.losses(batch).items()}


def gradients(stage: Stage, settings: TrainSettings, result: Path) -> None:
    """Write the gradients of step 0 and their norm, as `train_step` has them before it moves the weights."""
    processes = find_processes()
    train_only(stage.model, stage.trainable())
    with Engine.placed(stage, processes, settings.split, settings.recompute) as engine:
        own = range(processes.rank * settings.accumulate, (processes.rank + 1) * settings.accumulate)
        batches = [stage.batch(0, part, settings.accumulate * processes.size) for part in own]
        counts = processes.total(add_up([stage.counts(batch) for batch in batches], stage.loss_weights))
        scales = {name: weight / max(1, counts[name]) for name, weight in stage.loss_weights.items()}
        for index, batch in enumerate(batches):
            with engine.collecting(last=index == len(batches) - 1):
                engine.backward(engine.objective(batch, scales)[0])
        norm = engine.clip([p for p in stage.model.parameters() if p.requires_grad], 1e9)
        found = {n: processes.whole(p.grad) for n, p in stage.model.named_parameters() if p.grad is not None}
        if processes.first:
            save_file({**{n: g.contiguous() for n, g in found.items() if g is not None}, "norm": norm}, result)


def main(features: str, out: str, *jobs: str) -> None:
    torch.set_num_threads(1)
    store = tiny_store(Path(features))
    for job in jobs:
        kind, name, overrides = job.split(":")
        tree = dict(RUN)
        for override in filter(None, overrides.split(",")):
            apply_override(tree, override)
        settings = build(TrainSettings, tree)
        stage = PatchyStage(base.TABLE, *tiny_model(), store, TaskMaker(NAMES, ("grass",)), range(3), 5)
        if kind == "gradients":
            gradients(stage, settings, Path(out) / f"{name}.safetensors")
        else:
            train(stage, settings, Path(out) / name)


if __name__ == "__main__":
    main(*sys.argv[1:])
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        torch.distributed.destroy_process_group()
