"""A training run for test_interrupted.py to disturb.

    python interrupted_child.py RUN [wait STEP | kill STEP MICROSECONDS | fill STEP BYTES]

Prints every step as it is logged. After STEP it waits there for a signal, or is killed so much later wherever it then
is, or no file may grow beyond BYTES: the disk is full for checkpoints, and not for the log.
"""

import os
import resource
import signal
import sys
import threading
import time

import torch
from torch import nn

from fo1agent.errors import TrainingError
from fo1agent.trainers.step import TrainSettings, train
from tests.unit.trainers.test_train_step import LineStage

SETTINGS = TrainSettings(steps=40, lr=0.01, warmup=4, ema=0.9, save_every=7, log_every=1, eval_every=10, seed=3)


class WideStage(LineStage):
    """Fits the two lines, with 640 kB of weights that do nothing."""

    def __init__(self, pause: float = 0.0) -> None:
        super().__init__(pause=pause)
        self.model.wide = nn.Parameter(torch.zeros(400, 400))

    def trainable(self):
        return {**super().trainable(), "wide": [self.model.wide]}


def disturb(how: str, amount: int, handler: object) -> None:
    if how == "wait":
        while signal.getsignal(signal.SIGTERM) is handler:  # the first signal takes it away
            time.sleep(0.01)
    elif how == "kill":
        threading.Timer(amount / 1e6, os.kill, (os.getpid(), signal.SIGKILL)).start()
    elif how == "fill":
        resource.setrlimit(resource.RLIMIT_FSIZE, (amount, amount))


def main(run: str, how: str = "", step: int = 0, amount: int = 0) -> None:
    torch.set_num_threads(1)

    def report(record: dict) -> None:
        handler = signal.getsignal(signal.SIGTERM)
        print(record["step"], flush=True)
        if record["step"] == step and "loss" in record:
            disturb(how, amount, handler)

    try:
        train(WideStage(pause=0.01), SETTINGS, run, on_log=report)
    except TrainingError as exc:
        sys.exit(str(exc))


if __name__ == "__main__":
    run, how, *numbers = [*sys.argv[1:], *[""] * (len(sys.argv) < 3)]
    main(run, how, *map(int, numbers))
