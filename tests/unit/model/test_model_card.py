"""The model card's pictures and figures: all of them, small enough, and no photograph that may not be shown."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fo1agent.model import weights
from tests.conftest import REPO
from tests.tiny_models import VOCABULARY, nano


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("model_card", REPO / "scripts" / "model_card.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["model_card"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six noisy pictures, every other one under CC BY."""
    rng = np.random.default_rng(0)
    for k in range(6):
        Image.fromarray(rng.integers(0, 256, (150, 200, 3), dtype=np.uint8)).save(tmp_path / f"{k}.png")
    images = [
        {"id": k, "file_name": f"{k}.png", "width": 200, "height": 150, "license": 4 if k % 2 else 1}
        | {"flickr_url": f"http://example.org/{k}.jpg"}
        for k in range(6)
    ]
    annotations = [
        {"image_id": k, "category_id": 1 + c, "bbox": [10 + 60 * c, 20, 50, 80], "iscrowd": int(c == 2)}
        for k in range(6)
        for c in range(3)
    ]
    categories = [{"id": i, "name": name} for i, name in enumerate(VOCABULARY, start=1)]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "instances.json").write_text(json.dumps(truth), encoding="utf-8")
    return tmp_path


def test_a_card_has_all_its_parts_and_shows_only_what_it_may(script: ModuleType, data: Path, tmp_path: Path) -> None:
    model, out, run = tmp_path / "model", tmp_path / "card", tmp_path / "alignment"
    weights.save(*nano(), model)
    run.mkdir()
    records = [{"step": s, "loss": 5 / s, "match": 2 / s, "lr": 1e-3, "steps_per_second": 2.0} for s in (1, 2, 3)]
    records.append({"step": 3, "metrics": {"recall": 0.5}})
    (run / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    options = ["--instances", data / "instances.json", "--images", data, "--model", model, "--run", run]
    result = CliRunner().invoke(script.main, [str(out), *map(str, options), "--resamples", "3"])
    assert result.exit_code == 0, result.output

    pictures = {"confusion.png", "curves.png", "failure1.png", "failure2.png", "failure3.png", "reliability.png"}
    texts = {"figures.json", "figures.md", "failures.md"}
    assert {path.name for path in out.iterdir()} == pictures | texts
    assert all((out / name).stat().st_size < 300_000 for name in pictures)
    figures = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    assert figures["regions"]["boxes"] == 12
    assert figures["scores"]["images"] == 6
    failures = (out / "failures.md").read_text(encoding="utf-8")
    assert all(f"http://example.org/{k}.jpg" in failures for k in (1, 3, 5))
    assert not any(f"http://example.org/{k}.jpg" in failures for k in (0, 2, 4))


def test_a_log_is_read_as_losses_and_metrics(script: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text('{"step": 1, "loss": 2.0, "lr": 0.1}\n{"step": 2, "metrics": {"AP": 3.0}}\n', encoding="utf-8")
    assert script.read_log(file) == ({"loss": ([1], [2.0])}, {"AP": ([2], [3.0])})
    file.write_text("no", encoding="utf-8")
    with pytest.raises(script.click.ClickException, match="not a training log"):
        script.read_log(file)
