"""Folders of weights → `FO1`, strictly: our own folders, and the public checkpoint's layout.

What a folder is, it says in its config.json (`model_type`), never in its name. Every tensor must find its place and
every place its tensor; otherwise the error names the keys. Only safetensors are read. Tensors are mapped from disk and
take the place of the model's own, so a large checkpoint is not held twice.

Source of the public names: VLM-FO1 (`omlab/VLM-FO1_Qwen2.5-VL-3B-v01`), `model_type: omchat_qwen2_5_vl`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoTokenizer
from transformers.initialization import no_init_weights

from fo1agent.errors import CheckpointError
from fo1agent.model.config import FO1Config
from fo1agent.model.fo1 import FO1
from fo1agent.model.processing import Processor

PUBLIC_TYPE = "omchat_qwen2_5_vl"
_SHOWN = 8  # keys named in an error


def load(folder: str | Path, dtype: torch.dtype | None = None) -> tuple[FO1, Processor]:
    """Model (in eval mode, on the CPU) and processor of a local folder.

    Args:
        folder: holds config.json, safetensors and tokenizer files.
        dtype: of all weights; None keeps what is stored.

    Raises:
        CheckpointError: a file is missing or unreadable, or weights and configuration do not fit.
    """
    folder = Path(folder)
    raw = _read_json(folder / "config.json")
    tensors = read_tensors(folder)
    if raw.get("model_type") == PUBLIC_TYPE:
        config = public_config(raw, tensors)
        tensors = rename_all(tensors)
    elif raw.get("model_type") == FO1Config.model_type:
        config = FO1Config.from_dict(raw)
    else:
        raise CheckpointError(
            f"{folder / 'config.json'} says model_type {raw.get('model_type')!r}; "
            f"wanted {FO1Config.model_type!r} (a folder saved by fo1agent) or {PUBLIC_TYPE!r} (the public layout)."
        )
    with no_init_weights():
        model = FO1(config)
    put_tensors(model, tensors, dtype)
    return model.eval(), load_processor(folder, config)


def load_processor(folder: str | Path, config: FO1Config) -> Processor:
    """The processor of a folder, with the folder's tokenizer."""
    if not (Path(folder) / "tokenizer.json").exists() and not (Path(folder) / "vocab.json").exists():
        raise CheckpointError(f"{folder} holds no tokenizer: neither tokenizer.json nor vocab.json.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, config=config.base_config, local_files_only=True)
    except (OSError, ValueError) as exc:
        raise CheckpointError(f"No usable tokenizer in {folder}: {exc}") from exc
    return Processor(tokenizer, config)


def save(model: FO1, processor: Processor, folder: str | Path) -> None:
    """Write a folder that `load` reads: config.json, model.safetensors, tokenizer files."""
    model.save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)


# --- tensors -----------------------------------------------------------------------------------------------------


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the folder's safetensors files by name, mapped from disk.

    Raises:
        CheckpointError: no file, a file that the index names is absent, a file is broken, or the index names a tensor
            that its file does not hold.
    """
    index = folder / "model.safetensors.index.json"
    placed: dict[str, str] = {}
    if index.exists():
        placed = dict(_read_json(index)["weight_map"])
        names = sorted(set(placed.values()))
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
    if not names:
        raise CheckpointError(f"{folder} holds no safetensors file. fo1agent reads no other format.")
    tensors: dict[str, Tensor] = {}
    for name in names:
        path = folder / name
        if not path.exists():
            raise CheckpointError(f"{index.name} names {name}, which is not in {folder}.")
        try:
            with safe_open(path, framework="pt") as file:
                tensors.update({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118 (it is no dict)
        except SafetensorError as exc:
            raise CheckpointError(f"{path} is not a whole safetensors file: {exc}") from exc
    if placed.keys() - tensors.keys():
        raise CheckpointError(
            f"Files of {folder} lack what the index promises: {_names(placed.keys() - tensors.keys())}."
        )
    return tensors


def put_tensors(model: FO1, tensors: Mapping[str, Tensor], dtype: torch.dtype | None = None) -> None:
    """Make `tensors` the model's weights; tied weights may be absent.

    Raises:
        CheckpointError: missing or unexpected keys, a shape that does not fit, or tied weights that differ.
    """
    own = model.state_dict()
    tied = {key: source for key, source in model.all_tied_weights_keys.items() if key != source}
    for key, source in tied.items():
        if key in tensors and source in tensors and not torch.equal(tensors[key], tensors[source]):
            raise CheckpointError(f"The config ties {key} to {source}, but the checkpoint holds different values.")
    given = {key: value for key, value in tensors.items() if key not in tied}
    missing, unexpected = own.keys() - given.keys() - tied.keys(), given.keys() - own.keys()
    misfits = [
        f"{key} is {list(given[key].shape)}, wanted {list(own[key].shape)}"
        for key in sorted(own.keys() & given.keys())
        if given[key].shape != own[key].shape
    ]
    problems = [
        f"missing {len(missing)}: {_names(missing)}" * bool(missing),
        f"unexpected {len(unexpected)}: {_names(unexpected)}" * bool(unexpected),
        f"wrong shape {len(misfits)}: {_names(misfits)}" * bool(misfits),
    ]
    if any(problems):
        raise CheckpointError("Weights and config do not fit: " + "; ".join(p for p in problems if p) + ".")
    model.load_state_dict(
        {key: value.to(dtype or value.dtype) for key, value in given.items()}, strict=False, assign=True
    )
    for parameter in model.parameters():
        # Tensors mapped from disk come without it.
        parameter.requires_grad_(True)
    model.tie_weights()


def _names(keys: Iterable[str]) -> str:
    shown = sorted(keys)
    return ", ".join(shown[:_SHOWN]) + (" …" if len(shown) > _SHOWN else "")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise CheckpointError(f"There is no {path.name} in {path.parent}.") from exc
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise CheckpointError(f"{path} is not readable JSON: {exc}") from exc


# --- the public layout -------------------------------------------------------------------------------------------

_DAVIT = {
    "davit-base": {"dim_embed": [128, 256, 512, 1024], "num_heads": [4, 8, 16, 32], "num_groups": [4, 8, 16, 32]},
    "davit-large": {"dim_embed": [256, 512, 1024, 2048], "num_heads": [8, 16, 32, 64], "num_groups": [8, 16, 32, 64]},
}
_DAVIT_COMMON = {
    "depths": [1, 1, 9, 1],
    "patch_size": [7, 3, 3, 3],
    "patch_stride": [4, 2, 2, 2],
    "patch_padding": [3, 1, 1, 1],
    "patch_prenorm": [False, True, True, True],
    "window_size": 12,
}
_TEXT_KEYS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_act",
    "rms_norm_eps",
    "max_position_embeddings",
    "use_sliding_window",
    "sliding_window",
    "max_window_layers",
    "attention_dropout",
    "initializer_range",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)
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
    (r"^model\.mm_projector_aux\.(weight|bias)$", r"region_projector.0.\1"),
    (r"^model\.mm_projector_aux\.", "region_projector."),
    (r"^model\.mm_projector\.(weight|bias)$", r"image_projector.0.\1"),
    (r"^model\.mm_projector\.", "image_projector."),
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
    for pattern, replacement in _RENAMES:
        key = re.sub(pattern, replacement, key)
    return key


def rename_all(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under our names.

    Raises:
        CheckpointError: two keys fall on one name.
    """
    renamed = {rename(key): value for key, value in tensors.items()}
    if len(renamed) < len(tensors):
        names = [rename(key) for key in tensors]
        twice = {name for name in names if names.count(name) > 1}
        raise CheckpointError(f"Two tensors of the checkpoint mean the same weight: {_names(twice)}.")
    return renamed


def public_config(raw: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FO1Config:
    """`FO1Config` of the public layout's flat config.json; projector depths and tying come from the tensors present.

    Raises:
        CheckpointError: a switch is set to a way that fo1agent does not compute, or a key is missing.
    """
    for key, value in _ONLY.items():
        if raw.get(key, value) != value:
            raise CheckpointError(f"config.json has {key} = {raw[key]!r}; fo1agent computes {value!r} only.")
    missing = [key for key in ("vision_config", "hidden_size", "num_hidden_layers", *_TOKEN_KEYS) if key not in raw]
    if missing:
        raise CheckpointError(f"config.json lacks {', '.join(missing)}.")
    rope = raw.get("rope_scaling") or {}
    base = {
        "model_type": "qwen2_5_vl",
        "text_config": {
            **{key: raw[key] for key in _TEXT_KEYS if key in raw},
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": raw.get("rope_theta", 1_000_000.0),
                "mrope_section": rope.get("mrope_section", [16, 24, 24]),
            },
        },
        "vision_config": {key: value for key, value in raw["vision_config"].items() if key != "model_type"},
        "tie_word_embeddings": raw.get("tie_word_embeddings", "lm_head.weight" not in tensors),
        **{key: raw[key] for key in _TOKEN_KEYS},
    }
    sizes = raw.get("fo1_tiny_sizes", {})
    fpn = sizes.get("simple_fpn", {})
    return FO1Config(
        base_config=base,
        aux=_davit_config(raw, sizes),
        region={
            "roi_size": raw.get("mm_roi_output_size", 7),
            "primary_channels": fpn.get("in_dim", raw["vision_config"].get("hidden_size", 1280)),
            "fpn_channels": fpn.get("out_channels", 512),
            "fpn_strides": fpn.get("strides", [3.5, 7.0, 14.0, 28.0]),
        },
        image_projector={"layers": _projector_layers(tensors, "model.mm_projector")},
        region_projector={"layers": _projector_layers(tensors, "model.mm_projector_aux")},
        processing={"aux_aspect": raw.get("aux_image_aspect_ratio", "dynamic")},
    )


def _davit_config(raw: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, Any]:
    """DaViT's sizes: spelled out, or by the name of its original file."""
    if "davit_config" in sizes:
        given = {**_DAVIT_COMMON, **sizes["davit_config"]}
    else:
        name = Path(str(raw.get("mm_vision_tower_aux", ""))).stem
        if name not in _DAVIT:
            raise CheckpointError(f"config.json names the auxiliary tower {name!r}; known are {', '.join(_DAVIT)}.")
        given = {**_DAVIT_COMMON, **_DAVIT[name]}
    return {"type": "davit", "embed_dim": given.pop("dim_embed"), **given, "drop_path_rate": 0.0}


def _projector_layers(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Linear layers stored under a projector's name: `.weight` for one, `.0.weight`, `.2.weight`, … for more."""
    if f"{prefix}.weight" in tensors:
        return 1
    return sum(re.fullmatch(re.escape(prefix) + r"\.\d+\.weight", key) is not None for key in tensors)
