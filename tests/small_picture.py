"""One small picture of noise, in any format, and whether what was read is it to the last bit."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from fo1agent.pictures.image import load_image

PIXELS = np.random.default_rng(7).integers(0, 256, (30, 50, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)


def encode(image: Image.Image = PICTURE, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def is_read(source: Any, pixels: np.ndarray = PIXELS) -> bool:
    return np.array_equal(np.asarray(load_image(source).pixels), pixels)
