"""No figures are told of a model whose words come from a vLLM that is gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fo1agent
from fo1agent.agent import Agent
from fo1agent.errors import EngineError
from fo1agent.evaluate import detection, qa
from fo1agent.regions.regions import Regions
from tests.vllm_server import Server, listening

server = listening


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, with a dog in each, and a question about each."""
    for name in ("1.png", "2.png"):
        Image.new("RGB", (64, 48), (int(name[0]), 0, 0)).save(tmp_path / name)
    one = {"category_id": 1, "bbox": [1, 1, 19, 19], "area": 361, "iscrowd": 0}
    truth = {
        "images": [{"id": k, "file_name": f"{k}.png", "width": 64, "height": 48} for k in (1, 2)],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"id": k, "image_id": k, **one} for k in (1, 2)],
    }
    (tmp_path / "instances.json").write_text(json.dumps(truth), encoding="utf-8")
    lines = [{"image": f"{k}.png", "question": "How many dogs are there?", "answer": 1} for k in (1, 2)]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return tmp_path


def _detected(model: Any, folder: Path) -> int:
    return len(detection.evaluate(model, folder / "instances.json", folder).failures)


def _answered(model: Any, folder: Path) -> int:
    return len(qa.evaluate(model.open, Agent(model).ask, folder / "questions.jsonl", folder).failures)


@pytest.mark.parametrize("measured", [_detected, _answered])
def test_a_vllm_that_is_gone_ends_a_measurement_and_a_prompt_that_is_refused_is_a_failure(
    server: Server, folder: Path, measured: Callable[[Any, Path], int]
) -> None:
    pytest.importorskip("pycocotools", reason="the extra eval is not installed")
    found = Regions(np.array([[1.0, 1, 20, 20]]), np.ones(1), (None,), ("r0",), "test")
    model = fo1agent.load(engine=server.url, proposer=lambda image: found)
    assert measured(model, folder) == 0
    model = fo1agent.load(engine=server.url, proposer=lambda image: found)
    asked = server.vllm
    server.answer = lambda path, body: asked(path, body) if path != "/v1/chat/completions" else (400, {"message": "no"})
    assert measured(model, folder) == 2
    server.answer = lambda path, body: (503, b"")
    with pytest.raises(EngineError, match="answers 503"):
        measured(model, folder)
