"""The engine in one process: layers are found, run again in the backward pass, and left as they were."""

from functools import partial

import pytest
import torch

from fo1agent.errors import TrainingError
from fo1agent.trainers import alignment
from fo1agent.trainers.data.features import FeatureStore
from fo1agent.trainers.engine import Engine, blocks, launcher_splits
from fo1agent.trainers.language import LanguageStage
from fo1agent.trainers.parameters import train_only
from fo1agent.trainers.processes import ONE, find_processes
from tests.tiny_stages import language_stage, tiny_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return tiny_store(tmp_path_factory.mktemp("tiny"))


def gradients(stage: LanguageStage, recompute: bool) -> tuple[dict[str, torch.Tensor], int]:
    """Gradients of step 0 by name, and how often the decoder's first layer ran."""
    runs = 0

    def count(*_: object) -> None:
        nonlocal runs
        runs += 1

    train_only(stage.model, stage.trainable())
    stage.layers()[0].get_submodule("mlp").register_forward_pre_hook(count)
    with Engine.placed(stage, ONE, split=False, recompute=recompute) as engine:
        batch = stage.batch(0)
        total, _ = engine.losses(batch, stage.counts(batch), stage.loss_weights)
        engine.backward(total)
    return {name: p.grad for name, p in stage.model.named_parameters() if p.grad is not None}, runs


def test_recomputed_layers_of_a_frozen_base_give_the_same_gradients(
    request: pytest.FixtureRequest, store: FeatureStore
) -> None:
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(1)  # several threads add in an order that may differ between two passes
    expected, once = gradients(language_stage(store, table=alignment.TABLE), recompute=False)
    stage = language_stage(store, table=alignment.TABLE)
    found, twice = gradients(stage, recompute=True)
    assert (once, twice) == (1, 2)
    assert not stage.model.base.training
    assert any(name.startswith("region_projector") for name in found)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert torch.equal(found[name], gradient), name
    assert not any("forward" in vars(module) for module in stage.model.modules())


def test_blocks_are_the_layers_of_decoder_and_vision_tower(store: FeatureStore) -> None:
    stage = language_stage(store)
    found = blocks(stage.model)
    assert len(found) == 2 + 2
    assert {id(layer) for layer in stage.layers()} < {id(block) for block in found}


def test_one_process_needs_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (find_processes().rank, find_processes().size) == (0, 1)
    assert not launcher_splits()


def test_what_the_engine_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert launcher_splits()
    monkeypatch.setenv("FSDP_OFFLOAD_PARAMS", "true")
    with pytest.raises(TrainingError, match="fsdp_offload_params is not supported"):
        launcher_splits()
