"""How far a finder's scores are taken for probabilities.

Detectors score in ways of their own: what one is sure of, it gives 0.9, another 0.3. A `Trust` turns a score into
log-odds, and says how much they weigh beside FO1's own. `fo1agent calibrate` fits one to labelled pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fo1agent.errors import InputError

_GREATEST = 1e6  # of a Trust's numbers; none that was fitted comes near it
_LEAST = 1e-4
"""Probabilities are taken for no less, and no more than 1 minus this."""


def log_odds(probability: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of probabilities [N], within bounds."""
    clipped = np.clip(np.asarray(probability, dtype=np.float64), _LEAST, 1 - _LEAST)
    return np.log(clipped) - np.log1p(-clipped)


@dataclass(frozen=True, slots=True)
class Trust:
    """What a finder's scores are worth.

    Attributes:
        scale, bias: log-odds of a score s are scale * log(s / (1 - s)) + bias. With a scale of 0 the scores tell
            nothing, and the finder is not asked at all.
        weight: of the finder beside FO1's own opinion, which weighs 1, where both know a word. 0: it is not heard.
        silent: the score that its silence on a box is taken for, beside FO1's opinion; lower ones count as no lower.
        sure, shift: the log-odds of what FO1 and the finder say together are sure * their weighted mean + shift, as two
            that agree are surer than each of them.
        lowers: whether it may lower what others say of a box. If not, it only counts where it speaks up and is surer
            than they are.
    """

    scale: float = 1.0
    bias: float = 0.0
    weight: float = 1.0
    silent: float = 0.03
    lowers: bool = True
    sure: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        values = (self.scale, self.bias, self.weight, self.silent, self.sure, self.shift)
        if not all(isinstance(one, (int, float)) and math.isfinite(one) for one in values):
            raise InputError(f"A Trust is made of finite numbers, got {values}.")
        if max(map(abs, values)) > _GREATEST:
            raise InputError(f"The numbers of a Trust lie from {-_GREATEST:g} to {_GREATEST:g}, got {values}.")
        if not isinstance(self.lowers, bool):
            raise InputError(f"A Trust lowers or does not, True or False; got {self.lowers!r}.")
        if min(self.scale, self.weight, self.sure) < 0 or not 0 < self.silent < 1:
            raise InputError(
                f"A Trust needs scale, weight and sure of 0 or more and silent between 0 and 1, got {self.scale:g}, "
                f"{self.weight:g}, {self.sure:g} and {self.silent:g}."
            )

    @classmethod
    def of(cls, finder: Any) -> Self:
        """That which a finder comes with, as its attribute `trust`; else its scores are probabilities, which lower
        nothing."""
        own = getattr(finder, "trust", None)
        return own if isinstance(own, cls) else cls(lowers=False)

    @classmethod
    def at(cls, threshold: float, ours: float = 0.25) -> Self:
        """For a detector whose makers keep what scores `threshold` or more: that is as good as `ours` of FO1. What its
        silence is worth nobody knows, so it lowers nothing."""
        bias = float(log_odds(np.array(ours)) - log_odds(np.array(threshold)))
        return cls(bias=bias, silent=threshold / 10, lowers=False)

    def log_odds(self, scores: np.ndarray) -> np.ndarray:
        """Of scores [N] from 0 to 1."""
        return self.scale * log_odds(np.maximum(scores, self.silent)) + self.bias
