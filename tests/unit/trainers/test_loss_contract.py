"""Losses are sums and counts are known beforehand, so a batch in parts is the batch in one piece."""

import pytest
import torch

from fo1agent.errors import TrainingError
from fo1agent.trainers.data.features import FeatureStore
from fo1agent.trainers.step import share, train_only
from tests.tiny_stages import language_stage, naming_stage, tiny_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return tiny_store(tmp_path_factory.mktemp("tiny"))


def gradients(stage, parts: int) -> tuple[dict[str, float], dict[str, int], dict[str, torch.Tensor]]:
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    batches = [stage.batch(1, part, parts) for part in range(parts)]
    for batch in batches:
        for name, count in stage.counts(batch).items():
            counts[name] = counts.get(name, 0) + count
    for batch in batches:
        losses = stage.losses(batch)
        torch.stack([value / max(1, counts[name]) for name, value in losses.items()]).sum().backward()
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value.item()
    found = {name: p.grad for name, p in stage.model.named_parameters() if p.grad is not None}
    return sums, counts, found


@pytest.mark.parametrize("make", [language_stage, naming_stage], ids=["base", "naming"])
def test_parts_of_a_batch_add_up_to_the_batch(make, store) -> None:
    found = []
    for parts in (1, 2, 3):
        stage = make(store, batch_size=3)
        train_only(stage.model, stage.trainable())
        found.append(gradients(stage, parts))
    (sums, counts, whole), *others = found
    assert set(sums) == set(counts) == set(stage.loss_weights)
    for other_sums, other_counts, other in others:
        assert other_counts == pytest.approx(counts)  # names are weighted
        assert other_sums == pytest.approx(sums, rel=1e-5)
        assert other.keys() == whole.keys()
        for name, gradient in whole.items():
            # float32 sums in another order: a few units in the last place of the largest terms.
            largest = float(gradient.abs().max())
            torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-5 * largest, msg=name)


def test_next_token_is_the_mean_over_labelled_tokens(store) -> None:
    stage = language_stage(store)
    batch = stage.batch(0)
    seen = [stage._look(asked) for asked in batch]
    tokens = stage.model.project_regions(torch.cat([one.vectors for one in seen]))
    tokens = tokens.split([len(one.vectors) for one in seen])
    assembled = stage.model.assemble([stage._sample(*one) for one in zip(batch, seen, tokens, strict=True)])
    assert assembled.labels is not None
    assert stage.counts(batch)["next_token"] == int((assembled.labels[:, 1:] >= 0).sum())
    mean = stage.losses(batch)["next_token"] / stage.counts(batch)["next_token"]
    torch.testing.assert_close(mean, stage.model(assembled, logits_to_keep=None).loss)


def test_a_batch_is_cut_into_parts_of_nearly_one_size() -> None:
    assert [list(share(5, part, 2)) for part in range(2)] == [[0, 1], [2, 3, 4]]
    assert [list(share(3, part, 3)) for part in range(3)] == [[0], [1], [2]]
    with pytest.raises(TrainingError, match=r"batch of 2 cannot be cut into 3 parts.*Raise batch_size"):
        share(2, 0, 3)


def test_pictures_are_named_for_messages(store) -> None:
    stage = language_stage(store)
    assert all(name.endswith(".png") for name in stage.example_names(stage.batch(0)))
