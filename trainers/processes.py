"""The processes of a run: which one this is, where it computes, and what they tell each other.

One process is the ordinary case and needs no launcher. Started by `accelerate launch` or `torchrun`, a process finds
its place in the environment; accelerate then chooses the device and the way they talk. All methods of `Processes` are
collective: every process calls them, in the same order. This file knows no stage and no model.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fo1agent.errors import MissingExtraError, TrainingError
from fo1agent.extras import install_line

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


@dataclass(frozen=True)
class Processes:
    """This process among its fellows.

    Attributes:
        rank: of this one, from 0.
        size: how many there are.
        device: where this one computes.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this one writes files and talks to people."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when all are here."""
        if self.size > 1:
            torch.distributed.barrier()

    def total(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """The sum over processes of every number; all must bring the same names."""
        if self.size == 1:
            return dict(numbers)
        names = sorted(numbers)
        values = torch.tensor([numbers[name] for name in names], dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(values)
        return dict(zip(names, values.tolist(), strict=True))

    def from_first(self, value: Any) -> Any:
        """What the first process passed, on all of them; anything that can be pickled."""
        if self.size == 1:
            return value
        carried = [value]
        torch.distributed.broadcast_object_list(carried, src=0)
        return carried[0]

    def lists(self, values: list[str]) -> list[str]:
        """The lists of all processes, one after the other."""
        if self.size == 1:
            return values
        found: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(found, values)
        return [value for own in found for value in own]

    def whole(self, tensor: Tensor) -> Tensor | None:
        """A tensor as the first process is to write it, on the CPU and put together if it is split; None elsewhere."""
        if self.size > 1 and (split := as_split(tensor)) is not None:
            tensor = split.full_tensor()
        if not self.first:
            return None
        return tensor.detach().cpu() if self.size > 1 else tensor.detach()

    def spread(self, tensor: Tensor | None, into: Tensor) -> None:
        """The reverse of `whole`: copy the first process's tensor (None elsewhere) into `into`, which may be split."""
        with torch.no_grad():
            if self.size == 1:
                assert tensor is not None
                into.copy_(tensor)
                return
            buffer = torch.empty(into.shape, dtype=into.dtype, device=self.device)
            if tensor is not None:
                buffer.copy_(tensor)
            if (split := as_split(into)) is not None:
                from torch.distributed.tensor import distribute_tensor

                split.copy_(distribute_tensor(buffer, split.device_mesh, split.placements))
            else:
                torch.distributed.broadcast(buffer, src=0)
                into.copy_(buffer)


ONE = Processes()


def find_processes() -> Processes:
    """This process's place, from the environment that a launcher made; alone without one.

    Raises:
        MissingExtraError: there are several processes, but no accelerate.
        TrainingError: the processes do not find each other.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    cpu = os.environ.get("ACCELERATE_USE_CPU", "false").lower() in ("true", "1") or not torch.accelerator.is_available()
    if size == 1:
        return Processes(device=torch.device("cpu" if cpu or not torch.cuda.is_available() else "cuda"))
    try:
        from accelerate import PartialState
    except ImportError as exc:
        raise MissingExtraError(
            f"Training in several processes needs accelerate; one process does not. {install_line('train')}"
        ) from exc
    state = PartialState(cpu=cpu)
    if state.num_processes != size:  # or each would train alone and write over the others' files
        raise TrainingError(
            f"The launcher started {size} processes, and accelerate sees {state.num_processes} of them."
        )
    _part_at_exit()
    device = torch.device("cpu" if cpu else state.device or "cpu")
    return Processes(state.process_index, state.num_processes, device)


@cache
def _part_at_exit() -> None:
    """Let the processes part before Python ends: threads by which they talk, still running then, may abort it."""
    atexit.register(lambda: torch.distributed.is_initialized() and torch.distributed.destroy_process_group())


def as_split(tensor: Tensor) -> DTensor | None:
    """The tensor, if it is split over processes; only asked when there are several."""
    from torch.distributed.tensor import DTensor

    return tensor if isinstance(tensor, DTensor) else None
