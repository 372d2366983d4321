"""What a config.json may say of auxiliary towers, our own or the public one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, model_validator

from fo1agent.model.folder import Stored, Width, integer, number, shown, wanted
from fo1agent.model.views import PARITY, VIEWS

# Twice the side of the reference, which reads pictures of up to 2048 x 2048 pixels.
MAX_SIDE = 4096

Strides = Annotated[list[Annotated[float, number(0.125, 1024)]], Field(min_length=4, max_length=4)]
Stages = Field(min_length=1, max_length=8)


class DaViT(Stored):
    """`{"type": "davit"}`: fields of transformers' Florence2VisionConfig, whose defaults these are."""

    WIDTHS: ClassVar[str] = "embed_dim"

    type: Literal["davit"] = "davit"
    embed_dim: Annotated[list[Width], Stages] = Field(default=[128, 256, 512, 1024])
    depths: Annotated[list[Annotated[int, integer(1, 64)]], Stages] = Field(default=[1, 1, 9, 1])
    patch_size: Annotated[list[Annotated[int, integer(1, 32)]], Stages] = Field(default=[7, 3, 3, 3])
    patch_stride: Annotated[list[Annotated[int, integer(1, 32)]], Stages] = Field(default=[4, 2, 2, 2])
    patch_padding: Annotated[list[Annotated[int, integer(0, 32)]], Stages] = Field(default=[3, 1, 1, 1])
    patch_prenorm: Annotated[list[bool], Stages] = Field(default=[False, True, True, True])
    num_heads: Annotated[list[Annotated[int, integer(1, 512)]], Stages] = Field(default=[4, 8, 16, 32])
    num_groups: Annotated[list[Annotated[int, integer(1, 512)]], Stages] = Field(default=[4, 8, 16, 32])
    window_size: Annotated[int, integer(1, 128)] = 12
    drop_path_rate: Annotated[float, number(0, 1)] = 0.1
    mlp_ratio: Annotated[float, number(0, 16, above=True)] = 4.0
    qkv_bias: bool = True

    @model_validator(mode="after")
    def _fit_together(self) -> DaViT:
        stages = len(self.embed_dim)
        lists = ("depths", "patch_size", "patch_stride", "patch_padding", "patch_prenorm", "num_heads", "num_groups")
        for name in lists:
            if len(getattr(self, name)) != stages:
                raise wanted(f"a list of {stages}, as {self.WIDTHS} is", name, shown(getattr(self, name)))
        for name in ("num_heads", "num_groups"):
            if any(width % parts for width, parts in zip(self.embed_dim, getattr(self, name), strict=True)):
                raise wanted(f"divisors of {self.WIDTHS} {shown(self.embed_dim)}", name, shown(getattr(self, name)))
        return self


class ViewOf(Stored):
    """One of `mobilenet_v2_ssd`'s views; see `views.View`."""

    side: Annotated[int, integer(PARITY[1], MAX_SIDE)]
    square: bool = False
    mirrored: bool = False

    @model_validator(mode="after")
    def _as_trained(self) -> ViewOf:
        if self.side % PARITY[0] != PARITY[1]:
            raise wanted(f"{PARITY[1]} mod {PARITY[0]} (300, 364, 428, …)", "side", str(self.side))
        return self


_VIEWS = [ViewOf(side=view.side, square=view.square, mirrored=view.mirrored) for view in VIEWS]


class MobileNet(Stored):
    """`{"type": "mobilenet_v2_ssd"}`."""

    type: Literal["mobilenet_v2_ssd"]
    views: Annotated[list[ViewOf], Field(min_length=1, max_length=8)] = Field(default_factory=lambda: _VIEWS)

    @model_validator(mode="after")
    def _first_is_straight(self) -> MobileNet:
        if self.views[0].mirrored:
            raise wanted("false for the first view", "views.0.mirrored", "true")
        return self


# --- backbones of transformers -----------------------------------------------------------------------------------

# Bounds for whatever a backbone's configuration says; several times what the largest known ones have. A depth takes
# time before it is found to fit no weights, so what counts layers is bounded closer than what counts channels.
_MOST, _MOST_LAYERS, _LONGEST, _DEEPEST = 65_536, 512, 64, 4
_COUNTS_LAYERS = ("depth", "num_layers", "hidden_layers", "num_blocks", "encoder_blocks", "numb_of_layers", "repeat")
_NOT_SIZES = ("id2label", "label2id")  # names of what a classifier knew, as many as it likes; nothing reads them


def _own_words(tree: Any) -> dict[str, Any]:
    """A backbone's configuration; `aux_backbones.py` takes what the backbone's own class knows of it."""
    if not isinstance(tree, Mapping):
        raise wanted("an object")
    if not isinstance(tree.get("model_type"), str):
        raise wanted("the name of a backbone, such as convnext", "model_type", shown(tree.get("model_type")))
    kept = {str(key): value for key, value in tree.items() if key not in _NOT_SIZES}
    for key, value in kept.items():
        _check_size(value, key, key, 0)
    return kept


def _check_size(value: Any, key: str, place: str, depth: int) -> None:
    if isinstance(value, (Mapping, list, tuple)):
        if depth == _DEEPEST or len(value) > _LONGEST:
            raise wanted(f"at most {_LONGEST} in one another {_DEEPEST} deep", place, shown(value))
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for part, one in pairs:
            _check_size(one, str(part) if isinstance(value, Mapping) else key, f"{place}.{part}", depth + 1)
    elif isinstance(value, str):
        if len(value) > 4 * _LONGEST:
            raise wanted(f"at most {4 * _LONGEST} characters", place, shown(value))
    elif isinstance(value, (int, float)):
        most = _MOST_LAYERS if any(word in key for word in _COUNTS_LAYERS) else _MOST
        if not math.isfinite(value) or abs(value) > most:
            raise wanted(f"a number of at most {most}", place, shown(value))


Shade = Annotated[list[Annotated[float, number(0, 1)]], Field(min_length=3, max_length=3)]
Spread = Annotated[list[Annotated[float, number(0, 1, above=True)]], Field(min_length=3, max_length=3)]


class Backbone(Stored):
    """`{"type": "backbone"}`: any of transformers' backbones, by its own configuration; see `aux_backbones.py`."""

    type: Literal["backbone"]
    config: Annotated[dict[str, Any], PlainValidator(_own_words)]
    image_mean: Shade | None = None
    image_std: Spread | None = None
