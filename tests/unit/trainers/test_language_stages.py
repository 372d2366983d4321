"""The stages on a tiny FO1: what trains changes, what is frozen does not, and phrases do learn to find regions."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fo1agent.model.fo1 import FO1
from fo1agent.model.processing import FO1Processor
from fo1agent.trainers import alignment, base, instruction
from fo1agent.trainers.calibration import calibrate
from fo1agent.trainers.data import features
from fo1agent.trainers.data.coco import CocoData
from fo1agent.trainers.data.features import (
    ANNOTATED,
    FeatureStore,
    JoinedStores,
    mirror_boxes,
    mirror_example,
    open_or_build,
)
from fo1agent.trainers.data.records import Reference
from fo1agent.trainers.data.tasks import TaskMaker
from fo1agent.trainers.language import LanguageStage, StageTable, part_parameters
from fo1agent.trainers.naming import NamingStage, name_weights
from fo1agent.trainers.step import TrainSettings, train
from tests.tiny_stages import NAMES, pictures, tiny_model

SETTINGS = TrainSettings(steps=2, lr=1e-3, log_every=1, save_every=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> CocoData:
    return pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def untrained() -> tuple[FO1, FO1Processor]:
    return tiny_model()


@pytest.fixture
def model(untrained: tuple[FO1, FO1Processor]) -> tuple[FO1, FO1Processor]:
    return copy.deepcopy(untrained[0]), untrained[1]


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, data: CocoData, untrained: tuple[FO1, FO1Processor]
) -> FeatureStore:
    return open_or_build(tmp_path_factory.mktemp("store") / "features", untrained[0], untrained[1], data)


def make_stage(table: StageTable, model: tuple[FO1, FO1Processor], store: FeatureStore) -> LanguageStage:
    return LanguageStage(table, model[0], model[1], store, TaskMaker(NAMES, ("grass",)), range(3), batch_size=2)


def frozen_copy(model: FO1) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_alignment_leaves_every_bit_of_base_and_tower(model, store, tmp_path: Path) -> None:
    before = frozen_copy(model[0])
    train(make_stage(alignment.TABLE, model, store), SETTINGS, tmp_path / "run")
    changed = {name.split(".")[0] for name, t in model[0].state_dict().items() if not torch.equal(t, before[name])}
    assert changed == {"region_projector", "match_head", "iou_head"}


@pytest.mark.parametrize("table", [base.TABLE, instruction.TABLE], ids=lambda table: table.name)
def test_stages_train_just_what_their_table_says(table: StageTable, model, store, tmp_path: Path) -> None:
    before = frozen_copy(model[0])
    train(make_stage(table, model, store), SETTINGS, tmp_path / "run")
    learned = {id(p) for name in table.parts for p in part_parameters(model[0], name)}
    for name, parameter in model[0].named_parameters():
        if id(parameter) not in learned:
            assert torch.equal(parameter, before[name]), name
    assert not torch.equal(
        model[0].base.get_input_embeddings().weight, before["base.model.language_model.embed_tokens.weight"]
    )


def test_all_five_losses_come_from_one_batch(model, store) -> None:
    stage = make_stage(base.TABLE, model, store)
    losses = stage.losses(stage.batch(0))
    assert set(losses) == {"next_token", "match", "senses", "name", "iou"}
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_a_batch_is_a_function_of_its_step(model, store) -> None:
    stage = make_stage(base.TABLE, model, store)
    first, again, other = stage.batch(3), stage.batch(3), stage.batch(4)
    assert [asked.questions for asked in first] == [asked.questions for asked in again]
    assert [asked.questions for asked in first] != [asked.questions for asked in other]


def test_naming_trains_the_projector_without_the_language_model(model, store, tmp_path: Path) -> None:
    before = frozen_copy(model[0])
    stage = NamingStage(model[0], store, {name: k for k, name in enumerate(NAMES)}, range(3), batch_size=2)
    train(stage, SETTINGS, tmp_path / "run")
    changed = {name.split(".")[0] for name, t in model[0].state_dict().items() if not torch.equal(t, before[name])}
    assert changed == {"region_projector", "iou_head", "match_head"}


def test_rare_names_and_the_background_count_as_they_should() -> None:
    weights = name_weights([1000, 10, 0])
    assert weights[0] < weights[1] < weights[2]
    torch.testing.assert_close(weights[:3].mean(), torch.tensor(1.0))
    assert weights[3] == 1


def test_a_store_holds_mirror_images_behind_the_pictures(store: FeatureStore, data: CocoData) -> None:
    assert len(store) == 2 * len(data)
    for k, image in enumerate(data):
        straight, turned = store[k], store[k + len(data)]
        annotated = straight.boxes[straight.kind == ANNOTATED]
        np.testing.assert_allclose(turned.boxes[turned.kind == ANNOTATED], mirror_boxes(annotated, image.width))
        np.testing.assert_allclose(turned.image.boxes, mirror_boxes(image.boxes, image.width))
        assert turned.image.labels == image.labels


def test_words_that_name_a_side_do_not_go_with_the_mirror_image(data: CocoData) -> None:
    said = replace(data.images[0], captions=("A dog on the left.", "A dog."), phrases=(Reference("right cup", (0,)),))
    turned = mirror_example(said)
    assert turned.captions == ("A dog.",)
    assert turned.phrases == ()


def test_joined_stores_are_one_row(store: FeatureStore) -> None:
    joined = JoinedStores((store, store))
    assert len(joined) == 2 * len(store)
    assert joined[len(store) + 1].image is store[1].image
    with pytest.raises(IndexError):
        joined[len(joined)]


def test_what_other_weights_saw_is_not_taken(model, data, tmp_path: Path) -> None:
    before = open_or_build(tmp_path / "features", model[0], model[1], data, mirror=False)
    vectors = before[0].vectors
    with torch.no_grad():
        model[0].aux.stem.conv.bias.add_(1)
    after = open_or_build(tmp_path / "features", model[0], model[1], data, mirror=False)
    assert not np.array_equal(after[0].vectors, vectors)
    assert np.array_equal(before[0].vectors, vectors)


def test_an_interrupted_build_goes_on(model, data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    whole = open_or_build(tmp_path / "whole", model[0], model[1], data, mirror=False)
    with pytest.raises(KeyboardInterrupt):
        open_or_build(tmp_path / "features", model[0], model[1], data, mirror=False, on_progress=interrupt)
    store = open_or_build(tmp_path / "features", model[0], model[1], data, mirror=False)
    for k in range(len(whole)):
        assert np.array_equal(store[k].vectors, whole[k].vectors)
        assert np.array_equal(store[k].boxes, whole[k].boxes)
    monkeypatch.setattr(features, "_look", None)  # all of it is there
    open_or_build(tmp_path / "features", model[0], model[1], data, mirror=False)


def test_calibration_sets_the_weights_of_the_head(model, store) -> None:
    fitted = calibrate(model[0], model[1], store, TaskMaker(NAMES), range(3))
    head = model[0].match_head
    assert [*head.weights.tolist(), head.bias.item()] == pytest.approx(list(fitted.values()))
