"""Questions by examples: which pictures they are asked of, what is right, and numbers fitted to made pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fo1agent.errors import DataError
from fo1agent.evaluate.likeness import (
    Judged,
    Pool,
    Question,
    against,
    by_examples,
    by_names,
    figures,
    judged,
    questions,
)
from fo1agent.model.likeness import Seen
from fo1agent.regions.boxes import iou
from fo1agent.trainers.likeness import DataRecipe, fit, regression, write

KINDS = ("cat", "dog", "gnu")  # for the last one there is no name
SIDE = 10.0


def made(pictures: int = 60, seed: int = 0) -> Pool:
    """Pictures of three things in a row, each of some kind, with six regions: the things, and three of nothing.

    A thing looks as its kind does, more or less; names are as sure as they are right.
    """
    draw = np.random.default_rng(seed)
    looks = np.eye(4)
    kinds, overlap, rows, boxes, examples = [], [], [], [], []
    for _ in range(pictures):
        own = draw.integers(0, 3, 3)
        true = np.array([[20.0 * k, 0, 20 * k + SIDE, SIDE] for k in range(3)])
        own_boxes = np.concatenate([true, true + np.array([0, 50, 0, 50])])
        shows = np.concatenate([own, [3, 3, 3]])
        states = looks[shows] + draw.normal(0, 0.35, (6, 4))
        sure = draw.uniform(0, 1, 6)
        right = draw.uniform(0, 1, 6) < sure
        named = np.where(right & (shows < 2), shows, draw.integers(0, 2, 6))
        other = np.where((shows == 2)[:, None], 0.002, draw.uniform(0, 0.2, (6, 2)))
        names = np.where((np.arange(2) == named[:, None]) & (shows < 2)[:, None], sure[:, None], other)
        rows.append((names, states, np.where(shows < 3, 2.0, -2.0)))
        boxes.append(own_boxes)
        kinds.append(own)
        overlap.append(iou(own_boxes, true))
        examples += [{"names": names[k], "state": states[k], "token": states[k]} for k in range(3)]
    names, states, fits = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    none = np.zeros(0, dtype=np.int64)
    return Pool(
        Seen(names, states, states, fits),
        np.concatenate(boxes),
        6 * np.arange(pictures + 1),
        overlap,
        [np.zeros((6, 0))] * pictures,
        kinds,
        [none] * pictures,
        examples,
        np.concatenate(kinds),
        np.repeat(np.arange(pictures), 3),
        KINDS,
        ("cat", "dog"),
    )


@pytest.fixture(scope="module")
def pool() -> Pool:
    return made()


def test_a_question_is_asked_of_no_picture_that_gave_it_an_example(pool: Pool) -> None:
    asked = questions(pool, 3, per_kind=2)
    assert [one.kind for one in asked] == [0, 0, 1, 1, 2, 2]
    for one in asked:
        places = pool.example_pictures[one.likes]
        assert len(set(places.tolist())) == 3
        assert sorted(np.flatnonzero(~one.asked)) == sorted(places)
        assert (pool.example_kinds[one.likes] == one.kind).all()
    assert not questions(pool, 60)


def test_each_thing_is_claimed_once_and_a_perfect_ranking_has_full_precision(pool: Pool) -> None:
    question = questions(pool, 1, per_kind=1)[0]
    true = np.concatenate(pool.overlap)[:, 0] * 0
    for picture, kinds in enumerate(pool.kinds):
        true[6 * picture : 6 * picture + 3] = kinds == question.kind
    said = judged(pool, question, 0.9 * true)
    assert said.average_precision() == pytest.approx(100)
    assert said.right[said.scores > 0].all()
    assert said.truths.sum() == (said.scores > 0).sum()
    assert not said.truths[~question.asked].any()
    cut = {name: getattr(said, name)[1:] for name in ("rows", "scores", "right", "ignored", "doubted")}
    half = Judged(**cut, truths=said.truths)
    assert half.average_precision() < 100
    told = figures(pool, [question], lambda _: 0.9 * true, 0.5)
    assert (told.ap, told.exact, told.found, told.right) == (pytest.approx(100), 100, 0, 1)
    assert told.calibration_error == pytest.approx(0.1)


def test_what_is_not_meant_is_the_best_wrong_region_of_a_few_pictures(pool: Pool) -> None:
    first = questions(pool, 1, per_kind=1)[0]
    shown = against(pool, first, by_names(pool))
    assert len(shown.unlikes) == 3
    assert not shown.asked[pool.pictures[shown.unlikes]].any()
    for region in shown.unlikes:
        assert (np.concatenate(pool.kinds))[3 * (region // 6) + region % 6] != first.kind if region % 6 < 3 else True


def test_fitted_numbers_make_probabilities_of_names_and_of_looks(pool: Pool) -> None:
    fitted, fresh = fit(pool, (1, 2), per_kind=8), made(seed=1)
    asked = questions(fresh, 1, per_kind=8)
    before = figures(fresh, asked, by_examples(fresh, None), 0.3)
    after = figures(fresh, asked, by_examples(fresh, fitted), 0.3)
    assert after.calibration_error < 0.1
    assert after.ap > before.ap + 10
    assert abs(after.claimed - after.right) < 0.15
    gnu = figures(fresh, [one for one in asked if one.kind == 2], by_examples(fresh, fitted), 0.3)
    assert gnu.ap > 70
    assert abs(gnu.claimed - gnu.right) < 0.2


def test_names_that_are_taken_away_are_taken_from_regions_and_examples(pool: Pool) -> None:
    cut = pool.without(["cat"])
    assert cut.vocabulary == ("dog",)
    assert cut.seen.names.shape == (360, 1)
    assert {len(one["names"]) for one in cut.examples} == {1}
    assert not by_names(cut)(Question(0, np.zeros(1, int), np.zeros(0, int), np.ones(60, bool))).any()


def test_too_few_things_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fewer than 50 things"):
        fit(made(4), (1,), per_kind=1)


def test_the_regression_finds_the_numbers_that_made_its_labels() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(20_000, 2))
    y = draw.uniform(size=20_000) < 1 / (1 + np.exp(1 - 2 * x[:, 0] + 0.5 * x[:, 1]))
    np.testing.assert_allclose(regression(x, y), [-1, 2, -0.5], atol=0.1)
    doubled = regression(
        np.concatenate([x, x[:10]]), np.concatenate([y, ~y[:10]]), np.r_[np.ones(20_000), np.zeros(10)]
    )
    np.testing.assert_allclose(doubled, regression(x, y), atol=1e-6)


def test_a_fit_that_fails_leaves_the_file_that_is_there(tmp_path: Path, repo: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(repo / "fo1agent" / "data" / "nano", folder)
    (folder / "likeness.json").write_text('{"of": "another version"}')
    with pytest.raises(DataError, match="there is no such file"):
        write(folder, DataRecipe(root=tmp_path))
    assert (folder / "likeness.json").read_text() == '{"of": "another version"}'
    assert not (folder / ".likeness.json").exists()


def test_numbers_are_fitted_for_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        write(tmp_path / "nano", DataRecipe(root=tmp_path))
