"""The mixture: weights are kept, everything is seen, and any position can be entered from anywhere."""

from __future__ import annotations

import itertools
import json
import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from fo1agent.errors import DataError, InputError
from fo1agent.trainers.data.files import fingerprint
from fo1agent.trainers.data.formats.examples import read_examples
from fo1agent.trainers.data.formats.source import SourceRecipe, Tolerance
from fo1agent.trainers.data.mixture import Mixture
from fo1agent.trainers.recipe import build


def source(folder: Path, name: str, count: int, bad: tuple[int, ...] = (), tolerance: Tolerance | None = None):
    records = [{"id": f"{name}{k}", "file_name": f"{name}{k}.png", "width": 8, "height": 8} for k in range(count)]
    lines = ["{}" if k in bad else json.dumps(record) for k, record in enumerate(records)]
    (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return read_examples(folder / f"{name}.jsonl", tolerance=tolerance)


def ids(mixture: Mixture, start: int, count: int) -> list[str]:
    return [str(example.id) for example in itertools.islice(mixture.stream(start), count)]


def test_without_weights_an_epoch_is_every_example_once(tmp_path: Path) -> None:
    mixture = Mixture([source(tmp_path, "a", 30), source(tmp_path, "b", 7)], seed=3)
    assert mixture.epoch_size == 37
    first, second = ids(mixture, 0, 37), ids(mixture, 37, 37)
    assert sorted(first) == sorted(second) == sorted([f"a{k}" for k in range(30)] + [f"b{k}" for k in range(7)])
    assert first != second
    assert first != sorted(first)


def test_weights_are_shares_of_the_stream(tmp_path: Path) -> None:
    mixture = Mixture([source(tmp_path, "a", 30), source(tmp_path, "b", 7)], [1, 3])
    assert mixture.shares == (0.25, 0.75)
    drawn = ids(mixture, 0, 1024)
    counts = Counter(identity[0] for identity in drawn)
    assert counts == {"a": 256, "b": 768}
    # A source that is through starts anew: each example comes as often as any other, give or take one.
    assert set(Counter(i for i in drawn if i[0] == "b").values()) <= {109, 110}
    # Mixed finely, not in blocks.
    assert max(len(list(group)) for _, group in itertools.groupby(identity[0] for identity in drawn)) < 40


def test_a_tiny_share_is_still_drawn(tmp_path: Path) -> None:
    mixture = Mixture([source(tmp_path, "a", 30), source(tmp_path, "b", 7)], [1e5, 1])
    assert mixture.shares[1] == pytest.approx(1e-5, rel=0.1)


def test_any_position_can_be_entered_from_anywhere(tmp_path: Path) -> None:
    def fresh() -> Mixture:
        return Mixture([source(tmp_path, "a", 30, bad=(3, 4)), source(tmp_path, "b", 7)], [2, 1], seed=5)

    undisturbed = ids(fresh(), 0, 300)
    assert ids(fresh(), 211, 89) == undisturbed[211:]
    backwards = fresh()
    assert [str(backwards[k].id) for k in reversed(range(300))][::-1] == undisturbed


def test_ranks_share_the_stream(tmp_path: Path) -> None:
    mixture = Mixture([source(tmp_path, "a", 30), source(tmp_path, "b", 7)], seed=5)
    one = ids(mixture, 10, 60)
    parts = [[str(e.id) for e in itertools.islice(mixture.stream(10, rank, 3), 20)] for rank in range(3)]
    assert [identity for together in zip(*parts, strict=True) for identity in together] == one


def test_seeds_give_other_orders(tmp_path: Path) -> None:
    sources = [source(tmp_path, "a", 30)]
    assert ids(Mixture(sources, seed=1), 0, 30) == ids(Mixture(sources, seed=1), 0, 30)
    assert ids(Mixture(sources, seed=1), 0, 30) != ids(Mixture(sources, seed=2), 0, 30)


def test_a_bad_record_is_replaced_and_counted_once(tmp_path: Path) -> None:
    a = source(tmp_path, "a", 30, bad=(3, 4))
    drawn = Counter(ids(Mixture([a]), 0, 300))
    assert sorted(drawn) == sorted(f"a{k}" for k in range(30) if k not in (3, 4))
    assert a.problems.bad == 2
    strict = source(tmp_path, "a", 30, bad=(3, 4), tolerance=Tolerance(0, 1))
    with pytest.raises(DataError, match=r"2 of 30 records are bad, more than the 0\.0% plus 1 allowed: a\.jsonl:"):
        ids(Mixture([strict]), 0, 30)


def test_a_broken_picture_counts_as_a_bad_record(tmp_path: Path) -> None:
    a = source(tmp_path, "a", 6)
    for k in range(6):
        Image.new("RGB", (8, 8) if k else (9, 9)).save(tmp_path / f"a{k}.png")
    (tmp_path / "a1.png").write_bytes(b"no picture")
    mixture = Mixture([a])
    opened = [mixture.open(k) for k in range(12)]
    assert {example.id for example, _ in opened} == {"a2", "a3", "a4", "a5"}
    assert all(picture.size == (8, 8) for _, picture in opened)
    assert a.problems.bad == 2
    assert any("the picture is (9, 9), its record says (8, 8)" in reason for reason in a.problems.first)


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of its 3 records can be used"):
        Mixture([source(tmp_path, "a", 3, bad=(0, 1, 2))])[0]
    (tmp_path / "e.jsonl").write_text("")
    with pytest.raises(DataError, match="has no examples"):
        Mixture([read_examples(tmp_path / "e.jsonl")])
    with pytest.raises(InputError, match="A mixture needs sources"):
        Mixture([])
    with pytest.raises(InputError, match="0 <= rank < world"):
        next(Mixture([source(tmp_path, "a", 3)]).stream(rank=2, world=2))


def test_a_recipe_opens_its_sources(tmp_path: Path) -> None:
    source(tmp_path, "a", 30)
    source(tmp_path, "b", 7)
    tree = [
        {"path": str(tmp_path / "a.jsonl"), "weight": 3, "limit": 10, "tolerance": {"share": 0.1}},
        {"path": str(tmp_path / "b.jsonl"), "format": "examples", "weight": 1},
    ]
    recipes = [build(SourceRecipe, one) for one in tree]
    assert recipes[0].tolerance == Tolerance(0.1)
    mixture = Mixture.of(recipes)
    assert (mixture.epoch_size, mixture.shares) == (17, (0.75, 0.25))
    assert ids(pickle.loads(pickle.dumps(mixture)), 5, 40) == ids(mixture, 5, 40)  # as a worker gets it
    with pytest.raises(InputError, match="a weight is a number above 0"):
        build(SourceRecipe, {"path": "x", "weight": 0})


def test_threads_draw_the_same_as_one(tmp_path: Path) -> None:
    def fresh() -> Mixture:
        return Mixture([source(tmp_path, "a", 30, bad=(3, 4)), source(tmp_path, "b", 7)], seed=5)

    expected = ids(fresh(), 0, 400)
    together = fresh()
    with ThreadPoolExecutor(8) as threads:
        drawn = threads.map(lambda k: str(together[k].id), range(400))
    assert list(drawn) == expected
    assert together.sources[0].problems.bad == 2


def test_the_fingerprint_changes_with_the_data(tmp_path: Path) -> None:
    def mark(weights: list[float] | None = None) -> str:
        return Mixture(
            [read_examples(tmp_path / "a.jsonl"), read_examples(tmp_path / "b.jsonl")], weights
        ).fingerprint()

    source(tmp_path, "a", 30)
    source(tmp_path, "b", 7)
    first = mark()
    assert mark() == first
    assert mark([1, 1]) != first
    source(tmp_path, "b", 7, bad=(2,))
    assert mark() != first
    sizes = tmp_path / "folder"
    sizes.mkdir()
    empty = fingerprint(sizes)
    (sizes / "a.txt").write_text("x")
    assert fingerprint(sizes) != empty
