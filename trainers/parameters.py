"""What trains and by how much: freezing the rest, the optimiser with its rates, and the average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from fo1agent.errors import TrainingError
from fo1agent.trainers.settings import TrainSettings


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
        vectors = [p for p in parameters if p.ndim == 1]
        scalars = [p for p in parameters if p.ndim == 0]  # apart, because they stay whole when the others are split
        for members, decay in ((matrices, settings.weight_decay), (vectors, 0.0), (scalars, 0.0)):
            if members:
                groups.append({"params": members, "lr": lr, "peak_lr": lr, "weight_decay": decay})
    return torch.optim.AdamW(groups, lr=settings.lr, fused=True)


class Average:
    """Exponential moving average of the trained parameters; does nothing when its decay is 0.

    Not torch.optim.swa_utils.AveragedModel, which copies all of a model, however little of it trains.
    """

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
