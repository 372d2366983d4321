"""Training the proposal head from a recipe, on pictures drawn here, with a small random tower."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from fo1agent.errors import CheckpointError, DataError, InputError
from fo1agent.model.aux_encoder import build_aux
from fo1agent.trainers.proposals import (
    MapSource,
    ProposalRecipe,
    ProposalStage,
    TowerRecipe,
    load_tower,
    main,
    mirror_boxes,
    open_picture,
    recall,
)
from fo1agent.trainers.recipe import load_recipe
from fo1agent.trainers.step import train

COLORS = [(220, 60, 50), (60, 180, 90), (70, 90, 220), (240, 200, 60)]


def draw_pictures(root: Path, split: str, count: int, seed: int) -> None:
    """Bright boxes on grey, with their COCO file."""
    random = np.random.default_rng(seed)
    (root / "images" / split).mkdir(parents=True)
    images, annotations = [], []
    for k in range(count):
        width, height = [(160, 120), (120, 160)][k % 2]
        pixels = np.full((height, width, 3), 110, np.uint8) + random.integers(0, 20, (height, width, 1), np.uint8)
        for left in (4, width // 2 + 2):
            w, h = random.integers(25, width // 2 - 8), random.integers(25, height - 20)
            y = random.integers(2, height - h)
            pixels[y : y + h, left : left + w] = COLORS[random.integers(4)]
            annotations.append({"image_id": k, "category_id": 1, "bbox": [left, int(y), int(w), int(h)]})
        Image.fromarray(pixels).save(root / "images" / split / f"{k}.png")
        images.append({"id": k, "file_name": f"{k}.png", "width": width, "height": height})
    tree = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "box"}]}
    (root / f"instances_{split}.json").write_text(json.dumps(tree))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("proposals")
    draw_pictures(folder, "train", 8, seed=1)
    draw_pictures(folder, "dev", 4, seed=2)
    torch.manual_seed(0)
    tower = build_aux({"type": "mobilenet_v2_ssd"})
    for name, parameter in tower.named_parameters():  # random, but with activations that neither vanish nor explode
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    save_file(tower.state_dict(), folder / "tower.safetensors")
    return folder


def recipe(root: Path, *overrides: str) -> ProposalRecipe:
    where = [f"data.root={root}", f"tower.weights={root}/tower.safetensors", f"cache={root}/maps"]
    steps = ["train.steps=60", "train.lr=4e-3", "train.warmup=5", "train.ema=0.9", "train.save_every=20"]
    small = ["batch_size=2", "head.width=32", "train.eval_every=0"]
    return load_recipe(ProposalRecipe, "proposals", [*where, *steps, *small, *overrides])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_head_learns_to_find_boxes(root, tmp_path):
    settings = recipe(root, "train.eval_every=60")
    stage = ProposalStage(settings)
    before = stage.evaluate()["recall@100_0.50"]
    records = []
    result = train(stage, settings.train, tmp_path, settings, records.append)
    losses = [r["loss"] for r in records if "loss" in r]
    assert losses[-1] < 0.8 * losses[0]
    assert result.metrics["recall@100_0.50"] >= max(75, before)
    assert set(load_file(result.weights)) == set(stage.model.state_dict())
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["recipe"]["head"]["levels"] == [1, 2, 3]
    assert run["parameters"]["head"] == sum(p.numel() for p in stage.model.parameters())


def test_a_stopped_run_goes_on_as_if_it_had_not_been(root, tmp_path):
    settings = recipe(root, "train.steps=8", "train.save_every=3", "train.log_every=1")
    train(ProposalStage(settings), settings.train, tmp_path / "whole", settings)

    class Stopped(Exception):
        pass

    def stop(record):
        if record["step"] == 5:
            raise Stopped

    with pytest.raises(Stopped):
        train(ProposalStage(settings), settings.train, tmp_path / "halves", settings, stop)
    # Without the cache now: kept maps and fresh ones are the same.
    settings = recipe(root, "train.steps=8", "train.save_every=3", "train.log_every=1", "cache=null")
    result = train(ProposalStage(settings), settings.train, tmp_path / "halves", settings)
    assert result.resumed_from == 3
    assert result.weights.read_bytes() == (tmp_path / "whole/weights.safetensors").read_bytes()


def test_the_command_runs_a_recipe_and_leaves_weights(root, tmp_path):
    where = [f"data.root={root}", f"tower.weights={root}/tower.safetensors", f"cache={root}/maps", f"run={tmp_path}"]
    small = ["train.steps=2", "train.eval_every=2", "batch_size=1", "head.width=16", "data.limit=2"]
    result = main(["proposals", *where, *small])
    assert result.weights == tmp_path / "weights.safetensors"
    assert set(result.metrics) == {"recall@100_0.50", "recall@100_0.75"}


def test_batches_follow_from_the_step_and_every_epoch_sees_every_picture(root):
    stage = ProposalStage(recipe(root))
    again = ProposalStage(recipe(root))
    again.batch(5)  # what was asked before does not matter
    for a, b in zip(stage.batch(2), again.batch(2), strict=True):
        assert torch.equal(a.boxes, b.boxes)
        assert all(torch.equal(x, y) for x, y in zip(a.maps, b.maps, strict=True))
    never_flipped = ProposalStage(recipe(root, "flip=0"))
    epoch = [tuple(e.boxes.flatten().tolist()) for step in range(4) for e in never_flipped.batch(step)]
    assert len(set(epoch)) == 8


def test_a_batch_is_where_the_head_is_whatever_the_tower_is_on(root):
    stage = ProposalStage(recipe(root))
    stage.model.to("meta")
    for seen in stage.batch(0):
        assert {t.device.type for t in (*seen.maps, seen.boxes, seen.ignored, seen.kinds)} == {"meta"}


def test_any_tower_will_do(root, tmp_path):
    config = {"type": "davit", "embed_dim": [8, 16, 24, 32], "num_heads": [1, 2, 3, 4], "num_groups": [1, 2, 3, 4]}
    config |= {"depths": [1, 1, 1, 1], "window_size": 4}
    torch.manual_seed(0)
    save_file(build_aux(config).state_dict(), tmp_path / "davit.safetensors")
    settings = recipe(root, f"tower.weights={tmp_path}/davit.safetensors", f"tower.config={json.dumps(config)}")
    stage = ProposalStage(settings)
    losses = stage.losses(stage.batch(0))
    assert set(losses) == {"objectness", "overlap", "sides"}
    assert all(torch.isfinite(value) and value.requires_grad for value in losses.values())


def test_the_tower_stays_as_it_is_and_must_fit(root, tmp_path):
    settings = recipe(root)
    tower = load_tower(settings.tower)
    assert not any(p.requires_grad for p in tower.parameters())
    save_file({"stem.conv.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"stem\.conv\.weight"):
        load_tower(TowerRecipe({"type": "mobilenet_v2_ssd"}, tmp_path / "other.safetensors"))
    with pytest.raises(CheckpointError, match=r"Cannot read the tower's weights"):
        load_tower(TowerRecipe({"type": "mobilenet_v2_ssd"}, tmp_path / "none.safetensors"))
    with pytest.raises(InputError, match=r"maps 0 to 3"):
        MapSource(tower, settings.tower.config, (1, 4), None)


def test_tower_weights_that_are_none_are_named(tmp_path):
    file = tmp_path / "tower.safetensors"
    tower = TowerRecipe({"type": "mobilenet_v2_ssd"}, file)
    save_file({"FeatureExtractor/MobilenetV2/Conv/weights": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=r"tower\.safetensors lacks a part of the detection zoo's tensors"):
        load_tower(tower)
    save_file({"stem.conv.weight": torch.full((1,), float("nan"))}, file)
    with pytest.raises(CheckpointError, match=r"stem\.conv\.weight is nan, wanted finite numbers"):
        load_tower(tower)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(CheckpointError, match="got a pipe, wanted a regular file"):
        load_tower(tower)


def test_a_picture_that_is_not_what_its_record_says_is_named(root, tmp_path):
    stage = ProposalStage(recipe(root))
    record = stage._train[0]
    Image.new("RGB", (5, 5)).save(tmp_path / "a.png")
    object.__setattr__(record, "path", tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png.*is \(5, 5\), its record says"):
        open_picture(record)
    object.__setattr__(record, "path", tmp_path / "none.png")
    with pytest.raises(DataError, match=r"none\.png"):
        open_picture(record)


def test_mirrored_boxes_mark_the_same_pixels():
    pixels = np.zeros((20, 30), bool)
    boxes = np.array([[3, 4, 10, 9], [12, 0, 30, 20]], np.float32)
    for (x1, y1, x2, y2), (u1, v1, u2, v2) in zip(boxes.astype(int), mirror_boxes(boxes, 30).astype(int), strict=True):
        pixels[:] = False
        pixels[y1:y2, x1:x2] = True
        assert pixels[:, ::-1][v1:v2, u1:u2].all()
        assert (u2 - u1, v2 - v1) == (x2 - x1, y2 - y1)
    np.testing.assert_array_equal(mirror_boxes(mirror_boxes(boxes, 30), 30), boxes)
    assert mirror_boxes(np.zeros((0, 4)), 30).shape == (0, 4)


def test_recall_counts_each_true_box_once():
    truth = [np.array([[0, 0, 10, 10], [0, 0, 10, 9]], float), np.zeros((0, 4))]
    one = [np.array([[0, 0, 10, 10]], float), np.array([[1, 1, 2, 2]], float)]
    two = [np.array([[0, 0, 10, 10], [0, 0, 10, 10]], float), np.zeros((0, 4))]
    assert recall(one, truth, 0.5) == 0.5
    assert recall(two, truth, 0.5) == 1.0
    assert recall(two, truth, 0.95) == 0.5
    assert recall([np.zeros((0, 4))] * 2, truth, 0.5) == 0.0
