"""Auxiliary towers: the second look at a picture, from which region vectors are pooled.

`Tower` says what one is; `TOWERS` names those there are. Who adds one writes what config.json may say of it into
`stored_towers.py`. Whatever transformers can build as a backbone is one already: `aux_backbones.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import Florence2VisionConfig
from transformers.models.florence2.modeling_florence2 import Florence2VisionBackbone, Florence2VisionWindowAttention

from fo1agent.errors import CheckpointError
from fo1agent.model import attention, aux_backbones
from fo1agent.model.aux_backbones import IMAGENET_MEAN, IMAGENET_STD
from fo1agent.model.mobilenet import Candidates, MobileNetV2SSD
from fo1agent.model.mobilenet import prepare as prepare_mobilenet
from fo1agent.model.prompting import ProcessingConfig
from fo1agent.model.region_encoder import Level

SQUASH_SIDE = 768
SQUARE_SIDES = (384, 448, 512, 576, 640, 704, 768, 832, 896, 960, 1024, 1280, 1536, 1792, 2048)


class Tower(Protocol):
    """An auxiliary tower, a module.

    Attributes:
        levels: stride, channels and offset of each of its maps.
        detects: whether there is a detector inside, which finds boxes by itself.
        tail: its last stage, which a stage of training may train; nothing of a whole detector.
    """

    levels: Sequence[Level]
    detects: bool

    @property
    def tail(self) -> Sequence[nn.Module]: ...

    def __call__(self, views: Mapping[str, Tensor]) -> tuple[list[Tensor], Candidates | None]:
        """Views of one picture [1, 3, H, W], by name → the maps of `main`, and what the detector saw in all."""
        ...


class DaViT(Florence2VisionBackbone):
    """Florence-2's backbone, read after each stage. Its maps come straight after a stage's last block, with no norm."""

    detects = False

    def __init__(self, config: Florence2VisionConfig) -> None:
        super().__init__(config)
        strides = np.cumprod(config.patch_stride)
        self.levels = tuple(Level(float(s), c) for s, c in zip(strides, config.embed_dim, strict=True))
        for stage in self.blocks:
            for block in stage:  # pyright: ignore[reportGeneralTypeIssues]
                block.spatial_block.window_attn = WindowAttention(block.spatial_block.window_attn)

    @property
    def tail(self) -> list[nn.Module]:
        """The last stage."""
        return [self.convs[-1], self.blocks[-1]]

    def forward(self, views: Mapping[str, Tensor]) -> tuple[list[Tensor], None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """{"main": [1, 3, H, W]} → one map [1, C, h, w] per stage, and no candidates."""
        hidden = views["main"]
        maps = []
        for conv, blocks in zip(self.convs, self.blocks, strict=True):
            hidden = conv(hidden).permute(0, 2, 3, 1)
            for block in blocks:  # pyright: ignore[reportGeneralTypeIssues]
                spatial, channel = block.spatial_block, block.channel_block
                hidden = mixed(spatial, spatial.window_attn, hidden)
                hidden = mixed(channel, lambda cells, of=channel: of.channel_attn(cells.flatten(1, 2)), hidden)
            hidden = hidden.permute(0, 3, 1, 2)
            maps.append(hidden)
        return maps, None


def mixed(block: Any, attend: Callable[[Tensor], Tensor], hidden: Tensor) -> Tensor:
    """One of Florence-2's blocks, all of it with channels last.

    Its own forward loses that layout on the way, and then adds maps of two layouts, at a twentieth of the speed.

    Args:
        block: spatial or channel.
        attend: its attention, [B, H, W, C] → [B, H * W, C].
        hidden: [B, H, W, C].

    Returns:
        [B, H, W, C].
    """
    hidden = _beside(block.conv1, hidden)
    hidden = hidden + block.drop_path1(attend(block.norm1(hidden)).view_as(hidden))
    hidden = _beside(block.conv2, hidden)
    return hidden + block.drop_path2(block.ffn(block.norm2(hidden)))


def _beside(conv: nn.Module, hidden: Tensor) -> Tensor:
    """[B, H, W, C] and what a convolution makes of it."""
    hidden = hidden.contiguous()
    return conv(hidden.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) + hidden


class WindowAttention(nn.Module):
    """Florence-2's attention inside windows, with its layers, but without work on the cells beyond the map's edge.

    There a window holds zeros, so that keys and values are the layer's bias: they are seen, and need no product.
    """

    def __init__(self, of: Florence2VisionWindowAttention) -> None:
        super().__init__()
        self.qkv, self.proj = of.qkv, of.proj
        self.side, self.heads, self.scale = of.window_size, of.num_heads, of.scale

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, H, W, C] → [B, H * W, C]."""
        rows, height, width, channels = hidden.shape
        side, heads = self.side, self.heads
        down, across = -(-height // side), -(-width // side)
        qkv = self._extended(self.qkv(hidden), down * side, across * side)
        cells = qkv.view(rows, down, side, across, side, 3, heads, channels // heads).permute(5, 0, 1, 3, 6, 2, 4, 7)
        query, key, value = cells.reshape(3, -1, heads, side * side, channels // heads)
        seen = attention.whole(query, key, value, self.scale).view(rows, down, across, heads, side, side, -1)
        seen = seen.permute(0, 1, 4, 2, 5, 3, 6).reshape(rows, down * side, across * side, channels)
        return self.proj(seen[:, :height, :width].reshape(rows, height * width, channels))

    def _extended(self, qkv: Tensor, height: int, width: int) -> Tensor:
        """The same [B, H, W, 3C] with what a zero gives behind its rows and columns."""
        if qkv.shape[1:3] == (height, width):
            return qkv
        beyond = qkv.new_zeros(qkv.shape[-1]) if self.qkv.bias is None else self.qkv.bias.to(qkv.dtype)
        rows, high, wide = qkv.shape[:3]
        right = beyond.expand(rows, high, width - wide, -1)
        below = beyond.expand(rows, height - high, width, -1)
        return torch.cat([torch.cat([qkv, right], dim=2), below], dim=1)


def prepare_pixels(
    image: Image.Image, aspect: str, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> dict[str, Tensor]:
    """Resize as `aspect` says (see `ProcessingConfig.aux_aspect`) and normalise by mean and deviation."""
    if aspect == "squash":
        image = image.resize((SQUASH_SIDE, SQUASH_SIDE), Image.Resampling.BICUBIC)
    elif aspect == "dynamic_square":
        area = image.width * image.height
        side = min(SQUARE_SIDES, key=lambda s: abs(s * s - area))
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, dtype=np.float32) / 255.0
    pixels = (pixels - np.array(mean, dtype=np.float32)) / np.array(std, dtype=np.float32)
    return {"main": torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()}


def _prepare_backbone(image: Image.Image, settings: dict[str, Any], processing: ProcessingConfig) -> dict[str, Tensor]:
    own = [settings.get(name) for name in ("image_mean", "image_std")]
    mean, std = (
        given or known for given, known in zip(own, aux_backbones.normalisation(settings["config"]), strict=True)
    )
    return prepare_pixels(image, processing.aux_aspect, mean, std)


class Kind(NamedTuple):
    """How a tower of a kind is built from its settings, and what it is shown of an RGB picture."""

    build: Callable[[dict[str, Any]], Any]
    prepare: Callable[[Image.Image, dict[str, Any], ProcessingConfig], dict[str, Tensor]]


TOWERS = {
    "davit": Kind(
        lambda settings: DaViT(Florence2VisionConfig(**settings)),
        lambda image, settings, processing: prepare_pixels(image, processing.aux_aspect),
    ),
    "backbone": Kind(lambda settings: aux_backbones.build(**settings), _prepare_backbone),
    "mobilenet_v2_ssd": Kind(
        lambda settings: MobileNetV2SSD(**settings),
        lambda image, settings, processing: prepare_mobilenet(image, **settings),
    ),
}


def build_aux(config: Mapping[str, Any]) -> Any:
    """The `Tower` that `config["type"]` names, with random weights.

    Raises:
        CheckpointError: no such type.
    """
    kind, settings = _kind(config)
    return kind.build(settings)


def prepare_aux(config: Mapping[str, Any], processing: ProcessingConfig, image: Image.Image) -> dict[str, Tensor]:
    """The tower's views of an RGB picture, named tensors [1, 3, H, W].

    Raises:
        CheckpointError: see `build_aux`.
    """
    kind, settings = _kind(config)
    return kind.prepare(image, settings, processing)


def _kind(config: Mapping[str, Any]) -> tuple[Kind, dict[str, Any]]:
    name = config.get("type")
    if name not in TOWERS:
        raise CheckpointError(f"config.aux.type is {' or '.join(TOWERS)}, got {name!r}.")
    return TOWERS[name], {key: value for key, value in config.items() if key != "type"}
