"""Auxiliary towers: the second look at a picture, from which region vectors are pooled.

A tower is a module with `levels` (stride, channels and offset of each map) whose
`forward(views) -> (maps, candidates)` takes what `prepare` made of the picture: named tensors [1, 3, H, W], of which
`main` is the one that the maps belong to. `candidates` is what a detector inside the tower saw, or None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import Florence2VisionConfig
from transformers.models.florence2.modeling_florence2 import Florence2VisionBackbone

from fo1agent.errors import CheckpointError
from fo1agent.model.config import ProcessingConfig
from fo1agent.model.region_encoder import Level

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SQUASH_SIDE = 768
SQUARE_SIDES = (384, 448, 512, 576, 640, 704, 768, 832, 896, 960, 1024, 1280, 1536, 1792, 2048)


def build_aux(config: Mapping[str, Any]) -> nn.Module:
    """The tower that `config["type"]` names, with random weights.

    Raises:
        CheckpointError: no such type.
    """
    settings = dict(config)
    kind = settings.pop("type", None)
    if kind == "davit":
        return DaViT(Florence2VisionConfig(**settings))
    if kind == "mobilenet_v2_ssd":
        from fo1agent.model.mobilenet import MobileNetV2SSD

        return MobileNetV2SSD(**settings)
    raise CheckpointError(f"config.aux.type is davit or mobilenet_v2_ssd, got {kind!r}.")


def prepare_aux(config: Mapping[str, Any], processing: ProcessingConfig, image: Image.Image) -> dict[str, Tensor]:
    """The tower's views of an RGB picture, named tensors [1, 3, H, W]."""
    if config.get("type") == "mobilenet_v2_ssd":
        from fo1agent.model.mobilenet import prepare

        return prepare(image, **{key: value for key, value in config.items() if key != "type"})
    return prepare_davit(image, processing.aux_aspect)


class DaViT(Florence2VisionBackbone):
    """Florence-2's backbone, read after each stage. Its maps come straight after a stage's last block, with no norm."""

    def __init__(self, config: Florence2VisionConfig) -> None:
        super().__init__(config)
        strides = np.cumprod(config.patch_stride)
        self.levels = tuple(Level(float(s), c) for s, c in zip(strides, config.embed_dim, strict=True))

    def forward(self, views: Mapping[str, Tensor]) -> tuple[list[Tensor], None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """{"main": [1, 3, H, W]} → one map [1, C, h, w] per stage, and no candidates."""
        hidden = views["main"]
        maps = []
        for conv, blocks in zip(self.convs, self.blocks, strict=True):
            hidden = conv(hidden)
            for block in blocks:  # pyright: ignore[reportGeneralTypeIssues]
                hidden = block(hidden)
            maps.append(hidden)
        return maps, None


def prepare_davit(image: Image.Image, aspect: str) -> dict[str, Tensor]:
    """Resize as `aspect` says and normalise by ImageNet's mean and deviation."""
    if aspect == "squash":
        image = image.resize((SQUASH_SIDE, SQUASH_SIDE), Image.Resampling.BICUBIC)
    elif aspect == "dynamic_square":
        area = image.width * image.height
        side = min(SQUARE_SIDES, key=lambda s: abs(s * s - area))
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, dtype=np.float32) / 255.0
    pixels = (pixels - np.array(IMAGENET_MEAN, dtype=np.float32)) / np.array(IMAGENET_STD, dtype=np.float32)
    return {"main": torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()}
