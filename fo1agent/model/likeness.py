"""How like regions of one picture are to examples from others, as a probability that they are of one kind.

Two things are compared. Where the model has names for what the examples show, its names speak: nothing else finds more
of a kind that it knows. Where it has none, the region states and tokens do, by their cosine with the centroid of the
examples, beside how well a box fits a thing. How far it has a name for the examples decides between the two. The
numbers of the second part are fitted to pictures with labels.

Arrays here are numpy, whichever engine made them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from fo1agent.errors import CheckpointError
from fo1agent.model.folder import MAX_JSON, read_bytes

FILE = "likeness.json"
# Of a name that examples have with this probability or less nothing is believed; from the second on it is all.
NAMED_FROM, NAMED_BY = 0.01, 0.05
# Counter-examples move the centroid away from theirs by this share of it.
AGAINST = 0.2
_MOST_FIT = 5.0  # logit


class Likeness(BaseModel):
    """The numbers by which a model's regions are compared, fitted to pictures with labels.

    Attributes:
        state_mean, token_mean: of all regions, [d] each; what all have in common says nothing.
        bias, state, token, fit: the logit is bias + state * cosine of states + token * cosine of tokens + fit * logit
            of the predicted overlap.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    state_mean: tuple[float, ...]
    token_mean: tuple[float, ...]
    bias: float
    state: float
    token: float
    fit: float

    @classmethod
    def of(cls, folder: Path) -> Likeness | None:
        """What a model's folder says; None if it says nothing.

        Raises:
            CheckpointError: its file is malformed.
        """
        if not (folder / FILE).exists():
            return None
        try:
            return cls.model_validate_json(read_bytes(folder / FILE, MAX_JSON))
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise CheckpointError(f"{folder / FILE}: {where}: {first['msg']}. Fit it anew, or remove it.") from exc


@dataclass(frozen=True, eq=False)
class Seen:
    """What is compared of a picture's regions.

    Attributes:
        names: [N, V] probability of each name; V = 0 for a model without.
        states, tokens: [R, d], R <= N: of regions that only lessons found there are none.
        fit: [R] logits of the predicted overlap.
    """

    names: np.ndarray
    states: np.ndarray
    tokens: np.ndarray
    fit: np.ndarray

    def vectors(self, index: int) -> dict[str, np.ndarray]:
        """Those of one region, for `alike`."""
        found = {"names": self.names[index]}
        if index < len(self.states):
            found |= {"state": self.states[index], "token": self.tokens[index]}
        return {name: np.array(one, dtype=np.float32) for name, one in found.items()}


Vectors = Sequence[Mapping[str, np.ndarray]]


def alike(seen: Seen, likes: Vectors, unlikes: Vectors, fitted: Likeness | None) -> np.ndarray:
    """Probability [N] that each region is of the kind of `likes`, at least one, and not of that of `unlikes`.

    Without fitted numbers only names are compared.
    """
    named, known = _by_name(seen.names, likes)
    if fitted is None:
        return named * (known > 0)
    share = float(np.clip(np.log(max(known, 1e-9) / NAMED_FROM) / np.log(NAMED_BY / NAMED_FROM), 0, 1))
    return share * named + (1 - share) * _by_look(seen, likes, unlikes, fitted)


def _by_name(names: np.ndarray, likes: Vectors) -> tuple[np.ndarray, float]:
    """(probability [N] of the names that the examples probably have, how probable the best of these is)."""
    if not names.shape[1]:
        return np.zeros(len(names)), 0.0
    # Squared, the likely names of examples count, the many unlikely ones do not. Counter-examples have no say: those
    # that are worth giving were taken for the kind by these same names, and each way tried of weighing them lost AP.
    belief = np.mean([one["names"] ** 2.0 for one in likes], axis=0)
    return names @ belief / max(float(belief.sum()), 1e-12), float(np.sqrt(belief.max()))


def _by_look(seen: Seen, likes: Vectors, unlikes: Vectors, fitted: Likeness) -> np.ndarray:
    """Probability [N] by states and tokens; 0 where there are none."""
    logit = fitted.bias + fitted.fit * np.clip(seen.fit, -_MOST_FIT, _MOST_FIT)
    for kind, weight, mean, rows in (
        ("state", fitted.state, fitted.state_mean, seen.states),
        ("token", fitted.token, fitted.token_mean, seen.tokens),
    ):
        wanted, unwanted = (
            _directions(np.stack([one[kind] for one in some if kind in one] or [mean]), mean).mean(axis=0)
            for some in (likes, unlikes)
        )
        (center,) = _directions((wanted - AGAINST * unwanted)[None], 0.0)
        logit = logit + weight * (_directions(rows, mean) @ center)
    found = np.zeros(len(seen.names))
    found[: len(seen.states)] = 1 / (1 + np.exp(-logit))
    return found


def _directions(rows: np.ndarray, mean: Any) -> np.ndarray:
    """Rows [K, d] from their mean, each of length 1, or 0 where it is the mean itself."""
    away = np.asarray(rows, dtype=np.float64) - mean
    return away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
