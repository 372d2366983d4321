"""What a process of test_distributed.py does; started by a launcher, or alone.

    python distributed_child.py gradients|train|resume FEATURES RESULT key=value…
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from fo1agent.trainers.engine import Engine
from fo1agent.trainers.parameters import train_only
from fo1agent.trainers.processes import find_processes
from fo1agent.trainers.recipe import apply_override, build
from fo1agent.trainers.step import Stage, TrainSettings, add_up, train
from tests.tiny_stages import language_stage, tiny_store


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
        parameters = [p for p in stage.model.parameters() if p.requires_grad]
        norm = engine.clip(parameters, 1e9)
        found = {n: processes.whole(p.grad) for n, p in stage.model.named_parameters() if p.grad is not None}
        if processes.first:
            save_file({**{n: g.contiguous() for n, g in found.items() if g is not None}, "norm": norm}, result)


def main() -> None:
    what, features, result, *overrides = sys.argv[1:]
    torch.set_num_threads(1)
    tree = {"steps": 4, "lr": 1e-3, "ema": 0.5, "log_every": 1, "save_every": 2, "weight_decay": 0.1}
    for override in overrides:
        apply_override(tree, override)
    settings = build(TrainSettings, tree)
    stage = language_stage(tiny_store(Path(features)), batch_size=5)
    if what == "gradients":
        gradients(stage, settings, Path(result))
    else:
        train(stage, settings, result)


if __name__ == "__main__":
    main()
