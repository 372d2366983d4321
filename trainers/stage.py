"""`Stage`: what trains, on what, by which losses; all that the training loop knows of one. And what a stage may add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


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
        """The parameters that train, by part; all others of `model` are frozen. Asked anew when `model` is split."""
        ...

    def batch(self, step: int, part: int = 0, parts: int = 1) -> Any:
        """Part `part` of `parts` of the batch of step `step` (both from 0); see `share`.

        A function of the stage's seed and `step` alone, or resuming would lie: the parts together are the same
        examples, asked the same, however many parts there are.
        """
        ...

    def counts(self, batch: Any) -> Mapping[str, float]:
        """What each loss is a mean over, as far as `batch` holds it: tokens, pictures, weights. Known beforehand."""
        ...

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Scalar losses by name, each a sum over what `counts` counts and not divided by it; on the model's device.

        One that has nothing to learn from in this batch may be left out. The step divides by the count of the whole
        batch, so a batch in parts, on one machine or many, has the gradient of the batch in one piece.
        """
        ...

    def evaluate(self) -> dict[str, float]:
        """Figures on held-back data, called every `eval_every` steps; {} when there are none to take."""
        ...


@runtime_checkable
class HasLayers(Protocol):
    """A stage with a large model: the layers that a split model may put together one at a time.

    Every part of a batch must run each of them exactly once, because all processes exchange them at the same moment.
    """

    def layers(self) -> Sequence[nn.Module]: ...


@runtime_checkable
class NamesExamples(Protocol):
    """A stage that can say which examples are in a batch, for messages."""

    def example_names(self, batch: Any) -> Sequence[str]: ...


@runtime_checkable
class KnowsItsData(Protocol):
    """A stage that can give a hash of all it learns from, which then stands in `run.json`."""

    def data_fingerprint(self) -> str: ...
