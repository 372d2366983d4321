"""vLLM with the golden tensors' checkpoint in this process, once for all tests; and the same model by torch."""

from __future__ import annotations

import os

# Before anything imports vLLM.
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")

from typing import Any

import numpy as np
import pytest
from PIL import Image

from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.regions.regions import Regions
from tests.tiny_models import CHECKPOINT


@pytest.fixture(scope="session")
def here() -> Any:
    """The checkpoint in vLLM."""
    import fo1agent
    from tests.vllm.heads import widen

    widen()
    return fo1agent.load(CHECKPOINT, engine="vllm", dtype="float32").predictor


@pytest.fixture(scope="session")
def local() -> Any:
    """The checkpoint by torch."""
    import fo1agent

    return fo1agent.load(CHECKPOINT, engine="torch", dtype="float32").predictor


def picture(seed: int, width: int = 320, height: int = 240) -> LoadedImage:
    """Noise."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return load_image(Image.fromarray(pixels))


def regions(count: int, image: LoadedImage, seed: int = 0) -> Regions:
    """So many boxes within a picture, the surest first."""
    corners = np.random.default_rng(seed).uniform(0, 1, (count, 2, 2))
    corners.sort(axis=1)
    boxes = corners.reshape(count, 4) * [image.width, image.height, image.width, image.height]
    return Regions(boxes, np.linspace(1, 0.1, count), (None,) * count, tuple(f"r{k}" for k in range(count)), "test")
