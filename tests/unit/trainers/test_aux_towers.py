"""Stages on other auxiliary towers: stage 1 leaves them, stage 2 trains their last stage, and kept views serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fo1agent.model import weights
from fo1agent.model.config import FO1Config
from fo1agent.model.fo1 import FO1
from fo1agent.model.processing import FO1Processor
from fo1agent.trainers import alignment, instruction
from fo1agent.trainers.language import StageTable
from fo1agent.trainers.recipe import build
from fo1agent.trainers.tuning import TuneRecipe, tune
from tests.drawn import write_coco
from tests.tiny_models import reference

STAGES: dict[str, Any] = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
VIT = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "patch_size": 16, "max_img_size": 128}
# Batch norms count their batches; of a ViT the region encoder makes a pyramid.
TOWERS: dict[str, tuple[dict[str, Any], int]] = {
    "resnet": ({"model_type": "resnet", **STAGES, "embedding_size": 8}, 0),
    "radio": ({"model_type": "radio", **VIT}, 8),
}


@pytest.fixture(scope="module", params=TOWERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the tower, and pictures."""
    made = tmp_path_factory.mktemp(request.param)
    write_coco(made, "train", 4, seed=1)
    base, processor = reference()
    said, (config, pyramid) = base.config, TOWERS[request.param]
    torch.manual_seed(0)
    model = FO1(
        FO1Config(
            base_config=said.base_config.to_dict(),
            aux={"type": "backbone", "config": config},
            region={**said.region, "aux_fpn_channels": pyramid},
            region_projector=said.region_projector,
            processing=said.processing,
        )
    )
    weights.save(model, FO1Processor(processor.tokenizer, model.config), made / "model")
    return made


def moved(folder: Path, work: Path, table: StageTable, **changes: Any) -> set[str]:
    """Names of the numbers that a stage changed."""
    tree = {
        "sources": [{"path": str(folder / "instances_train.json"), "images": str(folder / "images/train")}],
        "train": {"steps": 2, "lr": 1e-2, "log_every": 1, "save_every": 2},
        "model": str(folder / "model"),
        "batch_size": 2,
        "boxes": "given",
        "heads": {"match": {"width": 16}},
        "out": str(work / "model"),
        "run": str(work / "run"),
        **changes,
    }
    before = weights.load(folder / "model")[0].state_dict()
    after = weights.load(tune(build(TuneRecipe, tree), table))[0].state_dict()
    return {name for name, one in before.items() if not torch.equal(one, after[name])}


def test_stage_one_trains_a_pyramid_and_leaves_the_tower(folder: Path, tmp_path: Path) -> None:
    changed = moved(folder, tmp_path, alignment.TABLE, cache=str(tmp_path / "cache"), augment=None)
    assert not [name for name in changed if name.startswith("aux.")]
    pyramid = {name for name in weights.load(folder / "model")[0].state_dict() if ".aux_fpn." in name}
    assert {name for name in changed if ".aux_fpn." in name} == pyramid
    assert any((tmp_path / "cache").iterdir())


def test_stage_two_trains_the_towers_last_stage_alone(folder: Path, tmp_path: Path) -> None:
    changed = {name for name in moved(folder, tmp_path, instruction.TABLE, lora=None) if name.startswith("aux.")}
    model = weights.load(folder / "model")[0]
    last = {id(p) for part in model.aux.tail for p in [*part.parameters(), *part.buffers()]}
    own = {name for name, one in [*model.named_parameters(), *model.named_buffers()] if id(one) in last}
    assert changed
    assert changed <= own
