"""The public checkpoint's layout: what its flat config.json may say, and our names of its tensors.

Source: VLM-FO1 (`omlab/VLM-FO1_Qwen2.5-VL-3B-v01`), `model_type: omchat_qwen2_5_vl`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator
from torch import Tensor

from fo1agent.model.bases.qwen2_5_vl_stored import Sections, TextSizes, Theta, Vision
from fo1agent.model.config import FO1Config
from fo1agent.model.folder import Stored, TokenId, Width, checked, integer, shown, wanted, wrong
from fo1agent.model.renaming import PROJECTORS, all_renamed, projector_layers, renamed
from fo1agent.model.stored_towers import DaViT, Strides

# Sizes of DaViT by the name of its original file.
_DAVIT = {
    "davit-base": {"embed_dim": [128, 256, 512, 1024], "num_heads": [4, 8, 16, 32], "num_groups": [4, 8, 16, 32]},
    "davit-large": {"embed_dim": [256, 512, 1024, 2048], "num_heads": [8, 16, 32, 64], "num_groups": [8, 16, 32, 64]},
}
_DAVIT_COMMON = {
    "depths": [1, 1, 9, 1],
    "patch_size": [7, 3, 3, 3],
    "patch_stride": [4, 2, 2, 2],
    "patch_padding": [3, 1, 1, 1],
    "patch_prenorm": [False, True, True, True],
    "window_size": 12,
}
_TOKEN_KEYS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
# The one way of each switch that the public model uses; another way would need other arithmetic.
_ONLY = {
    "mm_region_feature_combination": "concat",
    "mm_apply_position_embedding": True,
    "mm_pos_embedding_strategy": "bbox_based",
    "mm_apply_region_layer_norm": False,
    "mm_use_vt_region_feature_only": False,
    "mm_use_simpleFPN_for_vt": True,
    "mm_use_vision_tower_region_feature": True,
}
_RENAMES = [
    (r"^model\.vision_tower\.image_tower\.", "base.model.visual."),
    (r"^model\.(layers|embed_tokens|norm)\.", r"base.model.language_model.\1."),
    (r"^lm_head\.", "base.lm_head."),
    (r"^model\.object_vp_extractor\.simple_fpn\.", "region_encoder.simple_fpn."),
    *PROJECTORS,
    (r"^model\.vision_tower_aux\.image_tower\.", "aux."),
    (r"^(aux\.convs\.\d+)\.proj\.", r"\1.conv."),
    (r"^(aux\.blocks\..*_block\.conv[12])\.fn\.dw\.", r"\1."),
    (r"^(aux\.blocks\..*_block)\.(?:window|channel)_attn\.norm\.", r"\1.norm1."),
    (r"^(aux\.blocks\..*_block\.(?:window|channel)_attn)\.fn\.", r"\1."),
    (r"^(aux\.blocks\..*_block)\.ffn\.norm\.", r"\1.norm2."),
    (r"^(aux\.blocks\..*_block\.ffn)\.fn\.net\.", r"\1."),
]


def rename(key: str) -> str:
    """Our name of a public checkpoint's tensor; a name that follows no rule comes back as it is."""
    return renamed(key, _RENAMES)


def rename_all(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under our names.

    Raises:
        CheckpointError: two keys fall on one name.
    """
    return all_renamed(tensors, _RENAMES)


# --- config.json -------------------------------------------------------------------------------------------------


class RopeScaling(Stored):
    """Where the public file keeps mRoPE's sections."""

    model_config = ConfigDict(extra="ignore")

    mrope_section: Sections = Field(default=[16, 24, 24])


class PublicDaViT(DaViT):
    """DaViT's sizes spelled out, in its original file's words."""

    WIDTHS: ClassVar[str] = "dim_embed"

    embed_dim: Annotated[list[Width], Field(min_length=1, max_length=8)] = Field(alias="dim_embed")


class PublicFpn(Stored):
    """Sizes of SimpleFP."""

    in_dim: Width | None = None
    out_channels: Width = 512
    strides: Strides = Field(default=[3.5, 7.0, 14.0, 28.0])


class TinySizes(Stored):
    """What a checkpoint of other sizes than the public one's spells out."""

    model_config = ConfigDict(extra="ignore")

    davit_config: PublicDaViT | None = None
    simple_fpn: PublicFpn = Field(default_factory=PublicFpn)


class PublicConfig(TextSizes):
    """The flat config.json; keys that fo1agent does not read may say anything."""

    vision_config: Vision
    image_token_id: TokenId
    video_token_id: TokenId
    vision_start_token_id: TokenId
    vision_end_token_id: TokenId
    rope_theta: Theta = 1e6
    rope_scaling: RopeScaling | None = None
    tie_word_embeddings: bool | None = None
    mm_vision_tower_aux: str = ""
    mm_roi_output_size: Annotated[int, integer(1, 64)] = 7
    aux_image_aspect_ratio: Literal["dynamic", "squash", "dynamic_square"] = "dynamic"
    fo1_tiny_sizes: TinySizes = Field(default_factory=TinySizes)

    @model_validator(mode="after")
    def _parts_fit(self) -> PublicConfig:
        self.check_sections(self.sections, "rope_scaling.mrope_section")
        given, seen = self.fo1_tiny_sizes.simple_fpn.in_dim, self.vision_config.hidden_size
        if given not in (None, seen):
            raise wanted(f"the hidden_size {seen} of vision_config", "fo1_tiny_sizes.simple_fpn.in_dim", str(given))
        if self.fo1_tiny_sizes.davit_config is None and self.tower not in _DAVIT:
            raise wanted(f"one of {', '.join(_DAVIT)}", "mm_vision_tower_aux", shown(self.mm_vision_tower_aux))
        return self

    @property
    def sections(self) -> list[int]:
        """mRoPE's."""
        return (self.rope_scaling or RopeScaling()).mrope_section

    @property
    def tower(self) -> str:
        """Name of the auxiliary tower."""
        return Path(self.mm_vision_tower_aux).stem


def public_config(raw: Mapping[str, Any], tensors: Collection[str], path: Path = Path("config.json")) -> FO1Config:
    """`FO1Config` of the public layout; projector depths and tying come from the tensors present.

    Args:
        raw: what config.json holds.
        tensors: the public names of the checkpoint's.
        path: of config.json, for messages.

    Raises:
        CheckpointError: a key is missing or out of bounds, sizes do not agree, or a switch is set to a way that
            fo1agent does not compute.
    """
    for key, value in _ONLY.items():
        if raw.get(key, value) != value:
            raise wrong(path, key, shown(raw[key]), f"{shown(value)}, the only way that fo1agent computes")
    said = checked(PublicConfig, raw, path)
    layers = projector_layers(tensors, "model.mm_projector")
    vision = said.vision_config
    if not layers and vision.out_hidden_size != said.hidden_size:
        raise wrong(
            path,
            "vision_config.out_hidden_size",
            str(vision.out_hidden_size),
            f"the hidden_size {said.hidden_size}, for there is no image projector",
        )
    fpn = said.fo1_tiny_sizes.simple_fpn
    text = said.model_dump(include=set(TextSizes.model_fields), exclude_unset=True)
    tied = said.tie_word_embeddings
    return FO1Config(
        base_config={
            "model_type": "qwen2_5_vl",
            "text_config": {
                **text,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": said.rope_theta,
                    "mrope_section": said.sections,
                },
            },
            "vision_config": vision.model_dump(exclude_unset=True),
            "tie_word_embeddings": "lm_head.weight" not in tensors if tied is None else tied,
            **{key: getattr(said, key) for key in _TOKEN_KEYS},
        },
        aux=_davit(said),
        region={
            "roi_size": said.mm_roi_output_size,
            "primary_channels": vision.hidden_size,
            "fpn_channels": fpn.out_channels,
            "fpn_strides": fpn.strides,
        },
        image_projector={"layers": layers},
        region_projector={"layers": projector_layers(tensors, "model.mm_projector_aux")},
        processing={"aux_aspect": said.aux_image_aspect_ratio},
    )


def _davit(said: PublicConfig) -> dict[str, Any]:
    spelled_out = said.fo1_tiny_sizes.davit_config
    sizes = _DAVIT[said.tower] if spelled_out is None else spelled_out.model_dump(exclude_unset=True)
    return {"type": "davit", **_DAVIT_COMMON, **sizes, "drop_path_rate": 0.0}
