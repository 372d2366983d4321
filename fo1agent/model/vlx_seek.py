"""VLX-Seek 1.5's layout: what its config.json may say, and our names and shapes of its tensors.

VLM-FO1's successor on Qwen3.5. Its region map is made of the image tokens, its auxiliary tower is C-RADIO with a
pyramid of its own, its boxes are called `<objN>` (`tokenizer_files.py` reads those as `<regionN>`) and are read in an
order that the configuration names. The tower's sizes are those of its tensors.

Source: VLX-Seek (`model_type: vlx_seek_1_5`), its published inference code; no weights of it were at hand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field
from torch import Tensor

from fo1agent.errors import CheckpointError
from fo1agent.model.bases.stored import OtherBase
from fo1agent.model.config import FO1Config
from fo1agent.model.folder import Stored, TokenId, Width, checked, integer, one_line, shown, wrong
from fo1agent.model.renaming import PROJECTORS, all_renamed, projector_layers

TOWER = "model.vision_tower_aux.image_tower.radio_model."
PYRAMID = "model.object_vp_extractor.simple_fpn_aux."
STRIDES, FACTORS = [4.0, 8.0, 16.0, 32.0], [8.0, 4.0, 2.0, 1.0]  # of the pyramid on the image tokens
# Its own end of the user's turn: Qwen3.5's would open an answer with an empty thought.
CLOSING = "<|im_end|>\n<|im_start|>assistant\n"
# Attention heads of C-RADIO's sizes, by the model's name in `vision_aux_config.args`; no tensor shows them.
_HEADS = {
    f"vit_{size}_patch16_224": heads for size, heads in {"base": 12, "large": 16, "so400m": 16, "huge": 16}.items()
}
# The one way of each switch that fo1agent computes, and what its absence means to the published code.
_ONLY: Mapping[str, tuple[Any, Any]] = {
    "mm_use_vision_tower_object_feature": (True, False),
    "mm_use_simpleFPN_for_vt": (True, False),
    "mm_use_simpleFPN_for_vt_aux": (True, False),
    "mm_object_feature_combination": ("concat", "mean"),
    "mm_add_pos_embed": (True, True),
    "mm_use_vt_object_feature_only": (False, False),
    "mm_use_separate_mlp_for_object": (False, False),
    "mm_apply_object_layer_norm": (False, False),
}
_TOKEN_KEYS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
_RENAMES = [
    (r"^model\.vision_tower\.visual\.", "base.model.visual."),
    (r"^model\.language_model\.", "base.model.language_model."),
    (r"^lm_head\.", "base.lm_head."),
    (r"^model\.object_vp_extractor\.simple_fpn\.", "region_encoder.simple_fpn."),
    (r"^model\.object_vp_extractor\.simple_fpn_aux\.", "region_encoder.aux_fpn."),
    # Its levels are numbered by the logarithm of their stride, 4 to 32 pixels; ours are counted.
    *((rf"^(region_encoder\.(?:simple|aux)_fpn)\.simfp_{n + 1}\.", rf"\1.simfp_{n}.") for n in range(1, 5)),
    *PROJECTORS,
    (rf"^{re.escape(TOWER)}model\.patch_generator\.embedder\.", "aux.backbone.embeddings.patch_projection."),
    (rf"^{re.escape(TOWER)}model\.patch_generator\.pos_embed$", "aux.backbone.embeddings.position_embedding"),
    (rf"^{re.escape(TOWER)}model\.patch_generator\.cls_token\.token$", "aux.backbone.embeddings.cls_register_token"),
    (rf"^{re.escape(TOWER)}model\.blocks\.", "aux.backbone.encoder.layer."),
    (r"^(aux\.backbone\.encoder\.layer\.\d+)\.attn\.proj\.", r"\1.attention.o_proj."),
    (r"^(aux\.backbone\.encoder\.layer\.\d+)\.ls([12])\.(?:gamma|grandma)$", r"\1.layer_scale\2.lambda1"),
]
_FUSED = re.compile(r"^(aux\.backbone\.encoder\.layer\.\d+)\.attn\.qkv\.(weight|bias)$")


def kept(name: str) -> bool:
    """Whether a tensor is a weight: what normalises the tower's pixels, and what indexes its summary, is none."""
    return not name.startswith((f"{TOWER}input_conditioner.", f"{TOWER}summary_idxs"))


def own_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under our names: fused attention in its three parts, and the scales of 1 that the tower lacks.

    Raises:
        CheckpointError: two keys fall on one name.
    """
    found = all_renamed({name: one for name, one in tensors.items() if kept(name)}, _RENAMES)
    for name in list(found):
        if match := _FUSED.match(name):
            parts = found.pop(name).chunk(3)
            found |= {f"{match[1]}.attention.{q}_proj.{match[2]}": part for q, part in zip("qkv", parts, strict=False)}
    for name in [name for name in found if re.fullmatch(r"aux\.backbone\.encoder\.layer\.\d+\.norm[12]\.weight", name)]:
        scale = re.sub(r"norm([12])\.weight", r"layer_scale\1.lambda1", name)
        found.setdefault(scale, torch.ones_like(found[name]))
    return found


# --- config.json -------------------------------------------------------------------------------------------------


class AuxArgs(Stored):
    """`args` of `vision_aux_config`: NVIDIA's own words."""

    model_config = ConfigDict(extra="ignore")

    model: str = "vit_so400m_patch16_224"


class AuxConfig(Stored):
    """The auxiliary tower, as far as its tensors do not show it."""

    model_config = ConfigDict(extra="ignore")

    args: AuxArgs = Field(default_factory=AuxArgs)
    num_attention_heads: Annotated[int, integer(1, 512)] | None = None


class VlxConfig(Stored):
    """The file; keys that fo1agent does not read may say anything."""

    model_config = ConfigDict(extra="ignore")

    text_config: dict[str, Any]
    vision_config: dict[str, Any]
    image_token_id: TokenId
    video_token_id: TokenId
    vision_start_token_id: TokenId
    vision_end_token_id: TokenId
    tie_word_embeddings: bool | None = None
    vision_aux_config: AuxConfig = Field(default_factory=AuxConfig)
    mm_object_hidden_size: Width
    mm_roi_output_size: Annotated[int, integer(1, 64)] = 7
    mm_roi_algined: bool = False
    mm_simpleFPN_out_channels_for_vt: Width = 512
    mm_bbox_order_mode: Literal["none", "raster", "area_asc", "area_desc"] = "none"


def vlx_config(raw: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path = Path("config.json")) -> FO1Config:
    """`FO1Config` of VLX-Seek's layout; sizes of its auxiliary tower and projectors come from the tensors.

    Args:
        raw: what config.json holds.
        tensors: the checkpoint's, under their own names.
        path: of config.json, for messages.

    Raises:
        CheckpointError: a key or a tensor is missing or out of bounds, sizes do not agree, or a switch is set to a way
            that fo1agent does not compute.
    """
    for key, (value, absent) in _ONLY.items():
        if raw.get(key, absent) != value:
            got = shown(raw[key]) if key in raw else f"missing, which means {shown(absent)}"
            raise wrong(path, key, got, f"{shown(value)}, the only way that fo1agent computes")
    said = checked(VlxConfig, raw, path)
    aux_channels = _shape(tensors, f"{PYRAMID}simfp_4.0.weight", 4, path)[0]
    width = 4 * (aux_channels + said.mm_simpleFPN_out_channels_for_vt)
    if said.mm_object_hidden_size != width:
        raise wrong(
            path, "mm_object_hidden_size", str(said.mm_object_hidden_size), f"{width}, as eight levels of maps give"
        )
    tied = said.tie_word_embeddings
    base = {
        "model_type": "qwen3_5",
        "text_config": said.text_config,
        "vision_config": said.vision_config,
        "tie_word_embeddings": "lm_head.weight" not in tensors if tied is None else tied,
        **{key: getattr(said, key) for key in _TOKEN_KEYS},
    }
    order = said.mm_bbox_order_mode
    try:
        return FO1Config(
            base_config=checked(OtherBase, base, path).model_dump(exclude_unset=True),
            aux={"type": "backbone", "config": _radio(said, tensors, path)},
            region={
                "roi_size": said.mm_roi_output_size,
                "primary_channels": said.vision_config.get("out_hidden_size", 0),
                "fpn_channels": said.mm_simpleFPN_out_channels_for_vt,
                "fpn_strides": STRIDES,
                "fpn_factors": FACTORS,
                "of_tokens": True,
                "aux_fpn_channels": aux_channels,
                "aligned": said.mm_roi_algined,
            },
            image_projector={"layers": projector_layers(tensors, "model.mm_projector")},
            region_projector={"layers": projector_layers(tensors, "model.mm_projector_aux")},
            processing={"closing": CLOSING, "box_order": "given" if order == "none" else order},
        )
    except CheckpointError:
        raise
    except Exception as exc:  # transformers is the judge of its own configurations, with errors of its own
        raise CheckpointError(f"{path} describes no model of transformers: {one_line(exc)}.") from exc


def _radio(said: VlxConfig, tensors: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """C-RADIO's configuration, in transformers' words."""
    aux = said.vision_aux_config
    heads = aux.num_attention_heads or _HEADS.get(aux.args.model)
    if heads is None:
        raise wrong(path, "vision_aux_config.args.model", shown(aux.args.model), f"one of {', '.join(_HEADS)}")
    generator = "model.patch_generator."
    channels, pixels = _shape(tensors, f"{TOWER}{generator}embedder.weight", 2, path)
    patch = math.isqrt(pixels // 3)
    _, cells, _ = _shape(tensors, f"{TOWER}{generator}pos_embed", 3, path)
    extra, _ = _shape(tensors, f"{TOWER}{generator}cls_token.token", 2, path)
    hidden, _ = _shape(tensors, f"{TOWER}model.blocks.0.mlp.fc1.weight", 2, path)
    layers = sum(
        re.fullmatch(rf"{re.escape(TOWER)}model\.blocks\.\d+\.norm1\.weight", name) is not None for name in tensors
    )
    made = {
        "model_type": "radio",
        "hidden_size": channels,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "mlp_ratio": (hidden + 0.5) / channels,  # it is cut to a whole number of channels again
        "patch_size": patch,
        "max_img_size": math.isqrt(cells) * patch,
        # Which of the extra tokens are registers does not matter to the map.
        "num_cls_tokens": 1,
        "num_registers": extra - 1,
        "summary_idxs": [0],
    }
    for name in ("norm_mean", "norm_std"):
        given = tensors.get(f"{TOWER}input_conditioner.{name}")
        if given is not None:
            if given.numel() != 3 or not given.isfinite().all():
                raise CheckpointError(f"{path.parent}: {TOWER}input_conditioner.{name} is no three finite numbers.")
            made[name] = given.double().flatten().tolist()
    return made


def _shape(tensors: Mapping[str, Tensor], name: str, sides: int, path: Path) -> tuple[int, ...]:
    found = tensors.get(name)
    if found is None or found.ndim != sides:
        got = "missing" if found is None else f"of shape {list(found.shape)}"
        raise CheckpointError(f"{path.parent}: {name} is {got}, wanted a tensor of {sides} axes.")
    return tuple(found.shape)
