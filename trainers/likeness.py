"""The numbers by which a finished model compares regions of several pictures (`fo1agent.model.likeness`).

    fo1agent train likeness model=FOLDER data.root=DIR

They are fitted by logistic regression to pictures that the model was not trained on, or their scores would be those of
pictures that it knows: as a scene finds each thing once, given one or a few examples. First how regions look alike, as
of a model that has a name for nothing, then what names say where it has one for the examples.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fo1agent.errors import CheckpointError, DataError
from fo1agent.evaluate.likeness import RIGHT_IOU, Pool, Question, judged, questions, read
from fo1agent.loading import load
from fo1agent.model import likeness
from fo1agent.model.likeness import Likeness
from fo1agent.proposals.trust import log_odds
from fo1agent.trainers.recipe import load_recipe

log = logging.getLogger(__name__)

LEAST_RIGHT = 50  # found by examples, without which nothing is fitted
MOST_WRONG = 600  # regions of other things that a question about looks is fitted to; they stand for all
_SURELY_NOT = 0.4  # IoU with all things of the kind under which a region is none


@dataclass(frozen=True)
class DataRecipe:
    """Pictures with labels; paths are relative to `root`.

    Attributes:
        every: only every so manieth picture, the first one first: of fo1-nano's, those that it was not trained on.
        limit: only the first so many pictures.
    """

    root: Path
    instances: str = "instances_train.json"
    images: str = "images/train"
    every: int = 12
    limit: int | None = None


@dataclass(frozen=True)
class LikenessRecipe:
    """What is fitted, and to what.

    Attributes:
        model: the folder of a finished model, into which `likeness.json` is written.
        examples: so many are given in a question; as many questions for each number.
        per_kind: questions about each kind, for each number of examples.
    """

    data: DataRecipe
    model: Path
    examples: tuple[int, ...] = (1, 2, 3)
    per_kind: int = 4


def main(arguments: Sequence[str]) -> Path:
    """Run the recipe named by the first argument with the `key=value` overrides after it; returns the file written."""
    recipe = load_recipe(LikenessRecipe, arguments[0], arguments[1:])
    return write(recipe.model, recipe.data, recipe.examples, recipe.per_kind)


def write(folder: Path, data: DataRecipe, examples: Sequence[int] = (1, 2, 3), per_kind: int = 4) -> Path:
    """Fit a model's numbers and write them into its folder, in place of others.

    Raises:
        DataError: there is no such folder, or too little in the pictures to fit to; or as for `read`.
    """
    path, beside = folder / likeness.FILE, folder / f".{likeness.FILE}"
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}. Name the folder of a finished model, into which numbers go.")
    if data.every < 1 or per_kind < 1 or not examples or min(examples) < 1:
        raise DataError("every, per_kind and each number of examples must be 1 or more.")
    try:
        Likeness.of(folder)
    except CheckpointError:  # of another version, say: no model loads with it
        path.replace(beside)
    try:
        model = load(folder, engine="torch")
    finally:
        if beside.exists():
            beside.replace(path)  # what is there stays until there is better
    pool = read(model, data.root / data.instances, data.root / data.images, every=data.every, limit=data.limit)
    fitted = fit(pool, examples, per_kind)
    log.info("likeness by %d pictures: %s %s", len(pool.kinds), fitted.names, fitted.looks)
    beside.write_text(fitted.model_dump_json() + "\n", encoding="utf-8")
    return beside.replace(path)


def fit(pool: Pool, examples: Sequence[int] = (1, 2, 3), per_kind: int = 4) -> Likeness:
    """The numbers by which a pool's labels surprise least.

    Raises:
        DataError: examples find too little in it.
    """
    seen = pool.seen
    means = (tuple(np.round(rows.mean(axis=0, dtype=np.float64), 4).tolist()) for rows in (seen.states, seen.tokens))
    start = likeness.ByLook(bias=-8, state=4, token=4, fit=1)
    fitted = Likeness(**dict(zip(("state_mean", "token_mean"), means, strict=True)), looks=start)
    asked = [question for k, count in enumerate(examples) for question in questions(pool, count, per_kind, seed=k)]
    fitted = fitted.model_copy(update={"looks": _ranking(pool, asked, fitted)})
    fitted = fitted.model_copy(update={"looks": _calibrated(pool, asked, fitted)})
    return fitted.model_copy(update={"names": _names(pool, asked)})


def _ranking(pool: Pool, asked: Sequence[Question], fitted: Likeness) -> likeness.ByLook:
    """Weights of looks by which all regions are ranked: each question counts alike, however much there is to find."""
    draw, rows, right, weights = np.random.default_rng(0), [], [], []
    for question in asked:
        terms = likeness.look_terms(pool.seen, *question.vectors(pool), fitted)
        overlap = np.concatenate(
            [
                own[:, kinds == question.kind].max(axis=1, initial=0)
                for own, kinds in zip(pool.overlap, pool.kinds, strict=True)
            ]
        )
        here = question.asked[pool.pictures]
        true, false = np.flatnonzero(here & (overlap >= RIGHT_IOU)), np.flatnonzero(here & (overlap < _SURELY_NOT))
        if not len(true):
            continue
        false_ = draw.permutation(false)[:MOST_WRONG]
        chosen = np.concatenate([true, false_])
        rows.append(np.stack([terms[name][chosen] for name in ("state", "token", "fit")], axis=1))
        right.append(np.arange(len(chosen)) < len(true))
        weights.append(np.where(right[-1], 1.0, len(false) / len(false_)) / len(true))
    _check(right)
    found = regression(np.concatenate(rows), np.concatenate(right), np.concatenate(weights))
    return likeness.ByLook(**_named(("bias", "state", "token", "fit"), found))


def _calibrated(pool: Pool, asked: Sequence[Question], fitted: Likeness) -> likeness.ByLook:
    """The same ranking as probabilities, of a model that has a name for nothing."""
    rows, right = [], []
    for question in asked:
        terms = likeness.look_terms(pool.seen, *question.vectors(pool), fitted)
        score = likeness.by_look(terms, fitted.looks)
        found = judged(pool, question, score)
        kept = found.rows[found.judged_by_score]
        rows.append(np.stack([log_odds(score[kept]), np.full(len(kept), terms["together"])], axis=1))
        right.append(found.right[found.judged_by_score])
    _check(right)
    bias, scale, together = regression(np.concatenate(rows), np.concatenate(right))
    old = fitted.looks
    weights = bias + scale * old.bias, scale * old.state, scale * old.token, scale * old.fit, together
    return likeness.ByLook(**_named(("bias", "state", "token", "fit", "together"), weights))


def _names(pool: Pool, asked: Sequence[Question]) -> likeness.ByName:
    """Weights of names, by questions whose examples have one."""
    rows, right, terms = [], [], {}
    for question in asked:
        believed = likeness.believed(pool.seen.names, question.vectors(pool)[0])
        if likeness.share_of_names(believed[1]) < 1:
            continue
        terms = likeness.name_terms(*believed)
        found = judged(pool, question, believed[0])
        kept = found.rows[found.judged_by_score]
        rows.append(np.stack([np.broadcast_to(one, len(pool.boxes))[kept] for one in terms.values()], axis=1))
        right.append(found.right[found.judged_by_score])
    _check(right)
    found = regression(np.concatenate(rows), np.concatenate(right))
    return likeness.ByName(**_named(("bias", *terms), found))


def _check(right: Sequence[np.ndarray]) -> None:
    if sum(int(one.sum()) for one in right) < LEAST_RIGHT:
        raise DataError(f"Examples find fewer than {LEAST_RIGHT} things in these pictures. Give more of them.")


def _named(names: Sequence[str], weights: Sequence[float] | np.ndarray) -> dict[str, float]:
    return {name: round(float(weight), 4) for name, weight in zip(names, weights, strict=True)}


def regression(x: np.ndarray, y: np.ndarray, w: np.ndarray | float = 1.0, ridge: float = 1e-2) -> np.ndarray:
    """Bias and weights [1 + F] for which sigmoid(bias + x @ weights) predicts y best, by Newton's method.

    Args:
        x: [S, F].
        y: [S] bool.
        w: [S] how much each counts.
        ridge: on the squares of all, which bounds them where x parts the labels perfectly.
    """
    design, at = np.column_stack([np.ones(len(x)), x]), np.zeros(1 + x.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(design @ at, -30, 30)))
        slope = design.T @ (w * (p - y)) + ridge * at
        curve = (design * (w * p * (1 - p))[:, None]).T @ design + ridge * np.eye(len(at))
        step = np.linalg.solve(curve, slope)
        at = at - step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-7:
            break
    return at
