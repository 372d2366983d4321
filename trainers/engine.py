"""How a stage's model is run: on which device, and copied (DDP) or split (FSDP2) over processes.

None of this changes what is learned: gradients, and so curves, are those of one process with the whole batch, up to
the rounding of float32 sums. `Engine.placed` sets it up around a run; its `objective` is the stage's losses as the
forward pass of a module, because that is where the hooks hang by which DDP and FSDP2 synchronise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fo1agent.errors import TrainingError
from fo1agent.trainers.processes import ONE, Processes, as_split
from fo1agent.trainers.stage import HasLayers, Stage


class Objective(nn.Module):
    """A stage's losses as one number.

    Args:
        stage: whose.
        touch: modules whose own parameters get a gradient in any case, if only of zeros: what a part of a batch does
            not need, other processes' parts may, and all must have the same gradients to exchange.
    """

    def __init__(self, stage: Stage, touch: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        self.model = stage.model
        self._stage = stage
        self._owners = [(m, name) for m in touch for name, p in m.named_parameters(recurse=False) if p.requires_grad]

    def forward(self, batch: Any, scales: Mapping[str, float]) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of losses x scales, and the losses without gradient.

        Raises:
            TrainingError: a loss has no scale.
        """
        losses = self._stage.losses(batch)
        unknown = sorted(set(losses) - set(scales))
        if unknown:
            raise TrainingError(f"The stage returned losses {sorted(losses)} but has weights for {sorted(scales)}.")
        if losses:
            total = torch.stack([scales[name] * loss.float() for name, loss in losses.items()]).sum()
        else:
            total = torch.zeros((), device=next(self.model.parameters()).device)
        if self._owners:
            total = _Touch.apply(total, *(getattr(module, name) for module, name in self._owners))
        return total, {name: loss.detach() for name, loss in losses.items()}

    def evaluate(self) -> dict[str, float]:
        """The stage's figures."""
        return self._stage.evaluate()


class _Touch(torch.autograd.Function):
    """The identity, after which every given parameter has a gradient, if only of zeros."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, *parameters: Tensor) -> Tensor:
        ctx.shapes = [(p.shape, p.dtype, p.device) for p in parameters]
        return total.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        zeros = [torch.zeros((), dtype=dtype, device=device).expand(shape) for shape, dtype, device in ctx.shapes]
        return (gradients[0], *zeros)


class Engine:
    """A stage's model on its device and its processes; made by `placed`."""

    def __init__(self, stage: Stage, processes: Processes = ONE, split: bool = False) -> None:
        self.processes, self._stage = processes, stage
        self.split = split and processes.size > 1
        self._kept_whole: list[nn.Parameter] = []
        self._last: Any = None
        self._copies: Any = None
        self.objective: nn.Module
        if self.split:
            layers = list(stage.layers()) if isinstance(stage, HasLayers) else []
            inside = {id(module) for layer in layers for module in layer.modules()}
            self.objective = Objective(stage, [m for m in stage.model.modules() if id(m) not in inside])
            self._kept_whole = split_over(self.objective, layers, processes)
        elif processes.size > 1:
            self.objective = self._copies = copied(Objective(stage, list(stage.model.modules())))
        else:
            self.objective = Objective(stage)

    @classmethod
    @contextmanager
    def placed(cls, stage: Stage, processes: Processes, split: bool, recompute: bool) -> Iterator[Engine]:
        """The stage's model on this process's device, all processes starting from the first one's weights.

        Afterwards it is back on the device that it came from; a split model stays split, see `TrainSettings.split`.

        Raises:
            TrainingError: the model was split by an earlier run.
        """
        model = stage.model
        home = next(model.parameters()).device
        if processes.size > 1 and any(as_split(p) is not None for p in model.parameters()):
            raise TrainingError("The model was split by another run. Load its weights into a new one, and train that.")
        if home != processes.device:
            model.to(processes.device)
        for tensor in [*model.parameters(), *model.buffers()] if processes.size > 1 else []:
            torch.distributed.broadcast(tensor.detach(), src=0)
        with recomputing(model) if recompute else nullcontext():
            engine = cls(stage, processes, split or launcher_splits())
            yield engine
        if home != processes.device and not engine.split:
            model.to(home)

    def collecting(self, last: bool) -> AbstractContextManager[Any]:
        """Around a micro-batch: copies exchange gradients only in the `last` one of a step.

        A split model exchanges in all of them: to keep whole gradients would take the memory that splitting saved.
        """
        return nullcontext() if last or self._copies is None else self._copies.no_sync()

    def losses(self, batch: Any, counts: Mapping[str, float], scales: Mapping[str, float]) -> tuple[Tensor, Any]:
        """`Objective` of a batch, whose own counts and whose scales are given.

        Raises:
            TrainingError: the model is split and the first batch of this process holds nothing to learn.
        """
        if any(counts.values()) or not self.split:
            self._last = batch
            return self.objective(batch, scales)
        # The others need this process to run the layers with them, so it repeats its last batch for nothing.
        if self._last is None:
            raise TrainingError(
                "The first batch of a process holds nothing to learn from. Look at the data, or its order."
            )
        total, _ = self.objective(self._last, dict.fromkeys(scales, 0.0))
        return total, {}

    def backward(self, total: Tensor) -> None:
        """Gradients of `total` summed over processes."""
        # Both DDP and FSDP2 take the mean over processes; ours are parts of one sum.
        (total * self.processes.size if self.processes.size > 1 else total).backward()

    def clip(self, parameters: Sequence[nn.Parameter], limit: float) -> Tensor:
        """Shorten the gradient to `limit`; returns its norm before, over all parameters of all processes."""
        if not self.split:
            return nn.utils.clip_grad_norm_(parameters, limit)
        for parameter in self._kept_whole:
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= self.processes.size
        split = [p for p in parameters if as_split(p) is not None]
        whole = [p for p in parameters if as_split(p) is None]
        own = [p.grad.to_local() for p in split if p.grad is not None]  # pyright: ignore[reportAttributeAccessIssue]
        square = nn.utils.get_total_norm(own).square()
        torch.distributed.all_reduce(square)
        norm = (square + nn.utils.get_total_norm([p.grad for p in whole if p.grad is not None]).square()).sqrt()
        for group in (split, whole):
            nn.utils.clip_grads_with_norm_(group, limit, norm)
        return norm

    def evaluate(self) -> dict[str, float]:
        """The stage's figures, taken by every process alike."""
        if not self.split:
            return self._stage.evaluate()
        try:
            return self.objective.evaluate()  # pyright: ignore[reportCallIssue]
        finally:
            # Or the next step would use the weights that were put together for this.
            self.objective.reshard()  # pyright: ignore[reportCallIssue]


def launcher_splits() -> bool:
    """Whether `accelerate launch` was told to split models.

    Raises:
        TrainingError: it was told to keep them in the CPU's memory, which the engine cannot.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return False
    if os.environ.get("FSDP_OFFLOAD_PARAMS", "false").lower() == "true":
        raise TrainingError("fsdp_offload_params is not supported. Set it to false; recompute=true saves memory too.")
    return True


def copied(objective: nn.Module) -> nn.Module:
    """Exchange gradients while the backward pass goes on (DDP)."""
    # Not `find_unused_parameters`: see `_Touch`. Buffers belong to frozen parts; torch 2.14 renamed their switch.
    known = signature(nn.parallel.DistributedDataParallel).parameters
    switch: dict[str, Any] = {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}
    return nn.parallel.DistributedDataParallel(objective, init_sync=False, gradient_as_bucket_view=True, **switch)


def split_over(objective: nn.Module, layers: Sequence[nn.Module], processes: Processes) -> list[nn.Parameter]:
    """Split weights, and with them gradients and optimiser state, over the processes (FSDP2).

    Each of `layers` is put together only while it computes; everything else that trains is so for a whole pass, since
    heads and projectors are called in many ways. Frozen weights outside of `layers` are not split.

    Returns:
        Trained parameters that are not split: FSDP2 knows no scalars.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(processes.device.type, (processes.size,))
    inside = {p for layer in layers for p in layer.parameters()}
    whole = {p for p in objective.parameters() if p.ndim == 0 or (not p.requires_grad and p not in inside)}
    for layer in layers:
        fully_shard(layer, mesh=mesh, ignored_params=whole)
    fully_shard(objective, mesh=mesh, ignored_params=whole)
    register_fsdp_forward_method(objective, "evaluate")
    return [p for p in objective.parameters() if p in whole and p.requires_grad]  # in an order that all share


def blocks(model: nn.Module) -> list[nn.Module]:
    """The innermost modules that the transformers in `model` declare to be kept in one piece: their layers."""
    names = {name for module in model.modules() for name in getattr(module, "_no_split_modules", None) or ()}
    found = {id(module): module for module in model.modules() if type(module).__name__ in names}
    return [b for b in found.values() if not any(id(part) in found for part in b.modules() if part is not b)]


@contextmanager
def recomputing(model: nn.Module) -> Iterator[None]:
    """Blocks keep their inputs only and are computed again in the backward pass.

    transformers' own switch works in training mode only, which a frozen base is never in, though gradients flow
    through it to the region tokens.
    """
    changed = blocks(model)
    for block in changed:
        block.forward = partial(_again, block.forward)
    try:
        yield
    finally:
        for block in changed:
            del block.forward


def _again(forward: Any, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)
