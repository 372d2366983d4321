"""How like regions of one picture are to examples from others, as a probability that they are of one kind.

Two things are compared. Where the model has names for what the examples show, its names speak: nothing else finds more
of a kind that it knows. Where it has none, the region states and tokens do, by their cosine with the centroid of the
examples, beside how well a box fits a thing. How far it has a name for the examples decides between the two. Each part
becomes a probability by numbers that are fitted to pictures with labels (`trainers.likeness`): an example whose name
is in doubt says little, however sure the model is of the regions that have that name.

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
_MOST_SURE = 1e-6  # a probability is taken to be no closer to 0 or 1 than this
_LEAST_SLOPE = 0.1  # whatever was fitted, more of a name is never less like the examples


class _Weights(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ByName(_Weights):
    """The logit by names: bias, and the weight of each of `name_terms`."""

    bias: float = 0.0
    score: float = 1.0
    known: float = 0.0
    only: float = 0.0
    score_known: float = 0.0


class ByLook(_Weights):
    """The logit by looks: bias, and the weight of each of `look_terms`."""

    bias: float
    state: float
    token: float
    fit: float
    together: float = 0.0


class Likeness(_Weights):
    """The numbers by which a model's regions are compared, fitted to pictures with labels.

    Attributes:
        state_mean, token_mean: of all regions, [d] each; what all have in common says nothing.
        names, looks: of the two parts.
    """

    state_mean: tuple[float, ...]
    token_mean: tuple[float, ...]
    names: ByName = ByName()
    looks: ByLook

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

    def fault(self, vectors: Mapping[str, np.ndarray]) -> str:
        """What keeps those of an example, of finite numbers, from being compared with these, as a clause; "" for
        nothing."""
        wanted = {"names": self.names.shape[1], "state": self.states.shape[1], "token": self.tokens.shape[1]}
        for name, found in vectors.items():
            if name not in wanted:
                return f"holds {name!r:.40}, and no model compares that"
            if len(found) != wanted[name]:
                return f"holds {len(found)} numbers as {name}, where {wanted[name]} are wanted"
        names = vectors.get("names", np.zeros(0))
        outside = names[(names < 0) | (names > 1.001)]  # probabilities are told in single precision
        return f"is said to have a name with probability {outside[0]:g}" if len(outside) else ""


Vectors = Sequence[Mapping[str, np.ndarray]]


def alike(seen: Seen, likes: Vectors, unlikes: Vectors, fitted: Likeness | None) -> np.ndarray:
    """Probability [N] that each region is of the kind of `likes`, at least one, and not of that of `unlikes`.

    Without fitted numbers only names are compared.
    """
    named, known, only = believed(seen.names, likes)
    if fitted is None:
        return named * (known > 0)
    share = share_of_names(known)
    found = share * by_name(named, known, only, fitted.names) if share > 0 else np.zeros(len(named))
    if share < 1:
        looks = look_terms(seen, likes, unlikes, fitted)
        found[: len(seen.states)] += (1 - share) * by_look(looks, fitted.looks)
    return found


# ---- names ---------------------------------------------------------------------------------------------------------


def believed(names: np.ndarray, likes: Vectors) -> tuple[np.ndarray, float, float]:
    """What the names say that the examples probably have.

    Args:
        names: [N, V] probability of each name.
        likes: of the examples.

    Returns:
        The probability [N] of these names, how probable the likeliest of them is of the examples, and which share of
        all belief it has. Counter-examples have no say: those that are worth giving were taken for the kind by these
        same names, and each way tried of weighing them lost AP.
    """
    if not names.shape[1]:
        return np.zeros(len(names)), 0.0, 1.0
    # Squared, the likely names of examples count, the many unlikely ones do not.
    belief = np.mean([one["names"].astype(np.float64) ** 2 for one in likes], axis=0)
    best, whole = float(belief.max()), max(float(belief.sum()), 1e-12)
    return names @ belief / whole, float(np.sqrt(best)), best / whole


def share_of_names(known: float) -> float:
    """How far names speak, from 0 to 1, and looks do not, where the likeliest name of the examples is so probable."""
    return float(np.clip(np.log(max(known, 1e-9) / NAMED_FROM) / np.log(NAMED_BY / NAMED_FROM), 0, 1))


def name_terms(named: np.ndarray, known: float, only: float) -> dict[str, Any]:
    """What `ByName` weighs, from `believed`: each [N], or one number."""
    score = np.clip(named, _MOST_SURE, 1 - _MOST_SURE)
    score = np.log(score / (1 - score))
    known, only = float(np.log(max(known, NAMED_BY))), float(np.log(max(only, 1e-9)))
    return {"score": score, "known": known, "only": only, "score_known": score * known}


def by_name(named: np.ndarray, known: float, only: float, weights: ByName) -> np.ndarray:
    """Probability [N] by what `believed` gives."""
    terms = name_terms(named, known, only)
    slope = weights.score + weights.score_known * terms["known"]
    level = weights.bias + weights.known * terms["known"] + weights.only * terms["only"]
    return _probability(level + max(slope, _LEAST_SLOPE) * terms["score"])


# ---- looks ---------------------------------------------------------------------------------------------------------


def look_terms(seen: Seen, likes: Vectors, unlikes: Vectors, fitted: Likeness) -> dict[str, Any]:
    """What `ByLook` weighs: each [R], or one number."""
    terms: dict[str, Any] = {"fit": np.clip(seen.fit[: len(seen.states)], -_MOST_FIT, _MOST_FIT)}
    for kind, mean, rows in (("state", fitted.state_mean, seen.states), ("token", fitted.token_mean, seen.tokens)):
        wanted, unwanted = (
            _directions(
                np.stack([one[kind].astype(np.float64) for one in some if kind in one] or [np.asarray(mean)]), mean
            ).mean(axis=0)
            for some in (likes, unlikes)
        )
        (center,) = _directions((wanted - AGAINST * unwanted)[None], 0.0)
        terms[kind] = _directions(rows, mean) @ center
    # Of tokens, which come last: how alike the examples are to each other, 1 for one alone.
    return terms | {"together": float(np.linalg.norm(wanted))}


def by_look(terms: Mapping[str, Any], weights: ByLook) -> np.ndarray:
    """Probability [R] by states and tokens."""
    return _probability(weights.bias + sum(getattr(weights, name) * value for name, value in terms.items()))


def _probability(logits: Any) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits, -30.0, 30.0)))


def _directions(rows: np.ndarray, mean: Any) -> np.ndarray:
    """Rows [K, d] from their mean, each of length 1, or 0 where it is the mean itself."""
    away = rows - np.asarray(mean, dtype=rows.dtype)
    return away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
