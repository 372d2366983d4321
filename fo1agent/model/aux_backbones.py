"""Auxiliary towers that are backbones of transformers: ConvNeXt, Swin, DINOv3, timm's, C-RADIO, ….

`build` makes whatever a backbone's own configuration describes. Strides and channels of its maps follow from that
configuration: they are read from the shapes of a pass that holds no numbers (torch's meta device). A backbone of
several stages gives a map after each; a plain ViT gives one, of which the region encoder can make a pyramid
(`RegionConfig.aux_fpn_channels`).

Only what a configuration's own class knows is taken from it. Other keys that transformers would follow, such as those
that name code to run, are left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoBackbone, PreTrainedConfig, RadioConfig, RadioModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING_NAMES
from transformers.utils.import_utils import is_timm_available

from fo1agent.errors import CheckpointError, MissingExtraError
from fo1agent.model.outline import outline
from fo1agent.model.region_encoder import Level

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TIMM, RADIO = "timm_backbone", RadioConfig.model_type
TIMM_STAGES = [-4, -3, -2, -1]
LEAST_SIDE, CELLS = 256, 32  # of the picture, pixels and patches, on which strides are measured


class Backbone(nn.Module):
    """What `AutoBackbone` builds, read after each stage that its configuration's `out_features` name.

    A picture is padded to whole cells of the coarsest map, at the right and below, with the mean colour: no stage is
    left without a cell, and no pixel without one.
    """

    detects = False

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__()
        self.levels = levels_of(config)  # first: it fails in words
        self.backbone: Any = _without_whole_numbers(_auto(config))

    @property
    def tail(self) -> list[nn.Module]:
        """The deepest stage."""
        return _tail(self.backbone)

    def forward(self, views: Mapping[str, Tensor]) -> tuple[list[Tensor], None]:
        """{"main": [1, 3, H, W]} → one map [1, C, h, w] per stage, and no candidates."""
        height, width = views["main"].shape[-2:]
        cell = int(max(level.stride for level in self.levels))
        pixels = F.pad(views["main"], (0, -width % cell, 0, -height % cell))
        return list(self.backbone(pixels).feature_maps), None


class Radio(nn.Module):
    """C-RADIO, which is no `AutoBackbone`: one map, straight after the last layer, with no norm.

    A picture whose sides are no multiples of the patch is stretched to the nearest ones here, so that boxes keep the
    pixels of the unstretched one: VLX-Seek's way, for which the region encoder was trained.
    """

    detects = False

    def __init__(self, config: RadioConfig) -> None:
        super().__init__()
        self.backbone = _without_whole_numbers(RadioModel(config))
        self.backbone.make_preprocessor_external()  # `prepare` normalises, as for every tower
        self.levels = levels_of(config)

    @property
    def tail(self) -> list[nn.Module]:
        """The last quarter of the layers."""
        return _tail(self.backbone.encoder)

    def forward(self, views: Mapping[str, Tensor]) -> tuple[list[Tensor], None]:
        """{"main": [1, 3, H, W]} → the map [1, C, h, w], and no candidates."""
        pixels, patch = views["main"], self.backbone.patch_size
        rows, columns = (max(round(side / patch), 1) for side in pixels.shape[-2:])
        size = (rows * patch, columns * patch)
        if pixels.shape[-2:] != size:
            pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
        features = self.backbone(pixels).features
        return [features.transpose(1, 2).reshape(1, -1, rows, columns)], None


def build(config: Mapping[str, Any], **_: Any) -> Backbone | Radio:
    """The tower that a backbone's configuration describes, with random weights.

    Args:
        config: what its `config.json` says, `model_type` among it. `out_features` or `out_indices` name the maps;
            without them, or with the last stage alone, it is all stages of a hierarchical backbone, and the last layer
            of another.

    Raises:
        CheckpointError: no such backbone, or one that cannot be built.
        MissingExtraError: it is one of timm, which is not installed.
    """
    made = backbone_config(config)
    return Radio(made) if isinstance(made, RadioConfig) else Backbone(made)


def backbone_config(values: Mapping[str, Any]) -> PreTrainedConfig:
    """The configuration that `values` describe, with the names of the maps.

    Raises:
        CheckpointError, MissingExtraError: see `build`.
    """
    kind: Any = values.get("model_type")
    if kind not in MODEL_FOR_BACKBONE_MAPPING_NAMES and kind != RADIO:
        raise CheckpointError(
            f"config.aux.config.model_type is a backbone of transformers, such as convnext, swin, dinov3_convnext, "
            f"timm_backbone or radio; got {kind!r}."
        )
    if kind == TIMM:
        _check_timm(values.get("backbone"))
    known: Any = CONFIG_MAPPING[kind]
    shared = {one.name for one in fields(PreTrainedConfig)}
    own = {one.name: one.default for one in fields(known) if one.name not in shared}
    taken = {key: value for key, value in own.items() if isinstance(value, tuple)}
    taken |= {key: value for key, value in values.items() if key in own and not key.startswith("_")}
    # As JSON has them: ConvNeXt and FocalNet add lists to their widths, and do not take their own defaults.
    taken = {key: list(value) if isinstance(value, tuple) else value for key, value in taken.items()}
    named = {key: values[key] for key in ("out_features", "out_indices") if values.get(key) is not None}
    try:
        if kind == TIMM:
            return known(**taken, **(named or {"out_indices": TIMM_STAGES}))
        made = known(**taken, **named)
        # The last stage alone is what transformers writes where nothing was named.
        if isinstance(getattr(made, "depths", None), (list, tuple)) and made.out_features == made.stage_names[-1:]:
            return known(**taken, out_features=[name for name in made.stage_names if name != "stem"])
    except Exception as exc:  # each configuration has errors of its own
        raise _no_tower(kind, exc) from exc
    return made


def levels_of(config: PreTrainedConfig) -> tuple[Level, ...]:
    """Stride, channels and offset of each map: a cell lies in the middle of its own pixels.

    Raises:
        CheckpointError: the backbone cannot be built, or its maps are no grids of the picture.
    """
    if isinstance(config, RadioConfig):
        return (_level(config.patch_size, config.hidden_size),)
    return _measured(json.dumps({**config.to_dict(), "model_type": config.model_type}, sort_keys=True, default=str))


@lru_cache(maxsize=8)
def _measured(text: str) -> tuple[Level, ...]:
    """`levels_of` the configuration that is written in `text`, by one pass without numbers."""
    config = backbone_config(json.loads(text))
    patch = getattr(config, "patch_size", 1)
    side = max(LEAST_SIDE, CELLS * (patch if isinstance(patch, int) else patch[0]))
    try:
        tower = outline(lambda: _auto(config)).eval()
        with torch.device("meta"), torch.no_grad():
            maps = tower(torch.empty(1, config.num_channels, side, side)).feature_maps
    except Exception as exc:  # sizes that do not fit each other fail anywhere in it
        raise _no_tower(config.model_type, exc) from exc
    for one in maps:
        if one.ndim != 4 or one.shape[2] != one.shape[3] or side % one.shape[3]:
            raise CheckpointError(
                f"{config.model_type} gives a map of {list(one.shape)} for {side} x {side} pixels; a tower's maps are "
                "[1, C, h, w], with whole pixels to a cell."
            )
    return tuple(_level(side // one.shape[3], one.shape[1]) for one in maps)


def normalisation(config: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation of a backbone's pixels: what its configuration says, what timm knows, or ImageNet's.

    Raises:
        CheckpointError, MissingExtraError: see `build`.
    """
    return _normalisation(json.dumps(config, sort_keys=True, default=str))


@lru_cache(maxsize=8)
def _normalisation(text: str) -> tuple[Sequence[float], Sequence[float]]:
    made = backbone_config(json.loads(text))
    if isinstance(made, RadioConfig):
        return made.norm_mean, made.norm_std
    if made.model_type == TIMM:
        from timm.models import get_pretrained_cfg  # pyright: ignore[reportMissingImports]

        known = get_pretrained_cfg(made.backbone)
        if known is not None:
            return known.mean, known.std
    return IMAGENET_MEAN, IMAGENET_STD


def _auto(config: PreTrainedConfig) -> nn.Module:
    return AutoBackbone.from_config(config)


def _level(stride: int, channels: int) -> Level:
    return Level(float(stride), channels, (stride - 1) / 2)


def _no_tower(kind: str, exc: Exception) -> CheckpointError:
    text = " ".join(str(exc).split()) or type(exc).__name__
    return CheckpointError(f"config.aux.config describes no {kind}: {text[:200]}")


def _check_timm(name: Any) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[\w.]{1,96}", name):  # a name with a colon is one to download
        raise CheckpointError(f"config.aux.config.backbone is a model of timm, such as resnet50.a1_in1k, got {name!r}.")
    if not is_timm_available():
        raise MissingExtraError(f"The auxiliary tower {name} is one of timm's. Install it: pip install timm")


def _without_whole_numbers(module: nn.Module) -> Any:
    """The module with its buffers of whole numbers kept out of its weights: they follow from the configuration."""
    for part in module.modules():
        for name, buffer in list(part.named_buffers(recurse=False)):
            if not buffer.is_floating_point():
                part.register_buffer(name, buffer, persistent=False)
    return module


def _tail(module: nn.Module) -> list[nn.Module]:
    """The last of four stages, or the last quarter of the layers; of timm's models, which are flat, the last part."""
    flat = getattr(module, "_backbone", None)
    if flat is not None:
        return list(flat.children())[-1:]
    stages = next((one for one in module.modules() if isinstance(one, nn.ModuleList) and len(one) > 1), [])
    return list(stages)[-max(len(stages) // 4, 1) :]
