"""The whole recipe of fo1-nano on a handful of photographs: every stage, and a folder that loads and answers."""

from pathlib import Path

import pytest

import fo1agent
from fo1agent.errors import InputError
from fo1agent.trainers.nano import NanoRecipe, run
from fo1agent.trainers.recipe import load_recipe


def test_the_recipe_ends_in_a_model_that_loads_and_answers(shared_dir: Path, tmp_path: Path) -> None:
    tower = shared_dir / "data/init-weights/ssdlite_mobilenet_v2_coco.safetensors"
    root = shared_dir / "data/coco-natural"
    if not tower.exists() or not root.is_dir():
        pytest.skip(f"the photographs and initial weights are not in {shared_dir}")
    stages = ("proposals", "naming", "phrases", "base", "alignment", "instruction", "heads", "words")
    short = [f"{stage}.train.steps=1" for stage in stages] + [f"{stage}.batch_size=2" for stage in stages]
    paths = [f"data.root={root}", f"tower={tower}", f"work={tmp_path / 'work'}", f"out={tmp_path / 'model'}"]
    folder = run(load_recipe(NanoRecipe, "nano", [*paths, "data.limit=6", *short]))
    model = fo1agent.load(folder)
    scene = model.open(next((root / "images/dev").glob("*.jpg")))
    assert len(scene.regions) == 100
    assert isinstance(scene.count("person").value, int)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("base.mix.regoins=3", r"base\.mix.*regions"),
        ("base.mix.absent=many", r"base\.mix.*int"),
    ],
)
def test_what_a_stage_cannot_be_asked_is_told_at_once(override: str, said: str, tmp_path: Path) -> None:
    recipe = load_recipe(NanoRecipe, "nano-quick", [f"work={tmp_path / 'work'}", override])
    with pytest.raises(InputError, match=said):
        run(recipe)
    assert not (tmp_path / "work").exists()
