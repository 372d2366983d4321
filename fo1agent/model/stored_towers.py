"""What a config.json may say of auxiliary towers, our own or the public one."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from fo1agent.model.folder import Stored, Width, integer, number, shown, wanted
from fo1agent.model.views import PARITY, VIEWS

# Twice the side of the reference, which reads pictures of up to 2048 x 2048 pixels.
MAX_SIDE = 4096

Strides = Annotated[list[Annotated[float, number(0, 1024, above=True)]], Field(min_length=4, max_length=4)]
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
